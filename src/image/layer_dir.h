/* A layer as an unpacked directory, in the making: LAYER_DIR's half of a layer writer. An ordinary
 * user's unpacks in a child in a user namespace (image/userns.h), which the bytes go to; everybody
 * else's here. */
#ifndef IMAGE_LAYER_DIR_H
#define IMAGE_LAYER_DIR_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct layer_dir;

/* dirfd: the layer's directory, borrowed: its LAYER_ROOT and LAYER_IMPLIED are made. Returns owned in
 * *ret. */
int layer_dir_new(int dirfd, struct layer_dir **ret, struct err *e);
void layer_dir_free(struct layer_dir *d);
int layer_dir_append(struct layer_dir *d, const void *p, size_t len, struct err *e);
/* The tar ended. Everything is on the disk then. */
int layer_dir_finish(struct layer_dir *d, bool *ret_whiteouts, struct err *e);

#endif
