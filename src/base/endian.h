/* Fixed-width integers at any address of a byte string, in the byte order that the name says. */
#ifndef BASE_ENDIAN_H
#define BASE_ENDIAN_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define ENDIAN_PAIR(order, bits)                                        \
	static inline uint##bits##_t get_##order##bits(const void *p)   \
	{                                                               \
		uint##bits##_t v;                                       \
		memcpy(&v, p, sizeof(v));                               \
		return order##bits##toh(v);                             \
	}                                                               \
	static inline void put_##order##bits(void *p, uint##bits##_t v) \
	{                                                               \
		v = hto##order##bits(v);                                \
		memcpy(p, &v, sizeof(v));                               \
	}

ENDIAN_PAIR(le, 16)
ENDIAN_PAIR(le, 32)
ENDIAN_PAIR(le, 64)
ENDIAN_PAIR(be, 16)
ENDIAN_PAIR(be, 32)
ENDIAN_PAIR(be, 64)

#undef ENDIAN_PAIR

#endif
