/* What a server asks for with status 401: the WWW-Authenticate header (RFC 9110, section 11.6.1), as
 * far as registries use it: Basic (RFC 7617) and Bearer (distribution's token authentication). The
 * header is foreign; every part of it has a bound. No state. */
#ifndef IMAGE_CHALLENGE_H
#define IMAGE_CHALLENGE_H

#include <stddef.h>

#define CHALLENGE_HEADER_MAX (8u << 10)
#define CHALLENGES_MAX       8 /* of one answer; those beyond are passed over */

enum challenge_scheme { CHALLENGE_OTHER, CHALLENGE_BASIC, CHALLENGE_BEARER };

/* Owned by its list; NULL: not given. */
struct challenge {
	enum challenge_scheme scheme;
	char *realm, *service, *scope, *error;
};

/* Zeroed before the first use. */
struct challenges {
	struct challenge v[CHALLENGES_MAX];
	size_t n;
};

/* Adds what one header field holds: the header may come several times. -E2BIG: longer than the
 * bound; -EBADMSG: malformed, and the list has what came before the fault. */
int challenges_add(struct challenges *c, const char *value);
void challenges_done(struct challenges *c);

/* The first one of that scheme, or NULL. Borrowed. */
const struct challenge *challenges_find(const struct challenges *c, enum challenge_scheme scheme);

#define _challenges_ __attribute__((cleanup(challenges_done)))

#endif
