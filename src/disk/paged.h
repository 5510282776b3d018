/* A table of an image (block map, BAT, grain tables), cached in pages and written back at a flush:
 * first the data that new entries point to is made stable, then the entries are written. So a cut
 * between two flushes leaves entries that point at data which is there, and the write path waits for
 * neither. The cache is bounded; where all its pages are dirty, it flushes by itself.
 *
 * What is written back is a copy, so entries may change meanwhile. Byte order is the caller's. A
 * struct paged belongs to its node. */
#ifndef DISK_PAGED_H
#define DISK_PAGED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "disk/disk.h"

#define PAGED_CACHE_BYTES (4u << 20) /* of pages; while they are written, at most twice that */
#define PAGED_PAGE_BYTES  4096u      /* the usual size of a page */

struct paged_write {
	uint64_t page;
	const void *data; /* page_bytes */
};

/* How pages reach the file; for tables that do not lie there in one piece. */
struct paged_ops {
	/* [waits] Fills buf. */
	int (*load)(void *owner, uint64_t page, void *buf);
	/* [waits] Writes pages, in ascending order. */
	int (*store)(void *owner, const struct paged_write *w, unsigned count);
};

struct paged_page;

struct paged {
	struct disk *file; /* flushed before entries are written */
	uint64_t offset;   /* of the table in file; without ops */
	uint64_t bytes;    /* of the whole table */
	uint32_t page_bytes;
	const struct paged_ops *ops; /* NULL: one piece at offset */
	void *owner;                 /* of ops */

	struct paged_page **pages; /* by number; NULL: not loaded */
	struct list used;          /* least recently first */
	unsigned loaded, dirty;
	struct co_mutex loading, flushing;
};

/* The caller has set the fields above the space. -ENOMEM, -EFBIG for a table that is too large. */
int paged_init(struct paged *p);
/* Forgets everything, also what is dirty. Zeroed is fine. */
void paged_done(struct paged *p);

/* [waits] len bytes of an entry at byte `at`, which do not cross a page. */
int paged_get(struct paged *p, uint64_t at, void *ret_entry, size_t len);
int paged_set(struct paged *p, uint64_t at, const void *entry, size_t len);

/* [waits] Makes the data stable, then writes all dirty pages. They are not stable when it returns:
 * the caller (or the core) flushes the file. */
int paged_flush(struct paged *p);

#endif
