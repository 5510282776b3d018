/* Blobs of a push: up to PUSH_BLOBS jobs at once. A job's life, one request after the other:
 *
 *	asking      HEAD: is it there?                            → done
 *	opening     POST: may it be mounted, else where to send   → done
 *	sending     PATCH, a chunk after the other
 *	recovering  GET: how far did a chunk come that was cut    → sending, or opening anew
 *	closing     PUT: that was all of it                       → done
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/answer.h"
#include "image/push_int.h"
#include "io/loop.h"

#define PUMP_MS 100

enum job_state { JOB_ASKING, JOB_OPENING, JOB_SENDING, JOB_RECOVERING, JOB_CLOSING, JOB_DONE };

struct job {
	struct crew *crew;
	const struct push_wish *wish;
	enum job_state state;
	struct http_transfer *transfer; /* NULL between requests */
	struct attempt attempt;
	uint64_t retry_ns;
	int fd;
	char *url;      /* of the request, kept while it runs */
	char *location; /* where to send to */
	uint64_t offset, chunk, chunk_max;
	char digest[DIGEST_TEXT_MAX], range[64];
	struct progress_item *item;
};

struct crew {
	struct image_store *store;
	struct repository *repository;
	struct progress *progress;
	struct push_result *result;
	struct job *jobs;
	size_t n;
};

/* --- requests --- */

static long read_chunk(void *arg, uint64_t offset, void *p, size_t len)
{
	struct job *j = arg;
	ssize_t n = pread(j->fd, p, len, (off_t)(j->offset + offset));

	return n < 0 ? -errno : n ? n : -EIO;
}

static char *opening_url(const struct job *j)
{
	return j->wish->from
		   ? mem_printf("/blobs/uploads/?mount=%s&from=%s", j->digest, j->wish->from)
		   : mem_strdup("/blobs/uploads/");
}

static char *closing_url(const struct job *j)
{
	return mem_printf("%s%cdigest=%s", j->location, strchr(j->location, '?') ? '&' : '?',
			  j->digest);
}

static void describe_chunk(struct job *j, struct http_request *r)
{
	j->chunk = MIN(j->chunk_max, j->wish->size - j->offset);
	snprintf(j->range, sizeof(j->range), "%" PRIu64 "-%" PRIu64, j->offset,
		 j->offset + j->chunk - 1);
	r->method = HTTP_PATCH;
	r->content_type = "application/octet-stream";
	r->content_range = j->range;
	r->source = read_chunk;
	r->arg = j;
	r->body_len = j->chunk;
}

static int begin(struct job *j, struct err *e)
{
	struct http_request r = {.method = HTTP_HEAD};

	if (j->state == JOB_SENDING && j->fd < 0)
		j->fd = blob_open(j->crew->store, &j->wish->digest, NULL, e);
	if (j->state == JOB_SENDING && j->fd < 0)
		return j->fd;
	free(j->url);
	switch (j->state) {
	case JOB_ASKING:
		j->url = mem_printf("/blobs/%s", j->digest);
		break;
	case JOB_OPENING:
		r.method = HTTP_POST;
		j->url = opening_url(j);
		break;
	case JOB_SENDING:
		describe_chunk(j, &r);
		j->url = mem_strdup(j->location);
		break;
	case JOB_RECOVERING:
		r.method = HTTP_GET;
		j->url = mem_strdup(j->location);
		break;
	default:
		r.method = HTTP_PUT;
		j->url = closing_url(j);
	}
	r.url = j->url;
	return repository_start(j->crew->repository, 0, &r, &j->transfer, e);
}

/* --- answers --- */

static int refuse(struct job *j, struct err *e)
{
	_free_ char *what = mem_printf("blob '%s' is not taken", j->digest);

	return repository_refuse(j->crew->repository, j->transfer, what, e);
}

static void finish(struct job *j, unsigned *count)
{
	j->state = JOB_DONE;
	++*count;
	if (j->item) {
		progress_set(j->item, j->wish->size, j->wish->size);
		progress_finish(j->item, true);
	}
}

static void next_chunk(struct job *j)
{
	j->state = j->offset < j->wish->size ? JOB_SENDING : JOB_CLOSING;
}

static int keep_location(struct job *j, struct err *e)
{
	char *location;
	int rc = repository_location(j->transfer, &location, e);

	if (rc)
		return rc;
	free(j->location);
	j->location = location;
	return 0;
}

static uint64_t bytes_there(struct http_transfer *t, uint64_t otherwise)
{
	const char *text = http_header(t, "Range", 0);
	uint64_t bytes;

	return text && !answer_upload_range(text, &bytes) ? bytes : otherwise;
}

static int opened(struct job *j, struct err *e)
{
	const char *least = http_header(j->transfer, "OCI-Chunk-Min-Length", 0);
	uint64_t bytes = 0;

	if (http_status(j->transfer) == 201) {
		finish(j, &j->crew->result->blobs.mounted);
		return 0;
	}
	if (http_status(j->transfer) != 202)
		return refuse(j, e);
	if (least && !str_to_u64(least, &bytes))
		j->chunk_max = MAX(j->chunk_max, bytes);
	j->offset = 0;
	next_chunk(j);
	return keep_location(j, e);
}

static int sent(struct job *j, struct err *e)
{
	int status = http_status(j->transfer);

	if (status < 200 || status > 204)
		return refuse(j, e);
	uint64_t there = bytes_there(j->transfer, j->offset + j->chunk);

	/* fewer than were sent: from there on again, if it is any progress at all */
	if (there <= j->offset || there > j->offset + j->chunk)
		return err_set(e, ERR_REG_PROTOCOL, -EPROTO,
			       "'%s' says that it has %" PRIu64 " bytes after %" PRIu64
			       " were sent",
			       http_url(j->transfer), there, j->offset + j->chunk);
	j->offset = there;
	next_chunk(j);
	return keep_location(j, e);
}

/* What the registry does not know any more begins anew. */
static int recovered(struct job *j, struct err *e)
{
	int status = http_status(j->transfer);

	if (status < 200 || status > 204) {
		j->state = JOB_OPENING;
		return 0;
	}
	j->offset = MIN(bytes_there(j->transfer, 0), j->wish->size);
	next_chunk(j);
	return http_header(j->transfer, "Location", 0) ? keep_location(j, e) : 0;
}

static int answered(struct job *j, struct err *e)
{
	int status = http_status(j->transfer);

	switch (j->state) {
	case JOB_ASKING:
		if (status == 200)
			finish(j, &j->crew->result->blobs.there);
		else if (status == 404)
			j->state = JOB_OPENING;
		else
			return refuse(j, e);
		return 0;
	case JOB_OPENING:
		return opened(j, e);
	case JOB_SENDING:
		return sent(j, e);
	case JOB_RECOVERING:
		return recovered(j, e);
	default:
		if (status != 201 && status != 204 && status != 200)
			return refuse(j, e);
		finish(j, &j->crew->result->blobs.sent);
		return 0;
	}
}

static int step(struct job *j, struct err *e)
{
	if (!j->transfer)
		return loop_now_ns() < j->retry_ns ? 0 : begin(j, e);
	if (!http_done(j->transfer)) {
		if (j->item && j->state == JOB_SENDING)
			progress_set(j->item, j->offset + http_sent(j->transfer), j->wish->size);
		return 0;
	}
	int rc = repository_judge(j->crew->repository, 0, j->transfer, &j->attempt, e);
	bool cut = http_result(j->transfer, NULL) != 0;

	if (!rc) {
		j->attempt.count = 0;
		rc = answered(j, e);
	} else if (rc > 0 && cut && j->state == JOB_SENDING) {
		j->state = JOB_RECOVERING;
	}
	if (rc < 0)
		return rc;
	j->retry_ns = rc ? loop_now_ns() + j->attempt.wait_ms * 1000000 : 0;
	http_transfer_free(STEAL(j->transfer));
	return 0;
}

/* --- all of them --- */

static void make_job(struct crew *c, struct job *j, const struct push_wish *w)
{
	char hex[DIGEST_HEX_MAX];
	_free_ char *label = mem_printf("%.12s", digest_hex(&w->digest, hex));

	*j = (struct job){.crew = c, .wish = w, .chunk_max = PUSH_CHUNK_BYTES};
	digest_text(&w->digest, j->digest);
	j->fd = -1; /* opened when it has to be sent: it may be there, and dropped here */
	if (c->progress)
		j->item = progress_add(c->progress, label, w->size);
}

static void jobs_free(struct crew *c)
{
	for (size_t i = 0; i < c->n; i++) {
		http_transfer_free(c->jobs[i].transfer);
		if (c->jobs[i].fd >= 0)
			close(c->jobs[i].fd);
		free(c->jobs[i].url);
		free(c->jobs[i].location);
	}
	free(c->jobs);
}

static int step_all(struct crew *c, size_t *ret_left, struct err *e)
{
	size_t left = 0;

	for (size_t i = 0; i < c->n && left < PUSH_BLOBS; i++) {
		struct job *j = &c->jobs[i];
		int rc = 0;

		/* an answer is followed by the next request at once */
		while (!rc && j->state != JOB_DONE && (!j->transfer || http_done(j->transfer))) {
			rc = step(j, e);
			if (!j->transfer && loop_now_ns() < j->retry_ns)
				break;
		}
		if (!rc && j->state != JOB_DONE)
			rc = step(j, e);
		if (rc)
			return rc;
		left += j->state != JOB_DONE;
	}
	*ret_left = left;
	return 0;
}

static int work(struct crew *c, struct err *e)
{
	struct http *http = registry_http(repository_registry(c->repository));

	for (;;) {
		size_t left;
		int rc = step_all(c, &left, e);

		if (rc || !left)
			return rc;
		rc = http_pump(http, PUMP_MS, e);
		if (rc)
			return rc;
		if (c->progress)
			progress_tick(c->progress);
	}
}

int push_blobs(struct image_store *s, struct repository *p, const struct push_wish *wishes,
	       size_t n, struct progress *progress, struct push_result *ret, struct err *e)
{
	struct crew c = {s, p, progress, ret, mem_array(n + 1, sizeof(struct job)), n};

	for (size_t i = 0; i < n; i++)
		make_job(&c, &c.jobs[i], &wishes[i]);
	int rc = work(&c, e);

	jobs_free(&c);
	return rc;
}
