/* A context, a folder and a model for tests of disk formats: the model is the disk's content as plain
 * bytes, every change is made to both, and both are compared, here and by qemu-img. */
#ifndef TEST_LIB_DISKBED_H
#define TEST_LIB_DISKBED_H

#include <sys/wait.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "disk/driver.h"
#include "test.h"
#include "tmpdir.h"

struct diskbed {
	struct tmpdir dir;
	struct disk_ctx *ctx;
	struct err e;
	char path[PATH_MAX + 64]; /* the image */
	const char *format;
	struct disk *d;
	uint8_t *model;
	uint64_t size;
	uint32_t random;
};

static inline void diskbed_start(struct diskbed *b, const char *format)
{
	memset(b, 0, sizeof(*b));
	b->dir = tmpdir_new();
	b->format = format;
	b->random = 1;
	assert_ok(disk_ctx_new(NULL, &b->ctx, &b->e));
	snprintf(b->path, sizeof(b->path), "%s/disk.%s", b->dir.path, format);
}

static inline void diskbed_end(struct diskbed *b)
{
	assert_ok(disk_close(b->d));
	disk_ctx_free(b->ctx);
	free(b->model);
	tmpdir_done(&b->dir);
}

static inline uint32_t diskbed_random(struct diskbed *b, uint32_t below)
{
	b->random = b->random * 1664525u + 1013904223u;
	return (uint64_t)(b->random >> 8) * below >> 24;
}

/* Runs a command line in the folder; its exit status. Output is dropped unless it fails. */
static inline int __attribute__((format(printf, 2, 3)))
diskbed_run(struct diskbed *b, const char *fmt, ...)
{
	_buf_ struct buf line = {0}, all = {0};
	va_list ap;
	int status;

	va_start(ap, fmt);
	buf_addfv(&line, fmt, ap);
	va_end(ap);
	buf_addf(&all, "cd '%s' && { %s; } >out 2>&1", b->dir.path, line.s);
	status = system(all.s);
	if (!WIFEXITED(status) || WEXITSTATUS(status)) {
		buf_reset(&all);
		buf_addf(&all, "echo '+ %s' >&2; cat '%s/out' >&2", line.s, b->dir.path);
		assert_int_not_equal(system(all.s), -1);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static inline bool diskbed_has(const char *program)
{
	char line[256];

	snprintf(line, sizeof(line), "command -v %s >/dev/null", program);
	return !system(line);
}

static inline void diskbed_open(struct diskbed *b, unsigned flags)
{
	json_t *o = json_pack("{s:s}", "driver", b->format);

	assert_ok(disk_close(b->d));
	b->d = NULL;
	if (disk_open(b->ctx, b->path, o, flags, &b->d, &b->e) < 0)
		fail_msg("%s", b->e.msg);
	json_decref(o);
}

/* Makes the image with these options ("subformat=fixed,…" as JSON) and opens it for writing. */
static inline void diskbed_create(struct diskbed *b, uint64_t size, const char *options)
{
	json_t *o = json_loads(options ? options : "{}", 0, NULL);

	assert_non_null(o);
	json_object_set_new(o, "size", json_integer(size));
	if (disk_create(b->ctx, disk_driver_find(b->format), b->path, o, 0, &b->e) < 0)
		fail_msg("%s", b->e.msg);
	json_decref(o);
	diskbed_open(b, DISK_WRITE | DISK_UNMAP);
	b->size = disk_size(b->d);
	b->model = mem_array(b->size + 1, 1);
}

static inline void diskbed_write(struct diskbed *b, uint64_t offset, uint64_t len)
{
	uint8_t *p = b->model + offset;

	for (uint64_t i = 0; i < len; i += 64)
		memset(p + i, 1 + diskbed_random(b, 255), MIN(len - i, (uint64_t)64));
	assert_ok(disk_pwrite(b->d, offset, p, len, 0));
}

static inline void diskbed_zero(struct diskbed *b, uint64_t offset, uint64_t len)
{
	memset(b->model + offset, 0, len);
	assert_ok(disk_write_zeroes(b->d, offset, len, DISK_REQ_UNMAP));
}

static inline void diskbed_compare(struct diskbed *b)
{
	uint8_t *is = mem_alloc(b->size + 1);

	assert_int_equal(disk_size(b->d), b->size);
	assert_ok(disk_pread(b->d, 0, is, b->size));
	bool same = !memcmp(is, b->model, b->size);

	for (uint64_t i = 0; !same && i < b->size; i++)
		if (is[i] != b->model[i])
			fail_msg("byte %llu is %u, should be %u", (unsigned long long)i, is[i],
				 b->model[i]);
	free(is);
}

/* What block_status calls zero is zero, and its extents cover the disk. */
static inline void diskbed_status(struct diskbed *b)
{
	uint64_t at = 0;

	while (at < b->size) {
		struct disk_extent x;

		assert_ok(disk_block_status(b->d, at, b->size - at, false, &x));
		assert_true(x.len > 0 && x.len <= b->size - at);
		if (x.flags & DISK_EXT_ZERO)
			assert_true(disk_is_zero(b->model + at, x.len));
		at += x.len;
	}
}

static inline void diskbed_resize(struct diskbed *b, uint64_t size)
{
	uint64_t old = b->size;

	if (disk_truncate(b->d, size, true, DISK_PREALLOC_OFF, 0, &b->e) < 0)
		fail_msg("%s", b->e.msg);
	b->size = disk_size(b->d);
	assert_true(b->size >= size);
	b->model = mem_grow(b->model, b->size + 1, 1);
	if (b->size > old)
		memset(b->model + old, 0, b->size - old);
}

static inline void diskbed_check(struct diskbed *b)
{
	struct disk_check c = {0};

	assert_ok(disk_check(b->d, 0, &c, &b->e));
	assert_int_equal(c.corruptions, 0);
	assert_int_equal(c.leaks, 0);
}

/* The model as a file "model". */
static inline void diskbed_save_model(struct diskbed *b)
{
	assert_ok(path_replace(b->dir.fd, "model", b->model, b->size, 0600, false));
}

/* Closes the image and has qemu-img check and compare it. */
static inline void diskbed_qemu(struct diskbed *b, bool checks)
{
	assert_ok(disk_close(b->d));
	b->d = NULL;
	diskbed_save_model(b);
	if (checks)
		assert_int_equal(diskbed_run(b, "qemu-img check -f %s %s", b->format, b->path), 0);
	assert_int_equal(
	    diskbed_run(b, "qemu-img compare -f raw -F %s model %s", b->format, b->path), 0);
}

/* A random step: write, zeros, read, flush, reopen. */
static inline void diskbed_step(struct diskbed *b, uint64_t most)
{
	uint64_t offset = diskbed_random(b, MIN(b->size, (uint64_t)1 << 30));
	uint64_t len = MIN(b->size - offset, 1 + (uint64_t)diskbed_random(b, most));

	switch (diskbed_random(b, 12)) {
	case 0:
		offset = bits_align_down(offset, 65536);
		len = MIN(bits_align_up(len, 65536), b->size - offset);
		diskbed_zero(b, offset, len);
		break;
	case 1:
		diskbed_zero(b, offset, len);
		break;
	case 2:
		assert_ok(disk_flush(b->d));
		break;
	case 3:
		diskbed_open(b, DISK_WRITE | DISK_UNMAP);
		break;
	case 4:
		diskbed_compare(b);
		break;
	default:
		diskbed_write(b, offset, len);
	}
}

#endif
