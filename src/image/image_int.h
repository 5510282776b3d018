/* What the files that keep names and records share; others include image/image.h. */
#ifndef IMAGE_IMAGE_INT_H
#define IMAGE_IMAGE_INT_H

#include <jansson.h>

#include "image/image.h"

#define KEY_RECORD    "image/record/"
#define KEY_NAME      "image/name/"
#define KEY_USE       "image/use/"
#define KEY_HOLD      "image/hold/"
#define KEY_DISCARDED "image/discarded/"

#define IMAGE_TRIES_MAX 16 /* of a transaction that others may overtake */

/* KEY_RECORD + digest; returns owned. */
char *record_key(const struct digest *manifest);
/* KEY_NAME + canonical name; returns owned. */
char *name_key(const struct reference *r);

/* Values of records and names, as JSON text. Parsing trusts nobody: a value that is damaged is
 * -EBADMSG ERR_STATE_CORRUPT. */
void record_format(const struct image *i, struct buf *b);
int record_parse(const struct state_kv *kv, struct image **ret, struct err *e);
void name_format(const struct image_name *n, struct buf *b);
int name_parse(const struct state_kv *kv, struct image_name *ret, struct err *e);
void image_name_done(struct image_name *n);

/* The record of that manifest with its revision; -ENOENT ERR_IMG_NOT_FOUND. */
int record_get(struct image_store *s, const struct digest *manifest, struct image **ret,
	       int64_t *ret_revision, struct err *e);

/* Puts keys in one transaction that also writes the record anew, if it is still there: who removes
 * the record at the same time loses or wins as a whole. -ENOENT ERR_IMG_NOT_FOUND where it is gone.
 */
struct image_put {
	struct state_bytes key, value;
	int64_t lease;
};

#define IMAGE_PUTS_MAX 32u

int record_put_with(struct image_store *s, const struct image *i, const struct image_put *puts,
		    size_t n, struct err *e);

#endif
