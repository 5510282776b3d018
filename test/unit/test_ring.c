#include "test.h"

#include <errno.h>
#include <pthread.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "image/ring.h"

#define SIZE 4096

static void wraps_and_ends(void **state)
{
	struct ring *r = ring_new(16, NULL, NULL);
	const void *p;

	for (int round = 0; round < 10; round++) {
		assert_ok(ring_put(r, "0123456789", 10));
		for (size_t left = 10; left;) {
			ssize_t n = ring_peek(r, &p);

			assert_in_range(n, 1, left);
			assert_memory_equal(p, &"0123456789"[10 - left], (size_t)n);
			ring_take(r, (size_t)n);
			left -= (size_t)n;
		}
	}
	ring_end(r);
	assert_int_equal(ring_peek(r, &p), 0);
	ring_free(r);
}

static void count(void *arg)
{
	++*(int *)arg;
}

static void tells_when_drained(void **state)
{
	int drained = 0;
	struct ring *r = ring_new(16, count, &drained);
	const void *p;

	assert_ok(ring_put(r, "0123456789ab", 12));
	assert_true(ring_space(r, 4));
	assert_false(ring_space(r, 8));
	assert_int_equal(ring_peek(r, &p), 12);
	ring_take(r, 2);
	assert_int_equal(drained, 0);
	ring_take(r, 2);
	assert_int_equal(drained, 1);
	ring_take(r, 2);
	assert_int_equal(drained, 1);
	assert_true(ring_space(r, 8));
	ring_free(r);
}

static void giving_up_reaches_both(void **state)
{
	int drained = 0;
	struct ring *r = ring_new(16, count, &drained);
	const void *p;

	assert_ok(ring_put(r, "0123456789abcdef", 16));
	assert_false(ring_space(r, 1));
	ring_give_up(r);
	assert_int_equal(drained, 1);
	assert_true(ring_space(r, 8));
	assert_int_equal(ring_put(r, "x", 1), -EPIPE);
	assert_int_equal(ring_peek(r, &p), -EPIPE);
	ring_free(r);
}

static void *put_many(void *arg)
{
	struct ring *r = arg;
	unsigned char bytes[1021];

	for (unsigned i = 0, at = 0; i < 5000; i++) {
		for (size_t k = 0; k < sizeof(bytes); k++)
			bytes[k] = (unsigned char)(at++ * 31);
		if (ring_put(r, bytes, 1 + i % sizeof(bytes)))
			return r;
		at -= (unsigned)(sizeof(bytes) - 1 - i % sizeof(bytes));
	}
	ring_end(r);
	return NULL;
}

static void two_threads(void **state)
{
	struct ring *r = ring_new(SIZE, NULL, NULL);
	const unsigned char *p;
	pthread_t t;
	unsigned at = 0;
	void *failed;
	ssize_t n;

	assert_int_equal(pthread_create(&t, NULL, put_many, r), 0);
	while ((n = ring_peek(r, (const void **)&p)) > 0) {
		size_t take = at % 3 ? (size_t)n : (size_t)(n + 1) / 2;

		for (size_t k = 0; k < take; k++)
			if (p[k] != (unsigned char)(at++ * 31))
				fail_msg("byte %u is %u", at - 1, p[k]);
		ring_take(r, take);
	}
	assert_int_equal(n, 0);
	pthread_join(t, &failed);
	assert_null(failed);
	ring_free(r);
}

int main(void)
{
	return TEST_RUN("ring", cmocka_unit_test(wraps_and_ends),
			cmocka_unit_test(tells_when_drained),
			cmocka_unit_test(giving_up_reaches_both), cmocka_unit_test(two_threads));
}
