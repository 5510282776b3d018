/* Images: which there are, what they are called, and what they consist of. Names and records are
 * keys of `state`, one transaction per verb; the documents and layers they point to are blobs of
 * the store. Keys (doc/format/image-store.md has their values):
 *
 *	image/record/DIGEST          an image, by the digest of its manifest: configuration, layers
 *	image/name/CANONICAL         "docker.io/library/debian:12" or "…/debian@sha256:…" → record
 *	image/use/DIGEST/WHO         something needs the image: it is not removed
 *	image/hold/LEASE/DIGEST      a running command needs the blob or layer (store.h)
 *	image/discarded/DIGEST       a compressed layer was dropped on purpose, its DiffID is kept
 *
 * An image's ID is the digest of its configuration, as in Docker and podman; an artifact's is that
 * of its manifest. */
#ifndef IMAGE_IMAGE_H
#define IMAGE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/vec.h"
#include "codec/reference.h"
#include "image/manifest.h"
#include "image/store.h"

/* --- one image --- */

struct image_layer {
	char *media_type;
	struct digest digest;   /* of the blob */
	uint64_t size;          /* of the blob */
	struct digest diff_id;  /* of the uncompressed tar; not set: an artifact's layer */
	uint64_t unpacked_size; /* of the uncompressed tar; 0: unknown */
};

/* A record, as read: owns everything, changes nothing when it is changed. */
struct image {
	struct digest id;
	struct digest manifest;
	char *media_type; /* of the manifest */
	uint64_t manifest_size;
	struct digest config;
	uint64_t config_size;
	char *config_media_type, *artifact_type; /* "": an image */
	struct platform platform;
	char *created; /* RFC 3339; "" unknown */
	int64_t added; /* seconds since 1970 */
	VEC(struct image_layer) layers;
};

void image_free(struct image *i);
bool image_is_artifact(const struct image *i);
/* What Docker calls its size: the uncompressed layers, as far as their sizes are known. */
uint64_t image_size(const struct image *i);

static inline void cleanup_image(struct image **i)
{
	image_free(*i);
}
#define _image_ __attribute__((cleanup(cleanup_image)))

/* A name and the image it stands for. */
struct image_name {
	struct reference reference; /* a tag, or a digest, never both */
	struct digest manifest;
	struct digest index; /* what the registry gave for that name, where that was an index */
};

/* Everything at one revision, for listing and collecting: names point into images. */
struct image_list {
	VEC(struct image *) images;   /* ordered by manifest digest */
	VEC(struct image_name) names; /* ordered by canonical name */
	int64_t revision;
};

int image_list(struct image_store *s, struct image_list *ret, struct err *e);
void image_list_done(struct image_list *l);
#define _image_list_ __attribute__((cleanup(image_list_done)))

/* --- finding --- */

/* What the user wrote: a name (with or without tag; a local name wins over docker.io), NAME@DIGEST,
 * an ID, or the beginning of one. -ENOENT ERR_IMG_NOT_FOUND; -ENOTUNIQ ERR_IMG_AMBIGUOUS. want: NULL,
 * or the platform that the image must have. Returns owned in *ret. */
int image_find(struct image_store *s, const char *text, const struct platform *want,
	       struct image **ret, struct err *e);
/* The same, and by which name it was found: *ret_name is empty (domain NULL) where it was an ID. */
int image_resolve(struct image_store *s, const char *text, struct image **ret,
		  struct reference *ret_name, struct err *e);
/* By the exact name. -ENOENT ERR_IMG_NOT_FOUND. */
int image_find_name(struct image_store *s, const struct reference *r, struct image **ret,
		    struct err *e);
/* The configuration, read from its blob and verified. */
int image_read_config(struct image_store *s, const struct image *i, struct image_config **ret,
		      struct err *e);

/* --- changing --- */

/* Makes an image known: its manifest and configuration are blobs of the store, its layers are
 * blobs, or discarded ones whose DiffID is a layer. The caller holds them all (store.h). names: a
 * tag and/or a digest each; what they meant before they mean no longer. index: the digest that the
 * names' registry has for them, or not set. One transaction. -ENOENT where a part is missing;
 * -EBADMSG ERR_IMG_MANIFEST where configuration and manifest do not fit together. Returns owned in
 * *ret (may be NULL). */
int image_add(struct image_store *s, const struct digest *manifest, const struct digest *index,
	      const struct reference *names, size_t name_count, struct image **ret, struct err *e);

/* Notes that the compressed form of that layer is dropped on purpose, before it is (blob_remove) and
 * before image_add() misses it. The collector removes the note with the last image that needs it. */
int image_note_discarded(struct image_store *s, const struct digest *blob,
			 const struct digest *diff_id, struct err *e);

/* Another name for an image. */
int image_tag(struct image_store *s, const struct image *i, const struct reference *name,
	      struct err *e);

/* Drops the compressed blobs of layers that are ready to run. The image can still be used, but not
 * be pushed or saved as it came. */
int image_discard_compressed(struct image_store *s, const struct image *i, struct err *e);

/* --- removing --- */

struct image_removed {
	VEC(char *) untagged; /* canonical names, owned */
	bool deleted;         /* the image itself is gone */
	uint64_t bytes;       /* on the disk, that were collected */
	struct digest id;
};

void image_removed_done(struct image_removed *r);

/* Takes a name off an image, or by ID all of them; without a tag left the image goes, too. What it
 * consisted of is collected (collect.h). -EBUSY ERR_IMG_IN_USE where something uses it, or where an
 * ID has names of several repositories and force is false. */
int image_remove(struct image_store *s, const char *text, bool force, struct image_removed *ret,
		 struct err *e);

/* Something needs the image until that is removed; who is unique per image ("mount:/mnt",
 * "container:web"). lease 0: until image_use_end(). */
int image_use(struct image_store *s, const struct image *i, const char *who, int64_t lease,
	      struct err *e);
int image_use_end(struct image_store *s, const struct image *i, const char *who, struct err *e);
/* Who needs it, for messages: "mount:/mnt, container:web". Returns owned in *ret; "" nobody. */
int image_users(struct image_store *s, const struct digest *manifest, char **ret, struct err *e);

#endif
