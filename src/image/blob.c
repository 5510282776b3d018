/* Blobs that are there: reading, verifying, listing, removing. */
#include "image/store_int.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define COPY_BYTES (1u << 20)

const char *store_blob_name(const struct digest *d, char out[static STORE_NAME_MAX])
{
	char hex[DIGEST_HEX_MAX];

	snprintf(out, STORE_NAME_MAX, "blobs/%s/%s", digest_alg_name(d->alg), digest_hex(d, hex));
	return out;
}

int blob_open(struct image_store *s, const struct digest *d, uint64_t *ret_size, struct err *e)
{
	char name[STORE_NAME_MAX], text[DIGEST_TEXT_MAX];
	_close_ int fd = path_open(s->fd, store_blob_name(d, name), O_RDONLY | O_NOFOLLOW, 0);
	struct stat st;

	if (fd == -ENOENT)
		return err_set(e, ERR_IMG_BLOB, -ENOENT, "the image store has no blob %s",
			       digest_text(d, text));
	if (fd < 0)
		return store_fail(s, fd, e, "open", name);
	if (fstat(fd, &st))
		return store_fail(s, -errno, e, "read", name);
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_IMG_CORRUPT, -EBADMSG, "blob %s is no file",
			       digest_text(d, text));
	if (ret_size)
		*ret_size = (uint64_t)st.st_size;
	return STEAL_FD(fd);
}

bool blob_exists(struct image_store *s, const struct digest *d, uint64_t *ret_size)
{
	char name[STORE_NAME_MAX];
	struct stat st;

	if (path_lstat(s->fd, store_blob_name(d, name), &st) || !S_ISREG(st.st_mode))
		return false;
	if (ret_size)
		*ret_size = (uint64_t)st.st_size;
	return true;
}

static int compare(const struct digest *want, const struct digest *is, struct err *e)
{
	char a[DIGEST_TEXT_MAX], b[DIGEST_TEXT_MAX];

	if (digest_eq(want, is))
		return 0;
	return err_set(e, ERR_IMG_CORRUPT, -EBADMSG,
		       "blob %s is damaged: its content has digest %s", digest_text(want, a),
		       digest_text(is, b));
}

int blob_read(struct image_store *s, const struct digest *d, size_t max_bytes, struct buf *b,
	      struct err *e)
{
	_close_ int fd = blob_open(s, d, NULL, e);
	char name[STORE_NAME_MAX], text[DIGEST_TEXT_MAX];
	size_t before = b->len;
	struct digest is;

	if (fd < 0)
		return fd;
	int rc = fd_read_all(fd, b, max_bytes);

	if (rc == -EFBIG)
		return err_set(e, ERR_IMG_MANIFEST, rc, "blob %s is larger than %zu bytes",
			       digest_text(d, text), max_bytes);
	if (rc < 0)
		return store_fail(s, rc, e, "read", store_blob_name(d, name));
	digest_of(d->alg, buf_str(b) + before, b->len - before, &is);
	return compare(d, &is, e);
}

int blob_verify(struct image_store *s, const struct digest *d, struct err *e)
{
	_close_ int fd = blob_open(s, d, NULL, e);
	_digest_stream_ struct digest_stream *stream = digest_stream_new(d->alg);
	_free_ char *p = mem_alloc(COPY_BYTES);
	char name[STORE_NAME_MAX];
	struct digest is;
	ssize_t n;

	if (fd < 0)
		return fd;
	while ((n = read(fd, p, COPY_BYTES)) != 0) {
		if (n < 0 && errno != EINTR)
			return store_fail(s, -errno, e, "read", store_blob_name(d, name));
		digest_stream_add(stream, p, n < 0 ? 0 : (size_t)n);
	}
	digest_stream_end(stream, &is);
	return compare(d, &is, e);
}

int blob_link(struct image_store *s, const char *name, const struct digest *d, struct err *e)
{
	char blob[STORE_NAME_MAX];
	int rc = image_store_hold(s, d, 1, e);

	if (rc)
		return rc;
	store_blob_name(d, blob);
	rc = path_link(s->fd, name, blob);
	if (rc && rc != -EEXIST)
		return store_fail(s, rc, e, "link", blob);
	return store_sync_dir(s, d->alg == DIGEST_SHA512 ? "blobs/sha512" : "blobs/sha256", e);
}

int blob_remove(struct image_store *s, const struct digest *d, struct err *e)
{
	char name[STORE_NAME_MAX];
	int rc = path_unlink(s->fd, store_blob_name(d, name));

	return rc && rc != -ENOENT ? store_fail(s, rc, e, "remove", name) : 0;
}

static int each_of(struct image_store *s, enum digest_alg alg,
		   int (*fn)(const struct digest *d, uint64_t size, void *arg, struct err *e),
		   void *arg, struct err *e)
{
	char folder[STORE_NAME_MAX], text[DIGEST_TEXT_MAX];

	snprintf(folder, sizeof(folder), "blobs/%s", digest_alg_name(alg));
	int fd = path_open(s->fd, folder, O_RDONLY | O_DIRECTORY, 0);
	_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	int rc = 0;

	if (!dir)
		return store_fail(s, fd < 0 ? fd : -errno, e, "open", folder);
	for (struct dirent *entry; !rc && (entry = readdir(dir));) {
		struct digest d;
		uint64_t size;

		snprintf(text, sizeof(text), "%s:%.*s", digest_alg_name(alg),
			 (int)DIGEST_HEX_MAX - 1, entry->d_name);
		if (!digest_parse(text, &d) && blob_exists(s, &d, &size))
			rc = fn(&d, size, arg, e);
	}
	return rc;
}

int blob_each(struct image_store *s,
	      int (*fn)(const struct digest *d, uint64_t size, void *arg, struct err *e), void *arg,
	      struct err *e)
{
	int rc = each_of(s, DIGEST_SHA256, fn, arg, e);

	return rc ? rc : each_of(s, DIGEST_SHA512, fn, arg, e);
}
