/* Moves content between an image and those behind it, so that what a guest sees stays the same. */
#ifndef DISK_REBASE_H
#define DISK_REBASE_H

#include "disk/disk.h"

struct disk_commit {
	struct disk *top, *base; /* base lies below top, and is open for writing */
	uint64_t bytes_per_s;    /* 0: as fast as it goes */
	struct disk_progress progress;
};

/* [waits] Writes into base what the images from top down to it hold; base grows where it is smaller
 * than top. top keeps its content. */
int disk_commit(const struct disk_commit *c, struct err *e);

struct disk_rebase {
	struct disk *top;         /* open for writing, with its present chain */
	struct disk *new_backing; /* NULL: none from now on */
	struct disk_progress progress;
};

/* [waits] Copies into top whatever would read otherwise once new_backing lies behind it. The name in
 * the image is not changed: disk_change_backing() does that. */
int disk_rebase(const struct disk_rebase *r, struct err *e);

#endif
