/* gzip and zstd streams: any bytes end in success or an error, in pieces as in one; what comes out is
 * bounded here, because a small stream may hold much. What is compressed by us inflates to itself. */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "codec/inflate.h"

#define OUT_MAX (4u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int collect(void *arg, const void *p, size_t len, struct err *e)
{
	struct buf *b = arg;

	if (len > COMPRESSION_CHUNK && len > OUT_MAX)
		abort();
	if (b->len + len > OUT_MAX)
		return err_set(e, ERR_TAR_LIMIT, -E2BIG, "enough");
	buf_add(b, p, len);
	return 0;
}

static int inflate_all(enum compression c, const uint8_t *data, size_t size, size_t piece,
		       struct buf *out)
{
	struct inflate *z = inflate_new(c, collect, out);
	struct err e = {0};
	int rc = 0;

	for (size_t i = 0; i < size && !rc; i += piece)
		rc = inflate_feed(z, data + i, size - i < piece ? size - i : piece, &e);
	if (!rc)
		rc = inflate_finish(z, &e);
	if (rc && (e.rc != rc || !*e.msg))
		abort();
	inflate_free(z);
	return rc;
}

static void round_trip(enum compression c, const uint8_t *data, size_t size)
{
	_buf_ struct buf packed = {0}, again = {0};
	struct deflate *z = deflate_new(c, 0, collect, &packed);

	if (deflate_feed(z, data, size / 2, NULL) ||
	    deflate_feed(z, data + size / 2, size - size / 2, NULL) || deflate_finish(z, NULL))
		abort();
	deflate_free(z);
	if (inflate_all(c, (const uint8_t *)buf_str(&packed), packed.len, 333, &again) ||
	    again.len != size || (size && memcmp(again.s, data, size)))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_buf_ struct buf whole = {0}, parts = {0};
	enum compression c = compression_detect(data, size);
	int rc = inflate_all(c, data, size, size ? size : 1, &whole);

	if (rc != inflate_all(c, data, size, 7, &parts))
		abort();
	if (!rc && (whole.len != parts.len || (whole.len && memcmp(whole.s, parts.s, whole.len))))
		abort();
	round_trip(COMPRESSION_GZIP, data, size);
	round_trip(COMPRESSION_ZSTD, data, size);
	return 0;
}
