/* The program `viv`: finds the program that the first word or the link's name stands for, and
 * becomes it. It is linked statically and does nothing else, because its time is added to every
 * command's. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/programs.h"
#include "os/exe.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

extern char **environ;

/* In the build folder the programs lie beside this one. Returns the path of one, owned. */
static char *locate(const char *program)
{
	char self[PATH_MAX];
	int n = path_readlink(AT_FDCWD, "/proc/self/exe", self, sizeof(self));
	const char *slash = n > 0 ? strrchr(self, '/') : NULL;

	if (slash) {
		char *beside = mem_printf("%.*s/%s", (int)(slash - self), self, program);

		if (path_exists(AT_FDCWD, beside))
			return beside;
		free(beside);
	}
	return mem_printf("%s/%s", VIV_LIBEXECDIR, program);
}

/* Becomes the program; returns only where that fails. */
static int become(const char *program, bool sealed, char **argv)
{
	_free_ char *path = locate(program);
	int rc;

	if (sealed) {
		_close_ int fd = exe_sealed_copy(path, program);
		char *slash = strrchr(path, '/');

		rc = fd;
		if (fd >= 0) {
			if (slash)
				setenv(EXE_DIRECTORY_ENV, mem_strndup(path, (size_t)(slash - path)),
				       1);
			fexecve(fd, argv, environ);
			rc = -errno;
		}
	} else {
		execve(path, argv, environ);
		rc = -errno;
	}
	fprintf(stderr, "viv: cannot execute '%s': %s\n", path, strerror(-rc));
	if (rc == -ENOENT)
		fprintf(stderr, "try: install Vivarium again; this program is a part of it\n");
	return 1;
}

int main(int argc, char **argv)
{
	if (!argc) /* only Linux < 5.18 lets a caller do that */
		return 1;
	const char *slash = strrchr(argv[0], '/');
	const char *name = slash ? slash + 1 : argv[0];
	const char *word = argc > 1 ? argv[1] : "";

	for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
		const struct program *p = &programs[i];

		if (p->link && str_eq(name, p->link))
			return become(p->program, p->sealed, argv);
		if (str_eq(word, p->word)) {
			argv[1] = (char *)p->program;
			return become(p->program, p->sealed, argv + 1);
		}
	}
	if (argc == 2 && (str_eq(word, "--version") || str_eq(word, "-v"))) {
		puts("viv " VIV_VERSION);
		return fflush(stdout) ? 1 : 0;
	}
	return become(PROGRAM_DEFAULT, false, argv);
}
