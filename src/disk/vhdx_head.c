#include "disk/vhdx_head.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "disk/crc32c.h"

/* GUIDs as they lie in the file: the first three fields little-endian. */
static const uint8_t bat_guid[16] = {0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42,
				     0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08};
static const uint8_t metadata_guid[16] = {0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b,
					  0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e};

enum item { ITEM_PARAMETERS, ITEM_SIZE, ITEM_PAGE83, ITEM_LOGICAL, ITEM_PHYSICAL, ITEM_COUNT };

/* 2.6.2: items that a reader must know, with their length and flags as a new file has them. */
static const struct {
	uint8_t guid[16];
	uint32_t bytes, flags;
} items[ITEM_COUNT] = {
    [ITEM_PARAMETERS] = {{0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6, 0x33, 0xf0,
			  0xaa, 0x44, 0xe7, 0x6b},
			 8,
			 4},
    [ITEM_SIZE] = {{0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11, 0x5d, 0xbe, 0xd8,
		    0x3b, 0xf4, 0xb8},
		   8,
		   6},
    [ITEM_PAGE83] = {{0xab, 0x12, 0xca, 0xbe, 0xe6, 0xb2, 0x23, 0x45, 0x93, 0xef, 0xc3, 0x09, 0xe0,
		      0x00, 0xc7, 0x46},
		     16,
		     6},
    [ITEM_LOGICAL] = {{0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47, 0xba, 0x47, 0xf2, 0x33, 0xa8,
		       0xfa, 0xab, 0x5f},
		      4,
		      6},
    [ITEM_PHYSICAL] = {{0xc7, 0x48, 0xa3, 0xcd, 0x5d, 0x44, 0x71, 0x44, 0x9c, 0xc9, 0xe9, 0x88,
			0x52, 0x51, 0xc5, 0x56},
		       4,
		       6},
};

#define ITEM_REQUIRED    4u
#define REGION_REQUIRED  1u
#define REGIONS_MAX      2047u
#define ITEMS_MAX        2047u
#define REGION_HEAD      16u
#define REGION_ENTRY     32u
#define META_HEAD        32u
#define META_ENTRY       32u
#define PARAM_LEAVE      1u
#define PARAM_HAS_PARENT 2u
/* Keeps sums of offsets and lengths far from 64 bits. */
#define OFFSET_MAX (1ULL << 60)

/* 2.2.1 */
bool vhdx_probe(const uint8_t *raw, size_t len)
{
	return len >= 8 && !memcmp(raw, "vhdxfile", 8);
}

static int malformed(struct err *e, const char *what)
{
	return err_set(e, ERR_DISK_FORMAT, -EINVAL, "VHDX: %s", what);
}

/* --- 2.2.2 header --- */

int vhdx_head_parse(const uint8_t raw[VHDX_HEAD_BYTES], struct vhdx_head *ret_head, struct err *e)
{
	struct vhdx_head h = {
	    .sequence = get_le64(raw + 8),
	    .log_version = get_le16(raw + 64),
	    .version = get_le16(raw + 66),
	    .log_bytes = get_le32(raw + 68),
	    .log_offset = get_le64(raw + 72),
	};

	if (memcmp(raw, "head", 4) != 0)
		return malformed(e, "a header's signature is missing");
	if (crc32c_without(raw, VHDX_HEAD_BYTES, 4) != get_le32(raw + 4))
		return malformed(e, "a header's checksum is wrong");
	if (h.version != 1)
		return err_set(e, ERR_UNSUPPORTED, -ENOTSUP, "VHDX version %u is not supported",
			       h.version);
	if (h.log_offset % VHDX_MB || h.log_bytes % VHDX_MB || h.log_offset < VHDX_MB ||
	    h.log_offset > OFFSET_MAX)
		return malformed(e, "the log's place is impossible");
	memcpy(h.file_write_guid, raw + 16, 16);
	memcpy(h.data_write_guid, raw + 32, 16);
	memcpy(h.log_guid, raw + 48, 16);
	*ret_head = h;
	return 0;
}

void vhdx_head_build(const struct vhdx_head *h, uint8_t raw[VHDX_HEAD_BYTES])
{
	memset(raw, 0, VHDX_HEAD_BYTES);
	memcpy(raw, "head", 4);
	put_le64(raw + 8, h->sequence);
	memcpy(raw + 16, h->file_write_guid, 16);
	memcpy(raw + 32, h->data_write_guid, 16);
	memcpy(raw + 48, h->log_guid, 16);
	put_le16(raw + 64, h->log_version);
	put_le16(raw + 66, h->version);
	put_le32(raw + 68, h->log_bytes);
	put_le64(raw + 72, h->log_offset);
	put_le32(raw + 4, crc32c_without(raw, VHDX_HEAD_BYTES, 4));
}

/* --- 2.2.3 region table --- */

static int take_region(const uint8_t *entry, struct vhdx_region *r, struct err *e)
{
	if (r->bytes)
		return malformed(e, "a region is listed twice");
	r->offset = get_le64(entry + 16);
	r->bytes = get_le32(entry + 24);
	if (r->offset % VHDX_MB || r->bytes % VHDX_MB || r->offset < VHDX_MB || !r->bytes ||
	    r->offset > OFFSET_MAX)
		return malformed(e, "a region's place is impossible");
	return 0;
}

int vhdx_regions_parse(const uint8_t raw[VHDX_REGION_BYTES], struct vhdx_regions *ret_regions,
		       struct err *e)
{
	struct vhdx_regions r = {0};
	uint32_t count = get_le32(raw + 8);
	int rc = 0;

	if (memcmp(raw, "regi", 4) != 0)
		return malformed(e, "the region table's signature is missing");
	if (crc32c_without(raw, VHDX_REGION_BYTES, 4) != get_le32(raw + 4))
		return malformed(e, "the region table's checksum is wrong");
	if (count > REGIONS_MAX)
		return malformed(e, "the region table has too many entries");
	for (uint32_t i = 0; i < count && !rc; i++) {
		const uint8_t *entry = raw + REGION_HEAD + i * REGION_ENTRY;

		if (!memcmp(entry, bat_guid, 16))
			rc = take_region(entry, &r.bat, e);
		else if (!memcmp(entry, metadata_guid, 16))
			rc = take_region(entry, &r.metadata, e);
		else if (get_le32(entry + 28) & REGION_REQUIRED)
			rc = err_set(e, ERR_UNSUPPORTED, -ENOTSUP,
				     "VHDX: a required region is of an unknown kind");
	}
	if (!rc && (!r.bat.bytes || !r.metadata.bytes))
		rc = malformed(e, "the BAT or the metadata is missing");
	if (!rc && r.bat.offset < r.metadata.offset + r.metadata.bytes &&
	    r.metadata.offset < r.bat.offset + r.bat.bytes)
		rc = malformed(e, "BAT and metadata overlap");
	if (rc < 0)
		return rc;
	*ret_regions = r;
	return 0;
}

static void put_region(uint8_t *entry, const uint8_t *guid, const struct vhdx_region *r)
{
	memcpy(entry, guid, 16);
	put_le64(entry + 16, r->offset);
	put_le32(entry + 24, r->bytes);
	put_le32(entry + 28, REGION_REQUIRED);
}

void vhdx_regions_build(const struct vhdx_regions *r, uint8_t raw[VHDX_REGION_BYTES])
{
	memset(raw, 0, VHDX_REGION_BYTES);
	memcpy(raw, "regi", 4);
	put_le32(raw + 8, 2);
	put_region(raw + REGION_HEAD, bat_guid, &r->bat);
	put_region(raw + REGION_HEAD + REGION_ENTRY, metadata_guid, &r->metadata);
	put_le32(raw + 4, crc32c_without(raw, VHDX_REGION_BYTES, 4));
}

void vhdx_regions_move_bat(uint8_t raw[VHDX_REGION_BYTES], const struct vhdx_region *bat)
{
	uint32_t count = MIN(get_le32(raw + 8), REGIONS_MAX);

	for (uint32_t i = 0; i < count; i++) {
		uint8_t *entry = raw + REGION_HEAD + i * REGION_ENTRY;

		if (!memcmp(entry, bat_guid, 16))
			put_region(entry, bat_guid, bat);
	}
	put_le32(raw + 4, crc32c_without(raw, VHDX_REGION_BYTES, 4));
}

/* --- 2.6 metadata --- */

static enum item item_of(const uint8_t *guid)
{
	enum item i = 0;

	while (i < ITEM_COUNT && memcmp(guid, items[i].guid, 16) != 0)
		i++;
	return i;
}

static void take_item(struct vhdx_metadata *m, enum item item, const uint8_t *p, uint32_t at)
{
	switch (item) {
	case ITEM_PARAMETERS:
		m->block_bytes = get_le32(p);
		m->leave_allocated = get_le32(p + 4) & PARAM_LEAVE;
		m->has_parent = get_le32(p + 4) & PARAM_HAS_PARENT;
		break;
	case ITEM_SIZE:
		m->size = get_le64(p);
		m->size_at = at;
		break;
	case ITEM_PAGE83:
		memcpy(m->page83, p, 16);
		break;
	case ITEM_LOGICAL:
		m->logical_sector = get_le32(p);
		break;
	case ITEM_PHYSICAL:
		m->physical_sector = get_le32(p);
		break;
	case ITEM_COUNT:
		break;
	}
}

static int check_metadata(const struct vhdx_metadata *m, struct err *e)
{
	if (m->has_parent)
		return err_set(e, ERR_UNSUPPORTED, -ENOTSUP,
			       "VHDX differencing images (with a parent) are not supported");
	if (!bits_is_pow2(m->block_bytes) || m->block_bytes < VHDX_BLOCK_MIN ||
	    m->block_bytes > VHDX_BLOCK_MAX)
		return malformed(e, "the block size is no power of two from 1 to 256 MiB");
	if (m->logical_sector != 512 && m->logical_sector != 4096)
		return malformed(e, "the logical sector size is neither 512 nor 4096");
	if (m->physical_sector != 512 && m->physical_sector != 4096)
		return malformed(e, "the physical sector size is neither 512 nor 4096");
	if (m->size > VHDX_SIZE_MAX || m->size % m->logical_sector)
		return malformed(e, "the disk's size is impossible");
	return 0;
}

int vhdx_metadata_parse(const uint8_t *raw, size_t bytes, struct vhdx_metadata *ret_metadata,
			struct err *e)
{
	struct vhdx_metadata m = {0};
	unsigned seen = 0, count = get_le16(raw + 10);
	int rc;

	if (bytes < VHDX_META_TABLE || memcmp(raw, "metadata", 8) != 0)
		return malformed(e, "the metadata's signature is missing");
	if (count > ITEMS_MAX)
		return malformed(e, "the metadata table has too many entries");
	for (unsigned i = 0; i < count; i++) {
		const uint8_t *entry = raw + META_HEAD + i * META_ENTRY;
		enum item item = item_of(entry);
		uint32_t at = get_le32(entry + 16);

		if (item == ITEM_COUNT) {
			/* The parent locator is such a one; has_parent says why. */
			continue;
		}
		if (seen & 1u << item || get_le32(entry + 20) < items[item].bytes ||
		    at < VHDX_META_TABLE || at > bytes - items[item].bytes)
			return malformed(e, "an entry of the metadata table is impossible");
		seen |= 1u << item;
		take_item(&m, item, raw + at, at);
	}
	if (seen != (1u << ITEM_COUNT) - 1)
		return malformed(e, "a required metadata item is missing");
	rc = check_metadata(&m, e);
	/* What is required and unknown is a reason only once the known ones are understood. */
	for (unsigned i = 0; i < count && !rc; i++) {
		const uint8_t *entry = raw + META_HEAD + i * META_ENTRY;

		if (item_of(entry) == ITEM_COUNT && get_le32(entry + 24) & ITEM_REQUIRED)
			rc = err_set(e, ERR_UNSUPPORTED, -ENOTSUP,
				     "VHDX: a required metadata item is of an unknown kind");
	}
	if (rc < 0)
		return rc;
	*ret_metadata = m;
	return 0;
}

void vhdx_metadata_build(const struct vhdx_metadata *m, uint8_t *raw)
{
	uint32_t at = VHDX_META_TABLE;

	memcpy(raw, "metadata", 8);
	put_le16(raw + 10, ITEM_COUNT);
	for (enum item i = 0; i < ITEM_COUNT; i++) {
		uint8_t *entry = raw + META_HEAD + i * META_ENTRY, *p = raw + at;

		memcpy(entry, items[i].guid, 16);
		put_le32(entry + 16, at);
		put_le32(entry + 20, items[i].bytes);
		put_le32(entry + 24, items[i].flags);
		if (i == ITEM_PARAMETERS) {
			put_le32(p, m->block_bytes);
			put_le32(p + 4, m->leave_allocated ? PARAM_LEAVE : 0);
		} else if (i == ITEM_SIZE) {
			put_le64(p, m->size);
		} else if (i == ITEM_PAGE83) {
			memcpy(p, m->page83, 16);
		} else {
			put_le32(p, i == ITEM_LOGICAL ? m->logical_sector : m->physical_sector);
		}
		at += items[i].bytes;
	}
}

uint64_t vhdx_chunk_ratio(const struct vhdx_metadata *m)
{
	return (1ULL << 23) * m->logical_sector / m->block_bytes;
}

uint64_t vhdx_bat_entries(const struct vhdx_metadata *m, uint64_t size)
{
	uint64_t blocks = (size + m->block_bytes - 1) / m->block_bytes;

	return blocks ? blocks + (blocks - 1) / vhdx_chunk_ratio(m) : 0;
}
