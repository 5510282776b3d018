/* The writer of indexes in two files: erofs_write.c takes entries, erofs_emit.c puts the image together.
 */
#ifndef IMAGE_EROFS_WRITE_INT_H
#define IMAGE_EROFS_WRITE_INT_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/vec.h"
#include "image/erofs_write.h"
#include "image/tree.h"

/* One file whose pieces are copied. */
struct erofs_copy {
	bool running;
	uint32_t inode, chunks; /* of the tree; its chunk map in the heap */
	unsigned bits;          /* log2 of the chunk size */
	VEC(struct tar_segment) segments;
	size_t segment;
	uint64_t done; /* bytes of that segment */
};

struct erofs_writer {
	int fd;
	struct tree tree;
	struct erofs_copy copy;
	uint64_t body; /* end of the copied pieces, a multiple of EROFS_BLOCK */
	struct buf xattrs;

	VEC(uint32_t) order;  /* nodes, in the order of their inodes */
	VEC(uint32_t) blocks; /* by inode: first data block, or EROFS_NO_BLOCK */
	VEC(uint8_t) inlined; /* by inode: its last block follows it */
	uint64_t data_at, meta_at, meta_len;
	uint32_t mapped; /* first block of the tar */
	bool chunks;

	struct buf out; /* on its way to out_at */
	uint64_t out_at;
};

/* Writes to the file at once. */
int erofs_write_at(struct erofs_writer *w, uint64_t at, const void *p, size_t len, struct err *e);
/* Appends an attribute as it lies behind inodes. A name of no known prefix, or one that does not fit, is
 * left out, as file systems without such attributes leave it. */
void erofs_add_xattr(struct buf *b, const char *name, const void *value, size_t len);

#endif
