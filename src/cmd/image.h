/* The commands of viv-image: one file per subject, listed in image_main.c; and what they share. */
#ifndef CMD_IMAGE_H
#define CMD_IMAGE_H

#include <jansson.h>

#include "cmd/cli.h"
#include "image/image.h"

int cmd_export(struct cli *c);
int cmd_images(struct cli *c);
int cmd_image_bootstrap(struct cli *c);
int cmd_image_df(struct cli *c);
int cmd_image_history(struct cli *c);
int cmd_image_inspect(struct cli *c);
int cmd_image_prune(struct cli *c);
int cmd_image_mount(struct cli *c);
int cmd_image_unmount(struct cli *c);
int cmd_image_verify(struct cli *c);
int cmd_import(struct cli *c);
int cmd_load(struct cli *c);
int cmd_rmi(struct cli *c);
int cmd_save(struct cli *c);
int cmd_tag(struct cli *c);

/* The user's images: the state store and the content store. */
struct image_session {
	struct state *state;
	struct image_store *store;
};

int image_session_open(const struct cli *c, struct image_session *ret, struct err *e);
void image_session_done(struct image_session *s);
#define _image_session_ __attribute__((cleanup(image_session_done)))

/* Now, or SOURCE_DATE_EPOCH where that is set, as RFC 3339. */
#define IMAGE_TIME_MAX 32
void image_now(char out[static IMAGE_TIME_MAX]);

/* "<none>" is Docker's word for what an image does not have. */
#define IMAGE_NONE "<none>"

/* The ID as Docker shows it: "sha256:…", or its first twelve digits. Returns owned. */
char *image_shown_id(const struct image *i, bool whole);
/* Seconds since 1970 when it was made; false where it does not say. */
bool image_created_s(const struct image *i, int64_t *ret_s);

/* What a filter of `images` and `prune` asks. Returns owned in *ret. */
struct image_filter;

/* texts: "dangling=true", "label=a=b", "before=IMAGE", "since=IMAGE", "reference=PATTERN",
 * "until=TIME"; NULL-terminated. */
int image_filter_new(struct image_store *s, char *const *texts, struct image_filter **ret,
		     struct err *e);
void image_filter_free(struct image_filter *f);
/* Does the image pass? name: of the row, NULL for none. */
int image_filter_match(struct image_filter *f, const struct image *i, const struct reference *name,
		       bool dangling, bool *ret_match, struct err *e);

static inline void cleanup_image_filter(struct image_filter **f)
{
	image_filter_free(*f);
}
#define _image_filter_ __attribute__((cleanup(cleanup_image_filter)))

#endif
