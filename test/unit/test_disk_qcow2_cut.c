/* Power cuts: everything that reaches the file is logged, and the file is rebuilt as it would be after a
 * cut behind every write, and with any part of the writes since the last barrier missing. Each must
 * open, hold what was flushed, and have nothing worse than leaks, which a repair takes away. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "disk/disk.h"
#include "disk/host.h"
#include "disk/qcow2.h"
#include "diskhook.h"
#include "os/path.h"
#include "tmpdir.h"

#define DISK_BYTES (1u << 20)
#define SECTOR     512
#define SECTORS    (DISK_BYTES / SECTOR)

/* The guest's view at a barrier that it asked for. */
struct flushed {
	size_t log_at; /* entries before it */
	uint8_t *bytes;
	bool *touched; /* sectors written since then, until the next */
};

struct bed {
	struct tmpdir dir;
	struct disk_ctx *ctx;
	struct disk *d;
	struct err e;
	struct hook hook;
	char path[PATH_MAX + 16], cut[PATH_MAX + 16];
	uint8_t now[DISK_BYTES];
	VEC(struct flushed) flushes;
	unsigned seed;
	uint8_t *first; /* the file before the log */
	size_t first_len;
};

static unsigned rnd(struct bed *b, unsigned n)
{
	b->seed = b->seed * 1103515245u + 12345u;
	return (b->seed >> 8) % n;
}

static struct disk *open_at(struct bed *b, const char *path, unsigned flags)
{
	json_t *o = json_pack("{s:s}", "driver", "qcow2");
	struct disk *d = NULL;

	if (disk_open(b->ctx, path, o, flags, &d, &b->e) < 0)
		fail_msg("after a cut: %s", b->e.msg);
	json_decref(o);
	return d;
}

static void mark_flush(struct bed *b)
{
	struct flushed f = {.log_at = b->hook.log.n,
			    .bytes = mem_dup(b->now, DISK_BYTES),
			    .touched = mem_array(SECTORS, sizeof(bool))};

	vec_push(&b->flushes, f);
}

static void touch(struct bed *b, uint64_t offset, uint64_t len)
{
	bool *touched = b->flushes.v[b->flushes.n - 1].touched;

	for (uint64_t s = offset / SECTOR; s <= (offset + len - 1) / SECTOR; s++)
		touched[s] = true;
}

static void guest_step(struct bed *b, bool snapshots)
{
	unsigned what = rnd(b, 20), offset = rnd(b, DISK_BYTES - 1), len = 1 + rnd(b, 20000);
	_free_ uint8_t *data = mem_array(len, 1);

	len = MIN(len, DISK_BYTES - offset);
	memset(data, (int)b->seed, len);
	if (what < 9) {
		touch(b, offset, len);
		assert_ok(disk_pwrite(b->d, offset, data, len, 0));
		memcpy(b->now + offset, data, len);
	} else if (what < 12) {
		touch(b, offset, len);
		assert_ok(disk_write_zeroes(b->d, offset, len, DISK_REQ_UNMAP));
		memset(b->now + offset, 0, len);
	} else if (what < 14) {
		touch(b, offset, len);
		assert_ok(disk_discard(b->d, offset, len));
		assert_ok(disk_pread(b->d, offset, b->now + offset, len));
	} else if (what < 15) {
		uint64_t at = offset / b->d->cluster_size * b->d->cluster_size;
		uint64_t n = MIN((uint64_t)b->d->cluster_size, DISK_BYTES - at);
		_free_ uint8_t *whole = mem_array(n, 1);

		memset(whole, (int)b->seed, n);
		touch(b, at, n);
		assert_ok(disk_pwrite(b->d, at, whole, n, DISK_REQ_COMPRESSED));
		memcpy(b->now + at, whole, n);
	} else if (what < 16 && snapshots) {
		struct disk_snapshot s = {.icount = UINT64_MAX, .name = "s"};

		assert_ok(disk_snapshot_create(b->d, &s, &b->e));
	} else if (what < 17 && snapshots) {
		int rc = disk_snapshot_delete(b->d, "s", &b->e);

		assert_true(rc == 0 || rc == -ENOENT);
	} else {
		assert_ok(disk_flush(b->d));
		mark_flush(b);
	}
}

static void record(struct bed *b, const char *options, unsigned steps, bool snapshots)
{
	_buf_ struct buf image = {0};
	json_t *o = json_loads(options, 0, NULL);

	json_object_set_new(o, "size", json_integer(DISK_BYTES));
	assert_ok(disk_create(b->ctx, &disk_driver_qcow2, b->path, o, 0, &b->e));
	json_decref(o);
	assert_ok(path_read(AT_FDCWD, b->path, &image, 64u << 20));
	b->first_len = image.len;
	b->first = (uint8_t *)buf_take(&image);
	b->d = open_at(b, b->path, DISK_WRITE | DISK_UNMAP);
	hook_set(&b->hook, b->d->file);
	b->hook.logging = true;
	mark_flush(b);
	for (unsigned i = 0; i < steps; i++)
		guest_step(b, snapshots);
	assert_ok(disk_close(b->d));
	b->hook.logging = false;
}

/* --- replay --- */

static void apply(int fd, const struct hook_write *w)
{
	if (w->truncate)
		assert_ok(ftruncate(fd, (off_t)w->len));
	else if (w->zero) {
		_free_ uint8_t *zero = mem_array(w->len, 1);

		assert_int_equal(pwrite(fd, zero, w->len, (off_t)w->offset), w->len);
	} else if (w->data)
		assert_int_equal(pwrite(fd, w->data, w->len, (off_t)w->offset), w->len);
}

/* The file after the first n log entries; of those since the last barrier only some where `some`. */
static void rebuild(struct bed *b, size_t n, bool some)
{
	_close_ int fd = path_open(AT_FDCWD, b->cut, O_RDWR | O_CREAT | O_TRUNC, 0600);
	size_t barrier = 0;

	assert_int_equal(pwrite(fd, b->first, b->first_len, 0), b->first_len);
	for (size_t i = 0; i < n; i++)
		if (b->hook.log.v[i].flush)
			barrier = i;
	for (size_t i = 0; i < n; i++)
		if (!some || i < barrier || rnd(b, 2))
			apply(fd, &b->hook.log.v[i]);
}

static void expect_flushed(struct bed *b, struct disk *d, size_t n)
{
	const struct flushed *f = &b->flushes.v[0];
	_free_ uint8_t *got = mem_array(DISK_BYTES, 1);

	vec_each (x, &b->flushes)
		if (x->log_at <= n)
			f = x;
	assert_ok(disk_pread(d, 0, got, DISK_BYTES));
	for (unsigned s = 0; s < SECTORS; s++)
		if (!f->touched[s] && memcmp(got + s * SECTOR, f->bytes + s * SECTOR, SECTOR))
			fail_msg("cut after %zu: sector %u has lost flushed data", n, s);
}

static void print_found(void *arg, const char *line)
{
	print_message("%s\n", line);
}

static void expect_sound(struct bed *b, size_t n, bool some)
{
	struct disk_check c = {.found = print_found};
	struct disk *d;

	rebuild(b, n, some);
	/* As it is: without the repair that opening for writing makes where the dirty bit is set. */
	d = open_at(b, b->cut, 0);
	bool dirty = ((struct qcow2 *)d->state)->incompat & QCOW2_DIRTY;

	expect_flushed(b, d, n);
	c.found = NULL;
	assert_ok(disk_check(d, 0, &c, &b->e));
	if (c.check_errors || (!dirty && c.corruptions))
		fail_msg("cut after %zu%s: %llu corruptions", n, some ? ", some missing" : "",
			 (unsigned long long)c.corruptions);
	assert_ok(disk_close(d));
	d = open_at(b, b->cut, DISK_WRITE);
	expect_flushed(b, d, n);
	assert_ok(disk_check(d, DISK_FIX_LEAKS, &c, &b->e));
	assert_ok(disk_check(d, 0, &c, &b->e));
	if (c.corruptions || c.leaks || c.check_errors)
		fail_msg("cut after %zu%s: not clean after a repair", n,
			 some ? ", some missing" : "");
	/* And it can be written to. */
	assert_ok(disk_pwrite(d, 1000, "x", 1, 0));
	assert_ok(disk_close(d));
}

static void cut_everywhere(const char *options, bool snapshots, unsigned seed, unsigned steps)
{
	struct disk_ctx_options co = {.inline_writes = true};
	struct bed *b = mem_alloc(sizeof(*b));
	const char *scale = getenv("DISK_ROUNDS");

	b->seed = seed;
	b->dir = tmpdir_new();
	assert_ok(disk_ctx_new(&co, &b->ctx, &b->e));
	snprintf(b->path, sizeof(b->path), "%s/a.qcow2", b->dir.path);
	snprintf(b->cut, sizeof(b->cut), "%s/cut.qcow2", b->dir.path);
	record(b, options, steps * (scale ? (unsigned)atoi(scale) : 1), snapshots);
	/* The replays' own flushes prove nothing. */
	for (size_t n = 0; n <= b->hook.log.n; n++) {
		expect_sound(b, n, false);
		expect_sound(b, n, true);
	}
	vec_each (f, &b->flushes) {
		free(f->bytes);
		free(f->touched);
	}
	vec_done(&b->flushes);
	hook_done(&b->hook);
	free(b->first);
	disk_ctx_free(b->ctx);
	tmpdir_done(&b->dir);
	free(b);
}

static void plain(void **state)
{
	cut_everywhere("{}", false, 1, 50);
}

static void small_clusters(void **state)
{
	cut_everywhere("{\"cluster_size\":4096}", false, 2, 30);
}

static void subclusters(void **state)
{
	cut_everywhere("{\"cluster_size\":16384,\"extended_l2\":true}", false, 3, 50);
}

static void with_snapshots(void **state)
{
	cut_everywhere("{\"cluster_size\":16384}", true, 4, 40);
}

static void lazy(void **state)
{
	cut_everywhere("{\"lazy_refcounts\":true,\"cluster_size\":16384}", false, 5, 40);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(plain),       cmocka_unit_test(small_clusters),
	    cmocka_unit_test(subclusters), cmocka_unit_test(with_snapshots),
	    cmocka_unit_test(lazy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
