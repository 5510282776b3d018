/* viv completion, and what other programs of this installation answer for: their help and
 * completion. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/viv.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

extern char **environ;

int cmd_completion(struct cli *c)
{
	const char *shell = cli_argv(c)[0];

	if (!str_eq(shell, "bash") && !str_eq(shell, "zsh"))
		return cli_usage(c, "'%s' is not one of bash|zsh", shell);
	cli_print_completion(cli_program(c), shell);
	return 0;
}

/* Becomes the program beside this one with the given arguments; returns the exit status where that
 * fails. */
static int become(const char *program, const char *extra, int argc, char *const *args)
{
	char self[PATH_MAX];
	int n = path_readlink(AT_FDCWD, "/proc/self/exe", self, sizeof(self));
	const char *slash = n > 0 ? strrchr(self, '/') : NULL;
	_free_ char *path = mem_printf("%.*s/%s", slash ? (int)(slash - self) : 0, self, program);
	_free_ char **argv = mem_array((size_t)argc + 3, sizeof(*argv));
	int k = 0;

	argv[k++] = (char *)program;
	if (extra)
		argv[k++] = (char *)extra;
	for (int i = 0; i < argc; i++)
		argv[k++] = args[i];
	fflush(stdout);
	execve(path, argv, environ);
	fprintf(stderr, "viv: cannot execute '%s': %s\n", path, strerror(errno));
	return 1;
}

int cmd_runtime(struct cli *c)
{
	return become("viv-runtime", NULL, cli_argc(c), cli_argv(c));
}

int cmd_runtime_complete(int argc, char **argv)
{
	return become("viv-runtime", "__complete", argc, argv);
}
