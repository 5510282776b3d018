/* Guest reads and writes.
 *
 * A write finds one of three things. Clusters that are ours alone and have data: it goes there, without
 * lock. Clusters of ours whose subclusters have no data yet: the data goes there, then the bitmap is
 * changed. Anything else: new clusters, data, then the entries. The last two announce themselves as
 * changes of the guest range; whoever would change the same range waits, and looks again.
 *
 * What a write leaves of a cluster (or subcluster) that it does not fill is copied from what was there
 * before, in the same write. New clusters that read as zeroes anyway need no zeroes around the data. */
#include "disk/qcow2.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/cleanup.h"

#define IOV_MAX_COW 64

/* --- reading --- */

static int read_encrypted(struct qcow2 *s, uint64_t host, size_t len, const struct disk_vec *v,
			  size_t at)
{
	const size_t step = 256u << 10;
	uint64_t start = bits_align_down(host, DISK_LUKS_SECTOR);
	size_t skip = (size_t)(host - start);
	_free_ uint8_t *buf = malloc(MIN(bits_align_up(skip + len, DISK_LUKS_SECTOR), step));
	int rc = buf ? 0 : -ENOMEM;

	while (len && rc == 0) {
		size_t n = MIN(bits_align_up(skip + len, DISK_LUKS_SECTOR), step);
		size_t use = MIN(n - skip, len);

		rc = disk_pread(s->data, start, buf, n);
		if (rc == 0)
			rc = disk_luks_decrypt(s->luks, start, buf, n);
		if (rc == 0)
			disk_vec_put(v, at, buf + skip, use);
		start += n;
		at += use;
		len -= use;
		skip = 0;
	}
	return rc;
}

static int read_run(struct qcow2 *s, const struct qcow2_map *m, uint64_t offset, size_t len,
		    const struct disk_vec *v, size_t at)
{
	switch (m->type) {
	case QCOW2_UNALLOCATED:
		return disk_read_backing(s->d, offset, len, v, at);
	case QCOW2_ZEROES:
		disk_vec_zero(v, at, len);
		return 0;
	case QCOW2_PACKED:
		return qcow2_read_compressed(s, m->entry, offset & (s->cluster_size - 1), len, v,
					     at);
	case QCOW2_DATA:
		break;
	}
	if (s->luks)
		return read_encrypted(s, m->host, len, v, at);
	return disk_preadv(s->data, m->host, len, v, at);
}

/* Without taking part in the epochs: for those who do. */
static int read_guest(struct qcow2 *s, uint64_t offset, size_t len, const struct disk_vec *v,
		      size_t at)
{
	struct qcow2_map m;

	while (len) {
		int rc = qcow2_map_any(s, offset, len, &m);

		if (rc == 0)
			rc = read_run(s, &m, offset, (size_t)m.len, v, at);
		if (rc < 0)
			return rc;
		offset += m.len;
		at += (size_t)m.len;
		len -= (size_t)m.len;
	}
	return 0;
}

int qcow2_preadv(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v, size_t at)
{
	struct qcow2 *s = d->state;
	uint64_t epoch = qcow2_begin(s);
	int rc = read_guest(s, offset, len, v, at);

	qcow2_end(s, epoch);
	return rc;
}

/* --- writing data to host clusters --- */

static int write_encrypted(struct qcow2 *s, uint64_t host, size_t len, const struct disk_vec *v,
			   size_t at)
{
	const size_t step = 256u << 10;
	_free_ uint8_t *buf = malloc(MIN(len, step));
	int rc = buf ? 0 : -ENOMEM;

	while (len && rc == 0) {
		size_t n = MIN(len, step);

		disk_vec_get(v, at, buf, n);
		rc = disk_luks_encrypt(s->luks, host, buf, n);
		if (rc == 0)
			rc = disk_pwrite(s->data, host, buf, n, 0);
		host += n;
		at += n;
		len -= n;
	}
	return rc;
}

static int write_host(struct qcow2 *s, uint64_t host, size_t len, const struct disk_vec *v,
		      size_t at)
{
	if (s->luks)
		return write_encrypted(s, host, len, v, at);
	return disk_pwritev(s->data, host, len, v, at, 0);
}

/* --- changes of guest ranges --- */

/* The first change that overlaps the range; NULL: none. */
static const struct qcow2_change *find_change(const struct qcow2 *s, uint64_t start, uint64_t end)
{
	const struct qcow2_change *c = s->changes;

	while (c && (c->start >= end || start >= c->end))
		c = c->next;
	return c;
}

static void change_begin(struct qcow2 *s, struct qcow2_change *c)
{
	c->next = s->changes;
	s->changes = c;
}

static void change_end(struct qcow2 *s, struct qcow2_change *c)
{
	struct qcow2_change **p = &s->changes;

	while (*p != c)
		p = &(*p)->next;
	*p = c->next;
	co_queue_wake_all(&s->change_waiters);
}

/* Takes the lock at a moment when nobody changes the cluster of `offset`, and cuts len to what nobody
 * changes behind it. */
static uint64_t lock_range(struct qcow2 *s, uint64_t offset, uint64_t len)
{
	uint64_t start = bits_align_down(offset, s->cluster_size);
	uint64_t end = bits_align_up(offset + len, s->cluster_size);
	const struct qcow2_change *c;

	co_lock(&s->lock);
	while (find_change(s, start, start + s->cluster_size)) {
		co_unlock(&s->lock);
		co_queue_wait(&s->change_waiters);
		co_lock(&s->lock);
	}
	while ((c = find_change(s, start, end)))
		end = c->start;
	return MIN(end - offset, len);
}

/* --- writing where something has to change --- */

struct writing {
	uint64_t offset; /* guest */
	size_t len;
	const struct disk_vec *v;
	size_t at;
	struct qcow2_change change;
	uint64_t host;       /* of change.start */
	uint64_t head, tail; /* bytes that are copied before and after the data */
	bool fresh;          /* the clusters read as zeroes */
	bool in_place;       /* they are ours already */
};

/* The guest bytes around the data, as they are now; NULL where there is nothing to copy. */
static int read_around(struct qcow2 *s, struct writing *w, uint64_t at, uint64_t len,
		       uint8_t **ret_buf)
{
	/* Between the end of the disk and the machine state are zeroes. */
	uint64_t limit = at < qcow2_vmstate_offset(s) ? s->d->size : UINT64_MAX;
	struct qcow2_map m;
	bool zero = w->fresh && !s->luks;
	int rc = 0;

	*ret_buf = NULL;
	/* Zeroes on zeroes need not be written. */
	for (uint64_t i = 0; zero && i < len && at + i < limit; i += m.len) {
		rc = qcow2_map_any(s, at + i, MIN(len - i, limit - at - i), &m);
		if (rc < 0)
			return rc;
		zero =
		    m.type == QCOW2_ZEROES || (m.type == QCOW2_UNALLOCATED &&
					       (!s->d->backing || at + i >= s->d->backing->size));
	}
	if (zero)
		return 0;
	uint8_t *buf = calloc(1, len);

	if (!buf)
		return -ENOMEM;
	if (at < limit) {
		uint64_t inside = MIN(len, limit - at);
		DISK_VEC(bv, buf, inside);

		rc = read_guest(s, at, (size_t)inside, &bv, 0);
	}
	if (rc < 0)
		free(buf);
	else
		*ret_buf = buf;
	return rc;
}

/* Data with what surrounds it, in one write where the pieces are few. */
static int write_merged(struct qcow2 *s, const struct writing *w, const uint8_t *head,
			const uint8_t *tail)
{
	struct iovec iov[IOV_MAX_COW + 2];
	uint64_t host = w->host + (w->offset - w->change.start);
	unsigned first = head ? 1 : 0;
	int n = disk_vec_slice(w->v, w->at, w->len, iov + first, IOV_MAX_COW);
	int rc = 0;

	if (n < 0) {
		if (head) {
			DISK_VEC(hv, head, w->head);
			rc = write_host(s, host - w->head, (size_t)w->head, &hv, 0);
		}
		if (rc == 0 && tail) {
			DISK_VEC(tv, tail, w->tail);
			rc = write_host(s, host + w->len, (size_t)w->tail, &tv, 0);
		}
		return rc < 0 ? rc : write_host(s, host, w->len, w->v, w->at);
	}
	size_t len = w->len;
	unsigned count = first + (unsigned)n;

	if (head) {
		iov[0] = (struct iovec){(void *)head, (size_t)w->head};
		host -= w->head;
		len += w->head;
	}
	if (tail) {
		iov[count++] = (struct iovec){(void *)tail, (size_t)w->tail};
		len += w->tail;
	}
	const struct disk_vec v = {.iov = iov, .count = count};

	return write_host(s, host, len, &v, 0);
}

static int write_data(struct qcow2 *s, struct writing *w)
{
	_free_ uint8_t *head = NULL, *tail = NULL;
	int rc = 0;

	if (w->head)
		rc = read_around(s, w, w->offset - w->head, w->head, &head);
	if (rc == 0 && w->tail)
		rc = read_around(s, w, w->offset + w->len, w->tail, &tail);
	return rc < 0 ? rc : write_merged(s, w, head, tail);
}

/* The bits of subclusters that [from, to) of the cluster touches. */
static uint32_t sub_mask(const struct qcow2 *s, uint64_t from, uint64_t to)
{
	unsigned first = (unsigned)(from >> s->sub_bits);
	unsigned last = (unsigned)((to - 1) >> s->sub_bits);

	return (uint32_t)((2ull << last) - (1ull << first));
}

/* The entry after data has been written to [from, to) of the cluster. */
static struct qcow2_entry with_data(const struct qcow2 *s, struct qcow2_entry old, uint64_t host,
				    uint64_t from, uint64_t to)
{
	struct qcow2_entry en = {.entry = host | QCOW2_COPIED};

	if (s->ext_l2) {
		uint64_t mask = sub_mask(s, from, to);

		en.bitmap = old.entry & QCOW2_COMPRESSED ? 0 : old.bitmap;
		en.bitmap = (en.bitmap | mask) & ~(mask << 32);
	}
	return en;
}

/* Entries of the written clusters; under the lock. */
static int link_clusters(struct qcow2 *s, const struct writing *w)
{
	uint64_t from = w->offset - w->head, to = w->offset + w->len + w->tail;

	for (uint64_t at = w->change.start; at < w->change.end; at += s->cluster_size) {
		uint8_t *slice;
		uint64_t slice_at;
		unsigned i;
		int rc = qcow2_slice_for_write(s, at, &slice, &slice_at, &i);

		if (rc < 0)
			return rc;
		uint64_t lo = MAX(from, at) - at, hi = MIN(to, at + s->cluster_size) - at;
		struct qcow2_entry old = qcow2_entry_get(s, slice, i);

		qcow2_entry_put(s, slice, i,
				with_data(s, old, w->host + (at - w->change.start), lo, hi));
		qcow2_cache_dirty(&s->l2, slice_at);
		if (!w->in_place)
			qcow2_free_entry(s, old.entry, false);
	}
	return 0;
}

/* What of each cluster has to be written around the data, so that whole clusters have data; with
 * extended L2 entries whole subclusters, and everything that was data before and moves. */
static void plan_copy(const struct qcow2 *s, struct writing *w, bool moves)
{
	uint64_t unit = moves ? s->cluster_size : 1ull << s->sub_bits;
	uint64_t end = w->offset + w->len;

	w->head = w->offset & (unit - 1);
	w->tail = bits_align_up(end, unit) - end;
}

/* With extended entries, subclusters of a cluster that moves which hold no data stay as they are; so
 * only data decides whether the whole cluster has to be copied. */
static int has_data(struct qcow2 *s, uint64_t cluster, bool *ret_moves)
{
	struct qcow2_map m;
	int rc;

	*ret_moves = true;
	if (!s->ext_l2)
		return 0;
	rc = qcow2_map_load(s, cluster, s->cluster_size, &m);
	if (rc == 0 && m.type != QCOW2_PACKED && !m.entry)
		*ret_moves = false;
	return rc;
}

/* To subclusters without data of a cluster that is ours. */
static void plan_in_place(const struct qcow2 *s, struct writing *w, const struct qcow2_map *m)
{
	uint64_t cluster_end = bits_align_down(w->offset, s->cluster_size) + s->cluster_size;

	w->in_place = true;
	/* Not into subclusters that have data: others may be writing there. */
	uint64_t room = MIN(m->len, cluster_end - w->offset);

	w->len = (size_t)MIN(w->len, room);
	w->change.start = cluster_end - s->cluster_size;
	w->change.end = cluster_end;
	w->host = m->host - (w->offset - w->change.start);
	plan_copy(s, w, false);
}

/* How many whole clusters from `start` on, at most n, need a new place. */
static int count_to_move(struct qcow2 *s, uint64_t start, uint64_t n, uint64_t *ret_n)
{
	uint64_t end = start + (n << s->cluster_bits), at = start;
	struct qcow2_map m;

	while (at < end) {
		int rc = qcow2_map_load(s, at, end - at, &m);

		if (rc < 0)
			return rc;
		if (m.copied)
			break;
		at = bits_align_up(at + m.len, s->cluster_size);
	}
	at = MIN(at, end);
	*ret_n = MAX((at - start) >> s->cluster_bits, 1ull);
	return 0;
}

static int allocate(struct qcow2 *s, uint64_t guest, uint64_t wanted, uint64_t *ret_host,
		    uint64_t *ret_n, bool *ret_fresh)
{
	if (!qcow2_external(s))
		return qcow2_alloc_some(s, wanted, ret_host, ret_n, ret_fresh);
	*ret_host = guest;
	*ret_n = wanted;
	*ret_fresh = false;
	return 0;
}

static int plan_move(struct qcow2 *s, struct writing *w)
{
	uint64_t start = bits_align_down(w->offset, s->cluster_size);
	uint64_t wanted = qcow2_clusters(s, w->offset + w->len - start), n;
	uint64_t per_slice = 1ull << (s->slice_bits + s->cluster_bits);
	bool first_moves, last_moves;
	int rc;

	/* Within one slice, so that entries are set without a wait in between. */
	wanted = MIN(wanted, (per_slice - (start & (per_slice - 1))) >> s->cluster_bits);
	rc = count_to_move(s, start, wanted, &wanted);
	if (rc == 0)
		rc = has_data(s, start, &first_moves);
	if (rc == 0)
		rc = allocate(s, start, wanted, &w->host, &n, &w->fresh);
	if (rc < 0)
		return rc;
	w->change.start = start;
	w->change.end = start + (n << s->cluster_bits);
	w->len = (size_t)MIN(w->len, w->change.end - w->offset);
	rc = has_data(s, w->change.end - s->cluster_size, &last_moves);
	if (rc < 0) {
		if (!qcow2_external(s))
			qcow2_free_now(s, w->host, n, false);
		return rc;
	}
	plan_copy(s, w, first_moves);
	uint64_t head = w->head;

	plan_copy(s, w, last_moves);
	w->head = head;
	return 0;
}

/* Under the lock. 1: the range needs no change any more. */
static int plan(struct qcow2 *s, struct writing *w)
{
	struct qcow2_map m;
	int rc = qcow2_map_load(s, w->offset, w->len, &m);

	if (rc < 0)
		return rc;
	if (m.copied && m.type == QCOW2_DATA)
		return 1;
	if (s->frees.n >= QCOW2_FREES_MAX) {
		rc = qcow2_sync(s);
		if (rc < 0)
			return rc;
	}
	if (!m.copied)
		return plan_move(s, w);
	plan_in_place(s, w, &m);
	return 0;
}

/* 1: nothing has to change, and nothing was written. */
static int write_changing(struct qcow2 *s, struct writing *w)
{
	w->len = (size_t)lock_range(s, w->offset, w->len);
	int rc = plan(s, w);

	if (rc != 0) {
		co_unlock(&s->lock);
		return rc;
	}
	change_begin(s, &w->change);
	co_unlock(&s->lock);
	rc = write_data(s, w);
	co_lock(&s->lock);
	if (rc == 0)
		rc = link_clusters(s, w);
	else if (!w->in_place && !qcow2_external(s))
		qcow2_free_now(s, w->host, (w->change.end - w->change.start) >> s->cluster_bits,
			       true);
	change_end(s, &w->change);
	co_unlock(&s->lock);
	return rc;
}

static int write_guest(struct qcow2 *s, uint64_t offset, size_t len, const struct disk_vec *v,
		       size_t at)
{
	while (len) {
		struct qcow2_map m;
		size_t n;
		int rc = qcow2_map_any(s, offset, len, &m);

		if (rc < 0)
			return rc;
		n = (size_t)m.len;
		if (m.type == QCOW2_DATA && m.copied) {
			rc = write_host(s, m.host, n, v, at);
		} else {
			struct writing w = {.offset = offset, .len = len, .v = v, .at = at};

			rc = write_changing(s, &w);
			n = w.len;
		}
		if (rc < 0)
			return rc;
		if (rc == 1)
			continue;
		offset += n;
		at += n;
		len -= n;
	}
	return 0;
}

int qcow2_pwritev(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v, size_t at,
		  unsigned flags)
{
	struct qcow2 *s = d->state;
	uint64_t epoch = qcow2_begin(s);
	int rc = qcow2_bitmaps_record(s) ? qcow2_bitmaps_mark(s, offset, len) : 0;

	if (rc == 0)
		rc = write_guest(s, offset, len, v, at);
	qcow2_end(s, epoch);
	return rc;
}

/* --- compressed clusters --- */

static int link_compressed(struct qcow2 *s, uint64_t guest, uint64_t offset, uint32_t len)
{
	unsigned i, shift = 62 - (s->cluster_bits - 8);
	uint64_t at, sectors = ((offset & 511) + len + 511) / 512;
	uint8_t *slice;
	int rc = qcow2_slice_for_write(s, guest, &slice, &at, &i);

	if (rc < 0)
		return rc;
	struct qcow2_entry old = qcow2_entry_get(s, slice, i);

	qcow2_entry_put(
	    s, slice, i,
	    (struct qcow2_entry){QCOW2_COMPRESSED | offset | (sectors - 1) << shift, 0});
	qcow2_cache_dirty(&s->l2, at);
	qcow2_free_entry(s, old.entry, false);
	return 0;
}

int qcow2_store_compressed(struct qcow2 *s, uint64_t guest, const uint8_t *bytes, uint32_t len)
{
	struct qcow2_change c = {.start = guest, .end = guest + s->cluster_size};
	uint64_t offset;

	lock_range(s, guest, s->cluster_size);
	int rc = s->frees.n >= QCOW2_FREES_MAX ? qcow2_sync(s) : 0;

	if (rc == 0)
		rc = qcow2_alloc_bytes(s, len, &offset);
	if (rc < 0) {
		co_unlock(&s->lock);
		return rc;
	}
	change_begin(s, &c);
	co_unlock(&s->lock);
	rc = disk_pwrite(s->d->file, offset, bytes, len, 0);
	co_lock(&s->lock);
	if (rc == 0)
		rc = link_compressed(s, guest, offset, len);
	if (rc < 0) {
		uint64_t first = bits_align_down(offset, s->cluster_size);

		qcow2_free_now(s, first, qcow2_clusters(s, offset + len - first), false);
	}
	/* Its bytes may have been another's, which is kept inflated. */
	s->inflated.entry = 0;
	change_end(s, &c);
	co_unlock(&s->lock);
	return rc;
}

/* --- taking mappings away --- */

static bool backed_at(const struct qcow2 *s, uint64_t guest)
{
	return s->d->backing && guest < s->d->backing->size;
}

/* A cluster's entry afterwards. */
static struct qcow2_entry unmapped(const struct qcow2 *s, struct qcow2_entry old,
				   enum qcow2_unmap how, bool backed)
{
	const struct qcow2_entry nothing = {0};
	struct qcow2_entry zero = s->ext_l2 ? (struct qcow2_entry){0, 0xffffffffull << 32}
					    : (struct qcow2_entry){QCOW2_ZERO, 0};
	bool plain = !(old.entry & QCOW2_COMPRESSED) && old.entry & QCOW2_COPIED;

	if (how == QCOW2_UNMAP_FORGET)
		return nothing;
	if (s->version < 3)
		return how == QCOW2_UNMAP_DISCARD && !backed ? nothing : old;
	if (qcow2_external(s) || how == QCOW2_UNMAP_ZERO_KEEP) {
		/* The cluster stays; it only reads as zeroes. */
		if (plain)
			zero.entry |= old.entry & (QCOW2_OFFSET_MASK | QCOW2_COPIED);
		return zero;
	}
	/* What is not there can only be discarded where something is behind it. */
	if (how == QCOW2_UNMAP_DISCARD && !backed && !old.entry && !old.bitmap)
		return nothing;
	return zero;
}

static bool keeps_cluster(struct qcow2_entry before, struct qcow2_entry after)
{
	return !(before.entry & QCOW2_COMPRESSED) && after.entry & QCOW2_OFFSET_MASK &&
	       ((before.entry ^ after.entry) & QCOW2_OFFSET_MASK) == 0;
}

/* Whole clusters of one slice, under the lock. */
static int unmap_slice(struct qcow2 *s, uint64_t offset, uint64_t n, enum qcow2_unmap how)
{
	bool discard = s->d->flags & DISK_UNMAP && how != QCOW2_UNMAP_FORGET;
	uint64_t at_guest = offset;
	uint8_t *slice;
	uint64_t at;
	unsigned first;
	int rc = qcow2_slice_for_write(s, offset, &slice, &at, &first);

	for (unsigned i = first; rc == 0 && i < first + n; i++, at_guest += s->cluster_size) {
		struct qcow2_entry old = qcow2_entry_get(s, slice, i);
		struct qcow2_entry en = unmapped(s, old, how, backed_at(s, at_guest));

		if (en.entry == old.entry && en.bitmap == old.bitmap)
			continue;
		rc = qcow2_entry_check(s, old, at_guest);
		if (rc < 0)
			break;
		qcow2_entry_put(s, slice, i, en);
		qcow2_cache_dirty(&s->l2, at);
		if (!keeps_cluster(old, en))
			qcow2_free_entry(s, old.entry, discard);
	}
	return rc;
}

/* Without a table there may be nothing to take away; saves making tables for holes. */
static bool nothing_there(const struct qcow2 *s, uint64_t offset, enum qcow2_unmap how)
{
	uint64_t index = offset >> (s->cluster_bits + s->l2_bits);

	if (s->l1[index] & QCOW2_OFFSET_MASK)
		return false;
	return how == QCOW2_UNMAP_FORGET || (how == QCOW2_UNMAP_DISCARD && !s->d->backing);
}

int qcow2_unmap(struct qcow2 *s, uint64_t offset, uint64_t len, enum qcow2_unmap how)
{
	uint64_t per_slice = 1ull << (s->slice_bits + s->cluster_bits), end = offset + len;
	uint64_t per_table = 1ull << (s->l2_bits + s->cluster_bits);
	int rc = 0;

	while (offset < end && rc == 0) {
		uint64_t n = MIN(end - offset, per_slice - (offset & (per_slice - 1)));

		if (nothing_there(s, offset, how)) {
			offset += MIN(end - offset, per_table - (offset & (per_table - 1)));
			continue;
		}
		n = lock_range(s, offset, n);
		struct qcow2_change c = {.start = offset,
					 .end = bits_align_up(offset + n, s->cluster_size)};

		change_begin(s, &c);
		if (s->frees.n >= QCOW2_FREES_MAX)
			rc = qcow2_sync(s);
		if (rc == 0)
			rc = unmap_slice(s, offset, qcow2_clusters(s, n), how);
		change_end(s, &c);
		co_unlock(&s->lock);
		offset += n;
	}
	return rc;
}

/* Subclusters of one cluster that read as zeroes from now on; under the lock. Those of a cluster with
 * compressed data cannot. */
static int zero_subs(struct qcow2 *s, uint64_t offset, uint64_t len)
{
	uint64_t in = offset & (s->cluster_size - 1), mask = sub_mask(s, in, in + len), at;
	uint8_t *slice;
	unsigned i;
	int rc = qcow2_slice_for_write(s, offset, &slice, &at, &i);

	if (rc < 0)
		return rc;
	struct qcow2_entry en = qcow2_entry_get(s, slice, i);

	rc = qcow2_entry_check(s, en, offset);
	if (rc < 0 || en.entry & QCOW2_COMPRESSED)
		return rc < 0 ? rc : -ENOTSUP;
	en.bitmap = (en.bitmap & ~mask) | mask << 32;
	qcow2_entry_put(s, slice, i, en);
	qcow2_cache_dirty(&s->l2, at);
	return 0;
}

static int zero_part(struct qcow2 *s, uint64_t offset, uint64_t len)
{
	struct qcow2_change c = {.start = bits_align_down(offset, s->cluster_size)};

	c.end = c.start + s->cluster_size;
	lock_range(s, offset, len);
	change_begin(s, &c);
	int rc = zero_subs(s, offset, len);

	change_end(s, &c);
	co_unlock(&s->lock);
	return rc;
}

/* An external data file is zeroed itself, so that it stays right as a raw image. */
static int zero_external(struct qcow2 *s, uint64_t offset, uint64_t len, unsigned flags)
{
	if (!qcow2_external(s) || !(s->autoclear & QCOW2_DATA_FILE_RAW))
		return 0;
	return disk_write_zeroes(s->data, offset, len, flags);
}

int qcow2_write_zeroes(struct disk *d, uint64_t offset, uint64_t len, unsigned flags)
{
	struct qcow2 *s = d->state;
	uint64_t head = 0, tail = 0, mask = s->cluster_size - 1;
	int rc = 0;

	if (s->version < 3)
		return -ENOTSUP;
	uint64_t epoch = qcow2_begin(s);

	if (qcow2_bitmaps_record(s))
		rc = qcow2_bitmaps_mark(s, offset, len);
	if (rc == 0)
		rc = zero_external(s, offset, len, flags);
	/* Ends in the middle of a cluster: only with subclusters, or at the end of the disk. */
	if (offset & mask)
		head = MIN(len, s->cluster_size - (offset & mask));
	if (offset + len < d->size)
		tail = MIN(len - head, (offset + len) & mask);
	if (rc == 0 && head)
		rc = zero_part(s, offset, head);
	if (rc == 0 && len > head + tail)
		rc = qcow2_unmap(s, offset + head, len - head - tail,
				 flags & DISK_REQ_UNMAP ? QCOW2_UNMAP_ZERO : QCOW2_UNMAP_ZERO_KEEP);
	if (rc == 0 && tail)
		rc = zero_part(s, offset + len - tail, tail);
	qcow2_end(s, epoch);
	return rc;
}

int qcow2_discard(struct disk *d, uint64_t offset, uint64_t len)
{
	struct qcow2 *s = d->state;
	uint64_t epoch = qcow2_begin(s);
	int rc = qcow2_bitmaps_record(s) ? qcow2_bitmaps_mark(s, offset, len) : 0;

	if (rc == 0)
		rc = qcow2_unmap(s, offset, len, QCOW2_UNMAP_DISCARD);
	if (rc == 0 && qcow2_external(s))
		rc = disk_discard(s->data, offset, MIN(len, d->size - offset));
	qcow2_end(s, epoch);
	return rc;
}

/* --- where data is --- */

int qcow2_block_status(struct disk *d, uint64_t offset, uint64_t len, bool exact,
		       struct disk_extent *x)
{
	struct qcow2 *s = d->state;
	struct qcow2_map m;
	int rc = qcow2_map_any(s, offset, len, &m);

	if (rc < 0)
		return rc;
	x->len = m.len;
	if (!s->luks && (m.type == QCOW2_DATA || (m.type == QCOW2_ZEROES && m.host))) {
		x->flags = DISK_EXT_OFFSET;
		x->host = s->data;
		x->host_offset = m.host;
	}
	switch (m.type) {
	case QCOW2_DATA:
		x->flags |= DISK_EXT_DATA | DISK_EXT_RECURSE;
		break;
	case QCOW2_PACKED:
		x->flags |= DISK_EXT_DATA | DISK_EXT_COMPRESSED;
		break;
	case QCOW2_ZEROES:
		x->flags |= DISK_EXT_ZERO;
		break;
	case QCOW2_UNALLOCATED:
		break;
	}
	return 0;
}

/* --- preallocation --- */

int qcow2_preallocate(struct qcow2 *s, uint64_t offset, uint64_t len)
{
	uint64_t end = bits_align_up(offset + len, s->cluster_size);
	int rc = 0;

	for (offset = bits_align_down(offset, s->cluster_size); offset < end && rc == 0;) {
		struct writing w = {.offset = offset,
				    .len = (size_t)MIN(end - offset, (uint64_t)DISK_REQUEST_MAX)};
		struct qcow2_map m;

		w.len = (size_t)lock_range(s, w.offset, w.len);
		rc = qcow2_map_load(s, offset, w.len, &m);
		if (rc == 0 && m.copied) {
			offset += bits_align_up(m.len, s->cluster_size);
		} else if (rc == 0) {
			rc = plan_move(s, &w);
			w.head = w.tail = 0;
			if (rc == 0 && !w.fresh && !qcow2_external(s))
				rc = disk_write_zeroes(s->data, w.host,
						       w.change.end - w.change.start, 0);
			if (rc == 0)
				rc = link_clusters(s, &w);
			offset = w.change.end;
		}
		co_unlock(&s->lock);
	}
	return rc;
}
