/* Images of which only what runs is kept: the compressed blobs of their layers are dropped, and a
 * note in `state` says that this was on purpose. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "image/image_int.h"
#include "image/layer.h"

int image_note_discarded(struct image_store *s, const struct digest *blob,
			 const struct digest *diff_id, struct err *e)
{
	char text[DIGEST_TEXT_MAX];
	_free_ char *key = mem_printf(KEY_DISCARDED "%s", digest_text(blob, text));

	return state_put(image_store_state(s), state_str(key),
			 state_str(digest_text(diff_id, text)), 0, NULL, e);
}

int image_discard_compressed(struct image_store *s, const struct image *i, struct err *e)
{
	int rc = 0;

	vec_each (l, &i->layers) {
		bool compressed = digest_is_set(&l->diff_id) && !digest_eq(&l->diff_id, &l->digest);

		if (rc || !compressed || !layer_exists(s, &l->diff_id))
			continue;
		/* The note first: a blob that is there in spite of it does no harm. */
		rc = image_note_discarded(s, &l->digest, &l->diff_id, e);
		rc = rc ? rc : blob_remove(s, &l->digest, e);
	}
	return rc;
}
