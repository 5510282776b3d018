/* Layers of a pull: up to PULL_LAYERS jobs at once, in one thread that moves bytes from sockets into
 * pipelines. A job's life:
 *
 *	waiting → feeding   what a former pull left of the blob goes through the pipeline again
 *	        → loading   a transfer from where that ended; after a cut another one, from where that
 *	                    ended; after a final failure the next endpoint
 *	        → ending    all bytes are in; digests are compared and files made durable elsewhere
 *	        → done
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/answer.h"
#include "image/pipeline.h"
#include "image/pull_int.h"
#include "io/loop.h"

#define COLLECT_BYTES (256u << 10) /* libcurl hands out 16 KiB at a time */
#define PUMP_MS       100

enum job_state { JOB_WAITING, JOB_FEEDING, JOB_LOADING, JOB_ENDING, JOB_DONE };

struct job {
	struct crew *crew;
	enum job_state state;
	struct pipeline_spec spec;
	struct pipeline *pipeline;
	struct http_transfer *transfer; /* NULL between attempts */
	struct attempt attempt;
	size_t endpoint;
	uint64_t retry_ns;  /* when the next attempt may begin */
	uint64_t begun_at;  /* the pipeline's offset when this attempt began */
	uint64_t skip;      /* bytes of this answer that we have already */
	bool answered;      /* the answer's head has been looked at */
	struct err failure; /* of the sink */
	char *collected;
	size_t collected_len;
	char *url;
	struct progress_item *item;
};

struct crew {
	struct image_store *store;
	struct repository *repository;
	const struct pull_options *options;
	struct job *jobs;
	size_t n;
};

/* --- bytes from the socket --- */

static bool have_room(struct job *j)
{
	return pipeline_room(j->pipeline, COLLECT_BYTES);
}

static int flush(struct job *j)
{
	size_t len = j->collected_len;

	j->collected_len = 0;
	return len ? pipeline_put(j->pipeline, j->collected, len, &j->failure) : 0;
}

/* A server may answer a request for a range with all of it. */
static int look_at_head(struct job *j, struct http_transfer *t)
{
	uint64_t start = 0, wanted = pipeline_offset(j->pipeline);
	const char *range = http_header(t, "Content-Range", 0);

	j->answered = true;
	if (http_status(t) == 206 && (!range || answer_content_range(range, &start)))
		start = UINT64_MAX;
	if (start > wanted)
		return err_set(&j->failure, ERR_REG_PROTOCOL, -EPROTO,
			       "'%s': asked for bytes from %" PRIu64 " on, got others", http_url(t),
			       wanted);
	j->skip = wanted - start;
	return 0;
}

static int take(struct job *j, const char *p, size_t len)
{
	size_t skipped = (size_t)MIN((uint64_t)len, j->skip);

	j->skip -= skipped;
	p += skipped;
	len -= skipped;
	while (len) {
		size_t n = MIN(len, COLLECT_BYTES - j->collected_len);

		memcpy(j->collected + j->collected_len, p, n);
		j->collected_len += n;
		p += n;
		len -= n;
		int rc = j->collected_len == COLLECT_BYTES ? flush(j) : 0;

		if (rc)
			return rc;
	}
	return 0;
}

static int sink(void *arg, struct http_transfer *t, const void *p, size_t len)
{
	struct job *j = arg;
	int rc = j->answered ? 0 : look_at_head(j, t);

	if (rc)
		return rc;
	return have_room(j) ? take(j, p, len) : HTTP_PAUSE;
}

/* --- steps of a job --- */

static void wake(void *arg)
{
	http_wake(arg);
}

static struct http *http_of(const struct job *j)
{
	return registry_http(repository_registry(j->crew->repository));
}

static int open_pipeline(struct job *j, struct err *e)
{
	j->state = JOB_FEEDING;
	return pipeline_new(j->crew->store, &j->spec, wake, http_of(j), &j->pipeline, e);
}

static void begin_loading(struct job *j)
{
	bool whole = pipeline_offset(j->pipeline) == j->spec.size;

	j->state = whole ? JOB_ENDING : JOB_LOADING;
	if (whole)
		pipeline_end(j->pipeline);
}

static int begin_attempt(struct job *j, struct err *e)
{
	struct http_request r = {
	    .method = HTTP_GET,
	    .url = j->url,
	    .range_from = pipeline_offset(j->pipeline),
	    .sink = sink,
	    .arg = j,
	};

	j->answered = false;
	j->begun_at = r.range_from;
	return repository_start(j->crew->repository, j->endpoint, &r, &j->transfer, e);
}

static void end_attempt(struct job *j)
{
	http_transfer_free(STEAL(j->transfer));
	j->retry_ns = loop_now_ns() + j->attempt.wait_ms * 1000000;
}

/* The next server, where there is one and the failure may be this one's. */
static bool next_endpoint(struct job *j, int rc)
{
	bool local = rc == -ENOSPC || rc == -EDQUOT || rc == -EIO || rc == -ENOMEM || rc == -EFBIG;

	if (local || j->endpoint + 1 >= repository_endpoints(j->crew->repository))
		return false;
	j->endpoint++;
	j->attempt = (struct attempt){0};
	return true;
}

/* An answer that ended too early without saying so is a cut, too. */
static int judge_answer(struct job *j, struct err *e)
{
	char text[DIGEST_TEXT_MAX];
	int status = http_status(j->transfer);

	if (status != 200 && status != 206) {
		_free_ char *what = mem_printf("blob '%s'", digest_text(&j->spec.blob, text));

		return repository_refuse(j->crew->repository, j->transfer, what, e);
	}
	if (pipeline_offset(j->pipeline) == j->spec.size)
		return 0;
	if (++j->attempt.count < REGISTRY_ATTEMPTS) {
		j->attempt.wait_ms = REGISTRY_WAIT_MS;
		return 1;
	}
	return err_set(e, ERR_REG_DIGEST, -EBADMSG,
		       "registry '%s': blob '%s' ends after %" PRIu64 " of %" PRIu64 " bytes",
		       repository_domain(j->crew->repository), digest_text(&j->spec.blob, text),
		       pipeline_offset(j->pipeline), j->spec.size);
}

/* The transfer has ended somehow. */
static int judge(struct job *j, struct err *e)
{
	int rc = j->failure.rc ? j->failure.rc : flush(j);

	if (rc) {
		*e = j->failure;
		return rc;
	}
	if (pipeline_offset(j->pipeline) > j->begun_at)
		j->attempt.count = 0;
	rc = repository_judge(j->crew->repository, j->endpoint, j->transfer, &j->attempt, e);
	return rc ? rc : judge_answer(j, e);
}

static int load(struct job *j, struct err *e)
{
	if (!j->transfer)
		return loop_now_ns() < j->retry_ns ? 0 : begin_attempt(j, e);
	if (!http_done(j->transfer)) {
		if (have_room(j))
			http_resume(j->transfer);
		return 0;
	}
	int rc = judge(j, e);

	if (rc < 0 && !next_endpoint(j, rc))
		return rc;
	end_attempt(j);
	if (!rc)
		begin_loading(j);
	j->failure = (struct err){0};
	return 0;
}

/* What one server has damaged another may have whole. */
static int finish(struct job *j, struct err *e)
{
	if (!pipeline_finished(j->pipeline))
		return 0;
	int rc = pipeline_result(j->pipeline, e);

	pipeline_free(STEAL(j->pipeline), false);
	if (rc == -EBADMSG && e->code == ERR_REG_DIGEST && next_endpoint(j, rc)) {
		j->state = JOB_WAITING;
		return 0;
	}
	j->state = JOB_DONE;
	if (j->item)
		progress_finish(j->item, !rc);
	return rc;
}

static int step(struct job *j, struct err *e)
{
	int rc = 0;

	if (j->state == JOB_WAITING)
		rc = open_pipeline(j, e);
	if (!rc && j->state == JOB_FEEDING && !pipeline_feed(j->pipeline))
		begin_loading(j);
	if (!rc && j->state == JOB_LOADING)
		rc = load(j, e);
	if (!rc && j->state == JOB_ENDING)
		rc = finish(j, e);
	if (j->item && j->pipeline)
		progress_set(j->item, pipeline_offset(j->pipeline), j->spec.size);
	return rc;
}

/* --- all of them --- */

static int make_job(struct crew *c, struct job *j, const struct layer_wish *w, struct err *e)
{
	static const enum compression of[] = {[LAYER_PLAIN] = COMPRESSION_NONE,
					      [LAYER_GZIP] = COMPRESSION_GZIP,
					      [LAYER_ZSTD] = COMPRESSION_ZSTD};
	enum layer_compression compression = LAYER_PLAIN;
	bool layer = digest_is_set(&w->diff_id);
	char text[DIGEST_TEXT_MAX];
	int rc = layer ? layer_media_type(w->blob->media_type, &compression, e) : 0;

	if (rc)
		return rc;
	j->crew = c;
	j->spec = (struct pipeline_spec){
	    .blob = w->blob->digest,
	    .size = w->blob->size,
	    .compression = of[compression],
	    .diff_id = w->diff_id,
	    .backend = c->options->backend,
	    .want_blob = !blob_exists(c->store, &w->blob->digest, NULL),
	    .want_layer = layer && !layer_exists(c->store, &w->diff_id),
	};
	if (c->options->discard_compressed && layer && !j->spec.want_layer)
		j->spec.want_blob = false;
	if (!j->spec.want_blob && !j->spec.want_layer) {
		j->state = JOB_DONE;
		return 0;
	}
	j->url = mem_printf("/blobs/%s", digest_text(&w->blob->digest, text));
	j->collected = mem_alloc(COLLECT_BYTES);
	return 0;
}

/* The same blob twice in one image is one job. */
static bool is_repeated(const struct crew *c, size_t at, const struct layer_wish *wishes)
{
	for (size_t i = 0; i < at; i++)
		if (digest_eq(&wishes[i].blob->digest, &wishes[at].blob->digest))
			return true;
	return false;
}

static void add_item(struct job *j)
{
	char hex[DIGEST_HEX_MAX];
	_free_ char *label = mem_printf("%.12s", digest_hex(&j->spec.blob, hex));

	if (j->crew->options->progress)
		j->item = progress_add(j->crew->options->progress, label, j->spec.size);
}

static int make_jobs(struct crew *c, size_t endpoint, const struct layer_wish *wishes,
		     struct err *e)
{
	for (size_t i = 0; i < c->n; i++) {
		struct job *j = &c->jobs[i];

		j->endpoint = endpoint;
		if (is_repeated(c, i, wishes)) {
			j->state = JOB_DONE;
			continue;
		}
		int rc = make_job(c, j, &wishes[i], e);

		if (rc)
			return rc;
		if (j->state != JOB_DONE)
			add_item(j);
	}
	return 0;
}

/* One round over the jobs that are under way, and as many new ones as may be; *ret_left: how many
 * are not done. */
static int step_all(struct crew *c, size_t *ret_left, struct err *e)
{
	size_t busy = 0, left = 0;

	for (size_t i = 0; i < c->n; i++) {
		struct job *j = &c->jobs[i];

		if (j->state != JOB_DONE && busy < PULL_LAYERS) {
			int rc = step(j, e);

			if (rc)
				return rc;
			busy += j->state != JOB_DONE;
		}
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
		if (c->options->progress)
			progress_tick(c->options->progress);
	}
}

/* What was cut is kept, unless the disk is full. */
static void jobs_free(struct crew *c, int rc)
{
	for (size_t i = 0; i < c->n; i++) {
		http_transfer_free(c->jobs[i].transfer);
		pipeline_free(c->jobs[i].pipeline, rc != -ENOSPC && rc != -EDQUOT);
		free(c->jobs[i].collected);
		free(c->jobs[i].url);
	}
	free(c->jobs);
}

int pull_layers(struct image_store *s, struct repository *p, size_t endpoint,
		const struct layer_wish *wishes, size_t n, const struct pull_options *o,
		struct err *e)
{
	struct crew c = {s, p, o, mem_array(n + 1, sizeof(struct job)), n};
	int rc = make_jobs(&c, endpoint, wishes, e);

	if (!rc)
		rc = work(&c, e);
	jobs_free(&c, rc);
	return rc;
}
