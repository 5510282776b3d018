/* Making VMDKs, with the layout and the names that QEMU gives them. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/endian.h"
#include "base/mem.h"
#include "base/str.h"
#include "disk/uuid.h"
#include "disk/vmdk.h"
#include "disk/vmdk_int.h"
#include "os/path.h"

#define GRAIN_SECTORS 128
#define TABLE_ENTRIES 512
#define DESC_SECTORS  20

/* --- one extent --- */

struct vmdk_head vmdk_new_head(uint64_t size, uint32_t flags)
{
	struct vmdk_head h = {
	    .version = flags & VMDK_COMPRESSED   ? 3
		       : flags & VMDK_ZERO_GRAIN ? 2
						 : 1,
	    .flags = flags | VMDK_NEW_LINES | VMDK_REDUNDANT,
	    .capacity = size / VMDK_SECTOR,
	    .grain_sectors = GRAIN_SECTORS,
	    .table_entries = TABLE_ENTRIES,
	    .desc_offset = 1,
	    .desc_sectors = DESC_SECTORS,
	};
	uint64_t tables = vmdk_head_tables(&h);
	uint64_t one = vmdk_head_directory_sectors(tables) + tables * vmdk_head_table_sectors(&h);

	h.redundant_offset = h.desc_offset + h.desc_sectors;
	h.directory_offset = h.redundant_offset + one;
	h.overhead = bits_align_up(h.directory_offset + one, GRAIN_SECTORS);
	return h;
}

/* A directory at that sector, whose tables follow it. */
static int write_directory(struct disk *file, const struct vmdk_head *h, uint64_t sector)
{
	uint64_t tables = vmdk_head_tables(h);
	uint64_t first = sector + vmdk_head_directory_sectors(tables);
	_free_ uint8_t *raw = mem_array(tables + 1, 4);

	for (uint64_t i = 0; i < tables; i++)
		put_le32(raw + i * 4, first + i * vmdk_head_table_sectors(h));
	return tables ? disk_pwrite(file, sector * VMDK_SECTOR, raw, tables * 4, 0) : 0;
}

int vmdk_write_sparse(struct disk *file, const struct vmdk_head *h)
{
	uint8_t raw[VMDK_HEAD_BYTES];
	int rc = disk_truncate(file, h->overhead * VMDK_SECTOR, false, DISK_PREALLOC_OFF, 0, NULL);

	vmdk_head_build(h, raw);
	if (!rc && !disk_starts_zeroed(file))
		rc = disk_write_zeroes(file, 0, h->overhead * VMDK_SECTOR, 0);
	if (!rc)
		rc = disk_pwrite(file, 0, raw, sizeof(raw), 0);
	if (!rc)
		rc = write_directory(file, h, h->redundant_offset);
	return rc < 0 ? rc : write_directory(file, h, h->directory_offset);
}

char *vmdk_extent_name(const char *filename, bool flat, unsigned n)
{
	const char *slash = strrchr(filename, '/');
	const char *base = slash ? slash + 1 : filename;
	const char *dot = strrchr(base, '.');
	int len = dot ? dot - base : (int)strlen(base);

	if (!n)
		return mem_printf("%.*s-flat%s", len, base, dot ? dot : "");
	return mem_printf("%.*s-%c%03u%s", len, base, flat ? 'f' : 's', n, dot ? dot : "");
}

int vmdk_create_extent(struct disk_ctx *ctx, const char *filename, const char *name, bool flat,
		       uint32_t flags, uint64_t size, const json_t *opts, struct err *e)
{
	_free_ char *path = disk_path_beside(filename, name);
	json_t *o = opts ? json_deep_copy(opts) : NULL;
	struct disk *file;
	int rc = disk_create_file(ctx, path, flat ? size : 0, o, &file, e);

	json_decref(o);
	if (rc < 0)
		return rc;
	if (!flat) {
		struct vmdk_head h = vmdk_new_head(size, flags);

		rc = vmdk_write_sparse(file, &h);
		if (rc < 0)
			err_set(e, ERR_DISK_IO, rc, "writing extent '%s' failed: %s", name,
				strerror(-rc));
	}
	disk_close(file);
	return rc;
}

void vmdk_remove_extent(const char *filename, const char *name)
{
	_free_ char *path = disk_path_beside(filename, name);

	path_unlink(AT_FDCWD, path);
}

/* --- the image --- */

enum subformat {
	MONOLITHIC_SPARSE,
	MONOLITHIC_FLAT,
	SPLIT_SPARSE,
	SPLIT_FLAT,
	STREAM,
};

static const char *const subformats[] = {"monolithicSparse",     "monolithicFlat",
					 "twoGbMaxExtentSparse", "twoGbMaxExtentFlat",
					 "streamOptimized",      NULL};
static const char *const adapters[] = {"ide", "lsilogic", "buslogic", "legacyESX", NULL};

const struct disk_opt vmdk_create_opts[] = {
    {"adapter_type", DISK_OPT_STRING,
     "Virtual adapter type, can be one of ide (default), lsilogic, buslogic or legacyESX", NULL},
    {"backing_file", DISK_OPT_STRING, "File name of a base image", NULL},
    {"backing_fmt", DISK_OPT_STRING, "Must be 'vmdk' if present", NULL},
    {"compat6", DISK_OPT_BOOL, "VMDK version 6 image", "off"},
    {"hwversion", DISK_OPT_STRING, "VMDK hardware version", "undefined"},
    {"subformat", DISK_OPT_STRING,
     "VMDK flat extent format, can be one of {monolithicSparse (default) | monolithicFlat | "
     "twoGbMaxExtentSparse | twoGbMaxExtentFlat | streamOptimized} ",
     NULL},
    {"toolsversion", DISK_OPT_STRING, "VMware guest tools version", NULL},
    {"zeroed_grain", DISK_OPT_BOOL,
     "Enable efficient zero writes using the zeroed-grain GTE feature", NULL},
    {0},
};

struct plan {
	unsigned subformat, adapter;
	char *hwversion, *toolsversion; /* owned, or NULL */
	bool compat6, zeroed_grain;
	uint64_t size;
	uint32_t flags; /* of sparse extents */
	struct vmdk_desc desc;
};

static bool is_flat(const struct plan *p)
{
	return p->subformat == MONOLITHIC_FLAT || p->subformat == SPLIT_FLAT;
}

static bool is_split(const struct plan *p)
{
	return p->subformat == SPLIT_SPARSE || p->subformat == SPLIT_FLAT;
}

static void plan_done(struct plan *p)
{
	free(p->hwversion);
	free(p->toolsversion);
	vmdk_desc_done(&p->desc);
}

static int take_options(const struct disk_create *c, struct plan *p, struct err *e)
{
	int rc = disk_opts_take_enum(c->opts, "subformat", subformats, &p->subformat, e);

	if (rc >= 0)
		rc = disk_opts_take_enum(c->opts, "adapter_type", adapters, &p->adapter, e);
	if (rc >= 0)
		rc = disk_opts_take_str(c->opts, "hwversion", &p->hwversion, e);
	if (rc >= 0)
		rc = disk_opts_take_str(c->opts, "toolsversion", &p->toolsversion, e);
	if (rc >= 0)
		rc = disk_opts_take_bool(c->opts, "compat6", &p->compat6, e);
	if (rc >= 0)
		rc = disk_opts_take_bool(c->opts, "zeroed_grain", &p->zeroed_grain, e);
	return rc < 0 ? rc : 0;
}

static int check_options(const struct disk_create *c, struct plan *p, struct err *e)
{
	if (p->hwversion && str_eq(p->hwversion, "undefined"))
		free(STEAL(p->hwversion));
	if (p->compat6 && p->hwversion)
		return err_set(e, ERR_DISK_OPTION, -EINVAL,
			       "compat6 cannot be enabled with hwversion set");
	if (c->backing_format && !str_eq(c->backing_format, "vmdk"))
		return err_set(e, ERR_DISK_OPTION, -EINVAL, "backing_file must be a vmdk image");
	if (is_flat(p) && c->backing_file)
		return err_set(e, ERR_DISK_OPTION, -ENOTSUP, "Flat image can't have backing file");
	if (is_flat(p) && p->zeroed_grain)
		return err_set(e, ERR_DISK_OPTION, -ENOTSUP,
			       "Flat image can't enable zeroed grain");
	if (p->size / VMDK_SECTOR / GRAIN_SECTORS / TABLE_ENTRIES >= VMDK_DIRECTORY_MAX)
		return err_set(e, ERR_DISK_OPTION, -EFBIG, "a VMDK has at most 32 TiB");
	if (p->zeroed_grain)
		p->flags |= VMDK_ZERO_GRAIN;
	if (p->subformat == STREAM)
		p->flags |= VMDK_COMPRESSED | VMDK_MARKERS;
	return 0;
}

static int take_parent(const struct disk_create *c, struct plan *p, struct err *e)
{
	_free_ char *path = disk_path_beside(c->filename, c->backing_file);
	json_t *o = json_pack("{s:s}", "driver", "vmdk");
	struct disk *d;
	int rc = disk_open(c->ctx, path, o, (c->flags & DISK_UNTRUSTED) | DISK_NO_BACKING, &d, e);

	json_decref(o);
	if (rc < 0)
		return err_prefix(e, "Could not open backing file '%s': ", c->backing_file);
	p->desc.parent_cid = ((struct vmdk *)d->state)->desc.cid;
	p->desc.parent = mem_strdup(c->backing_file);
	disk_close(d);
	return 0;
}

static void add_line(struct plan *p, const char *name, uint64_t size)
{
	struct vmdk_desc *d = &p->desc;
	struct vmdk_desc_extent x = {.writable = true, .sectors = size / VMDK_SECTOR};

	strcpy(x.type, is_flat(p) ? "FLAT" : "SPARSE");
	x.name = mem_strdup(name);
	d->extents = mem_grow(d->extents, d->extent_count + 1, sizeof(x));
	d->extents[d->extent_count++] = x;
}

/* The files besides the one that was asked for. */
static int create_extents(const struct disk_create *c, struct plan *p, struct err *e)
{
	uint64_t left = p->size;
	int rc = 0;

	for (unsigned i = 1; left && !rc; i++) {
		uint64_t n = is_split(p) ? MIN(left, VMDK_SPLIT_BYTES) : left;
		_free_ char *name = vmdk_extent_name(c->filename, is_flat(p), is_split(p) ? i : 0);

		rc = vmdk_create_extent(c->ctx, c->filename, name, is_flat(p), p->flags, n, c->opts,
					e);
		if (!rc)
			add_line(p, name, n);
		left -= n;
	}
	return rc;
}

static int write_image(const struct disk_create *c, struct plan *p, struct disk *file)
{
	struct vmdk_desc_hardware hw = {
	    .version = p->compat6     ? "6"
		       : p->hwversion ? p->hwversion
				      : "4",
	    .adapter = adapters[p->adapter],
	    .tools = p->toolsversion ? p->toolsversion : "2147483647",
	};
	bool single = !is_flat(p) && !is_split(p);
	_buf_ struct buf b = {0};
	int rc = 0;

	if (single) {
		struct vmdk_head h = vmdk_new_head(p->size, p->flags);
		const char *slash = strrchr(c->filename, '/');

		add_line(p, slash ? slash + 1 : c->filename, p->size);
		rc = vmdk_write_sparse(file, &h);
	}
	vmdk_desc_build(&p->desc, &hw, &b);
	if (single && b.len > DESC_SECTORS * VMDK_SECTOR)
		return -ENAMETOOLONG;
	return rc < 0 ? rc : disk_pwrite(file, single ? VMDK_SECTOR : 0, b.s, b.len, 0);
}

int vmdk_create(const struct disk_create *c, struct err *e)
{
	struct plan p = {.size = bits_align_up(c->size, VMDK_SECTOR)};
	struct disk *file;
	int rc = take_options(c, &p, e);

	p.desc.parent_cid = VMDK_NO_PARENT;
	uuid_random(&p.desc.cid, sizeof(p.desc.cid));
	if (!rc)
		rc = check_options(c, &p, e);
	if (!rc && c->backing_file)
		rc = take_parent(c, &p, e);
	strcpy(p.desc.create_type, subformats[p.subformat]);
	if (!rc && (is_flat(&p) || is_split(&p)))
		rc = create_extents(c, &p, e);
	if (!rc)
		rc = disk_create_file(c->ctx, c->filename, 0, c->opts, &file, e);
	if (!rc) {
		rc = write_image(c, &p, file);
		if (rc < 0)
			err_set(e, ERR_DISK_IO, rc, "Could not write description: %s",
				strerror(-rc));
		disk_close(file);
	}
	for (unsigned i = 0; rc < 0 && (is_flat(&p) || is_split(&p)) && i < p.desc.extent_count;
	     i++)
		vmdk_remove_extent(c->filename, p.desc.extents[i].name);
	plan_done(&p);
	return rc;
}
