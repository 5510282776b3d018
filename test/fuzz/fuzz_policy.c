/* policy.json (first byte not 'S'), and the payload of a signature. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "image/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void payload(const void *p, size_t len)
{
	struct policy_requirement q = {.kind = POLICY_COSIGN};
	struct reference r = {0};
	struct digest d;
	struct err e = {0};

	if (reference_parse("quay.io/team/app:1", &r, &e))
		abort();
	digest_of(DIGEST_SHA256, "", 0, &d);
	signature_payload_check(p, len, "cosign container image signature", &q, &r, &d, &e);
	reference_done(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct policy *p = NULL;
	struct reference r = {0};
	struct err e = {0};

	if (size && *data == 'S') {
		payload(data + 1, size - 1);
		return 0;
	}
	int rc = policy_parse((const char *)data, size, "policy.json", &p, &e);

	if ((rc == 0) != (p != NULL) || (rc < 0 && !*e.msg))
		abort();
	if (p && !reference_parse("registry.example.com:5000/team/app:1", &r, &e) &&
	    !policy_find(p, &r)->list.n)
		abort();
	reference_done(&r);
	policy_free(p);
	return 0;
}
