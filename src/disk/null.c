/* Options: size, read-zeroes (say that it is zeroes, so that readers may skip it), latency-ns. */
#include "disk/null.h"

#include "base/str.h"

#include <errno.h>
#include <stdlib.h>

#define DEFAULT_BYTES (1ull << 30)

struct null {
	bool zeroes; /* says that it reads as zeroes */
	uint64_t latency_ns;
};

static int null_open(struct disk *d, json_t *o, struct err *e)
{
	struct null *n = d->state;
	char *name = NULL;

	d->size = DEFAULT_BYTES;
	if (disk_opts_take_size(o, "size", &d->size, e) < 0 ||
	    disk_opts_take_bool(o, "read-zeroes", &n->zeroes, e) < 0 ||
	    disk_opts_take_u64(o, "latency-ns", &n->latency_ns, e) < 0 ||
	    disk_opts_take_str(o, "filename", &name, e) < 0)
		return e ? e->rc : -EINVAL;
	free(name);
	if (d->size > DISK_SIZE_MAX)
		return err_set(e, ERR_DISK_OPTION, -EFBIG, "The size is too large");
	d->growable = false;
	return 0;
}

static int null_close(struct disk *d)
{
	return 0;
}

static void dawdle(struct disk *d)
{
	const struct null *n = d->state;

	if (n->latency_ns)
		co_sleep(d->ctx, n->latency_ns);
}

static int null_preadv(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v,
		       size_t at)
{
	dawdle(d);
	disk_vec_zero(v, at, len);
	return 0;
}

static int null_pwritev(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v,
			size_t at, unsigned flags)
{
	dawdle(d);
	return 0;
}

static int null_write_zeroes(struct disk *d, uint64_t offset, uint64_t len, unsigned flags)
{
	dawdle(d);
	return 0;
}

static int null_block_status(struct disk *d, uint64_t offset, uint64_t len, bool exact,
			     struct disk_extent *x)
{
	const struct null *n = d->state;

	if (!n->zeroes)
		return 0;
	x->flags = DISK_EXT_OFFSET | DISK_EXT_ALLOCATED | DISK_EXT_ZERO;
	x->host = d;
	x->host_offset = offset;
	return 0;
}

static int64_t null_allocated_size(struct disk *d)
{
	return 0;
}

static const char *const prefixes[] = {"null-co", NULL};

static int parse_name(const char *name, json_t *o, struct err *e)
{
	if (str_eq(name, "null-co://") || str_eq(name, "null-co:"))
		return 0;
	return err_set(e, ERR_DISK_OPTION, -EINVAL, "The only name of a null disk is null-co://");
}

const struct disk_driver disk_driver_null = {
    .name = "null-co",
    .kind = DISK_KIND_PROTOCOL,
    .state_size = sizeof(struct null),
    .prefixes = prefixes,
    .parse_name = parse_name,
    .open = null_open,
    .close = null_close,
    .preadv = null_preadv,
    .pwritev = null_pwritev,
    .write_zeroes = null_write_zeroes,
    .block_status = null_block_status,
    .allocated_size = null_allocated_size,
};
