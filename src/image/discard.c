/* Images of which only what runs is kept: the blobs of their layers are dropped, and a note in `state`
 * says that this was on purpose. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "image/image_int.h"

int image_note_discarded(struct image_store *s, const struct digest *blob,
			 const struct digest *diff_id, struct err *e)
{
	char text[DIGEST_TEXT_MAX];
	_free_ char *key = mem_printf(KEY_DISCARDED "%s", digest_text(blob, text));

	return state_put(image_store_state(s), state_str(key),
			 state_str(digest_text(diff_id, text)), 0, NULL, e);
}
