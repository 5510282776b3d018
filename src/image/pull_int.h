/* Shared by pull.c (documents and names) and pull_layer.c (layers). */
#ifndef IMAGE_PULL_INT_H
#define IMAGE_PULL_INT_H

#include "image/pull.h"

struct layer_wish {
	const struct descriptor *blob;
	struct digest diff_id; /* not set: no layer, the blob alone */
};

/* Brings what the store lacks of these layers. endpoint: where to begin. */
int pull_layers(struct image_store *s, struct repository *p, size_t endpoint,
		const struct layer_wish *wishes, size_t n, const struct pull_options *o,
		struct err *e);

#endif
