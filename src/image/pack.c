#include "image/pack.h"

#include "base/bits.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "codec/tar.h"
#include "image/entry.h"
#include "os/path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <search.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define PIECE      (256u << 10)
#define XATTRS_MAX (256u << 10) /* bytes of names, and of one value (xattr(7): 64 KiB) */

/* The first name of a file with several. */
struct link {
	dev_t dev;
	ino_t ino;
	char *path;
};

struct packer {
	struct pack_options o;
	pack_fn *out;
	void *arg;
	struct buf path, header;
	struct buf names, values;
	VEC(struct tar_xattr) xattrs;
	void *links; /* tsearch(3) */
	char *piece;
	unsigned depth;
};

static int fail(const struct packer *p, int rc, struct err *e, const char *what)
{
	return err_set(e, ERR_SYS, rc, "cannot %s '%s': %s", what, buf_str(&p->path),
		       strerror(-rc));
}

/* --- entries --- */

/* Reads the attributes that are kept. fd may be O_PATH. *ret_opaque: overlay's mark. */
static int read_xattrs(struct packer *p, int fd, bool *ret_opaque, struct err *e)
{
	p->xattrs.n = 0;
	buf_reset(&p->names);
	buf_reset(&p->values);
	buf_reserve(&p->names, XATTRS_MAX);
	ssize_t n = fd_list_xattrs(fd, p->names.s, XATTRS_MAX);

	*ret_opaque = false;
	if (n == -EOPNOTSUPP)
		return 0;
	if (n < 0)
		return fail(p, (int)n, e, "list the attributes of");
	for (const char *name = p->names.s; name < p->names.s + n; name += strlen(name) + 1) {
		*ret_opaque |=
		    str_eq(name, ENTRY_OPAQUE_TRUSTED) || str_eq(name, ENTRY_OPAQUE_USER);
		if (!entry_xattr_kept(name) || p->xattrs.n == TAR_XATTRS_MAX)
			continue;
		size_t at = p->values.len;

		buf_reserve(&p->values, XATTRS_MAX);
		ssize_t len = fd_get_xattr(fd, name, p->values.s + at, XATTRS_MAX);

		if (len < 0)
			continue; /* gone meanwhile, or not for this reader */
		p->values.len += (size_t)len;
		vec_push(&p->xattrs, (struct tar_xattr){name, (const void *)at, (size_t)len});
	}
	vec_each (x, &p->xattrs) /* the values have moved as they grew */
		x->value = p->values.s + (size_t)x->value;
	return 0;
}

static int put_header(struct packer *p, const struct tar_entry *t, struct err *e)
{
	buf_reset(&p->header);
	tar_write_header(&p->header, t);
	return p->out(p->arg, p->header.s, p->header.len, e);
}

static struct tar_entry entry_of(const struct packer *p, const struct stat *st)
{
	return (struct tar_entry){.path = buf_str(&p->path),
				  .link = "",
				  .mode = st->st_mode & 07777,
				  .uid = st->st_uid,
				  .gid = st->st_gid,
				  .mtime_s = st->st_mtim.tv_sec,
				  .mtime_ns = (uint32_t)st->st_mtim.tv_nsec,
				  .xattrs = p->xattrs.v,
				  .xattr_count = p->xattrs.n};
}

/* An empty file, as whiteouts are. */
static int put_mark(struct packer *p, const char *path, struct err *e)
{
	const struct tar_entry t = {.type = TAR_FILE, .path = path, .link = ""};

	return put_header(p, &t, e);
}

/* As many bytes as the header said, whatever happens to the file meanwhile. */
static int put_contents(struct packer *p, int fd, uint64_t size, struct err *e)
{
	int rc = 0;

	for (uint64_t left = size; left && !rc;) {
		size_t want = (size_t)MIN(left, (uint64_t)PIECE);
		ssize_t n = read(fd, p->piece, want);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail(p, -errno, e, "read");
		if (n == 0)
			memset(p->piece, 0, want);
		else
			want = (size_t)n;
		rc = p->out(p->arg, p->piece, want, e);
		left -= want;
	}
	if (rc)
		return rc;
	buf_reset(&p->header);
	tar_write_padding(&p->header, size);
	return p->header.len ? p->out(p->arg, p->header.s, p->header.len, e) : 0;
}

/* --- hard links --- */

static int compare_links(const void *a, const void *b)
{
	const struct link *x = a, *y = b;

	if (x->dev != y->dev)
		return x->dev < y->dev ? -1 : 1;
	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

static void free_link(void *link)
{
	free(((struct link *)link)->path);
	free(link);
}

/* The path under which the file has been packed, or NULL where this is the first time. */
static const char *known_link(struct packer *p, const struct stat *st)
{
	struct link *l = mem_alloc(sizeof(*l));

	*l = (struct link){st->st_dev, st->st_ino, NULL};
	struct link **found = tsearch(l, &p->links, compare_links);

	if (!found)
		abort(); /* program-sized, as mem_alloc() */
	if (*found == l) {
		l->path = mem_strdup(buf_str(&p->path));
		return NULL;
	}
	free(l);
	return (*found)->path;
}

/* --- the walk --- */

static int pack_directory(struct packer *p, int fd, const struct stat *st, struct err *e);

static int pack_file(struct packer *p, int dirfd, const char *name, struct tar_entry *t,
		     const struct stat *st, struct err *e)
{
	struct stat now;
	_close_ int fd = path_open(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);

	if (fd < 0)
		return fail(p, fd, e, "open");
	if (fstat(fd, &now) || now.st_ino != st->st_ino || now.st_dev != st->st_dev)
		return fail(p, -ESTALE, e, "open");
	t->type = TAR_FILE;
	t->size = t->data_len = (uint64_t)now.st_size;
	int rc = put_header(p, t, e);

	return rc ? rc : put_contents(p, fd, t->size, e);
}

static int pack_symlink(struct packer *p, int dirfd, const char *name, struct tar_entry *t,
			struct err *e)
{
	char target[PATH_MAX];
	int rc = path_readlink(dirfd, name, target, sizeof(target));

	if (rc < 0)
		return fail(p, rc, e, "read");
	t->type = TAR_SYMLINK;
	t->link = target;
	return put_header(p, t, e);
}

static int pack_other(struct packer *p, int dirfd, const char *name, const struct stat *st,
		      struct err *e)
{
	struct tar_entry t = entry_of(p, st);
	const char *first = st->st_nlink > 1 ? known_link(p, st) : NULL;

	if (first) {
		t.type = TAR_HARDLINK;
		t.link = first;
		return put_header(p, &t, e);
	}
	t.dev_major = major(st->st_rdev);
	t.dev_minor = minor(st->st_rdev);
	switch (st->st_mode & S_IFMT) {
	case S_IFREG:
		return pack_file(p, dirfd, name, &t, st, e);
	case S_IFLNK:
		return pack_symlink(p, dirfd, name, &t, e);
	case S_IFSOCK:
		return 0;
	case S_IFCHR:
		t.type = TAR_CHAR;
		break;
	case S_IFBLK:
		t.type = TAR_BLOCKDEV;
		break;
	default:
		t.type = TAR_FIFO;
	}
	return put_header(p, &t, e);
}

/* p->path ends with the entry's name. */
static int pack_entry(struct packer *p, int dirfd, const char *name, struct err *e)
{
	size_t parent_len = p->path.len - strlen(name);
	struct stat st;
	bool opaque;
	int rc = path_lstat(dirfd, name, &st);

	if (rc)
		return fail(p, rc, e, "look at");
	if (p->o.layer && S_ISCHR(st.st_mode) && !st.st_rdev) {
		_free_ char *mark =
		    mem_printf("%.*s.wh.%s", (int)parent_len, buf_str(&p->path), name);

		return put_mark(p, mark, e);
	}
	if (S_ISDIR(st.st_mode)) {
		_close_ int fd = path_open(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);

		if (fd < 0)
			return fail(p, fd, e, "open");
		buf_addc(&p->path, '/');
		return pack_directory(p, fd, &st, e);
	}
	_close_ int fd = path_open(dirfd, name, O_PATH | O_NOFOLLOW, 0);

	if (fd < 0)
		return fail(p, fd, e, "open");
	rc = read_xattrs(p, fd, &opaque, e);
	return rc ? rc : pack_other(p, dirfd, name, &st, e);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorted and NULL-terminated; returns owned in *ret. */
static int list_names(struct packer *p, int fd, char ***ret, struct err *e)
{
	VEC(char *) names = {0};
	int copy = path_open(fd, ".", O_RDONLY | O_DIRECTORY, 0);
	_closedir_ DIR *d = copy < 0 ? NULL : fdopendir(copy);

	if (!d)
		return fail(p, copy < 0 ? copy : -errno, e, "open");
	for (struct dirent *ent; (errno = 0, ent = readdir(d));)
		if (!str_eq(ent->d_name, ".") && !str_eq(ent->d_name, ".."))
			vec_push(&names, mem_strdup(ent->d_name));
	int rc = errno ? fail(p, -errno, e, "read") : 0;

	if (names.n)
		qsort(names.v, names.n, sizeof(*names.v), by_name);
	vec_push(&names, NULL);
	*ret = names.v;
	return rc;
}

/* p->path is the directory's, with its slash. */
static int pack_directory(struct packer *p, int fd, const struct stat *st, struct err *e)
{
	_strv_ char **names = NULL;
	size_t len = p->path.len;
	bool opaque;
	int rc = read_xattrs(p, fd, &opaque, e);

	if (!rc && ++p->depth > PACK_DEPTH_MAX)
		rc = fail(p, -ELOOP, e, "descend into");
	if (rc)
		return rc;
	struct tar_entry t = entry_of(p, st);

	t.type = TAR_DIR;
	t.path = len ? t.path : "./";
	rc = put_header(p, &t, e);
	if (!rc && opaque && p->o.layer) {
		_free_ char *mark = mem_printf("%s.wh..wh..opq", buf_str(&p->path));

		rc = put_mark(p, mark, e);
	}
	rc = rc ? rc : list_names(p, fd, &names, e);
	for (char **name = names; !rc && *name; name++) {
		buf_adds(&p->path, *name);
		rc = pack_entry(p, fd, *name, e);
		p->path.len = len;
		p->path.s[len] = '\0';
	}
	p->depth--;
	return rc;
}

int pack_tree(int rootfd, const struct pack_options *o, pack_fn *out, void *arg, struct err *e)
{
	struct packer p = {.o = *o, .out = out, .arg = arg, .piece = mem_alloc(PIECE)};
	struct stat st;
	int rc;

	buf_adds(&p.path, "");
	rc = fstat(rootfd, &st) ? fail(&p, -errno, e, "look at")
				: pack_directory(&p, rootfd, &st, e);
	if (!rc) {
		buf_reset(&p.header);
		tar_write_end(&p.header);
		rc = out(arg, p.header.s, p.header.len, e);
	}
	tdestroy(p.links, free_link);
	vec_done(&p.xattrs);
	buf_done(&p.path);
	buf_done(&p.header);
	buf_done(&p.names);
	buf_done(&p.values);
	free(p.piece);
	return rc;
}
