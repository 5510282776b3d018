/* Indexes and manifests: OCI image-spec 1.1 (image-index.md, manifest.md) and Docker's "Image
 * Manifest Version 2, Schema 2". The two differ in their media types only. */
#include "image/manifest.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/template.h"
#include "image/document.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* BuildKit's entries for provenance and SBOM, which no platform can run. */
#define ANNOTATION_REFERENCE_TYPE "vnd.docker.reference.type"
#define UNKNOWN_PLATFORM          "unknown"

static bool is_index_type(const char *media_type)
{
	return str_eq(media_type, MEDIA_OCI_INDEX) || str_eq(media_type, MEDIA_DOCKER_LIST);
}

static bool is_manifest_type(const char *media_type)
{
	return str_eq(media_type, MEDIA_OCI_MANIFEST) || str_eq(media_type, MEDIA_DOCKER_MANIFEST);
}

void manifest_free(struct manifest *m)
{
	if (!m)
		return;
	descriptor_done(&m->config);
	descriptor_done(&m->subject);
	vec_each (d, &m->layers)
		descriptor_done(d);
	vec_each (d, &m->entries)
		descriptor_done(d);
	vec_done(&m->layers);
	vec_done(&m->entries);
	json_decref(m->annotations);
	free(m->media_type);
	free(m->artifact_type);
	free(m);
}

/* --- which kind it is --- */

static int check_version(const json_t *doc, struct err *e)
{
	json_t *version;
	int rc = document_get(doc, "schemaVersion", JSON_INTEGER, &version, e);

	if (rc)
		return rc;
	if (version && json_integer_value(version) == 1)
		return document_error(
		    e, "the manifest is of Docker's schema 1, which is not supported: "
		       "let its registry convert it, or push the image again");
	if (!version || json_integer_value(version) != 2)
		return document_error(e, "'schemaVersion' is not 2");
	return 0;
}

/* Sets media_type, and kind to MANIFEST_INDEX or MANIFEST_IMAGE. */
static int classify(struct manifest *m, const json_t *doc, const char *claimed, struct err *e)
{
	bool index = json_object_get(doc, "manifests"),
	     image = json_object_get(doc, "config") || json_object_get(doc, "layers");
	bool claim_counts = claimed && (is_index_type(claimed) || is_manifest_type(claimed));
	int rc = document_string(doc, "mediaType", &m->media_type, e);

	if (rc)
		return rc;
	if (index == image)
		return document_error(e, index ? "the document is an index and a manifest at once"
					       : "the document is neither an index nor a manifest");
	if (*m->media_type && !is_index_type(m->media_type) && !is_manifest_type(m->media_type))
		return document_error(e, "manifests of type '%.255s' are not supported",
				      m->media_type);
	if (*m->media_type && claim_counts && !str_eq(m->media_type, claimed))
		return document_error(e, "the manifest says that it is '%s', but it came as '%s'",
				      m->media_type, claimed);
	if (!*m->media_type) {
		free(m->media_type);
		m->media_type = mem_strdup(claim_counts ? claimed
					   : index      ? MEDIA_OCI_INDEX
							: MEDIA_OCI_MANIFEST);
	}
	if (index != is_index_type(m->media_type))
		return document_error(e, "the content of the manifest is not that of '%s'",
				      m->media_type);
	m->kind = index ? MANIFEST_INDEX : MANIFEST_IMAGE;
	return 0;
}

/* --- its members --- */

/* Calls descriptor_parse for each of an array, which must be there where `required`. */
#define PARSE_LIST(doc, key, max, vec, e)                                \
	({                                                               \
		json_t *list_, *v_;                                      \
		size_t i_;                                               \
		int rc_ = list_of((doc), (key), (max), &list_, (e));     \
		json_array_foreach (list_, i_, v_) {                     \
			struct descriptor d_;                            \
			rc_ = descriptor_parse(v_, &d_, (e));            \
			if (rc_) {                                       \
				err_prefix((e), "%s[%zu]: ", (key), i_); \
				break;                                   \
			}                                                \
			vec_push((vec), d_);                             \
		}                                                        \
		rc_;                                                     \
	})

static int list_of(const json_t *doc, const char *key, size_t max, json_t **ret, struct err *e)
{
	json_t *list = NULL;
	int rc = document_get(doc, key, JSON_ARRAY, &list, e);

	if (!rc && !list)
		rc = document_error(e, "'%s' is missing", key);
	if (!rc && json_array_size(list) > max)
		rc = document_error(e, "'%s' has %zu entries, more than %zu", key,
				    json_array_size(list), max);
	*ret = rc ? NULL : list;
	return rc;
}

static int parse_member(const json_t *doc, const char *key, struct descriptor *d, struct err *e)
{
	json_t *v;
	int rc = document_get(doc, key, JSON_OBJECT, &v, e);

	if (rc || !v)
		return rc;
	rc = descriptor_parse(v, d, e);
	return rc ? err_prefix(e, "%s: ", key) : 1;
}

static bool is_image_config(const char *media_type)
{
	return str_eq(media_type, MEDIA_OCI_CONFIG) || str_eq(media_type, MEDIA_DOCKER_CONFIG);
}

static int parse_image(struct manifest *m, const json_t *doc, struct err *e)
{
	int rc = parse_member(doc, "config", &m->config, e);

	if (!rc)
		rc = document_error(e, "'config' is missing");
	if (rc < 0)
		return rc;
	rc = PARSE_LIST(doc, "layers", MANIFEST_LAYERS_MAX, &m->layers, e);
	if (!rc && (*m->artifact_type || !is_image_config(m->config.media_type)))
		m->kind = MANIFEST_ARTIFACT;
	return rc;
}

static int parse(struct manifest *m, const json_t *doc, const char *claimed, struct err *e)
{
	int rc = check_version(doc, e);

	rc = rc ? rc : classify(m, doc, claimed, e);
	rc = rc ? rc : document_string(doc, "artifactType", &m->artifact_type, e);
	rc = rc ? rc : document_strings(doc, "annotations", &m->annotations, e);
	if (rc)
		return rc;
	rc = parse_member(doc, "subject", &m->subject, e);
	if (rc < 0)
		return rc;
	m->has_subject = rc;
	return m->kind == MANIFEST_INDEX
		   ? PARSE_LIST(doc, "manifests", MANIFEST_ENTRIES_MAX, &m->entries, e)
		   : parse_image(m, doc, e);
}

int manifest_parse(const void *p, size_t len, const char *media_type, struct manifest **ret,
		   struct err *e)
{
	_manifest_ struct manifest *m = mem_alloc(sizeof(*m));
	/* A Content-Type may have parameters. */
	_free_ char *claimed =
	    media_type ? mem_strndup(media_type, strcspn(media_type, "; ")) : NULL;
	_json_ json_t *doc = NULL;
	int rc = document_load(p, len, MANIFEST_BYTES_MAX, "manifest", &doc, e);

	rc = rc ? rc : parse(m, doc, claimed, e);
	if (!rc)
		*ret = STEAL(m);
	return rc;
}

/* --- which entry of an index --- */

static bool can_run(const struct descriptor *d)
{
	return (is_manifest_type(d->media_type) || is_index_type(d->media_type)) &&
	       !*d->artifact_type && !json_object_get(d->annotations, ANNOTATION_REFERENCE_TYPE) &&
	       !(d->has_platform && str_eq(d->platform.os, UNKNOWN_PLATFORM));
}

static unsigned score(const struct descriptor *d, const struct platform *want)
{
	if (!can_run(d))
		return 0;
	/* An entry that does not say for whom it is: better than nothing. */
	return d->has_platform ? platform_match(want, &d->platform) : 1;
}

int manifest_select(const struct manifest *index, const struct platform *want,
		    const struct descriptor **ret, struct err *e)
{
	const struct descriptor *best = NULL;
	_buf_ struct buf choices = {0};
	unsigned best_score = 0;

	vec_each (d, &index->entries) {
		unsigned s = score(d, want);

		if (s > best_score) {
			best = d;
			best_score = s;
		}
		if (can_run(d) && choices.len < ERR_MSG_MAX / 2) {
			_free_ char *text = platform_text(&d->platform);

			buf_addf(&choices, "%s%s", choices.len ? ", " : "", text);
		}
	}
	if (best) {
		*ret = best;
		return 0;
	}
	_free_ char *text = platform_text(want);

	return err_set(e, ERR_IMG_NO_PLATFORM, -ENOENT, "there is no image for %s; there are: %s",
		       text, choices.len ? choices.s : "none at all");
}
