/* The header of a hosted sparse extent of a VMDK, bytes to struct and back. No I/O.
 *
 * VMware, "Virtual Disk Format 5.0", "Hosted Sparse Extents" and "Stream-Optimized Compressed Sparse
 * Extents"; names are its. An extent is cut into grains; a grain directory points to grain tables,
 * whose entries point to grains. There are two copies of directory and tables. */
#ifndef DISK_VMDK_HEAD_H
#define DISK_VMDK_HEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define VMDK_SECTOR       512
#define VMDK_HEAD_BYTES   512
#define VMDK_MARKER_BYTES 512
#define VMDK_GRAIN_MARKER 12 /* bytes before the compressed data: lba, size */

/* Entries of a grain directory: 32 TiB with the usual grains and tables. */
#define VMDK_DIRECTORY_MAX (1u << 20)

#define VMDK_GD_AT_END UINT64_MAX

enum vmdk_flags {
	VMDK_NEW_LINES = 1 << 0,  /* the four bytes that show a text transfer are there */
	VMDK_REDUNDANT = 1 << 1,  /* the second directory is used */
	VMDK_ZERO_GRAIN = 1 << 2, /* entry 1 means a grain of zeros */
	VMDK_COMPRESSED = 1 << 16,
	VMDK_MARKERS = 1 << 17,
};

/* Types of a marker sector: its last field, where its size is 0. */
enum vmdk_marker { VMDK_END_OF_STREAM, VMDK_GRAIN_TABLE, VMDK_GRAIN_DIRECTORY, VMDK_FOOTER };

struct vmdk_head {
	uint32_t version;
	uint32_t flags;
	uint64_t capacity;      /* sectors */
	uint64_t grain_sectors; /* a power of two */
	uint64_t desc_offset, desc_sectors;
	uint32_t table_entries;                      /* numGTEsPerGT */
	uint64_t redundant_offset, directory_offset; /* sectors; rgdOffset, gdOffset */
	uint64_t overhead;                           /* sectors before the first grain */
	bool unclean;
};

/* Does it begin like a sparse extent ("KDMV"), or like one of ESX's ("COWD"), which we do not read? */
bool vmdk_head_probe(const uint8_t *raw, size_t len);

/* -EINVAL, -ENOTSUP. directory_offset may be VMDK_GD_AT_END. */
int vmdk_head_parse(const uint8_t raw[VMDK_HEAD_BYTES], struct vmdk_head *ret_head, struct err *e);
void vmdk_head_build(const struct vmdk_head *h, uint8_t raw[VMDK_HEAD_BYTES]);

/* Entries of the grain directory. */
uint64_t vmdk_head_tables(const struct vmdk_head *h);
/* Sectors of a grain table, and of a grain directory with that many entries. */
uint64_t vmdk_head_table_sectors(const struct vmdk_head *h);
uint64_t vmdk_head_directory_sectors(uint64_t tables);

#endif
