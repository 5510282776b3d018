/* qcow2, inside: what its files share. The format: QEMU's docs/interop/qcow2.txt; how we write it:
 * doc/format/qcow2.md.
 *
 * Two kinds of state. What only the metadata lock's holder changes: refcounts, tables, the header.
 * What anyone may read between two waits: the L1 table and cached slices, whose entries change whole.
 * So a read, or a write to a cluster that is ours alone, needs no lock where its slice is cached. */
#ifndef DISK_QCOW2_H
#define DISK_QCOW2_H

#include "base/vec.h"
#include "disk/driver.h"
#include "disk/luks.h"

#define QCOW2_MAGIC               0x514649fbu
#define QCOW2_CLUSTER_BITS_MIN    9
#define QCOW2_CLUSTER_BITS_MAX    21
#define QCOW2_L1_BYTES_MAX        (32u << 20) /* QEMU's limits */
#define QCOW2_REFTABLE_BYTES_MAX  (8u << 20)
#define QCOW2_SNAPSHOTS_MAX       65536
#define QCOW2_SNAPSHOTS_BYTES_MAX (64u << 20)
#define QCOW2_SNAPSHOT_EXTRA_MAX  1024
#define QCOW2_BITMAPS_MAX         65535
#define QCOW2_BITMAP_DIR_MAX      (QCOW2_BITMAPS_MAX * 1024u)
#define QCOW2_HEADER_V2           72
#define QCOW2_HEADER_V3           104
#define QCOW2_HEADER_OURS         112
#define QCOW2_SLICE_BYTES         4096u
#define QCOW2_SUBS                32 /* subclusters of a cluster with extended L2 entries */
#define QCOW2_BACKING_NAME_MAX    1023
#define QCOW2_FREES_MAX           4096 /* ranges that wait to be freed; then everything is brought to disk */

enum qcow2_incompat {
	QCOW2_DIRTY = 1 << 0,
	QCOW2_CORRUPT = 1 << 1,
	QCOW2_DATA_FILE = 1 << 2,
	QCOW2_COMPRESSION = 1 << 3,
	QCOW2_EXTL2 = 1 << 4,
	QCOW2_INCOMPAT_KNOWN = 31,
};
enum qcow2_compat { QCOW2_LAZY_REFCOUNTS = 1 << 0 };
enum qcow2_autoclear { QCOW2_BITMAPS = 1 << 0, QCOW2_DATA_FILE_RAW = 1 << 1 };

enum qcow2_extension {
	QCOW2_EXT_END = 0,
	QCOW2_EXT_BACKING_FORMAT = 0xe2792aca,
	QCOW2_EXT_FEATURES = 0x6803f857,
	QCOW2_EXT_BITMAPS = 0x23852875,
	QCOW2_EXT_CRYPTO = 0x0537be77,
	QCOW2_EXT_DATA_FILE = 0x44415441,
};

enum qcow2_compression { QCOW2_ZLIB = 0, QCOW2_ZSTD = 1 };
enum qcow2_crypt { QCOW2_CRYPT_NONE = 0, QCOW2_CRYPT_AES = 1, QCOW2_CRYPT_LUKS = 2 };

/* Bits of L1 and L2 entries */
#define QCOW2_COPIED        (1ull << 63)
#define QCOW2_COMPRESSED    (1ull << 62)
#define QCOW2_ZERO          (1ull << 0)
#define QCOW2_OFFSET_MASK   0x00fffffffffffe00ull
#define QCOW2_REFTABLE_MASK 0xfffffffffffffe00ull
#define QCOW2_L1_RESERVED   0x7f000000000001ffull
#define QCOW2_L2_RESERVED   0x3f000000000001feull

/* --- caches of table slices --- */

struct qcow2_slot {
	uint64_t offset; /* in the image; 0: empty */
	uint8_t *buf;
	bool dirty, used; /* used: since the clock's hand passed */
	uint32_t next;    /* in the hash chain; index + 1 */
};

struct qcow2_cache {
	struct qcow2_slot *slots;
	uint32_t *hash; /* index + 1 */
	uint32_t count, max, hash_bits, hand, dirty;
	uint32_t unit; /* bytes of a slice */
};

/* --- the image --- */

/* Clusters whose last reference is gone in memory: counted down once that is stable on disk, and once
 * no request can still be using them. */
struct qcow2_free {
	uint64_t offset, clusters;
	uint64_t epoch; /* of the free */
	bool stable;    /* nothing on disk refers to them any more */
	bool discard;   /* the file gets its space back */
};

/* A guest range whose mapping is about to change; on the stack of the one who does it. */
struct qcow2_change {
	uint64_t start, end; /* bytes, whole clusters */
	struct qcow2_change *next;
};

struct qcow2_snapshot {
	struct disk_snapshot info;
	uint64_t l1_offset;
	uint32_t l1_size; /* entries */
	uint64_t disk_size;
	uint8_t *extra; /* what follows the extra fields that we know */
	uint32_t extra_len;
};

/* A header extension that we do not know: kept as it is. */
struct qcow2_ext {
	uint32_t type, len;
	uint8_t *data;
};

struct qcow2_bitmap; /* qcow2_bitmap.h */
struct qcow2_codec;  /* qcow2_compress.c */

struct qcow2 {
	struct disk *d;
	struct disk *data; /* where guest data lies: d->file, or the data file */

	unsigned version;
	uint64_t incompat, compat, autoclear;
	unsigned cluster_bits;
	uint32_t cluster_size;
	unsigned refcount_order;
	bool ext_l2;
	unsigned entry_bits;          /* log2 of an L2 entry's bytes */
	unsigned sub_bits, sub_count; /* subclusters; cluster_bits and 1 without extended L2 */
	unsigned l2_bits;             /* log2 of entries in a table */
	unsigned slice_bits;          /* log2 of entries in a slice */
	unsigned block_bits;          /* log2 of refcounts in a block */
	enum qcow2_compression compression;
	enum qcow2_crypt crypt;
	uint64_t crypto_offset, crypto_len;
	struct disk_luks *luks;
	char *data_file_name;
	bool lazy; /* refcounts are written at the end, or found by a check */
	VEC(struct qcow2_ext) exts;

	uint64_t l1_offset;
	uint32_t l1_size;
	uint64_t *l1;          /* in our byte order */
	uint32_t l1_lo, l1_hi; /* entries that are not on disk yet */

	uint64_t reftable_offset;
	uint32_t reftable_clusters, reftable_size; /* size: entries */
	uint64_t *reftable;
	uint32_t reftable_lo, reftable_hi;

	uint64_t snapshots_offset, snapshots_bytes;
	struct qcow2_snapshot *snapshots;
	uint32_t snapshot_count;

	/* Persistent bitmaps: the directory as it is on disk, and what has been loaded. */
	uint64_t bitmaps_offset, bitmaps_bytes;
	struct qcow2_bitmap *bitmaps;
	uint32_t bitmap_count;
	bool bitmaps_in_use; /* the directory says so, because writes are being recorded */

	struct co_mutex lock; /* the metadata lock */
	struct qcow2_cache l2, blocks;
	uint64_t free_hint; /* no free cluster lies before this one */
	uint64_t
	    high_water; /* nothing has ever been written behind this byte, and the file reads zero */
	bool fresh_zero;      /* … which is worth something: new clusters there read as zeroes */
	uint64_t byte_offset; /* where the next compressed cluster may go; 0: a new cluster */
	VEC(struct qcow2_free) frees;

	/* Requests under way, of this epoch and of the one before; an epoch ends when the one before has
	 * none. */
	uint64_t epoch;
	unsigned users[2];
	bool exclusive; /* an operation on the whole image runs alone */
	struct co_queue exclusive_waiters, idle_waiters;

	struct qcow2_change *changes;
	struct co_queue change_waiters;

	struct qcow2_codec *codecs; /* kept compressors */
	struct {
		uint64_t entry; /* the L2 entry of the cluster in buf; 0: none */
		uint8_t *buf;
	} inflated;
};

static inline uint64_t qcow2_clusters(const struct qcow2 *s, uint64_t bytes)
{
	return (bytes + s->cluster_size - 1) >> s->cluster_bits;
}

static inline bool qcow2_external(const struct qcow2 *s)
{
	return s->incompat & QCOW2_DATA_FILE;
}

/* --- qcow2_header.c --- */

/* Reads and checks the header and its extensions into s. */
int qcow2_header_read(struct qcow2 *s, struct err *e);
/* Writes all of it; the first sector last. */
int qcow2_header_write(struct qcow2 *s);
/* Changes feature bits; stable when it returns. */
int qcow2_header_features(struct qcow2 *s, uint64_t incompat, uint64_t compat, uint64_t autoclear);
/* Bytes from `at` of the header, in one write; stable when it returns. */
int qcow2_header_poke(struct qcow2 *s, uint32_t at, const void *bytes, uint32_t len);
/* The L1 table is elsewhere now, in one write; stable when it returns. */
int qcow2_header_set_l1(struct qcow2 *s, uint64_t offset, uint32_t entries);
/* The geometry that follows from cluster size, refcount width and extended L2. */
void qcow2_geometry(struct qcow2 *s);
void qcow2_header_free(struct qcow2 *s);

/* --- qcow2_cache.c --- */

void qcow2_cache_init(struct qcow2_cache *c, uint32_t unit, uint64_t max_bytes);
void qcow2_cache_done(struct qcow2_cache *c);
/* The slice at offset where it is cached, else NULL. Never waits. */
uint8_t *qcow2_cache_find(struct qcow2_cache *c, uint64_t offset);
/* The same, read where it is not; under the lock. Valid until the next call of it or a wait. */
int qcow2_cache_get(struct qcow2 *s, struct qcow2_cache *c, uint64_t offset, uint8_t **ret_slice);
/* The cached slice at offset has been changed. */
void qcow2_cache_dirty(struct qcow2_cache *c, uint64_t offset);
/* Writes what is dirty. */
int qcow2_cache_write(struct qcow2 *s, struct qcow2_cache *c);
/* Forgets slices of the range, changed or not. */
void qcow2_cache_drop(struct qcow2_cache *c, uint64_t offset, uint64_t len);

/* --- qcow2_sync.c --- */

/* Brings the metadata to disk in an order that a cut may interrupt anywhere; under the lock. What it
 * wrote last is stable after the next flush of the file. */
int qcow2_sync(struct qcow2 *s);
/* The same, and stable. */
int qcow2_sync_stable(struct qcow2 *s);
/* Before the first change of a writable image whose refcounts will lag behind. Under the lock. */
int qcow2_mark_dirty(struct qcow2 *s);
/* Writes the L1 entries [lo, hi) of s->l1 to the table on disk. */
int qcow2_write_l1(struct qcow2 *s, uint64_t offset, const uint64_t *l1, uint32_t lo, uint32_t hi);

/* Begins a request: data of clusters that it finds is not reused before its end. Returns its epoch. */
uint64_t qcow2_begin(struct qcow2 *s);
void qcow2_end(struct qcow2 *s, uint64_t epoch);
/* Alone with the image: no request runs until the end; takes the lock. */
void qcow2_begin_alone(struct qcow2 *s);
void qcow2_end_alone(struct qcow2 *s);

/* The image contradicts itself: marks it corrupt where it is writable. Returns -EIO. */
int qcow2_corrupt(struct qcow2 *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* --- qcow2_refcount.c; all under the lock --- */

int qcow2_refcount_load(struct qcow2 *s, struct err *e);
uint64_t qcow2_refcount_max(const struct qcow2 *s);
/* A refcount in a block's bytes. */
uint64_t qcow2_ref_get(const uint8_t *block, uint64_t i, unsigned order);
void qcow2_ref_set(uint8_t *block, uint64_t i, unsigned order, uint64_t value);
int qcow2_refcount(struct qcow2 *s, uint64_t cluster, uint64_t *ret_count);
/* Counts each of the clusters up or down by one; -EINVAL where that leaves the range. */
int qcow2_refcount_add(struct qcow2 *s, uint64_t offset, uint64_t clusters, int delta);
/* Exactly n adjacent clusters, counted 1. fresh: they read as zeroes without being written. */
int qcow2_alloc(struct qcow2 *s, uint64_t n, uint64_t *ret_offset, bool *ret_fresh);
/* Up to n adjacent clusters, at least one. */
int qcow2_alloc_some(struct qcow2 *s, uint64_t n, uint64_t *ret_offset, uint64_t *ret_n,
		     bool *ret_fresh);
/* Clusters from offset on, as many of n as are free; may be none. For growing in place. */
int qcow2_alloc_at(struct qcow2 *s, uint64_t offset, uint64_t n, uint64_t *ret_n, bool *ret_fresh);
/* Room for a compressed cluster of len bytes. */
int qcow2_alloc_bytes(struct qcow2 *s, uint32_t len, uint64_t *ret_offset);
/* They will be free once nothing on disk refers to them. */
void qcow2_free_later(struct qcow2 *s, uint64_t offset, uint64_t clusters, bool discard);
/* Nothing on disk or in flight refers to them: free at once. */
int qcow2_free_now(struct qcow2 *s, uint64_t offset, uint64_t clusters, bool discard);
/* What an L2 entry refers to is not referred to any more. */
void qcow2_free_entry(struct qcow2 *s, uint64_t entry, bool discard);
/* Frees what may be freed by now. stable: all metadata has just become so. */
int qcow2_apply_frees(struct qcow2 *s, bool stable);
/* Where a compressed cluster lies. */
void qcow2_compressed_range(const struct qcow2 *s, uint64_t entry, uint64_t *ret_offset,
			    uint64_t *ret_len);

/* --- qcow2_map.c --- */

enum qcow2_type {
	QCOW2_UNALLOCATED, /* the backing image's */
	QCOW2_ZEROES,
	QCOW2_DATA,
	QCOW2_PACKED, /* compressed */
};

struct qcow2_map {
	enum qcow2_type type;
	uint64_t len;   /* bytes from the offset asked for that are mapped alike */
	uint64_t host;  /* of the offset: DATA; others where a cluster is allocated, else 0 */
	uint64_t entry; /* of the first cluster */
	bool copied;    /* the clusters are ours alone */
};

/* The mapping of guest bytes from offset on, at most len, of one slice. 1: the slice is not cached, ask
 * again under the lock by qcow2_map_load(). */
int qcow2_map(struct qcow2 *s, uint64_t offset, uint64_t len, struct qcow2_map *ret_map);
int qcow2_map_load(struct qcow2 *s, uint64_t offset, uint64_t len, struct qcow2_map *ret_map);
/* Either, taking the lock where needed. [waits] */
int qcow2_map_any(struct qcow2 *s, uint64_t offset, uint64_t len, struct qcow2_map *ret_map);

/* One L2 entry. */
struct qcow2_entry {
	uint64_t entry, bitmap;
};

/* Under the lock: the slice of offset in a table that is ours alone, made where there is none or where
 * it is shared. *ret_index: of offset's entry; valid until a wait. */
int qcow2_slice_for_write(struct qcow2 *s, uint64_t offset, uint8_t **ret_slice,
			  uint64_t *ret_slice_offset, unsigned *ret_index);
struct qcow2_entry qcow2_entry_get(const struct qcow2 *s, const uint8_t *slice, unsigned i);
void qcow2_entry_put(const struct qcow2 *s, uint8_t *slice, unsigned i, struct qcow2_entry en);
/* Checks an entry of a table; -EIO where it is malformed. */
int qcow2_entry_check(struct qcow2 *s, struct qcow2_entry en, uint64_t guest);

/* Makes the L1 table large enough for a disk of that size. Under the lock. */
int qcow2_grow_l1(struct qcow2 *s, uint64_t entries);

/* --- qcow2_io.c --- */

int qcow2_preadv(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v, size_t at);
int qcow2_pwritev(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v, size_t at,
		  unsigned flags);
int qcow2_write_zeroes(struct disk *d, uint64_t offset, uint64_t len, unsigned flags);
int qcow2_discard(struct disk *d, uint64_t offset, uint64_t len);
int qcow2_block_status(struct disk *d, uint64_t offset, uint64_t len, bool exact,
		       struct disk_extent *x);
/* Links a guest cluster to compressed bytes, which are written first. */
int qcow2_store_compressed(struct qcow2 *s, uint64_t guest, const uint8_t *bytes, uint32_t len);
/* Maps whole clusters without writing data: for preallocation. Under no lock. */
int qcow2_preallocate(struct qcow2 *s, uint64_t offset, uint64_t len);
/* How mappings of a range go away. */
enum qcow2_unmap {
	QCOW2_UNMAP_DISCARD,
	QCOW2_UNMAP_ZERO,
	QCOW2_UNMAP_ZERO_KEEP,
	QCOW2_UNMAP_FORGET
};
int qcow2_unmap(struct qcow2 *s, uint64_t offset, uint64_t len, enum qcow2_unmap how);

/* --- qcow2_compress.c --- */

int qcow2_pwritev_compressed(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v,
			     size_t at);
/* Bytes [from, from + len) of the compressed cluster. */
int qcow2_read_compressed(struct qcow2 *s, uint64_t entry, uint64_t from, size_t len,
			  const struct disk_vec *v, size_t at);
void qcow2_codecs_free(struct qcow2 *s);

/* --- qcow2_snapshot.c --- */

int qcow2_snapshots_load(struct qcow2 *s, struct err *e);
void qcow2_snapshots_free(struct qcow2 *s);
int qcow2_snapshot_list(struct disk *d, struct disk_snapshot **ret_list);
int qcow2_snapshot_create(struct disk *d, struct disk_snapshot *sn, struct err *e);
int qcow2_snapshot_apply(struct disk *d, const char *id_or_name, struct err *e);
int qcow2_snapshot_delete(struct disk *d, const char *id_or_name, struct err *e);
int qcow2_snapshot_show(struct disk *d, const char *id_or_name, struct err *e);
int qcow2_vmstate_pread(struct disk *d, uint64_t offset, void *buf, size_t len);
int qcow2_vmstate_pwrite(struct disk *d, uint64_t offset, const void *buf, size_t len);
uint64_t qcow2_vmstate_offset(const struct qcow2 *s);
/* Writes the table anew, as s->snapshots has it; in the header when it returns. Under the lock. */
int qcow2_snapshots_write(struct qcow2 *s);

/* --- qcow2_bitmap.c --- */

int qcow2_bitmaps_load(struct qcow2 *s, struct err *e);
/* Writes what was recorded; the directory says that nobody uses it. Under the lock. */
int qcow2_bitmaps_store(struct qcow2 *s);
void qcow2_bitmaps_free(struct qcow2 *s);
/* Some bitmap records writes. */
bool qcow2_bitmaps_record(const struct qcow2 *s);
/* A write to the range is about to happen. [waits], takes the lock where needed. */
int qcow2_bitmaps_mark(struct qcow2 *s, uint64_t offset, uint64_t len);
json_t *qcow2_bitmaps_info(const struct qcow2 *s);
int qcow2_bitmap_list(struct disk *d, struct disk_bitmap **ret_list);
int qcow2_bitmap_add(struct disk *d, const char *name, uint32_t granularity, bool enabled,
		     struct err *e);
int qcow2_bitmap_remove(struct disk *d, const char *name, struct err *e);
int qcow2_bitmap_clear(struct disk *d, const char *name, struct err *e);
int qcow2_bitmap_enable(struct disk *d, const char *name, bool enabled, struct err *e);
int qcow2_bitmap_merge(struct disk *d, const char *name, struct disk *from, const char *from_name,
		       struct err *e);
int qcow2_bitmap_next(struct disk *d, const char *name, uint64_t offset, uint64_t end,
		      uint64_t *ret_offset, uint64_t *ret_len);
/* The disk has another size now. */
int qcow2_bitmaps_resize(struct qcow2 *s, uint64_t size);
/* Calls fn for every range of the image that bitmaps take. */
int qcow2_bitmaps_ranges(struct qcow2 *s, int (*fn)(void *arg, uint64_t offset, uint64_t len),
			 void *arg);

/* --- qcow2_check.c --- */

int qcow2_check(struct disk *d, unsigned fix, struct disk_check *c, struct err *e);
/* Repairs an image whose refcounts lagged behind; alone with it, before anything else. */
int qcow2_repair(struct qcow2 *s, struct err *e);

/* Counts all references into new blocks of that width, and forgets the old ones. Alone with the image,
 * which is on disk. -ERANGE where a count does not fit. */
int qcow2_rebuild_refcounts(struct qcow2 *s, unsigned order);

/* --- qcow2_create.c, qcow2_resize.c, qcow2_amend.c --- */

extern const struct disk_opt qcow2_create_opts[];
extern const struct disk_opt qcow2_amend_opts[];
int qcow2_create(const struct disk_create *c, struct err *e);
int qcow2_measure(const struct disk_create *c, struct disk *in, struct disk_measure *ret,
		  struct err *e);
int qcow2_truncate(struct disk *d, uint64_t size, bool exact, enum disk_prealloc prealloc,
		   unsigned flags, struct err *e);
int qcow2_make_empty(struct disk *d, struct err *e);
int qcow2_amend(struct disk *d, json_t *opts, bool force, const struct disk_progress *p,
		struct err *e);
int qcow2_change_backing(struct disk *d, const char *file, const char *format, struct err *e);

/* --- qcow2.c --- */

/* Where the LUKS header lies. */
struct disk_luks_area qcow2_luks_area(struct qcow2 *s);

extern const struct disk_driver disk_driver_qcow2;

#endif
