/* viv disk resize: the size of a disk, absolute or relative. */
#include "base/str.h"
#include "cmd/disk.h"

#include <stdio.h>

static bool prealloc_of(const char *name, enum disk_prealloc *ret)
{
	for (unsigned i = 0; disk_prealloc_names[i]; i++)
		if (str_eq(name, disk_prealloc_names[i])) {
			*ret = (enum disk_prealloc)i;
			return true;
		}
	return false;
}

/* The new size: "+N" and "-N" are relative to what it is. */
static int new_size(struct tool *t, struct disk *d, const char *text, uint64_t *ret_size)
{
	uint64_t bytes, now = disk_size(d);
	char sign = *text == '+' || *text == '-' ? *text++ : '=';

	if (!tool_size(t, "image size", text, 0, INT64_MAX, &bytes))
		return 1;
	if (sign == '+' && bytes > DISK_SIZE_MAX - (now < DISK_SIZE_MAX ? now : DISK_SIZE_MAX))
		return tool_error(t, "New image size is too large");
	if (sign == '-' && bytes >= now)
		return tool_error(t, "New image size must be positive");
	*ret_size = sign == '+' ? now + bytes : sign == '-' ? now - bytes : bytes;
	return *ret_size ? 0 : tool_error(t, "New image size must be positive");
}

static int resize(struct tool *t, struct disk *d, const char *text)
{
	const char *name = cli_string(t->cli, "preallocation");
	enum disk_prealloc prealloc = DISK_PREALLOC_OFF;
	uint64_t size = 0;
	struct err e = {0};

	if (name && !prealloc_of(name, &prealloc))
		return tool_error(t, "Invalid preallocation mode '%s'", name);
	if (new_size(t, d, text, &size))
		return 1;
	if (size <= disk_size(d) && prealloc != DISK_PREALLOC_OFF)
		return tool_error(t, "Preallocation can only be used for growing images");
	if (size < disk_size(d) && !cli_bool(t->cli, "shrink")) {
		tool_error(t, "Use the --shrink option to perform a shrink operation.");
		tool_warn(t, "Shrinking an image will delete all data beyond the shrunken image's "
			     "end. Before performing such an operation, make sure there is no "
			     "important data there.");
		return 1;
	}
	if (disk_truncate(d, size, false, prealloc, 0, &e))
		return tool_fail(t, &e);
	tool_say(t, "Image resized.\n");
	return 0;
}

static int run(struct tool *t)
{
	struct cli *c = t->cli;

	if (cli_argc(c) != 2)
		return tool_usage(c, "Expecting image file name and size");
	struct disk *d = tool_open(t, cli_argv(c)[0], cli_bool(c, "image-opts"),
				   cli_string(c, "format"), DISK_WRITE | DISK_RESIZE);

	if (!d)
		return 1;
	int status = resize(t, d, cli_argv(c)[1]);

	return tool_close(t, d) || status;
}

int disk_cmd_resize(struct cli *c)
{
	return tool_run(c, run);
}
