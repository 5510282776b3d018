/* Names of images: "[DOMAIN/]PATH[:TAG][@DIGEST]" (distribution's reference grammar, and Docker's
 * rules for what is left out: "debian" is docker.io/library/debian:latest). Text in, values out;
 * whether such an image exists is image/image.h's. */
#ifndef CODEC_REFERENCE_H
#define CODEC_REFERENCE_H

#include "base/err.h"
#include "codec/digest.h"

#define REFERENCE_NAME_MAX 255u /* bytes of domain and path together */
#define REFERENCE_TAG_MAX  128u

/* Owns its strings: reference_done(). */
struct reference {
	char *domain;         /* "docker.io", "localhost:5000", "[::1]:5000" */
	char *path;           /* "library/debian" */
	char *tag;            /* NULL: none */
	struct digest digest; /* not set: none */
};

/* Parses what a person wrote, with Docker's defaults for domain and path; the tag stays NULL where
 * none was written. A bare 64-digit hex string is refused, because it is an image ID. -EINVAL
 * ERR_IMG_REFERENCE. */
int reference_parse(const char *text, struct reference *ret, struct err *e);
/* The same, with the tag "latest" where neither a tag nor a digest was written. */
int reference_parse_tagged(const char *text, struct reference *ret, struct err *e);
void reference_done(struct reference *r);
#define _reference_ __attribute__((cleanup(reference_done)))

/* "docker.io/library/debian:latest@sha256:…": all that is there. Returns owned. */
char *reference_canonical(const struct reference *r);
/* "docker.io/library/debian". Returns owned. */
char *reference_repository(const struct reference *r);
/* As Docker shows it: "debian:latest", "debian@sha256:…". Returns owned. */
char *reference_familiar(const struct reference *r);
/* As Docker shows the repository alone: "debian". Returns owned. */
char *reference_familiar_repository(const struct reference *r);

#endif
