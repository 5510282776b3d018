/* Creation, change, and what else is the driver's alone: arguments are checked here, the rest is its. */
#include "disk/node_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "disk/host.h"
#include "os/path.h"

const char *const disk_prealloc_names[] = {"off", "metadata", "falloc", "full", NULL};

static void drop(json_t **v)
{
	json_decref(*v);
}
#define _json_ _cleanup_(drop)

static int unsupported(const struct disk *d, const char *what, struct err *e)
{
	return err_set(e, ERR_UNSUPPORTED, -ENOTSUP, "Format '%s' does not support %s",
		       d->drv->name, what);
}

static int readonly(struct disk *d, struct err *e)
{
	return err_set(e, ERR_DISK_READONLY, -EACCES, "Image '%s' is read-only", disk_filename(d));
}

#define NEED(d, callback, what, e)                      \
	do {                                            \
		if (!(d)->drv->callback)                \
			return unsupported(d, what, e); \
	} while (0)

#define NEED_WRITE(d, callback, what, e)        \
	do {                                    \
		NEED(d, callback, what, e);     \
		if (!((d)->flags & DISK_WRITE)) \
			return readonly(d, e);  \
	} while (0)

/* --- creation --- */

static unsigned count_opts(const struct disk_opt *table)
{
	unsigned n = 0;

	while (table && table[n].name)
		n++;
	return n;
}

struct disk_opt *disk_create_opts(const struct disk_driver *drv)
{
	const struct disk_opt *below =
	    drv->kind == DISK_KIND_FORMAT ? disk_driver_host.create_opts : NULL;
	unsigned own = count_opts(drv->create_opts), more = count_opts(below);
	struct disk_opt *all = mem_array(own + more + 1, sizeof(*all));
	unsigned n = own;

	if (own)
		memcpy(all, drv->create_opts, own * sizeof(*all));
	for (unsigned i = 0; i < more; i++) {
		unsigned j = 0;

		while (j < own && strcmp(all[j].name, below[i].name))
			j++;
		if (j == own)
			all[n++] = below[i];
	}
	return all;
}

static int backing_size(struct disk_ctx *ctx, const struct disk_create *c, uint64_t *ret_size,
			struct err *e)
{
	_free_ char *path = disk_path_beside(c->filename, c->backing_file);
	_json_ json_t *o = json_object();
	struct disk *d;

	if (c->backing_format)
		json_object_set_new(o, "driver", json_string(c->backing_format));
	int rc = disk_open(ctx, path, o,
			   DISK_NO_BACKING | DISK_NO_IO |
			       (c->flags & (DISK_PROBE | DISK_UNTRUSTED | DISK_SHARE)),
			   &d, e);

	if (rc < 0)
		return rc;
	*ret_size = disk_size(d);
	return disk_close(d);
}

/* Takes the keys that any format has out of c->opts. The strings are the caller's to free. */
static int take_create_opts(struct disk_create *c, char **backing, char **format, struct err *e)
{
	int sized = disk_opts_take_size(c->opts, "size", &c->size, e);

	if (sized < 0 || disk_opts_take_str(c->opts, "backing_file", backing, e) < 0 ||
	    disk_opts_take_str(c->opts, "backing_fmt", format, e) < 0)
		return e ? e->rc : -EINVAL;
	c->backing_file = *backing && **backing ? *backing : NULL;
	c->backing_format = *format && **format ? *format : NULL;
	if (c->backing_format && !disk_driver_find(c->backing_format))
		return err_set(e, ERR_DISK_OPTION, -EINVAL, "Unknown backing file format '%s'",
			       c->backing_format);
	if (!sized && c->backing_file)
		return backing_size(c->ctx, c, &c->size, e);
	if (!sized)
		return err_set(e, ERR_DISK_OPTION, -EINVAL,
			       "Image creation needs a size parameter");
	if (c->size > DISK_SIZE_MAX)
		return err_set(e, ERR_DISK_OPTION, -EFBIG, "Image size must be less than 8 EiB");
	return 0;
}

static int checked_opts(const struct disk_driver *drv, const json_t *opts, json_t **ret_opts,
			struct err *e)
{
	_free_ struct disk_opt *table = disk_create_opts(drv);
	_json_ json_t *o = opts ? json_deep_copy(opts) : json_object();
	int rc = disk_opts_check(o, table, e);

	if (rc == 0)
		*ret_opts = STEAL(o);
	return rc;
}

int disk_create(struct disk_ctx *ctx, const struct disk_driver *drv, const char *filename,
		const json_t *opts, unsigned flags, struct err *e)
{
	_free_ char *backing = NULL, *format = NULL;
	_json_ json_t *o = NULL;
	struct disk_create c = {.ctx = ctx, .drv = drv, .filename = filename, .flags = flags};

	if (!drv->create)
		return err_set(e, ERR_UNSUPPORTED, -ENOTSUP,
			       "Format driver '%s' does not support image creation", drv->name);
	int rc = checked_opts(drv, opts, &o, e);

	c.opts = o;
	if (rc == 0)
		rc = take_create_opts(&c, &backing, &format, e);
	if (rc < 0)
		return rc;
	bool plain = disk_protocol_of(filename) == &disk_driver_host;
	bool existed = !plain || path_exists(AT_FDCWD, filename);

	rc = drv->create(&c, e);
	if (rc < 0 && !existed)
		path_unlink(AT_FDCWD, filename);
	return rc;
}

int disk_create_file(struct disk_ctx *ctx, const char *filename, uint64_t size, json_t *opts,
		     struct disk **ret_file, struct err *e)
{
	const struct disk_driver *p = disk_protocol_of(filename);
	_json_ json_t *own = json_object(), *o = json_object();

	if (!p)
		return err_set(e, ERR_DISK_OPTION, -EINVAL, "Unknown protocol '%.*s'",
			       (int)strcspn(filename, ":"), filename);
	if (!p->create)
		return err_set(e, ERR_UNSUPPORTED, -ENOTSUP,
			       "Protocol driver '%s' does not support image creation", p->name);
	for (const struct disk_opt *row = p->create_opts; opts && row && row->name; row++) {
		json_t *v = json_object_get(opts, row->name);

		if (v) {
			json_object_set(own, row->name, v);
			json_object_del(opts, row->name);
		}
	}
	struct disk_create c = {
	    .ctx = ctx, .drv = p, .filename = filename, .size = size, .opts = own};
	int rc = p->create(&c, e);

	if (rc < 0)
		return rc;
	json_object_set_new(o, "driver", json_string(p->name));
	return disk_open(ctx, filename, o, DISK_WRITE | DISK_RESIZE | DISK_UNMAP | DISK_PREPARE,
			 ret_file, e);
}

/* --- change --- */

int disk_truncate(struct disk *d, uint64_t size, bool exact, enum disk_prealloc prealloc,
		  unsigned flags, struct err *e)
{
	if (d->drv->kind == DISK_KIND_FILTER && !d->drv->truncate) {
		int rc = disk_truncate(d->file, size, exact, prealloc, flags, e);

		d->size = d->file->size;
		return rc;
	}
	NEED_WRITE(d, truncate, "resizing", e);
	if (size > DISK_SIZE_MAX)
		return err_set(e, ERR_DISK_OPTION, -EFBIG, "The new size is too large");
	/* What a shorter backing image did not cover must not appear behind the old end. */
	if (d->backing && size > d->size && d->backing->size > d->size)
		flags |= DISK_TRUNCATE_ZERO;
	return d->drv->truncate(d, size, exact, prealloc, flags, e);
}

int disk_amend(struct disk *d, const json_t *opts, bool force, const struct disk_progress *p,
	       struct err *e)
{
	const struct disk_progress none = {0};
	_json_ json_t *o = json_deep_copy(opts);

	NEED_WRITE(d, amend, "amending", e);
	int rc =
	    disk_opts_check(o, d->drv->amend_opts ? d->drv->amend_opts : d->drv->create_opts, e);

	return rc < 0 ? rc : d->drv->amend(d, o, force, p ? p : &none, e);
}

int disk_change_backing(struct disk *d, const char *file, const char *format, struct err *e)
{
	NEED_WRITE(d, change_backing, "backing files", e);
	return d->drv->change_backing(d, file, file ? format : NULL, e);
}

int disk_make_empty(struct disk *d, struct err *e)
{
	NEED_WRITE(d, make_empty, "emptying", e);
	return d->drv->make_empty(d, e);
}

int disk_measure(struct disk_ctx *ctx, const struct disk_driver *drv, const json_t *opts,
		 struct disk *in, struct disk_measure *ret_measure, struct err *e)
{
	_free_ char *backing = NULL, *format = NULL;
	_json_ json_t *o = NULL;
	struct disk_create c = {.ctx = ctx, .drv = drv};
	struct disk_measure m = {0};

	if (!drv->measure)
		return err_set(e, ERR_UNSUPPORTED, -ENOTSUP,
			       "Format driver '%s' does not support size measurement", drv->name);
	int rc = checked_opts(drv, opts, &o, e);

	c.opts = o;
	if (rc == 0 && in && !json_object_get(o, "size"))
		json_object_set_new(o, "size", json_integer((json_int_t)disk_size(in)));
	if (rc == 0)
		rc = take_create_opts(&c, &backing, &format, e);
	if (rc == 0)
		rc = drv->measure(&c, in, &m, e);
	if (rc == 0)
		*ret_measure = m;
	return rc;
}

/* --- facts --- */

int64_t disk_allocated_size(struct disk *d)
{
	if (d->drv->allocated_size)
		return d->drv->allocated_size(d);
	return d->file ? disk_allocated_size(d->file) : -ENOTSUP;
}

bool disk_starts_zeroed(struct disk *d)
{
	if (d->drv->starts_zeroed)
		return d->drv->starts_zeroed(d);
	return d->file && !d->backing ? disk_starts_zeroed(d->file) : false;
}

int disk_get_info(struct disk *d, struct disk_info *ret_info, struct err *e)
{
	struct disk_info info = {.cluster_size = d->cluster_size,
				 .subcluster_size = d->cluster_size,
				 .encrypted = d->encrypted};
	int rc = 0;

	if (d->drv->get_info)
		rc = d->drv->get_info(d, &info, e);
	else if (d->drv->kind == DISK_KIND_FILTER)
		rc = disk_get_info(d->file, &info, e);
	if (rc == 0)
		*ret_info = info;
	return rc;
}

int disk_check(struct disk *d, unsigned fix, struct disk_check *c, struct err *e)
{
	NEED(d, check, "checks", e);
	if (fix && !(d->flags & DISK_WRITE))
		return readonly(d, e);
	return d->drv->check(d, fix, c, e);
}

/* --- snapshots --- */

int disk_snapshot_list(struct disk *d, struct disk_snapshot **ret_list)
{
	return d->drv->snapshot_list ? d->drv->snapshot_list(d, ret_list) : -ENOTSUP;
}

int disk_snapshot_create(struct disk *d, struct disk_snapshot *s, struct err *e)
{
	NEED_WRITE(d, snapshot_create, "snapshots", e);
	return d->drv->snapshot_create(d, s, e);
}

int disk_snapshot_apply(struct disk *d, const char *id_or_name, struct err *e)
{
	NEED_WRITE(d, snapshot_apply, "snapshots", e);
	return d->drv->snapshot_apply(d, id_or_name, e);
}

int disk_snapshot_delete(struct disk *d, const char *id_or_name, struct err *e)
{
	NEED_WRITE(d, snapshot_delete, "snapshots", e);
	return d->drv->snapshot_delete(d, id_or_name, e);
}

int disk_snapshot_show(struct disk *d, const char *id_or_name, struct err *e)
{
	NEED(d, snapshot_show, "snapshots", e);
	if (d->flags & DISK_WRITE)
		return err_set(e, ERR_DISK_OPTION, -EINVAL,
			       "A snapshot can only be shown by an image that is open read-only");
	return d->drv->snapshot_show(d, id_or_name, e);
}

int disk_vmstate_pread(struct disk *d, uint64_t offset, void *buf, size_t len)
{
	return d->drv->vmstate_pread ? d->drv->vmstate_pread(d, offset, buf, len) : -ENOTSUP;
}

int disk_vmstate_pwrite(struct disk *d, uint64_t offset, const void *buf, size_t len)
{
	if (!(d->flags & DISK_WRITE))
		return -EACCES;
	return d->drv->vmstate_pwrite ? d->drv->vmstate_pwrite(d, offset, buf, len) : -ENOTSUP;
}

/* --- bitmaps --- */

int disk_bitmap_list(struct disk *d, struct disk_bitmap **ret_list)
{
	return d->drv->bitmap_list ? d->drv->bitmap_list(d, ret_list) : -ENOTSUP;
}

int disk_bitmap_add(struct disk *d, const char *name, uint32_t granularity, bool enabled,
		    struct err *e)
{
	NEED_WRITE(d, bitmap_add, "persistent bitmaps", e);
	return d->drv->bitmap_add(d, name, granularity, enabled, e);
}

int disk_bitmap_remove(struct disk *d, const char *name, struct err *e)
{
	NEED_WRITE(d, bitmap_remove, "persistent bitmaps", e);
	return d->drv->bitmap_remove(d, name, e);
}

int disk_bitmap_clear(struct disk *d, const char *name, struct err *e)
{
	NEED_WRITE(d, bitmap_clear, "persistent bitmaps", e);
	return d->drv->bitmap_clear(d, name, e);
}

int disk_bitmap_enable(struct disk *d, const char *name, bool enabled, struct err *e)
{
	NEED_WRITE(d, bitmap_enable, "persistent bitmaps", e);
	return d->drv->bitmap_enable(d, name, enabled, e);
}

int disk_bitmap_merge(struct disk *d, const char *name, struct disk *from, const char *from_name,
		      struct err *e)
{
	NEED_WRITE(d, bitmap_merge, "persistent bitmaps", e);
	NEED(from, bitmap_next, "persistent bitmaps", e);
	return d->drv->bitmap_merge(d, name, from, from_name, e);
}

int disk_bitmap_next(struct disk *d, const char *name, uint64_t offset, uint64_t end,
		     uint64_t *ret_offset, uint64_t *ret_len)
{
	if (!d->drv->bitmap_next)
		return -ENOTSUP;
	return d->drv->bitmap_next(d, name, offset, end, ret_offset, ret_len);
}
