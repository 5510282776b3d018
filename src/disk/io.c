/* The data path between whoever uses a node and its driver: bounds, alignment, splitting, the flags
 * that a driver does not know, zeroes for those that cannot write them. A request that needs nothing of
 * this costs a few comparisons.
 *
 * Writers of part of a block (d->align) read the rest of it first, so writes to such nodes hold a lock
 * on the blocks that they touch. Readers need none: between two writes of a block they see either. */
#include "disk/node_int.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/mem.h"

#define ZERO_CHUNK  (64u << 10) /* of the zeroes that are written where a driver cannot make them */
#define ZERO_CHUNKS 16

static const uint8_t zeroes[ZERO_CHUNK];

/* --- ranges that are being written --- */

static bool overlaps(const struct disk_range_lock *a, const struct disk_range_lock *b)
{
	return a->start < b->end && b->start < a->end;
}

static void range_lock(struct disk *d, struct disk_range_lock *l)
{
	const struct disk_range_lock *other = d->ranges;

	while (other) {
		if (overlaps(other, l)) {
			co_queue_wait(&d->range_waiters);
			other = d->ranges;
		} else {
			other = other->next;
		}
	}
	l->next = d->ranges;
	d->ranges = l;
}

static void range_unlock(struct disk *d, struct disk_range_lock *l)
{
	struct disk_range_lock **p = &d->ranges;

	while (*p != l)
		p = &(*p)->next;
	*p = l->next;
	co_queue_wake_all(&d->range_waiters);
}

/* --- reading --- */

static int driver_read(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v,
		       size_t at)
{
	int rc = 0;

	if (!d->max_transfer)
		return d->drv->preadv(d, offset, len, v, at);
	while (len && rc == 0) {
		size_t n = (size_t)MIN((uint64_t)len, d->max_transfer);

		rc = d->drv->preadv(d, offset, n, v, at);
		offset += n;
		at += n;
		len -= n;
	}
	return rc;
}

/* Part of one block. */
static int read_part(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v,
		     size_t at)
{
	_free_ uint8_t *block = NULL;

	if (posix_memalign((void **)&block, d->align, d->align))
		return -ENOMEM;
	DISK_VEC(bv, block, d->align);
	uint64_t start = bits_align_down(offset, d->align);
	int rc = driver_read(d, start, d->align, &bv, 0);

	if (rc == 0)
		disk_vec_put(v, at, block + (offset - start), len);
	return rc;
}

/* What of [offset, offset + len) lies before the first boundary, where it does not start at one; all
 * of it where it does not reach one. */
static size_t head_len(const struct disk *d, uint64_t offset, size_t len)
{
	size_t in_block = (size_t)(offset & (d->align - 1));

	return in_block ? MIN(len, d->align - in_block) : 0;
}

static int read_aligned(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v,
			size_t at)
{
	size_t head = head_len(d, offset, len), middle = bits_align_down(len - head, d->align);
	int rc = head ? read_part(d, offset, head, v, at) : 0;

	if (rc == 0 && middle)
		rc = driver_read(d, offset + head, middle, v, at + head);
	if (rc == 0 && head + middle < len)
		rc = read_part(d, offset + head + middle, len - head - middle, v,
			       at + head + middle);
	return rc;
}

static int check_request(const struct disk *d, uint64_t offset, uint64_t len, uint64_t max)
{
	/* Of the image: its driver reads the metadata in the files below all the same. */
	if (d->flags & DISK_NO_IO && (!d->parent || d->chain_depth > d->parent->chain_depth))
		return -EPERM;
	if (len > max)
		return -EINVAL;
	if (!checked_within(offset, len, d->growable ? INT64_MAX : d->size))
		return -EINVAL;
	return 0;
}

/* A file behind whose end zeroes are read. */
static int read_growable(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v,
			 size_t at)
{
	size_t inside = offset >= d->size ? 0 : (size_t)MIN((uint64_t)len, d->size - offset);

	if (inside < len)
		disk_vec_zero(v, at + inside, len - inside);
	return inside ? read_aligned(d, offset, inside, v, at) : 0;
}

int disk_preadv(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v, size_t at)
{
	int rc = check_request(d, offset, len, DISK_REQUEST_MAX);

	if (rc < 0 || !len)
		return rc;
	d->in_flight++;
	if (d->growable && len > d->size - MIN(offset, d->size))
		rc = read_growable(d, offset, len, v, at);
	else if (!((offset | len) & (d->align - 1)))
		rc = driver_read(d, offset, len, v, at);
	else
		rc = read_aligned(d, offset, len, v, at);
	d->in_flight--;
	return rc;
}

int disk_pread(struct disk *d, uint64_t offset, void *buf, size_t len)
{
	DISK_VEC(v, buf, len);

	return disk_preadv(d, offset, len, &v, 0);
}

int disk_read_backing(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v,
		      size_t at)
{
	struct disk *b = d->backing;
	size_t inside = !b || offset >= b->size ? 0 : (size_t)MIN((uint64_t)len, b->size - offset);

	if (inside < len)
		disk_vec_zero(v, at + inside, len - inside);
	return inside ? disk_preadv(b, offset, inside, v, at) : 0;
}

/* --- writing --- */

static int driver_write(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v,
			size_t at, unsigned flags)
{
	int rc = 0;

	if (!d->max_transfer)
		return d->drv->pwritev(d, offset, len, v, at, flags);
	while (len && rc == 0) {
		size_t n = (size_t)MIN((uint64_t)len, d->max_transfer);

		rc = d->drv->pwritev(d, offset, n, v, at, flags);
		offset += n;
		at += n;
		len -= n;
	}
	return rc;
}

static int write_part(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v,
		      size_t at, unsigned flags)
{
	_free_ uint8_t *block = NULL;

	if (posix_memalign((void **)&block, d->align, d->align))
		return -ENOMEM;
	DISK_VEC(bv, block, d->align);
	uint64_t start = bits_align_down(offset, d->align);
	int rc = 0;

	if (d->growable && start >= d->size)
		memset(block, 0, d->align);
	else
		rc = driver_read(d, start, d->align, &bv, 0);
	if (rc < 0)
		return rc;
	disk_vec_get(v, at, block + (offset - start), len);
	return driver_write(d, start, d->align, &bv, 0, flags);
}

static int write_parts(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v,
		       size_t at, unsigned flags)
{
	size_t head = head_len(d, offset, len), middle = bits_align_down(len - head, d->align);
	int rc = head ? write_part(d, offset, head, v, at, flags) : 0;

	if (rc == 0 && middle)
		rc = driver_write(d, offset + head, middle, v, at + head, flags);
	if (rc == 0 && head + middle < len)
		rc = write_part(d, offset + head + middle, len - head - middle, v,
				at + head + middle, flags);
	return rc;
}

static int write_aligned(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v,
			 size_t at, unsigned flags)
{
	struct disk_range_lock lock = {
	    .start = bits_align_down(offset, d->align),
	    .end = bits_align_up(offset + len, d->align),
	};

	range_lock(d, &lock);
	int rc = write_parts(d, offset, len, v, at, flags);

	range_unlock(d, &lock);
	return rc;
}

static int check_write(const struct disk *d, uint64_t offset, uint64_t len, uint64_t max)
{
	if (!(d->flags & DISK_WRITE))
		return -EACCES;
	return check_request(d, offset, len, max);
}

/* Writes through where the node or the request wants it and the driver has not done so. */
static int finish_write(struct disk *d, int rc, unsigned wanted, unsigned known)
{
	if (rc < 0 || !(wanted & ~known & DISK_REQ_FUA))
		return rc;
	return disk_flush(d);
}

static int write_compressed(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v,
			    size_t at)
{
	if (!d->drv->pwritev_compressed)
		return -ENOTSUP;
	if (offset % d->cluster_size ||
	    (len != d->cluster_size && (offset + len != d->size || len > d->cluster_size)))
		return -EINVAL;
	return d->drv->pwritev_compressed(d, offset, len, v, at);
}

int disk_pwritev(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v, size_t at,
		 unsigned flags)
{
	int rc = check_write(d, offset, len, DISK_REQUEST_MAX);

	if (rc < 0 || !len)
		return rc;
	if (d->flags & DISK_THROUGH)
		flags |= DISK_REQ_FUA;
	d->in_flight++;
	if (flags & DISK_REQ_COMPRESSED)
		rc = write_compressed(d, offset, len, v, at);
	else if (d->align == 1)
		rc = driver_write(d, offset, len, v, at, flags & d->write_flags);
	else
		rc = write_aligned(d, offset, len, v, at, flags & d->write_flags);
	rc = finish_write(d, rc, flags, flags & DISK_REQ_COMPRESSED ? 0 : d->write_flags);
	d->in_flight--;
	return rc;
}

int disk_pwrite(struct disk *d, uint64_t offset, const void *buf, size_t len, unsigned flags)
{
	DISK_VEC(v, buf, len);

	return disk_pwritev(d, offset, len, &v, 0, flags);
}

/* --- zeroes --- */

/* Writes zeroes as data; not under a range lock. */
static int write_zero_data(struct disk *d, uint64_t offset, uint64_t len)
{
	struct iovec iov[ZERO_CHUNKS];
	const struct disk_vec v = {.iov = iov, .count = ZERO_CHUNKS};
	int rc = 0;

	for (unsigned i = 0; i < ZERO_CHUNKS; i++)
		iov[i] = (struct iovec){(void *)zeroes, ZERO_CHUNK};
	while (len && rc == 0) {
		size_t n = (size_t)MIN(len, (uint64_t)ZERO_CHUNK * ZERO_CHUNKS);

		rc = d->align == 1 ? driver_write(d, offset, n, &v, 0, 0)
				   : write_parts(d, offset, n, &v, 0, 0);
		offset += n;
		len -= n;
	}
	return rc;
}

/* A range of whole units of the driver. */
static int zero_units(struct disk *d, uint64_t offset, uint64_t len, unsigned flags)
{
	int rc = d->drv->write_zeroes
		     ? d->drv->write_zeroes(d, offset, len,
					    flags & (d->zero_flags | DISK_REQ_NO_FALLBACK))
		     : -ENOTSUP;

	if (rc != -ENOTSUP || flags & DISK_REQ_NO_FALLBACK)
		return rc;
	return write_zero_data(d, offset, len);
}

static int write_zeroes(struct disk *d, uint64_t offset, uint64_t len, unsigned flags)
{
	uint64_t unit = d->zero_align ? d->zero_align : d->align;
	uint64_t start = bits_align_up(offset, unit), end = bits_align_down(offset + len, unit);
	int rc = 0;

	/* The last unit of a disk may be cut. */
	if (offset + len == d->size && start <= d->size)
		end = d->size;
	if (start >= end)
		return flags & DISK_REQ_NO_FALLBACK ? -ENOTSUP : write_zero_data(d, offset, len);
	if (flags & DISK_REQ_NO_FALLBACK && (start > offset || end < offset + len))
		return -ENOTSUP;
	if (start > offset)
		rc = write_zero_data(d, offset, start - offset);
	if (rc == 0)
		rc = zero_units(d, start, end - start, flags);
	if (rc == 0 && end < offset + len)
		rc = write_zero_data(d, end, offset + len - end);
	return rc;
}

int disk_write_zeroes(struct disk *d, uint64_t offset, uint64_t len, unsigned flags)
{
	struct disk_range_lock lock = {.start = bits_align_down(offset, d->align)};
	int rc = check_write(d, offset, len, INT64_MAX);

	if (rc < 0 || !len)
		return rc;
	if (!(d->flags & DISK_UNMAP))
		flags &= ~(unsigned)DISK_REQ_UNMAP;
	if (d->flags & DISK_THROUGH)
		flags |= DISK_REQ_FUA;
	d->in_flight++;
	lock.end = bits_align_up(offset + len, d->align);
	if (d->align > 1)
		range_lock(d, &lock);
	rc = write_zeroes(d, offset, len, flags & ~(unsigned)DISK_REQ_FUA);
	if (d->align > 1)
		range_unlock(d, &lock);
	rc = finish_write(d, rc, flags, 0);
	d->in_flight--;
	return rc;
}

int disk_discard(struct disk *d, uint64_t offset, uint64_t len)
{
	uint64_t unit = d->discard_align ? d->discard_align : d->align;
	int rc = check_write(d, offset, len, INT64_MAX);

	if (rc < 0 || !len || !(d->flags & DISK_UNMAP) || !d->drv->discard)
		return rc;
	uint64_t start = bits_align_up(offset, unit), end = bits_align_down(offset + len, unit);

	if (offset + len == d->size)
		end = d->size;
	if (start >= end)
		return 0;
	d->in_flight++;
	rc = d->drv->discard(d, start, end - start);
	d->in_flight--;
	return rc == -ENOTSUP ? 0 : rc;
}

/* --- flush --- */

int disk_flush(struct disk *d)
{
	int rc = 0;

	if (!(d->flags & DISK_WRITE))
		return 0;
	if (d->drv->kind == DISK_KIND_PROTOCOL)
		return d->flags & DISK_NO_FLUSH || !d->drv->flush ? 0 : d->drv->flush(d);
	if (d->drv->flush)
		rc = d->drv->flush(d);
	return rc < 0 || !d->file ? rc : disk_flush(d->file);
}

/* --- copying --- */

int disk_copy_range(struct disk *from, uint64_t from_offset, struct disk *to, uint64_t to_offset,
		    uint64_t len)
{
	int rc = check_request(from, from_offset, len, INT64_MAX);

	if (rc == 0)
		rc = check_write(to, to_offset, len, INT64_MAX);
	if (rc < 0 || !len)
		return rc;
	if (!to->drv->copy_range || (from_offset | to_offset | len) & (to->align - 1))
		return -ENOTSUP;
	from->in_flight++;
	to->in_flight++;
	rc = to->drv->copy_range(from, from_offset, to, to_offset, len);
	from->in_flight--;
	to->in_flight--;
	return rc;
}

/* --- requests that call back --- */

static int run_request(struct disk_req *r)
{
	switch (r->op) {
	case DISK_OP_READ:
		return disk_preadv(r->disk, r->offset, (size_t)r->len, &r->vec, 0);
	case DISK_OP_WRITE:
		return disk_pwritev(r->disk, r->offset, (size_t)r->len, &r->vec, 0, r->flags);
	case DISK_OP_ZERO:
		return disk_write_zeroes(r->disk, r->offset, r->len, r->flags);
	case DISK_OP_DISCARD:
		return disk_discard(r->disk, r->offset, r->len);
	case DISK_OP_FLUSH:
		return disk_flush(r->disk);
	}
	return -EINVAL;
}

static void request_main(void *arg)
{
	struct disk_req *r = arg;

	r->done(r, run_request(r));
}

void disk_submit(struct disk_req *r)
{
	co_spawn(r->disk->ctx, request_main, r);
}
