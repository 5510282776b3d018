/* Shared by registry.c (requests), registry_token.c (authorization), registry_manifest.c and
 * registry_list.c. */
#ifndef IMAGE_REGISTRY_INT_H
#define IMAGE_REGISTRY_INT_H

#include "base/vec.h"
#include "image/registry.h"

struct registry {
	struct http *http;
	struct registries *conf;
	struct auth *auth;
	void (*idle)(void *arg);
	void *idle_arg;
};

/* One server that has the repository. */
struct endpoint {
	const struct registry_entry *entry; /* of the server's own name */
	char *host;                         /* with port */
	char *path;          /* of the repository there; "" for the registry as a whole */
	bool plain;          /* http, found out to be what it speaks */
	char *authorization; /* header value; NULL: none yet */
};

struct repository {
	struct registry *registry;
	char *domain, *path;
	enum repository_rights rights;
	char *from; /* another repository to mount from; NULL */
	VEC(struct endpoint) endpoints;
};

/* "https://HOST/v2" */
char *endpoint_base(const struct endpoint *n);
/* Goes over to http where the server may be spoken to so, and failed to speak https at that URL. */
bool endpoint_turn_plain(struct endpoint *n, const char *url, int rc);
/* Is that URL one of the endpoint's own server? */
bool endpoint_owns(const struct endpoint *n, const char *url);

/* Answers the challenge of a 401: fills n->authorization. -EACCES ERR_REG_DENIED. */
int endpoint_authorize(struct repository *p, struct endpoint *n, struct http_transfer *t,
		       struct err *e);
/* The same with this credential. ret_identity_token: asks for a refresh token; may be NULL. */
int endpoint_authorize_as(struct repository *p, struct endpoint *n, struct http_transfer *t,
			  const struct credential *c, char **ret_identity_token, struct err *e);

#endif
