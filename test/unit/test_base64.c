#include "test.h"

#include <errno.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "codec/base64.h"

/* RFC 4648, section 10 */
static void vectors(void **state)
{
	static const char *const known[][2] = {{"", ""},
					       {"f", "Zg=="},
					       {"fo", "Zm8="},
					       {"foo", "Zm9v"},
					       {"foob", "Zm9vYg=="},
					       {"fooba", "Zm9vYmE="},
					       {"foobar", "Zm9vYmFy"}};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		_buf_ struct buf text = {0}, plain = {0};

		base64_encode(known[i][0], strlen(known[i][0]), &text);
		assert_string_equal(buf_str(&text), known[i][1]);
		assert_ok(base64_decode(known[i][1], strlen(known[i][1]), &plain));
		assert_string_equal(buf_str(&plain), known[i][0]);
		assert_int_equal(plain.len, strlen(known[i][0]));
	}
}

static void long_and_binary(void **state)
{
	for (size_t len = 700; len < 4000; len += 767) {
		_buf_ struct buf text = {0}, plain = {0};
		_free_ unsigned char *bytes = mem_alloc(len);

		for (size_t i = 0; i < len; i++)
			bytes[i] = (unsigned char)(i * 7 + len);
		base64_encode(bytes, len, &text);
		buf_adds(&plain, "before");
		assert_ok(base64_decode(buf_str(&text), text.len, &plain));
		assert_int_equal(plain.len, len + 6);
		assert_memory_equal(plain.s, "before", 6);
		assert_memory_equal(plain.s + 6, bytes, len);
	}
}

static void refuses(void **state)
{
	static const char *const bad[] = {"Z",    "Zg",   "Zg=",  "Zg==Zg==",
					  "=",    "====", "Zm 9", "Zm9v\n",
					  "Zm-_", " Zm9", "Z===", "Zm9vYg==\n"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_buf_ struct buf plain = {0};

		buf_adds(&plain, "x");
		assert_int_equal(base64_decode(bad[i], strlen(bad[i]), &plain), -EBADMSG);
		assert_string_equal(buf_str(&plain), "x");
	}
}

int main(void)
{
	return TEST_RUN("base64", cmocka_unit_test(vectors), cmocka_unit_test(long_and_binary),
			cmocka_unit_test(refuses));
}
