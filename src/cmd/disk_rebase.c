/* viv disk rebase: another image behind an image. */
#include "disk/rebase.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/disk.h"
#include "disk/driver.h"

#include <errno.h>
#include <stdio.h>

static struct disk *open_new(struct tool *t, struct disk *top, const char *name, const char *format)
{
	_free_ char *path = disk_path_beside(disk_filename(top), name);
	unsigned flags = cli_bool(t->cli, "force-share") ? DISK_SHARE : 0;
	const char *cache = cli_string(t->cli, "source-cache");
	json_t *options = format ? json_pack("{s:s}", "driver", format) : NULL;
	struct disk *d = NULL;
	struct err e = {0};

	if (cache && !tool_cache(cache, &flags)) {
		tool_error(t, "Invalid source cache option: %s", cache);
	} else if (disk_open(t->ctx, path, options, flags | (format ? 0 : DISK_PROBE), &d, &e)) {
		err_prefix(&e, "Could not open new backing file '%s': ", name);
		tool_fail(t, &e);
	}
	json_decref(options);
	return d;
}

static int move_content(struct tool *t, struct disk *top, const char *name, const char *format)
{
	struct disk_rebase job = {.top = top};
	struct tool_progress p;
	struct err e = {0};

	if (*name) {
		job.new_backing = open_new(t, top, name, format);
		if (!job.new_backing)
			return 1;
	}
	tool_progress_begin(&p, t, cli_argv(t->cli)[0], cli_bool(t->cli, "progress"));
	job.progress = p.fn;
	int rc = disk_rebase(&job, &e);

	tool_progress_end(&p, !rc);
	disk_close(job.new_backing);
	return rc ? tool_fail(t, &e) : 0;
}

static int rename_backing(struct tool *t, struct disk *top, const char *name, const char *format)
{
	struct err e = {0};
	int rc;

	if (*name && !format)
		return tool_error(t,
				  "Could not change the backing file to '%s': backing format must "
				  "be specified",
				  name);
	rc = disk_change_backing(top, *name ? name : NULL, *name ? format : NULL, &e);
	if (rc == -ENOSPC)
		return tool_error(t,
				  "Could not change the backing file to '%s': No space left in the "
				  "file header",
				  name);
	if (rc) {
		err_prefix(&e, "Could not change the backing file to '%s': ", name);
		return tool_fail(t, &e);
	}
	return 0;
}

static int run(struct tool *t)
{
	struct cli *c = t->cli;
	bool unsafe = cli_bool(c, "unsafe");
	const char *name = cli_string(c, "backing"), *format = cli_string(c, "backing-format");
	int status = 0;

	if (cli_argc(c) != 1)
		return tool_usage(c, "Expecting one image file name");
	if (!unsafe && !name)
		return tool_usage(c, "Use backing file (-b) option or unsafe mode (-u)");
	if (format && !disk_driver_find(format))
		return tool_error(t, "Invalid format name: '%s'", format);
	struct disk *top = tool_open_only(t, cli_string(c, "cache"),
					  DISK_WRITE | DISK_UNMAP | (unsafe ? DISK_NO_BACKING : 0));

	if (!top)
		return 1;
	if (!unsafe)
		status = move_content(t, top, name, format);
	if (!status)
		status = rename_backing(t, top, name ? name : "", format);
	return tool_close(t, top) || status;
}

int disk_cmd_rebase(struct cli *c)
{
	return tool_run(c, run);
}
