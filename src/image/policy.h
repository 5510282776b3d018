/* Which images may come in: containers-policy.json(5), the format of podman, skopeo and CRI-O, for its
 * transport "docker". The file: $XDG_CONFIG_HOME/viv/policy.json, else /etc/viv/policy.json, else
 * /etc/containers/policy.json; without any of them everything is accepted.
 *
 * Requirements: insecureAcceptAnything, reject, signedBy (GPG keys; simple signing), sigstoreSigned
 * (a public key; cosign). What this version cannot check (keyless signing, transparency logs) and what
 * it does not know is refused when the file is read, so that no requirement is passed over. */
#ifndef IMAGE_POLICY_H
#define IMAGE_POLICY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/vec.h"
#include "codec/reference.h"
#include "image/registry.h"
#include "image/store.h"

#define POLICY_FILE_MAX       (4u << 20)
#define POLICY_KEY_MAX        (1u << 20) /* bytes of one key or keyring */
#define POLICY_SIGNATURES_MAX 64         /* of one image that are looked at */

enum policy_kind {
	POLICY_ACCEPT,
	POLICY_REJECT,
	POLICY_GPG,    /* signedBy */
	POLICY_COSIGN, /* sigstoreSigned */
};

/* What the signature must say that it is for ("signedIdentity"). */
enum policy_identity {
	POLICY_MATCH_REPO_DIGEST_OR_EXACT, /* the same name and tag; by digest, the same repository */
	POLICY_MATCH_EXACT,
	POLICY_MATCH_REPOSITORY,
	POLICY_EXACT_REFERENCE,
	POLICY_EXACT_REPOSITORY,
	POLICY_REMAP,
};

struct policy_requirement {
	enum policy_kind kind;
	char **key_paths; /* NULL-terminated, or … */
	struct buf key;   /* … the bytes themselves */
	enum policy_identity identity;
	char *identity_a; /* the reference, repository or prefix … */
	char *identity_b; /* … and the prefix in the signatures */
};

struct policy;

/* *ret is NULL where there is no file. Returns owned. */
int policy_open(struct policy **ret, struct err *e);
int policy_parse(const char *text, size_t len, const char *name, struct policy **ret,
		 struct err *e);
void policy_free(struct policy *p);

static inline void cleanup_policy(struct policy **p)
{
	policy_free(*p);
}
#define _policy_ __attribute__((cleanup(cleanup_policy)))

struct policy_requirements {
	VEC(struct policy_requirement) list; /* all of them must hold; never empty */
	char *scope;                         /* what they are for: "default", "quay.io/team" */
};

/* The requirements for that name: those of its most specific scope. Borrowed. */
const struct policy_requirements *policy_find(const struct policy *p, const struct reference *r);

/* May the image come in whose manifest is `at`, found by way of `top` (the same, or the index that
 * names it)? p NULL: yes. Signatures are fetched as needed. -EACCES ERR_POLICY_REJECTED. */
int policy_check(const struct policy *p, struct image_store *s, struct repository *repository,
		 const struct reference *r, const struct digest *top, const struct digest *at,
		 struct err *e);

/* --- signatures (signature.c) --- */

/* Does the signed payload (containers-signature(5), "JSON Data Format") name this manifest, and an
 * identity that the requirement takes? type: of the payload. -EACCES. */
int signature_payload_check(const void *p, size_t len, const char *type,
			    const struct policy_requirement *q, const struct reference *r,
			    const struct digest *manifest, struct err *e);
/* Is it signed with the PEM public key? sig: ASN.1 ECDSA, RSA PKCS#1 v1.5 (both with SHA-256), or
 * Ed25519. -EACCES, -EINVAL where the key is none. */
int signature_verify_key(const void *key_pem, size_t key_len, const void *payload, size_t len,
			 const void *sig, size_t sig_len, struct err *e);
/* Runs gpg in a home of its own with these keys; what was signed goes to payload. -EACCES. */
int signature_verify_gpg(struct image_store *s, const struct buf *keys, const struct buf *message,
			 struct buf *payload, struct err *e);

/* One requirement of a kind that needs signatures, for one manifest. */
int signature_check(const struct policy_requirement *q, struct image_store *s,
		    struct repository *repository, const struct reference *r,
		    const struct digest *manifest, struct err *e);

#endif
