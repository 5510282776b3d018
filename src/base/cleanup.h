/* Scope-bound ownership: a variable marked _free_, _close_ … releases what it holds when it goes
 * out of scope. Declare and acquire in one statement; hand over with STEAL() or STEAL_FD(). A
 * function uses these or a goto ladder, never both. */
#ifndef BASE_CLEANUP_H
#define BASE_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <dirent.h>
#include <errno.h>

#define _cleanup_(f) __attribute__((cleanup(f)))

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

/* Keeps errno, so that an error path may return -errno after the fd has gone. */
static inline void cleanup_close(const int *fd)
{
	if (*fd >= 0) {
		int saved = errno;
		close(*fd);
		errno = saved;
	}
}

static inline void cleanup_closedir(DIR **d)
{
	if (*d)
		closedir(*d);
}

static inline void cleanup_fclose(FILE **f)
{
	if (*f)
		fclose(*f);
}

#define _free_     _cleanup_(cleanup_free)
#define _close_    _cleanup_(cleanup_close)
#define _closedir_ _cleanup_(cleanup_closedir)
#define _fclose_   _cleanup_(cleanup_fclose)

/* Takes the pointer out of a scope-bound variable. */
#define STEAL(p)                            \
	({                                  \
		__typeof__(p) steal_ = (p); \
		(p) = NULL;                 \
		steal_;                     \
	})

/* Takes the fd out of a scope-bound variable. */
#define STEAL_FD(fd)               \
	({                         \
		int steal_ = (fd); \
		(fd) = -1;         \
		steal_;            \
	})

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#endif
