/* Manifests and indexes. The first byte of the input chooses what the carrier claimed. What is
 * accepted must describe itself again: its descriptors parse from the JSON that they give. */
#include "codec/template.h"
#include "image/manifest.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_descriptor(const struct descriptor *d)
{
	_json_ json_t *v = descriptor_json(d);
	struct descriptor again;
	struct err e = {0};

	if (descriptor_parse(v, &again, &e) || !digest_eq(&d->digest, &again.digest) ||
	    d->size != again.size)
		abort();
	descriptor_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const claims[] = {NULL,
					     MEDIA_OCI_INDEX,
					     MEDIA_OCI_MANIFEST,
					     MEDIA_DOCKER_LIST,
					     MEDIA_DOCKER_MANIFEST,
					     "text/plain"};
	_manifest_ struct manifest *m = NULL;
	_platform_ struct platform host = {0};
	const struct descriptor *chosen;
	struct err e = {0};

	if (!size)
		return 0;
	if (manifest_parse(data + 1, size - 1, claims[data[0] % 6], &m, &e)) {
		if (!*e.msg || m)
			abort(); /* a failure without words */
		return 0;
	}
	vec_each (d, &m->layers)
		check_descriptor(d);
	vec_each (d, &m->entries)
		check_descriptor(d);
	if (m->kind != MANIFEST_INDEX)
		check_descriptor(&m->config);
	platform_host(&host);
	if (m->kind == MANIFEST_INDEX && !manifest_select(m, &host, &chosen, &e))
		check_descriptor(chosen);
	return 0;
}
