#include "image/source.h"

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "codec/inflate.h"
#include "codec/tar.h"
#include "image/store.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define READ_BYTES (256u << 10)

struct entry {
	char *name, *link; /* link: NULL, or the name of another entry */
	uint64_t offset, size;
};

struct source {
	char *shown; /* for messages */
	int fd;      /* of the folder or the archive */
	bool folder;
	VEC(struct entry) entries; /* of an archive */
	uint64_t skip_to;          /* while indexing: where the present entry's data ends */
};

static int archive_error(const struct source *src, struct err *e, int rc, const char *why)
{
	return err_set(e, ERR_IMG_ARCHIVE, rc, "'%s' %s", src->shown, why);
}

void source_free(struct source *src)
{
	if (!src)
		return;
	vec_each (n, &src->entries) {
		free(n->name);
		free(n->link);
	}
	vec_done(&src->entries);
	if (src->fd >= 0)
		close(src->fd);
	free(src->shown);
	free(src);
}

/* --- the table of contents of an archive --- */

/* "./a//b/../c" as "a/c"; NULL where it leads out. Returns owned. */
static char *clean_name(const char *base, size_t base_len, const char *name)
{
	_free_ char *joined = mem_printf("%.*s/%s", (int)(*name == '/' ? 0 : base_len), base, name);
	_buf_ struct buf b = {0};

	for (char *rest = joined, *part; (part = strsep(&rest, "/"));) {
		if (!*part || str_eq(part, "."))
			continue;
		if (!str_eq(part, "..")) {
			buf_addf(&b, "%s%s", b.len ? "/" : "", part);
			continue;
		}
		if (!b.len)
			return NULL;
		while (b.len && b.s[b.len - 1] != '/')
			b.len--;
		b.len -= b.len > 0;
		b.s[b.len] = '\0';
	}
	return buf_take(&b);
}

static int add_entry(void *arg, const struct tar_entry *t, struct err *e)
{
	struct source *src = arg;
	struct entry n = {.offset = t->data_offset, .size = t->data_len};

	src->skip_to = t->data_offset + t->data_len;
	if (t->type != TAR_FILE && t->type != TAR_SYMLINK && t->type != TAR_HARDLINK)
		return 0;
	if (t->sparse)
		return archive_error(src, e, -EBADMSG,
				     "has sparse files, which no archive of images has");
	if (src->entries.n == SOURCE_ENTRIES_MAX)
		return archive_error(src, e, -E2BIG, "has more than 65536 files");
	n.name = clean_name("", 0, t->path);
	if (!n.name)
		return archive_error(src, e, -EBADMSG, "names a file outside of itself");
	const char *slash = strrchr(n.name, '/');

	if (t->type == TAR_SYMLINK)
		n.link = clean_name(n.name, slash ? (size_t)(slash - n.name) : 0, t->link);
	else if (t->type == TAR_HARDLINK)
		n.link = clean_name("", 0, t->link);
	if (t->type != TAR_FILE && !n.link)
		n.link = mem_strdup(""); /* it leads out: to nothing */
	vec_push(&src->entries, n);
	return 0;
}

/* Reads headers only: for the data between them the parser gets zeros, which it does not look at. */
static int index_archive(struct source *src, uint64_t size, struct err *e)
{
	static const char zeros[READ_BYTES];
	static const struct tar_sink sink = {.entry = add_entry};
	struct tar_reader *r = tar_reader_new(&sink, src);
	_free_ char *p = mem_alloc(READ_BYTES);
	int rc = 0;

	for (uint64_t at = 0; !rc && at < size;) {
		ssize_t n = pread(src->fd, p, TAR_BLOCK * 2, (off_t)at);

		if (n <= 0) {
			rc = archive_error(src, e, n < 0 ? -errno : -EBADMSG,
					   "cannot be read to its end");
			break;
		}
		rc = tar_reader_feed(r, p, (size_t)n, e);
		at += (uint64_t)n;
		uint64_t end = MIN(src->skip_to, size);

		while (!rc && at < end) {
			size_t len = MIN((uint64_t)READ_BYTES, end - at);

			rc = tar_reader_feed(r, zeros, len, e);
			at += len;
		}
	}
	rc = rc ? rc : tar_reader_finish(r, e);
	tar_reader_free(r);
	return rc ? err_prefix(e, "'%s': ", src->shown) : 0;
}

/* --- opening --- */

static int spool_chunk(void *arg, const void *p, size_t len, struct err *e)
{
	struct source *src = arg;
	int rc = fd_write_all(src->fd, p, len);

	return rc ? err_set(e, ERR_IMG_STORE, rc, "cannot write what is read from '%s': %s",
			    src->shown, strerror(-rc))
		  : 0;
}

/* Makes src->fd a nameless file in the store's folder of temporaries. */
static int open_spool(struct image_store *s, struct source *src, struct err *e)
{
	src->fd = path_open(image_store_dirfd(s), "tmp", O_TMPFILE | O_RDWR, 0600);
	if (src->fd == -EOPNOTSUPP) {
		_free_ char *name = NULL;
		int rc = image_store_temp_name(s, "archive", &name, e);

		if (rc)
			return rc;
		src->fd = path_open(image_store_dirfd(s), name, O_CREAT | O_EXCL | O_RDWR, 0600);
		if (src->fd >= 0)
			path_unlink(image_store_dirfd(s), name);
	}
	return src->fd < 0
		   ? err_set(e, ERR_IMG_STORE, src->fd, "cannot make a temporary file in '%s': %s",
			     image_store_path(s), strerror(-src->fd))
		   : 0;
}

static int spool(struct image_store *s, struct source *src, int from, const char *head,
		 size_t head_len, struct err *e)
{
	_free_ char *p = mem_alloc(READ_BYTES);
	int rc = open_spool(s, src, e);
	struct inflate *z =
	    rc ? NULL : inflate_new(compression_detect(head, head_len), spool_chunk, src);

	rc = rc ? rc : inflate_feed(z, head, head_len, e);
	while (!rc) {
		ssize_t n = read(from, p, READ_BYTES);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			rc = archive_error(src, e, -errno, "cannot be read");
		if (n <= 0)
			break;
		rc = inflate_feed(z, p, (size_t)n, e);
	}
	rc = rc ? rc : inflate_finish(z, e);
	inflate_free(z);
	return rc;
}

/* The first bytes; fewer only where there are no more. */
static ssize_t read_head(int fd, char *head, size_t size)
{
	size_t len = 0;

	while (len < size) {
		ssize_t n = read(fd, head + len, size - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		len += (size_t)n;
	}
	return (ssize_t)len;
}

static int check_magic(const struct source *src, const char *head, size_t len, struct err *e)
{
	if (len >= 6 && !memcmp(head,
				"\xfd"
				"7zXZ",
				6))
		return archive_error(src, e, -EOPNOTSUPP,
				     "is compressed by xz: decompress it first (xz -d)");
	if (len >= 3 && !memcmp(head, "BZh", 3))
		return archive_error(src, e, -EOPNOTSUPP,
				     "is compressed by bzip2: decompress it first (bzip2 -d)");
	return len ? 0 : archive_error(src, e, -EBADMSG, "is empty");
}

static int open_archive(struct image_store *s, struct source *src, int fd, struct err *e)
{
	char head[8] = "";
	struct stat st;
	ssize_t n = read_head(fd, head, sizeof(head));
	bool in_place;
	int rc;

	if (n < 0)
		return archive_error(src, e, (int)n, "cannot be read");
	rc = check_magic(src, head, (size_t)n, e);
	if (rc)
		return rc;
	in_place = !fstat(fd, &st) && S_ISREG(st.st_mode) && lseek(fd, 0, SEEK_CUR) == n &&
		   compression_detect(head, (size_t)n) == COMPRESSION_NONE;
	if (in_place) {
		src->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (src->fd < 0)
			return archive_error(src, e, -errno, "cannot be kept open");
	} else {
		rc = spool(s, src, fd, head, (size_t)n, e);
	}
	if (!rc && fstat(src->fd, &st))
		rc = archive_error(src, e, -errno, "cannot be read");
	return rc ? rc : index_archive(src, (uint64_t)st.st_size, e);
}

int source_open(struct image_store *s, const char *path, int fd, struct source **ret, struct err *e)
{
	_source_ struct source *src = mem_alloc(sizeof(*src));
	_close_ int own = path ? path_open(AT_FDCWD, path, O_RDONLY, 0) : -1;
	struct stat st;
	int rc = 0;

	src->fd = -1;
	src->shown = mem_strdup(path ? path : "standard input");
	if (path && own < 0)
		return err_set(e, own == -ENOENT ? ERR_NOT_FOUND : ERR_IMG_ARCHIVE, own,
			       "cannot open '%s': %s", path, strerror(-own));
	if (path && !fstat(own, &st) && S_ISDIR(st.st_mode)) {
		src->folder = true;
		src->fd = STEAL_FD(own);
	} else {
		rc = open_archive(s, src, path ? own : fd, e);
	}
	if (!rc)
		*ret = STEAL(src);
	return rc;
}

/* --- finding --- */

static const struct entry *find_entry(const struct source *src, const char *name)
{
	const struct entry *found = NULL;

	/* As with tar: of several entries of a name the last one counts. */
	for (unsigned links = 0; links <= SOURCE_LINKS_MAX; links++) {
		found = NULL;
		vec_each (n, &src->entries)
			if (str_eq(n->name, name))
				found = n;
		if (!found || !found->link)
			return found;
		name = found->link;
	}
	return NULL;
}

/* A file of the folder: whoever made the folder does not make us read elsewhere. */
static int open_in_folder(const struct source *src, const char *name, struct source_file *ret)
{
	_close_ int fd = root_open(src->fd, name, O_RDONLY | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	*ret = (struct source_file){.fd = STEAL_FD(fd), .own = true, .size = (uint64_t)st.st_size};
	return 0;
}

int source_find(struct source *src, const char *name, struct source_file *ret, struct err *e)
{
	const struct entry *n;
	int rc = 0;

	if (src->folder) {
		rc = open_in_folder(src, name, ret);
	} else {
		_free_ char *clean = clean_name("", 0, name);

		n = clean ? find_entry(src, clean) : NULL;
		if (n)
			*ret = (struct source_file){
			    .fd = src->fd, .offset = n->offset, .size = n->size};
		rc = n ? 0 : -ENOENT;
	}
	return rc ? err_set(e, ERR_IMG_ARCHIVE, rc, "'%s' has no usable file '%s': %s", src->shown,
			    name, strerror(-rc))
		  : 0;
}

bool source_has(struct source *src, const char *name)
{
	_source_file_ struct source_file f = {.fd = -1};

	return !source_find(src, name, &f, NULL);
}

void source_file_done(struct source_file *f)
{
	if (f->own)
		close(f->fd);
	*f = (struct source_file){.fd = -1};
}

int source_read(struct source *src, const char *name, size_t max_bytes, struct buf *b,
		struct err *e)
{
	_source_file_ struct source_file f = {.fd = -1};
	int rc = source_find(src, name, &f, e);

	if (rc)
		return rc;
	if (f.size > max_bytes)
		return err_set(e, ERR_IMG_ARCHIVE, -EFBIG, "'%s' in '%s' has more than %zu bytes",
			       name, src->shown, max_bytes);
	buf_reserve(b, f.size);
	for (uint64_t done = 0; done < f.size;) {
		ssize_t n = pread(f.fd, b->s + b->len, f.size - done, (off_t)(f.offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return archive_error(src, e, n < 0 ? -errno : -EBADMSG, "is cut short");
		b->len += (size_t)n;
		b->s[b->len] = '\0';
		done += (uint64_t)n;
	}
	return 0;
}
