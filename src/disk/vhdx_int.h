/* What the files of the VHDX driver share: vhdx.c opens, reads and writes, vhdx_log.c replays and writes
 * the log, vhdx_change.c creates, resizes and checks. */
#ifndef DISK_VHDX_INT_H
#define DISK_VHDX_INT_H

#include "base/vec.h"
#include "disk/blocks.h"
#include "disk/driver.h"
#include "disk/paged.h"
#include "disk/vhdx_head.h"

#define VHDX_PAGE 4096u /* unit of the log */

/* A change that the log tells: len bytes of data, or of zeros where data is NULL. */
struct vhdx_patch {
	uint64_t offset, len;
	const uint8_t *data;
};

struct vhdx {
	struct disk *d;
	struct vhdx_head head; /* the current one */
	unsigned head_index;   /* which of the two copies it is */
	struct vhdx_regions regions;
	struct vhdx_metadata meta;
	uint64_t ratio; /* blocks per sector bitmap entry */
	uint64_t end;   /* where the next block goes */
	struct paged bat;
	struct blocks blocks;

	/* The log */
	uint32_t log_at; /* where in the log the next entry goes */
	uint64_t log_sequence;
	struct co_mutex log_lock;
	bool write_begun; /* headers say that the file is being written */
	/* Read-only: the log is not replayed to the file but laid over what is read from it. */
	VEC(struct vhdx_patch) patches;
	uint8_t *log_data; /* what patches point into */
};

/* [waits] Reads the log of s->head and replays it, or keeps it as patches; read-only never writes. */
int vhdx_log_replay(struct vhdx *s, struct err *e);
/* [waits] A read of metadata, through the patches. */
int vhdx_pread(struct vhdx *s, uint64_t offset, void *buf, size_t len);
/* [waits] Writes pages of VHDX_PAGE bytes (offset, data) so that after a cut all of them are there or
 * none; at most VHDX_COMMIT_MAX. What was written before is stable first. */
#define VHDX_COMMIT_MAX 126u
int vhdx_log_commit(struct vhdx *s, const struct vhdx_patch *w, unsigned count);
/* [waits] Marks the file as being written, with an empty log of our own. */
int vhdx_write_begin(struct vhdx *s);
/* [waits] The log is empty from now on. */
int vhdx_write_end(struct vhdx *s);
void vhdx_log_done(struct vhdx *s);

int vhdx_bat_init(struct vhdx *s);
/* Index in the BAT of a block. */
uint64_t vhdx_bat_index(const struct vhdx *s, uint64_t block);
int vhdx_bat_get(struct vhdx *s, uint64_t block, uint64_t *ret_entry);
int vhdx_bat_set(struct vhdx *s, uint64_t block, uint64_t entry);

int vhdx_truncate(struct disk *d, uint64_t size, bool exact, enum disk_prealloc prealloc,
		  unsigned flags, struct err *e);
int vhdx_check(struct disk *d, unsigned fix, struct disk_check *c, struct err *e);
int vhdx_create(const struct disk_create *c, struct err *e);
extern const struct disk_opt vhdx_create_opts[];

#endif
