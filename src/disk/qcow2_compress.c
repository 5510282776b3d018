/* Compressed clusters: raw deflate (QEMU's "zlib", read and written by libdeflate, which is faster) or
 * zstd. Work is done on the pool's threads; each needs a compressor, which is kept for the next cluster.
 * One inflated cluster is kept, because readers come back for the rest of it. */
#include "disk/qcow2.h"

#include <errno.h>
#include <libdeflate.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/bits.h"
#include "base/cleanup.h"

/* As small as QEMU's levels make them, or smaller, for the least work. */
#define DEFLATE_LEVEL 4
#define ZSTD_LEVEL    2
#define CODECS_KEPT   CO_THREADS_MAX

struct qcow2_codec {
	struct qcow2_codec *next;
	struct libdeflate_compressor *deflate;
	struct libdeflate_decompressor *inflate;
	ZSTD_CCtx *zstd;
	ZSTD_DCtx *unzstd;

	/* one job */
	enum qcow2_compression type;
	const uint8_t *in;
	uint8_t *out;
	size_t in_len, out_len;
};

static struct qcow2_codec *codec_take(struct qcow2 *s)
{
	struct qcow2_codec *c = s->codecs;

	if (!c)
		c = mem_alloc(sizeof(*c));
	else
		s->codecs = c->next;
	c->type = s->compression;
	return c;
}

static void codec_free(struct qcow2_codec *c)
{
	if (c->deflate)
		libdeflate_free_compressor(c->deflate);
	if (c->inflate)
		libdeflate_free_decompressor(c->inflate);
	ZSTD_freeCCtx(c->zstd);
	ZSTD_freeDCtx(c->unzstd);
	free(c);
}

static void codec_put(struct qcow2 *s, struct qcow2_codec *c)
{
	unsigned kept = 0;

	for (const struct qcow2_codec *k = s->codecs; k; k = k->next)
		kept++;
	if (kept >= CODECS_KEPT) {
		codec_free(c);
		return;
	}
	c->next = s->codecs;
	s->codecs = c;
}

void qcow2_codecs_free(struct qcow2 *s)
{
	while (s->codecs) {
		struct qcow2_codec *c = s->codecs;

		s->codecs = c->next;
		codec_free(c);
	}
	free(s->inflated.buf);
	s->inflated.buf = NULL;
	s->inflated.entry = 0;
}

/* Bytes of the result; 0 where it would not be shorter than out_len; on a thread. */
static int compress_job(void *arg)
{
	struct qcow2_codec *c = arg;

	if (c->type == QCOW2_ZSTD) {
		if (!c->zstd)
			c->zstd = ZSTD_createCCtx();
		if (!c->zstd)
			return -ENOMEM;
		size_t n =
		    ZSTD_compressCCtx(c->zstd, c->out, c->out_len, c->in, c->in_len, ZSTD_LEVEL);

		return ZSTD_isError(n) ? 0 : (int)n;
	}
	if (!c->deflate)
		c->deflate = libdeflate_alloc_compressor(DEFLATE_LEVEL);
	if (!c->deflate)
		return -ENOMEM;
	return (int)libdeflate_deflate_compress(c->deflate, c->in, c->in_len, c->out, c->out_len);
}

/* The compressed data is padded to whole sectors, so its own end decides. On a thread. */
static int inflate_zstd(struct qcow2_codec *c)
{
	ZSTD_inBuffer in = {c->in, c->in_len, 0};
	ZSTD_outBuffer out = {c->out, c->out_len, 0};

	if (!c->unzstd)
		c->unzstd = ZSTD_createDCtx();
	if (!c->unzstd)
		return -ENOMEM;
	ZSTD_DCtx_reset(c->unzstd, ZSTD_reset_session_only);
	while (out.pos < out.size) {
		size_t before_in = in.pos, before_out = out.pos;

		if (ZSTD_isError(ZSTD_decompressStream(c->unzstd, &out, &in)))
			return -EIO;
		if (in.pos == before_in && out.pos == before_out)
			return -EIO;
	}
	return 0;
}

static int inflate_job(void *arg)
{
	struct qcow2_codec *c = arg;
	size_t used;

	if (c->type == QCOW2_ZSTD)
		return inflate_zstd(c);
	if (!c->inflate)
		c->inflate = libdeflate_alloc_decompressor();
	if (!c->inflate)
		return -ENOMEM;
	return libdeflate_deflate_decompress_ex(c->inflate, c->in, c->in_len, c->out, c->out_len,
						&used, NULL) == LIBDEFLATE_SUCCESS
		   ? 0
		   : -EIO;
}

static int run(struct qcow2 *s, co_call_fn *fn, const uint8_t *in, size_t in_len, uint8_t *out,
	       size_t out_len)
{
	struct qcow2_codec *c = codec_take(s);

	c->in = in;
	c->in_len = in_len;
	c->out = out;
	c->out_len = out_len;
	int rc = co_call(s->d->ctx, fn, c);

	codec_put(s, c);
	return rc;
}

/* --- reading --- */

static int inflate(struct qcow2 *s, uint64_t entry, uint8_t *out)
{
	uint64_t offset, len;

	qcow2_compressed_range(s, entry, &offset, &len);
	/* The sectors that an entry can name may be more than a cluster; what does not fit is padding. */
	_free_ uint8_t *in = malloc((size_t)len);
	int rc = in ? disk_pread(s->d->file, offset, in, (size_t)len) : -ENOMEM;

	return rc < 0 ? rc : run(s, inflate_job, in, (size_t)len, out, s->cluster_size);
}

int qcow2_read_compressed(struct qcow2 *s, uint64_t entry, uint64_t from, size_t len,
			  const struct disk_vec *v, size_t at)
{
	if (s->inflated.entry == entry) {
		disk_vec_put(v, at, s->inflated.buf + from, len);
		return 0;
	}
	uint8_t *out = malloc(s->cluster_size);
	int rc = out ? inflate(s, entry, out) : -ENOMEM;

	if (rc < 0) {
		free(out);
		return rc;
	}
	disk_vec_put(v, at, out + from, len);
	/* Host bytes of a compressed cluster may be used again once it is freed; a writer forgets it. */
	free(s->inflated.buf);
	s->inflated.buf = out;
	s->inflated.entry = entry;
	return 0;
}

/* --- writing --- */

int qcow2_pwritev_compressed(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v,
			     size_t at)
{
	struct qcow2 *s = d->state;

	if (qcow2_external(s) || s->luks)
		return -ENOTSUP;
	_free_ uint8_t *in = calloc(1, s->cluster_size), *out = malloc(s->cluster_size);

	if (!in || !out)
		return -ENOMEM;
	disk_vec_get(v, at, in, len);
	int n = run(s, compress_job, in, s->cluster_size, out, s->cluster_size - 1);

	if (n < 0)
		return n;
	if (n == 0)
		return qcow2_pwritev(d, offset, len, v, at, 0);
	uint64_t epoch = qcow2_begin(s);
	int rc = qcow2_bitmaps_record(s) ? qcow2_bitmaps_mark(s, offset, len) : 0;

	if (rc == 0)
		rc = qcow2_store_compressed(s, offset, out, (uint32_t)n);
	qcow2_end(s, epoch);
	return rc;
}
