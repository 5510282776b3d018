/* viv disk compare: do two images hold the same? */
#include "disk/compare.h"

#include "base/str.h"
#include "cmd/disk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Exit statuses of qemu-img compare. */
enum { COMPARE_SAME, COMPARE_DIFFERENT, COMPARE_OPEN, COMPARE_STATUS, COMPARE_READ };

static int tell(struct tool *t, const struct disk_compare *k)
{
	switch (k->difference) {
	case DISK_DIFFERENT_BYTES:
		tool_say(t, "Content mismatch at offset %" PRIu64 "!\n", k->offset);
		return COMPARE_DIFFERENT;
	case DISK_DIFFERENT_STATUS:
		tool_say(t, "Strict mode: Offset %" PRIu64 " block status mismatch!\n", k->offset);
		return COMPARE_DIFFERENT;
	default:
		tool_say(t, "Images are identical.\n");
		return COMPARE_SAME;
	}
}

static int compare(struct tool *t, struct disk *a, struct disk *b)
{
	struct cli *c = t->cli;
	struct disk_compare k = {.a = a, .b = b, .strict = cli_bool(c, "strict")};
	const char *const names[] = {cli_argv(c)[0], cli_argv(c)[1]};
	struct tool_progress p;

	if (disk_size(a) != disk_size(b) && k.strict) {
		tool_say(t, "Strict mode: Image size mismatch!\n");
		return COMPARE_DIFFERENT;
	}
	tool_progress_begin(&p, t, names[0], cli_bool(c, "progress"));
	k.progress = p.fn;
	int rc = disk_compare(&k);

	tool_progress_end(&p, !rc);
	if (rc == -ECANCELED)
		return COMPARE_OPEN;
	uint64_t common = disk_size(a) < disk_size(b) ? disk_size(a) : disk_size(b);

	if (disk_size(a) != disk_size(b) && !rc &&
	    (k.difference == DISK_SAME || k.offset >= common))
		tool_say(t, "Warning: Image size mismatch!\n");
	if (!rc)
		return tell(t, &k);
	const char *name = names[k.where == b];

	if (k.difference == DISK_COMPARE_STATUS) {
		tool_error(t, "Sector allocation test failed for %s", name);
		return COMPARE_STATUS;
	}
	tool_error(t, "Error while reading offset %" PRIu64 " of %s: %s", k.offset, name,
		   strerror(-rc));
	return COMPARE_READ;
}

static int run(struct tool *t)
{
	struct cli *c = t->cli;
	const char *cache = cli_string(c, "source-cache");
	bool image_opts = cli_bool(c, "image-opts");
	unsigned flags = cli_bool(c, "force-share") ? DISK_SHARE : 0;
	int status = COMPARE_OPEN;

	if (cli_argc(c) != 2)
		return tool_usage(c, "Expecting two image file names"), COMPARE_OPEN;
	if (cache && !tool_cache(cache, &flags))
		return tool_error(t, "Invalid source cache option: %s", cache), COMPARE_OPEN;
	struct disk *a = tool_open(t, cli_argv(c)[0], image_opts, cli_string(c, "format"), flags);
	struct disk *b =
	    a ? tool_open(t, cli_argv(c)[1], image_opts, cli_string(c, "second-format"), flags)
	      : NULL;

	if (b)
		status = compare(t, a, b);
	disk_close(b);
	disk_close(a);
	return status;
}

int disk_cmd_compare(struct cli *c)
{
	return tool_run(c, run);
}
