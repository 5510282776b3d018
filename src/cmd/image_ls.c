/* viv images: a row per name of an image, newest images first, with Docker's fields. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/human.h"
#include "cmd/image.h"
#include "cmd/viv.h"
#include "codec/template.h"

#include <stdio.h>
#include <time.h>

/* clang-format off */
#define COLUMNS_REST                                                                   \
	{"ID", "IMAGE ID", false}, {"CreatedSince", "CREATED", false}, {"Size", "SIZE", false}, \
	{"CreatedAt", "CREATED AT", true}, {"Platform", "PLATFORM", true}

static const struct output_column columns[] = {
	{"Repository", "REPOSITORY", false}, {"Tag", "TAG", false}, COLUMNS_REST,
	{"Digest", "DIGEST", true}, {0},
};
static const struct output_column columns_digests[] = {
	{"Repository", "REPOSITORY", false}, {"Tag", "TAG", false}, {"Digest", "DIGEST", false}, COLUMNS_REST, {0},
};
static const struct output_column columns_name[] = {
	{"Name", "NAME", false}, {0},
};
/* clang-format on */

struct listing {
	struct cli *c;
	struct image_list list;
	struct image_filter *filter;
	const char *pattern; /* of the argument; NULL: all */
	json_t *rows;
};

static void listing_done(struct listing *l)
{
	image_list_done(&l->list);
	image_filter_free(l->filter);
	json_decref(l->rows);
}

/* A name without a tag or with one, or a glob of Docker's. */
static bool wanted(const struct listing *l, const struct reference *name)
{
	if (!l->pattern)
		return true;
	if (!name)
		return false;
	_reference_ struct reference r = {0};
	_free_ char *familiar = reference_familiar(name),
		    *repository = reference_familiar_repository(name);

	if (!reference_parse(l->pattern, &r, NULL) && str_eq(r.domain, name->domain) &&
	    str_eq(r.path, name->path))
		return !r.tag || (name->tag && str_eq(r.tag, name->tag));
	/* "web" is also what was made here, as for other commands. */
	const char *local = str_after(familiar, "localhost/"),
		   *local_repository = str_after(repository, "localhost/");

	return str_eq(l->pattern, familiar) || str_eq(l->pattern, repository) ||
	       (local && (str_eq(l->pattern, local) || str_eq(l->pattern, local_repository)));
}

/* The digest that a registry has for this repository's image. */
static const struct digest *digest_for(const struct listing *l, const struct image *i,
				       const struct reference *name)
{
	vec_each (n, &l->list.names)
		if (digest_is_set(&n->reference.digest) && digest_eq(&n->manifest, &i->manifest) &&
		    str_eq(n->reference.domain, name->domain) &&
		    str_eq(n->reference.path, name->path))
			return &n->reference.digest;
	return NULL;
}

static void add_row(struct listing *l, const struct image *i, const struct reference *name)
{
	const struct digest *digest = name ? digest_for(l, i, name) : NULL;
	bool whole = cli_bool(l->c, "no-trunc");
	char text[DIGEST_TEXT_MAX] = IMAGE_NONE;
	int64_t created;
	bool dated = image_created_s(i, &created);
	_free_ char *id = image_shown_id(i, whole), *size = human_size(image_size(i)),
		    *platform = platform_text(&i->platform),
		    *repository =
			name ? reference_familiar_repository(name) : mem_strdup(IMAGE_NONE),
		    *familiar = name && name->tag ? reference_familiar(name) : mem_strdup(id),
		    *since = dated ? human_ago(created, time(NULL)) : mem_strdup("N/A"),
		    *at = dated ? human_time(created) : mem_strdup("N/A");

	if (digest)
		digest_text(digest, text);
	json_array_append_new(
	    l->rows, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}",
			       "Name", familiar, "Repository", repository, "Tag",
			       name && name->tag ? name->tag : IMAGE_NONE, "ID", id, "Digest", text,
			       "CreatedSince", since, "CreatedAt", at, "Size", size, "VirtualSize",
			       size, "SharedSize", "N/A", "UniqueSize", "N/A", "Containers", "N/A",
			       "Platform", platform));
}

static int add_if(struct listing *l, const struct image *i, const struct reference *name,
		  bool dangling, struct err *e)
{
	bool match;
	int rc = image_filter_match(l->filter, i, name, dangling, &match, e);

	if (!rc && match && wanted(l, name))
		add_row(l, i, name);
	return rc;
}

/* A row per tag; without any, one with the repository that it is known from by digest, or none. */
static int add_image(struct listing *l, const struct image *i, struct err *e)
{
	const struct reference *by_digest = NULL;
	bool tagged = false;
	int rc = 0;

	vec_each (n, &l->list.names) {
		if (!digest_eq(&n->manifest, &i->manifest))
			continue;
		if (n->reference.tag && !rc)
			rc = add_if(l, i, &n->reference, false, e);
		else
			by_digest = &n->reference;
		tagged |= n->reference.tag != NULL;
	}
	return rc || tagged ? rc : add_if(l, i, by_digest, true, e);
}

static int newer_first(const void *a, const void *b)
{
	const struct image *x = *(struct image *const *)a, *y = *(struct image *const *)b;
	int64_t tx = 0, ty = 0;

	image_created_s(x, &tx);
	image_created_s(y, &ty);
	return tx != ty ? (tx < ty ? 1 : -1) : digest_cmp(&x->manifest, &y->manifest);
}

static int print_ids(const json_t *rows)
{
	const json_t *row;
	size_t k;

	json_array_foreach (rows, k, row) {
		const char *id = json_string_value(json_object_get(row, "ID"));

		/* One image may have several rows, next to each other. */
		if (!k || !str_eq(id, json_string_value(
					  json_object_get(json_array_get(rows, k - 1), "ID"))))
			puts(id);
	}
	return 0;
}

static int collect(struct listing *l, struct image_store *s, struct err *e)
{
	int rc = image_filter_new(s, cli_list(l->c, "filter"), &l->filter, e);

	rc = rc ? rc : image_list(s, &l->list, e);
	if (rc)
		return rc;
	if (l->list.images.n)
		qsort(l->list.images.v, l->list.images.n, sizeof(*l->list.images.v), newer_first);
	vec_each (i, &l->list.images)
		if (!rc)
			rc = add_image(l, *i, e);
	return rc;
}

int cmd_images(struct cli *c)
{
	_cleanup_(listing_done) struct listing l = {
	    .c = c, .pattern = cli_argv(c)[0], .rows = json_array()};
	_image_session_ struct image_session s = {0};
	struct err e = {0};
	int rc = image_session_open(c, &s, &e);

	rc = rc ? rc : collect(&l, s.store, &e);
	if (rc)
		return cli_fail(c, &e);
	if (cli_bool(c, "quiet"))
		return print_ids(l.rows);
	bool names = str_eq(viv_output(c, columns).format, "name");

	return viv_print_rows(c,
			      names                    ? columns_name
			      : cli_bool(c, "digests") ? columns_digests
						       : columns,
			      l.rows);
}
