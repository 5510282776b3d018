/* Copies the content of images, one behind the other, into another image: convert, clone, and later
 * import and mirror. Several coroutines read, look for zeroes and write; what reads as zeroes takes
 * no space in the target, and unless told otherwise the target is written from front to back. It
 * opens, creates and removes nothing. */
#ifndef DISK_CONVERT_H
#define DISK_CONVERT_H

#include "disk/disk.h"

#define DISK_CONVERT_WORKERS_MAX 16
#define DISK_CONVERT_CHUNK       (2u << 20) /* bytes of one read; a worker has one such buffer */

struct disk_convert {
	struct disk *const *sources; /* borrowed */
	unsigned source_count;
	struct disk *target;
	unsigned workers;   /* 0: 8 */
	uint32_t sparse;    /* as many zero bytes become a hole; 0: everything is written out */
	bool compressed;    /* whole clusters, compressed; they may land in any order */
	bool any_order;     /* writes need not go from front to back */
	bool offload;       /* let the host copy or share what it can (disk_copy_range) */
	bool starts_zeroed; /* the target reads as zeroes now, so zeroes need no writing */
	bool over_backing;  /* the target has a backing image equal to that of the source: what the
				    source does not allocate is left out */
	uint64_t backing_size; /* of that backing image: behind it the target reads as zeroes */
	uint64_t bytes_per_s;  /* 0: as fast as it goes */
	/* What cannot be read is zeroes in the target: told, not failed. NULL: a failure. */
	void (*unreadable)(void *arg, uint64_t offset, int rc);
	void *arg;
	struct disk_progress progress;
};

/* [waits] The target has at least the size of all sources together. -ECANCELED where progress said
 * so. After a failure the target's content is undefined. Not inside a coroutine. */
int disk_convert(const struct disk_convert *c, struct err *e);

#endif
