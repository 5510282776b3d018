/* Images in and out of files: docker-archive (Docker's `save`, with manifest.json) and OCI image
 * layout (image-spec 1.1, image-layout.md), each as a folder or a tar archive. What is written is
 * both at once unless asked otherwise, as Docker does since version 25, and depends on the images
 * alone: the same images give the same bytes. doc/format/image-store.md names the files. */
#ifndef IMAGE_EXCHANGE_H
#define IMAGE_EXCHANGE_H

#include "image/image.h"
#include "image/layer.h"
#include "io/progress.h"

#define EXCHANGE_IMAGES_MAX 1024u

/* --- load --- */

struct load_options {
	const char *path; /* a file or a folder; NULL: fd */
	int fd;
	const struct platform *platform; /* NULL: this host's where there is a choice */
	enum layer_backend backend;
	bool discard_compressed;   /* keep only what runs */
	struct progress *progress; /* or NULL */
	/* Called for each image that has been loaded, with its names (canonical; none: count 0). */
	void (*loaded)(void *arg, const struct image *i, const struct reference *names,
		       size_t count);
	void *arg;
};

/* Each image appears whole, in one transaction, or not at all. -EBADMSG ERR_IMG_ARCHIVE,
 * ERR_IMG_MANIFEST, ERR_IMG_DIGEST; -ENOENT ERR_IMG_NO_PLATFORM. */
int image_load(struct image_store *s, const struct load_options *o, struct err *e);

/* --- save --- */

enum save_format {
	SAVE_DOCKER_ARCHIVE, /* with the files of an OCI layout */
	SAVE_OCI_ARCHIVE,
	SAVE_OCI_DIR,
};

struct save_item {
	struct image *image;
	struct reference name; /* domain NULL: none, it was named by its ID */
};

/* Writes the images to fd, or, as SAVE_OCI_DIR, into the empty folder that dirfd is. The caller
 * makes the file appear. -ENOENT ERR_IMG_BLOB where a compressed layer was discarded. */
int image_save(struct image_store *s, const struct save_item *items, size_t n,
	       enum save_format format, int fd, struct progress *progress, struct err *e);

#endif
