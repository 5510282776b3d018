/* A client of OCI registries: distribution-spec 1.1, with Docker's token authentication.
 *
 *   registry    the client: connections, configuration, logins. One per process.
 *   repository  one repository of one registry, e.g. docker.io's library/debian, with what may be
 *               done there. It is reached by endpoints: for reading first the mirrors, then the
 *               registry itself; each has an authorization of its own, fetched when first asked for
 *               and again when it has expired.
 *
 * Short exchanges are functions that wait. What is long (blobs) is a transfer (image/http.h) of the
 * caller's, who asks repository_judge() after its end what to do. Broken connections, 429 and 5xx are
 * tried again, each time later; an answer of another kind is final. What a registry says is foreign:
 * manifests and blobs are checked against their digest, lists have a bound, and an answer from another
 * host neither gets credentials nor may ask for them. One thread. */
#ifndef IMAGE_REGISTRY_H
#define IMAGE_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "codec/digest.h"
#include "image/auth.h"
#include "image/http.h"
#include "image/registries.h"

#define REGISTRY_ATTEMPTS 5 /* of one request in all */
/* Fresh tokens for one request: another transfer may have used up a token that is good for few. */
#define REGISTRY_TOKENS         3
#define REGISTRY_WAIT_MS        500 /* before the second, doubled for each further one */
#define REGISTRY_WAIT_MAX_MS    UINT64_C(60000) /* also of what Retry-After asks for */
#define REGISTRY_PAGES_MAX      1000u
#define REGISTRY_TOKEN_BODY_MAX (1u << 20)

/* --- the client --- */

struct registry;

/* Returns owned in *ret. */
int registry_new(struct registry **ret, struct err *e);
void registry_free(struct registry *r); /* after its repositories */
struct http *registry_http(struct registry *r);
struct registries *registry_conf(struct registry *r);
struct auth *registry_auth(struct registry *r);
/* Called while a function below waits, for progress; NULL: none. */
void registry_on_idle(struct registry *r, void (*idle)(void *arg), void *arg);

/* Tries a login: does the registry take this name and password? *ret_identity_token: what to keep in
 * their place, where the registry gives it; NULL otherwise. -EACCES ERR_REG_DENIED. */
int registry_login(struct registry *r, const char *domain, const struct credential *c,
		   char **ret_identity_token, struct err *e);
/* Calls fn for each repository that the registry names. -EOPNOTSUPP where it keeps them to itself. */
int registry_catalog(struct registry *r, const char *domain, int (*fn)(const char *name, void *arg),
		     void *arg, struct err *e);
/* Docker Hub's search: its JSON answer, at most `limit` results. */
int registry_hub_search(struct registry *r, const char *term, unsigned limit, struct buf *ret,
			struct err *e);

static inline void cleanup_registry(struct registry **r)
{
	registry_free(*r);
}
#define _registry_ __attribute__((cleanup(cleanup_registry)))

/* --- a repository --- */

enum repository_rights { REPOSITORY_PULL, REPOSITORY_PUSH };

struct repository;

/* Looks nothing up yet. Returns owned in *ret. */
int repository_open(struct registry *r, const char *domain, const char *path,
		    enum repository_rights rights, struct repository **ret, struct err *e);
void repository_free(struct repository *p);
/* Pushing may take blobs from this repository of the same registry, too. */
void repository_may_mount_from(struct repository *p, const char *path);
/* Mirrors and the registry itself, which is the last. */
size_t repository_endpoints(const struct repository *p);
const char *repository_domain(const struct repository *p);
struct registry *repository_registry(const struct repository *p);

static inline void cleanup_repository(struct repository **p)
{
	repository_free(*p);
}
#define _repository_ __attribute__((cleanup(cleanup_repository)))

/* --- a request that the caller runs --- */

/* What was tried so far. Zeroed at first; the caller resets `count` when bytes have come. */
struct attempt {
	unsigned count;
	unsigned authorized; /* so many in a row had a fresh authorization */
	uint64_t wait_ms;    /* before the next one */
};

/* Starts r at that endpoint: r->url is what follows the repository ("/blobs/sha256:…"), or a whole
 * URL that the registry gave; peer and authorization are filled in. */
int repository_start(struct repository *p, size_t endpoint, const struct http_request *r,
		     struct http_transfer **ret, struct err *e);
/* After its end: 0, an answer for the caller (of any status); 1, start again after a->wait_ms;
 * negative, it failed for good. May wait for a token. */
int repository_judge(struct repository *p, size_t endpoint, struct http_transfer *t,
		     struct attempt *a, struct err *e);
/* Both, until there is an answer. */
int repository_request(struct repository *p, size_t endpoint, const struct http_request *r,
		       struct http_transfer **ret, struct err *e);
/* An answer that is not what was asked for, as an error: "WHAT: the registry's words". Returns a
 * negative errno: -EACCES, -ENOENT, -EBUSY, else -EPROTO. */
int repository_refuse(struct repository *p, struct http_transfer *t, const char *what,
		      struct err *e);
/* The Location of an answer, made absolute. Returns owned in *ret. */
int repository_location(struct http_transfer *t, char **ret, struct err *e);

/* --- manifests and small blobs; distribution-spec 1.1, "Pulling manifests" --- */

struct repository_manifest {
	struct buf body;
	char *media_type; /* as the registry says; NULL: it did not */
	struct digest digest;
	size_t endpoint; /* where it was found: blobs are there, too */
};

void repository_manifest_done(struct repository_manifest *m);
#define _repository_manifest_ __attribute__((cleanup(repository_manifest_done)))

/* reference: a tag, or NULL and the digest. The first endpoint that has it counts. */
int repository_get_manifest(struct repository *p, const char *tag, const struct digest *digest,
			    struct repository_manifest *ret, struct err *e);
/* A whole blob, verified; -EFBIG past max_bytes. */
int repository_get_blob(struct repository *p, const struct digest *d, size_t max_bytes,
			struct buf *ret, struct err *e);
/* Calls fn for each tag. */
int repository_tags(struct repository *p, int (*fn)(const char *tag, void *arg), void *arg,
		    struct err *e);
/* The index of what refers to that manifest ("Listing Referrers", with the fallback to the tag
 * ALG-HEX). Nothing: success with an empty body. */
int repository_referrers(struct repository *p, const struct digest *subject, struct buf *ret,
			 struct err *e);

/* --- pushing --- */

/* reference: a tag, or NULL for the digest itself. What refers to a subject is listed under the
 * subject's fallback tag where the registry does not do so itself. */
int repository_put_manifest(struct repository *p, const char *tag, const char *media_type,
			    const void *body, size_t len, struct err *e);

#endif
