/* cgroup v1: one directory per hierarchy. What costs here is the number of hierarchies, so each
 * gets one mkdir, and one open and write by the process that joins. In the hybrid layout the v2
 * mount is left alone: none of our limits are there, and entering it takes a clone3 flag or an RCU
 * wait. */
#include "container/cgroup_int.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/path.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

/* How often a refused join is tried again: the kernel answers EINVAL for a task that is still being
 * born. */
#define JOIN_TRIES 5

int cg_v1_paths(struct cgroup *cg, const struct cgroup_host *h, const char *path, struct err *e)
{
	cg->v1 = mem_array(h->v1_count, sizeof(*cg->v1));
	for (size_t i = 0; i < h->v1_count; i++) {
		__typeof__(*cg->v1) *to = &cg->v1[cg->v1_count++];

		const char *slash = strrchr(h->v1[i].mountpoint, '/');

		memcpy(to->controllers, h->v1[i].controllers, sizeof(to->controllers));
		snprintf(to->name, sizeof(to->name), "%.63s", slash ? slash + 1 : "");
		if (cg_path_join(to->path, h->v1[i].mountpoint,
				 *path == '/' ? "" : h->v1[i].own_path) ||
		    cg_path_join(to->path, to->path, path))
			return err_set(e, ERR_SPEC_VALUE, -ENAMETOOLONG,
				       "linux.cgroupsPath is too long");
	}
	return 0;
}

/* The directory above; false at the top. */
static bool parent_of(char out[CGROUP_PATH_MAX], const char *dir)
{
	const char *slash = strrchr(dir, '/');

	if (!slash || slash == dir)
		return false;
	memcpy(out, dir, (size_t)(slash - dir));
	out[slash - dir] = '\0';
	return true;
}

/* A cpuset without cpus or mems takes no process. A new one has none (cpusets(7)), so they are
 * copied from the parent, and first to the parent if that is as bare: it was made by mkdir -p a
 * moment ago. The root is never empty. */
static int cpuset_inherit(const char *dir, const char *file, int depth)
{
	char parent[CGROUP_PATH_MAX];
	_buf_ struct buf value = {0};

	if (depth > CGROUP_DEPTH_MAX || !parent_of(parent, dir))
		return -ENOENT;
	int rc = cg_read(parent, file, &value);

	if (!rc && value.len <= 1) {
		rc = cpuset_inherit(parent, file, depth + 1);
		buf_reset(&value);
		if (!rc)
			rc = cg_read(parent, file, &value);
	}
	return rc ? rc : cg_write(dir, file, buf_str(&value));
}

static int cpuset_fill(const char *dir, const struct spec_resources *r, bool fresh, struct err *e)
{
	struct {
		const char *file, *given;
	} const set[] = {{"cpuset.cpus", r->cpuset_cpus}, {"cpuset.mems", r->cpuset_mems}};

	for (size_t i = 0; i < ARRAY_SIZE(set); i++) {
		_buf_ struct buf own = {0};
		char parent[CGROUP_PATH_MAX];
		int rc = 0;

		/* A given value must lie inside the parent's, which therefore cannot stay empty
		 * either. */
		if (set[i].given && *set[i].given) {
			if (parent_of(parent, dir) && !cg_read(parent, set[i].file, &own) &&
			    own.len <= 1)
				rc = cpuset_inherit(parent, set[i].file, 0);
		} else if (fresh || cg_read(dir, set[i].file, &own) || own.len <= 1) {
			rc = cpuset_inherit(dir, set[i].file, 0);
		}
		if (rc)
			return err_set(e, ERR_CG_UNAVAILABLE, rc,
				       "cannot hand '%s' down to '%s': %s", set[i].file, dir,
				       strerror(-rc));
	}
	return 0;
}

static int check_empty(const struct cgroup *cg, const char *dir, struct err *e)
{
	_free_ pid_t *pids = NULL;
	size_t count = 0;
	int rc = cgroup_pids(cg, &pids, &count, e);

	if (rc)
		return rc;
	if (count)
		return err_set(
		    e, ERR_CT_STATE, -EBUSY,
		    "container's cgroup is not empty: '%s' has %zu processes (first: %d)", dir,
		    count, pids[0]);
	if (cgroup_is_frozen(cg))
		return err_set(e, ERR_CT_STATE, -EBUSY,
			       "container's cgroup unexpectedly frozen: '%s'", dir);
	return 0;
}

/* Makes one directory. *ret_fresh: it was not there before. */
static int make_dir(const char *dir, bool *ret_fresh)
{
	int rc = path_mkdir(AT_FDCWD, dir, 0755);

	*ret_fresh = !rc;
	if (rc == -EEXIST)
		return 0;
	if (rc != -ENOENT)
		return rc;
	*ret_fresh = true;
	return path_mkdirs(AT_FDCWD, dir, 0755);
}

static void drop(struct cgroup *cg, bool *fresh, size_t i)
{
	size_t rest = cg->v1_count - i - 1;

	memmove(&cg->v1[i], &cg->v1[i + 1], rest * sizeof(*cg->v1));
	memmove(&fresh[i], &fresh[i + 1], rest);
	cg->v1_count--;
}

static int make_all(struct cgroup *cg, const struct spec *spec, bool *fresh, struct err *e)
{
	bool existed = false;

	for (size_t i = 0; i < cg->v1_count;) {
		const char *dir = cg->v1[i].path;
		int rc = make_dir(dir, &fresh[i]);

		if (rc && cg_may_ignore(cg, spec, rc)) {
			drop(cg, fresh, i);
			continue;
		}
		if (rc)
			return err_set(e, ERR_CG_UNAVAILABLE, rc,
				       "cannot make the control group '%s': %s", dir,
				       strerror(-rc));
		existed |= !fresh[i];
		if (cg_dir(cg, "cpuset") == dir) {
			rc = cpuset_fill(dir, &spec->resources, fresh[i], e);
			if (rc)
				return rc;
		}
		i++;
	}
	return existed && !cg->systemd ? check_empty(cg, cg_main_dir(cg), e) : 0;
}

int cg_v1_create(struct cgroup *cg, const struct spec *spec, struct err *e)
{
	bool fresh[CGROUP_V1_MAX] = {0};
	int rc = make_all(cg, spec, fresh, e);

	if (!rc)
		rc = cg_v1_limits(cg, &spec->resources, e);
	if (!rc && spec->resources.devices_count && !cg_dir(cg, "devices") && !cg->rootless)
		rc = err_set(e, ERR_CG_UNAVAILABLE, -ENOENT,
			     "cannot restrict devices: the 'devices' controller is not mounted");
	if (!rc && cg_dir(cg, "devices"))
		rc = cg_v1_devices(cg_dir(cg, "devices"), cg->rootless, &spec->resources, e);
	for (size_t i = 0; rc && i < cg->v1_count; i++)
		if (fresh[i])
			cg_remove(cg->v1[i].path);
	return rc;
}

int cg_v1_join(const struct cgroup *cg, struct err *e)
{
	for (size_t i = 0; i < cg->v1_count; i++) {
		int rc = -EINVAL;

		/* `tasks`, not cgroup.procs: the latter takes the lock of all thread groups, whose
		 * writers wait for an RCU grace period of 12–20 ms. A process of one thread moves
		 * as a whole either way. */
		for (int tries = 0; rc == -EINVAL && tries < JOIN_TRIES; tries++)
			rc = cg_write(cg->v1[i].path, "tasks", "0");
		if (rc)
			return err_set(e, ERR_CG_UNAVAILABLE, rc,
				       "cannot join the control group '%s': %s", cg->v1[i].path,
				       strerror(-rc));
	}
	return 0;
}
