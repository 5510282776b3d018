/* Disk images: a tree of nodes behind one interface. A node is an image in some format, a file or a
 * connection below one, or a filter above one; every virtual disk, tool, backup and mirror speaks to
 * a node by the functions of this header. Drivers implement disk/driver.h.
 *
 * Rules
 * - A node belongs to its context's thread (disk/co.h). Functions marked [waits] yield inside a
 *   coroutine and block outside of one.
 * - Formats are explicit. Only DISK_PROBE looks at content, and is for `info` and a tool's user,
 *   never for bytes that a guest could have written.
 * - What an image says is hostile. With DISK_UNTRUSTED no backing and no data file is followed.
 * - Data functions return 0 or a negative errno; what a person asked for sets a struct err, with the
 *   text that qemu-img users know where it has one.
 * - Offsets and lengths are bytes and need no alignment; the core aligns for nodes that do. A range
 *   that leaves the disk is -EINVAL, except on a file node, which grows by a write and reads zeroes
 *   behind its end.
 * - After a failed write the range's content is undefined; nothing else has changed. */
#ifndef DISK_DISK_H
#define DISK_DISK_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "disk/co.h"
#include "disk/vec.h"

#define DISK_CHAIN_MAX   200        /* nodes in a backing chain */
#define DISK_REQUEST_MAX (1u << 30) /* bytes of one read or write; zero and discard: any length */
#define DISK_SIZE_MAX    (INT64_MAX & ~((1ull << 30) - 1)) /* bytes of a disk */

struct disk;        /* a node; disk/driver.h has its fields */
struct disk_driver; /* disk/driver.h */

/* --- open and close --- */

enum disk_flags {
	DISK_WRITE = 1 << 0,      /* opened for writing too */
	DISK_PROBE = 1 << 1,      /* where no format is named, by the caller or by an image for its
				backing file, look at the content; without, that is an error */
	DISK_UNTRUSTED = 1 << 2,  /* no file that the image names is opened */
	DISK_NO_BACKING = 1 << 3, /* the chain is not opened; d->backing is NULL */
	DISK_NO_IO = 1 << 4,    /* metadata only (info): no key is needed, data calls are -EPERM */
	DISK_SHARE = 1 << 5,    /* read although someone writes: takes no locks (qemu-img -U) */
	DISK_DIRECT = 1 << 6,   /* O_DIRECT (cache=none, directsync) */
	DISK_NO_FLUSH = 1 << 7, /* flushes do nothing (cache=unsafe) */
	DISK_THROUGH = 1 << 8,  /* each write is flushed (cache=writethrough, directsync) */
	DISK_UNMAP = 1 << 9,    /* discards reach the file (discard=unmap) */
	DISK_CHECK = 1 << 10,   /* for check: opens what is dirty or corrupt without repair */
	DISK_RESIZE = 1 << 11,  /* the size may change: for the locks */
	DISK_PREPARE =
	    1 << 12, /* a driver's own create() opens what it makes: not a full image yet */
};

/* [waits] Opens an image. filename: a path, "json:{…}", or "driver:…" for protocols (nbd://, http://,
 * file:…); NULL where options say it all. options: see disk/opts.h, borrowed; NULL: none. On failure
 * nothing stays open. The node is closed by disk_close(). */
int disk_open(struct disk_ctx *ctx, const char *filename, const json_t *options, unsigned flags,
	      struct disk **ret_disk, struct err *e);
/* [waits] Flushes, and closes with all children. NULL is fine. What cannot be flushed is returned, the
 * node is gone all the same. */
int disk_close(struct disk *d);
/* [waits] Opens again with other flags (read-only to writable and back), keeping everything else. On
 * failure the node is as it was. */
int disk_reopen(struct disk *d, unsigned flags, struct err *e);

/* --- drivers by name --- */

/* NULL where there is none. Also by alias ("vpc" and "vhd"). */
const struct disk_driver *disk_driver_find(const char *name);
/* The i-th of all; NULL past the end. */
const struct disk_driver *disk_driver_at(unsigned i);

/* --- what a node is --- */

uint64_t disk_size(const struct disk *d);      /* bytes */
const char *disk_format(const struct disk *d); /* its driver's name */
/* As given, or json:{…} where the options are more than a name. Borrowed. */
const char *disk_filename(struct disk *d);
struct disk *disk_backing(const struct disk *d); /* opened backing image, or NULL */
struct disk *disk_file(const struct disk *d);    /* what the image lies in, or NULL */
bool disk_writable(const struct disk *d);
/* The backing file as the image names it, and its format; NULL: none. Borrowed. */
const char *disk_backing_name(const struct disk *d);
const char *disk_backing_format(const struct disk *d);
/* The backing file's name made complete: relative names are relative to the image. Owned, or NULL
 * where there is none. */
char *disk_backing_path(const struct disk *d);
/* Bytes that the node's files take on the host; -ENOTSUP where nobody knows. [waits] */
int64_t disk_allocated_size(struct disk *d);
/* Zero behind nothing: does a fresh image of this node read as zeroes? For convert. [waits] */
bool disk_starts_zeroed(struct disk *d);

struct disk_info {
	uint32_t cluster_size; /* 0: the format has none */
	uint32_t
	    subcluster_size; /* smallest unit of allocation; equals cluster_size where not smaller */
	bool dirty;          /* was not closed properly */
	bool compressed;     /* streamOptimized: clusters are written compressed */
	bool encrypted;
	bool no_backing_size; /* unallocated reads as zero, whatever is behind (no backing file) */
	uint64_t vm_state_offset;
	json_t *
	    specific; /* QEMU's ImageInfoSpecific {"type": …, "data": {…}}, or NULL; the caller's */
};

/* [waits] */
int disk_get_info(struct disk *d, struct disk_info *ret_info, struct err *e);

/* --- data --- */

enum disk_req_flags {
	DISK_REQ_FUA = 1 << 0,         /* stable before it returns */
	DISK_REQ_UNMAP = 1 << 1,       /* write_zeroes: may give the space back */
	DISK_REQ_NO_FALLBACK = 1 << 2, /* write_zeroes: -ENOTSUP rather than writing zeroes */
	DISK_REQ_COMPRESSED =
	    1 << 3, /* pwritev: compressed; whole clusters, except the disk's last */
};

/* [waits] len bytes between the disk at offset and the vec at `at`. */
int disk_preadv(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v, size_t at);
int disk_pwritev(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v, size_t at,
		 unsigned flags);
/* [waits] The same with a flat buffer. */
int disk_pread(struct disk *d, uint64_t offset, void *buf, size_t len);
int disk_pwrite(struct disk *d, uint64_t offset, const void *buf, size_t len, unsigned flags);
/* [waits] The range reads as zeroes afterwards. */
int disk_write_zeroes(struct disk *d, uint64_t offset, uint64_t len, unsigned flags);
/* [waits] The content is not needed any more; reads whatever afterwards. Never fails for want of
 * support. */
int disk_discard(struct disk *d, uint64_t offset, uint64_t len);
/* [waits] What was written before this call is stable after it. */
int disk_flush(struct disk *d);
/* [waits] Copies by the kernel or by sharing blocks; -ENOTSUP where the nodes cannot. */
int disk_copy_range(struct disk *from, uint64_t from_offset, struct disk *to, uint64_t to_offset,
		    uint64_t len);

/* A request that calls back, for devices: fields before `done` are the caller's, and stay valid until
 * done(). Allocates nothing. */
enum disk_op { DISK_OP_READ, DISK_OP_WRITE, DISK_OP_ZERO, DISK_OP_DISCARD, DISK_OP_FLUSH };

struct disk_req {
	struct disk *disk;
	enum disk_op op;
	unsigned flags;
	uint64_t offset, len;
	struct disk_vec vec;
	void (*done)(struct disk_req *r, int rc); /* may free r, and submit again */
};

/* Starts it; done() may come before this returns. What it waits for is given to the kernel at the next
 * turn of the context (disk_ctx_poll()), so that many requests go together. */
void disk_submit(struct disk_req *r);

/* --- where data is --- */

enum disk_extent_flags {
	DISK_EXT_DATA = 1 << 0,       /* read from somewhere */
	DISK_EXT_ZERO = 1 << 1,       /* reads as zeroes */
	DISK_EXT_ALLOCATED = 1 << 2,  /* this layer decides it, not the backing image */
	DISK_EXT_OFFSET = 1 << 3,     /* host and host_offset are valid: plain bytes lie there */
	DISK_EXT_COMPRESSED = 1 << 4, /* stored compressed */
	DISK_EXT_RECURSE = 1 << 5,    /* driver to core: host knows better whether it is zero */
	DISK_EXT_EOF = 1 << 6,        /* ends at the end of the disk */
};

struct disk_extent {
	uint64_t len; /* at least 1 where asked for at least 1 inside the disk */
	unsigned flags;
	unsigned depth;    /* 0: the node asked; n: n-th below it */
	struct disk *host; /* node that host_offset counts in */
	uint64_t host_offset;
};

/* [waits] The state of the bytes from offset on, for at most len: of this layer alone (a range it does
 * not allocate has neither DATA nor ALLOCATED; ZERO where nothing is behind it). exact: look for holes
 * in the files too; else only what the metadata says. */
int disk_block_status(struct disk *d, uint64_t offset, uint64_t len, bool exact,
		      struct disk_extent *ret_extent);
/* [waits] Through the chain from d down to, but not including, base (NULL: all of it). A range that no
 * layer allocates has ALLOCATED unset, and ZERO where base is NULL. */
int disk_block_status_above(struct disk *d, struct disk *base, uint64_t offset, uint64_t len,
			    bool exact, struct disk_extent *ret_extent);

/* --- creation and change --- */

enum disk_prealloc {
	DISK_PREALLOC_OFF,
	DISK_PREALLOC_METADATA,
	DISK_PREALLOC_FALLOC,
	DISK_PREALLOC_FULL
};
extern const char *const disk_prealloc_names[]; /* "off", …, NULL */

/* [waits] Makes an image. opts: keys of the driver's table (disk/opts.h) and "size" (bytes),
 * "backing_file", "backing_fmt"; borrowed. What lies there is overwritten. flags: DISK_UNTRUSTED … as
 * for the open of a backing file, whose size is taken where opts has none. On failure a file that this
 * call made is removed. */
int disk_create(struct disk_ctx *ctx, const struct disk_driver *drv, const char *filename,
		const json_t *opts, unsigned flags, struct err *e);
/* The create options of a driver together with those of a file below it. Owned; free(). */
struct disk_opt *disk_create_opts(const struct disk_driver *drv);

enum disk_truncate_flags { DISK_TRUNCATE_ZERO = 1 << 0 /* what is added reads as zeroes */ };

/* [waits] Shrinking throws away what is behind the new end. exact: a file may not stay longer. */
int disk_truncate(struct disk *d, uint64_t size, bool exact, enum disk_prealloc prealloc,
		  unsigned flags, struct err *e);

/* Called now and then by long operations; non-zero stops them with -ECANCELED. */
typedef int disk_progress_fn(void *arg, uint64_t done, uint64_t total);

struct disk_progress {
	disk_progress_fn *fn; /* NULL: none */
	void *arg;
};

/* [waits] Changes options of an existing image; opts as for create, borrowed. force: also what loses
 * data that the new options cannot keep. */
int disk_amend(struct disk *d, const json_t *opts, bool force, const struct disk_progress *p,
	       struct err *e);

/* [waits] Names another backing file in the image; content is not compared. file NULL: none. */
int disk_change_backing(struct disk *d, const char *file, const char *format, struct err *e);
/* [waits] Forgets all allocated data, as after a commit; -ENOTSUP where the format cannot. */
int disk_make_empty(struct disk *d, struct err *e);

struct disk_measure {
	uint64_t required, fully_allocated, bitmaps; /* bytes */
	bool has_bitmaps;
};

/* [waits] What an image with these create options would take: of `in`, or, where that is NULL, of an
 * empty disk of opts' "size". */
int disk_measure(struct disk_ctx *ctx, const struct disk_driver *drv, const json_t *opts,
		 struct disk *in, struct disk_measure *ret_measure, struct err *e);

/* --- check and repair --- */

enum disk_fix { DISK_FIX_LEAKS = 1 << 0, DISK_FIX_ERRORS = 1 << 1 };

struct disk_check {
	uint64_t corruptions, leaks, check_errors;
	uint64_t corruptions_fixed, leaks_fixed;
	uint64_t image_end_offset;
	uint64_t total_clusters, allocated_clusters, fragmented_clusters, compressed_clusters;
	bool has_clusters; /* the counts above are known */
	/* Called for each finding, a line without its end; `repaired` findings too. NULL: none. */
	void (*found)(void *arg, const char *line);
	void *arg;
	struct disk_progress progress;
};

/* [waits] Checks, and repairs what fix says. Findings are no failure: 0 unless the check could not be
 * done. -ENOTSUP: the format has none. The caller sets found, arg and progress. */
int disk_check(struct disk *d, unsigned fix, struct disk_check *c, struct err *e);

/* --- internal snapshots --- */

struct disk_snapshot {
	char id[128], name[256];
	uint64_t vm_state_size;
	uint32_t date_sec, date_nsec;
	uint64_t vm_clock_nsec;
	uint64_t icount; /* UINT64_MAX: not recorded */
};

/* [waits] Owned array; count, or a negative errno: -ENOTSUP where the format has none. */
int disk_snapshot_list(struct disk *d, struct disk_snapshot **ret_list);
/* [waits] Fills in the id where it is empty. */
int disk_snapshot_create(struct disk *d, struct disk_snapshot *s, struct err *e);
/* [waits] By id first, then by name. Apply reverts the disk to it. */
int disk_snapshot_apply(struct disk *d, const char *id_or_name, struct err *e);
int disk_snapshot_delete(struct disk *d, const char *id_or_name, struct err *e);
/* [waits] The node shows the snapshot from now on, read-only, until it is closed. */
int disk_snapshot_show(struct disk *d, const char *id_or_name, struct err *e);
/* [waits] Machine state beside the disk, from 0 on; kept by the next snapshot. -ENOTSUP without. */
int disk_vmstate_pread(struct disk *d, uint64_t offset, void *buf, size_t len);
int disk_vmstate_pwrite(struct disk *d, uint64_t offset, const void *buf, size_t len);

/* --- persistent dirty bitmaps --- */

struct disk_bitmap {
	char name[1024];
	uint32_t granularity; /* bytes that a bit stands for */
	bool enabled;         /* records writes */
	bool inconsistent;    /* was in use when its owner ended: can only be removed */
	uint64_t dirty_bytes;
};

/* [waits] Owned array; count, or -ENOTSUP. */
int disk_bitmap_list(struct disk *d, struct disk_bitmap **ret_list);
/* [waits] granularity 0: the default, 64k. */
int disk_bitmap_add(struct disk *d, const char *name, uint32_t granularity, bool enabled,
		    struct err *e);
int disk_bitmap_remove(struct disk *d, const char *name, struct err *e);
int disk_bitmap_clear(struct disk *d, const char *name, struct err *e);
int disk_bitmap_enable(struct disk *d, const char *name, bool enabled, struct err *e);
/* [waits] Marks in `name` of d what `from_name` of `from` has marked; granularities may differ. */
int disk_bitmap_merge(struct disk *d, const char *name, struct disk *from, const char *from_name,
		      struct err *e);
/* [waits] Dirty bytes from offset on: the next dirty range, at most up to `end`. 1 and the range, 0
 * where there is none, or a negative errno. */
int disk_bitmap_next(struct disk *d, const char *name, uint64_t offset, uint64_t end,
		     uint64_t *ret_offset, uint64_t *ret_len);

#endif
