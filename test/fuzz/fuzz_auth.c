/* Docker's config.json, and a credential helper's answer. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "image/auth.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_up(const json_t *file, const char *registry, const char *repository)
{
	struct credential c = {0};
	struct err e;
	int rc = auth_file_find(file, registry, repository, &c, &e);

	if ((rc == 1) != (c.identity_token || (c.username && c.password)))
		abort();
	credential_done(&c);
	auth_file_helper(file, registry);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct credential c = {0};
	json_t *file = NULL;
	struct err e;
	int rc = auth_parse((const char *)data, size, "config.json", &file, &e);

	if ((rc == 0) != (file != NULL))
		abort();
	if (file) {
		look_up(file, "docker.io", "library/debian");
		look_up(file, "quay.io", "team/app");
		look_up(file, "localhost:5000", "");
	}
	json_decref(file);
	auth_helper_parse((const char *)data, size, &c);
	credential_done(&c);
	return 0;
}
