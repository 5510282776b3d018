/* A growable byte string that is always NUL-terminated, so that buf.s can be printed. Owned by
 * whoever declared it;
 * `_buf_ struct buf b = {0};` frees at the end of scope. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdarg.h>
#include <stddef.h>

struct buf {
	char *s;    /* NULL until something was added */
	size_t len; /* bytes, without the NUL */
	size_t cap;
};

void buf_done(struct buf *b);
void buf_reset(struct buf *b);                 /* empties, keeps the memory */
void buf_reserve(struct buf *b, size_t extra); /* room for extra bytes and the NUL */
void buf_add(struct buf *b, const void *p, size_t len);
void buf_adds(struct buf *b, const char *s);
void buf_addc(struct buf *b, char c);
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_addfv(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
/* Adds s as a JSON string with its quotes; invalid UTF-8 becomes U+FFFD. */
void buf_add_json_string(struct buf *b, const char *s);
/* The string, never NULL; valid until the next change. */
const char *buf_str(const struct buf *b);
/* Hands the string over (never NULL) and empties the buffer. Returns owned. */
char *buf_take(struct buf *b);

#define _buf_ __attribute__((cleanup(buf_done)))

#endif
