#include "disk/blocks.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/mem.h"

/* Filling a new block from the backing image goes in pieces of this size. */
#define FILL_BYTES (256u << 10)

/* A writer that places blocks first..last: others who want to place one of them wait. */
struct placing {
	struct list link;
	uint64_t first, last;
	struct co_queue waiting;
};

void blocks_init(struct blocks *b)
{
	list_init(&b->placing);
}

/* A stretch of the disk inside blocks of one state, which lie side by side where they are data. */
struct run {
	struct block_place place; /* of the first byte */
	uint64_t len;
};

static int find_run(struct blocks *b, uint64_t offset, uint64_t len, struct run *ret)
{
	uint64_t index = (offset - b->start) / b->block_bytes;
	uint64_t in = (offset - b->start) % b->block_bytes;
	struct block_place p, next;
	uint64_t run, end;
	int rc = b->ops->find(b->owner, index, &p);

	if (rc < 0)
		return rc;
	run = b->block_bytes - in;
	end = p.offset + b->block_bytes;
	while (run < len) {
		rc = b->ops->find(b->owner, ++index, &next);
		if (rc < 0 || next.state != p.state ||
		    (p.state == BLOCK_DATA && next.offset != end))
			break; /* an error shows again when its turn comes */
		run += b->block_bytes;
		end += b->block_bytes;
	}
	*ret = (struct run){{p.state, p.offset + in}, MIN(run, len)};
	return 0;
}

int blocks_read(struct blocks *b, uint64_t offset, uint64_t len, const struct disk_vec *v,
		size_t at)
{
	while (len) {
		struct run r;
		int rc = find_run(b, offset, len, &r);

		if (rc < 0)
			return rc;
		if (r.place.state == BLOCK_DATA)
			rc = disk_preadv(b->file, r.place.offset, r.len, v, at);
		else if (r.place.state == BLOCK_NONE && b->d->backing)
			rc = disk_read_backing(b->d, offset, r.len, v, at);
		else
			disk_vec_zero(v, at, r.len);
		if (rc < 0)
			return rc;
		offset += r.len;
		at += r.len;
		len -= r.len;
	}
	return 0;
}

/* Becomes the one who places first..last; waits for others who place any of them. */
static void placing_begin(struct blocks *b, struct placing *mine, uint64_t first, uint64_t last)
{
	struct list *l = b->placing.next;

	while (l != &b->placing) {
		struct placing *other = CONTAINER_OF(l, struct placing, link);

		if (other->first <= last && first <= other->last) {
			co_queue_wait(&other->waiting);
			l = b->placing.next;
		} else {
			l = l->next;
		}
	}
	*mine = (struct placing){.first = first, .last = last};
	list_init(&mine->link);
	list_push(&b->placing, &mine->link);
}

static void placing_end(struct placing *mine)
{
	list_remove(&mine->link);
	co_queue_wake_all(&mine->waiting);
}

/* Writes to the file what a new block shows at offset where nobody has written: zeros, or the backing
 * image where the block was not there before. */
static int fill(struct blocks *b, enum block_state was, uint64_t offset, uint64_t len,
		uint64_t file_offset)
{
	uint8_t *buf;
	int rc = 0;

	if (!len)
		return 0;
	if (was == BLOCK_ZERO || !b->d->backing) {
		if (b->new_is_zeroed)
			return 0;
		return disk_write_zeroes(b->file, file_offset, len, 0);
	}
	buf = mem_alloc(MIN(len, (uint64_t)FILL_BYTES));
	while (len && !rc) {
		size_t n = MIN(len, (uint64_t)FILL_BYTES);
		DISK_VEC(v, buf, n);

		rc = disk_read_backing(b->d, offset, n, &v, 0);
		if (!rc)
			rc = disk_pwrite(b->file, file_offset, buf, n, 0);
		offset += n;
		file_offset += n;
		len -= n;
	}
	free(buf);
	return rc;
}

/* Writes into blocks first..last, all in state `was`, for which room is at `room`. */
static int write_new(struct blocks *b, enum block_state was, uint64_t first, uint64_t last,
		     uint64_t room, uint64_t offset, uint64_t len, const struct disk_vec *v,
		     size_t at)
{
	uint64_t begin = b->start + first * b->block_bytes;
	uint64_t end = b->start + (last + 1) * b->block_bytes;
	uint64_t shown = MAX(MIN(end, b->d->size), offset + len); /* behind it no backing shows */
	int rc;

	rc = fill(b, was, begin, offset - begin, room);
	if (!rc)
		rc =
		    fill(b, was, offset + len, shown - offset - len, room + (offset + len - begin));
	if (!rc)
		rc = fill(b, BLOCK_ZERO, shown, end - shown, room + (shown - begin));
	if (!rc && v)
		rc = disk_pwritev(b->file, room + (offset - begin), len, v, at, 0);
	else if (!rc && !b->new_is_zeroed)
		rc = disk_write_zeroes(b->file, room + (offset - begin), len, 0);
	for (uint64_t i = first; i <= last && !rc; i++) {
		struct block_place p = {BLOCK_DATA, room + (i - first) * b->block_bytes};

		rc = b->ops->set(b->owner, i, &p);
	}
	return rc;
}

/* Places as many blocks from the one of offset on as are not there, run_max at most, and writes what
 * of the range lies in them (v NULL: zeros). Returns that length; 0 where the first one has come into
 * being meanwhile. */
static int64_t place(struct blocks *b, uint64_t offset, uint64_t len, const struct disk_vec *v,
		     size_t at)
{
	uint64_t first = (offset - b->start) / b->block_bytes;
	uint64_t last = (offset + len - 1 - b->start) / b->block_bytes;
	struct block_place p, next;
	struct placing mine;
	uint64_t room, end;
	int rc;

	last = MIN(last, first + b->run_max - 1);
	placing_begin(b, &mine, first, last);
	rc = b->ops->find(b->owner, first, &p);
	if (rc < 0 || p.state == BLOCK_DATA) {
		placing_end(&mine);
		return rc;
	}
	for (uint64_t i = first + 1; i <= last; i++) {
		rc = b->ops->find(b->owner, i, &next);
		if (rc < 0 || next.state != p.state)
			last = i - 1;
	}
	end = b->start + (last + 1) * b->block_bytes;
	len = MIN(len, end - offset);
	rc = b->ops->reserve(b->owner, first, last - first + 1, &room);
	if (!rc)
		rc = write_new(b, p.state, first, last, room, offset, len, v, at);
	placing_end(&mine);
	return rc < 0 ? rc : (int64_t)len;
}

static int before_write(struct blocks *b, uint64_t offset, uint64_t len)
{
	uint64_t index = (offset - b->start) / b->block_bytes;
	uint64_t last = (offset + len - 1 - b->start) / b->block_bytes;
	struct block_place p;
	int rc = 0;

	if (!b->ops->before_write)
		return 0;
	for (; index <= last && !rc; index++) {
		rc = b->ops->find(b->owner, index, &p);
		if (!rc)
			rc = b->ops->before_write(b->owner, index, &p);
	}
	return rc;
}

int blocks_write(struct blocks *b, uint64_t offset, uint64_t len, const struct disk_vec *v,
		 size_t at)
{
	while (len) {
		struct run r;
		int64_t done = 0;
		int rc = find_run(b, offset, len, &r);

		if (rc < 0)
			return rc;
		if (r.place.state == BLOCK_DATA) {
			rc = before_write(b, offset, r.len);
			if (!rc)
				rc = disk_pwritev(b->file, r.place.offset, r.len, v, at, 0);
			done = rc < 0 ? rc : (int64_t)r.len;
		} else {
			done = place(b, offset, r.len, v, at);
		}
		if (done < 0)
			return done;
		offset += done;
		at += done;
		len -= done;
	}
	return 0;
}

/* Records a whole block that is not there as zeros. Returns 1 where it has come into being meanwhile. */
static int record_zero(struct blocks *b, uint64_t index)
{
	struct block_place p, zero = {BLOCK_ZERO, 0};
	struct placing mine;
	int rc;

	placing_begin(b, &mine, index, index);
	rc = b->ops->find(b->owner, index, &p);
	if (!rc && p.state == BLOCK_NONE)
		rc = b->ops->set(b->owner, index, &zero);
	else if (!rc && p.state == BLOCK_DATA)
		rc = 1;
	placing_end(&mine);
	return rc;
}

/* Zeros for a range inside one block that is not there, before a backing image. */
static int64_t zero_over_backing(struct blocks *b, uint64_t offset, uint64_t len)
{
	uint64_t in = (offset - b->start) % b->block_bytes;
	int rc;

	len = MIN(len, b->block_bytes - in);
	if (!b->has_zero || (len < b->block_bytes && offset + len < b->d->size) || in)
		return place(b, offset, len, NULL, 0);
	rc = record_zero(b, (offset - b->start) / b->block_bytes);
	return rc < 0 ? rc : rc ? 0 : (int64_t)len;
}

int blocks_zero(struct blocks *b, uint64_t offset, uint64_t len, unsigned flags)
{
	while (len) {
		struct run r;
		int64_t done;
		int rc = find_run(b, offset, len, &r);

		if (rc < 0)
			return rc;
		done = r.len;
		if (r.place.state == BLOCK_DATA) {
			rc = before_write(b, offset, r.len);
			if (!rc)
				rc = disk_write_zeroes(b->file, r.place.offset, r.len, flags);
			if (rc < 0)
				return rc;
		} else if (r.place.state == BLOCK_NONE && b->d->backing) {
			done = zero_over_backing(b, offset, r.len);
		}
		if (done < 0)
			return done;
		offset += done;
		len -= done;
	}
	return 0;
}

int blocks_discard(struct blocks *b, uint64_t offset, uint64_t len)
{
	while (len) {
		struct run r;
		int rc = find_run(b, offset, len, &r);

		if (!rc && r.place.state == BLOCK_DATA)
			rc = disk_discard(b->file, r.place.offset, r.len);
		if (rc < 0)
			return rc;
		offset += r.len;
		len -= r.len;
	}
	return 0;
}

int blocks_status(struct blocks *b, uint64_t offset, uint64_t len, struct disk_extent *ret)
{
	struct run r;
	int rc = find_run(b, offset, len, &r);

	if (rc < 0)
		return rc;
	ret->len = r.len;
	if (r.place.state == BLOCK_DATA) {
		ret->flags =
		    DISK_EXT_DATA | DISK_EXT_ALLOCATED | DISK_EXT_OFFSET | DISK_EXT_RECURSE;
		ret->host = b->file;
		ret->host_offset = r.place.offset;
	} else if (r.place.state == BLOCK_ZERO) {
		ret->flags = DISK_EXT_ZERO | DISK_EXT_ALLOCATED;
	}
	return 0;
}

int blocks_zero_tail(struct blocks *b, uint64_t size)
{
	uint64_t in = (size - b->start) % b->block_bytes;
	struct run r;
	int rc;

	if (!in)
		return 0;
	rc = find_run(b, size, b->block_bytes - in, &r);
	if (rc < 0 || r.place.state != BLOCK_DATA)
		return rc;
	return blocks_zero(b, size, r.len, DISK_REQ_UNMAP);
}
