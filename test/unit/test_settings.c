#include "test.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "cmd/settings.h"
#include "os/path.h"

#include <fcntl.h>

/* A home of its own; the host's /etc/viv may exist, so only the user's file and the environment are
 * looked at. */
static char home[] = "/tmp/viv-settings-XXXXXX";

static int set_up(void **state)
{
	assert_non_null(mkdtemp(home));
	setenv("XDG_CONFIG_HOME", home, 1);
	return 0;
}

static int tear_down(void **state)
{
	return path_remove_tree(AT_FDCWD, home);
}

static void write_user(const char *text)
{
	_free_ char *dir = mem_printf("%s/viv", home);
	_free_ char *path = mem_printf("%s/viv/settings.yaml", home);

	assert_ok(path_mkdirs(AT_FDCWD, dir, 0755));
	assert_ok(path_replace(AT_FDCWD, path, text, strlen(text), 0644, false));
}

static void read_user(struct buf *b)
{
	_free_ char *path = mem_printf("%s/viv/settings.yaml", home);

	buf_reset(b);
	assert_ok(path_read(AT_FDCWD, path, b, SETTINGS_FILE_MAX));
}

static void test_precedence(void **state)
{
	struct settings s = {0};
	struct err e = {0};

	write_user("# mine\nprogress: plain\noutput: \"json\"\n");
	setenv("VIV_OUTPUT", "csv", 1);
	setenv("VIV_LOG_LEVEL", "debug", 1);
	assert_ok(settings_load(&s, &e));
	_free_ char *from_file = settings_origin(&s, "progress"),
		    *from_env = settings_origin(&s, "output");
	_free_ char *from_default = settings_origin(&s, "color");

	assert_string_equal(settings_get(&s, "progress"), "plain");
	assert_string_equal(from_file, s.user_path);
	assert_string_equal(settings_get(&s, "output"), "csv");
	assert_string_equal(from_env, "VIV_OUTPUT");
	assert_string_equal(settings_get(&s, "log-level"), "debug");
	assert_string_equal(settings_get(&s, "color"), "auto");
	assert_string_equal(from_default, "default");
	settings_done(&s);
	unsetenv("VIV_OUTPUT");
	unsetenv("VIV_LOG_LEVEL");
}

static void test_bad_files(void **state)
{
	static const struct {
		const char *text, *why; /* NULL: good */
	} rows[] = {
	    {"", NULL},
	    {"# only a comment\n", NULL},
	    {"---\noutput: wide\n...\n", NULL},
	    {"{\"output\": \"wide\"}", NULL},
	    {"output: tabel\n", "line 1: output 'tabel' is not one of"},
	    {"color: auto\nprogres: plain\n",
	     "line 2: there is no setting 'progres'; did you mean 'progress'?"},
	    {"output: [json]\n", "line 1: the value of 'output' is not a plain value"},
	    {"output: {a: b}\n", "not a plain value"},
	    {"output: \x01json\n", "bytes that are no text"},
	    {"root: /f\xfc\n", "bytes that are no text"},
	    {"- output\n", "'key: value'"},
	    {"output\n", "'key: value'"},
	    {"output: \"json\n", "settings.yaml, line "},
	    {"output: json\noutput: csv\n", "settings.yaml, line "},
	    {"[a]: b\n", "a key is not a plain word"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct settings s = {0};
		struct err e = {0};

		write_user(rows[i].text);
		int rc = settings_load(&s, &e);

		settings_done(&s);
		if (!rc != !rows[i].why || (rc && !strstr(e.msg, rows[i].why)))
			fail_msg("%s: %s", rows[i].text, e.msg);
		if (rc)
			assert_int_equal(e.code, ERR_SETTINGS);
	}
}

static void test_bad_variable(void **state)
{
	struct settings s = {0};
	struct err e = {0};

	write_user("output: csv\n");
	setenv("VIV_COLOR", "purple", 1);
	assert_int_equal(settings_load(&s, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "VIV_COLOR: color 'purple' is not one of"));
	assert_string_equal(settings_get(&s, "output"), "csv"); /* the rest counts */
	settings_done(&s);
	unsetenv("VIV_COLOR");
}

static void test_set(void **state)
{
	struct settings s = {0};
	struct err e = {0};
	_buf_ struct buf text = {0};

	write_user("# why\noutput: json # because\n\ncolor: never"); /* no newline at the end */
	assert_ok(settings_load(&s, &e));
	assert_ok(settings_set(&s, false, "output", "csv", &e));
	assert_ok(settings_set(&s, false, "root", "/a \"b\"\\c", &e));
	read_user(&text);
	assert_string_equal(
	    text.s, "# why\noutput: \"csv\"\n\ncolor: never\nroot: \"/a \\\"b\\\"\\\\c\"\n");
	assert_ok(settings_set(&s, false, "output", NULL, &e));
	assert_ok(settings_set(&s, false, "progress", NULL, &e)); /* was not there */
	read_user(&text);
	assert_string_equal(text.s, "# why\n\ncolor: never\nroot: \"/a \\\"b\\\"\\\\c\"\n");
	settings_done(&s);
	assert_ok(settings_load(&s, &e));
	assert_string_equal(settings_get(&s, "root"), "/a \"b\"\\c");
	assert_int_equal(settings_set(&s, false, "output", "tabel", &e), -EINVAL);
	assert_int_equal(settings_set(&s, false, "outptu", "table", &e), -EINVAL);
	assert_non_null(strstr(e.msg, "did you mean 'output'?"));
	settings_done(&s);
}

/* A file that lines cannot edit safely is left as it is. */
static void test_set_refuses(void **state)
{
	static const char *const files[] = {"{\"output\": \"json\"}\n", "output: |\n  json\n",
					    "'output': json\n"};

	for (size_t i = 0; i < 3; i++) {
		struct settings s = {0};
		struct err e = {0};
		_buf_ struct buf text = {0};

		write_user(files[i]);
		settings_load(&s, &e);
		assert_true(settings_set(&s, false, "output", "csv", &e) < 0);
		read_user(&text);
		assert_string_equal(text.s, files[i]);
		settings_done(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_precedence),   cmocka_unit_test(test_bad_files),
	    cmocka_unit_test(test_bad_variable), cmocka_unit_test(test_set),
	    cmocka_unit_test(test_set_refuses),
	};

	return cmocka_run_group_tests_name("settings", tests, set_up, tear_down);
}
