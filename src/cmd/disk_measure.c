/* viv disk measure: what an image would take. */
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "cmd/disk.h"
#include "cmd/disk_print.h"
#include "disk/driver.h"
#include "disk/opts.h"
#include "disk/optstr.h"

#include <inttypes.h>
#include <stdio.h>

static void print(const struct disk_measure *m, bool json)
{
	if (json) {
		_buf_ struct buf text = {0};
		json_t *o = json_pack("{s:I, s:I}", "required", (json_int_t)m->required,
				      "fully-allocated", (json_int_t)m->fully_allocated);

		if (m->has_bitmaps)
			json_object_set_new(o, "bitmaps", json_integer((json_int_t)m->bitmaps));
		disk_print_json(&text, o, 0);
		json_decref(o);
		puts(buf_str(&text));
		return;
	}
	printf("required size: %" PRIu64 "\nfully allocated size: %" PRIu64 "\n", m->required,
	       m->fully_allocated);
	if (m->has_bitmaps)
		printf("bitmaps size: %" PRIu64 "\n", m->bitmaps);
}

static int measure(struct tool *t, const struct disk_driver *drv, json_t *opts, struct disk *in,
		   bool json)
{
	_free_ struct disk_opt *table = disk_create_opts(drv);
	struct disk_measure m = {0};
	struct err e = {0};

	if (disk_opts_check(opts, table, &e) || disk_measure(t->ctx, drv, opts, in, &m, &e))
		return tool_fail(t, &e);
	_free_ struct disk_bitmap *bitmaps = NULL;

	m.has_bitmaps |= in && drv->bitmap_list && disk_bitmap_list(in, &bitmaps) >= 0;
	print(&m, json);
	return 0;
}

static struct disk *open_source(struct tool *t)
{
	const char *snapshot = cli_string(t->cli, "snapshot");
	struct disk *d = tool_open_only(t, NULL, 0);
	struct err e = {0};

	if (!d || !snapshot)
		return d;
	const char *name = str_after(snapshot, "snapshot.id=");

	if (!name)
		name = str_after(snapshot, "snapshot.name=");
	if (!disk_snapshot_show(d, name ? name : snapshot, &e))
		return d;
	err_prefix(&e, "Failed to load snapshot: ");
	tool_fail(t, &e);
	disk_close(d);
	return NULL;
}

static int with_options(struct tool *t, const struct disk_driver *drv, json_t *opts, bool json)
{
	struct cli *c = t->cli;
	const char *size = cli_string(c, "size");
	uint64_t bytes;

	if (size) {
		if (!tool_size(t, "image size", size, 0, INT64_MAX, &bytes))
			return 1;
		json_object_set_new(opts, "size", json_integer((json_int_t)bytes));
		return measure(t, drv, opts, NULL, json);
	}
	struct disk *in = open_source(t);
	int status = in ? measure(t, drv, opts, in, json) : 1;

	disk_close(in);
	return status;
}

static int run(struct tool *t)
{
	struct cli *c = t->cli;
	const char *format = cli_string(c, "target-format");
	json_t *opts;
	struct err e = {0};
	bool json;
	int status = tool_output(t, &json);
	_free_ char *list = status ? NULL : tool_options(t, &status);

	if (status)
		return status;
	if (cli_argc(c) > 1)
		return tool_error(t, "At most one filename argument is allowed.");
	if (cli_argc(c) && cli_given(c, "size"))
		return tool_error(t, "--size N cannot be used together with a filename.");
	if (!cli_argc(c) && !cli_given(c, "size"))
		return tool_error(t, "Either --size N or one filename must be specified.");
	if (!cli_argc(c) &&
	    (cli_bool(c, "image-opts") || cli_given(c, "format") || cli_given(c, "snapshot")))
		return tool_error(
		    t, "--image-opts, -f, and -l can only be used with a filename argument.");
	const struct disk_driver *drv = tool_driver(t, format);

	if (!drv)
		return 1;
	if (list && optstr_wants_help(list))
		return tool_options_help(t, format, NULL, false);
	if (!drv->create_opts)
		return tool_error(t, "Format driver '%s' does not support image creation",
				  drv->name);
	if (optstr_parse(list ? list : "", NULL, &opts, &e))
		return tool_fail(t, &e);
	status = with_options(t, drv, opts, json);
	json_decref(opts);
	return status;
}

int disk_cmd_measure(struct cli *c)
{
	return tool_run(c, run);
}
