#include "test.h"

#include <errno.h>

#include "base/cleanup.h"
#include "base/str.h"

static void prefixes(void **state)
{
	assert_true(str_eq("", ""));
	assert_false(str_eq("a", "ab"));
	assert_string_equal(str_after("--log=x", "--log="), "x");
	assert_string_equal(str_after("ab", ""), "ab");
	assert_string_equal(str_after("ab", "ab"), "");
	assert_null(str_after("a", "ab"));
}

static void unsigned_numbers(void **state)
{
	static const struct {
		const char *s;
		int rc;
		uint64_t v;
	} cases[] = {
	    {"0", 0, 0},
	    {"007", 0, 7},
	    {"18446744073709551615", 0, UINT64_MAX},
	    {"18446744073709551616", -ERANGE, 0},
	    {"99999999999999999999999", -ERANGE, 0},
	    {"", -EINVAL, 0},
	    {"-1", -EINVAL, 0},
	    {"+1", -EINVAL, 0},
	    {" 1", -EINVAL, 0},
	    {"1 ", -EINVAL, 0},
	    {"0x10", -EINVAL, 0},
	    {"1e3", -EINVAL, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t v = 42;

		assert_int_equal(str_to_u64(cases[i].s, &v), cases[i].rc);
		assert_int_equal(v, cases[i].rc ? 42 : cases[i].v);
	}
}

static void signed_numbers(void **state)
{
	static const struct {
		const char *s;
		int rc;
		int64_t v;
	} cases[] = {
	    {"-0", 0, 0},
	    {"+5", 0, 5},
	    {"-1", 0, -1},
	    {"9223372036854775807", 0, INT64_MAX},
	    {"9223372036854775808", -ERANGE, 0},
	    {"-9223372036854775808", 0, INT64_MIN},
	    {"-9223372036854775809", -ERANGE, 0},
	    {"--1", -EINVAL, 0},
	    {"+-1", -EINVAL, 0},
	    {"-", -EINVAL, 0},
	    {"", -EINVAL, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int64_t v = 42;

		assert_int_equal(str_to_i64(cases[i].s, &v), cases[i].rc);
		assert_int_equal(v, cases[i].rc ? 42 : cases[i].v);
	}
}

static void sizes(void **state)
{
	static const struct {
		const char *s;
		int rc;
		uint64_t v;
	} cases[] = {
	    {"0", 0, 0},
	    {"1", 0, 1},
	    {"12b", 0, 12},
	    {"32k", 0, 32 << 10},
	    {"32KB", 0, 32 << 10},
	    {"32KiB", 0, 32 << 10},
	    {"512m", 0, 512 << 20},
	    {"1.5g", 0, 3ull << 29},
	    {"1.5 G", 0, 3ull << 29},
	    {"0.1k", 0, 102},
	    {"2t", 0, 2ull << 40},
	    {"1p", 0, 1ull << 50},
	    {"16383p", 0, 16383ull << 50},
	    {"16384p", -ERANGE, 0},
	    {"16383.999999999999999999p", 0, (16383ull << 50) + 1125899905716724ull},
	    {"18446744073709551615", 0, UINT64_MAX},
	    {"18446744073709551616", -ERANGE, 0},
	    {"18446744073709551615k", -ERANGE, 0},
	    {"", -EINVAL, 0},
	    {"k", -EINVAL, 0},
	    {".5g", -EINVAL, 0},
	    {"-1", -EINVAL, 0},
	    {"1x", -EINVAL, 0},
	    {"1kk", -EINVAL, 0},
	    {"1bb", -EINVAL, 0},
	    {"1bi", -EINVAL, 0},
	    {"1.2.3g", -EINVAL, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t v = 42;

		if (str_to_bytes(cases[i].s, &v) != cases[i].rc)
			fail_msg("'%s': status differs", cases[i].s);
		if (v != (cases[i].rc ? 42 : cases[i].v))
			fail_msg("'%s': %llu", cases[i].s, (unsigned long long)v);
	}
}

static void distances(void **state)
{
	char long_name[100];

	assert_int_equal(str_distance("start", "start", 3), 0);
	assert_int_equal(str_distance("strat", "start", 3), 1); /* transposed */
	assert_int_equal(str_distance("star", "start", 3), 1);
	assert_int_equal(str_distance("xtart", "start", 3), 1);
	assert_int_equal(str_distance("", "abc", 3), 3);
	assert_int_equal(str_distance("", "abcd", 3), 4);
	assert_int_equal(str_distance("kitten", "sitting", 9), 3);
	assert_int_equal(str_distance("abcdef", "uvwxyz", 2), 3);
	memset(long_name, 'a', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = '\0';
	assert_int_equal(str_distance(long_name, "a", 3), 4);
	assert_int_equal(str_distance(long_name, long_name, 3), 4);
	long_name[64] = '\0';
	assert_int_equal(str_distance(long_name, long_name, 3), 0);
}

int main(void)
{
	return TEST_RUN("str", cmocka_unit_test(prefixes), cmocka_unit_test(unsigned_numbers),
			cmocka_unit_test(signed_numbers), cmocka_unit_test(sizes),
			cmocka_unit_test(distances));
}
