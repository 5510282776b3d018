#include "disk/vdi_head.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"

/* Offsets of the fields, all little-endian. Between them lie texts and geometry that mean nothing
 * to a reader. */
enum {
	AT_TEXT = 0x00,
	AT_SIGNATURE = 0x40,
	AT_VERSION = 0x44,
	AT_HEADER_SIZE = 0x48,
	AT_TYPE = 0x4c,
	AT_FLAGS = 0x50,
	AT_MAP_OFFSET = 0x154,
	AT_DATA_OFFSET = 0x158,
	AT_SECTOR_SIZE = 0x168,
	AT_SIZE = 0x170,
	AT_BLOCK_BYTES = 0x178,
	AT_EXTRA_BYTES = 0x17c,
	AT_BLOCK_COUNT = 0x180,
	AT_ALLOCATED_COUNT = 0x184,
	AT_UUID = 0x188,
	AT_SNAP_UUID = 0x198,
	AT_LINK_UUID = 0x1a8,
	AT_PARENT_UUID = 0x1b8,
};

#define SIGNATURE       0xbeda107fU
#define VERSION_1_1     0x00010001U
#define HEADER_SIZE     0x180
#define SECTOR          512
#define BLOCK_BYTES_MIN (64u << 10)
#define BLOCK_BYTES_MAX (64u << 20)

/* Readers go by the signature; the text is for people. */
static const char text[] = "<<< Vivarium Virtual Disk Image >>>\n";

bool vdi_head_probe(const uint8_t *raw, size_t len)
{
	return len >= AT_SIGNATURE + 4 && get_le32(raw + AT_SIGNATURE) == SIGNATURE;
}

static bool is_zero(const uint8_t *p, size_t len)
{
	while (len--)
		if (*p++)
			return false;
	return true;
}

static int damaged(struct err *e, const char *what, uint64_t value)
{
	return err_set(e, ERR_DISK_FORMAT, -EINVAL, "VDI header: %s 0x%" PRIx64 " is impossible",
		       what, value);
}

static int unsupported(struct err *e, const char *what, uint64_t value)
{
	return err_set(e, ERR_UNSUPPORTED, -ENOTSUP,
		       "VDI header: %s 0x%" PRIx64 " is not supported", what, value);
}

static int check(const struct vdi_head *h, struct err *e)
{
	if (h->type != VDI_DYNAMIC && h->type != VDI_STATIC)
		return unsupported(e, "image type", h->type);
	if (!bits_is_pow2(h->block_bytes) || h->block_bytes < BLOCK_BYTES_MIN ||
	    h->block_bytes > BLOCK_BYTES_MAX)
		return unsupported(e, "block size", h->block_bytes);
	if (h->extra_bytes % SECTOR || h->extra_bytes > h->block_bytes)
		return unsupported(e, "extra bytes per block", h->extra_bytes);
	if (h->map_offset % SECTOR || h->map_offset < SECTOR)
		return unsupported(e, "block map offset", h->map_offset);
	if (h->data_offset % SECTOR || h->data_offset < SECTOR)
		return unsupported(e, "data offset", h->data_offset);
	if (h->block_count > VDI_BLOCKS_MAX)
		return unsupported(e, "number of blocks", h->block_count);
	if (h->size > (uint64_t)h->block_count * h->block_bytes)
		return damaged(e, "disk size (larger than its blocks)", h->size);
	/* More than there are blocks is possible: a resize was cut short. */
	if (h->allocated_count > VDI_BLOCKS_MAX)
		return damaged(e, "number of allocated blocks", h->allocated_count);
	/* The map must not lie in the blocks. It may lie behind them in theory; no writer does so. */
	if (h->map_offset + (uint64_t)h->block_count * 4 > h->data_offset)
		return damaged(e, "data offset (inside the block map)", h->data_offset);
	return 0;
}

int vdi_head_parse(const uint8_t raw[VDI_HEAD_BYTES], struct vdi_head *ret_head, struct err *e)
{
	struct vdi_head h = {
	    .type = get_le32(raw + AT_TYPE),
	    .header_size = get_le32(raw + AT_HEADER_SIZE),
	    .flags = get_le32(raw + AT_FLAGS),
	    .map_offset = get_le32(raw + AT_MAP_OFFSET),
	    .data_offset = get_le32(raw + AT_DATA_OFFSET),
	    .block_bytes = get_le32(raw + AT_BLOCK_BYTES),
	    .extra_bytes = get_le32(raw + AT_EXTRA_BYTES),
	    .block_count = get_le32(raw + AT_BLOCK_COUNT),
	    .allocated_count = get_le32(raw + AT_ALLOCATED_COUNT),
	};
	uint64_t size = get_le64(raw + AT_SIZE);
	int rc;

	if (!vdi_head_probe(raw, VDI_HEAD_BYTES))
		return err_set(e, ERR_DISK_FORMAT, -EINVAL,
			       "not a VDI image: its signature is missing");
	if (get_le32(raw + AT_VERSION) != VERSION_1_1)
		return unsupported(e, "version", get_le32(raw + AT_VERSION));
	if (get_le32(raw + AT_SECTOR_SIZE) != SECTOR)
		return unsupported(e, "sector size", get_le32(raw + AT_SECTOR_SIZE));
	if (!is_zero(raw + AT_LINK_UUID, 16) || !is_zero(raw + AT_PARENT_UUID, 16))
		return err_set(e, ERR_UNSUPPORTED, -ENOTSUP,
			       "VDI differencing images (with a parent's UUID) are not supported");
	if (size > (uint64_t)VDI_BLOCKS_MAX * BLOCK_BYTES_MAX)
		return unsupported(e, "disk size", size);
	/* VBoxManage convertfromraw makes odd sizes; the last sector is there whole. */
	h.size = bits_align_up(size, SECTOR);
	rc = check(&h, e);
	if (rc < 0)
		return rc;
	memcpy(h.uuid, raw + AT_UUID, 16);
	memcpy(h.snap_uuid, raw + AT_SNAP_UUID, 16);
	*ret_head = h;
	return 0;
}

void vdi_head_build(const struct vdi_head *h, uint8_t raw[VDI_HEAD_BYTES])
{
	if (!raw[AT_TEXT])
		memcpy(raw + AT_TEXT, text, sizeof(text));
	put_le32(raw + AT_SIGNATURE, SIGNATURE);
	put_le32(raw + AT_VERSION, VERSION_1_1);
	put_le32(raw + AT_HEADER_SIZE, h->header_size ? h->header_size : HEADER_SIZE);
	put_le32(raw + AT_TYPE, h->type);
	put_le32(raw + AT_FLAGS, h->flags);
	put_le32(raw + AT_MAP_OFFSET, h->map_offset);
	put_le32(raw + AT_DATA_OFFSET, h->data_offset);
	put_le32(raw + AT_SECTOR_SIZE, SECTOR);
	put_le64(raw + AT_SIZE, h->size);
	put_le32(raw + AT_BLOCK_BYTES, h->block_bytes);
	put_le32(raw + AT_EXTRA_BYTES, h->extra_bytes);
	put_le32(raw + AT_BLOCK_COUNT, h->block_count);
	put_le32(raw + AT_ALLOCATED_COUNT, h->allocated_count);
	memcpy(raw + AT_UUID, h->uuid, 16);
	memcpy(raw + AT_SNAP_UUID, h->snap_uuid, 16);
}
