/* Commands of other programs of this installation: `viv-cli images`, `viv-image doctor`. The
 * launcher goes to them directly; help, completion and flags before the command come through here. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "cmd/programs.h"
#include "cmd/viv.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

extern char **environ;

int delegate(const struct cli_command *cmd, char *const *words)
{
	const char *program = cmd->program ? cmd->program : PROGRAM_DEFAULT;
	char self[PATH_MAX];
	int n = path_readlink(AT_FDCWD, "/proc/self/exe", self, sizeof(self));
	const char *slash = n > 0 ? strrchr(self, '/') : NULL;
	_free_ char *path = mem_printf("%.*s/%s", slash ? (int)(slash - self) : 0, self, program);
	int count = 0;

	while (words[count])
		count++;
	_free_ char **argv = mem_array((size_t)count + 2, sizeof(*argv));

	argv[0] = path;
	memcpy(argv + 1, words, (size_t)count * sizeof(*argv));
	fflush(stdout);
	execve(path, argv, environ);
	fprintf(stderr, "viv: cannot execute '%s': %s\n", path, strerror(errno));
	return 1;
}
