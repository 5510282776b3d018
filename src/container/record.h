/* What is known of a container between two commands: a directory ROOT/ID below the runtime's state
 * directory with state.json   this struct (doc/format/runtime-state.md) config.json  the
 * configuration it was made from, as it was then exec.fifo    there while the container is created
 * and not started: its init waits for a reader notify/      the directory of the notify socket,
 * where one is used The directory's creation is the claim on the name; state.json is replaced
 * atomically; everything a crash can leave is removed by container_remove(). Mutating commands hold
 * the directory's flock. */
#ifndef CONTAINER_RECORD_H
#define CONTAINER_RECORD_H

#include "base/err.h"
#include "container/cgroup.h"
#include "container/spec.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define CONTAINER_ID_MAX   255
#define CONTAINER_FIFO     "exec.fifo"
#define CONTAINER_LIST_MAX 100000

struct json_t;

enum container_status {
	CONTAINER_CREATING,
	CONTAINER_CREATED,
	CONTAINER_RUNNING,
	CONTAINER_PAUSED,
	CONTAINER_STOPPED,
};

/* A process and the start time that tells it from a later one of the same pid. */
struct container_proc {
	pid_t pid;
	uint64_t start;
};

struct container {
	char id[CONTAINER_ID_MAX + 1];
	int root_fd;           /* the state directory; borrowed */
	int dir_fd;            /* ROOT/ID; owned, -1 */
	char *bundle, *rootfs; /* absolute; owned */
	char created[40];      /* RFC 3339, UTC */
	uid_t owner;
	struct container_proc init;    /* pid 0 until there is one */
	struct container_proc creator; /* the command that makes it, while it does */
	bool creating;                 /* that command lived when the record was read */
	struct cgroup cgroup;
	bool has_poststop;
	bool own_pid_ns; /* init is the first of a pid namespace: all end with it */
	bool systemd_cgroup;
	struct json_t *annotations; /* object or NULL; owned */
};

/* Opens the state directory; create: makes it (0700) where missing. path NULL: the default of this
 * user. */
int container_root_open(const char *path, bool create, struct err *e);

/* Claims the name. The container has nothing but its directory then. CT-ID, CT-EXISTS. */
int container_claim(int root_fd, const char *id, struct container *ret, struct err *e);

/* Reads what is stored. lock: take the directory's exclusive flock. CT-NOT-FOUND (-ENOENT),
 * STATE-CORRUPT; a directory without state (its maker was killed at once) loads as a container that
 * has stopped. */
int container_load(int root_fd, const char *id, bool lock, struct container *ret, struct err *e);

int container_save(const struct container *c, struct err *e);

/* The configuration kept in its directory. Returns owned. */
int container_spec(const struct container *c, struct spec **ret, struct err *e);

/* Looks at the processes and the fifo, so it may change between two calls. */
enum container_status container_status(const struct container *c);
const char *container_status_name(enum container_status s);

/* The state of the container as the specification prints it (runtime.md "State") with status; pid
 * as seen by hooks. Returns a new reference. */
struct json_t *container_state_json(const struct container *c, enum container_status s);

/* Removes the directory and everything in it. */
int container_remove(struct container *c, struct err *e);

/* Names of all containers below the state directory, sorted; NULL-terminated. Returns owned. */
int container_names(int root_fd, char ***ret, struct err *e);

void container_done(struct container *c);
#define _container_ __attribute__((cleanup(container_done)))

#endif
