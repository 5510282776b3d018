#include "test.h"

#include <errno.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/answer.h"

static void tokens(void **state)
{
	static const char *const bad[] = {"",
					  "[]",
					  "{}",
					  "{\"token\": 1}",
					  "{\"token\": \"\"}",
					  "{\"token\": \"a b\"}",
					  "{\"token\": \"a\\r\\nX: y\"}",
					  "{\"token\": \"\\u00e4\"}"};
	static const char both[] =
	    "{\"token\": \"\", \"access_token\": \"t\", \"refresh_token\": \"r\"}";
	_free_ char *token = NULL, *refresh = NULL, *none = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(answer_token(bad[i], strlen(bad[i]), &none, NULL), -EBADMSG);
	assert_null(none);
	assert_ok(answer_token(both, strlen(both), &token, &refresh));
	assert_string_equal(token, "t");
	assert_string_equal(refresh, "r");
}

static void errors(void **state)
{
	static const char one[] =
	    "{\"errors\": [{\"code\": \"DENIED\", \"message\": \"go\\naway\"}, {}]}";
	_free_ char *said = answer_error(one, strlen(one));

	assert_string_equal(said, "DENIED: go away");
	assert_null(answer_error("<html>", 6));
	assert_null(answer_error("{\"errors\": []}", 14));
}

static int add(const char *name, void *arg)
{
	strcat(arg, name);
	return str_eq(name, "stop") ? 7 : 0;
}

static int names(const char *text, char *all)
{
	size_t count = 0;

	return answer_names(text, strlen(text), "tags", &count, add, all);
}

static void lists(void **state)
{
	char all[100] = "";

	assert_ok(names("{\"tags\": [\"a\", \"b\"]}", all));
	assert_string_equal(all, "ab");
	assert_ok(names("{\"tags\": null}", all));
	assert_int_equal(names("{\"tags\": [\"stop\", \"c\"]}", all), 7);
	assert_int_equal(names("{\"tags\": [1]}", all), -EBADMSG);
	assert_int_equal(names("{}", all), -EBADMSG);
	assert_int_equal(names("", all), -EBADMSG);

	size_t count = ANSWER_NAMES_MAX;

	assert_int_equal(answer_names("{\"tags\": [\"x\"]}", 15, "tags", &count, add, all), -E2BIG);
}

static void expect_location(char *got, const char *wanted)
{
	_free_ char *url = got;

	if (wanted)
		assert_string_equal(url, wanted);
	else
		assert_null(url);
}

static void locations(void **state)
{
	static const char base[] = "https://r.example.com:5000/v2/x/blobs/uploads/";

	expect_location(answer_location("/up/1?a=b", base), "https://r.example.com:5000/up/1?a=b");
	expect_location(answer_location("2", base),
			"https://r.example.com:5000/v2/x/blobs/uploads/2");
	expect_location(answer_location("http://o.example/", base), "http://o.example/");
	expect_location(answer_next_page("</v2/x/tags/list?n=1>; rel=\"next\"", base),
			"https://r.example.com:5000/v2/x/tags/list?n=1");
	expect_location(answer_next_page("</x>; rel=\"prev\"", base), NULL);
	expect_location(answer_next_page("/x; rel=next", base), NULL);
}

static void ranges(void **state)
{
	static const char *const bad[] = {"",
					  "bytes",
					  "bytes -5",
					  "bytes */200",
					  "bytes 5",
					  "5-9/10",
					  "bytes 99999999999999999999-1/2"};
	uint64_t n = 0;

	assert_ok(answer_content_range("bytes 100-199/200", &n));
	assert_int_equal(n, 100);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (answer_content_range(bad[i], &n) != -EBADMSG)
			fail_msg("'%s' is taken", bad[i]);
	assert_ok(answer_upload_range("0-99", &n));
	assert_int_equal(n, 100);
	assert_ok(answer_upload_range("bytes=0-0", &n));
	assert_int_equal(n, 0);
	assert_int_equal(answer_upload_range("1-5", &n), -EBADMSG);
	assert_int_equal(answer_upload_range("0-5x", &n), -EBADMSG);
	assert_int_equal(answer_upload_range("0-18446744073709551615", &n), -EBADMSG);
}

int main(void)
{
	return TEST_RUN("answer", cmocka_unit_test(tokens), cmocka_unit_test(errors),
			cmocka_unit_test(lists), cmocka_unit_test(locations),
			cmocka_unit_test(ranges));
}
