/* The order in which metadata reaches the disk, and what requests owe each other.
 *
 * Changes are made in memory, and brought to disk together, with a barrier (a flush of the file)
 * wherever what comes next refers to what came before:
 *
 *	guest data, refcount blocks | refcount table | L2 tables | L1 table | frees
 *
 * So nothing on disk ever refers to a cluster whose refcount on disk is too low or whose content is
 * not there yet. Frees go the other way round: a cluster that lost its reference is counted down only
 * after the table without that reference is stable, and not before every request that may still use it
 * has ended (epochs). Barriers are left out where nothing lies behind them.
 *
 * With lazy refcounts the first two steps wait for the end, and the image carries the dirty bit from
 * its first change on: whoever opens it after a cut counts all references anew. */
#include "disk/qcow2.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "base/log.h"

/* A table of 8-byte entries: the sectors that hold [lo, hi). */
static int write_table(struct qcow2 *s, uint64_t offset, const uint64_t *table, uint32_t size,
		       uint32_t lo, uint32_t hi)
{
	enum { CHUNK = 512 }; /* entries */
	uint8_t buf[CHUNK * 8];
	int rc = 0;

	lo = (uint32_t)bits_align_down(lo, 64);
	hi = MIN((uint32_t)bits_align_up(hi, 64), size);
	for (uint32_t i = lo; i < hi && rc == 0; i += CHUNK) {
		uint32_t n = MIN(hi - i, (uint32_t)CHUNK);

		for (uint32_t j = 0; j < n; j++)
			put_be64(buf + j * 8, table[i + j]);
		rc = disk_pwrite(s->d->file, offset + i * 8ull, buf, n * 8ull, 0);
	}
	return rc;
}

int qcow2_write_l1(struct qcow2 *s, uint64_t offset, const uint64_t *l1, uint32_t lo, uint32_t hi)
{
	return write_table(s, offset, l1, hi, lo, hi);
}

static int barrier(struct qcow2 *s)
{
	int rc = qcow2_external(s) ? disk_flush(s->data) : 0;

	return rc < 0 ? rc : disk_flush(s->d->file);
}

static int write_refcounts(struct qcow2 *s)
{
	int rc = qcow2_cache_write(s, &s->blocks);

	if (rc < 0 || s->reftable_lo >= s->reftable_hi)
		return rc;
	rc = barrier(s);
	if (rc == 0)
		rc = write_table(s, s->reftable_offset, s->reftable, s->reftable_size,
				 s->reftable_lo, s->reftable_hi);
	if (rc == 0)
		s->reftable_lo = s->reftable_hi = 0;
	return rc;
}

static int write_l1(struct qcow2 *s)
{
	int rc = write_table(s, s->l1_offset, s->l1, s->l1_size, s->l1_lo, s->l1_hi);

	if (rc == 0)
		s->l1_lo = s->l1_hi = 0;
	return rc;
}

int qcow2_sync(struct qcow2 *s)
{
	if (!s->users[0] && !s->users[1])
		s->epoch += 2; /* nobody can be using what has been freed */
	bool l1 = s->l1_lo < s->l1_hi, tables = s->l2.dirty || l1, frees = s->frees.n > 0;
	bool lazy = s->lazy && s->incompat & QCOW2_DIRTY;
	int rc = lazy ? 0 : write_refcounts(s);

	if (rc == 0 && tables)
		rc = barrier(s);
	if (rc == 0 && s->l2.dirty) {
		rc = qcow2_cache_write(s, &s->l2);
		if (rc == 0 && l1)
			rc = barrier(s);
	}
	if (rc == 0 && l1)
		rc = write_l1(s);
	if (rc < 0 || !frees)
		return rc;
	if (tables)
		rc = barrier(s);
	return rc < 0 ? rc : qcow2_apply_frees(s, true);
}

int qcow2_sync_stable(struct qcow2 *s)
{
	int rc = qcow2_sync(s);

	/* Frees have dirtied refcounts again; without an L2 change they need no second round of order. */
	if (rc == 0 && !(s->lazy && s->incompat & QCOW2_DIRTY))
		rc = write_refcounts(s);
	return rc < 0 ? rc : barrier(s);
}

int qcow2_mark_dirty(struct qcow2 *s)
{
	if (!s->lazy || s->incompat & QCOW2_DIRTY)
		return 0;
	/* Refcounts of before must be right on disk: the bit says that only newer ones are not. */
	int rc = write_refcounts(s);

	if (rc == 0)
		rc = barrier(s);
	return rc < 0
		   ? rc
		   : qcow2_header_features(s, s->incompat | QCOW2_DIRTY, s->compat, s->autoclear);
}

/* --- epochs --- */

uint64_t qcow2_begin(struct qcow2 *s)
{
	while (s->exclusive)
		co_queue_wait(&s->exclusive_waiters);
	s->users[s->epoch & 1]++;
	return s->epoch;
}

void qcow2_end(struct qcow2 *s, uint64_t epoch)
{
	s->users[epoch & 1]--;
	while (!s->users[(s->epoch + 1) & 1]) {
		s->epoch++;
		/* With nobody there twice is enough to let everything older go. */
		if (!s->users[0] && !s->users[1]) {
			s->epoch++;
			break;
		}
		if (s->users[(s->epoch + 1) & 1])
			break;
	}
	if (!s->users[0] && !s->users[1])
		co_queue_wake_all(&s->idle_waiters);
}

void qcow2_begin_alone(struct qcow2 *s)
{
	while (s->exclusive)
		co_queue_wait(&s->exclusive_waiters);
	s->exclusive = true;
	while (s->users[0] || s->users[1])
		co_queue_wait(&s->idle_waiters);
	s->epoch += 2;
	co_lock(&s->lock);
}

void qcow2_end_alone(struct qcow2 *s)
{
	co_unlock(&s->lock);
	s->exclusive = false;
	co_queue_wake_all(&s->exclusive_waiters);
}

/* --- damage --- */

int qcow2_corrupt(struct qcow2 *s, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	if (s->incompat & QCOW2_CORRUPT)
		return -EIO;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (!(s->d->flags & DISK_WRITE) || s->version < 3) {
		log_warn("qcow2: Image is corrupt: %s; further non-fatal corruption events will be "
			 "suppressed",
			 text);
		s->incompat |= s->version < 3 ? QCOW2_CORRUPT : 0;
		return -EIO;
	}
	log_warn(
	    "qcow2: Marking image as corrupt: %s; further corruption events will be suppressed",
	    text);
	qcow2_header_features(s, s->incompat | QCOW2_CORRUPT, s->compat, s->autoclear);
	return -EIO;
}
