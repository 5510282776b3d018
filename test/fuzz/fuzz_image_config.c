/* Image configurations. */
#include "image/manifest.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_image_config_ struct image_config *c = NULL;
	struct err e = {0};

	if (image_config_parse(data, size, &c, &e)) {
		if (!*e.msg || c)
			abort(); /* a failure without words */
		return 0;
	}
	if (!json_is_object(c->config) || !c->created || !c->platform.os)
		abort();
	vec_each (d, &c->diff_ids)
		if (!digest_is_set(d))
			abort();
	vec_each (h, &c->history)
		if (!h->created_by || !h->comment)
			abort();
	return 0;
}
