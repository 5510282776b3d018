/* Control groups of one container: where they are, their limits, their processes. One interface;
 * v1, v2, hybrid and the systemd driver stay behind it. Not thread-safe, no global state. The
 * struct is plain data, so that it can be written to the container's state file and read back by
 * another process (cgroup_to_json, cgroup_from_json).
 *
 * Order of a start: cgroup_init → cgroup_create → (clone with cgroup_clone_fd, or the child calls
 * cgroup_join_self) → … → cgroup_destroy. RCU waits are what costs (a write of another process's
 * pid to cgroup.procs on v1 takes 12–20 ms), therefore the child moves itself: "0" into `tasks` on
 * v1, CLONE_INTO_CGROUP on v2. */
#ifndef CONTAINER_CGROUP_H
#define CONTAINER_CGROUP_H

#include "base/err.h"
#include "container/spec.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define CGROUP_PATH_MAX 4096
#define CGROUP_V1_MAX   16 /* hierarchies */

struct buf;
struct json_t;

enum cgroup_mode {
	CGROUP_NONE, /* no usable control groups: allowed for ordinary users, then there are no
			limits */
	CGROUP_V1,   /* v1 or hybrid: one directory per hierarchy */
	CGROUP_V2,
};

struct cgroup {
	enum cgroup_mode mode;
	bool systemd; /* made by the systemd driver (a scope) */
	bool rootless;
	bool made; /* cgroup_create() succeeded: its processes are ours. Before that they are
		      another container's */
	char unit[256], slice[256]; /* systemd: names */
	char path[CGROUP_PATH_MAX]; /* v2: absolute directory; "" otherwise */
	struct {
		char controllers[64];       /* "cpu,cpuacct", "name=systemd" */
		char name[64];              /* of its mount point; not stored */
		char path[CGROUP_PATH_MAX]; /* absolute directory */
	} * v1;                             /* NULL unless v1; v1_count entries, owned */
	size_t v1_count;
	int fd; /* v2: O_PATH directory fd while the creator holds it, else -1 */
};

/* Decides mode and paths, touches nothing. spec->cgroups_path: absolute or relative path (cgroupfs)
 * or "slice:prefix:name" (systemd); default "/ID" for root below the caller's own group as runc
 * does. rootless: failures to create are tolerated unless limits are asked for. */
int cgroup_init(struct cgroup *cg, const struct spec *spec, const char *id, bool systemd,
		bool rootless, struct err *e);
void cgroup_done(struct cgroup *cg); /* frees memory, closes the fd; the groups stay */

/* Makes the directories (or the scope) and applies all of spec->resources that can be applied while
 * empty, device rules included. Undoes itself on failure, and cg then stands for no group at all.
 * Existing and occupied group: CT-STATE, -EBUSY. pid > 0: a process the systemd driver moves into
 * the scope at birth (it cannot make an empty one); 0 for cgroupfs. */
int cgroup_create(struct cgroup *cg, const struct spec *spec, pid_t pid, struct err *e);

/* An fd for clone3's CLONE_INTO_CGROUP, or -1 where the child must call cgroup_join_self().
 * Borrowed. */
int cgroup_clone_fd(const struct cgroup *cg);

/* Moves the calling single-threaded process. Called in the child, before its mounts change. */
int cgroup_join_self(const struct cgroup *cg, struct err *e);

/* For `exec`: the group to be born in. subs: "path" or "controller[,controller]:path" below the
 * container's, NULL-terminated or NULL; the struct's paths follow them, v2 gets its fd. */
int cgroup_open_for_exec(struct cgroup *cg, const char *const *subs, struct err *e);
/* The same where the container's group may hold no processes (-EBUSY of clone3): the group that pid
 * is in. v2 only. */
int cgroup_use_group_of(struct cgroup *cg, pid_t pid, struct err *e);

/* As cgroup_create's limits, on a live container: `update`. Only what spec->resources says is
 * touched. */
int cgroup_update(const struct cgroup *cg, const struct spec_resources *res, struct err *e);

int cgroup_freeze(const struct cgroup *cg, bool frozen, struct err *e); /* waits until it is so */
bool cgroup_is_frozen(const struct cgroup *cg);
/* Every process in the group and below it. Returns owned array. */
int cgroup_pids(const struct cgroup *cg, pid_t **ret_pids, size_t *ret_count, struct err *e);
/* Signals every process of a group that was made; cgroup.kill where it exists and sig is SIGKILL; a
 * frozen group is thawed for SIGKILL. */
int cgroup_kill(const struct cgroup *cg, int sig, struct err *e);
/* Removes the group and empty groups below it; busy ones are retried up to a bound. Missing is
 * success. Of one that was never made, only what an interrupted cgroup_create() may have left goes:
 * empty directories. */
int cgroup_destroy(struct cgroup *cg, struct err *e);
bool cgroup_exists(const struct cgroup *cg);

/* Appends runc's `events --stats` "data" object (cpu, memory, pids, blkio, hugetlb …) as JSON text:
 * its numbers are unsigned 64-bit. */
int cgroup_stats(const struct cgroup *cg, struct buf *b, struct err *e);
/* OOM: an fd that becomes readable when the OOM killer acted (v1: eventfd, v2: inotify on
 * memory.events), and how many kills there were so far. -ENOTSUP where the controller is missing.
 */
int cgroup_oom_fd(const struct cgroup *cg, struct err *e);
int cgroup_oom_count(const struct cgroup *cg, uint64_t *ret_count);

struct json_t *cgroup_to_json(const struct cgroup *cg);
int cgroup_from_json(struct cgroup *cg, const struct json_t *j, struct err *e);

/* For mounts of type "cgroup" inside the container: the v1 hierarchies or the v2 mount as they are
 * on this host. Each has the mount point, the controllers' names and the container's directory
 * below it. See struct cgroup. */
struct cgroup_host {
	enum cgroup_mode mode;
	bool hybrid;
	struct {
		char controllers[64];
		char mountpoint[256];
		char own_path[CGROUP_PATH_MAX]; /* the caller's group in it, "/" at least */
	} v1[CGROUP_V1_MAX];
	size_t v1_count;
	char unified[256];                 /* mount point of cgroup2, "" where there is none */
	char unified_own[CGROUP_PATH_MAX]; /* the caller's group there */
};
int cgroup_host(struct cgroup_host *ret, struct err *e);

#endif
