#include "disk/vhdx.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/endian.h"
#include "base/mem.h"
#include "disk/vhdx_int.h"

/* Metadata that is read; the items of known files are in the first 68 KiB. */
#define META_READ VHDX_MB

/* --- BAT --- */

uint64_t vhdx_bat_index(const struct vhdx *s, uint64_t block)
{
	return block + block / s->ratio;
}

int vhdx_bat_get(struct vhdx *s, uint64_t block, uint64_t *ret_entry)
{
	uint8_t raw[8];
	int rc = paged_get(&s->bat, vhdx_bat_index(s, block) * 8, raw, 8);

	if (rc < 0)
		return rc;
	*ret_entry = get_le64(raw);
	return 0;
}

int vhdx_bat_set(struct vhdx *s, uint64_t block, uint64_t entry)
{
	uint8_t raw[8];

	put_le64(raw, entry);
	return paged_set(&s->bat, vhdx_bat_index(s, block) * 8, raw, 8);
}

static int bat_load(void *owner, uint64_t page, void *buf)
{
	struct vhdx *s = owner;

	/* The region is a multiple of 1 MiB: its last page is whole. */
	return vhdx_pread(s, s->regions.bat.offset + page * VHDX_PAGE, buf, VHDX_PAGE);
}

static int bat_store(void *owner, const struct paged_write *w, unsigned count)
{
	struct vhdx *s = owner;
	int rc = 0;

	/* 2.1: the file grows in whole blocks. */
	if (disk_size(s->d->file) < s->end)
		rc = disk_truncate(s->d->file, s->end, false, DISK_PREALLOC_OFF, 0, NULL);
	while (count && !rc) {
		struct vhdx_patch patches[VHDX_COMMIT_MAX];
		unsigned n = MIN(count, VHDX_COMMIT_MAX);

		for (unsigned i = 0; i < n; i++)
			patches[i] = (struct vhdx_patch){
			    .offset = s->regions.bat.offset + w[i].page * VHDX_PAGE,
			    .len = VHDX_PAGE,
			    .data = w[i].data,
			};
		rc = vhdx_log_commit(s, patches, n);
		w += n;
		count -= n;
	}
	return rc;
}

static const struct paged_ops bat_ops = {bat_load, bat_store};

int vhdx_bat_init(struct vhdx *s)
{
	s->bat = (struct paged){
	    .file = s->d->file,
	    .bytes = vhdx_bat_entries(&s->meta, s->meta.size) * 8,
	    .page_bytes = VHDX_PAGE,
	    .ops = &bat_ops,
	    .owner = s,
	};
	return paged_init(&s->bat);
}

/* --- blocks --- */

static bool overlaps(uint64_t offset, uint64_t len, uint64_t begin, uint64_t bytes)
{
	return offset < begin + bytes && begin < offset + len;
}

/* A block may lie anywhere but over the headers, the log and the regions. */
static bool may_lie_at(const struct vhdx *s, uint64_t offset)
{
	uint64_t len = s->meta.block_bytes;

	return offset >= VHDX_MB && offset < s->end &&
	       !overlaps(offset, len, s->head.log_offset, s->head.log_bytes) &&
	       !overlaps(offset, len, s->regions.bat.offset, s->regions.bat.bytes) &&
	       !overlaps(offset, len, s->regions.metadata.offset, s->regions.metadata.bytes);
}

static int find(void *owner, uint64_t index, struct block_place *ret)
{
	struct vhdx *s = owner;
	uint64_t entry;
	int rc = vhdx_bat_get(s, index, &entry);

	if (rc < 0)
		return rc;
	*ret = (struct block_place){BLOCK_NONE, 0};
	switch (entry & VHDX_STATE_MASK) {
	case VHDX_NOT_PRESENT:
	case VHDX_UNDEFINED:
		return 0;
	case VHDX_ZERO:
	case VHDX_UNMAPPED:
	case VHDX_UNMAPPED_OLD:
		ret->state = BLOCK_ZERO;
		return 0;
	case VHDX_PRESENT:
		*ret = (struct block_place){BLOCK_DATA, entry & VHDX_OFFSET_MASK};
		return may_lie_at(s, ret->offset) ? 0 : -EIO;
	default:
		return -EIO;
	}
}

static int reserve(void *owner, uint64_t index, unsigned count, uint64_t *ret_offset)
{
	struct vhdx *s = owner;

	*ret_offset = s->end;
	s->end += (uint64_t)count * s->meta.block_bytes;
	return 0;
}

static int set(void *owner, uint64_t index, const struct block_place *p)
{
	return vhdx_bat_set(owner, index,
			    p->state == BLOCK_ZERO ? VHDX_ZERO : p->offset | VHDX_PRESENT);
}

static const struct blocks_ops blocks_ops = {.find = find, .reserve = reserve, .set = set};

/* --- open --- */

static int probe(const uint8_t *buf, size_t len, const char *name)
{
	return vhdx_probe(buf, len) ? 100 : 0;
}

/* 2.2.2: the valid header with the higher number is current. */
static int read_heads(struct vhdx *s, struct err *e)
{
	_free_ uint8_t *raw = mem_alloc(VHDX_HEAD_BYTES);
	bool have = false;
	int rc = 0;

	for (unsigned i = 0; i < 2; i++) {
		struct vhdx_head h;
		int got = disk_pread(s->d->file, VHDX_HEAD_AT(i), raw, VHDX_HEAD_BYTES);

		if (got < 0)
			return err_set(e, ERR_DISK_IO, got, "reading the VHDX headers failed: %s",
				       strerror(-got));
		got = vhdx_head_parse(raw, &h, e);
		if (got < 0)
			rc = got;
		else if (!have || h.sequence > s->head.sequence) {
			s->head = h;
			s->head_index = i;
			have = true;
		}
	}
	return have ? 0 : rc;
}

static int read_regions(struct vhdx *s, struct err *e)
{
	_free_ uint8_t *raw = mem_alloc(VHDX_REGION_BYTES);
	int rc = 0;

	for (unsigned i = 0; i < 2; i++) {
		rc = vhdx_pread(s, VHDX_REGION_AT(i), raw, VHDX_REGION_BYTES);
		if (!rc)
			rc = vhdx_regions_parse(raw, &s->regions, e);
		else
			err_set(e, ERR_DISK_IO, rc, "reading the VHDX region table failed: %s",
				strerror(-rc));
		if (rc != -EINVAL)
			break; /* good, or not for the lack of a good copy */
	}
	return rc;
}

static int read_metadata(struct vhdx *s, struct err *e)
{
	size_t len = MIN(s->regions.metadata.bytes, META_READ);
	_free_ uint8_t *raw = mem_alloc(len);
	int rc = vhdx_pread(s, s->regions.metadata.offset, raw, len);

	if (rc < 0)
		return err_set(e, ERR_DISK_IO, rc, "reading the VHDX metadata failed: %s",
			       strerror(-rc));
	rc = vhdx_metadata_parse(raw, len, &s->meta, e);
	if (rc < 0)
		return rc;
	s->ratio = vhdx_chunk_ratio(&s->meta);
	if (vhdx_bat_entries(&s->meta, s->meta.size) * 8 > s->regions.bat.bytes)
		return err_set(e, ERR_DISK_FORMAT, -EINVAL,
			       "VHDX: the BAT is too small for the disk");
	if (s->regions.bat.offset + s->regions.bat.bytes > disk_size(s->d->file))
		return err_set(e, ERR_DISK_FORMAT, -EINVAL,
			       "VHDX: the BAT lies behind the end of the file");
	return 0;
}

static int open_all(struct vhdx *s, struct err *e)
{
	uint8_t magic[8];
	int rc = disk_pread(s->d->file, 0, magic, sizeof(magic));

	if (rc < 0)
		return err_set(e, ERR_DISK_IO, rc, "reading the VHDX failed: %s", strerror(-rc));
	if (!vhdx_probe(magic, sizeof(magic)))
		return err_set(e, ERR_DISK_FORMAT, -EINVAL,
			       "not a VHDX image: its signature is missing");
	rc = read_heads(s, e);
	if (!rc)
		rc = vhdx_log_replay(s, e);
	if (!rc)
		rc = read_regions(s, e);
	if (!rc)
		rc = read_metadata(s, e);
	if (rc < 0)
		return rc;
	s->end = bits_align_up(disk_size(s->d->file), VHDX_MB);
	rc = vhdx_bat_init(s);
	return rc < 0 ? err_set(e, ERR_NOMEM, rc, "no memory for the BAT") : 0;
}

static int vhdx_open(struct disk *d, json_t *o, struct err *e)
{
	struct vhdx *s = d->state;
	int rc;

	s->d = d;
	rc = open_all(s, e);
	if (rc < 0) {
		vhdx_log_done(s);
		paged_done(&s->bat);
		return rc;
	}
	s->blocks = (struct blocks){
	    .d = d,
	    .file = d->file,
	    .ops = &blocks_ops,
	    .owner = s,
	    .block_bytes = s->meta.block_bytes,
	    .run_max = 8,
	    .new_is_zeroed = disk_starts_zeroed(d->file),
	};
	blocks_init(&s->blocks);
	d->size = s->meta.size;
	d->cluster_size = s->meta.block_bytes;
	d->zero_flags = DISK_REQ_UNMAP;
	return 0;
}

static int vhdx_flush(struct disk *d)
{
	struct vhdx *s = d->state;

	return paged_flush(&s->bat);
}

static int vhdx_close(struct disk *d)
{
	struct vhdx *s = d->state;
	int rc = paged_flush(&s->bat);

	/* The log is emptied once what it tells is stable in place. */
	if (!rc && s->write_begun)
		rc = disk_flush(d->file);
	if (!rc && s->write_begun)
		rc = vhdx_write_end(s);
	paged_done(&s->bat);
	vhdx_log_done(s);
	return rc;
}

/* Read-only to writable: a log that was only laid over the file has to be replayed now. */
static int vhdx_reopen(struct disk *d, unsigned flags, struct err *e)
{
	struct vhdx *s = d->state;

	if (flags & DISK_WRITE && s->patches.n)
		return err_set(e, ERR_UNSUPPORTED, -ENOTSUP,
			       "VHDX: the log must be replayed first: open the image for writing");
	return 0;
}

static int vhdx_preadv(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v,
		       size_t at)
{
	struct vhdx *s = d->state;

	return blocks_read(&s->blocks, offset, len, v, at);
}

static int vhdx_pwritev(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v,
			size_t at, unsigned flags)
{
	struct vhdx *s = d->state;
	int rc = vhdx_write_begin(s);

	return rc < 0 ? rc : blocks_write(&s->blocks, offset, len, v, at);
}

static int vhdx_write_zeroes(struct disk *d, uint64_t offset, uint64_t len, unsigned flags)
{
	struct vhdx *s = d->state;
	int rc = vhdx_write_begin(s);

	return rc < 0 ? rc : blocks_zero(&s->blocks, offset, len, flags);
}

static int vhdx_discard(struct disk *d, uint64_t offset, uint64_t len)
{
	struct vhdx *s = d->state;
	int rc = vhdx_write_begin(s);

	return rc < 0 ? rc : blocks_discard(&s->blocks, offset, len);
}

static int vhdx_block_status(struct disk *d, uint64_t offset, uint64_t len, bool exact,
			     struct disk_extent *ret)
{
	struct vhdx *s = d->state;

	return blocks_status(&s->blocks, offset, len, ret);
}

static bool vhdx_starts_zeroed(struct disk *d)
{
	struct vhdx *s = d->state;

	return !s->meta.leave_allocated || disk_starts_zeroed(d->file);
}

static int vhdx_get_info(struct disk *d, struct disk_info *ret, struct err *e)
{
	struct vhdx *s = d->state;

	ret->cluster_size = s->meta.block_bytes;
	ret->dirty = s->patches.n != 0;
	return 0;
}

const struct disk_driver disk_driver_vhdx = {
    .name = "vhdx",
    .kind = DISK_KIND_FORMAT,
    .state_size = sizeof(struct vhdx),
    .probe = probe,
    .open = vhdx_open,
    .close = vhdx_close,
    .reopen = vhdx_reopen,
    .preadv = vhdx_preadv,
    .pwritev = vhdx_pwritev,
    .write_zeroes = vhdx_write_zeroes,
    .discard = vhdx_discard,
    .flush = vhdx_flush,
    .block_status = vhdx_block_status,
    .truncate = vhdx_truncate,
    .starts_zeroed = vhdx_starts_zeroed,
    .get_info = vhdx_get_info,
    .create_opts = vhdx_create_opts,
    .create = vhdx_create,
    .check = vhdx_check,
};
