/* What every unit test includes first: cmocka with its prerequisites, and a few helpers. */
#ifndef TEST_LIB_TEST_H
#define TEST_LIB_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Runs the tests as one named group; the value is main()'s exit status. */
#define TEST_RUN(name, ...)                                            \
	({                                                             \
		const struct CMUnitTest tests_[] = {__VA_ARGS__};      \
		cmocka_run_group_tests_name(name, tests_, NULL, NULL); \
	})

/* Success of functions that return 0 or a negative errno; shows the errno's name when it fails. */
#define assert_ok(expr)                                                 \
	do {                                                            \
		long long rc_ = (expr);                                 \
		if (rc_ < 0)                                            \
			fail_msg("%s: %s", #expr, strerror((int)-rc_)); \
	} while (0)

/* Ends the test as skipped, loudly: the reason goes to stderr, so that a log shows what was not
 * proven. */
#define test_skip(...)                                  \
	do {                                            \
		fprintf(stderr, "SKIP %s: ", __func__); \
		fprintf(stderr, __VA_ARGS__);           \
		fputc('\n', stderr);                    \
		skip();                                 \
	} while (0)

#endif
