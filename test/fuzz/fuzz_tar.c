/* The tar reader: any bytes, in pieces whose size the first byte chooses, give the same entries as in
 * one piece, and what an entry says about its data holds. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "codec/tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
	uint64_t entries, bytes, expected, sum;
};

static int entry(void *arg, const struct tar_entry *t, struct err *e)
{
	struct seen *s = arg;
	uint64_t end = 0, stored = 0;

	if (s->bytes != s->expected || t->data_offset % TAR_BLOCK || t->mode > 07777 ||
	    t->mtime_ns >= 1000000000)
		abort();
	for (size_t i = 0; i < t->segment_count; i++) {
		if (t->segments[i].offset < end || !t->segments[i].len)
			abort();
		end = t->segments[i].offset + t->segments[i].len;
		stored += t->segments[i].len;
	}
	if (t->sparse ? stored != t->data_len || end > t->size
		      : t->type == TAR_FILE && t->size != t->data_len)
		abort();
	for (size_t i = 0; i < t->xattr_count; i++)
		s->sum = s->sum * 31 + strlen(t->xattrs[i].name) + t->xattrs[i].len;
	s->sum = s->sum * 31 + strlen(t->path) + strlen(t->link) + t->uid + t->size;
	s->expected += t->data_len;
	s->entries++;
	return 0;
}

static int bytes(void *arg, const void *p, size_t len, struct err *e)
{
	((struct seen *)arg)->bytes += len;
	return 0;
}

static struct seen read_all(const uint8_t *data, size_t size, size_t piece)
{
	static const struct tar_sink sink = {entry, bytes};
	struct seen s = {0};
	struct tar_reader *r = tar_reader_new(&sink, &s);
	struct err e = {0};
	int rc = 0;

	for (size_t i = 0; i < size && !rc; i += piece)
		rc = tar_reader_feed(r, data + i, size - i < piece ? size - i : piece, &e);
	if (!rc)
		rc = tar_reader_finish(r, &e);
	if (rc && (e.rc != rc || !*e.msg))
		abort();
	if (!rc && s.bytes != s.expected)
		abort();
	s.sum += (uint64_t)rc;
	tar_reader_free(r);
	return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	size_t piece = data[0] ? (size_t)data[0] * 7 : 1;
	struct seen whole = read_all(data + 1, size - 1, size),
		    parts = read_all(data + 1, size - 1, piece);

	if (whole.entries != parts.entries || whole.sum != parts.sum)
		abort();
	return 0;
}
