/* Base64 (RFC 4648, section 4), with padding, without line breaks: OpenSSL's encoder, and its
 * decoder behind a check that refuses what it would overlook. No state. */
#ifndef CODEC_BASE64_H
#define CODEC_BASE64_H

#include "base/buf.h"

/* Appends the text of these bytes. */
void base64_encode(const void *data, size_t len, struct buf *out);

/* Appends the bytes of a text. -EBADMSG where it is no base64; out has what it had then. */
int base64_decode(const char *text, size_t len, struct buf *out);

#endif
