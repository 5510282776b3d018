#include "test.h"

#include "base/buf.h"

static void grows(void **state)
{
	_buf_ struct buf b = {0};

	for (int i = 0; i < 1000; i++)
		buf_addf(&b, "%d,", i % 10);
	assert_int_equal(b.len, 2000);
	assert_int_equal(strlen(buf_str(&b)), 2000);
}

int main(void)
{
	return TEST_RUN("buf", cmocka_unit_test(grows));
}
