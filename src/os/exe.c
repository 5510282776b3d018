#include "os/exe.h"
#include "base/cleanup.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

extern char **environ;

int exe_sealed_copy(const char *path, const char *name)
{
	_close_ int fd = path_open(AT_FDCWD, path, O_RDONLY, 0);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	/* One write(2) from a mapping: sendfile(2) goes page by page through a pipe and takes a
	 * hundred times as long. */
	void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);

	if (map == MAP_FAILED)
		return -errno;
	int copy = fd_memfd_sealed(name, map, (size_t)st.st_size);

	munmap(map, (size_t)st.st_size);
	return copy;
}

static char directory[PATH_MAX] = VIV_LIBEXECDIR;

int exe_seal(char **argv)
{
	_close_ int self = path_open(AT_FDCWD, "/proc/self/exe", O_RDONLY, 0);
	const char *handed = getenv(EXE_DIRECTORY_ENV);

	if (self < 0)
		return self;
	int seals = fcntl(self, F_GET_SEALS);

	if (seals >= 0 && seals & F_SEAL_WRITE) {
		if (handed && strlen(handed) < sizeof(directory))
			strcpy(directory, handed);
		unsetenv(EXE_DIRECTORY_ENV); /* the container's programs need not know */
		return 0;
	}
	int n = path_readlink(AT_FDCWD, "/proc/self/exe", directory, sizeof(directory));

	if (n < 0)
		return n;
	_close_ int copy = exe_sealed_copy(directory, "viv-runtime");

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
