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

#define FILE_MAX   (16u << 20)
#define SECTOR     512u
#define PIECES_MAX 256u
#define CHECK_MAX  2000u

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

/* What begins at `at`, if it is a structure with a checksum. */
static void mend(uint8_t *image, size_t end, size_t at)
{
	uint8_t *p = image + at;
	size_t left = end - at;
	uint32_t n = 0;

	if (left >= 512 && !memcmp(p, "conectix", 8))
		mend_vhd_sum(p, 512, 64);
	else if (left >= 1024 && !memcmp(p, "cxsparse", 8))
		mend_vhd_sum(p, 1024, 36);
	else if (left >= 4096 && !memcmp(p, "head", 4))
		n = 4096;
	else if (left >= VHDX_REGION_BYTES && !memcmp(p, "regi", 4))
		n = VHDX_REGION_BYTES;
	else if (left >= 64 && !memcmp(p, "loge", 4))
		n = get_le32(p + 8);
	if (n >= 64 && n <= left)
		put_le32(p + 4, crc32c_without(p, n, 4));
}

/* --- the image --- */

struct piece {
	const uint8_t *bytes;
	size_t at, len;
};

/* Cuts the input into pieces; returns how many, and where the image ends. */
static unsigned cut(const uint8_t *data, size_t size, struct piece *pieces, size_t *ret_end)
{
	unsigned count = 0;

	*ret_end = 0;
	while (size >= 6 && count < PIECES_MAX) {
		uint64_t at = (uint64_t)get_le32(data) * SECTOR;
		size_t n = MIN((size_t)get_le16(data + 4), size - 6);

		data += 6;
		size -= 6;
		if (n && at + n <= FILE_MAX) {
			pieces[count++] = (struct piece){data, at, n};
			*ret_end = MAX(*ret_end, (size_t)at + n);
		}
		data += n;
		size -= n;
	}
	return count;
}

/* Writes the image into the file, which is mapped at `image`. */
static void lay_out(int fd, uint8_t *image, const uint8_t *data, size_t size)
{
	static struct piece pieces[PIECES_MAX];
	size_t end;
	unsigned count = cut(data, size, pieces, &end);

	if (ftruncate(fd, 0) || ftruncate(fd, end))
		abort();
	for (unsigned i = 0; i < count; i++)
		memcpy(image + pieces[i].at, pieces[i].bytes, pieces[i].len);
	for (unsigned i = 0; i < count; i++)
		for (size_t at = 0; at < pieces[i].len; at += SECTOR)
			mend(image, end, pieces[i].at + at);
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

	if (!ctx) {
		struct disk_ctx_options o = {.inline_writes = true};

		fd = memfd_create("image", MFD_CLOEXEC);
		image = mmap(NULL, FILE_MAX, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (fd < 0 || image == MAP_FAILED || disk_ctx_new(&o, &ctx, NULL) < 0)
			abort();
	}
	if (!size)
		return 0;
	format = *data % (sizeof(formats) / sizeof(*formats));
	lay_out(fd, image, data + 1, size - 1);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	/* LUKS: a key would cost seconds. */
	try(ctx, path, formats[format], format == 4 ? DISK_NO_IO : 0);
	if (format != 4)
		try(ctx, path, formats[format], DISK_WRITE | DISK_UNMAP);
	return 0;
}
