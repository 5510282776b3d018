/* A layer of a source that is at hand (an archive, a folder) into the store: its blob, and what
 * layer.h keeps of it. Compressed ones go through the pipeline of a pull; an uncompressed one is
 * stored once, as the layer's tar, and that file is its blob too where the back end keeps it. */
#ifndef IMAGE_INGEST_H
#define IMAGE_INGEST_H

#include "codec/inflate.h"
#include "image/layer.h"
#include "image/source.h"
#include "image/store.h"
#include "io/progress.h"

struct ingest {
	struct digest digest; /* of the blob; not set: unknown */
	enum compression compression;
	struct digest diff_id;
	enum layer_backend backend;
	struct progress_item *item; /* or NULL */
};

/* The blob's digest goes to *ret_digest. What is in the store already is not read again. The caller
 * holds diff_id, and digest where it is set. */
int ingest_layer(struct image_store *s, const struct source_file *f, const struct ingest *in,
		 struct digest *ret_digest, struct err *e);

#endif
