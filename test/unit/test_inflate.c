#include "test.h"

#include <errno.h>

#include "base/buf.h"
#include "codec/inflate.h"

static int collect(void *arg, const void *p, size_t len, struct err *e)
{
	assert_true(len);
	buf_add(arg, p, len);
	return 0;
}

static int refuse(void *arg, const void *p, size_t len, struct err *e)
{
	return err_set(e, ERR_LAYER_IO, -ENOSPC, "no room");
}

static struct buf pack(enum compression c, int level, const void *p, size_t len)
{
	struct buf b = {0};
	struct deflate *z = deflate_new(c, level, collect, &b);

	assert_ok(deflate_feed(z, p, len / 3, NULL));
	assert_ok(deflate_feed(z, (const char *)p + len / 3, len - len / 3, NULL));
	assert_ok(deflate_finish(z, NULL));
	deflate_free(z);
	return b;
}

static int unpack(enum compression c, const void *p, size_t len, size_t piece, struct buf *out)
{
	struct inflate *z = inflate_new(c, collect, out);
	struct err e;
	int rc = 0;

	for (size_t i = 0; i < len && !rc; i += piece)
		rc = inflate_feed(z, (const char *)p + i, len - i < piece ? len - i : piece, &e);
	if (!rc)
		rc = inflate_finish(z, &e);
	if (rc) {
		assert_int_equal(e.rc, rc);
		assert_int_equal(e.code, ERR_COMPRESSION);
	}
	inflate_free(z);
	return rc;
}

/* Text that is neither constant nor random, larger than any buffer inside. */
static struct buf sample(void)
{
	struct buf b = {0};
	uint32_t x = 1;

	while (b.len < 3u << 20) {
		x = x * 1103515245 + 12345;
		buf_addf(&b, "%u line %u\n", x >> 24, x >> 20);
	}
	return b;
}

static void round_trips(void **state)
{
	static const enum compression kinds[] = {COMPRESSION_NONE, COMPRESSION_GZIP,
						 COMPRESSION_ZSTD};
	_buf_ struct buf in = sample();

	for (size_t i = 0; i < 3; i++)
		for (int level = 0; level <= 9; level += 3) {
			_buf_ struct buf packed = pack(kinds[i], level, in.s, in.len);
			_buf_ struct buf again = pack(kinds[i], level, in.s, in.len);
			_buf_ struct buf out = {0};

			assert_int_equal(packed.len, again.len);
			assert_memory_equal(packed.s, again.s, packed.len);
			assert_true(i == 0 || packed.len < in.len / 2);
			assert_int_equal(compression_detect(packed.s, packed.len), kinds[i]);
			assert_ok(unpack(kinds[i], packed.s, packed.len, 100000, &out));
			assert_int_equal(out.len, in.len);
			assert_memory_equal(out.s, in.s, in.len);
		}
}

static void members_and_frames_follow_each_other(void **state)
{
	static const char skippable[] = "\x5f\x2a\x4d\x18\x03\x00\x00\x00xyz";
	_buf_ struct buf gz = pack(COMPRESSION_GZIP, 0, "one ", 4);
	_buf_ struct buf gz2 = pack(COMPRESSION_GZIP, 9, "two", 3);
	_buf_ struct buf none = pack(COMPRESSION_GZIP, 0, "", 0);
	_buf_ struct buf zs = pack(COMPRESSION_ZSTD, 0, "one ", 4);
	_buf_ struct buf zs2 = pack(COMPRESSION_ZSTD, 9, "two", 3);

	buf_add(&gz, none.s, none.len);
	buf_add(&gz, gz2.s, gz2.len);
	buf_add(&gz, "\0\0\0\0", 4);
	buf_add(&zs, skippable, sizeof(skippable) - 1);
	buf_add(&zs, zs2.s, zs2.len);
	for (size_t piece = 1; piece < 100; piece++) {
		_buf_ struct buf a = {0}, b = {0};

		assert_ok(unpack(COMPRESSION_GZIP, gz.s, gz.len, piece, &a));
		assert_string_equal(a.s, "one two");
		assert_ok(unpack(COMPRESSION_ZSTD, zs.s, zs.len, piece, &b));
		assert_string_equal(b.s, "one two");
	}
	assert_int_equal(compression_detect(skippable, sizeof(skippable)), COMPRESSION_ZSTD);
}

static void damage_is_found(void **state)
{
	_buf_ struct buf in = sample();

	for (enum compression c = COMPRESSION_GZIP; c <= COMPRESSION_ZSTD; c++) {
		_buf_ struct buf packed = pack(c, 0, in.s, 5000);

		for (size_t cut = 0; cut < packed.len; cut += 7) {
			_buf_ struct buf out = {0};

			/* No frame at all is an empty zstd stream. */
			if (cut || c == COMPRESSION_GZIP)
				assert_int_equal(unpack(c, packed.s, cut, 64, &out), -EBADMSG);
		}
		for (size_t i = 11; i < packed.len; i += 5) {
			_buf_ struct buf out = {0};

			packed.s[i] ^= 0x10;
			assert_int_equal(unpack(c, packed.s, packed.len, 64, &out), -EBADMSG);
			packed.s[i] ^= 0x10;
		}
		buf_adds(&packed, "trailing garbage");
		_buf_ struct buf out = {0};

		assert_int_equal(unpack(c, packed.s, packed.len, 4096, &out), -EBADMSG);
	}
}

static void the_receiver_may_refuse(void **state)
{
	_buf_ struct buf in = sample();

	for (enum compression c = COMPRESSION_NONE; c <= COMPRESSION_ZSTD; c++) {
		_buf_ struct buf packed = pack(c, 0, in.s, in.len);
		struct inflate *z = inflate_new(c, refuse, NULL);
		struct err e;

		assert_int_equal(inflate_feed(z, packed.s, packed.len, &e), -ENOSPC);
		assert_int_equal(e.code, ERR_LAYER_IO);
		inflate_free(z);
		struct deflate *d = deflate_new(c, 0, refuse, NULL);
		int rc = deflate_feed(d, in.s, in.len, &e);

		assert_int_equal(rc ? rc : deflate_finish(d, &e), -ENOSPC);
		deflate_free(d);
	}
}

int main(void)
{
	return TEST_RUN("inflate", cmocka_unit_test(round_trips),
			cmocka_unit_test(members_and_frames_follow_each_other),
			cmocka_unit_test(damage_is_found),
			cmocka_unit_test(the_receiver_may_refuse));
}
