/* Tar archives: a push parser that reads what layers consist of, and a writer of headers.
 *
 * Read: POSIX ustar and PAX (IEEE Std 1003.1-2017, pax, "ustar Interchange Format" and "pax
 * Extended Header"), GNU long names and links (types 'L', 'K'), base-256 numbers, GNU sparse files
 * (type 'S' and the PAX forms 0.0, 0.1, 1.0), extended attributes as SCHILY.xattr.*, old V7
 * headers. The parser needs no seeking: bytes come in pieces of any size, entries and their data go
 * out in order, each with its place in the archive, so that a reader may leave the data where it
 * is. Written: ustar, and PAX records where ustar cannot say it.
 *
 * Names are not judged here: an entry's path may be absolute or full of "..". Global PAX headers
 * change nothing, because no container engine applies them to layers. No threads, no fds.
 * Errors: -EBADMSG ERR_TAR_FORMAT for what is no tar archive or ends early, -E2BIG ERR_TAR_LIMIT
 * past a bound below, and whatever the sink returned. */
#ifndef CODEC_TAR_H
#define CODEC_TAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define TAR_BLOCK        512u
#define TAR_META_MAX     (1u << 20) /* bytes of one PAX header, long name or sparse map */
#define TAR_XATTRS_MAX   128u       /* of one entry */
#define TAR_SEGMENTS_MAX 65536u     /* of one sparse file */

enum tar_type {
	TAR_FILE,
	TAR_HARDLINK,
	TAR_SYMLINK,
	TAR_CHAR,
	TAR_BLOCKDEV,
	TAR_DIR,
	TAR_FIFO,
};

struct tar_xattr {
	const char *name; /* "security.capability" */
	const void *value;
	size_t len;
};

/* A piece of a sparse file that is stored; what lies between is zero. */
struct tar_segment {
	uint64_t offset, len; /* in the file */
};

struct tar_entry {
	enum tar_type type;
	const char *path; /* as in the archive; not empty */
	const char *link; /* target of a symlink or hard link; else "" */
	uint32_t mode;    /* permission bits, 07777 */
	uint32_t uid, gid;
	int64_t mtime_s;
	uint32_t mtime_ns;
	uint32_t dev_major, dev_minor;
	uint64_t size;        /* of the file, holes included; 0 for everything else */
	uint64_t data_offset; /* of the stored bytes in the archive, a multiple of TAR_BLOCK */
	uint64_t data_len;    /* stored bytes */
	const struct tar_xattr *xattrs;
	size_t xattr_count;
	bool sparse; /* segments say where the stored bytes belong, in order */
	const struct tar_segment *segments;
	size_t segment_count;
};

/* Where entries go. What an entry points to lives until the call returns. */
struct tar_sink {
	int (*entry)(void *arg, const struct tar_entry *t, struct err *e);
	/* The entry's stored bytes, in pieces; NULL: not wanted. */
	int (*data)(void *arg, const void *p, size_t len, struct err *e);
};

struct tar_reader;

/* sink and arg are borrowed. Returns owned. */
struct tar_reader *tar_reader_new(const struct tar_sink *sink, void *arg);
void tar_reader_free(struct tar_reader *r);
/* The next bytes of the archive. After a failure every call fails the same way. */
int tar_reader_feed(struct tar_reader *r, const void *p, size_t len, struct err *e);
/* The archive ended here: an error inside an entry; a missing end mark is none. */
int tar_reader_finish(struct tar_reader *r, struct err *e);

/* Appends the header blocks of t; its data_len bytes follow, then tar_write_padding(). offsets and
 * segments are not used: sparse files are written whole. */
void tar_write_header(struct buf *b, const struct tar_entry *t);
/* Zeros up to the next block behind len bytes of data. */
void tar_write_padding(struct buf *b, uint64_t len);
/* Two zero blocks. */
void tar_write_end(struct buf *b);

#endif
