/* The OCI runtime as a library: the operations of runtime-spec 1.2 (runtime.md "Operations") and
 * those that runc added and everybody uses. Each works on one container below one state directory,
 * holds its lock while it changes it, and leaves nothing behind when it fails. Callers are
 * single-threaded; fds of the caller from 3 on have been made close-on-exec before (see
 * container_isolate_fds). */
#ifndef CONTAINER_CONTAINER_H
#define CONTAINER_CONTAINER_H

#include "base/err.h"
#include "container/record.h"
#include "container/spec.h"

#include <stdbool.h>

struct container_opts {
	const char *pid_file; /* NULL: none */
	const char
	    *console_socket;      /* path of a listening UNIX socket that takes the pty's master */
	const char *pidfd_socket; /* the same for a pidfd of the process */
	int preserve_fds;         /* fds 3 … 3+n-1 go to the container */
	bool detach;
	bool no_pivot;
	bool no_new_keyring;
	bool no_subreaper;
	bool keep;
	bool systemd_cgroup;
	int rootless; /* 1 yes, 0 no, -1 find out */
};

/* Makes every inherited fd from 3 on close-on-exec, except the first preserve. */
void container_isolate_fds(int preserve);

/* `create`: everything but the user's program runs; its init waits for `start`. text: the raw
 * config.json. */
int container_create(int root_fd, const char *id, const struct spec *spec, const char *text,
		     size_t len, const struct container_opts *o, struct err *e);

/* `start` of a created container. */
int container_start(int root_fd, const char *id, struct err *e);

/* `run`: create and start; attached unless o->detach, then *ret_status is the exit status (128 +
 * signal). */
int container_run(int root_fd, const char *id, const struct spec *spec, const char *text,
		  size_t len, const struct container_opts *o, int *ret_status, struct err *e);

/* `exec`: another process in a running container. process NULL fields are the container's own. */
struct container_exec {
	const struct spec
	    *spec; /* the container's configuration, if it has been parsed; else NULL */
	const struct spec_process *process;
	const char *const *sub_cgroups; /* "path" or "controller:path"; NULL: none */
	bool ignore_paused;
};
int container_exec(int root_fd, const char *id, const struct container_exec *x,
		   const struct container_opts *o, int *ret_status, struct err *e);

/* `kill`: signal to init, or to all processes. */
int container_kill(int root_fd, const char *id, int sig, bool all, struct err *e);

/* `delete`: of a stopped one; force kills first and accepts one that is not there or half made. */
int container_delete(int root_fd, const char *id, bool force, struct err *e);

#endif
