/* What viv disk prints, against lines that qemu-img 7.2 prints. */
#include "test.h"

#include "cmd/disk_print.h"

#include <stdlib.h>
#include <string.h>

static void expect_size(uint64_t bytes, const char *want)
{
	_buf_ struct buf b = {0};

	disk_print_size(&b, bytes);
	assert_string_equal(b.s, want);
}

static void test_sizes(void **state)
{
	expect_size(0, "0 B");
	expect_size(512, "512 B");
	expect_size(999, "999 B");
	expect_size(1000, "0.977 KiB");
	expect_size(1024, "1 KiB");
	expect_size(208896, "204 KiB");
	expect_size(2297856, "2.19 MiB");
	expect_size(67108864, "64 MiB");
	expect_size(1ull << 40, "1 TiB");
	expect_size(155189248, "148 MiB");
}

static void test_json(void **state)
{
	json_t *o =
	    json_loads("{\"zebra\":1,\"format\":\"qcow2\",\"filename\":\"a\\\"b\","
		       "\"virtual-size\":4,\"slots\":[],\"data\":{},\"extents\":[{\"cid\":1},2]}",
		       0, NULL);
	_buf_ struct buf b = {0};

	disk_print_json(&b, o, 0);
	assert_string_equal(b.s,
			    "{\n"
			    "    \"virtual-size\": 4,\n"
			    "    \"filename\": \"a\\\"b\",\n"
			    "    \"format\": \"qcow2\",\n"
			    "    \"slots\": [\n    ],\n"
			    "    \"extents\": [\n        {\n            \"cid\": 1\n        },\n"
			    "        2\n    ],\n"
			    "    \"data\": {\n    },\n"
			    "    \"zebra\": 1\n"
			    "}");
	json_decref(o);
}

static void test_tree(void **state)
{
	json_t *o = json_loads("{\"refcount-bits\":16,\"compat\":\"1.1\",\"corrupt\":false,"
			       "\"bitmaps\":[{\"flags\":[\"auto\"],\"name\":\"b\"}]}",
			       0, NULL);
	_buf_ struct buf b = {0};

	disk_print_tree(&b, o, 4);
	assert_string_equal(b.s, "    compat: 1.1\n"
				 "    bitmaps:\n"
				 "        [0]:\n"
				 "            flags:\n"
				 "                [0]: auto\n"
				 "            name: b\n"
				 "    refcount bits: 16\n"
				 "    corrupt: false\n");
	json_decref(o);
}

static void test_snapshots(void **state)
{
	struct disk_snapshot s = {.id = "1",
				  .name = "s1",
				  .date_sec = 1795590919,
				  .vm_clock_nsec = 3723004000000,
				  .icount = 0};
	_buf_ struct buf b = {0};

	setenv("TZ", "UTC", 1);
	disk_print_snapshots(&b, &s, 1);
	assert_string_equal(
	    b.s,
	    "ID        TAG               VM SIZE                DATE     VM CLOCK     ICOUNT\n"
	    "1         s1                    0 B 2026-11-25 07:15:19 01:02:03.004          0\n");
	s.icount = UINT64_MAX;
	json_t *o = disk_snapshot_json(&s);

	assert_null(json_object_get(o, "icount"));
	assert_int_equal(json_integer_value(json_object_get(o, "vm-clock-sec")), 3723);
	assert_int_equal(json_integer_value(json_object_get(o, "vm-clock-nsec")), 4000000);
	json_decref(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_sizes),
	    cmocka_unit_test(test_json),
	    cmocka_unit_test(test_tree),
	    cmocka_unit_test(test_snapshots),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
