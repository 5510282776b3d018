/* Mounts of type "cgroup" inside the container: it sees its own groups and nothing above them.
 *   v2                          a new mount of cgroup2, whose root is the cgroup namespace's; where
 * that is refused, a bind mount of the group's directory, or without such a namespace of the host's
 * mount v1                          a tmpfs with one directory per hierarchy: a new mount of the
 * hierarchy in a cgroup namespace, else a bind mount of its directory; names of co-mounted
 * controllers are symlinks */
#include "container/start.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static int bind_dir(const char *dir, uint64_t attr, int target, struct err *e)
{
	_close_ int tree = open_tree(AT_FDCWD, dir, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (tree < 0)
		return err_sys(e, ERR_CT_MOUNT, "control group '%s'", dir);
	int rc = mount_set_attr(tree, false, attr, 0, 0);

	if (!rc)
		rc = mount_attach(tree, target);
	return rc ? err_set(e, ERR_CT_MOUNT, rc, "control group '%s': %s", dir, strerror(-rc)) : 0;
}

static int mount_v2(struct mount_env *env, const struct spec_mount *m, int target, struct err *e)
{
	const struct start *s = env->s;
	const struct cgroup *cg = &s->c->cgroup;
	struct err why = {0};
	_close_ int tree = mount_fs("cgroup2", "cgroup", NULL, m->attr_set, &why);
	int rc = tree < 0 ? tree : mount_attach(tree, target);

	if (!rc)
		return 0;
	/* EPERM: no rights to it in this user namespace; EBUSY: shared superblock options. */
	if (rc != -EPERM && rc != -EBUSY) {
		*e = why;
		return rc;
	}
	if (s->spec->ns[SPEC_NS_CGROUP].present && cg->path[0])
		return bind_dir(cg->path, m->attr_set, target, e);
	_free_ struct cgroup_host *host = mem_alloc(sizeof(*host));

	rc = cgroup_host(host, e);
	return rc ? rc : bind_dir(host->unified, m->attr_set, target, e);
}

/* One hierarchy in the tmpfs. name: the last part of its mount point on the host ("cpu,cpuacct").
 */
static int mount_hierarchy(struct mount_env *env, const struct spec_mount *m, int dir,
			   const char *name, const char *controllers, const char *group,
			   struct err *e)
{
	int rc = path_mkdir(dir, name, 0755);
	_close_ int target =
	    rc && rc != -EEXIST ? rc : path_open(dir, name, O_PATH | O_DIRECTORY, 0);

	if (target < 0)
		return err_set(e, ERR_CT_MOUNT, target, "'%s': %s", name, strerror(-target));
	if (!env->s->spec->ns[SPEC_NS_CGROUP].present) {
		rc = bind_dir(group, m->attr_set, target, e);
	} else {
		_free_ char *words = mem_strdup(controllers);
		const char *options[CGROUP_V1_MAX + 2];
		size_t n = 0;

		if (str_after(controllers, "name="))
			options[n++] = "none";
		for (char *save, *w = strtok_r(words, ",", &save); w && n <= CGROUP_V1_MAX;
		     w = strtok_r(NULL, ",", &save))
			options[n++] = w;
		options[n] = NULL;
		_close_ int tree = mount_fs("cgroup", "cgroup", options, m->attr_set, e);

		rc = tree < 0 ? tree : mount_attach(tree, target);
		if (rc && tree >= 0)
			err_set(e, ERR_CT_MOUNT, rc, "control group '%s': %s", name, strerror(-rc));
	}
	if (rc)
		return rc;
	/* "cpu,cpuacct" is also found as cpu and as cpuacct. */
	if (strchr(name, ',')) {
		_free_ char *words = mem_strdup(name);

		for (char *save, *w = strtok_r(words, ",", &save); w;
		     w = strtok_r(NULL, ",", &save))
			path_symlink(name, dir, w);
	}
	return 0;
}

/* The tmpfs now, what is in it by mount_fill_cgroups(). */
static int mount_v1(struct mount_env *env, const struct spec_mount *m, int target, struct err *e)
{
	static const char *const options[] = {"mode=755", NULL};
	uint64_t attr = m->attr_set & ~(uint64_t)MOUNT_ATTR_RDONLY;
	_close_ int tmpfs = mount_fs("tmpfs", "tmpfs", options, attr, e);

	if (tmpfs < 0)
		return tmpfs;
	int rc = mount_attach(tmpfs, target);

	if (rc)
		return err_set(e, ERR_CT_MOUNT, rc, "control groups: %s", strerror(-rc));
	mount_later(env, m, STEAL_FD(tmpfs));
	return 0;
}

int mount_fill_cgroups(struct mount_env *env, struct err *e)
{
	const struct cgroup *cg = &env->s->c->cgroup;
	int rc = 0;

	for (size_t k = 0; k < env->late_count && !rc; k++) {
		struct mount_late *late = &env->late[k];

		if (late->m->kind != SPEC_MOUNT_CGROUP || late->filled)
			continue;
		late->filled = true;
		for (size_t i = 0; i < cg->v1_count && !rc; i++)
			rc = mount_hierarchy(env, late->m, late->fd, cg->v1[i].name,
					     cg->v1[i].controllers, cg->v1[i].path, e);
	}
	return rc;
}

int mount_cgroup(struct mount_env *env, const struct spec_mount *m, struct err *e)
{
	_close_ int target = root_mkdirs(env->rootfd, m->destination, 0755);

	if (target < 0)
		return err_set(e, ERR_CT_MOUNT, target, "mount point cannot be made: %s",
			       strerror(-target));
	switch (env->s->c->cgroup.mode) {
	case CGROUP_V2:
		return mount_v2(env, m, target, e);
	case CGROUP_V1:
		return mount_v1(env, m, target, e);
	default: { /* an ordinary user without groups of its own sees the host's, read-only */
		uint64_t attr = m->attr_set | MOUNT_ATTR_RDONLY;
		_close_ int tree = open_tree(AT_FDCWD, "/sys/fs/cgroup",
					     OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
		int rc = tree < 0 ? -errno : mount_set_attr(tree, true, attr, 0, 0);

		if (!rc)
			rc = mount_attach(tree, target);
		return rc ? err_set(e, ERR_CT_MOUNT, rc, "control groups: %s", strerror(-rc)) : 0;
	}
	}
}
