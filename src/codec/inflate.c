/* gzip (RFC 1952): a member is header, deflate stream, CRC and length. The header is read here, byte
 * by byte: libisal's own reader forgets the length of the extra field where a header comes in
 * pieces. libisal reads the rest (ISAL_GZIP_NO_HDR_VER) and then wants a reset, so that the next
 * member may begin. Zero bytes behind the last member are padding of tapes and blocks, as gzip(1)
 * takes them.
 * zstd: the library reads frame after frame by itself, and skips skippable ones. */
#include "codec/inflate.h"

#include "base/bits.h"
#include "base/mem.h"

#include <errno.h>
#include <isa-l/crc.h>
#include <isa-l/igzip_lib.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

/* The parts of a member's header, in their order; RFC 1952, section 2.3. */
enum gzip_part {
	GZIP_FIXED,
	GZIP_EXTRA_LENGTH,
	GZIP_EXTRA,
	GZIP_NAME,
	GZIP_COMMENT,
	GZIP_HEADER_CRC,
	GZIP_BODY,
};

#define GZIP_FIXED_BYTES 10

/* FLG, section 2.3.1 */
enum { GZIP_FHCRC = 2, GZIP_FEXTRA = 4, GZIP_FNAME = 8, GZIP_FCOMMENT = 16, GZIP_RESERVED = 0xe0 };

struct gzip_header {
	enum gzip_part part;
	unsigned got; /* bytes of this part */
	unsigned char flags;
	uint16_t extra_len, said_crc;
	uint32_t crc; /* of the header so far */
};

struct inflate {
	enum compression kind;
	compression_fn *out;
	void *arg;
	bool inside;  /* a member or frame */
	bool padding; /* behind the last gzip member */
	ZSTD_DStream *zstd;
	struct inflate_state *gzip;
	struct gzip_header header;
	unsigned char chunk[COMPRESSION_CHUNK];
};

enum compression compression_detect(const void *p, size_t len)
{
	static const unsigned char gzip[] = {0x1f, 0x8b}, zstd[] = {0x28, 0xb5, 0x2f, 0xfd};
	const unsigned char *b = p;

	if (len >= sizeof(gzip) && !memcmp(b, gzip, sizeof(gzip)))
		return COMPRESSION_GZIP;
	if (len >= sizeof(zstd) && !memcmp(b, zstd, sizeof(zstd)))
		return COMPRESSION_ZSTD;
	/* A skippable frame (RFC 8878, 3.1.2) may come first. */
	if (len >= sizeof(zstd) && (b[0] & 0xf0) == 0x50 && b[1] == 0x2a && b[2] == 0x4d &&
	    b[3] == 0x18)
		return COMPRESSION_ZSTD;
	return COMPRESSION_NONE;
}

const char *compression_name(enum compression c)
{
	return c == COMPRESSION_GZIP ? "gzip" : c == COMPRESSION_ZSTD ? "zstd" : "none";
}

struct inflate *inflate_new(enum compression c, compression_fn *out, void *arg)
{
	struct inflate *z = mem_alloc(sizeof(*z));

	z->kind = c;
	z->out = out;
	z->arg = arg;
	if (c == COMPRESSION_GZIP) {
		z->gzip = mem_alloc(sizeof(*z->gzip));
		isal_inflate_init(z->gzip);
	} else if (c == COMPRESSION_ZSTD) {
		z->zstd = ZSTD_createDStream();
		if (!z->zstd)
			abort(); /* program-sized, as mem_alloc() */
		ZSTD_DCtx_setParameter(z->zstd, ZSTD_d_windowLogMax, COMPRESSION_WINDOW_LOG);
	}
	return z;
}

void inflate_free(struct inflate *z)
{
	if (!z)
		return;
	ZSTD_freeDStream(z->zstd);
	free(z->gzip);
	free(z);
}

static int damaged(struct err *e, enum compression c, const char *why)
{
	return err_set(e, ERR_COMPRESSION, -EBADMSG, "the %s stream is damaged: %s",
		       compression_name(c), why);
}

static bool has_part(const struct gzip_header *h, enum gzip_part part)
{
	switch (part) {
	case GZIP_EXTRA_LENGTH:
		return h->flags & GZIP_FEXTRA;
	case GZIP_EXTRA:
		return h->extra_len;
	case GZIP_NAME:
		return h->flags & GZIP_FNAME;
	case GZIP_COMMENT:
		return h->flags & GZIP_FCOMMENT;
	case GZIP_HEADER_CRC:
		return h->flags & GZIP_FHCRC;
	default:
		return true;
	}
}

/* Takes the next byte of a part; true where that was its last one. */
static bool take_byte(struct gzip_header *h, unsigned char b)
{
	unsigned at = h->got++;

	switch (h->part) {
	case GZIP_FIXED:
		if (at == 3)
			h->flags = b;
		return h->got == GZIP_FIXED_BYTES;
	case GZIP_EXTRA_LENGTH:
		h->extra_len |= (uint16_t)(b << 8 * at);
		return h->got == 2;
	case GZIP_EXTRA:
		return h->got == h->extra_len;
	case GZIP_HEADER_CRC:
		h->said_crc |= (uint16_t)(b << 8 * at);
		return h->got == 2;
	default: /* a string */
		return !b;
	}
}

/* NULL, or what is wrong with that byte. */
static const char *header_byte(struct gzip_header *h, unsigned char b)
{
	static const unsigned char begin[] = {0x1f, 0x8b, 8};

	if (h->part == GZIP_FIXED && h->got < sizeof(begin) && b != begin[h->got])
		return h->got < 2 ? "no gzip header" : "unknown compression method";
	if (h->part == GZIP_FIXED && h->got == 3 && b & GZIP_RESERVED)
		return "unknown header flags";
	if (h->part != GZIP_HEADER_CRC)
		h->crc = crc32_gzip_refl(h->crc, &b, 1);
	if (!take_byte(h, b))
		return NULL;
	if (h->part == GZIP_HEADER_CRC && h->said_crc != (uint16_t)h->crc)
		return "wrong check sum of its header";
	h->got = 0;
	do
		h->part++;
	while (!has_part(h, h->part));
	return NULL;
}

static int feed_gzip(struct inflate *z, const unsigned char *p, size_t len, struct err *e)
{
	struct inflate_state *s = z->gzip;
	int rc = 0;

	/* avail_in has 32 bits. */
	while (len && !rc) {
		if (!z->inside) {
			if (!*p && z->padding) {
				p++;
				len--;
				continue;
			}
			isal_inflate_reset(s);
			s->crc_flag = ISAL_GZIP_NO_HDR_VER;
			z->header = (struct gzip_header){0};
			z->inside = true;
		}
		if (z->header.part != GZIP_BODY) {
			const char *why = header_byte(&z->header, *p);

			if (why)
				return damaged(e, z->kind, why);
			p++;
			len--;
			continue;
		}
		size_t piece = MIN(len, (size_t)1 << 30);

		s->next_in = (unsigned char *)(uintptr_t)p;
		s->avail_in = (uint32_t)piece;
		do {
			s->next_out = z->chunk;
			s->avail_out = sizeof(z->chunk);
			int code = isal_inflate(s);

			if (code != ISAL_DECOMP_OK)
				return damaged(e, z->kind,
					       code == ISAL_INCORRECT_CHECKSUM ? "wrong check sum"
									       : "impossible code");
			size_t made = sizeof(z->chunk) - s->avail_out;

			if (made)
				rc = z->out(z->arg, z->chunk, made, e);
		} while (!rc && s->block_state != ISAL_BLOCK_FINISH &&
			 (s->avail_in || !s->avail_out));
		if (s->block_state == ISAL_BLOCK_FINISH) {
			z->inside = false;
			z->padding = true;
		}
		p += piece - s->avail_in;
		len -= piece - s->avail_in;
	}
	return rc;
}

static int feed_zstd(struct inflate *z, const void *p, size_t len, struct err *e)
{
	ZSTD_inBuffer in = {p, len, 0};
	bool full = false;

	while (in.pos < in.size || full) {
		ZSTD_outBuffer out = {z->chunk, sizeof(z->chunk), 0};
		size_t hint = ZSTD_decompressStream(z->zstd, &out, &in);

		if (ZSTD_isError(hint))
			return damaged(e, z->kind, ZSTD_getErrorName(hint));
		z->inside = hint != 0;
		full = out.pos == out.size && hint;
		int rc = out.pos ? z->out(z->arg, z->chunk, out.pos, e) : 0;

		if (rc)
			return rc;
	}
	return 0;
}

int inflate_feed(struct inflate *z, const void *p, size_t len, struct err *e)
{
	if (!len)
		return 0;
	switch (z->kind) {
	case COMPRESSION_GZIP:
		return feed_gzip(z, p, len, e);
	case COMPRESSION_ZSTD:
		return feed_zstd(z, p, len, e);
	default:
		return z->out(z->arg, p, len, e);
	}
}

int inflate_finish(struct inflate *z, struct err *e)
{
	bool empty = z->kind == COMPRESSION_GZIP && !z->inside && !z->padding;

	return z->inside || empty ? damaged(e, z->kind, "it ends early") : 0;
}
