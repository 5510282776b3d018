/* viv disk info: what an image is, as text or QAPI's ImageInfo. */
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "cmd/disk.h"
#include "cmd/disk_print.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* What both forms show of one image. */
struct image {
	struct disk *disk;
	struct disk_info info;
	struct disk_snapshot *snapshots;
	int snapshot_count;
	int64_t allocated; /* negative: unknown */
	char *backing_path;
};

static int look(const struct tool *t, struct disk *d, struct image *im)
{
	struct err e = {0};

	im->disk = d;
	if (disk_get_info(d, &im->info, &e))
		return tool_fail(t, &e);
	im->snapshot_count = disk_snapshot_list(d, &im->snapshots);
	im->allocated = disk_allocated_size(d);
	im->backing_path = disk_backing_path(d);
	return 0;
}

static void image_done(struct image *im)
{
	json_decref(im->info.specific);
	free(im->snapshots);
	free(im->backing_path);
	*im = (struct image){0};
}

static json_t *as_json(const struct image *im)
{
	struct disk *d = im->disk;
	json_t *o = json_pack("{s:s, s:s, s:I, s:b}", "filename", disk_filename(d), "format",
			      disk_format(d), "virtual-size", (json_int_t)disk_size(d),
			      "dirty-flag", im->info.dirty);

	if (im->allocated >= 0)
		json_object_set_new(o, "actual-size", json_integer(im->allocated));
	if (im->info.encrypted)
		json_object_set_new(o, "encrypted", json_true());
	if (im->info.compressed)
		json_object_set_new(o, "compressed", json_true());
	if (im->info.cluster_size)
		json_object_set_new(o, "cluster-size", json_integer(im->info.cluster_size));
	if (im->info.specific)
		json_object_set(o, "format-specific", im->info.specific);
	if (disk_backing_name(d))
		json_object_set_new(o, "backing-filename", json_string(disk_backing_name(d)));
	if (im->backing_path)
		json_object_set_new(o, "full-backing-filename", json_string(im->backing_path));
	if (disk_backing_format(d))
		json_object_set_new(o, "backing-filename-format",
				    json_string(disk_backing_format(d)));
	if (im->snapshot_count > 0) {
		json_t *list = json_array();

		for (int i = 0; i < im->snapshot_count; i++)
			json_array_append_new(list, disk_snapshot_json(&im->snapshots[i]));
		json_object_set_new(o, "snapshots", list);
	}
	return o;
}

static void add_backing(struct buf *b, const struct image *im)
{
	const char *name = disk_backing_name(im->disk), *format = disk_backing_format(im->disk);

	if (!name)
		return;
	buf_addf(b, "backing file: %s", name);
	if (!im->backing_path)
		buf_adds(b, " (cannot determine actual path)");
	else if (!str_eq(name, im->backing_path))
		buf_addf(b, " (actual path: %s)", im->backing_path);
	buf_addc(b, '\n');
	if (format)
		buf_addf(b, "backing file format: %s\n", format);
}

static void add_text(struct buf *b, const struct image *im)
{
	const json_t *data = json_object_get(im->info.specific, "data");

	buf_addf(b, "image: %s\nfile format: %s\nvirtual size: ", disk_filename(im->disk),
		 disk_format(im->disk));
	disk_print_size(b, disk_size(im->disk));
	buf_addf(b, " (%" PRIu64 " bytes)\ndisk size: ", disk_size(im->disk));
	if (im->allocated < 0)
		buf_adds(b, "unavailable");
	else
		disk_print_size(b, (uint64_t)im->allocated);
	buf_addc(b, '\n');
	if (im->info.encrypted)
		buf_adds(b, "encrypted: yes\n");
	if (im->info.cluster_size)
		buf_addf(b, "cluster_size: %" PRIu32 "\n", im->info.cluster_size);
	if (im->info.dirty)
		buf_adds(b, "cleanly shut down: no\n");
	add_backing(b, im);
	if (im->snapshot_count > 0) {
		buf_adds(b, "Snapshot list:\n");
		disk_print_snapshots(b, im->snapshots, im->snapshot_count);
	}
	if (json_object_size(data)) {
		buf_adds(b, "Format specific information:\n");
		disk_print_tree(b, data, 4);
	}
}

/* What has been seen of a chain: a name that comes again closes a circle. */
struct chain {
	VEC(char *) seen;
};

static bool seen_before(struct chain *chain, const char *name)
{
	vec_each (it, &chain->seen)
		if (str_eq(*it, name))
			return true;
	vec_push(&chain->seen, mem_strdup(name));
	return false;
}

/* Shows the image d, which is closed, and fills in the name and format of the one below it. */
static int show(const struct tool *t, struct disk *d, bool json, json_t *list, struct buf *text,
		char **ret_next, char **ret_format)
{
	struct image im = {0};
	int status = look(t, d, &im);

	if (!status) {
		const char *format = disk_backing_format(d);

		if (json)
			json_array_append_new(list, as_json(&im));
		if (!json && text->len)
			buf_addc(text, '\n');
		if (!json)
			add_text(text, &im);
		*ret_next = STEAL(im.backing_path);
		*ret_format = format ? mem_strdup(format) : NULL;
	}
	image_done(&im);
	disk_close(d);
	return status;
}

static int collect(const struct tool *t, bool json, json_t *list, struct buf *text)
{
	struct cli *c = t->cli;
	bool image_opts = cli_bool(c, "image-opts"), follow = cli_bool(c, "backing-chain");
	unsigned flags = DISK_NO_IO | DISK_NO_BACKING | DISK_UNTRUSTED |
			 (cli_bool(c, "force-share") ? DISK_SHARE : 0);
	_free_ char *name = mem_strdup(cli_argv(c)[0]);
	_free_ char *format = cli_given(c, "format") ? mem_strdup(cli_string(c, "format")) : NULL;
	struct chain chain = {0};
	int status = 0;

	while (!status && name) {
		_free_ char *next = NULL, *next_format = NULL;

		if (seen_before(&chain, name)) {
			status = tool_error(t, "Backing file '%s' creates an infinite loop.", name);
			break;
		}
		struct disk *d = tool_open(t, name, image_opts, format, flags);

		status = d ? show(t, d, json, list, text, &next, &next_format) : 1;
		free(name);
		free(format);
		name = follow ? STEAL(next) : NULL;
		format = follow ? STEAL(next_format) : NULL;
		image_opts = false;
	}
	vec_each (it, &chain.seen)
		free(*it);
	vec_done(&chain.seen);
	return status;
}

static int run(struct tool *t)
{
	_buf_ struct buf text = {0};
	json_t *list;
	bool json;
	int status = tool_output(t, &json);

	if (status)
		return status;
	if (cli_argc(t->cli) != 1)
		return tool_usage(t->cli, "Expecting one image file name");
	list = json_array();
	status = collect(t, json, list, &text);
	if (!status && json) {
		disk_print_json(
		    &text, cli_bool(t->cli, "backing-chain") ? list : json_array_get(list, 0), 0);
		buf_addc(&text, '\n');
	}
	if (!status)
		fwrite(buf_str(&text), 1, text.len, stdout);
	json_decref(list);
	return status;
}

int disk_cmd_info(struct cli *c)
{
	return tool_run(c, run);
}
