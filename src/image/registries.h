/* What this host and user say about registries: registries.json of /etc/viv, then of
 * $XDG_CONFIG_HOME/viv, whose entry for a registry replaces the host's; and certificates below
 * certs.d/REGISTRY/ of both, of /etc/containers and of /etc/docker, as those programs have them: *.crt
 * are authorities, NAME.cert with NAME.key is what we show. doc/format/registries.md has the
 * file. One thread. */
#ifndef IMAGE_REGISTRIES_H
#define IMAGE_REGISTRIES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "image/http.h"

#define REGISTRIES_FILE_MAX    (1u << 20)
#define REGISTRIES_MIRRORS_MAX 16
#define REGISTRIES_PEM_MAX     (4u << 20) /* certificates of one registry */

/* A registry by name ("docker.io", "localhost:5000"), as everything else sees it. */
struct registry_entry {
	char *name;
	bool insecure, blocked;
	char **mirrors;  /* "HOST[:PORT][/PREFIX]", in the order to be tried; NULL-terminated */
	char *lookaside; /* URL below which signatures lie (simple signing); NULL: none */
	struct http_peer peer;
	/* owned, what peer points to */
	char *ca_pem, *cert_file, *key_file, *proxy;
};

struct registries;

/* Reads both files; a missing one is none. Returns owned in *ret. */
int registries_open(struct registries **ret, struct err *e);
void registries_free(struct registries *r);
/* As "insecure": true in the file, for this process (--insecure). */
void registries_add_insecure(struct registries *r, const char *name);
/* What is said about a registry; never nothing. Borrowed. */
int registries_find(struct registries *r, const char *name, const struct registry_entry **ret,
		    struct err *e);

/* Adds one file's text; for tests and the fuzz target too. An empty r: registries_new(). */
struct registries *registries_new(void);
int registries_parse(struct registries *r, const char *text, size_t len, const char *name,
		     struct err *e);

static inline void cleanup_registries(struct registries **r)
{
	registries_free(*r);
}
#define _registries_ __attribute__((cleanup(cleanup_registries)))

#endif
