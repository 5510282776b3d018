#include "image/verify.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "image/collect.h"
#include "image/image_int.h"
#include "image/ingest.h"
#include "image/layer.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct check {
	struct image_store *store;
	struct progress *progress;
	struct fault_list *faults;
	struct digest_set seen; /* DiffIDs that have been looked at */
};

static void add_fault(struct check *c, enum fault_kind kind, const struct digest *d,
		      const char *what)
{
	struct fault f = {.kind = kind, .digest = *d};

	snprintf(f.what, sizeof(f.what), "%s", what);
	vec_push(&c->faults->v, f);
}

static struct progress_item *begin(struct check *c, const char *kind, const struct digest *d)
{
	char hex[DIGEST_HEX_MAX];
	_free_ char *label = mem_printf("%s %.12s", kind, digest_hex(d, hex));

	return c->progress ? progress_add(c->progress, label, 0) : NULL;
}

static int check_blob(const struct digest *d, uint64_t size, void *arg, struct err *e)
{
	struct check *c = arg;
	struct progress_item *item = begin(c, "blob", d);
	struct err why = {0};
	int rc = blob_verify(c->store, d, &why);

	if (rc)
		add_fault(c, FAULT_BLOB_DAMAGED, d, why.msg);
	if (item)
		progress_finish(item, !rc);
	return 0;
}

/* A compressed layer may have been dropped on purpose. */
static bool blob_expected(struct image_store *s, const struct digest *d)
{
	char text[DIGEST_TEXT_MAX];
	_free_ char *key = mem_printf(KEY_DISCARDED "%s", digest_text(d, text));
	_state_result_ struct state_result r = {0};

	return state_get(image_store_state(s), state_str(key), &r, NULL) || !r.n;
}

static void expect_blob(struct check *c, const struct digest *d)
{
	if (!blob_exists(c->store, d, NULL) && blob_expected(c->store, d))
		add_fault(c, FAULT_BLOB_MISSING, d, "the blob is not in the store");
}

static void check_layer(struct check *c, const struct digest *diff_id)
{
	struct progress_item *item;
	struct err why = {0};

	vec_each (x, &c->seen.v)
		if (digest_eq(x, diff_id))
			return;
	digest_set_add(&c->seen, diff_id);
	if (!layer_exists(c->store, diff_id)) {
		add_fault(c, FAULT_LAYER_MISSING, diff_id,
			  "the unpacked layer is not in the store");
		return;
	}
	item = begin(c, "layer", diff_id);
	int rc = layer_verify(c->store, diff_id, &why);

	if (rc)
		add_fault(c, FAULT_LAYER_DAMAGED, diff_id, why.msg);
	if (item)
		progress_finish(item, !rc);
}

int image_verify(struct image_store *s, struct progress *progress, struct fault_list *ret,
		 struct err *e)
{
	struct check c = {.store = s, .progress = progress, .faults = ret};
	_image_list_ struct image_list l = {0};
	int rc = blob_each(s, check_blob, &c, e);

	rc = rc ? rc : image_list(s, &l, e);
	if (rc)
		return rc;
	vec_each (i, &l.images) {
		expect_blob(&c, &(*i)->manifest);
		expect_blob(&c, &(*i)->config);
		vec_each (layer, &(*i)->layers) {
			expect_blob(&c, &layer->digest);
			if (digest_is_set(&layer->diff_id))
				check_layer(&c, &layer->diff_id);
		}
	}
	digest_set_done(&c.seen);
	return 0;
}

bool image_has(const struct image *i, const struct digest *d)
{
	if (digest_eq(&i->manifest, d) || digest_eq(&i->config, d))
		return true;
	vec_each (l, &i->layers)
		if (digest_eq(&l->digest, d) || digest_eq(&l->diff_id, d))
			return true;
	return false;
}

/* --- repairing --- */

/* The layer of that DiffID once more, from its blob if that is here. */
static int rebuild_layer(struct image_store *s, const struct image_layer *l, struct err *e)
{
	static const enum compression compressions[] = {[LAYER_PLAIN] = COMPRESSION_NONE,
							[LAYER_GZIP] = COMPRESSION_GZIP,
							[LAYER_ZSTD] = COMPRESSION_ZSTD};
	struct ingest in = {.digest = l->digest, .diff_id = l->diff_id};
	struct source_file f = {.own = true};
	enum layer_compression kind;
	struct digest digest;
	int rc = layer_media_type(l->media_type, &kind, e);

	if (rc || !blob_exists(s, &l->digest, NULL))
		return rc;
	in.compression = compressions[kind];
	rc = image_store_hold(s, &l->diff_id, 1, e);
	if (!rc)
		rc = f.fd = blob_open(s, &l->digest, &f.size, e);
	if (rc < 0)
		return rc;
	rc = ingest_layer(s, &f, &in, &digest, e);
	source_file_done(&f);
	return rc;
}

int image_repair(struct image_store *s, const struct fault_list *faults, struct err *e)
{
	_image_list_ struct image_list l = {0};
	int rc = image_list(s, &l, e);

	vec_each (f, &faults->v) {
		if (!rc && f->kind == FAULT_BLOB_DAMAGED)
			rc = blob_remove(s, &f->digest, e);
		if (!rc && f->kind == FAULT_LAYER_DAMAGED)
			rc = layer_remove(s, &f->digest, e);
	}
	vec_each (i, &l.images)
		vec_each (layer, &(*i)->layers)
			if (!rc && digest_is_set(&layer->diff_id) &&
			    !layer_exists(s, &layer->diff_id))
				rc = rebuild_layer(s, layer, e);
	return rc;
}
