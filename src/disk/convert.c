/* Each worker takes the next piece of the sources that is of one kind (data, zeroes, or left to the
 * backing image), reads it if it is data, waits until everything before it has been written unless
 * order does not matter, and writes it. Looking for the next piece is one worker's business at a
 * time, so that an extent is asked for once, however many pieces it is cut into.
 *
 * A target with clusters gets whole ones: zeroes are looked for in units of its (sub)clusters, since
 * half a cluster of zeroes saves nothing. */
#include "disk/convert.h"

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "disk/driver.h"
#include "io/loop.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define WORKERS_DEFAULT 8
#define STATUS_MAX      (1ull << 30) /* bytes asked about at once */

enum kind { KIND_DATA, KIND_ZERO, KIND_SKIP };

struct piece {
	uint64_t offset; /* in the target */
	uint64_t len;
	enum kind kind;
	struct disk *source;
	uint64_t source_offset;
};

struct job {
	const struct disk_convert *c;
	struct disk_ctx *ctx;
	struct err *e;
	int rc; /* the first failure; workers end when they see it */
	uint64_t total;
	uint32_t unit; /* zeroes are looked for in such pieces */
	uint32_t chunk;
	bool starts_zeroed, offload;

	struct co_mutex looking; /* guards what follows */
	unsigned source;
	uint64_t source_start; /* where that source begins in the target */
	uint64_t next;         /* offset of the next piece */
	uint64_t known_end;    /* up to here everything is of `kind` */
	enum kind kind;

	uint64_t written; /* everything before has been written, where order matters */
	struct co_queue turn;
	uint64_t done, began_ns;
	struct co_group workers;
};

static int failed(struct job *j, int rc, const char *what, uint64_t offset)
{
	if (!j->rc) {
		j->rc = rc;
		err_set(j->e, ERR_SYS, rc, "error while %s at byte %" PRIu64 ": %s", what, offset,
			strerror(-rc));
	}
	co_queue_wake_all(&j->turn);
	return rc;
}

/* --- the next piece --- */

static enum kind kind_of(const struct job *j, const struct disk_extent *x)
{
	if (x->flags & DISK_EXT_ZERO) {
		bool behind = j->c->over_backing && j->next >= j->c->backing_size;

		return behind ? KIND_SKIP : KIND_ZERO;
	}
	return x->flags & DISK_EXT_DATA || !j->c->over_backing ? KIND_DATA : KIND_SKIP;
}

static int look(struct job *j, struct disk *source)
{
	uint64_t offset = j->next - j->source_start, len = disk_size(source) - offset;
	struct disk *base = j->c->over_backing ? disk_backing(source) : NULL;
	struct disk_extent x = {0};

	if (len > STATUS_MAX)
		len = STATUS_MAX;
	/* The end of the target's backing image is a border: behind it zeroes need no writing. */
	if (j->c->over_backing && j->next < j->c->backing_size &&
	    len > j->c->backing_size - j->next)
		len = j->c->backing_size - j->next;
	int rc = disk_block_status_above(source, base, offset, len, true, &x);

	if (rc && j->c->unreadable) {
		x = (struct disk_extent){.len = len < j->unit ? len : j->unit,
					 .flags = DISK_EXT_DATA};
	} else if (rc) {
		return failed(j, rc, "reading block status", offset);
	}
	j->kind = kind_of(j, &x);
	j->known_end = j->next + (x.len && x.len < len ? x.len : len);
	return 0;
}

/* A compressed cluster is written whole or not at all: one that is not of one kind is data. */
static uint64_t whole_clusters(struct job *j, struct disk *source, enum kind *kind)
{
	uint64_t left = j->source_start + disk_size(source) - j->next;
	uint64_t len = j->known_end - j->next;

	if (*kind != KIND_DATA && len < left)
		len = bits_align_down(len, j->unit);
	if (!len || *kind == KIND_DATA) {
		*kind = KIND_DATA;
		len = left < j->unit ? left : j->unit;
	}
	return len;
}

/* 1 and the piece, 0 at the end, negative on failure. */
static int take(struct job *j, struct piece *p)
{
	const struct disk_convert *c = j->c;
	int rc = 0;

	while (j->source < c->source_count &&
	       j->next >= j->source_start + disk_size(c->sources[j->source])) {
		j->source_start += disk_size(c->sources[j->source++]);
		j->known_end = 0;
	}
	if (j->source == c->source_count)
		return 0;
	struct disk *source = c->sources[j->source];

	if (j->next >= j->known_end)
		rc = look(j, source);
	if (rc)
		return rc;
	enum kind kind = j->kind;
	uint64_t len = j->known_end - j->next;

	if (c->compressed)
		len = whole_clusters(j, source, &kind);
	else if (len > j->chunk && (kind == KIND_DATA || !c->sparse))
		len = bits_align_down(j->next + j->chunk, j->unit) - j->next;
	*p = (struct piece){.offset = j->next,
			    .len = len,
			    .kind = kind,
			    .source = source,
			    .source_offset = j->next - j->source_start};
	j->next += len;
	return 1;
}

static int take_piece(struct job *j, struct piece *p)
{
	co_lock(&j->looking);
	int rc = j->rc ? j->rc : take(j, p);

	co_unlock(&j->looking);
	return rc;
}

/* --- reading and writing --- */

/* What cannot be read in one go is read sector by sector, so that no more is lost than must be. */
static void salvage(struct job *j, const struct piece *p, uint8_t *buf)
{
	for (uint64_t at = 0; at < p->len; at += 512) {
		size_t n = p->len - at < 512 ? (size_t)(p->len - at) : 512;
		int rc = disk_pread(p->source, p->source_offset + at, buf + at, n);

		if (rc) {
			memset(buf + at, 0, n);
			j->c->unreadable(j->c->arg, p->source_offset + at, rc);
		}
	}
}

static int read_piece(struct job *j, const struct piece *p, uint8_t *buf)
{
	int rc;

	if (p->kind != KIND_DATA) {
		memset(buf, 0, p->len);
		return 0;
	}
	rc = disk_pread(p->source, p->source_offset, buf, p->len);
	if (rc && j->c->unreadable) {
		salvage(j, p, buf);
		rc = 0;
	}
	return rc ? failed(j, rc, "reading", p->source_offset) : 0;
}

static int write_zeroes(struct job *j, uint64_t offset, uint64_t len)
{
	return j->starts_zeroed ? 0 : disk_write_zeroes(j->c->target, offset, len, DISK_REQ_UNMAP);
}

/* How many bytes from `at` on are alike, in units of the target: zeroes, or something else. Zeroes
 * that are fewer than wanted count as something else. */
static size_t run_length(const struct job *j, const struct piece *p, const uint8_t *buf, size_t at,
			 bool *ret_zero)
{
	size_t end = at, zeroes = 0;

	while (end < p->len) {
		uint64_t edge = bits_align_down(p->offset + end, j->unit) + j->unit - p->offset;
		size_t n = (size_t)(edge < p->len ? edge : p->len) - end;

		if (disk_is_zero(buf + end, n)) {
			zeroes += n;
		} else {
			if (zeroes >= j->c->sparse && zeroes)
				break;
			zeroes = 0;
		}
		end += n;
		/* Data before enough zeroes: the data ends where they begin. */
		if (zeroes >= j->c->sparse && zeroes && end - zeroes > at) {
			end -= zeroes;
			zeroes = 0;
			break;
		}
	}
	*ret_zero = zeroes && zeroes == end - at;
	return end - at;
}

static int write_runs(struct job *j, const struct piece *p, const uint8_t *buf)
{
	int rc = 0;

	for (size_t at = 0, n; at < p->len && !rc; at += n) {
		bool zero = false;

		n = j->c->sparse ? run_length(j, p, buf, at, &zero) : (size_t)p->len;
		rc = zero ? write_zeroes(j, p->offset + at, n)
			  : disk_pwrite(j->c->target, p->offset + at, buf + at, n, 0);
	}
	return rc;
}

static int write_piece(struct job *j, const struct piece *p, const uint8_t *buf)
{
	const struct disk_convert *c = j->c;

	if (p->kind == KIND_SKIP)
		return 0;
	if (p->kind == KIND_ZERO && c->sparse)
		return write_zeroes(j, p->offset, p->len);
	if (!c->compressed)
		return write_runs(j, p, buf);
	if (c->sparse && disk_is_zero(buf, p->len))
		return write_zeroes(j, p->offset, p->len);
	return disk_pwrite(c->target, p->offset, buf, p->len, DISK_REQ_COMPRESSED);
}

/* Whether the host has copied it; what it cannot is not tried again. */
static bool offloaded(struct job *j, const struct piece *p)
{
	if (!j->offload || p->kind != KIND_DATA)
		return false;
	j->offload = !disk_copy_range(p->source, p->source_offset, j->c->target, p->offset, p->len);
	return j->offload;
}

static void wait_turn(struct job *j, const struct piece *p)
{
	while (!j->c->any_order && !j->c->compressed && j->written < p->offset && !j->rc)
		co_queue_wait(&j->turn);
}

static void advance(struct job *j, const struct piece *p)
{
	j->done += p->len;
	j->written = p->offset + p->len;
	co_queue_wake_all(&j->turn);
	if (j->c->progress.fn && j->c->progress.fn(j->c->progress.arg, j->done, j->total))
		failed(j, -ECANCELED, "copying", p->offset);
}

/* Sleeps as long as what has been done should have taken and has not. */
static void brake(struct job *j)
{
	if (!j->c->bytes_per_s)
		return;
	uint64_t due = (uint64_t)((unsigned __int128)j->done * 1000000000 / j->c->bytes_per_s);
	uint64_t now = loop_now_ns() - j->began_ns;

	if (due > now)
		co_sleep(j->ctx, due - now);
}

static void work(void *arg)
{
	struct job *j = arg;
	_free_ uint8_t *buf = NULL;
	struct piece p = {0};
	int rc;

	if (posix_memalign((void **)&buf, 4096, j->chunk)) {
		failed(j, -ENOMEM, "reading", j->next);
		co_group_end(&j->workers);
		return;
	}
	while (!j->rc && take_piece(j, &p) > 0) {
		bool needs_data = p.kind == KIND_DATA || (p.kind == KIND_ZERO && !j->c->sparse);
		bool copied = offloaded(j, &p);

		if (needs_data && !copied && read_piece(j, &p, buf))
			break;
		wait_turn(j, &p);
		if (j->rc)
			break;
		rc = copied ? 0 : write_piece(j, &p, buf);
		if (rc) {
			failed(j, rc, "writing", p.offset);
			break;
		}
		advance(j, &p);
		brake(j);
	}
	co_group_end(&j->workers);
}

/* --- the whole --- */

static uint32_t pow2_floor(uint32_t v)
{
	return 1u << (31 - __builtin_clz(v));
}

static int choose_unit(struct job *j, const struct disk_info *info)
{
	uint32_t cluster = info->cluster_size;

	j->chunk = DISK_CONVERT_CHUNK;
	if (j->c->compressed && !cluster)
		return err_set(j->e, ERR_UNSUPPORTED, -ENOTSUP,
			       "Compression not supported for this file format");
	if (j->c->compressed) {
		j->unit = cluster;
		j->chunk = cluster;
		return 0;
	}
	j->unit = pow2_floor(j->c->sparse < 512 ? 512 : j->c->sparse);
	if (j->unit > j->chunk)
		j->unit = j->chunk;
	if (info->subcluster_size > j->unit && info->subcluster_size <= j->chunk)
		j->unit = pow2_floor(info->subcluster_size);
	return 0;
}

/* Where zeroes can be had for nothing, one call zeroes the whole target. */
static void zero_all(struct job *j)
{
	const struct disk_convert *c = j->c;

	if (j->starts_zeroed || c->over_backing || !c->sparse)
		return;
	j->starts_zeroed = !disk_write_zeroes(c->target, 0, disk_size(c->target),
					      DISK_REQ_UNMAP | DISK_REQ_NO_FALLBACK);
}

int disk_convert(const struct disk_convert *c, struct err *e)
{
	struct job j = {.c = c, .e = e, .offload = c->offload, .starts_zeroed = c->starts_zeroed};
	struct disk_info info;
	unsigned workers = c->workers ? c->workers : WORKERS_DEFAULT;

	assert(c->source_count && !co_inside());
	j.ctx = c->target->ctx;
	for (unsigned i = 0; i < c->source_count; i++)
		j.total += disk_size(c->sources[i]);
	int rc = disk_get_info(c->target, &info, e);

	if (rc)
		return rc;
	json_decref(info.specific);
	rc = choose_unit(&j, &info);
	if (rc)
		return rc;
	zero_all(&j);
	j.began_ns = loop_now_ns();
	if (workers > DISK_CONVERT_WORKERS_MAX)
		workers = DISK_CONVERT_WORKERS_MAX;
	for (unsigned i = 0; i < workers; i++) {
		co_group_add(&j.workers);
		co_spawn(j.ctx, work, &j);
	}
	co_group_wait(&j.workers);
	return j.rc;
}
