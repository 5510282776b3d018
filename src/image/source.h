/* What an image is loaded from: the files of a folder, or of a tar archive, by their names. An
 * archive is read where it lies; one that comes through a pipe or is compressed is first written,
 * inflated, to a temporary of the store, because its table of contents may stand at its end.
 * Names are looked up, never followed to the host: what an archive calls a link leads to another
 * of its entries. Errors: -EBADMSG ERR_IMG_ARCHIVE. One thread. */
#ifndef IMAGE_SOURCE_H
#define IMAGE_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define SOURCE_ENTRIES_MAX 65536u
#define SOURCE_LINKS_MAX   8u /* from link to link */

struct image_store;
struct source;

/* Bytes of a file; fd belongs to the source, or to the caller where `own`. */
struct source_file {
	int fd;
	bool own;
	uint64_t offset, size;
};

/* path: a file or folder of the caller's; fd, where path is NULL. Returns owned in *ret. */
int source_open(struct image_store *s, const char *path, int fd, struct source **ret,
		struct err *e);
void source_free(struct source *src);

static inline void cleanup_source(struct source **src)
{
	source_free(*src);
}
#define _source_ __attribute__((cleanup(cleanup_source)))

bool source_has(struct source *src, const char *name);
/* -ENOENT ERR_IMG_ARCHIVE. source_file_done() is due. */
int source_find(struct source *src, const char *name, struct source_file *ret, struct err *e);
void source_file_done(struct source_file *f);
#define _source_file_ __attribute__((cleanup(source_file_done)))
/* Appends the whole file. */
int source_read(struct source *src, const char *name, size_t max_bytes, struct buf *b,
		struct err *e);

#endif
