/* Pushing: an image of the store to a registry, as it is: blobs that the registry lacks, several at
 * once, then the manifest under its tag. A blob that another repository of the same registry has is
 * mounted from there rather than sent. Blobs go in chunks; a chunk that was cut continues where the
 * registry says that it ends (distribution-spec 1.1, "Pushing a blob in chunks"). */
#ifndef IMAGE_PUSH_H
#define IMAGE_PUSH_H

#include "base/err.h"
#include "codec/reference.h"
#include "image/image.h"
#include "image/registry.h"
#include "io/progress.h"

#define PUSH_BLOBS       5           /* at once, as in Docker */
#define PUSH_CHUNK_BYTES (32u << 20) /* unless the registry wants larger ones */

struct push_result {
	struct digest digest; /* of the manifest */
	uint64_t size;        /* of the manifest */
	struct {
		unsigned sent, mounted, there;
	} blobs;
};

/* r has a tag, and names an image of the store. progress may be NULL. */
int push(struct image_store *s, struct registry *g, const struct reference *r,
	 struct progress *progress, struct push_result *ret, struct err *e);

#endif
