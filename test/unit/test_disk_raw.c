/* The core, host files and raw images. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "disk/disk.h"
#include "disk/driver.h"
#include "disk/host.h"
#include "os/path.h"
#include "tmpdir.h"

struct bed {
	struct tmpdir dir;
	struct disk_ctx *ctx;
	struct err e;
	char path[PATH_MAX + 8];
};

static void bed_start(struct bed *b, bool threads)
{
	struct disk_ctx_options o = {.no_uring = threads};

	memset(b, 0, sizeof(*b));
	b->dir = tmpdir_new();
	assert_ok(disk_ctx_new(&o, &b->ctx, &b->e));
	snprintf(b->path, sizeof(b->path), "%s/a.img", b->dir.path);
}

static void bed_end(struct bed *b)
{
	disk_ctx_free(b->ctx);
	tmpdir_done(&b->dir);
}

static json_t *size_opt(json_int_t size)
{
	return json_pack("{s:I}", "size", size);
}

static void make(struct bed *b, const char *path, json_int_t size)
{
	json_t *o = size_opt(size);

	if (disk_create(b->ctx, &disk_driver_raw, path, o, 0, &b->e) < 0)
		fail_msg("%s", b->e.msg);
	json_decref(o);
}

static struct disk *open_raw(struct bed *b, unsigned flags)
{
	json_t *o = json_pack("{s:s}", "driver", "raw");
	struct disk *d = NULL;

	if (disk_open(b->ctx, b->path, o, flags, &d, &b->e) < 0)
		fail_msg("%s", b->e.msg);
	json_decref(o);
	return d;
}

static void reads_what_was_written(void **state)
{
	for (int mode = 0; mode < 4; mode++) {
		struct bed b;

		bed_start(&b, mode & 1);
		make(&b, b.path, 1 << 20);
		struct disk *d =
		    open_raw(&b, DISK_WRITE | DISK_UNMAP | (mode & 2 ? DISK_DIRECT : 0));
		uint8_t in[5000], out[5000], zero[5000] = {0};
		struct iovec iov[3] = {{out, 1}, {out + 1, 4000}, {out + 4001, 999}};
		struct disk_vec v = {iov, 3};
		struct disk_extent x;

		for (size_t i = 0; i < sizeof(in); i++)
			in[i] = (uint8_t)(i * 7 + 1);
		assert_int_equal(disk_size(d), 1 << 20);
		assert_ok(disk_pwrite(d, 12345, in, sizeof(in), 0));
		assert_ok(disk_preadv(d, 12345, sizeof(out), &v, 0));
		assert_memory_equal(in, out, sizeof(in));
		assert_ok(disk_pread(d, 0, out, sizeof(out)));
		assert_memory_equal(out, zero, sizeof(zero));
		assert_ok(disk_flush(d));
		assert_ok(disk_write_zeroes(d, 12345 + 100, 200, DISK_REQ_UNMAP));
		memset(in + 100, 0, 200);
		assert_ok(disk_pread(d, 12345, out, sizeof(out)));
		assert_memory_equal(in, out, sizeof(in));
		assert_ok(disk_block_status(d, 500000, 1000, true, &x));
		assert_int_equal(x.flags, DISK_EXT_ZERO | DISK_EXT_ALLOCATED | DISK_EXT_OFFSET);
		assert_int_equal(x.len, 1000);
		assert_ok(disk_block_status(d, 12345, 100, true, &x));
		assert_true(x.flags & DISK_EXT_DATA);
		assert_int_equal(disk_pread(d, (1 << 20) - 1, out, 2), -EINVAL);
		assert_int_equal(disk_pwrite(d, 1 << 20, out, 1, 0), -EINVAL);
		assert_int_equal(disk_pwrite(d, 0, out, 1, DISK_REQ_COMPRESSED), -ENOTSUP);
		assert_ok(disk_truncate(d, 2000, true, DISK_PREALLOC_OFF, 0, &b.e));
		assert_int_equal(disk_size(d), 2048); /* whole sectors */
		assert_ok(disk_close(d));
		bed_end(&b);
	}
}

static void opens_in_many_ways(void **state)
{
	struct bed b;
	struct disk *d;

	bed_start(&b, false);
	make(&b, b.path, 65536);
	_free_ char *json = mem_printf(
	    "json:{\"driver\":\"raw\",\"offset\":\"1k\",\"size\":2048,\"file.driver\":\"file\","
	    "\"file.filename\":\"%s\"}",
	    b.path);
	_free_ char *bad = mem_printf(
	    "json:{\"driver\":\"raw\",\"ofset\":1,\"file\":{\"filename\":\"%s\"}}", b.path);
	_free_ char *missing = mem_printf("%s.none", b.path);

	assert_ok(disk_open(b.ctx, json, NULL, 0, &d, &b.e));
	assert_int_equal(disk_size(d), 2048);
	assert_memory_equal(disk_filename(d), "json:", 5);
	assert_ok(disk_close(d));
	assert_int_equal(disk_open(b.ctx, bad, NULL, 0, &d, &b.e), -EINVAL);
	assert_non_null(strstr(b.e.msg, "ofset"));
	assert_int_equal(disk_open(b.ctx, b.path, NULL, 0, &d, &b.e), -EINVAL);
	assert_ok(disk_open(b.ctx, b.path, NULL, DISK_PROBE, &d, &b.e));
	assert_string_equal(disk_format(d), "raw");
	assert_string_equal(disk_filename(d), b.path);
	assert_int_equal(disk_pwrite(d, 0, "x", 1, 0), -EACCES);
	assert_ok(disk_close(d));
	assert_int_equal(disk_open(b.ctx, missing, NULL, DISK_PROBE, &d, &b.e), -ENOENT);
	assert_int_equal(disk_open(b.ctx, b.dir.path, NULL, DISK_PROBE, &d, &b.e), -EISDIR);
	assert_int_equal(disk_open(b.ctx, "nosuch:x", NULL, DISK_PROBE, &d, &b.e), -EINVAL);
	bed_end(&b);
}

/* Another opening of the file is another owner of locks. */
static void locks_exclude(void **state)
{
	struct bed b;
	struct disk *d, *other;

	bed_start(&b, false);
	make(&b, b.path, 65536);
	_close_ int fd = path_open(AT_FDCWD, b.path, O_RDWR, 0);

	/* As a machine that shares nothing does. */
	assert_ok(disk_host_lock(fd, "x", 0, DISK_PERM_ALL, DISK_PERM_WRITE,
				 DISK_PERM_CONSISTENT_READ, &b.e));
	json_t *o = json_pack("{s:s}", "driver", "raw");

	assert_int_equal(disk_open(b.ctx, b.path, o, DISK_WRITE, &other, &b.e), -EAGAIN);
	assert_int_equal(b.e.code, ERR_DISK_LOCKED);
	assert_non_null(strstr(b.e.msg, "Failed to get \"write\" lock"));
	json_t *size = size_opt(1);

	assert_int_equal(disk_create(b.ctx, &disk_driver_raw, b.path, size, 0, &b.e), -EAGAIN);
	json_decref(size);
	assert_ok(disk_open(b.ctx, b.path, o, 0, &d, &b.e));
	assert_int_equal(disk_size(d), 65536);
	assert_int_equal(disk_reopen(d, DISK_WRITE, &b.e), -EAGAIN);
	assert_int_equal(disk_pwrite(d, 0, "x", 1, 0), -EACCES);
	assert_ok(disk_host_lock(fd, "x", DISK_PERM_WRITE, DISK_PERM_CONSISTENT_READ, 0,
				 DISK_PERM_ALL, &b.e));
	assert_ok(disk_reopen(d, DISK_WRITE, &b.e));
	assert_ok(disk_pwrite(d, 0, "x", 1, 0));
	assert_ok(disk_reopen(d, 0, &b.e));
	assert_int_equal(disk_pwrite(d, 0, "x", 1, 0), -EACCES);
	assert_ok(disk_close(d));
	json_decref(o);
	bed_end(&b);
}

static void preallocates(void **state)
{
	static const char *const modes[] = {"off", "falloc", "full"};
	struct bed b;

	bed_start(&b, false);
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		json_t *o =
		    json_pack("{s:I,s:s}", "size", (json_int_t)1 << 20, "preallocation", modes[i]);
		struct stat st;

		assert_ok(disk_create(b.ctx, &disk_driver_raw, b.path, o, 0, &b.e));
		json_decref(o);
		assert_ok(path_stat(AT_FDCWD, b.path, &st));
		assert_int_equal(st.st_size, 1 << 20);
		assert_true(i ? st.st_blocks * 512 >= 1 << 20 : st.st_blocks == 0);
	}
	json_t *o = json_pack("{s:I,s:s}", "size", (json_int_t)1, "preallocatoin", "off");

	assert_int_equal(disk_create(b.ctx, &disk_driver_raw, b.path, o, 0, &b.e), -EINVAL);
	assert_non_null(strstr(b.e.msg, "did you mean 'preallocation'"));
	json_decref(o);
	bed_end(&b);
}

struct many {
	struct disk_req r;
	struct co_group *g;
	uint8_t buf[512];
	struct iovec iov;
};

static void many_done(struct disk_req *r, int rc)
{
	struct many *m = CONTAINER_OF(r, struct many, r);

	assert_ok(rc);
	co_group_end(m->g);
}

/* O_DIRECT with blocks of 4096 and writers of 512: none may lose another's bytes. */
static void parallel_writers_share_blocks(void **state)
{
	struct bed b;
	struct co_group g = {0};
	struct many *m = mem_array(256, sizeof(*m));

	bed_start(&b, false);
	make(&b, b.path, 256 * 512);
	struct disk *d = open_raw(&b, DISK_WRITE | DISK_DIRECT);

	disk_file(d)->align = 4096;
	for (unsigned i = 0; i < 256; i++) {
		memset(m[i].buf, (int)i, 512);
		m[i].iov = (struct iovec){m[i].buf, 512};
		m[i].g = &g;
		m[i].r = (struct disk_req){.disk = d,
					   .op = DISK_OP_WRITE,
					   .offset = i * 512,
					   .len = 512,
					   .vec = {&m[i].iov, 1},
					   .done = many_done};
		co_group_add(&g);
		disk_submit(&m[i].r);
	}
	co_group_wait(&g);
	for (unsigned i = 0; i < 256; i++) {
		uint8_t got[512];

		assert_ok(disk_pread(d, i * 512, got, 512));
		assert_memory_equal(got, m[i].buf, 512);
	}
	assert_ok(disk_close(d));
	free(m);
	bed_end(&b);
}

static void sizes(void **state)
{
	static const struct {
		const char *text;
		int rc;
		uint64_t bytes;
	} rows[] = {
	    {"0", 0, 0},
	    {"1024", 0, 1024},
	    {"64k", 0, 65536},
	    {"1.5M", 0, 1572864},
	    {"1G", 0, 1u << 30},
	    {"2T", 0, 2ull << 40},
	    {"1kk", -EINVAL, 0},
	    {"", -EINVAL, 0},
	    {"-1", -EINVAL, 0},
	    {"1x", -EINVAL, 0},
	    {"0x10", 0, 16},
	    {"16E", -ERANGE, 0},
	    {"18446744073709551616", -ERANGE, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t v = 0;

		assert_int_equal(disk_size_parse(rows[i].text, 'b', &v), rows[i].rc);
		assert_int_equal(v, rows[i].bytes);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_what_was_written),
	    cmocka_unit_test(opens_in_many_ways),
	    cmocka_unit_test(locks_exclude),
	    cmocka_unit_test(preallocates),
	    cmocka_unit_test(parallel_writers_share_blocks),
	    cmocka_unit_test(sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
