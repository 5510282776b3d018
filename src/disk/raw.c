/* The format without format: the bytes of a file, or with `offset` and `size` a part of them. */
#include "disk/host.h"

#include <errno.h>

#include "base/bits.h"
#include "base/checked.h"
#include "base/cleanup.h"

#define SECTOR_BYTES 512

struct raw {
	uint64_t offset;
	bool sized; /* a part: it cannot grow */
};

static int raw_probe(const uint8_t *buf, size_t len, const char *name)
{
	return 1;
}

/* A disk has whole sectors: the end of the last one reads as zeroes where the file lacks it. */
static uint64_t in_sectors(uint64_t bytes)
{
	return bytes <= DISK_SIZE_MAX ? bits_align_up(bytes, SECTOR_BYTES) : bytes;
}

static int raw_open(struct disk *d, json_t *o, struct err *e)
{
	struct raw *r = d->state;
	uint64_t size = 0, whole = d->file->size;
	int sized = disk_opts_take_size(o, "size", &size, e);

	if (sized < 0 || disk_opts_take_size(o, "offset", &r->offset, e) < 0)
		return e ? e->rc : -EINVAL;
	r->sized = sized;
	if (r->offset > whole)
		return err_set(
		    e, ERR_DISK_OPTION, -EINVAL,
		    "Offset (%llu) cannot be greater than the size of the containing file (%llu)",
		    (unsigned long long)r->offset, (unsigned long long)whole);
	if (sized && !checked_within(r->offset, size, whole))
		return err_set(
		    e, ERR_DISK_OPTION, -EINVAL,
		    "The sum of offset (%llu) and size (%llu) has to be smaller or equal to "
		    "the actual size of the containing file (%llu)",
		    (unsigned long long)r->offset, (unsigned long long)size,
		    (unsigned long long)whole);
	d->size = sized ? size : in_sectors(whole - r->offset);
	d->zero_flags = DISK_REQ_UNMAP;
	d->write_flags = DISK_REQ_FUA;
	return 0;
}

static int raw_close(struct disk *d)
{
	return 0;
}

static int raw_preadv(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v,
		      size_t at)
{
	const struct raw *r = d->state;

	return disk_preadv(d->file, offset + r->offset, len, v, at);
}

static int raw_pwritev(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v,
		       size_t at, unsigned flags)
{
	const struct raw *r = d->state;

	return disk_pwritev(d->file, offset + r->offset, len, v, at, flags);
}

static int raw_write_zeroes(struct disk *d, uint64_t offset, uint64_t len, unsigned flags)
{
	const struct raw *r = d->state;

	return disk_write_zeroes(d->file, offset + r->offset, len, flags);
}

static int raw_discard(struct disk *d, uint64_t offset, uint64_t len)
{
	const struct raw *r = d->state;

	return disk_discard(d->file, offset + r->offset, len);
}

static int raw_copy_range(struct disk *from, uint64_t from_offset, struct disk *to,
			  uint64_t to_offset, uint64_t len)
{
	const struct raw *r = to->state;

	if (from->drv == to->drv) {
		from_offset += ((const struct raw *)from->state)->offset;
		from = from->file;
	}
	return disk_copy_range(from, from_offset, to->file, to_offset + r->offset, len);
}

static int raw_block_status(struct disk *d, uint64_t offset, uint64_t len, bool exact,
			    struct disk_extent *x)
{
	const struct raw *r = d->state;
	int rc = disk_block_status(d->file, offset + r->offset, len, exact, x);

	/* The file may have been cut behind our back. */
	if (rc == 0 && !x->len)
		*x = (struct disk_extent){.len = len, .flags = DISK_EXT_ZERO};
	return rc;
}

static int raw_truncate(struct disk *d, uint64_t size, bool exact, enum disk_prealloc prealloc,
			unsigned flags, struct err *e)
{
	const struct raw *r = d->state;
	uint64_t end;

	if (r->sized)
		return err_set(e, ERR_UNSUPPORTED, -ENOTSUP, "Cannot resize fixed-size raw disks");
	if (!checked_add(size, r->offset, &end) || end > DISK_SIZE_MAX)
		return err_set(e, ERR_DISK_OPTION, -EFBIG,
			       "Disk size too large for the chosen offset");
	int rc = disk_truncate(d->file, end, exact, prealloc, flags, e);

	if (rc == 0)
		d->size = d->file->drv->kind == DISK_KIND_PROTOCOL && !d->file->growable
			      ? d->file->size - r->offset
			      : in_sectors(size);
	return rc;
}

static const struct disk_opt raw_create_opts[] = {
    {"size", DISK_OPT_SIZE, "Virtual disk size", NULL, false},
    {0},
};

static int raw_create(const struct disk_create *c, struct err *e)
{
	struct disk *file;

	if (c->backing_file)
		return err_set(e, ERR_DISK_OPTION, -EINVAL,
			       "Backing file not supported for file format 'raw'");
	int rc = disk_create_file(c->ctx, c->filename, in_sectors(c->size), c->opts, &file, e);

	return rc < 0 ? rc : disk_close(file);
}

static int raw_measure(const struct disk_create *c, struct disk *in, struct disk_measure *ret,
		       struct err *e)
{
	ret->required = ret->fully_allocated = c->size;
	return 0;
}

const struct disk_driver disk_driver_raw = {
    .name = "raw",
    .kind = DISK_KIND_FORMAT,
    .state_size = sizeof(struct raw),
    .probe = raw_probe,
    .open = raw_open,
    .close = raw_close,
    .preadv = raw_preadv,
    .pwritev = raw_pwritev,
    .write_zeroes = raw_write_zeroes,
    .discard = raw_discard,
    .copy_range = raw_copy_range,
    .block_status = raw_block_status,
    .truncate = raw_truncate,
    .create_opts = raw_create_opts,
    .create = raw_create,
    .measure = raw_measure,
};
