/* The log of a VHDX ([MS-VHDX] 2.3): a ring of entries, each a set of 4 KiB pages that belong to fixed
 * places of the file. An entry is written and made stable before its pages are written in place; so a
 * cut leaves either nothing of a change, or an entry from which it is done again.
 *
 * Reading (2.3.3): the active sequence is that with the highest sequence number among the chains of valid
 * entries whose last one names a tail inside the chain. Writing keeps a single entry in it: before
 * an entry is written, the pages of the one before are stable, so its tail is itself. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/endian.h"
#include "base/mem.h"
#include "disk/crc32c.h"
#include "disk/uuid.h"
#include "disk/vhdx_int.h"

#define ENTRY_HEAD 64u
#define DESCRIPTOR 32u
/* Checksums that a hostile log may make us compute: this many times its length. */
#define WORK_FACTOR 4u

/* 2.3.1.1 */
struct entry {
	uint32_t bytes, tail, count;
	uint64_t sequence, flushed_size, last_size;
};

struct log {
	const uint8_t *guid;
	uint8_t *data;
	uint32_t bytes;
	uint64_t work; /* bytes that may still be summed */
};

static bool guid_is_zero(const uint8_t *guid)
{
	static const uint8_t zero[16];

	return !memcmp(guid, zero, 16);
}

/* --- reading --- */

/* len bytes of the ring from `at` on. */
static void ring_copy(const struct log *l, uint32_t at, void *buf, uint32_t len)
{
	uint32_t n = MIN(len, l->bytes - at);

	memcpy(buf, l->data + at, n);
	memcpy((uint8_t *)buf + n, l->data, len - n);
}

static uint32_t ring_add(const struct log *l, uint32_t at, uint32_t len)
{
	return ((uint64_t)at + len) % l->bytes;
}

/* Pages that the header and descriptors of an entry take. */
static uint32_t descriptor_pages(uint32_t count)
{
	return (ENTRY_HEAD + count * DESCRIPTOR + VHDX_PAGE - 1) / VHDX_PAGE;
}

static uint32_t ring_crc(struct log *l, uint32_t at, uint32_t len)
{
	uint8_t head[ENTRY_HEAD];
	uint32_t crc, n;

	ring_copy(l, at, head, sizeof(head));
	memset(head + 4, 0, 4);
	crc = crc32c(0, head, sizeof(head));
	at = ring_add(l, at, ENTRY_HEAD);
	len -= ENTRY_HEAD;
	n = MIN(len, l->bytes - at);
	crc = crc32c(crc, l->data + at, n);
	return crc32c(crc, l->data, len - n);
}

/* Is there a valid entry at `at`? */
static bool entry_at(struct log *l, uint32_t at, struct entry *ret)
{
	const uint8_t *p = l->data + at; /* a page never wraps */
	struct entry n = {
	    .bytes = get_le32(p + 8),
	    .tail = get_le32(p + 12),
	    .sequence = get_le64(p + 16),
	    .count = get_le32(p + 24),
	    .flushed_size = get_le64(p + 48),
	    .last_size = get_le64(p + 56),
	};

	if (memcmp(p, "loge", 4) != 0 || memcmp(p + 32, l->guid, 16) != 0 || !n.sequence ||
	    !n.bytes || n.bytes % VHDX_PAGE || n.bytes > l->bytes || n.tail % VHDX_PAGE ||
	    n.tail >= l->bytes || n.count > n.bytes / DESCRIPTOR ||
	    descriptor_pages(n.count) * VHDX_PAGE > n.bytes || n.bytes > l->work)
		return false;
	l->work -= n.bytes;
	if (ring_crc(l, at, n.bytes) != get_le32(p + 4))
		return false;
	*ret = n;
	return true;
}

/* A chain of valid entries from `at` on. */
struct chain {
	bool valid; /* its last entry's tail is in it */
	uint32_t tail, end;
	struct entry last;
};

static struct chain follow(struct log *l, uint32_t at)
{
	struct chain c = {.end = at};
	uint32_t starts_at = at, total = 0;
	struct entry n;

	while (total < l->bytes && entry_at(l, c.end, &n) && n.bytes <= l->bytes - total &&
	       (!total || n.sequence == c.last.sequence + 1)) {
		total += n.bytes;
		c.last = n;
		c.end = ring_add(l, c.end, n.bytes);
	}
	if (!total)
		return c;
	/* Is the tail the start of one of these entries? Walk them once more, without sums. */
	c.tail = c.last.tail;
	for (uint32_t walked = 0; walked < total && !c.valid;) {
		if (starts_at == c.tail)
			c.valid = true;
		walked += get_le32(l->data + starts_at + 8);
		starts_at = ring_add(l, starts_at, get_le32(l->data + starts_at + 8));
	}
	return c;
}

/* 2.3.3 */
static struct chain active_chain(struct log *l)
{
	struct chain best = {0};

	for (uint32_t at = 0; at < l->bytes;) {
		struct chain c = follow(l, at);

		if (c.valid && (!best.valid || c.last.sequence > best.last.sequence))
			best = c;
		if (c.end == at)
			at += VHDX_PAGE;
		else if (c.end > at)
			at = c.end;
		else
			break; /* went round */
	}
	return best;
}

/* 2.3.1.2 to 2.3.1.4: one descriptor of an entry; its page of data follows at data_at. */
static int add_patch(struct vhdx *s, struct log *l, const uint8_t *desc, uint64_t sequence,
		     uint32_t data_at, bool *ret_has_data)
{
	struct vhdx_patch patch = {.offset = get_le64(desc + 16)};
	uint8_t *page = l->data + data_at;

	if (get_le64(desc + 24) != sequence || patch.offset % VHDX_PAGE)
		return -EINVAL;
	*ret_has_data = !memcmp(desc, "desc", 4);
	if (*ret_has_data) {
		if (memcmp(page, "data", 4) != 0 || get_le32(page + 4) != sequence >> 32 ||
		    get_le32(page + 4092) != (uint32_t)sequence)
			return -EINVAL;
		/* What the marks have displaced is in the descriptor. */
		memcpy(page, desc + 8, 8);
		memcpy(page + 4092, desc + 4, 4);
		patch.len = VHDX_PAGE;
		patch.data = page;
	} else {
		patch.len = get_le64(desc + 8);
		if (memcmp(desc, "zero", 4) != 0 || patch.len % VHDX_PAGE ||
		    patch.len > VHDX_SIZE_MAX)
			return -EINVAL;
	}
	if (patch.offset > VHDX_SIZE_MAX * 2)
		return -EINVAL;
	vec_push(&s->patches, patch);
	return 0;
}

static int add_entry(struct vhdx *s, struct log *l, uint32_t at, const struct entry *n)
{
	uint32_t data_at = ring_add(l, at, descriptor_pages(n->count) * VHDX_PAGE);
	uint32_t data_left = n->bytes / VHDX_PAGE - descriptor_pages(n->count);

	for (uint32_t i = 0; i < n->count; i++) {
		uint8_t desc[DESCRIPTOR];
		bool has_data;
		int rc;

		ring_copy(l, ring_add(l, at, ENTRY_HEAD + i * DESCRIPTOR), desc, sizeof(desc));
		if (!memcmp(desc, "desc", 4) && !data_left--)
			return -EINVAL;
		rc = add_patch(s, l, desc, n->sequence, data_at, &has_data);
		if (rc < 0)
			return rc;
		if (has_data)
			data_at = ring_add(l, data_at, VHDX_PAGE);
	}
	return 0;
}

/* All changes of the active sequence, in order, as patches. */
static int add_chain(struct vhdx *s, struct log *l, const struct chain *c)
{
	uint32_t at = c->tail;
	struct entry n = {0};
	int rc = 0;

	l->work = (uint64_t)l->bytes * WORK_FACTOR;
	while (!rc && n.sequence != c->last.sequence) {
		if (!entry_at(l, at, &n))
			return -EINVAL;
		rc = add_entry(s, l, at, &n);
		at = ring_add(l, at, n.bytes);
	}
	return rc;
}

static int apply(struct vhdx *s)
{
	int rc = 0;

	vec_each (p, &s->patches) {
		if (!rc && p->data)
			rc = disk_pwrite(s->d->file, p->offset, p->data, p->len, 0);
		else if (!rc)
			rc = disk_write_zeroes(s->d->file, p->offset, p->len, 0);
	}
	if (!rc)
		rc = disk_flush(s->d->file);
	return rc < 0 ? rc : vhdx_write_end(s);
}

void vhdx_log_done(struct vhdx *s)
{
	vec_done(&s->patches);
	free(STEAL(s->log_data));
}

static int replay_chain(struct vhdx *s, struct log *l, const struct chain *c, struct err *e)
{
	uint64_t size = disk_size(s->d->file);
	int rc;

	if (c->last.flushed_size > size)
		return err_set(e, ERR_DISK_FORMAT, -EINVAL,
			       "VHDX: the file has been cut short: its log counts on %" PRIu64
			       " bytes",
			       c->last.flushed_size);
	rc = add_chain(s, l, c);
	if (rc < 0)
		return err_set(e, ERR_DISK_FORMAT, rc, "VHDX: an entry of the log is malformed");
	if (!(s->d->flags & DISK_WRITE))
		return 0;
	if (c->last.last_size > size && c->last.last_size <= VHDX_SIZE_MAX * 2)
		rc =
		    disk_truncate(s->d->file, c->last.last_size, false, DISK_PREALLOC_OFF, 0, NULL);
	if (!rc)
		rc = apply(s);
	vhdx_log_done(s);
	return rc < 0 ? err_set(e, ERR_DISK_IO, rc, "VHDX: replaying the log failed: %s",
				strerror(-rc))
		      : 0;
}

int vhdx_log_replay(struct vhdx *s, struct err *e)
{
	struct log l = {.guid = s->head.log_guid, .bytes = s->head.log_bytes};
	struct chain c;
	int rc;

	if (guid_is_zero(s->head.log_guid))
		return 0;
	if (s->head.log_version != 0)
		return err_set(e, ERR_UNSUPPORTED, -ENOTSUP, "VHDX log version %u is not supported",
			       s->head.log_version);
	if (!l.bytes || l.bytes > VHDX_LOG_MAX)
		return err_set(e, ERR_DISK_FORMAT, -EINVAL,
			       "VHDX: a log of %" PRIu32 " bytes is not supported", l.bytes);
	s->log_data = l.data = mem_try_array(l.bytes, 1, VHDX_LOG_MAX);
	if (!l.data)
		return err_set(e, ERR_NOMEM, -ENOMEM, "no memory for the log of the VHDX");
	rc = disk_pread(s->d->file, s->head.log_offset, l.data, l.bytes);
	if (rc < 0)
		return err_set(e, ERR_DISK_IO, rc, "VHDX: reading the log failed: %s",
			       strerror(-rc));
	l.work = (uint64_t)l.bytes * WORK_FACTOR;
	c = active_chain(&l);
	if (c.valid)
		return replay_chain(s, &l, &c, e);
	vhdx_log_done(s);
	return 0;
}

int vhdx_pread(struct vhdx *s, uint64_t offset, void *buf, size_t len)
{
	int rc = disk_pread(s->d->file, offset, buf, len);

	if (rc < 0)
		return rc;
	vec_each (p, &s->patches) {
		uint64_t begin = MAX(offset, p->offset),
			 end = MIN(offset + len, p->offset + p->len);

		if (begin >= end)
			continue;
		if (p->data)
			memcpy((uint8_t *)buf + (begin - offset), p->data + (begin - p->offset),
			       end - begin);
		else
			memset((uint8_t *)buf + (begin - offset), 0, end - begin);
	}
	return 0;
}

/* --- writing --- */

/* 2.2.2.1: a change goes to the copy that is not current, so that one is valid at any time. */
static int write_head(struct vhdx *s)
{
	uint8_t *raw = mem_alloc(VHDX_HEAD_BYTES);
	int rc = 0;

	/* Twice, so that both say the same but for their number. */
	for (int i = 0; i < 2 && !rc; i++) {
		s->head.sequence++;
		s->head_index = !s->head_index;
		vhdx_head_build(&s->head, raw);
		rc = disk_pwrite(s->d->file, VHDX_HEAD_AT(s->head_index), raw, VHDX_HEAD_BYTES, 0);
		if (!rc)
			rc = disk_flush(s->d->file);
	}
	free(raw);
	return rc;
}

int vhdx_write_begin(struct vhdx *s)
{
	int rc = 0;

	if (s->write_begun)
		return 0;
	co_lock(&s->log_lock);
	if (!s->write_begun) {
		uuid_new(s->head.file_write_guid);
		uuid_new(s->head.data_write_guid);
		uuid_new(s->head.log_guid);
		s->log_sequence = 1;
		s->log_at = 0;
		rc = write_head(s);
		s->write_begun = !rc;
	}
	co_unlock(&s->log_lock);
	return rc;
}

int vhdx_write_end(struct vhdx *s)
{
	if (guid_is_zero(s->head.log_guid))
		return 0;
	memset(s->head.log_guid, 0, 16);
	s->write_begun = false;
	return write_head(s);
}

/* An entry of `count` pages as it lies in the log. */
static void build_entry(const struct vhdx *s, const struct vhdx_patch *w, unsigned count,
			uint8_t *raw, uint32_t bytes)
{
	uint64_t size = disk_size(s->d->file);

	memcpy(raw, "loge", 4);
	put_le32(raw + 8, bytes);
	put_le32(raw + 12, s->log_at); /* its own tail */
	put_le64(raw + 16, s->log_sequence);
	put_le32(raw + 24, count);
	memcpy(raw + 32, s->head.log_guid, 16);
	put_le64(raw + 48, bits_align_down(size, VHDX_MB));
	put_le64(raw + 56, bits_align_up(size, VHDX_MB));
	for (unsigned i = 0; i < count; i++) {
		uint8_t *desc = raw + ENTRY_HEAD + i * DESCRIPTOR;
		uint8_t *page = raw + (1 + i) * VHDX_PAGE;

		memcpy(desc, "desc", 4);
		memcpy(desc + 4, w[i].data + 4092, 4);
		memcpy(desc + 8, w[i].data, 8);
		put_le64(desc + 16, w[i].offset);
		put_le64(desc + 24, s->log_sequence);
		memcpy(page, w[i].data, VHDX_PAGE);
		memcpy(page, "data", 4);
		put_le32(page + 4, s->log_sequence >> 32);
		put_le32(page + 4092, s->log_sequence);
	}
	put_le32(raw + 4, crc32c_without(raw, bytes, 4));
}

static int write_ring(struct vhdx *s, const uint8_t *raw, uint32_t bytes)
{
	uint32_t n = MIN(bytes, s->head.log_bytes - s->log_at);
	int rc = disk_pwrite(s->d->file, s->head.log_offset + s->log_at, raw, n, 0);

	if (!rc && n < bytes)
		rc = disk_pwrite(s->d->file, s->head.log_offset, raw + n, bytes - n, 0);
	return rc;
}

int vhdx_log_commit(struct vhdx *s, const struct vhdx_patch *w, unsigned count)
{
	uint32_t bytes = (1 + count) * VHDX_PAGE;
	uint8_t *raw;
	int rc = vhdx_write_begin(s);

	if (rc < 0)
		return rc;
	co_lock(&s->log_lock);
	raw = mem_alloc(bytes);
	build_entry(s, w, count, raw, bytes);
	rc = disk_flush(s->d->file);
	if (!rc)
		rc = write_ring(s, raw, bytes);
	if (!rc)
		rc = disk_flush(s->d->file);
	s->log_sequence++;
	s->log_at = (s->log_at + bytes) % s->head.log_bytes;
	for (unsigned i = 0; i < count && !rc; i++)
		rc = disk_pwrite(s->d->file, w[i].offset, w[i].data, VHDX_PAGE, 0);
	co_unlock(&s->log_lock);
	free(raw);
	return rc;
}
