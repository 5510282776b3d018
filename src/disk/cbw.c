/* copy-before-write. A bit per cluster says that the target has it (or does not need it any more).
 * Whoever comes to a cluster while it is being copied waits for that. */
#include "disk/filter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/mem.h"

#define CLUSTER_MIN (64u << 10)
#define BITS_MAX    (16u << 20) /* bytes: 8 TiB at 64k; larger disks have larger clusters */
#define COPY_MAX    (1u << 20)

enum on_error { BREAK_GUEST_WRITE, BREAK_SNAPSHOT };

/* Clusters that are being copied; on the stack of the one who does it. */
struct copying {
	uint64_t first, end;
	struct copying *next;
};

struct cbw {
	struct disk *target;
	enum on_error on_error;
	uint64_t cluster; /* bytes */
	uint8_t *copied;  /* a bit per cluster */
	struct copying *copies;
	struct co_queue waiters;
	int broken; /* the first error, where the snapshot gave way */
};

static int cbw_open(struct disk *d, json_t *o, struct err *e)
{
	static const char *const errors[] = {"break-guest-write", "break-snapshot", NULL};
	struct cbw *c = d->state;
	unsigned on_error = BREAK_GUEST_WRITE;
	int rc = disk_opts_take_enum(o, "on-cbw-error", errors, &on_error, e);

	if (rc < 0)
		return rc;
	c->on_error = (enum on_error)on_error;
	rc = disk_open_child(d, o, "target", NULL, NULL, &c->target, e);
	if (rc < 0)
		return rc;
	if (!c->target || c->target->size < d->file->size) {
		disk_close(c->target);
		return c->target ? err_set(e, ERR_DISK_OPTION, -EINVAL,
					   "The target is smaller than the disk")
				 : err_set(e, ERR_DISK_OPTION, -EINVAL,
					   "A block device must be specified for \"target\"");
	}
	d->size = d->file->size;
	c->cluster = MAX(CLUSTER_MIN, c->target->cluster_size);
	while (d->size / c->cluster / 8 >= BITS_MAX)
		c->cluster *= 2;
	c->copied = mem_array((size_t)(d->size / c->cluster / 8 + 1), 1);
	d->cluster_size = d->file->cluster_size;
	d->write_flags = DISK_REQ_FUA;
	d->zero_flags = DISK_REQ_UNMAP;
	return 0;
}

static int cbw_close(struct disk *d)
{
	struct cbw *c = d->state;
	int rc = disk_close(c->target);

	free(c->copied);
	return c->broken < 0 ? c->broken : rc;
}

static bool is_copied(const struct cbw *c, uint64_t i)
{
	return c->copied[i / 8] >> (i % 8) & 1;
}

static bool being_copied(const struct cbw *c, uint64_t first, uint64_t end)
{
	for (const struct copying *k = c->copies; k; k = k->next)
		if (k->first < end && first < k->end)
			return true;
	return false;
}

static int copy_range(struct disk *d, uint64_t offset, uint64_t len)
{
	struct cbw *c = d->state;
	size_t step = (size_t)MIN(len, (uint64_t)COPY_MAX);
	_free_ uint8_t *buf = malloc(step);
	int rc = buf ? 0 : -ENOMEM;

	for (uint64_t i = 0; i < len && rc == 0; i += step) {
		size_t n = (size_t)MIN(len - i, (uint64_t)step);

		rc = disk_pread(d->file, offset + i, buf, n);
		if (rc == 0)
			rc = disk_pwrite(c->target, offset + i, buf, n, 0);
	}
	return rc;
}

/* Clusters [first, end), none of which is copied or being copied. */
static int copy_clusters(struct disk *d, uint64_t first, uint64_t end)
{
	struct cbw *c = d->state;
	struct copying k = {.first = first, .end = end, .next = c->copies}, **p = &c->copies;

	c->copies = &k;
	int rc =
	    copy_range(d, first * c->cluster, MIN(end * c->cluster, d->size) - first * c->cluster);

	while (*p != &k)
		p = &(*p)->next;
	*p = k.next;
	if (rc < 0 && c->on_error == BREAK_SNAPSHOT) {
		c->broken = rc;
		rc = 0;
	}
	for (uint64_t i = first; i < end && rc == 0; i++)
		c->copied[i / 8] |= (uint8_t)(1u << i % 8);
	co_queue_wake_all(&c->waiters);
	return rc;
}

static int before_write(struct disk *d, uint64_t offset, uint64_t len)
{
	struct cbw *c = d->state;
	uint64_t i = offset / c->cluster, last = (offset + len - 1) / c->cluster;
	int rc = 0;

	while (i <= last && rc == 0 && !c->broken) {
		uint64_t end = i;

		if (is_copied(c, i)) {
			i++;
			continue;
		}
		if (being_copied(c, i, i + 1)) {
			co_queue_wait(&c->waiters);
			continue;
		}
		while (end <= last && !is_copied(c, end) && !being_copied(c, end, end + 1))
			end++;
		rc = copy_clusters(d, i, end);
		i = end;
	}
	return rc;
}

static int cbw_preadv(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v,
		      size_t at)
{
	return disk_preadv(d->file, offset, len, v, at);
}

static int cbw_pwritev(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v,
		       size_t at, unsigned flags)
{
	int rc = before_write(d, offset, len);

	return rc < 0 ? rc : disk_pwritev(d->file, offset, len, v, at, flags);
}

static int cbw_write_zeroes(struct disk *d, uint64_t offset, uint64_t len, unsigned flags)
{
	int rc = before_write(d, offset, len);

	return rc < 0 ? rc : disk_write_zeroes(d->file, offset, len, flags);
}

static int cbw_discard(struct disk *d, uint64_t offset, uint64_t len)
{
	int rc = before_write(d, offset, len);

	return rc < 0 ? rc : disk_discard(d->file, offset, len);
}

static int cbw_flush(struct disk *d)
{
	struct cbw *c = d->state;

	return disk_flush(c->target);
}

const struct disk_driver disk_driver_copy_before_write = {
    .name = "copy-before-write",
    .kind = DISK_KIND_FILTER,
    .state_size = sizeof(struct cbw),
    .open = cbw_open,
    .close = cbw_close,
    .preadv = cbw_preadv,
    .pwritev = cbw_pwritev,
    .write_zeroes = cbw_write_zeroes,
    .discard = cbw_discard,
    .flush = cbw_flush,
};
