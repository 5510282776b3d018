/* The one module that turns path strings into files. Everything else names a file by (dirfd, name)
 * through here; the build bans the raw calls elsewhere (tools/check-paths).
 *
 * Two kinds of path, two families of functions:
 *   path_*   a trusted path of the host: ours, the administrator's or the caller's own.
 *   root_*   a path below a root that someone else controls (a container's root file system).
 * Resolved by openat2(2) with RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS, so that no symlink, "..", or
 * racing rename leads out. Every fd is O_CLOEXEC. Functions return an fd or 0, else a negative
 * errno; they set no struct err, because only the caller knows what the file means. dirfd may be
 * AT_FDCWD in path_*. No threads needed, none harmed. */
#ifndef OS_PATH_H
#define OS_PATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/buf.h"

/* Most bytes that path_read() takes where the caller names no other bound. */
#define PATH_READ_MAX (16u << 20)

/* --- trusted paths of the host --- */

int path_open(int dirfd, const char *path, int flags, mode_t mode);
int path_stat(int dirfd, const char *path, struct stat *ret_st); /* follows symlinks */
int path_lstat(int dirfd, const char *path,
	       struct stat *ret_st); /* path "" with a dirfd: the fd itself */
bool path_exists(int dirfd, const char *path);
/* By the effective ids; where a system call filter hides faccessat2(2), by the mode bits alone. */
int path_access(int dirfd, const char *path, int mode);
int path_mkdir(int dirfd, const char *path, mode_t mode);
/* mkdir -p: every missing component with mode; an existing directory is success. */
int path_mkdirs(int dirfd, const char *path, mode_t mode);
int path_unlink(int dirfd, const char *path);
int path_rmdir(int dirfd, const char *path);
/* Removes path and everything below it; a missing path is success. Crosses no mount point: -EBUSY
 * where path is one or one lies below. */
int path_remove_tree(int dirfd, const char *path);
int path_rename(int dirfd, const char *from, const char *to);
/* A second name for a file; of a symlink itself. */
int path_link(int dirfd, const char *from, const char *to);
int path_symlink(const char *target, int dirfd, const char *path);
int path_readlink(int dirfd, const char *path, char *buf,
		  size_t size); /* returns length; NUL-terminated */
int path_mkfifo(int dirfd, const char *path, mode_t mode);
int path_mknod(int dirfd, const char *path, mode_t mode, dev_t dev);
/* A second name for a file; for a symlink itself where `from` is one. */
int path_link_at(int from_dirfd, const char *from, int dirfd, const char *path);
/* inotify_add_watch(2); returns the watch descriptor. */
int path_watch(int inotify_fd, const char *path, uint32_t mask);
int path_chmod(int dirfd, const char *path, mode_t mode);
int path_chown(int dirfd, const char *path, uid_t uid, gid_t gid); /* of the link itself */
/* Modification time (and access time, to the same), of the link itself. */
int path_set_mtime(int dirfd, const char *path, int64_t s, uint32_t ns);
/* Canonical absolute form as realpath(3). Returns owned in *ret. */
int path_real(const char *path, char **ret);

/* Appends the whole file to b. -EFBIG past max_bytes. Suits procfs and cgroupfs (no stat size
 * needed). */
int path_read(int dirfd, const char *path, struct buf *b, size_t max_bytes);
/* First line without its newline into buf (NUL-terminated, cut at size). Returns its length. */
int path_read_line(int dirfd, const char *path, char *buf, size_t size);
/* One write(2) to an existing file: procfs, sysfs, cgroupfs. */
int path_write(int dirfd, const char *path, const char *data, size_t len);
/* Replaces a file whole: temporary, fsync where durable, rename, fsync of the directory where
 * durable. */
int path_replace(int dirfd, const char *path, const void *data, size_t len, mode_t mode,
		 bool durable);

/* --- files by descriptor --- */

int fd_read_all(int fd, struct buf *b, size_t max_bytes);
int fd_write_all(int fd, const void *data, size_t len);
/* A sealed (SHRINK|GROW|WRITE|SEAL) memfd with these bytes. */
int fd_memfd_sealed(const char *name, const void *data, size_t len);
/* Gives a file without a name (O_TMPFILE) one. -EEXIST where that is taken. */
int fd_name(int fd, int dirfd, const char *path);
/* Same file as st_dev/st_ino say? */
bool fd_same(int a, int b);
/* The file system's magic (statfs f_type) is this one? */
bool fd_is_fs(int fd, long magic);
/* Extended attributes of what fd (may be O_PATH, also of a symlink) refers to, through /proc. A size
 * of 0 asks for the length. */
int fd_set_xattr(int fd, const char *name, const void *value, size_t len);
ssize_t fd_get_xattr(int fd, const char *name, void *value, size_t size);
ssize_t fd_list_xattrs(int fd, char *names, size_t size); /* NUL after each */
/* Reopens what fd (may be O_PATH) refers to, through proc_fd = an fd of /proc known to be procfs.
 */
int fd_reopen(int proc_fd, int fd, int flags);
/* Closes every fd from `first` on, except those of keep (sorted, n entries), by close_range(2). */
void fd_close_from(int first, const int *keep, size_t n);

/* Marks every fd from `first` on close-on-exec. */
void fd_cloexec_from(int first);

/* --- paths below a root that is not trusted --- */

/* Opens path below rootfd. O_PATH and O_NOFOLLOW work as in open(2); never creates (see
 * root_create). */
int root_open(int rootfd, const char *path, int flags);
/* Makes every missing component of path below rootfd and returns an O_PATH fd of the last. An
 * existing component that is no directory: -ENOTDIR. New directories have mode; dangling symlinks
 * are followed inside the root. */
int root_mkdirs(int rootfd, const char *path, mode_t mode);
/* As root_mkdirs for the parent, then an empty regular file where nothing exists; returns an O_PATH
 * fd of what is there. A dangling symlink is followed inside the root. */
int root_mkfile(int rootfd, const char *path, mode_t mode);
/* Opens (creating it as root_mkdirs does) the directory that holds path's last component, which is
 * put in name[NAME_MAX + 1]; the caller acts on (dirfd, name). "/" itself: -EINVAL. */
int root_parent(int rootfd, const char *path, mode_t mode, char *name);

#endif
