#include "disk/vmdk_head.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "disk/vmdk_desc.h"

/* SparseExtentHeader: offsets of the fields, little-endian, unaligned. */
enum {
	AT_MAGIC = 0,
	AT_VERSION = 4,
	AT_FLAGS = 8,
	AT_CAPACITY = 12,
	AT_GRAIN = 20,
	AT_DESC_OFFSET = 28,
	AT_DESC_SECTORS = 36,
	AT_TABLE_ENTRIES = 44,
	AT_REDUNDANT = 48,
	AT_DIRECTORY = 56,
	AT_OVERHEAD = 64,
	AT_UNCLEAN = 72,
	AT_NEW_LINES = 73,
	AT_COMPRESS = 77,
};

#define COMPRESS_NONE    0
#define COMPRESS_DEFLATE 1

#define VERSION_MAX       3
#define TABLE_ENTRIES_MAX 512
#define GRAIN_MAX         (1u << 17) /* sectors: 64 MiB */

static const char new_lines[4] = {'\n', ' ', '\r', '\n'};

bool vmdk_head_probe(const uint8_t *raw, size_t len)
{
	return len >= 4 && (!memcmp(raw, "KDMV", 4) || !memcmp(raw, "COWD", 4));
}

static int damaged(struct err *e, const char *what, uint64_t value)
{
	return err_set(e, ERR_DISK_FORMAT, -EINVAL, "VMDK header: %s %" PRIu64 " is impossible",
		       what, value);
}

/* In the words that qemu-img users know. */
static int malformed(struct err *e, const char *what)
{
	return err_set(e, ERR_DISK_FORMAT, -EINVAL, "%s", what);
}

static int check(const struct vmdk_head *h, struct err *e)
{
	if (!h->version || h->version > VERSION_MAX)
		return err_set(e, ERR_UNSUPPORTED, -ENOTSUP, "Unsupported VMDK version %" PRIu32,
			       h->version);
	if (!bits_is_pow2(h->grain_sectors) || h->grain_sectors > GRAIN_MAX)
		return malformed(e, "Invalid granularity, image may be corrupt");
	if (!h->table_entries || h->table_entries > TABLE_ENTRIES_MAX)
		return malformed(e, "L2 table size too big");
	if (h->capacity > VMDK_SECTORS_MAX || vmdk_head_tables(h) > VMDK_DIRECTORY_MAX)
		return malformed(e, "L1 size too big");
	if (h->directory_offset != VMDK_GD_AT_END && h->directory_offset > VMDK_SECTORS_MAX)
		return damaged(e, "grain directory offset", h->directory_offset);
	if (h->flags & VMDK_REDUNDANT && h->redundant_offset > VMDK_SECTORS_MAX)
		return damaged(e, "redundant grain directory offset", h->redundant_offset);
	if (h->desc_offset > VMDK_SECTORS_MAX || h->desc_sectors > VMDK_SECTORS_MAX ||
	    h->overhead > VMDK_SECTORS_MAX)
		return damaged(e, "descriptor offset", h->desc_offset);
	return 0;
}

int vmdk_head_parse(const uint8_t raw[VMDK_HEAD_BYTES], struct vmdk_head *ret_head, struct err *e)
{
	struct vmdk_head h = {
	    .version = get_le32(raw + AT_VERSION),
	    .flags = get_le32(raw + AT_FLAGS),
	    .capacity = get_le64(raw + AT_CAPACITY),
	    .grain_sectors = get_le64(raw + AT_GRAIN),
	    .desc_offset = get_le64(raw + AT_DESC_OFFSET),
	    .desc_sectors = get_le64(raw + AT_DESC_SECTORS),
	    .table_entries = get_le32(raw + AT_TABLE_ENTRIES),
	    .redundant_offset = get_le64(raw + AT_REDUNDANT),
	    .directory_offset = get_le64(raw + AT_DIRECTORY),
	    .overhead = get_le64(raw + AT_OVERHEAD),
	    .unclean = raw[AT_UNCLEAN],
	};
	uint16_t compress = get_le16(raw + AT_COMPRESS);
	int rc;

	if (!memcmp(raw, "COWD", 4))
		return err_set(e, ERR_UNSUPPORTED, -ENOTSUP,
			       "VMDK sparse extents of ESX (COWD) are not supported");
	if (memcmp(raw + AT_MAGIC, "KDMV", 4) != 0)
		return err_set(e, ERR_DISK_FORMAT, -EINVAL, "Image not in VMDK format");
	if (h.flags & VMDK_NEW_LINES && memcmp(raw + AT_NEW_LINES, new_lines, 4) != 0)
		return err_set(e, ERR_DISK_FORMAT, -EINVAL,
			       "the VMDK was damaged by a transfer that changed its line ends");
	if (compress != COMPRESS_NONE && compress != COMPRESS_DEFLATE)
		return err_set(e, ERR_UNSUPPORTED, -ENOTSUP,
			       "VMDK compression method %u is not supported", compress);
	/* Flag and method say the same; old writers set only the method. */
	if (compress == COMPRESS_DEFLATE)
		h.flags |= VMDK_COMPRESSED;
	else
		h.flags &= ~VMDK_COMPRESSED;
	if (h.flags & VMDK_COMPRESSED && !(h.flags & VMDK_MARKERS))
		return err_set(e, ERR_UNSUPPORTED, -ENOTSUP,
			       "compressed VMDK extents without markers are not supported");
	rc = check(&h, e);
	if (rc < 0)
		return rc;
	*ret_head = h;
	return 0;
}

void vmdk_head_build(const struct vmdk_head *h, uint8_t raw[VMDK_HEAD_BYTES])
{
	memset(raw, 0, VMDK_HEAD_BYTES);
	memcpy(raw + AT_MAGIC, "KDMV", 4);
	put_le32(raw + AT_VERSION, h->version);
	put_le32(raw + AT_FLAGS, h->flags);
	put_le64(raw + AT_CAPACITY, h->capacity);
	put_le64(raw + AT_GRAIN, h->grain_sectors);
	put_le64(raw + AT_DESC_OFFSET, h->desc_offset);
	put_le64(raw + AT_DESC_SECTORS, h->desc_sectors);
	put_le32(raw + AT_TABLE_ENTRIES, h->table_entries);
	put_le64(raw + AT_REDUNDANT, h->redundant_offset);
	put_le64(raw + AT_DIRECTORY, h->directory_offset);
	put_le64(raw + AT_OVERHEAD, h->overhead);
	raw[AT_UNCLEAN] = h->unclean;
	memcpy(raw + AT_NEW_LINES, new_lines, 4);
	put_le16(raw + AT_COMPRESS, h->flags & VMDK_COMPRESSED ? COMPRESS_DEFLATE : COMPRESS_NONE);
}

uint64_t vmdk_head_tables(const struct vmdk_head *h)
{
	uint64_t covered = h->grain_sectors * h->table_entries; /* by one table */

	return (h->capacity + covered - 1) / covered;
}

uint64_t vmdk_head_table_sectors(const struct vmdk_head *h)
{
	return (h->table_entries * 4 + VMDK_SECTOR - 1) / VMDK_SECTOR;
}

uint64_t vmdk_head_directory_sectors(uint64_t tables)
{
	return (tables * 4 + VMDK_SECTOR - 1) / VMDK_SECTOR;
}
