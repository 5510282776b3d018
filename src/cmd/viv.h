/* What the commands of viv-cli share: one handler per file, listed in main.c. */
#ifndef CMD_VIV_H
#define CMD_VIV_H

#include "cmd/cli.h"
#include "cmd/output.h"
#include "cmd/settings.h"

int cmd_completion(struct cli *c);
int cmd_doctor(struct cli *c);
int cmd_explain(struct cli *c);
int cmd_info(struct cli *c);
int cmd_settings(struct cli *c);
int cmd_settings_get(struct cli *c);
int cmd_settings_set(struct cli *c);
int cmd_settings_unset(struct cli *c);
int cmd_status(struct cli *c); /* bare `viv` */
int cmd_version(struct cli *c);
/* `viv-cli runtime …`: `viv` itself goes there directly; help and completion come through here. */
int cmd_runtime(struct cli *c);
int cmd_runtime_complete(int argc, char **argv);

/* The settings, as loaded before the handler ran. */
const struct settings *viv_settings(const struct cli *c);

/* What --output, --format or the settings ask for. */
struct output viv_output(const struct cli *c, const struct output_column *columns);

/* Prints rows, or one object; the exit status. */
int viv_print_rows(const struct cli *c, const struct output_column *columns, const json_t *rows);
int viv_print_object(const struct cli *c, const struct output_column *columns,
		     const json_t *object);

/* Whether to colour standard output: --color, the settings, NO_COLOR and the terminal, in this
 * order. */
bool viv_colour(const struct cli *c);

/* Flags of commands that print data; each ends the command's own list by `VIV_FORMAT_FLAG, {0}`. */
#define VIV_FORMAT_FLAG                                                                           \
	{                                                                                         \
		"format",                                                                         \
		    .type = CLI_STRING, .metavar = "TEMPLATE",                                    \
		    .help =                                                                       \
			"Go template for each row, as in Docker; also \"json\" and \"table …\"" \
	}

#endif
