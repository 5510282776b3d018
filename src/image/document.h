/* Members of a stranger's JSON document, for the parsers of manifests and configurations. A null
 * is as good as absent, as in Go, whose tools write most of these documents. Errors are -EBADMSG
 * ERR_IMG_MANIFEST and name the member. */
#ifndef IMAGE_DOCUMENT_H
#define IMAGE_DOCUMENT_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "codec/digest.h"

#define DOCUMENT_STRING_MAX 65536u /* bytes of a string that is looked at */

/* Parses an object of at most max_bytes; a member that is there twice is an error, because readers
 * would differ on which one counts. what: "manifest". Returns a new reference in *ret. */
int document_load(const void *p, size_t len, size_t max_bytes, const char *what, json_t **ret,
		  struct err *e);

int document_error(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A member of that type, borrowed; NULL where it is absent. */
int document_get(const json_t *object, const char *key, json_type type, json_t **ret,
		 struct err *e);
/* Returns owned in *ret, "" where it is absent. */
int document_string(const json_t *object, const char *key, char **ret, struct err *e);
/* These two must be there. */
int document_size(const json_t *object, const char *key, uint64_t *ret, struct err *e);
int document_digest(const json_t *object, const char *key, struct digest *ret, struct err *e);
/* An object whose members are strings, as a new reference; NULL where it is absent. */
int document_strings(const json_t *object, const char *key, json_t **ret, struct err *e);

#endif
