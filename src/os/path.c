#include "os/path.h"
#include "base/cleanup.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

#ifndef MFD_EXEC /* Linux 6.3 */
#define MFD_EXEC 0x0010U
#endif

/* Symlinks followed by one root_mkdirs(): the kernel's own limit (path_resolution(7)). */
#define SYMLINKS_MAX 40

/* --- trusted paths of the host --- */

static int rc_of(int result)
{
	return result < 0 ? -errno : result;
}

int path_open(int dirfd, const char *path, int flags, mode_t mode)
{
	return rc_of(openat(dirfd, path, flags | O_CLOEXEC, mode));
}

int path_stat(int dirfd, const char *path, struct stat *ret_st)
{
	return rc_of(fstatat(dirfd, path, ret_st, 0));
}

int path_lstat(int dirfd, const char *path, struct stat *ret_st)
{
	return rc_of(fstatat(dirfd, path, ret_st, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH));
}

bool path_exists(int dirfd, const char *path)
{
	struct stat st;

	return path_stat(dirfd, path, &st) == 0;
}

int path_access(int dirfd, const char *path, int mode)
{
	struct stat st;

	if (syscall(SYS_faccessat2, dirfd, path, mode, AT_EACCESS) == 0)
		return 0;
	if (errno != ENOSYS && errno != EPERM)
		return -errno;
	/* Linux < 5.8, or a system call filter that knows no faccessat2(2): the bits must do. */
	int rc = path_stat(dirfd, path, &st);

	return rc ? rc : mode & X_OK && !(st.st_mode & 0111) ? -EACCES : 0;
}

int path_mkdir(int dirfd, const char *path, mode_t mode)
{
	return rc_of(mkdirat(dirfd, path, mode));
}

int path_mkdirs(int dirfd, const char *path, mode_t mode)
{
	struct stat st;
	int rc = path_mkdir(dirfd, path, mode);

	if (rc == -EEXIST)
		return path_stat(dirfd, path, &st) == 0 && S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
	if (rc != -ENOENT)
		return rc;
	_free_ char *copy = mem_strdup(path);

	for (char *p = copy; *p; p++) {
		if (*p != '/' || p == copy || p[-1] == '/')
			continue;
		*p = '\0';
		rc = path_mkdir(dirfd, copy, mode);
		*p = '/';
		if (rc && rc != -EEXIST)
			return rc;
	}
	rc = path_mkdir(dirfd, copy, mode);
	return rc == -EEXIST ? 0 : rc;
}

int path_unlink(int dirfd, const char *path)
{
	return rc_of(unlinkat(dirfd, path, 0));
}

int path_rmdir(int dirfd, const char *path)
{
	return rc_of(unlinkat(dirfd, path, AT_REMOVEDIR));
}

static int remove_below(int fd);

/* Removes one name of the directory d, whatever it is. One that went away meanwhile is success. */
static int remove_entry(int d, const char *name)
{
	if (unlinkat(d, name, 0) == 0 || errno == ENOENT)
		return 0;
	int refused = -errno;

	if (refused != -EISDIR && refused != -EPERM) /* POSIX has EPERM for directories */
		return refused;
	struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
			       .resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH};
	int sub = (int)syscall(SYS_openat2, d, name, &how, sizeof(how));

	if (sub < 0)
		return errno == ENOENT    ? 0
		       : errno == ENOTDIR ? refused
		       : errno == EXDEV   ? -EBUSY
					  : -errno;
	int rc = remove_below(sub);

	if (rc)
		return rc;
	return unlinkat(d, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

/* Takes fd. Depth is bounded by the fds of the process: a deeper tree fails with -EMFILE. */
static int remove_below(int fd)
{
	_closedir_ DIR *d = fdopendir(fd);

	if (!d) {
		int rc = -errno;

		close(fd);
		return rc;
	}
	for (struct dirent *ent; (errno = 0, ent = readdir(d));) {
		if (!strcmp(ent->d_name, ".") || !strcmp(ent->d_name, ".."))
			continue;
		int rc = remove_entry(dirfd(d), ent->d_name);

		if (rc)
			return rc;
	}
	return -errno;
}

/* Is fd the root of a mount? What lies below then belongs to another file system or bind mount. */
static bool is_mount_point(int fd)
{
	struct statx stx;

	return statx(fd, "", AT_EMPTY_PATH, 0, &stx) == 0 &&
	       (stx.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

int path_remove_tree(int dirfd, const char *path)
{
	int fd = path_open(dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);

	if (fd == -ENOENT)
		return 0;
	if (fd == -ENOTDIR || fd == -ELOOP) {
		int rc = path_unlink(dirfd, path);

		return rc == -ENOENT ? 0 : rc;
	}
	if (fd < 0)
		return fd;
	if (is_mount_point(fd)) {
		close(fd);
		return -EBUSY;
	}
	int rc = remove_below(fd);

	if (rc)
		return rc;
	rc = path_rmdir(dirfd, path);
	return rc == -ENOENT ? 0 : rc;
}

int path_rename(int dirfd, const char *from, const char *to)
{
	return rc_of(renameat(dirfd, from, dirfd, to));
}

int path_link(int dirfd, const char *from, const char *to)
{
	return rc_of(linkat(dirfd, from, dirfd, to, 0));
}

int path_symlink(const char *target, int dirfd, const char *path)
{
	return rc_of(symlinkat(target, dirfd, path));
}

int path_readlink(int dirfd, const char *path, char *buf, size_t size)
{
	ssize_t n = readlinkat(dirfd, path, buf, size);

	if (n < 0)
		return -errno;
	if ((size_t)n >= size)
		return -ENAMETOOLONG;
	buf[n] = '\0';
	return (int)n;
}

int path_mkfifo(int dirfd, const char *path, mode_t mode)
{
	return rc_of(mkfifoat(dirfd, path, mode));
}

int path_watch(int inotify_fd, const char *path, uint32_t mask)
{
	return rc_of(inotify_add_watch(inotify_fd, path, mask));
}

int path_mknod(int dirfd, const char *path, mode_t mode, dev_t dev)
{
	return rc_of(mknodat(dirfd, path, mode, dev));
}

int path_link_at(int from_dirfd, const char *from, int dirfd, const char *path)
{
	return rc_of(linkat(from_dirfd, from, dirfd, path, 0));
}

int path_set_mtime(int dirfd, const char *path, int64_t s, uint32_t ns)
{
	const struct timespec t = {.tv_sec = s, .tv_nsec = ns}, times[] = {t, t};

	return rc_of(utimensat(dirfd, path, times, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH));
}

int path_chmod(int dirfd, const char *path, mode_t mode)
{
	return rc_of(fchmodat(dirfd, path, mode, 0));
}

int path_chown(int dirfd, const char *path, uid_t uid, gid_t gid)
{
	return rc_of(fchownat(dirfd, path, uid, gid, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH));
}

int path_real(const char *path, char **ret)
{
	char *real = realpath(path, NULL);

	if (!real)
		return -errno;
	*ret = real;
	return 0;
}

int path_read(int dirfd, const char *path, struct buf *b, size_t max_bytes)
{
	_close_ int fd = path_open(dirfd, path, O_RDONLY, 0);

	return fd < 0 ? fd : fd_read_all(fd, b, max_bytes);
}

int path_read_line(int dirfd, const char *path, char *buf, size_t size)
{
	_close_ int fd = path_open(dirfd, path, O_RDONLY, 0);

	if (fd < 0)
		return fd;
	ssize_t n = read(fd, buf, size - 1);

	if (n < 0)
		return -errno;
	buf[n] = '\0';
	char *end = strchr(buf, '\n');

	if (end)
		*end = '\0';
	return (int)strlen(buf);
}

int path_write(int dirfd, const char *path, const char *data, size_t len)
{
	_close_ int fd = path_open(dirfd, path, O_WRONLY, 0);

	if (fd < 0)
		return fd;
	ssize_t n;

	do /* cgroup files answer EINTR while they wait for the group's lock */
		n = write(fd, data, len);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EIO;
}

int path_replace(int dirfd, const char *path, const void *data, size_t len, mode_t mode,
		 bool durable)
{
	_free_ char *temporary = mem_printf("%s.%d.tmp", path, gettid());

	path_unlink(dirfd, temporary); /* of a thread that was killed here and had our number */
	_close_ int fd = path_open(dirfd, temporary, O_WRONLY | O_CREAT | O_EXCL, mode);

	if (fd < 0)
		return fd;
	int rc = fd_write_all(fd, data, len);

	if (!rc && durable && fsync(fd) < 0)
		rc = -errno;
	if (!rc)
		rc = path_rename(dirfd, temporary, path);
	if (rc) {
		path_unlink(dirfd, temporary);
		return rc;
	}
	if (!durable)
		return 0;
	const char *slash = strrchr(path, '/');
	_free_ char *parent =
	    slash ? mem_strndup(path, slash == path ? 1 : (size_t)(slash - path)) : mem_strdup(".");
	_close_ int dir = path_open(dirfd, parent, O_RDONLY | O_DIRECTORY, 0);

	if (dir < 0)
		return dir;
	return fsync(dir) < 0 ? -errno : 0;
}

/* --- files by descriptor --- */

int fd_read_all(int fd, struct buf *b, size_t max_bytes)
{
	size_t start = b->len;

	for (size_t chunk = 4096;; chunk = chunk < (1u << 20) ? chunk * 2 : chunk) {
		buf_reserve(b, chunk);
		ssize_t n = read(fd, b->s + b->len, chunk);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		b->len += (size_t)n;
		b->s[b->len] = '\0';
		if (b->len - start > max_bytes)
			return -EFBIG;
	}
	return 0;
}

int fd_write_all(int fd, const void *data, size_t len)
{
	for (const char *p = data; len;) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int fd_memfd_sealed(const char *name, const void *data, size_t len)
{
	_close_ int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);

	if (fd < 0 && errno == EINVAL) /* MFD_EXEC came with Linux 6.3 */
		fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	int rc = fd_write_all(fd, data, len);

	if (rc)
		return rc;
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
		return -errno;
	return STEAL_FD(fd);
}

int fd_name(int fd, int dirfd, const char *path)
{
	char self[32];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd); /* open(2), O_TMPFILE */
	return rc_of(linkat(AT_FDCWD, self, dirfd, path, AT_SYMLINK_FOLLOW));
}

bool fd_same(int a, int b)
{
	struct stat sa, sb;

	return fstat(a, &sa) == 0 && fstat(b, &sb) == 0 && sa.st_dev == sb.st_dev &&
	       sa.st_ino == sb.st_ino;
}

bool fd_is_fs(int fd, long magic)
{
	struct statfs sfs;

	return fstatfs(fd, &sfs) == 0 && sfs.f_type == magic;
}

/* The kernel has no f…xattr(2) for O_PATH; the magic link leads to the file itself, symlink or not. */
static const char *fd_link(int fd, char link[static 32])
{
	snprintf(link, 32, "/proc/self/fd/%d", fd);
	return link;
}

int fd_set_xattr(int fd, const char *name, const void *value, size_t len)
{
	char link[32];

	return rc_of(setxattr(fd_link(fd, link), name, value, len, 0));
}

ssize_t fd_get_xattr(int fd, const char *name, void *value, size_t size)
{
	char link[32];
	ssize_t n = getxattr(fd_link(fd, link), name, value, size);

	return n < 0 ? -errno : n;
}

ssize_t fd_list_xattrs(int fd, char *names, size_t size)
{
	char link[32];
	ssize_t n = listxattr(fd_link(fd, link), names, size);

	return n < 0 ? -errno : n;
}

int fd_reopen(int proc_fd, int fd, int flags)
{
	char name[64];

	snprintf(name, sizeof(name), "self/fd/%d", fd);
	return path_open(proc_fd, name, flags, 0);
}

void fd_close_from(int first, const int *keep, size_t n)
{
	unsigned next = (unsigned)first;

	for (size_t i = 0; i < n; i++) {
		if (keep[i] < 0 || (unsigned)keep[i] < next)
			continue;
		if ((unsigned)keep[i] > next)
			close_range(next, (unsigned)keep[i] - 1, 0);
		next = (unsigned)keep[i] + 1;
	}
	close_range(next, ~0u, 0);
}

void fd_cloexec_from(int first)
{
	close_range((unsigned)first, ~0u, CLOSE_RANGE_CLOEXEC);
}

/* --- paths below a root that is not trusted --- */

int root_open(int rootfd, const char *path, int flags)
{
	struct open_how how = {.flags = (unsigned)flags | O_CLOEXEC,
			       .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};

	/* -EAGAIN: a rename raced with "..", so the kernel could not tell whether we left the root.
	 */
	for (int tries = 0; tries < 128; tries++) {
		int fd = (int)syscall(SYS_openat2, rootfd, *path ? path : ".", &how, sizeof(how));

		if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
			return rc_of(fd);
	}
	return -EAGAIN;
}

/* Walks path component by component, symlinks by hand: each step is root_open() of the whole prefix
 * walked so far, so the kernel, not this loop, keeps us inside. `done` is the prefix as text, free
 * of symlinks that we followed. */
int root_mkdirs(int rootfd, const char *path, mode_t mode)
{
	int fd = root_open(rootfd, path, O_PATH | O_DIRECTORY);

	if (fd != -ENOENT)
		return fd;

	_free_ char *todo = mem_strdup(path);
	_buf_ struct buf done = {0};
	_close_ int at = root_open(rootfd, ".", O_PATH | O_DIRECTORY);

	if (at < 0)
		return at;
	for (int links = 0; *todo;) {
		char *p = todo + strspn(todo, "/");
		size_t len = strcspn(p, "/");
		char name[NAME_MAX + 1];

		if (!len)
			break;
		if (len > NAME_MAX)
			return -ENAMETOOLONG;
		memcpy(name, p, len);
		name[len] = '\0';
		memmove(todo, p + len, strlen(p + len) + 1);
		if (!strcmp(name, "."))
			continue;
		if (!strcmp(name, "..")) {
			char *slash = done.s ? strrchr(done.s, '/') : NULL;

			if (slash) {
				*slash = '\0';
				done.len = (size_t)(slash - done.s);
			}
		} else {
			char target[PATH_MAX];

			if (mkdirat(at, name, mode) < 0 && errno != EEXIST)
				return -errno;
			int n = path_readlink(at, name, target, sizeof(target));

			if (n >= 0) {
				if (++links > SYMLINKS_MAX)
					return -ELOOP;
				char *joined = mem_printf("%s/%s", target, todo);

				free(todo);
				todo = joined;
				if (target[0] == '/')
					buf_reset(&done);
			} else {
				buf_addf(&done, "/%s", name);
			}
		}
		int next = root_open(rootfd, done.len ? done.s : ".", O_PATH | O_DIRECTORY);

		if (next < 0)
			return next;
		close(at);
		at = next;
	}
	return STEAL_FD(at);
}

/* Cuts trailing slashes off path and returns its last component, which may be "". */
static char *last_component(char *path)
{
	size_t len = strlen(path);

	while (len && path[len - 1] == '/')
		path[--len] = '\0';
	char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

int root_parent(int rootfd, const char *path, mode_t mode, char *name)
{
	_free_ char *copy = mem_strdup(path);
	char *last = last_component(copy);

	if (!*last || !strcmp(last, ".") || !strcmp(last, ".."))
		return -EINVAL;
	if (strlen(last) > NAME_MAX)
		return -ENAMETOOLONG;
	strcpy(name, last);
	*last = '\0';
	return root_mkdirs(rootfd, copy, mode);
}

int root_mkfile(int rootfd, const char *path, mode_t mode)
{
	_free_ char *at = mem_strdup(path);

	for (int links = 0; links <= SYMLINKS_MAX; links++) {
		int fd = root_open(rootfd, at, O_PATH);

		if (fd != -ENOENT)
			return fd;
		char name[NAME_MAX + 1], target[PATH_MAX];
		_close_ int dir = root_parent(rootfd, at, 0755, name);

		if (dir < 0)
			return dir;
		/* O_EXCL follows no symlink, so this stays in the directory. */
		_close_ int file = path_open(dir, name, O_WRONLY | O_CREAT | O_EXCL, mode);

		if (file >= 0)
			return root_open(dir, name, O_PATH | O_NOFOLLOW);
		if (file != -EEXIST)
			return file;
		if (path_readlink(dir, name, target, sizeof(target)) < 0)
			continue; /* someone made a file there meanwhile: look again */
		*last_component(at) = '\0';
		char *next = mem_printf("%s%s", target[0] == '/' ? "" : at, target);

		free(at);
		at = next;
	}
	return -ELOOP;
}
