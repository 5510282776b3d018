/* Packs a directory tree as a tar: a root file system for export, or an overlay's upper directory as a
 * layer (OCI image-spec 1.1, layer.md): its character devices 0:0 and opaque directories become
 * ".wh." entries. The same tree gives the same bytes: names are sorted, times are the files' own.
 * Sockets are left out; tar has none. Symlinks are not followed. One thread. */
#ifndef IMAGE_PACK_H
#define IMAGE_PACK_H

#include <stdbool.h>

#include "base/err.h"

#define PACK_DEPTH_MAX 1024u /* of directories; each one takes a descriptor */

typedef int pack_fn(void *arg, const void *p, size_t len, struct err *e);

struct pack_options {
	bool layer; /* whiteouts as in layers */
};

/* rootfd: a directory, open for reading; borrowed. */
int pack_tree(int rootfd, const struct pack_options *o, pack_fn *out, void *arg, struct err *e);

#endif
