#include "disk/vec.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/bits.h"

/* Where a walk over a vec stands. */
struct cursor {
	const struct iovec *iov, *end;
	size_t skip;
};

static struct cursor start(const struct disk_vec *v, size_t at)
{
	struct cursor c = {v->iov, v->iov + v->count, at};

	while (c.iov < c.end && c.skip >= c.iov->iov_len)
		c.skip -= c.iov++->iov_len;
	return c;
}

/* The next piece, of at most len bytes. */
static struct iovec next(struct cursor *c, size_t len)
{
	while (c->iov < c->end && c->skip == c->iov->iov_len) {
		c->iov++;
		c->skip = 0;
	}
	assert(c->iov < c->end);
	struct iovec piece = {
	    .iov_base = (char *)c->iov->iov_base + c->skip,
	    .iov_len = MIN(len, c->iov->iov_len - c->skip),
	};

	c->skip += piece.iov_len;
	return piece;
}

size_t disk_vec_len(const struct disk_vec *v)
{
	size_t len = 0;

	for (unsigned i = 0; i < v->count; i++)
		len += v->iov[i].iov_len;
	return len;
}

void disk_vec_get(const struct disk_vec *v, size_t at, void *buf, size_t len)
{
	struct cursor c = start(v, at);

	for (char *p = buf; len;) {
		struct iovec piece = next(&c, len);

		memcpy(p, piece.iov_base, piece.iov_len);
		p += piece.iov_len;
		len -= piece.iov_len;
	}
}

void disk_vec_put(const struct disk_vec *v, size_t at, const void *buf, size_t len)
{
	struct cursor c = start(v, at);

	for (const char *p = buf; len;) {
		struct iovec piece = next(&c, len);

		memcpy(piece.iov_base, p, piece.iov_len);
		p += piece.iov_len;
		len -= piece.iov_len;
	}
}

void disk_vec_zero(const struct disk_vec *v, size_t at, size_t len)
{
	struct cursor c = start(v, at);

	while (len) {
		struct iovec piece = next(&c, len);

		memset(piece.iov_base, 0, piece.iov_len);
		len -= piece.iov_len;
	}
}

bool disk_vec_is_zero(const struct disk_vec *v, size_t at, size_t len)
{
	struct cursor c = start(v, at);

	while (len) {
		struct iovec piece = next(&c, len);

		if (!disk_is_zero(piece.iov_base, piece.iov_len))
			return false;
		len -= piece.iov_len;
	}
	return true;
}

void *disk_vec_flat(const struct disk_vec *v, size_t at, size_t len)
{
	struct cursor c = start(v, at);

	if (c.iov == c.end || len > c.iov->iov_len - c.skip)
		return NULL;
	return (char *)c.iov->iov_base + c.skip;
}

int disk_vec_slice(const struct disk_vec *v, size_t at, size_t len, struct iovec *out, int max)
{
	struct cursor c = start(v, at);
	int n = 0;

	while (len) {
		if (n == max)
			return -EINVAL;
		out[n] = next(&c, len);
		len -= out[n++].iov_len;
	}
	return n;
}

bool disk_is_zero(const void *buf, size_t len)
{
	const unsigned char *p = buf;
	size_t head = MIN(len, (size_t)16);

	for (size_t i = 0; i < head; i++)
		if (p[i])
			return false;
	/* What follows equals what is 16 bytes before it, which is zero: memcmp(3) is vectorised. */
	return len <= head || !memcmp(p, p + 16, len - 16);
}
