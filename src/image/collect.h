/* The collector: removes what no record, name or running command needs any more. Marking reads
 * `state` alone, because records list all that images consist of; so a damaged blob never makes the
 * collector take more. It excludes whoever takes hold of blobs for the time it needs (store.h), and
 * waits for nobody else. */
#ifndef IMAGE_COLLECT_H
#define IMAGE_COLLECT_H

#include "image/image.h"

/* A sorted set of digests. */
struct digest_set {
	VEC(struct digest) v;
};

void digest_set_add(struct digest_set *set, const struct digest *d);
/* Once, after the last add and before the first look. */
void digest_set_sort(struct digest_set *set);
bool digest_set_has(const struct digest_set *set, const struct digest *d);
void digest_set_done(struct digest_set *set);
#define _digest_set_ __attribute__((cleanup(digest_set_done)))

struct collect_options {
	bool dry_run;
	bool partials; /* also what cut pulls have left to be continued */
};

struct collected {
	uint64_t blobs, layers;
	uint64_t bytes; /* on the disk */
};

/* -errno of the first thing that could not be removed, after trying the others. */
int image_collect(struct image_store *s, const struct collect_options *o, struct collected *ret,
		  struct err *e);

/* All that is needed: blobs and DiffIDs, sorted. */
int image_reachable(struct image_store *s, struct digest_set *ret, struct err *e);

#endif
