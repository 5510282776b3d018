/* Helper programs of the host: started with exactly the descriptors, environment and directory
 * that are said here, held by a pidfd, waited for with a time limit. Signal dispositions and
 * mask of the child are the default ones. A failure up to and including execve(2) is the
 * starter's own error, not an exit status to guess from. */
#ifndef IO_CHILD_H
#define IO_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

#define CHILD_FDS_MAX 64

struct child_fd {
	int from; /* the caller's */
	int to;   /* the child's */
};

struct child_spec {
	const char *path;        /* of the program; a trusted path of the host */
	int exe_fd;              /* where path is NULL: the program itself (no script) */
	const char *const *argv; /* NULL-terminated */
	const char *const *envp; /* NULL-terminated; NULL: an empty environment */
	const struct child_fd
	    *fds; /* all that the child gets; 0, 1, 2 not named here are /dev/null */
	size_t fd_count;
	int cwd_fd;       /* 0: the caller's directory */
	int death_signal; /* sent when the starting thread ends; 0: none */
	bool new_session; /* setsid(2) */
	bool terminal;    /* descriptor 0 becomes the controlling terminal; implies new_session */
};

struct child {
	pid_t pid;
	int pidfd; /* owned; -1 once waited for */
};

/* Returns when the program runs. */
int child_start(const struct child_spec *spec, struct child *ret_child, struct err *e);
/* Waits and reaps. *ret_status: the exit status, or 128 + the signal. -ETIMEDOUT: it still runs;
 * -ECHILD: it was reaped by another; timeout_ms -1: no limit. */
int child_wait(struct child *c, int timeout_ms, int *ret_status);
/* SIGTERM, then after grace_ms SIGKILL; reaps. Nothing to do for a child that was waited for. */
void child_stop(struct child *c, int grace_ms);

struct child_io {
	const void *input; /* standard input, as a file; NULL: none */
	size_t input_len;
	struct buf *out, *err; /* where output is added; NULL: /dev/null */
	size_t max_bytes;      /* of either */
	int timeout_ms;        /* -1: none */
};

/* Runs a program to its end. spec->fds must not name 0, 1, 2. One that writes more than
 * max_bytes (-EFBIG) or takes longer than timeout_ms (-ETIMEDOUT) is killed. */
int child_run(const struct child_spec *spec, const struct child_io *io, int *ret_status,
	      struct err *e);

#endif
