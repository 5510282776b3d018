/* Small string helpers that libc lacks. No allocation unless said. */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline bool str_eq(const char *a, const char *b)
{
	return !strcmp(a, b);
}

/* The rest of s after prefix, or NULL where s does not start with it. */
static inline const char *str_after(const char *s, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(s, prefix, n) ? NULL : s + n;
}

/* Whole-string decimal numbers; a sign only in the signed form; -EINVAL, -ERANGE. *ret_ untouched
 * on failure. */
int str_to_u64(const char *s, uint64_t *ret_value);
int str_to_i64(const char *s, int64_t *ret_value);

/* A size with an optional binary suffix: b k m g t p, also "kb", "kib", any case, fraction allowed
 * as in Docker
 * ("1.5g"). Result in bytes. -EINVAL, -ERANGE. */
int str_to_bytes(const char *s, uint64_t *ret_bytes);

/* Damerau-Levenshtein distance, bounded: returns at most max + 1. For "did you mean". */
unsigned str_distance(const char *a, const char *b, unsigned max);

#endif
