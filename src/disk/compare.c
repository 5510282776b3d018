#include "disk/compare.h"

#include "base/cleanup.h"
#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_MAX  (2u << 20)
#define STATUS_MAX (1ull << 30) /* bytes asked about at once */

static int give_up(struct disk_compare *c, struct disk *where, enum disk_difference at,
		   uint64_t offset, int rc)
{
	c->difference = at;
	c->where = where;
	c->offset = offset;
	return rc;
}

static int look(struct disk_compare *c, struct disk *d, uint64_t offset, uint64_t len,
		struct disk_extent *x)
{
	*x = (struct disk_extent){0};
	int rc = disk_block_status_above(d, NULL, offset, len, true, x);

	return rc ? give_up(c, d, DISK_COMPARE_STATUS, offset, rc) : 0;
}

static int fetch(struct disk_compare *c, struct disk *d, uint64_t offset, uint8_t *buf, size_t len)
{
	int rc = disk_pread(d, offset, buf, len);

	return rc ? give_up(c, d, DISK_COMPARE_READ, offset, rc) : 0;
}

static int differs(struct disk_compare *c, enum disk_difference how, uint64_t offset)
{
	c->difference = how;
	c->offset = offset;
	return 0;
}

static size_t first_difference(const uint8_t *a, const uint8_t *b, size_t len)
{
	size_t at = 0;

	while (at + 4096 <= len && !memcmp(a + at, b + at, 4096))
		at += 4096;
	while (at < len && a[at] == b[at])
		at++;
	return at;
}

static size_t first_nonzero(const uint8_t *p, size_t len)
{
	size_t at = 0;

	while (at < len && !p[at])
		at++;
	return at;
}

static bool is_zero(const struct disk_extent *x)
{
	return x->flags & DISK_EXT_ZERO || !(x->flags & DISK_EXT_DATA);
}

/* One of them has data from offset on, d being the one that has, or both. */
static int compare_data(struct disk_compare *c, struct disk *d, uint64_t offset, size_t len,
			uint8_t *buf)
{
	size_t same;

	if (d) {
		int rc = fetch(c, d, offset, buf, len);

		if (rc)
			return rc;
		same = disk_is_zero(buf, len) ? len : first_nonzero(buf, len);
	} else {
		int rc = fetch(c, c->a, offset, buf, len);

		if (!rc)
			rc = fetch(c, c->b, offset, buf + PIECE_MAX, len);
		if (rc)
			return rc;
		same = first_difference(buf, buf + PIECE_MAX, len);
	}
	return same < len ? differs(c, DISK_DIFFERENT_BYTES, offset + same) : 0;
}

static int report(struct disk_compare *c, uint64_t done, uint64_t total)
{
	return c->progress.fn ? c->progress.fn(c->progress.arg, done, total) : 0;
}

/* What both have. */
static int compare_common(struct disk_compare *c, uint64_t common, uint64_t total, uint8_t *buf)
{
	struct disk_extent a = {0}, b = {0};
	uint64_t end_a = 0, end_b = 0;
	int rc = 0;

	for (uint64_t at = 0; at < common && !rc && c->difference == DISK_SAME;) {
		uint64_t ask = common - at < STATUS_MAX ? common - at : STATUS_MAX;

		if (at >= end_a && (rc = look(c, c->a, at, ask, &a)))
			break;
		if (at >= end_a)
			end_a = at + a.len;
		if (at >= end_b && (rc = look(c, c->b, at, ask, &b)))
			break;
		if (at >= end_b)
			end_b = at + b.len;
		uint64_t len = (end_a < end_b ? end_a : end_b) - at;
		bool zero_a = is_zero(&a), zero_b = is_zero(&b);

		if (len > common - at)
			len = common - at;
		if (c->strict && (a.flags ^ b.flags) & DISK_EXT_ALLOCATED)
			return differs(c, DISK_DIFFERENT_STATUS, at);
		if (!zero_a || !zero_b) {
			len = len < PIECE_MAX ? len : PIECE_MAX;
			rc = compare_data(c,
					  !zero_a && !zero_b ? NULL
					  : zero_a           ? c->b
							     : c->a,
					  at, (size_t)len, buf);
		}
		at += len;
		if (!rc)
			rc = report(c, at, total);
	}
	return rc;
}

/* What only d has. */
static int compare_rest(struct disk_compare *c, struct disk *d, uint64_t at, uint8_t *buf)
{
	uint64_t total = disk_size(d);
	int rc = 0;

	while (at < total && !rc && c->difference == DISK_SAME) {
		struct disk_extent x;
		uint64_t ask = total - at < STATUS_MAX ? total - at : STATUS_MAX;

		rc = look(c, d, at, ask, &x);
		if (rc)
			break;
		if (!is_zero(&x)) {
			x.len = x.len < PIECE_MAX ? x.len : PIECE_MAX;
			rc = compare_data(c, d, at, (size_t)x.len, buf);
		}
		at += x.len;
		if (!rc)
			rc = report(c, at, total);
	}
	return rc;
}

int disk_compare(struct disk_compare *c)
{
	_free_ uint8_t *buf = mem_alloc(2 * (size_t)PIECE_MAX);
	uint64_t a = disk_size(c->a), b = disk_size(c->b), common = a < b ? a : b;
	int rc;

	c->difference = DISK_SAME;
	rc = compare_common(c, common, a > b ? a : b, buf);
	if (!rc && c->difference == DISK_SAME && a != b)
		rc = compare_rest(c, a > b ? c->a : c->b, common, buf);
	return rc;
}
