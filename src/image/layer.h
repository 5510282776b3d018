/* The layers of images, ready to run: what a DiffID stands for, kept below `layers/` of the image
 * store, written while it streams in and mounted together as a root file system. Two back ends,
 * hidden here:
 *   LAYER_EROFS  the uncompressed tar as it came, and an EROFS image that is its index: metadata of
 *                its own, file contents read from the tar (image/erofs_write.h). Mounted by the
 *                kernel from the files (Linux 6.12), or through loop devices.
 *   LAYER_DIR    an unpacked directory. For ordinary users, in a user namespace, and for hosts
 *                whose kernel has no EROFS.
 * Several layers are joined by overlay, or by fuse-overlayfs where that is refused.
 *
 * A layer appears whole or not at all, and is held (image/store.h) from then on. Its DiffID is the
 * sha256 of the uncompressed tar. Processes may use a store at once; a writer belongs to one thread
 * at a time. doc/format/layers.md has the files.
 * Errors: -EBADMSG ERR_TAR_FORMAT … as of the tar, -EBADMSG ERR_LAYER_DIGEST for another DiffID
 * than was said, -ENOENT ERR_LAYER_MISSING, -ENOSPC and others of the file system ERR_LAYER_IO. */
#ifndef IMAGE_LAYER_H
#define IMAGE_LAYER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "codec/digest.h"
#include "image/store.h"

#define LAYER_COUNT_MAX 128u  /* of one image */
#define LAYER_TAR_NAME  "tar" /* in a layer's directory (LAYER_EROFS): may be linked as a blob */

enum layer_backend {
	LAYER_AUTO, /* the better one that this host and caller can use */
	LAYER_EROFS,
	LAYER_DIR,
};

/* --- writing --- */

struct layer_writer;

/* Begins a layer. diff_id: what the bytes must turn out to be, or NULL where that is not known; a
 * known one is held. Returns owned in *ret. */
int layer_writer_new(struct image_store *s, const struct digest *diff_id,
		     enum layer_backend backend, struct layer_writer **ret, struct err *e);
/* What LAYER_AUTO became. */
enum layer_backend layer_writer_backend(const struct layer_writer *w);
/* The next bytes of the uncompressed tar. */
int layer_writer_append(struct layer_writer *w, const void *p, size_t len, struct err *e);
/* Checks the DiffID, makes everything durable and visible. A layer that was there meanwhile is
 * success. ret_diff_id may be NULL. The writer remains to be freed. */
int layer_writer_commit(struct layer_writer *w, struct digest *ret_diff_id, struct err *e);
/* Drops what was not committed. */
void layer_writer_free(struct layer_writer *w);

/* --- asking --- */

struct layer_info {
	enum layer_backend backend;
	uint64_t tar_bytes;  /* of the uncompressed tar */
	uint64_t disk_bytes; /* what the layer takes on the disk */
};

/* Is it here, in a form that this host and caller can mount? */
bool layer_exists(struct image_store *s, const struct digest *diff_id);
int layer_stat(struct image_store *s, const struct digest *diff_id, struct layer_info *ret,
	       struct err *e);
/* An fd of the uncompressed tar, byte for byte as it came. -ENOENT ERR_LAYER_MISSING: this back end
 * does not keep it. */
int layer_open_tar(struct image_store *s, const struct digest *diff_id, struct err *e);
/* Reads the layer again and compares it with its DiffID (LAYER_EROFS: tar and index). -EBADMSG. */
int layer_verify(struct image_store *s, const struct digest *diff_id, struct err *e);
/* A missing layer is success. Mounts that use it stay usable. */
int layer_remove(struct image_store *s, const struct digest *diff_id, struct err *e);

/* --- mounting --- */

struct layer_mount {
	const struct digest *diff_ids; /* the lowest first, as in the image's configuration */
	size_t count;
	/* Both on one file system: changes go to upper, work is empty and overlay's own. NULL: the
	 * root file system is read-only. */
	const char *upper, *work;
};

/* The root file system as a mount that is attached nowhere: the caller hands the fd to move_mount(2)
 * or opens files below it; closing it ends the mount. Leaves nothing behind, whatever happens.
 * Needs CAP_SYS_ADMIN over the caller's mount namespace. */
int layer_mount(struct image_store *s, const struct layer_mount *m, struct err *e);

#endif
