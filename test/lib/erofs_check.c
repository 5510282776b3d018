#include "erofs_check.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bits.h"
#include "base/endian.h"
#include "base/mem.h"
#include "base/vec.h"

#define BLOCK 512u

struct inode {
	uint64_t nid, size;
	uint32_t mode, nlink, data;
	unsigned layout;
	const unsigned char *raw;
	size_t head; /* with its attributes */
};

struct seen {
	uint64_t nid;
	uint32_t nlink, refs;
	bool directory;
};

struct check {
	const unsigned char *image;
	size_t len;
	uint64_t meta, blocks, mapped, tar_blocks;
	VEC(struct seen) seen;
	VEC(uint64_t) todo; /* directories */
};

static const char *read_inode(const struct check *c, uint64_t nid, struct inode *in)
{
	uint64_t at = c->meta + nid * 32;

	if (nid > UINT32_MAX || at + 64 > c->len)
		return "an inode outside the image";
	const unsigned char *p = c->image + at;
	unsigned format = get_le16(p), xattrs = get_le16(p + 2);

	*in = (struct inode){nid,
			     get_le64(p + 8),
			     get_le16(p + 4),
			     get_le32(p + 44),
			     get_le32(p + 16),
			     format >> 1,
			     p,
			     64 + (xattrs ? 12 + 4 * (xattrs - 1u) : 0)};
	if (!(format & 1) || at % BLOCK + 64 > BLOCK)
		return "an inode that is compact or crosses a block";
	if (at + in->head > c->len)
		return "attributes outside the image";
	for (size_t x = 64 + 12; x < in->head;) {
		size_t n = bits_align_up(4u + p[x] + get_le16(p + x + 2), 4);

		if (p[x + 1] < 1 || p[x + 1] > 6 || x + n > in->head)
			return "a malformed attribute";
		x += n;
	}
	return NULL;
}

static const char *check_chunks(const struct check *c, const struct inode *in)
{
	unsigned bits = 9 + (in->data & 0x1f);
	uint64_t count = in->size ? ((in->size - 1) >> bits) + 1 : 0;
	const unsigned char *p = in->raw + bits_align_up(in->head, 8);

	if (!(in->data & 0x20) || count > c->len / 8 || p + count * 8 > c->image + c->len)
		return "a chunk map outside the image";
	for (uint64_t i = 0; i < count; i++, p += 8) {
		uint64_t block = get_le32(p + 4),
			 limit = get_le16(p + 2) ? c->tar_blocks : c->blocks;

		if (block == UINT32_MAX)
			continue;
		if (get_le16(p + 2) > 1 || block >= limit)
			return "a chunk outside its device";
	}
	return NULL;
}

static const char *check_file(const struct check *c, const struct inode *in)
{
	uint64_t blocks = (in->size + BLOCK - 1) / BLOCK;

	if (in->layout == 4)
		return check_chunks(c, in);
	if (in->layout)
		return "a file of unknown layout";
	if (in->size && (in->data < c->mapped || in->data - c->mapped + blocks > c->tar_blocks))
		return "a file outside the tar";
	return NULL;
}

/* The i-th block of a directory or symlink: its bytes. */
static const char *block_of(const struct check *c, const struct inode *in, uint64_t i,
			    const unsigned char **ret, size_t *ret_len)
{
	uint64_t last = (in->size - 1) / BLOCK;
	const unsigned char *end = c->image + c->len;

	*ret_len = i < last ? BLOCK : (size_t)(in->size - last * BLOCK);
	*ret = in->layout == 2 && i == last ? in->raw + in->head
					    : c->image + ((uint64_t)in->data + i) * BLOCK;
	if (in->layout != 0 && in->layout != 2)
		return "a directory or symlink of unknown layout";
	if (*ret < c->image || *ret + *ret_len > end)
		return "bytes of a directory or symlink outside the image";
	if ((size_t)(*ret - c->image) % BLOCK + *ret_len > BLOCK)
		return "inline bytes cross a block";
	return NULL;
}

static const char *visit(struct check *c, uint64_t nid, unsigned type, bool dots)
{
	static const unsigned char types[] = {[S_IFREG >> 12] = 1, [S_IFDIR >> 12] = 2,
					      [S_IFCHR >> 12] = 3, [S_IFBLK >> 12] = 4,
					      [S_IFIFO >> 12] = 5, [S_IFLNK >> 12] = 7};
	struct inode in;
	const char *why = read_inode(c, nid, &in);

	if (why || in.mode >> 12 >= sizeof(types) || types[in.mode >> 12] != type)
		return why ? why : "an entry of another type than its inode";
	if (dots)
		return NULL;
	vec_each (s, &c->seen) {
		if (s->nid != nid)
			continue;
		s->refs++;
		return type == 2 ? "a directory with two names" : NULL;
	}
	vec_push(&c->seen, (struct seen){nid, in.nlink, 1, type == 2});
	if (type == 2)
		vec_push(&c->todo, nid);
	if (type == 7)
		for (uint64_t i = 0; !why && in.size && i <= (in.size - 1) / BLOCK; i++) {
			const unsigned char *p;
			size_t len;

			why = block_of(c, &in, i, &p, &len);
		}
	return why ? why : type == 1 ? check_file(c, &in) : NULL;
}

struct names {
	char last[256];
	bool any;
	unsigned dots;
	uint32_t directories;
};

static const char *check_name(struct check *c, const unsigned char *d, const unsigned char *name,
			      size_t len, struct names *n)
{
	char text[256];
	bool dots = (len == 1 && name[0] == '.') || (len == 2 && name[0] == '.' && name[1] == '.');

	if (!len || len > 255 || memchr(name, '/', len) || memchr(name, '\0', len))
		return "an impossible name";
	memcpy(text, name, len);
	text[len] = '\0';
	if (n->any && strcmp(n->last, text) >= 0)
		return "names out of order";
	memcpy(n->last, text, len + 1);
	n->any = true;
	n->dots += dots;
	n->directories += d[10] == 2 && !dots;
	return visit(c, get_le64(d), d[10], dots);
}

static const char *check_dir_block(struct check *c, const unsigned char *p, size_t len,
				   struct names *n)
{
	size_t first = get_le16(p + 8), count = first / 12;
	const char *why = NULL;

	if (!first || first % 12 || first > len)
		return "a directory block without entries";
	for (size_t i = 0; i < count && !why; i++) {
		size_t from = get_le16(p + i * 12 + 8);
		size_t to = i + 1 < count
				? get_le16(p + (i + 1) * 12 + 8)
				: from + strnlen((const char *)p + from, len - MIN(from, len));

		if (from > to || to > len)
			return "names outside their block";
		why = check_name(c, p + i * 12, p + from, to - from, n);
	}
	return why;
}

static const char *check_directory(struct check *c, uint64_t nid)
{
	struct names n = {0};
	struct inode in;
	const char *why = read_inode(c, nid, &in);

	for (uint64_t i = 0; !why && i * BLOCK < in.size; i++) {
		const unsigned char *p;
		size_t len;

		why = block_of(c, &in, i, &p, &len);
		if (!why)
			why = check_dir_block(c, p, len, &n);
	}
	if (!why && (n.dots != 2 || in.nlink != n.directories + 2))
		why = "a directory without dots, or with a wrong link count";
	return why;
}

static uint32_t crc32c(const unsigned char *p, size_t len)
{
	uint32_t crc = ~0u;

	for (size_t i = 0; i < len; i++)
		for (unsigned bit = 0; bit < 8; bit++) {
			/* the field itself counts as zero */
			unsigned in = i >= 4 && i < 8 ? 0 : p[i] >> bit & 1;

			crc = crc >> 1 ^ ((crc & 1) != in ? 0x82f63b78u : 0);
		}
	return crc;
}

const char *erofs_check(const unsigned char *image, size_t len, uint64_t *ret_inodes)
{
	const unsigned char *sb = image + 1024, *dev = image + 1152;
	struct check c = {.image = image, .len = len};
	const char *why = NULL;

	if (len < 1536 || len % BLOCK || get_le32(sb) != 0xe0f5e1e2 || sb[12] != 9)
		return "no superblock";
	if (get_le32(sb + 4) != crc32c(sb, BLOCK))
		return "a wrong check sum";
	c.meta = (uint64_t)get_le32(sb + 40) * BLOCK;
	c.blocks = len / BLOCK;
	c.mapped = get_le32(dev + 68);
	c.tar_blocks = get_le32(dev + 64);
	if (c.mapped < c.blocks || get_le16(sb + 86) != 1 || get_le16(sb + 88) != 9)
		return "a wrong device table";
	why = visit(&c, get_le16(sb + 14), 2, false);
	while (!why && c.todo.n)
		why = check_directory(&c, c.todo.v[--c.todo.n]);
	vec_each (s, &c.seen)
		if (!why && !s->directory && s->nlink != s->refs)
			why = "a wrong link count";
	if (!why && c.seen.n != get_le64(sb + 16))
		why = "a wrong number of inodes";
	if (ret_inodes)
		*ret_inodes = c.seen.n;
	vec_done(&c.seen);
	vec_done(&c.todo);
	return why;
}
