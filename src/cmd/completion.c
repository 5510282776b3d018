/* viv completion. */
#include "base/str.h"
#include "cmd/commands.h"

int cmd_completion(struct cli *c)
{
	const char *shell = cli_argv(c)[0];

	if (!str_eq(shell, "bash") && !str_eq(shell, "zsh"))
		return cli_usage(c, "'%s' is not one of bash|zsh", shell);
	cli_print_completion(cli_program(c), shell);
	return 0;
}
