/* What an entry of a layer means, the same in every back end: where it belongs, whether its name is a
 * whiteout (OCI image-spec 1.1, layer.md, "Whiteouts"), which of its attributes are kept. Text in,
 * values out. */
#ifndef IMAGE_ENTRY_H
#define IMAGE_ENTRY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "codec/tar.h"

#define ENTRY_PATH_MAX     4096u
#define ENTRY_SYMLINKS_MAX 40u /* followed on the way to one entry: the kernel's own limit */

/* What overlay looks for in an opaque directory; "user." where it is mounted with userxattr. */
#define ENTRY_OPAQUE_TRUSTED "trusted.overlay.opaque"
#define ENTRY_OPAQUE_USER    "user.overlay.opaque"

enum entry_mark {
	ENTRY_PLAIN,
	ENTRY_WHITEOUT, /* ".wh.NAME": NAME of the layers below is gone */
	ENTRY_OPAQUE,   /* ".wh..wh..opq": everything below its directory is gone */
	ENTRY_IGNORED,  /* aufs' own files, ".wh..wh.…" */
};

/* Puts path in canonical form into out: relative, "/" between components, no "." or ".." (one that
 * would lead above the root stays there); "" is the root. -ENAMETOOLONG ERR_LAYER_PATH. */
int entry_path(const char *path, struct buf *out, struct err *e);
/* For the last component. *ret_name: the name that is meant. -EBADMSG ERR_LAYER_PATH for a whiteout
 * of nothing, "." or "..". */
int entry_mark(const char *name, enum entry_mark *ret, const char **ret_name, struct err *e);
/* Overlay's own attributes would give its mounts another meaning, and SELinux labels belong to the
 * host: they are left out, as umoci and others do. */
bool entry_xattr_kept(const char *name);

#endif
