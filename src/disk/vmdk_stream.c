/* Compressed grains (streamOptimized): each a marker with the grain's first sector and its length, then a
 * zlib stream (RFC 1950), to whole sectors. They are only ever appended: a grain that is written again
 * gets a new place, and the old one is lost until the image is converted. */
#include <errno.h>
#include <libdeflate.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/endian.h"
#include "base/mem.h"
#include "disk/vmdk_int.h"

/* Within 2 % of zlib's default level, at less than a third of its time. */
#define LEVEL 4

static uint64_t grain_bytes(const struct vmdk_extent *x)
{
	return x->head.grain_sectors * VMDK_SECTOR;
}

/* A compressor is half a megabyte: those of ended requests are kept for the next ones. */
static struct libdeflate_compressor *take_compressor(struct vmdk_extent *x)
{
	if (x->compressor_count)
		return x->compressors[--x->compressor_count];
	return libdeflate_alloc_compressor(LEVEL);
}

static void keep_compressor(struct vmdk_extent *x, struct libdeflate_compressor *z)
{
	if (x->compressor_count < VMDK_COMPRESSORS)
		x->compressors[x->compressor_count++] = z;
	else
		libdeflate_free_compressor(z);
}

void vmdk_stream_done(struct vmdk_extent *x)
{
	while (x->compressor_count)
		libdeflate_free_compressor(x->compressors[--x->compressor_count]);
	free(x->last);
}

struct job {
	struct libdeflate_compressor *compressor; /* to deflate */
	const uint8_t *in;
	uint8_t *out;
	size_t in_len, out_len;
};

static int inflate_grain(void *arg)
{
	struct job *j = arg;
	struct libdeflate_decompressor *z = libdeflate_alloc_decompressor();
	size_t len;
	int rc;

	if (!z)
		return -ENOMEM;
	rc = libdeflate_zlib_decompress(z, j->in, j->in_len, j->out, j->out_len, &len);
	libdeflate_free_decompressor(z);
	if (rc != LIBDEFLATE_SUCCESS)
		return -EIO;
	/* The last grain of a disk may have been stored short. */
	memset(j->out + len, 0, j->out_len - len);
	return 0;
}

static int deflate_grain(void *arg)
{
	struct job *j = arg;

	j->out_len = libdeflate_zlib_compress(j->compressor, j->in, j->in_len, j->out, j->out_len);
	return j->out_len ? 0 : -EIO;
}

/* Reads the grain whose marker is at `offset` into out. */
static int load_grain(struct vmdk_extent *x, uint64_t index, uint64_t offset, uint8_t *out)
{
	size_t grain = grain_bytes(x);
	size_t room = MIN(grain + grain / 2 + VMDK_SECTOR, x->end - offset);
	_free_ uint8_t *in = mem_alloc(room);
	struct job j = {.in = in + VMDK_GRAIN_MARKER, .out = out, .out_len = grain};
	int rc = disk_pread(x->file, offset, in, room);

	if (rc < 0)
		return rc;
	j.in_len = get_le32(in + 8);
	if (get_le64(in) != index * x->head.grain_sectors || !j.in_len ||
	    j.in_len > room - VMDK_GRAIN_MARKER)
		return -EIO;
	return co_call(x->d->ctx, inflate_grain, &j);
}

/* The content of a grain, of which the caller may change its copy. Returns owned in *ret. */
static int get_grain(struct vmdk_extent *x, uint64_t index, uint8_t **ret)
{
	size_t grain = grain_bytes(x);
	_free_ uint8_t *buf = mem_alloc(grain);
	struct block_place p;
	int rc = vmdk_grain_find(x, index, &p);

	if (!rc && p.state == BLOCK_DATA)
		rc = load_grain(x, index, p.offset, buf);
	else if (!rc && p.state == BLOCK_NONE && x->d->backing) {
		DISK_VEC(v, buf, grain);

		rc = disk_read_backing(x->d, x->start + index * grain, grain, &v, 0);
	}
	if (rc < 0)
		return rc;
	*ret = STEAL(buf);
	return 0;
}

static int read_grain(struct vmdk_extent *x, uint64_t index, size_t in, size_t len,
		      const struct disk_vec *v, size_t at)
{
	unsigned generation = x->generation;
	uint8_t *buf;
	int rc;

	if (x->last && x->last_index == index) {
		disk_vec_put(v, at, x->last + in, len);
		return 0;
	}
	rc = get_grain(x, index, &buf);
	if (rc < 0)
		return rc;
	disk_vec_put(v, at, buf + in, len);
	if (generation != x->generation) {
		free(buf); /* perhaps written meanwhile */
		return 0;
	}
	free(x->last);
	x->last = buf;
	x->last_index = index;
	return 0;
}

int vmdk_stream_read(struct vmdk_extent *x, uint64_t offset, uint64_t len, const struct disk_vec *v,
		     size_t at)
{
	size_t grain = grain_bytes(x);

	while (len) {
		uint64_t index = (offset - x->start) / grain, in = (offset - x->start) % grain;
		size_t n = MIN(len, grain - in);
		struct block_place p;
		int rc = vmdk_grain_find(x, index, &p);

		if (!rc && p.state == BLOCK_DATA)
			rc = read_grain(x, index, in, n, v, at);
		else if (!rc && p.state == BLOCK_NONE && x->d->backing)
			rc = disk_read_backing(x->d, offset, n, v, at);
		else if (!rc)
			disk_vec_zero(v, at, n);
		if (rc < 0)
			return rc;
		offset += n;
		at += n;
		len -= n;
	}
	return 0;
}

/* Where the footer counted, the header does from now on: grains go behind the footer. */
static int leave_footer(struct vmdk_extent *x)
{
	uint8_t raw[VMDK_HEAD_BYTES];
	int rc;

	if (!x->head_is_footer)
		return 0;
	vmdk_head_build(&x->head, raw);
	rc = disk_pwrite(x->file, 0, raw, sizeof(raw), 0);
	if (!rc)
		x->head_is_footer = false;
	return rc;
}

/* Compresses a whole grain, appends it and records it. */
static int store_grain(struct vmdk_extent *x, uint64_t index, const uint8_t *data)
{
	size_t grain = grain_bytes(x);
	size_t room = grain + grain / 8 + VMDK_SECTOR;
	_free_ uint8_t *out = mem_alloc(room);
	struct job j = {.in = data,
			.in_len = grain,
			.out = out + VMDK_GRAIN_MARKER,
			.out_len = room - VMDK_GRAIN_MARKER};
	struct block_place p = {BLOCK_DATA, 0};
	size_t len;
	int rc = leave_footer(x);

	if (!rc) {
		j.compressor = take_compressor(x);
		if (!j.compressor)
			return -ENOMEM;
		rc = co_call(x->d->ctx, deflate_grain, &j);
		keep_compressor(x, j.compressor);
	}
	if (rc < 0)
		return rc;
	put_le64(out, index * x->head.grain_sectors);
	put_le32(out + 8, j.out_len);
	len = bits_align_up(VMDK_GRAIN_MARKER + j.out_len, VMDK_SECTOR);
	p.offset = bits_align_up(x->end, VMDK_SECTOR);
	if ((p.offset + len) / VMDK_SECTOR > UINT32_MAX)
		return -EFBIG;
	x->end = p.offset + len;
	rc = disk_pwrite(x->file, p.offset, out, len, 0);
	if (!rc)
		rc = vmdk_grain_set(x, index, &p);
	x->generation++;
	free(STEAL(x->last));
	return rc;
}

/* A part of a grain: read, change, write. One at a time, so that two parts do not lose each other. */
static int change_grain(struct vmdk_extent *x, uint64_t index, size_t in, size_t len,
			const struct disk_vec *v, size_t at)
{
	uint8_t *buf = NULL;
	int rc;

	co_lock(&x->rewriting);
	rc = get_grain(x, index, &buf);
	if (!rc) {
		if (v)
			disk_vec_get(v, at, buf + in, len);
		else
			memset(buf + in, 0, len);
		rc = store_grain(x, index, buf);
	}
	co_unlock(&x->rewriting);
	free(buf);
	return rc;
}

int vmdk_stream_write(struct vmdk_extent *x, uint64_t offset, uint64_t len,
		      const struct disk_vec *v, size_t at)
{
	size_t grain = grain_bytes(x);

	while (len) {
		uint64_t index = (offset - x->start) / grain, in = (offset - x->start) % grain;
		size_t n = MIN(len, grain - in);
		struct block_place p;
		const uint8_t *whole = n == grain && v ? disk_vec_flat(v, at, n) : NULL;
		int rc = vmdk_grain_find(x, index, &p);

		if (!rc && !v && p.state != BLOCK_DATA && !x->d->backing)
			rc = 0; /* zeros already */
		else if (!rc && whole)
			rc = store_grain(x, index, whole);
		else if (!rc)
			rc = change_grain(x, index, in, n, v, at);
		if (rc < 0)
			return rc;
		offset += n;
		at += n;
		len -= n;
	}
	return 0;
}

int vmdk_stream_status(struct vmdk_extent *x, uint64_t offset, uint64_t len,
		       struct disk_extent *ret)
{
	size_t grain = grain_bytes(x);
	uint64_t index = (offset - x->start) / grain, in = (offset - x->start) % grain;
	struct block_place p, next;
	uint64_t run = grain - in;
	int rc = vmdk_grain_find(x, index, &p);

	if (rc < 0)
		return rc;
	while (run < len && !vmdk_grain_find(x, ++index, &next) && next.state == p.state)
		run += grain;
	ret->len = MIN(run, len);
	if (p.state == BLOCK_DATA)
		ret->flags = DISK_EXT_DATA | DISK_EXT_ALLOCATED | DISK_EXT_COMPRESSED;
	else if (p.state == BLOCK_ZERO)
		ret->flags = DISK_EXT_ZERO | DISK_EXT_ALLOCATED;
	return 0;
}
