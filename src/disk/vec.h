/* The memory of a request: an array of iovecs that is never cut, with an offset into it beside it.
 * A driver that splits a request passes the same vec on with a higher offset. Borrows everything. */
#ifndef DISK_VEC_H
#define DISK_VEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct disk_vec {
	const struct iovec *iov;
	unsigned count;
};

/* A vec of one piece, valid in the block that declares it: DISK_VEC(name, buf, len); */
#define DISK_VEC(name, buf, len)                                                        \
	const struct iovec name##_iov_ = {.iov_base = (void *)(buf), .iov_len = (len)}; \
	const struct disk_vec name = {.iov = &name##_iov_, .count = 1}

size_t disk_vec_len(const struct disk_vec *v);
/* len bytes at `at`, between the vec and a flat buffer. The range lies inside. */
void disk_vec_get(const struct disk_vec *v, size_t at, void *buf, size_t len);
void disk_vec_put(const struct disk_vec *v, size_t at, const void *buf, size_t len);
void disk_vec_zero(const struct disk_vec *v, size_t at, size_t len);
bool disk_vec_is_zero(const struct disk_vec *v, size_t at, size_t len);
/* The address of the range where it lies in one piece, else NULL. */
void *disk_vec_flat(const struct disk_vec *v, size_t at, size_t len);
/* The range as iovecs of its own in out[max]; returns how many, or -EINVAL where max is too few. */
int disk_vec_slice(const struct disk_vec *v, size_t at, size_t len, struct iovec *out, int max);

/* Are the bytes all zero? As fast as memory. */
bool disk_is_zero(const void *buf, size_t len);

#endif
