/* viv disk commit: what an image holds goes into the image behind it. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/disk.h"
#include "disk/driver.h"
#include "disk/rebase.h"
#include "os/path.h"

#include <errno.h>
#include <stdio.h>

static bool same_file(const char *a, const char *b)
{
	_free_ char *real_a = NULL, *real_b = NULL;

	return a && b && !path_real(a, &real_a) && !path_real(b, &real_b) && str_eq(real_a, real_b);
}

/* The image of the chain that -b names: as the image above it writes the name, or as a path, where a
 * relative one is relative to the image above. */
static struct disk *find_base(struct disk *top, const char *name)
{
	for (struct disk *d = top; disk_backing(d); d = disk_backing(d)) {
		_free_ char *path = disk_backing_path(d);
		_free_ char *wanted = disk_path_beside(disk_filename(d), name);
		const char *written = disk_backing_name(d);

		if ((written && str_eq(written, name)) || same_file(path, wanted))
			return disk_backing(d);
	}
	return NULL;
}

static int empty_top(struct tool *t, struct disk *top)
{
	struct err e = {0};
	int rc = disk_make_empty(top, &e);

	/* What cannot be emptied stays valid: it holds what its base holds now. */
	if (!rc || rc == -ENOTSUP)
		return 0;
	return tool_error(t, "Could not empty %s: %s", disk_filename(top), strerror(-rc));
}

static int commit(struct tool *t, struct disk *top, struct disk *base, bool drop)
{
	struct cli *c = t->cli;
	const char *rate = cli_string(c, "rate-limit");
	struct disk_commit job = {.top = top, .base = base};
	struct tool_progress p;
	struct err e = {0};

	if (rate && !tool_size(t, "rate limit", rate, 0, INT64_MAX, &job.bytes_per_s))
		return 1;
	if (disk_reopen(base, base->flags | DISK_WRITE | DISK_RESIZE | DISK_UNMAP, &e))
		return tool_fail(t, &e);
	tool_progress_begin(&p, t, cli_argv(c)[0], cli_bool(c, "progress"));
	job.progress = p.fn;
	int rc = disk_commit(&job, &e);

	tool_progress_end(&p, !rc);
	if (rc)
		return tool_error(t, "Block job failed: %s", strerror(-rc));
	if (!drop && empty_top(t, top))
		return 1;
	tool_say(t, "Image committed.\n");
	return 0;
}

static int run(struct tool *t)
{
	struct cli *c = t->cli;
	const char *name = cli_string(c, "base");
	struct disk *top = tool_open_only(t, cli_string(c, "cache"), DISK_WRITE | DISK_UNMAP);
	int status;

	if (!top)
		return 1;
	struct disk *base = name ? find_base(top, name) : disk_backing(top);

	if (!base && name)
		status = tool_error(t, "Did not find '%s' in the backing chain of '%s'", name,
				    cli_argv(c)[0]);
	else if (!base)
		status = tool_error(t, "Image does not have a backing file");
	else
		status = commit(t, top, base, name || cli_bool(c, "drop"));
	return tool_close(t, top) || status;
}

int disk_cmd_commit(struct cli *c)
{
	return tool_run(c, run);
}
