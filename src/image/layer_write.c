/* A layer in the making is a directory below tmp/. It gets its name by rename(2) when everything in it
 * is on the disk, so it is there whole or not at all; the store removes what a killed process leaves. */
#include "image/layer_int.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/tar.h"
#include "image/erofs_write.h"
#include "image/layer_dir.h"
#include "image/store_int.h"
#include "image/userns.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

/* Written bytes are sent to the disk in steps of this size while more come, so that the fsync at the
 * end finds little to do. */
#define WRITEBACK_BYTES (8u << 20)

struct layer_writer {
	struct image_store *store;
	struct digest expected; /* not set: unknown */
	enum layer_backend backend;
	char *name; /* of the temporary */
	int dirfd;
	struct digest_stream *digest;
	struct layer_facts facts;

	/* LAYER_EROFS */
	int tar, index;
	uint64_t sent;
	struct tar_reader *reader;
	struct erofs_writer *erofs;
	/* LAYER_DIR */
	struct layer_dir *dir;
};

/* --- the tar's entries --- */

bool layer_entry_is_whiteout(const struct tar_entry *t)
{
	const char *slash = strrchr(t->path, '/');

	return str_after(slash ? slash + 1 : t->path, ".wh.") ||
	       (t->type == TAR_CHAR && !t->dev_major && !t->dev_minor);
}

static int take_entry(void *arg, const struct tar_entry *t, struct err *e)
{
	struct layer_writer *w = arg;

	w->facts.whiteouts |= layer_entry_is_whiteout(t);
	return erofs_writer_entry(w->erofs, t, e);
}

static int take_data(void *arg, const void *p, size_t len, struct err *e)
{
	return erofs_writer_data(((struct layer_writer *)arg)->erofs, p, len, e);
}

static const struct tar_sink sink = {take_entry, take_data};

/* --- life cycle --- */

void layer_writer_free(struct layer_writer *w)
{
	if (!w)
		return;
	int *const fds[] = {&w->tar, &w->index, &w->dirfd};

	tar_reader_free(w->reader);
	erofs_writer_free(w->erofs);
	layer_dir_free(w->dir);
	digest_stream_free(w->digest);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (*fds[i] >= 0)
			close(*fds[i]);
	if (w->name)
		userns_remove_tree(w->store->fd, w->name);
	free(w->name);
	free(w);
}

static int begin_erofs(struct layer_writer *w, struct err *e)
{
	w->tar = path_open(w->dirfd, LAYER_TAR, O_RDWR | O_CREAT | O_EXCL, 0600);
	w->index = path_open(w->dirfd, LAYER_INDEX, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (w->tar < 0 || w->index < 0)
		return store_fail(w->store, w->tar < 0 ? w->tar : w->index, e, "make", w->name);
	w->erofs = erofs_writer_new(w->index);
	w->reader = tar_reader_new(&sink, w);
	return 0;
}

int layer_writer_new(struct image_store *s, const struct digest *diff_id,
		     enum layer_backend backend, struct layer_writer **ret, struct err *e)
{
	struct layer_writer *w = mem_alloc(sizeof(*w));
	int rc = diff_id ? image_store_hold(s, diff_id, 1, e) : 0;

	w->store = s;
	w->tar = w->index = w->dirfd = -1;
	if (diff_id)
		w->expected = *diff_id;
	w->backend = backend != LAYER_AUTO     ? backend
		     : layer_host_has_erofs(s) ? LAYER_EROFS
					       : LAYER_DIR;
	w->digest = digest_stream_new(diff_id ? diff_id->alg : DIGEST_SHA256);
	rc = rc ? rc : image_store_temp_name(s, "layer", &w->name, e);
	if (!rc && (rc = path_mkdir(s->fd, w->name, 0700)))
		rc = store_fail(s, rc, e, "make", w->name);
	if (!rc) {
		w->dirfd = path_open(s->fd, w->name, O_RDONLY | O_DIRECTORY, 0);
		rc = w->dirfd < 0 ? store_fail(s, w->dirfd, e, "open", w->name) : 0;
	}
	if (!rc)
		rc = w->backend == LAYER_EROFS ? begin_erofs(w, e)
					       : layer_dir_new(w->dirfd, &w->dir, e);
	if (rc)
		layer_writer_free(w);
	else
		*ret = w;
	return rc;
}

enum layer_backend layer_writer_backend(const struct layer_writer *w)
{
	return w->backend;
}

/* --- bytes --- */

static int keep_bytes(struct layer_writer *w, const void *p, size_t len, struct err *e)
{
	uint64_t total = w->facts.tar_bytes + len;
	int rc = fd_write_all(w->tar, p, len);

	if (rc)
		return store_fail(w->store, rc, e, "write", w->name);
	if (total - w->sent >= WRITEBACK_BYTES) { /* only for speed: the fsync is what counts */
		sync_file_range(w->tar, (off_t)w->sent, (off_t)(total - w->sent),
				SYNC_FILE_RANGE_WRITE);
		w->sent = total;
	}
	return 0;
}

int layer_writer_append(struct layer_writer *w, const void *p, size_t len, struct err *e)
{
	int rc = w->tar >= 0 ? keep_bytes(w, p, len, e) : 0;

	if (rc)
		return rc;
	digest_stream_add(w->digest, p, len);
	w->facts.tar_bytes += len;
	return w->dir ? layer_dir_append(w->dir, p, len, e) : tar_reader_feed(w->reader, p, len, e);
}

/* --- the end --- */

static int check_digest(struct layer_writer *w, const struct digest *is, struct err *e)
{
	char want[DIGEST_TEXT_MAX], got[DIGEST_TEXT_MAX];

	if (!digest_is_set(&w->expected) || digest_eq(&w->expected, is))
		return 0;
	return err_set(e, ERR_LAYER_DIGEST, -EBADMSG, "what came as layer %s has DiffID %s",
		       digest_text(&w->expected, want), digest_text(is, got));
}

static int finish_erofs(struct layer_writer *w, const struct digest *is, struct err *e)
{
	char hex[DIGEST_HEX_MAX];
	struct stat tar, index;
	int rc;

	digest_hex(is, hex);
	hex[64] = '\0'; /* the tag of a device: a sha512 is named by its first half */
	if ((rc = erofs_writer_finish(w->erofs, w->facts.tar_bytes, hex, e)))
		return rc;
	if (fchmod(w->tar, 0400) || fchmod(w->index, 0400) || fsync(w->tar) || fsync(w->index) ||
	    fstat(w->tar, &tar) || fstat(w->index, &index))
		return store_fail(w->store, -errno, e, "write", w->name);
	w->facts.disk_bytes = ((uint64_t)tar.st_blocks + (uint64_t)index.st_blocks) * 512;
	return 0;
}

static int finish_dir(struct layer_writer *w, struct err *e)
{
	w->facts.disk_bytes = w->facts.tar_bytes;
	return layer_dir_finish(w->dir, &w->facts.whiteouts, e);
}

/* Another back end's form of the layer is there: ours joins it, what names the whole last. */
static int add_to_existing(struct layer_writer *w, const char *name, struct err *e)
{
	static const char *const erofs[] = {LAYER_TAR, LAYER_INDEX, NULL}, *const dir[] = {
									       LAYER_ROOT, NULL};
	_close_ int there = path_open(w->store->fd, name, O_RDONLY | O_DIRECTORY, 0);
	int rc = there < 0 ? there : 0;

	if (!rc && layer_backend_of(w->store, there) == w->backend)
		return 0;
	for (const char *const *f = w->backend == LAYER_EROFS ? erofs : dir; *f && !rc; f++) {
		_free_ char *from = mem_printf("%s/%s", w->name, *f),
			    *to = mem_printf("%s/%s", name, *f);

		rc = path_rename(w->store->fd, from, to);
	}
	if (rc || fsync(there))
		return store_fail(w->store, rc ? rc : -errno, e, "complete", name);
	return 0;
}

static int write_implied(struct layer_writer *w, struct err *e)
{
	_buf_ struct buf b = {0};

	erofs_writer_implied(w->erofs, &b);
	int rc = b.len ? path_replace(w->dirfd, LAYER_IMPLIED, b.s, b.len, 0600, true) : 0;

	return rc ? store_fail(w->store, rc, e, "write", w->name) : 0;
}

static int publish(struct layer_writer *w, const struct digest *is, struct err *e)
{
	struct image_store *s = w->store;
	char name[DIGEST_HEX_MAX + 7];
	int rc = w->erofs ? write_implied(w, e) : 0;

	rc = rc ? rc : layer_write_facts(w->dirfd, &w->facts, e);
	if (!rc && fsync(w->dirfd))
		rc = store_fail(s, -errno, e, "write", w->name);
	if (!rc && !digest_is_set(&w->expected))
		rc = image_store_hold(s, is, 1, e);
	if (rc)
		return rc;
	rc = path_rename(s->fd, w->name, image_store_layer_name(is, name));
	if (rc == -EEXIST || rc == -ENOTEMPTY)
		return add_to_existing(w, name, e);
	if (rc)
		return store_fail(s, rc, e, "rename to", name);
	free(STEAL(w->name));
	*strrchr(name, '/') = '\0';
	return store_sync_dir(s, name, e);
}

int layer_writer_commit(struct layer_writer *w, struct digest *ret_diff_id, struct err *e)
{
	struct digest is;
	int rc = w->reader ? tar_reader_finish(w->reader, e) : 0;

	if (rc)
		return rc;
	digest_stream_end(w->digest, &is);
	rc = check_digest(w, &is, e);
	if (!rc)
		rc = w->backend == LAYER_EROFS ? finish_erofs(w, &is, e) : finish_dir(w, e);
	rc = rc ? rc : publish(w, &is, e);
	if (!rc && ret_diff_id)
		*ret_diff_id = is;
	return rc;
}
