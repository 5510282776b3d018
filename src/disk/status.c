/* Where data is: of one layer, and of a chain. */
#include "disk/node_int.h"

#include <errno.h>

/* What the driver says about a range inside the disk. */
static int ask_driver(struct disk *d, uint64_t offset, uint64_t len, bool exact,
		      struct disk_extent *x)
{
	if (d->drv->kind == DISK_KIND_FILTER && !d->drv->block_status)
		return disk_block_status(d->file, offset, len, exact, x);
	if (!d->drv->block_status) {
		x->flags = DISK_EXT_DATA | DISK_EXT_ALLOCATED;
		return 0;
	}
	uint64_t start = bits_align_down(offset, d->align);
	uint64_t end = MIN(bits_align_up(offset + len, d->align), d->size);

	x->len = end - start;
	int rc = d->drv->block_status(d, start, end - start, exact, x);

	if (rc < 0)
		return rc;
	if (x->len <= offset - start)
		return -EIO;
	x->len = MIN(x->len - (offset - start), len);
	x->host_offset += offset - start;
	return 0;
}

/* Data whose place is known: its file knows of holes there (preallocated images have them). */
static void look_below(struct disk_extent *x)
{
	struct disk_extent below;

	if (disk_block_status(x->host, x->host_offset, x->len, true, &below) < 0)
		return;
	if (!below.len) { /* behind the end of the file */
		x->flags |= DISK_EXT_ZERO;
		return;
	}
	x->len = below.len;
	x->flags |= below.flags & DISK_EXT_ZERO;
}

int disk_block_status(struct disk *d, uint64_t offset, uint64_t len, bool exact,
		      struct disk_extent *ret_extent)
{
	struct disk_extent x = {.len = 0, .flags = DISK_EXT_EOF, .host = NULL};

	if (offset >= d->size || !len) {
		*ret_extent = x;
		return 0;
	}
	len = MIN(len, d->size - offset);
	x = (struct disk_extent){.len = len};
	int rc = ask_driver(d, offset, len, exact, &x);

	if (rc < 0)
		return rc;
	if (x.flags & (DISK_EXT_DATA | DISK_EXT_ZERO))
		x.flags |= DISK_EXT_ALLOCATED;
	else if (!(x.flags & DISK_EXT_ALLOCATED) && (!d->backing || offset >= d->backing->size))
		x.flags |= DISK_EXT_ZERO;
	if (exact && x.flags & DISK_EXT_RECURSE && x.flags & DISK_EXT_DATA &&
	    x.flags & DISK_EXT_OFFSET && !(x.flags & DISK_EXT_ZERO))
		look_below(&x);
	x.flags &= ~(unsigned)(DISK_EXT_RECURSE | DISK_EXT_EOF);
	if (offset + x.len >= d->size)
		x.flags |= DISK_EXT_EOF;
	*ret_extent = x;
	return 0;
}

/* Filters have no layer of their own. */
static struct disk *skip_filters(struct disk *d)
{
	while (d && d->drv->kind == DISK_KIND_FILTER)
		d = d->file;
	return d;
}

int disk_block_status_above(struct disk *d, struct disk *base, uint64_t offset, uint64_t len,
			    bool exact, struct disk_extent *ret_extent)
{
	uint64_t size = d->size;
	unsigned depth = 0;
	struct disk_extent x;

	base = skip_filters(base);
	for (struct disk *p = skip_filters(d); p && p != base; p = skip_filters(p->backing)) {
		int rc = disk_block_status(p, offset, len, exact, &x);

		if (rc < 0)
			return rc;
		if (!x.len) {
			if (!depth)
				break;
			/* A layer that is shorter than those above it reads as zeroes there. */
			x = (struct disk_extent){.len = len,
						 .flags = DISK_EXT_ZERO | DISK_EXT_ALLOCATED};
		}
		x.depth = depth++;
		len = MIN(len, x.len);
		if (x.flags & DISK_EXT_ALLOCATED)
			break;
		/* Behind its end a shorter backing image cannot say more. */
		if (p->backing && offset + len > p->backing->size && offset < p->backing->size)
			len = p->backing->size - offset;
	}
	if (!depth) {
		*ret_extent =
		    (struct disk_extent){.flags = offset >= size ? DISK_EXT_EOF : 0,
					 .len = offset >= size ? 0 : MIN(len, size - offset)};
		return 0;
	}
	x.len = len;
	x.flags &= ~(unsigned)DISK_EXT_EOF;
	x.flags |= offset + len >= size ? DISK_EXT_EOF : 0;
	*ret_extent = x;
	return 0;
}
