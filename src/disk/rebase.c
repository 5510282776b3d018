#include "disk/rebase.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "disk/driver.h"
#include "io/loop.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_MAX  (2u << 20)
#define STATUS_MAX (1ull << 30) /* bytes asked about at once */

static int fail(struct err *e, int rc, const char *what, uint64_t offset)
{
	return err_set(e, ERR_SYS, rc, "error while %s at byte %" PRIu64 ": %s", what, offset,
		       strerror(-rc));
}

static int report(const struct disk_progress *p, uint64_t done, uint64_t total)
{
	return p->fn ? p->fn(p->arg, done, total) : 0;
}

/* --- commit --- */

static int grow_base(const struct disk_commit *c, struct err *e)
{
	uint64_t size = disk_size(c->top);

	if (disk_size(c->base) >= size)
		return 0;
	return disk_truncate(c->base, size, false, DISK_PREALLOC_OFF, 0, e);
}

/* Writes the piece that top holds at `at`; what lies unallocated above base is left alone. */
static int commit_piece(const struct disk_commit *c, uint64_t at, const struct disk_extent *x,
			uint8_t *buf)
{
	int rc;

	if (!(x->flags & DISK_EXT_ALLOCATED))
		return 0;
	if (x->flags & DISK_EXT_ZERO)
		return disk_write_zeroes(c->base, at, x->len, DISK_REQ_UNMAP);
	rc = disk_pread(c->top, at, buf, x->len);
	return rc ? rc : disk_pwrite(c->base, at, buf, x->len, 0);
}

static void brake(const struct disk_commit *c, uint64_t done, uint64_t began_ns)
{
	uint64_t due, now = loop_now_ns() - began_ns;

	if (!c->bytes_per_s)
		return;
	due = (uint64_t)((unsigned __int128)done * 1000000000 / c->bytes_per_s);
	if (due > now)
		co_sleep(c->top->ctx, due - now);
}

int disk_commit(const struct disk_commit *c, struct err *e)
{
	_free_ uint8_t *buf = mem_alloc(PIECE_MAX);
	uint64_t total = disk_size(c->top), began_ns = loop_now_ns();
	int rc = grow_base(c, e);

	for (uint64_t at = 0; at < total && !rc;) {
		struct disk_extent x = {0};
		uint64_t ask = total - at < STATUS_MAX ? total - at : STATUS_MAX;

		rc = disk_block_status_above(c->top, c->base, at, ask, false, &x);
		if (rc)
			return fail(e, rc, "reading block status", at);
		if (!(x.flags & DISK_EXT_ZERO) && x.flags & DISK_EXT_ALLOCATED && x.len > PIECE_MAX)
			x.len = PIECE_MAX;
		rc = commit_piece(c, at, &x, buf);
		if (rc)
			return fail(e, rc, "committing", at);
		at += x.len;
		if (report(&c->progress, at, total))
			return fail(e, -ECANCELED, "committing", at);
		brake(c, at, began_ns);
	}
	if (!rc) {
		rc = disk_flush(c->base);
		if (rc)
			rc = fail(e, rc, "flushing", total);
	}
	return rc;
}

/* --- rebase --- */

/* Bytes of an image that may be shorter, or missing: zeroes behind its end. */
static int read_padded(struct disk *d, uint64_t at, uint8_t *buf, size_t len)
{
	uint64_t size = d ? disk_size(d) : 0;
	size_t n = at >= size ? 0 : size - at < len ? (size_t)(size - at) : len;

	memset(buf + n, 0, len - n);
	return n ? disk_pread(d, at, buf, n) : 0;
}

/* Writes the runs of buf that differ from `other`, in whole units so that a cluster that is written at
 * all is written whole. */
static int write_differences(struct disk *top, uint64_t at, const uint8_t *buf,
			     const uint8_t *other, size_t len, size_t unit)
{
	int rc = 0;

	for (size_t i = 0; i < len && !rc;) {
		size_t start = i;

		while (i < len && memcmp(buf + i, other + i, len - i < unit ? len - i : unit))
			i += len - i < unit ? len - i : unit;
		if (i > start)
			rc = disk_is_zero(buf + start, i - start)
				 ? disk_write_zeroes(top, at + start, i - start, 0)
				 : disk_pwrite(top, at + start, buf + start, i - start, 0);
		else
			i += len - i < unit ? len - i : unit;
	}
	return rc;
}

/* Nothing to compare: both old and new say that the range is zeroes, or the same image holds it. */
static int rebase_piece(const struct disk_rebase *r, uint64_t at, size_t len, uint8_t *buf,
			size_t unit, struct err *e)
{
	int rc = disk_pread(r->top, at, buf, len);

	if (rc)
		return fail(e, rc, "reading from old backing file", at);
	rc = read_padded(r->new_backing, at, buf + PIECE_MAX, len);
	if (rc)
		return fail(e, rc, "reading from new backing file", at);
	rc = write_differences(r->top, at, buf, buf + PIECE_MAX, len, unit);
	return rc ? fail(e, rc, "writing to COW image", at) : 0;
}

int disk_rebase(const struct disk_rebase *r, struct err *e)
{
	_free_ uint8_t *buf = mem_alloc(2 * (size_t)PIECE_MAX);
	uint64_t total = disk_size(r->top);
	struct disk_info info;
	int rc = disk_get_info(r->top, &info, e);

	if (rc)
		return rc;
	json_decref(info.specific);
	size_t unit =
	    info.subcluster_size && info.subcluster_size <= PIECE_MAX ? info.subcluster_size : 512;

	for (uint64_t at = 0; at < total && !rc;) {
		struct disk_extent x = {0};
		uint64_t ask = total - at < STATUS_MAX ? total - at : STATUS_MAX;

		rc = disk_block_status(r->top, at, ask, false, &x);
		if (rc)
			return fail(e, rc, "reading image metadata", at);
		if (!(x.flags & DISK_EXT_ALLOCATED)) {
			x.len = x.len < PIECE_MAX ? x.len : PIECE_MAX;
			rc = rebase_piece(r, at, (size_t)x.len, buf, unit, e);
		}
		at += x.len;
		if (!rc && report(&r->progress, at, total))
			rc = fail(e, -ECANCELED, "rebasing", at);
	}
	return rc;
}
