/* The structures of VHDX files, bytes to struct and back. No I/O.
 *
 * Microsoft, [MS-VHDX] "Virtual Hard Disk v2 (VHDX) File Format"; names and section numbers are its.
 * All numbers are little-endian, all checksums CRC-32C. */
#ifndef DISK_VHDX_HEAD_H
#define DISK_VHDX_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* 2.1: regions lie at multiples of 1 MiB, the first MiB holds the headers. */
#define VHDX_MB           (1u << 20)
#define VHDX_HEAD_BYTES   4096u
#define VHDX_HEAD_AT(i)   ((1u + (i)) << 16) /* 2.2: two copies */
#define VHDX_REGION_BYTES (64u << 10)
#define VHDX_REGION_AT(i) ((3u + (i)) << 16) /* 2.2.3: two copies */
#define VHDX_META_TABLE   (64u << 10)        /* 2.6: table, before the items */

#define VHDX_BLOCK_MIN VHDX_MB
#define VHDX_BLOCK_MAX (256u << 20)
#define VHDX_SIZE_MAX  (64ULL << 40)
#define VHDX_LOG_MAX   (64u << 20) /* ours: the log is read into memory */

/* 2.2.2 */
struct vhdx_head {
	uint64_t sequence;
	uint8_t file_write_guid[16], data_write_guid[16];
	uint8_t log_guid[16]; /* zeros: the log is empty */
	uint16_t log_version, version;
	uint32_t log_bytes;
	uint64_t log_offset;
};

/* 2.2.3 */
struct vhdx_region {
	uint64_t offset;
	uint32_t bytes;
};

struct vhdx_regions {
	struct vhdx_region bat, metadata;
};

/* 2.6.2 */
struct vhdx_metadata {
	uint32_t block_bytes;
	bool leave_allocated; /* a fixed disk */
	bool has_parent;
	uint64_t size;
	uint32_t logical_sector, physical_sector;
	uint8_t page83[16];
	uint32_t size_at; /* offset of the size's item in the region */
};

/* "vhdxfile" */
bool vhdx_probe(const uint8_t *raw, size_t len);

/* Each checks its checksum and every field; -EINVAL, -ENOTSUP. */
int vhdx_head_parse(const uint8_t raw[VHDX_HEAD_BYTES], struct vhdx_head *ret_head, struct err *e);
void vhdx_head_build(const struct vhdx_head *h, uint8_t raw[VHDX_HEAD_BYTES]);

int vhdx_regions_parse(const uint8_t raw[VHDX_REGION_BYTES], struct vhdx_regions *ret_regions,
		       struct err *e);
void vhdx_regions_build(const struct vhdx_regions *r, uint8_t raw[VHDX_REGION_BYTES]);
/* Changes where the BAT is in an existing table. */
void vhdx_regions_move_bat(uint8_t raw[VHDX_REGION_BYTES], const struct vhdx_region *bat);

/* raw: the first `bytes` of the metadata region. */
int vhdx_metadata_parse(const uint8_t *raw, size_t bytes, struct vhdx_metadata *ret_metadata,
			struct err *e);
/* Writes table and items; raw has VHDX_META_TABLE + 4096 bytes, zeroed. */
void vhdx_metadata_build(const struct vhdx_metadata *m, uint8_t *raw);

/* 2.5: entries of the BAT, in which a sector bitmap's follows every `ratio` blocks'. */
uint64_t vhdx_chunk_ratio(const struct vhdx_metadata *m);
uint64_t vhdx_bat_entries(const struct vhdx_metadata *m, uint64_t size);

/* 2.5.1: state of a block, the lowest three bits of its entry; its offset the highest 44, in MiB. */
enum vhdx_state {
	VHDX_NOT_PRESENT = 0,
	VHDX_UNDEFINED = 1,
	VHDX_ZERO = 2,
	VHDX_UNMAPPED = 3,
	VHDX_UNMAPPED_OLD = 5, /* of version 0.95 */
	VHDX_PRESENT = 6,
	VHDX_PARTIAL = 7, /* differencing only */
};

#define VHDX_STATE_MASK  7ULL
#define VHDX_OFFSET_MASK (~0ULL << 20)

#endif
