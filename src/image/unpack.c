/* An entry is made under its name, gets its contents, and then its attributes in the order that keeps
 * them: owner, mode (chown(2) clears set-id bits), xattrs (chown and write clear capabilities), time.
 * A file's contents come after its entry, so what is to be set is copied. */
#include "image/unpack.h"

#include "base/bits.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "base/vec.h"
#include "image/entry.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define DIR_MODE 0755 /* of directories that no entry describes */

struct attributes {
	mode_t mode;
	uid_t uid;
	gid_t gid;
	int64_t mtime_s;
	uint32_t mtime_ns;
	struct buf xattrs; /* name, NUL, length as size_t, value … */
};

/* Of a directory, set when nothing is put into it any more. */
struct dir_time {
	char *path;
	int64_t s;
	uint32_t ns;
};

struct unpacker {
	int rootfd;
	struct unpack_options o;
	struct buf path;
	VEC(struct dir_time) times;

	/* the file under way; fd -1: none */
	int fd, dirfd;
	char name[NAME_MAX + 1];
	struct attributes attributes;
	VEC(struct tar_segment) segments;
	size_t segment;
	uint64_t done;
};

static int fail(const struct unpacker *u, int rc, struct err *e, const char *what)
{
	if (rc == -ENOTDIR || rc == -ELOOP || rc == -EINVAL || rc == -ENAMETOOLONG)
		return err_set(e, ERR_LAYER_PATH, rc, "'%s' cannot be a place in the layer: %s",
			       buf_str(&u->path), strerror(-rc));
	return err_set(e, ERR_LAYER_IO, rc, "cannot %s '%s' of the layer: %s", what,
		       buf_str(&u->path), strerror(-rc));
}

/* --- attributes --- */

static void keep_attributes(struct unpacker *u, const struct tar_entry *t)
{
	struct attributes *a = &u->attributes;

	a->mode = t->mode;
	a->uid = t->uid;
	a->gid = t->gid;
	a->mtime_s = t->mtime_s;
	a->mtime_ns = t->mtime_ns;
	buf_reset(&a->xattrs);
	for (size_t i = 0; i < t->xattr_count; i++) {
		const struct tar_xattr *x = &t->xattrs[i];

		if (!entry_xattr_kept(x->name))
			continue;
		buf_add(&a->xattrs, x->name, strlen(x->name) + 1);
		buf_add(&a->xattrs, &x->len, sizeof(x->len));
		buf_add(&a->xattrs, x->value, x->len);
	}
}

static int set_xattrs(struct unpacker *u, int dirfd, const char *name, struct err *e)
{
	const struct buf *b = &u->attributes.xattrs;

	if (!b->len)
		return 0;
	_close_ int fd = path_open(dirfd, name, O_PATH | O_NOFOLLOW, 0);

	if (fd < 0)
		return fail(u, fd, e, "open");
	for (const char *p = b->s; p < b->s + b->len;) {
		const char *key = p;
		size_t len;

		p += strlen(p) + 1;
		memcpy(&len, p, sizeof(len));
		p += sizeof(len);
		int rc = fd_set_xattr(fd, key, p, len);

		p += len;
		/* A file system without them, or one that has none on symlinks and devices. */
		if (rc == -EOPNOTSUPP || (rc == -EPERM && str_after(key, "user.")) ||
		    (rc == -EPERM && u->o.lenient))
			continue;
		if (rc)
			return fail(u, rc, e, "set attributes of");
	}
	return 0;
}

static int set_attributes(struct unpacker *u, int dirfd, const char *name, bool symlink,
			  struct err *e)
{
	const struct attributes *a = &u->attributes;
	int rc = path_chown(dirfd, name, a->uid, a->gid);

	/* An id that is not mapped is invalid. */
	if (rc && !(u->o.lenient && (rc == -EPERM || rc == -EINVAL)))
		return fail(u, rc, e, "set the owner of");
	if (!symlink && (rc = path_chmod(dirfd, name, a->mode)))
		return fail(u, rc, e, "set the mode of");
	if ((rc = set_xattrs(u, dirfd, name, e)))
		return rc;
	rc = path_set_mtime(dirfd, name, a->mtime_s, a->mtime_ns);
	return rc ? fail(u, rc, e, "set the time of") : 0;
}

/* --- files --- */

static int finish_file(struct unpacker *u, struct err *e)
{
	if (u->fd < 0)
		return 0;
	close(u->fd);
	u->fd = -1;
	int rc = set_attributes(u, u->dirfd, u->name, false, e);

	close(u->dirfd);
	u->dirfd = -1;
	return rc;
}

/* Takes dirfd on success. */
static int make_file(struct unpacker *u, int dirfd, const char *name, const struct tar_entry *t,
		     struct err *e)
{
	int fd = path_open(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);

	if (fd < 0)
		return fail(u, fd, e, "make");
	u->segments.n = 0;
	if (t->sparse) {
		if (ftruncate(fd, (off_t)t->size)) {
			int rc = -errno;

			close(fd);
			return fail(u, rc, e, "make");
		}
		for (size_t i = 0; i < t->segment_count; i++)
			vec_push(&u->segments, t->segments[i]);
	} else if (t->size) {
		vec_push(&u->segments, (struct tar_segment){0, t->size});
	}
	u->fd = fd;
	u->dirfd = dirfd;
	memcpy(u->name, name, strlen(name) + 1);
	u->segment = 0;
	u->done = 0;
	return 0;
}

int unpacker_data(void *arg, const void *p, size_t len, struct err *e)
{
	struct unpacker *u = arg;

	while (u->fd >= 0 && len && u->segment < u->segments.n) {
		const struct tar_segment *s = &u->segments.v[u->segment];
		size_t n = (size_t)MIN(s->len - u->done, (uint64_t)len);
		ssize_t wrote = pwrite(u->fd, p, n, (off_t)(s->offset + u->done));

		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote <= 0)
			return fail(u, wrote ? -errno : -EIO, e, "write");
		p = (const char *)p + wrote;
		len -= (size_t)wrote;
		u->done += (uint64_t)wrote;
		if (u->done == s->len) {
			u->done = 0;
			u->segment++;
		}
	}
	return 0;
}

/* --- other entries --- */

static void keep_time(struct unpacker *u, const struct tar_entry *t)
{
	vec_push(&u->times,
		 (struct dir_time){mem_strdup(buf_str(&u->path)), t->mtime_s, t->mtime_ns});
}

/* The type under that name; 0: there is nothing. */
static mode_t type_at(int dirfd, const char *name)
{
	struct stat st;

	return path_lstat(dirfd, name, &st) ? 0 : st.st_mode & S_IFMT;
}

static bool is_whiteout(int dirfd, const char *name)
{
	struct stat st;

	return !path_lstat(dirfd, name, &st) && S_ISCHR(st.st_mode) && !st.st_rdev;
}

static int set_opaque(struct unpacker *u, int fd, struct err *e)
{
	int rc =
	    fd_set_xattr(fd, u->o.user_xattrs ? ENTRY_OPAQUE_USER : ENTRY_OPAQUE_TRUSTED, "y", 1);

	return rc ? fail(u, rc, e, "make opaque") : 0;
}

/* It speaks of the layers below: what this layer has of that name stays. */
static int make_whiteout(struct unpacker *u, int dirfd, const char *name, struct err *e)
{
	mode_t type = type_at(dirfd, name);

	if (S_ISDIR(type)) {
		_close_ int fd = path_open(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);

		return fd < 0 ? fail(u, fd, e, "open") : set_opaque(u, fd, e);
	}
	int rc = type ? 0 : path_mknod(dirfd, name, S_IFCHR, 0);

	return rc ? fail(u, rc, e, "remove") : 0;
}

static int make_directory(struct unpacker *u, int dirfd, const char *name,
			  const struct tar_entry *t, struct err *e)
{
	bool hides = is_whiteout(dirfd, name);
	int rc = 0;

	if (!S_ISDIR(type_at(dirfd, name))) {
		rc = path_remove_tree(dirfd, name);
		rc = rc ? rc : path_mkdir(dirfd, name, 0700);
	}
	if (rc)
		return fail(u, rc, e, "make");
	if (hides) {
		_close_ int fd = path_open(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);

		rc = fd < 0 ? fail(u, fd, e, "open") : set_opaque(u, fd, e);
	}
	keep_time(u, t);
	return rc ? rc : set_attributes(u, dirfd, name, false, e);
}

static int make_hardlink(struct unpacker *u, int dirfd, const char *name, const struct tar_entry *t,
			 struct err *e)
{
	char target_name[NAME_MAX + 1];
	_buf_ struct buf target = {0};
	struct stat a, b;
	int rc = entry_path(t->link, &target, e);

	if (rc)
		return rc;
	_close_ int target_dir = root_parent(u->rootfd, buf_str(&target), DIR_MODE, target_name);

	if (target_dir < 0 || S_ISDIR(type_at(target_dir, target_name)) ||
	    is_whiteout(target_dir, target_name) || path_lstat(target_dir, target_name, &a))
		return err_set(e, ERR_LAYER_PATH, -EBADMSG,
			       "'%s' is a hard link to '%s', which is no file of the layer",
			       t->path, t->link);
	if (!path_lstat(dirfd, name, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino)
		return 0; /* linked to itself */
	rc = path_remove_tree(dirfd, name);
	rc = rc ? rc : path_link_at(target_dir, target_name, dirfd, name);
	return rc ? fail(u, rc, e, "link") : 0;
}

static int make_node(struct unpacker *u, int dirfd, const char *name, const struct tar_entry *t,
		     struct err *e)
{
	bool device = t->type == TAR_CHAR || t->type == TAR_BLOCKDEV;
	mode_t type = t->type == TAR_CHAR ? S_IFCHR : t->type == TAR_BLOCKDEV ? S_IFBLK : S_IFIFO;
	int rc;

	if (t->type == TAR_SYMLINK)
		rc = path_symlink(t->link, dirfd, name);
	else
		rc = path_mknod(dirfd, name, type | 0600, makedev(t->dev_major, t->dev_minor));
	if (rc == -EPERM && device && u->o.lenient)
		return 0;
	return rc ? fail(u, rc, e, "make")
		  : set_attributes(u, dirfd, name, t->type == TAR_SYMLINK, e);
}

/* Takes *dirfd where the file goes on. */
static int make_plain(struct unpacker *u, int *dirfd, const char *name, const struct tar_entry *t,
		      struct err *e)
{
	int rc;

	if (t->type == TAR_DIR)
		return make_directory(u, *dirfd, name, t, e);
	if (t->type == TAR_HARDLINK)
		return make_hardlink(u, *dirfd, name, t, e);
	if ((rc = path_remove_tree(*dirfd, name)))
		return fail(u, rc, e, "replace");
	if (t->type != TAR_FILE)
		return make_node(u, *dirfd, name, t, e);
	rc = make_file(u, *dirfd, name, t, e);
	if (!rc)
		*dirfd = -1;
	return rc;
}

static int describe_root(struct unpacker *u, const struct tar_entry *t, struct err *e)
{
	if (t->type != TAR_DIR)
		return err_set(e, ERR_LAYER_PATH, -EBADMSG,
			       "the layer replaces the root directory");
	keep_time(u, t);
	return set_attributes(u, u->rootfd, ".", false, e);
}

int unpacker_entry(void *arg, const struct tar_entry *t, struct err *e)
{
	struct unpacker *u = arg;
	char last[NAME_MAX + 1];
	enum entry_mark mark;
	const char *name;
	int rc = finish_file(u, e);

	if (rc || (rc = entry_path(t->path, &u->path, e)))
		return rc;
	keep_attributes(u, t);
	if (!u->path.len)
		return describe_root(u, t, e);
	_close_ int dirfd = root_parent(u->rootfd, buf_str(&u->path), DIR_MODE, last);

	if (dirfd < 0)
		return fail(u, dirfd, e, "reach");
	if ((rc = entry_mark(last, &mark, &name, e)))
		return rc;
	switch (mark) {
	case ENTRY_IGNORED:
		return 0;
	case ENTRY_OPAQUE:
		return set_opaque(u, dirfd, e);
	case ENTRY_WHITEOUT:
		return make_whiteout(u, dirfd, name, e);
	default:
		return make_plain(u, &dirfd, name, t, e);
	}
}

int unpacker_finish(struct unpacker *u, struct err *e)
{
	int rc = finish_file(u, e);

	for (size_t i = 0; i < u->times.n && !rc; i++) {
		const struct dir_time *d = &u->times.v[i];
		/* A later entry may have put something else there. */
		_close_ int fd = root_open(u->rootfd, d->path, O_PATH | O_DIRECTORY);

		if (fd >= 0 && (rc = path_set_mtime(fd, "", d->s, d->ns)))
			rc = fail(u, rc, e, "set the time of");
	}
	return rc;
}

struct unpacker *unpacker_new(int rootfd, const struct unpack_options *o)
{
	struct unpacker *u = mem_alloc(sizeof(*u));

	u->rootfd = rootfd;
	u->o = *o;
	u->fd = u->dirfd = -1;
	return u;
}

void unpacker_free(struct unpacker *u)
{
	if (!u)
		return;
	if (u->fd >= 0)
		close(u->fd);
	if (u->dirfd >= 0)
		close(u->dirfd);
	vec_each (d, &u->times)
		free(d->path);
	vec_done(&u->times);
	vec_done(&u->segments);
	buf_done(&u->path);
	buf_done(&u->attributes.xattrs);
	free(u);
}
