/* What VDI, VHD, VHDX and VMDK have in common: a disk of equal blocks, each of which lies somewhere
 * in a file, reads as zeros, or is not there (and then shows the backing image). This module cuts
 * requests at blocks, joins blocks that lie side by side, fills what a first write does not cover, and
 * lets one writer at a time place a block. The format says where blocks are (find), where the next
 * one goes (reserve) and records it (set).
 *
 * A block is recorded after its data was written; the format's table must not reach the file before
 * the data has (disk/paged.h). */
#ifndef DISK_BLOCKS_H
#define DISK_BLOCKS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "disk/driver.h"

enum block_state {
	BLOCK_NONE, /* not in this image */
	BLOCK_ZERO, /* zeros, whatever is behind */
	BLOCK_DATA, /* at offset */
};

struct block_place {
	enum block_state state;
	uint64_t offset; /* in the file */
};

struct blocks_ops {
	/* [waits] Where block `index` is. offset is checked: the whole block lies where blocks may. */
	int (*find)(void *owner, uint64_t index, struct block_place *ret);
	/* Room for `count` (at most run_max) blocks side by side, for index and those after it, which
	 * nothing refers to yet. [waits] */
	int (*reserve)(void *owner, uint64_t index, unsigned count, uint64_t *ret_offset);
	/* [waits] Records it, in memory. */
	int (*set)(void *owner, uint64_t index, const struct block_place *p);
	/* [waits] Before a write to a block that is there. NULL: nothing to do. */
	int (*before_write)(void *owner, uint64_t index, const struct block_place *p);
};

struct blocks {
	struct disk *d;    /* whose disk it is: its backing image */
	struct disk *file; /* where blocks lie */
	const struct blocks_ops *ops;
	void *owner;
	uint64_t start; /* offset in d of block 0 */
	uint32_t block_bytes;
	unsigned run_max;   /* blocks that one reserve may ask for */
	bool has_zero;      /* the format can record BLOCK_ZERO */
	bool new_is_zeroed; /* what reserve gives reads as zeros */

	struct list placing; /* writers that place blocks; blocks_init() */
};

/* The caller has set the fields above the space. */
void blocks_init(struct blocks *b);

/* [waits] Offsets are d's; the range lies in these blocks. */
int blocks_read(struct blocks *b, uint64_t offset, uint64_t len, const struct disk_vec *v,
		size_t at);
int blocks_write(struct blocks *b, uint64_t offset, uint64_t len, const struct disk_vec *v,
		 size_t at);
/* [waits] Of any alignment: -ENOTSUP for what the core should write as data. */
int blocks_zero(struct blocks *b, uint64_t offset, uint64_t len, unsigned flags);
/* [waits] Gives the space of whole blocks back, where they lie on their own. */
int blocks_discard(struct blocks *b, uint64_t offset, uint64_t len);
int blocks_status(struct blocks *b, uint64_t offset, uint64_t len, struct disk_extent *ret);
/* [waits] For a resize from or to `size`: what the block there holds behind it becomes zeros, so that it
 * does not show when the disk grows (again). */
int blocks_zero_tail(struct blocks *b, uint64_t size);

#endif
