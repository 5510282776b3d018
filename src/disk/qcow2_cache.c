/* Slices of L2 tables and refcount blocks, at most QCOW2_SLICE_BYTES each: a hash table over a clock.
 * Only clean slices are replaced; where all are dirty, everything is brought to disk in order first,
 * so that the cost of the barriers is shared by a whole cache of changes. */
#include "disk/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

#define SLOTS_MIN 16

void qcow2_cache_init(struct qcow2_cache *c, uint32_t unit, uint64_t max_bytes)
{
	*c = (struct qcow2_cache){.unit = unit, .hash_bits = 4};
	c->max = (uint32_t)MAX(max_bytes / unit, (uint64_t)SLOTS_MIN);
	while (1u << c->hash_bits < c->max)
		c->hash_bits++;
	c->hash = mem_array((size_t)1 << c->hash_bits, sizeof(*c->hash));
}

void qcow2_cache_done(struct qcow2_cache *c)
{
	for (uint32_t i = 0; i < c->count; i++)
		free(c->slots[i].buf);
	free(c->slots);
	free(c->hash);
	*c = (struct qcow2_cache){0};
}

static uint32_t *bucket(struct qcow2_cache *c, uint64_t offset)
{
	return &c->hash[(offset / c->unit * 0x9e3779b97f4a7c15ull) >> (64 - c->hash_bits)];
}

static struct qcow2_slot *find(struct qcow2_cache *c, uint64_t offset)
{
	for (uint32_t i = *bucket(c, offset); i; i = c->slots[i - 1].next)
		if (c->slots[i - 1].offset == offset)
			return &c->slots[i - 1];
	return NULL;
}

uint8_t *qcow2_cache_find(struct qcow2_cache *c, uint64_t offset)
{
	struct qcow2_slot *slot = find(c, offset);

	if (!slot)
		return NULL;
	slot->used = true;
	return slot->buf;
}

static void unhash(struct qcow2_cache *c, struct qcow2_slot *slot)
{
	uint32_t *p = bucket(c, slot->offset), self = (uint32_t)(slot - c->slots) + 1;

	while (*p != self)
		p = &c->slots[*p - 1].next;
	*p = slot->next;
	slot->offset = 0;
}

/* One that may be filled; NULL where all are dirty. */
static struct qcow2_slot *victim(struct qcow2_cache *c)
{
	if (c->count < c->max) {
		if (bits_is_pow2(c->count) || !c->count)
			c->slots =
			    mem_grow(c->slots, c->count ? 2 * c->count : 1, sizeof(*c->slots));
		struct qcow2_slot *slot = &c->slots[c->count++];

		*slot = (struct qcow2_slot){.buf = mem_grow(NULL, c->unit, 1)};
		return slot;
	}
	for (uint32_t turns = 2 * c->count; turns && c->dirty < c->count; turns--) {
		struct qcow2_slot *slot = &c->slots[c->hand];

		c->hand = (c->hand + 1) % c->count;
		if (slot->dirty)
			continue;
		if (!slot->used) {
			if (slot->offset)
				unhash(c, slot);
			return slot;
		}
		slot->used = false;
	}
	return NULL;
}

int qcow2_cache_get(struct qcow2 *s, struct qcow2_cache *c, uint64_t offset, uint8_t **ret_slice)
{
	struct qcow2_slot *slot = find(c, offset);
	int rc;

	if (!slot) {
		slot = victim(c);
		if (!slot) {
			rc = qcow2_sync(s);
			if (rc < 0)
				return rc;
			slot = victim(c);
		}
		if (!slot)
			return -EIO; /* the sync could not clean anything */
		uint32_t index = (uint32_t)(slot - c->slots);
		uint8_t *buf = slot->buf;

		/* Not in the hash while it waits, so that nobody sees it half filled. */
		slot->used = true;
		rc = disk_pread(s->d->file, offset, buf, c->unit);
		slot = &c->slots[index];
		slot->used = false;
		if (rc < 0)
			return rc;
		uint32_t *b = bucket(c, offset);

		slot->offset = offset;
		slot->next = *b;
		*b = index + 1;
	}
	slot->used = true;
	*ret_slice = slot->buf;
	return 0;
}

void qcow2_cache_dirty(struct qcow2_cache *c, uint64_t offset)
{
	struct qcow2_slot *slot = find(c, offset);

	if (!slot->dirty) {
		slot->dirty = true;
		c->dirty++;
	}
}

static int by_offset(const void *a, const void *b)
{
	const struct qcow2_slot *const *x = a, *const *y = b;

	return (*x)->offset < (*y)->offset ? -1 : (*x)->offset > (*y)->offset;
}

/* Adjacent slices in one write. */
static int write_run(struct qcow2 *s, struct qcow2_cache *c, struct qcow2_slot **slots, uint32_t n)
{
	struct iovec iov[64];
	const struct disk_vec v = {.iov = iov, .count = n};

	for (uint32_t i = 0; i < n; i++)
		iov[i] = (struct iovec){slots[i]->buf, c->unit};
	int rc = disk_pwritev(s->d->file, slots[0]->offset, (size_t)n * c->unit, &v, 0, 0);

	for (uint32_t i = 0; i < n && rc == 0; i++) {
		slots[i]->dirty = false;
		c->dirty--;
	}
	return rc;
}

int qcow2_cache_write(struct qcow2 *s, struct qcow2_cache *c)
{
	struct qcow2_slot **list;
	uint32_t n = 0;
	int rc = 0;

	if (!c->dirty)
		return 0;
	list = mem_array(c->dirty, sizeof(struct qcow2_slot *));
	for (uint32_t i = 0; i < c->count; i++)
		if (c->slots[i].dirty)
			list[n++] = &c->slots[i];
	qsort(list, n, sizeof(struct qcow2_slot *), by_offset);
	for (uint32_t i = 0, end; i < n && rc == 0; i = end) {
		end = i + 1;
		while (end < n && end - i < 64 &&
		       list[end]->offset == list[end - 1]->offset + c->unit)
			end++;
		rc = write_run(s, c, list + i, end - i);
	}
	free(list);
	return rc;
}

void qcow2_cache_drop(struct qcow2_cache *c, uint64_t offset, uint64_t len)
{
	for (uint64_t at = offset; at < offset + len; at += c->unit) {
		struct qcow2_slot *slot = find(c, at);

		if (!slot)
			continue;
		if (slot->dirty) {
			slot->dirty = false;
			c->dirty--;
		}
		unhash(c, slot);
	}
}
