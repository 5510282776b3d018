/* Creating, resizing and checking VHDXs. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/endian.h"
#include "base/mem.h"
#include "disk/report.h"
#include "disk/uuid.h"
#include "disk/vhdx_int.h"

/* --- resize --- */

/* A BAT of `bytes` at the end of the file: our entries, then those of blocks that are not there. */
static int copy_bat(struct vhdx *s, const struct vhdx_region *to)
{
	_free_ uint8_t *buf = mem_alloc(VHDX_MB);
	int rc = 0;

	for (uint64_t done = 0; done < to->bytes && !rc; done += VHDX_MB) {
		if (done < s->regions.bat.bytes)
			rc = disk_pread(s->d->file, s->regions.bat.offset + done, buf, VHDX_MB);
		else
			memset(buf, 0, VHDX_MB);
		if (!rc)
			rc = disk_pwrite(s->d->file, to->offset + done, buf, VHDX_MB, 0);
	}
	return rc;
}

/* Commits the new size, and the place of the BAT where it moves, in one entry of the log. */
static int commit_size(struct vhdx *s, uint64_t size, const struct vhdx_region *bat)
{
	uint64_t size_at = s->regions.metadata.offset + s->meta.size_at;
	_free_ uint8_t *page = mem_alloc(VHDX_PAGE);
	_free_ uint8_t *table = mem_alloc(VHDX_REGION_BYTES);
	struct vhdx_patch w[3];
	unsigned n = 0;
	int rc;

	w[n++] = (struct vhdx_patch){bits_align_down(size_at, VHDX_PAGE), VHDX_PAGE, page};
	rc = disk_pread(s->d->file, w[0].offset, page, VHDX_PAGE);
	put_le64(page + size_at % VHDX_PAGE,
		 size); /* items are aligned by their writers; see below */
	if (!rc && bat->offset != s->regions.bat.offset) {
		struct vhdx_regions r;
		int first = disk_pread(s->d->file, VHDX_REGION_AT(0), table, VHDX_REGION_BYTES);

		if (!first && vhdx_regions_parse(table, &r, NULL) < 0)
			first = disk_pread(s->d->file, VHDX_REGION_AT(1), table, VHDX_REGION_BYTES);
		rc = first;
		/* Signature, checksum and all entries that writers make are in the first page. */
		vhdx_regions_move_bat(table, bat);
		w[n++] = (struct vhdx_patch){VHDX_REGION_AT(0), VHDX_PAGE, table};
		w[n++] = (struct vhdx_patch){VHDX_REGION_AT(1), VHDX_PAGE, table};
	}
	if (!rc)
		rc = vhdx_log_commit(s, w, n);
	return rc < 0 ? rc : disk_flush(s->d->file);
}

/* New entries in the region that is there; it may hold anything behind the last one. */
static int clear_entries(struct vhdx *s, uint64_t from, uint64_t to)
{
	uint64_t at = s->regions.bat.offset + from * 8;

	return to > from ? disk_write_zeroes(s->d->file, at, (to - from) * 8, 0) : 0;
}

static int drop_blocks(struct vhdx *s, uint64_t from, uint64_t to)
{
	int rc = 0;

	for (uint64_t i = from; i < to && !rc; i++) {
		uint64_t entry;

		rc = vhdx_bat_get(s, i, &entry);
		if (rc < 0 || (entry & VHDX_STATE_MASK) == VHDX_NOT_PRESENT)
			continue;
		rc = vhdx_bat_set(s, i, VHDX_NOT_PRESENT);
		if (!rc && (entry & VHDX_STATE_MASK) == VHDX_PRESENT)
			rc =
			    disk_discard(s->d->file, entry & VHDX_OFFSET_MASK, s->meta.block_bytes);
	}
	return rc < 0 ? rc : paged_flush(&s->bat);
}

/* A fixed disk has all its blocks. */
static int fill_fixed(struct vhdx *s, uint64_t from, uint64_t to)
{
	int rc = 0;

	for (uint64_t i = from; i < to && !rc; i++) {
		rc = vhdx_bat_set(s, i, s->end | VHDX_PRESENT);
		s->end += s->meta.block_bytes;
	}
	return rc < 0 ? rc : paged_flush(&s->bat);
}

static int resize(struct vhdx *s, uint64_t size)
{
	uint64_t old_entries = vhdx_bat_entries(&s->meta, s->meta.size);
	uint64_t entries = vhdx_bat_entries(&s->meta, size);
	uint64_t old_blocks = (s->meta.size + s->meta.block_bytes - 1) / s->meta.block_bytes;
	uint64_t blocks = (size + s->meta.block_bytes - 1) / s->meta.block_bytes;
	struct vhdx_region bat = s->regions.bat;
	int rc = vhdx_write_begin(s);

	if (!rc)
		rc = blocks_zero_tail(&s->blocks, MIN(size, s->meta.size));
	if (!rc)
		rc = paged_flush(&s->bat);
	if (!rc)
		rc = disk_flush(s->d->file);
	if (!rc && blocks < old_blocks)
		rc = drop_blocks(s, blocks, old_blocks);
	if (!rc && entries * 8 > bat.bytes) {
		bat = (struct vhdx_region){s->end, bits_align_up(entries * 8, VHDX_MB)};
		s->end += bat.bytes;
		rc = copy_bat(s, &bat);
	} else if (!rc) {
		rc = clear_entries(s, old_entries, entries);
	}
	if (!rc)
		rc = commit_size(s, size, &bat);
	if (rc < 0)
		return rc;
	s->regions.bat = bat;
	s->meta.size = size;
	paged_done(&s->bat);
	rc = vhdx_bat_init(s);
	if (!rc && s->meta.leave_allocated && blocks > old_blocks)
		rc = fill_fixed(s, old_blocks, blocks);
	return rc;
}

int vhdx_truncate(struct disk *d, uint64_t size, bool exact, enum disk_prealloc prealloc,
		  unsigned flags, struct err *e)
{
	struct vhdx *s = d->state;
	uint64_t aligned = bits_align_up(size, s->meta.logical_sector);
	int rc;

	if (prealloc != DISK_PREALLOC_OFF)
		return err_set(e, ERR_UNSUPPORTED, -ENOTSUP,
			       "VHDX images cannot be resized with preallocation");
	if (aligned > VHDX_SIZE_MAX)
		return err_set(e, ERR_DISK_OPTION, -EFBIG, "Image size too large; max of 64TB");
	if (s->meta.size_at % VHDX_PAGE > VHDX_PAGE - 8)
		return err_set(e, ERR_UNSUPPORTED, -ENOTSUP,
			       "VHDX: the size's metadata item crosses a page");
	rc = resize(s, aligned);
	if (rc < 0)
		return err_set(e, ERR_DISK_IO, rc, "resizing the VHDX image failed: %s",
			       strerror(-rc));
	d->size = aligned;
	return 0;
}

/* --- check --- */

/* Which MiB of the file belong to blocks: a bit each, for files up to 64 TiB. */
#define USED_MAX_BYTES (8u << 20)

static bool mark(uint8_t *used, uint64_t offset, uint64_t bytes, uint64_t end)
{
	bool taken = false;

	for (uint64_t i = offset / VHDX_MB; i < MIN(offset + bytes, end) / VHDX_MB; i++) {
		taken |= used[i / 8] & 1 << i % 8;
		used[i / 8] |= 1 << i % 8;
	}
	return taken;
}

static int check_blocks(struct vhdx *s, unsigned fix, struct disk_check *c, uint8_t *used)
{
	uint64_t blocks = (s->meta.size + s->meta.block_bytes - 1) / s->meta.block_bytes;

	for (uint64_t i = 0; i < blocks; i++) {
		struct block_place p = {0};
		const char *what = NULL;
		int rc = s->blocks.ops->find(s, i, &p);

		if (rc == -EIO)
			what = "has an impossible state, or lies outside of the file or over its "
			       "tables";
		else if (rc < 0)
			return rc;
		else if (p.state == BLOCK_DATA && mark(used, p.offset, s->meta.block_bytes, s->end))
			what = "lies where another block does";
		if (!what) {
			c->allocated_clusters += p.state == BLOCK_DATA;
			continue;
		}
		report_found(c, "ERROR: block %" PRIu64 " %s", i, what);
		c->corruptions++;
		if (!(fix & DISK_FIX_ERRORS))
			continue;
		rc = vhdx_bat_set(s, i, VHDX_NOT_PRESENT);
		if (rc < 0)
			return rc;
		c->corruptions_fixed++;
	}
	c->has_clusters = true;
	c->total_clusters = blocks;
	return 0;
}

int vhdx_check(struct disk *d, unsigned fix, struct disk_check *c, struct err *e)
{
	struct vhdx *s = d->state;
	_free_ uint8_t *used = mem_try_array(s->end / VHDX_MB / 8 + 1, 1, USED_MAX_BYTES);
	int rc = used ? check_blocks(s, fix, c, used) : -ENOMEM;

	c->image_end_offset = s->end;
	return rc < 0 ? err_set(e, ERR_DISK_IO, rc, "checking the VHDX image failed: %s",
				strerror(-rc))
		      : 0;
}

/* --- create --- */

const struct disk_opt vhdx_create_opts[] = {
    {"block_size", DISK_OPT_SIZE,
     "Block Size; min 1MB, max 256MB. 0 means auto-calculate based on image size.", "0"},
    {"block_state_zero", DISK_OPT_BOOL,
     "Force use of payload blocks of type 'ZERO'. Non-standard, but default.  Do not set to 'off' "
     "when "
     "using 'qemu-img convert' with subformat=dynamic.",
     NULL},
    {"log_size", DISK_OPT_SIZE, "Log size; min 1MB.", "1048576"},
    {"subformat", DISK_OPT_STRING,
     "VHDX format type, can be either 'dynamic' or 'fixed'. Default is 'dynamic'.", NULL},
    {0},
};

struct plan {
	struct vhdx_head head;
	struct vhdx_regions regions;
	struct vhdx_metadata meta;
	bool zero_state;
	uint64_t data; /* offset of the first block */
};

static uint64_t usual_block_bytes(uint64_t size)
{
	if (size > 32ULL << 40)
		return 64 << 20;
	if (size > 100ULL << 30)
		return 32 << 20;
	return size > 1ULL << 30 ? 16 << 20 : 8 << 20;
}

static int take_options(const struct disk_create *c, struct plan *p, struct err *e)
{
	static const char *const subformats[] = {"dynamic", "fixed", NULL};
	uint64_t log_bytes = VHDX_MB, block_bytes = 0;
	unsigned subformat = 0;
	int rc = disk_opts_take_enum(c->opts, "subformat", subformats, &subformat, e);

	p->zero_state = true;
	if (rc >= 0)
		rc = disk_opts_take_bool(c->opts, "block_state_zero", &p->zero_state, e);
	if (rc >= 0)
		rc = disk_opts_take_size(c->opts, "log_size", &log_bytes, e);
	if (rc >= 0)
		rc = disk_opts_take_size(c->opts, "block_size", &block_bytes, e);
	if (rc < 0)
		return rc;
	if (c->size > VHDX_SIZE_MAX)
		return err_set(e, ERR_DISK_OPTION, -EINVAL, "Image size too large; max of 64TB");
	if (log_bytes < VHDX_MB || log_bytes % VHDX_MB)
		return err_set(e, ERR_DISK_OPTION, -EINVAL, "Log size must be a multiple of 1 MB");
	if (log_bytes > VHDX_LOG_MAX)
		return err_set(e, ERR_DISK_OPTION, -EINVAL, "Log size must not exceed 64 MB");
	if (!block_bytes)
		block_bytes = usual_block_bytes(c->size);
	if (block_bytes < VHDX_BLOCK_MIN || block_bytes % VHDX_MB)
		return err_set(e, ERR_DISK_OPTION, -EINVAL,
			       "Block size must be a multiple of 1 MB");
	if (!bits_is_pow2(block_bytes))
		return err_set(e, ERR_DISK_OPTION, -EINVAL, "Block size must be a power of two");
	if (block_bytes > VHDX_BLOCK_MAX)
		return err_set(e, ERR_DISK_OPTION, -EINVAL, "Block size must not exceed %u",
			       VHDX_BLOCK_MAX);
	p->meta.block_bytes = block_bytes;
	p->meta.leave_allocated = subformat;
	p->head.log_bytes = log_bytes;
	return 0;
}

static void lay_out(const struct disk_create *c, struct plan *p)
{
	p->meta.size = bits_align_up(c->size, 512);
	p->meta.logical_sector = 512;
	p->meta.physical_sector = 512;
	uuid_new(p->meta.page83);
	p->head.version = 1;
	p->head.log_offset = VHDX_MB;
	uuid_new(p->head.file_write_guid);
	uuid_new(p->head.data_write_guid);
	p->regions.bat.offset = p->head.log_offset + p->head.log_bytes;
	p->regions.bat.bytes =
	    MAX(bits_align_up(vhdx_bat_entries(&p->meta, p->meta.size) * 8, VHDX_MB), VHDX_MB);
	p->regions.metadata.offset = p->regions.bat.offset + p->regions.bat.bytes;
	p->regions.metadata.bytes = VHDX_MB;
	p->data = p->regions.metadata.offset + p->regions.metadata.bytes;
}

static int write_heads(struct disk *file, struct plan *p, uint8_t *buf)
{
	static const uint8_t creator[] = "V\0i\0v\0a\0r\0i\0u\0m";
	int rc;

	rc = disk_pwrite(file, 0, "vhdxfile", 8, 0);
	if (!rc)
		rc = disk_pwrite(file, 8, creator, sizeof(creator), 0);
	for (unsigned i = 0; i < 2 && !rc; i++) {
		p->head.sequence = i + 1;
		vhdx_head_build(&p->head, buf);
		rc = disk_pwrite(file, VHDX_HEAD_AT(i), buf, VHDX_HEAD_BYTES, 0);
	}
	vhdx_regions_build(&p->regions, buf);
	for (unsigned i = 0; i < 2 && !rc; i++)
		rc = disk_pwrite(file, VHDX_REGION_AT(i), buf, VHDX_REGION_BYTES, 0);
	return rc;
}

/* A page of the BAT at a time. */
static int write_bat(struct disk *file, const struct plan *p)
{
	uint64_t blocks = (p->meta.size + p->meta.block_bytes - 1) / p->meta.block_bytes;
	uint64_t ratio = vhdx_chunk_ratio(&p->meta), offset = p->data;
	_free_ uint8_t *page = mem_alloc(VHDX_PAGE);
	uint64_t at = 0;
	int rc = 0;

	for (uint64_t i = 0; i < blocks && !rc; i++) {
		uint64_t entry = p->zero_state ? VHDX_ZERO : VHDX_NOT_PRESENT;

		if (p->meta.leave_allocated) {
			entry = offset | VHDX_PRESENT;
			offset += p->meta.block_bytes;
		}
		/* After `ratio` blocks comes the entry of a sector bitmap, which only differencing has. */
		at = (i + i / ratio) * 8;
		put_le64(page + at % VHDX_PAGE, entry);
		if ((i + 1 + (i + 1) / ratio) * 8 / VHDX_PAGE == at / VHDX_PAGE && i + 1 < blocks)
			continue;
		rc = disk_pwrite(file, p->regions.bat.offset + bits_align_down(at, VHDX_PAGE), page,
				 VHDX_PAGE, 0);
		memset(page, 0, VHDX_PAGE);
	}
	return rc;
}

static int write_image(struct disk *file, struct plan *p)
{
	uint64_t blocks = (p->meta.size + p->meta.block_bytes - 1) / p->meta.block_bytes;
	uint64_t end = p->data + (p->meta.leave_allocated ? blocks * p->meta.block_bytes : 0);
	_free_ uint8_t *buf = mem_alloc(VHDX_META_TABLE + VHDX_PAGE);
	int rc = disk_truncate(file, end, false, DISK_PREALLOC_OFF, 0, NULL);

	if (!rc && !disk_starts_zeroed(file))
		rc = disk_write_zeroes(file, 0, end, 0);
	if (!rc)
		rc = write_heads(file, p, buf);
	if (!rc)
		rc = write_bat(file, p);
	memset(buf, 0, VHDX_META_TABLE + VHDX_PAGE);
	vhdx_metadata_build(&p->meta, buf);
	return rc < 0 ? rc
		      : disk_pwrite(file, p->regions.metadata.offset, buf,
				    VHDX_META_TABLE + VHDX_PAGE, 0);
}

int vhdx_create(const struct disk_create *c, struct err *e)
{
	struct plan p = {0};
	struct disk *file;
	int rc = take_options(c, &p, e);

	if (!rc && c->backing_file)
		rc = err_set(e, ERR_UNSUPPORTED, -ENOTSUP,
			     "VHDX differencing images (with a backing file) are not supported");
	if (!rc)
		rc = disk_create_file(c->ctx, c->filename, 0, c->opts, &file, e);
	if (rc < 0)
		return rc;
	lay_out(c, &p);
	rc = write_image(file, &p);
	if (rc < 0)
		err_set(e, ERR_DISK_IO, rc, "writing the VHDX failed: %s", strerror(-rc));
	disk_close(file);
	return rc;
}
