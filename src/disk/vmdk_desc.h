/* The descriptor of a VMDK: text that says which extents make up the disk, and names a parent. No I/O.
 *
 * VMware, "Virtual Disk Format 5.0" (technical note), "The Descriptor File". */
#ifndef DISK_VMDK_DESC_H
#define DISK_VMDK_DESC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define VMDK_DESC_MAX    (256u << 10) /* bytes of the text */
#define VMDK_EXTENTS_MAX 4096u        /* twice what 2 GiB pieces of the largest disk need */
#define VMDK_NO_PARENT   0xffffffffU  /* parentCID of a disk without parent */
#define VMDK_SECTORS_MAX (1ULL << 42) /* of an extent: what an offset in bytes can tell */

/* A line such as: RW 4192256 SPARSE "disk-s001.vmdk" */
struct vmdk_desc_extent {
	bool writable; /* RW, not RDONLY */
	uint64_t sectors;
	char type[16];   /* FLAT, SPARSE, VMFS, ZERO … */
	char *name;      /* owned; NULL: none (ZERO) */
	uint64_t offset; /* sectors, of FLAT */
};

struct vmdk_desc {
	uint32_t cid, parent_cid;
	char create_type[32];
	char *parent; /* parentFileNameHint; owned, NULL: none */
	struct vmdk_desc_extent *extents;
	unsigned extent_count;
};

/* Does the text begin like a descriptor? */
bool vmdk_desc_probe(const char *text, size_t len);

/* text: NUL-terminated. The caller ends with vmdk_desc_done(), also after a failure. */
int vmdk_desc_parse(const char *text, struct vmdk_desc *ret_desc, struct err *e);
void vmdk_desc_done(struct vmdk_desc *d);

/* What a new descriptor says besides. */
struct vmdk_desc_hardware {
	const char *version; /* virtualHWVersion */
	const char *adapter; /* ide, lsilogic, buslogic, legacyESX */
	const char *tools;   /* toolsVersion */
};

/* Appends the text of a new descriptor. */
void vmdk_desc_build(const struct vmdk_desc *d, const struct vmdk_desc_hardware *hw, struct buf *b);

/* Appends old with the CIDs, extents and size of d, and everything else as it is. */
void vmdk_desc_edit(const char *old, const struct vmdk_desc *d, struct buf *b);

#endif
