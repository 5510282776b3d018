/* viv disk bitmap: persistent dirty bitmaps of an image. Its actions happen in the order in which
 * they stand on the command line, so that is read again here. */
#include "base/str.h"
#include "cmd/disk.h"

#include <stdio.h>

static const char *const actions[] = {"add", "remove", "clear", "enable", "disable", "merge"};

struct work {
	struct disk *disk, *source; /* of --merge; the same where no -b is given */
	const char *bitmap;
	uint32_t granularity;
};

static int act(const struct work *w, const char *action, const char *value, struct err *e)
{
	if (str_eq(action, "add"))
		return disk_bitmap_add(w->disk, w->bitmap, w->granularity, true, e);
	if (str_eq(action, "remove"))
		return disk_bitmap_remove(w->disk, w->bitmap, e);
	if (str_eq(action, "clear"))
		return disk_bitmap_clear(w->disk, w->bitmap, e);
	if (str_eq(action, "merge"))
		return disk_bitmap_merge(w->disk, w->bitmap, w->source, value, e);
	return disk_bitmap_enable(w->disk, w->bitmap, str_eq(action, "enable"), e);
}

/* The action that the word asks for, or NULL; *ret_value is what follows "=". */
static const char *action_of(const char *word, const char **ret_value)
{
	const char *name = str_after(word, "--"), *rest;

	for (size_t i = 0; name && i < sizeof(actions) / sizeof(actions[0]); i++) {
		rest = str_after(name, actions[i]);
		if (rest && (!*rest || *rest == '=')) {
			*ret_value = *rest ? rest + 1 : NULL;
			return actions[i];
		}
	}
	return NULL;
}

static int act_in_order(struct tool *t, const struct work *w)
{
	char *const *words = cli_program(t->cli)->context;

	for (; *words && !str_eq(*words, "--"); words++) {
		const char *value, *action = action_of(*words, &value);
		struct err e = {0};

		if (!action)
			continue;
		if (str_eq(action, "merge") && !value)
			value = *++words;
		if (act(w, action, value, &e)) {
			err_prefix(&e, "Operation %s on bitmap %s failed: ", action, w->bitmap);
			return tool_fail(t, &e);
		}
	}
	return 0;
}

static int check(struct tool *t, uint64_t *ret_granularity)
{
	struct cli *c = t->cli;
	const char *granularity = cli_string(c, "granularity");
	bool merge = cli_given(c, "merge"), any = merge;

	for (size_t i = 0; i < 5; i++)
		any |= cli_bool(c, actions[i]);
	if (cli_argc(c) != 2)
		return tool_usage(c, "Expecting filename and bitmap name");
	if (!any)
		return tool_usage(c, "Need at least one of --add, --remove, --clear, --enable, "
				     "--disable, or --merge");
	if (granularity && !cli_bool(c, "add"))
		return tool_error(t, "granularity only supported with --add");
	if (cli_given(c, "source-format") && !cli_given(c, "source"))
		return tool_error(t, "-F only supported with -b");
	if (cli_given(c, "source") && !merge)
		return tool_error(t, "Merge bitmap source file only supported with --merge");
	if (granularity &&
	    !tool_size(t, "granularity", granularity, 1, UINT32_MAX, ret_granularity))
		return 1;
	return 0;
}

static int run(struct tool *t)
{
	struct cli *c = t->cli;
	uint64_t granularity = 0;

	if (check(t, &granularity))
		return 1;
	struct work w = {.bitmap = cli_argv(c)[1], .granularity = (uint32_t)granularity};
	struct disk *source = NULL;

	if (cli_given(c, "source")) {
		source = tool_open(t, cli_string(c, "source"), false,
				   cli_string(c, "source-format"), DISK_NO_IO);
		if (!source)
			return 1;
	}
	w.disk = tool_open(t, cli_argv(c)[0], cli_bool(c, "image-opts"), cli_string(c, "format"),
			   DISK_WRITE | DISK_UNMAP);
	w.source = source ? source : w.disk;
	int status = w.disk ? act_in_order(t, &w) : 1;

	disk_close(source);
	return (w.disk && tool_close(t, w.disk)) || status;
}

int disk_cmd_bitmap(struct cli *c)
{
	return tool_run(c, run);
}
