/* viv disk convert: copies images into one of another kind. */
#include "disk/convert.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "cmd/disk.h"
#include "cmd/disk_create.h"
#include "disk/driver.h"
#include "disk/optstr.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define SPARSE_DEFAULT 4096
#define SPARSE_MAX     (1u << 30)

struct conversion {
	struct tool *t;
	VEC(struct disk *) sources;
	const char *out_name;
	const struct disk_driver *driver; /* of the target; NULL with --target-image-opts */
	json_t *opts;                     /* -o, -B and the size */
	struct disk *target;
	bool created; /* by this command: a failure removes it */
	struct disk_convert job;
};

/* --- the command line --- */

/* Two flags that cannot be had together. */
static int contradictions(struct tool *t)
{
	struct cli *c = t->cli;
	bool skip = cli_bool(c, "no-create"), offload = cli_bool(c, "copy-offload");

	if (skip && cli_given(c, "options"))
		return tool_error(t, "-o has no effect when skipping image creation");
	if (cli_bool(c, "target-image-opts") && !skip)
		return tool_error(t, "--target-image-opts requires use of -n flag");
	if (cli_bool(c, "target-is-zero") && !skip)
		return tool_error(t, "--target-is-zero requires use of -n flag");
	if (cli_bool(c, "target-is-zero") && cli_given(c, "backing"))
		return tool_error(t, "Cannot use --target-is-zero when the destination image has a "
				     "backing file");
	if (cli_bool(c, "skip-broken-bitmaps") && !cli_bool(c, "bitmaps"))
		return tool_error(t, "Use of --skip-broken-bitmaps requires --bitmaps");
	if (offload && cli_bool(c, "salvage"))
		return tool_error(t, "Cannot use copy offloading in salvaging mode");
	if (offload && cli_given(c, "sparse"))
		return tool_error(t, "Cannot enable copy offloading when -S is used");
	if (offload && cli_bool(c, "compress"))
		return tool_error(t, "Cannot enable copy offloading when -c is used");
	if (cli_bool(c, "unordered") && cli_bool(c, "compress"))
		return tool_error(t, "Out of order write and compress are mutually exclusive");
	return 0;
}

static int numbers(struct conversion *v)
{
	struct tool *t = v->t;
	struct cli *c = t->cli;
	const char *sparse = cli_string(c, "sparse"), *rate = cli_string(c, "rate-limit");
	uint64_t bytes = SPARSE_DEFAULT, workers = 0;

	if (sparse && !tool_size(t, "sparse size", sparse, 0, INT64_MAX, &bytes))
		return 1;
	if (bytes % 512 || bytes >= SPARSE_MAX)
		return tool_error(t,
				  "Invalid buffer size for sparse output specified. Valid sizes "
				  "are multiples of 512 up to %u. Select 0 to disable sparse "
				  "detection (fully allocates output).",
				  SPARSE_MAX - 512);
	if (rate && !tool_size(t, "rate limit", rate, 0, INT64_MAX, &v->job.bytes_per_s))
		return 1;
	if (cli_given(c, "coroutines") && (str_to_u64(cli_string(c, "coroutines"), &workers) ||
					   !workers || workers > DISK_CONVERT_WORKERS_MAX))
		return tool_error(t,
				  "Invalid number of coroutines. Allowed number of coroutines is "
				  "between 1 and %d",
				  DISK_CONVERT_WORKERS_MAX);
	v->job.sparse = (uint32_t)bytes;
	v->job.workers = (unsigned)workers;
	v->job.compressed = cli_bool(c, "compress");
	v->job.any_order = cli_bool(c, "unordered");
	v->job.offload = cli_bool(c, "copy-offload");
	return 0;
}

/* --- sources --- */

/* "NAME" or "snapshot.id=ID,snapshot.name=NAME" (the id counts where both are given). */
static int show_snapshot(struct tool *t, struct disk *d, const char *text)
{
	json_t *list = NULL;
	struct err e = {0};
	const char *name = text;
	int status = 0;

	if (str_after(text, "snapshot.")) {
		if (optstr_parse(text, NULL, &list, &e))
			return tool_error(t, "Failed in parsing snapshot param '%s'", text);
		const json_t *id = json_object_get(list, "snapshot.id");

		name = json_string_value(id ? id : json_object_get(list, "snapshot.name"));
	}
	if (!name) {
		status = tool_error(t, "Failed in parsing snapshot param '%s'", text);
	} else if (disk_snapshot_show(d, name, &e)) {
		err_prefix(&e, "Failed to load snapshot: ");
		status = tool_fail(t, &e);
	}
	json_decref(list);
	return status;
}

static int open_sources(struct conversion *v)
{
	struct tool *t = v->t;
	struct cli *c = t->cli;
	const char *cache = cli_string(c, "source-cache"), *snapshot = cli_string(c, "snapshot");
	unsigned flags = cli_bool(c, "force-share") ? DISK_SHARE : 0;
	int n = cli_argc(c) - 1;

	if (cache && !tool_cache(cache, &flags))
		return tool_error(t, "Invalid source cache option: %s", cache);
	if (n > 1 && snapshot)
		return tool_error(t, "No support for concatenating multiple snapshot");
	for (int i = 0; i < n; i++) {
		struct disk *d = tool_open(t, cli_argv(c)[i], cli_bool(c, "image-opts"),
					   cli_string(c, "format"), flags);

		if (!d)
			return 1;
		vec_push(&v->sources, d);
	}
	return snapshot ? show_snapshot(t, v->sources.v[0], snapshot) : 0;
}

static uint64_t total_size(const struct conversion *v)
{
	uint64_t sum = 0;

	vec_each (d, &v->sources)
		sum += disk_size(*d);
	return sum;
}

/* --- the target --- */

static const char *opt_text(const struct conversion *v, const char *key)
{
	return json_string_value(json_object_get(v->opts, key));
}

static int target_options(struct conversion *v)
{
	struct tool *t = v->t;
	struct cli *c = t->cli;
	const char *format = cli_string(c, "target-format");
	struct err e = {0};
	int status = 0;
	_free_ char *list = tool_options(t, &status);

	if (status)
		return status;
	v->driver = tool_driver(t, format);
	if (!v->driver)
		return 1;
	if (!v->driver->create_opts && !cli_bool(c, "no-create"))
		return tool_error(t, "Format driver '%s' does not support image creation",
				  v->driver->name);
	if (optstr_parse(list ? list : "", NULL, &v->opts, &e))
		return tool_fail(t, &e);
	if (cli_given(c, "backing"))
		json_object_set_new(v->opts, "backing_file", json_string(cli_string(c, "backing")));
	if (cli_given(c, "backing-format"))
		json_object_set_new(v->opts, "backing_fmt",
				    json_string(cli_string(c, "backing-format")));
	if (opt_text(v, "backing_file") && !opt_text(v, "backing_fmt"))
		return tool_error(t, "Use of backing file requires explicit backing format");
	if (opt_text(v, "backing_file") && v->sources.n > 1)
		return tool_error(t, "Having a backing file for the target makes no sense when "
				     "concatenating multiple input images");
	if (v->job.compressed && !v->driver->pwritev_compressed)
		return tool_error(t, "Compression not supported for this file format");
	const char *prealloc = opt_text(v, "preallocation");

	if (v->job.compressed && prealloc && !str_eq(prealloc, "off"))
		return tool_error(t,
				  "Compression and preallocation not supported at the same time");
	return 0;
}

static int create_target(struct conversion *v)
{
	struct tool *t = v->t;
	_free_ struct disk_opt *table = disk_create_opts(v->driver);
	struct err e = {0};

	if (disk_opts_check(v->opts, table, &e))
		return tool_fail(t, &e);
	json_t *size = json_object_get(v->opts, "size");

	if (!size)
		json_object_set_new(v->opts, "size", json_integer((json_int_t)total_size(v)));
	if (disk_create(t->ctx, v->driver, v->out_name, v->opts, 0, &e)) {
		err_prefix(&e, "%s: error while converting %s: ", v->out_name, v->driver->name);
		return tool_fail(t, &e);
	}
	v->created = true;
	return 0;
}

static int open_target(struct conversion *v)
{
	struct tool *t = v->t;
	struct cli *c = t->cli;
	bool image_opts = cli_bool(c, "target-image-opts");
	const char *cache = cli_string(c, "cache");
	unsigned flags = DISK_WRITE | DISK_UNMAP | (v->created ? DISK_RESIZE : 0);

	if (!tool_cache(cache, &flags))
		return tool_error(t, "Invalid cache option: %s", cache);
	v->target =
	    tool_open(t, v->out_name, image_opts, image_opts ? NULL : v->driver->name, flags);
	if (!v->target)
		return 1;
	if (disk_size(v->target) < total_size(v))
		return tool_error(t, "output file is smaller than input file");
	return 0;
}

/* --- bitmaps --- */

static int copy_bitmap(struct conversion *v, struct disk *source, const struct disk_bitmap *b)
{
	struct err e = {0};

	if (disk_bitmap_add(v->target, b->name, b->granularity, b->enabled, &e)) {
		err_prefix(&e, "Failed to create bitmap %s: ", b->name);
		return tool_fail(v->t, &e);
	}
	if (disk_bitmap_merge(v->target, b->name, source, b->name, &e)) {
		err_prefix(&e, "Failed to populate bitmap %s: ", b->name);
		disk_bitmap_remove(v->target, b->name, NULL);
		return tool_fail(v->t, &e);
	}
	return 0;
}

/* Before the copy, so that a broken bitmap is not found at its end. */
static int check_bitmaps(struct conversion *v, const struct disk_bitmap *list, int count)
{
	bool skip = cli_bool(v->t->cli, "skip-broken-bitmaps");

	if (count < 0)
		return tool_error(v->t, "Format driver '%s' does not support bitmaps",
				  disk_format(v->sources.v[0]));
	for (int i = 0; i < count; i++)
		if (list[i].inconsistent && !skip) {
			tool_error(v->t, "Cannot copy inconsistent bitmap '%s'", list[i].name);
			fprintf(stderr, "Try --skip-broken-bitmaps, or use 'qemu-img bitmap "
					"--remove'\n");
			return 1;
		}
	return 0;
}

static int copy_bitmaps(struct conversion *v, const struct disk_bitmap *list, int count)
{
	int status = 0;

	for (int i = 0; i < count && !status; i++) {
		if (list[i].inconsistent)
			tool_warn(v->t, "Skipping inconsistent bitmap '%s'", list[i].name);
		else
			status = copy_bitmap(v, v->sources.v[0], &list[i]);
	}
	return status;
}

/* --- the copy --- */

static void on_unreadable(void *arg, uint64_t offset, int rc)
{
	const struct conversion *v = arg;

	if (!v->t->quiet)
		tool_warn(v->t, "error while reading offset %" PRIu64 ": %s", offset,
			  strerror(-rc));
}

static int copy(struct conversion *v)
{
	struct tool *t = v->t;
	struct cli *c = t->cli;
	struct tool_progress p;
	struct err e = {0};

	v->job.sources = v->sources.v;
	v->job.source_count = (unsigned)v->sources.n;
	v->job.target = v->target;
	v->job.over_backing = disk_backing(v->target) != NULL;
	if (v->job.over_backing)
		v->job.backing_size = disk_size(disk_backing(v->target));
	v->job.starts_zeroed =
	    cli_bool(c, "target-is-zero") ||
	    (v->created && !v->job.over_backing && disk_starts_zeroed(v->target));
	if (cli_bool(c, "salvage")) {
		v->job.unreadable = on_unreadable;
		v->job.arg = v;
	}
	tool_progress_begin(&p, t, v->out_name, cli_bool(c, "progress"));
	v->job.progress = p.fn;
	int rc = disk_convert(&v->job, &e);

	tool_progress_end(&p, !rc);
	return rc == -ECANCELED ? 1 : rc ? tool_fail(t, &e) : 0;
}

static int convert(struct conversion *v)
{
	struct tool *t = v->t;
	struct cli *c = t->cli;
	_free_ struct disk_bitmap *bitmaps = NULL;
	int count = 0, status = open_sources(v);

	if (!status && !cli_bool(c, "target-image-opts"))
		status = target_options(v);
	if (!status && cli_bool(c, "bitmaps")) {
		count = disk_bitmap_list(v->sources.v[0], &bitmaps);
		status = v->sources.n > 1
			     ? tool_error(t, "Copying bitmaps only possible with single source")
			     : check_bitmaps(v, bitmaps, count);
	}
	if (!status && !cli_bool(c, "no-create"))
		status = create_target(v);
	if (!status)
		status = open_target(v);
	if (!status)
		status = copy(v);
	return status ? status : copy_bitmaps(v, bitmaps, count);
}

/* Nothing half-made stays: a target that this command made goes again. */
static int finish(struct conversion *v, int status)
{
	int signal = tool_interrupted();
	struct stat st;

	if (v->target && tool_close(v->t, v->target) && !status)
		status = 1;
	vec_each (d, &v->sources)
		disk_close(*d);
	vec_done(&v->sources);
	json_decref(v->opts);
	if (status && v->created && !path_lstat(AT_FDCWD, v->out_name, &st) && S_ISREG(st.st_mode))
		path_unlink(AT_FDCWD, v->out_name);
	if (status && signal) {
		fprintf(stderr, "%s: stopped by signal %d; the target has been removed\n",
			cli_program(v->t->cli)->name, signal);
		return 128 + signal;
	}
	return status;
}

static int run(struct tool *t)
{
	struct conversion v = {.t = t};
	struct cli *c = t->cli;
	int status = contradictions(t);

	if (!status)
		status = numbers(&v);
	if (status)
		return status;
	for (char *const *o = cli_list(c, "options"); *o; o++)
		if (optstr_wants_help(*o))
			return tool_options_help(t, cli_string(c, "target-format"),
						 cli_argc(c) ? cli_argv(c)[cli_argc(c) - 1] : NULL,
						 false);
	if (cli_argc(c) < 2)
		return tool_usage(c, "Must specify image file name");
	v.out_name = cli_argv(c)[cli_argc(c) - 1];
	tool_listen();
	return finish(&v, convert(&v));
}

int disk_cmd_convert(struct cli *c)
{
	return tool_run(c, run);
}
