/* The index:
 *
 *	0      1024 zero bytes, superblock, one device slot
 *	1536   pieces of sparse files that had to be copied, as they came
 *	       blocks of directories and long symlinks
 *	       from the block meta_blkaddr on: inodes, each with its attributes and what is inline
 *
 * The tar's blocks are mapped behind those of the index (mapped_blkaddr), so that a plain file names
 * its first block and no device. finish() walks the tree twice: place_…() gives every inode its
 * number and every directory its blocks, emit_…() writes them in the same order.
 */
#include "image/erofs_write_int.h"

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/endian.h"
#include "image/entry.h"
#include "image/erofs_format.h"

#include <assert.h>
#include <errno.h>
#include <sys/stat.h>

#define OUT_SIZE (128u << 10)

static struct tree_inode *inode_at(struct erofs_writer *w, uint32_t n)
{
	return &w->tree.inodes.v[w->tree.nodes.v[n].inode];
}

/* --- writing --- */

static int flush(struct erofs_writer *w, struct err *e)
{
	int rc = erofs_write_at(w, w->out_at, w->out.s, w->out.len, e);

	w->out_at += w->out.len;
	buf_reset(&w->out);
	return rc;
}

static uint64_t out_pos(const struct erofs_writer *w)
{
	return w->out_at + w->out.len;
}

static int put_zeros(struct erofs_writer *w, uint64_t until, struct err *e)
{
	static const char zero[EROFS_BLOCK];

	assert(until >= out_pos(w));
	while (out_pos(w) < until)
		buf_add(&w->out, zero, MIN(until - out_pos(w), sizeof(zero)));
	return w->out.len >= OUT_SIZE ? flush(w, e) : 0;
}

/* --- directories --- */

struct dirent_ref {
	const char *name;
	size_t len;
	uint32_t node;
};

/* Calls fn for every name of the directory in the order of their bytes, "." and ".." among them. */
static int each_name(struct erofs_writer *w, uint32_t dir,
		     int (*fn)(struct erofs_writer *w, const struct dirent_ref *d, void *arg,
			       struct err *e),
		     void *arg, struct err *e)
{
	const struct tree *t = &w->tree;
	const struct dirent_ref dots[] = {{".", 1, dir}, {"..", 2, t->nodes.v[dir].parent}};
	size_t dot = 0;
	int rc = 0;

	for (uint32_t n = t->nodes.v[dir].child; n && !rc; n = t->nodes.v[n].next) {
		const struct tree_node *node = &t->nodes.v[n];
		const struct dirent_ref d = {tree_name(t, node), node->name_len, n};

		for (; !rc && dot < 2 && strcmp(dots[dot].name, d.name) < 0; dot++)
			rc = fn(w, &dots[dot], arg, e);
		if (!rc)
			rc = fn(w, &d, arg, e);
	}
	for (; !rc && dot < 2; dot++)
		rc = fn(w, &dots[dot], arg, e);
	return rc;
}

/* How a directory's entries fill blocks: size is that of the whole, used that of the last block. */
struct dir_size {
	uint64_t size;
	size_t used;
};

static int count_name(struct erofs_writer *w, const struct dirent_ref *d, void *arg, struct err *e)
{
	struct dir_size *s = arg;
	size_t need = EROFS_DIRENT_SIZE + d->len;

	if (s->used + need > EROFS_BLOCK) {
		s->size = bits_align_up(s->size, EROFS_BLOCK);
		s->used = 0;
	}
	s->size += need;
	s->used += need;
	return 0;
}

/* The block under way. */
struct dir_block {
	struct dirent_ref refs[EROFS_BLOCK / (EROFS_DIRENT_SIZE + 1)];
	size_t count, used;
};

static uint8_t dirent_type(uint32_t mode)
{
	switch (mode & S_IFMT) { /* FT_… of linux/fs_types.h */
	case S_IFREG:
		return 1;
	case S_IFDIR:
		return 2;
	case S_IFCHR:
		return 3;
	case S_IFBLK:
		return 4;
	case S_IFIFO:
		return 5;
	default:
		return 7;
	}
}

/* Appends the block's entries and names; without padding. */
static void put_block(struct erofs_writer *w, struct dir_block *b)
{
	size_t name_at = b->count * EROFS_DIRENT_SIZE;

	for (size_t i = 0; i < b->count; i++) {
		unsigned char d[EROFS_DIRENT_SIZE] = {0};

		put_le64(d + DIRENT_NID, inode_at(w, b->refs[i].node)->nid);
		put_le16(d + DIRENT_NAME, (uint16_t)name_at);
		d[DIRENT_TYPE] = dirent_type(inode_at(w, b->refs[i].node)->mode);
		buf_add(&w->out, d, sizeof(d));
		name_at += b->refs[i].len;
	}
	for (size_t i = 0; i < b->count; i++)
		buf_add(&w->out, b->refs[i].name, b->refs[i].len);
	b->count = b->used = 0;
}

/* Writes full blocks; the last one stays in b. */
static int fill_block(struct erofs_writer *w, const struct dirent_ref *d, void *arg, struct err *e)
{
	struct dir_block *b = arg;
	size_t need = EROFS_DIRENT_SIZE + d->len;
	int rc = 0;

	if (b->used + need > EROFS_BLOCK) {
		put_block(w, b);
		rc = put_zeros(w, bits_align_up(out_pos(w), EROFS_BLOCK), e);
	}
	b->refs[b->count++] = *d;
	b->used += need;
	return rc;
}

/* As fill_block(), but only the last block counts. */
static int last_block(struct erofs_writer *w, const struct dirent_ref *d, void *arg, struct err *e)
{
	struct dir_block *b = arg;
	size_t need = EROFS_DIRENT_SIZE + d->len;

	if (b->used + need > EROFS_BLOCK)
		b->count = b->used = 0;
	b->refs[b->count++] = *d;
	b->used += need;
	return 0;
}

/* --- places --- */

static const char opaque_value = 'y';

static uint32_t xattr_bytes(const struct tree_inode *in)
{
	uint32_t len = in->xattrs_len;

	if (in->opaque)
		len += (uint32_t)bits_align_up(
		    EROFS_XATTR_ENTRY + sizeof("overlay.opaque") - 1 + sizeof(opaque_value), 4);
	return len ? EROFS_XATTR_HEADER + len : 0;
}

/* Puts an inode with what must follow it inside one block at the next possible slot. */
static void place_inode(struct erofs_writer *w, struct tree_inode *in, size_t tail)
{
	uint64_t head = EROFS_INODE_SIZE + xattr_bytes(in);
	uint64_t at = w->meta_len;

	while (at % EROFS_BLOCK + EROFS_INODE_SIZE > EROFS_BLOCK ||
	       (tail && (at + head) % EROFS_BLOCK + tail > EROFS_BLOCK))
		at += EROFS_SLOT;
	in->nid = (uint32_t)(at / EROFS_SLOT);
	at += head;
	if (in->data == TREE_CHUNKS)
		at =
		    bits_align_up(at, EROFS_CHUNK_SIZE) + (uint64_t)in->data_len * EROFS_CHUNK_SIZE;
	w->meta_len = bits_align_up(at + tail, EROFS_SLOT);
}

/* Decides where the bytes of a directory or symlink go: `size` in whole blocks of the data area but
 * for the last one, which follows the inode where it fits in. */
static void place_bytes(struct erofs_writer *w, struct tree_inode *in, uint32_t index,
			uint64_t size)
{
	size_t tail = size % EROFS_BLOCK;
	/* Smaller ones find a slot of a block where they fit, whatever the attributes' size. */
	bool inlined = tail && tail <= EROFS_BLOCK - 2 * EROFS_SLOT;
	uint64_t whole = inlined ? size - tail : bits_align_up(size, EROFS_BLOCK);

	in->size = size;
	w->inlined.v[index] = inlined;
	if (whole) {
		w->blocks.v[index] = (uint32_t)(w->data_at >> EROFS_BLOCK_BITS);
		w->data_at += whole;
	}
	place_inode(w, in, inlined ? tail : 0);
}

static int place_node(struct erofs_writer *w, uint32_t n, struct err *e)
{
	struct tree_inode *in = inode_at(w, n);
	uint32_t index = w->tree.nodes.v[n].inode;

	if (in->nid)
		return 0; /* a hard link */
	if (S_ISDIR(in->mode)) {
		struct dir_size s = {0};

		each_name(w, n, count_name, &s, NULL);
		place_bytes(w, in, index, s.size);
	} else if (S_ISLNK(in->mode)) {
		place_bytes(w, in, index, in->size);
	} else {
		place_inode(w, in, 0);
	}
	if (w->meta_len / EROFS_SLOT > UINT32_MAX - 1 ||
	    w->data_at >> EROFS_BLOCK_BITS >= EROFS_NO_BLOCK)
		return err_set(e, ERR_TAR_LIMIT, -EFBIG, "the layer's metadata is too large");
	vec_push(&w->order, n);
	return 0;
}

/* The root, then each directory's entries together. */
static int place_all(struct erofs_writer *w, struct err *e)
{
	struct tree *t = &w->tree;

	w->blocks.v = mem_array(t->inodes.n, sizeof(*w->blocks.v));
	memset(w->blocks.v, 0xff, t->inodes.n * sizeof(*w->blocks.v));
	w->inlined.v = mem_array(t->inodes.n, sizeof(*w->inlined.v));
	w->data_at = w->body;
	w->meta_len = 2 * EROFS_SLOT; /* number 0 is nobody's, because readdir(3) passes over it */
	int rc = place_node(w, TREE_ROOT, e);

	/* The order is the queue too. */
	for (size_t i = 0; i < w->order.n && !rc; i++)
		for (uint32_t c = t->nodes.v[w->order.v[i]].child; c && !rc; c = t->nodes.v[c].next)
			rc = place_node(w, c, e);
	w->meta_at = w->data_at;
	return rc;
}

/* --- emission --- */

static int emit_data(struct erofs_writer *w, uint32_t n, struct err *e)
{
	struct tree_inode *in = inode_at(w, n);
	uint32_t index = w->tree.nodes.v[n].inode;
	int rc = 0;

	if (w->blocks.v[index] == EROFS_NO_BLOCK || S_ISREG(in->mode))
		return 0;
	assert(out_pos(w) == (uint64_t)w->blocks.v[index] << EROFS_BLOCK_BITS);
	if (S_ISDIR(in->mode)) {
		struct dir_block b;

		b.count = b.used = 0;
		rc = each_name(w, n, fill_block, &b, e);
		if (!rc && !w->inlined.v[index])
			put_block(w, &b);
	} else {
		uint64_t len =
		    w->inlined.v[index] ? bits_align_down(in->size, EROFS_BLOCK) : in->size;

		buf_add(&w->out, w->tree.heap.v + in->data_at, len);
	}
	return rc ? rc : put_zeros(w, bits_align_up(out_pos(w), EROFS_BLOCK), e);
}

static uint32_t data_field(struct erofs_writer *w, uint32_t n, uint16_t *ret_layout)
{
	struct tree_inode *in = inode_at(w, n);
	uint32_t index = w->tree.nodes.v[n].inode;

	*ret_layout = w->inlined.v[index] ? EROFS_LAYOUT_INLINE : EROFS_LAYOUT_PLAIN;
	switch (in->mode & S_IFMT) {
	case S_IFCHR:
	case S_IFBLK:
		return in->rdev;
	case S_IFREG:
		if (in->data == TREE_CHUNKS) {
			*ret_layout = EROFS_LAYOUT_CHUNKS;
			return EROFS_CHUNK_INDEXES | in->chunk_bits;
		}
		if (in->data == TREE_AT)
			return w->mapped + (uint32_t)(in->data_at >> EROFS_BLOCK_BITS);
		return EROFS_NO_BLOCK;
	default:
		return w->blocks.v[index];
	}
}

static void put_inode(struct erofs_writer *w, uint32_t n)
{
	struct tree_inode *in = inode_at(w, n);
	unsigned char d[EROFS_INODE_SIZE] = {0};
	uint32_t xattrs = xattr_bytes(in);
	uint16_t layout;

	put_le32(d + INO_DATA, data_field(w, n, &layout));
	put_le16(d + INO_FORMAT, EROFS_FORMAT(layout));
	if (xattrs)
		put_le16(d + INO_XATTRS, (uint16_t)((xattrs - EROFS_XATTR_HEADER) / 4 + 1));
	put_le16(d + INO_MODE, (uint16_t)in->mode);
	put_le64(d + INO_SIZE, in->size);
	put_le32(d + INO_INO, in->nid);
	put_le32(d + INO_UID, in->uid);
	put_le32(d + INO_GID, in->gid);
	put_le64(d + INO_MTIME, (uint64_t)in->mtime_s);
	put_le32(d + INO_MTIME_NSEC, in->mtime_ns);
	put_le32(d + INO_NLINK, in->nlink);
	buf_add(&w->out, d, sizeof(d));
	if (!xattrs)
		return;
	buf_add(&w->out, (char[EROFS_XATTR_HEADER]){0}, EROFS_XATTR_HEADER);
	buf_reset(&w->xattrs);
	buf_add(&w->xattrs, w->tree.heap.v + in->xattrs, in->xattrs_len);
	if (in->opaque)
		erofs_add_xattr(&w->xattrs, ENTRY_OPAQUE_TRUSTED, &opaque_value,
				sizeof(opaque_value));
	buf_add(&w->out, w->xattrs.s, w->xattrs.len);
}

static int emit_inode(struct erofs_writer *w, uint32_t n, struct err *e)
{
	struct tree_inode *in = inode_at(w, n);
	uint32_t index = w->tree.nodes.v[n].inode;
	int rc = put_zeros(w, w->meta_at + (uint64_t)in->nid * EROFS_SLOT, e);

	if (rc)
		return rc;
	put_inode(w, n);
	if (in->data == TREE_CHUNKS) {
		rc = put_zeros(w, bits_align_up(out_pos(w), EROFS_CHUNK_SIZE), e);
		buf_add(&w->out, w->tree.heap.v + in->data_at,
			(size_t)in->data_len * EROFS_CHUNK_SIZE);
	} else if (w->inlined.v[index] && S_ISDIR(in->mode)) {
		struct dir_block b;

		b.count = b.used = 0;
		each_name(w, n, last_block, &b, NULL);
		put_block(w, &b);
	} else if (w->inlined.v[index]) {
		uint64_t whole = bits_align_down(in->size, EROFS_BLOCK);

		buf_add(&w->out, w->tree.heap.v + in->data_at + whole, in->size - whole);
	}
	return rc;
}

static uint32_t crc32c(uint32_t crc, const unsigned char *p, size_t len)
{
	while (len--) {
		crc ^= *p++;
		for (int i = 0; i < 8; i++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
	}
	return crc;
}

static int emit_super(struct erofs_writer *w, uint64_t tar_blocks, const char *tag, struct err *e)
{
	unsigned char head[EROFS_BODY_AT + EROFS_BLOCK - EROFS_BODY_AT % EROFS_BLOCK] = {0};
	unsigned char *sb = head + EROFS_SUPER_AT, *dev = head + EROFS_DEVICE_AT;

	static_assert(sizeof(head) == 1536, "superblock and device slot share a block");
	put_le32(sb + SB_MAGIC, EROFS_MAGIC);
	put_le32(sb + SB_COMPAT, EROFS_COMPAT_CHKSUM | EROFS_COMPAT_MTIME);
	sb[SB_BLOCK_BITS] = EROFS_BLOCK_BITS;
	put_le16(sb + SB_ROOT_NID, (uint16_t)inode_at(w, TREE_ROOT)->nid);
	put_le64(sb + SB_INODES, w->order.n);
	put_le32(sb + SB_BLOCKS, w->mapped);
	put_le32(sb + SB_META_BLOCK, (uint32_t)(w->meta_at >> EROFS_BLOCK_BITS));
	for (size_t i = 0; i < 16; i++) { /* the tag's first 128 bits */
		char byte[3] = {tag[2 * i], tag[2 * i + 1]};

		sb[SB_UUID + i] = (unsigned char)strtoul(byte, NULL, 16);
	}
	put_le32(sb + SB_INCOMPAT,
		 EROFS_INCOMPAT_DEVICES | (w->chunks ? EROFS_INCOMPAT_CHUNKS : 0));
	put_le16(sb + SB_EXTRA_DEVICES, 1);
	put_le16(sb + SB_DEVICE_SLOT, EROFS_DEVICE_AT / EROFS_DEVICE_SIZE);
	memcpy(dev, tag, EROFS_DEVICE_TAG);
	put_le32(dev + DEV_BLOCKS, (uint32_t)tar_blocks);
	put_le32(dev + DEV_MAPPED, w->mapped);
	put_le32(sb + SB_CHECKSUM, crc32c(~0u, sb, EROFS_BLOCK));
	return erofs_write_at(w, 0, head, sizeof(head), e);
}

int erofs_writer_finish(struct erofs_writer *w, uint64_t tar_bytes, const char *tag, struct err *e)
{
	uint64_t tar_blocks = (tar_bytes + EROFS_BLOCK - 1) >> EROFS_BLOCK_BITS, end;
	int rc;

	assert(strlen(tag) == EROFS_DEVICE_TAG);
	tree_sort(&w->tree);
	if ((rc = place_all(w, e)))
		return rc;
	end = bits_align_up(w->meta_at + w->meta_len, EROFS_BLOCK);
	if ((end >> EROFS_BLOCK_BITS) + tar_blocks >= EROFS_NO_BLOCK)
		return err_set(e, ERR_TAR_LIMIT, -EFBIG, "the layer is too large for an index");
	w->mapped = (uint32_t)(end >> EROFS_BLOCK_BITS);
	w->out_at = w->body;
	for (size_t i = 0; i < w->order.n && !rc; i++)
		rc = emit_data(w, w->order.v[i], e);
	for (size_t i = 0; i < w->order.n && !rc; i++)
		rc = emit_inode(w, w->order.v[i], e);
	if (rc || (rc = put_zeros(w, end, e)) || (rc = flush(w, e)))
		return rc;
	return emit_super(w, tar_blocks, tag, e);
}
