/* What the files of image_load() share. */
#ifndef IMAGE_LOAD_INT_H
#define IMAGE_LOAD_INT_H

#include "image/exchange.h"
#include "image/ingest.h"
#include "image/source.h"

struct load {
	struct image_store *store;
	const struct load_options *options;
	struct source *source;
	size_t count; /* images so far */
};

int load_oci(struct load *l, struct err *e);
int load_docker(struct load *l, struct err *e);

/* The layer that is that file of the source; in has its digests and compression. */
int load_layer(struct load *l, const char *name, struct ingest *in, struct digest *ret_digest,
	       struct err *e);
/* Everything is in the store and held: the image appears. */
int load_finish(struct load *l, const struct digest *manifest, const struct reference *names,
		size_t count, struct err *e);

#endif
