/* What a disk driver implements. A driver is one row (struct disk_driver) in the table of
 * disk/drivers.c and one or more files; it keeps its state in d->state.
 *
 * The core does for every driver: open children's files and backing chains, bounds of requests,
 * alignment (d->align: read-modify-write with a lock on the range), fallback of write_zeroes to
 * writes, flags (FUA by flush), the order of flushes (driver, then its file), read-only, options left
 * over. So a driver sees only requests inside the disk and multiples of d->align.
 *
 * Every callback runs inside a coroutine of d->ctx and may call any [waits] function. Several requests
 * of one node run at the same time, interleaved at waits: guard what must not be, with co_mutex. A
 * request path allocates nothing that could be kept in the state.
 *
 * The image is hostile: every offset and size from it is checked before use, memory that it asks for
 * is bounded by a named limit, loops are found. Malformed: -EINVAL with ERR_DISK_FORMAT; damaged
 * beyond use: -EIO with ERR_DISK_CORRUPT; a feature that we lack: -ENOTSUP with ERR_UNSUPPORTED, by
 * name. */
#ifndef DISK_DRIVER_H
#define DISK_DRIVER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "disk/disk.h"
#include "disk/opts.h"

enum disk_driver_kind {
	DISK_KIND_FORMAT,   /* lies in d->file */
	DISK_KIND_PROTOCOL, /* has no d->file: host file, network */
	DISK_KIND_FILTER,   /* d->file's content, unchanged */
};

struct disk_create {
	struct disk_ctx *ctx;
	const struct disk_driver *drv;
	const char *filename;
	uint64_t size;                             /* bytes */
	const char *backing_file, *backing_format; /* NULL: none */
	json_t *
	    opts; /* checked against the table; the rest, without the three above. A driver may take
			  keys out */
	unsigned flags;
};

struct disk_driver {
	const char *name;
	const char *const *aliases; /* NULL-terminated, or NULL */
	enum disk_driver_kind kind;
	size_t state_size; /* of d->state, which comes zeroed */

	/* Formats: how sure is it that an image begins with these bytes? 0 no … 100; raw says 1.
	 * Nothing but buf is looked at; name is that of the file, for what goes by its ending. */
	int (*probe)(const uint8_t *buf, size_t len, const char *name);
	/* Protocols: names "PREFIX:…" and "PREFIX://…" are its, NULL-terminated; parse_name turns one into
	 * options, which are added to o. */
	const char *const *prefixes;
	int (*parse_name)(const char *name, json_t *o, struct err *e);

	/* d->file is open already where o has "file" or the name leads to one. Takes its keys out of o.
	 * Sets d->size, and what else of struct disk it knows. On failure it frees what it made; close is
	 * not called. */
	int (*open)(struct disk *d, json_t *o, struct err *e);
	/* Writes out what it holds, frees its state. */
	int (*close)(struct disk *d);
	/* d->flags are changing to `flags`: prepare for it, or refuse. NULL: nothing to do. */
	int (*reopen)(struct disk *d, unsigned flags, struct err *e);

	int (*preadv)(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v,
		      size_t at);
	int (*pwritev)(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v,
		       size_t at, unsigned flags); /* NULL: the format cannot be written */
	/* DISK_REQ_COMPRESSED; v is a whole cluster (d->cluster_size), or the shorter end of the disk. */
	int (*pwritev_compressed)(struct disk *d, uint64_t offset, size_t len,
				  const struct disk_vec *v, size_t at);
	/* -ENOTSUP for a range: the core writes zeroes there. Multiples of d->zero_align only; the core
	 * writes the ends. */
	int (*write_zeroes)(struct disk *d, uint64_t offset, uint64_t len, unsigned flags);
	/* Multiples of d->discard_align only; the core leaves the ends out. */
	int (*discard)(struct disk *d, uint64_t offset, uint64_t len);
	/* What it holds goes to d->file; the core flushes that next. NULL: it holds nothing. For a
	 * protocol: to stable storage. */
	int (*flush)(struct disk *d);
	/* from and to are of this driver, or `to` is and from leads to the same protocol. */
	int (*copy_range)(struct disk *from, uint64_t from_offset, struct disk *to,
			  uint64_t to_offset, uint64_t len);

	/* ret comes zeroed but for len, the most that may be said. NULL: all of it is data. */
	int (*block_status)(struct disk *d, uint64_t offset, uint64_t len, bool exact,
			    struct disk_extent *ret);
	int (*truncate)(struct disk *d, uint64_t size, bool exact, enum disk_prealloc prealloc,
			unsigned flags, struct err *e); /* sets d->size */
	int64_t (*allocated_size)(struct disk *d);      /* NULL: the sum of the children's */
	bool (*starts_zeroed)(struct disk *d); /* NULL: false, filters and formats: d->file's */
	int (*get_info)(struct disk *d, struct disk_info *ret,
			struct err *e); /* ret comes zeroed */

	const struct disk_opt *create_opts; /* NULL: cannot be created */
	const struct disk_opt *amend_opts;  /* NULL: those of creation */
	int (*create)(const struct disk_create *c, struct err *e);
	int (*amend)(struct disk *d, json_t *opts, bool force, const struct disk_progress *p,
		     struct err *e);
	int (*measure)(const struct disk_create *c, struct disk *in, struct disk_measure *ret,
		       struct err *e);
	int (*change_backing)(struct disk *d, const char *file, const char *format, struct err *e);
	int (*make_empty)(struct disk *d, struct err *e);
	int (*check)(struct disk *d, unsigned fix, struct disk_check *c, struct err *e);

	int (*snapshot_list)(struct disk *d, struct disk_snapshot **ret_list);
	int (*snapshot_create)(struct disk *d, struct disk_snapshot *s, struct err *e);
	int (*snapshot_apply)(struct disk *d, const char *id_or_name, struct err *e);
	int (*snapshot_delete)(struct disk *d, const char *id_or_name, struct err *e);
	int (*snapshot_show)(struct disk *d, const char *id_or_name, struct err *e);
	int (*vmstate_pread)(struct disk *d, uint64_t offset, void *buf, size_t len);
	int (*vmstate_pwrite)(struct disk *d, uint64_t offset, const void *buf, size_t len);

	int (*bitmap_list)(struct disk *d, struct disk_bitmap **ret_list);
	int (*bitmap_add)(struct disk *d, const char *name, uint32_t granularity, bool enabled,
			  struct err *e);
	int (*bitmap_remove)(struct disk *d, const char *name, struct err *e);
	int (*bitmap_clear)(struct disk *d, const char *name, struct err *e);
	int (*bitmap_enable)(struct disk *d, const char *name, bool enabled, struct err *e);
	int (*bitmap_merge)(struct disk *d, const char *name, struct disk *from,
			    const char *from_name, struct err *e);
	int (*bitmap_next)(struct disk *d, const char *name, uint64_t offset, uint64_t end,
			   uint64_t *ret_offset, uint64_t *ret_len);
};

/* A node. Fields marked [driver] are set by the driver's open. */
struct disk {
	struct disk_ctx *ctx;
	const struct disk_driver *drv;
	void *state;
	unsigned flags;       /* enum disk_flags as it is open */
	char *filename;       /* as given, or NULL; disk_filename() makes one */
	json_t *options;      /* what it was opened with */
	struct disk *file;    /* what the image lies in; NULL for protocols */
	struct disk *backing; /* NULL: none, or not opened */
	struct disk *parent;  /* who opened it as a child; NULL: at the top */
	unsigned chain_depth; /* 0 at the top, one more for each backing image */

	uint64_t size;                       /* [driver] bytes */
	char *backing_name, *backing_format; /* [driver] as in the image; owned by the node */
	uint32_t align; /* [driver] of data requests: power of two, 1 at first */
	uint32_t zero_align, discard_align; /* [driver] likewise; 0: as align */
	uint64_t max_transfer;              /* [driver] bytes of one data request; 0: no limit */
	uint32_t cluster_size;              /* [driver] 0: none */
	unsigned
	    write_flags; /* [driver] DISK_REQ_… that pwritev knows (FUA); the core does the rest */
	unsigned zero_flags; /* [driver] likewise for write_zeroes (FUA, UNMAP) */
	bool growable;       /* a file below a format: writes may lie behind the end */
	bool encrypted;      /* [driver] */

	/* The lock of a host file, in QEMU's permissions (disk/host.h): what this node does, and what it
	 * lets others do meanwhile. Set by the opener of the child. */
	unsigned perm, shared;

	struct disk_range_lock *ranges; /* the core's: aligned writes under way */
	struct co_queue range_waiters;
	unsigned in_flight; /* requests */
};

/* All drivers; NULL-terminated. */
extern const struct disk_driver *const disk_drivers[];

/* Opens a file that the image consists of: key's object in o (taken out; may hold "driver",
 * "filename" …), else name, relative to the directory of d. NULL and 0 where both are missing. The
 * format is that of the object, else `format`, else "file"'s protocol. Flags are d's. With
 * DISK_UNTRUSTED, a name from the image is refused (-EACCES). Owned by the driver, which closes it. */
int disk_open_child(struct disk *d, json_t *o, const char *key, const char *name,
		    const char *format, struct disk **ret_child, struct err *e);

/* Reads what lies behind: d->backing's bytes, zeroes past its end or without one. */
int disk_read_backing(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v,
		      size_t at);

/* For a driver's create: makes filename as an empty file of `size` bytes by its protocol's driver (an
 * existing one is emptied), and opens it for writing, without format. The opts of the protocol are
 * taken out of opts (may be NULL). */
int disk_create_file(struct disk_ctx *ctx, const char *filename, uint64_t size, json_t *opts,
		     struct disk **ret_file, struct err *e);

/* name as it is where absolute or with a protocol, else beside `base`. Owned. */
char *disk_path_beside(const char *base, const char *name);

#endif
