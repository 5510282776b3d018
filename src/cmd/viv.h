/* What the programs behind `viv` share that have its table of commands (table.h): viv-cli,
 * viv-image. */
#ifndef CMD_VIV_H
#define CMD_VIV_H

#include "cmd/cli.h"
#include "cmd/output.h"
#include "cmd/settings.h"
#include "cmd/table.h"
#include "io/progress.h"

struct viv_program {
	const struct cli_handler *handlers;
	int (*bare)(struct cli *c);                         /* NULL: help */
	int (*names)(const char *kind, const char *prefix); /* see struct cli_program */
};

/* The whole of main(): settings, log, parsing, the handler or the program that has it. Returns the
 * exit status. */
int viv_main(const struct viv_program *p, int argc, char **argv);

/* Becomes the program beside this one that a command's row names (struct cli_program, elsewhere). */
int delegate(const struct cli_command *cmd, char *const *words);

/* The settings, as loaded before the handler ran. */
const struct settings *viv_settings(const struct cli *c);

/* Where data is: the setting `root`, else what suits the user (state/dirs.h). Returns owned in *ret. */
int viv_data_dir(const struct cli *c, char **ret, struct err *e);

/* What --output, --format or the settings ask for. */
struct output viv_output(const struct cli *c, const struct output_column *columns);

/* Prints rows, or one object; the exit status. */
int viv_print_rows(const struct cli *c, const struct output_column *columns, const json_t *rows);
int viv_print_object(const struct cli *c, const struct output_column *columns,
		     const json_t *object);

/* Progress on standard error in the form that --progress or the settings ask for; none where quiet.
 * Returns owned. */
struct progress *viv_progress(const struct cli *c, bool quiet);

/* Whether to colour standard output: --color, the settings, NO_COLOR and the terminal, in this
 * order. */
bool viv_colour(const struct cli *c);

#endif
