/* Arithmetic on numbers that someone else chose. Each returns true and sets *ret_ where the
 * result is exact; on false nothing was stored. */
#ifndef BASE_CHECKED_H
#define BASE_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bits.h"

static inline bool checked_add(uint64_t a, uint64_t b, uint64_t *ret_sum)
{
	uint64_t sum;

	if (__builtin_add_overflow(a, b, &sum))
		return false;
	*ret_sum = sum;
	return true;
}

static inline bool checked_mul(uint64_t a, uint64_t b, uint64_t *ret_product)
{
	uint64_t product;

	if (__builtin_mul_overflow(a, b, &product))
		return false;
	*ret_product = product;
	return true;
}

/* align: a power of two. */
static inline bool checked_align_up(uint64_t v, uint64_t align, uint64_t *ret_aligned)
{
	uint64_t sum;

	if (__builtin_add_overflow(v, align - 1, &sum))
		return false;
	*ret_aligned = bits_align_down(sum, align);
	return true;
}

/* Do the `len` bytes at `offset` lie within `size`? */
static inline bool checked_within(uint64_t offset, uint64_t len, uint64_t size)
{
	return offset <= size && len <= size - offset;
}

#endif
