/* Images as root file systems: mounted at a directory until they are unmounted. While one is mounted
 * its image is in use (image_use) and cannot be removed. What a writable mount changes lies below the
 * store, in mounts/HEX/upper (HEX: of the target's sha256), and goes with it. */
#ifndef IMAGE_MOUNT_H
#define IMAGE_MOUNT_H

#include <stdbool.h>

#include "base/err.h"
#include "image/image.h"

/* The image's root file system, attached nowhere: see layer_mount(). upper and work may be NULL.
 * -ENOENT ERR_LAYER_MISSING; -EINVAL ERR_LAYER_MOUNT for an artifact. */
int image_mount(struct image_store *s, const struct image *i, const char *upper, const char *work,
		struct err *e);

/* Mounts it at target, an absolute path of an existing directory. */
int image_mount_at(struct image_store *s, const struct image *i, const char *target, bool writable,
		   struct err *e);
/* Which image is mounted there. -ENOENT ERR_NOT_FOUND. Returns owned in *ret. */
int image_mounted_at(struct image_store *s, const char *target, struct image **ret, struct err *e);
/* Unmounts what image_mount_at() mounted there, drops its changes and ends the use. -ENOENT
 * ERR_NOT_FOUND where no image is mounted there; -EBUSY where files of it are open. */
int image_unmount(struct image_store *s, const char *target, struct err *e);

#endif
