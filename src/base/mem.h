/* Program-sized allocations: they abort when memory is gone, because nothing sensible can be done
 * and recovery is that of kill -9. Anything sized by a guest, file or peer uses mem_try_array() and
 * a named bound instead. */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>
#include <stdbool.h>

void *mem_alloc(size_t size) __attribute__((malloc, returns_nonnull)); /* zeroed */
void *mem_array(size_t count, size_t size)
    __attribute__((returns_nonnull)); /* zeroed, overflow-checked */
void *mem_grow(void *p, size_t count, size_t size)
    __attribute__((returns_nonnull)); /* realloc; new bytes undefined */
void *mem_dup(const void *p, size_t len) __attribute__((returns_nonnull));
char *mem_strdup(const char *s) __attribute__((returns_nonnull));
char *mem_strndup(const char *s, size_t max) __attribute__((returns_nonnull));
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2), returns_nonnull));

/* For sizes that come from outside: NULL when count*size overflows, exceeds max_bytes, or memory is
 * gone. Zeroed. */
void *mem_try_array(size_t count, size_t size, size_t max_bytes);

/* Frees a NULL-terminated vector of strings and the strings. */
void mem_strv_free(char **v);

static inline void cleanup_strv(char ***v)
{
	mem_strv_free(*v);
}
#define _strv_ __attribute__((cleanup(cleanup_strv)))

#endif
