/* What only one format has: VHDX's log, parents of VHD and VMDK, footers of streamOptimized, and repairs. */
#include "diskbed.h"

#include <errno.h>
#include <fcntl.h>

#include "base/endian.h"
#include "disk/vhd_int.h"
#include "disk/vhdx_head.h"
#include "disk/vmdk_head.h"

/* Copies the image as it is now to `to`. */
static void copy_image(struct diskbed *b, const char *to)
{
	assert_int_equal(diskbed_run(b, "cp '%s' '%s'", b->path, to), 0);
}

static void change_file(const char *path, uint64_t offset, const void *data, size_t len)
{
	_close_ int fd = path_open(AT_FDCWD, path, O_RDWR, 0);

	assert_ok(fd);
	assert_int_equal(pwrite(fd, data, len, offset), len);
}

/* The log has what the BAT lost: read-only it is laid over the file, writable it is replayed; QEMU
 * replays ours. */
static void vhdx_log(void **state)
{
	struct diskbed b;
	struct disk_info info;
	static const uint8_t zeros[VHDX_MB];
	char real[sizeof(b.path)];

	diskbed_start(&b, "vhdx");
	_free_ char *dirty = mem_printf("%s/dirty.vhdx", b.dir.path);
	_free_ char *theirs = mem_printf("%s/theirs.vhdx", b.dir.path);

	diskbed_create(&b, 4000256, "{\"block_size\":1048576,\"block_state_zero\":false}");
	for (int i = 0; i < 10; i++)
		diskbed_write(&b, diskbed_random(&b, 3900000), 50000);
	assert_ok(disk_flush(b.d));
	copy_image(&b, dirty);
	change_file(dirty, 2 * VHDX_MB, zeros, VHDX_MB);
	assert_int_equal(diskbed_run(&b, "cp '%s' '%s'", dirty, theirs), 0);
	assert_ok(disk_close(b.d));
	b.d = NULL;
	strcpy(real, b.path);
	strcpy(b.path, dirty);
	diskbed_open(&b, 0);
	diskbed_compare(&b);
	assert_ok(disk_get_info(b.d, &info, &b.e));
	assert_true(info.dirty);
	diskbed_open(&b, DISK_WRITE);
	diskbed_compare(&b);
	diskbed_open(&b, 0);
	diskbed_compare(&b);
	assert_ok(disk_get_info(b.d, &info, &b.e));
	assert_false(info.dirty);
	if (diskbed_has("qemu-img")) {
		diskbed_qemu(&b, true);
		assert_int_equal(diskbed_run(&b, "qemu-img check -r all -f vhdx '%s'", theirs), 0);
		strcpy(b.path, theirs);
		diskbed_qemu(&b, true);
	}
	strcpy(b.path, real);
	diskbed_end(&b);
}

/* An overlay of the image at b->path, which stays as "base". */
static void overlay(struct diskbed *b, const char *extra)
{
	_free_ char *base = mem_printf("%s/base.%s", b->dir.path, b->format);
	json_t *o = json_pack("{s:s, s:s}", "backing_file", strrchr(base, '/') + 1, "backing_fmt",
			      b->format);

	assert_ok(disk_close(b->d));
	b->d = NULL;
	assert_int_equal(diskbed_run(b, "mv '%s' '%s'", b->path, base), 0);
	if (extra)
		json_object_set_new(o, extra, json_true());
	if (disk_create(b->ctx, disk_driver_find(b->format), b->path, o, 0, &b->e) < 0)
		fail_msg("%s", b->e.msg);
	json_decref(o);
	diskbed_open(b, DISK_WRITE | DISK_UNMAP);
}

static void vhd_differencing(void **state)
{
	struct diskbed b;

	diskbed_start(&b, "vpc");
	diskbed_create(&b, 6000128, NULL);
	diskbed_write(&b, 0, b.size);
	overlay(&b, NULL);
	assert_string_equal(disk_backing_name(b.d), "base.vpc");
	diskbed_compare(&b);
	for (int n = 0; n < 30; n++)
		diskbed_step(&b, 30000);
	diskbed_compare(&b);
	diskbed_check(&b);
	diskbed_open(&b, 0);
	diskbed_compare(&b);
	diskbed_end(&b);
}

/* Sectors that a bitmap leaves to the parent, as Windows writes them. */
static void vhd_partial_blocks(void **state)
{
	struct diskbed b;
	uint8_t bits[512];
	uint32_t sector;

	diskbed_start(&b, "vpc");
	diskbed_create(&b, 6000128, NULL);
	diskbed_write(&b, 0, b.size);
	_free_ uint8_t *base = mem_dup(b.model, b.size);

	overlay(&b, NULL);
	diskbed_write(&b, 0, 2 << 20);
	assert_ok(disk_flush(b.d));
	assert_ok(vhd_bat_get(b.d->state, 0, &sector));
	assert_ok(disk_close(b.d));
	b.d = NULL;
	for (size_t i = 0; i < sizeof(bits); i++)
		bits[i] = i % 3 ? 0xf0 : 0;
	change_file(b.path, (uint64_t)sector * 512, bits, sizeof(bits));
	for (uint64_t i = 0; i < 4096; i++)
		if (!(bits[i / 8] & 0x80 >> i % 8))
			memcpy(b.model + i * 512, base + i * 512, 512);
	diskbed_open(&b, DISK_WRITE);
	diskbed_compare(&b);
	diskbed_write(&b, 700, 3);
	diskbed_compare(&b);
	diskbed_open(&b, 0);
	diskbed_compare(&b);
	diskbed_end(&b);
}

static void vmdk_parent(void **state)
{
	static const char *const extra[] = {NULL, "zeroed_grain"};

	for (size_t i = 0; i < ARRAY_SIZE(extra); i++) {
		struct diskbed b;

		diskbed_start(&b, "vmdk");
		diskbed_create(&b, 3000320, NULL);
		diskbed_write(&b, 0, b.size);
		overlay(&b, extra[i]);
		diskbed_compare(&b);
		for (int n = 0; n < 40; n++)
			diskbed_step(&b, 100000);
		diskbed_compare(&b);
		diskbed_resize(&b, 4000256);
		diskbed_compare(&b);
		if (diskbed_has("qemu-img"))
			diskbed_qemu(&b, true);
		diskbed_end(&b);
	}
}

/* A parent that was written after its child does not fit any more. */
static void vmdk_changed_parent(void **state)
{
	struct diskbed b;
	uint8_t byte = 1;
	char child[sizeof(b.path)];

	diskbed_start(&b, "vmdk");
	diskbed_create(&b, 3000320, NULL);
	diskbed_write(&b, 0, 1000);
	overlay(&b, NULL);
	strcpy(child, b.path);
	snprintf(b.path, sizeof(b.path), "%s/base.vmdk", b.dir.path);
	diskbed_open(&b, DISK_WRITE);
	assert_ok(disk_pwrite(b.d, 5, &byte, 1, 0));
	strcpy(b.path, child);
	diskbed_open(&b, 0);
	assert_int_equal(disk_pread(b.d, 0, &byte, 1), -EINVAL);
	diskbed_end(&b);
}

/* The layout of VMware's own streamOptimized files: directory and tables before a footer at the end. */
static void vmdk_footer(void **state)
{
	struct diskbed b;
	struct vmdk_head h;
	uint8_t raw[512], tail[3 * 512] = {0};
	_buf_ struct buf image = {0};

	diskbed_start(&b, "vmdk");
	diskbed_create(&b, 1000448, "{\"subformat\":\"streamOptimized\"}");
	for (int n = 0; n < 10; n++)
		diskbed_step(&b, 100000);
	assert_ok(disk_close(b.d));
	b.d = NULL;
	assert_ok(path_read(AT_FDCWD, b.path, &image, 64u << 20));
	assert_int_equal(image.len % 512, 0);
	memcpy(raw, image.s, sizeof(raw));
	assert_ok(vmdk_head_parse(raw, &h, &b.e));
	put_le64(tail, 1);
	put_le32(tail + 12, VMDK_FOOTER);
	memcpy(tail + 512, raw, 512);
	h.directory_offset = VMDK_GD_AT_END;
	vmdk_head_build(&h, raw);
	change_file(b.path, 0, raw, sizeof(raw));
	change_file(b.path, image.len, tail, sizeof(tail));
	diskbed_open(&b, 0);
	diskbed_compare(&b);
	diskbed_open(&b, DISK_WRITE);
	diskbed_write(&b, 300000, 100000);
	diskbed_compare(&b);
	if (diskbed_has("qemu-img"))
		diskbed_qemu(&b, true);
	diskbed_end(&b);
}

static void expect_repair(struct diskbed *b, unsigned corruptions)
{
	struct disk_check c = {0};

	diskbed_open(b, DISK_WRITE);
	assert_ok(disk_check(b->d, 0, &c, &b->e));
	assert_int_equal(c.corruptions, corruptions);
	c = (struct disk_check){0};
	assert_ok(disk_check(b->d, DISK_FIX_ERRORS | DISK_FIX_LEAKS, &c, &b->e));
	assert_int_equal(c.corruptions_fixed, corruptions);
	diskbed_check(b);
	diskbed_open(b, DISK_WRITE);
	diskbed_check(b);
}

static void repairs(void **state)
{
	struct diskbed b;
	uint8_t raw[8];

	diskbed_start(&b, "vdi");
	diskbed_create(&b, 4 << 20, NULL);
	diskbed_write(&b, 0, 2 << 20);
	assert_ok(disk_close(b.d));
	b.d = NULL;
	put_le32(raw, 0);
	change_file(b.path, 512 + 4, raw, 4); /* block 1 lies where block 0 does */
	memset(b.model + (1 << 20), 0, 1 << 20);
	expect_repair(&b, 1);
	diskbed_compare(&b);
	if (diskbed_has("qemu-img"))
		diskbed_qemu(&b, true);
	diskbed_end(&b);

	diskbed_start(&b, "vhdx");
	diskbed_create(&b, 4 << 20, "{\"block_size\":1048576}");
	diskbed_write(&b, 0, 2 << 20);
	assert_ok(disk_close(b.d));
	b.d = NULL;
	put_le64(raw, 1ULL << 40 | 6);
	change_file(b.path, 2 * VHDX_MB + 8, raw, 8); /* block 1 lies behind the end */
	memset(b.model + (1 << 20), 0, 1 << 20);
	expect_repair(&b, 1);
	diskbed_compare(&b);
	if (diskbed_has("qemu-img"))
		diskbed_qemu(&b, true);
	diskbed_end(&b);
}

/* The guest of a fixed disk writes a footer into its first sector: the disk stays what it is. */
static void vhd_forged_footer(void **state)
{
	struct diskbed b;
	struct vhd_footer f = {.type = VHD_DYNAMIC, .data_offset = 512, .current_size = 1 << 20};

	diskbed_start(&b, "vpc");
	diskbed_create(&b, 4000256, "{\"subformat\":\"fixed\"}");
	vhd_footer_build(&f, b.model);
	assert_ok(disk_pwrite(b.d, 0, b.model, 512, 0));
	diskbed_open(&b, 0);
	diskbed_compare(&b);
	diskbed_end(&b);
}

static void refuses_by_name(void **state)
{
	static const struct {
		const char *format, *options, *word;
	} cases[] = {
	    {"vhdx", "{\"backing_file\":\"x\",\"size\":1048576}", "backing_file"},
	    {"vhdx", "{\"size\":1048576,\"block_size\":3000000}", "multiple"},
	    {"vhdx", "{\"size\":1048576,\"log_size\":1}", "Log size"},
	    {"vpc", "{\"size\":3298534883328}", "2040 GiB"},
	    {"vmdk", "{\"size\":1048576,\"subformat\":\"vmfs\"}", "vmfs"},
	    {"vmdk", "{\"size\":1048576,\"subformat\":\"monolithicFlat\",\"zeroed_grain\":true}",
	     "zeroed"},
	    {"vdi", "{\"size\":9000000000000000000}", "size"},
	};
	struct diskbed b;

	diskbed_start(&b, "x");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_t *o = json_loads(cases[i].options, 0, NULL);

		assert_true(
		    disk_create(b.ctx, disk_driver_find(cases[i].format), b.path, o, 0, &b.e) < 0);
		if (!strstr(b.e.msg, cases[i].word))
			fail_msg("'%s' does not say '%s'", b.e.msg, cases[i].word);
		assert_false(path_exists(AT_FDCWD, b.path));
		json_decref(o);
	}
	diskbed_end(&b);
}

int main(void)
{
	return TEST_RUN("disk_formats_special", cmocka_unit_test(vhdx_log),
			cmocka_unit_test(vhd_differencing), cmocka_unit_test(vhd_partial_blocks),
			cmocka_unit_test(vhd_forged_footer), cmocka_unit_test(vmdk_parent),
			cmocka_unit_test(vmdk_changed_parent), cmocka_unit_test(vmdk_footer),
			cmocka_unit_test(repairs), cmocka_unit_test(refuses_by_name));
}
