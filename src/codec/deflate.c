/* gzip by libisal, whose header here has neither name nor time, and zstd with check sums. */
#include "codec/inflate.h"

#include "base/bits.h"
#include "base/mem.h"

#include <errno.h>
#include <isa-l/igzip_lib.h>
#include <stdlib.h>
#include <zstd.h>

#define ZSTD_DEFAULT_LEVEL 3

struct deflate {
	enum compression kind;
	compression_fn *out;
	void *arg;
	ZSTD_CStream *zstd;
	struct isal_zstream gzip;
	unsigned char *level_buf;
	unsigned char chunk[COMPRESSION_CHUNK];
};

/* libisal has levels 0 to 3; 1 to 9 of gzip are spread over them. */
static void begin_gzip(struct deflate *z, int level)
{
	static const uint32_t buffer[] = {ISAL_DEF_LVL0_DEFAULT, ISAL_DEF_LVL1_DEFAULT,
					  ISAL_DEF_LVL2_DEFAULT, ISAL_DEF_LVL3_DEFAULT};
	uint32_t l = level <= 0 ? 2 : level < 3 ? 1 : level < 6 ? 2 : 3;

	isal_deflate_init(&z->gzip);
	z->gzip.gzip_flag = IGZIP_GZIP;
	z->gzip.level = l;
	z->gzip.level_buf_size = buffer[l];
	z->level_buf = mem_alloc(buffer[l]);
	z->gzip.level_buf = z->level_buf;
}

struct deflate *deflate_new(enum compression c, int level, compression_fn *out, void *arg)
{
	struct deflate *z = mem_alloc(sizeof(*z));

	z->kind = c;
	z->out = out;
	z->arg = arg;
	if (c == COMPRESSION_GZIP) {
		begin_gzip(z, level);
	} else if (c == COMPRESSION_ZSTD) {
		z->zstd = ZSTD_createCStream();
		if (!z->zstd)
			abort(); /* program-sized, as mem_alloc() */
		ZSTD_CCtx_setParameter(z->zstd, ZSTD_c_compressionLevel,
				       level > 0 ? level : ZSTD_DEFAULT_LEVEL);
		ZSTD_CCtx_setParameter(z->zstd, ZSTD_c_checksumFlag, 1);
	}
	return z;
}

void deflate_free(struct deflate *z)
{
	if (!z)
		return;
	ZSTD_freeCStream(z->zstd);
	free(z->level_buf);
	free(z);
}

static int run_gzip(struct deflate *z, const unsigned char *p, size_t len, bool last, struct err *e)
{
	int rc = 0;

	do {
		size_t piece = MIN(len, (size_t)1 << 30);

		z->gzip.next_in = (unsigned char *)(uintptr_t)p;
		z->gzip.avail_in = (uint32_t)piece;
		z->gzip.end_of_stream = last && piece == len;
		do {
			z->gzip.next_out = z->chunk;
			z->gzip.avail_out = sizeof(z->chunk);
			if (isal_deflate(&z->gzip) != COMP_OK)
				return err_set(e, ERR_COMPRESSION, -EIO, "libisal failed");
			size_t made = sizeof(z->chunk) - z->gzip.avail_out;

			if (made)
				rc = z->out(z->arg, z->chunk, made, e);
		} while (!rc && (z->gzip.avail_in || !z->gzip.avail_out));
		p += piece;
		len -= piece;
	} while (len && !rc);
	return rc;
}

static int run_zstd(struct deflate *z, const void *p, size_t len, bool last, struct err *e)
{
	ZSTD_inBuffer in = {p, len, 0};
	size_t left;

	do {
		ZSTD_outBuffer out = {z->chunk, sizeof(z->chunk), 0};

		left =
		    ZSTD_compressStream2(z->zstd, &out, &in, last ? ZSTD_e_end : ZSTD_e_continue);
		if (ZSTD_isError(left))
			return err_set(e, ERR_COMPRESSION, -EIO, "libzstd failed: %s",
				       ZSTD_getErrorName(left));
		int rc = out.pos ? z->out(z->arg, z->chunk, out.pos, e) : 0;

		if (rc)
			return rc;
	} while (last ? left != 0 : in.pos < in.size);
	return 0;
}

static int run(struct deflate *z, const void *p, size_t len, bool last, struct err *e)
{
	switch (z->kind) {
	case COMPRESSION_GZIP:
		return run_gzip(z, p, len, last, e);
	case COMPRESSION_ZSTD:
		return run_zstd(z, p, len, last, e);
	default:
		return len ? z->out(z->arg, p, len, e) : 0;
	}
}

int deflate_feed(struct deflate *z, const void *p, size_t len, struct err *e)
{
	return len ? run(z, p, len, false, e) : 0;
}

int deflate_finish(struct deflate *z, struct err *e)
{
	return run(z, NULL, 0, true, e);
}
