/* Manifests, small blobs, and what refers to a manifest: short exchanges of the distribution
 * specification that fit in memory. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/template.h"
#include "image/manifest.h"
#include "image/registry_int.h"

static const char accept_manifests[] =
    MEDIA_OCI_MANIFEST ", " MEDIA_OCI_INDEX ", " MEDIA_DOCKER_MANIFEST ", " MEDIA_DOCKER_LIST;

void repository_manifest_done(struct repository_manifest *m)
{
	buf_done(&m->body);
	free(m->media_type);
	m->media_type = NULL;
}

/* Failures of a mirror after which the next endpoint is asked; those of the last one are final. */
static bool try_next(int rc)
{
	return rc != -ENOMEM && rc != -EBADMSG;
}

/* --- a manifest --- */

/* Content-Type without its parameters. Returns owned, NULL where there is none. */
static char *media_type_of(struct http_transfer *t)
{
	const char *type = http_header(t, "Content-Type", 0);

	return type ? mem_strndup(type, strcspn(type, "; \t")) : NULL;
}

/* By digest the bytes are what the name says; by tag they must be what the header says. */
static int check_digest(struct repository *p, struct http_transfer *t, const char *name,
			const struct digest *wanted, struct digest *ret, struct err *e)
{
	const char *header = http_header(t, "Docker-Content-Digest", 0);
	const struct buf *body = http_body(t);
	struct digest said = {0}, found;

	if (wanted)
		said = *wanted;
	else if (header && digest_parse(header, &said))
		return err_set(e, ERR_REG_PROTOCOL, -EPROTO,
			       "registry '%s': the Docker-Content-Digest of '%s' is malformed",
			       p->domain, name);
	digest_of(said.alg ? said.alg : DIGEST_SHA256, buf_str(body), body->len, &found);
	if (said.alg && !digest_eq(&found, &said))
		return err_set(e, ERR_REG_DIGEST, -EBADMSG,
			       "registry '%s': the manifest '%s' is announced as %s and is %s",
			       p->domain, name, digest_text(&said, (char[DIGEST_TEXT_MAX]){0}),
			       digest_text(&found, (char[DIGEST_TEXT_MAX]){0}));
	*ret = found;
	return 0;
}

static int get_manifest_at(struct repository *p, size_t endpoint, const char *name,
			   const struct digest *wanted, struct repository_manifest *ret,
			   struct err *e)
{
	_http_transfer_ struct http_transfer *t = NULL;
	_free_ char *url = mem_printf("/manifests/%s", name);
	_free_ char *what = mem_printf("manifest '%s' of '%s'", name, p->path);
	struct digest found;
	int rc = repository_request(p, endpoint,
				    &(struct http_request){.method = HTTP_GET,
							   .url = url,
							   .accept = accept_manifests,
							   .body_max = MANIFEST_BYTES_MAX},
				    &t, e);

	if (rc)
		return rc;
	if (http_status(t) != 200)
		return repository_refuse(p, t, what, e);
	rc = check_digest(p, t, name, wanted, &found, e);
	if (rc)
		return rc;
	buf_reset(&ret->body);
	buf_add(&ret->body, buf_str(http_body(t)), http_body(t)->len);
	ret->media_type = media_type_of(t);
	ret->digest = found;
	ret->endpoint = endpoint;
	return 0;
}

int repository_get_manifest(struct repository *p, const char *tag, const struct digest *digest,
			    struct repository_manifest *ret, struct err *e)
{
	char text[DIGEST_TEXT_MAX];
	const char *name = tag ? tag : digest_text(digest, text);
	int rc = 0;

	for (size_t i = 0; i < p->endpoints.n; i++) {
		rc = get_manifest_at(p, i, name, digest, ret, e);
		if (!rc || !try_next(rc))
			break;
	}
	return rc;
}

/* --- a small blob --- */

static int get_blob_at(struct repository *p, size_t endpoint, const struct digest *d,
		       size_t max_bytes, struct buf *ret, struct err *e)
{
	_http_transfer_ struct http_transfer *t = NULL;
	char text[DIGEST_TEXT_MAX];
	_free_ char *url = mem_printf("/blobs/%s", digest_text(d, text));
	struct digest found;
	int rc = repository_request(
	    p, endpoint,
	    &(struct http_request){.method = HTTP_GET, .url = url, .body_max = max_bytes}, &t, e);

	if (rc)
		return rc;
	if (http_status(t) != 200) {
		_free_ char *what = mem_printf("blob '%s' of '%s'", text, p->path);

		return repository_refuse(p, t, what, e);
	}
	digest_of(d->alg, buf_str(http_body(t)), http_body(t)->len, &found);
	if (!digest_eq(&found, d))
		return err_set(e, ERR_REG_DIGEST, -EBADMSG, "registry '%s': blob '%s' is %s",
			       p->domain, text, digest_text(&found, (char[DIGEST_TEXT_MAX]){0}));
	buf_add(ret, buf_str(http_body(t)), http_body(t)->len);
	return 0;
}

int repository_get_blob(struct repository *p, const struct digest *d, size_t max_bytes,
			struct buf *ret, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < p->endpoints.n; i++) {
		rc = get_blob_at(p, i, d, max_bytes, ret, e);
		if (!rc || rc == -ENOMEM)
			break;
	}
	return rc;
}

/* --- referrers --- */

/* "sha256-HEX": distribution-spec 1.1, "Referrers Tag Schema" */
static char *fallback_tag(const struct digest *d)
{
	char hex[DIGEST_HEX_MAX];

	return mem_printf("%s-%s", digest_alg_name(d->alg), digest_hex(d, hex));
}

static int get_fallback(struct repository *p, size_t endpoint, const struct digest *subject,
			struct buf *ret, struct err *e)
{
	_repository_manifest_ struct repository_manifest m = {0};
	_free_ char *tag = fallback_tag(subject);
	int rc = get_manifest_at(p, endpoint, tag, NULL, &m, e);

	if (rc == -ENOENT)
		return 0;
	if (!rc)
		buf_add(ret, buf_str(&m.body), m.body.len);
	return rc;
}

int repository_referrers(struct repository *p, const struct digest *subject, struct buf *ret,
			 struct err *e)
{
	_http_transfer_ struct http_transfer *t = NULL;
	size_t last = p->endpoints.n - 1; /* the registry itself: mirrors may lack them */
	char text[DIGEST_TEXT_MAX];
	_free_ char *url = mem_printf("/referrers/%s", digest_text(subject, text));
	int rc = repository_request(p, last,
				    &(struct http_request){.method = HTTP_GET,
							   .url = url,
							   .accept = MEDIA_OCI_INDEX,
							   .body_max = MANIFEST_BYTES_MAX},
				    &t, e);

	if (rc)
		return rc;
	if (http_status(t) == 404)
		return get_fallback(p, last, subject, ret, e);
	if (http_status(t) != 200)
		return repository_refuse(p, t, "the list of referrers", e);
	buf_add(ret, buf_str(http_body(t)), http_body(t)->len);
	return 0;
}

/* --- putting --- */

static int put_at(struct repository *p, const char *name, const char *media_type, const void *body,
		  size_t len, const struct digest *d, bool *ret_listed, struct err *e)
{
	_http_transfer_ struct http_transfer *t = NULL;
	_free_ char *url = mem_printf("/manifests/%s", name);
	_free_ char *what = mem_printf("the manifest '%s' of '%s' is not taken", name, p->path);
	int rc = repository_request(p, p->endpoints.n - 1,
				    &(struct http_request){.method = HTTP_PUT,
							   .url = url,
							   .content_type = media_type,
							   .body = body,
							   .body_len = len},
				    &t, e);

	if (rc)
		return rc;
	if (http_status(t) != 201 && http_status(t) != 200)
		return repository_refuse(p, t, what, e);
	const char *header = http_header(t, "Docker-Content-Digest", 0);
	struct digest kept;

	if (header && !digest_parse(header, &kept) && kept.alg == d->alg && !digest_eq(&kept, d))
		return err_set(e, ERR_REG_DIGEST, -EBADMSG,
			       "registry '%s' has kept '%s' as %.150s, which is another manifest",
			       p->domain, name, header);
	*ret_listed = http_header(t, "OCI-Subject", 0) != NULL;
	return 0;
}

/* What the subject's list says of this manifest. */
static json_t *referrer_entry(const struct manifest *m, const struct digest *d, size_t len)
{
	char text[DIGEST_TEXT_MAX];
	const char *type = *m->artifact_type ? m->artifact_type : m->config.media_type;
	json_t *v = json_pack("{s:s, s:s, s:I, s:s}", "mediaType", m->media_type, "digest",
			      digest_text(d, text), "size", (json_int_t)len, "artifactType", type);

	if (m->annotations)
		json_object_set(v, "annotations", m->annotations);
	return v;
}

/* Adds the entry to the list that is there; false: it is in it already. */
static bool add_referrer(json_t *index, json_t *entry)
{
	json_t *list = json_object_get(index, "manifests"), *item;
	size_t i;

	json_array_foreach (list, i, item)
		if (json_equal(json_object_get(item, "digest"), json_object_get(entry, "digest")))
			return false;
	return json_array_append(list, entry) == 0;
}

/* distribution-spec 1.1, "Pushing Manifests with Subject": where the registry does not say that it
 * lists referrers, the client keeps the list under a tag. */
static int update_fallback(struct repository *p, const struct manifest *m, const struct digest *d,
			   size_t len, struct err *e)
{
	_buf_ struct buf old = {0};
	_free_ char *tag = fallback_tag(&m->subject.digest);
	int rc = get_fallback(p, p->endpoints.n - 1, &m->subject.digest, &old, e);
	bool listed;

	if (rc)
		return rc;
	_json_ json_t *entry = referrer_entry(m, d, len);
	_json_ json_t *index = json_loadb(buf_str(&old), old.len, 0, NULL);

	if (!json_is_array(json_object_get(index, "manifests"))) {
		json_decref(index);
		index = json_pack("{s:i, s:s, s:[]}", "schemaVersion", 2, "mediaType",
				  MEDIA_OCI_INDEX, "manifests");
	}
	if (!add_referrer(index, entry))
		return 0;
	_free_ char *text = json_dumps(index, JSON_COMPACT);
	struct digest of;

	digest_of(DIGEST_SHA256, text, strlen(text), &of);
	return put_at(p, tag, MEDIA_OCI_INDEX, text, strlen(text), &of, &listed, e);
}

int repository_put_manifest(struct repository *p, const char *tag, const char *media_type,
			    const void *body, size_t len, struct err *e)
{
	_manifest_ struct manifest *m = NULL;
	char text[DIGEST_TEXT_MAX];
	struct digest d;
	bool listed;
	int rc = manifest_parse(body, len, media_type, &m, e);

	if (rc)
		return rc;
	digest_of(DIGEST_SHA256, body, len, &d);
	rc = put_at(p, tag ? tag : digest_text(&d, text), media_type, body, len, &d, &listed, e);
	if (rc || !m->has_subject || listed)
		return rc;
	return update_fallback(p, m, &d, len, e);
}
