/* One layer on its way into the store, without ever lying anywhere in between:
 *
 *	the caller's thread    bytes of the blob: digested and written (image/store.h)
 *	  ring →  a thread     inflates them (codec/inflate.h); at the end commits the blob
 *	  ring →  a thread     writes the layer and its index (image/layer.h); at the end commits it
 *
 * The caller never waits: it asks for room first, and is woken when there is some again. Memory is
 * two rings and what inflating needs. What arrives wrong is told from what is wrong: a layer that
 * cannot be inflated or read is complained about only when the blob's digest has proven right. */
#ifndef IMAGE_PIPELINE_H
#define IMAGE_PIPELINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "codec/inflate.h"
#include "image/layer.h"
#include "image/store.h"

#define PIPELINE_RING (2u << 20)          /* of each of the two */
#define PIPELINE_PUT  (PIPELINE_RING / 2) /* most bytes of one put */

struct pipeline_spec {
	struct digest blob;
	uint64_t size; /* of the blob */
	enum compression compression;
	struct digest diff_id;
	enum layer_backend backend;
	/* Which of the two the store lacks; at least one. A blob that is there is read from it. */
	bool want_blob, want_layer;
};

struct pipeline;

/* wake(arg) is called from other threads when there is room again and when it has finished. Returns
 * owned in *ret. */
int pipeline_new(struct image_store *s, const struct pipeline_spec *spec, void (*wake)(void *arg),
		 void *arg, struct pipeline **ret, struct err *e);

/* The first byte that the caller has to bring: not 0 where a former pull has left some, the blob's
 * size where nothing is missing. Grows with what is put. */
uint64_t pipeline_offset(const struct pipeline *p);
/* Works through what is there already, as far as there is room: true while there is more of it.
 * Nothing may be put before. */
bool pipeline_feed(struct pipeline *p);
bool pipeline_room(struct pipeline *p, size_t len);
/* The next bytes; there was room for them. -EBADMSG where they are more than was announced. */
int pipeline_put(struct pipeline *p, const void *bytes, size_t len, struct err *e);
/* All of it has come: the rest happens without the caller. */
void pipeline_end(struct pipeline *p);
bool pipeline_finished(struct pipeline *p);
/* What became of it, after it has finished. -EBADMSG ERR_REG_DIGEST: other bytes than announced. */
int pipeline_result(struct pipeline *p, struct err *e);
/* One that has not finished is stopped; keep: what came of the blob is left for the next pull. */
void pipeline_free(struct pipeline *p, bool keep);

#endif
