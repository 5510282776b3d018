/* The tables of a sparse extent.
 *
 * A grain table is a page of the cache (disk/paged.h), so both copies of a table are written with each
 * page; a table that does not exist yet is placed at the end of the file when it is first written. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/endian.h"
#include "base/mem.h"
#include "disk/vmdk_int.h"

/* --- grains --- */

static uint64_t grain_bytes(const struct vmdk_extent *x)
{
	return x->head.grain_sectors * VMDK_SECTOR;
}

int vmdk_grain_find(struct vmdk_extent *x, uint64_t index, struct block_place *ret)
{
	uint8_t raw[4];
	uint32_t sector;
	int rc = paged_get(&x->tables, index * 4, raw, 4);

	if (rc < 0)
		return rc;
	sector = get_le32(raw);
	if (!sector)
		*ret = (struct block_place){BLOCK_NONE, 0};
	else if (sector == 1 && x->head.flags & VMDK_ZERO_GRAIN)
		*ret = (struct block_place){BLOCK_ZERO, 0};
	else if ((uint64_t)sector * VMDK_SECTOR < x->end)
		*ret = (struct block_place){BLOCK_DATA, (uint64_t)sector * VMDK_SECTOR};
	else
		return -EIO;
	return 0;
}

int vmdk_grain_set(struct vmdk_extent *x, uint64_t index, const struct block_place *p)
{
	uint8_t raw[4];

	put_le32(raw, p->state == BLOCK_ZERO ? 1 : p->offset / VMDK_SECTOR);
	return paged_set(&x->tables, index * 4, raw, 4);
}

static int find(void *owner, uint64_t index, struct block_place *ret)
{
	return vmdk_grain_find(owner, index, ret);
}

static int set(void *owner, uint64_t index, const struct block_place *p)
{
	return vmdk_grain_set(owner, index, p);
}

static int reserve(void *owner, uint64_t index, unsigned count, uint64_t *ret_offset)
{
	struct vmdk_extent *x = owner;
	uint64_t begin = bits_align_up(x->end, grain_bytes(x));

	if ((begin + count * grain_bytes(x)) / VMDK_SECTOR > UINT32_MAX)
		return -EFBIG;
	x->end = begin + count * grain_bytes(x);
	*ret_offset = begin;
	return 0;
}

static const struct blocks_ops blocks_ops = {.find = find, .reserve = reserve, .set = set};

/* --- tables --- */

static int load_table(void *owner, uint64_t page, void *buf)
{
	struct vmdk_extent *x = owner;
	uint64_t offset = (uint64_t)x->directory[page] * VMDK_SECTOR;

	if (!offset)
		return 0; /* zeroed already */
	if (offset >= x->end)
		return -EIO;
	return disk_pread(x->file, offset, buf, x->tables.page_bytes);
}

/* Writes one copy of a table; places it first where there is none. */
static int store_copy(struct vmdk_extent *x, uint32_t *directory, uint64_t directory_offset,
		      const struct paged_write *w)
{
	uint64_t begin = bits_align_up(x->end, VMDK_SECTOR);
	uint8_t raw[4];
	int rc;

	if (directory[w->page])
		return disk_pwrite(x->file, (uint64_t)directory[w->page] * VMDK_SECTOR, w->data,
				   x->tables.page_bytes, 0);
	if (begin / VMDK_SECTOR > UINT32_MAX)
		return -EFBIG;
	x->end = begin + vmdk_head_table_sectors(&x->head) * VMDK_SECTOR;
	directory[w->page] = begin / VMDK_SECTOR;
	rc = disk_pwrite(x->file, begin, w->data, x->tables.page_bytes, 0);
	if (rc < 0)
		return rc;
	put_le32(raw, directory[w->page]);
	return disk_pwrite(x->file, directory_offset * VMDK_SECTOR + w->page * 4, raw, 4, 0);
}

/* The file ends behind the last grain, although only its beginning may have been written. */
static int extend_file(struct vmdk_extent *x)
{
	if (disk_size(x->file) >= x->end)
		return 0;
	return disk_truncate(x->file, x->end, false, DISK_PREALLOC_OFF, 0, NULL);
}

static int store_tables(void *owner, const struct paged_write *w, unsigned count)
{
	struct vmdk_extent *x = owner;
	int rc = 0;

	for (; count && !rc; w++, count--) {
		if (x->redundant)
			rc = store_copy(x, x->redundant, x->head.redundant_offset, w);
		if (!rc)
			rc = store_copy(x, x->directory, x->head.directory_offset, w);
	}
	return rc < 0 ? rc : extend_file(x);
}

static const struct paged_ops tables_ops = {load_table, store_tables};

int vmdk_sparse_flush(struct vmdk_extent *x)
{
	return paged_flush(&x->tables);
}

/* --- open --- */

/* "Stream-Optimized Compressed Sparse Extents": the footer is a header in the last but one sector, between
 * a marker and the end-of-stream marker. */
static int read_footer(struct vmdk_extent *x, uint64_t size, struct err *e)
{
	uint8_t raw[VMDK_MARKER_BYTES + VMDK_HEAD_BYTES];
	int rc;

	if (size < 3 * VMDK_SECTOR)
		return err_set(e, ERR_DISK_FORMAT, -EINVAL, "Failed to read footer");
	rc = disk_pread(x->file, bits_align_down(size, VMDK_SECTOR) - 3 * VMDK_SECTOR, raw,
			sizeof(raw));
	if (rc < 0)
		return err_set(e, ERR_DISK_IO, rc, "Failed to read footer: %s", strerror(-rc));
	if (get_le32(raw + 8) != 0 || get_le32(raw + 12) != VMDK_FOOTER)
		return err_set(e, ERR_DISK_FORMAT, -EINVAL, "Invalid footer");
	rc = vmdk_head_parse(raw + VMDK_MARKER_BYTES, &x->head, e);
	if (!rc && x->head.directory_offset == VMDK_GD_AT_END)
		rc = err_set(e, ERR_DISK_FORMAT, -EINVAL, "Invalid footer");
	x->head_is_footer = true;
	return rc;
}

static int read_directory(struct vmdk_extent *x, uint64_t sector, uint32_t **ret_directory,
			  struct err *e)
{
	uint32_t *table = mem_try_array(MAX(x->table_count, 1u), 4, VMDK_DIRECTORY_MAX * 4);
	int rc;

	if (!table)
		return err_set(e, ERR_NOMEM, -ENOMEM, "no memory for the grain directory");
	rc = disk_pread(x->file, sector * VMDK_SECTOR, table, (size_t)x->table_count * 4);
	if (rc < 0) {
		free(table);
		return err_set(e, ERR_DISK_IO, rc, "Could not read the grain directory: %s",
			       strerror(-rc));
	}
	for (uint32_t i = 0; i < x->table_count; i++)
		table[i] = get_le32(table + i);
	*ret_directory = table;
	return 0;
}

static int init_tables(struct vmdk_extent *x, struct err *e)
{
	int rc;

	x->tables = (struct paged){
	    .file = x->file,
	    .bytes = (uint64_t)x->table_count * x->head.table_entries * 4,
	    .page_bytes = x->head.table_entries * 4,
	    .ops = &tables_ops,
	    .owner = x,
	};
	rc = paged_init(&x->tables);
	x->blocks = (struct blocks){
	    .d = x->d,
	    .file = x->file,
	    .ops = &blocks_ops,
	    .owner = x,
	    .start = x->start,
	    .block_bytes = grain_bytes(x),
	    .run_max = 256,
	    .has_zero = x->head.flags & VMDK_ZERO_GRAIN,
	    .new_is_zeroed = disk_starts_zeroed(x->file),
	};
	blocks_init(&x->blocks);
	return rc < 0 ? err_set(e, ERR_NOMEM, rc, "no memory for the grain tables") : 0;
}

int vmdk_sparse_open(struct vmdk_extent *x, struct err *e)
{
	uint8_t raw[VMDK_HEAD_BYTES];
	uint64_t size = disk_size(x->file);
	int rc;

	if (size < sizeof(raw))
		return err_set(e, ERR_DISK_FORMAT, -EINVAL, "File is too small, not a valid image");
	rc = disk_pread(x->file, 0, raw, sizeof(raw));
	if (rc < 0)
		return err_set(e, ERR_DISK_IO, rc, "Could not read the VMDK header: %s",
			       strerror(-rc));
	rc = vmdk_head_parse(raw, &x->head, e);
	if (!rc && x->head.directory_offset == VMDK_GD_AT_END)
		rc = read_footer(x, size, e);
	if (rc < 0)
		return rc;
	if (x->head.overhead * VMDK_SECTOR > size)
		return err_set(e, ERR_DISK_FORMAT, -EINVAL,
			       "File truncated, expecting at least %" PRIu64 " bytes",
			       x->head.overhead * VMDK_SECTOR);
	x->kind = x->head.flags & VMDK_COMPRESSED ? VMDK_STREAM : VMDK_SPARSE;
	/* VMware KB 2064959: version 3 tracks changed blocks, which a writer would have to do too. */
	if (x->head.version == 3 && x->kind == VMDK_SPARSE && x->d->flags & DISK_WRITE)
		return err_set(e, ERR_DISK_READONLY, -EINVAL, "VMDK version 3 must be read only");
	x->size = x->head.capacity * VMDK_SECTOR;
	x->end = bits_align_up(size, VMDK_SECTOR);
	x->table_count = vmdk_head_tables(&x->head);
	rc = read_directory(x, x->head.directory_offset, &x->directory, e);
	if (!rc && x->head.flags & VMDK_REDUNDANT)
		rc = read_directory(x, x->head.redundant_offset, &x->redundant, e);
	return rc < 0 ? rc : init_tables(x, e);
}

void vmdk_extent_done(struct vmdk_extent *x)
{
	paged_done(&x->tables);
	free(x->directory);
	free(x->redundant);
	vmdk_stream_done(x);
	free(x->type);
	if (x->own_file)
		disk_close(x->file);
	*x = (struct vmdk_extent){0};
}
