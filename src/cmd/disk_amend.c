/* viv disk amend: other options for an image that exists. */
#include "base/cleanup.h"
#include "base/str.h"
#include "cmd/disk.h"
#include "disk/driver.h"
#include "disk/optstr.h"

#include <stdio.h>

static int amend(struct tool *t, struct disk *d, const json_t *opts)
{
	struct cli *c = t->cli;
	struct tool_progress p;
	struct err e = {0};

	if (!d->drv->amend)
		return tool_error(t, "Format driver '%s' does not support option amendment",
				  d->drv->name);
	tool_progress_begin(&p, t, cli_argv(c)[0], cli_bool(c, "progress"));
	int rc = disk_amend(d, opts, cli_bool(c, "force"), &p.fn, &e);

	tool_progress_end(&p, !rc);
	return rc ? tool_fail(t, &e) : 0;
}

static int run(struct tool *t)
{
	struct cli *c = t->cli;
	json_t *opts;
	struct err e = {0};
	int status = 0;
	_free_ char *list = tool_options(t, &status);

	if (status)
		return status;
	if (!list)
		return tool_usage(c, "Must specify options (-o)");
	if (optstr_wants_help(list) && cli_given(c, "format"))
		return tool_options_help(t, cli_string(c, "format"), NULL, true);
	struct disk *d = tool_open_only(t, cli_string(c, "cache"), DISK_WRITE | DISK_RESIZE);

	if (!d)
		return 1;
	if (optstr_wants_help(list)) {
		status = tool_options_help(t, disk_format(d), NULL, true);
	} else if (optstr_parse(list, NULL, &opts, &e)) {
		status = tool_fail(t, &e);
	} else {
		status = amend(t, d, opts);
		json_decref(opts);
	}
	return tool_close(t, d) || status;
}

int disk_cmd_amend(struct cli *c)
{
	return tool_run(c, run);
}
