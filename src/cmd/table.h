/* The one table of `viv`: every command, whichever program runs it. viv-cli and its siblings
 * (viv-image, …) link all of it, so that each knows every command's help, pages and completion, and
 * give handlers for their own rows; programs.h has the launcher's short cut to them. A row without
 * a program is viv-cli's. */
#ifndef CMD_TABLE_H
#define CMD_TABLE_H

#include "cmd/cli.h"

extern const struct cli_command *const viv_tables[];
extern const struct cli_flag viv_globals[];
extern const char *const viv_groups[];

/* The headings of --help, in its order; a row names one of them. */
extern const char viv_group_start[], viv_group_images[], viv_group_low[], viv_group_host[];

/* One table per area: start with one of your own where a new area begins, and list it in table.c. */
extern const struct cli_command viv_image_table[];
extern const struct cli_command viv_registry_table[];
extern const struct cli_command viv_rootfs_table[];

/* Flags of commands that print data; each ends the command's own list by `VIV_FORMAT_FLAG, {0}`. */
#define VIV_FORMAT_FLAG                                                                           \
	{                                                                                         \
		"format",                                                                         \
		    .type = CLI_STRING, .metavar = "TEMPLATE",                                    \
		    .help =                                                                       \
			"Go template for each row, as in Docker; also \"json\" and \"table …\"" \
	}

#endif
