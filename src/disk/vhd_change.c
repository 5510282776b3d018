/* Creating, resizing and checking VHDs. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/endian.h"
#include "base/mem.h"
#include "base/str.h"
#include "disk/report.h"
#include "disk/uuid.h"
#include "disk/vhd_int.h"

#define BLOCK_BYTES (2u << 20)
#define EPOCH       946684800 /* 2000-01-01, where VHD's time begins */

/* --- resize --- */

/* A larger footer goes behind the new end first, then what was the old one becomes data. */
static int resize_fixed(struct vhd *s)
{
	uint64_t old_end = s->end;
	int rc;

	s->end = s->footer.current_size;
	if (s->end == old_end)
		return vhd_write_footer(s);
	rc = vhd_write_footer(s);
	if (!rc)
		rc = disk_flush(s->d->file);
	if (!rc && s->end < old_end)
		return disk_truncate(s->d->file, s->end + VHD_FOOTER_BYTES, true, DISK_PREALLOC_OFF,
				     0, NULL);
	if (!rc && s->end >= old_end + VHD_FOOTER_BYTES)
		rc = disk_write_zeroes(s->d->file, old_end, VHD_FOOTER_BYTES, 0);
	return rc;
}

/* Writes entries from..to of a table at offset: those that we have, then unused ones. */
static int write_table(struct vhd *s, uint64_t offset, uint32_t from, uint32_t to)
{
	uint8_t *raw = mem_alloc(PAGED_PAGE_BYTES);
	int rc = 0;

	for (uint32_t i = from; i < to && !rc;) {
		uint64_t at = offset + (uint64_t)i * 4;
		unsigned n = 0;

		for (; n < PAGED_PAGE_BYTES && i < to && !rc; n += 4, i++) {
			uint32_t sector = VHD_UNUSED;

			if (i < s->dynamic.block_count)
				rc = vhd_bat_get(s, i, &sector);
			put_be32(raw + n, sector);
		}
		if (!rc)
			rc = disk_pwrite(s->d->file, at, raw, n, 0);
	}
	free(raw);
	return rc;
}

/* Room for `count` entries: where the table's last sector does not hold them, a new table at the end
 * of the file, behind it the footer with the old size, then the header that points to it. */
static int grow_table(struct vhd *s, uint32_t count)
{
	uint64_t room = bits_align_up((uint64_t)s->dynamic.block_count * 4, VHD_SECTOR);
	uint64_t bytes = bits_align_up((uint64_t)count * 4, VHD_SECTOR);
	struct vhd_dynamic new = s->dynamic;
	uint8_t *raw;
	int rc;

	new.block_count = count;
	if (bytes > room) {
		new.table_offset = s->end;
		s->end += bytes;
		rc = vhd_write_footer(s);
		if (!rc)
			rc = write_table(s, new.table_offset, 0, bytes / 4);
	} else {
		rc = write_table(s, new.table_offset, s->dynamic.block_count, bytes / 4);
	}
	if (!rc)
		rc = disk_flush(s->d->file);
	if (rc < 0)
		return rc;
	raw = mem_alloc(VHD_DYNAMIC_BYTES);
	vhd_dynamic_build(&new, raw);
	rc = disk_pwrite(s->d->file, s->footer.data_offset, raw, VHD_DYNAMIC_BYTES, 0);
	free(raw);
	if (!rc)
		rc = disk_flush(s->d->file);
	paged_done(&s->bat);
	free(STEAL(s->whole));
	s->dynamic = new;
	return rc < 0 ? rc : vhd_bat_init(s);
}

/* Blocks behind the end are forgotten; their room is given back to the host where it can be. */
static int drop_blocks(struct vhd *s, uint32_t count)
{
	int rc = 0;

	for (uint32_t i = count; i < s->dynamic.block_count && !rc; i++) {
		uint32_t sector;

		rc = vhd_bat_get(s, i, &sector);
		if (rc < 0 || sector == VHD_UNUSED)
			continue;
		rc = vhd_bat_set(s, i, VHD_UNUSED);
		if (!rc && (uint64_t)sector * VHD_SECTOR < s->end)
			rc = disk_discard(s->d->file,
					  (uint64_t)sector * VHD_SECTOR + s->bitmap_bytes,
					  s->dynamic.block_bytes);
	}
	return rc < 0 ? rc : vhd_flush_all(s);
}

/* Both copies of the footer. */
static int write_footers(struct vhd *s)
{
	uint8_t raw[VHD_FOOTER_BYTES];
	int rc = vhd_write_footer(s);

	vhd_footer_build(&s->footer, raw);
	if (!rc)
		rc = disk_flush(s->d->file);
	return rc < 0 ? rc : disk_pwrite(s->d->file, 0, raw, sizeof(raw), 0);
}

static int resize_dynamic(struct vhd *s, const struct vhd_footer *new)
{
	uint32_t count = (new->current_size + s->dynamic.block_bytes - 1) / s->dynamic.block_bytes;
	int rc = blocks_zero_tail(&s->blocks, MIN(s->d->size, new->current_size));

	if (!rc)
		rc = vhd_flush_all(s);
	if (!rc && count > s->dynamic.block_count)
		rc = grow_table(s, count);
	if (rc < 0)
		return rc;
	s->footer = *new;
	rc = write_footers(s);
	if (!rc && count < s->dynamic.block_count)
		rc = drop_blocks(s, count);
	return rc;
}

/* With a parent behind it, what is added would show the parent. */
static int hide_parent(struct vhd *s, uint64_t from, uint64_t to)
{
	return s->d->backing && to > from ? blocks_zero(&s->blocks, from, to - from, 0) : 0;
}

int vhd_truncate(struct disk *d, uint64_t size, bool exact, enum disk_prealloc prealloc,
		 unsigned flags, struct err *e)
{
	struct vhd *s = d->state;
	struct vhd_footer new = s->footer;
	uint64_t old = d->size;
	/* A disk whose size does not follow from its geometry stays such a one. */
	bool by_size =
	    vhd_footer_size(&new, VHD_SIZE_AUTO) != vhd_geometry_sectors(new.geometry) * VHD_SECTOR;
	int rc;

	if (prealloc != DISK_PREALLOC_OFF)
		return err_set(e, ERR_UNSUPPORTED, -ENOTSUP,
			       "VHD images cannot be resized with preallocation");
	if (size > VHD_SIZE_MAX)
		return err_set(e, ERR_DISK_OPTION, -EFBIG,
			       "Disk size is too large, max size is 2040 GiB");
	new.current_size = vhd_round_size(size, by_size, &new.geometry);
	if (s->footer.type == VHD_FIXED) {
		s->footer = new;
		rc = resize_fixed(s);
	} else {
		rc = resize_dynamic(s, &new);
	}
	if (!rc) {
		d->size = new.current_size;
		rc = s->footer.type == VHD_DIFFERENCING ? hide_parent(s, old, d->size) : 0;
	}
	return rc < 0
		   ? err_set(e, ERR_DISK_IO, rc, "resizing the VHD image failed: %s", strerror(-rc))
		   : 0;
}

/* --- check --- */

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* All entries that point somewhere sensible; the others are reported and, where asked, cleared. */
static int collect(struct vhd *s, unsigned fix, struct disk_check *c, uint32_t *sectors,
		   uint32_t *ret_count)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < s->dynamic.block_count; i++) {
		uint64_t end;
		uint32_t sector;
		int rc = vhd_bat_get(s, i, &sector);

		if (rc < 0)
			return rc;
		if (sector == VHD_UNUSED)
			continue;
		end = (uint64_t)sector * VHD_SECTOR + s->bitmap_bytes + s->dynamic.block_bytes;
		if (end <= s->end) {
			sectors[n++] = sector;
			continue;
		}
		report_found(c,
			     "ERROR: block %" PRIu32 " lies at sector %" PRIu32
			     ", behind the end of the file",
			     i, sector);
		c->corruptions++;
		if (!(fix & DISK_FIX_ERRORS))
			continue;
		rc = vhd_bat_set(s, i, VHD_UNUSED);
		if (rc < 0)
			return rc;
		c->corruptions_fixed++;
	}
	*ret_count = n;
	return 0;
}

static int check_blocks(struct vhd *s, unsigned fix, struct disk_check *c)
{
	uint64_t stride = (s->bitmap_bytes + (uint64_t)s->dynamic.block_bytes) / VHD_SECTOR;
	_free_ uint32_t *sectors = mem_try_array(s->dynamic.block_count + 1, sizeof(*sectors),
						 (VHD_BLOCKS_MAX + 1) * sizeof(*sectors));
	uint32_t n = 0;
	int rc = sectors ? collect(s, fix, c, sectors, &n) : -ENOMEM;

	if (rc < 0)
		return rc;
	qsort(sectors, n, sizeof(*sectors), by_value);
	for (uint32_t i = 1; i < n; i++) {
		if (sectors[i] - (uint64_t)sectors[i - 1] >= stride)
			continue;
		report_found(c, "ERROR: the blocks at sectors %" PRIu32 " and %" PRIu32 " overlap",
			     sectors[i - 1], sectors[i]);
		c->corruptions++;
	}
	c->has_clusters = true;
	c->total_clusters = s->dynamic.block_count;
	c->allocated_clusters = n;
	return 0;
}

/* The copy at `offset` is there and says what we go by? */
static int check_footer(struct vhd *s, uint64_t offset, const char *which, unsigned fix,
			struct disk_check *c)
{
	uint8_t raw[VHD_FOOTER_BYTES], want[VHD_FOOTER_BYTES];
	struct vhd_footer f;
	int rc = disk_pread(s->d->file, offset, raw, sizeof(raw));

	if (rc < 0)
		return rc;
	if (!vhd_footer_parse(raw, &f, NULL) && f.type == s->footer.type &&
	    f.current_size == s->footer.current_size)
		return 0;
	report_found(c, "ERROR: the footer %s is missing or outdated", which);
	c->corruptions++;
	if (!fix)
		return 0;
	vhd_footer_build(&s->footer, want);
	c->corruptions_fixed++;
	return disk_pwrite(s->d->file, offset, want, sizeof(want), 0);
}

int vhd_check(struct disk *d, unsigned fix, struct disk_check *c, struct err *e)
{
	struct vhd *s = d->state;
	int rc = check_footer(s, s->end, "at the end", fix, c);

	if (!rc && s->footer.type != VHD_FIXED) {
		rc = check_footer(s, 0, "in front", fix, c);
		if (!rc)
			rc = check_blocks(s, fix, c);
	}
	c->image_end_offset = s->end + VHD_FOOTER_BYTES;
	return rc < 0
		   ? err_set(e, ERR_DISK_IO, rc, "checking the VHD image failed: %s", strerror(-rc))
		   : 0;
}

/* --- create --- */

const struct disk_opt vhd_create_opts[] = {
    {"backing_file", DISK_OPT_STRING, "File name of a parent: makes a differencing disk", NULL},
    {"backing_fmt", DISK_OPT_STRING, "Must be 'vpc' if present", NULL},
    {"subformat", DISK_OPT_STRING,
     "Type of virtual hard disk format. Supported formats are {dynamic (default) | fixed} ", NULL},
    {"force_size", DISK_OPT_BOOL,
     "Force disk size calculation to use the actual size specified, rather than using the nearest "
     "CHS-based calculation",
     NULL},
    {0},
};

struct plan {
	struct vhd_footer footer;
	struct vhd_dynamic dynamic;
	uint8_t *locator; /* bytes behind the table; owned */
	size_t locator_len;
};

/* A differencing disk knows its parent by UUID and time, so that one is opened. */
static int take_parent(const struct disk_create *c, struct plan *p, struct err *e)
{
	_free_ char *path = disk_path_beside(c->filename, c->backing_file);
	json_t *o = json_pack("{s:s}", "driver", "vpc");
	const struct vhd *parent;
	struct disk *d;
	int rc;

	rc = disk_open(c->ctx, path, o, c->flags & DISK_UNTRUSTED, &d, e);
	json_decref(o);
	if (rc < 0)
		return err_prefix(e, "Could not open backing file '%s': ", c->backing_file);
	parent = d->state;
	memcpy(p->dynamic.parent_uuid, parent->footer.uuid, 16);
	p->dynamic.parent_timestamp = parent->footer.timestamp;
	/* The geometry is the parent's too, so that both have one size. */
	if (p->footer.current_size == d->size) {
		p->footer.geometry = parent->footer.geometry;
		memcpy(p->footer.creator, parent->footer.creator, 4);
	}
	disk_close(d);
	p->footer.type = VHD_DIFFERENCING;
	return vhd_parent_set(&p->dynamic, c->backing_file,
			      p->dynamic.table_offset +
				  bits_align_up((uint64_t)p->dynamic.block_count * 4, VHD_SECTOR),
			      &p->locator, &p->locator_len, e);
}

static int make_plan(const struct disk_create *c, struct plan *p, struct err *e)
{
	static const char *const subformats[] = {"dynamic", "fixed", NULL};
	unsigned subformat = 0;
	bool force_size = false;
	int rc = disk_opts_take_enum(c->opts, "subformat", subformats, &subformat, e);

	if (rc >= 0)
		rc = disk_opts_take_bool(c->opts, "force_size", &force_size, e);
	if (rc < 0)
		return rc;
	if (c->size > VHD_SIZE_MAX)
		return err_set(e, ERR_DISK_OPTION, -EFBIG,
			       "Disk size is too large, max size is 2040 GiB");
	p->footer = (struct vhd_footer){
	    .type = subformat ? VHD_FIXED : VHD_DYNAMIC,
	    .data_offset = VHD_FOOTER_BYTES,
	    .timestamp = time(NULL) - EPOCH,
	};
	/* Readers go by a list of names who means the size rather than the geometry: "qem2" is on it. */
	memcpy(p->footer.creator, force_size ? "qem2" : "viv ", 4);
	p->footer.current_size = vhd_round_size(c->size, force_size, &p->footer.geometry);
	p->footer.original_size = p->footer.current_size;
	uuid_new(p->footer.uuid);
	p->dynamic = (struct vhd_dynamic){
	    .table_offset = VHD_FOOTER_BYTES + VHD_DYNAMIC_BYTES,
	    .block_bytes = BLOCK_BYTES,
	    .block_count = (p->footer.current_size + BLOCK_BYTES - 1) / BLOCK_BYTES,
	};
	if (!c->backing_file)
		return 0;
	if (c->backing_format && !str_eq(c->backing_format, "vpc") &&
	    !str_eq(c->backing_format, "vhd"))
		return err_set(e, ERR_DISK_OPTION, -EINVAL,
			       "the backing file of a VHD must be a VHD ('vpc'), not '%s'",
			       c->backing_format);
	if (subformat)
		return err_set(e, ERR_DISK_OPTION, -EINVAL, "a fixed VHD has no backing file");
	return take_parent(c, p, e);
}

static int write_dynamic(struct disk *file, const struct plan *p, const uint8_t *footer)
{
	uint64_t table = bits_align_up((uint64_t)p->dynamic.block_count * 4, VHD_SECTOR);
	uint64_t at = p->dynamic.table_offset;
	uint8_t *raw = mem_alloc(PAGED_PAGE_BYTES);
	int rc;

	vhd_dynamic_build(&p->dynamic, raw);
	rc = disk_pwrite(file, 0, footer, VHD_FOOTER_BYTES, 0);
	if (!rc)
		rc = disk_pwrite(file, VHD_FOOTER_BYTES, raw, VHD_DYNAMIC_BYTES, 0);
	memset(raw, 0xff, PAGED_PAGE_BYTES);
	for (uint64_t done = 0, n; done < table && !rc; done += n) {
		n = MIN(table - done, (uint64_t)PAGED_PAGE_BYTES);
		rc = disk_pwrite(file, at + done, raw, n, 0);
	}
	free(raw);
	at += table;
	if (!rc && p->locator)
		rc = disk_pwrite(file, at, p->locator, p->locator_len, 0);
	return rc < 0 ? rc : disk_pwrite(file, at + p->locator_len, footer, VHD_FOOTER_BYTES, 0);
}

int vhd_create(const struct disk_create *c, struct err *e)
{
	struct plan p = {0};
	uint8_t footer[VHD_FOOTER_BYTES];
	struct disk *file = NULL;
	int rc = make_plan(c, &p, e);

	if (!rc)
		rc = disk_create_file(c->ctx, c->filename, 0, c->opts, &file, e);
	if (!rc) {
		vhd_footer_build(&p.footer, footer);
		rc = p.footer.type == VHD_FIXED
			 ? disk_pwrite(file, p.footer.current_size, footer, sizeof(footer), 0)
			 : write_dynamic(file, &p, footer);
		if (rc < 0)
			err_set(e, ERR_DISK_IO, rc, "Unable to create or write VHD header: %s",
				strerror(-rc));
		disk_close(file);
	}
	free(p.locator);
	return rc;
}
