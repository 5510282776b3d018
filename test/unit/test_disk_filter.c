/* Filters: throttle, copy-before-write. */
#include "test.h"

#include <errno.h>
#include <limits.h>
#include <time.h>

#include "base/cleanup.h"
#include "disk/disk.h"
#include "disk/filter.h"
#include "disk/host.h"
#include "disk/qcow2.h"
#include "diskhook.h"
#include "tmpdir.h"

struct bed {
	struct tmpdir dir;
	struct disk_ctx *ctx;
	struct err e;
};

static void bed_start(struct bed *b)
{
	memset(b, 0, sizeof(*b));
	b->dir = tmpdir_new();
	assert_ok(disk_ctx_new(NULL, &b->ctx, &b->e));
}

static void bed_end(struct bed *b)
{
	disk_ctx_free(b->ctx);
	tmpdir_done(&b->dir);
}

static char *make(struct bed *b, const char *name, const struct disk_driver *drv,
		  const char *backing)
{
	char *path = mem_printf("%s/%s", b->dir.path, name);
	json_t *o = json_pack("{s:i}", "size", 1 << 20);

	if (backing)
		json_object_update_new(
		    o, json_pack("{s:s,s:s}", "backing_file", backing, "backing_fmt", "raw"));
	assert_ok(disk_create(b->ctx, drv, path, o, 0, &b->e));
	json_decref(o);
	return path;
}

static struct disk *open_json(struct bed *b, const char *text, unsigned flags)
{
	struct disk *d = NULL;

	if (disk_open(b->ctx, text, NULL, flags, &d, &b->e) < 0)
		fail_msg("%s", b->e.msg);
	return d;
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void throttle_keeps_the_rate(void **state)
{
	static const char *const limits[] = {"\"iops-total\":100", "\"bps-write\":\"409600\""};
	struct bed b;

	bed_start(&b);
	_free_ char *path = make(&b, "a.raw", &disk_driver_raw, NULL);

	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		_free_ char *name =
		    mem_printf("json:{\"driver\":\"throttle\",%s,\"file\":{\"driver\":"
			       "\"raw\",\"file\":{\"driver\":\"file\",\"filename\":\"%s\"}}}",
			       limits[i], path);
		struct disk *d = open_json(&b, name, DISK_WRITE);
		uint64_t start = now_ms();
		uint8_t block[4096] = {1};

		for (unsigned n = 0; n < 30; n++)
			assert_ok(disk_pwrite(d, n * 4096, block, sizeof(block), 0));
		/* 30 of 100 a second, of which a tenth of a second's worth is free. */
		assert_true(now_ms() - start >= 180);
		assert_ok(disk_close(d));
	}
	_free_ char *both =
	    mem_printf("json:{\"driver\":\"throttle\",\"iops-total\":1,\"iops-read\":1,"
		       "\"file\":{\"driver\":\"file\",\"filename\":\"%s\"}}",
		       path);
	struct disk *d;

	assert_int_equal(disk_open(b.ctx, both, NULL, 0, &d, &b.e), -EINVAL);
	bed_end(&b);
}

static char *cbw_name(const char *file, const char *target, const char *more)
{
	return mem_printf(
	    "json:{\"driver\":\"copy-before-write\",%s\"file\":{\"driver\":\"raw\",\"file\":{"
	    "\"driver\":\"file\",\"filename\":\"%s\"}},\"target\":{\"driver\":\"qcow2\","
	    "\"backing\":null,\"file\":{\"driver\":\"file\",\"filename\":\"%s\"}}}",
	    more, file, target);
}

static void expect_old(struct bed *b, const char *target)
{
	uint8_t got[4096];
	json_t *o = json_pack("{s:s}", "driver", "qcow2");
	struct disk *d;

	assert_ok(disk_open(b->ctx, target, o, 0, &d, &b->e));
	json_decref(o);
	for (unsigned at = 0; at < 1 << 20; at += sizeof(got)) {
		assert_ok(disk_pread(d, at, got, sizeof(got)));
		for (unsigned i = 0; i < sizeof(got); i++)
			assert_int_equal(got[i], (uint8_t)(at >> 12));
	}
	assert_ok(disk_close(d));
}

/* The overlay with the disk behind it stays what the disk was. */
static void the_old_content_stays(void **state)
{
	struct bed b;

	bed_start(&b);
	_free_ char *path = make(&b, "a.raw", &disk_driver_raw, NULL);
	_free_ char *target = make(&b, "t.qcow2", &disk_driver_qcow2, "a.raw");
	_free_ char *raw = mem_printf("json:{\"driver\":\"raw\",\"file\":{\"driver\":\"file\","
				      "\"filename\":\"%s\"}}",
				      path);
	_free_ char *name = cbw_name(path, target, "");
	struct disk *d = open_json(&b, raw, DISK_WRITE);
	uint8_t block[4096];

	for (unsigned at = 0; at < 1 << 20; at += sizeof(block)) {
		memset(block, (int)(at >> 12), sizeof(block));
		assert_ok(disk_pwrite(d, at, block, sizeof(block), 0));
	}
	assert_ok(disk_close(d));
	d = open_json(&b, name, DISK_WRITE | DISK_UNMAP);
	memset(block, 0xee, sizeof(block));
	assert_ok(disk_pwrite(d, 100, block, 1000, 0));
	assert_ok(disk_pwrite(d, 65000, block, 4096, 0));
	assert_ok(disk_write_zeroes(d, 300000, 200000, DISK_REQ_UNMAP));
	assert_ok(disk_discard(d, 700000, 100000));
	assert_ok(disk_pwrite(d, (1 << 20) - 1, block, 1, 0));
	assert_ok(disk_pread(d, 100, block, 1000));
	assert_int_equal(block[0], 0xee);
	assert_ok(disk_close(d));
	expect_old(&b, target);
	bed_end(&b);
}

static void failed_copies_break_what_was_said(void **state)
{
	for (int snapshot = 0; snapshot < 2; snapshot++) {
		struct hook h = {.fail_at = 1, .error = -ENOSPC, .forever = true};
		struct bed b;

		bed_start(&b);
		_free_ char *path = make(&b, "a.raw", &disk_driver_raw, NULL);
		_free_ char *target = make(&b, "t.qcow2", &disk_driver_qcow2, NULL);
		_free_ char *name =
		    cbw_name(path, target, snapshot ? "\"on-cbw-error\":\"break-snapshot\"," : "");
		struct disk *d = open_json(&b, name, DISK_WRITE), *t = *(struct disk **)d->state;

		hook_set(&h, t->file);
		assert_int_equal(disk_pwrite(d, 0, "x", 1, 0), snapshot ? 0 : -ENOSPC);
		h.fail_at = 0;
		assert_int_equal(disk_close(d), snapshot ? -ENOSPC : 0);
		bed_end(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(throttle_keeps_the_rate),
	    cmocka_unit_test(the_old_content_stays),
	    cmocka_unit_test(failed_copies_break_what_was_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
