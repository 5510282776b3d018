/* The qcow2 driver: opening, closing, facts. What it does with data and tables is in qcow2_*.c. */
#include "disk/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/endian.h"
#include "disk/node_int.h"

#define L2_CACHE_MAX      (24u << 20) /* of the top of a chain; those below it get less */
#define L2_CACHE_BELOW    (6u << 20)
#define L2_CACHE_MIN      (128u << 10)
#define BLOCK_CACHE_MAX   (4u << 20)
#define BLOCK_CACHE_BELOW (256u << 10)

static int qcow2_probe(const uint8_t *buf, size_t len, const char *name)
{
	return len >= 8 && get_be32(buf) == QCOW2_MAGIC && get_be32(buf + 4) >= 2 ? 100 : 0;
}

/* --- opening --- */

struct options {
	bool lazy, lazy_set;
	uint64_t l2_cache, block_cache; /* 0: ours */
};

static int take_options(json_t *o, struct options *q, struct err *e)
{
	static const char *const overlap[] = {"none", "constant", "cached", "all", NULL};
	uint64_t total = 0, ignored, entry;
	unsigned check;
	bool b;
	int rc = disk_opts_take_bool(o, "lazy-refcounts", &q->lazy, e);

	if (rc < 0)
		return rc;
	q->lazy_set = rc;
	/* QEMU's tuning knobs: sizes are heeded, the rest is decided by us. */
	if (disk_opts_take_size(o, "l2-cache-size", &q->l2_cache, e) < 0 ||
	    disk_opts_take_size(o, "refcount-cache-size", &q->block_cache, e) < 0 ||
	    disk_opts_take_size(o, "cache-size", &total, e) < 0 ||
	    disk_opts_take_size(o, "l2-cache-entry-size", &entry, e) < 0 ||
	    disk_opts_take_u64(o, "cache-clean-interval", &ignored, e) < 0 ||
	    disk_opts_take_enum(o, "overlap-check", overlap, &check, e) < 0 ||
	    disk_opts_take_enum(o, "overlap-check.template", overlap, &check, e) < 0)
		return e ? e->rc : -EINVAL;
	if (disk_opts_take_bool(o, "pass-discard-request", &b, e) < 0 ||
	    disk_opts_take_bool(o, "pass-discard-snapshot", &b, e) < 0 ||
	    disk_opts_take_bool(o, "pass-discard-other", &b, e) < 0)
		return e ? e->rc : -EINVAL;
	if (total && q->l2_cache + q->block_cache > total)
		return err_set(e, ERR_DISK_OPTION, -EINVAL,
			       "l2-cache-size and refcount-cache-size may not exceed cache-size");
	if (total && !q->l2_cache)
		q->l2_cache = total - q->block_cache;
	return 0;
}

static void make_caches(struct qcow2 *s, const struct options *q)
{
	unsigned depth = s->d->chain_depth;
	uint64_t covers = s->d->size >> (s->cluster_bits - s->entry_bits); /* bytes of all tables */
	uint64_t l2 = depth ? L2_CACHE_BELOW / depth / depth : L2_CACHE_MAX;
	uint32_t unit = MIN(QCOW2_SLICE_BYTES, s->cluster_size);

	l2 = q->l2_cache ? q->l2_cache : MIN(l2, bits_align_up(covers, s->cluster_size));
	qcow2_cache_init(&s->l2, unit, MAX(l2, (uint64_t)(depth ? unit : L2_CACHE_MIN)));
	qcow2_cache_init(&s->blocks, unit,
			 q->block_cache ? q->block_cache
			 : depth        ? BLOCK_CACHE_BELOW
					: BLOCK_CACHE_MAX);
}

static int load_l1(struct qcow2 *s, struct err *e)
{
	size_t entries = bits_align_up(s->l1_size, 64);

	s->l1 = mem_try_array(entries ? entries : 64, 8, QCOW2_L1_BYTES_MAX);
	if (!s->l1)
		return err_set(e, ERR_NOMEM, -ENOMEM, "Could not allocate L1 table");
	int rc = disk_pread(s->d->file, s->l1_offset, s->l1, s->l1_size * 8ull);

	if (rc < 0)
		return err_set(e, ERR_DISK_IO, rc, "Could not read L1 table: %s", strerror(-rc));
	for (uint32_t i = 0; i < s->l1_size; i++)
		s->l1[i] = be64toh(s->l1[i]);
	return 0;
}

static int open_data_file(struct qcow2 *s, json_t *o, struct err *e)
{
	struct disk *d = s->d;

	s->data = d->file;
	if (!qcow2_external(s)) {
		if (json_object_get(o, "data-file"))
			return err_set(
			    e, ERR_DISK_OPTION, -EINVAL,
			    "'data-file' can only be set for images with an external data "
			    "file");
		return 0;
	}
	/* Metadata alone needs none. */
	if (d->flags & DISK_NO_IO && d->flags & DISK_UNTRUSTED && !json_object_get(o, "data-file"))
		return 0;
	s->data = NULL;
	int rc = disk_open_child(d, o, "data-file", s->data_file_name, NULL, &s->data, e);

	if (rc == 0 && !s->data)
		rc = err_set(e, ERR_DISK_FORMAT, -EINVAL, "'data-file' is required for this image");
	return rc < 0 ? err_prefix(e, "Could not open the data file") : 0;
}

/* --- encryption --- */

static int crypto_read(void *arg, uint64_t offset, void *buf, size_t len)
{
	struct qcow2 *s = arg;

	return offset > s->crypto_len || len > s->crypto_len - offset
		   ? -EINVAL
		   : disk_pread(s->d->file, s->crypto_offset + offset, buf, len);
}

static int crypto_write(void *arg, uint64_t offset, const void *buf, size_t len)
{
	struct qcow2 *s = arg;

	return offset > s->crypto_len || len > s->crypto_len - offset
		   ? -EINVAL
		   : disk_pwrite(s->d->file, s->crypto_offset + offset, buf, len, 0);
}

struct disk_luks_area qcow2_luks_area(struct qcow2 *s)
{
	return (struct disk_luks_area){.read = crypto_read, .write = crypto_write, .arg = s};
}

static int open_crypto(struct qcow2 *s, json_t *o, struct err *e)
{
	json_t *eo = NULL;
	_free_ char *format = NULL;
	int rc = disk_opts_take_object(o, "encrypt", &eo, e);

	if (rc < 0)
		return rc;
	rc = eo ? disk_opts_take_str(eo, "format", &format, e) : 0;
	if (rc >= 0 && s->crypt == QCOW2_CRYPT_NONE)
		rc =
		    eo ? err_set(e, ERR_DISK_OPTION, -EINVAL,
				 "No encryption in image header, but options specified format '%s'",
				 format ? format : "")
		       : 0;
	else if (rc >= 0 && s->crypt == QCOW2_CRYPT_LUKS && !s->crypto_offset)
		rc = err_set(e, ERR_DISK_FORMAT, -EINVAL,
			     "Missing CRYPTO header for crypt method 2");
	else if (rc >= 0 && s->crypt == QCOW2_CRYPT_LUKS) {
		struct disk_luks_area area = qcow2_luks_area(s);
		json_t *keys = eo ? json_incref(eo) : json_object();

		rc = disk_luks_open(s->d->ctx, &area, keys, s->d->flags & DISK_NO_IO, &s->luks, e);
		json_decref(keys);
		s->d->align = DISK_LUKS_SECTOR;
	}
	s->d->encrypted = s->crypt != QCOW2_CRYPT_NONE;
	json_decref(eo);
	return rc < 0 ? rc : 0;
}

static void free_state(struct qcow2 *s)
{
	qcow2_bitmaps_free(s);
	qcow2_snapshots_free(s);
	qcow2_codecs_free(s);
	if (s->l2.hash)
		qcow2_cache_done(&s->l2);
	if (s->blocks.hash)
		qcow2_cache_done(&s->blocks);
	disk_luks_free(s->luks);
	if (s->data != s->d->file)
		disk_close(s->data);
	vec_done(&s->frees);
	free(s->l1);
	free(s->reftable);
	qcow2_header_free(s);
}

/* What a writable image needs before its first request. */
static int prepare_writing(struct qcow2 *s, struct err *e)
{
	struct disk *d = s->d;
	int rc = 0;

	s->high_water = d->file->size;
	s->fresh_zero = disk_starts_zeroed(d->file);
	if (d->flags & (DISK_NO_IO | DISK_CHECK))
		return 0;
	if (s->incompat & QCOW2_DIRTY)
		rc = qcow2_repair(s, e);
	/* Bits that we do not know mean what we do not keep. */
	if (rc == 0 && s->autoclear & ~(uint64_t)(QCOW2_BITMAPS | QCOW2_DATA_FILE_RAW)) {
		rc = qcow2_header_features(s, s->incompat, s->compat,
					   s->autoclear & (QCOW2_BITMAPS | QCOW2_DATA_FILE_RAW));
		if (rc < 0)
			err_set(e, ERR_DISK_IO, rc, "Could not update qcow2 header: %s",
				strerror(-rc));
	}
	return rc;
}

static int open_steps(struct qcow2 *s, json_t *o, struct err *e)
{
	struct options q = {0};
	int rc = take_options(o, &q, e);

	if (rc == 0)
		rc = qcow2_header_read(s, e);
	if (rc < 0)
		return rc;
	make_caches(s, &q);
	if (q.lazy_set && q.lazy && s->version < 3)
		return err_set(e, ERR_DISK_OPTION, -EINVAL,
			       "Lazy refcounts require a qcow2 image with at least qemu 1.1 "
			       "compatibility level");
	s->lazy = q.lazy_set ? q.lazy : s->compat & QCOW2_LAZY_REFCOUNTS;
	rc = load_l1(s, e);
	if (rc == 0)
		rc = qcow2_refcount_load(s, e);
	if (rc == 0)
		rc = open_data_file(s, o, e);
	if (rc == 0)
		rc = open_crypto(s, o, e);
	if (rc == 0)
		rc = qcow2_snapshots_load(s, e);
	if (rc == 0)
		rc = qcow2_bitmaps_load(s, e);
	if (rc == 0 && s->d->flags & DISK_WRITE)
		rc = prepare_writing(s, e);
	return rc;
}

static int qcow2_open(struct disk *d, json_t *o, struct err *e)
{
	struct qcow2 *s = d->state;

	s->d = d;
	d->zero_flags = DISK_REQ_UNMAP;
	int rc = open_steps(s, o, e);

	if (rc < 0) {
		free_state(s);
		return rc;
	}
	d->zero_align = 1u << s->sub_bits;
	d->discard_align = s->cluster_size;
	return 0;
}

/* --- flush, close, reopen --- */

static int qcow2_flush(struct disk *d)
{
	struct qcow2 *s = d->state;

	co_lock(&s->lock);
	int rc = qcow2_sync(s);

	co_unlock(&s->lock);
	return rc == 0 && qcow2_external(s) ? disk_flush(s->data) : rc;
}

/* Everything on disk, and the image says that it was left in order. */
static int settle(struct qcow2 *s)
{
	qcow2_begin_alone(s);
	bool dirty = s->lazy && s->incompat & QCOW2_DIRTY;
	int rc = qcow2_bitmaps_store(s);

	if (rc == 0)
		rc = qcow2_sync_stable(s);
	if (rc == 0 && dirty) {
		s->lazy = false;
		rc = qcow2_sync_stable(s);
		s->lazy = true;
		if (rc == 0)
			rc = qcow2_header_features(s, s->incompat & ~(uint64_t)QCOW2_DIRTY,
						   s->compat, s->autoclear);
	}
	qcow2_end_alone(s);
	return rc;
}

static bool was_written(const struct disk *d)
{
	return d->flags & DISK_WRITE && !(d->flags & (DISK_NO_IO | DISK_CHECK));
}

static int qcow2_close(struct disk *d)
{
	struct qcow2 *s = d->state;
	int rc = was_written(d) ? settle(s) : 0;

	free_state(s);
	return rc;
}

static int qcow2_reopen(struct disk *d, unsigned flags, struct err *e)
{
	struct qcow2 *s = d->state;
	int rc = 0;

	if (s->data && s->data != d->file && flags & DISK_WRITE)
		rc = disk_reopen_node(s->data, flags & ~(unsigned)(DISK_PROBE | DISK_NO_BACKING),
				      DISK_ROLE_DATA, e);
	if (rc < 0)
		return rc;
	if (was_written(d) && !(flags & DISK_WRITE)) {
		rc = settle(s);
		if (rc < 0)
			err_set(e, ERR_DISK_IO, rc, "Could not write metadata: %s", strerror(-rc));
		else if (s->data != d->file)
			rc = disk_reopen_node(s->data, flags & ~(unsigned)DISK_NO_BACKING,
					      DISK_ROLE_DATA, e);
	} else if (flags & DISK_WRITE && !(d->flags & DISK_WRITE)) {
		unsigned before = d->flags;

		if (s->incompat & QCOW2_CORRUPT)
			return err_set(e, ERR_DISK_CORRUPT, -EACCES,
				       "qcow2: Image is corrupt; cannot be opened read/write");
		d->flags = flags;
		rc = prepare_writing(s, e);
		d->flags = before;
	}
	return rc;
}

/* --- facts --- */

static json_t *specific(struct qcow2 *s)
{
	json_t *data = json_object();

	json_object_set_new(data, "compat", json_string(s->version < 3 ? "0.10" : "1.1"));
	json_object_set_new(data, "compression-type",
			    json_string(s->compression == QCOW2_ZSTD ? "zstd" : "zlib"));
	if (s->version >= 3)
		json_object_set_new(data, "lazy-refcounts",
				    json_boolean(s->compat & QCOW2_LAZY_REFCOUNTS));
	json_t *bitmaps = qcow2_bitmaps_info(s);

	if (bitmaps)
		json_object_set_new(data, "bitmaps", bitmaps);
	json_object_set_new(data, "refcount-bits", json_integer(1 << s->refcount_order));
	if (qcow2_external(s) && s->data_file_name)
		json_object_set_new(data, "data-file", json_string(s->data_file_name));
	if (qcow2_external(s))
		json_object_set_new(data, "data-file-raw",
				    json_boolean(s->autoclear & QCOW2_DATA_FILE_RAW));
	if (s->version >= 3) {
		json_object_set_new(data, "corrupt", json_boolean(s->incompat & QCOW2_CORRUPT));
		json_object_set_new(data, "extended-l2", json_boolean(s->ext_l2));
	}
	if (s->luks) {
		json_t *luks = disk_luks_info(s->luks);

		json_object_set_new(luks, "format", json_string("luks"));
		json_object_set_new(data, "encrypt", luks);
	} else if (s->crypt == QCOW2_CRYPT_AES) {
		json_object_set_new(data, "encrypt", json_pack("{s:s}", "format", "aes"));
	}
	return json_pack("{s:s,s:o}", "type", "qcow2", "data", data);
}

static int qcow2_get_info(struct disk *d, struct disk_info *ret, struct err *e)
{
	struct qcow2 *s = d->state;

	ret->cluster_size = s->cluster_size;
	ret->subcluster_size = 1u << s->sub_bits;
	ret->dirty = s->incompat & QCOW2_DIRTY;
	ret->vm_state_offset = qcow2_vmstate_offset(s);
	ret->specific = specific(s);
	return 0;
}

static int64_t qcow2_allocated_size(struct disk *d)
{
	struct qcow2 *s = d->state;
	int64_t own = disk_allocated_size(d->file), data = 0;

	if (s->data && s->data != d->file)
		data = disk_allocated_size(s->data);
	return own < 0 ? own : data < 0 ? data : own + data;
}

/* Preallocated clusters show what the file has; all others read as zeroes. */
static bool qcow2_starts_zeroed(struct disk *d)
{
	struct qcow2 *s = d->state;

	return !d->backing && !s->luks && disk_starts_zeroed(s->data);
}

const struct disk_driver disk_driver_qcow2 = {
    .name = "qcow2",
    .kind = DISK_KIND_FORMAT,
    .state_size = sizeof(struct qcow2),
    .probe = qcow2_probe,
    .open = qcow2_open,
    .close = qcow2_close,
    .reopen = qcow2_reopen,
    .preadv = qcow2_preadv,
    .pwritev = qcow2_pwritev,
    .pwritev_compressed = qcow2_pwritev_compressed,
    .write_zeroes = qcow2_write_zeroes,
    .discard = qcow2_discard,
    .flush = qcow2_flush,
    .block_status = qcow2_block_status,
    .truncate = qcow2_truncate,
    .allocated_size = qcow2_allocated_size,
    .starts_zeroed = qcow2_starts_zeroed,
    .get_info = qcow2_get_info,
    .create_opts = qcow2_create_opts,
    .amend_opts = qcow2_amend_opts,
    .create = qcow2_create,
    .amend = qcow2_amend,
    .measure = qcow2_measure,
    .change_backing = qcow2_change_backing,
    .make_empty = qcow2_make_empty,
    .check = qcow2_check,
    .snapshot_list = qcow2_snapshot_list,
    .snapshot_create = qcow2_snapshot_create,
    .snapshot_apply = qcow2_snapshot_apply,
    .snapshot_delete = qcow2_snapshot_delete,
    .snapshot_show = qcow2_snapshot_show,
    .vmstate_pread = qcow2_vmstate_pread,
    .vmstate_pwrite = qcow2_vmstate_pwrite,
    .bitmap_list = qcow2_bitmap_list,
    .bitmap_add = qcow2_bitmap_add,
    .bitmap_remove = qcow2_bitmap_remove,
    .bitmap_clear = qcow2_bitmap_clear,
    .bitmap_enable = qcow2_bitmap_enable,
    .bitmap_merge = qcow2_bitmap_merge,
    .bitmap_next = qcow2_bitmap_next,
};
