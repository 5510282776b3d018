/* A layer's files as a tree in memory, built from the entries of its tar as they come: the last entry
 * of a name counts, parents that are not named are made, symlinks on the way to an entry are followed
 * inside the layer, whiteouts are overlay's (a character device 0:0; an opaque directory). From it
 * image/erofs_write makes the index. Nothing here touches a file system, so no name leads out of
 * anything.
 *
 * Nodes are names, inodes are what they stand for; hard links share one. Both are numbers, so that a
 * node takes little more than its name: 130 bytes an entry. One thread. Errors: -EBADMSG and -ENOTDIR
 * ERR_LAYER_PATH, -E2BIG ERR_TAR_LIMIT. */
#ifndef IMAGE_TREE_H
#define IMAGE_TREE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/vec.h"
#include "codec/tar.h"

#define TREE_ENTRIES_MAX (1u << 22)
#define TREE_BYTES_MAX   (1u << 30) /* names, targets, attributes, chunk maps */
#define TREE_NONE        0u         /* no node, no inode; the root is node 1 */
#define TREE_ROOT        1u

/* Where a regular file's bytes are. */
enum tree_data {
	TREE_EMPTY,
	TREE_AT,     /* one after the other from data_at on */
	TREE_CHUNKS, /* chunks: data_len entries of the index at data_at in the heap */
};

struct tree_inode {
	uint32_t mode; /* with its type */
	uint32_t uid, gid, nlink;
	uint32_t rdev; /* as the kernel encodes it in 32 bits */
	uint32_t mtime_ns;
	int64_t mtime_s;
	uint64_t size;
	enum tree_data data;
	uint8_t chunk_bits; /* TREE_CHUNKS: above the block size */
	bool opaque, whiteout, implied;
	uint64_t data_at;            /* a file's, see tree_data; a symlink's target in the heap */
	uint32_t data_len;           /* chunks */
	uint32_t xattrs, xattrs_len; /* in the heap, encoded by the maker of the index */
	uint32_t nid;                /* for the maker of the index */
};

struct tree_node {
	uint32_t parent, inode;
	uint32_t child, next; /* a list; sorted after tree_sort() */
	uint32_t name;        /* in the heap, NUL-terminated */
	uint8_t name_len;
};

struct tree {
	VEC(struct tree_node) nodes;
	VEC(struct tree_inode) inodes;
	VEC(char) heap;
	uint32_t *buckets; /* hash of (parent, name) to node, open addressing */
	uint32_t bucket_count;
	struct buf path, todo; /* scratch */
};

void tree_init(struct tree *t);
void tree_done(struct tree *t);

/* The inode of a new or replaced name, whose data and xattrs are for the caller to fill in;
 * TREE_NONE where the entry has none of its own (hard links, whiteouts). */
int tree_add(struct tree *t, const struct tar_entry *entry, uint32_t *ret_inode, struct err *e);
/* Copies bytes to the heap; their place there. -E2BIG. */
int tree_store(struct tree *t, const void *p, size_t len, uint32_t *ret_at, struct err *e);
/* Sorts every directory by name, drops what was replaced, counts links. Ends the adding. */
void tree_sort(struct tree *t);

/* Appends the path of every directory that no entry described, each with a NUL; the root's is "". */
void tree_implied(struct tree *t, struct buf *b);

static inline const char *tree_name(const struct tree *t, const struct tree_node *n)
{
	return t->heap.v + n->name;
}

#endif
