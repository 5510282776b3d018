/* Internal snapshots: a copy of the L1 table, one more reference on everything that it leads to, and a
 * row in the snapshot table.
 *
 * A snapshot operation passes through states where a cluster's COPIED flag and its count disagree.
 * On version 3 the dirty bit is set meanwhile, so that whoever opens the image after a cut counts
 * anew. The header's switch to a new table is one write of one sector: before it the old state is
 * whole, after it the new one; what a cut leaves over is only counted too high. */
#include "disk/qcow2.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/endian.h"
#include "base/str.h"

#define ROW_BYTES   40 /* fixed part of a row */
#define EXTRA_KNOWN 24 /* VM state size, disk size, icount */

static int failed(struct err *e, int rc, const char *what)
{
	return err_set(e, rc == -ENOSPC ? ERR_DISK_FULL : ERR_DISK_IO, rc, "%s: %s", what,
		       strerror(-rc));
}

/* --- the table --- */

static void row_free(struct qcow2_snapshot *sn)
{
	free(sn->extra);
}

void qcow2_snapshots_free(struct qcow2 *s)
{
	for (uint32_t i = 0; s->snapshots && i < s->snapshot_count; i++)
		row_free(&s->snapshots[i]);
	free(s->snapshots);
	s->snapshots = NULL;
}

static int read_text(struct qcow2 *s, uint64_t at, uint16_t len, char *out, size_t size)
{
	size_t n = MIN((size_t)len, size - 1);

	out[n] = 0;
	return disk_pread(s->d->file, at, out, n);
}

static int read_extra(struct qcow2 *s, uint64_t at, uint32_t len, struct qcow2_snapshot *sn)
{
	uint8_t b[EXTRA_KNOWN] = {0};
	uint32_t known = MIN(len, (uint32_t)EXTRA_KNOWN);
	int rc = disk_pread(s->d->file, at, b, known);

	if (rc < 0)
		return rc;
	if (known >= 8)
		sn->info.vm_state_size = get_be64(b);
	sn->disk_size = known >= 16 ? get_be64(b + 8) : s->d->size;
	sn->info.icount = known >= 24 ? get_be64(b + 16) : UINT64_MAX;
	if (len <= known)
		return 0;
	sn->extra_len = len - known;
	sn->extra = mem_alloc(sn->extra_len);
	return disk_pread(s->d->file, at + known, sn->extra, sn->extra_len);
}

/* One row at `at`; *ret_next is where the next one begins. */
static int read_row(struct qcow2 *s, uint64_t at, struct qcow2_snapshot *sn, uint64_t *ret_next,
		    struct err *e)
{
	uint8_t b[ROW_BYTES];
	int rc = disk_pread(s->d->file, at, b, sizeof(b));

	if (rc < 0)
		return failed(e, rc, "Could not read snapshots");
	uint16_t id_len = get_be16(b + 12), name_len = get_be16(b + 14);
	uint32_t extra = get_be32(b + 36);

	sn->l1_offset = get_be64(b);
	sn->l1_size = get_be32(b + 8);
	sn->info.date_sec = get_be32(b + 16);
	sn->info.date_nsec = get_be32(b + 20);
	sn->info.vm_clock_nsec = get_be64(b + 24);
	sn->info.vm_state_size = get_be32(b + 32);
	if (extra > QCOW2_SNAPSHOT_EXTRA_MAX)
		return err_set(e, ERR_DISK_FORMAT, -EINVAL,
			       "Too much extra metadata in snapshot table entry");
	if (sn->l1_offset & (s->cluster_size - 1) || sn->l1_size > QCOW2_L1_BYTES_MAX / 8 ||
	    sn->l1_offset > INT64_MAX - QCOW2_L1_BYTES_MAX)
		return err_set(e, ERR_DISK_FORMAT, -EINVAL,
			       "Snapshot L1 table offset or size invalid");
	at += ROW_BYTES;
	rc = read_extra(s, at, extra, sn);
	at += extra;
	if (rc == 0)
		rc = read_text(s, at, id_len, sn->info.id, sizeof(sn->info.id));
	at += id_len;
	if (rc == 0)
		rc = read_text(s, at, name_len, sn->info.name, sizeof(sn->info.name));
	*ret_next = bits_align_up(at + name_len, 8);
	return rc < 0 ? failed(e, rc, "Could not read snapshots") : 0;
}

int qcow2_snapshots_load(struct qcow2 *s, struct err *e)
{
	uint32_t count = s->snapshot_count;
	uint64_t at = s->snapshots_offset;
	int rc = 0;

	s->snapshots = mem_array(count + 1, sizeof(*s->snapshots));
	s->snapshot_count = 0;
	for (uint32_t i = 0; i < count && rc == 0; i++) {
		s->snapshot_count++;
		rc = read_row(s, at, &s->snapshots[i], &at, e);
		if (rc == 0 && at - s->snapshots_offset > QCOW2_SNAPSHOTS_BYTES_MAX)
			rc = err_set(e, ERR_DISK_FORMAT, -EFBIG, "Snapshot table is too big");
	}
	s->snapshots_bytes = at - s->snapshots_offset;
	return rc;
}

static size_t row_len(const struct qcow2_snapshot *sn)
{
	return bits_align_up(ROW_BYTES + EXTRA_KNOWN + sn->extra_len + strlen(sn->info.id) +
				 strlen(sn->info.name),
			     8);
}

static void encode_row(const struct qcow2_snapshot *sn, uint8_t *b)
{
	size_t id_len = strlen(sn->info.id), name_len = strlen(sn->info.name);
	uint64_t vm = sn->info.vm_state_size;

	put_be64(b, sn->l1_offset);
	put_be32(b + 8, sn->l1_size);
	put_be16(b + 12, (uint16_t)id_len);
	put_be16(b + 14, (uint16_t)name_len);
	put_be32(b + 16, sn->info.date_sec);
	put_be32(b + 20, sn->info.date_nsec);
	put_be64(b + 24, sn->info.vm_clock_nsec);
	put_be32(b + 32, vm <= UINT32_MAX ? (uint32_t)vm : 0);
	put_be32(b + 36, EXTRA_KNOWN + sn->extra_len);
	b += ROW_BYTES;
	put_be64(b, vm);
	put_be64(b + 8, sn->disk_size);
	put_be64(b + 16, sn->info.icount);
	b += EXTRA_KNOWN;
	if (sn->extra_len)
		memcpy(b, sn->extra, sn->extra_len);
	b += sn->extra_len;
	memcpy(b, sn->info.id, id_len);
	memcpy(b + id_len, sn->info.name, name_len);
}

int qcow2_snapshots_write(struct qcow2 *s)
{
	uint64_t old = s->snapshots_offset, old_bytes = s->snapshots_bytes, len = 0, offset = 0;
	uint8_t header[12];
	bool fresh;
	int rc = 0;

	for (uint32_t i = 0; i < s->snapshot_count; i++)
		len += row_len(&s->snapshots[i]);
	if (len > QCOW2_SNAPSHOTS_BYTES_MAX)
		return -EFBIG;
	if (len) {
		_free_ uint8_t *b = mem_array(len, 1);
		uint64_t at = 0;

		for (uint32_t i = 0; i < s->snapshot_count; i++) {
			encode_row(&s->snapshots[i], b + at);
			at += row_len(&s->snapshots[i]);
		}
		rc = qcow2_alloc(s, qcow2_clusters(s, len), &offset, &fresh);
		if (rc < 0)
			return rc;
		rc = disk_pwrite(s->d->file, offset, b, len, 0);
	}
	if (rc == 0)
		rc = qcow2_sync_stable(s);
	put_be32(header, s->snapshot_count);
	put_be64(header + 4, offset);
	if (rc == 0)
		rc = qcow2_header_poke(s, 60, header, sizeof(header));
	if (rc < 0) {
		if (len)
			qcow2_free_now(s, offset, qcow2_clusters(s, len), false);
		return rc;
	}
	s->snapshots_offset = offset;
	s->snapshots_bytes = len;
	if (old_bytes)
		qcow2_free_later(s, old, qcow2_clusters(s, old_bytes), false);
	return 0;
}

/* --- references of a tree --- */

static int load_table(struct qcow2 *s, uint64_t offset, uint32_t entries, uint64_t **ret_l1)
{
	uint64_t *l1 = mem_try_array(bits_align_up(MAX(entries, 1u), 64), 8, QCOW2_L1_BYTES_MAX);
	int rc = l1 ? disk_pread(s->d->file, offset, l1, entries * 8ull) : -ENOMEM;

	for (uint32_t i = 0; i < entries && rc == 0; i++)
		l1[i] = be64toh(l1[i]);
	if (rc < 0)
		free(l1);
	else
		*ret_l1 = l1;
	return rc;
}

static int count_entry(struct qcow2 *s, struct qcow2_entry en, uint64_t guest, int delta)
{
	int rc = qcow2_entry_check(s, en, guest);

	if (rc < 0)
		return rc;
	if (en.entry & QCOW2_COMPRESSED) {
		uint64_t offset, len;

		qcow2_compressed_range(s, en.entry, &offset, &len);
		uint64_t first = bits_align_down(offset, s->cluster_size), end = offset + len;

		return delta < 0 ? qcow2_free_now(s, first, qcow2_clusters(s, end - first), true)
				 : qcow2_refcount_add(s, first, qcow2_clusters(s, end - first), 1);
	}
	uint64_t offset = en.entry & QCOW2_OFFSET_MASK;

	if (!offset || qcow2_external(s))
		return 0;
	return delta < 0 ? qcow2_free_now(s, offset, 1, true) : qcow2_refcount_add(s, offset, 1, 1);
}

/* Counts what a table and its clusters have up or down. */
static int count_l2(struct qcow2 *s, uint64_t l2, uint64_t guest, int delta)
{
	unsigned per_slice = 1u << s->slice_bits;
	int rc = 0;

	for (uint64_t at = l2; at < l2 + s->cluster_size && rc == 0; at += s->l2.unit) {
		_free_ uint8_t *copy = mem_alloc(s->l2.unit);
		uint8_t *slice;

		/* Counting waits and may move the cache. */
		rc = qcow2_cache_get(s, &s->l2, at, &slice);
		if (rc == 0)
			memcpy(copy, slice, s->l2.unit);
		for (unsigned i = 0; i < per_slice && rc == 0; i++, guest += s->cluster_size) {
			struct qcow2_entry en = qcow2_entry_get(s, copy, i);

			if (en.entry)
				rc = count_entry(s, en, guest, delta);
		}
	}
	if (rc < 0)
		return rc;
	return delta < 0 ? qcow2_free_now(s, l2, 1, false) : qcow2_refcount_add(s, l2, 1, 1);
}

/* Everything below an L1 table; the table itself not. */
static int count_tree(struct qcow2 *s, const uint64_t *l1, uint32_t entries, int delta)
{
	int rc = 0;

	for (uint32_t i = 0; i < entries && rc == 0; i++) {
		uint64_t l2 = l1[i] & QCOW2_OFFSET_MASK;

		if (l2 & (s->cluster_size - 1))
			rc = qcow2_corrupt(s, "L2 table offset %#llx unaligned (L1 index: %#x)",
					   (unsigned long long)l2, i);
		else if (l2)
			rc = count_l2(s, l2, (uint64_t)i << (s->l2_bits + s->cluster_bits), delta);
	}
	return rc;
}

/* --- COPIED flags --- */

static int fix_entry(struct qcow2 *s, uint64_t *entry, bool *ret_changed)
{
	uint64_t offset = *entry & QCOW2_OFFSET_MASK, count = 0;

	if (*entry & QCOW2_COMPRESSED || !offset || qcow2_external(s))
		return 0;
	int rc = qcow2_refcount(s, offset >> s->cluster_bits, &count);
	uint64_t fixed = count == 1 ? *entry | QCOW2_COPIED : *entry & ~QCOW2_COPIED;

	*ret_changed = fixed != *entry;
	*entry = fixed;
	return rc;
}

static int fix_slice(struct qcow2 *s, uint64_t at)
{
	_free_ uint8_t *copy = mem_alloc(s->l2.unit);
	uint8_t *slice;
	bool any = false;
	int rc = qcow2_cache_get(s, &s->l2, at, &slice);

	if (rc == 0)
		memcpy(copy, slice, s->l2.unit);
	for (unsigned i = 0; i < 1u << s->slice_bits && rc == 0; i++) {
		struct qcow2_entry en = qcow2_entry_get(s, copy, i);
		bool changed = false;

		rc = fix_entry(s, &en.entry, &changed);
		if (changed)
			qcow2_entry_put(s, copy, i, en);
		any |= changed;
	}
	if (rc < 0 || !any)
		return rc;
	rc = qcow2_cache_get(s, &s->l2, at, &slice);
	if (rc < 0)
		return rc;
	memcpy(slice, copy, s->l2.unit);
	qcow2_cache_dirty(&s->l2, at);
	return 0;
}

/* Makes the flags of the active tables what the counts say. */
static int fix_flags(struct qcow2 *s)
{
	int rc = 0;

	for (uint32_t i = 0; i < s->l1_size && rc == 0; i++) {
		uint64_t l2 = s->l1[i] & QCOW2_OFFSET_MASK;
		bool changed = false;

		if (!l2)
			continue;
		for (uint64_t at = l2; at < l2 + s->cluster_size && rc == 0; at += s->l2.unit)
			rc = fix_slice(s, at);
		if (rc == 0)
			rc = fix_entry(s, &s->l1[i], &changed);
		if (changed) {
			s->l1_lo = s->l1_lo < s->l1_hi ? MIN(s->l1_lo, i) : i;
			s->l1_hi = MAX(s->l1_hi, i + 1);
		}
	}
	return rc;
}

/* --- operations --- */

/* Alone with the image, everything on disk, and the dirty bit set where the version has one. */
static int begin(struct qcow2 *s)
{
	qcow2_begin_alone(s);
	int rc = qcow2_bitmaps_store(s);

	if (rc == 0)
		rc = qcow2_sync_stable(s);
	if (rc == 0 && s->version >= 3 && !(s->incompat & QCOW2_DIRTY))
		rc = qcow2_header_features(s, s->incompat | QCOW2_DIRTY, s->compat, s->autoclear);
	return rc;
}

static int end(struct qcow2 *s, int rc)
{
	if (rc == 0)
		rc = qcow2_sync_stable(s);
	/* Lazy images keep the bit until they are closed. */
	if (rc == 0 && s->version >= 3 && !s->lazy && s->incompat & QCOW2_DIRTY)
		rc = qcow2_header_features(s, s->incompat & ~(uint64_t)QCOW2_DIRTY, s->compat,
					   s->autoclear);
	qcow2_end_alone(s);
	return rc;
}

int qcow2_snapshot_list(struct disk *d, struct disk_snapshot **ret_list)
{
	struct qcow2 *s = d->state;
	struct disk_snapshot *list = mem_array(s->snapshot_count + 1, sizeof(*list));

	for (uint32_t i = 0; i < s->snapshot_count; i++)
		list[i] = s->snapshots[i].info;
	*ret_list = list;
	return (int)s->snapshot_count;
}

static struct qcow2_snapshot *find_by(struct qcow2 *s, const char *id, const char *name)
{
	for (uint32_t i = 0; i < s->snapshot_count; i++)
		if ((id && str_eq(s->snapshots[i].info.id, id)) ||
		    (name && str_eq(s->snapshots[i].info.name, name)))
			return &s->snapshots[i];
	return NULL;
}

static struct qcow2_snapshot *find(struct qcow2 *s, const char *id_or_name)
{
	struct qcow2_snapshot *sn = find_by(s, id_or_name, NULL);

	return sn ? sn : find_by(s, NULL, id_or_name);
}

static void new_id(const struct qcow2 *s, struct disk_snapshot *info)
{
	unsigned long max = 0;

	for (uint32_t i = 0; i < s->snapshot_count; i++)
		max = MAX(max, strtoul(s->snapshots[i].info.id, NULL, 10));
	snprintf(info->id, sizeof(info->id), "%lu", max + 1);
}

static int copy_l1(struct qcow2 *s, const uint64_t *l1, uint32_t entries, uint64_t *ret_offset)
{
	uint64_t clusters = qcow2_clusters(s, MAX(entries, 1u) * 8ull), offset;
	bool fresh;
	int rc = qcow2_alloc(s, clusters, &offset, &fresh);

	if (rc < 0)
		return rc;
	if (!fresh)
		rc = disk_write_zeroes(s->d->file, offset, clusters << s->cluster_bits, 0);
	if (rc == 0)
		rc = qcow2_write_l1(s, offset, l1, 0, entries);
	if (rc < 0)
		qcow2_free_now(s, offset, clusters, false);
	else
		*ret_offset = offset;
	return rc;
}

/* After the references: the row and the table that the header names. */
static int create_row(struct qcow2 *s, const struct disk_snapshot *info)
{
	struct qcow2_snapshot sn = {.info = *info, .l1_size = s->l1_size, .disk_size = s->d->size};
	_free_ uint64_t *plain = mem_array(bits_align_up(MAX(s->l1_size, 1u), 64), 8);

	for (uint32_t i = 0; i < s->l1_size; i++)
		plain[i] = s->l1[i] & ~QCOW2_COPIED;
	int rc = copy_l1(s, plain, s->l1_size, &sn.l1_offset);

	if (rc < 0)
		return rc;
	s->snapshots = mem_grow(s->snapshots, s->snapshot_count + 2, sizeof(*s->snapshots));
	s->snapshots[s->snapshot_count++] = sn;
	rc = qcow2_snapshots_write(s);
	if (rc < 0) {
		s->snapshot_count--;
		qcow2_free_now(s, sn.l1_offset, qcow2_clusters(s, MAX(sn.l1_size, 1u) * 8ull),
			       false);
	}
	return rc;
}

/* The machine state is the snapshot's now; the disk would only carry it along. */
static int forget_vmstate(struct qcow2 *s)
{
	uint64_t at = qcow2_vmstate_offset(s),
		 end = (uint64_t)s->l1_size << (s->l2_bits + s->cluster_bits);

	return at < end ? qcow2_unmap(s, at, end - at, QCOW2_UNMAP_FORGET) : 0;
}

int qcow2_snapshot_create(struct disk *d, struct disk_snapshot *info, struct err *e)
{
	struct qcow2 *s = d->state;

	if (qcow2_external(s))
		return err_set(e, ERR_UNSUPPORTED, -ENOTSUP,
			       "Snapshots are not possible with an external data file");
	if (s->snapshot_count >= QCOW2_SNAPSHOTS_MAX)
		return err_set(e, ERR_DISK_FORMAT, -EFBIG, "Too many snapshots");
	if (!*info->id)
		new_id(s, info);
	else if (find_by(s, info->id, NULL))
		return err_set(e, ERR_DISK_OPTION, -EEXIST, "Snapshot '%s' exists", info->id);
	int rc = begin(s);

	if (rc == 0)
		rc = count_tree(s, s->l1, s->l1_size, 1);
	if (rc == 0)
		rc = fix_flags(s);
	if (rc == 0)
		rc = qcow2_sync_stable(s);
	if (rc == 0)
		rc = create_row(s, info);
	rc = end(s, rc);
	if (rc == 0)
		rc = forget_vmstate(s);
	return rc < 0 ? failed(e, rc, "Could not create snapshot") : 0;
}

/* The snapshot's table becomes the active one, as a copy with the disk's present size. */
static int switch_to(struct qcow2 *s, const struct qcow2_snapshot *sn, uint64_t *sn_l1)
{
	uint32_t entries = MAX(s->l1_size, sn->l1_size), old_size = s->l1_size;
	uint64_t *l1 = mem_array(bits_align_up(MAX(entries, 1u), 64), 8), *old = s->l1, offset;
	uint64_t old_offset = s->l1_offset;

	memcpy(l1, sn_l1, sn->l1_size * 8ull);
	int rc = count_tree(s, sn_l1, sn->l1_size, 1);

	for (uint32_t i = 0; i < entries; i++)
		l1[i] &= ~QCOW2_COPIED;
	if (rc == 0)
		rc = copy_l1(s, l1, entries, &offset);
	if (rc == 0)
		rc = qcow2_sync_stable(s);
	if (rc == 0)
		rc = qcow2_header_set_l1(s, offset, entries);
	if (rc < 0) {
		free(l1);
		return rc;
	}
	s->l1 = l1;
	s->l1_offset = offset;
	s->l1_size = entries;
	s->l1_lo = s->l1_hi = 0;
	rc = count_tree(s, old, old_size, -1);
	if (rc == 0)
		rc = qcow2_free_now(s, old_offset, qcow2_clusters(s, MAX(old_size, 1u) * 8ull),
				    false);
	free(old);
	return rc < 0 ? rc : fix_flags(s);
}

int qcow2_snapshot_apply(struct disk *d, const char *id_or_name, struct err *e)
{
	struct qcow2 *s = d->state;
	const struct qcow2_snapshot *sn = find(s, id_or_name);
	_free_ uint64_t *l1 = NULL;

	if (!sn)
		return err_set(e, ERR_NOT_FOUND, -ENOENT, "Can't find snapshot");
	if (sn->disk_size != d->size) {
		int rc = disk_truncate(d, sn->disk_size, false, DISK_PREALLOC_OFF, 0, e);

		if (rc < 0)
			return rc;
	}
	int rc = begin(s);

	if (rc == 0)
		rc = load_table(s, sn->l1_offset, sn->l1_size, &l1);
	if (rc == 0)
		rc = switch_to(s, sn, l1);
	rc = end(s, rc);
	s->inflated.entry = 0;
	return rc < 0 ? failed(e, rc, "Could not apply snapshot") : 0;
}

int qcow2_snapshot_delete(struct disk *d, const char *id_or_name, struct err *e)
{
	struct qcow2 *s = d->state;
	struct qcow2_snapshot *found = find(s, id_or_name), sn;
	_free_ uint64_t *l1 = NULL;

	if (!found)
		return err_set(e, ERR_NOT_FOUND, -ENOENT, "Can't find the snapshot");
	int rc = begin(s);

	if (rc == 0)
		rc = load_table(s, found->l1_offset, found->l1_size, &l1);
	if (rc == 0) {
		size_t index = (size_t)(found - s->snapshots);

		sn = *found;
		memmove(found, found + 1, (s->snapshot_count - index - 1) * sizeof(*found));
		s->snapshot_count--;
		rc = qcow2_snapshots_write(s);
		if (rc < 0) {
			memmove(s->snapshots + index + 1, s->snapshots + index,
				(s->snapshot_count - index) * sizeof(*found));
			s->snapshots[index] = sn;
			s->snapshot_count++;
		} else {
			row_free(&sn);
			rc = count_tree(s, l1, sn.l1_size, -1);
			if (rc == 0)
				rc = qcow2_free_now(s, sn.l1_offset,
						    qcow2_clusters(s, MAX(sn.l1_size, 1u) * 8ull),
						    false);
			if (rc == 0)
				rc = fix_flags(s);
		}
	}
	rc = end(s, rc);
	return rc < 0 ? failed(e, rc, "Could not delete snapshot") : 0;
}

int qcow2_snapshot_show(struct disk *d, const char *id_or_name, struct err *e)
{
	struct qcow2 *s = d->state;
	const struct qcow2_snapshot *sn = find(s, id_or_name);
	uint64_t *l1;

	if (!sn)
		return err_set(e, ERR_NOT_FOUND, -ENOENT, "Can't find snapshot");
	int rc = load_table(s, sn->l1_offset, sn->l1_size, &l1);

	if (rc < 0)
		return failed(e, rc, "Could not read snapshot");
	free(s->l1);
	s->l1 = l1;
	s->l1_size = sn->l1_size;
	s->l1_offset = sn->l1_offset;
	s->inflated.entry = 0;
	d->size = sn->disk_size;
	return 0;
}

/* --- machine state: guest offsets behind the disk --- */

uint64_t qcow2_vmstate_offset(const struct qcow2 *s)
{
	uint64_t per_l1 = 1ull << (s->l2_bits + s->cluster_bits);

	return bits_align_up(s->d->size, per_l1);
}

static bool vmstate_fits(const struct qcow2 *s, uint64_t offset, size_t len)
{
	uint64_t end;

	return !__builtin_add_overflow(qcow2_vmstate_offset(s) + offset, len, &end) &&
	       end <= INT64_MAX;
}

int qcow2_vmstate_pread(struct disk *d, uint64_t offset, void *buf, size_t len)
{
	struct qcow2 *s = d->state;
	DISK_VEC(v, buf, len);

	return vmstate_fits(s, offset, len)
		   ? qcow2_preadv(d, qcow2_vmstate_offset(s) + offset, len, &v, 0)
		   : -EINVAL;
}

int qcow2_vmstate_pwrite(struct disk *d, uint64_t offset, const void *buf, size_t len)
{
	struct qcow2 *s = d->state;
	uint64_t at = qcow2_vmstate_offset(s) + offset,
		 per_l1 = 1ull << (s->l2_bits + s->cluster_bits);
	DISK_VEC(v, buf, len);

	if (!vmstate_fits(s, offset, len))
		return -EINVAL;
	co_lock(&s->lock);
	int rc = qcow2_grow_l1(s, (at + len + per_l1 - 1) / per_l1);

	co_unlock(&s->lock);
	return rc < 0 ? rc : qcow2_pwritev(d, at, len, &v, 0, 0);
}
