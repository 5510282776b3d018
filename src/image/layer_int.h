/* What the files of image/layer.h share: names below layers/HEX, what its file `info` says, and the
 * mounts that layers are joined from. */
#ifndef IMAGE_LAYER_INT_H
#define IMAGE_LAYER_INT_H

#include "base/buf.h"
#include "codec/tar.h"
#include "image/layer.h"

#define LAYER_TAR   LAYER_TAR_NAME /* LAYER_EROFS: the uncompressed tar … */
#define LAYER_INDEX "index"        /* … and its index */
#define LAYER_ROOT  "root"         /* LAYER_DIR: the unpacked directory */
#define LAYER_INFO  "info"         /* both: see struct layer_facts */
/* Both: paths of directories that the tar has no entry for, with a NUL each; missing: none. */
#define LAYER_IMPLIED     "implied"
#define LAYER_IMPLIED_MAX (64u << 20)

/* JSON: {"version":1,"tar":BYTES,"disk":BYTES,"whiteouts":BOOL} */
struct layer_facts {
	uint64_t tar_bytes, disk_bytes;
	bool whiteouts; /* it removes something of the layers below */
};

/* Opens layers/HEX: an O_DIRECTORY fd, or -ENOENT ERR_LAYER_MISSING. */
int layer_open_dir(struct image_store *s, const struct digest *diff_id, struct err *e);
int layer_read_facts(int dirfd, struct layer_facts *ret, struct err *e);
int layer_write_facts(int dirfd, const struct layer_facts *f, struct err *e);
/* What the directory of a layer holds that this host can mount; LAYER_AUTO: nothing. */
enum layer_backend layer_backend_of(struct image_store *s, int dirfd);
/* Can EROFS be mounted here? Tried once per process. */
bool layer_host_has_erofs(struct image_store *s);

/* Each returns the fd of a mount that is attached nowhere, or a negative errno with ERR_LAYER_MOUNT. */
int mount_erofs(int index_fd, int tar_fd, struct err *e);
int mount_tmpfs(struct err *e);
/* lower: directories or mounts, the uppermost first. upper and work -1: read-only. user_xattrs: overlay's
 * attributes are "user.", as in a user namespace. */
int mount_overlay(const int *lower, size_t count, int upper, int work, bool user_xattrs,
		  struct err *e);

/* Does the entry remove something of the layers below? */
bool layer_entry_is_whiteout(const struct tar_entry *t);

/* A layer on its way into a mount. */
struct layer_part {
	int fd; /* of its root: a mount, or a directory */
	bool is_mount, whiteouts;
	struct buf implied; /* see LAYER_IMPLIED */
};

/* Overlay shows a directory as the uppermost layer that has it, and a layer has every parent of its
 * files. Where the tar has no entry for such a parent, the layers below know what it looks like: this
 * makes a layer on top (a tmpfs) of such directories as they should be. parts: the uppermost first.
 * -1 in *ret_fd: none is needed. */
int layer_fix(const struct layer_part *parts, size_t count, bool lenient, int *ret_fd,
	      struct err *e);

/* layer_mount() as kernels before 6.15 need it: in a child with a mount namespace of its own. */
int layer_mount_in_child(struct image_store *s, const struct layer_mount *m, struct err *e);

#endif
