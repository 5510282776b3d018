/* Power cuts and failing writes under VDI, VHD, VHDX and VMDK. What reaches the file is logged, and the file
 * is rebuilt as after a cut behind every write, once whole and once with any part of the writes since the
 * last barrier missing: it must open, hold what was flushed, and be clean after `check -r leaks`. */
#include "diskbed.h"

#include <errno.h>
#include <fcntl.h>

#include "diskhook.h"

#define SECTOR 512

/* The guest's view at a barrier that it asked for. */
struct flushed {
	size_t log_at; /* entries before it */
	uint64_t size;
	uint8_t *bytes;
	bool *touched; /* sectors that changed since, until the next one */
};

struct cutbed {
	struct diskbed b;
	struct hook hook;
	VEC(struct flushed) flushes;
	uint64_t sectors; /* of the largest size */
	struct buf first; /* the file before the log */
	char cut[PATH_MAX + 80];
};

static void mark_flush(struct cutbed *t)
{
	struct flushed f = {.log_at = t->hook.log.n,
			    .size = t->b.size,
			    .bytes = mem_dup(t->b.model, t->b.size),
			    .touched = mem_array(t->sectors, sizeof(bool))};

	vec_push(&t->flushes, f);
}

static void touch(struct cutbed *t, uint64_t offset, uint64_t len)
{
	bool *touched = t->flushes.v[t->flushes.n - 1].touched;

	for (uint64_t s = offset / SECTOR; s < (offset + len + SECTOR - 1) / SECTOR; s++)
		touched[s] = true;
}

static void guest_step(struct cutbed *t)
{
	struct diskbed *b = &t->b;
	uint64_t offset = diskbed_random(b, b->size - 1);
	uint64_t len = MIN(b->size - offset, 1 + (uint64_t)diskbed_random(b, 20000));

	switch (diskbed_random(b, 10)) {
	case 0:
	case 1:
		assert_ok(disk_flush(b->d));
		mark_flush(t);
		break;
	case 2:
		touch(t, offset, len);
		diskbed_zero(b, offset, len);
		break;
	case 3:
		len = SECTOR * (1 + (uint64_t)diskbed_random(b, t->sectors - 1));
		touch(t, MIN(len, b->size), t->sectors * SECTOR - MIN(len, b->size));
		diskbed_resize(b, MIN(len, (t->sectors - 3000) * SECTOR));
		break;
	default:
		touch(t, offset, len);
		diskbed_write(b, offset, len);
	}
}

static void record(struct cutbed *t, const char *format, const char *options, unsigned steps)
{
	struct diskbed *b = &t->b;

	diskbed_start(b, format);
	b->random = steps;
	t->sectors = 12000;
	snprintf(t->cut, sizeof(t->cut), "%s/cut.%s", b->dir.path, format);
	diskbed_create(b, 2500608, options);
	assert_ok(path_read(AT_FDCWD, b->path, &t->first, 64u << 20));
	hook_set(&t->hook, b->d->file);
	t->hook.driver.copy_range = NULL; /* would bypass the log */
	t->hook.logging = true;
	mark_flush(t);
	for (unsigned i = 0; i < steps; i++)
		guest_step(t);
	assert_ok(disk_close(b->d));
	b->d = NULL;
	t->hook.logging = false;
}

/* --- replay --- */

static void apply(int fd, const struct hook_write *w)
{
	if (w->truncate) {
		assert_ok(ftruncate(fd, (off_t)w->len));
	} else if (w->zero) {
		_free_ uint8_t *zero = mem_array(w->len, 1);

		assert_int_equal(pwrite(fd, zero, w->len, (off_t)w->offset), w->len);
	} else if (w->data) {
		assert_int_equal(pwrite(fd, w->data, w->len, (off_t)w->offset), w->len);
	}
}

static void rebuild(struct cutbed *t, size_t n, bool some)
{
	_close_ int fd = path_open(AT_FDCWD, t->cut, O_RDWR | O_CREAT | O_TRUNC, 0600);
	size_t barrier = 0;

	assert_int_equal(pwrite(fd, t->first.s, t->first.len, 0), t->first.len);
	for (size_t i = 0; i < n; i++)
		if (t->hook.log.v[i].flush)
			barrier = i;
	for (size_t i = 0; i < n; i++)
		if (!some || i < barrier || diskbed_random(&t->b, 2))
			apply(fd, &t->hook.log.v[i]);
}

static struct disk *open_cut(struct cutbed *t, size_t n, unsigned flags)
{
	json_t *o = json_pack("{s:s}", "driver", t->b.format);
	struct disk *d = NULL;

	if (disk_open(t->b.ctx, t->cut, o, flags | DISK_NO_FLUSH, &d, &t->b.e) < 0)
		fail_msg("cut after %zu: %s", n, t->b.e.msg);
	json_decref(o);
	return d;
}

static void expect_flushed(struct cutbed *t, struct disk *d, size_t n)
{
	const struct flushed *f = &t->flushes.v[0];

	vec_each (x, &t->flushes)
		if (x->log_at <= n)
			f = x;
	uint64_t size = MIN(f->size, disk_size(d)) / SECTOR * SECTOR;
	_free_ uint8_t *got = mem_array(size + 1, 1);

	assert_ok(disk_pread(d, 0, got, size));
	for (uint64_t s = 0; s < size / SECTOR; s++)
		if (!f->touched[s] && memcmp(got + s * SECTOR, f->bytes + s * SECTOR, SECTOR) != 0)
			fail_msg("cut after %zu: sector %zu has lost flushed data", n, (size_t)s);
}

static void print_found(void *arg, const char *line)
{
	print_message("%s\n", line);
}

static void expect_sound(struct cutbed *t, size_t n, bool some)
{
	struct disk_check c = {0};
	struct disk *d;

	rebuild(t, n, some);
	d = open_cut(t, n, 0);
	expect_flushed(t, d, n);
	assert_ok(disk_close(d));
	d = open_cut(t, n, DISK_WRITE);
	expect_flushed(t, d, n);
	assert_ok(disk_check(d, DISK_FIX_LEAKS, &c, &t->b.e));
	c = (struct disk_check){.found = print_found};
	assert_ok(disk_check(d, 0, &c, &t->b.e));
	if (c.corruptions || c.leaks || c.check_errors)
		fail_msg("cut after %zu%s: not clean after a repair", n,
			 some ? ", some missing" : "");
	expect_flushed(t, d, n);
	assert_ok(disk_pwrite(d, 1000 % disk_size(d), "x", 1, 0));
	assert_ok(disk_close(d));
}

static void cut_everywhere(const char *format, const char *options, unsigned steps)
{
	struct cutbed *t = mem_alloc(sizeof(*t));

	record(t, format, options, steps);
	for (size_t n = 0; n <= t->hook.log.n; n++) {
		expect_sound(t, n, false);
		expect_sound(t, n, true);
	}
	vec_each (f, &t->flushes) {
		free(f->bytes);
		free(f->touched);
	}
	vec_done(&t->flushes);
	hook_done(&t->hook);
	buf_done(&t->first);
	diskbed_end(&t->b);
	free(t);
}

static void vdi(void **state)
{
	cut_everywhere("vdi", NULL, 50);
}

static void vhd(void **state)
{
	cut_everywhere("vpc", "{\"force_size\":true}", 50);
}

static void vhdx(void **state)
{
	cut_everywhere("vhdx", "{\"block_size\":1048576}", 40);
}

static void vmdk(void **state)
{
	cut_everywhere("vmdk", NULL, 50);
}

/* Every n-th change of the file fails: the error arrives, and what was flushed before is there afterwards. */
static void failing_writes(void **state)
{
	static const char *const formats[] = {"vdi", "vpc", "vhdx", "vmdk"};

	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		for (unsigned n = 1;; n += 1 + n / 8) {
			struct hook hook = {.fail_at = n, .error = -ENOSPC};
			struct diskbed b;
			bool failed = false;

			diskbed_start(&b, formats[i]);
			diskbed_create(&b, 2500608, i == 2 ? "{\"block_size\":1048576}" : NULL);
			diskbed_write(&b, 100000, 5000);
			assert_ok(disk_flush(b.d));
			hook_set(&hook, b.d->file);
			for (int step = 0; step < 6 && !failed; step++) {
				uint8_t buf[600];
				uint64_t at = 1200000 + step * 200000;

				memset(buf, 7, sizeof(buf));
				failed = disk_pwrite(b.d, at, buf, sizeof(buf), 0) < 0 ||
					 disk_flush(b.d) < 0;
				if (!failed)
					memcpy(b.model + at, buf, sizeof(buf));
			}
			assert_true(failed || hook.count < n);
			hook.fail_at = 0;
			disk_close(b.d);
			b.d = NULL;
			diskbed_open(&b, DISK_WRITE);
			uint8_t got[5000];

			assert_ok(disk_pread(b.d, 100000, got, sizeof(got)));
			assert_memory_equal(got, b.model + 100000, sizeof(got));
			diskbed_end(&b);
			if (!failed)
				break;
		}
	}
}

int main(void)
{
	return TEST_RUN("disk_formats_cut", cmocka_unit_test(vdi), cmocka_unit_test(vhd),
			cmocka_unit_test(vhdx), cmocka_unit_test(vmdk),
			cmocka_unit_test(failing_writes));
}
