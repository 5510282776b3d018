/* registries.json. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "image/registries.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct registries *r = registries_new();
	const struct registry_entry *entry;
	struct err e = {0};
	int rc = registries_parse(r, (const char *)data, size, "registries.json", &e);

	if (rc < 0 && (e.rc != rc || !*e.msg))
		abort();
	if (!rc && !registries_find(r, "docker.io", &entry, &e) &&
	    entry->peer.insecure != entry->insecure)
		abort();
	registries_free(r);
	return 0;
}
