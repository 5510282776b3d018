/* Alignment, powers of two, and the way from a member back to its struct. */
#ifndef BASE_BITS_H
#define BASE_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The struct of this type whose member is at ptr. */
#define CONTAINER_OF(ptr, type, member)                             \
	({                                                          \
		__typeof__(((type *)0)->member) *member_ = (ptr);   \
		(type *)((char *)member_ - offsetof(type, member)); \
	})

#define MIN(a, b)                                  \
	({                                         \
		__typeof__(a) min_a_ = (a);        \
		__typeof__(b) min_b_ = (b);        \
		min_a_ < min_b_ ? min_a_ : min_b_; \
	})

#define MAX(a, b)                                  \
	({                                         \
		__typeof__(a) max_a_ = (a);        \
		__typeof__(b) max_b_ = (b);        \
		max_a_ > max_b_ ? max_a_ : max_b_; \
	})

static inline bool bits_is_pow2(uint64_t v)
{
	return v && !(v & (v - 1));
}

/* To a multiple of align, a power of two. Up wraps to 0 past the last multiple:
 * checked_align_up() does not. */
static inline uint64_t bits_align_down(uint64_t v, uint64_t align)
{
	return v & ~(align - 1);
}

static inline uint64_t bits_align_up(uint64_t v, uint64_t align)
{
	return (v + align - 1) & ~(align - 1);
}

#endif
