/* Reference counts: a table of blocks of counts, 1 to 64 bits wide. Everything here runs under the
 * metadata lock, and changes cached slices of blocks and the table in memory; qcow2_sync() writes them.
 *
 * A block that is missing counts zeroes. It is made where the first cluster of its range is allocated,
 * and is that cluster itself, so that making one never needs another. Where the table ends, a longer
 * one is written behind it, with the blocks that count it; then the header points there. */
#include "disk/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/endian.h"

/* --- counts in a block --- */

uint64_t qcow2_ref_get(const uint8_t *block, uint64_t i, unsigned order)
{
	switch (order) {
	case 0:
		return block[i / 8] >> (i % 8) & 1;
	case 1:
		return block[i / 4] >> (2 * (i % 4)) & 3;
	case 2:
		return block[i / 2] >> (4 * (i % 2)) & 15;
	case 3:
		return block[i];
	case 4:
		return get_be16(block + 2 * i);
	case 5:
		return get_be32(block + 4 * i);
	default:
		return get_be64(block + 8 * i);
	}
}

static void set_bits(uint8_t *byte, unsigned shift, uint8_t mask, uint64_t value)
{
	*byte = (uint8_t)((*byte & ~(mask << shift)) | (value << shift));
}

void qcow2_ref_set(uint8_t *block, uint64_t i, unsigned order, uint64_t value)
{
	switch (order) {
	case 0:
		set_bits(&block[i / 8], i % 8, 1, value);
		break;
	case 1:
		set_bits(&block[i / 4], 2 * (i % 4), 3, value);
		break;
	case 2:
		set_bits(&block[i / 2], 4 * (i % 2), 15, value);
		break;
	case 3:
		block[i] = (uint8_t)value;
		break;
	case 4:
		put_be16(block + 2 * i, (uint16_t)value);
		break;
	case 5:
		put_be32(block + 4 * i, (uint32_t)value);
		break;
	default:
		put_be64(block + 8 * i, value);
	}
}

uint64_t qcow2_refcount_max(const struct qcow2 *s)
{
	return s->refcount_order == 6 ? (uint64_t)INT64_MAX
				      : (1ull << (1u << s->refcount_order)) - 1;
}

int qcow2_refcount_load(struct qcow2 *s, struct err *e)
{
	size_t bytes = (size_t)s->reftable_clusters << s->cluster_bits;

	s->reftable_size = (uint32_t)(bytes / 8);
	s->reftable = mem_try_array(bytes ? bytes : 8, 1, QCOW2_REFTABLE_BYTES_MAX);
	if (!s->reftable)
		return err_set(e, ERR_NOMEM, -ENOMEM, "Could not allocate the refcount table");
	int rc = disk_pread(s->d->file, s->reftable_offset, s->reftable, bytes);

	if (rc < 0)
		return err_set(e, ERR_DISK_IO, rc, "Could not read the refcount table: %s",
			       strerror(-rc));
	for (uint32_t i = 0; i < s->reftable_size; i++)
		s->reftable[i] = be64toh(s->reftable[i]);
	return 0;
}

/* --- slices of blocks --- */

/* Counts that a slice holds. */
static unsigned slice_refs_bits(const struct qcow2 *s)
{
	return (unsigned)__builtin_ctz(s->blocks.unit) + 3 - s->refcount_order;
}

/* The slice with the count of the cluster; *ret_slice NULL where its block is missing. */
static int block_slice(struct qcow2 *s, uint64_t cluster, uint8_t **ret_slice, uint64_t *ret_at)
{
	uint64_t block = cluster >> s->block_bits;

	*ret_slice = NULL;
	if (block >= s->reftable_size)
		return 0;
	uint64_t at = s->reftable[block] & QCOW2_REFTABLE_MASK;

	if (!at)
		return 0;
	if (at & (s->cluster_size - 1) || at > (uint64_t)INT64_MAX - s->cluster_size)
		return qcow2_corrupt(s, "Refblock offset %#llx unaligned (reftable index: %#llx)",
				     (unsigned long long)at, (unsigned long long)block);
	uint64_t in_block = cluster & ((1ull << s->block_bits) - 1);

	*ret_at = at + (in_block >> slice_refs_bits(s)) * s->blocks.unit;
	return qcow2_cache_get(s, &s->blocks, *ret_at, ret_slice);
}

static uint64_t in_slice(const struct qcow2 *s, uint64_t cluster)
{
	return cluster & ((1ull << slice_refs_bits(s)) - 1);
}

int qcow2_refcount(struct qcow2 *s, uint64_t cluster, uint64_t *ret_count)
{
	uint8_t *slice;
	uint64_t at;
	int rc = block_slice(s, cluster, &slice, &at);

	if (rc == 0)
		*ret_count =
		    slice ? qcow2_ref_get(slice, in_slice(s, cluster), s->refcount_order) : 0;
	return rc;
}

/* Does the range overlap metadata that we know? Only a damaged image counts that as free. */
static bool overlaps(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
	return a < b + b_len && b < a + a_len;
}

static int check_overlap(struct qcow2 *s, uint64_t offset, uint64_t len)
{
	const char *what = NULL;

	if (offset < s->cluster_size)
		what = "qcow2_header";
	else if (overlaps(offset, len, s->l1_offset, s->l1_size * 8ull))
		what = "active L1 table";
	else if (overlaps(offset, len, s->reftable_offset, s->reftable_size * 8ull))
		what = "refcount table";
	else if (s->snapshot_count &&
		 overlaps(offset, len, s->snapshots_offset, s->snapshots_bytes))
		what = "snapshot table";
	/* Tables are filled from the start; what lies behind a gap is not worth the time. */
	for (uint32_t i = 0; !what && i < s->reftable_size && s->reftable[i]; i++)
		if (overlaps(offset, len, s->reftable[i] & QCOW2_REFTABLE_MASK, s->cluster_size))
			what = "refcount block";
	for (uint32_t i = 0; !what && i < s->l1_size; i++)
		if ((s->l1[i] & QCOW2_OFFSET_MASK) - offset < len && s->l1[i] & QCOW2_OFFSET_MASK)
			what = "active L2 table";
	return what ? qcow2_corrupt(s, "Preventing invalid allocation at %#llx (overlaps with %s)",
				    (unsigned long long)offset, what)
		    : 0;
}

/* --- the table grows --- */

static void mark_reftable(struct qcow2 *s, uint32_t i)
{
	if (s->reftable_lo >= s->reftable_hi) {
		s->reftable_lo = i;
		s->reftable_hi = i + 1;
		return;
	}
	s->reftable_lo = MIN(s->reftable_lo, i);
	s->reftable_hi = MAX(s->reftable_hi, i + 1);
}

static bool take_fresh(struct qcow2 *s, uint64_t offset, uint64_t len)
{
	bool fresh = s->fresh_zero && offset >= s->high_water;

	s->high_water = MAX(s->high_water, offset + len);
	return fresh;
}

/* Reads as zeroes from now on. */
static int clear_clusters(struct qcow2 *s, uint64_t offset, uint64_t len, bool fresh)
{
	return fresh ? 0 : disk_write_zeroes(s->d->file, offset, len, 0);
}

static int set_one(struct qcow2 *s, uint64_t cluster)
{
	uint64_t at;
	uint8_t *slice;
	int rc = block_slice(s, cluster, &slice, &at);

	if (rc < 0)
		return rc;
	qcow2_ref_set(slice, in_slice(s, cluster), s->refcount_order, 1);
	qcow2_cache_dirty(&s->blocks, at);
	return 0;
}

/* Makes the block that counts `cluster`, at the cluster `place`: itself, or a free one that has a block
 * already. */
static int make_block(struct qcow2 *s, uint64_t cluster, uint64_t place)
{
	uint64_t at = place << s->cluster_bits;
	uint32_t index = (uint32_t)(cluster >> s->block_bits);
	int rc = check_overlap(s, at, s->cluster_size);

	if (rc == 0)
		rc = clear_clusters(s, at, s->cluster_size, take_fresh(s, at, s->cluster_size));
	if (rc < 0)
		return rc;
	s->reftable[index] = at;
	rc = set_one(s, place);
	if (rc < 0) {
		s->reftable[index] = 0;
		return rc;
	}
	mark_reftable(s, index);
	return 0;
}

/* Writes counts of 1 for [first, first + n) into new blocks that lie from `at` on, one after another.
 * The range begins with its first block. */
static int write_blocks(struct qcow2 *s, uint64_t at, uint64_t first, uint64_t n, uint64_t blocks)
{
	_free_ uint8_t *buf = mem_array(s->cluster_size, 1);
	uint64_t per_block = 1ull << s->block_bits;
	int rc = 0;

	for (uint64_t b = 0; b < blocks && rc == 0; b++) {
		uint64_t base = (first & ~(per_block - 1)) + b * per_block;

		memset(buf, 0, s->cluster_size);
		for (uint64_t i = 0; i < per_block; i++)
			if (base + i >= first && base + i < first + n)
				qcow2_ref_set(buf, i, s->refcount_order, 1);
		rc = disk_pwrite(s->d->file, at + (b << s->cluster_bits), buf, s->cluster_size, 0);
	}
	return rc;
}

static int header_set_reftable(struct qcow2 *s, uint64_t offset, uint32_t clusters)
{
	uint8_t b[12];

	put_be64(b, offset);
	put_be32(b + 8, clusters);
	return qcow2_header_poke(s, 48, b, sizeof(b));
}

/* A table that reaches beyond `cluster`, which lies behind the end of the present one. Layout from
 * there: new blocks, then the table. */
static int grow_reftable(struct qcow2 *s, uint64_t cluster)
{
	uint64_t per_block = 1ull << s->block_bits, first = cluster;
	uint64_t entries_per_cluster = s->cluster_size / 8, blocks = 1, clusters;

	for (;;) {
		uint64_t last_block = (first >> s->block_bits) + blocks;
		uint64_t want = last_block + last_block / 2;

		clusters = (want + entries_per_cluster - 1) / entries_per_cluster;
		uint64_t need =
		    ((first & (per_block - 1)) + blocks + clusters + per_block - 1) / per_block;

		if (need <= blocks)
			break;
		blocks = need;
	}
	if (clusters << s->cluster_bits > QCOW2_REFTABLE_BYTES_MAX)
		return -EFBIG;
	uint64_t at = first << s->cluster_bits, table_at = at + (blocks << s->cluster_bits);
	uint32_t size = (uint32_t)(clusters * entries_per_cluster), old_size = s->reftable_size;
	uint64_t *table = mem_array(size, 8), old_offset = s->reftable_offset, *old = s->reftable;
	uint32_t old_clusters = s->reftable_clusters;

	take_fresh(s, at, (blocks + clusters) << s->cluster_bits);
	memcpy(table, old, old_size * 8ull);
	for (uint64_t b = 0; b < blocks; b++)
		table[(first >> s->block_bits) + b] = at + (b << s->cluster_bits);
	int rc = write_blocks(s, at, first, blocks + clusters, blocks);

	/* Blocks that the old table does not have yet on disk must be there before the new one is. */
	if (rc == 0)
		rc = qcow2_cache_write(s, &s->blocks);
	if (rc == 0)
		rc = disk_write_zeroes(s->d->file, table_at, clusters << s->cluster_bits, 0);
	s->reftable = table;
	s->reftable_size = size;
	s->reftable_offset = table_at;
	s->reftable_clusters = (uint32_t)clusters;
	if (rc == 0)
		rc = qcow2_write_l1(s, table_at, table, 0, size);
	if (rc == 0)
		rc = disk_flush(s->d->file);
	if (rc == 0)
		rc = header_set_reftable(s, table_at, (uint32_t)clusters);
	if (rc < 0) {
		s->reftable = old;
		s->reftable_size = old_size;
		s->reftable_offset = old_offset;
		s->reftable_clusters = old_clusters;
		free(table);
		return rc;
	}
	free(old);
	s->reftable_lo = s->reftable_hi = 0;
	qcow2_free_later(s, old_offset, old_clusters, false);
	return 0;
}

/* The table and the block of the cluster exist afterwards. 1: it was made, and is the cluster. */
static int need_block(struct qcow2 *s, uint64_t cluster)
{
	if (cluster >> s->block_bits >= s->reftable_size) {
		int rc = grow_reftable(s, cluster);

		return rc < 0 ? rc : 1;
	}
	if (s->reftable[cluster >> s->block_bits] & QCOW2_REFTABLE_MASK)
		return 0;
	int rc = make_block(s, cluster, cluster);

	return rc < 0 ? rc : 1;
}

/* --- allocation --- */

static bool block_is_missing(const struct qcow2 *s, uint64_t cluster)
{
	uint64_t index = cluster >> s->block_bits;

	return index < s->reftable_size && !(s->reftable[index] & QCOW2_REFTABLE_MASK);
}

/* The first run of at least `min` and at most `max` free clusters from `from` on. A long run may need
 * blocks on its way: they are made at its start, so that it stays in one piece. */
static int find_free(struct qcow2 *s, uint64_t from, uint64_t min, uint64_t max,
		     uint64_t *ret_first, uint64_t *ret_n)
{
	uint64_t first = from, n = 0, limit = (uint64_t)INT64_MAX >> s->cluster_bits;

	for (uint64_t c = from; n < max; c++) {
		uint8_t *slice;
		uint64_t at;
		int rc;

		if (c >= limit)
			return -EFBIG;
		if (n && n < min && block_is_missing(s, c)) {
			rc = make_block(s, c, first);
			first++;
			n--;
		} else {
			rc = need_block(s, c);
		}
		if (rc < 0)
			return rc;
		if (rc) {
			/* The cluster has become a block; what was found before it does. */
			if (n >= min)
				break;
			n = 0;
			continue;
		}
		rc = block_slice(s, c, &slice, &at);
		if (rc < 0)
			return rc;
		if (qcow2_ref_get(slice, in_slice(s, c), s->refcount_order) == 0) {
			first = n ? first : c;
			n++;
			continue;
		}
		if (n >= min)
			break;
		n = 0;
		/* Skips what is in use, without asking for the slice again and again. */
		uint64_t end = (c | ((1ull << slice_refs_bits(s)) - 1));

		while (c < end && qcow2_ref_get(slice, in_slice(s, c + 1), s->refcount_order))
			c++;
	}
	*ret_first = first;
	*ret_n = n;
	return 0;
}

static int count_one(struct qcow2 *s, uint64_t first, uint64_t n)
{
	for (uint64_t c = first; c < first + n;) {
		uint8_t *slice;
		uint64_t at, end = MIN((c | ((1ull << slice_refs_bits(s)) - 1)) + 1, first + n);
		int rc = block_slice(s, c, &slice, &at);

		if (rc < 0)
			return rc;
		for (; c < end; c++)
			qcow2_ref_set(slice, in_slice(s, c), s->refcount_order, 1);
		qcow2_cache_dirty(&s->blocks, at);
	}
	return 0;
}

static int alloc(struct qcow2 *s, uint64_t min, uint64_t max, uint64_t *ret_offset, uint64_t *ret_n,
		 bool *ret_fresh)
{
	uint64_t first, n;
	int rc = qcow2_mark_dirty(s);

	if (rc == 0)
		rc = find_free(s, s->free_hint, min, max, &first, &n);
	if (rc == 0)
		rc = check_overlap(s, first << s->cluster_bits, n << s->cluster_bits);
	if (rc == 0)
		rc = count_one(s, first, n);
	if (rc < 0)
		return rc;
	/* A longer run that was looked for may have left shorter ones behind. */
	if (min == 1)
		s->free_hint = first + n;
	*ret_offset = first << s->cluster_bits;
	*ret_n = n;
	*ret_fresh = take_fresh(s, *ret_offset, n << s->cluster_bits);
	return 0;
}

int qcow2_alloc(struct qcow2 *s, uint64_t n, uint64_t *ret_offset, bool *ret_fresh)
{
	uint64_t got;

	return alloc(s, n, n, ret_offset, &got, ret_fresh);
}

int qcow2_alloc_some(struct qcow2 *s, uint64_t n, uint64_t *ret_offset, uint64_t *ret_n,
		     bool *ret_fresh)
{
	return alloc(s, 1, n, ret_offset, ret_n, ret_fresh);
}

int qcow2_alloc_at(struct qcow2 *s, uint64_t offset, uint64_t n, uint64_t *ret_n, bool *ret_fresh)
{
	uint64_t first = offset >> s->cluster_bits, got = 0;
	int rc = qcow2_mark_dirty(s);

	while (rc == 0 && got < n) {
		uint64_t count;

		rc = need_block(s, first + got);
		if (rc == 0)
			rc = qcow2_refcount(s, first + got, &count);
		if (rc != 0 || count)
			break;
		got++;
	}
	rc = MIN(rc, 0);
	if (rc == 0 && got)
		rc = check_overlap(s, offset, got << s->cluster_bits);
	if (rc == 0 && got)
		rc = count_one(s, first, got);
	if (rc < 0)
		return rc;
	*ret_n = got;
	*ret_fresh = got ? take_fresh(s, offset, got << s->cluster_bits) : false;
	return 0;
}

int qcow2_refcount_add(struct qcow2 *s, uint64_t offset, uint64_t clusters, int delta)
{
	uint64_t first = offset >> s->cluster_bits, max = qcow2_refcount_max(s);

	for (uint64_t c = first; c < first + clusters;) {
		uint8_t *slice;
		uint64_t at,
		    end = MIN((c | ((1ull << slice_refs_bits(s)) - 1)) + 1, first + clusters);
		int rc = block_slice(s, c, &slice, &at);

		if (rc < 0)
			return rc;
		for (; c < end; c++) {
			uint64_t old =
			    slice ? qcow2_ref_get(slice, in_slice(s, c), s->refcount_order) : 0;

			if (delta < 0 ? old == 0 : old == 0 || old == max)
				return old ? -EINVAL
					   : qcow2_corrupt(
						 s, "Cluster %#llx is used, but has no reference",
						 (unsigned long long)(c << s->cluster_bits));
			qcow2_ref_set(slice, in_slice(s, c), s->refcount_order,
				      delta < 0 ? old - 1 : old + 1);
			qcow2_cache_dirty(&s->blocks, at);
			if (delta < 0 && old == 1)
				s->free_hint = MIN(s->free_hint, c);
		}
	}
	return 0;
}

/* Compressed clusters share host clusters: each counts one in every cluster that it touches. */
int qcow2_alloc_bytes(struct qcow2 *s, uint32_t len, uint64_t *ret_offset)
{
	uint32_t mask = s->cluster_size - 1;
	uint64_t offset = s->byte_offset, count = 0, n;
	bool fresh;
	int rc = 0;

	/* In what is left of the last one, unless its count cannot go higher. */
	if (offset & mask) {
		rc = qcow2_refcount(s, offset >> s->cluster_bits, &count);
		if (rc < 0)
			return rc;
	}
	uint32_t left = offset & mask ? s->cluster_size - (uint32_t)(offset & mask) : 0;

	if (!left || count == 0 || count == qcow2_refcount_max(s)) {
		offset = 0;
		left = 0;
	}
	if (left < len) {
		uint64_t at = 0;

		n = 0;
		if (left)
			rc = qcow2_alloc_at(s, (offset & ~(uint64_t)mask) + s->cluster_size, 1, &n,
					    &fresh);
		if (rc == 0 && !n) {
			rc = qcow2_alloc(s, 1, &at, &fresh);
			offset = at;
			left = 0;
		}
	}
	if (rc == 0 && left)
		rc = qcow2_mark_dirty(s);
	if (rc == 0 && left)
		rc = qcow2_refcount_add(s, offset & ~(uint64_t)mask, 1, 1);
	if (rc < 0)
		return rc;
	s->byte_offset = offset + len;
	*ret_offset = offset;
	return 0;
}

/* --- freeing --- */

static void gone(struct qcow2 *s, uint64_t offset, uint64_t len)
{
	qcow2_cache_drop(&s->l2, offset, len);
	qcow2_cache_drop(&s->blocks, offset, len);
	if (s->byte_offset - offset <= len)
		s->byte_offset = 0;
}

int qcow2_free_now(struct qcow2 *s, uint64_t offset, uint64_t clusters, bool discard)
{
	uint64_t freed = 0;
	int rc = 0;

	/* One at a time: the count of each says whether it is free now. */
	for (uint64_t i = 0; i <= clusters && rc == 0; i++) {
		uint64_t at = offset + (i << s->cluster_bits), count = 1;

		if (i < clusters) {
			rc = qcow2_refcount_add(s, at, 1, -1);
			if (rc == 0)
				rc = qcow2_refcount(s, at >> s->cluster_bits, &count);
			if (rc < 0)
				break;
		}
		if (count == 0) {
			gone(s, at, s->cluster_size);
			freed++;
		} else if (freed) {
			if (discard && !qcow2_external(s))
				disk_discard(s->d->file, at - (freed << s->cluster_bits),
					     freed << s->cluster_bits);
			freed = 0;
		}
	}
	return rc;
}

void qcow2_free_later(struct qcow2 *s, uint64_t offset, uint64_t clusters, bool discard)
{
	struct qcow2_free *last = s->frees.n ? &s->frees.v[s->frees.n - 1] : NULL;

	if (last && !last->stable && last->epoch == s->epoch && last->discard == discard &&
	    last->offset + (last->clusters << s->cluster_bits) == offset) {
		last->clusters += clusters;
		return;
	}
	vec_push(&s->frees, (struct qcow2_free){.offset = offset,
						.clusters = clusters,
						.epoch = s->epoch,
						.discard = discard});
}

void qcow2_compressed_range(const struct qcow2 *s, uint64_t entry, uint64_t *ret_offset,
			    uint64_t *ret_len)
{
	unsigned shift = 62 - (s->cluster_bits - 8);
	uint64_t sectors = ((entry & ((1ull << 62) - 1)) >> shift) + 1;

	*ret_offset = entry & ((1ull << shift) - 1);
	*ret_len = sectors * 512 - (*ret_offset & 511);
}

void qcow2_free_entry(struct qcow2 *s, uint64_t entry, bool discard)
{
	if (entry & QCOW2_COMPRESSED) {
		uint64_t offset, len;

		qcow2_compressed_range(s, entry, &offset, &len);
		uint64_t first = bits_align_down(offset, s->cluster_size);

		qcow2_free_later(s, first, qcow2_clusters(s, offset + len - first), discard);
		return;
	}
	uint64_t offset = entry & QCOW2_OFFSET_MASK;

	/* With an external data file nothing is counted. */
	if (offset && !qcow2_external(s))
		qcow2_free_later(s, offset, 1, discard);
}

int qcow2_apply_frees(struct qcow2 *s, bool stable)
{
	size_t kept = 0, n = s->frees.n;
	int rc = 0;

	for (size_t i = 0; i < n; i++) {
		struct qcow2_free f = s->frees.v[i];

		f.stable |= stable;
		if (rc == 0 && f.stable && s->epoch >= f.epoch + 2)
			rc = qcow2_free_now(s, f.offset, f.clusters, f.discard);
		else
			s->frees.v[kept++] = f;
	}
	/* What came meanwhile stays behind it. */
	for (size_t i = n; i < s->frees.n; i++)
		s->frees.v[kept++] = s->frees.v[i];
	s->frees.n = kept;
	return rc;
}
