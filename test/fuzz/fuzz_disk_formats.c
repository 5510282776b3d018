/* Opening, reading, checking and writing images of VDI, VHD, VHDX, VMDK and LUKS.
 *
 * Images are mostly holes, so an input is a list of what is not: a byte for the format, then pieces, each
 * the sector (32 bits) and length (16 bits, little-endian) and the bytes. Checksums are put right before
 * the image is opened, or no input would get past them. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/endian.h"
#include "disk/crc32c.h"
#include "disk/driver.h"
#include "disk/vhd_head.h"
#include "disk/vhdx_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FILE_MAX  (16u << 20)
#define SECTOR    512u
#define CHECK_MAX 100000u

static const char *const formats[] = {"vdi", "vpc", "vhdx", "vmdk", "luks"};

/* --- checksums --- */

static void mend_vhd_sum(uint8_t *p, size_t len, size_t at)
{
	uint32_t sum = 0;

	put_be32(p + at, 0);
	for (size_t i = 0; i < len; i++)
		sum += p[i];
	put_be32(p + at, ~sum);
}

static void mend_vhd(uint8_t *image, size_t len)
{
	for (size_t at = 0; at + 1024 <= len; at += SECTOR) {
		if (!memcmp(image + at, "conectix", 8))
			mend_vhd_sum(image + at, 512, 64);
		if (!memcmp(image + at, "cxsparse", 8))
			mend_vhd_sum(image + at, 1024, 36);
	}
	if (len >= SECTOR && !memcmp(image + len - SECTOR, "conectix", 8))
		mend_vhd_sum(image + len - SECTOR, 512, 64);
}

static void mend_vhdx(uint8_t *image, size_t len)
{
	for (size_t at = 0; at + 4096 <= len; at += 4096) {
		uint8_t *p = image + at;
		uint32_t n = !memcmp(p, "head", 4)   ? 4096
			     : !memcmp(p, "regi", 4) ? VHDX_REGION_BYTES
			     : !memcmp(p, "loge", 4) ? get_le32(p + 8)
						     : 0;

		if (n >= 64 && n <= len - at)
			put_le32(p + 4, crc32c_without(p, n, 4));
	}
}

/* --- the image --- */

/* Lays the pieces out; returns the image's length. */
static size_t lay_out(const uint8_t *data, size_t size, uint8_t *image)
{
	size_t end = 0;

	while (size >= 6) {
		uint64_t at = (uint64_t)get_le32(data) * SECTOR;
		size_t n = MIN((size_t)get_le16(data + 4), size - 6);

		data += 6;
		size -= 6;
		if (at + n <= FILE_MAX) {
			memcpy(image + at, data, n);
			end = MAX(end, (size_t)at + n);
		}
		data += n;
		size -= n;
	}
	return end;
}

/* --- what is done with it --- */

static void exercise(struct disk *d, bool writable)
{
	static uint8_t buf[64 << 10];
	uint64_t size = disk_size(d), at = 0;
	struct disk_check c = {0};
	struct disk_info info = {0};
	struct err e;
	DISK_VEC(v, buf, sizeof(buf));

	if (!disk_get_info(d, &info, &e))
		json_decref(info.specific);
	for (int i = 0; i < 200 && at < size; i++) {
		struct disk_extent x;

		if (disk_block_status(d, at, size - at, false, &x) < 0)
			break;
		if (!x.len || x.len > size - at)
			abort();
		at += x.len;
	}
	for (int i = 0; i < 8; i++) {
		uint64_t offset = size / 8 * i;

		disk_preadv(d, offset, MIN(size - offset, sizeof(buf)), &v, 0);
	}
	if (!d->cluster_size || size / d->cluster_size < CHECK_MAX)
		disk_check(d, 0, &c, &e);
	if (!writable)
		return;
	memset(buf, 0x5a, sizeof(buf));
	for (int i = 0; i < 4; i++) {
		uint64_t offset = size / 4 * i;

		disk_pwritev(d, offset, MIN(size - offset, (uint64_t)5000), &v, 0, 0);
		disk_write_zeroes(d, offset, MIN(size - offset, (uint64_t)1000), 0);
	}
	disk_flush(d);
	if (size < 1 << 20)
		disk_truncate(d, size + 70000, false, DISK_PREALLOC_OFF, 0, &e);
	if (!d->cluster_size || size / d->cluster_size < CHECK_MAX)
		disk_check(d, DISK_FIX_LEAKS | DISK_FIX_ERRORS, &c, &e);
}

static void try(struct disk_ctx *ctx, const char *path, const char *format, unsigned flags)
{
	json_t *o = json_pack("{s:s}", "driver", format);
	struct err e = {0};
	struct disk *d;
	int rc = disk_open(ctx, path, o, flags | DISK_UNTRUSTED | DISK_NO_BACKING, &d, &e);

	json_decref(o);
	if (rc < 0) {
		if (!*e.msg)
			abort();
		return;
	}
	exercise(d, flags & DISK_WRITE);
	disk_close(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct disk_ctx *ctx;
	static uint8_t *image;
	static int fd;
	char path[64];
	unsigned format;
	size_t len;

	if (!ctx) {
		struct disk_ctx_options o = {.inline_writes = true};

		if (disk_ctx_new(&o, &ctx, NULL) < 0)
			abort();
		image = mmap(NULL, FILE_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			     -1, 0);
		fd = memfd_create("image", MFD_CLOEXEC);
	}
	if (!size)
		return 0;
	format = *data % (sizeof(formats) / sizeof(*formats));
	madvise(image, FILE_MAX, MADV_DONTNEED);
	len = lay_out(data + 1, size - 1, image);
	if (format == 1)
		mend_vhd(image, len);
	if (format == 2)
		mend_vhdx(image, len);
	if (ftruncate(fd, 0) || ftruncate(fd, len))
		abort();
	for (size_t at = 0; at < len; at += 4096)
		if (!disk_is_zero(image + at, MIN(len - at, (size_t)4096)) &&
		    pwrite(fd, image + at, MIN(len - at, (size_t)4096), at) < 0)
			abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	/* LUKS: a key would cost seconds. */
	try(ctx, path, formats[format], format == 4 ? DISK_NO_IO : 0);
	if (format != 4)
		try(ctx, path, formats[format], DISK_WRITE | DISK_UNMAP);
	return 0;
}
