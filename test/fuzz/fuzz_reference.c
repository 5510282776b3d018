/* Names of images, digests and platforms. A name that is accepted means the same when it is written
 * in full, and its familiar form means the same again. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/reference.h"
#include "image/manifest.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same(const struct reference *a, const char *text)
{
	_reference_ struct reference b = {0};
	struct err e = {0};

	if (reference_parse(text, &b, &e) || !str_eq(a->domain, b.domain) ||
	    !str_eq(a->path, b.path) || !digest_eq(&a->digest, &b.digest) || !a->tag != !b.tag ||
	    (a->tag && !str_eq(a->tag, b.tag)))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_free_ char *text = mem_strndup((const char *)data, size);
	_reference_ struct reference r = {0};
	_platform_ struct platform p = {0};
	struct digest d;
	struct err e = {0};

	if (!digest_parse(text, &d) && !str_eq(digest_text(&d, (char[DIGEST_TEXT_MAX]){0}), text))
		abort();
	if (!platform_parse(text, &p, &e)) {
		_free_ char *shown = platform_text(&p);

		if (!*shown)
			abort();
	}
	if (reference_parse(text, &r, &e)) {
		if (!*e.msg || r.domain)
			abort(); /* a failure without words */
		return 0;
	}
	_free_ char *canonical = reference_canonical(&r), *familiar = reference_familiar(&r);

	same(&r, canonical);
	/* 64 digits alone are an ID; such a repository needs its full name. */
	if (strlen(familiar) != 64)
		same(&r, familiar);
	return 0;
}
