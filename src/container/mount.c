/* Mounts of the container, by descriptor: each tree is made detached (fsopen/fsmount or open_tree),
 * gets its attributes while nobody can see it, and is moved onto a target that was opened with
 * RESOLVE_IN_ROOT. No step names a path of the container twice, so there is nothing to race for.
 * Needs Linux 5.12 (mount_setattr). */
#include "container/start.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

/* fsconfig(2) copies at most this much of a value; longer ones need mount(2). */
#define FSCONFIG_VALUE_MAX 255

int mount_set_attr(int fd, bool recursive, uint64_t set, uint64_t clr, uint64_t propagation)
{
	struct mount_attr a = {.attr_set = set, .attr_clr = clr, .propagation = propagation};
	unsigned flags = AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0u);

	if (!set && !clr && !propagation)
		return 0;
	/* The access-time attributes are one field of three values: all its bits go before one is
	 * set. */
	if (set & MOUNT_ATTR__ATIME || clr & MOUNT_ATTR__ATIME)
		a.attr_clr |= MOUNT_ATTR__ATIME;
	return mount_setattr(fd, "", flags, &a, sizeof(a)) < 0 ? -errno : 0;
}

int mount_attach(int tree_fd, int target_fd)
{
	return move_mount(tree_fd, "", target_fd, "",
			  MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0
		   ? -errno
		   : 0;
}

/* The kernel says why through the fs fd: the last "e " message, or strerror. */
static int fs_error(int fs, const char *what, const char *arg, struct err *e)
{
	int saved = errno;
	char line[256], last[256] = "";

	for (ssize_t n; (n = read(fs, line, sizeof(line) - 1)) > 0;) {
		line[n] = '\0';
		line[strcspn(line, "\n")] = '\0';
		if (line[0] == 'e' && line[1] == ' ')
			snprintf(last, sizeof(last), "%s (", line + 2);
	}
	return err_set(e, ERR_CT_MOUNT, -saved, "%s%s: %s%s%s", what, arg, last, strerror(saved),
		       *last ? ")" : "");
}

/* Returns a detached mount. options: "key", "key=value", NULL-terminated or NULL. */
int mount_fs(const char *type, const char *source, const char *const *options, uint64_t attr,
	     struct err *e)
{
	_close_ int fs = fsopen(type, FSOPEN_CLOEXEC);

	if (fs < 0)
		return errno == ENODEV ? err_set(e, ERR_CT_MOUNT, -ENODEV,
						 "this kernel knows no file system '%s'", type)
				       : err_sys(e, ERR_CT_MOUNT, "file system '%s'", type);
	if (source && *source && fsconfig(fs, FSCONFIG_SET_STRING, "source", source, 0) < 0)
		return fs_error(fs, "source ", source, e);
	for (; options && *options; options++) {
		const char *eq = strchr(*options, '=');
		_free_ char *key =
		    mem_strndup(*options, eq ? (size_t)(eq - *options) : SIZE_MAX / 2);

		if (fsconfig(fs, eq ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, key,
			     eq ? eq + 1 : NULL, 0) < 0)
			return fs_error(fs, "option ", *options, e);
	}
	if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return fs_error(fs, "file system ", type, e);
	int fd = fsmount(fs, FSMOUNT_CLOEXEC, (unsigned)attr);

	return fd < 0 ? fs_error(fs, "file system ", type, e) : fd;
}

/* --- sources of bind mounts --- */

int mount_open_source(const struct start *s, const struct spec_mount *m, int source_fd,
		      struct err *e)
{
	_free_ char *joined = NULL;
	const char *source = m->source;

	if (source[0] != '/')
		source = joined = mem_printf("%s/%s", s->spec->bundle, source);
	_close_ int fd =
	    open_tree(source_fd >= 0 ? source_fd : AT_FDCWD, source_fd >= 0 ? "" : source,
		      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH |
			  (m->recursive_bind ? AT_RECURSIVE : 0u) |
			  (m->src_nofollow || m->copy_symlink ? AT_SYMLINK_NOFOLLOW : 0u));

	if (fd < 0)
		return err_sys(e, ERR_CT_MOUNT, "mount source '%s'", source);
	if (m->idmap == SPEC_IDMAP_NONE)
		return STEAL_FD(fd);
	_close_ int userns = -1;

	if (!m->idmaps.uid_count && s->spec->ns[SPEC_NS_USER].path) {
		userns = path_open(AT_FDCWD, s->spec->ns[SPEC_NS_USER].path, O_RDONLY, 0);
		if (userns < 0)
			return err_set(e, ERR_CT_IDMAP, userns, "user namespace '%s': %s",
				       s->spec->ns[SPEC_NS_USER].path, strerror(-userns));
	} else {
		userns = idmap_userns_fd(m->idmaps.uid_count ? &m->idmaps : &s->spec->idmaps, e);
		if (userns < 0)
			return userns;
	}
	struct mount_attr a = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)userns};

	if (mount_setattr(fd, "",
			  AT_EMPTY_PATH | (m->idmap == SPEC_IDMAP_RECURSIVE ? AT_RECURSIVE : 0u),
			  &a, sizeof(a)) < 0)
		return err_sys(e, ERR_CT_IDMAP, "mount source '%s' cannot be id-mapped", source);
	return STEAL_FD(fd);
}

/* --- tmpcopyup: a tmpfs that starts with what was there --- */

static int copy_tree(int from, int to, int depth);

static int copy_file(int from, int to, const char *name, const struct stat *st)
{
	_close_ int in = path_open(from, name, O_RDONLY | O_NOFOLLOW, 0);
	_close_ int out = path_open(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);

	if (in < 0 || out < 0)
		return in < 0 ? in : out;
	static char chunk[65536];

	for (ssize_t n; (n = read(in, chunk, sizeof(chunk))) != 0;) {
		if (n < 0)
			return -errno;
		int rc = fd_write_all(out, chunk, (size_t)n);

		if (rc)
			return rc;
	}
	if (fchown(out, st->st_uid, st->st_gid) < 0 || fchmod(out, st->st_mode & 07777) < 0)
		return -errno;
	return 0;
}

static int copy_entry(int from, int to, const char *name, int depth)
{
	struct stat st;
	char target[PATH_MAX];
	int rc = path_lstat(from, name, &st);

	if (rc)
		return rc;
	if (S_ISREG(st.st_mode))
		return copy_file(from, to, name, &st);
	if (S_ISLNK(st.st_mode)) {
		rc = path_readlink(from, name, target, sizeof(target));
		rc = rc < 0 ? rc : path_symlink(target, to, name);
		return rc ? rc : path_chown(to, name, st.st_uid, st.st_gid);
	}
	if (!S_ISDIR(st.st_mode)) {
		rc = mknodat(to, name, st.st_mode, st.st_rdev) < 0 ? -errno : 0;
		return rc ? rc : path_chown(to, name, st.st_uid, st.st_gid);
	}
	rc = path_mkdir(to, name, 0700);
	if (rc)
		return rc;
	_close_ int sub_from = path_open(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	_close_ int sub_to = path_open(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);

	if (sub_from < 0 || sub_to < 0)
		return sub_from < 0 ? sub_from : sub_to;
	rc = copy_tree(sub_from, sub_to, depth + 1);
	if (rc)
		return rc;
	return fchown(sub_to, st.st_uid, st.st_gid) < 0 || fchmod(sub_to, st.st_mode & 07777) < 0
		   ? -errno
		   : 0;
}

static int copy_tree(int from, int to, int depth)
{
	enum { DEPTH_MAX = 256 };
	_closedir_ DIR *d = NULL;
	int fd = depth > DEPTH_MAX ? -ELOOP : path_open(from, ".", O_RDONLY | O_DIRECTORY, 0);

	if (fd < 0)
		return fd;
	d = fdopendir(fd);
	if (!d) {
		close(fd);
		return -ENOMEM;
	}
	for (struct dirent *ent; (ent = readdir(d));) {
		if (str_eq(ent->d_name, ".") || str_eq(ent->d_name, ".."))
			continue;
		int rc = copy_entry(from, to, ent->d_name, depth);

		if (rc)
			return rc;
	}
	return 0;
}

static int copy_up(struct mount_env *env, const struct spec_mount *m, int tree, struct err *e)
{
	_close_ int from = root_open(env->rootfd, m->destination, O_RDONLY | O_DIRECTORY);
	_close_ int to = openat(tree, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (from == -ENOENT)
		return 0;
	int rc = from < 0 ? from : to < 0 ? -errno : copy_tree(from, to, 0);

	if (!rc && (fstat(from, &st) < 0 || fchown(to, st.st_uid, st.st_gid) < 0 ||
		    fchmod(to, st.st_mode & 07777) < 0))
		rc = -errno;
	return rc ? err_set(e, ERR_CT_MOUNT, rc, "tmpcopyup: %s", strerror(-rc)) : 0;
}

/* --- one entry of mounts --- */

void mount_later(struct mount_env *env, const struct spec_mount *m, int fd)
{
	env->late = mem_grow(env->late, env->late_count + 1, sizeof(*env->late));
	env->late[env->late_count++] = (struct mount_late){.fd = fd, .m = m};
}

/* proc and sysfs must not be redirected by a symlink in the image: the target is opened without
 * following its last component, and is an ordinary directory. */
static int open_plain_dir(int rootfd, const char *path, struct err *e)
{
	char name[NAME_MAX + 1];
	_close_ int parent = root_parent(rootfd, path, 0755, name);

	if (parent < 0)
		return err_set(e, ERR_CT_MOUNT, parent, "%s", strerror(-parent));
	int rc = path_mkdir(parent, name, 0755);

	if (rc && rc != -EEXIST)
		return err_set(e, ERR_CT_MOUNT, rc, "%s", strerror(-rc));
	int fd = path_open(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0);

	return fd < 0 ? err_set(e, ERR_CT_MOUNT, fd,
				"must be mounted on ordinary directory, not on a symlink or file")
		      : fd;
}

static int open_target(struct mount_env *env, const struct spec_mount *m, bool dir, struct err *e)
{
	int fd = dir ? root_mkdirs(env->rootfd, m->destination, 0755)
		     : root_mkfile(env->rootfd, m->destination, 0644);

	if (fd < 0 && m->dest_nofollow)
		fd = root_open(env->rootfd, m->destination, O_PATH | O_NOFOLLOW);
	return fd < 0
		   ? err_set(e, ERR_CT_MOUNT, fd, "mount point cannot be made: %s", strerror(-fd))
		   : fd;
}

static int copy_symlink(struct mount_env *env, const struct spec_mount *m, int tree, struct err *e)
{
	char target[PATH_MAX], name[NAME_MAX + 1];
	int rc = path_readlink(tree, "", target, sizeof(target));

	if (rc < 0)
		return err_set(e, ERR_CT_MOUNT, rc, "symlink of the source: %s", strerror(-rc));
	_close_ int parent = root_parent(env->rootfd, m->destination, 0755, name);

	rc = parent < 0 ? parent : path_symlink(target, parent, name);
	return rc && rc != -EEXIST ? err_set(e, ERR_CT_MOUNT, rc, "symlink: %s", strerror(-rc)) : 0;
}

/* The prepared tree, or what the source is now: inside the root file system it may be what an
 * earlier mount has put there, and links of an image must not lead out. */
static int bind_tree(struct mount_env *env, size_t index, struct err *e)
{
	const struct spec_mount *m = &env->s->spec->mounts[index];
	int prepared = env->s->mount_fds ? env->s->mount_fds[index] : -1;
	const char *inside = rootfs_inside(env->s->spec, m->source);

	if (prepared >= 0) {
		int fd = fcntl(prepared, F_DUPFD_CLOEXEC, 0);

		return fd < 0 ? err_sys(e, ERR_SYS, "descriptor of the source") : fd;
	}
	if (!inside)
		return mount_open_source(env->s, m, -1, e);
	_close_ int source = root_open(
	    env->rootfd, inside, O_PATH | (m->src_nofollow || m->copy_symlink ? O_NOFOLLOW : 0));

	return source < 0 ? err_set(e, ERR_CT_MOUNT, source, "mount source '%s': %s", m->source,
				    strerror(-source))
			  : mount_open_source(env->s, m, source, e);
}

static int mount_bind(struct mount_env *env, size_t index, struct err *e)
{
	const struct spec_mount *m = &env->s->spec->mounts[index];
	_close_ int tree = bind_tree(env, index, e);
	struct stat st;

	if (tree < 0)
		return tree;
	if (fstat(tree, &st) < 0)
		return err_sys(e, ERR_CT_MOUNT, "source '%s'", m->source);
	if (m->copy_symlink && S_ISLNK(st.st_mode))
		return copy_symlink(env, m, tree, e);
	_close_ int target = open_target(env, m, S_ISDIR(st.st_mode), e);

	if (target < 0)
		return target;
	int rc = mount_set_attr(tree, false, m->attr_set, m->attr_clr, 0);

	if (!rc)
		rc = mount_set_attr(tree, true, m->rec_attr_set, m->rec_attr_clr, 0);
	if (!rc)
		rc = mount_attach(tree, target);
	if (!rc)
		rc = mount_set_attr(tree, m->propagation & MS_REC, 0, 0,
				    m->propagation & ~(uint64_t)MS_REC);
	return rc ? err_set(e, ERR_CT_MOUNT, rc, "bind mount of '%s': %s", m->source, strerror(-rc))
		  : 0;
}

/* The options that fsconfig takes: the data words, what the superblock flags mean, the SELinux
 * context. */
static size_t fs_options(const struct start *s, const struct spec_mount *m, char *data,
			 const char **out, size_t max, char *context, size_t context_size)
{
	static const struct {
		unsigned long flag;
		const char *name;
	} flags[] = {
	    {MS_SYNCHRONOUS, "sync"},
	    {MS_DIRSYNC, "dirsync"},
	    {MS_LAZYTIME, "lazytime"},
	    {MS_MANDLOCK, "mand"},
	};
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		if (m->sb_flags & flags[i].flag && n < max)
			out[n++] = flags[i].name;
	if (s->spec->mount_label && lsm_selinux_enabled() && !str_eq(m->type, "proc") &&
	    !str_eq(m->type, "sysfs") && !str_eq(m->type, "mqueue") && n < max) {
		snprintf(context, context_size, "context=%s", s->spec->mount_label);
		out[n++] = context;
	}
	for (char *save, *w = data ? strtok_r(data, ",", &save) : NULL; w && n < max;
	     w = strtok_r(NULL, ",", &save))
		if (*w)
			out[n++] = w;
	out[n] = NULL;
	return n;
}

/* For values that fsconfig cannot take: mount(2) on the descriptor, then the mounted root by its
 * name, checked to be a mount point. Returns an fd of the mounted root. */
static int mount_legacy(struct mount_env *env, const struct spec_mount *m, int target,
			struct err *e)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", target);
	if (mount(m->source, path, m->type, m->sb_flags & ~(unsigned long)MS_RDONLY, m->data) < 0)
		return err_sys(e, ERR_CT_MOUNT, "file system '%s'", m->type);
	int fd = root_open(env->rootfd, m->destination, O_PATH);
	struct statx sx;

	if (fd >= 0 && (statx(fd, "", AT_EMPTY_PATH, 0, &sx) < 0 ||
			!(sx.stx_attributes & STATX_ATTR_MOUNT_ROOT))) {
		close(fd);
		fd = -ESTALE;
	}
	return fd < 0 ? err_set(e, ERR_CT_MOUNT, fd, "file system '%s' was moved away", m->type)
		      : fd;
}

static bool is_pseudo(const char *type)
{
	return str_eq(type, "proc") || str_eq(type, "sysfs");
}

/* A tmpfs without mode= has that of the directory that it covers; 1777, the kernel's own, where
 * there is none. */
static bool inherited_mode(struct mount_env *env, const struct spec_mount *m,
			   const char *const *options, char *out, size_t size)
{
	struct stat st;

	for (; *options; options++)
		if (str_after(*options, "mode="))
			return false;
	_close_ int dir = root_open(env->rootfd, m->destination, O_PATH | O_DIRECTORY);

	if (dir < 0 || fstat(dir, &st) < 0)
		return false;
	snprintf(out, size, "mode=%o", st.st_mode & 07777);
	return true;
}

static int mount_filesystem(struct mount_env *env, const struct spec_mount *m, struct err *e)
{
	enum { OPTIONS_MAX = 128 };
	const char *options[OPTIONS_MAX + 1];
	char context[1024];
	_free_ char *data = m->data ? mem_strdup(m->data) : NULL;
	size_t n = fs_options(env->s, m, data, options, OPTIONS_MAX, context, sizeof(context));
	bool legacy = false, tmpfs = str_eq(m->type, "tmpfs");
	char mode[16];

	if (tmpfs && n < OPTIONS_MAX && inherited_mode(env, m, options, mode, sizeof(mode))) {
		options[n++] = mode;
		options[n] = NULL;
	}
	for (size_t i = 0; i < n; i++)
		legacy |= strlen(options[i]) > FSCONFIG_VALUE_MAX;
	_close_ int target = is_pseudo(m->type) ? open_plain_dir(env->rootfd, m->destination, e)
						: open_target(env, m, true, e);

	if (target < 0)
		return target;
	/* A tmpfs or /dev becomes read-only when everything below it has been made: mount_finish().
	 */
	bool late = m->attr_set & MOUNT_ATTR_RDONLY && tmpfs;
	uint64_t set = late ? m->attr_set & ~(uint64_t)MOUNT_ATTR_RDONLY : m->attr_set;
	_close_ int tree = legacy ? mount_legacy(env, m, target, e)
				  : mount_fs(m->type, m->source, options, legacy ? 0 : set, e);

	if (tree < 0)
		return tree;
	int rc = 0;

	if (m->tmpcopyup && tmpfs) {
		rc = copy_up(env, m, tree, e);
		if (rc)
			return rc;
	}
	if (legacy)
		rc = mount_set_attr(tree, false, set, m->attr_clr, 0);
	else
		rc = mount_attach(tree, target);
	if (!rc)
		rc = mount_set_attr(tree, true, m->rec_attr_set, m->rec_attr_clr, 0);
	if (!rc)
		rc = mount_set_attr(tree, m->propagation & MS_REC, 0, 0,
				    m->propagation & ~(uint64_t)MS_REC);
	if (rc)
		return err_set(e, ERR_CT_MOUNT, rc, "file system '%s': %s", m->type, strerror(-rc));
	if (late)
		mount_later(env, m, STEAL_FD(tree));
	return 0;
}

int mount_one(struct mount_env *env, size_t index, struct err *e)
{
	const struct spec_mount *m = &env->s->spec->mounts[index];
	int rc;

	switch (m->kind) {
	case SPEC_MOUNT_BIND:
		rc = mount_bind(env, index, e);
		break;
	case SPEC_MOUNT_CGROUP:
		rc = mount_cgroup(env, m, e);
		break;
	default:
		rc = mount_filesystem(env, m, e);
	}
	return rc ? err_prefix(e, "error mounting '%s' to rootfs at '%s': ",
			       m->source ? m->source : m->type, m->destination)
		  : 0;
}

int mount_finish(struct mount_env *env, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < env->late_count; i++) {
		const struct mount_late *late = &env->late[i];

		if (!rc)
			rc = mount_set_attr(late->fd, false, late->m->attr_set & MOUNT_ATTR_RDONLY,
					    0, 0);
		if (rc && !e->rc)
			err_set(e, ERR_CT_MOUNT, rc, "'%s' cannot be made read-only: %s",
				late->m->destination, strerror(-rc));
		close(late->fd);
	}
	free(env->late);
	env->late = NULL;
	env->late_count = 0;
	return rc;
}
