#include "image/push.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "image/manifest.h"
#include "image/push_int.h"

struct wishes {
	VEC(struct push_wish) all;
};

static void wishes_done(struct wishes *w)
{
	vec_each (x, &w->all)
		free(x->from);
	vec_done(&w->all);
}

/* The same blob twice in one image is sent once. */
static void add_wish(struct wishes *w, const struct digest *d, uint64_t size)
{
	vec_each (x, &w->all)
		if (digest_eq(&x->digest, d))
			return;
	vec_push(&w->all, (struct push_wish){*d, size, NULL});
}

static bool has_blob(const struct image *i, const struct digest *d)
{
	if (digest_eq(&i->config, d))
		return true;
	vec_each (l, &i->layers)
		if (digest_eq(&l->digest, d))
			return true;
	return false;
}

static const struct image *image_of(const struct image_list *l, const struct digest *manifest)
{
	vec_each (i, &l->images)
		if (digest_eq(&(*i)->manifest, manifest))
			return *i;
	return NULL;
}

/* A name of an image with that blob, in another repository of that registry: it may be there. */
static const char *known_source(const struct image_list *l, const struct reference *r,
				const struct digest *d)
{
	vec_each (n, &l->names) {
		const struct image *i = image_of(l, &n->manifest);

		if (i && str_eq(n->reference.domain, r->domain) &&
		    !str_eq(n->reference.path, r->path) && has_blob(i, d))
			return n->reference.path;
	}
	return NULL;
}

/* Tokens name repositories, so one source serves for all. */
static int find_sources(struct image_store *s, struct repository *p, const struct reference *r,
			struct wishes *w, struct err *e)
{
	_image_list_ struct image_list l = {0};
	const char *chosen = NULL;
	int rc = image_list(s, &l, e);

	if (rc)
		return rc;
	vec_each (x, &w->all) {
		const char *from = known_source(&l, r, &x->digest);

		if (!from || (chosen && !str_eq(chosen, from)))
			continue;
		x->from = mem_strdup(from);
		if (!chosen)
			repository_may_mount_from(p, from);
		chosen = x->from;
	}
	return 0;
}

static int push_image(struct image_store *s, struct repository *p, const struct reference *r,
		      const struct image *i, struct progress *progress, struct push_result *ret,
		      struct err *e)
{
	struct wishes w = {0};
	_buf_ struct buf manifest = {0};
	int rc = blob_read(s, &i->manifest, MANIFEST_BYTES_MAX, &manifest, e);

	vec_each (l, &i->layers)
		add_wish(&w, &l->digest, l->size);
	add_wish(&w, &i->config, i->config_size);
	if (!rc)
		rc = find_sources(s, p, r, &w, e);
	if (!rc)
		rc = push_blobs(s, p, w.all.v, w.all.n, progress, ret, e);
	if (!rc)
		rc = repository_put_manifest(p, r->tag, i->media_type, buf_str(&manifest),
					     manifest.len, e);
	wishes_done(&w);
	ret->digest = i->manifest;
	ret->size = manifest.len;
	return rc;
}

int push(struct image_store *s, struct registry *g, const struct reference *r,
	 struct progress *progress, struct push_result *ret, struct err *e)
{
	_image_ struct image *i = NULL;
	_repository_ struct repository *p = NULL;
	_free_ char *name = reference_familiar(r);
	int rc = image_find_name(s, r, &i, e);

	*ret = (struct push_result){0};
	if (rc)
		return rc;
	rc = repository_open(g, r->domain, r->path, REPOSITORY_PUSH, &p, e);
	if (!rc)
		rc = push_image(s, p, r, i, progress, ret, e);
	return rc ? err_prefix(e, "%s: ", name) : 0;
}
