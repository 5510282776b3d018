/* A growable array of any element type, as a macro over {T *v; size_t n, cap;}. */
#ifndef BASE_VEC_H
#define BASE_VEC_H

#include "base/mem.h"

#include <stdlib.h>

#define VEC(T)                 \
	struct {               \
		T *v;          \
		size_t n, cap; \
	}

/* Appends one element (given by value); amortised O(1). */
#define vec_push(a, ...)                                                      \
	do {                                                                  \
		if ((a)->n == (a)->cap) {                                     \
			(a)->cap = (a)->cap ? (a)->cap * 2 : 8;               \
			(a)->v = mem_grow((a)->v, (a)->cap, sizeof(*(a)->v)); \
		}                                                             \
		(a)->v[(a)->n++] = (__VA_ARGS__);                             \
	} while (0)

#define vec_done(a)                    \
	do {                           \
		free((a)->v);          \
		(a)->v = NULL;         \
		(a)->n = (a)->cap = 0; \
	} while (0)

#define vec_each(it, a) for (__typeof__(&*(a)->v) it = (a)->v; it && it < (a)->v + (a)->n; it++)

#endif
