/* Shared by push.c (what to send) and push_blob.c (sending blobs). */
#ifndef IMAGE_PUSH_INT_H
#define IMAGE_PUSH_INT_H

#include "image/push.h"

struct push_wish {
	struct digest digest;
	uint64_t size;
	char *from; /* a repository of that registry that has it, perhaps; owned by the caller */
};

int push_blobs(struct image_store *s, struct repository *p, const struct push_wish *wishes,
	       size_t n, struct progress *progress, struct push_result *ret, struct err *e);

#endif
