/* What the files of the VMDK driver share: vmdk.c puts extents together, vmdk_sparse.c reads and writes
 * the tables of a sparse one, vmdk_stream.c its compressed grains, vmdk_create.c and vmdk_change.c make,
 * resize and check. */
#ifndef DISK_VMDK_INT_H
#define DISK_VMDK_INT_H

#include "disk/blocks.h"
#include "disk/driver.h"
#include "disk/paged.h"
#include "disk/vmdk_desc.h"
#include "disk/vmdk_head.h"

enum vmdk_kind { VMDK_FLAT, VMDK_SPARSE, VMDK_STREAM, VMDK_ZEROS };

#define VMDK_COMPRESSORS 16

struct vmdk_extent {
	struct disk *d;
	struct disk *file; /* NULL: zeros, or not opened (untrusted) */
	bool own_file;     /* opened for this extent, not d->file */
	enum vmdk_kind kind;
	uint64_t start, size; /* bytes of d */
	char *type;           /* as the descriptor says; NULL: the disk is in one file */
	uint64_t flat_offset; /* bytes, in file */

	/* sparse and compressed */
	struct vmdk_head head;
	bool head_is_footer; /* the header that counts is at the end of the file */
	uint32_t *directory; /* sectors of grain tables; 0: none */
	uint32_t *redundant; /* of their second copies; NULL: not used */
	uint32_t table_count;
	uint64_t end;        /* where the next grain or table goes */
	struct paged tables; /* a page per grain table */
	struct blocks blocks;

	/* compressed */
	struct co_mutex rewriting; /* a grain of which a part is written */
	uint8_t *last;             /* the grain that was inflated last, or NULL */
	uint64_t last_index;
	unsigned generation; /* counts writes, after which `last` may be old */
	struct libdeflate_compressor *compressors[VMDK_COMPRESSORS]; /* idle ones */
	unsigned compressor_count;
};

struct vmdk {
	struct disk *d;
	char *text; /* of the descriptor */
	struct vmdk_desc desc;
	uint64_t desc_offset, desc_room; /* bytes, in d->file; room 0: it has the file for itself */
	struct vmdk_extent *extents;
	unsigned extent_count;
	bool cid_renewed;  /* since it was opened */
	bool parent_known; /* its CID was compared */
};

/* [waits] Reads header and directory of x->file; x->d and x->file are set. */
int vmdk_sparse_open(struct vmdk_extent *x, struct err *e);
int vmdk_sparse_flush(struct vmdk_extent *x);
void vmdk_extent_done(struct vmdk_extent *x);
/* [waits] Where a grain is; for compressed ones the offset is that of its marker. */
int vmdk_grain_find(struct vmdk_extent *x, uint64_t index, struct block_place *ret);
int vmdk_grain_set(struct vmdk_extent *x, uint64_t index, const struct block_place *p);

/* [waits] Offsets are d's, inside x. */
int vmdk_stream_read(struct vmdk_extent *x, uint64_t offset, uint64_t len, const struct disk_vec *v,
		     size_t at);
void vmdk_stream_done(struct vmdk_extent *x);
/* v NULL: zeros */
int vmdk_stream_write(struct vmdk_extent *x, uint64_t offset, uint64_t len,
		      const struct disk_vec *v, size_t at);
int vmdk_stream_status(struct vmdk_extent *x, uint64_t offset, uint64_t len,
		       struct disk_extent *ret);

/* [waits] Writes s->desc into the descriptor's text and that to the file. */
int vmdk_write_desc(struct vmdk *s);

int vmdk_truncate(struct disk *d, uint64_t size, bool exact, enum disk_prealloc prealloc,
		  unsigned flags, struct err *e);
int vmdk_check(struct disk *d, unsigned fix, struct disk_check *c, struct err *e);
int vmdk_create(const struct disk_create *c, struct err *e);
extern const struct disk_opt vmdk_create_opts[];

/* The layout of a new sparse extent of `size` bytes with these flags. */
struct vmdk_head vmdk_new_head(uint64_t size, uint32_t flags);
/* [waits] Writes header, directories and empty tables. */
int vmdk_write_sparse(struct disk *file, const struct vmdk_head *h);
/* The n-th (from 1) extent file of an image of that name, without its directory: "disk-s001.vmdk";
 * n 0: the one of monolithicFlat, "disk-flat.vmdk". Owned. */
char *vmdk_extent_name(const char *filename, bool flat, unsigned n);
/* [waits] Makes that file beside the image. */
int vmdk_create_extent(struct disk_ctx *ctx, const char *filename, const char *name, bool flat,
		       uint32_t flags, uint64_t size, const json_t *opts, struct err *e);
/* Removes it, where it is a host's file. */
void vmdk_remove_extent(const char *filename, const char *name);

/* Bytes of the extents of a split image. */
#define VMDK_SPLIT_BYTES (2ULL << 30)

#endif
