/* The program viv-cli: every command that needs no program of its own. The rows are in table.c. */
#include "base/str.h"
#include "cmd/commands.h"
#include "cmd/viv.h"

#include <stdio.h>

static const struct cli_handler handlers[] = {
    {"doctor", cmd_doctor},
    {"explain", cmd_explain},
    {"completion", cmd_completion},
    {"info", cmd_info},
    {"settings", cmd_settings},
    {"settings get", cmd_settings_get},
    {"settings set", cmd_settings_set},
    {"settings unset", cmd_settings_unset},
    {"version", cmd_version},
    {0},
};

static void name(const char *prefix, const char *word, const char *summary)
{
	if (str_after(word, prefix))
		printf("%s\t%s\n", word, summary);
}

static int names(const char *kind, const char *prefix)
{
	if (str_eq(kind, "shell")) {
		name(prefix, "bash", "the script for bash");
		name(prefix, "zsh", "the script for zsh");
	} else if (str_eq(kind, "setting")) {
		for (const struct cli_flag *f = settings_table; f->name; f++)
			name(prefix, f->name, f->help);
	} else if (str_eq(kind, "code")) {
		for (int i = 0; i < ERR_COUNT; i++)
			name(prefix, err_info((enum err_code)i)->name,
			     err_info((enum err_code)i)->summary);
	}
	return 0;
}

int main(int argc, char **argv)
{
	static const struct viv_program program = {handlers, .bare = cmd_status, .names = names};

	return viv_main(&program, argc, argv);
}
