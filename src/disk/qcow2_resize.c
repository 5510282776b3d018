/* Another size, and an image without content. The header's size changes last when the disk grows, and
 * after the mappings behind the new end are gone when it shrinks: bytes behind the end that somebody
 * might see again after growing are taken away first. */
#include "disk/qcow2.h"

#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"

#define H_SIZE 24

static int failed(struct err *e, int rc, const char *what)
{
	return err_set(e, rc == -ENOSPC ? ERR_DISK_FULL : ERR_DISK_IO, rc, "%s: %s", what,
		       strerror(-rc));
}

static int write_size(struct qcow2 *s, uint64_t size)
{
	uint8_t b[8];

	put_be64(b, size);
	return qcow2_header_poke(s, H_SIZE, b, sizeof(b));
}

/* The file ends where the last cluster that is in use does. */
static int trim_file(struct qcow2 *s, struct err *e)
{
	uint64_t last = qcow2_clusters(s, s->d->file->size), count = 0;

	while (last > 1) {
		int rc = qcow2_refcount(s, last - 1, &count);

		if (rc < 0)
			return failed(e, rc, "Could not read reference counts");
		if (count)
			break;
		last--;
	}
	uint64_t end = last << s->cluster_bits;

	if (end >= s->d->file->size)
		return 0;
	/* What lies behind it is new again. */
	s->high_water = end;
	s->byte_offset = 0;
	return disk_truncate(s->d->file, end, false, DISK_PREALLOC_OFF, 0, e);
}

static int shrink(struct qcow2 *s, uint64_t size, struct err *e)
{
	struct disk *d = s->d;
	uint64_t old = d->size, edge = bits_align_up(size, s->cluster_size);
	int rc = 0;

	if (edge > size && size < old)
		rc = disk_write_zeroes(d, size, MIN(edge, old) - size, 0);
	if (rc == 0 && edge < old)
		rc = qcow2_unmap(s, edge, bits_align_up(old, s->cluster_size) - edge,
				 QCOW2_UNMAP_FORGET);
	qcow2_begin_alone(s);
	if (rc == 0)
		rc = qcow2_sync_stable(s);
	if (rc == 0)
		rc = qcow2_bitmaps_resize(s, size);
	if (rc == 0)
		rc = write_size(s, size);
	if (rc == 0)
		d->size = size;
	int trim = rc == 0 ? trim_file(s, e) : 0;

	qcow2_end_alone(s);
	if (rc == 0 && qcow2_external(s) && s->data->size > size)
		trim = disk_truncate(s->data, size, true, DISK_PREALLOC_OFF, 0, e);
	return rc < 0 ? failed(e, rc, "Could not shrink the image") : trim;
}

/* Host space for clusters that have just been mapped. */
static int fill_mapped(struct qcow2 *s, uint64_t offset, uint64_t end, bool full)
{
	static const uint8_t zeroes[64u << 10];
	struct qcow2_map m;
	int rc = 0;

	for (; offset < end && rc == 0; offset += m.len) {
		rc = qcow2_map_any(s, offset, end - offset, &m);
		if (rc < 0 || m.type != QCOW2_DATA)
			continue;
		if (!full) {
			rc = disk_write_zeroes(s->data, m.host, m.len, 0);
			continue;
		}
		for (uint64_t i = 0; i < m.len && rc == 0; i += sizeof(zeroes))
			rc = disk_pwrite(s->data, m.host + i, zeroes,
					 (size_t)MIN(m.len - i, (uint64_t)sizeof(zeroes)), 0);
	}
	return rc;
}

static int add_space(struct qcow2 *s, uint64_t old, uint64_t size, enum disk_prealloc prealloc,
		     unsigned flags, struct err *e)
{
	uint64_t edge = MIN(bits_align_up(old, s->cluster_size), size);
	int rc = 0;

	if (qcow2_external(s) && s->data->size < size &&
	    (s->autoclear & QCOW2_DATA_FILE_RAW || prealloc != DISK_PREALLOC_OFF)) {
		rc = disk_truncate(
		    s->data, size, false,
		    prealloc == DISK_PREALLOC_METADATA ? DISK_PREALLOC_OFF : prealloc, 0, e);
		if (rc < 0)
			return rc;
	}
	/* The rest of the last cluster may hold anything. */
	if (edge > old)
		rc = disk_write_zeroes(s->d, old, edge - old, 0);
	if (rc == 0 && size > edge && flags & DISK_TRUNCATE_ZERO)
		rc = disk_write_zeroes(s->d, edge, size - edge, DISK_REQ_UNMAP);
	if (rc == 0 && (prealloc != DISK_PREALLOC_OFF || s->autoclear & QCOW2_DATA_FILE_RAW) &&
	    size > edge)
		rc = qcow2_preallocate(s, edge, size - edge);
	if (rc == 0 && prealloc >= DISK_PREALLOC_FALLOC && !qcow2_external(s))
		rc = fill_mapped(s, edge, size, prealloc == DISK_PREALLOC_FULL);
	return rc < 0 ? failed(e, rc, "Could not make room for the added part") : 0;
}

static int grow(struct qcow2 *s, uint64_t size, enum disk_prealloc prealloc, unsigned flags,
		struct err *e)
{
	uint64_t per_l1 = 1ull << (s->l2_bits + s->cluster_bits), old = s->d->size;

	qcow2_begin_alone(s);
	int rc = qcow2_bitmaps_resize(s, size);

	if (rc == 0)
		rc = qcow2_grow_l1(s, (size + per_l1 - 1) / per_l1);
	qcow2_end_alone(s);
	if (rc < 0)
		return failed(e, rc,
			      rc == -EFBIG
				  ? "The image size is too large (try using a larger cluster size)"
				  : "Failed to grow the L1 table");
	/* Requests may go there from now on, so that it can be cleared. */
	s->d->size = size;
	rc = add_space(s, old, size, prealloc, flags, e);
	if (rc < 0) {
		s->d->size = old;
		return rc;
	}
	qcow2_begin_alone(s);
	rc = qcow2_sync_stable(s);
	if (rc == 0)
		rc = write_size(s, size);
	qcow2_end_alone(s);
	if (rc < 0)
		s->d->size = old;
	return rc < 0 ? failed(e, rc, "Failed to update the image size") : 0;
}

int qcow2_truncate(struct disk *d, uint64_t size, bool exact, enum disk_prealloc prealloc,
		   unsigned flags, struct err *e)
{
	struct qcow2 *s = d->state;

	if (size & 511)
		return err_set(e, ERR_DISK_OPTION, -EINVAL,
			       "The new size must be a multiple of 512");
	if (s->snapshot_count && s->version < 3)
		return err_set(e, ERR_UNSUPPORTED, -ENOTSUP,
			       "Can't resize a version 2 image which has snapshots");
	if (size < d->size && prealloc != DISK_PREALLOC_OFF)
		return err_set(e, ERR_DISK_OPTION, -EINVAL,
			       "Preallocation can't be used for shrinking an image");
	if (prealloc != DISK_PREALLOC_OFF && d->backing && !s->ext_l2)
		return err_set(
		    e, ERR_UNSUPPORTED, -ENOTSUP,
		    "Preallocation of an image with a backing file needs extended L2 entries");
	if (size == d->size)
		return 0;
	return size < d->size ? shrink(s, size, e) : grow(s, size, prealloc, flags, e);
}

int qcow2_make_empty(struct disk *d, struct err *e)
{
	struct qcow2 *s = d->state;

	if (s->autoclear & QCOW2_DATA_FILE_RAW)
		return err_set(e, ERR_UNSUPPORTED, -ENOTSUP, "A raw data file cannot be emptied");
	int rc = qcow2_unmap(s, 0, bits_align_up(d->size, s->cluster_size), QCOW2_UNMAP_FORGET);

	qcow2_begin_alone(s);
	if (rc == 0)
		rc = qcow2_sync_stable(s);
	if (rc < 0)
		failed(e, rc, "Could not empty the image");
	else
		rc = trim_file(s, e);
	qcow2_end_alone(s);
	return rc;
}
