/* Image configurations (image-spec 1.1, config.md); Docker's are the same document. */
#include "image/manifest.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/template.h"
#include "image/document.h"

#include <errno.h>

#define HISTORY_MAX 4096u

static void history_done(struct config_history *h)
{
	free(h->created);
	free(h->created_by);
	free(h->author);
	free(h->comment);
}

void image_config_free(struct image_config *c)
{
	if (!c)
		return;
	platform_done(&c->platform);
	free(c->created);
	free(c->author);
	vec_each (h, &c->history)
		history_done(h);
	vec_done(&c->history);
	vec_done(&c->diff_ids);
	json_decref(c->config);
	json_decref(c->document);
	free(c);
}

static int parse_rootfs(struct image_config *c, struct err *e)
{
	json_t *rootfs, *ids = NULL, *id;
	_free_ char *type = NULL;
	size_t i;
	int rc = document_get(c->document, "rootfs", JSON_OBJECT, &rootfs, e);

	if (!rc && !rootfs)
		return document_error(e, "'rootfs' is missing");
	rc = rc ? rc : document_string(rootfs, "type", &type, e);
	if (!rc && !str_eq(type, "layers"))
		return document_error(e, "rootfs.type is '%.64s', not 'layers'", type);
	rc = rc ? rc : document_get(rootfs, "diff_ids", JSON_ARRAY, &ids, e);
	if (!rc && json_array_size(ids) > MANIFEST_LAYERS_MAX)
		return document_error(e, "rootfs.diff_ids has more than %u entries",
				      MANIFEST_LAYERS_MAX);
	json_array_foreach (ids, i, id) {
		struct digest d;

		if (!json_is_string(id) || digest_parse(json_string_value(id), &d))
			return document_error(e, "rootfs.diff_ids[%zu] is no digest", i);
		vec_push(&c->diff_ids, d);
	}
	return rc;
}

static int parse_step(const json_t *v, struct config_history *h, struct err *e)
{
	if (!json_is_object(v))
		return document_error(e, "it is no object");
	int rc = document_string(v, "created", &h->created, e);

	rc = rc ? rc : document_string(v, "created_by", &h->created_by, e);
	rc = rc ? rc : document_string(v, "author", &h->author, e);
	rc = rc ? rc : document_string(v, "comment", &h->comment, e);
	h->empty_layer = json_is_true(json_object_get(v, "empty_layer"));
	return rc;
}

static int parse_history(struct image_config *c, struct err *e)
{
	json_t *list, *v;
	size_t i;
	int rc = document_get(c->document, "history", JSON_ARRAY, &list, e);

	if (!rc && json_array_size(list) > HISTORY_MAX)
		rc = document_error(e, "'history' has more than %u entries", HISTORY_MAX);
	if (rc)
		return rc;
	json_array_foreach (list, i, v) {
		struct config_history h = {0};

		rc = parse_step(v, &h, e);
		vec_push(&c->history, h);
		if (rc)
			return err_prefix(e, "history[%zu]: ", i);
	}
	return 0;
}

static int parse(struct image_config *c, struct err *e)
{
	json_t *config;
	int rc = document_string(c->document, "os", &c->platform.os, e);

	rc = rc ? rc : document_string(c->document, "architecture", &c->platform.architecture, e);
	rc = rc ? rc : document_string(c->document, "variant", &c->platform.variant, e);
	rc = rc ? rc : document_string(c->document, "os.version", &c->platform.os_version, e);
	rc = rc ? rc : document_string(c->document, "created", &c->created, e);
	rc = rc ? rc : document_string(c->document, "author", &c->author, e);
	rc = rc ? rc : document_get(c->document, "config", JSON_OBJECT, &config, e);
	if (rc)
		return rc;
	c->config = config ? json_incref(config) : json_object();
	rc = parse_rootfs(c, e);
	return rc ? rc : parse_history(c, e);
}

int image_config_parse(const void *p, size_t len, struct image_config **ret, struct err *e)
{
	_image_config_ struct image_config *c = mem_alloc(sizeof(*c));
	int rc = document_load(p, len, CONFIG_BYTES_MAX, "configuration", &c->document, e);

	rc = rc ? rc : parse(c, e);
	if (rc)
		return err_prefix(e, "the image's configuration: ");
	*ret = STEAL(c);
	return 0;
}
