/* The structures of a Virtual Hard Disk (VHD, also "vpc"): footer and dynamic disk header, bytes to
 * struct and back, and the geometry that decides the size of disks made by Virtual PC. No I/O.
 *
 * Microsoft, "Virtual Hard Disk Image Format Specification", version 1.0 (October 2006); names and
 * section titles are its. A fixed disk is the data with a footer behind it; a dynamic or
 * differencing one has a copy of the footer first, then the dynamic disk header, the block
 * allocation table (BAT) and blocks, each with a bitmap of its sectors in front, and the footer at
 * the end. */
#ifndef DISK_VHD_HEAD_H
#define DISK_VHD_HEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define VHD_FOOTER_BYTES  512
#define VHD_DYNAMIC_BYTES 1024
#define VHD_SECTOR        512

#define VHD_UNUSED 0xffffffffU /* BAT entry of a block that is not there */

/* 2040 GiB: what BAT entries, in sectors, can address. */
#define VHD_SIZE_MAX (2040ULL << 30)

/* "Block Allocation Table": bounds what a hostile header makes us read and scan. With the smallest
 * block size that is used, 512 KiB, this is VHD_SIZE_MAX. */
#define VHD_BLOCKS_MAX (4u << 20)

enum vhd_type { VHD_FIXED = 2, VHD_DYNAMIC = 3, VHD_DIFFERENCING = 4 };

struct vhd_geometry {
	uint16_t cylinders;
	uint8_t heads, sectors;
};

/* "Hard Disk Footer Format". */
struct vhd_footer {
	enum vhd_type type;
	uint64_t data_offset; /* of the dynamic disk header */
	uint32_t timestamp;   /* seconds since 2000-01-01 */
	char creator[4];      /* "Creator Application" */
	uint64_t original_size, current_size;
	struct vhd_geometry geometry;
	uint8_t uuid[16];
	bool saved_state;
};

/* Entry of the dynamic disk header that says where a parent's path is stored. */
struct vhd_locator {
	uint32_t platform; /* "Platform Code" */
	uint32_t space, length;
	uint64_t offset;
};

#define VHD_LOCATORS 8

/* Platform codes: UTF-16LE paths of Windows, absolute or relative, and a file URL in UTF-8. */
#define VHD_W2KU 0x57326b75U
#define VHD_W2RU 0x57327275U
#define VHD_MACX 0x4d616358U

/* Longest path that a locator may hold, in bytes. */
#define VHD_LOCATOR_MAX 4096u

/* "Dynamic Disk Header Format". */
struct vhd_dynamic {
	uint64_t table_offset; /* of the BAT */
	uint32_t block_count;  /* "Max Table Entries" */
	uint32_t block_bytes;  /* a power of two */
	uint8_t parent_uuid[16];
	uint32_t parent_timestamp;
	uint8_t parent_name[512]; /* UTF-16BE */
	struct vhd_locator locator[VHD_LOCATORS];
};

/* Are these 512 bytes a footer, by its cookie? */
bool vhd_footer_probe(const uint8_t *raw, size_t len);

/* Checks cookie, checksum, type and sizes; -EINVAL, -ENOTSUP. */
int vhd_footer_parse(const uint8_t raw[VHD_FOOTER_BYTES], struct vhd_footer *ret_footer,
		     struct err *e);
/* Writes the whole footer with its checksum. */
void vhd_footer_build(const struct vhd_footer *f, uint8_t raw[VHD_FOOTER_BYTES]);

/* How the size is found: creators disagree whether geometry or current size counts. AUTO goes by
 * the creator's name as QEMU does; the other two are its option force_size_calc. */
enum vhd_size_rule { VHD_SIZE_AUTO, VHD_SIZE_CHS, VHD_SIZE_CURRENT };

/* Size of the virtual disk in bytes. */
uint64_t vhd_footer_size(const struct vhd_footer *f, enum vhd_size_rule rule);

int vhd_dynamic_parse(const uint8_t raw[VHD_DYNAMIC_BYTES], struct vhd_dynamic *ret_dynamic,
		      struct err *e);
void vhd_dynamic_build(const struct vhd_dynamic *d, uint8_t raw[VHD_DYNAMIC_BYTES]);

/* Bytes of the sector bitmap before each block: a bit per sector, to whole sectors. */
uint32_t vhd_bitmap_bytes(uint32_t block_bytes);

/* "Appendix: CHS Calculation". */
struct vhd_geometry vhd_geometry_of(uint64_t sectors);
uint64_t vhd_geometry_sectors(struct vhd_geometry g);

/* The smallest size ≥ size that a geometry describes exactly, with that geometry; past the largest
 * geometry, and where exact, size itself with the largest one. */
uint64_t vhd_round_size(uint64_t size, bool exact, struct vhd_geometry *ret_geometry);

#endif
