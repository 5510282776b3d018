/* A folder of the test's own, removed with everything in it when the variable goes out of scope:
 *	_tmpdir_ struct tmpdir t = tmpdir_new(); … t.fd, t.path */
#ifndef TEST_LIB_TMPDIR_H
#define TEST_LIB_TMPDIR_H

#include <fcntl.h>
#include <unistd.h>
#include <limits.h>

#include "os/path.h"
#include "test.h"

struct tmpdir {
	int fd;
	char path[PATH_MAX];
};

static inline struct tmpdir tmpdir_new(void)
{
	struct tmpdir t;
	const char *base = getenv("TMPDIR");

	snprintf(t.path, sizeof(t.path), "%s/viv-test.XXXXXX", base ? base : "/tmp");
	assert_non_null(mkdtemp(t.path));
	t.fd = path_open(AT_FDCWD, t.path, O_RDONLY | O_DIRECTORY, 0);
	assert_ok(t.fd);
	return t;
}

static inline void tmpdir_done(struct tmpdir *t)
{
	close(t->fd);
	assert_ok(path_remove_tree(AT_FDCWD, t->path));
}

#define _tmpdir_ __attribute__((cleanup(tmpdir_done)))

#endif
