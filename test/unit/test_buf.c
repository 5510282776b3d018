#include "test.h"

#include "base/buf.h"
#include "base/cleanup.h"

static void empty_is_printable(void **state)
{
	_buf_ struct buf b = {0};

	assert_string_equal(buf_str(&b), "");
	buf_reset(&b);
	_free_ char *s = buf_take(&b);

	assert_string_equal(s, "");
	assert_int_equal(b.cap, 0);
}

static void grows(void **state)
{
	_buf_ struct buf b = {0};

	for (int i = 0; i < 1000; i++) {
		buf_addf(&b, "%d,", i % 10);
		assert_true(b.len < b.cap);
		assert_int_equal(b.s[b.len], '\0');
	}
	assert_int_equal(b.len, 2000);
	assert_int_equal(strlen(b.s), 2000);
	size_t cap = b.cap;

	buf_reset(&b);
	assert_int_equal(b.cap, cap);
	assert_string_equal(b.s, "");
}

static void holds_nul_bytes(void **state)
{
	_buf_ struct buf b = {0};

	buf_add(&b, "a\0b", 3);
	buf_addc(&b, '\0');
	buf_add(&b, NULL, 0);
	assert_int_equal(b.len, 4);
	assert_memory_equal(b.s, "a\0b\0", 5);
}

/* A text whose length is exactly what is left: the NUL decides. */
static void formats_at_the_edge(void **state)
{
	for (int fill = 50; fill < 70; fill++) {
		_buf_ struct buf b = {0};

		for (int i = 0; i < fill; i++)
			buf_addc(&b, 'x');
		buf_addf(&b, "%s", "0123456789");
		assert_int_equal(b.len, (size_t)fill + 10);
		assert_string_equal(b.s + fill, "0123456789");
	}
}

static void take_hands_over(void **state)
{
	_buf_ struct buf b = {0};

	buf_adds(&b, "mine");
	_free_ char *s = buf_take(&b);

	assert_string_equal(s, "mine");
	assert_null(b.s);
	buf_adds(&b, "new");
	assert_string_equal(s, "mine");
}

static void json_strings(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
	    {"", "\"\""},
	    {"plain", "\"plain\""},
	    {"q\"b\\s/", "\"q\\\"b\\\\s/\""},
	    {"\b\n\t\r\x01\x1f\x7f", "\"\\u0008\\n\\t\\r\\u0001\\u001f\\u007f\""},
	    {"é€😀", "\"é€😀\""},
	    /* RFC 3629, section 4: overlong, surrogate, above U+10FFFF, lone, cut short */
	    {"\xc0\xaf", "\"\ufffd\ufffd\""},
	    {"\xe0\x80\xaf", "\"\ufffd\ufffd\ufffd\""},
	    {"\xed\xa0\x80", "\"\ufffd\ufffd\ufffd\""},
	    {"\xf4\x90\x80\x80", "\"\ufffd\ufffd\ufffd\ufffd\""},
	    {"\xff\x80", "\"\ufffd\ufffd\""},
	    {"\xf0\x9f\x98", "\"\ufffd\ufffd\ufffd\""},
	    {"\xf4\x8f\xbf\xbf", "\"\xf4\x8f\xbf\xbf\""},
	    {"\xed\x9f\xbf\xee\x80\x80", "\"\xed\x9f\xbf\xee\x80\x80\""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_buf_ struct buf b = {0};

		buf_add_json_string(&b, cases[i].in);
		assert_string_equal(b.s, cases[i].out);
	}
}

int main(void)
{
	return TEST_RUN("buf", cmocka_unit_test(empty_is_printable), cmocka_unit_test(grows),
			cmocka_unit_test(holds_nul_bytes), cmocka_unit_test(formats_at_the_edge),
			cmocka_unit_test(take_hands_over), cmocka_unit_test(json_strings));
}
