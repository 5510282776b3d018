/* Option lists of disk images: QEMU's commas, implied keys, and what is no list. */
#include "test.h"

#include "disk/optstr.h"

#include <errno.h>
#include <string.h>

static void expect(const char *text, const char *implied, const char *json)
{
	json_t *got = NULL, *want = json_loads(json, 0, NULL);
	struct err e = {0};

	assert_int_equal(optstr_parse(text, implied, &got, &e), 0);
	assert_non_null(want);
	if (!json_equal(got, want))
		fail_msg("'%s' is not %s", text, json);
	json_decref(got);
	json_decref(want);
}

static void test_lists(void **state)
{
	expect("", NULL, "{}");
	expect("a=b", NULL, "{\"a\":\"b\"}");
	expect("a=b,c=d", NULL, "{\"a\":\"b\",\"c\":\"d\"}");
	expect("a=b,a=c", NULL, "{\"a\":\"c\"}");
	expect("a=1,,2,b=,,", NULL, "{\"a\":\"1,2\",\"b\":\",\"}");
	expect("a=x=y", NULL, "{\"a\":\"x=y\"}");
	expect("a,b=c", NULL, "{\"a\":\"on\",\"b\":\"c\"}");
	expect("a=b,", NULL, "{\"a\":\"b\"}");
	expect("a=", NULL, "{\"a\":\"\"}");
	expect("file.filename=/x,,y,driver=qcow2", NULL,
	       "{\"file.filename\":\"/x,y\",\"driver\":\"qcow2\"}");
}

static void test_implied(void **state)
{
	expect("secret,id=a", "qom-type", "{\"qom-type\":\"secret\",\"id\":\"a\"}");
	expect("a,,b,id=a", "name", "{\"name\":\"a,b\",\"id\":\"a\"}");
	expect("id=a,x", "qom-type", "{\"id\":\"a\",\"x\":\"on\"}");
}

static void refuse(const char *text)
{
	json_t *got = NULL;
	struct err e = {0};

	assert_int_equal(optstr_parse(text, NULL, &got, &e), -EINVAL);
	assert_null(got);
	assert_non_null(strstr(e.msg, "Invalid option list"));
}

static void test_refused(void **state)
{
	refuse("=a");
	refuse(",a=b");
	refuse("a=b,=c");
	refuse("a=\xff\xfe");
	_buf_ struct buf many = {0};

	for (int i = 0; i <= OPTSTR_KEYS_MAX; i++)
		buf_addf(&many, "k%d=v,", i);
	refuse(many.s);
}

static void test_help(void **state)
{
	assert_true(optstr_wants_help("help"));
	assert_true(optstr_wants_help("?"));
	assert_true(optstr_wants_help("a=b,help"));
	assert_true(optstr_wants_help("?,a=b"));
	assert_false(optstr_wants_help("a=help"));
	assert_false(optstr_wants_help("a=b,,help"));
	assert_false(optstr_wants_help(""));
}

static void test_malformed(void **state)
{
	assert_true(optstr_malformed(""));
	assert_true(optstr_malformed(",help"));
	assert_true(optstr_malformed("a=b,"));
	assert_true(optstr_malformed("a=b,,,"));
	assert_true(optstr_malformed(",,"));
	assert_false(optstr_malformed("a=b,,"));
	assert_false(optstr_malformed("a=b,c=d"));
}

static void test_escape(void **state)
{
	_buf_ struct buf b = {0};

	optstr_escape(&b, "a,b,,c");
	assert_string_equal(b.s, "a,,b,,,,c");
}

static void test_requote(void **state)
{
	static const char *const cases[][2] = {
	    {"{'a': 'b'}", "{\"a\": \"b\"}"},
	    {"{\"a\": \"it's\"}", "{\"a\": \"it's\"}"},
	    {"{'a': 'say \"x\"'}", "{\"a\": \"say \\\"x\\\"\"}"},
	    {"{'a': 'it\\'s'}", "{\"a\": \"it's\"}"},
	    {"{'a': '\\n\\\\'}", "{\"a\": \"\\n\\\\\"}"},
	    {"{'a", "{\"a"},
	    {"", ""},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		_buf_ struct buf b = {0};

		optstr_requote(&b, cases[i][0]);
		assert_string_equal(buf_str(&b), cases[i][1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_lists),     cmocka_unit_test(test_implied),
	    cmocka_unit_test(test_refused),   cmocka_unit_test(test_help),
	    cmocka_unit_test(test_malformed), cmocka_unit_test(test_requote),
	    cmocka_unit_test(test_escape),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
