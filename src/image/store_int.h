/* What the files of the content store share; others include image/store.h. */
#ifndef IMAGE_STORE_INT_H
#define IMAGE_STORE_INT_H

#include "image/store.h"

#include <sys/types.h>

#define STORE_PARTIAL_KEEP_S (24 * 60 * 60) /* how long a cut download waits for its continuation */
#define STORE_NAME_MAX       (DIGEST_HEX_MAX + 64) /* of any file of the store, with its folder */

#define IMAGE_HOLD_PREFIX "image/hold/" /* + LEASE/DIGEST, the lease as 16 hexadecimal digits */

struct image_store {
	struct state *state; /* borrowed */
	char *path;
	int fd;             /* of path */
	int64_t lease;      /* 0: none yet */
	unsigned temp_next; /* temporaries of this handle have consecutive numbers */
};

/* "blobs/sha256/…"; returns out. */
const char *store_blob_name(const struct digest *d, char out[static STORE_NAME_MAX]);

/* Error of a file operation on something below the store: -errno rc. */
int store_fail(const struct image_store *s, int rc, struct err *e, const char *what,
	       const char *name);

/* flock(2) of the store's lock file; -1 or the fd that holds it. */
int store_lock(struct image_store *s, bool exclusive, struct err *e);

/* Makes the names in a folder of the store durable. */
int store_sync_dir(struct image_store *s, const char *folder, struct err *e);

/* --- temporaries of blobs whose digest is known: "tmp/LEASE.N-blob.sha256.HEX" --- */

/* Renames what an ended process has left of that digest to `name`; false where there is nothing. */
bool store_adopt_partial(struct image_store *s, const struct digest *d, const char *name);

/* Removes temporaries of ended processes; those of blobs only when they are older than keep_s. */
int store_clear_temporaries(struct image_store *s, int64_t keep_s, struct err *e);

#endif
