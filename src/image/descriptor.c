/* Descriptors (image-spec 1.1, descriptor.md), and what the media type of a layer says. */
#include "image/manifest.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/template.h"
#include "image/document.h"

#include <errno.h>
#include <string.h>

#define MEDIA_TYPE_MAX 255u

void descriptor_done(struct descriptor *d)
{
	free(d->media_type);
	free(d->artifact_type);
	platform_done(&d->platform);
	json_decref(d->annotations);
	json_decref(d->urls);
	*d = (struct descriptor){0};
}

static int parse_platform(const json_t *v, struct descriptor *d, struct err *e)
{
	json_t *p;
	int rc = document_get(v, "platform", JSON_OBJECT, &p, e);

	if (rc)
		return rc;
	d->has_platform = p != NULL; /* without one its strings are "" */
	rc = document_string(p, "os", &d->platform.os, e);
	rc = rc ? rc : document_string(p, "architecture", &d->platform.architecture, e);
	rc = rc ? rc : document_string(p, "variant", &d->platform.variant, e);
	return rc ? rc : document_string(p, "os.version", &d->platform.os_version, e);
}

static int parse_urls(const json_t *v, struct descriptor *d, struct err *e)
{
	json_t *urls, *url;
	size_t i;
	int rc = document_get(v, "urls", JSON_ARRAY, &urls, e);

	if (rc)
		return rc;
	json_array_foreach (urls, i, url)
		if (!json_is_string(url))
			return document_error(e, "'urls' has something that is no string");
	d->urls = json_incref(urls);
	return 0;
}

static int parse(const json_t *v, struct descriptor *d, struct err *e)
{
	if (!json_is_object(v))
		return document_error(e, "a descriptor is no object");
	int rc = document_string(v, "mediaType", &d->media_type, e);

	if (!rc && !*d->media_type)
		rc = document_error(e, "'mediaType' is missing");
	if (!rc && strlen(d->media_type) > MEDIA_TYPE_MAX)
		rc = document_error(e, "'mediaType' has more than %u bytes", MEDIA_TYPE_MAX);
	rc = rc ? rc : document_string(v, "artifactType", &d->artifact_type, e);
	rc = rc ? rc : document_digest(v, "digest", &d->digest, e);
	rc = rc ? rc : document_size(v, "size", &d->size, e);
	rc = rc ? rc : parse_platform(v, d, e);
	rc = rc ? rc : parse_urls(v, d, e);
	return rc ? rc : document_strings(v, "annotations", &d->annotations, e);
}

int descriptor_parse(const json_t *v, struct descriptor *ret, struct err *e)
{
	struct descriptor d = {0};
	int rc = parse(v, &d, e);

	if (rc)
		descriptor_done(&d);
	else
		*ret = d;
	return rc;
}

static void set(json_t *object, const char *key, json_t *value)
{
	json_object_set_new(object, key, value);
}

json_t *descriptor_json(const struct descriptor *d)
{
	char text[DIGEST_TEXT_MAX];
	json_t *v = json_object();

	set(v, "mediaType", json_string(d->media_type));
	set(v, "digest", json_string(digest_text(&d->digest, text)));
	set(v, "size", json_integer((json_int_t)d->size));
	if (d->urls)
		json_object_set(v, "urls", d->urls);
	if (d->annotations)
		json_object_set(v, "annotations", d->annotations);
	if (d->artifact_type && *d->artifact_type)
		set(v, "artifactType", json_string(d->artifact_type));
	if (d->has_platform) {
		json_t *p = json_object();

		set(p, "architecture", json_string(d->platform.architecture));
		set(p, "os", json_string(d->platform.os));
		if (*d->platform.os_version)
			set(p, "os.version", json_string(d->platform.os_version));
		if (*d->platform.variant)
			set(p, "variant", json_string(d->platform.variant));
		set(v, "platform", p);
	}
	return v;
}

int layer_media_type(const char *media_type, enum layer_compression *ret, struct err *e)
{
	static const struct {
		const char *name;
		enum layer_compression compression;
	} known[] = {
	    {MEDIA_OCI_LAYER, LAYER_PLAIN},          {MEDIA_OCI_LAYER_GZIP, LAYER_GZIP},
	    {MEDIA_OCI_LAYER_ZSTD, LAYER_ZSTD},      {MEDIA_DOCKER_LAYER, LAYER_PLAIN},
	    {MEDIA_DOCKER_LAYER_GZIP, LAYER_GZIP},   {MEDIA_DOCKER_LAYER ".zstd", LAYER_ZSTD},
	    {MEDIA_DOCKER_LAYER ".zst", LAYER_ZSTD},
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (str_eq(media_type, known[i].name)) {
			*ret = known[i].compression;
			return 0;
		}
	if (strstr(media_type, "foreign") || strstr(media_type, "nondistributable"))
		return err_set(
		    e, ERR_IMG_LAYER, -EOPNOTSUPP,
		    "a layer of type '%s' is foreign: its content may not be distributed with "
		    "the image",
		    media_type);
	if (strstr(media_type, "+encrypted"))
		return err_set(e, ERR_IMG_LAYER, -EOPNOTSUPP, "a layer of type '%s' is encrypted",
			       media_type);
	return err_set(e, ERR_IMG_LAYER, -EOPNOTSUPP,
		       "a layer of type '%s' is none that is known here", media_type);
}
