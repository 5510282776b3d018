/* Signatures of images: where they lie, and what they must say.
 *
 *   simple signing   containers-signature(5): an OpenPGP message below the registry's lookaside
 *                    location, LOOKASIDE/PATH@ALG=HEX/signature-1, -2, …
 *   cosign           a manifest under the tag ALG-HEX.sig, or one that refers to the image; its layers
 *                    are payloads, each with the signature as an annotation
 *
 * Both sign a JSON document that names the manifest's digest and the image's name. */
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/base64.h"
#include "codec/template.h"
#include "image/manifest.h"
#include "image/policy.h"
#include "image/registry_int.h"
#include "os/path.h"

#define PAYLOAD_MAX       (1u << 20)
#define COSIGN_MEDIA      "application/vnd.dev.cosign.simplesigning.v1+json"
#define COSIGN_ARTIFACT   "application/vnd.dev.cosign.artifact.sig.v1+json"
#define COSIGN_ANNOTATION "dev.cosignproject.cosign/signature"
#define TYPE_GPG          "atomic container signature"
#define TYPE_COSIGN       "cosign container image signature"

static int reject(struct err *e, const char *why)
{
	return err_set(e, ERR_POLICY_REJECTED, -EACCES, "%s", why);
}

/* --- what is signed --- */

static bool same_repository(const struct reference *a, const struct reference *b)
{
	return str_eq(a->domain, b->domain) && str_eq(a->path, b->path);
}

static bool same_reference(const struct reference *a, const struct reference *b)
{
	return same_repository(a, b) && a->tag && b->tag && str_eq(a->tag, b->tag);
}

/* The text stands for another name in signatures: PREFIX… → SIGNED-PREFIX… (policy.json(5)). */
static int remap(const struct policy_requirement *q, const struct reference *r,
		 struct reference *ret)
{
	_free_ char *name = reference_repository(r);
	const char *rest = str_after(name, q->identity_a);

	if (!rest || (*rest && *rest != '/' && *rest != ':'))
		rest = NULL;
	_free_ char *text =
	    rest ? mem_printf("%s%s%s%s", q->identity_b, rest, r->tag ? ":" : "",
			      r->tag ? r->tag : "")
		 : mem_printf("%s%s%s", name, r->tag ? ":" : "", r->tag ? r->tag : "");
	int rc = reference_parse(text, ret, NULL);

	if (!rc)
		ret->digest = r->digest;
	return rc;
}

/* By tag, that tag must have been signed; by digest, anything of that repository. */
static bool digest_or_exact(const struct reference *wanted, const struct reference *said)
{
	return digest_is_set(&wanted->digest) ? same_repository(wanted, said)
					      : same_reference(wanted, said);
}

static bool matches(const struct policy_requirement *q, const struct reference *r,
		    const struct reference *said)
{
	_reference_ struct reference other = {0};

	switch (q->identity) {
	case POLICY_MATCH_EXACT:
		return same_reference(r, said);
	case POLICY_MATCH_REPO_DIGEST_OR_EXACT:
		return digest_or_exact(r, said);
	case POLICY_MATCH_REPOSITORY:
		return same_repository(r, said);
	case POLICY_EXACT_REFERENCE:
		return !reference_parse(q->identity_a, &other, NULL) &&
		       same_reference(&other, said);
	case POLICY_EXACT_REPOSITORY:
		return !reference_parse(q->identity_a, &other, NULL) &&
		       same_repository(&other, said);
	case POLICY_REMAP:
		return !remap(q, r, &other) && digest_or_exact(&other, said);
	}
	return false;
}

int signature_payload_check(const void *p, size_t len, const char *type,
			    const struct policy_requirement *q, const struct reference *r,
			    const struct digest *manifest, struct err *e)
{
	_json_ json_t *v = json_loadb(p, len, JSON_REJECT_DUPLICATES, NULL);
	const char *said_type, *digest_said, *name;
	_reference_ struct reference said = {0};
	struct digest d;

	if (!v || json_unpack(v, "{s:{s:s, s:{s:s!}, s:{s:s!}!}}", "critical", "type", &said_type,
			      "image", "docker-manifest-digest", &digest_said, "identity",
			      "docker-reference", &name))
		return reject(e, "what is signed is no statement about an image");
	if (!str_eq(said_type, type))
		return reject(e, "what is signed is a statement of another kind");
	if (digest_parse(digest_said, &d) || !digest_eq(&d, manifest))
		return reject(e, "the signature is for another manifest");
	if (reference_parse(name, &said, NULL) || !matches(q, r, &said))
		return err_set(e, ERR_POLICY_REJECTED, -EACCES,
			       "the signature is for an image that is called '%.200s'", name);
	return 0;
}

/* --- keys --- */

static int read_keys(const struct policy_requirement *q, struct buf *ret, struct err *e)
{
	if (!q->key_paths) {
		buf_add(ret, buf_str(&q->key), q->key.len);
		return 0;
	}
	for (char **path = q->key_paths; *path; path++) {
		int rc = path_read(AT_FDCWD, *path, ret, POLICY_KEY_MAX);

		if (rc)
			return err_set(e, ERR_POLICY_FORMAT, rc, "cannot read the key '%s': %s",
				       *path, strerror(-rc));
	}
	return 0;
}

/* --- simple signing --- */

struct wanted {
	const struct policy_requirement *q;
	struct image_store *store;
	struct repository *repository;
	const struct reference *reference;
	const struct digest *manifest;
	struct buf keys;
};

static int fetch(struct repository *p, const char *url, struct buf *ret, struct err *e)
{
	_http_transfer_ struct http_transfer *t = NULL;
	const char *path = str_after(url, "file://");
	struct http_peer peer = {.insecure = str_after(url, "http://") != NULL};

	if (path) {
		int rc = path_read(AT_FDCWD, path, ret, PAYLOAD_MAX);

		return rc && rc != -ENOENT ? err_set(e, ERR_REG_CONFIG, rc, "cannot read '%s': %s",
						     path, strerror(-rc))
					   : rc;
	}
	int rc = http_perform(
	    registry_http(p->registry),
	    &(struct http_request){
		.method = HTTP_GET, .url = url, .peer = &peer, .body_max = PAYLOAD_MAX},
	    &t, e);

	if (rc)
		return rc;
	if (http_status(t) == 404)
		return -ENOENT;
	if (http_status(t) != 200)
		return repository_refuse(p, t, "a signature", e);
	buf_add(ret, buf_str(http_body(t)), http_body(t)->len);
	return 0;
}

static int check_message(const struct wanted *w, const struct buf *message, struct err *e)
{
	_buf_ struct buf payload = {0};
	int rc = signature_verify_gpg(w->store, &w->keys, message, &payload, e);

	return rc ? rc
		  : signature_payload_check(buf_str(&payload), payload.len, TYPE_GPG, w->q,
					    w->reference, w->manifest, e);
}

/* One good signature is enough; the reason of the last bad one is told. */
static int check_gpg(const struct wanted *w, struct err *e)
{
	const struct repository *p = w->repository;
	const struct registry_entry *entry = p->endpoints.v[p->endpoints.n - 1].entry;
	char hex[DIGEST_HEX_MAX];
	int rc = reject(e, "it has no signature");

	if (!entry->lookaside)
		return reject(e, "a signature is wanted, and registries.json names no lookaside "
				 "location for this registry");
	for (unsigned i = 1; i <= POLICY_SIGNATURES_MAX; i++) {
		_buf_ struct buf message = {0};
		_free_ char *url =
		    mem_printf("%s/%s@%s=%s/signature-%u", entry->lookaside, p->path,
			       digest_alg_name(w->manifest->alg), digest_hex(w->manifest, hex), i);
		int found = fetch(w->repository, url, &message, e);

		if (found == -ENOENT)
			return rc;
		rc = found ? found : check_message(w, &message, e);
		if (rc != -EACCES)
			return rc;
	}
	return rc;
}

/* --- cosign --- */

static int check_layer(const struct wanted *w, const struct descriptor *d, struct err *e)
{
	const char *text = json_string_value(json_object_get(d->annotations, COSIGN_ANNOTATION));
	_buf_ struct buf payload = {0}, sig = {0};

	if (!text || base64_decode(text, strlen(text), &sig))
		return reject(e, "a signature is malformed");
	int rc = repository_get_blob(w->repository, &d->digest, PAYLOAD_MAX, &payload, e);

	if (!rc)
		rc = signature_verify_key(buf_str(&w->keys), w->keys.len, buf_str(&payload),
					  payload.len, buf_str(&sig), sig.len, e);
	return rc ? rc
		  : signature_payload_check(buf_str(&payload), payload.len, TYPE_COSIGN, w->q,
					    w->reference, w->manifest, e);
}

static int check_layers(const struct wanted *w, const struct repository_manifest *m, struct err *e)
{
	_manifest_ struct manifest *parsed = NULL;
	int rc = manifest_parse(buf_str(&m->body), m->body.len, m->media_type, &parsed, e);
	unsigned seen = 0;

	if (rc)
		return rc;
	rc = reject(e, "it has no signature");
	vec_each (d, &parsed->layers) {
		if (!str_eq(d->media_type, COSIGN_MEDIA) || seen++ == POLICY_SIGNATURES_MAX)
			continue;
		rc = check_layer(w, d, e);
		if (rc != -EACCES)
			return rc;
	}
	return rc;
}

static int check_tag(const struct wanted *w, struct err *e)
{
	_repository_manifest_ struct repository_manifest m = {0};
	char hex[DIGEST_HEX_MAX];
	_free_ char *tag = mem_printf("%s-%s.sig", digest_alg_name(w->manifest->alg),
				      digest_hex(w->manifest, hex));
	int rc = repository_get_manifest(w->repository, tag, NULL, &m, e);

	if (rc == -ENOENT)
		return reject(e, "it has no signature");
	return rc ? rc : check_layers(w, &m, e);
}

static int check_referrer(const struct wanted *w, const struct descriptor *d, struct err *e)
{
	_repository_manifest_ struct repository_manifest m = {0};
	int rc = repository_get_manifest(w->repository, NULL, &d->digest, &m, e);

	return rc ? rc : check_layers(w, &m, e);
}

static int check_referrers(const struct wanted *w, struct err *e)
{
	_buf_ struct buf text = {0};
	_manifest_ struct manifest *index = NULL;
	unsigned seen = 0;
	int rc = repository_referrers(w->repository, w->manifest, &text, e);

	if (rc)
		return rc;
	if (!text.len)
		return reject(e, "it has no signature");
	rc = manifest_parse(buf_str(&text), text.len, MEDIA_OCI_INDEX, &index, e);
	if (rc)
		return rc;
	rc = reject(e, "it has no signature");
	vec_each (d, &index->entries) {
		if (!str_eq(d->artifact_type, COSIGN_ARTIFACT) || seen++ == POLICY_SIGNATURES_MAX)
			continue;
		rc = check_referrer(w, d, e);
		if (rc != -EACCES)
			return rc;
	}
	return rc;
}

static int check_cosign(const struct wanted *w, struct err *e)
{
	struct err other = {0};
	int rc = check_tag(w, e);

	if (rc != -EACCES)
		return rc;
	return check_referrers(w, &other) ? rc : 0;
}

int signature_check(const struct policy_requirement *q, struct image_store *s,
		    struct repository *repository, const struct reference *r,
		    const struct digest *manifest, struct err *e)
{
	struct wanted w = {q, s, repository, r, manifest, {0}};
	int rc = read_keys(q, &w.keys, e);

	if (!rc)
		rc = q->kind == POLICY_GPG ? check_gpg(&w, e) : check_cosign(&w, e);
	buf_done(&w.keys);
	return rc;
}
