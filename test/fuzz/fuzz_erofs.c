/* The writer of indexes: whatever the tar, what it accepts becomes an image in which every reference
 * is sound (test/lib/erofs_check.h). The unpacker's and the merger's view of names is in it too. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "erofs_check.h"
#include "image/erofs_write.h"

#define IMAGE_MAX (64u << 20) /* copies of sparse files may be huge */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char tag[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static void check(int fd)
{
	struct stat st;

	if (fstat(fd, &st) || st.st_size > IMAGE_MAX)
		return;
	void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED || erofs_check(p, (size_t)st.st_size, NULL))
		abort();
	munmap(p, (size_t)st.st_size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct tar_sink sink = {erofs_writer_entry, erofs_writer_data};
	int fd = memfd_create("index", MFD_CLOEXEC);
	struct erofs_writer *w = erofs_writer_new(fd);
	struct tar_reader *r = tar_reader_new(&sink, w);
	struct err e = {0};
	int rc = tar_reader_feed(r, data, size, &e);

	if (!rc)
		rc = tar_reader_finish(r, &e);
	if (!rc)
		rc = erofs_writer_finish(w, size, tag, &e);
	if (rc && (e.rc != rc || !*e.msg))
		abort();
	if (!rc)
		check(fd);
	tar_reader_free(r);
	erofs_writer_free(w);
	close(fd);
	return 0;
}
