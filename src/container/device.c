/* /dev of the container (config-linux.md "Default Devices", "Devices", "Default Filesystems"
 * symlinks), and the masked and read-only paths, which live by the same rule: by descriptor, onto
 * what was opened inside the root. */
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
#include <sys/sysmacros.h>
#include <unistd.h>

static const struct spec_device default_devices[] = {
    {.path = (char *)"/dev/null", .type = 'c', .major = 1, .minor = 3},
    {.path = (char *)"/dev/zero", .type = 'c', .major = 1, .minor = 5},
    {.path = (char *)"/dev/full", .type = 'c', .major = 1, .minor = 7},
    {.path = (char *)"/dev/random", .type = 'c', .major = 1, .minor = 8},
    {.path = (char *)"/dev/urandom", .type = 'c', .major = 1, .minor = 9},
    {.path = (char *)"/dev/tty", .type = 'c', .major = 5, .minor = 0},
};

static const struct {
	const char *target, *name;
} links[] = {
    {"/proc/self/fd", "fd"},
    {"/proc/self/fd/0", "stdin"},
    {"/proc/self/fd/1", "stdout"},
    {"/proc/self/fd/2", "stderr"},
};

/* Binds the host's node: what a user namespace may do instead of mknod. */
static int bind_device(struct mount_env *env, const struct spec_device *d, struct err *e)
{
	_close_ int tree = open_tree(AT_FDCWD, d->path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (tree < 0)
		return err_sys(e, ERR_CT_MOUNT, "device '%s' of the host", d->path);
	_close_ int target = root_mkfile(env->rootfd, d->path, 0644);
	int rc = target < 0 ? target : mount_attach(tree, target);

	return rc ? err_set(e, ERR_CT_MOUNT, rc, "device '%s': %s", d->path, strerror(-rc)) : 0;
}

static mode_t device_type(char type)
{
	return type == 'b' ? S_IFBLK : type == 'p' ? S_IFIFO : S_IFCHR;
}

static int make_device(struct mount_env *env, const struct spec_device *d, struct err *e)
{
	if (env->s->in_userns && d->type != 'p')
		return bind_device(env, d, e);
	char name[NAME_MAX + 1];
	_close_ int parent = root_parent(env->rootfd, d->path, 0755, name);

	if (parent < 0)
		return err_set(e, ERR_CT_MOUNT, parent, "device '%s': %s", d->path,
			       strerror(-parent));
	mode_t mode = d->has_mode ? d->mode & 07777 : 0666;
	dev_t dev = makedev(d->major, d->minor);
	int rc = mknodat(parent, name, device_type(d->type) | mode, dev) < 0 ? -errno : 0;

	if (rc == -EPERM) /* root, but without mknod rights: in a container, perhaps */
		return bind_device(env, d, e);
	if (rc == -EEXIST) { /* from the image: it must be what was asked for */
		struct stat st;

		rc = path_lstat(parent, name, &st);
		if (!rc && ((st.st_mode & S_IFMT) != device_type(d->type) ||
			    (d->type != 'p' && st.st_rdev != dev)))
			return err_set(
			    e, ERR_CT_MOUNT, -EEXIST,
			    "'%s' exists in the root file system and is another kind of file",
			    d->path);
	} else if (!rc && (d->has_uid || d->has_gid)) {
		rc = path_chown(parent, name, d->has_uid ? d->uid : (uid_t)-1,
				d->has_gid ? d->gid : (gid_t)-1);
	}
	return rc ? err_set(e, ERR_CT_MOUNT, rc, "device '%s': %s", d->path, strerror(-rc)) : 0;
}

static bool dev_is_bound(const struct spec *spec)
{
	for (size_t i = 0; i < spec->mounts_count; i++)
		if (spec->mounts[i].kind == SPEC_MOUNT_BIND &&
		    str_eq(spec->mounts[i].destination, "/dev"))
			return true;
	return false;
}

static bool is_given(const struct spec *spec, const char *path)
{
	for (size_t i = 0; i < spec->devices_count; i++)
		if (str_eq(spec->devices[i].path, path))
			return true;
	return false;
}

static int make_links(struct mount_env *env, struct err *e)
{
	_close_ int dev = root_mkdirs(env->rootfd, "/dev", 0755);

	if (dev < 0)
		return err_set(e, ERR_CT_MOUNT, dev, "/dev: %s", strerror(-dev));
	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		int rc = path_symlink(links[i].target, dev, links[i].name);

		if (rc && rc != -EEXIST)
			return err_set(e, ERR_CT_MOUNT, rc, "/dev/%s: %s", links[i].name,
				       strerror(-rc));
	}
	if (path_exists(AT_FDCWD, "/proc/kcore"))
		path_symlink("/proc/kcore", dev, "core");
	/* /dev/ptmx belongs to the container's own devpts, whatever the image had there. */
	path_unlink(dev, "ptmx");
	int rc = path_symlink("pts/ptmx", dev, "ptmx");

	return rc && rc != -EEXIST ? err_set(e, ERR_CT_MOUNT, rc, "/dev/ptmx: %s", strerror(-rc))
				   : 0;
}

/* What every container may do once anything is denied at all: make nodes, and use the default ones
 * and terminals (runc's list; config-linux.md "Allowed Device list" leaves it to the runtime). */
static const struct spec_device_rule default_rules[] = {
    {true, 'c', -1, -1, false, false, true}, {true, 'b', -1, -1, false, false, true},
    {true, 'c', 1, 3, true, true, true},     {true, 'c', 1, 5, true, true, true},
    {true, 'c', 1, 7, true, true, true},     {true, 'c', 1, 8, true, true, true},
    {true, 'c', 1, 9, true, true, true},     {true, 'c', 5, 0, true, true, true},
    {true, 'c', 5, 2, true, true, true},     {true, 'c', 136, -1, true, true, true},
};

void device_rules(const struct spec *spec, struct spec_resources *ret)
{
	size_t n = spec->resources.devices_count;
	bool denies = false;

	*ret = spec->resources;
	for (size_t i = 0; i < n; i++)
		denies |= !spec->resources.devices[i].allow;
	if (!denies)
		return;
	struct spec_device_rule *all = mem_array(n + ARRAY_SIZE(default_rules), sizeof(*all));

	memcpy(all, spec->resources.devices, n * sizeof(*all));
	memcpy(all + n, default_rules, sizeof(default_rules));
	ret->devices = all;
	ret->devices_count = n + ARRAY_SIZE(default_rules);
}

int device_setup(struct mount_env *env, struct err *e)
{
	const struct spec *spec = env->s->spec;
	int rc = 0;

	if (dev_is_bound(spec)) /* the administrator's own /dev: not ours to change */
		return 0;
	mode_t saved = umask(0);

	for (size_t i = 0; i < ARRAY_SIZE(default_devices) && !rc; i++)
		if (!is_given(spec, default_devices[i].path))
			rc = make_device(env, &default_devices[i], e);
	for (size_t i = 0; i < spec->devices_count && !rc; i++)
		rc = make_device(env, &spec->devices[i], e);
	umask(saved);
	return rc ? rc : make_links(env, e);
}

/* --- masked and read-only paths --- */

/* A file is covered by /dev/null, a directory by an empty read-only tmpfs, of which one serves all.
 */
static int mask_one(struct mount_env *env, const char *path, int *empty, struct err *e)
{
	static const char *const options[] = {"nr_blocks=1", "nr_inodes=1", "mode=755", NULL};
	_close_ int target = root_open(env->rootfd, path, O_PATH);
	struct stat st;

	if (target == -ENOENT || target == -ENOTDIR)
		return 0;
	if (target < 0 || fstat(target, &st) < 0)
		return err_set(e, ERR_CT_MOUNT, target, "masked path '%s': %s", path,
			       strerror(-target));
	bool dir = S_ISDIR(st.st_mode);

	if (dir && *empty < 0) {
		*empty = mount_fs("tmpfs", "tmpfs", options, MOUNT_ATTR_RDONLY, e);
		if (*empty < 0)
			return *empty;
		int rc = mount_attach(*empty, target);

		return rc ? err_set(e, ERR_CT_MOUNT, rc, "masked path '%s': %s", path,
				    strerror(-rc))
			  : 0;
	}
	_close_ int tree = open_tree(dir ? *empty : env->null_fd, "",
				     AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	int rc = tree < 0 ? -errno : mount_attach(tree, target);

	return rc ? err_set(e, ERR_CT_MOUNT, rc, "masked path '%s': %s", path, strerror(-rc)) : 0;
}

static int readonly_one(struct mount_env *env, const char *path, struct err *e)
{
	_close_ int target = root_open(env->rootfd, path, O_PATH);

	if (target == -ENOENT || target == -ENOTDIR)
		return 0;
	if (target < 0)
		return err_set(e, ERR_CT_MOUNT, target, "read-only path '%s': %s", path,
			       strerror(-target));
	_close_ int tree = open_tree(
	    target, "", AT_EMPTY_PATH | AT_RECURSIVE | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	int rc = tree < 0 ? -errno : mount_set_attr(tree, true, MOUNT_ATTR_RDONLY, 0, 0);

	if (!rc)
		rc = mount_attach(tree, target);
	return rc ? err_set(e, ERR_CT_MOUNT, rc, "read-only path '%s': %s", path, strerror(-rc))
		  : 0;
}

static bool is_listed_before(char *const *list, char *const *p)
{
	for (; list < p; list++)
		if (str_eq(*list, *p))
			return true;
	return false;
}

int mask_paths(struct mount_env *env, struct err *e)
{
	const struct spec *spec = env->s->spec;
	_close_ int empty = -1;
	int rc = 0;

	for (char **p = spec->readonly_paths; p && *p && !rc; p++)
		rc = readonly_one(env, *p, e);
	for (char **p = spec->masked_paths; p && *p && !rc; p++)
		if (!is_listed_before(spec->masked_paths, p))
			rc = mask_one(env, *p, &empty, e);
	return rc;
}
