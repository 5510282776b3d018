/* Unpacks a layer into a directory as its tar streams by, in the form that overlay wants below or
 * above others: whiteouts are character devices 0:0, opaque directories carry an attribute. Nothing
 * outside the directory is touched, whatever the layer says: every name is resolved by the root_*
 * functions of os/path.h, so "..", absolute names and symlinks end inside.
 *
 * Owners, modes, times, attributes and hard links are those of the tar. Without the right to it (a
 * user namespace that maps one id, no CAP_MKNOD) owners are left as they are and devices are left
 * out, as rootless podman does. One thread. */
#ifndef IMAGE_UNPACK_H
#define IMAGE_UNPACK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "codec/tar.h"

struct unpacker;

struct unpack_options {
	bool lenient;     /* the caller is no real root: see above */
	bool user_xattrs; /* overlay will be mounted with userxattr */
};

/* rootfd: borrowed. Returns owned. */
struct unpacker *unpacker_new(int rootfd, const struct unpack_options *o);
void unpacker_free(struct unpacker *u);
/* The sink of the tar reader (arg: the unpacker). */
int unpacker_entry(void *arg, const struct tar_entry *t, struct err *e);
int unpacker_data(void *arg, const void *p, size_t len, struct err *e);
/* Sets the times of directories, which their entries have changed. */
int unpacker_finish(struct unpacker *u, struct err *e);

#endif
