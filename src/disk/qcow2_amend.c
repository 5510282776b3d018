/* Options of an image that exists: version, lazy refcounts, refcount width, backing file, size, keys.
 * Each change leaves a valid image by itself. */
#include "disk/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/str.h"

static void drop(json_t **v)
{
	json_decref(*v);
}
#define _json_ _cleanup_(drop)

static int failed(struct err *e, int rc, const char *what)
{
	return err_set(e, rc == -ENOSPC ? ERR_DISK_FULL : ERR_DISK_IO, rc, "%s: %s", what,
		       strerror(-rc));
}

static int write_header(struct qcow2 *s)
{
	qcow2_begin_alone(s);
	int rc = qcow2_sync_stable(s);

	if (rc == 0)
		rc = qcow2_header_write(s);
	if (rc == 0)
		rc = disk_flush(s->d->file);
	qcow2_end_alone(s);
	return rc;
}

int qcow2_change_backing(struct disk *d, const char *file, const char *format, struct err *e)
{
	struct qcow2 *s = d->state;
	char *old_name = d->backing_name, *old_format = d->backing_format;

	if (file && s->autoclear & QCOW2_DATA_FILE_RAW)
		return err_set(e, ERR_DISK_OPTION, -EINVAL,
			       "Cannot set a backing file for images with data-file-raw");
	if (file && strlen(file) > QCOW2_BACKING_NAME_MAX)
		return err_set(e, ERR_DISK_OPTION, -EINVAL, "Backing file name too long");
	d->backing_name = file && *file ? mem_strdup(file) : NULL;
	d->backing_format = d->backing_name && format && *format ? mem_strdup(format) : NULL;
	int rc = write_header(s);

	if (rc < 0) {
		free(d->backing_name);
		free(d->backing_format);
		d->backing_name = old_name;
		d->backing_format = old_format;
		return rc == -ENOSPC ? err_set(e, ERR_DISK_OPTION, rc, "Backing file name too long")
				     : failed(e, rc, "Could not update qcow2 header");
	}
	free(old_name);
	free(old_format);
	return 0;
}

/* --- versions --- */

static int upgrade(struct qcow2 *s, struct err *e)
{
	s->version = 3;
	int rc = write_header(s);

	if (rc < 0)
		s->version = 2;
	return rc < 0 ? failed(e, rc, "Could not upgrade the image") : 0;
}

/* Version 2 knows no zero clusters: they become nothing where nothing is behind, else data. */
static int expand_zeroes(struct qcow2 *s, const struct disk_progress *p)
{
	static const uint8_t zeroes[64u << 10];
	struct disk *d = s->d;
	struct qcow2_map m;

	for (uint64_t at = 0; at < d->size; at += m.len) {
		int rc = qcow2_map_any(s, at, d->size - at, &m);

		if (rc == 0 && p->fn && p->fn(p->arg, at, d->size))
			rc = -ECANCELED;
		if (rc == 0 && m.type == QCOW2_ZEROES && (!d->backing || at >= d->backing->size))
			rc = qcow2_unmap(s, at, bits_align_up(m.len, s->cluster_size),
					 QCOW2_UNMAP_FORGET);
		else if (rc == 0 && m.type == QCOW2_ZEROES)
			for (uint64_t i = 0; i < m.len && rc == 0; i += sizeof(zeroes))
				rc = disk_pwrite(d, at + i, zeroes,
						 (size_t)MIN(m.len - i, (uint64_t)sizeof(zeroes)),
						 0);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int downgrade(struct qcow2 *s, const struct disk_progress *p, struct err *e)
{
	const char *why = NULL;

	if (s->incompat & QCOW2_DATA_FILE)
		why = "an external data file";
	else if (s->incompat & QCOW2_COMPRESSION)
		why = "a compression type other than zlib";
	else if (s->ext_l2)
		why = "extended L2 entries";
	else if (s->refcount_order != 4)
		why = "refcounts of another width than 16 bits";
	else if (s->bitmap_count)
		why = "persistent bitmaps";
	else if (s->snapshot_count)
		why = "snapshots";
	if (why)
		return err_set(
		    e, ERR_UNSUPPORTED, -ENOTSUP,
		    "Cannot downgrade an image with incompatible features set: it has %s", why);
	int rc = expand_zeroes(s, p);

	if (rc == 0)
		rc = disk_flush(s->d);
	if (rc == 0 && s->incompat & QCOW2_DIRTY) {
		bool lazy = s->lazy;

		qcow2_begin_alone(s);
		s->lazy = false;
		rc = qcow2_sync_stable(s);
		s->lazy = lazy && rc < 0;
		qcow2_end_alone(s);
	}
	if (rc < 0)
		return failed(e, rc, "Failed to turn zero into data clusters");
	s->version = 2;
	s->lazy = false;
	s->incompat = s->compat = s->autoclear = 0;
	rc = write_header(s);
	return rc < 0 ? failed(e, rc, "Could not downgrade the image") : 0;
}

static int amend_compat(struct qcow2 *s, json_t *o, const struct disk_progress *p, struct err *e)
{
	_free_ char *compat = NULL;
	int rc = disk_opts_take_str(o, "compat", &compat, e);

	if (rc <= 0)
		return rc;
	unsigned version = str_eq(compat, "0.10") || str_eq(compat, "v2")  ? 2
			   : str_eq(compat, "1.1") || str_eq(compat, "v3") ? 3
									   : 0;

	if (!version)
		return err_set(e, ERR_DISK_OPTION, -EINVAL, "Unknown compatibility level %s",
			       compat);
	if (version == s->version)
		return 0;
	return version == 3 ? upgrade(s, e) : downgrade(s, p, e);
}

/* --- the rest --- */

static int amend_lazy(struct qcow2 *s, bool lazy, struct err *e)
{
	if (s->version < 3)
		return lazy ? err_set(e, ERR_DISK_OPTION, -EINVAL,
				      "Lazy refcounts only supported with compatibility level 1.1 "
				      "and above "
				      "(use compat=1.1 or greater)")
			    : 0;
	qcow2_begin_alone(s);
	uint64_t compat =
	    lazy ? s->compat | QCOW2_LAZY_REFCOUNTS : s->compat & ~(uint64_t)QCOW2_LAZY_REFCOUNTS;

	/* From lazy to not: what lags behind is written, then the dirty bit goes. */
	s->lazy = lazy && s->incompat & QCOW2_DIRTY;
	int rc = qcow2_sync_stable(s);

	if (rc == 0)
		rc = qcow2_header_features(
		    s, lazy ? s->incompat : s->incompat & ~(uint64_t)QCOW2_DIRTY, compat,
		    s->autoclear);
	if (rc == 0)
		s->lazy = lazy;
	qcow2_end_alone(s);
	return rc < 0 ? failed(e, rc, "Could not update qcow2 header") : 0;
}

static int amend_width(struct qcow2 *s, uint64_t bits, struct err *e)
{
	if (!bits_is_pow2(bits) || bits > 64)
		return err_set(e, ERR_DISK_OPTION, -EINVAL,
			       "Refcount width must be a power of two and may not exceed 64 bits");
	unsigned order = (unsigned)__builtin_ctzll(bits);

	if (order == s->refcount_order)
		return 0;
	if (s->version < 3)
		return err_set(
		    e, ERR_DISK_OPTION, -EINVAL,
		    "Refcount widths other than 16 bits require compatibility level 1.1 or above "
		    "(use compat=1.1 or greater)");
	qcow2_begin_alone(s);
	int rc = qcow2_bitmaps_store(s);

	if (rc == 0)
		rc = qcow2_sync_stable(s);
	if (rc == 0)
		rc = qcow2_rebuild_refcounts(s, order);
	qcow2_end_alone(s);
	if (rc == -ERANGE)
		return err_set(
		    e, ERR_DISK_OPTION, -EINVAL,
		    "Cannot decrease refcount entry width to %u bits: a cluster has more "
		    "references",
		    (unsigned)bits);
	return rc < 0 ? failed(e, rc, "Could not change the width of reference counts") : 0;
}

static int amend_backing(struct disk *d, json_t *o, struct err *e)
{
	_free_ char *file = NULL, *format = NULL;
	int has_file = disk_opts_take_str(o, "backing_file", &file, e);
	int has_format = has_file < 0 ? has_file : disk_opts_take_str(o, "backing_fmt", &format, e);

	if (has_file < 0 || has_format < 0)
		return e ? e->rc : -EINVAL;
	if (!has_file && !has_format)
		return 0;
	_free_ char *kept = d->backing_name ? mem_strdup(d->backing_name) : NULL;
	_free_ char *kept_format = d->backing_format ? mem_strdup(d->backing_format) : NULL;

	return disk_change_backing(d, has_file ? file : kept, has_format ? format : kept_format, e);
}

static int amend_data_file(struct qcow2 *s, json_t *o, struct err *e)
{
	_free_ char *name = NULL;
	bool raw = false, was_raw = s->autoclear & QCOW2_DATA_FILE_RAW;
	int has_name = disk_opts_take_str(o, "data_file", &name, e);
	int has_raw = has_name < 0 ? has_name : disk_opts_take_bool(o, "data_file_raw", &raw, e);

	if (has_name < 0 || has_raw < 0)
		return e ? e->rc : -EINVAL;
	if (has_name && !qcow2_external(s))
		return err_set(
		    e, ERR_DISK_OPTION, -EINVAL,
		    "data-file can only be set for images that use an external data file");
	if (has_raw && raw && !was_raw)
		return err_set(e, ERR_DISK_OPTION, -EINVAL,
			       "data-file-raw cannot be set on existing images");
	if (!has_name && (!has_raw || raw == was_raw))
		return 0;
	if (has_name) {
		free(s->data_file_name);
		s->data_file_name = *name ? STEAL(name) : NULL;
	}
	if (has_raw && !raw)
		s->autoclear &= ~(uint64_t)QCOW2_DATA_FILE_RAW;
	int rc = write_header(s);

	return rc < 0 ? failed(e, rc, "Could not update qcow2 header") : 0;
}

/* "encrypt.X" of the options becomes X for the keys' module. */
static int amend_keys(struct qcow2 *s, json_t *o, bool force, struct err *e)
{
	struct disk_luks_area area = qcow2_luks_area(s);
	_json_ json_t *own = json_object();
	const char *key;
	json_t *v;
	void *next;

	json_object_foreach_safe(o, next, key, v)
	{
		const char *rest = str_after(key, "encrypt.");

		if (!rest)
			continue;
		json_object_set(own, rest, v);
		json_object_del(o, key);
	}
	if (!json_object_size(own))
		return 0;
	if (!s->luks)
		return err_set(
		    e, ERR_DISK_OPTION, -EINVAL,
		    "Encryption options can only be changed for images encrypted with LUKS");
	return disk_luks_amend(s->luks, &area, own, force, e);
}

int qcow2_amend(struct disk *d, json_t *o, bool force, const struct disk_progress *p, struct err *e)
{
	struct qcow2 *s = d->state;
	uint64_t size = 0, bits = 0;
	bool lazy = false;
	int has_size = disk_opts_take_size(o, "size", &size, e);
	int has_lazy = has_size < 0 ? -1 : disk_opts_take_bool(o, "lazy_refcounts", &lazy, e);
	int has_bits = has_lazy < 0 ? -1 : disk_opts_take_u64(o, "refcount_bits", &bits, e);

	if (has_size < 0 || has_lazy < 0 || has_bits < 0)
		return e ? e->rc : -EINVAL;
	/* What version 2 lacks goes before a downgrade; what version 3 brings comes after an upgrade. */
	const char *compat = json_string_value(json_object_get(o, "compat"));
	bool down = compat && s->version == 3 && (str_eq(compat, "0.10") || str_eq(compat, "v2"));
	int rc = down ? 0 : amend_compat(s, o, p, e);

	if (rc == 0 && has_bits)
		rc = amend_width(s, bits, e);
	if (rc == 0 && has_lazy)
		rc = amend_lazy(s, lazy, e);
	if (rc == 0)
		rc = amend_backing(d, o, e);
	if (rc == 0)
		rc = amend_data_file(s, o, e);
	if (rc == 0)
		rc = amend_keys(s, o, force, e);
	if (rc == 0 && has_size)
		rc = disk_truncate(d, size, false, DISK_PREALLOC_OFF, 0, e);
	return rc == 0 && down ? amend_compat(s, o, p, e) : rc;
}
