#include "test.h"

#include "base/bits.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "base/endian.h"
#include "base/list.h"
#include "base/log.h"

struct item {
	int id;
	struct list node;
};

static void container_of_and_alignment(void **state)
{
	struct item it = {.id = 7};
	int calls = 0;

	assert_ptr_equal(CONTAINER_OF(&it.node, struct item, node), &it);
	assert_int_equal(MIN(calls++, 5), 0); /* each argument once */
	assert_int_equal(calls, 1);
	assert_int_equal(MAX(-3, 2), 2);
	assert_true(bits_is_pow2(1) && bits_is_pow2(1ull << 63));
	assert_false(bits_is_pow2(0) || bits_is_pow2(6));
	assert_int_equal(bits_align_up(0, 8), 0);
	assert_int_equal(bits_align_up(1, 8), 8);
	assert_int_equal(bits_align_up(8, 8), 8);
	assert_int_equal(bits_align_down(4097, 4096), 4096);
}

static void byte_orders_at_odd_addresses(void **state)
{
	unsigned char b[9] = {0};

	put_le32(b + 1, 0x11223344);
	assert_memory_equal(b, "\0\x44\x33\x22\x11\0\0\0\0", 9);
	assert_int_equal(get_le32(b + 1), 0x11223344);
	assert_int_equal(get_be32(b + 1), 0x44332211);
	put_be64(b + 1, 0x0102030405060708);
	assert_memory_equal(b + 1, "\1\2\3\4\5\6\7\10", 8);
	assert_int_equal(get_le16(b + 1), 0x0201);
	assert_int_equal(get_be16(b + 1), 0x0102);
	assert_true(get_le64(b + 1) == 0x0807060504030201);
}

static void checked_arithmetic(void **state)
{
	uint64_t r = 42;

	assert_true(checked_add(UINT64_MAX - 1, 1, &r) && r == UINT64_MAX);
	assert_false(checked_add(UINT64_MAX, 1, &r));
	assert_true(r == UINT64_MAX); /* untouched */
	assert_true(checked_mul(1ull << 32, (1ull << 32) - 1, &r));
	assert_false(checked_mul(1ull << 32, 1ull << 32, &r));
	assert_true(checked_align_up(UINT64_MAX - 4095, 4096, &r) && r == UINT64_MAX - 4095);
	assert_false(checked_align_up(UINT64_MAX - 4094, 4096, &r));
	assert_true(checked_within(0, 0, 0) && checked_within(10, 0, 10) &&
		    checked_within(0, 10, 10));
	assert_false(checked_within(11, 0, 10) || checked_within(1, 10, 10));
	assert_false(checked_within(UINT64_MAX, 2, 10) || checked_within(2, UINT64_MAX, 10));
}

static void lists(void **state)
{
	struct item it[4] = {{.id = 0}, {.id = 1}, {.id = 2}, {.id = 3}};
	struct list a, b;

	list_init(&a);
	list_init(&b);
	assert_true(list_empty(&a));
	assert_null(list_pop(&a));
	for (int i = 0; i < 4; i++)
		list_push(i < 2 ? &a : &b, &it[i].node);
	list_splice(&a, &b);
	assert_true(list_empty(&b));
	list_splice(&a, &b); /* of nothing */
	list_remove(&it[1].node);
	list_remove(&it[1].node);
	static const int want[] = {0, 2, 3};

	for (size_t i = 0; i < ARRAY_SIZE(want); i++)
		assert_int_equal(CONTAINER_OF(list_pop(&a), struct item, node)->id, want[i]);
	assert_true(list_empty(&a));
}

struct seen {
	unsigned count;
	enum log_level level;
	char msg[2000];
};

static void remember(void *arg, enum log_level level, const char *msg)
{
	struct seen *s = arg;

	s->count++;
	s->level = level;
	snprintf(s->msg, sizeof(s->msg), "%s", msg);
	errno = EBADF;
}

static void log_levels(void **state)
{
	struct seen s = {0};
	char big[5000];

	log_error("Nobody listens");
	log_to(remember, &s, LOG_LVL_WARN);
	errno = ENOENT;
	log_warn("Container '%s' is %d", "web", 7);
	assert_int_equal(errno, ENOENT);
	assert_string_equal(s.msg, "Container 'web' is 7");
	assert_int_equal(s.level, LOG_LVL_WARN);
	log_info("Too detailed");
	log_debug("Too detailed");
	assert_int_equal(s.count, 1);
	assert_int_equal(log_max(), LOG_LVL_WARN);
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	log_error("%s", big);
	assert_true(strlen(s.msg) > 500 && strlen(s.msg) < sizeof(s.msg) - 1);
	log_to(NULL, NULL, LOG_LVL_DEBUG);
	log_error("Nobody listens");
	assert_int_equal(s.count, 2);
}

int main(void)
{
	return TEST_RUN("base", cmocka_unit_test(container_of_and_alignment),
			cmocka_unit_test(byte_orders_at_odd_addresses),
			cmocka_unit_test(checked_arithmetic), cmocka_unit_test(lists),
			cmocka_unit_test(log_levels));
}
