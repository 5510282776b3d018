#include "image/pull.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/vec.h"
#include "image/manifest.h"
#include "image/policy.h"
#include "image/pull_int.h"

/* What is known of the image while it is pulled. */
struct pull {
	struct image_store *store;
	struct repository *repository;
	const struct reference *reference;
	const struct pull_options *options;
	struct repository_manifest top,
	    below; /* what the name leads to; the manifest in that index */
	const struct repository_manifest *at; /* the image's own of the two */
	struct manifest *manifest;
	struct image_config *config; /* NULL: an artifact */
};

static void pull_done(struct pull *p)
{
	repository_manifest_done(&p->top);
	repository_manifest_done(&p->below);
	manifest_free(p->manifest);
	image_config_free(p->config);
	repository_free(p->repository);
}

/* --- documents --- */

static int parse(const struct repository_manifest *m, const char *media_type, struct manifest **ret,
		 struct err *e)
{
	return manifest_parse(buf_str(&m->body), m->body.len, media_type, ret, e);
}

/* The manifest of this platform in an index. */
static int descend(struct pull *p, const struct manifest *index, struct err *e)
{
	_platform_ struct platform host = {0};
	const struct platform *want = p->options->platform;
	const struct descriptor *chosen;

	if (!want) {
		platform_host(&host);
		want = &host;
	}
	int rc = manifest_select(index, want, &chosen, e);

	if (!rc)
		rc = repository_get_manifest(p->repository, NULL, &chosen->digest, &p->below, e);
	if (rc)
		return rc;
	if (p->below.body.len != chosen->size)
		return err_set(e, ERR_REG_DIGEST, -EBADMSG,
			       "the manifest in the index has %zu bytes, and should have %ju",
			       p->below.body.len, (uintmax_t)chosen->size);
	p->at = &p->below;
	return parse(&p->below, chosen->media_type, &p->manifest, e);
}

static int find_manifest(struct pull *p, struct err *e)
{
	const struct reference *r = p->reference;
	bool by_digest = digest_is_set(&r->digest);
	_manifest_ struct manifest *top = NULL;
	int rc = repository_get_manifest(p->repository, by_digest ? NULL : r->tag,
					 by_digest ? &r->digest : NULL, &p->top, e);

	if (!rc)
		rc = parse(&p->top, p->top.media_type, &top, e);
	if (rc)
		return rc;
	if (top->kind == MANIFEST_INDEX)
		rc = descend(p, top, e);
	else {
		p->at = &p->top;
		p->manifest = STEAL(top);
	}
	if (!rc && p->manifest->kind == MANIFEST_INDEX)
		return err_set(e, ERR_IMG_MANIFEST, -EBADMSG,
			       "an index within an index is no image");
	return rc;
}

/* As layers are written, so that what a killed pull has left of it is taken over. */
static int keep_document(struct pull *p, const struct digest *d, const struct buf *text,
			 struct err *e)
{
	const struct blob_expect expect = {*d, text->len, true};
	struct blob_writer *w;
	int rc = blob_writer_new(p->store, &expect, &w, e);

	if (rc)
		return rc;
	uint64_t there = blob_writer_offset(w);

	rc = blob_writer_append(w, buf_str(text) + there, text->len - there, e);
	if (!rc)
		return blob_writer_commit(w, NULL, e);
	blob_writer_abort(w);
	return rc;
}

/* The configuration is small and says what the layers must be. */
static int find_config(struct pull *p, struct err *e)
{
	const struct descriptor *d = &p->manifest->config;
	_buf_ struct buf text = {0};
	int rc = blob_exists(p->store, &d->digest, NULL)
		     ? blob_read(p->store, &d->digest, CONFIG_BYTES_MAX, &text, e)
		     : repository_get_blob(p->repository, &d->digest, CONFIG_BYTES_MAX, &text, e);

	if (!rc)
		rc = keep_document(p, &d->digest, &text, e);
	if (rc || p->manifest->kind == MANIFEST_ARTIFACT)
		return rc;
	rc = image_config_parse(buf_str(&text), text.len, &p->config, e);
	if (rc)
		return rc;
	if (p->config->diff_ids.n != p->manifest->layers.n)
		return err_set(e, ERR_IMG_MANIFEST, -EBADMSG,
			       "the configuration names %zu layers, the manifest %zu",
			       p->config->diff_ids.n, p->manifest->layers.n);
	return 0;
}

/* A single manifest has its platform in its configuration. */
static int check_platform(struct pull *p, struct err *e)
{
	const struct platform *want = p->options->platform;

	if (!want || !p->config || platform_match(want, &p->config->platform))
		return 0;
	_free_ char *is = platform_text(&p->config->platform), *wanted = platform_text(want);

	return err_set(e, ERR_IMG_NO_PLATFORM, -ENOENT, "the image is for %s, not for %s", is,
		       wanted);
}

/* --- the whole --- */

/* Everything that the image consists of, before it is looked whether it is there. */
static int hold(struct pull *p, struct err *e)
{
	VEC(struct digest) all = {0};

	vec_push(&all, p->top.digest);
	vec_push(&all, p->at->digest);
	vec_push(&all, p->manifest->config.digest);
	vec_each (d, &p->manifest->layers)
		vec_push(&all, d->digest);
	int rc = image_store_hold(p->store, all.v, all.n, e);

	vec_done(&all);
	return rc;
}

static int hold_layers(struct pull *p, struct err *e)
{
	return p->config
		   ? image_store_hold(p->store, p->config->diff_ids.v, p->config->diff_ids.n, e)
		   : 0;
}

static int bring_layers(struct pull *p, struct err *e)
{
	size_t n = p->manifest->layers.n;
	_free_ struct layer_wish *wishes = mem_array(n + 1, sizeof(*wishes));

	for (size_t i = 0; i < n; i++) {
		wishes[i].blob = &p->manifest->layers.v[i];
		if (p->config)
			wishes[i].diff_id = p->config->diff_ids.v[i];
	}
	return pull_layers(p->store, p->repository, p->at->endpoint, wishes, n, p->options, e);
}

/* Notes first: a kill in between leaves blobs, not images without them. */
static int note_discarded(struct pull *p, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; !rc && p->config && i < p->manifest->layers.n; i++)
		rc = image_note_discarded(p->store, &p->manifest->layers.v[i].digest,
					  &p->config->diff_ids.v[i], e);
	return rc;
}

static int discard(struct pull *p, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; !rc && p->config && i < p->manifest->layers.n; i++)
		rc = blob_remove(p->store, &p->manifest->layers.v[i].digest, e);
	return rc;
}

/* Does the name mean exactly this already? */
static bool is_known(struct pull *p)
{
	_image_ struct image *now = NULL;

	if (image_find_name(p->store, p->reference, &now, NULL))
		return false;
	return digest_eq(&now->manifest, &p->at->digest);
}

static int run(struct pull *p, struct pull_result *ret, struct err *e)
{
	int rc = find_manifest(p, e);

	if (!rc)
		rc = policy_check(p->options->policy, p->store, p->repository, p->reference,
				  &p->top.digest, &p->at->digest, e);
	if (!rc)
		rc = hold(p, e);
	if (!rc)
		rc = find_config(p, e);
	if (!rc)
		rc = check_platform(p, e);
	if (!rc)
		rc = hold_layers(p, e);
	bool known = !rc && is_known(p);

	if (!rc)
		rc = bring_layers(p, e);
	if (!rc)
		rc = keep_document(p, &p->top.digest, &p->top.body, e);
	if (!rc && p->at != &p->top)
		rc = keep_document(p, &p->at->digest, &p->at->body, e);
	if (!rc && p->options->discard_compressed)
		rc = note_discarded(p, e);
	if (!rc)
		rc = image_add(p->store, &p->at->digest, p->at == &p->top ? NULL : &p->top.digest,
			       p->reference, 1, NULL, e);
	if (!rc && p->options->discard_compressed)
		rc = discard(p, e);
	if (rc)
		return rc;
	ret->digest = p->top.digest;
	ret->unchanged = known;
	return 0;
}

int pull(struct image_store *s, struct registry *g, const struct reference *r,
	 const struct pull_options *o, struct pull_result *ret, struct err *e)
{
	struct pull p = {.store = s, .reference = r, .options = o};
	int rc = repository_open(g, r->domain, r->path, REPOSITORY_PULL, &p.repository, e);

	if (!rc)
		rc = run(&p, ret, e);
	pull_done(&p);
	if (rc) {
		_free_ char *name = reference_familiar(r);

		return err_prefix(e, "%s: ", name);
	}
	return 0;
}
