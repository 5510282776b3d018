/* From guest offsets to host offsets. An L2 entry describes a cluster; with extended entries a bitmap
 * says of each of its 32 subclusters whether it has data or reads as zeroes. Without, a cluster is
 * treated as one subcluster. */
#include "disk/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"

struct qcow2_entry qcow2_entry_get(const struct qcow2 *s, const uint8_t *slice, unsigned i)
{
	const uint8_t *p = slice + ((size_t)i << s->entry_bits);

	return (struct qcow2_entry){
	    .entry = get_be64(p),
	    .bitmap = s->ext_l2 ? get_be64(p + 8) : 0,
	};
}

void qcow2_entry_put(const struct qcow2 *s, uint8_t *slice, unsigned i, struct qcow2_entry en)
{
	uint8_t *p = slice + ((size_t)i << s->entry_bits);

	put_be64(p, en.entry);
	if (s->ext_l2)
		put_be64(p + 8, en.bitmap);
}

int qcow2_entry_check(struct qcow2 *s, struct qcow2_entry en, uint64_t guest)
{
	if (en.entry & QCOW2_COMPRESSED) {
		if (en.bitmap || qcow2_external(s))
			return qcow2_corrupt(
			    s, "Invalid compressed cluster entry at guest offset %#llx",
			    (unsigned long long)guest);
		return 0;
	}
	if (en.entry & QCOW2_OFFSET_MASK & (s->cluster_size - 1))
		return qcow2_corrupt(
		    s, "Cluster allocation offset %#llx unaligned (guest offset: %#llx)",
		    (unsigned long long)(en.entry & QCOW2_OFFSET_MASK), (unsigned long long)guest);
	/* Data and zero at once; or data without a cluster. */
	uint32_t data = (uint32_t)en.bitmap, zero = (uint32_t)(en.bitmap >> 32);

	if (data & zero || (data && !(en.entry & (QCOW2_OFFSET_MASK | QCOW2_COPIED))))
		return qcow2_corrupt(s, "Invalid cluster entry found (guest offset: %#llx)",
				     (unsigned long long)guest);
	return 0;
}

/* Is there a host cluster? Offset 0 is one in a data file. */
static bool has_cluster(const struct qcow2 *s, uint64_t entry)
{
	return entry & QCOW2_OFFSET_MASK || (qcow2_external(s) && entry & QCOW2_COPIED);
}

static enum qcow2_type sub_type(const struct qcow2 *s, struct qcow2_entry en, unsigned sub)
{
	if (en.entry & QCOW2_COMPRESSED)
		return QCOW2_PACKED;
	if (s->ext_l2) {
		if (en.bitmap >> (32 + sub) & 1)
			return QCOW2_ZEROES;
		return en.bitmap >> sub & 1 ? QCOW2_DATA : QCOW2_UNALLOCATED;
	}
	if (en.entry & QCOW2_ZERO && s->version >= 3)
		return QCOW2_ZEROES;
	return has_cluster(s, en.entry) ? QCOW2_DATA : QCOW2_UNALLOCATED;
}

/* Subclusters from `sub` on that are mapped like it. */
static unsigned same_subs(const struct qcow2 *s, struct qcow2_entry en, unsigned sub)
{
	enum qcow2_type type = sub_type(s, en, sub);
	unsigned n = 1;

	if (s->sub_count == 1 || type == QCOW2_PACKED)
		return s->sub_count - sub;
	while (sub + n < s->sub_count && sub_type(s, en, sub + n) == type)
		n++;
	return n;
}

static int map_slice(struct qcow2 *s, const uint8_t *slice, uint64_t offset, uint64_t len,
		     struct qcow2_map *m)
{
	uint64_t cluster = offset >> s->cluster_bits;
	unsigned i = (unsigned)(cluster & ((1u << s->slice_bits) - 1));
	uint64_t in_cluster = offset & (s->cluster_size - 1);
	unsigned sub = (unsigned)(in_cluster >> s->sub_bits);
	struct qcow2_entry en = qcow2_entry_get(s, slice, i);
	int rc = qcow2_entry_check(s, en, offset);

	if (rc < 0)
		return rc;
	bool packed = en.entry & QCOW2_COMPRESSED, backed = !packed && has_cluster(s, en.entry);

	*m = (struct qcow2_map){
	    .type = sub_type(s, en, sub),
	    .entry = en.entry,
	    .host = backed ? (en.entry & QCOW2_OFFSET_MASK) + in_cluster : 0,
	    .copied = backed && en.entry & QCOW2_COPIED,
	};
	unsigned n = same_subs(s, en, sub);
	uint64_t end = ((uint64_t)(sub + n) << s->sub_bits) - in_cluster;
	uint64_t next_host = (en.entry & QCOW2_OFFSET_MASK) + s->cluster_size;

	/* On into the next clusters while they go on alike. */
	while (!packed && end < len && sub + n == s->sub_count && ++i < 1u << s->slice_bits) {
		en = qcow2_entry_get(s, slice, i);
		if (en.entry & QCOW2_COMPRESSED || sub_type(s, en, 0) != m->type ||
		    has_cluster(s, en.entry) != backed ||
		    (backed && ((en.entry & QCOW2_OFFSET_MASK) != next_host ||
				!(en.entry & QCOW2_COPIED) == m->copied)) ||
		    qcow2_entry_check(s, en, offset + end) < 0)
			break;
		sub = 0;
		n = same_subs(s, en, 0);
		end += (uint64_t)n << s->sub_bits;
		next_host += s->cluster_size;
	}
	m->len = MIN(end, len);
	return 0;
}

/* Where the slice of the offset lies; 0: no table. Also how many bytes the slice covers from there. */
static int slice_offset(struct qcow2 *s, uint64_t offset, uint64_t *ret_at, uint64_t *ret_covers)
{
	uint64_t index = offset >> (s->cluster_bits + s->l2_bits),
		 cluster = offset >> s->cluster_bits;
	uint64_t table = index < s->l1_size ? s->l1[index] & QCOW2_OFFSET_MASK : 0;
	uint64_t per_slice = 1ull << (s->slice_bits + s->cluster_bits);

	if (table & (s->cluster_size - 1))
		return qcow2_corrupt(s, "L2 table offset %#llx unaligned (L1 index: %#llx)",
				     (unsigned long long)table, (unsigned long long)index);
	*ret_covers = per_slice - (offset & (per_slice - 1));
	*ret_at =
	    table ? table + ((cluster & ((1ull << s->l2_bits) - 1)) >> s->slice_bits) * s->l2.unit
		  : 0;
	return 0;
}

static int map(struct qcow2 *s, uint64_t offset, uint64_t len, bool load, struct qcow2_map *ret_map)
{
	uint64_t at, covers;
	uint8_t *slice;
	int rc = slice_offset(s, offset, &at, &covers);

	if (rc < 0)
		return rc;
	if (!at) {
		uint64_t per_table = 1ull << (s->l2_bits + s->cluster_bits);

		*ret_map = (struct qcow2_map){
		    .type = QCOW2_UNALLOCATED,
		    .len = MIN(len, per_table - (offset & (per_table - 1))),
		};
		return 0;
	}
	slice = qcow2_cache_find(&s->l2, at);
	if (!slice && !load)
		return 1;
	rc = slice ? 0 : qcow2_cache_get(s, &s->l2, at, &slice);
	return rc < 0 ? rc : map_slice(s, slice, offset, MIN(len, covers), ret_map);
}

int qcow2_map(struct qcow2 *s, uint64_t offset, uint64_t len, struct qcow2_map *ret_map)
{
	return map(s, offset, len, false, ret_map);
}

int qcow2_map_load(struct qcow2 *s, uint64_t offset, uint64_t len, struct qcow2_map *ret_map)
{
	return map(s, offset, len, true, ret_map);
}

int qcow2_map_any(struct qcow2 *s, uint64_t offset, uint64_t len, struct qcow2_map *ret_map)
{
	int rc = map(s, offset, len, false, ret_map);

	if (rc != 1)
		return rc;
	co_lock(&s->lock);
	rc = map(s, offset, len, true, ret_map);
	co_unlock(&s->lock);
	return rc;
}

/* --- tables to write to --- */

static void mark_l1(struct qcow2 *s, uint32_t i)
{
	if (s->l1_lo >= s->l1_hi) {
		s->l1_lo = i;
		s->l1_hi = i + 1;
		return;
	}
	s->l1_lo = MIN(s->l1_lo, i);
	s->l1_hi = MAX(s->l1_hi, i + 1);
}

/* The new table's content: the shared one's, or nothing. Its slices are read from there. */
static int fill_table(struct qcow2 *s, uint64_t from, uint64_t to, bool fresh)
{
	if (!from)
		return fresh ? 0 : disk_write_zeroes(s->d->file, to, s->cluster_size, 0);
	uint8_t *buf = mem_array(s->cluster_size, 1);
	int rc = disk_pread(s->d->file, from, buf, s->cluster_size);

	/* What the cache knows better. */
	for (uint32_t at = 0; at < s->cluster_size && rc == 0; at += s->l2.unit) {
		const uint8_t *slice = qcow2_cache_find(&s->l2, from + at);

		if (slice)
			memcpy(buf + at, slice, s->l2.unit);
	}
	if (rc == 0)
		rc = disk_pwrite(s->d->file, to, buf, s->cluster_size, 0);
	free(buf);
	return rc;
}

/* A table of our own for the L1 entry. */
static int own_table(struct qcow2 *s, uint64_t index)
{
	uint64_t old = s->l1[index] & QCOW2_OFFSET_MASK, offset;
	bool fresh;

	if (old & (s->cluster_size - 1))
		return qcow2_corrupt(s, "L2 table offset %#llx unaligned (L1 index: %#llx)",
				     (unsigned long long)old, (unsigned long long)index);
	int rc = qcow2_alloc(s, 1, &offset, &fresh);

	if (rc < 0)
		return rc;
	rc = fill_table(s, old, offset, fresh);
	if (rc < 0) {
		qcow2_free_now(s, offset, 1, false);
		return rc;
	}
	s->l1[index] = offset | QCOW2_COPIED;
	mark_l1(s, (uint32_t)index);
	if (old)
		qcow2_free_later(s, old, 1, false);
	return 0;
}

int qcow2_slice_for_write(struct qcow2 *s, uint64_t offset, uint8_t **ret_slice,
			  uint64_t *ret_slice_offset, unsigned *ret_index)
{
	uint64_t index = offset >> (s->cluster_bits + s->l2_bits), covers, at;
	int rc = 0;

	if (index >= s->l1_size)
		return -EIO;
	if (!(s->l1[index] & QCOW2_COPIED))
		rc = own_table(s, index);
	if (rc == 0)
		rc = slice_offset(s, offset, &at, &covers);
	if (rc == 0)
		rc = qcow2_cache_get(s, &s->l2, at, ret_slice);
	if (rc < 0)
		return rc;
	*ret_slice_offset = at;
	*ret_index = (unsigned)(offset >> s->cluster_bits & ((1u << s->slice_bits) - 1));
	return 0;
}

int qcow2_grow_l1(struct qcow2 *s, uint64_t entries)
{
	uint64_t clusters = qcow2_clusters(s, entries * 8), offset, old = s->l1_offset;
	uint32_t old_size = s->l1_size;
	bool fresh;

	if (entries <= s->l1_size)
		return 0;
	if (entries > QCOW2_L1_BYTES_MAX / 8)
		return -EFBIG;
	int rc = qcow2_sync(s);

	if (rc == 0)
		rc = qcow2_alloc(s, clusters, &offset, &fresh);
	if (rc < 0)
		return rc;
	uint64_t *l1 = mem_array(clusters << (s->cluster_bits - 3), 8);

	memcpy(l1, s->l1, old_size * 8ull);
	rc = qcow2_write_l1(s, offset, l1, 0, (uint32_t)(clusters << (s->cluster_bits - 3)));
	if (rc == 0)
		rc = qcow2_sync_stable(s);
	if (rc == 0)
		rc = qcow2_header_set_l1(s, offset, (uint32_t)entries);
	if (rc < 0) {
		free(l1);
		qcow2_free_now(s, offset, clusters, false);
		return rc;
	}
	free(s->l1);
	s->l1 = l1;
	s->l1_offset = offset;
	s->l1_size = (uint32_t)entries;
	if (old_size)
		qcow2_free_later(s, old, qcow2_clusters(s, old_size * 8ull), false);
	return 0;
}
