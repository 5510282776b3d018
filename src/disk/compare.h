/* Do two images hold the same bytes? */
#ifndef DISK_COMPARE_H
#define DISK_COMPARE_H

#include "disk/disk.h"

enum disk_difference {
	DISK_SAME,
	DISK_DIFFERENT_BYTES,
	DISK_DIFFERENT_STATUS, /* strict: one allocates what the other does not */
	DISK_COMPARE_STATUS,   /* failed: where the data lies could not be learnt */
	DISK_COMPARE_READ,     /* failed: data could not be read */
};

struct disk_compare {
	struct disk *a, *b;
	bool strict; /* allocation counts too */
	struct disk_progress progress;
	/* What came of it. */
	enum disk_difference difference;
	uint64_t offset;    /* of the difference, or the failure */
	struct disk *where; /* failed in this one */
};

/* [waits] Behind the end of the shorter one, the longer one has to read as zeroes. 0 once it is known
 * whether they differ; negative where it could not be found out (difference says at what), or
 * -ECANCELED. */
int disk_compare(struct disk_compare *c);

#endif
