#include "disk/vmdk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "disk/uuid.h"
#include "disk/vmdk_int.h"

static int probe(const uint8_t *buf, size_t len, const char *name)
{
	return vmdk_head_probe(buf, len) || vmdk_desc_probe((const char *)buf, len) ? 100 : 0;
}

/* --- the descriptor --- */

static int read_text(struct vmdk *s, uint64_t offset, uint64_t len, struct err *e)
{
	int rc;

	if (len > VMDK_DESC_MAX)
		return err_set(e, ERR_DISK_FORMAT, -EINVAL,
			       "the VMDK descriptor is longer than %u KiB", VMDK_DESC_MAX >> 10);
	s->text = mem_alloc(len + 1);
	rc = disk_pread(s->d->file, offset, s->text, len);
	if (rc < 0)
		return err_set(e, ERR_DISK_IO, rc, "Could not read the VMDK descriptor: %s",
			       strerror(-rc));
	return vmdk_desc_parse(s->text, &s->desc, e);
}

int vmdk_write_desc(struct vmdk *s)
{
	_buf_ struct buf b = {0};
	size_t len;
	int rc;

	vmdk_desc_edit(s->text, &s->desc, &b);
	len = b.len;
	if (s->desc_room) {
		if (len > s->desc_room)
			return -ENOSPC;
		/* What was there before does not show behind the new text. */
		while (b.len < s->desc_room)
			buf_addc(&b, '\0');
	}
	rc = disk_pwrite(s->d->file, s->desc_offset, b.s, b.len, 0);
	if (!rc && !s->desc_room)
		rc = disk_truncate(s->d->file, len, true, DISK_PREALLOC_OFF, 0, NULL);
	if (rc < 0)
		return rc;
	free(s->text);
	s->text = mem_strndup(buf_str(&b), len);
	return 0;
}

/* --- open --- */

static struct vmdk_extent *add_extent(struct vmdk *s, const char *type)
{
	struct vmdk_extent *x;

	x = &s->extents[s->extent_count++];
	x->d = s->d;
	x->start = s->d->size;
	x->type = type ? mem_strdup(type) : NULL;
	return x;
}

static int check_flat(const struct vmdk_extent *x, const char *name, struct err *e)
{
	if (x->flat_offset + x->size <= disk_size(x->file))
		return 0;
	return err_set(e, ERR_DISK_FORMAT, -EINVAL,
		       "extent '%s' has %" PRIu64 " bytes, the descriptor says %" PRIu64, name,
		       disk_size(x->file), x->flat_offset + x->size);
}

static int open_extent(struct vmdk *s, const struct vmdk_desc_extent *l, json_t *o, struct err *e)
{
	struct vmdk_extent *x = add_extent(s, l->type);
	bool sparse = str_eq(l->type, "SPARSE");
	int rc;

	x->size = l->sectors * VMDK_SECTOR;
	x->kind = VMDK_FLAT;
	if (str_eq(l->type, "ZERO")) {
		x->kind = VMDK_ZEROS;
		return 0;
	}
	if (!sparse && !str_eq(l->type, "FLAT") && !str_eq(l->type, "VMFS"))
		return err_set(e, ERR_UNSUPPORTED, -ENOTSUP, "Unsupported extent type '%s'",
			       l->type);
	x->flat_offset = l->offset * VMDK_SECTOR;
	/* What an untrusted descriptor names stays closed; `info` needs only the text. */
	if (s->d->flags & DISK_UNTRUSTED && s->d->flags & DISK_NO_IO)
		return 0;
	rc = disk_open_child(s->d, o, "extent", l->name, NULL, &x->file, e);
	if (rc < 0)
		return rc;
	x->own_file = true;
	if (!sparse)
		return check_flat(x, l->name, e);
	rc = vmdk_sparse_open(x, e);
	if (rc < 0)
		return err_prefix(e, "extent '%s': ", l->name);
	if (x->size < l->sectors * VMDK_SECTOR)
		return err_set(e, ERR_DISK_FORMAT, -EINVAL,
			       "extent '%s' is smaller than the descriptor says", l->name);
	x->size = l->sectors * VMDK_SECTOR;
	return 0;
}

static int open_descriptor(struct vmdk *s, json_t *o, struct err *e)
{
	static const char *const types[] = {"monolithicFlat", "twoGbMaxExtentSparse",
					    "twoGbMaxExtentFlat", "vmfs", "custom"};
	bool known = false;
	int rc = read_text(s, 0, disk_size(s->d->file), e);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		known |= str_eq(s->desc.create_type, types[i]);
	if (!known)
		return err_set(e, ERR_UNSUPPORTED, -ENOTSUP, "Unsupported image type '%s'",
			       s->desc.create_type);
	s->extents = mem_array(s->desc.extent_count + 1, sizeof(*s->extents));
	for (unsigned i = 0; i < s->desc.extent_count && !rc; i++) {
		rc = open_extent(s, &s->desc.extents[i], o, e);
		s->d->size += s->extents[i].size; /* 4096 times 2^42 sectors stay below 2^63 */
	}
	return rc;
}

/* Header, descriptor and grains in one file. */
static int open_monolithic(struct vmdk *s, struct err *e)
{
	struct vmdk_extent *x;
	int rc;

	s->extents = mem_array(1, sizeof(*s->extents));
	x = add_extent(s, NULL);
	x->file = s->d->file;
	rc = vmdk_sparse_open(x, e);
	if (rc < 0)
		return rc;
	s->d->size = x->size;
	s->desc_offset = x->head.desc_offset * VMDK_SECTOR;
	s->desc_room = x->head.desc_sectors * VMDK_SECTOR;
	if (!s->desc_offset || !s->desc_room)
		return err_set(e, ERR_DISK_FORMAT, -EINVAL,
			       "the file is an extent: open the descriptor that names it");
	rc = read_text(s, s->desc_offset, s->desc_room, e);
	if (!rc && s->desc.extent_count != 1)
		rc = err_set(e, ERR_DISK_FORMAT, -EINVAL,
			     "the VMDK descriptor of a single file has %u extents",
			     s->desc.extent_count);
	return rc;
}

static void done(struct vmdk *s)
{
	for (unsigned i = 0; i < s->extent_count; i++)
		vmdk_extent_done(&s->extents[i]);
	free(s->extents);
	free(s->text);
	vmdk_desc_done(&s->desc);
}

static void set_limits(struct vmdk *s)
{
	struct disk *d = s->d;

	for (unsigned i = 0; i < s->extent_count; i++) {
		const struct vmdk_extent *x = &s->extents[i];

		if (x->head.grain_sectors)
			d->cluster_size = MAX(d->cluster_size, x->head.grain_sectors * VMDK_SECTOR);
	}
	d->zero_flags = DISK_REQ_UNMAP;
	if (s->desc.parent) {
		d->backing_name = mem_strdup(s->desc.parent);
		d->backing_format = mem_strdup("vmdk");
	}
}

static int vmdk_open(struct disk *d, json_t *o, struct err *e)
{
	struct vmdk *s = d->state;
	uint8_t magic[4];
	int rc;

	s->d = d;
	if (disk_size(d->file) < sizeof(magic))
		return err_set(e, ERR_DISK_FORMAT, -EINVAL, "File is too small, not a valid image");
	rc = disk_pread(d->file, 0, magic, sizeof(magic));
	if (rc < 0)
		return err_set(e, ERR_DISK_IO, rc, "Could not read the VMDK header: %s",
			       strerror(-rc));
	rc = vmdk_head_probe(magic, sizeof(magic)) ? open_monolithic(s, e)
						   : open_descriptor(s, o, e);
	if (rc < 0) {
		done(s);
		return rc;
	}
	set_limits(s);
	return 0;
}

static int vmdk_flush(struct disk *d)
{
	struct vmdk *s = d->state;
	int rc = 0;

	for (unsigned i = 0; i < s->extent_count && !rc; i++) {
		struct vmdk_extent *x = &s->extents[i];

		if (x->directory)
			rc = vmdk_sparse_flush(x);
		if (!rc && x->own_file)
			rc = disk_flush(x->file);
	}
	return rc;
}

static int vmdk_close(struct disk *d)
{
	int rc = d->flags & DISK_WRITE ? vmdk_flush(d) : 0;

	done(d->state);
	return rc;
}

/* --- the parent --- */

/* "parentCID": a parent that was written since does not fit any more. */
static int check_parent(struct vmdk *s)
{
	struct disk *parent = s->d->backing;

	if (s->parent_known || !parent || parent->drv != &disk_driver_vmdk)
		return 0;
	if (((struct vmdk *)parent->state)->desc.cid != s->desc.parent_cid)
		return -EINVAL;
	s->parent_known = true;
	return 0;
}

/* A new content id, once per open, before the first change: images on top of this one see it. */
static int renew_cid(struct vmdk *s)
{
	if (s->cid_renewed)
		return 0;
	s->cid_renewed = true;
	uuid_random(&s->desc.cid, sizeof(s->desc.cid));
	return vmdk_write_desc(s);
}

/* --- data --- */

/* The extent of offset; *len is cut at its end. */
static struct vmdk_extent *extent_at(struct vmdk *s, uint64_t offset, uint64_t *len)
{
	unsigned low = 0, high = s->extent_count;
	struct vmdk_extent *x;

	while (high - low > 1) {
		unsigned mid = (low + high) / 2;

		if (s->extents[mid].start <= offset)
			low = mid;
		else
			high = mid;
	}
	x = &s->extents[low];
	*len = MIN(*len, x->start + x->size - offset);
	return x;
}

static int read_extent(struct vmdk_extent *x, uint64_t offset, uint64_t len,
		       const struct disk_vec *v, size_t at)
{
	switch (x->kind) {
	case VMDK_FLAT:
		if (!x->file)
			return -EACCES;
		return disk_preadv(x->file, x->flat_offset + offset - x->start, len, v, at);
	case VMDK_SPARSE:
		return blocks_read(&x->blocks, offset, len, v, at);
	case VMDK_STREAM:
		return vmdk_stream_read(x, offset, len, v, at);
	case VMDK_ZEROS:
		break;
	}
	disk_vec_zero(v, at, len);
	return 0;
}

static int vmdk_preadv(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v,
		       size_t at)
{
	struct vmdk *s = d->state;
	int rc = check_parent(s);

	while (len && !rc) {
		uint64_t n = len;
		struct vmdk_extent *x = extent_at(s, offset, &n);

		rc = read_extent(x, offset, n, v, at);
		offset += n;
		at += n;
		len -= n;
	}
	return rc;
}

static int write_extent(struct vmdk_extent *x, uint64_t offset, uint64_t len,
			const struct disk_vec *v, size_t at)
{
	switch (x->kind) {
	case VMDK_FLAT:
		return disk_pwritev(x->file, x->flat_offset + offset - x->start, len, v, at, 0);
	case VMDK_SPARSE:
		return blocks_write(&x->blocks, offset, len, v, at);
	case VMDK_STREAM:
		return vmdk_stream_write(x, offset, len, v, at);
	case VMDK_ZEROS:
		break;
	}
	return -EROFS;
}

static int zero_extent(struct vmdk_extent *x, uint64_t offset, uint64_t len, unsigned flags)
{
	switch (x->kind) {
	case VMDK_FLAT:
		return disk_write_zeroes(x->file, x->flat_offset + offset - x->start, len, flags);
	case VMDK_SPARSE:
		return blocks_zero(&x->blocks, offset, len, flags);
	case VMDK_STREAM:
		return vmdk_stream_write(x, offset, len, NULL, 0);
	case VMDK_ZEROS:
		break;
	}
	return 0;
}

static int vmdk_pwritev(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v,
			size_t at, unsigned flags)
{
	struct vmdk *s = d->state;
	int rc = check_parent(s);

	if (!rc)
		rc = renew_cid(s);
	while (len && !rc) {
		uint64_t n = len;
		struct vmdk_extent *x = extent_at(s, offset, &n);

		rc = write_extent(x, offset, n, v, at);
		offset += n;
		at += n;
		len -= n;
	}
	return rc;
}

static int vmdk_pwritev_compressed(struct disk *d, uint64_t offset, size_t len,
				   const struct disk_vec *v, size_t at)
{
	struct vmdk *s = d->state;

	if (s->extent_count != 1 || s->extents[0].kind != VMDK_STREAM)
		return -ENOTSUP;
	return vmdk_pwritev(d, offset, len, v, at, 0);
}

static int vmdk_write_zeroes(struct disk *d, uint64_t offset, uint64_t len, unsigned flags)
{
	struct vmdk *s = d->state;
	int rc = check_parent(s);

	if (!rc)
		rc = renew_cid(s);
	while (len && !rc) {
		uint64_t n = len;
		struct vmdk_extent *x = extent_at(s, offset, &n);

		rc = zero_extent(x, offset, n, flags);
		offset += n;
		len -= n;
	}
	return rc;
}

static int vmdk_discard(struct disk *d, uint64_t offset, uint64_t len)
{
	struct vmdk *s = d->state;
	int rc = 0;

	while (len && !rc) {
		uint64_t n = len;
		struct vmdk_extent *x = extent_at(s, offset, &n);

		if (x->kind == VMDK_FLAT)
			rc = disk_discard(x->file, x->flat_offset + offset - x->start, n);
		else if (x->kind == VMDK_SPARSE)
			rc = blocks_discard(&x->blocks, offset, n);
		offset += n;
		len -= n;
	}
	return rc;
}

static int vmdk_block_status(struct disk *d, uint64_t offset, uint64_t len, bool exact,
			     struct disk_extent *ret)
{
	struct vmdk *s = d->state;
	struct vmdk_extent *x = extent_at(s, offset, &len);

	ret->len = len;
	switch (x->kind) {
	case VMDK_FLAT:
		ret->flags =
		    DISK_EXT_DATA | DISK_EXT_ALLOCATED | DISK_EXT_OFFSET | DISK_EXT_RECURSE;
		ret->host = x->file;
		ret->host_offset = x->flat_offset + offset - x->start;
		return 0;
	case VMDK_SPARSE:
		return blocks_status(&x->blocks, offset, len, ret);
	case VMDK_STREAM:
		return vmdk_stream_status(x, offset, len, ret);
	case VMDK_ZEROS:
		break;
	}
	ret->flags = DISK_EXT_ZERO | DISK_EXT_ALLOCATED;
	return 0;
}

static bool vmdk_starts_zeroed(struct disk *d)
{
	struct vmdk *s = d->state;

	for (unsigned i = 0; i < s->extent_count; i++)
		if (s->extents[i].kind == VMDK_FLAT &&
		    (!s->extents[i].file || !disk_starts_zeroed(s->extents[i].file)))
			return false;
	return true;
}

static int64_t vmdk_allocated_size(struct disk *d)
{
	struct vmdk *s = d->state;
	int64_t sum = disk_allocated_size(d->file);

	for (unsigned i = 0; i < s->extent_count && sum >= 0; i++) {
		int64_t n = s->extents[i].own_file ? disk_allocated_size(s->extents[i].file) : 0;

		sum = n < 0 ? n : sum + n;
	}
	return sum;
}

/* QEMU's VmdkExtentInfo. */
static json_t *extent_info(const struct vmdk *s, unsigned i)
{
	const struct vmdk_extent *x = &s->extents[i];
	const char *base = disk_filename(s->d->file), *given = s->desc.extents[i].name;
	_free_ char *name = x->file ? mem_strdup(disk_filename(x->file))
				    : disk_path_beside(base, given ? given : "");
	json_t *j = json_object();

	if (x->kind == VMDK_STREAM)
		json_object_set_new(j, "compressed", json_true());
	json_object_set_new(j, "virtual-size", json_integer(x->size));
	json_object_set_new(j, "filename", json_string(name));
	if (x->head.grain_sectors)
		json_object_set_new(j, "cluster-size",
				    json_integer(x->head.grain_sectors * VMDK_SECTOR));
	json_object_set_new(j, "format", json_string(x->type ? x->type : ""));
	return j;
}

static int vmdk_get_info(struct disk *d, struct disk_info *ret, struct err *e)
{
	struct vmdk *s = d->state;
	json_t *extents = json_array();

	for (unsigned i = 0; i < s->extent_count; i++)
		json_array_append_new(extents, extent_info(s, i));
	ret->cluster_size = d->cluster_size;
	ret->compressed = s->extent_count == 1 && s->extents[0].kind == VMDK_STREAM;
	ret->specific =
	    json_pack("{s:s, s:{s:I, s:I, s:s, s:o}}", "type", "vmdk", "data", "cid",
		      (json_int_t)s->desc.cid, "parent-cid", (json_int_t)s->desc.parent_cid,
		      "create-type", s->desc.create_type, "extents", extents);
	return 0;
}

const struct disk_driver disk_driver_vmdk = {
    .name = "vmdk",
    .kind = DISK_KIND_FORMAT,
    .state_size = sizeof(struct vmdk),
    .probe = probe,
    .open = vmdk_open,
    .close = vmdk_close,
    .preadv = vmdk_preadv,
    .pwritev = vmdk_pwritev,
    .pwritev_compressed = vmdk_pwritev_compressed,
    .write_zeroes = vmdk_write_zeroes,
    .discard = vmdk_discard,
    .flush = vmdk_flush,
    .block_status = vmdk_block_status,
    .truncate = vmdk_truncate,
    .allocated_size = vmdk_allocated_size,
    .starts_zeroed = vmdk_starts_zeroed,
    .get_info = vmdk_get_info,
    .create_opts = vmdk_create_opts,
    .create = vmdk_create,
    .check = vmdk_check,
};
