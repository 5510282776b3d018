/* Each limit is a clock that runs ahead of time: a request moves it on by what it costs, and waits until
 * it is not further ahead than the burst. So requests go in the order they came, and whatever their
 * sizes the average is exact. */
#include "disk/filter.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/bits.h"

#define SECOND   1000000000ull
#define BURST_NS (SECOND / 10)
#define RATE_MAX 1000000000000000ull /* QEMU's */

enum limit { OPS_TOTAL, OPS_READ, OPS_WRITE, BYTES_TOTAL, BYTES_READ, BYTES_WRITE, LIMITS };

static const char *const names[LIMITS] = {"iops-total", "iops-read", "iops-write",
					  "bps-total",  "bps-read",  "bps-write"};

struct throttle {
	uint64_t rate[LIMITS];     /* per second; 0: none */
	uint64_t ahead_ns[LIMITS]; /* the moment up to which it is used up */
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * SECOND + (uint64_t)ts.tv_nsec;
}

static int throttle_open(struct disk *d, json_t *o, struct err *e)
{
	struct throttle *t = d->state;

	for (int i = 0; i < LIMITS; i++) {
		if (disk_opts_take_u64(o, names[i], &t->rate[i], e) < 0)
			return e ? e->rc : -EINVAL;
		if (t->rate[i] > RATE_MAX)
			return err_set(e, ERR_DISK_OPTION, -ERANGE, "'%s' must be within [0, %llu]",
				       names[i], RATE_MAX);
	}
	if ((t->rate[OPS_TOTAL] && (t->rate[OPS_READ] || t->rate[OPS_WRITE])) ||
	    (t->rate[BYTES_TOTAL] && (t->rate[BYTES_READ] || t->rate[BYTES_WRITE])))
		return err_set(
		    e, ERR_DISK_OPTION, -EINVAL,
		    "bps/iops/max total values and read/write values cannot be used at the "
		    "same time");
	d->size = d->file->size;
	d->cluster_size = d->file->cluster_size;
	d->write_flags = DISK_REQ_FUA;
	d->zero_flags = DISK_REQ_UNMAP;
	return 0;
}

static int throttle_close(struct disk *d)
{
	return 0;
}

/* Uses up `amount` of the limit; returns how long to wait for it. */
static uint64_t use(struct throttle *t, enum limit i, uint64_t amount, uint64_t now)
{
	if (!t->rate[i])
		return 0;
	uint64_t start = MAX(t->ahead_ns[i], now);
	uint64_t wait = start - now > BURST_NS ? start - now - BURST_NS : 0;

	t->ahead_ns[i] = start + (uint64_t)((__uint128_t)amount * SECOND / t->rate[i]);
	return wait;
}

static void wait_turn(struct disk *d, bool write, uint64_t bytes)
{
	struct throttle *t = d->state;
	uint64_t now = now_ns(), longest = 0, wait;
	const struct {
		enum limit limit;
		uint64_t amount;
	} uses[] = {
	    {OPS_TOTAL, 1},
	    {write ? OPS_WRITE : OPS_READ, 1},
	    {BYTES_TOTAL, bytes},
	    {write ? BYTES_WRITE : BYTES_READ, bytes},
	};

	for (int i = 0; i < 4; i++) {
		wait = use(t, uses[i].limit, uses[i].amount, now);
		longest = MAX(longest, wait);
	}
	if (longest)
		co_sleep(d->ctx, longest);
}

static int throttle_preadv(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v,
			   size_t at)
{
	wait_turn(d, false, len);
	return disk_preadv(d->file, offset, len, v, at);
}

static int throttle_pwritev(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v,
			    size_t at, unsigned flags)
{
	wait_turn(d, true, len);
	return disk_pwritev(d->file, offset, len, v, at, flags);
}

static int throttle_pwritev_compressed(struct disk *d, uint64_t offset, size_t len,
				       const struct disk_vec *v, size_t at)
{
	wait_turn(d, true, len);
	return disk_pwritev(d->file, offset, len, v, at, DISK_REQ_COMPRESSED);
}

static int throttle_write_zeroes(struct disk *d, uint64_t offset, uint64_t len, unsigned flags)
{
	wait_turn(d, true, len);
	return disk_write_zeroes(d->file, offset, len, flags);
}

static int throttle_discard(struct disk *d, uint64_t offset, uint64_t len)
{
	wait_turn(d, true, len);
	return disk_discard(d->file, offset, len);
}

const struct disk_driver disk_driver_throttle = {
    .name = "throttle",
    .kind = DISK_KIND_FILTER,
    .state_size = sizeof(struct throttle),
    .open = throttle_open,
    .close = throttle_close,
    .preadv = throttle_preadv,
    .pwritev = throttle_pwritev,
    .pwritev_compressed = throttle_pwritev_compressed,
    .write_zeroes = throttle_write_zeroes,
    .discard = throttle_discard,
};
