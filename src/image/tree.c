/* A name that was removed or replaced stays a node without an inode: the hash has no deletion, and the
 * name may come again. tree_sort() leaves such nodes out of the lists. */
#include "image/tree.h"

#include "base/bits.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "image/entry.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#define BUCKETS_MIN 1024u

static struct tree_node *node(const struct tree *t, uint32_t n)
{
	return &t->nodes.v[n];
}

static struct tree_inode *inode_of(const struct tree *t, uint32_t n)
{
	return &t->inodes.v[node(t, n)->inode];
}

/* --- heap and hash --- */

int tree_store(struct tree *t, const void *p, size_t len, uint32_t *ret_at, struct err *e)
{
	if (len > TREE_BYTES_MAX - t->heap.n)
		return err_set(e, ERR_TAR_LIMIT, -E2BIG,
			       "the names and attributes of the layer take more than %u bytes",
			       TREE_BYTES_MAX);
	if (t->heap.n + len > t->heap.cap) {
		t->heap.cap = MAX(t->heap.cap * 2, t->heap.n + len);
		t->heap.v = mem_grow(t->heap.v, t->heap.cap, 1);
	}
	*ret_at = (uint32_t)t->heap.n;
	if (len)
		memcpy(t->heap.v + t->heap.n, p, len);
	t->heap.n += len;
	return 0;
}

/* FNV-1a. Names that collide on purpose make a layer slow, bounded by TREE_ENTRIES_MAX squared
 * comparisons of numbers; the parent's number is part of what is compared first. */
static uint32_t hash(uint32_t parent, const char *name, size_t len)
{
	uint32_t h = 2166136261u ^ parent * 2654435761u;

	for (size_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)name[i]) * 16777619u;
	return h ^ h >> 15;
}

static uint32_t *bucket(const struct tree *t, uint32_t parent, const char *name, size_t len)
{
	uint32_t mask = t->bucket_count - 1;

	for (uint32_t i = hash(parent, name, len) & mask;; i = (i + 1) & mask) {
		uint32_t n = t->buckets[i];

		if (!n || (node(t, n)->parent == parent && node(t, n)->name_len == len &&
			   !memcmp(tree_name(t, node(t, n)), name, len)))
			return &t->buckets[i];
	}
}

static void grow_buckets(struct tree *t)
{
	free(t->buckets);
	t->bucket_count *= 2;
	t->buckets = mem_array(t->bucket_count, sizeof(*t->buckets));
	for (uint32_t n = TREE_ROOT + 1; n < t->nodes.n; n++)
		*bucket(t, node(t, n)->parent, tree_name(t, node(t, n)), node(t, n)->name_len) = n;
}

/* The node of a name, made where there is none. */
static int node_named(struct tree *t, uint32_t parent, const char *name, size_t len, uint32_t *ret,
		      struct err *e)
{
	uint32_t *b = bucket(t, parent, name, len), at;

	if (*b) {
		*ret = *b;
		return 0;
	}
	if (t->nodes.n >= TREE_ENTRIES_MAX)
		return err_set(e, ERR_TAR_LIMIT, -E2BIG, "the layer has more than %u names",
			       TREE_ENTRIES_MAX);
	int rc = tree_store(t, name, len, &at, e);

	if (rc)
		return rc;
	vec_push(&t->heap, '\0');
	*ret = (uint32_t)t->nodes.n;
	*b = *ret;
	vec_push(&t->nodes, (struct tree_node){.parent = parent,
					       .name = at,
					       .name_len = (uint8_t)len,
					       .next = node(t, parent)->child});
	node(t, parent)->child = *ret;
	if (t->nodes.n > t->bucket_count / 4 * 3)
		grow_buckets(t);
	return 0;
}

/* --- nodes --- */

static void set_inode(struct tree *t, uint32_t n, const struct tree_inode *in)
{
	node(t, n)->inode = (uint32_t)t->inodes.n;
	vec_push(&t->inodes, *in);
}

/* Takes the node's inode, and those of everything below it. */
static void clear(struct tree *t, uint32_t top)
{
	uint32_t n = top;

	for (;;) {
		node(t, n)->inode = TREE_NONE;
		if (node(t, n)->child) {
			n = node(t, n)->child;
			continue;
		}
		while (n != top && !node(t, n)->next)
			n = node(t, n)->parent;
		if (n == top)
			return;
		n = node(t, n)->next;
	}
}

static bool is_type(const struct tree *t, uint32_t n, uint32_t type)
{
	return node(t, n)->inode && (inode_of(t, n)->mode & S_IFMT) == type;
}

/* Makes the node a directory that no entry has described yet. One that takes a whiteout's place hides
 * what the layers below have there. */
static void imply_directory(struct tree *t, uint32_t n)
{
	bool hides = node(t, n)->inode && inode_of(t, n)->whiteout;

	set_inode(t, n,
		  &(struct tree_inode){.mode = S_IFDIR | 0755, .implied = true, .opaque = hides});
}

/* Puts a symlink's target in front of what is left of the way. */
static void follow(struct tree *t, const char *target, size_t pos)
{
	_free_ char *rest = mem_strdup(t->todo.s + pos);

	buf_reset(&t->todo);
	buf_adds(&t->todo, target);
	buf_addc(&t->todo, '/');
	buf_adds(&t->todo, rest);
}

/* Walks the directories of path and makes those that are missing; symlinks are followed, inside the
 * layer. */
static int walk(struct tree *t, const char *path, size_t path_len, uint32_t *ret, struct err *e)
{
	uint32_t at = TREE_ROOT, n;
	unsigned followed = 0;

	buf_reset(&t->todo);
	buf_add(&t->todo, path, path_len);
	for (size_t pos = 0; pos < t->todo.len;) {
		const char *name = t->todo.s + pos;
		size_t len = strcspn(name, "/");

		pos += len + (name[len] == '/');
		if (!len || (len == 1 && *name == '.'))
			continue;
		if (len == 2 && name[0] == '.' && name[1] == '.') {
			at = node(t, at)->parent; /* the root's is the root */
			continue;
		}
		if (len > UINT8_MAX)
			return err_set(e, ERR_LAYER_PATH, -ENAMETOOLONG,
				       "'%s' leads through a name that is too long", path);
		int rc = node_named(t, at, name, len, &n, e);

		if (rc)
			return rc;
		if (is_type(t, n, S_IFLNK)) {
			const char *target = t->heap.v + inode_of(t, n)->data_at;

			if (++followed > ENTRY_SYMLINKS_MAX)
				return err_set(e, ERR_LAYER_PATH, -ELOOP,
					       "'%s' leads through too many symlinks", path);
			at = *target == '/' ? TREE_ROOT : at;
			follow(t, target, pos);
			pos = 0;
			continue;
		}
		if (!node(t, n)->inode || inode_of(t, n)->whiteout)
			imply_directory(t, n);
		if (!is_type(t, n, S_IFDIR))
			return err_set(e, ERR_LAYER_PATH, -ENOTDIR,
				       "'%s' leads through something that is no directory", path);
		at = n;
	}
	*ret = at;
	return 0;
}

/* The directory that holds the last component of the canonical path; *ret_name: that component. */
static int walk_parent(struct tree *t, struct buf *path, uint32_t *ret_parent,
		       const char **ret_name, struct err *e)
{
	char *slash = path->len ? strrchr(path->s, '/') : NULL;

	if (!slash) {
		*ret_parent = TREE_ROOT;
		*ret_name = buf_str(path);
		return 0;
	}
	*ret_name = slash + 1;
	return walk(t, path->s, (size_t)(slash - path->s), ret_parent, e);
}

/* --- entries --- */

static const uint32_t type_bits[] = {
    [TAR_FILE] = S_IFREG,     [TAR_SYMLINK] = S_IFLNK, [TAR_CHAR] = S_IFCHR,
    [TAR_BLOCKDEV] = S_IFBLK, [TAR_DIR] = S_IFDIR,     [TAR_FIFO] = S_IFIFO,
};

/* include/linux/kdev_t.h, new_encode_dev() */
static uint32_t encode_device(uint32_t major, uint32_t minor)
{
	return (minor & 0xff) | (major & 0xfff) << 8 | (minor & ~0xffu) << 12;
}

static int describe(struct tree *t, const struct tar_entry *entry, struct tree_inode *in,
		    struct err *e)
{
	uint32_t at;

	*in = (struct tree_inode){.mode = type_bits[entry->type] | entry->mode,
				  .uid = entry->uid,
				  .gid = entry->gid,
				  .mtime_s = entry->mtime_s,
				  .mtime_ns = entry->mtime_ns,
				  .size = entry->size};
	if (entry->type == TAR_CHAR || entry->type == TAR_BLOCKDEV)
		in->rdev = encode_device(entry->dev_major, entry->dev_minor);
	if (entry->type != TAR_SYMLINK)
		return 0;
	in->size = strlen(entry->link);
	in->mode = S_IFLNK | 0777;
	if (!in->size || in->size >= ENTRY_PATH_MAX)
		return err_set(e, ERR_LAYER_PATH, -EBADMSG,
			       "the symlink '%s' has no possible target", entry->path);
	int rc = tree_store(t, entry->link, in->size + 1, &at, e);

	in->data_at = at;
	return rc;
}

static int add_whiteout(struct tree *t, uint32_t parent, const char *name, struct err *e)
{
	uint32_t n;
	int rc = node_named(t, parent, name, strlen(name), &n, e);

	if (rc)
		return rc;
	/* It speaks of the layers below: what this layer has of that name stays. */
	if (is_type(t, n, S_IFDIR))
		inode_of(t, n)->opaque = true;
	else if (!node(t, n)->inode)
		set_inode(t, n, &(struct tree_inode){.mode = S_IFCHR, .whiteout = true});
	return 0;
}

static int add_hardlink(struct tree *t, uint32_t n, const struct tar_entry *entry, struct err *e)
{
	_buf_ struct buf target = {0};
	const char *name;
	uint32_t parent, found;
	int rc = entry_path(entry->link, &target, e);

	if (rc || (rc = walk_parent(t, &target, &parent, &name, e)) ||
	    (rc = node_named(t, parent, name, strlen(name), &found, e)))
		return rc;
	uint32_t in = node(t, found)->inode;

	if (!*name || !in || t->inodes.v[in].whiteout || is_type(t, found, S_IFDIR))
		return err_set(e, ERR_LAYER_PATH, -EBADMSG,
			       "'%s' is a hard link to '%s', which is no file of the layer",
			       entry->path, entry->link);
	if (found == n)
		return 0;
	clear(t, n);
	node(t, n)->inode = in;
	return 0;
}

static int add_plain(struct tree *t, uint32_t n, const struct tar_entry *entry, uint32_t *ret_inode,
		     struct err *e)
{
	struct tree_inode in;
	int rc = describe(t, entry, &in, e);

	if (rc)
		return rc;
	bool directory = entry->type == TAR_DIR;

	if (directory && is_type(t, n, S_IFDIR)) {
		in.opaque = inode_of(t, n)->opaque;
		*inode_of(t, n) = in;
	} else {
		in.opaque = directory && node(t, n)->inode && inode_of(t, n)->whiteout;
		clear(t, n);
		set_inode(t, n, &in);
	}
	*ret_inode = node(t, n)->inode;
	return 0;
}

int tree_add(struct tree *t, const struct tar_entry *entry, uint32_t *ret_inode, struct err *e)
{
	uint32_t parent, n, in = TREE_NONE;
	enum entry_mark mark;
	const char *last, *name;
	int rc = entry_path(entry->path, &t->path, e);

	if (rc)
		return rc;
	*ret_inode = TREE_NONE;
	if (!t->path.len) {
		if (entry->type != TAR_DIR)
			return err_set(e, ERR_LAYER_PATH, -EBADMSG,
				       "the layer replaces the root directory");
		return add_plain(t, TREE_ROOT, entry, ret_inode, e);
	}
	if ((rc = walk_parent(t, &t->path, &parent, &last, e)) ||
	    (rc = entry_mark(last, &mark, &name, e)))
		return rc;
	switch (mark) {
	case ENTRY_IGNORED:
		return 0;
	case ENTRY_OPAQUE:
		inode_of(t, parent)->opaque = true;
		return 0;
	case ENTRY_WHITEOUT:
		return add_whiteout(t, parent, name, e);
	default:
		break;
	}
	rc = node_named(t, parent, name, strlen(name), &n, e);
	if (!rc)
		rc = entry->type == TAR_HARDLINK ? add_hardlink(t, n, entry, e)
						 : add_plain(t, n, entry, &in, e);
	if (!rc)
		*ret_inode = in;
	return rc;
}

/* --- sorting --- */

static int compare(const void *a, const void *b, void *arg)
{
	const struct tree *t = arg;

	return strcmp(tree_name(t, node(t, *(const uint32_t *)a)),
		      tree_name(t, node(t, *(const uint32_t *)b)));
}

void tree_sort(struct tree *t)
{
	VEC(uint32_t) list = {0};

	inode_of(t, TREE_ROOT)->nlink = 2;
	for (uint32_t n = TREE_ROOT; n < t->nodes.n; n++) {
		uint32_t *link = &node(t, n)->child;

		list.n = 0;
		for (uint32_t c = *link; c; c = node(t, c)->next) {
			if (!node(t, c)->inode)
				continue;
			vec_push(&list, c);
			bool directory = is_type(t, c, S_IFDIR);

			inode_of(t, c)->nlink += directory ? 2 : 1;
			inode_of(t, n)->nlink += directory;
		}
		if (list.n)
			qsort_r(list.v, list.n, sizeof(*list.v), compare, t);
		for (size_t i = 0; i < list.n; i++) {
			*link = list.v[i];
			link = &node(t, list.v[i])->next;
		}
		*link = TREE_NONE;
	}
	vec_done(&list);
}

static void add_path(const struct tree *t, uint32_t n, struct buf *b)
{
	uint32_t up[ENTRY_PATH_MAX / 2], depth = 0;

	for (; n != TREE_ROOT && depth < ARRAY_SIZE(up); n = node(t, n)->parent)
		up[depth++] = n;
	while (depth--)
		buf_addf(b, "%s%s", tree_name(t, node(t, up[depth])), depth ? "/" : "");
	buf_addc(b, '\0');
}

void tree_implied(struct tree *t, struct buf *b)
{
	for (uint32_t n = TREE_ROOT; n < t->nodes.n; n++)
		if (node(t, n)->inode && inode_of(t, n)->implied)
			add_path(t, n, b);
}

void tree_init(struct tree *t)
{
	*t = (struct tree){.bucket_count = BUCKETS_MIN};
	t->buckets = mem_array(t->bucket_count, sizeof(*t->buckets));
	vec_push(&t->nodes, (struct tree_node){0});
	vec_push(&t->inodes, (struct tree_inode){0});
	vec_push(&t->heap, '\0');
	vec_push(&t->nodes, (struct tree_node){.parent = TREE_ROOT});
	imply_directory(t, TREE_ROOT);
}

void tree_done(struct tree *t)
{
	vec_done(&t->nodes);
	vec_done(&t->inodes);
	vec_done(&t->heap);
	buf_done(&t->path);
	buf_done(&t->todo);
	free(t->buckets);
	*t = (struct tree){0};
}
