/* A hostile qcow2 image: opened without trust, asked what it is, read, mapped, checked, and written to
 * and repaired as a copy. The image is the input; it lies in a memfd, which is as long as it says, so
 * that nothing of the machine is reached. */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "disk/disk.h"
#include "disk/host.h"

#define INPUT_MAX (1u << 20)
#define FILE_MAX  (64u << 20) /* a tmpfs file that grows past this is an input of no interest */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int count_line(void *arg, uint64_t done, uint64_t total)
{
	/* Tables may refer to each other a billion times; a while of it is enough. */
	return ++*(unsigned *)arg > 64;
}

static void look(struct disk *d, uint8_t *buf, size_t len)
{
	struct disk_snapshot *snapshots = NULL;
	struct disk_bitmap *bitmaps = NULL;
	struct disk_info info;
	struct disk_extent x;
	struct err e;
	unsigned lines = 0;
	struct disk_check c = {.progress = {count_line, &lines}};

	if (disk_get_info(d, &info, &e) == 0)
		json_decref(info.specific);
	for (uint64_t at = 0, n = 0; at < disk_size(d) && n < 64; n++, at += x.len)
		if (disk_block_status(d, at, UINT64_MAX - at, true, &x) < 0)
			break;
	for (unsigned i = 0; i < 8; i++) {
		uint64_t at = disk_size(d) / 8 * i;

		disk_pread(d, at, buf, (size_t)(disk_size(d) - at < len ? disk_size(d) - at : len));
	}
	if (disk_snapshot_list(d, &snapshots) > 0)
		disk_vmstate_pread(d, 0, buf, 512);
	disk_bitmap_list(d, &bitmaps);
	free(snapshots);
	free(bitmaps);
	if (disk_file(d)->drv == &disk_driver_host && disk_size(disk_file(d)) <= FILE_MAX)
		disk_check(d, 0, &c, &e);
}

static void change(struct disk *d, const uint8_t *buf)
{
	struct disk_snapshot s = {.name = "fuzz"};
	struct err e;
	unsigned lines = 0;
	struct disk_check c = {.progress = {count_line, &lines}};

	disk_pwrite(d, 0, buf, 512, 0);
	disk_pwrite(d, disk_size(d) / 2, buf, 4096 < disk_size(d) / 2 ? 4096 : 0, 0);
	disk_write_zeroes(d, disk_size(d) / 4,
			  disk_size(d) / 4 < 100000 ? disk_size(d) / 4 : 100000, DISK_REQ_UNMAP);
	disk_discard(d, 0, disk_size(d) < 200000 ? disk_size(d) : 200000);
	disk_flush(d);
	if (disk_size(d) <= 1u << 30) {
		disk_snapshot_create(d, &s, &e);
		disk_snapshot_delete(d, "1", &e);
	}
	if (disk_size(disk_file(d)) <= FILE_MAX)
		disk_check(d, DISK_FIX_LEAKS | DISK_FIX_ERRORS, &c, &e);
}

static void try_open(struct disk_ctx *ctx, const char *path, unsigned flags, uint8_t *buf,
		     size_t len)
{
	json_t *o = json_pack("{s:s}", "driver", "qcow2");
	struct disk *d;
	struct err e;

	if (disk_open(ctx, path, o, flags | DISK_UNTRUSTED | DISK_NO_BACKING, &d, &e) == 0) {
		if (flags & DISK_WRITE)
			change(d, buf);
		else
			look(d, buf, len);
		disk_close(d);
	} else if (!*e.msg || e.rc >= 0) {
		abort();
	}
	json_decref(o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct disk_ctx_options co = {.inline_writes = true, .no_uring = true, .threads = 1};
	struct disk_ctx *ctx;
	struct err e;
	char path[64];

	if (size > INPUT_MAX)
		return 0;
	int fd = memfd_create("qcow2", MFD_CLOEXEC);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size || disk_ctx_new(&co, &ctx, &e) < 0)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	uint8_t *buf = mem_array(1, 70000);

	try_open(ctx, path, 0, buf, 70000);
	try_open(ctx, path, DISK_CHECK, buf, 70000);
	try_open(ctx, path, DISK_WRITE | DISK_UNMAP, buf, 70000);
	free(buf);
	disk_ctx_free(ctx);
	close(fd);
	return 0;
}
