#include "disk/vhd.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/endian.h"
#include "base/mem.h"
#include "disk/vhd_int.h"

bool vhd_is_whole(const struct vhd *s, uint64_t index)
{
	return s->whole[index / 8] & 1 << index % 8;
}

static void set_whole(struct vhd *s, uint64_t index)
{
	s->whole[index / 8] |= 1 << index % 8;
}

int vhd_bat_get(struct vhd *s, uint64_t index, uint32_t *ret_sector)
{
	uint8_t raw[4];
	int rc = paged_get(&s->bat, index * 4, raw, 4);

	if (rc < 0)
		return rc;
	*ret_sector = get_be32(raw);
	return 0;
}

int vhd_bat_set(struct vhd *s, uint64_t index, uint32_t sector)
{
	uint8_t raw[4];

	put_be32(raw, sector);
	return paged_set(&s->bat, index * 4, raw, 4);
}

int vhd_write_footer(struct vhd *s)
{
	uint8_t raw[VHD_FOOTER_BYTES];

	vhd_footer_build(&s->footer, raw);
	return disk_pwrite(s->d->file, s->end, raw, sizeof(raw), 0);
}

int vhd_flush_all(struct vhd *s)
{
	int rc = s->footer.type == VHD_FIXED ? 0 : paged_flush(&s->bat);

	return rc < 0 ? rc : disk_flush(s->d->file);
}

/* --- blocks --- */

static int find(void *owner, uint64_t index, struct block_place *ret)
{
	struct vhd *s = owner;
	uint64_t room = s->bitmap_bytes + (uint64_t)s->blocks.block_bytes;
	uint64_t offset;
	uint32_t sector;
	int rc = vhd_bat_get(s, index, &sector);

	if (rc < 0)
		return rc;
	offset = (uint64_t)sector * VHD_SECTOR;
	if (sector == VHD_UNUSED)
		*ret = (struct block_place){BLOCK_NONE, 0};
	else if (offset + room <= s->end)
		*ret = (struct block_place){BLOCK_DATA, offset + s->bitmap_bytes};
	else
		return -EIO;
	return 0;
}

static int write_bitmap(struct vhd *s, uint64_t offset)
{
	uint8_t *ones = mem_alloc(s->bitmap_bytes);
	int rc;

	memset(ones, 0xff, s->bitmap_bytes);
	rc = disk_pwrite(s->d->file, offset, ones, s->bitmap_bytes, 0);
	free(ones);
	return rc;
}

static int reserve(void *owner, uint64_t index, unsigned count, uint64_t *ret_offset)
{
	struct vhd *s = owner;
	uint64_t begin, room = s->bitmap_bytes + (uint64_t)s->blocks.block_bytes;
	int rc;

	co_lock(&s->lock);
	begin = s->end;
	if ((begin + room) / VHD_SECTOR >= VHD_UNUSED) {
		co_unlock(&s->lock);
		return -EFBIG;
	}
	s->end = begin + room;
	rc = vhd_write_footer(s);
	if (!rc)
		rc = write_bitmap(s, begin);
	if (rc < 0)
		s->end = begin;
	co_unlock(&s->lock);
	if (rc < 0)
		return rc;
	set_whole(s, index);
	*ret_offset = begin + s->bitmap_bytes;
	return 0;
}

static int set(void *owner, uint64_t index, const struct block_place *p)
{
	struct vhd *s = owner;

	return vhd_bat_set(s, index, (p->offset - s->bitmap_bytes) / VHD_SECTOR);
}

/* --- sector bitmaps of blocks that someone else wrote --- */

/* "Data Block": a bit per sector, the highest of a byte first; set: the sector is in this image. */
static bool has_sector(const uint8_t *bitmap, uint64_t sector)
{
	return bitmap[sector / 8] & 0x80 >> sector % 8;
}

/* Sectors from `sector` on, for at most `count`, that are as the first one is. */
static uint64_t sector_run(const uint8_t *bitmap, uint64_t sector, uint64_t count, bool *ret_here)
{
	uint64_t n = 1;

	*ret_here = has_sector(bitmap, sector);
	while (n < count && has_sector(bitmap, sector + n) == *ret_here)
		n++;
	return n;
}

/* Reads the bitmap of the block whose data is at p. Owned. */
static int load_bitmap(struct vhd *s, uint64_t index, const struct block_place *p,
		       uint8_t **ret_bitmap)
{
	_free_ uint8_t *bitmap = mem_alloc(s->bitmap_bytes);
	uint64_t sectors = s->blocks.block_bytes / VHD_SECTOR, n;
	bool here;
	int rc = disk_pread(s->d->file, p->offset - s->bitmap_bytes, bitmap, s->bitmap_bytes);

	if (rc < 0)
		return rc;
	n = sector_run(bitmap, 0, sectors, &here);
	if (here && n == sectors)
		set_whole(s, index);
	*ret_bitmap = STEAL(bitmap);
	return 0;
}

/* Copies the sectors that a differencing block lacks from the parent. */
static int fill_from_parent(struct vhd *s, uint64_t index, const struct block_place *p,
			    const uint8_t *bitmap)
{
	uint64_t sectors = s->blocks.block_bytes / VHD_SECTOR;
	_free_ uint8_t *buf = mem_alloc(s->blocks.block_bytes);
	int rc = 0;

	for (uint64_t i = 0, n; i < sectors && !rc; i += n) {
		bool here;

		n = sector_run(bitmap, i, sectors - i, &here);
		if (here)
			continue;
		DISK_VEC(v, buf, n * VHD_SECTOR);

		rc = disk_read_backing(s->d, index * s->blocks.block_bytes + i * VHD_SECTOR,
				       n * VHD_SECTOR, &v, 0);
		if (!rc)
			rc = disk_pwrite(s->d->file, p->offset + i * VHD_SECTOR, buf,
					 n * VHD_SECTOR, 0);
	}
	/* The bits must not be stable before the sectors are. */
	return rc < 0 ? rc : disk_flush(s->d->file);
}

/* A block is written only when it is whole. */
static int before_write(void *owner, uint64_t index, const struct block_place *p)
{
	struct vhd *s = owner;
	uint8_t *bitmap = NULL;
	int rc = 0;

	if (vhd_is_whole(s, index))
		return 0;
	co_lock(&s->lock);
	if (!vhd_is_whole(s, index))
		rc = load_bitmap(s, index, p, &bitmap);
	if (!rc && !vhd_is_whole(s, index)) {
		if (s->footer.type == VHD_DIFFERENCING)
			rc = fill_from_parent(s, index, p, bitmap);
		if (!rc)
			rc = write_bitmap(s, p->offset - s->bitmap_bytes);
		if (!rc)
			set_whole(s, index);
	}
	free(bitmap);
	co_unlock(&s->lock);
	return rc;
}

static const struct blocks_ops blocks_ops = {
    .find = find, .reserve = reserve, .set = set, .before_write = before_write};

/* What of a differencing disk lies here, up to the end of a block that is not whole. */
static int find_sectors(struct vhd *s, uint64_t offset, uint64_t len, struct block_place *ret_place,
			uint64_t *ret_len)
{
	uint64_t index = offset / s->blocks.block_bytes, in = offset % s->blocks.block_bytes;
	uint64_t sector = in / VHD_SECTOR;
	_free_ uint8_t *bitmap = NULL;
	struct block_place p;
	uint64_t n;
	bool here = true;
	int rc = find(s, index, &p);

	if (rc < 0)
		return rc;
	len = MIN(len, s->blocks.block_bytes - in);
	if (p.state == BLOCK_DATA && !vhd_is_whole(s, index)) {
		rc = load_bitmap(s, index, &p, &bitmap);
		if (rc < 0)
			return rc;
		n = sector_run(bitmap, sector, s->blocks.block_bytes / VHD_SECTOR - sector, &here);
		len = MIN(len, n * VHD_SECTOR - in % VHD_SECTOR);
	}
	*ret_place = (struct block_place){here ? p.state : BLOCK_NONE, p.offset + in};
	*ret_len = len;
	return 0;
}

static int read_sectors(struct vhd *s, uint64_t offset, size_t len, const struct disk_vec *v,
			size_t at)
{
	while (len) {
		struct block_place p;
		uint64_t n;
		int rc = find_sectors(s, offset, len, &p, &n);

		if (!rc && p.state == BLOCK_DATA)
			rc = disk_preadv(s->d->file, p.offset, n, v, at);
		else if (!rc)
			rc = disk_read_backing(s->d, offset, n, v, at);
		if (rc < 0)
			return rc;
		offset += n;
		at += n;
		len -= n;
	}
	return 0;
}

/* --- the driver --- */

static int probe(const uint8_t *buf, size_t len, const char *name)
{
	return vhd_footer_probe(buf, len) ? 100 : 0;
}

/* The footer at the end is trusted first: see vhd_int.h. The copy in front serves where a write was
 * cut short, and is there for dynamic disks only. */
static int read_footer(struct vhd *s, struct err *e)
{
	uint64_t size = disk_size(s->d->file);
	uint8_t raw[VHD_FOOTER_BYTES];
	int rc;

	if (size < VHD_FOOTER_BYTES)
		return err_set(e, ERR_DISK_FORMAT, -EINVAL, "File too small for a VHD header");
	s->end = bits_align_down(size - VHD_FOOTER_BYTES, VHD_SECTOR);
	rc = disk_pread(s->d->file, s->end, raw, sizeof(raw));
	if (!rc && vhd_footer_probe(raw, sizeof(raw)) && !vhd_footer_parse(raw, &s->footer, NULL))
		return 0;
	if (!rc)
		rc = disk_pread(s->d->file, 0, raw, sizeof(raw));
	if (rc < 0)
		return err_set(e, ERR_DISK_IO, rc, "Unable to read VHD header: %s", strerror(-rc));
	rc = vhd_footer_parse(raw, &s->footer, e);
	if (!rc && s->footer.type == VHD_FIXED)
		rc = err_set(
		    e, ERR_DISK_FORMAT, -EINVAL,
		    "the VHD footer of a fixed disk is not at the end: the file was cut short");
	s->end = bits_align_up(size, VHD_SECTOR);
	return rc;
}

int vhd_bat_init(struct vhd *s)
{
	s->bat = (struct paged){
	    .file = s->d->file,
	    .offset = s->dynamic.table_offset,
	    .bytes = (uint64_t)s->dynamic.block_count * 4,
	    .page_bytes = PAGED_PAGE_BYTES,
	};
	s->whole = mem_try_array(s->dynamic.block_count / 8 + 1, 1, VHD_BLOCKS_MAX / 8 + 1);
	return s->whole ? paged_init(&s->bat) : -ENOMEM;
}

static int open_dynamic(struct vhd *s, struct err *e)
{
	uint8_t *raw = mem_alloc(VHD_DYNAMIC_BYTES);
	int rc;

	rc = disk_pread(s->d->file, s->footer.data_offset, raw, VHD_DYNAMIC_BYTES);
	if (rc < 0)
		err_set(e, ERR_DISK_FORMAT, rc, "Error reading dynamic VHD header: %s",
			strerror(-rc));
	else
		rc = vhd_dynamic_parse(raw, &s->dynamic, e);
	free(raw);
	if (rc < 0)
		return rc;
	if (s->d->size > (uint64_t)s->dynamic.block_count * s->dynamic.block_bytes)
		return err_set(e, ERR_DISK_FORMAT, -EINVAL, "Page table too small");
	if (s->dynamic.table_offset + (uint64_t)s->dynamic.block_count * 4 > s->end)
		return err_set(e, ERR_DISK_FORMAT, -EINVAL,
			       "the block allocation table lies behind the end of the file");
	s->bitmap_bytes = vhd_bitmap_bytes(s->dynamic.block_bytes);
	s->blocks = (struct blocks){
	    .d = s->d,
	    .file = s->d->file,
	    .ops = &blocks_ops,
	    .owner = s,
	    .block_bytes = s->dynamic.block_bytes,
	    .run_max = 1,
	    /* Where the footer was, the bitmap goes. */
	    .new_is_zeroed = disk_starts_zeroed(s->d->file),
	};
	blocks_init(&s->blocks);
	s->d->cluster_size = s->dynamic.block_bytes;
	s->d->zero_flags = DISK_REQ_UNMAP;
	rc = vhd_bat_init(s);
	return rc < 0 ? err_set(e, ERR_NOMEM, rc, "no memory for the block allocation table") : 0;
}

static int take_rule(struct vhd *s, json_t *o, struct err *e)
{
	static const char *const names[] = {"chs", "current_size", NULL};
	unsigned i;
	int rc = disk_opts_take_enum(o, "force_size_calc", names, &i, e);

	if (rc > 0)
		s->rule = i ? VHD_SIZE_CURRENT : VHD_SIZE_CHS;
	return rc;
}

static int vhd_open(struct disk *d, json_t *o, struct err *e)
{
	struct vhd *s = d->state;
	int rc;

	s->d = d;
	rc = take_rule(s, o, e);
	if (rc >= 0)
		rc = read_footer(s, e);
	if (rc < 0)
		return rc;
	d->size = vhd_footer_size(&s->footer, s->rule);
	if (d->size > VHD_SIZE_MAX)
		return err_set(e, ERR_DISK_FORMAT, -EFBIG,
			       "VHD footer: the disk is larger than 2040 GiB");
	if (s->footer.type == VHD_FIXED) {
		if (d->size <= s->end)
			return 0;
		return err_set(e, ERR_DISK_FORMAT, -EINVAL,
			       "VHD footer: the disk has %" PRIu64 " bytes, the file only %" PRIu64,
			       d->size, s->end);
	}
	rc = open_dynamic(s, e);
	if (!rc && s->footer.type == VHD_DIFFERENCING) {
		rc = vhd_parent_name(s, &d->backing_name, e);
		if (!rc)
			d->backing_format = mem_strdup("vpc");
	}
	if (rc < 0) {
		paged_done(&s->bat);
		free(s->whole);
	}
	return rc;
}

static int vhd_flush(struct disk *d)
{
	struct vhd *s = d->state;

	return s->footer.type == VHD_FIXED ? 0 : paged_flush(&s->bat);
}

static int vhd_close(struct disk *d)
{
	struct vhd *s = d->state;
	int rc = vhd_flush(d);

	paged_done(&s->bat);
	free(s->whole);
	return rc;
}

static int vhd_preadv(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v,
		      size_t at)
{
	struct vhd *s = d->state;

	if (s->footer.type == VHD_FIXED)
		return disk_preadv(d->file, offset, len, v, at);
	if (s->footer.type == VHD_DIFFERENCING)
		return read_sectors(s, offset, len, v, at);
	return blocks_read(&s->blocks, offset, len, v, at);
}

static int vhd_pwritev(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v,
		       size_t at, unsigned flags)
{
	struct vhd *s = d->state;

	if (s->footer.type == VHD_FIXED)
		return disk_pwritev(d->file, offset, len, v, at, 0);
	return blocks_write(&s->blocks, offset, len, v, at);
}

static int vhd_write_zeroes(struct disk *d, uint64_t offset, uint64_t len, unsigned flags)
{
	struct vhd *s = d->state;

	if (s->footer.type == VHD_FIXED)
		return disk_write_zeroes(d->file, offset, len, flags);
	return blocks_zero(&s->blocks, offset, len, flags);
}

static int vhd_discard(struct disk *d, uint64_t offset, uint64_t len)
{
	struct vhd *s = d->state;

	if (s->footer.type == VHD_FIXED)
		return disk_discard(d->file, offset, len);
	/* Sectors whose bitmap says "the parent's" must stay so: only whole blocks' are given back. */
	if (s->footer.type == VHD_DIFFERENCING)
		return 0;
	return blocks_discard(&s->blocks, offset, len);
}

static int vhd_block_status(struct disk *d, uint64_t offset, uint64_t len, bool exact,
			    struct disk_extent *ret)
{
	struct vhd *s = d->state;
	struct block_place p;
	int rc;

	if (s->footer.type == VHD_DYNAMIC)
		return blocks_status(&s->blocks, offset, len, ret);
	p = (struct block_place){BLOCK_DATA, offset};
	rc = s->footer.type == VHD_FIXED ? 0 : find_sectors(s, offset, len, &p, &ret->len);
	if (rc < 0 || p.state != BLOCK_DATA)
		return rc;
	ret->flags = DISK_EXT_DATA | DISK_EXT_ALLOCATED | DISK_EXT_OFFSET | DISK_EXT_RECURSE;
	ret->host = d->file;
	ret->host_offset = p.offset;
	return 0;
}

static bool vhd_starts_zeroed(struct disk *d)
{
	struct vhd *s = d->state;

	return s->footer.type != VHD_FIXED || disk_starts_zeroed(d->file);
}

static int vhd_get_info(struct disk *d, struct disk_info *ret, struct err *e)
{
	struct vhd *s = d->state;

	if (s->footer.type != VHD_FIXED)
		ret->cluster_size = s->dynamic.block_bytes;
	return 0;
}

static const char *const aliases[] = {"vhd", NULL};

const struct disk_driver disk_driver_vhd = {
    .name = "vpc",
    .aliases = aliases,
    .kind = DISK_KIND_FORMAT,
    .state_size = sizeof(struct vhd),
    .probe = probe,
    .open = vhd_open,
    .close = vhd_close,
    .preadv = vhd_preadv,
    .pwritev = vhd_pwritev,
    .write_zeroes = vhd_write_zeroes,
    .discard = vhd_discard,
    .flush = vhd_flush,
    .block_status = vhd_block_status,
    .truncate = vhd_truncate,
    .starts_zeroed = vhd_starts_zeroed,
    .get_info = vhd_get_info,
    .create_opts = vhd_create_opts,
    .create = vhd_create,
    .check = vhd_check,
};
