#include "image/ingest.h"

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "image/layer_int.h"
#include "image/pipeline.h"
#include "os/path.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#define CHUNK_BYTES (256u << 10)

typedef int chunk_fn(void *arg, const void *p, size_t len, struct err *e);

/* Hands the file over in pieces. */
static int each_chunk(const struct source_file *f, uint64_t from, chunk_fn *fn, void *arg,
		      struct progress_item *item, struct err *e)
{
	_free_ char *p = mem_alloc(CHUNK_BYTES);
	int rc = 0;

	for (uint64_t done = from; !rc && done < f->size;) {
		size_t len = MIN((uint64_t)CHUNK_BYTES, f->size - done);
		ssize_t n = pread(f->fd, p, len, (off_t)(f->offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_set(e, ERR_IMG_ARCHIVE, n < 0 ? -errno : -EBADMSG,
				       "a layer cannot be read to its end%s%s", n < 0 ? ": " : "",
				       n < 0 ? strerror(errno) : "");
		rc = fn(arg, p, (size_t)n, e);
		done += (uint64_t)n;
		if (item)
			progress_set(item, done, f->size);
	}
	return rc;
}

static int to_digest(void *arg, const void *p, size_t len, struct err *e)
{
	digest_stream_add(arg, p, len);
	return 0;
}

static int digest_file(const struct source_file *f, struct digest *ret, struct err *e)
{
	_digest_stream_ struct digest_stream *d = digest_stream_new(DIGEST_SHA256);
	int rc = each_chunk(f, 0, to_digest, d, NULL, e);

	if (!rc)
		digest_stream_end(d, ret);
	return rc;
}

/* --- uncompressed --- */

static int to_layer(void *arg, const void *p, size_t len, struct err *e)
{
	return layer_writer_append(arg, p, len, e);
}

static int to_blob(void *arg, const void *p, size_t len, struct err *e)
{
	return blob_writer_append(arg, p, len, e);
}

static int write_layer(struct image_store *s, const struct source_file *f, const struct ingest *in,
		       struct err *e)
{
	struct layer_writer *w;
	int rc = layer_writer_new(s, &in->diff_id, in->backend, &w, e);

	if (rc)
		return rc;
	rc = each_chunk(f, 0, to_layer, w, in->item, e);
	rc = rc ? rc : layer_writer_commit(w, NULL, e);
	layer_writer_free(w);
	return rc;
}

static int write_blob(struct image_store *s, const struct source_file *f, const struct digest *d,
		      struct err *e)
{
	struct blob_expect expect = {.digest = *d, .size = f->size};
	struct blob_writer *w;
	int rc = blob_writer_new(s, &expect, &w, e);

	if (rc)
		return rc;
	rc = each_chunk(f, 0, to_blob, w, NULL, e);
	if (!rc)
		return blob_writer_commit(w, NULL, e);
	blob_writer_abort(w);
	return rc;
}

static int ingest_plain(struct image_store *s, const struct source_file *f, const struct ingest *in,
			struct digest *ret_digest, struct err *e)
{
	char folder[DIGEST_HEX_MAX + 7];
	_free_ char *tar =
	    mem_printf("%s/" LAYER_TAR, image_store_layer_name(&in->diff_id, folder));
	int rc = layer_exists(s, &in->diff_id) ? 0 : write_layer(s, f, in, e);

	if (!rc && !blob_exists(s, &in->diff_id, NULL))
		rc = path_exists(image_store_dirfd(s), tar) ? blob_link(s, tar, &in->diff_id, e)
							    : write_blob(s, f, &in->diff_id, e);
	if (!rc)
		*ret_digest = in->diff_id; /* the blob and the tar are the same bytes */
	return rc;
}

/* --- compressed --- */

struct feed {
	struct pipeline *pipeline;
	int wake_fd;
};

static void wake(void *arg)
{
	const struct feed *f = arg;

	eventfd_write(f->wake_fd, 1);
}

static void wait_for_wake(const struct feed *f)
{
	struct pollfd p = {.fd = f->wake_fd, .events = POLLIN};
	eventfd_t count;

	poll(&p, 1, -1);
	eventfd_read(f->wake_fd, &count);
}

static int to_pipeline(void *arg, const void *p, size_t len, struct err *e)
{
	struct feed *f = arg;

	while (!pipeline_room(f->pipeline, len))
		wait_for_wake(f);
	return pipeline_put(f->pipeline, p, len, e);
}

static int run_pipeline(struct feed *feed, const struct source_file *f, struct progress_item *item,
			struct err *e)
{
	while (pipeline_feed(feed->pipeline))
		wait_for_wake(feed);
	int rc = each_chunk(f, pipeline_offset(feed->pipeline), to_pipeline, feed, item, e);

	if (rc)
		return rc;
	pipeline_end(feed->pipeline);
	while (!pipeline_finished(feed->pipeline))
		wait_for_wake(feed);
	return pipeline_result(feed->pipeline, e);
}

static int ingest_compressed(struct image_store *s, const struct source_file *f,
			     const struct ingest *in, const struct digest *digest, struct err *e)
{
	struct pipeline_spec spec = {
	    .blob = *digest,
	    .size = f->size,
	    .compression = in->compression,
	    .diff_id = in->diff_id,
	    .backend = in->backend,
	    .want_blob = !blob_exists(s, digest, NULL),
	    .want_layer = !layer_exists(s, &in->diff_id),
	};
	_close_ int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct feed feed = {.wake_fd = fd};

	if (!spec.want_blob && !spec.want_layer)
		return 0;
	if (fd < 0)
		return err_sys(e, ERR_SYS, "cannot make an event descriptor");
	int rc = pipeline_new(s, &spec, wake, &feed, &feed.pipeline, e);

	if (rc)
		return rc;
	rc = run_pipeline(&feed, f, in->item, e);
	pipeline_free(feed.pipeline, false);
	return rc;
}

int ingest_layer(struct image_store *s, const struct source_file *f, const struct ingest *in,
		 struct digest *ret_digest, struct err *e)
{
	struct digest digest = in->digest;
	int rc = 0;

	if (in->compression == COMPRESSION_NONE) {
		rc = ingest_plain(s, f, in, &digest, e);
	} else {
		if (!digest_is_set(&digest))
			rc = digest_file(f, &digest, e);
		rc = rc ? rc : ingest_compressed(s, f, in, &digest, e);
	}
	if (in->item)
		progress_finish(in->item, !rc);
	if (!rc)
		*ret_digest = digest;
	return rc;
}
