#include "os/exe.h"
#include "base/cleanup.h"
#include "os/exe_copy.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <unistd.h>

extern char **environ;

static char directory[PATH_MAX] = VIV_LIBEXECDIR;

/* A sealed memfd, or a read-only mount that whoever started us says it made. */
static bool is_protected(int exe, const char *handed)
{
	struct statvfs vfs;
	int seals = fcntl(exe, F_GET_SEALS);

	return (seals >= 0 && seals & F_SEAL_WRITE) ||
	       (handed && fstatvfs(exe, &vfs) == 0 && vfs.f_flag & ST_RDONLY);
}

int exe_seal(char **argv)
{
	_close_ int self = path_open(AT_FDCWD, "/proc/self/exe", O_RDONLY, 0);
	const char *handed = getenv(EXE_DIRECTORY_ENV);

	if (self < 0)
		return self;
	if (is_protected(self, handed)) {
		if (handed && strlen(handed) < sizeof(directory))
			strcpy(directory, handed);
		unsetenv(EXE_DIRECTORY_ENV); /* the container's programs need not know */
		/* execveat(2) of an fd leaves its number as the name, before Linux 6.14. */
		prctl(PR_SET_NAME, "viv-runtime", 0, 0, 0);
		return 0;
	}
	int n = path_readlink(AT_FDCWD, "/proc/self/exe", directory, sizeof(directory));

	if (n < 0)
		return n;
	_close_ int copy = exe_protect(directory, "viv-runtime");

	if (copy < 0)
		return copy;
	char *slash = strrchr(directory, '/');

	if (slash)
		*slash = '\0';
	if (setenv(EXE_DIRECTORY_ENV, directory, 1) < 0)
		return -errno;
	fexecve(copy, argv, environ);
	return -errno;
}

const char *exe_directory(void)
{
	return directory;
}
