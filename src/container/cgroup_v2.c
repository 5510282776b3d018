/* cgroup v2: one directory. Its controllers are those that every group above hands down in
 * cgroup.subtree_control (kernel: Documentation/admin-guide/cgroup-v2.rst, "Enabling and
 * Disabling"). */
#include "container/cgroup_int.h"
#include "container/devices_bpf.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/path.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

/* Is every word of `want` in `have`? Words are separated by blanks. */
static bool has_words(const char *have, const char *want)
{
	for (const char *p = want; *(p += strspn(p, " \n"));) {
		size_t n = strcspn(p, " \n");
		bool found = false;

		for (const char *q = have; !found && *(q += strspn(q, " \n"));) {
			size_t m = strcspn(q, " \n");

			found = m == n && !memcmp(p, q, n);
			q += m;
		}
		if (!found)
			return false;
		p += n;
	}
	return true;
}

/* "+cpu +memory" from "cpu memory\n": all at once, and one by one where that is refused. What
 * cannot be handed down is missed later, by the limit that needs it. */
static void hand_down(const char *dir, const char *controllers)
{
	_buf_ struct buf all = {0};

	for (const char *p = controllers; *(p += strspn(p, " \n"));) {
		size_t n = strcspn(p, " \n");

		buf_addf(&all, "%s+%.*s", all.len ? " " : "", (int)n, p);
		p += n;
	}
	if (!all.len || !cg_write(dir, "cgroup.subtree_control", all.s))
		return;
	char *save;

	for (char *p = strtok_r(all.s, " ", &save); p; p = strtok_r(NULL, " ", &save)) {
		int rc = cg_write(dir, "cgroup.subtree_control", p);

		if (rc)
			log_debug("'%s' hands down no '%s': %s", dir, p + 1,
				  rc == -EBUSY ? "it has processes of its own" : strerror(-rc));
	}
}

static bool wants_domain_controller(const struct spec_resources *r)
{
	const uint32_t domain =
	    RES_MEM_LIMIT | RES_MEM_RESERVATION | RES_MEM_SWAP | RES_BLKIO_WEIGHT;

	return (r->has & domain) || r->hugepages_count || r->blkio_weight_device.count ||
	       r->blkio_read_bps.count || r->blkio_write_bps.count || r->blkio_read_iops.count ||
	       r->blkio_write_iops.count;
}

/* A group below one with processes of its own is "domain invalid" until it is made threaded;
 * threaded groups have only the controllers that work on threads (cgroup-v2.rst, "Threads"). */
static int check_type(const char *dir, const struct spec_resources *r, struct err *e)
{
	char type[32], path[CGROUP_PATH_MAX];

	snprintf(path, sizeof(path), "%.*s/cgroup.type", CGROUP_PATH_MAX - 16, dir);
	if (path_read_line(AT_FDCWD, path, type, sizeof(type)) < 0 || str_eq(type, "domain"))
		return 0;
	if (wants_domain_controller(r))
		return err_set(e, ERR_CG_UNAVAILABLE, -EOPNOTSUPP,
			       "cannot limit memory or I/O in '%s', which is %s: a group above it "
			       "has processes "
			       "of its own",
			       dir,
			       str_eq(type, "domain invalid") ? "an invalid domain" : "threaded");
	if (str_eq(type, "domain invalid"))
		cg_write(dir, "cgroup.type", "threaded");
	return 0;
}

/* Walks from the mount's root to dir, making what is missing and handing controllers down. made:
 * how many components from the end are new, so that a failure removes them again. */
static int make_path(const struct cgroup *cg, size_t root_len, const char *controllers,
		     const struct spec_resources *r, size_t *ret_made, struct err *e)
{
	char dir[CGROUP_PATH_MAX];

	memcpy(dir, cg->path, sizeof(dir));
	for (char *p = dir + root_len; p;) {
		char *next = strchr(p + 1, '/');
		int rc;

		*p = '\0'; /* the group above */
		hand_down(*dir ? dir : "/", controllers);
		*p = '/';
		if (next)
			*next = '\0';
		rc = path_mkdir(AT_FDCWD, dir, 0755);
		if (rc && rc != -EEXIST)
			return err_set(e, ERR_CG_UNAVAILABLE, rc,
				       "cannot make the control group '%s': %s", dir,
				       strerror(-rc));
		*ret_made += !rc;
		rc = check_type(dir, r, e);
		if (rc)
			return rc;
		if (next)
			*next = '/';
		p = next;
	}
	return 0;
}

static void unmake(const struct cgroup *cg, size_t made)
{
	char dir[CGROUP_PATH_MAX];

	memcpy(dir, cg->path, sizeof(dir));
	for (char *slash; made && (slash = strrchr(dir, '/')); made--) {
		path_rmdir(AT_FDCWD, dir);
		*slash = '\0';
	}
}

static int check_empty(const struct cgroup *cg, struct err *e)
{
	_free_ pid_t *pids = NULL;
	size_t count = 0;
	int rc = cgroup_pids(cg, &pids, &count, e);

	if (!rc && count)
		rc = err_set(e, ERR_CT_STATE, -EBUSY,
			     "container's cgroup is not empty: '%s' has %zu processes (first: %d)",
			     cg->path, count, pids[0]);
	if (!rc && cgroup_is_frozen(cg))
		rc = err_set(e, ERR_CT_STATE, -EBUSY,
			     "container's cgroup unexpectedly frozen: '%s'", cg->path);
	return rc;
}

/* Where the v2 hierarchy is mounted above path: the longest prefix that has no cgroup.type, which
 * only the root lacks; the usual place is tried first. */
static size_t root_length(const char *path)
{
	static const char usual[] = "/sys/fs/cgroup";
	char dir[CGROUP_PATH_MAX];

	if (!strncmp(path, usual, sizeof(usual) - 1) && path[sizeof(usual) - 1] == '/' &&
	    cg_has(usual, "cgroup.controllers"))
		return sizeof(usual) - 1;
	memcpy(dir, path, sizeof(dir));
	for (char *slash; (slash = strrchr(dir, '/')) && slash != dir;) {
		*slash = '\0';
		if (cg_has(dir, "cgroup.controllers") && !cg_has(dir, "cgroup.type"))
			return strlen(dir);
	}
	return 0;
}

static int make_group(struct cgroup *cg, const struct spec *spec, size_t *ret_made, struct err *e)
{
	_buf_ struct buf offered = {0}, have = {0};
	size_t root = root_length(cg->path);
	char root_dir[CGROUP_PATH_MAX];

	if (!root)
		return err_set(e, ERR_CG_UNAVAILABLE, -ENOENT,
			       "'%s' is not below a mount of cgroup v2", cg->path);
	memcpy(root_dir, cg->path, root);
	root_dir[root] = '\0';
	cg_read(root_dir, "cgroup.controllers", &offered);
	/* The common case is one mkdir below groups that are ready. */
	int rc = path_mkdir(AT_FDCWD, cg->path, 0755);

	if (rc == -EEXIST && !cg->systemd) {
		rc = check_empty(cg, e);
		if (rc)
			return rc;
	}
	*ret_made = !rc;
	if ((!rc || rc == -EEXIST) && !cg_read(cg->path, "cgroup.controllers", &have) &&
	    has_words(buf_str(&have), buf_str(&offered)))
		return check_type(cg->path, &spec->resources, e);
	return make_path(cg, root, buf_str(&offered), &spec->resources, ret_made, e);
}

/* Who may divide the group further: the container's own user where it has a cgroup namespace and a
 * writable mount of its groups (runtime-spec config-linux.md, "Cgroup ownership"). (uid_t)-1:
 * nobody else. */
static uid_t delegate_to(const struct spec *spec)
{
	uid_t uid = spec->process.user.uid;
	bool writable = false;

	for (size_t i = 0; i < spec->mounts_count; i++)
		if (spec->mounts[i].kind == SPEC_MOUNT_CGROUP &&
		    str_eq(spec->mounts[i].destination, "/sys/fs/cgroup"))
			writable = !(spec->mounts[i].attr_set & MOUNT_ATTR_RDONLY);
	if (!writable || !spec->ns[SPEC_NS_CGROUP].present || spec->ns[SPEC_NS_CGROUP].path)
		return (uid_t)-1;
	if (!spec->idmaps.uid_count)
		return uid == geteuid() ? (uid_t)-1 : uid;
	for (size_t i = 0; i < spec->idmaps.uid_count; i++) {
		const struct spec_idmap *m = &spec->idmaps.uid[i];

		if (uid >= m->container_id && uid - m->container_id < m->size)
			return m->host_id + (uid - m->container_id);
	}
	return (uid_t)-1;
}

/* The directory and the files that the kernel names for that (Linux 4.15:
 * /sys/kernel/cgroup/delegate). */
static int delegate(const struct cgroup *cg, uid_t uid, struct err *e)
{
	_buf_ struct buf files = {0};
	_close_ int dir = path_open(AT_FDCWD, cg->path, O_PATH | O_DIRECTORY, 0);
	int rc = dir < 0 ? dir : path_chown(dir, "", uid, (gid_t)-1);
	char *save;

	if (!rc)
		rc = path_read(AT_FDCWD, "/sys/kernel/cgroup/delegate", &files, CGROUP_FILE_MAX);
	if (rc == -ENOENT) {
		buf_adds(&files, "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n");
		rc = 0;
	}
	for (char *p = rc ? NULL : strtok_r(files.s, "\n", &save); p && !rc;
	     p = strtok_r(NULL, "\n", &save)) {
		rc = path_chown(dir, p, uid, (gid_t)-1);
		if (rc == -ENOENT) /* of a controller that is not enabled */
			rc = 0;
	}
	/* A user who is not root may give nothing away, and need not: the group is his. */
	if (!rc || (cg->rootless && rc == -EPERM))
		return 0;
	return err_set(e, ERR_CG_UNAVAILABLE, rc, "cannot hand '%s' to user %u: %s", cg->path, uid,
		       strerror(-rc));
}

int cg_v2_create(struct cgroup *cg, const struct spec *spec, struct err *e)
{
	size_t made = 0;
	int rc = make_group(cg, spec, &made, e);

	if (rc && cg_may_ignore(cg, spec, rc)) {
		/* Without a group, the limits that were asked for are refused one by one. */
		unmake(cg, made);
		cg->path[0] = '\0';
		cg->mode = CGROUP_NONE;
		return cg_v1_limits(cg, &spec->resources, e);
	}
	if (!rc)
		rc = cg_v2_limits(cg, &spec->resources, e);
	if (!rc && spec->resources.devices_count)
		rc = devices_bpf_apply(cg->path, cg->rootless, &spec->resources, e);
	if (!rc && delegate_to(spec) != (uid_t)-1)
		rc = delegate(cg, delegate_to(spec), e);
	if (!rc && !cg->systemd) {
		cg->fd = path_open(AT_FDCWD, cg->path, O_PATH | O_DIRECTORY, 0);
		if (cg->fd < 0)
			rc = err_set(e, ERR_CG_UNAVAILABLE, cg->fd, "cannot open '%s': %s",
				     cg->path, strerror(-cg->fd));
	}
	if (rc)
		unmake(cg, made);
	return rc;
}

int cg_v2_join(const struct cgroup *cg, struct err *e)
{
	if (cg->systemd && cg->fd < 0) /* systemd moved us */
		return 0;
	int rc = cg_write(cg->path, "cgroup.procs", "0");

	if (!rc)
		return 0;
	return err_set(
	    e, ERR_CG_UNAVAILABLE, rc, "cannot join the control group '%s': %s", cg->path,
	    rc == -EBUSY ? "it hands controllers down, so that only groups below it take processes"
	    : rc == -ENOTSUP ? "it is an invalid domain: a group above it has processes of its own"
			     : strerror(-rc));
}
