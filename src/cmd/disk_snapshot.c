/* viv disk snapshot: internal snapshots of an image. */
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "cmd/disk.h"
#include "cmd/disk_print.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static int list(struct tool *t, struct disk *d)
{
	_free_ struct disk_snapshot *all = NULL;
	_buf_ struct buf text = {0};
	int count = disk_snapshot_list(d, &all);

	if (count <= 0)
		return 0;
	disk_print_snapshots(&text, all, count);
	tool_say(t, "Snapshot list:\n%s", buf_str(&text));
	return 0;
}

static int create(struct tool *t, struct disk *d, const char *name)
{
	struct disk_snapshot s = {0};
	struct timespec now;
	struct err e = {0};

	if (strlen(name) >= sizeof(s.name))
		return tool_error(t, "Could not create snapshot '%.40s…': the name is too long",
				  name);
	memcpy(s.name, name, strlen(name));
	clock_gettime(CLOCK_REALTIME, &now);
	s.date_sec = (uint32_t)now.tv_sec;
	s.date_nsec = (uint32_t)now.tv_nsec;
	int rc = disk_snapshot_create(d, &s, &e);

	return rc ? tool_error(t, "Could not create snapshot '%s': %d (%s)", name, rc,
			       strerror(-rc))
		  : 0;
}

static int apply(struct tool *t, struct disk *d, const char *name)
{
	struct err e = {0};

	if (!disk_snapshot_apply(d, name, &e))
		return 0;
	err_prefix(&e, "Could not apply snapshot '%s': ", name);
	return tool_fail(t, &e);
}

static int delete (struct tool *t, struct disk *d, const char *name)
{
	struct err e = {0};
	int rc = disk_snapshot_delete(d, name, &e);

	if (rc == -ENOENT)
		return tool_error(t, "Could not delete snapshot '%s': snapshot not found", name);
	if (!rc)
		return 0;
	err_prefix(&e, "Could not delete snapshot '%s': ", name);
	return tool_fail(t, &e);
}

static int run(struct tool *t)
{
	struct cli *c = t->cli;
	const char *to_create = cli_string(c, "create"), *to_apply = cli_string(c, "apply"),
		   *to_delete = cli_string(c, "delete");
	int wanted = cli_bool(c, "list") + !!to_create + !!to_apply + !!to_delete;

	if (wanted > 1)
		return tool_usage(c, "Cannot mix '-l', '-a', '-c', '-d'");
	bool change = wanted && !cli_bool(c, "list");
	struct disk *d =
	    tool_open_only(t, NULL, change ? DISK_WRITE | DISK_UNMAP : DISK_NO_BACKING);

	if (!d)
		return 1;
	int status = to_create   ? create(t, d, to_create)
		     : to_apply  ? apply(t, d, to_apply)
		     : to_delete ? delete (t, d, to_delete)
				 : list(t, d);

	return tool_close(t, d) || status;
}

int disk_cmd_snapshot(struct cli *c)
{
	return tool_run(c, run);
}
