/* Who we are at a registry: Docker's config.json and credential helpers, and podman's auth.json.
 *
 * Read, the first one that knows the registry wins: $REGISTRY_AUTH_FILE; else $DOCKER_CONFIG or
 * ~/.docker, config.json; then $XDG_RUNTIME_DIR/containers/auth.json (root without it:
 * /run/containers/0/auth.json). login and logout write the first of them. Within a file: the
 * registry's helper (credHelpers), then the helper for all (credsStore), then "auths", where an
 * entry may name a registry ("quay.io", "https://quay.io/v1/") or a part of one ("quay.io/team").
 * docker.io is "https://index.docker.io/v1/" there.
 *
 * Helpers are programs docker-credential-NAME of $PATH that speak the protocol of
 * docker-credential-helpers: get, store, erase. No threads. Secrets never go to a log, a message or
 * an argument. */
#ifndef IMAGE_AUTH_H
#define IMAGE_AUTH_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define AUTH_FILE_MAX          (1u << 20)
#define AUTH_SECRET_MAX        (64u << 10) /* of a name, a password or a token, and of a helper's answer */
#define AUTH_HELPER_TIMEOUT_MS 60000

/* Owned strings; all NULL: anonymous. */
struct credential {
	char *username, *password;
	char *identity_token; /* an OAuth2 refresh token in place of both */
};

void credential_done(struct credential *c);
#define _credential_ __attribute__((cleanup(credential_done)))

struct auth;

/* Finds the files; none has to exist. Returns owned in *ret. */
int auth_open(struct auth **ret, struct err *e);
void auth_free(struct auth *a);

/* What is known for this registry ("docker.io", "localhost:5000") and this repository of it ("" for
 * the registry as a whole). Nothing known: success, all NULL. */
int auth_find(struct auth *a, const char *registry, const char *repository, struct credential *ret,
	      struct err *e);
/* Keeps it: with the helper that the file names for this registry, else in the file itself (mode
 * 0600). *ret_where: the file or "the helper 'x'", owned. */
int auth_put(struct auth *a, const char *registry, const struct credential *c, char **ret_where,
	     struct err *e);
/* Forgets it. -ENOENT (ERR_NOT_FOUND) where nothing was known. */
int auth_erase(struct auth *a, const char *registry, struct err *e);

/* One file's text, for auth_open, tests and the fuzz target: JSON of which the parts that matter
 * have the right types. name is for messages. Returns owned in *ret. */
int auth_parse(const char *text, size_t len, const char *name, json_t **ret, struct err *e);
/* The helper's name for a registry, NULL where there is none. Borrowed from the file. */
const char *auth_file_helper(const json_t *file, const char *registry);
/* What "auths" of the file says. 1 found, 0 not, negative where the entry is malformed. */
int auth_file_find(const json_t *file, const char *registry, const char *repository,
		   struct credential *ret, struct err *e);

/* --- the helpers' protocol; helper is the NAME of docker-credential-NAME --- */

int auth_helper_get(const char *helper, const char *registry, struct credential *ret,
		    struct err *e);
int auth_helper_store(const char *helper, const char *registry, const struct credential *c,
		      struct err *e);
int auth_helper_erase(const char *helper, const char *registry, struct err *e);
/* A helper's answer to get. */
int auth_helper_parse(const char *text, size_t len, struct credential *ret);

/* The registry's key in "auths" and at the helpers. */
const char *auth_server_of(const char *registry);

static inline void cleanup_auth(struct auth **a)
{
	auth_free(*a);
}
#define _auth_ __attribute__((cleanup(cleanup_auth)))

#endif
