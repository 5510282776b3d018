/* The container's root: its own tree, its mounts, its devices, and the pivot into it. Runs in the
 * child, in its own mount namespace; until pivot_root(2) the host's files are still there, and what
 * is needed of them is opened before. */
#include "container/start.h"
#include "container/sync.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static char *rootfs_path(const struct spec *spec)
{
	return spec->root_path[0] == '/' ? mem_strdup(spec->root_path)
					 : mem_printf("%s/%s", spec->bundle, spec->root_path);
}

const char *rootfs_inside(const struct spec *spec, const char *path)
{
	_free_ char *root = rootfs_path(spec);
	size_t len = strlen(root);

	if (strncmp(path, root, len) || (path[len] != '/' && path[len]))
		return NULL;
	return path[len] ? path + len : "/";
}

/* Sources that init could not open by itself: in a user namespace its root may be nobody for their
 * directories, and only the outer namespace may id-map. They are cloned here, with the caller's
 * rights, and inherited as descriptors. */
int rootfs_open_sources(struct start *s, struct err *e)
{
	const struct spec *spec = s->spec;

	s->rootfs_fd = -1;
	if (!spec->ns[SPEC_NS_MOUNT].present || s->rootless)
		return 0;
	bool userns = spec->ns[SPEC_NS_USER].present;

	if (userns) {
		_free_ char *path = rootfs_path(spec);

		s->rootfs_fd =
		    open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
		if (s->rootfs_fd < 0)
			return err_sys(e, ERR_CT_ROOTFS, "root file system '%s'", path);
	}
	if (spec->mounts_count) {
		s->mount_fds = mem_array(spec->mounts_count, sizeof(*s->mount_fds));
		memset(s->mount_fds, -1, spec->mounts_count * sizeof(*s->mount_fds));
	}
	for (size_t i = 0; i < spec->mounts_count; i++) {
		const struct spec_mount *m = &spec->mounts[i];

		if (m->kind != SPEC_MOUNT_BIND)
			continue;
		if (m->idmap == SPEC_IDMAP_NONE && (!userns || rootfs_inside(spec, m->source)))
			continue;
		s->mount_fds[i] = mount_open_source(s, m, -1, e);
		if (s->mount_fds[i] < 0)
			return err_prefix(e, "error mounting '%s' to rootfs at '%s': ", m->source,
					  m->destination);
	}
	return 0;
}

/* pivot_root(2) refuses a new root that is shared or lies on a shared mount: the mount that holds
 * it becomes private, in this namespace only. Its root is found by walking up. */
static int make_private_around(int dir)
{
	_close_ int at = fcntl(dir, F_DUPFD_CLOEXEC, 0);
	struct mount_attr private = {.propagation = MS_PRIVATE};
	struct statx sx;

	for (int depth = 0; at >= 0 && depth < PATH_MAX / 2; depth++) {
		if (statx(at, "", AT_EMPTY_PATH, STATX_TYPE, &sx) < 0)
			return -errno;
		if (sx.stx_attributes & STATX_ATTR_MOUNT_ROOT)
			return mount_setattr(at, "", AT_EMPTY_PATH, &private, sizeof(private)) < 0
				   ? -errno
				   : 0;
		int up = path_open(at, "..", O_PATH | O_DIRECTORY, 0);

		close(at);
		at = up;
	}
	return at < 0 ? at : -ELOOP;
}

/* Attaches the root's tree over itself, so that it is a mount point, and returns its fd. */
static int attach_root(struct start *s, struct err *e)
{
	const struct spec *spec = s->spec;
	_free_ char *path = rootfs_path(spec);
	unsigned long propagation =
	    spec->rootfs_propagation ? spec->rootfs_propagation : MS_SLAVE | MS_REC;

	/* Private or slave keeps our mounts from the host; shared, on purpose, lets them through.
	 * What is unbindable could not be cloned: it becomes so when all is done. */
	if (propagation & MS_UNBINDABLE)
		propagation = MS_PRIVATE | MS_REC;
	if (mount(NULL, "/", NULL, propagation, NULL) < 0)
		return err_sys(e, ERR_CT_ROOTFS, "propagation of the root mount");
	_close_ int at = path_open(AT_FDCWD, path, O_PATH | O_DIRECTORY, 0);
	int rc = at < 0 && !(at == -EACCES && s->rootfs_fd >= 0) ? at : 0;

	/* Without MS_REC the mount that holds the directory may still be the host's peer. */
	if (at >= 0 && (propagation & MS_SHARED || !(propagation & MS_REC)))
		rc = make_private_around(at);
	if (at < 0 && !rc) /* its parents are closed to this user: any directory will do */
		rc = at = path_open(AT_FDCWD, "/tmp", O_PATH | O_DIRECTORY, 0);
	if (rc < 0)
		return err_set(e, ERR_CT_ROOTFS, rc, "root file system '%s': %s", path,
			       strerror(-rc));
	_close_ int tree =
	    s->rootfs_fd >= 0
		? fcntl(s->rootfs_fd, F_DUPFD_CLOEXEC, 0)
		: open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);

	if (tree < 0)
		return err_sys(e, ERR_CT_ROOTFS, "root file system '%s'", path);
	if (s->rootfs_fd >= 0) /* cloned outside, where it may be shared */
		mount_set_attr(tree, true, 0, 0, MS_PRIVATE);
	rc = mount_attach(tree, at);
	return rc ? err_set(e, ERR_CT_ROOTFS, rc, "root file system '%s': %s", path, strerror(-rc))
		  : STEAL_FD(tree);
}

/* The host's /dev/null, to be bound over masked files: the real one, not what somebody put there.
 */
static int open_null(struct err *e)
{
	_close_ int fd = path_open(AT_FDCWD, "/dev/null", O_PATH | O_NOFOLLOW, 0);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
		return err_set(e, ERR_SYS, -ENODEV,
			       "/dev/null of this host is not the null device");
	return STEAL_FD(fd);
}

/* The host's own proc and sysfs stay reachable for the kernel's check of what a container may mount
 * (a full one must be visible already), so they go: else the container could mount a procfs without
 * masks. */
static int drop_host_pseudo(const char *rootfs)
{
	enum { MOUNTINFO_MAX = 64 << 20 };
	_buf_ struct buf text = {0};
	size_t len = strlen(rootfs);
	int rc = path_read(AT_FDCWD, "/proc/self/mountinfo", &text, MOUNTINFO_MAX);

	if (rc)
		return rc;
	for (char *save, *line = strtok_r(text.s, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		char point[PATH_MAX];
		const char *type = strstr(line, " - ");

		if (sscanf(line, "%*s %*s %*s %*s %4095s", point) != 1 || !type ||
		    !(str_after(type, " - proc ") || str_after(type, " - sysfs ")))
			continue;
		if (!strncmp(point, rootfs, len) && (point[len] == '/' || !point[len]))
			continue;
		if (umount2(point, MNT_DETACH) < 0 && errno != EINVAL && errno != ENOENT)
			return -errno; /* EINVAL: gone with one above it */
	}
	return 0;
}

/* Where pivot_root(2) is impossible, because the host's root is the initramfs: `--no-pivot`. */
static int move_root(int rootfd, const char *rootfs)
{
	int rc = drop_host_pseudo(rootfs);

	if (rc)
		return rc;
	if (fchdir(rootfd) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 ||
	    chdir("/") < 0)
		return -errno;
	return 0;
}

static int pivot(int rootfd)
{
	_close_ int old = path_open(AT_FDCWD, "/", O_PATH | O_DIRECTORY, 0);

	/* pivot_root(".", "."): the old root lands on top of the new one and is taken off from
	 * there; no directory of the container is needed for it (pivot_root(2), NOTES). */
	if (old < 0 || fchdir(rootfd) < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
		return -errno;
	/* Nothing that happens to the old tree now may reach the host. */
	if (fchdir(old) < 0 || mount(NULL, ".", NULL, MS_SLAVE | MS_REC, NULL) < 0 ||
	    umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return -errno;
	return 0;
}

/* Without a mount namespace of its own the container is a chroot. */
static int plain_chroot(int rootfd)
{
	return fchdir(rootfd) < 0 || chroot(".") < 0 || chdir("/") < 0 ? -errno : 0;
}

static int run_hooks(struct start *s, struct err *e)
{
	const struct spec_hooks *h = &s->spec->hooks;

	/* The parent runs these in the runtime's namespaces: prestart and createRuntime. */
	if (h->prestart.count || h->create_runtime.count) {
		int rc = sync_ask(s->sync, SYNC_HOOKS, 0, e);

		if (rc)
			return rc;
	}
	if (!h->create_container.count)
		return 0;
	json_t *state = container_state_json(s->c, CONTAINER_CREATING);
	_free_ char *text = json_dumps(state, JSON_COMPACT);

	json_decref(state);
	return hooks_run(&h->create_container, "createContainer", text, NULL, -1, e);
}

/* The parent's descriptor is of the parent's mount namespace, where this one may clone nothing: the
 * directory is found again by its path, and must be the same. */
static int clone_notify_dir(const struct start *s)
{
	char link[64], path[PATH_MAX];

	snprintf(link, sizeof(link), "self/fd/%d", s->notify_dir_fd);
	int rc = path_readlink(s->proc_fd, link, path, sizeof(path));
	_close_ int tree =
	    rc < 0 ? rc : open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (tree < 0)
		return rc < 0 ? rc : -errno;
	return fd_same(tree, s->notify_dir_fd) ? STEAL_FD(tree) : -ESTALE;
}

static int mount_notify(struct mount_env *env, struct err *e)
{
	if (env->s->notify_dir_fd < 0)
		return 0;
	_close_ int tree = clone_notify_dir(env->s);
	_close_ int target = tree < 0 ? tree : root_mkdirs(env->rootfd, "/run/notify", 0755);
	int rc =
	    target < 0
		? target
		: mount_set_attr(tree, false,
				 MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, 0, 0);

	if (!rc)
		rc = mount_attach(tree, target);
	return rc ? err_set(e, ERR_CT_MOUNT, rc, "notify socket: %s", strerror(-rc)) : 0;
}

/* Does a later mount go below this one? */
static bool is_mounted_over(const struct spec *spec, size_t index)
{
	const char *top = spec->mounts[index].destination;

	for (size_t i = index + 1; i < spec->mounts_count; i++) {
		const char *rest = str_after(spec->mounts[i].destination, top);

		if (rest && *rest == '/')
			return true;
	}
	return false;
}

/* A mount of control groups needs them; on v1 all but its tmpfs can wait until everything else is
 * there. */
static int mount_groups(struct mount_env *env, size_t index, struct err *e)
{
	bool now = env->s->c->cgroup.mode != CGROUP_V1 || is_mounted_over(env->s->spec, index);
	int rc = now ? init_join_late_group(env->s, e) : 0;

	if (!rc)
		rc = mount_one(env, index, e);
	return !rc && now ? mount_fill_cgroups(env, e) : rc;
}

static int fill_root(struct mount_env *env, struct err *e)
{
	const struct spec *spec = env->s->spec;
	int rc = 0;

	for (size_t i = 0; i < spec->mounts_count && !rc; i++)
		rc = spec->mounts[i].kind == SPEC_MOUNT_CGROUP ? mount_groups(env, i, e)
							       : mount_one(env, i, e);
	if (!rc)
		rc = mount_notify(env, e);
	if (!rc)
		rc = device_setup(env, e);
	if (!rc)
		rc = init_join_late_group(env->s, e);
	return rc ? rc : mount_fill_cgroups(env, e);
}

/* As under runc and crun, a missing working directory is made. Where it cannot be, chdir(2) says
 * why. */
static void make_cwd(int root, const char *cwd)
{
	int fd = cwd && cwd[0] == '/' && cwd[1] ? root_mkdirs(root, cwd, 0755) : -1;

	if (fd >= 0)
		close(fd);
}

int rootfs_setup(struct start *s, struct err *e)
{
	const struct spec *spec = s->spec;

	if (!spec->ns[SPEC_NS_MOUNT].present) {
		_free_ char *path = rootfs_path(spec);
		_close_ int root = path_open(AT_FDCWD, path, O_PATH | O_DIRECTORY, 0);
		_close_ int host = path_open(AT_FDCWD, "/", O_PATH | O_DIRECTORY, 0);
		int rc = root < 0 ? root : init_join_late_group(s, e);

		if (!rc)
			rc = run_hooks(s, e);

		if (!rc)
			rc = console_setup(s, host, false, e);
		if (!rc)
			rc = plain_chroot(root);
		return rc && !e->rc ? err_set(e, ERR_CT_ROOTFS, rc, "root file system '%s': %s",
					      path, strerror(-rc))
				    : rc;
	}
	_close_ int null_fd = open_null(e);

	if (null_fd < 0)
		return null_fd;
	_close_ int root = attach_root(s, e);

	if (root < 0)
		return root;
	struct mount_env env = {.s = s, .rootfd = root, .null_fd = null_fd};
	int rc = fill_root(&env, e);

	if (!rc && s->process)
		make_cwd(root, s->process->cwd);
	/* createContainer hooks start in the root file system, as under runc. */
	if (!rc && fchdir(root) < 0)
		rc = err_sys(e, ERR_CT_ROOTFS, "root file system");
	if (!rc)
		rc = run_hooks(s, e);
	if (!rc)
		rc = console_setup(s, root, true, e);
	if (!rc)
		rc = mask_paths(&env, e);
	int late = mount_finish(&env, e);

	if (rc || late)
		return rc ? rc : late;
	if (spec->root_readonly)
		rc = mount_set_attr(root, false, MOUNT_ATTR_RDONLY, 0, 0);
	if (rc)
		return err_set(e, ERR_CT_ROOTFS, rc,
			       "root file system cannot be made read-only: %s", strerror(-rc));
	rc = s->opts->no_pivot ? move_root(root, s->c->rootfs) : pivot(root);
	if (rc)
		return err_set(e, ERR_CT_ROOTFS, rc,
			       "the root file system cannot become the root: %s", strerror(-rc));
	if (spec->rootfs_propagation && mount(NULL, "/", NULL, spec->rootfs_propagation, NULL) < 0)
		return err_sys(e, ERR_CT_ROOTFS, "rootfsPropagation");
	return 0;
}
