/* Writes the index of a layer: an EROFS image with the metadata of a tar's files, whose contents stay
 * in the tar, which is the image's second device. As `mkfs.erofs --tar=i` of erofs-utils 1.7, but
 * while the tar streams by. The same tar gives the same index.
 *
 * Blocks have 512 bytes, as in the tar, so a file's contents begin at a block there and need no entry
 * but their address. Sparse files get a chunk map; where their pieces do not lie at blocks they are
 * copied into the index. Everything is known only at the end, so the tree is in memory until then:
 * 130 bytes a name. Linux mounts the result from 6.4 on (blocks smaller than a page). */
#ifndef IMAGE_EROFS_WRITE_H
#define IMAGE_EROFS_WRITE_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "codec/tar.h"

struct erofs_writer;

/* fd: an empty file, open for writing; borrowed. Returns owned. */
struct erofs_writer *erofs_writer_new(int fd);
void erofs_writer_free(struct erofs_writer *w);
/* The sink of the tar reader (arg: the writer). */
int erofs_writer_entry(void *arg, const struct tar_entry *t, struct err *e);
int erofs_writer_data(void *arg, const void *p, size_t len, struct err *e);
/* The directories that no entry described: see tree_implied(). */
void erofs_writer_implied(struct erofs_writer *w, struct buf *b);
/* Writes the metadata. tar_bytes: length of the tar; tag: what names it, 64 characters (the hex of its
 * sha256). Does not fsync. -EFBIG ERR_TAR_LIMIT for tars of 2 TiB. */
int erofs_writer_finish(struct erofs_writer *w, uint64_t tar_bytes, const char *tag, struct err *e);

#endif
