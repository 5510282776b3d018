#include "test.h"

#include <ctype.h>
#include <errno.h>

#include "base/err.h"

static void sets(void **state)
{
	struct err e = {0};

	assert_int_equal(err_set(&e, ERR_CT_EXISTS, -EEXIST, "container '%s' exists", "web"),
			 -EEXIST);
	assert_int_equal(e.rc, -EEXIST);
	assert_int_equal(e.code, ERR_CT_EXISTS);
	assert_string_equal(e.msg, "container 'web' exists");

	errno = ENOSPC;
	assert_int_equal(err_sys(&e, ERR_SYS, "cannot write '%s'", "f"), -ENOSPC);
	assert_int_equal(e.rc, -ENOSPC);
	assert_string_equal(e.msg, "cannot write 'f': No space left on device");
}

static void works_without_a_struct(void **state)
{
	assert_int_equal(err_set(NULL, ERR_SYS, -EIO, "x"), -EIO);
	errno = EPERM;
	assert_int_equal(err_sys(NULL, ERR_SYS, "x"), -EPERM);
	assert_int_equal(err_prefix(NULL, "x"), 0);
}

static void prefix_gathers_context(void **state)
{
	struct err e;

	err_set(&e, ERR_SYS, -EIO, "inner");
	assert_int_equal(err_prefix(&e, "middle: "), -EIO);
	assert_int_equal(err_prefix(&e, "outer %d: ", 1), -EIO);
	assert_string_equal(e.msg, "outer 1: middle: inner");
	assert_int_equal(e.code, ERR_SYS);
}

/* Whatever the lengths, the message ends within its array and the first context survives. */
static void long_messages_are_cut(void **state)
{
	char big[2 * ERR_MSG_MAX];
	struct err e;

	memset(big, 'a', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	err_set(&e, ERR_SYS, -EIO, "%s", big);
	assert_int_equal(strlen(e.msg), ERR_MSG_MAX - 1);
	errno = EIO;
	err_sys(&e, ERR_SYS, "%s", big);
	assert_int_equal(strlen(e.msg), ERR_MSG_MAX - 1);
	for (size_t n = ERR_MSG_MAX - 4; n < ERR_MSG_MAX + 4; n++) {
		err_set(&e, ERR_SYS, -EIO, "tail");
		err_prefix(&e, "%.*s", (int)n, big);
		assert_int_equal(strlen(e.msg), n + 4 < ERR_MSG_MAX ? n + 4 : ERR_MSG_MAX - 1);
	}
}

/* `viv explain` depends on every row: unique stable name, sentences, a documented exit status. */
static void every_code_is_explained(void **state)
{
	for (int i = 0; i < ERR_COUNT; i++) {
		const struct err_info *info = err_info((enum err_code)i);

		assert_ptr_equal(err_info_by_name(info->name), info);
		for (const char *p = info->name; *p; p++)
			assert_true(isupper((unsigned char)*p) || *p == '-');
		assert_true(info->status > 0 && info->status <= 127);
		assert_true(strlen(info->summary) > 0 && strlen(info->summary) < 80);
		assert_int_equal(info->cause[strlen(info->cause) - 1], '.');
		assert_true(strlen(info->cure) > 10);
	}
	assert_ptr_equal(err_info_by_name("ct-exists"), err_info(ERR_CT_EXISTS));
	assert_null(err_info_by_name("CT-NONSENSE"));
	assert_null(err_info_by_name(""));
	assert_ptr_equal(err_info((enum err_code)999), err_info(ERR_NONE));
}

int main(void)
{
	return TEST_RUN("err", cmocka_unit_test(sets), cmocka_unit_test(works_without_a_struct),
			cmocka_unit_test(prefix_gathers_context),
			cmocka_unit_test(long_messages_are_cut),
			cmocka_unit_test(every_code_is_explained));
}
