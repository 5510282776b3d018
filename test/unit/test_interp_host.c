/* The interpreter against this host's CPU, with random instructions (test/lib/interp_host.h). `make oracle` runs longer. */
#include "test.h"

#include "interp_host.h"

#define INSTRUCTIONS 60000

static void random_instructions(void **state)
{
	static char why[8192];
	struct interp_host t;
	int rc = interp_host_open(&t, 1);

	if (rc < 0) {
		interp_host_close(&t);
		test_skip("no process can be traced here: %s", strerror(-rc));
	}
	while (t.instructions < INSTRUCTIONS) {
		if (!interp_host_try(&t, &rc, why, sizeof(why)))
			fail_msg("%s", why);
		assert_ok(rc);
	}
	interp_host_close(&t);
}

int main(void)
{
	return TEST_RUN("interp_host", cmocka_unit_test(random_instructions));
}
