/* Content digests: sha256 and sha512 over OpenSSL, and their text "ALGORITHM:HEX" (OCI image-spec
 * 1.1, descriptor.md, "Digests"). A digest is a plain value that is copied; a stream belongs to one
 * thread. */
#ifndef CODEC_DIGEST_H
#define CODEC_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIGEST_BYTES_MAX 64u
#define DIGEST_HEX_MAX   (2 * DIGEST_BYTES_MAX + 1)               /* with the NUL */
#define DIGEST_TEXT_MAX  (sizeof("sha512:") + DIGEST_HEX_MAX - 1) /* with the NUL */

enum digest_alg { DIGEST_NONE, DIGEST_SHA256, DIGEST_SHA512 };

/* All zero: no digest. */
struct digest {
	enum digest_alg alg;
	uint8_t bytes[DIGEST_BYTES_MAX]; /* those behind the algorithm's length are 0 */
};

/* "sha256:…" with lower-case hex of the right length. -EINVAL: malformed; -EOPNOTSUPP: well formed,
 * of an algorithm that is not known here. */
int digest_parse(const char *text, struct digest *ret);
/* Returns out, so that it can be printed: digest_text(&d, (char[DIGEST_TEXT_MAX]){0}). */
const char *digest_text(const struct digest *d, char out[static DIGEST_TEXT_MAX]);
const char *digest_hex(const struct digest *d, char out[static DIGEST_HEX_MAX]);
const char *digest_alg_name(enum digest_alg alg); /* "sha256"; never NULL */
size_t digest_len(enum digest_alg alg);           /* bytes */

bool digest_is_set(const struct digest *d);
bool digest_eq(const struct digest *a, const struct digest *b);
int digest_cmp(const struct digest *a, const struct digest *b); /* an order, for sorted sets */

void digest_of(enum digest_alg alg, const void *p, size_t len, struct digest *ret);

struct digest_stream;

struct digest_stream *digest_stream_new(enum digest_alg alg); /* returns owned */
void digest_stream_add(struct digest_stream *s, const void *p, size_t len);
/* The digest of all that was added; nothing can be added any more. */
void digest_stream_end(struct digest_stream *s, struct digest *ret);
void digest_stream_free(struct digest_stream *s);

static inline void cleanup_digest_stream(struct digest_stream **s)
{
	digest_stream_free(*s);
}
#define _digest_stream_ __attribute__((cleanup(cleanup_digest_stream)))

#endif
