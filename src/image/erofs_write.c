/* Entries become the tree, attributes are encoded, sparse files get their maps. What is copied is
 * written as it comes; everything else at the end (erofs_emit.c). */
#include "image/erofs_write_int.h"

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/endian.h"
#include "base/str.h"
#include "image/entry.h"
#include "image/erofs_format.h"

#include <errno.h>
#include <unistd.h>

#define SPARSE_CHUNKS_MAX 65536u
#define TAR_DEVICE        1u

int erofs_write_at(struct erofs_writer *w, uint64_t at, const void *p, size_t len, struct err *e)
{
	while (len) {
		ssize_t n = pwrite(w->fd, p, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_sys(e, ERR_LAYER_IO, "cannot write the index of a layer");
		p = (const char *)p + n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* --- attributes --- */

static const struct {
	const char *prefix;
	uint8_t index; /* EROFS_XATTR_INDEX_… */
} prefixes[] = {
    {"user.", 1},
    {"system.posix_acl_access", 2},
    {"system.posix_acl_default", 3},
    {"trusted.", 4},
    {"security.", 6},
};

void erofs_add_xattr(struct buf *b, const char *name, const void *value, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
		const char *rest = str_after(name, prefixes[i].prefix);
		size_t rest_len = rest ? strlen(rest) : 0;

		if (!rest || rest_len > UINT8_MAX || len > UINT16_MAX ||
		    !rest_len == (prefixes[i].prefix[strlen(prefixes[i].prefix) - 1] == '.'))
			continue;
		unsigned char head[EROFS_XATTR_ENTRY] = {(uint8_t)rest_len, prefixes[i].index};

		put_le16(head + 2, (uint16_t)len);
		buf_add(b, head, sizeof(head));
		buf_add(b, rest, rest_len);
		buf_add(b, value, len);
		buf_add(b, "\0\0\0", -b->len % 4);
		return;
	}
}

/* INO_XATTRS counts in 16 bits. */
static bool xattrs_fit(size_t len)
{
	return len / 4 < UINT16_MAX - 16;
}

static int take_xattrs(struct erofs_writer *w, uint32_t inode, const struct tar_entry *t,
		       struct err *e)
{
	buf_reset(&w->xattrs);
	for (size_t i = 0; i < t->xattr_count; i++)
		if (entry_xattr_kept(t->xattrs[i].name))
			erofs_add_xattr(&w->xattrs, t->xattrs[i].name, t->xattrs[i].value,
					t->xattrs[i].len);
	if (!xattrs_fit(w->xattrs.len))
		return err_set(e, ERR_TAR_LIMIT, -E2BIG, "the attributes of '%s' are too large",
			       t->path);
	struct tree_inode *in = &w->tree.inodes.v[inode];

	in->xattrs_len = (uint32_t)w->xattrs.len;
	return tree_store(&w->tree, w->xattrs.s, w->xattrs.len, &in->xattrs, e);
}

/* --- sparse files --- */

static unsigned log2_up(uint64_t v)
{
	return v <= 1 ? 0 : 64 - (unsigned)__builtin_clzll(v - 1);
}

/* The largest chunk at whose multiples all pieces begin and end, if their bytes lie at blocks of the
 * tar too; 0: there is none that is small enough. */
static unsigned mapped_chunk_bits(const struct tar_entry *t)
{
	uint64_t all = 0, stored = 0;

	for (size_t i = 0; i < t->segment_count; i++) {
		const struct tar_segment *s = &t->segments[i];

		if (stored % EROFS_BLOCK)
			return 0;
		all |= s->offset;
		if (s->offset + s->len != t->size)
			all |= s->len;
		stored += s->len;
	}
	unsigned bits = all ? (unsigned)__builtin_ctzll(all) : 31;

	bits = MIN(bits, EROFS_BLOCK_BITS + EROFS_CHUNK_BITS);
	bits = MIN(bits, MAX(log2_up(t->size), EROFS_BLOCK_BITS));
	return bits >= EROFS_BLOCK_BITS && (t->size - 1) >> bits < SPARSE_CHUNKS_MAX ? bits : 0;
}

static void set_chunk(struct erofs_writer *w, uint32_t map, uint64_t chunk, unsigned device,
		      uint64_t block)
{
	char *at = w->tree.heap.v + map + chunk * EROFS_CHUNK_SIZE;

	put_le16(at, 0);
	put_le16(at + 2, (uint16_t)device);
	put_le32(at + 4, (uint32_t)block);
}

static void map_segments(struct erofs_writer *w, const struct tar_entry *t, uint32_t map,
			 unsigned bits)
{
	uint64_t at = t->data_offset;

	for (size_t i = 0; i < t->segment_count; i++) {
		const struct tar_segment *s = &t->segments[i];

		for (uint64_t off = 0; off < s->len; off += 1ull << bits)
			set_chunk(w, map, (s->offset + off) >> bits, TAR_DEVICE,
				  (at + off) >> EROFS_BLOCK_BITS);
		at += s->len;
	}
}

/* Gives every chunk that a piece touches its place in the index; the bytes follow. */
static int begin_copy(struct erofs_writer *w, const struct tar_entry *t, uint32_t inode,
		      uint32_t map, unsigned bits, struct err *e)
{
	uint64_t next = 0; /* chunks before it have been seen to */

	w->copy.segments.n = 0;
	for (size_t i = 0; i < t->segment_count; i++) {
		const struct tar_segment *s = &t->segments[i];
		uint64_t last = (s->offset + s->len - 1) >> bits;

		for (uint64_t c = MAX(next, s->offset >> bits); c <= last; c++) {
			if (w->body >> EROFS_BLOCK_BITS >= EROFS_NO_BLOCK >> 1)
				return err_set(e, ERR_TAR_LIMIT, -EFBIG,
					       "the sparse file '%s' is too large", t->path);
			set_chunk(w, map, c, 0, w->body >> EROFS_BLOCK_BITS);
			w->body += 1ull << bits;
		}
		next = last + 1;
		vec_push(&w->copy.segments, *s);
	}
	w->copy.running = t->segment_count > 0;
	w->copy.inode = inode;
	w->copy.chunks = map;
	w->copy.bits = bits;
	w->copy.segment = 0;
	w->copy.done = 0;
	return 0;
}

static int take_sparse(struct erofs_writer *w, const struct tar_entry *t, uint32_t inode,
		       struct err *e)
{
	unsigned mapped = mapped_chunk_bits(t);
	unsigned bits = mapped ? mapped
			       : MAX(log2_up((t->size + SPARSE_CHUNKS_MAX - 1) / SPARSE_CHUNKS_MAX),
				     EROFS_BLOCK_BITS);
	uint32_t map;

	if (bits > EROFS_BLOCK_BITS + EROFS_CHUNK_BITS)
		return err_set(e, ERR_TAR_LIMIT, -EFBIG, "the sparse file '%s' is too large",
			       t->path);
	uint64_t count = ((t->size - 1) >> bits) + 1;
	_free_ char *holes = mem_array(count, EROFS_CHUNK_SIZE);
	int rc;

	memset(holes, 0xff, count * EROFS_CHUNK_SIZE); /* block -1 is a hole */
	for (uint64_t i = 0; i < count; i++)
		put_le32(holes + i * EROFS_CHUNK_SIZE, 0);
	if ((rc = tree_store(&w->tree, holes, count * EROFS_CHUNK_SIZE, &map, e)))
		return rc;
	struct tree_inode *in = &w->tree.inodes.v[inode];

	in->data = TREE_CHUNKS;
	in->data_at = map;
	in->data_len = (uint32_t)count;
	in->chunk_bits = (uint8_t)(bits - EROFS_BLOCK_BITS);
	w->chunks = true;
	if (!mapped)
		return begin_copy(w, t, inode, map, bits, e);
	map_segments(w, t, map, bits);
	return 0;
}

/* --- the sink --- */

int erofs_writer_entry(void *arg, const struct tar_entry *t, struct err *e)
{
	struct erofs_writer *w = arg;
	uint32_t inode;
	int rc = tree_add(&w->tree, t, &inode, e);

	w->copy.running = false;
	if (rc || inode == TREE_NONE)
		return rc;
	struct tree_inode *in = &w->tree.inodes.v[inode];

	if (t->type == TAR_FILE && t->size && !t->sparse) {
		in->data = TREE_AT;
		in->data_at = t->data_offset;
	} else if (t->type == TAR_FILE && t->size) {
		rc = take_sparse(w, t, inode, e);
	}
	return rc || !t->xattr_count ? rc : take_xattrs(w, inode, t, e);
}

int erofs_writer_data(void *arg, const void *p, size_t len, struct err *e)
{
	struct erofs_writer *w = arg;
	struct erofs_copy *c = &w->copy;
	int rc = 0;

	while (c->running && len && !rc) {
		const struct tar_segment *s = &c->segments.v[c->segment];
		uint64_t off = s->offset + c->done, in_chunk = off & ((1ull << c->bits) - 1);
		const char *map = w->tree.heap.v + c->chunks + (off >> c->bits) * EROFS_CHUNK_SIZE;
		uint64_t n = MIN(s->len - c->done, (1ull << c->bits) - in_chunk);

		n = MIN(n, (uint64_t)len);

		rc = erofs_write_at(w, ((uint64_t)get_le32(map + 4) << EROFS_BLOCK_BITS) + in_chunk,
				    p, (size_t)n, e);
		p = (const char *)p + n;
		len -= (size_t)n;
		c->done += n;
		if (c->done == s->len) {
			c->done = 0;
			c->running = ++c->segment < c->segments.n;
		}
	}
	return rc;
}

void erofs_writer_implied(struct erofs_writer *w, struct buf *b)
{
	tree_implied(&w->tree, b);
}

struct erofs_writer *erofs_writer_new(int fd)
{
	struct erofs_writer *w = mem_alloc(sizeof(*w));

	w->fd = fd;
	w->body = bits_align_up(EROFS_BODY_AT, EROFS_BLOCK);
	tree_init(&w->tree);
	return w;
}

void erofs_writer_free(struct erofs_writer *w)
{
	if (!w)
		return;
	tree_done(&w->tree);
	buf_done(&w->xattrs);
	buf_done(&w->out);
	vec_done(&w->copy.segments);
	vec_done(&w->order);
	free(w->blocks.v);
	free(w->inlined.v);
	free(w);
}
