/* viv image inspect: everything about images, in Docker's form. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/human.h"
#include "cmd/image.h"
#include "cmd/viv.h"
#include "codec/emit.h"
#include "codec/template.h"

#include <stdio.h>

static void set(json_t *object, const char *key, json_t *value)
{
	json_object_set_new(object, key, value);
}

static json_t *digest_json(const struct digest *d)
{
	char text[DIGEST_TEXT_MAX];

	return json_string(digest_text(d, text));
}

/* Names with a tag, or those with a digest. */
static json_t *names_of(const struct image_list *l, const struct image *i, bool tags)
{
	json_t *list = json_array();

	vec_each (n, &l->names)
		if (digest_eq(&n->manifest, &i->manifest) && tags == (n->reference.tag != NULL)) {
			_free_ char *text = reference_familiar(&n->reference);

			json_array_append_new(list, json_string(text));
		}
	return list;
}

static json_t *layers_of(const struct image *i)
{
	json_t *list = json_array();

	vec_each (l, &i->layers)
		json_array_append_new(
		    list, digest_json(digest_is_set(&l->diff_id) ? &l->diff_id : &l->digest));
	return json_pack("{s:s, s:o}", "Type", "layers", "Layers", list);
}

static json_t *descriptor_of(const struct image *i)
{
	return json_pack("{s:s, s:o, s:I}", "mediaType", i->media_type, "digest",
			 digest_json(&i->manifest), "size", (json_int_t)i->manifest_size);
}

/* config: NULL for an artifact. */
static json_t *object_of(const struct image_list *l, const struct image *i,
			 const struct image_config *config)
{
	_free_ char *added = human_time(i->added);
	json_t *o = json_object();

	set(o, "Id", digest_json(&i->id));
	set(o, "RepoTags", names_of(l, i, true));
	set(o, "RepoDigests", names_of(l, i, false));
	set(o, "Comment",
	    json_string(config && config->history.n
			    ? config->history.v[config->history.n - 1].comment
			    : ""));
	set(o, "Created", json_string(i->created));
	set(o, "Author", json_string(config ? config->author : ""));
	set(o, "Config", config ? json_incref(config->config) : json_null());
	set(o, "Architecture", json_string(i->platform.architecture));
	set(o, "Variant", json_string(i->platform.variant));
	set(o, "Os", json_string(i->platform.os));
	set(o, "OsVersion", json_string(i->platform.os_version));
	set(o, "Size", json_integer((json_int_t)image_size(i)));
	set(o, "RootFS", layers_of(i));
	set(o, "Metadata", json_pack("{s:s}", "LastTagTime", added));
	set(o, "Descriptor", descriptor_of(i));
	if (*i->artifact_type)
		set(o, "ArtifactType", json_string(i->artifact_type));
	return o;
}

static int inspect(struct cli *c, struct image_store *s, const char *name, json_t *objects,
		   struct err *e)
{
	_image_config_ struct image_config *config = NULL;
	_image_list_ struct image_list list = {0};
	_image_ struct image *i = NULL;
	_platform_ struct platform want = {0};
	const char *platform = cli_string(c, "platform");
	int rc = platform ? platform_parse(platform, &want, e) : 0;

	rc = rc ? rc : image_find(s, name, platform ? &want : NULL, &i, e);
	rc = rc ? rc : image_list(s, &list, e);
	if (!rc && !image_is_artifact(i))
		rc = image_read_config(s, i, &config, e);
	if (!rc)
		json_array_append_new(objects, object_of(&list, i, config));
	return rc;
}

/* Without a form that was asked for: Docker's, a JSON array. */
static int print(struct cli *c, const json_t *objects)
{
	static const struct output_column columns[] = {{"Id", "ID", false}, {0}};
	_buf_ struct buf text = {0};
	struct err e = {0};

	if (cli_string(c, "format") || cli_given(c, "output"))
		return viv_print_rows(c, columns, objects);
	if (emit_json(objects, true, &text, &e))
		return cli_fail(c, &e);
	fputs(buf_str(&text), stdout);
	return 0;
}

int cmd_image_inspect(struct cli *c)
{
	_image_session_ struct image_session s = {0};
	_json_ json_t *objects = json_array();
	struct err e = {0};
	int status = 0;

	if (image_session_open(c, &s, &e))
		return cli_fail(c, &e);
	/* What there is is shown, as Docker does, and what is not is said. */
	struct err first = {0};

	for (char *const *name = cli_argv(c); *name; name++) {
		struct err why = {0};

		if (inspect(c, s.store, *name, objects, &why) && !first.rc)
			first = why;
	}
	status = print(c, objects);
	return first.rc ? cli_fail(c, &first) : status;
}
