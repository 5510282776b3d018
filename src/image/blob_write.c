/* Writing a blob. It becomes visible in this order, so that a kill at any point leaves either
 * nothing, or a temporary, or the whole blob:
 *	1. the hold (state): the collector leaves the digest alone
 *	2. the temporary, written and digested as bytes come
 *	3. size and digest are checked
 *	4. fsync(2) of the file, rename(2), fsync(2) of the folder */
#include "image/store_int.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define COPY_BYTES (1u << 20)
/* Written bytes are sent to the disk in steps of this size while more come, so that the fsync at
 * the end finds little to do. */
#define WRITEBACK_BYTES (8u << 20)

struct blob_writer {
	struct image_store *store;
	struct blob_expect expect;
	struct digest_stream *stream;
	char *name; /* of the temporary */
	int fd;
	uint64_t len, sent;
};

static void writer_free(struct blob_writer *w)
{
	if (w->fd >= 0)
		close(w->fd);
	digest_stream_free(w->stream);
	free(w->name);
	free(w);
}

void blob_writer_suspend(struct blob_writer *w)
{
	if (!w)
		return;
	if (!digest_is_set(&w->expect.digest) || !w->len)
		blob_writer_abort(w);
	else
		writer_free(w);
}

void blob_writer_abort(struct blob_writer *w)
{
	if (!w)
		return;
	if (w->fd >= 0)
		path_unlink(w->store->fd, w->name);
	writer_free(w);
}

/* Digests what a former writer has left. More than there should be is worth nothing. */
static int take_over(struct blob_writer *w, struct err *e)
{
	_free_ char *p = mem_alloc(COPY_BYTES);
	ssize_t n;

	while ((n = read(w->fd, p, COPY_BYTES)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return store_fail(w->store, -errno, e, "read", w->name);
		digest_stream_add(w->stream, p, (size_t)n);
		w->len += (uint64_t)n;
	}
	w->sent = w->len;
	return 0;
}

static int open_temporary(struct blob_writer *w, bool adopted, struct err *e)
{
	int flags = adopted ? O_RDWR : O_RDWR | O_CREAT | O_EXCL;
	struct stat st;

	w->fd = path_open(w->store->fd, w->name, flags | O_NOFOLLOW, 0600);
	if (w->fd < 0)
		return store_fail(w->store, w->fd, e, "make", w->name);
	if (!adopted)
		return 0;
	if (fstat(w->fd, &st) || (uint64_t)st.st_size > w->expect.size)
		return ftruncate(w->fd, 0) ? store_fail(w->store, -errno, e, "write", w->name) : 0;
	return take_over(w, e);
}

int blob_writer_new(struct image_store *s, const struct blob_expect *expect,
		    struct blob_writer **ret, struct err *e)
{
	_blob_writer_ struct blob_writer *w = mem_alloc(sizeof(*w));
	bool known = digest_is_set(&expect->digest), adopted = false;
	char what[STORE_NAME_MAX] = "blob", hex[DIGEST_HEX_MAX];

	*w = (struct blob_writer){.store = s, .expect = *expect, .fd = -1};
	w->stream = digest_stream_new(known ? expect->digest.alg : DIGEST_SHA256);
	if (known)
		snprintf(what, sizeof(what), "blob.%s.%s", digest_alg_name(expect->digest.alg),
			 digest_hex(&expect->digest, hex));
	int rc = known ? image_store_hold(s, &expect->digest, 1, e) : 0;

	rc = rc ? rc : image_store_temp_name(s, what, &w->name, e);
	if (rc)
		return rc;
	if (known && expect->resume)
		adopted = store_adopt_partial(s, &expect->digest, w->name);
	rc = open_temporary(w, adopted, e);
	if (!rc)
		*ret = STEAL(w);
	return rc;
}

uint64_t blob_writer_offset(const struct blob_writer *w)
{
	return w->len;
}

int blob_writer_append(struct blob_writer *w, const void *p, size_t len, struct err *e)
{
	char text[DIGEST_TEXT_MAX];
	uint64_t end;

	if (!checked_add(w->len, len, &end) || end > w->expect.size)
		return err_set(e, ERR_IMG_DIGEST, -EBADMSG,
			       "blob %s is longer than the %" PRIu64 " bytes that were promised",
			       digest_text(&w->expect.digest, text), w->expect.size);
	int rc = fd_write_all(w->fd, p, len);

	if (rc)
		return store_fail(w->store, rc, e, "write", w->name);
	digest_stream_add(w->stream, p, len);
	w->len = end;
	if (w->len - w->sent >= WRITEBACK_BYTES) { /* only for speed: the fsync is what counts */
		sync_file_range(w->fd, (off_t)w->sent, (off_t)(w->len - w->sent),
				SYNC_FILE_RANGE_WRITE);
		w->sent = w->len;
	}
	return 0;
}

ssize_t blob_writer_read(struct blob_writer *w, uint64_t offset, void *p, size_t len)
{
	ssize_t n;

	if (offset >= w->len)
		return 0;
	do
		n = pread(w->fd, p, MIN(len, w->len - offset), (off_t)offset);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static int check(const struct blob_writer *w, const struct digest *is, struct err *e)
{
	const struct digest *want = &w->expect.digest;
	char a[DIGEST_TEXT_MAX], b[DIGEST_TEXT_MAX];

	if (w->expect.size != STORE_SIZE_UNKNOWN && w->len != w->expect.size)
		return err_set(e, ERR_IMG_DIGEST, -EBADMSG,
			       "blob %s ends after %" PRIu64 " of %" PRIu64 " bytes",
			       digest_text(digest_is_set(want) ? want : is, a), w->len,
			       w->expect.size);
	if (digest_is_set(want) && !digest_eq(want, is))
		return err_set(e, ERR_IMG_DIGEST, -EBADMSG, "what came as blob %s has digest %s",
			       digest_text(want, a), digest_text(is, b));
	return 0;
}

static int publish(struct blob_writer *w, const struct digest *d, struct err *e)
{
	struct image_store *s = w->store;
	char blob[STORE_NAME_MAX];
	int rc = 0;

	if (fchmod(w->fd, 0400) || fsync(w->fd))
		return store_fail(s, -errno, e, "write", w->name);
	if (!digest_is_set(&w->expect.digest))
		rc = image_store_hold(s, d, 1, e);
	if (rc)
		return rc;
	rc = path_rename(s->fd, w->name, store_blob_name(d, blob));
	if (rc)
		return store_fail(s, rc, e, "rename to", blob);
	close(w->fd); /* nothing is left to be removed */
	w->fd = -1;
	*strrchr(blob, '/') = '\0';
	return store_sync_dir(s, blob, e);
}

int blob_writer_commit(struct blob_writer *writer, struct digest *ret, struct err *e)
{
	_blob_writer_ struct blob_writer *w = writer;
	struct digest is;

	digest_stream_end(w->stream, &is);
	int rc = check(w, &is, e);

	rc = rc ? rc : publish(w, &is, e);
	if (!rc && ret)
		*ret = is;
	return rc;
}

int blob_put(struct image_store *s, enum digest_alg alg, const void *p, size_t len,
	     struct digest *ret, struct err *e)
{
	struct blob_expect expect = {.size = len};
	struct blob_writer *w;

	digest_of(alg, p, len, &expect.digest);
	int rc = blob_writer_new(s, &expect, &w, e);

	if (rc)
		return rc;
	rc = blob_writer_append(w, p, len, e);
	if (!rc)
		return blob_writer_commit(w, ret, e);
	blob_writer_abort(w);
	return rc;
}
