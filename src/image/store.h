/* The content store: blobs by digest, in files. It knows no names, manifests or registries: those
 * are image/image.h, manifest.h, registry.h.
 *
 *	DATA/images/blobs/ALG/HEX   a blob, read-only, whole and verified when it was written
 *	DATA/images/layers/HEX/     what image/layer.h keeps of a layer, by the hex of its DiffID
 *	DATA/images/tmp/            what is being written: LEASE.WHAT (image_store_temp_name)
 *	DATA/images/lock            flock(2): shared to take hold of blobs, exclusive to collect them
 *
 * A blob appears by rename(2) after fsync(2), so it is there whole or not at all. A temporary's
 * name begins with the state lease of its process; the next command that writes removes those
 * whose lease has ended. A temporary of a blob whose digest is known in advance is kept for a day:
 * the next writer of that digest goes on behind its last byte.
 *
 * What a running command has written or found, and no name refers to yet, it protects from the
 * collector by *holds*: keys below image/hold/ in `state`, under the same lease.
 * doc/format/image-store.md has all of this in full.
 *
 * A store handle belongs to one thread, except blob_writer_append() of different writers, which may
 * run in different threads. */
#ifndef IMAGE_STORE_H
#define IMAGE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "codec/digest.h"
#include "state/state.h"

#define STORE_SIZE_UNKNOWN UINT64_MAX

struct image_store;

/* --- life cycle --- */

/* Opens the store below the data directory (state/dirs.h), creating what is missing (mode 0700).
 * state is borrowed and outlives the store. Returns owned in *ret. */
int image_store_open(const char *data_dir, struct state *state, struct image_store **ret,
		     struct err *e);
/* Ends the handle's lease, so its holds go too: name what is to stay before. */
void image_store_free(struct image_store *s);

static inline void cleanup_image_store(struct image_store **s)
{
	image_store_free(*s);
}
#define _image_store_ __attribute__((cleanup(cleanup_image_store)))

struct state *image_store_state(const struct image_store *s); /* borrowed */
/* DATA/images; borrowed. */
int image_store_dirfd(const struct image_store *s);
const char *image_store_path(const struct image_store *s);

/* --- temporaries and holds --- */

/* This handle's lease, granted at the first call; that call also clears away the temporaries of
 * dead processes. */
int image_store_lease(struct image_store *s, int64_t *ret_lease, struct err *e);
/* A name below DATA/images for a file or directory in the making, "tmp/LEASE.N-what", which nobody
 * else uses and which is removed (as a tree) after the process ended. Returns owned in *ret. */
int image_store_temp_name(struct image_store *s, const char *what, char **ret, struct err *e);
/* Protects these blobs, and layers of these DiffIDs, from the collector until the handle is freed,
 * whether they exist already or not. Look whether they exist *after* it. One transaction. */
int image_store_hold(struct image_store *s, const struct digest *digests, size_t n, struct err *e);
/* The name of what is kept of the layer of that DiffID: "layers/HEX". Returns out. */
const char *image_store_layer_name(const struct digest *diff_id,
				   char out[static DIGEST_HEX_MAX + 7]);

/* --- blobs --- */

/* Opens it for reading: an fd, or -ENOENT ERR_IMG_BLOB. ret_size may be NULL. */
int blob_open(struct image_store *s, const struct digest *d, uint64_t *ret_size, struct err *e);
bool blob_exists(struct image_store *s, const struct digest *d, uint64_t *ret_size);
/* Appends the whole blob to b and verifies it. -EFBIG past max_bytes, -EBADMSG ERR_IMG_CORRUPT. */
int blob_read(struct image_store *s, const struct digest *d, size_t max_bytes, struct buf *b,
	      struct err *e);
/* Reads it through: 0, -ENOENT, or -EBADMSG ERR_IMG_CORRUPT. */
int blob_verify(struct image_store *s, const struct digest *d, struct err *e);
/* Writes a small one whole, held. */
int blob_put(struct image_store *s, enum digest_alg alg, const void *p, size_t len,
	     struct digest *ret, struct err *e);
/* Gives a finished file below DATA/images, whose digest the caller has computed, a second name as
 * that blob (a hard link), held. The file must not be changed any more. */
int blob_link(struct image_store *s, const char *name, const struct digest *d, struct err *e);
/* Removes it if it is there. For the collector and --discard-compressed. */
int blob_remove(struct image_store *s, const struct digest *d, struct err *e);
/* Calls fn for every blob; stops where it returns not 0 and returns that. */
int blob_each(struct image_store *s,
	      int (*fn)(const struct digest *d, uint64_t size, void *arg, struct err *e), void *arg,
	      struct err *e);

/* --- writing a blob --- */

struct blob_writer;

struct blob_expect {
	struct digest digest; /* not set: unknown; then the blob gets its sha256 */
	uint64_t size;        /* STORE_SIZE_UNKNOWN: unknown */
	bool resume;          /* go on with what a former writer of this digest has left */
};

/* The digest is held from here on. Returns owned in *ret. */
int blob_writer_new(struct image_store *s, const struct blob_expect *expect,
		    struct blob_writer **ret, struct err *e);
/* Bytes that are there: not 0 at first where a former writer's were found (they are digested
 * again). */
uint64_t blob_writer_offset(const struct blob_writer *w);
/* More bytes than expected: -EBADMSG ERR_IMG_DIGEST. */
int blob_writer_append(struct blob_writer *w, const void *p, size_t len, struct err *e);
/* Reads back [offset, offset + len) of what is there already: what a resumed pull must inflate
 * again. Returns bytes read, 0 at the end, or an error. */
ssize_t blob_writer_read(struct blob_writer *w, uint64_t offset, void *p, size_t len);
/* Checks size and digest, makes the blob appear, and frees the writer in every case. A blob that is
 * there already is replaced by the same bytes. On -EBADMSG (ERR_IMG_DIGEST) what was written is
 * gone. ret may be NULL. */
int blob_writer_commit(struct blob_writer *w, struct digest *ret, struct err *e);
/* Gives up and removes what was written. NULL is fine. */
void blob_writer_abort(struct blob_writer *w);
/* Gives up, but leaves what was written to a later writer with `resume`. */
void blob_writer_suspend(struct blob_writer *w);

static inline void cleanup_blob_writer(struct blob_writer **w)
{
	blob_writer_abort(*w);
}
#define _blob_writer_ __attribute__((cleanup(cleanup_blob_writer)))

#endif
