#include "disk/vhd_head.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"

/* "Hard Disk Footer Format": offsets of the fields, all big-endian. */
enum {
	FOOT_COOKIE = 0,
	FOOT_FEATURES = 8,
	FOOT_VERSION = 12,
	FOOT_DATA_OFFSET = 16,
	FOOT_TIMESTAMP = 24,
	FOOT_CREATOR = 28,
	FOOT_CREATOR_VERSION = 32,
	FOOT_CREATOR_OS = 36,
	FOOT_ORIGINAL_SIZE = 40,
	FOOT_CURRENT_SIZE = 48,
	FOOT_CYLINDERS = 56,
	FOOT_HEADS = 58,
	FOOT_SECTORS = 59,
	FOOT_TYPE = 60,
	FOOT_CHECKSUM = 64,
	FOOT_UUID = 68,
	FOOT_SAVED_STATE = 84,
};

/* "Dynamic Disk Header Format". */
enum {
	DYN_COOKIE = 0,
	DYN_DATA_OFFSET = 8,
	DYN_TABLE_OFFSET = 16,
	DYN_VERSION = 24,
	DYN_BLOCK_COUNT = 28,
	DYN_BLOCK_BYTES = 32,
	DYN_CHECKSUM = 36,
	DYN_PARENT_UUID = 40,
	DYN_PARENT_TIMESTAMP = 56,
	DYN_PARENT_NAME = 64,
	DYN_LOCATOR = 576, /* 8 entries of 24 bytes */
};

#define FEATURES_RESERVED 2u /* always set */
#define VERSION_1_0       0x00010000u
#define CREATOR_VERSION   0x00050003u /* of Virtual PC 2007, as every other writer says */
#define NO_OFFSET         UINT64_MAX

#define BLOCK_BYTES_MIN (4u << 10)
#define BLOCK_BYTES_MAX (256u << 20)

static const struct vhd_geometry largest = {65535, 16, 255};

/* The one's complement of the sum of all bytes, those of the checksum counted as 0. */
static uint32_t checksum(const uint8_t *raw, size_t len, size_t at)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i++)
		if (i < at || i >= at + 4)
			sum += raw[i];
	return ~sum;
}

bool vhd_footer_probe(const uint8_t *raw, size_t len)
{
	return len >= 8 && !memcmp(raw + FOOT_COOKIE, "conectix", 8);
}

int vhd_footer_parse(const uint8_t raw[VHD_FOOTER_BYTES], struct vhd_footer *ret_footer,
		     struct err *e)
{
	struct vhd_footer f = {
	    .type = get_be32(raw + FOOT_TYPE),
	    .data_offset = get_be64(raw + FOOT_DATA_OFFSET),
	    .timestamp = get_be32(raw + FOOT_TIMESTAMP),
	    .original_size = get_be64(raw + FOOT_ORIGINAL_SIZE),
	    .current_size = get_be64(raw + FOOT_CURRENT_SIZE),
	    .geometry = {get_be16(raw + FOOT_CYLINDERS), raw[FOOT_HEADS], raw[FOOT_SECTORS]},
	    .saved_state = raw[FOOT_SAVED_STATE],
	};

	if (!vhd_footer_probe(raw, VHD_FOOTER_BYTES))
		return err_set(e, ERR_DISK_FORMAT, -EINVAL,
			       "not a VHD image: its cookie is missing");
	if (checksum(raw, VHD_FOOTER_BYTES, FOOT_CHECKSUM) != get_be32(raw + FOOT_CHECKSUM))
		return err_set(e, ERR_DISK_FORMAT, -EINVAL, "VHD footer: its checksum is wrong");
	if (get_be32(raw + FOOT_VERSION) >> 16 != VERSION_1_0 >> 16)
		return err_set(e, ERR_UNSUPPORTED, -ENOTSUP,
			       "VHD footer: version 0x%" PRIx32 " is not supported",
			       get_be32(raw + FOOT_VERSION));
	if (f.type != VHD_FIXED && f.type != VHD_DYNAMIC && f.type != VHD_DIFFERENCING)
		return err_set(e, ERR_UNSUPPORTED, -ENOTSUP,
			       "VHD footer: disk type %u is not supported", f.type);
	if (f.current_size / VHD_SECTOR > VHD_SIZE_MAX / VHD_SECTOR)
		return err_set(e, ERR_DISK_FORMAT, -EFBIG,
			       "VHD footer: %" PRIu64 " bytes are more than the format's 2040 GiB",
			       f.current_size);
	memcpy(f.creator, raw + FOOT_CREATOR, 4);
	memcpy(f.uuid, raw + FOOT_UUID, 16);
	*ret_footer = f;
	return 0;
}

void vhd_footer_build(const struct vhd_footer *f, uint8_t raw[VHD_FOOTER_BYTES])
{
	memset(raw, 0, VHD_FOOTER_BYTES);
	memcpy(raw + FOOT_COOKIE, "conectix", 8);
	put_be32(raw + FOOT_FEATURES, FEATURES_RESERVED);
	put_be32(raw + FOOT_VERSION, VERSION_1_0);
	put_be64(raw + FOOT_DATA_OFFSET, f->type == VHD_FIXED ? NO_OFFSET : f->data_offset);
	put_be32(raw + FOOT_TIMESTAMP, f->timestamp);
	memcpy(raw + FOOT_CREATOR, f->creator, 4);
	put_be32(raw + FOOT_CREATOR_VERSION, CREATOR_VERSION);
	memcpy(raw + FOOT_CREATOR_OS, "Wi2k", 4);
	put_be64(raw + FOOT_ORIGINAL_SIZE, f->original_size);
	put_be64(raw + FOOT_CURRENT_SIZE, f->current_size);
	put_be16(raw + FOOT_CYLINDERS, f->geometry.cylinders);
	raw[FOOT_HEADS] = f->geometry.heads;
	raw[FOOT_SECTORS] = f->geometry.sectors;
	put_be32(raw + FOOT_TYPE, f->type);
	memcpy(raw + FOOT_UUID, f->uuid, 16);
	raw[FOOT_SAVED_STATE] = f->saved_state;
	put_be32(raw + FOOT_CHECKSUM, checksum(raw, VHD_FOOTER_BYTES, FOOT_CHECKSUM));
}

uint64_t vhd_footer_size(const struct vhd_footer *f, enum vhd_size_rule rule)
{
	/* Hyper-V, QEMU with force_size, Disk2vhd, XenConverter and XenServer mean what they say;
	 * Virtual PC and everything older means the geometry. */
	static const char by_size[][4] = {"win ", "qem2", "d2v ", "CTXS", "tap"};
	uint64_t chs = vhd_geometry_sectors(f->geometry);
	bool use_chs = rule != VHD_SIZE_CURRENT;

	for (size_t i = 0; rule == VHD_SIZE_AUTO && i < sizeof(by_size) / 4; i++)
		if (!memcmp(f->creator, by_size[i], 4))
			use_chs = false;
	/* The largest geometry says only "at least this". */
	if (chs == vhd_geometry_sectors(largest))
		use_chs = false;
	return (use_chs ? chs : f->current_size / VHD_SECTOR) * VHD_SECTOR;
}

int vhd_dynamic_parse(const uint8_t raw[VHD_DYNAMIC_BYTES], struct vhd_dynamic *ret_dynamic,
		      struct err *e)
{
	struct vhd_dynamic d = {
	    .table_offset = get_be64(raw + DYN_TABLE_OFFSET),
	    .block_count = get_be32(raw + DYN_BLOCK_COUNT),
	    .block_bytes = get_be32(raw + DYN_BLOCK_BYTES),
	    .parent_timestamp = get_be32(raw + DYN_PARENT_TIMESTAMP),
	};

	if (memcmp(raw + DYN_COOKIE, "cxsparse", 8) != 0)
		return err_set(e, ERR_DISK_FORMAT, -EINVAL,
			       "VHD dynamic disk header: its cookie is missing");
	if (checksum(raw, VHD_DYNAMIC_BYTES, DYN_CHECKSUM) != get_be32(raw + DYN_CHECKSUM))
		return err_set(e, ERR_DISK_FORMAT, -EINVAL,
			       "VHD dynamic disk header: its checksum is wrong");
	if (!bits_is_pow2(d.block_bytes) || d.block_bytes < BLOCK_BYTES_MIN ||
	    d.block_bytes > BLOCK_BYTES_MAX)
		return err_set(e, ERR_DISK_FORMAT, -EINVAL,
			       "VHD dynamic disk header: block size %" PRIu32
			       " is no power of two from 4 KiB to 256 MiB",
			       d.block_bytes);
	if (d.block_count > VHD_BLOCKS_MAX)
		return err_set(e, ERR_DISK_FORMAT, -EINVAL,
			       "VHD dynamic disk header: %" PRIu32 " blocks are more than a disk "
			       "can have",
			       d.block_count);
	if (d.table_offset % VHD_SECTOR || d.table_offset > VHD_SIZE_MAX * 2)
		return err_set(e, ERR_DISK_FORMAT, -EINVAL,
			       "VHD dynamic disk header: table offset 0x%" PRIx64 " is impossible",
			       d.table_offset);
	memcpy(d.parent_uuid, raw + DYN_PARENT_UUID, 16);
	memcpy(d.parent_name, raw + DYN_PARENT_NAME, sizeof(d.parent_name));
	for (size_t i = 0; i < VHD_LOCATORS; i++) {
		const uint8_t *p = raw + DYN_LOCATOR + i * 24;

		d.locator[i] = (struct vhd_locator){get_be32(p), get_be32(p + 4), get_be32(p + 8),
						    get_be64(p + 16)};
	}
	*ret_dynamic = d;
	return 0;
}

void vhd_dynamic_build(const struct vhd_dynamic *d, uint8_t raw[VHD_DYNAMIC_BYTES])
{
	memset(raw, 0, VHD_DYNAMIC_BYTES);
	memcpy(raw + DYN_COOKIE, "cxsparse", 8);
	put_be64(raw + DYN_DATA_OFFSET, NO_OFFSET);
	put_be64(raw + DYN_TABLE_OFFSET, d->table_offset);
	put_be32(raw + DYN_VERSION, VERSION_1_0);
	put_be32(raw + DYN_BLOCK_COUNT, d->block_count);
	put_be32(raw + DYN_BLOCK_BYTES, d->block_bytes);
	memcpy(raw + DYN_PARENT_UUID, d->parent_uuid, 16);
	put_be32(raw + DYN_PARENT_TIMESTAMP, d->parent_timestamp);
	memcpy(raw + DYN_PARENT_NAME, d->parent_name, sizeof(d->parent_name));
	for (size_t i = 0; i < VHD_LOCATORS; i++) {
		uint8_t *p = raw + DYN_LOCATOR + i * 24;

		put_be32(p, d->locator[i].platform);
		put_be32(p + 4, d->locator[i].space);
		put_be32(p + 8, d->locator[i].length);
		put_be64(p + 16, d->locator[i].offset);
	}
	put_be32(raw + DYN_CHECKSUM, checksum(raw, VHD_DYNAMIC_BYTES, DYN_CHECKSUM));
}

uint32_t vhd_bitmap_bytes(uint32_t block_bytes)
{
	return bits_align_up(block_bytes / VHD_SECTOR / 8, VHD_SECTOR);
}

struct vhd_geometry vhd_geometry_of(uint64_t sectors)
{
	uint64_t tracks; /* cylinders times heads */
	uint32_t heads = 16, per_track = 255;

	sectors = MIN(sectors, vhd_geometry_sectors(largest));
	if (sectors < 65535ULL * 16 * 63) {
		per_track = 17;
		tracks = sectors / per_track;
		heads = MAX((tracks + 1023) / 1024, (uint64_t)4);
		if (tracks >= heads * 1024 || heads > 16) {
			heads = 16;
			per_track = 31;
			tracks = sectors / per_track;
		}
		if (tracks >= heads * 1024)
			per_track = 63;
	}
	tracks = sectors / per_track;
	return (struct vhd_geometry){tracks / heads, heads, per_track};
}

uint64_t vhd_geometry_sectors(struct vhd_geometry g)
{
	return (uint64_t)g.cylinders * g.heads * g.sectors;
}

uint64_t vhd_round_size(uint64_t size, bool exact, struct vhd_geometry *ret_geometry)
{
	uint64_t wanted = bits_align_up(size, VHD_SECTOR) / VHD_SECTOR;
	struct vhd_geometry g = largest;

	if (!exact && wanted < vhd_geometry_sectors(largest)) {
		/* A geometry loses at most a cylinder, so this ends within 16 * 255 rounds. */
		uint64_t probe = wanted;

		do
			g = vhd_geometry_of(probe++);
		while (vhd_geometry_sectors(g) < wanted);
		if (vhd_geometry_sectors(g) < vhd_geometry_sectors(largest))
			wanted = vhd_geometry_sectors(g);
	}
	*ret_geometry = g;
	return wanted * VHD_SECTOR;
}
