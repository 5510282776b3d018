/* Making an image known: its documents are read from the store, compared with each other and with
 * what else is there, and become a record with names, in one transaction. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/image_int.h"
#include "image/layer.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <time.h>

static bool discarded(struct image_store *s, const struct digest *d)
{
	char text[DIGEST_TEXT_MAX];
	_free_ char *key = mem_printf(KEY_DISCARDED "%s", digest_text(d, text));
	_state_result_ struct state_result r = {0};

	return !state_get(image_store_state(s), state_str(key), &r, NULL) && r.n;
}

static int add_layer(struct image_store *s, const struct descriptor *d,
		     const struct digest *diff_id, struct image *i, struct err *e)
{
	struct image_layer l = {.digest = d->digest, .size = d->size};
	char text[DIGEST_TEXT_MAX];
	struct layer_info info;

	if (!blob_exists(s, &d->digest, NULL) && !discarded(s, &d->digest))
		return err_set(e, ERR_IMG_BLOB, -ENOENT, "the layer %s is not in the store",
			       digest_text(&d->digest, text));
	if (diff_id) {
		l.diff_id = *diff_id;
		if (!layer_stat(s, diff_id, &info, NULL))
			l.unpacked_size = info.tar_bytes;
	}
	l.media_type = mem_strdup(d->media_type);
	vec_push(&i->layers, l);
	return 0;
}

/* The configuration's DiffIDs and the manifest's layers are the same list. */
static int add_layers(struct image_store *s, const struct manifest *m, const struct image_config *c,
		      struct image *i, struct err *e)
{
	if (c && c->diff_ids.n != m->layers.n)
		return err_set(e, ERR_IMG_MANIFEST, -EBADMSG,
			       "the manifest has %zu layers, the configuration %zu", m->layers.n,
			       c->diff_ids.n);
	for (size_t k = 0; k < m->layers.n; k++) {
		enum layer_compression compression;
		int rc = c ? layer_media_type(m->layers.v[k].media_type, &compression, e) : 0;

		rc = rc ? rc : add_layer(s, &m->layers.v[k], c ? &c->diff_ids.v[k] : NULL, i, e);
		if (rc)
			return rc;
	}
	return 0;
}

static int build_record(struct image_store *s, const struct digest *digest, struct image **ret,
			struct err *e)
{
	_image_ struct image *i = mem_alloc(sizeof(*i));
	_image_config_ struct image_config *c = NULL;
	_manifest_ struct manifest *m = NULL;
	_buf_ struct buf b = {0};
	int rc = blob_read(s, digest, MANIFEST_BYTES_MAX, &b, e);

	rc = rc ? rc : manifest_parse(buf_str(&b), b.len, NULL, &m, e);
	if (!rc && m->kind == MANIFEST_INDEX)
		rc = err_set(e, ERR_IMG_MANIFEST, -EBADMSG, "an index is no image");
	if (rc)
		return rc;
	i->manifest = *digest;
	i->manifest_size = b.len;
	i->media_type = mem_strdup(m->media_type);
	i->artifact_type = mem_strdup(m->artifact_type);
	i->config = m->config.digest;
	i->config_size = m->config.size;
	i->config_media_type = mem_strdup(m->config.media_type);
	i->added = time(NULL);
	if (m->kind == MANIFEST_IMAGE)
		rc = image_read_config(s, i, &c, e);
	if (rc)
		return rc;
	if (c)
		platform_copy(&c->platform, &i->platform);
	else
		i->platform = (struct platform){mem_strdup(""), mem_strdup(""), mem_strdup(""),
						mem_strdup("")};
	i->created = mem_strdup(c ? c->created : "");
	i->id = m->kind == MANIFEST_IMAGE ? i->config : i->manifest;
	rc = add_layers(s, m, c, i, e);
	if (!rc)
		*ret = STEAL(i);
	return rc;
}

/* Keys and values of names, which a transaction borrows. */
struct name_puts {
	struct image_put puts[IMAGE_PUTS_MAX];
	char *keys[IMAGE_PUTS_MAX];
	struct buf values[IMAGE_PUTS_MAX];
	size_t n;
};

static void name_puts_done(struct name_puts *p)
{
	for (size_t k = 0; k < p->n; k++) {
		free(p->keys[k]);
		buf_done(&p->values[k]);
	}
}

static void name_puts_fill(struct name_puts *p, const struct digest *manifest,
			   const struct digest *index, const struct reference *names, size_t n)
{
	for (size_t k = 0; k < n; k++) {
		struct image_name name = {.manifest = *manifest};
		struct reference r = names[k];

		if (index)
			name.index = *index;
		p->keys[k] = name_key(&r);
		name_format(&name, &p->values[k]);
		p->puts[k] = (struct image_put){
		    state_str(p->keys[k]), {buf_str(&p->values[k]), p->values[k].len}, 0};
		p->n = k + 1;
	}
}

/* A new record, or the one that is there, which keeps the moment when it came. */
static int put_record(struct image_store *s, struct image *i, const struct name_puts *names,
		      struct err *e)
{
	struct state_op ops[IMAGE_PUTS_MAX + 1];
	_free_ char *key = record_key(&i->manifest);
	_buf_ struct buf value = {0};
	_state_txn_result_ struct state_txn_result r = {0};
	_image_ struct image *old = NULL;

	if (!record_get(s, &i->manifest, &old, NULL, NULL))
		i->added = old->added;
	record_format(i, &value);
	ops[0] = (struct state_op){
	    .verb = STATE_PUT, .key = state_str(key), .value = {buf_str(&value), value.len}};
	for (size_t k = 0; k < names->n; k++)
		ops[k + 1] = (struct state_op){
		    .verb = STATE_PUT, .key = names->puts[k].key, .value = names->puts[k].value};
	return state_txn(image_store_state(s),
			 &(struct state_txn){.then_ops = ops, .then_count = names->n + 1}, &r, e);
}

int image_add(struct image_store *s, const struct digest *manifest, const struct digest *index,
	      const struct reference *names, size_t name_count, struct image **ret, struct err *e)
{
	_cleanup_(name_puts_done) struct name_puts puts = {0};
	_image_ struct image *i = NULL;
	int rc = build_record(s, manifest, &i, e);

	if (!rc && name_count > IMAGE_PUTS_MAX)
		rc = err_set(e, ERR_IMG_ARCHIVE, -E2BIG, "an image has %zu names, more than %u",
			     name_count, IMAGE_PUTS_MAX);
	if (rc)
		return rc;
	name_puts_fill(&puts, manifest, index, names, name_count);
	rc = put_record(s, i, &puts, e);
	if (!rc && ret)
		*ret = STEAL(i);
	return rc;
}
