/* The header of a VirtualBox disk image (VDI 1.1): bytes to struct and back. No I/O.
 *
 * A VDI is a header sector, a map of one 32-bit number per block, and blocks, each somewhere in
 * the file. The format has no public specification; the layout is that of VirtualBox's
 * src/VBox/Storage/VDICore.h. Differencing images (a parent's UUID) are refused by name. */
#ifndef DISK_VDI_HEAD_H
#define DISK_VDI_HEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define VDI_HEAD_BYTES 512

/* Entries of the map that are no block number. */
#define VDI_NEVER     0xffffffffU /* never written: reads as zeros */
#define VDI_DISCARDED 0xfffffffeU /* was freed: reads as zeros */

/* QEMU's limit, which keeps map and block numbers in 32 bits. */
#define VDI_BLOCKS_MAX 0x1fffff80U

enum vdi_type { VDI_DYNAMIC = 1, VDI_STATIC = 2 };

struct vdi_head {
	enum vdi_type type;
	uint32_t header_size; /* as found; kept when written back */
	uint32_t flags;
	uint32_t map_offset;  /* bytes, of the map */
	uint32_t data_offset; /* bytes, of block 0 */
	uint64_t size;        /* bytes of the virtual disk, a multiple of 512 */
	uint32_t block_bytes; /* a power of two */
	uint32_t
	    extra_bytes; /* before each block's data, as VirtualBox can have; multiple of 512 */
	uint32_t block_count;
	uint32_t allocated_count;
	uint8_t uuid[16];
	uint8_t snap_uuid[16];
};

/* Does it begin like a VDI? */
bool vdi_head_probe(const uint8_t *raw, size_t len);

/* Checks everything that the header alone can tell; -EINVAL, -ENOTSUP. */
int vdi_head_parse(const uint8_t raw[VDI_HEAD_BYTES], struct vdi_head *ret_head, struct err *e);

/* Writes h into raw, which keeps what we do not know (texts, geometry) from before; for a new image
 * raw is zeros. */
void vdi_head_build(const struct vdi_head *h, uint8_t raw[VDI_HEAD_BYTES]);

#endif
