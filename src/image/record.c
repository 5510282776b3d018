/* Records and names as they stand in `state`: JSON that doc/format/image-store.md describes. */
#include "image/image_int.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/template.h"
#include "image/document.h"

#include <errno.h>
#include <inttypes.h>

char *record_key(const struct digest *manifest)
{
	char text[DIGEST_TEXT_MAX];

	return mem_printf(KEY_RECORD "%s", digest_text(manifest, text));
}

char *name_key(const struct reference *r)
{
	_free_ char *name = reference_canonical(r);

	return mem_printf(KEY_NAME "%s", name);
}

void image_free(struct image *i)
{
	if (!i)
		return;
	vec_each (l, &i->layers)
		free(l->media_type);
	vec_done(&i->layers);
	platform_done(&i->platform);
	free(i->media_type);
	free(i->config_media_type);
	free(i->artifact_type);
	free(i->created);
	free(i);
}

void image_name_done(struct image_name *n)
{
	reference_done(&n->reference);
}

/* --- writing --- */

static void add_string(struct buf *b, const char *key, const char *value)
{
	if (!*value)
		return;
	buf_addf(b, ",\"%s\":", key);
	buf_add_json_string(b, value);
}

static void add_digest(struct buf *b, const char *key, const struct digest *d)
{
	char text[DIGEST_TEXT_MAX];

	if (digest_is_set(d))
		buf_addf(b, ",\"%s\":\"%s\"", key, digest_text(d, text));
}

void record_format(const struct image *i, struct buf *b)
{
	buf_addf(b, "{\"size\":%" PRIu64 ",\"added\":%" PRId64, i->manifest_size, i->added);
	add_string(b, "mediaType", i->media_type);
	add_string(b, "artifactType", i->artifact_type);
	add_string(b, "created", i->created);
	add_string(b, "os", i->platform.os);
	add_string(b, "architecture", i->platform.architecture);
	add_string(b, "variant", i->platform.variant);
	add_string(b, "osVersion", i->platform.os_version);
	buf_addf(b, ",\"config\":{\"size\":%" PRIu64, i->config_size);
	add_string(b, "mediaType", i->config_media_type);
	add_digest(b, "digest", &i->config);
	buf_adds(b, "},\"layers\":[");
	vec_each (l, &i->layers) {
		buf_addf(b, "%s{\"size\":%" PRIu64, l == i->layers.v ? "" : ",", l->size);
		add_string(b, "mediaType", l->media_type);
		add_digest(b, "digest", &l->digest);
		add_digest(b, "diffId", &l->diff_id);
		if (l->unpacked_size)
			buf_addf(b, ",\"unpackedSize\":%" PRIu64, l->unpacked_size);
		buf_addc(b, '}');
	}
	buf_adds(b, "]}");
}

void name_format(const struct image_name *n, struct buf *b)
{
	char text[DIGEST_TEXT_MAX];

	buf_addf(b, "{\"manifest\":\"%s\"", digest_text(&n->manifest, text));
	add_digest(b, "index", &n->index);
	buf_addc(b, '}');
}

/* --- reading --- */

static int optional_digest(const json_t *v, const char *key, struct digest *ret, struct err *e)
{
	*ret = (struct digest){0};
	return json_object_get(v, key) ? document_digest(v, key, ret, e) : 0;
}

static int parse_layer(const json_t *v, struct image_layer *l, struct err *e)
{
	int rc = document_string(v, "mediaType", &l->media_type, e);

	rc = rc ? rc : document_digest(v, "digest", &l->digest, e);
	rc = rc ? rc : document_size(v, "size", &l->size, e);
	rc = rc ? rc : optional_digest(v, "diffId", &l->diff_id, e);
	if (!rc && json_object_get(v, "unpackedSize"))
		rc = document_size(v, "unpackedSize", &l->unpacked_size, e);
	return rc;
}

static int parse_layers(const json_t *doc, struct image *i, struct err *e)
{
	json_t *list, *v;
	size_t index;
	int rc = document_get(doc, "layers", JSON_ARRAY, &list, e);

	if (rc)
		return rc;
	json_array_foreach (list, index, v) {
		struct image_layer l = {0};

		rc = parse_layer(v, &l, e);
		vec_push(&i->layers, l);
		if (rc)
			return rc;
	}
	return 0;
}

static int parse_config(const json_t *doc, struct image *i, struct err *e)
{
	json_t *v;
	int rc = document_get(doc, "config", JSON_OBJECT, &v, e);

	if (!rc && !v)
		rc = document_error(e, "'config' is missing");
	rc = rc ? rc : document_digest(v, "digest", &i->config, e);
	rc = rc ? rc : document_size(v, "size", &i->config_size, e);
	return rc ? rc : document_string(v, "mediaType", &i->config_media_type, e);
}

static int parse_record(const json_t *doc, struct image *i, struct err *e)
{
	uint64_t added = 0;
	int rc = document_size(doc, "size", &i->manifest_size, e);

	rc = rc ? rc : document_size(doc, "added", &added, e);
	rc = rc ? rc : document_string(doc, "mediaType", &i->media_type, e);
	rc = rc ? rc : document_string(doc, "artifactType", &i->artifact_type, e);
	rc = rc ? rc : document_string(doc, "created", &i->created, e);
	rc = rc ? rc : document_string(doc, "os", &i->platform.os, e);
	rc = rc ? rc : document_string(doc, "architecture", &i->platform.architecture, e);
	rc = rc ? rc : document_string(doc, "variant", &i->platform.variant, e);
	rc = rc ? rc : document_string(doc, "osVersion", &i->platform.os_version, e);
	rc = rc ? rc : parse_config(doc, i, e);
	rc = rc ? rc : parse_layers(doc, i, e);
	i->added = (int64_t)added;
	i->id = image_is_artifact(i) ? i->manifest : i->config;
	return rc;
}

/* The key behind its prefix, as a string. Returns owned. */
static char *key_rest(const struct state_kv *kv, const char *prefix)
{
	size_t n = strlen(prefix);

	return kv->key.len > n ? mem_strndup((const char *)kv->key.p + n, kv->key.len - n)
			       : mem_strdup("");
}

static int corrupt(struct err *e, const struct state_kv *kv)
{
	e->code = ERR_STATE_CORRUPT;
	e->rc = -EBADMSG;
	return err_prefix(e, "the store's key '%.*s' is damaged: ", (int)kv->key.len,
			  (const char *)kv->key.p);
}

int record_parse(const struct state_kv *kv, struct image **ret, struct err *e)
{
	_image_ struct image *i = mem_alloc(sizeof(*i));
	_free_ char *digest = key_rest(kv, KEY_RECORD);
	_json_ json_t *doc = NULL;
	struct err why = {0};
	int rc = digest_parse(digest, &i->manifest);

	if (rc)
		document_error(&why, "it names no digest");
	rc = rc ? rc
		: document_load(kv->value.p, kv->value.len, STATE_VALUE_MAX, "record", &doc, &why);
	rc = rc ? rc : parse_record(doc, i, &why);
	if (rc) {
		if (e)
			*e = why;
		return e ? corrupt(e, kv) : -EBADMSG;
	}
	*ret = STEAL(i);
	return 0;
}

int name_parse(const struct state_kv *kv, struct image_name *ret, struct err *e)
{
	_free_ char *text = key_rest(kv, KEY_NAME);
	struct image_name n = {0};
	_json_ json_t *doc = NULL;
	struct err why = {0};
	int rc = reference_parse(text, &n.reference, &why);

	rc = rc ? rc
		: document_load(kv->value.p, kv->value.len, STATE_VALUE_MAX, "name", &doc, &why);
	rc = rc ? rc : document_digest(doc, "manifest", &n.manifest, &why);
	rc = rc ? rc : optional_digest(doc, "index", &n.index, &why);
	if (rc) {
		image_name_done(&n);
		if (e)
			*e = why;
		return e ? corrupt(e, kv) : -EBADMSG;
	}
	*ret = n;
	return 0;
}
