#include "codec/tar_int.h"

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/str.h"

/* Octal with leading zeros and a NUL; false where it does not fit. */
static bool put_octal(char *field, size_t size, uint64_t v)
{
	for (size_t i = size - 1; i-- > 0; v >>= 3)
		field[i] = (char)('0' + (v & 7));
	return !v;
}

static void add_record(struct buf *b, const char *key, const void *value, size_t len)
{
	size_t rest = strlen(key) + len + 3; /* space, '=', newline */
	size_t total = rest + 1;

	/* The length counts its own digits. */
	while (total != rest + (size_t)snprintf(NULL, 0, "%zu", total))
		total = rest + (size_t)snprintf(NULL, 0, "%zu", total);
	buf_addf(b, "%zu %s=", total, key);
	buf_add(b, value, len);
	buf_addc(b, '\n');
}

static void add_number(struct buf *b, const char *key, uint64_t v)
{
	char text[24];

	add_record(b, key, text,
		   (size_t)snprintf(text, sizeof(text), "%llu", (unsigned long long)v));
}

static void add_time(struct buf *b, int64_t s, uint32_t ns)
{
	char text[48];
	bool negative = s < 0;

	if (negative && ns) { /* the record has sign and magnitude */
		s++;
		ns = 1000000000 - ns;
	}
	int n = snprintf(text, sizeof(text), "%s%llu", negative ? "-" : "",
			 negative ? 0 - (unsigned long long)s : (unsigned long long)s);

	if (ns) {
		n += snprintf(text + n, sizeof(text) - (size_t)n, ".%09u", ns);
		while (text[n - 1] == '0')
			n--;
	}
	add_record(b, "mtime", text, (size_t)n);
}

static void finish_header(struct tar_header *h)
{
	unsigned sum = 0;

	memcpy(h->magic, "ustar", 6);
	memcpy(h->version, "00", 2);
	memset(h->checksum, ' ', sizeof(h->checksum));
	for (size_t i = 0; i < sizeof(*h); i++)
		sum += ((const unsigned char *)h)[i];
	put_octal(h->checksum, 7, sum);
}

/* Puts path into name and prefix, cut at a slash; false where it does not fit. */
static bool put_path(struct tar_header *h, const char *path)
{
	size_t len = strlen(path);

	if (len <= sizeof(h->name)) {
		memcpy(h->name, path, len);
		return true;
	}
	for (size_t i = MIN(len - 1, sizeof(h->prefix)); i > 0; i--) {
		size_t rest = len - i - 1;

		if (path[i] != '/' || rest > sizeof(h->name))
			continue;
		if (!rest)
			continue;
		memcpy(h->prefix, path, i);
		memcpy(h->name, path + i + 1, rest);
		return true;
	}
	return false;
}

static char type_of(const struct tar_entry *t)
{
	static const char types[] = {
	    [TAR_FILE] = '0',     [TAR_HARDLINK] = '1', [TAR_SYMLINK] = '2', [TAR_CHAR] = '3',
	    [TAR_BLOCKDEV] = '4', [TAR_DIR] = '5',      [TAR_FIFO] = '6',
	};

	return types[t->type];
}

/* Fills h; what does not fit goes to the records. */
static void describe(const struct tar_entry *t, struct tar_header *h, struct buf *records)
{
	size_t link_len = strlen(t->link);
	uint64_t size = t->type == TAR_FILE ? t->data_len : 0;

	h->type = type_of(t);
	if (!put_path(h, t->path))
		add_record(records, "path", t->path, strlen(t->path));
	if (link_len <= sizeof(h->link))
		memcpy(h->link, t->link, link_len);
	else
		add_record(records, "linkpath", t->link, link_len);
	put_octal(h->mode, sizeof(h->mode), t->mode & 07777);
	if (!put_octal(h->uid, sizeof(h->uid), t->uid))
		add_number(records, "uid", t->uid);
	if (!put_octal(h->gid, sizeof(h->gid), t->gid))
		add_number(records, "gid", t->gid);
	if (!put_octal(h->size, sizeof(h->size), size))
		add_number(records, "size", size);
	if (t->mtime_s < 0 || t->mtime_ns ||
	    !put_octal(h->mtime, sizeof(h->mtime), (uint64_t)t->mtime_s)) {
		put_octal(h->mtime, sizeof(h->mtime), 0);
		add_time(records, t->mtime_s, t->mtime_ns);
	}
	if (t->type == TAR_CHAR || t->type == TAR_BLOCKDEV) {
		put_octal(h->major, sizeof(h->major), t->dev_major);
		put_octal(h->minor, sizeof(h->minor), t->dev_minor);
	}
	for (size_t i = 0; i < t->xattr_count; i++) {
		_free_ char *key = mem_printf("SCHILY.xattr.%s", t->xattrs[i].name);

		add_record(records, key, t->xattrs[i].value, t->xattrs[i].len);
	}
}

void tar_write_header(struct buf *b, const struct tar_entry *t)
{
	_buf_ struct buf records = {0};
	struct tar_header h = {0}, x = {.name = "PaxHeaders/entry", .type = 'x'};

	describe(t, &h, &records);
	if (records.len) {
		put_octal(x.mode, sizeof(x.mode), 0644);
		put_octal(x.uid, sizeof(x.uid), 0);
		put_octal(x.gid, sizeof(x.gid), 0);
		put_octal(x.size, sizeof(x.size), records.len);
		put_octal(x.mtime, sizeof(x.mtime), 0);
		finish_header(&x);
		buf_add(b, &x, sizeof(x));
		buf_add(b, records.s, records.len);
		tar_write_padding(b, records.len);
	}
	finish_header(&h);
	buf_add(b, &h, sizeof(h));
}

void tar_write_padding(struct buf *b, uint64_t len)
{
	static const char zero[TAR_BLOCK];

	buf_add(b, zero, -len % TAR_BLOCK);
}

void tar_write_end(struct buf *b)
{
	static const char zero[2 * TAR_BLOCK];

	buf_add(b, zero, sizeof(zero));
}
