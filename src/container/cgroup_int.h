/* What the files of the control group module share. Nothing outside cgroup*.c includes it. */
#ifndef CONTAINER_CGROUP_INT_H
#define CONTAINER_CGROUP_INT_H

#include "base/buf.h"
#include "container/cgroup.h"

#include <stdarg.h>

#define CGROUP_FILE_MAX  (1u << 20) /* bytes of one file of a group that are read at most */
#define CGROUP_DEPTH_MAX 64         /* nested groups that are walked */

/* --- cgroup.c --- */

/* base + path, the latter cleaned lexically: no "." or "..", never above base. -ENAMETOOLONG. */
int cg_path_join(char out[CGROUP_PATH_MAX], const char *base, const char *path);

/* The directory where `controller` is controlled ("memory"; v2: always the one), or NULL. */
const char *cg_dir(const struct cgroup *cg, const char *controller);
/* Some directory that stands for the whole container: its processes are listed there. NULL: none.
 */
const char *cg_main_dir(const struct cgroup *cg);

/* A rootless container whose path was our own choice does without a group that it may not make. */
bool cg_may_ignore(const struct cgroup *cg, const struct spec *spec, int rc);

/* --- cgroup_file.c: a group's files; dir is absolute --- */

/* One write(2), or one per line of value. Returns a negative errno. */
int cg_write(const char *dir, const char *file, const char *value);
/* As cg_write, with an error that names file and value. */
int cg_set(struct err *e, const char *dir, const char *file, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The error of a refused limit. Returns rc. */
int cg_refused(struct err *e, int rc, const char *dir, const char *file, const char *value);
int cg_read(const char *dir, const char *file, struct buf *b);
/* A number; "max" is UINT64_MAX, a negative one 0 (the kernel's counters may dip below). */
int cg_read_u64(const char *dir, const char *file, uint64_t *ret);
/* The number after "key " in a file of such lines; -ENOENT where no line has it. */
int cg_read_key(const char *dir, const char *file, const char *key, uint64_t *ret);
bool cg_has(const char *dir, const char *file);
/* Calls fn with the absolute path of each group directly below dir; stops at the first negative
 * result. */
typedef int cg_child_fn(void *arg, const char *child);
int cg_each_child(const char *dir, cg_child_fn *fn, void *arg);

/* --- cgroup_v1.c --- */
/* Fills cg->v1: path below the hierarchies' mounts where absolute, else below the caller's groups.
 */
int cg_v1_paths(struct cgroup *cg, const struct cgroup_host *h, const char *path, struct err *e);
int cg_v1_create(struct cgroup *cg, const struct spec *spec, struct err *e);
int cg_v1_join(const struct cgroup *cg, struct err *e);
/* --- cgroup_v1_limits.c --- */
int cg_v1_limits(const struct cgroup *cg, const struct spec_resources *r, struct err *e);

/* --- cgroup_v2.c --- */
int cg_v2_create(struct cgroup *cg, const struct spec *spec, struct err *e);
int cg_v2_join(const struct cgroup *cg, struct err *e);
/* --- cgroup_v2_limits.c --- */
int cg_v2_limits(const struct cgroup *cg, const struct spec_resources *r, struct err *e);
int cg_rdma(const char *dir, const struct spec_resources *r,
	    struct err *e); /* the same file in v1 */
void cg_cpu_max(const char *dir, int64_t *quota, uint64_t *period);
uint64_t cg_weight_from_shares(uint64_t shares);
uint64_t cg_io_weight_from_blkio(uint16_t weight);
/* memory.swap.max from the specification's memory+swap. -EINVAL where they contradict. */
int cg_swap_v2(int64_t memory_and_swap, int64_t memory, int64_t *ret);

/* --- cgroup_kill.c --- */
/* Removes dir and the empty groups below it; -EBUSY after about ten seconds. */
int cg_remove(const char *dir);

/* --- cgroup_devices.c --- */
/* tolerant: rules that may not be set are skipped, as they are outside the initial user namespace,
 * where those of the outer container hold. */
int cg_v1_devices(const char *dir, bool tolerant, const struct spec_resources *r, struct err *e);

/* --- cgroup_host.c --- */
/* The parsing alone; both texts are taken apart. */
void cgroup_host_parse(char *self_cgroup, char *mountinfo, struct cgroup_host *ret);

/* --- cgroup_systemd.c --- */
int cg_systemd_init(struct cgroup *cg, const struct spec *spec, const char *id, struct err *e);
int cg_systemd_start(struct cgroup *cg, const struct spec *spec, pid_t pid, struct err *e);
int cg_systemd_update(const struct cgroup *cg, const struct spec_resources *r, struct err *e);
int cg_systemd_stop(const struct cgroup *cg, struct err *e);
/* --- cgroup_systemd_props.c: arrays of [name, D-Bus signature, value]; new references --- */
int cg_systemd_start_properties(const struct cgroup *cg, const struct spec *spec, pid_t pid,
				struct json_t **ret, struct err *e);
int cg_systemd_limit_properties(const struct cgroup *cg, const struct spec_resources *r,
				struct json_t **ret, struct err *e);
/* "0-3,8" as a bit mask, lowest byte first; -EINVAL where it is no such list, empty, or beyond
 * size. */
int cg_cpu_list_to_bytes(const char *list, uint8_t *bytes, size_t size, size_t *ret_len);

#endif
