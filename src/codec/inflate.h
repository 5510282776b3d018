/* Compressed streams of layers: gzip (RFC 1952, by libisal) and zstd (RFC 8878, by libzstd), in and
 * out. Both ways push: bytes go in in pieces of any size, what comes of them goes to a function, in
 * pieces of at most COMPRESSION_CHUNK unless they are handed through. Several members or frames, one after the other, are one
 * stream, and zstd's skippable frames are nothing, so that eStargz and zstd:chunked read as plain.
 * Memory does not depend on the stream but for zstd's window, which COMPRESSION_WINDOW_LOG bounds.
 * What is written depends on input and level alone: the same bytes give the same stream.
 *
 * No threads of its own; one stream belongs to one thread at a time. Errors: -EBADMSG
 * ERR_COMPRESSION for a damaged or short stream, and whatever the function returned. */
#ifndef CODEC_INFLATE_H
#define CODEC_INFLATE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define COMPRESSION_CHUNK      (256u << 10)
#define COMPRESSION_WINDOW_LOG 27 /* of zstd streams; what its own program takes by default */
#define COMPRESSION_MAGIC_SIZE 4u /* bytes that compression_detect() wants to see */

enum compression { COMPRESSION_NONE, COMPRESSION_GZIP, COMPRESSION_ZSTD };

typedef int compression_fn(void *arg, const void *p, size_t len, struct err *e);

/* What a stream that begins so is. For files that carry no media type; fewer bytes than
 * COMPRESSION_MAGIC_SIZE only where the stream is that short. */
enum compression compression_detect(const void *p, size_t len);
/* "gzip", "zstd", "none" */
const char *compression_name(enum compression c);

struct inflate;

/* out and arg are borrowed. COMPRESSION_NONE hands the bytes through. Returns owned. */
struct inflate *inflate_new(enum compression c, compression_fn *out, void *arg);
void inflate_free(struct inflate *z);
int inflate_feed(struct inflate *z, const void *p, size_t len, struct err *e);
/* The stream ended here: an error inside a member or frame. */
int inflate_finish(struct inflate *z, struct err *e);

struct deflate;

/* level: 0 for the default; gzip 1 to 9, zstd 1 to 19. Returns owned. */
struct deflate *deflate_new(enum compression c, int level, compression_fn *out, void *arg);
void deflate_free(struct deflate *z);
int deflate_feed(struct deflate *z, const void *p, size_t len, struct err *e);
int deflate_finish(struct deflate *z, struct err *e);

#endif
