/* qcow2 against a plain array of bytes: random operations, also while every n-th write fails, and while
 * many run at once. After each run the image is checked, here and where it is installed by qemu-img. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "disk/disk.h"
#include "disk/host.h"
#include "disk/qcow2.h"
#include "diskhook.h"
#include "os/path.h"
#include "tmpdir.h"

#define SIZE_MAX_MODEL (3u << 20)

struct config {
	const char *name;
	const char *options; /* JSON, ' for " */
	bool backing, snapshots, v2;
};

static const struct config configs[] = {
    {"default", "{}", .snapshots = true},
    {"backed", "{}", .backing = true, .snapshots = true},
    {"small clusters", "{'cluster_size':512}", .snapshots = true},
    {"huge clusters", "{'cluster_size':2097152}", .snapshots = true},
    {"subclusters", "{'cluster_size':16384,'extended_l2':'on'}", .backing = true,
     .snapshots = true},
    {"subclusters 128k", "{'cluster_size':131072,'extended_l2':'on'}", .snapshots = true},
    {"version 2", "{'compat':'0.10','cluster_size':4096}", .backing = true, .snapshots = true,
     .v2 = true},
    {"one bit", "{'refcount_bits':1,'cluster_size':4096}", .backing = true},
    {"64 bits", "{'refcount_bits':64,'cluster_size':1024}", .snapshots = true},
    {"lazy", "{'lazy_refcounts':'on','cluster_size':4096}", .snapshots = true},
    {"zstd", "{'compression_type':'zstd','cluster_size':65536}", .backing = true,
     .snapshots = true},
    {"preallocated", "{'preallocation':'metadata','cluster_size':8192}", .snapshots = true},
};

struct model {
	uint8_t *bytes;
	uint64_t size;
};

struct bed {
	struct tmpdir dir;
	struct disk_ctx *ctx;
	const struct config *config;
	struct disk *d;
	struct err e;
	char path[PATH_MAX + 16], base[PATH_MAX + 16];
	struct model now, snaps[4];
	char snap_ids[4][16];
	unsigned snap_count, seed;
	struct hook hook;
	bool faulty; /* a change has failed: space may have leaked */
};

static unsigned rnd(struct bed *b, unsigned n)
{
	b->seed = b->seed * 1103515245u + 12345u;
	return (b->seed >> 8) % n;
}

static json_t *quoted(const char *text)
{
	_free_ char *s = mem_strdup(text);

	for (char *p = s; *p; p++)
		if (*p == '\'')
			*p = '"';
	json_t *o = json_loads(s, 0, NULL);

	assert_non_null(o);
	return o;
}

static void open_image(struct bed *b)
{
	json_t *o = json_pack("{s:s}", "driver", "qcow2");

	if (disk_open(b->ctx, b->path, o, DISK_WRITE | DISK_UNMAP | DISK_RESIZE | DISK_PROBE, &b->d,
		      &b->e) < 0)
		fail_msg("%s: %s", b->config->name, b->e.msg);
	json_decref(o);
	hook_set(&b->hook, b->d->file);
}

static void make_base(struct bed *b)
{
	json_t *o = json_pack("{s:i}", "size", 1 << 20);
	struct disk *d;

	assert_ok(disk_create(b->ctx, &disk_driver_raw, b->base, o, 0, &b->e));
	json_decref(o);
	o = json_pack("{s:s}", "driver", "raw");
	assert_ok(disk_open(b->ctx, b->base, o, DISK_WRITE, &d, &b->e));
	json_decref(o);
	for (unsigned i = 0; i < 1 << 20; i += 4096) {
		uint8_t block[4096];

		memset(block, (int)(i >> 12) % 3 ? (int)(i >> 12) : 0, sizeof(block));
		memcpy(b->now.bytes + i, block, sizeof(block));
		assert_ok(disk_pwrite(d, i, block, sizeof(block), 0));
	}
	assert_ok(disk_close(d));
}

static void bed_start(struct bed *b, const struct config *c, unsigned seed)
{
	struct disk_ctx_options co = {.inline_writes = true};

	memset(b, 0, sizeof(*b));
	b->config = c;
	b->seed = seed;
	b->dir = tmpdir_new();
	assert_ok(disk_ctx_new(&co, &b->ctx, &b->e));
	snprintf(b->path, sizeof(b->path), "%s/a.qcow2", b->dir.path);
	snprintf(b->base, sizeof(b->base), "%s/base.raw", b->dir.path);
	b->now.bytes = mem_array(SIZE_MAX_MODEL, 1);
	b->now.size = 2u << 20;
	json_t *o = quoted(c->options);

	if (c->backing) {
		make_base(b);
		json_object_set_new(o, "backing_file", json_string("base.raw"));
		json_object_set_new(o, "backing_fmt", json_string("raw"));
	}
	json_object_set_new(o, "size", json_integer((json_int_t)b->now.size));
	if (disk_create(b->ctx, &disk_driver_qcow2, b->path, o, 0, &b->e) < 0)
		fail_msg("%s: %s", c->name, b->e.msg);
	json_decref(o);
	open_image(b);
}

static void bed_end(struct bed *b)
{
	for (unsigned i = 0; i < b->snap_count; i++)
		free(b->snaps[i].bytes);
	free(b->now.bytes);
	hook_done(&b->hook);
	disk_ctx_free(b->ctx);
	tmpdir_done(&b->dir);
}

static void compare(struct bed *b)
{
	_free_ uint8_t *got = mem_array(b->now.size, 1);

	assert_int_equal(disk_size(b->d), b->now.size);
	assert_ok(disk_pread(b->d, 0, got, b->now.size));
	for (uint64_t i = 0; i < b->now.size; i++)
		if (got[i] != b->now.bytes[i])
			fail_msg("%s: byte %llu is %02x, not %02x", b->config->name,
				 (unsigned long long)i, got[i], b->now.bytes[i]);
}

/* What a failed change left of its range is the truth from now on. */
static void adopt(struct bed *b, uint64_t offset, uint64_t len)
{
	b->faulty = true;
	b->hook.fail_at = 0;
	assert_ok(disk_pread(b->d, offset, b->now.bytes + offset, len));
}

static void found_line(void *arg, const char *line)
{
	print_message("%s\n", line);
}

static void check_image(struct bed *b)
{
	struct disk_check c = {.found = b->faulty ? NULL : found_line};

	assert_ok(disk_check(b->d, 0, &c, &b->e));
	if (c.corruptions || c.check_errors || (c.leaks && !b->faulty))
		fail_msg("%s: %llu corruptions, %llu leaks, %llu errors", b->config->name,
			 (unsigned long long)c.corruptions, (unsigned long long)c.leaks,
			 (unsigned long long)c.check_errors);
}

/* qemu-img's opinion: 0 fine, 2 corrupt, 3 leaks; 127 not there. */
static void check_by_qemu(struct bed *b)
{
	_free_ char *command = mem_printf("qemu-img check -q '%s' >/dev/null 2>&1", b->path);
	int status = system(command);
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 255;

	if (code && code != 127 && !(code == 3 && b->faulty))
		fail_msg("%s: qemu-img check says %d", b->config->name, code);
}

/* --- operations --- */

static void range(struct bed *b, uint64_t *offset, uint64_t *len)
{
	static const unsigned lens[] = {1, 512, 4096, 70000, 300000};

	*len = 1 + rnd(b, lens[rnd(b, ARRAY_SIZE(lens))]);
	*offset = rnd(b, (unsigned)b->now.size);
	if (rnd(b, 2)) {
		*offset &= ~4095ull;
		*len = (*len + 4095) & ~4095ull;
	}
	*len = MIN(*len, b->now.size - *offset);
}

static void op_write(struct bed *b)
{
	uint64_t offset, len;

	range(b, &offset, &len);
	_free_ uint8_t *data = mem_array(len, 1);

	for (uint64_t i = 0; i < len; i++)
		data[i] = (uint8_t)(b->seed + i / 13);
	if (disk_pwrite(b->d, offset, data, len, 0) < 0)
		adopt(b, offset, len);
	else
		memcpy(b->now.bytes + offset, data, len);
}

static void op_compressed(struct bed *b)
{
	uint64_t cs = b->d->cluster_size, offset = rnd(b, (unsigned)b->now.size) / cs * cs;
	uint64_t len = MIN(cs, b->now.size - offset);
	_free_ uint8_t *data = mem_array(len, 1);

	for (uint64_t i = 0; i < len; i++)
		data[i] = (uint8_t)(b->seed + i / 50 * (i % 7));
	if (disk_pwrite(b->d, offset, data, len, DISK_REQ_COMPRESSED) < 0)
		adopt(b, offset, len);
	else
		memcpy(b->now.bytes + offset, data, len);
}

static void op_zero(struct bed *b)
{
	uint64_t offset, len;

	range(b, &offset, &len);
	if (disk_write_zeroes(b->d, offset, len, rnd(b, 2) ? DISK_REQ_UNMAP : 0) < 0)
		adopt(b, offset, len);
	else
		memset(b->now.bytes + offset, 0, len);
}

/* A discarded cluster reads as zeroes here, or as before. */
static void op_discard(struct bed *b)
{
	uint64_t offset, len;
	int rc;

	range(b, &offset, &len);
	_free_ uint8_t *got = mem_array(len, 1);

	rc = disk_discard(b->d, offset, len);
	if (rc < 0) {
		adopt(b, offset, len);
		return;
	}
	assert_ok(disk_pread(b->d, offset, got, len));
	for (uint64_t i = 0; i < len; i++)
		if (got[i] && got[i] != b->now.bytes[offset + i])
			fail_msg("%s: discard made up bytes", b->config->name);
	memcpy(b->now.bytes + offset, got, len);
}

static void op_reopen(struct bed *b)
{
	b->hook.fail_at = 0;
	assert_ok(disk_close(b->d));
	open_image(b);
}

static void op_snapshot(struct bed *b)
{
	struct disk_snapshot s = {.icount = UINT64_MAX};
	unsigned i = b->snap_count;

	if (i == ARRAY_SIZE(b->snaps) || !b->config->snapshots || b->hook.fail_at)
		return;
	snprintf(s.name, sizeof(s.name), "snap%u", b->seed);
	if (disk_snapshot_create(b->d, &s, &b->e) < 0)
		fail_msg("%s: %s", b->config->name, b->e.msg);
	snprintf(b->snap_ids[i], sizeof(b->snap_ids[i]), "%.15s", s.id);
	b->snaps[i].size = b->now.size;
	b->snaps[i].bytes = mem_dup(b->now.bytes, SIZE_MAX_MODEL);
	b->snap_count++;
}

static void op_apply(struct bed *b)
{
	if (!b->snap_count || b->hook.fail_at)
		return;
	unsigned i = rnd(b, b->snap_count);

	if (b->config->v2 && b->snaps[i].size != b->now.size)
		return;
	if (disk_snapshot_apply(b->d, b->snap_ids[i], &b->e) < 0)
		fail_msg("%s: %s", b->config->name, b->e.msg);
	memcpy(b->now.bytes, b->snaps[i].bytes, SIZE_MAX_MODEL);
	b->now.size = b->snaps[i].size;
}

static void op_delete(struct bed *b)
{
	if (!b->snap_count || b->hook.fail_at)
		return;
	unsigned i = rnd(b, b->snap_count);

	if (disk_snapshot_delete(b->d, b->snap_ids[i], &b->e) < 0)
		fail_msg("%s: %s", b->config->name, b->e.msg);
	free(b->snaps[i].bytes);
	b->snap_count--;
	b->snaps[i] = b->snaps[b->snap_count];
	memcpy(b->snap_ids[i], b->snap_ids[b->snap_count], sizeof(b->snap_ids[i]));
}

static void op_resize(struct bed *b)
{
	uint64_t size = (512 + rnd(b, SIZE_MAX_MODEL - 1024)) & ~511ull, old = b->now.size;

	if (b->hook.fail_at || (b->config->v2 && b->snap_count))
		return;
	if (disk_truncate(b->d, size, true, DISK_PREALLOC_OFF, 0, &b->e) < 0)
		fail_msg("%s: %s", b->config->name, b->e.msg);
	if (size > old)
		memset(b->now.bytes + old, 0, size - old);
	b->now.size = size;
}

static void step(struct bed *b)
{
	unsigned what = rnd(b, 100);

	if (what < 40)
		op_write(b);
	else if (what < 50)
		op_compressed(b);
	else if (what < 62)
		op_zero(b);
	else if (what < 72)
		op_discard(b);
	else if (what < 77)
		op_reopen(b);
	else if (what < 83)
		op_snapshot(b);
	else if (what < 87)
		op_apply(b);
	else if (what < 90)
		op_delete(b);
	else if (what < 95)
		op_resize(b);
	else if (disk_flush(b->d) < 0)
		b->faulty = true;
}

static void run_model(const struct config *c, unsigned seed, unsigned steps)
{
	struct bed b;

	bed_start(&b, c, seed);
	for (unsigned i = 0; i < steps; i++) {
		step(&b);
		if (i % 16 == 15)
			compare(&b);
	}
	op_reopen(&b);
	compare(&b);
	check_image(&b);
	assert_ok(disk_close(b.d));
	check_by_qemu(&b);
	bed_end(&b);
}

static void models_agree(void **state)
{
	unsigned rounds = getenv("DISK_ROUNDS") ? (unsigned)atoi(getenv("DISK_ROUNDS")) : 2;

	for (unsigned r = 0; r < rounds; r++)
		for (size_t i = 0; i < ARRAY_SIZE(configs); i++)
			run_model(&configs[i], 1000 * r + (unsigned)i, 120);
}

/* Every n-th change fails, once or for good. */
static void failures_stay_local(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(configs); i++) {
		struct bed b;

		bed_start(&b, &configs[i], 77 + (unsigned)i);
		for (unsigned n = 1; n < 60; n++) {
			if (n % 8 == 0)
				op_snapshot(&b);
			b.hook.count = 0;
			b.hook.fail_at = 1 + rnd(&b, 12);
			b.hook.error = n % 2 ? -EIO : -ENOSPC;
			b.hook.forever = n % 3 == 0;
			for (unsigned k = 0; k < 3; k++)
				step(&b);
			b.hook.fail_at = 0;
			if (n % 8 == 7)
				compare(&b);
		}
		op_reopen(&b);
		compare(&b);
		check_image(&b);
		assert_ok(disk_close(b.d));
		check_by_qemu(&b);
		bed_end(&b);
	}
}

/* --- many at once --- */

struct job {
	struct disk_req r;
	struct co_group *group;
	uint8_t *buf;
	struct iovec iov;
};

static void job_done(struct disk_req *r, int rc)
{
	assert_ok(rc);
	co_group_end(CONTAINER_OF(r, struct job, r)->group);
}

/* Blocks of 1 KiB, so that several writers meet in a cluster; each is written once per round. */
static void concurrent_writers_agree(void **state)
{
	enum { BLOCK = 1024, JOBS = 256 };

	for (size_t i = 0; i < ARRAY_SIZE(configs); i++) {
		struct job *jobs = mem_array(JOBS, sizeof(*jobs));
		struct bed b;

		bed_start(&b, &configs[i], 5 + (unsigned)i);
		for (unsigned round = 0; round < 4; round++) {
			struct co_group group = {0};
			unsigned start = rnd(&b, 1024) * BLOCK;

			for (unsigned j = 0; j < JOBS; j++) {
				struct job *job = &jobs[j];
				unsigned at = start + (j * 37 % JOBS) * BLOCK;
				unsigned kind = rnd(&b, 8);

				free(job->buf);
				job->buf = mem_array(BLOCK, 1);
				memset(job->buf, (int)(j + round), BLOCK);
				job->iov = (struct iovec){job->buf, BLOCK};
				job->group = &group;
				job->r =
				    (struct disk_req){.disk = b.d,
						      .op = kind ? DISK_OP_WRITE : DISK_OP_ZERO,
						      .offset = at,
						      .len = BLOCK,
						      .vec = {&job->iov, 1},
						      .done = job_done};
				memset(b.now.bytes + at, kind ? (int)(j + round) : 0, BLOCK);
				co_group_add(&group);
				disk_submit(&job->r);
				if (j % 64 == 63)
					assert_ok(disk_flush(b.d));
			}
			co_group_wait(&group);
			compare(&b);
			op_snapshot(&b);
		}
		op_reopen(&b);
		compare(&b);
		check_image(&b);
		assert_ok(disk_close(b.d));
		check_by_qemu(&b);
		for (unsigned j = 0; j < JOBS; j++)
			free(jobs[j].buf);
		free(jobs);
		bed_end(&b);
	}
}

/* The data file follows the image from read-only to writable. */
static void reopens_with_its_data_file(void **state)
{
	static const struct config c = {"data file", "{'data_file':'a.data'}"};
	uint8_t got[4096];
	struct bed b;

	bed_start(&b, &c, 1);
	assert_ok(disk_close(b.d));
	json_t *o = json_pack("{s:s}", "driver", "qcow2");

	assert_ok(disk_open(b.ctx, b.path, o, 0, &b.d, &b.e));
	json_decref(o);
	assert_int_equal(disk_pwrite(b.d, 0, "x", 1, 0), -EACCES);
	assert_ok(disk_reopen(b.d, DISK_WRITE, &b.e));
	assert_ok(disk_pwrite(b.d, 100000, "x", 1, 0));
	assert_ok(disk_reopen(b.d, 0, &b.e));
	assert_int_equal(disk_pwrite(b.d, 0, "x", 1, 0), -EACCES);
	assert_ok(disk_pread(b.d, 98304, got, sizeof(got)));
	assert_int_equal(got[100000 - 98304], 'x');
	assert_ok(disk_close(b.d));
	bed_end(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(models_agree),
	    cmocka_unit_test(failures_stay_local),
	    cmocka_unit_test(concurrent_writers_agree),
	    cmocka_unit_test(reopens_with_its_data_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
