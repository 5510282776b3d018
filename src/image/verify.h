/* Reading the whole store again: every blob against its digest, every layer against its DiffID, and
 * every image for what it lacks. Also what is worth to be asked of the store as a whole: how much
 * it takes. */
#ifndef IMAGE_VERIFY_H
#define IMAGE_VERIFY_H

#include "image/image.h"
#include "io/progress.h"

enum fault_kind {
	FAULT_BLOB_DAMAGED,
	FAULT_BLOB_MISSING,
	FAULT_LAYER_DAMAGED,
	FAULT_LAYER_MISSING
};

struct fault {
	enum fault_kind kind;
	struct digest digest; /* of the blob, or the DiffID */
	char what[ERR_MSG_MAX];
};

struct fault_list {
	VEC(struct fault) v;
};

static inline void fault_list_done(struct fault_list *l)
{
	vec_done(&l->v);
}

/* Appends what is wrong; 0 also where something is. progress may be NULL. */
int image_verify(struct image_store *s, struct progress *progress, struct fault_list *ret,
		 struct err *e);
/* Removes what is damaged, and makes layers anew whose blobs are there and whole. What is missing
 * then has to be fetched again. */
int image_repair(struct image_store *s, const struct fault_list *faults, struct err *e);

/* Does the image consist of that blob or layer? */
bool image_has(const struct image *i, const struct digest *d);

struct usage_part {
	uint64_t count, needed;            /* things, and those that an image or a command needs */
	uint64_t bytes, reclaimable_bytes; /* on the disk */
};

struct usage {
	struct usage_part images, blobs, layers, temporaries;
};

int image_usage(struct image_store *s, struct usage *ret, struct err *e);
/* What the image takes on the disk with blobs and layers, and how much of it is in no other image. */
int image_disk(struct image_store *s, const struct image_list *l, const struct image *i,
	       uint64_t *ret_bytes, uint64_t *ret_unique, struct err *e);

#endif
