/* The WWW-Authenticate header; a newline separates several of them. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "image/challenge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct challenges c = {0};
	char *text = mem_strndup((const char *)data, size), *rest = text;

	for (char *line; (line = strsep(&rest, "\n"));)
		challenges_add(&c, line);
	if (c.n > CHALLENGES_MAX)
		abort();
	for (size_t i = 0; i < c.n; i++)
		if (c.v[i].realm && strlen(c.v[i].realm) > CHALLENGE_HEADER_MAX)
			abort();
	challenges_done(&c);
	free(text);
	return 0;
}
