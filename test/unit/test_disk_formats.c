/* VDI, VHD, VHDX and VMDK against a plain model and against qemu-img, both ways. */
#include "diskbed.h"

#include <errno.h>

struct kind {
	const char *format, *options;
	uint64_t size;
	bool qemu_checks;   /* qemu-img has a check for it */
	const char *create; /* what qemu-img convert -o gets */
};

static const struct kind kinds[] = {
    {"vdi", NULL, 5000704, true, ""},
    {"vdi", "{\"static\":true}", 3000320, true, "-o static=on"},
    {"vpc", NULL, 9000448, false, ""},
    {"vpc", "{\"force_size\":true}", 5000704, false, "-o force_size=on"},
    {"vpc", "{\"subformat\":\"fixed\"}", 4000256, false, "-o subformat=fixed"},
    {"vhdx", "{\"block_size\":1048576}", 6000128, true, "-o block_size=1M"},
    {"vhdx", "{\"block_size\":1048576,\"block_state_zero\":false}", 3000320, true, ""},
    {"vhdx", "{\"subformat\":\"fixed\",\"block_size\":\"2M\"}", 6000128, true,
     "-o subformat=fixed"},
    {"vmdk", NULL, 5000704, true, ""},
    {"vmdk", "{\"zeroed_grain\":true}", 5000704, true, "-o zeroed_grain=on"},
    {"vmdk", "{\"subformat\":\"monolithicFlat\"}", 3000320, false, "-o subformat=monolithicFlat"},
    {"vmdk", "{\"subformat\":\"twoGbMaxExtentSparse\"}", 3000320, true,
     "-o subformat=twoGbMaxExtentSparse"},
    {"vmdk", "{\"subformat\":\"twoGbMaxExtentFlat\"}", 3000320, false,
     "-o subformat=twoGbMaxExtentFlat"},
    {"vmdk", "{\"subformat\":\"streamOptimized\"}", 2000384, true, "-o subformat=streamOptimized"},
};

static void need_qemu(void)
{
	if (!diskbed_has("qemu-img"))
		test_skip("needs qemu-img");
}

/* Random operations, then qemu-img reads what we wrote. */
static void agrees_with_a_model(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const struct kind *k = &kinds[i];
		struct diskbed b;

		diskbed_start(&b, k->format);
		b.random = i + 1;
		diskbed_create(&b, k->size, k->options);
		for (int n = 0; n < 40; n++)
			diskbed_step(&b, n % 4 ? 30000 : 1500000);
		diskbed_compare(&b);
		diskbed_status(&b);
		diskbed_check(&b);
		if (diskbed_has("qemu-img"))
			diskbed_qemu(&b, k->qemu_checks);
		diskbed_end(&b);
	}
}

/* Sizes up and down, with writes between, and nothing old shows. */
static void resizes(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const struct kind *k = &kinds[i];
		struct diskbed b;

		diskbed_start(&b, k->format);
		b.random = i + 77;
		diskbed_create(&b, k->size, k->options);
		for (int n = 0; n < 5; n++) {
			for (int m = 0; m < 6; m++)
				diskbed_step(&b, 400000);
			diskbed_resize(&b, 512 * (1 + (uint64_t)diskbed_random(&b, 20000)));
			diskbed_compare(&b);
			diskbed_status(&b);
			diskbed_check(&b);
			if (n % 2)
				diskbed_open(&b, DISK_WRITE | DISK_UNMAP);
		}
		if (diskbed_has("qemu-img"))
			diskbed_qemu(&b, k->qemu_checks);
		diskbed_end(&b);
	}
}

/* qemu-img writes, we read, and write into it. */
static void reads_what_qemu_wrote(void **state)
{
	need_qemu();
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const struct kind *k = &kinds[i];
		struct diskbed b;

		diskbed_start(&b, k->format);
		b.size = k->size;
		b.model = mem_array(b.size + (1 << 20), 1);
		for (uint64_t at = 0; at + 200000 < b.size; at += 700000)
			for (uint64_t j = 0; j < 200000; j++)
				b.model[at + j] = 1 + (j * j + at) % 255;
		diskbed_save_model(&b);
		assert_int_equal(diskbed_run(&b, "qemu-img convert -f raw -O %s %s model %s",
					     k->format, k->create, b.path),
				 0);
		diskbed_open(&b, DISK_WRITE | DISK_UNMAP);
		b.size = disk_size(b.d);
		assert_in_range(b.size, k->size, k->size + (1 << 20) - 1);
		diskbed_compare(&b);
		diskbed_check(&b);
		for (int n = 0; n < 20; n++)
			diskbed_step(&b, 100000);
		diskbed_compare(&b);
		diskbed_qemu(&b, k->qemu_checks);
		diskbed_end(&b);
	}
}

int main(void)
{
	return TEST_RUN("disk_formats", cmocka_unit_test(agrees_with_a_model),
			cmocka_unit_test(resizes), cmocka_unit_test(reads_what_qemu_wrote));
}
