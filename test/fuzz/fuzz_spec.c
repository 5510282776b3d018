/* The parser of config.json, and of its parts that exec and update take: the first byte chooses. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "container/spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct spec *s = NULL;
	struct err e;
	int rc;

	if (size && *data == 'P')
		rc = spec_parse_process((const char *)data + 1, size - 1, &s, &e);
	else if (size && *data == 'R')
		rc = spec_parse_resources((const char *)data + 1, size - 1, &s, &e);
	else
		rc = spec_parse((const char *)data, size, "/bundle", &s, &e);
	if ((rc == 0) != (s != NULL) || (rc < 0 && (e.rc != rc || !*e.msg)))
		abort();
	spec_free(s);
	return 0;
}
