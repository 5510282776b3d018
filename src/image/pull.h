/* Pulling: from a name to an image that is ready to run. The manifest is found and checked, the policy
 * asked, and each layer that the store lacks sent through a pipeline (image/pipeline.h), several at
 * once. Only when all of them are in does the name appear, in one transaction; until then nothing of
 * the image is visible. What was cut, by the network or by kill -9, is continued by the next pull. */
#ifndef IMAGE_PULL_H
#define IMAGE_PULL_H

#include <stdbool.h>

#include "base/err.h"
#include "codec/reference.h"
#include "image/image.h"
#include "image/layer.h"
#include "image/registry.h"
#include "io/progress.h"

#define PULL_LAYERS 3 /* at once, as in Docker */

struct policy;

struct pull_options {
	const struct platform *platform; /* NULL: this host's; given, it must match */
	enum layer_backend backend;
	const struct policy *policy; /* NULL: accept everything */
	struct progress *progress;   /* NULL: none */
	bool discard_compressed;     /* keep only what runs: not the blobs of layers */
};

struct pull_result {
	struct digest digest; /* what the registry has under that name: manifest or index */
	bool unchanged;       /* the name meant that image already, and it was whole */
};

/* r has a tag or a digest. The name is r's. */
int pull(struct image_store *s, struct registry *g, const struct reference *r,
	 const struct pull_options *o, struct pull_result *ret, struct err *e);

#endif
