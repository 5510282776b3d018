/* The documents that describe an image: index, manifest and configuration, of OCI image-spec 1.1
 * and of Docker's "Image Manifest Version 2, Schema 2" (also its list). JSON of a stranger goes in,
 * checked structs come out; the exact bytes stay with the caller, because their digest counts. No
 * I/O. The parsed form owns everything in it and is not changed. */
#ifndef IMAGE_MANIFEST_H
#define IMAGE_MANIFEST_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/vec.h"
#include "codec/digest.h"

#define MANIFEST_BYTES_MAX   (4u << 20) /* distribution-spec 1.1, "Pushing Manifests" */
#define CONFIG_BYTES_MAX     (8u << 20)
#define MANIFEST_LAYERS_MAX  512u
#define MANIFEST_ENTRIES_MAX 4096u /* of an index */

#define MEDIA_OCI_INDEX            "application/vnd.oci.image.index.v1+json"
#define MEDIA_OCI_MANIFEST         "application/vnd.oci.image.manifest.v1+json"
#define MEDIA_OCI_CONFIG           "application/vnd.oci.image.config.v1+json"
#define MEDIA_OCI_EMPTY            "application/vnd.oci.empty.v1+json"
#define MEDIA_OCI_LAYER            "application/vnd.oci.image.layer.v1.tar"
#define MEDIA_OCI_LAYER_GZIP       "application/vnd.oci.image.layer.v1.tar+gzip"
#define MEDIA_OCI_LAYER_ZSTD       "application/vnd.oci.image.layer.v1.tar+zstd"
#define MEDIA_DOCKER_LIST          "application/vnd.docker.distribution.manifest.list.v2+json"
#define MEDIA_DOCKER_MANIFEST      "application/vnd.docker.distribution.manifest.v2+json"
#define MEDIA_DOCKER_CONFIG        "application/vnd.docker.container.image.v1+json"
#define MEDIA_DOCKER_LAYER         "application/vnd.docker.image.rootfs.diff.tar"
#define MEDIA_DOCKER_LAYER_GZIP    "application/vnd.docker.image.rootfs.diff.tar.gzip"
#define MEDIA_DOCKER_LAYER_FOREIGN "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"

/* --- platforms --- */

/* OCI names: "linux", "amd64", "v8". Strings are owned and never NULL; "" where none was given. */
struct platform {
	char *os, *architecture, *variant, *os_version;
};

/* "linux/arm64/v8", "arm64", "linux" (Docker's --platform); other names of an architecture are
 * understood ("x86_64", "aarch64"). -EINVAL ERR_IMG_PLATFORM. */
int platform_parse(const char *text, struct platform *ret, struct err *e);
/* Where this program runs. */
void platform_host(struct platform *ret);
void platform_copy(const struct platform *from, struct platform *ret);
void platform_done(struct platform *p);
#define _platform_ __attribute__((cleanup(platform_done)))
/* "linux/arm64/v8"; returns owned. */
char *platform_text(const struct platform *p);
/* How well a host or wish `want` is served by `have`: 0 not at all; greater is better. */
unsigned platform_match(const struct platform *want, const struct platform *have);

/* --- layers --- */

enum layer_compression { LAYER_PLAIN, LAYER_GZIP, LAYER_ZSTD };

/* What the media type says of a layer. -EOPNOTSUPP ERR_IMG_LAYER, by name, for foreign
 * (non-distributable), encrypted and unknown kinds. */
int layer_media_type(const char *media_type, enum layer_compression *ret, struct err *e);

/* --- manifests and indexes --- */

struct descriptor {
	char *media_type, *artifact_type; /* never NULL, perhaps "" */
	struct digest digest;
	uint64_t size;
	bool has_platform;
	struct platform platform;
	json_t *annotations; /* an object of strings, or NULL */
	json_t *urls;        /* an array of strings, or NULL */
};

enum manifest_kind {
	MANIFEST_INDEX,    /* OCI index, Docker manifest list */
	MANIFEST_IMAGE,    /* OCI or Docker manifest of an image */
	MANIFEST_ARTIFACT, /* OCI manifest of something else (image-spec 1.1, "Guidelines for
			      Artifact Usage") */
};

struct manifest {
	enum manifest_kind kind;
	char *media_type; /* never NULL: where the document has none, what it must be */
	char *artifact_type;
	struct descriptor config;       /* not of an index */
	VEC(struct descriptor) layers;  /* not of an index */
	VEC(struct descriptor) entries; /* of an index: its "manifests" */
	bool has_subject;
	struct descriptor subject;
	json_t *annotations; /* or NULL */
};

/* media_type: what the carrier said (Content-Type, a descriptor), or NULL; a document that says
 * otherwise is refused, and so is one that is manifest and index at once (CVE-2021-41190), and
 * Docker's schema 1, by name. -EBADMSG ERR_IMG_MANIFEST. Returns owned in *ret. */
int manifest_parse(const void *p, size_t len, const char *media_type, struct manifest **ret,
		   struct err *e);
void manifest_free(struct manifest *m);

static inline void cleanup_manifest(struct manifest **m)
{
	manifest_free(*m);
}
#define _manifest_ __attribute__((cleanup(cleanup_manifest)))

/* The entry of an index that suits `want` best; attestations and other artifacts are no candidates.
 * -ENOENT ERR_IMG_NO_PLATFORM, whose message lists what there is. *ret is borrowed. */
int manifest_select(const struct manifest *index, const struct platform *want,
		    const struct descriptor **ret, struct err *e);

/* A descriptor as JSON (mediaType, digest, size, …); returns a new reference. */
json_t *descriptor_json(const struct descriptor *d);
int descriptor_parse(const json_t *v, struct descriptor *ret, struct err *e);
void descriptor_done(struct descriptor *d);

/* --- configurations --- */

struct config_history {
	char *created, *created_by, *author, *comment; /* never NULL */
	bool empty_layer;
};

struct image_config {
	struct platform platform;
	char *created, *author; /* RFC 3339; never NULL, perhaps "" */
	VEC(struct digest) diff_ids;
	VEC(struct config_history) history;
	json_t *config;   /* what to run: Env, Cmd, Entrypoint, …; an object, perhaps empty */
	json_t *document; /* the whole of it */
};

/* -EBADMSG ERR_IMG_MANIFEST. Returns owned in *ret. */
int image_config_parse(const void *p, size_t len, struct image_config **ret, struct err *e);
void image_config_free(struct image_config *c);

static inline void cleanup_image_config(struct image_config **c)
{
	image_config_free(*c);
}
#define _image_config_ __attribute__((cleanup(cleanup_image_config)))

#endif
