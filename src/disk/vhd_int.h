/* What the files of the VHD driver share: vhd.c opens, reads and writes, vhd_change.c creates, resizes
 * and checks, vhd_parent.c finds and names a parent.
 *
 * Block allocation: a block goes where the footer was, the footer behind it, before anything refers to
 * the block. So the last sector of the file is a footer at any time, never a guest's bytes, and which
 * kind of VHD it is can be read there without trusting the guest of a fixed disk. */
#ifndef DISK_VHD_INT_H
#define DISK_VHD_INT_H

#include "disk/blocks.h"
#include "disk/driver.h"
#include "disk/paged.h"
#include "disk/vhd_head.h"

struct vhd {
	struct disk *d;
	enum vhd_size_rule rule;
	struct vhd_footer footer;
	uint64_t end; /* where the footer is, and the next block goes; fixed: the data's end */

	/* dynamic and differencing */
	struct vhd_dynamic dynamic;
	struct paged bat;
	struct blocks blocks;
	uint32_t bitmap_bytes;
	uint8_t *whole;       /* a bit per block: its sector bitmap is known to be all ones */
	struct co_mutex lock; /* of `end`, and of filling a block */
};

/* [waits] BAT entry of a block: its sector, or VHD_UNUSED. */
int vhd_bat_get(struct vhd *s, uint64_t index, uint32_t *ret_sector);
int vhd_bat_set(struct vhd *s, uint64_t index, uint32_t sector);
int vhd_bat_init(struct vhd *s);
/* [waits] Writes the footer at s->end. */
int vhd_write_footer(struct vhd *s);
/* [waits] Writes out everything and makes it stable. */
int vhd_flush_all(struct vhd *s);
bool vhd_is_whole(const struct vhd *s, uint64_t index);

int vhd_truncate(struct disk *d, uint64_t size, bool exact, enum disk_prealloc prealloc,
		 unsigned flags, struct err *e);
int vhd_check(struct disk *d, unsigned fix, struct disk_check *c, struct err *e);
int vhd_create(const struct disk_create *c, struct err *e);
extern const struct disk_opt vhd_create_opts[];

/* [waits] The parent's path that the locators, or else the header, name. Owned; NULL where none. */
int vhd_parent_name(struct vhd *s, char **ret_name, struct err *e);
/* For create: names `path` as the parent in d and makes the locator's bytes, which the caller writes
 * at `offset`. Returns owned in *ret_data. */
int vhd_parent_set(struct vhd_dynamic *d, const char *path, uint64_t offset, uint8_t **ret_data,
		   size_t *ret_len, struct err *e);

#endif
