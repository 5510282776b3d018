/* Check and repair: every reference is counted, and the counts are compared with those on disk.
 *
 * Memory is bounded: references are counted for a window of clusters at a time, and each window walks
 * the tables again; an image of a terabyte is one window. Tables that several snapshots share are read
 * once: their references count as often as tables refer to them. A table that is met for the first time
 * is also checked itself, and so are the COPIED flags of the active tables, which are compared with the
 * counts that were found.
 *
 * Repair goes from the safe side: counts that are too low are raised first (or, where blocks are
 * missing or cannot be trusted, all counts are written anew), then flags are corrected, then what is
 * counted too high is lowered. */
#include "disk/qcow2.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/endian.h"

#define WINDOW_CLUSTERS (8u << 20) /* 32 MiB of counts */
#define TABLES_MAX      (1u << 20) /* different L2 tables: 24 MiB */

/* An L2 table and how many L1 entries refer to it. */
struct table_ref {
	uint64_t offset;
	uint32_t count;
	bool active;    /* from the active L1 table … */
	uint32_t index; /* … at this entry */
};

struct check {
	struct qcow2 *s;
	struct disk_check *c;
	unsigned fix;
	uint64_t window, window_end; /* clusters */
	uint64_t clusters;           /* of the file */
	uint32_t *counts;            /* of the window */
	VEC(struct table_ref) tables;
	bool first;         /* this walk reports what tables themselves have wrong */
	bool reported;      /* one has done so */
	bool rebuild;       /* blocks are missing or misplaced */
	uint64_t last_host; /* for fragmentation */
	uint8_t *slice;     /* counts on disk of slice_first and those after it */
	uint64_t slice_first, slice_count;
};

static void found(struct check *k, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void found(struct check *k, const char *fmt, ...)
{
	char line[256];
	va_list ap;

	if (!k->c->found)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	k->c->found(k->c->arg, line);
}

/* --- counting --- */

static void count(struct check *k, uint64_t offset, uint64_t len, uint32_t times)
{
	uint64_t first = offset >> k->s->cluster_bits;
	uint64_t last = (offset + len - 1) >> k->s->cluster_bits;

	if (len && first == last && first - k->window < k->window_end - k->window &&
	    k->counts[first - k->window] < UINT32_MAX - times) {
		k->counts[first - k->window] += times;
		return;
	}
	for (uint64_t c = MAX(first, k->window); len && c <= last && c < k->window_end; c++)
		k->counts[c - k->window] += MIN(times, UINT32_MAX - k->counts[c - k->window]);
}

/* Does it lie in the file? Reported once. */
static bool inside(struct check *k, uint64_t offset, uint64_t len, const char *what)
{
	uint64_t end = k->clusters << k->s->cluster_bits;

	if (offset <= end && len <= end - offset)
		return true;
	if (k->first) {
		found(k,
		      "ERROR: counting reference for region exceeding the end of the file by one "
		      "cluster or more: offset 0x%" PRIx64 " size 0x%" PRIx64 " (%s)",
		      offset, len, what);
		k->c->corruptions++;
	}
	return false;
}

static void count_entry(struct check *k, const struct table_ref *t, struct qcow2_entry en,
			uint64_t guest)
{
	struct qcow2 *s = k->s;

	if (en.entry & QCOW2_COMPRESSED) {
		uint64_t offset, len;

		if (qcow2_external(s))
			return;
		if (en.entry & QCOW2_COPIED && k->first) {
			found(k,
			      "ERROR: coffset=0x%" PRIx64
			      ": copied flag must never be set for compressed clusters",
			      (uint64_t)(en.entry & ((1ull << 62) - 1)));
			k->c->corruptions++;
		}
		qcow2_compressed_range(s, en.entry, &offset, &len);
		/* The last sector may reach behind the end of the file. */
		uint64_t end = k->clusters << s->cluster_bits;

		len = offset < end ? MIN(len, end - offset) : 0;
		if (len)
			count(k, offset, len, t->count);
		if (k->first && t->active) {
			k->c->allocated_clusters++;
			k->c->compressed_clusters++;
			k->c->fragmented_clusters++;
		}
		return;
	}
	uint64_t offset = en.entry & QCOW2_OFFSET_MASK;

	if (!offset)
		return;
	if (offset & (s->cluster_size - 1)) {
		if (k->first) {
			found(k,
			      "ERROR offset=%" PRIx64 ": Cluster is not properly aligned; L2 entry "
			      "corrupted.",
			      offset);
			k->c->corruptions++;
		}
		return;
	}
	if (k->first && (uint32_t)en.bitmap & (uint32_t)(en.bitmap >> 32)) {
		found(k,
		      "ERROR offset=%" PRIx64
		      ": subclusters are allocated and zero at once; L2 entry "
		      "corrupted.",
		      guest);
		k->c->corruptions++;
	}
	if (k->first && t->active) {
		k->c->allocated_clusters++;
		if (k->last_host && offset != k->last_host + s->cluster_size)
			k->c->fragmented_clusters++;
		k->last_host = offset;
	}
	if (!qcow2_external(s) && inside(k, offset, s->cluster_size, "data"))
		count(k, offset, s->cluster_size, t->count);
}

static void walk_table(struct check *k, const struct table_ref *t, uint8_t *buf)
{
	struct qcow2 *s = k->s;
	uint64_t guest = (uint64_t)t->index << (s->l2_bits + s->cluster_bits);

	count(k, t->offset, s->cluster_size, t->count);
	int rc = disk_pread(s->d->file, t->offset, buf, s->cluster_size);

	if (rc < 0) {
		k->c->check_errors++;
		found(k, "ERROR: I/O error in check_refcounts_l2");
		return;
	}
	for (uint32_t i = 0; i < 1u << s->l2_bits; i++, guest += s->cluster_size) {
		struct qcow2_entry en = qcow2_entry_get(s, buf, i);

		if (en.entry)
			count_entry(k, t, en, guest);
	}
}

/* --- which tables there are --- */

static int by_offset(const void *a, const void *b)
{
	const struct table_ref *x = a, *y = b;

	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	return (int)y->active - (int)x->active;
}

/* In the order of the disk, so that fragmentation can be seen. */
static int by_use(const void *a, const void *b)
{
	const struct table_ref *x = a, *y = b;

	if (x->active != y->active)
		return (int)y->active - (int)x->active;
	return x->index < y->index ? -1 : x->index > y->index;
}

/* Merges equal offsets; runs now and then, so that memory stays that of the tables. */
static void merge_tables(struct check *k)
{
	size_t n = 0;

	if (!k->tables.n)
		return;
	qsort(k->tables.v, k->tables.n, sizeof(*k->tables.v), by_offset);
	for (size_t i = 1; i < k->tables.n; i++) {
		if (k->tables.v[i].offset == k->tables.v[n].offset)
			k->tables.v[n].count += k->tables.v[i].count;
		else
			k->tables.v[++n] = k->tables.v[i];
	}
	k->tables.n = n + 1;
}

/* Can a table be there at all? What cannot is reported, and not kept. */
static bool is_table(struct check *k, uint64_t offset)
{
	if (offset & (k->s->cluster_size - 1)) {
		found(k,
		      "ERROR l2_offset=%" PRIx64
		      ": Table is not cluster aligned; L1 entry corrupted",
		      offset);
		k->c->corruptions++;
		return false;
	}
	return inside(k, offset, k->s->cluster_size, "L2 table");
}

static void add_tables(struct check *k, const uint64_t *l1, uint32_t entries, bool active)
{
	for (uint32_t i = 0; i < entries; i++)
		if (l1[i] & QCOW2_OFFSET_MASK && is_table(k, l1[i] & QCOW2_OFFSET_MASK))
			vec_push(&k->tables, (struct table_ref){.offset = l1[i] & QCOW2_OFFSET_MASK,
								.count = 1,
								.active = active,
								.index = i});
}

static int gather_tables(struct check *k)
{
	struct qcow2 *s = k->s;
	size_t limit = TABLES_MAX / 2;

	add_tables(k, s->l1, s->l1_size, true);
	for (uint32_t n = 0; n < s->snapshot_count; n++) {
		const struct qcow2_snapshot *sn = &s->snapshots[n];
		_free_ uint64_t *l1 = mem_try_array(MAX(sn->l1_size, 1u), 8, QCOW2_L1_BYTES_MAX);
		int rc =
		    l1 ? disk_pread(s->d->file, sn->l1_offset, l1, sn->l1_size * 8ull) : -ENOMEM;

		if (rc < 0)
			return rc;
		for (uint32_t i = 0; i < sn->l1_size; i++)
			l1[i] = be64toh(l1[i]);
		add_tables(k, l1, sn->l1_size, false);
		if (k->tables.n > TABLES_MAX)
			merge_tables(k);
		if (k->tables.n > TABLES_MAX)
			return -EFBIG;
		if (k->tables.n > limit) {
			merge_tables(k);
			limit = MAX(limit, 2 * k->tables.n);
		}
	}
	merge_tables(k);
	if (k->tables.n)
		qsort(k->tables.v, k->tables.n, sizeof(*k->tables.v), by_use);
	return 0;
}

/* --- one window --- */

static int count_range(void *arg, uint64_t offset, uint64_t len)
{
	struct check *k = arg;

	if (len && inside(k, offset, len, "bitmap"))
		count(k, offset, len, 1);
	return 0;
}

static void count_metadata(struct check *k)
{
	struct qcow2 *s = k->s;
	uint32_t cs = s->cluster_size;

	count(k, 0, cs, 1);
	if (s->l1_size && inside(k, s->l1_offset, s->l1_size * 8ull, "L1 table"))
		count(k, s->l1_offset, s->l1_size * 8ull, 1);
	for (uint32_t n = 0; n < s->snapshot_count; n++) {
		const struct qcow2_snapshot *sn = &s->snapshots[n];

		if (sn->l1_size &&
		    inside(k, sn->l1_offset, sn->l1_size * 8ull, "snapshot L1 table"))
			count(k, sn->l1_offset, sn->l1_size * 8ull, 1);
	}
	if (s->snapshots_bytes)
		count(k, s->snapshots_offset, s->snapshots_bytes, 1);
	if (s->crypto_offset && inside(k, s->crypto_offset, s->crypto_len, "encryption header"))
		count(k, s->crypto_offset, s->crypto_len, 1);
	count(k, s->reftable_offset, (uint64_t)s->reftable_clusters * cs, 1);
	for (uint32_t i = 0; i < s->reftable_size; i++) {
		uint64_t at = s->reftable[i] & QCOW2_REFTABLE_MASK;

		if (!at)
			continue;
		if (at & (cs - 1)) {
			if (k->first) {
				found(k,
				      "ERROR refcount block %u is not cluster aligned; refcount "
				      "table "
				      "entry corrupted",
				      i);
				k->c->corruptions++;
			}
			k->rebuild = true;
		} else if (at >> s->cluster_bits >= k->clusters) {
			if (k->first) {
				found(k, "ERROR refcount block %u is outside image", i);
				k->c->corruptions++;
			}
			k->rebuild = true;
		} else {
			count(k, at, cs, 1);
		}
	}
}

static int count_window(struct check *k, uint64_t window)
{
	_free_ uint8_t *buf = mem_array(k->s->cluster_size, 1);

	k->window = window;
	k->window_end = MIN(window + WINDOW_CLUSTERS, k->clusters);
	k->first = window == 0 && !k->reported;
	memset(k->counts, 0, (k->window_end - window) * sizeof(*k->counts));
	count_metadata(k);
	int rc = qcow2_bitmaps_ranges(k->s, count_range, k);

	for (size_t i = 0; i < k->tables.n && rc == 0; i++) {
		const struct disk_progress *p = &k->c->progress;

		walk_table(k, &k->tables.v[i], buf);
		if (p->fn && !(i % 64) &&
		    p->fn(p->arg, window + (k->window_end - window) * i / k->tables.n, k->clusters))
			rc = -ECANCELED;
	}
	k->reported = true;
	return rc;
}

/* Copies the slice of counts that has the cluster; false where its block cannot be read. */
static bool load_slice(struct check *k, uint64_t cluster)
{
	struct qcow2 *s = k->s;
	unsigned bits = (unsigned)__builtin_ctz(s->blocks.unit) + 3 - s->refcount_order;
	uint64_t in = cluster & ((1ull << s->block_bits) - 1);
	uint64_t at = s->reftable[cluster >> s->block_bits] & QCOW2_REFTABLE_MASK;
	uint8_t *slice;

	if (qcow2_cache_get(s, &s->blocks, at + (in >> bits) * s->blocks.unit, &slice) < 0)
		return false;
	memcpy(k->slice, slice, s->blocks.unit);
	k->slice_count = 1ull << bits;
	k->slice_first = cluster & ~(k->slice_count - 1);
	return true;
}

/* The count on disk; unreadable blocks count zero, and everything is written anew. */
static uint64_t on_disk(struct check *k, uint64_t cluster)
{
	struct qcow2 *s = k->s;
	uint64_t index = cluster >> s->block_bits;

	if (cluster - k->slice_first < k->slice_count)
		return qcow2_ref_get(k->slice, cluster - k->slice_first, s->refcount_order);
	if (index >= s->reftable_size)
		return 0;
	uint64_t at = s->reftable[index] & QCOW2_REFTABLE_MASK;

	if (!at || at & (s->cluster_size - 1) || at >> s->cluster_bits >= k->clusters)
		return 0;
	if (!load_slice(k, cluster)) {
		k->c->check_errors++;
		return 0;
	}
	return qcow2_ref_get(k->slice, cluster - k->slice_first, s->refcount_order);
}

static bool set_count(struct check *k, uint64_t cluster, uint64_t value)
{
	struct qcow2 *s = k->s;
	uint64_t index = cluster >> s->block_bits, at, in = cluster & ((1ull << s->block_bits) - 1);
	uint8_t *slice;

	if (index >= s->reftable_size || !(s->reftable[index] & QCOW2_REFTABLE_MASK) ||
	    k->rebuild) {
		k->rebuild = true;
		return false;
	}
	unsigned bits = (unsigned)__builtin_ctz(s->blocks.unit) + 3 - s->refcount_order;

	at = (s->reftable[index] & QCOW2_REFTABLE_MASK) + (in >> bits) * s->blocks.unit;
	if (value > qcow2_refcount_max(s) || qcow2_cache_get(s, &s->blocks, at, &slice) < 0) {
		k->c->check_errors++;
		return false;
	}
	qcow2_ref_set(slice, in & ((1ull << bits) - 1), s->refcount_order, value);
	qcow2_cache_dirty(&s->blocks, at);
	k->slice_count = 0;
	return true;
}

/* raising: only what is counted too low is corrected, and everything is reported. */
static void compare_window(struct check *k, bool raising)
{
	for (uint64_t c = k->window; c < k->window_end; c++) {
		uint64_t want = k->counts[c - k->window], have = on_disk(k, c);
		bool low = have < want;

		if (want)
			k->c->image_end_offset =
			    MAX(k->c->image_end_offset, (c + 1) << k->s->cluster_bits);
		if (have == want || low != raising)
			continue;
		bool fix = k->fix & (low ? DISK_FIX_ERRORS : DISK_FIX_LEAKS) && !k->rebuild;

		found(k, "%s cluster %" PRIu64 " refcount=%" PRIu64 " reference=%" PRIu64,
		      fix   ? "Repairing"
		      : low ? "ERROR"
			    : "Leaked",
		      c, have, want);
		if (fix && set_count(k, c, want)) {
			*(low ? &k->c->corruptions_fixed : &k->c->leaks_fixed) += 1;
			if (!low)
				k->s->free_hint = MIN(k->s->free_hint, c);
			continue;
		}
		*(low ? &k->c->corruptions : &k->c->leaks) += 1;
	}
}

/* --- COPIED flags --- */

/* A flag too many loses data; one that is missing only costs a copy, and is what lowering a leaked count
 * leaves behind. QEMU calls both corruptions. */
static bool check_flag(struct check *k, uint64_t *entry, const char *what, uint64_t index)
{
	uint64_t offset = *entry & QCOW2_OFFSET_MASK, c = offset >> k->s->cluster_bits;

	if (*entry & QCOW2_COMPRESSED || !offset || offset & (k->s->cluster_size - 1) ||
	    c < k->window || c >= k->window_end)
		return false;
	if (qcow2_external(k->s) && what[0] == 'd')
		return false;
	uint64_t refs = on_disk(k, c);

	if ((refs == 1) == !!(*entry & QCOW2_COPIED))
		return false;
	bool fix = k->fix & DISK_FIX_ERRORS || (k->fix & DISK_FIX_LEAKS && refs == 1);

	if (what[0] == 'd')
		found(k, "%s OFLAG_COPIED data cluster: l2_entry=%" PRIx64 " refcount=%" PRIu64,
		      fix ? "Repairing" : "ERROR", *entry, refs);
	else
		found(k,
		      "%s OFLAG_COPIED L2 cluster: l1_index=%" PRIu64 " l1_entry=%" PRIx64
		      " refcount=%" PRIu64,
		      fix ? "Repairing" : "ERROR", index, *entry, refs);
	*(fix ? &k->c->corruptions_fixed : &k->c->corruptions) += 1;
	*entry ^= QCOW2_COPIED;
	return fix;
}

static int check_flags_of(struct check *k, uint32_t index, uint8_t *buf)
{
	struct qcow2 *s = k->s;
	uint64_t l2 = s->l1[index] & QCOW2_OFFSET_MASK, entry = s->l1[index];
	bool changed = false;

	if (!l2 || l2 & (s->cluster_size - 1) || l2 >> s->cluster_bits >= k->clusters)
		return 0;
	if (check_flag(k, &entry, "L2", index)) {
		s->l1[index] = entry;
		int rc = qcow2_write_l1(s, s->l1_offset, s->l1, index & ~63u,
					MIN((index | 63) + 1, s->l1_size));

		if (rc < 0)
			return rc;
	}
	int rc = disk_pread(s->d->file, l2, buf, s->cluster_size);

	for (unsigned i = 0; i < 1u << s->l2_bits && rc == 0; i++) {
		struct qcow2_entry en = qcow2_entry_get(s, buf, i);

		if (check_flag(k, &en.entry, "data", i)) {
			qcow2_entry_put(s, buf, i, en);
			changed = true;
		}
	}
	return rc < 0 || !changed ? rc : disk_pwrite(s->d->file, l2, buf, s->cluster_size, 0);
}

static int check_flags(struct check *k)
{
	_free_ uint8_t *buf = mem_array(k->s->cluster_size, 1);
	int rc = 0;

	for (uint32_t i = 0; i < k->s->l1_size && rc == 0; i++)
		rc = check_flags_of(k, i, buf);
	return rc;
}

/* --- all counts anew --- */

static int write_new_blocks(struct check *k, uint64_t at, uint64_t blocks, uint64_t end)
{
	struct qcow2 *s = k->s;
	_free_ uint8_t *buf = mem_array(s->cluster_size, 1);
	uint64_t per_block = 1ull << s->block_bits;
	int rc = 0;

	for (uint64_t b = 0; b < blocks && rc == 0; b++) {
		memset(buf, 0, s->cluster_size);
		for (uint64_t i = 0; i < per_block && rc == 0; i++) {
			uint64_t c = b * per_block + i;

			if (c < k->clusters && (c < k->window || c >= k->window_end))
				rc = count_window(k, c / WINDOW_CLUSTERS * WINDOW_CLUSTERS);
			uint64_t value = c < k->clusters ? k->counts[c - k->window] : c < end;

			if (value > qcow2_refcount_max(s))
				return -ERANGE;
			qcow2_ref_set(buf, i, s->refcount_order, value);
		}
		if (rc == 0)
			rc = disk_pwrite(s->d->file, at + (b << s->cluster_bits), buf,
					 s->cluster_size, 0);
	}
	return rc;
}

/* The file has that many clusters: room for the counts of a window of them. */
static int set_clusters(struct check *k, uint64_t clusters)
{
	uint64_t window = MIN(clusters + 1, (uint64_t)WINDOW_CLUSTERS);

	free(k->counts);
	k->clusters = clusters;
	k->window = k->window_end = 0;
	k->slice_count = 0;
	k->counts = mem_try_array(window, sizeof(*k->counts), WINDOW_CLUSTERS * sizeof(*k->counts));
	return k->counts ? 0 : -ENOMEM;
}

/* Blocks and table of the new counts, behind the end of the file. */
static void lay_out(const struct check *k, uint64_t *ret_blocks, uint64_t *ret_table)
{
	const struct qcow2 *s = k->s;
	uint64_t blocks = 1, table = 1, per_block = 1ull << s->block_bits;

	for (;;) {
		uint64_t need = (k->clusters + blocks + table + per_block - 1) / per_block;
		uint64_t need_table = qcow2_clusters(s, need * 8);

		if (need <= blocks && need_table <= table)
			break;
		blocks = MAX(blocks, need);
		table = MAX(table, need_table);
	}
	*ret_blocks = blocks;
	*ret_table = table;
}

static void drop_cached_blocks(struct qcow2 *s)
{
	uint32_t unit = s->blocks.unit;
	uint64_t max = (uint64_t)s->blocks.max * unit;

	qcow2_cache_done(&s->blocks);
	qcow2_cache_init(&s->blocks, unit, max);
}

/* New blocks and a new table behind the end of the file, and a header that names them; the old ones are
 * not referred to any more, so they are not counted. */
static int rebuild(struct check *k)
{
	struct qcow2 *s = k->s;
	uint64_t blocks, table, *old = s->reftable, old_offset = s->reftable_offset;
	uint32_t old_size = s->reftable_size, old_clusters = s->reftable_clusters;

	lay_out(k, &blocks, &table);
	uint64_t at = k->clusters << s->cluster_bits, table_at = at + (blocks << s->cluster_bits);
	uint64_t end = k->clusters + blocks + table;

	if (table << s->cluster_bits > QCOW2_REFTABLE_BYTES_MAX)
		return -EFBIG;
	s->reftable_size = (uint32_t)(table << (s->cluster_bits - 3));
	s->reftable = mem_array(s->reftable_size, 8);
	s->reftable_clusters = 0; /* while references are counted, neither table is one */
	k->window = k->window_end = 0;
	int rc = write_new_blocks(k, at, blocks, end);

	for (uint64_t b = 0; b < blocks; b++)
		s->reftable[b] = at + (b << s->cluster_bits);
	s->reftable_offset = table_at;
	s->reftable_clusters = (uint32_t)table;
	if (rc == 0)
		rc = qcow2_write_l1(s, table_at, s->reftable, 0, s->reftable_size);
	if (rc == 0)
		rc = disk_flush(s->d->file);
	if (rc == 0)
		rc = qcow2_header_write(s);
	if (rc == 0)
		rc = disk_flush(s->d->file);
	if (rc < 0) {
		free(s->reftable);
		s->reftable = old;
		s->reftable_size = old_size;
		s->reftable_offset = old_offset;
		s->reftable_clusters = old_clusters;
		return rc;
	}
	free(old);
	s->reftable_lo = s->reftable_hi = 0;
	s->high_water = MAX(s->high_water, end << s->cluster_bits);
	s->free_hint = 0;
	s->frees.n = 0; /* what waited to be freed was not counted */
	s->byte_offset = 0;
	drop_cached_blocks(s);
	return set_clusters(k, end);
}

/* --- the whole --- */

static int walk(struct check *k, bool raising)
{
	int rc = 0;

	for (uint64_t w = 0; w < k->clusters && rc == 0; w += WINDOW_CLUSTERS) {
		if (w != k->window || k->window_end == 0 || k->clusters > WINDOW_CLUSTERS)
			rc = count_window(k, w);
		if (rc == 0)
			compare_window(k, raising);
		if (rc == 0 && !raising)
			rc = check_flags(k);
	}
	return rc;
}

/* After errors: counts that are too low cannot be raised where their block is missing. */
static int repair_errors(struct check *k)
{
	struct qcow2 *s = k->s;
	int rc = qcow2_cache_write(s, &s->blocks);

	if (rc == 0 && k->rebuild && k->fix & DISK_FIX_ERRORS) {
		found(k, "Rebuilding refcount structure");
		rc = rebuild(k);
		if (rc == 0) {
			k->c->corruptions_fixed += k->c->corruptions;
			k->c->corruptions = 0;
			k->rebuild = false;
		}
	}
	return rc;
}

static void reset(struct disk_check *c)
{
	c->corruptions = c->leaks = c->check_errors = 0;
	c->allocated_clusters = c->fragmented_clusters = c->compressed_clusters = 0;
	c->corruptions_fixed = c->leaks_fixed = c->image_end_offset = 0;
}

static int start(struct check *k)
{
	reset(k->c);
	k->first = !k->reported;
	k->slice = mem_array(k->s->blocks.unit, 1);
	int rc = set_clusters(k, qcow2_clusters(k->s, k->s->d->file->size));

	return rc < 0 ? rc : gather_tables(k);
}

static void finish(struct check *k)
{
	free(k->counts);
	free(k->slice);
	vec_done(&k->tables);
}

static int run(struct qcow2 *s, unsigned fix, struct disk_check *c)
{
	struct check k = {.s = s, .c = c, .fix = fix};
	int rc = start(&k);

	if (rc == 0)
		rc = walk(&k, true);
	if (rc == 0)
		rc = repair_errors(&k);
	if (rc == 0)
		rc = walk(&k, false);
	if (rc == 0)
		rc = qcow2_cache_write(s, &s->blocks);
	if (rc == 0)
		rc = disk_flush(s->d->file);
	c->total_clusters = qcow2_clusters(s, s->d->size);
	c->has_clusters = true;
	finish(&k);
	return rc;
}

int qcow2_rebuild_refcounts(struct qcow2 *s, unsigned order)
{
	struct disk_check c = {0};
	struct check k = {.s = s, .c = &c, .reported = true};
	unsigned old = s->refcount_order;
	int rc = start(&k);

	s->refcount_order = order;
	qcow2_geometry(s);
	if (rc == 0)
		rc = rebuild(&k);
	if (rc < 0) {
		s->refcount_order = old;
		qcow2_geometry(s);
	}
	finish(&k);
	return rc;
}

/* Bits that say that the image needs a check are wrong once it is clean. */
static int clear_bits(struct qcow2 *s, unsigned fix, const struct disk_check *c)
{
	uint64_t bits = s->incompat & (QCOW2_DIRTY | QCOW2_CORRUPT);

	if (!bits || !(fix & DISK_FIX_ERRORS) || c->corruptions || c->check_errors)
		return 0;
	return qcow2_header_features(s, s->incompat & ~bits, s->compat, s->autoclear);
}

int qcow2_check(struct disk *d, unsigned fix, struct disk_check *c, struct err *e)
{
	struct qcow2 *s = d->state;

	qcow2_begin_alone(s);
	int rc = d->flags & DISK_WRITE ? qcow2_sync_stable(s) : 0;

	if (rc == 0)
		rc = run(s, fix, c);
	if (rc == 0)
		rc = clear_bits(s, fix, c);
	qcow2_end_alone(s);
	return rc < 0 ? err_set(e, ERR_DISK_IO, rc, "Check failed: %s", strerror(-rc)) : 0;
}

int qcow2_repair(struct qcow2 *s, struct err *e)
{
	struct disk_check c = {0};
	int rc;

	co_lock(&s->lock);
	rc = run(s, DISK_FIX_LEAKS | DISK_FIX_ERRORS, &c);
	if (rc == 0 && (c.corruptions || c.check_errors))
		rc = -EIO;
	if (rc == 0)
		rc = clear_bits(s, DISK_FIX_ERRORS, &c);
	co_unlock(&s->lock);
	return rc < 0 ? err_set(e, ERR_DISK_CORRUPT, rc, "Could not repair dirty image: %s",
				strerror(-rc))
		      : 0;
}
