/* UTF-16 as Windows' formats store names, to UTF-8 and back. */
#ifndef DISK_UTF16_H
#define DISK_UTF16_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* Appends the text up to its first NUL; -EILSEQ for lone surrogates. len: bytes, the last odd one is
 * left out. */
int utf16_decode(const uint8_t *p, size_t len, bool big_endian, struct buf *b);
/* Appends s in UTF-16 without a NUL; -EILSEQ where s is not UTF-8. */
int utf16_encode(const char *s, bool big_endian, struct buf *b);

#endif
