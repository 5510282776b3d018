/* Images from root file systems: a tar, plain or compressed, becomes the one layer of a new image. The
 * layer's blob is the uncompressed tar, which the store has anyway: it costs nothing, and the image's
 * digest follows from the tar and the options alone. */
#ifndef IMAGE_IMPORT_H
#define IMAGE_IMPORT_H

#include <jansson.h>

#include "base/err.h"
#include "image/image.h"

struct import_options {
	const struct reference *names; /* may be none */
	size_t name_count;
	const struct platform *platform; /* NULL: the host's */
	const char *created;             /* RFC 3339 */
	const char *comment;             /* of the history; NULL: none */
	const char *created_by;          /* NULL: none */
	const json_t *config;            /* the configuration's "config"; NULL: empty */
};

struct importer;

/* o is borrowed until import_finish(). Returns owned in *ret. */
int importer_new(struct image_store *s, const struct import_options *o, struct importer **ret,
		 struct err *e);
void importer_free(struct importer *i);

static inline void cleanup_importer(struct importer **i)
{
	importer_free(*i);
}
#define _importer_ __attribute__((cleanup(cleanup_importer)))

/* The next bytes of the tar, as they come; its first ones say whether it is compressed. */
int importer_feed(struct importer *i, const void *p, size_t len, struct err *e);
/* Reads fd to its end. */
int importer_feed_fd(struct importer *i, int fd, struct err *e);
/* Makes the image known. Returns owned in *ret (may be NULL). */
int importer_finish(struct importer *i, struct image **ret, struct err *e);

/* A Dockerfile instruction (CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR),
 * as `import --change` takes it, done to a configuration's "config". -EINVAL ERR_USAGE. */
int import_change(json_t *config, const char *instruction, struct err *e);

#endif
