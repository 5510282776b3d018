/* Operation sequences on a good qcow2 image, from bytes: each must leave what a plain array of bytes
 * has, and an image without damage or leaks. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "disk/disk.h"
#include "disk/host.h"
#include "disk/qcow2.h"

#define DISK_BYTES (256u << 10)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const kinds[] = {
    "{\"cluster_size\":512,\"refcount_bits\":1}",
    "{\"cluster_size\":4096}",
    "{\"cluster_size\":16384,\"extended_l2\":true}",
    "{\"cluster_size\":4096,\"compat\":\"0.10\"}",
    "{\"cluster_size\":4096,\"lazy_refcounts\":true}",
    "{\"cluster_size\":8192,\"preallocation\":\"metadata\"}",
};

static void must(bool ok)
{
	if (!ok)
		abort();
}

static struct disk *open_image(struct disk_ctx *ctx, const char *path)
{
	json_t *o = json_pack("{s:s}", "driver", "qcow2");
	struct disk *d = NULL;
	struct err e;

	must(disk_open(ctx, path, o, DISK_WRITE | DISK_UNMAP, &d, &e) == 0);
	json_decref(o);
	return d;
}

static void step(struct disk *d, const uint8_t *in, uint8_t *model, uint8_t *buf)
{
	uint32_t offset = (uint32_t)(in[1] << 10 | in[2] << 2) % DISK_BYTES,
		 len = (in[3] + 1u) * 100;
	uint32_t cs = d->cluster_size;

	if (len > DISK_BYTES - offset)
		len = DISK_BYTES - offset;
	memset(buf, in[4], DISK_BYTES);
	switch (in[0] % 6) {
	case 0:
	case 1:
		must(disk_pwrite(d, offset, buf, len, 0) == 0);
		memcpy(model + offset, buf, len);
		break;
	case 2:
		must(disk_write_zeroes(d, offset, len, in[4] & 1 ? DISK_REQ_UNMAP : 0) == 0);
		memset(model + offset, 0, len);
		break;
	case 3:
		must(disk_discard(d, offset, len) == 0);
		must(disk_pread(d, offset, model + offset, len) == 0);
		break;
	case 4:
		offset = offset / cs * cs;
		len = cs < DISK_BYTES - offset ? cs : DISK_BYTES - offset;
		must(disk_pwrite(d, offset, buf, len, DISK_REQ_COMPRESSED) == 0);
		memcpy(model + offset, buf, len);
		break;
	case 5:
		must(disk_flush(d) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct disk_ctx_options co = {.inline_writes = true, .no_uring = true, .threads = 1};
	struct disk_check c = {0};
	struct disk_ctx *ctx = NULL;
	struct err e;
	char path[64];

	if (size < 1 || size > 5000)
		return 0;
	int fd = memfd_create("qcow2", MFD_CLOEXEC);

	must(fd >= 0 && disk_ctx_new(&co, &ctx, &e) == 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	json_t *o = json_loads(kinds[data[0] % (sizeof(kinds) / sizeof(kinds[0]))], 0, NULL);
	uint8_t *model = mem_array(DISK_BYTES, 1), *buf = mem_array(DISK_BYTES, 1);

	json_object_set_new(o, "size", json_integer(DISK_BYTES));
	must(disk_create(ctx, &disk_driver_qcow2, path, o, 0, &e) == 0);
	struct disk *d = open_image(ctx, path);

	for (size_t i = 1; i + 5 <= size; i += 5)
		step(d, data + i, model, buf);
	must(disk_close(d) == 0);
	d = open_image(ctx, path);
	must(disk_pread(d, 0, buf, DISK_BYTES) == 0 && !memcmp(buf, model, DISK_BYTES));
	must(disk_check(d, 0, &c, &e) == 0 && !c.corruptions && !c.leaks && !c.check_errors);
	must(disk_close(d) == 0);
	json_decref(o);
	free(model);
	free(buf);
	disk_ctx_free(ctx);
	close(fd);
	return 0;
}
