#include "image/pipeline.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "image/ring.h"

#define FEED_BYTES (256u << 10)

/* What a stage has come to. Written by its thread, read by others once that has been joined. */
struct stage {
	pthread_t thread;
	bool started;
	struct err error; /* .rc 0: it succeeded */
};

struct pipeline {
	struct pipeline_spec spec;
	struct image_store *store;
	void (*wake)(void *arg);
	void *arg;
	struct blob_writer *writer;      /* NULL: the blob is there, or committed */
	int blob_fd;                     /* of the blob that is there; else -1 */
	struct layer_writer *layer;      /* NULL: not wanted */
	struct ring *compressed, *plain; /* between the stages; plain NULL without layer */
	struct stage inflating, indexing;
	char *buffer;
	uint64_t resumed, fed, offset;
	bool ended, joined;
	atomic_int running; /* stages that have not finished */
};

static void wake(void *arg)
{
	struct pipeline *p = arg;

	p->wake(p->arg);
}

static void stage_done(struct pipeline *p)
{
	atomic_fetch_sub(&p->running, 1);
	p->wake(p->arg);
}

/* --- the stage that inflates --- */

static int pass_on(void *arg, const void *bytes, size_t len, struct err *e)
{
	struct pipeline *p = arg;

	if (ring_put(p->plain, bytes, len))
		return err_set(e, ERR_LAYER_IO, -EPIPE, "the layer cannot be written");
	return 0;
}

/* Inflates what comes; after a failure only reads on to the end, because the blob is still to be
 * had, and its digest says whether the failure is the sender's. */
static int inflate_all(struct pipeline *p, struct err *e)
{
	struct inflate *z = p->plain ? inflate_new(p->spec.compression, pass_on, p) : NULL;
	const void *bytes;
	ssize_t n;
	int rc = 0;

	while ((n = ring_peek(p->compressed, &bytes)) > 0) {
		if (z && !rc)
			rc = inflate_feed(z, bytes, (size_t)n, e);
		ring_take(p->compressed, (size_t)n);
	}
	if (n < 0)
		rc = n;
	else if (z && !rc)
		rc = inflate_finish(z, e);
	inflate_free(z);
	return rc;
}

/* The caller has put its last byte, so the writer is ours now. */
static int commit_blob(struct pipeline *p, struct err *e)
{
	if (!p->writer)
		return 0;
	int rc = blob_writer_commit(STEAL(p->writer), NULL, e);

	if (rc == -EBADMSG)
		e->code = ERR_REG_DIGEST;
	return rc;
}

static void *inflate_stage(void *arg)
{
	struct pipeline *p = arg;
	struct err *e = &p->inflating.error, commit = {0};
	int rc = inflate_all(p, e);

	if (p->plain)
		rc ? ring_give_up(p->plain) : ring_end(p->plain);
	e->rc = rc;
	if (rc != -EPIPE || p->ended) {
		int committed = commit_blob(p, &commit);

		if (committed)
			*e = commit;
	}
	stage_done(p);
	return NULL;
}

/* --- the stage that writes the layer --- */

static int write_layer(struct pipeline *p, struct err *e)
{
	const void *bytes;
	ssize_t n;
	int rc = 0;

	while (!rc && (n = ring_peek(p->plain, &bytes)) != 0) {
		if (n < 0)
			return -EPIPE;
		rc = layer_writer_append(p->layer, bytes, (size_t)n, e);
		ring_take(p->plain, (size_t)n);
	}
	return rc ? rc : layer_writer_commit(p->layer, NULL, e);
}

static void *index_stage(void *arg)
{
	struct pipeline *p = arg;
	int rc = write_layer(p, &p->indexing.error);

	p->indexing.error.rc = rc;
	if (rc)
		ring_give_up(p->plain);
	stage_done(p);
	return NULL;
}

/* --- life cycle --- */

static int open_blob(struct pipeline *p, struct err *e)
{
	struct blob_expect expect = {p->spec.blob, p->spec.size, true};

	p->offset = p->spec.size;
	if (!p->spec.want_blob) {
		int fd = blob_open(p->store, &p->spec.blob, NULL, e);

		p->blob_fd = fd;
		p->resumed = p->spec.size;
		return fd < 0 ? fd : 0;
	}
	int rc = blob_writer_new(p->store, &expect, &p->writer, e);

	if (!rc)
		p->offset = p->resumed = blob_writer_offset(p->writer);
	return rc;
}

static int open_layer(struct pipeline *p, struct err *e)
{
	if (!p->spec.want_layer)
		return 0;
	p->plain = ring_new(PIPELINE_RING, NULL, NULL);
	return layer_writer_new(p->store, &p->spec.diff_id, p->spec.backend, &p->layer, e);
}

static int start(struct pipeline *p, struct stage *s, void *(*run)(void *), struct err *e)
{
	atomic_fetch_add(&p->running, 1);
	int rc = pthread_create(&s->thread, NULL, run, p);

	if (!rc) {
		s->started = true;
		return 0;
	}
	atomic_fetch_sub(&p->running, 1);
	return err_set(e, ERR_NOMEM, -rc, "cannot start a thread: %s", strerror(rc));
}

int pipeline_new(struct image_store *s, const struct pipeline_spec *spec,
		 void (*wake_fn)(void *arg), void *arg, struct pipeline **ret, struct err *e)
{
	struct pipeline *p = mem_alloc(sizeof(*p));

	assert(spec->want_blob || spec->want_layer);
	*p = (struct pipeline){
	    .spec = *spec, .store = s, .wake = wake_fn, .arg = arg, .blob_fd = -1};
	p->compressed = ring_new(PIPELINE_RING, wake, p);
	p->buffer = mem_alloc(FEED_BYTES);
	int rc = open_blob(p, e);

	if (!rc)
		rc = open_layer(p, e);
	if (!rc && p->layer)
		rc = start(p, &p->indexing, index_stage, e);
	if (!rc)
		rc = start(p, &p->inflating, inflate_stage, e);
	if (rc) {
		pipeline_free(p, true);
		return rc;
	}
	*ret = p;
	return 0;
}

static void join(struct pipeline *p)
{
	if (p->joined)
		return;
	p->joined = true;
	if (p->inflating.started)
		pthread_join(p->inflating.thread, NULL);
	if (p->indexing.started)
		pthread_join(p->indexing.thread, NULL);
}

void pipeline_free(struct pipeline *p, bool keep)
{
	if (!p)
		return;
	if (!pipeline_finished(p)) {
		ring_give_up(p->compressed);
		if (p->plain)
			ring_give_up(p->plain);
	}
	join(p);
	if (p->writer && keep)
		blob_writer_suspend(p->writer);
	else
		blob_writer_abort(p->writer);
	layer_writer_free(p->layer);
	if (p->blob_fd >= 0)
		close(p->blob_fd);
	ring_free(p->compressed);
	ring_free(p->plain);
	free(p->buffer);
	free(p);
}

/* --- the caller's side --- */

uint64_t pipeline_offset(const struct pipeline *p)
{
	return p->offset;
}

bool pipeline_room(struct pipeline *p, size_t len)
{
	assert(len <= PIPELINE_PUT);
	return ring_space(p->compressed, len);
}

/* A read that fails shows up as a blob that is too short. */
static ssize_t read_back(struct pipeline *p, size_t len)
{
	if (p->writer)
		return blob_writer_read(p->writer, p->fed, p->buffer, len);
	return pread(p->blob_fd, p->buffer, len, (off_t)p->fed);
}

bool pipeline_feed(struct pipeline *p)
{
	while (p->fed < p->resumed) {
		size_t len = MIN((uint64_t)FEED_BYTES, p->resumed - p->fed);

		if (!p->plain) { /* only the blob is wanted, and that has been digested */
			p->fed = p->resumed;
			return false;
		}
		if (!pipeline_room(p, len))
			return true;
		ssize_t n = read_back(p, len);

		if (n <= 0) {
			ring_give_up(p->compressed);
			p->fed = p->resumed;
			return false;
		}
		ring_put(p->compressed, p->buffer, (size_t)n);
		p->fed += (uint64_t)n;
	}
	return false;
}

int pipeline_put(struct pipeline *p, const void *bytes, size_t len, struct err *e)
{
	int rc = blob_writer_append(p->writer, bytes, len, e);

	if (rc) {
		if (rc == -EBADMSG)
			e->code = ERR_REG_DIGEST;
		return rc;
	}
	p->offset += len;
	ring_put(p->compressed, bytes, len); /* a failure there shows in the result */
	return 0;
}

void pipeline_end(struct pipeline *p)
{
	p->ended = true;
	ring_end(p->compressed);
}

bool pipeline_finished(struct pipeline *p)
{
	return atomic_load(&p->running) == 0;
}

int pipeline_result(struct pipeline *p, struct err *e)
{
	const struct err *first = &p->inflating.error;

	join(p);
	/* a broken ring is the other stage's failure */
	if ((!first->rc || first->rc == -EPIPE) && p->indexing.error.rc)
		first = &p->indexing.error;
	if (!first->rc)
		return 0;
	if (!*first->msg)
		return err_set(e, ERR_IMG_STORE, -EIO, "what was pulled before cannot be read");
	if (e)
		*e = *first;
	return first->rc;
}
