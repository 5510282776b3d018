/* Resizing and checking VMDKs. What a cut leaves has the old size or the new one: extents grow before the
 * descriptor says so, and shrink after it. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/endian.h"
#include "base/mem.h"
#include "base/str.h"
#include "disk/report.h"
#include "disk/vmdk_int.h"

/* --- a sparse extent --- */

/* A directory of `count` tables at the end of the file: ours, then new empty tables, which follow it.
 * Replaces *directory. */
static int grow_directory(struct vmdk_extent *x, uint32_t **directory, uint64_t *ret_sector,
			  uint32_t count)
{
	uint64_t begin = bits_align_up(x->end, VMDK_SECTOR) / VMDK_SECTOR;
	uint64_t table = vmdk_head_table_sectors(&x->head);
	uint64_t first = begin + vmdk_head_directory_sectors(count);
	uint64_t end = first + (count - x->table_count) * table;
	uint32_t *new = mem_array(count, 4);
	_free_ uint8_t *raw = mem_array(count, 4);
	int rc;

	memcpy(new, *directory, (size_t)x->table_count * 4);
	for (uint32_t i = x->table_count; i < count; i++)
		new[i] = first + (i - x->table_count) * table;
	for (uint32_t i = 0; i < count; i++)
		put_le32(raw + (size_t)i * 4, new[i]);
	free(*directory);
	*directory = new;
	if (end > UINT32_MAX)
		return -EFBIG;
	x->end = end * VMDK_SECTOR;
	*ret_sector = begin;
	rc = disk_write_zeroes(x->file, begin * VMDK_SECTOR, (end - begin) * VMDK_SECTOR, 0);
	return rc < 0 ? rc : disk_pwrite(x->file, begin * VMDK_SECTOR, raw, (size_t)count * 4, 0);
}

/* Forgets grains behind the end. */
static int drop_grains(struct vmdk_extent *x, uint64_t size)
{
	uint64_t grain = x->head.grain_sectors * VMDK_SECTOR;
	uint64_t per_table = x->head.table_entries;
	uint64_t end = (x->size + grain - 1) / grain;
	struct block_place none = {BLOCK_NONE, 0}, p;
	int rc = 0;

	for (uint64_t i = (size + grain - 1) / grain; i < end && !rc; i++) {
		if (!(i % per_table) && !x->directory[i / per_table]) {
			i += per_table - 1;
			continue;
		}
		rc = vmdk_grain_find(x, i, &p);
		if (!rc && p.state != BLOCK_NONE)
			rc = vmdk_grain_set(x, i, &none);
		if (!rc && p.state == BLOCK_DATA && x->kind == VMDK_SPARSE)
			rc = disk_discard(x->file, p.offset, grain);
	}
	return rc < 0 ? rc : vmdk_sparse_flush(x);
}

static int zero_tail(struct vmdk_extent *x, uint64_t size)
{
	uint64_t grain = x->head.grain_sectors * VMDK_SECTOR;
	uint64_t end = MIN(bits_align_up(size, grain), x->size);

	if (x->kind == VMDK_SPARSE)
		return blocks_zero_tail(&x->blocks, x->start + size);
	return size < end ? vmdk_stream_write(x, x->start + size, end - size, NULL, 0) : 0;
}

static int write_head(struct vmdk_extent *x)
{
	uint8_t raw[VMDK_HEAD_BYTES];
	int rc = disk_flush(x->file);

	vmdk_head_build(&x->head, raw);
	if (!rc)
		rc = disk_pwrite(x->file, 0, raw, sizeof(raw), 0);
	x->head_is_footer = false;
	return rc < 0 ? rc : disk_flush(x->file);
}

static int resize_sparse(struct vmdk_extent *x, uint64_t size)
{
	struct vmdk_head new = x->head;
	uint32_t count;
	int rc = zero_tail(x, MIN(size, x->size));

	new.capacity = size / VMDK_SECTOR;
	count = vmdk_head_tables(&new);
	if (!rc)
		rc = vmdk_sparse_flush(x);
	if (!rc && size < x->size)
		rc = drop_grains(x, size);
	if (!rc && count > x->table_count && x->redundant)
		rc = grow_directory(x, &x->redundant, &new.redundant_offset, count);
	if (!rc && count > x->table_count)
		rc = grow_directory(x, &x->directory, &new.directory_offset, count);
	if (rc < 0)
		return rc;
	x->head = new;
	x->size = size;
	x->table_count = count;
	rc = write_head(x);
	paged_done(&x->tables);
	x->tables.bytes = (uint64_t)count * new.table_entries * 4;
	return rc < 0 ? rc : paged_init(&x->tables);
}

static int resize_extent(struct vmdk_extent *x, uint64_t size)
{
	int rc;

	if (x->kind == VMDK_FLAT) {
		rc = disk_truncate(x->file, x->flat_offset + size, true, DISK_PREALLOC_OFF,
				   DISK_TRUNCATE_ZERO, NULL);
		if (!rc)
			x->size = size;
		return rc;
	}
	return resize_sparse(x, size);
}

/* --- images of several files --- */

/* One more extent file, numbered after those there are. */
static int append_extent(struct vmdk *s, uint64_t size, struct err *e)
{
	const struct vmdk_extent *last = &s->extents[s->extent_count - 1];
	const char *filename = disk_filename(s->d->file);
	bool flat = last->kind == VMDK_FLAT;
	_free_ char *name = vmdk_extent_name(filename, flat, s->extent_count + 1);
	struct vmdk_desc_extent line = {.writable = true, .sectors = size / VMDK_SECTOR};
	struct vmdk_extent x = {.d = s->d,
				.start = last->start + last->size,
				.size = size,
				.kind = last->kind,
				.own_file = true,
				.type = mem_strdup(last->type)};
	int rc = vmdk_create_extent(s->d->ctx, filename, name, flat,
				    last->head.flags & VMDK_ZERO_GRAIN, size, NULL, e);

	if (!rc)
		rc = disk_open_child(s->d, NULL, "extent", name, NULL, &x.file, e);
	if (rc < 0) {
		free(x.type);
		return rc;
	}
	strcpy(line.type, flat ? "FLAT" : "SPARSE");
	line.name = mem_strdup(name);
	s->desc.extents =
	    mem_grow(s->desc.extents, s->desc.extent_count + 1, sizeof(*s->desc.extents));
	s->desc.extents[s->desc.extent_count++] = line;
	s->extents = mem_grow(s->extents, s->extent_count + 1, sizeof(*s->extents));
	/* The extents have moved, and tables and blocks of sparse ones point to them. */
	for (unsigned i = 0; i < s->extent_count; i++)
		s->extents[i].tables.owner = s->extents[i].blocks.owner = &s->extents[i];
	for (unsigned i = 0; i < s->extent_count; i++)
		blocks_init(&s->extents[i].blocks);
	s->extents[s->extent_count] = x;
	return flat ? (s->extent_count++, 0) : vmdk_sparse_open(&s->extents[s->extent_count++], e);
}

static int grow_split(struct vmdk *s, uint64_t size, uint64_t unit, struct err *e)
{
	unsigned last = s->extent_count - 1;
	struct vmdk_extent *x = &s->extents[last];
	uint64_t end = x->start + x->size;
	uint64_t n = MIN(size - x->start, MAX(unit, x->size));
	int rc = 0;

	if (n > x->size) {
		rc = resize_extent(x, n);
		s->desc.extents[last].sectors = n / VMDK_SECTOR;
		end = x->start + n;
	}
	for (; end < size && !rc; end += n) {
		if (s->extent_count == VMDK_EXTENTS_MAX)
			return -EFBIG;
		n = MIN(size - end, unit);
		rc = append_extent(s, n, e);
	}
	return rc < 0 ? rc : vmdk_write_desc(s);
}

static int shrink_split(struct vmdk *s, uint64_t size)
{
	const char *filename = disk_filename(s->d->file);
	unsigned keep = s->extent_count, count = s->extent_count;
	struct vmdk_extent *x;
	int rc;

	while (keep > 1 && s->extents[keep - 1].start >= size)
		keep--;
	x = &s->extents[keep - 1];
	/* Names first: a descriptor must not name what is gone. */
	s->desc.extents[keep - 1].sectors = (size - x->start) / VMDK_SECTOR;
	for (unsigned i = keep; i < count; i++)
		vmdk_extent_done(&s->extents[i]);
	s->desc.extent_count = s->extent_count = keep;
	rc = vmdk_write_desc(s);
	if (!rc)
		rc = disk_flush(s->d->file);
	for (unsigned i = keep; i < count; i++) {
		if (!rc)
			vmdk_remove_extent(filename, s->desc.extents[i].name);
		free(s->desc.extents[i].name);
	}
	return rc < 0 ? rc : resize_extent(x, size - x->start);
}

static int resize(struct vmdk *s, uint64_t size, struct err *e)
{
	bool split = str_after(s->desc.create_type, "twoGbMaxExtent") != NULL;
	int rc;

	if (s->extent_count == 1 && !s->extents[0].own_file) {
		s->desc.extents[0].sectors = size / VMDK_SECTOR;
		rc = size > s->d->size ? resize_sparse(&s->extents[0], size) : 0;
		if (!rc)
			rc = vmdk_write_desc(s);
		if (!rc && size < s->d->size)
			rc = resize_sparse(&s->extents[0], size);
		return rc;
	}
	if (!split && !str_eq(s->desc.create_type, "monolithicFlat"))
		return -ENOTSUP;
	if (!s->extent_count)
		return -ENOTSUP;
	if (size < s->d->size)
		return shrink_split(s, size);
	return grow_split(s, size, split ? VMDK_SPLIT_BYTES : UINT64_MAX, e);
}

int vmdk_truncate(struct disk *d, uint64_t size, bool exact, enum disk_prealloc prealloc,
		  unsigned flags, struct err *e)
{
	struct vmdk *s = d->state;
	uint64_t aligned = bits_align_up(size, VMDK_SECTOR), old = d->size;
	struct err ours = {0};
	int rc;

	if (prealloc != DISK_PREALLOC_OFF)
		return err_set(e, ERR_UNSUPPORTED, -ENOTSUP,
			       "VMDK images cannot be resized with preallocation");
	if (aligned / VMDK_SECTOR / 128 / 512 >= VMDK_DIRECTORY_MAX)
		return err_set(e, ERR_DISK_OPTION, -EFBIG, "a VMDK has at most 32 TiB");
	if (aligned == old)
		return 0;
	rc = resize(s, aligned, &ours);
	if (rc == -ENOTSUP)
		return err_set(e, ERR_UNSUPPORTED, rc, "VMDKs of type '%s' cannot be resized",
			       s->desc.create_type);
	if (rc < 0)
		return err_set(e, ERR_DISK_IO, rc, "resizing the VMDK failed: %s",
			       *ours.msg ? ours.msg : strerror(-rc));
	d->size = aligned;
	/* With a parent behind it, what is added would show the parent. */
	if (d->backing && aligned > old)
		rc = disk_write_zeroes(d, old, aligned - old, 0);
	return rc;
}

/* --- check --- */

/* Memory for which sectors of an extent's file hold grains: a bit per grain of 64 KiB, up to 16 TiB. */
#define USED_MAX_BYTES (32u << 20)

struct used {
	uint8_t *bits;
	uint64_t count, unit;
};

/* Marks a grain's room; true where it overlaps another's. */
static bool mark(struct used *u, uint64_t offset)
{
	uint64_t i = offset / u->unit;
	bool taken;

	if (i >= u->count)
		return false;
	taken = u->bits[i / 8] & 1 << i % 8;
	u->bits[i / 8] |= 1 << i % 8;
	return taken;
}

static int check_grain(struct vmdk_extent *x, uint64_t index, unsigned fix, struct used *u,
		       struct disk_check *c)
{
	struct block_place p, none = {BLOCK_NONE, 0};
	uint64_t offset = x->start + index * x->head.grain_sectors * VMDK_SECTOR;
	int rc = vmdk_grain_find(x, index, &p);

	if (!rc && p.state != BLOCK_DATA)
		return 0;
	if (!rc && !mark(u, p.offset)) {
		c->allocated_clusters++;
		c->compressed_clusters += x->kind == VMDK_STREAM;
		return 0;
	}
	if (rc == -EIO)
		report_found(c,
			     "ERROR: the grain at offset %" PRIu64
			     " lies behind the end of the extent's file",
			     offset);
	else if (!rc)
		report_found(c,
			     "ERROR: the grain at offset %" PRIu64 " lies where another one does",
			     offset);
	else
		return rc;
	c->corruptions++;
	if (!(fix & DISK_FIX_ERRORS))
		return 0;
	c->corruptions_fixed++;
	return vmdk_grain_set(x, index, &none);
}

static int check_extent(struct vmdk_extent *x, unsigned fix, struct disk_check *c)
{
	uint64_t grain = x->head.grain_sectors * VMDK_SECTOR;
	uint64_t grains = (x->size + grain - 1) / grain;
	struct used u = {.unit = x->kind == VMDK_STREAM ? VMDK_SECTOR : grain};
	int rc = 0;

	/* Grains of an image that was written in order lie at multiples of their size. */
	u.count = x->end / u.unit + 1;
	u.bits = mem_try_array(u.count / 8 + 1, 1, USED_MAX_BYTES);
	if (!u.bits)
		return -ENOMEM;
	for (uint64_t i = 0; i < grains && !rc; i++) {
		if (!(i % x->head.table_entries) && !x->directory[i / x->head.table_entries]) {
			i += x->head.table_entries - 1;
			continue;
		}
		rc = check_grain(x, i, fix, &u, c);
	}
	free(u.bits);
	c->total_clusters += grains;
	return rc;
}

int vmdk_check(struct disk *d, unsigned fix, struct disk_check *c, struct err *e)
{
	struct vmdk *s = d->state;
	int rc = 0;

	for (unsigned i = 0; i < s->extent_count && !rc; i++)
		if (s->extents[i].directory)
			rc = check_extent(&s->extents[i], fix, c);
	c->has_clusters = c->total_clusters != 0;
	return rc < 0 ? err_set(e, ERR_DISK_IO, rc, "checking the VMDK failed: %s", strerror(-rc))
		      : 0;
}
