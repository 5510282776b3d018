/* VirtualBox disk images.
 *
 * Blocks are numbered in the file from 0 without a hole, and the header counts them: another writer
 * takes that count as the number of the next block. So the count reaches the file before the entries
 * of new blocks do, and what a cut leaves is a count that is too high: leaked blocks, which check
 * reclaims.
 *
 * Growing past the room of the map moves the map: the first blocks go to the end of the file, a new
 * map is written where they were, and the header, one sector, switches to both at once. */
#include "disk/vdi.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/endian.h"
#include "base/mem.h"
#include "disk/blocks.h"
#include "disk/paged.h"
#include "disk/report.h"
#include "disk/uuid.h"
#include "disk/vdi_head.h"

#define BLOCK_BYTES (1u << 20)
#define SECTOR      512
/* Memory for who owns which block, when blocks are moved or checked: 16 Mi blocks. */
#define OWNERS_MAX_BYTES (64u << 20)

struct vdi {
	struct disk *d;
	struct vdi_head head;
	uint8_t raw[VDI_HEAD_BYTES]; /* as it is in the file */
	struct paged map;
	struct blocks blocks;
	uint32_t next; /* number of the next new block */
	bool scanned;  /* next is right whatever the header says */
};

static uint64_t stride(const struct vdi *s)
{
	return (uint64_t)s->head.block_bytes + s->head.extra_bytes;
}

/* Offset of a block's data in the file. */
static uint64_t block_offset(const struct vdi *s, uint32_t number)
{
	return s->head.data_offset + number * stride(s) + s->head.extra_bytes;
}

static int map_get(struct vdi *s, uint64_t index, uint32_t *ret_number)
{
	uint8_t raw[4];
	int rc = paged_get(&s->map, index * 4, raw, 4);

	if (rc < 0)
		return rc;
	*ret_number = get_le32(raw);
	return 0;
}

static int map_set(struct vdi *s, uint64_t index, uint32_t number)
{
	uint8_t raw[4];

	put_le32(raw, number);
	return paged_set(&s->map, index * 4, raw, 4);
}

static int head_write(struct vdi *s)
{
	vdi_head_build(&s->head, s->raw);
	return disk_pwrite(s->d->file, 0, s->raw, sizeof(s->raw), 0);
}

/* --- blocks --- */

static int find(void *owner, uint64_t index, struct block_place *ret)
{
	struct vdi *s = owner;
	uint32_t number;
	int rc = map_get(s, index, &number);

	if (rc < 0)
		return rc;
	if (number == VDI_NEVER)
		*ret = (struct block_place){BLOCK_NONE, 0};
	else if (number == VDI_DISCARDED)
		*ret = (struct block_place){BLOCK_ZERO, 0};
	else if (number < VDI_BLOCKS_MAX)
		*ret = (struct block_place){BLOCK_DATA, block_offset(s, number)};
	else
		return -EIO;
	return 0;
}

/* The header's count is only a claim: no new block may go where an entry already points. */
static int scan(struct vdi *s)
{
	uint32_t next = s->head.allocated_count;

	for (uint32_t i = 0; i < s->head.block_count; i++) {
		uint32_t number;
		int rc = map_get(s, i, &number);

		if (rc < 0)
			return rc;
		if (number < VDI_BLOCKS_MAX && number >= next)
			next = number + 1;
	}
	s->next = MAX(s->next, next);
	s->scanned = true;
	return 0;
}

static int reserve(void *owner, uint64_t index, unsigned count, uint64_t *ret_offset)
{
	struct vdi *s = owner;

	if (!s->scanned) {
		int rc = scan(s);

		if (rc < 0)
			return rc;
	}
	if (s->next > VDI_BLOCKS_MAX - count)
		return -ENOSPC;
	*ret_offset = block_offset(s, s->next);
	s->next += count;
	return 0;
}

static int set(void *owner, uint64_t index, const struct block_place *p)
{
	struct vdi *s = owner;

	if (p->state == BLOCK_ZERO)
		return map_set(s, index, VDI_DISCARDED);
	return map_set(s, index, (p->offset - block_offset(s, 0)) / stride(s));
}

static const struct blocks_ops blocks_ops = {.find = find, .reserve = reserve, .set = set};

/* --- the map's pages --- */

static int map_load(void *owner, uint64_t page, void *buf)
{
	struct vdi *s = owner;
	uint64_t at = page * s->map.page_bytes;

	return disk_pread(s->d->file, s->head.map_offset + at, buf,
			  MIN((uint64_t)s->map.page_bytes, s->map.bytes - at));
}

static int map_store(void *owner, const struct paged_write *w, unsigned count)
{
	struct vdi *s = owner;
	int rc = 0;

	if (s->scanned && s->head.allocated_count != s->next) {
		/* Whole blocks, also where only their beginning was written. */
		if (disk_size(s->d->file) < block_offset(s, s->next) - s->head.extra_bytes)
			rc = disk_truncate(s->d->file,
					   block_offset(s, s->next) - s->head.extra_bytes, false,
					   DISK_PREALLOC_OFF, 0, NULL);
		s->head.allocated_count = s->next;
		if (!rc)
			rc = head_write(s);
		if (!rc)
			rc = disk_flush(s->d->file);
	}
	for (; count && !rc; w++, count--) {
		uint64_t at = w->page * s->map.page_bytes;

		rc = disk_pwrite(s->d->file, s->head.map_offset + at, w->data,
				 MIN((uint64_t)s->map.page_bytes, s->map.bytes - at), 0);
	}
	return rc;
}

static const struct paged_ops map_ops = {map_load, map_store};

static int map_init(struct vdi *s)
{
	s->map = (struct paged){
	    .file = s->d->file,
	    .bytes = (uint64_t)s->head.block_count * 4,
	    .page_bytes = PAGED_PAGE_BYTES,
	    .ops = &map_ops,
	    .owner = s,
	};
	return paged_init(&s->map);
}

/* --- the driver --- */

static int probe(const uint8_t *buf, size_t len, const char *name)
{
	return vdi_head_probe(buf, len) ? 100 : 0;
}

static int vdi_open(struct disk *d, json_t *o, struct err *e)
{
	struct vdi *s = d->state;
	int rc;

	s->d = d;
	if (disk_size(d->file) < VDI_HEAD_BYTES)
		return err_set(e, ERR_DISK_FORMAT, -EINVAL,
			       "the file is too small for a VDI header");
	rc = disk_pread(d->file, 0, s->raw, sizeof(s->raw));
	if (rc < 0)
		return err_set(e, ERR_DISK_IO, rc, "reading the VDI header failed: %s",
			       strerror(-rc));
	rc = vdi_head_parse(s->raw, &s->head, e);
	if (rc < 0)
		return rc;
	if (s->head.map_offset + (uint64_t)s->head.block_count * 4 > disk_size(d->file))
		return err_set(e, ERR_DISK_FORMAT, -EINVAL,
			       "the VDI's block map lies behind the end of the file");
	s->next = s->head.allocated_count;
	rc = map_init(s);
	if (rc < 0)
		return err_set(e, ERR_NOMEM, rc, "the block map of %" PRIu32 " blocks is too large",
			       s->head.block_count);
	s->blocks = (struct blocks){
	    .d = d,
	    .file = d->file,
	    .ops = &blocks_ops,
	    .owner = s,
	    .block_bytes = s->head.block_bytes,
	    .run_max = s->head.extra_bytes ? 1 : 64,
	    .has_zero = true,
	    .new_is_zeroed = disk_starts_zeroed(d->file),
	};
	blocks_init(&s->blocks);
	d->size = s->head.size;
	d->cluster_size = s->head.block_bytes;
	d->zero_flags = DISK_REQ_UNMAP;
	return 0;
}

static int vdi_flush(struct disk *d)
{
	struct vdi *s = d->state;

	return paged_flush(&s->map);
}

static int vdi_close(struct disk *d)
{
	struct vdi *s = d->state;
	int rc = paged_flush(&s->map);

	paged_done(&s->map);
	return rc;
}

static int vdi_preadv(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v,
		      size_t at)
{
	struct vdi *s = d->state;

	return blocks_read(&s->blocks, offset, len, v, at);
}

static int vdi_pwritev(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v,
		       size_t at, unsigned flags)
{
	struct vdi *s = d->state;

	return blocks_write(&s->blocks, offset, len, v, at);
}

static int vdi_write_zeroes(struct disk *d, uint64_t offset, uint64_t len, unsigned flags)
{
	struct vdi *s = d->state;

	return blocks_zero(&s->blocks, offset, len, flags);
}

static int vdi_discard(struct disk *d, uint64_t offset, uint64_t len)
{
	struct vdi *s = d->state;

	return blocks_discard(&s->blocks, offset, len);
}

static int vdi_block_status(struct disk *d, uint64_t offset, uint64_t len, bool exact,
			    struct disk_extent *ret)
{
	struct vdi *s = d->state;

	return blocks_status(&s->blocks, offset, len, ret);
}

static bool vdi_starts_zeroed(struct disk *d)
{
	struct vdi *s = d->state;

	return s->head.type == VDI_DYNAMIC || disk_starts_zeroed(d->file);
}

static int vdi_get_info(struct disk *d, struct disk_info *ret, struct err *e)
{
	struct vdi *s = d->state;

	ret->cluster_size = s->head.block_bytes;
	return 0;
}

/* --- moving blocks --- */

static int copy_block(struct vdi *s, uint32_t from, uint32_t to)
{
	uint64_t len = s->head.block_bytes;
	uint8_t *buf;
	int rc;

	rc = disk_copy_range(s->d->file, block_offset(s, from), s->d->file, block_offset(s, to),
			     len);
	if (!rc)
		return 0;
	buf = mem_alloc(len);
	rc = disk_pread(s->d->file, block_offset(s, from), buf, len);
	if (!rc)
		rc = disk_pwrite(s->d->file, block_offset(s, to), buf, len, 0);
	free(buf);
	return rc;
}

/* Which block of the disk each block of the file holds: owners[number] = index + 1, 0: nobody's.
 * Returns owned in *ret_owners, s->next entries; -EUCLEAN where one has two owners. */
static int find_owners(struct vdi *s, uint32_t **ret_owners, uint32_t *ret_used)
{
	_free_ uint32_t *owners = NULL;
	uint32_t used = 0;
	int rc = scan(s);

	if (rc < 0)
		return rc;
	owners = mem_try_array(MAX(s->next, 1u), sizeof(*owners), OWNERS_MAX_BYTES);
	if (!owners)
		return -ENOMEM;
	for (uint32_t i = 0; i < s->head.block_count; i++) {
		uint32_t number;

		rc = map_get(s, i, &number);
		if (rc < 0)
			return rc;
		if (number >= VDI_BLOCKS_MAX)
			continue;
		if (owners[number])
			return -EUCLEAN;
		owners[number] = i + 1;
		used++;
	}
	*ret_owners = STEAL(owners);
	*ret_used = used;
	return 0;
}

static int flush_all(struct vdi *s)
{
	int rc = paged_flush(&s->map);

	return rc < 0 ? rc : disk_flush(s->d->file);
}

/* Closes holes with the blocks at the end, and cuts the file behind the last. */
static int compact(struct vdi *s)
{
	_free_ uint32_t *owners = NULL;
	uint32_t used = 0, hole = 0;
	int rc = find_owners(s, &owners, &used);

	for (uint32_t last = s->next; !rc && last > used; last--) {
		if (!owners[last - 1])
			continue;
		while (owners[hole])
			hole++;
		rc = copy_block(s, last - 1, hole);
		if (!rc)
			rc = map_set(s, owners[last - 1] - 1, hole);
		owners[hole] = owners[last - 1];
	}
	if (!rc)
		rc = flush_all(s);
	if (rc < 0)
		return rc;
	s->next = s->head.allocated_count = used;
	rc = head_write(s);
	if (!rc)
		rc = disk_truncate(s->d->file, block_offset(s, used) - s->head.extra_bytes, false,
				   DISK_PREALLOC_OFF, 0, NULL);
	return rc;
}

/* --- resize --- */

static int shrink(struct vdi *s, uint64_t size, uint32_t count)
{
	int rc = 0;

	for (uint32_t i = count; i < s->head.block_count && !rc; i++)
		rc = map_set(s, i, VDI_NEVER);
	if (!rc)
		rc = flush_all(s);
	if (rc < 0)
		return rc;
	s->head.size = size;
	s->head.block_count = count;
	rc = head_write(s);
	paged_done(&s->map);
	if (!rc)
		rc = map_init(s);
	return rc < 0 ? rc : compact(s);
}

/* Writes entries of `from`..`to` of a map at map_offset, in which numbers are lower by `shift`. */
static int write_map(struct vdi *s, uint64_t map_offset, uint32_t from, uint32_t to, uint32_t shift)
{
	uint8_t raw[SECTOR];
	int rc = 0;

	for (uint32_t i = from; i < to && !rc;) {
		unsigned n = 0;
		uint64_t at = map_offset + (uint64_t)i * 4;

		for (; n < sizeof(raw) && i < to && !rc; n += 4, i++) {
			uint32_t number = VDI_NEVER;

			if (i < s->head.block_count)
				rc = map_get(s, i, &number);
			put_le32(raw + n, number < VDI_BLOCKS_MAX ? number - shift : number);
		}
		if (!rc)
			rc = disk_pwrite(s->d->file, at, raw, n, 0);
	}
	return rc;
}

/* Moves the first `count` blocks of the file to its end, so that nothing refers to their room. */
static int vacate(struct vdi *s, uint32_t count)
{
	int rc = scan(s);

	s->next = MAX(s->next, count);
	for (uint32_t i = 0; i < s->head.block_count && !rc; i++) {
		uint32_t number;

		rc = map_get(s, i, &number);
		if (rc < 0 || number >= count)
			continue;
		rc = copy_block(s, number, s->next);
		if (!rc)
			rc = map_set(s, i, s->next++);
	}
	return rc < 0 ? rc : flush_all(s);
}

static int grow(struct vdi *s, uint64_t size, uint32_t count)
{
	struct vdi_head new = s->head;
	uint64_t map_bytes = bits_align_up((uint64_t)count * 4, SECTOR);
	uint32_t moved = 0;
	int rc;

	if (new.map_offset + map_bytes > new.data_offset) {
		moved = (map_bytes + stride(s) - 1) / stride(s);
		if (new.data_offset + moved * stride(s) > UINT32_MAX)
			return -EFBIG;
		rc = vacate(s, moved);
		if (rc < 0)
			return rc;
		new.map_offset = new.data_offset;
		new.data_offset += moved *stride(s);
	}
	rc = write_map(s, new.map_offset, moved ? 0 : s->head.block_count, count, moved);
	if (!rc)
		rc = disk_flush(s->d->file);
	if (rc < 0)
		return rc;
	new.size = size;
	new.block_count = count;
	new.allocated_count = s->next - moved;
	s->head = new;
	s->next -= moved;
	rc = head_write(s);
	paged_done(&s->map);
	return rc < 0 ? rc : map_init(s);
}

/* A static image has room for all its blocks. */
static int fill_static(struct vdi *s)
{
	int rc = scan(s);

	for (uint32_t i = 0; i < s->head.block_count && !rc; i++) {
		uint32_t number;

		rc = map_get(s, i, &number);
		if (!rc && number >= VDI_DISCARDED)
			rc = map_set(s, i, s->next++);
	}
	return rc < 0 ? rc : paged_flush(&s->map);
}

static int vdi_truncate(struct disk *d, uint64_t size, bool exact, enum disk_prealloc prealloc,
			unsigned flags, struct err *e)
{
	struct vdi *s = d->state;
	uint64_t aligned = bits_align_up(size, SECTOR);
	uint64_t count = (aligned + s->head.block_bytes - 1) / s->head.block_bytes;
	int rc;

	if (prealloc != DISK_PREALLOC_OFF)
		return err_set(e, ERR_UNSUPPORTED, -ENOTSUP,
			       "VDI images cannot be resized with preallocation");
	if (count > VDI_BLOCKS_MAX)
		return err_set(e, ERR_DISK_OPTION, -EFBIG,
			       "a VDI image of this block size has at most %" PRIu64 " bytes",
			       (uint64_t)VDI_BLOCKS_MAX * s->head.block_bytes);
	rc = blocks_zero_tail(&s->blocks, MIN(d->size, aligned));
	if (!rc)
		rc = flush_all(s);
	if (!rc)
		rc = count < s->head.block_count ? shrink(s, aligned, count)
						 : grow(s, aligned, count);
	if (!rc && s->head.type == VDI_STATIC)
		rc = fill_static(s);
	if (rc < 0)
		return err_set(e, ERR_DISK_IO, rc, "resizing the VDI image failed: %s",
			       strerror(-rc));
	d->size = aligned;
	return 0;
}

/* --- check --- */

/* Looks at each entry; counts those that hold a block of their own. A block with two owners keeps the
 * first where DISK_FIX_ERRORS says so: the other one reads as zeros. */
static int check_map(struct vdi *s, unsigned fix, struct disk_check *c, uint32_t *owners,
		     uint32_t *ret_used)
{
	uint32_t used = 0;

	for (uint32_t i = 0; i < s->head.block_count; i++) {
		uint32_t number;
		int rc = map_get(s, i, &number);

		if (rc < 0)
			return rc;
		if (number >= VDI_DISCARDED)
			continue;
		if (number < VDI_BLOCKS_MAX && !owners[number]) {
			owners[number] = i + 1;
			used++;
			continue;
		}
		if (number < VDI_BLOCKS_MAX)
			report_found(c, "ERROR: block index %" PRIu32 " also used by %" PRIu32, i,
				     owners[number] - 1);
		else
			report_found(c, "ERROR: block index %" PRIu32 " too large, is %" PRIu32, i,
				     number);
		c->corruptions++;
		if (!(fix & DISK_FIX_ERRORS))
			continue;
		rc = map_set(s, i, VDI_NEVER);
		if (rc < 0)
			return rc;
		c->corruptions_fixed++;
	}
	*ret_used = used;
	return 0;
}

static int vdi_check(struct disk *d, unsigned fix, struct disk_check *c, struct err *e)
{
	struct vdi *s = d->state;
	_free_ uint32_t *owners = NULL;
	uint32_t used = 0;
	int rc = scan(s);

	if (!rc) {
		owners = mem_try_array(MAX(s->next, 1u), sizeof(*owners), OWNERS_MAX_BYTES);
		rc = owners ? check_map(s, fix, c, owners, &used) : -ENOMEM;
	}
	if (!rc && s->next > used) {
		/* Blocks that no entry refers to; numbers past the count are the same damage. */
		report_found(c,
			     "Leaked: %" PRIu32 " of %" PRIu32 " blocks in the file are not used",
			     s->next - used, s->next);
		c->leaks += s->next - used;
	}
	if (!rc && s->head.allocated_count < used) {
		report_found(c,
			     "ERROR: allocated blocks mismatch, is %" PRIu32 ", should be %" PRIu32,
			     s->head.allocated_count, used);
		c->corruptions++;
		c->corruptions_fixed += fix != 0;
	}
	if (!rc && fix && (s->next > used || s->head.allocated_count != used)) {
		rc = compact(s);
		if (!rc)
			c->leaks_fixed = c->leaks;
	}
	c->has_clusters = true;
	c->total_clusters = s->head.block_count;
	c->allocated_clusters = used;
	c->image_end_offset = block_offset(s, s->next);
	return rc < 0
		   ? err_set(e, ERR_DISK_IO, rc, "checking the VDI image failed: %s", strerror(-rc))
		   : 0;
}

/* --- create --- */

static const struct disk_opt create_opts[] = {
    {"static", DISK_OPT_BOOL, "VDI static (pre-allocated) image", "off"},
    {0},
};

static int write_new_map(struct disk *file, const struct vdi_head *h)
{
	uint8_t raw[PAGED_PAGE_BYTES];
	int rc = 0;

	for (uint32_t i = 0; i < h->block_count && !rc;) {
		uint64_t at = h->map_offset + (uint64_t)i * 4;
		unsigned n = 0;

		for (; n < sizeof(raw) && i < h->block_count; n += 4, i++)
			put_le32(raw + n, h->type == VDI_STATIC ? i : VDI_NEVER);
		rc = disk_pwrite(file, at, raw, n, 0);
	}
	return rc;
}

static int vdi_create(const struct disk_create *c, struct err *e)
{
	struct vdi_head h = {.type = VDI_DYNAMIC, .block_bytes = BLOCK_BYTES, .map_offset = SECTOR};
	uint8_t raw[VDI_HEAD_BYTES] = {0};
	bool is_static = false;
	struct disk *file;
	int rc = disk_opts_take_bool(c->opts, "static", &is_static, e);

	if (rc < 0)
		return rc;
	if (c->backing_file)
		return err_set(e, ERR_UNSUPPORTED, -ENOTSUP, "VDI images have no backing file");
	h.size = bits_align_up(c->size, SECTOR);
	if (h.size > (uint64_t)VDI_BLOCKS_MAX * BLOCK_BYTES)
		return err_set(e, ERR_DISK_OPTION, -ENOTSUP,
			       "Unsupported VDI image size (size is 0x%" PRIx64
			       ", max supported is 0x%" PRIx64 ")",
			       h.size, (uint64_t)VDI_BLOCKS_MAX * BLOCK_BYTES);
	h.block_count = (h.size + BLOCK_BYTES - 1) / BLOCK_BYTES;
	h.data_offset = h.map_offset + bits_align_up((uint64_t)h.block_count * 4, SECTOR);
	if (is_static) {
		h.type = VDI_STATIC;
		h.allocated_count = h.block_count;
	}
	uuid_new(h.uuid);
	uuid_new(h.snap_uuid);
	vdi_head_build(&h, raw);
	rc = disk_create_file(c->ctx, c->filename, 0, c->opts, &file, e);
	if (rc < 0)
		return rc;
	rc = disk_pwrite(file, 0, raw, sizeof(raw), 0);
	if (!rc)
		rc = write_new_map(file, &h);
	if (!rc)
		rc = disk_truncate(file, h.data_offset + (uint64_t)h.allocated_count * BLOCK_BYTES,
				   false, DISK_PREALLOC_OFF, 0, NULL);
	if (rc < 0)
		err_set(e, ERR_DISK_IO, rc, "writing the VDI header failed: %s", strerror(-rc));
	disk_close(file);
	return rc;
}

const struct disk_driver disk_driver_vdi = {
    .name = "vdi",
    .kind = DISK_KIND_FORMAT,
    .state_size = sizeof(struct vdi),
    .probe = probe,
    .open = vdi_open,
    .close = vdi_close,
    .preadv = vdi_preadv,
    .pwritev = vdi_pwritev,
    .write_zeroes = vdi_write_zeroes,
    .discard = vdi_discard,
    .flush = vdi_flush,
    .block_status = vdi_block_status,
    .truncate = vdi_truncate,
    .starts_zeroed = vdi_starts_zeroed,
    .get_info = vdi_get_info,
    .create_opts = create_opts,
    .create = vdi_create,
    .check = vdi_check,
};
