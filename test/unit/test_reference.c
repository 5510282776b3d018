/* Names of images, by distribution's grammar and Docker's defaults; and digests. */
#include "test.h"

#include "base/cleanup.h"
#include "base/str.h"
#include "codec/reference.h"

#include <errno.h>

#define HEX64 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static void test_names(void **state)
{
	static const struct {
		const char *text, *canonical, *familiar;
	} rows[] = {
	    {"debian", "docker.io/library/debian", "debian"},
	    {"debian:12", "docker.io/library/debian:12", "debian:12"},
	    {"ann/web", "docker.io/ann/web", "ann/web"},
	    {"docker.io/debian", "docker.io/library/debian", "debian"},
	    {"index.docker.io/library/debian", "docker.io/library/debian", "debian"},
	    {"localhost/debian:x", "localhost/debian:x", "localhost/debian:x"},
	    {"localhost:5000/a/b", "localhost:5000/a/b", "localhost:5000/a/b"},
	    {"localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"},
	    {"[::1]:5000/x:1", "[::1]:5000/x:1", "[::1]:5000/x:1"},
	    {"Reg/x", "Reg/x", "Reg/x"},
	    {"a__b/c---d.e_f", "docker.io/a__b/c---d.e_f", "a__b/c---d.e_f"},
	    {"x@sha256:" HEX64, "docker.io/library/x@sha256:" HEX64, "x@sha256:" HEX64},
	    {"x:t@sha256:" HEX64, "docker.io/library/x:t@sha256:" HEX64, "x:t@sha256:" HEX64},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_reference_ struct reference r = {0};

		assert_int_equal(reference_parse(rows[i].text, &r, NULL), 0);
		_free_ char *canonical = reference_canonical(&r),
			    *familiar = reference_familiar(&r);

		assert_string_equal(canonical, rows[i].canonical);
		assert_string_equal(familiar, rows[i].familiar);
	}
}

static void test_malformed_names(void **state)
{
	static const char *const rows[] = {
	    "",       "/x",     "x/",           "a//b",
	    "Debian", "a/B",    "x:",           "x:-t",
	    "x:t t",  "x@",     "x@sha256:abc", "a___b",
	    "a..b",   "-x",     "a.-b/c",       "x@md5:" HEX64,
	    HEX64,    "[::1/x", "a.b:port/x",   "x@sha256:" HEX64 "0",
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct reference r = {0};
		struct err e = {0};

		if (reference_parse(rows[i], &r, &e) != -EINVAL)
			fail_msg("'%s' was accepted", rows[i]);
		assert_int_equal(e.code, ERR_IMG_REFERENCE);
		assert_null(r.domain);
	}
	char longest[400];

	memset(longest, 'a', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(reference_parse(longest, &(struct reference){0}, NULL), -EINVAL);
	longest[REFERENCE_NAME_MAX - strlen("docker.io/library/")] = '\0';
	_reference_ struct reference r = {0};

	assert_int_equal(reference_parse(longest, &r, NULL), 0);
}

static void test_latest_is_the_default(void **state)
{
	_reference_ struct reference plain = {0}, digest = {0};

	assert_int_equal(reference_parse_tagged("x", &plain, NULL), 0);
	assert_string_equal(plain.tag, "latest");
	assert_int_equal(reference_parse_tagged("x@sha256:" HEX64, &digest, NULL), 0);
	assert_null(digest.tag);
}

static void test_digests(void **state)
{
	char text[DIGEST_TEXT_MAX];
	struct digest d, other;

	digest_of(DIGEST_SHA256, "", 0, &d);
	assert_string_equal(digest_text(&d, text), "sha256:" HEX64);
	assert_int_equal(digest_parse(text, &other), 0);
	assert_true(digest_eq(&d, &other));
	digest_of(DIGEST_SHA512, "", 0, &other);
	assert_int_equal(strlen(digest_text(&other, text)), DIGEST_TEXT_MAX - 1);
	assert_true(digest_cmp(&d, &other) < 0);
	assert_int_equal(digest_parse("sha256:" HEX64 "x", &d), -EINVAL);
	assert_int_equal(digest_parse("sha256", &d), -EINVAL);
	assert_int_equal(digest_parse("sha256:", &d), -EINVAL);
	assert_int_equal(digest_parse("SHA256:" HEX64, &d), -EINVAL);
	assert_int_equal(digest_parse("blake3:abcd", &d), -EOPNOTSUPP);
	assert_int_equal(
	    digest_parse("sha256:E3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
			 &d),
	    -EINVAL);
}

int main(void)
{
	return TEST_RUN(
	    "reference", cmocka_unit_test(test_names), cmocka_unit_test(test_malformed_names),
	    cmocka_unit_test(test_latest_is_the_default), cmocka_unit_test(test_digests));
}
