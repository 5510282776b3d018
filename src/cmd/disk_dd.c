/* viv disk dd: a part of an image into a new one, with dd(1)'s operands. */
#include "base/checked.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/disk.h"
#include "disk/driver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_MAX (2u << 20)

struct operands {
	const char *in, *out;
	uint64_t block, count, skip;
	bool has_count;
};

static int take_operand(struct tool *t, const char *word, struct operands *o)
{
	const struct {
		const char *name, *what;
		const char **text;
		uint64_t *number;
		uint64_t min;
	} known[] = {
	    {"if=", "if", &o->in, NULL, 0},       {"of=", "of", &o->out, NULL, 0},
	    {"bs=", "bs", NULL, &o->block, 1},    {"count=", "count", NULL, &o->count, 0},
	    {"skip=", "skip", NULL, &o->skip, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		const char *value = str_after(word, known[i].name);

		if (!value)
			continue;
		if (known[i].text)
			*known[i].text = value;
		else if (!tool_size(t, known[i].what, value, known[i].min,
				    known[i].number == &o->block ? INT32_MAX : INT64_MAX - 1,
				    known[i].number))
			return 1;
		o->has_count |= known[i].number == &o->count;
		return 0;
	}
	return tool_error(t, "unrecognized operand %.*s", (int)strcspn(word, "="), word);
}

/* The range of the input. As in qemu-img 7.2, count= counts from the beginning of the input and not
 * from where skip= leads. */
static void range(struct tool *t, const struct operands *o, struct disk *in, uint64_t *ret_start,
		  uint64_t *ret_len)
{
	uint64_t size = disk_size(in), start, end;

	if (!o->has_count || !checked_mul(o->count, o->block, &end) || end > size)
		end = size;
	if (!checked_mul(o->skip, o->block, &start) || start > size) {
		/* As dd(1) has it: a warning, and an empty output. */
		tool_error(t, "%s: cannot skip to specified offset", o->in);
		start = size;
	}
	*ret_start = start;
	*ret_len = end > start ? end - start : 0;
}

static int copy(struct tool *t, struct disk *in, uint64_t start, uint64_t len, struct disk *out)
{
	_free_ uint8_t *buf = mem_alloc(PIECE_MAX);

	for (uint64_t at = 0; at < len;) {
		size_t n = len - at < PIECE_MAX ? (size_t)(len - at) : PIECE_MAX;
		int rc = disk_pread(in, start + at, buf, n);

		if (rc)
			return tool_error(t, "error while reading from input image file: %s",
					  strerror(-rc));
		rc = disk_pwrite(out, at, buf, n, 0);
		if (rc)
			return tool_error(t, "error while writing to output image file: %s",
					  strerror(-rc));
		at += n;
	}
	return 0;
}

static int into_new(struct tool *t, const struct operands *o, struct disk *in,
		    const struct disk_driver *drv)
{
	uint64_t start, len;
	struct err e = {0};

	range(t, o, in, &start, &len);
	json_t *opts = json_pack("{s:I}", "size", (json_int_t)len);
	int rc = disk_create(t->ctx, drv, o->out, opts, 0, &e);

	json_decref(opts);
	if (rc) {
		err_prefix(&e, "%s: error while creating output image of type %s: ", o->out,
			   drv->name);
		return tool_fail(t, &e);
	}
	struct disk *out = tool_open(t, o->out, false, drv->name, DISK_WRITE | DISK_RESIZE);

	if (!out)
		return 1;
	int status = copy(t, in, start, len, out);

	return tool_close(t, out) || status;
}

static int run(struct tool *t)
{
	struct cli *c = t->cli;
	struct operands o = {.block = 512};

	for (int i = 0; i < cli_argc(c); i++)
		if (take_operand(t, cli_argv(c)[i], &o))
			return 1;
	if (!o.in || !o.out)
		return tool_error(t, "Must specify both input and output files");
	const struct disk_driver *drv = tool_driver(t, cli_string(c, "target-format"));

	if (!drv)
		return 1;
	if (!drv->create_opts)
		return tool_error(t, "Format driver '%s' does not support image creation",
				  drv->name);
	struct disk *in = tool_open(t, o.in, cli_bool(c, "image-opts"), cli_string(c, "format"),
				    cli_bool(c, "force-share") ? DISK_SHARE : 0);

	if (!in)
		return 1;
	int status = into_new(t, &o, in, drv);

	disk_close(in);
	return status;
}

int disk_cmd_dd(struct cli *c)
{
	return tool_run(c, run);
}
