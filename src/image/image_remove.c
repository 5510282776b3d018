/* Taking names off images, and images away (Docker's rmi). The transaction holds only if neither
 * the record nor its users have changed since they were looked at; else it is thought over again. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/collect.h"
#include "image/image_int.h"

#include <errno.h>
#include <string.h>

struct removal {
	struct image_list list;
	const struct image *image;            /* of the list */
	VEC(const struct image_name *) names; /* that go */
	bool record;                          /* goes as well */
};

static void removal_done(struct removal *r)
{
	image_list_done(&r->list);
	vec_done(&r->names);
}

void image_removed_done(struct image_removed *r)
{
	vec_each (n, &r->untagged)
		free(*n);
	vec_done(&r->untagged);
}

static bool same_repository(const struct reference *a, const struct reference *b)
{
	return str_eq(a->domain, b->domain) && str_eq(a->path, b->path);
}

static bool same_name(const struct reference *a, const struct reference *b)
{
	return same_repository(a, b) && digest_eq(&a->digest, &b->digest) &&
	       (a->tag ? b->tag && str_eq(a->tag, b->tag) : !b->tag);
}

static const struct image *find_image(const struct image_list *l, const struct digest *manifest)
{
	vec_each (i, &l->images)
		if (digest_eq(&(*i)->manifest, manifest))
			return *i;
	return NULL;
}

/* One name; and where no tag is left, the digests that the image was known by, and the image. */
static void plan_by_name(struct removal *r, const struct reference *name)
{
	bool tag_left = false, other = false;

	vec_each (n, &r->list.names) {
		if (!digest_eq(&n->manifest, &r->image->manifest))
			continue;
		if (same_name(&n->reference, name))
			vec_push(&r->names, n);
		else if (n->reference.tag)
			tag_left = true;
		else
			other = true;
	}
	if (tag_left || (other && !name->tag))
		return;
	r->record = true;
	vec_each (n, &r->list.names)
		if (digest_eq(&n->manifest, &r->image->manifest) && !same_name(&n->reference, name))
			vec_push(&r->names, n);
}

/* All names. Of several repositories only by force, because whoever says the ID may think of one. */
static int plan_by_id(struct removal *r, bool force, struct err *e)
{
	const struct image_name *first = NULL;
	char text[DIGEST_HEX_MAX];

	vec_each (n, &r->list.names) {
		if (!digest_eq(&n->manifest, &r->image->manifest))
			continue;
		if (first && !force && !same_repository(&first->reference, &n->reference)) {
			_free_ char *a = reference_familiar(&first->reference),
				    *b = reference_familiar(&n->reference);

			return err_set(
			    e, ERR_IMG_IN_USE, -EBUSY,
			    "image %.12s has names in several repositories ('%s', '%s'): "
			    "remove them by name, or use --force",
			    digest_hex(&r->image->id, text), a, b);
		}
		first = n;
		vec_push(&r->names, n);
	}
	r->record = true;
	return 0;
}

static int check_users(struct image_store *s, const struct removal *r, struct err *e)
{
	char text[DIGEST_HEX_MAX];
	_free_ char *users = NULL;
	int rc = r->record ? image_users(s, &r->image->manifest, &users, e) : 0;

	if (!rc && users && *users)
		rc = err_set(e, ERR_IMG_IN_USE, -EBUSY, "image %.12s is in use by %s",
			     digest_hex(&r->image->id, text), users);
	return rc;
}

/* Holds while the key is as it was at that revision, or gone. */
static struct state_compare unchanged(const char *key, int64_t revision)
{
	return (struct state_compare){.key = state_str(key),
				      .target = STATE_MOD_REVISION,
				      .relation = STATE_LESS,
				      .number = revision + 1};
}

/* Deletes what was planned if record and names are as they were listed. -EAGAIN: they are not. */
static int commit(struct image_store *s, const struct removal *r, struct err *e)
{
	struct state_op ops[STATE_OPS_MAX];
	struct state_compare compares[STATE_OPS_MAX];
	char *keys[STATE_OPS_MAX] = {record_key(&r->image->manifest)};
	_state_txn_result_ struct state_txn_result result = {0};
	size_t n = 1, op = 0;

	compares[0] = unchanged(keys[0], r->list.revision);
	if (r->record)
		ops[op++] =
		    (struct state_op){.verb = STATE_DELETE, .range = {.from = state_str(keys[0])}};
	for (size_t k = 0; k < r->names.n; k++, n++) {
		keys[n] = name_key(&r->names.v[k]->reference);
		compares[n] = unchanged(keys[n], r->list.revision);
		ops[op++] =
		    (struct state_op){.verb = STATE_DELETE, .range = {.from = state_str(keys[n])}};
	}
	int rc = state_txn(
	    image_store_state(s),
	    &(struct state_txn){
		.compares = compares, .compare_count = n, .then_ops = ops, .then_count = op},
	    &result, e);

	while (n)
		free(keys[--n]);
	return !rc && !result.succeeded ? err_set(e, ERR_STATE_CONFLICT, -EAGAIN,
						  "the image was changed by others meanwhile")
					: rc;
}

static void report(const struct removal *r, struct image_removed *ret)
{
	vec_each (n, &r->names)
		vec_push(&ret->untagged, reference_canonical(&(*n)->reference));
	ret->deleted = r->record;
	ret->id = r->image->id;
}

static int try_remove(struct image_store *s, const char *text, bool force,
		      struct image_removed *ret, struct err *e)
{
	_cleanup_(removal_done) struct removal r = {0};
	_reference_ struct reference name = {0};
	_image_ struct image *found = NULL;
	int rc = image_list(s, &r.list, e); /* before looking: what changes later is noticed */

	rc = rc ? rc : image_resolve(s, text, &found, &name, e);
	if (rc)
		return rc;
	r.image = find_image(&r.list, &found->manifest);
	if (!r.image)
		return err_set(e, ERR_STATE_CONFLICT, -EAGAIN, "the image has just come");
	if (name.domain)
		plan_by_name(&r, &name);
	else
		rc = plan_by_id(&r, force, e);
	if (!rc && r.names.n >= STATE_OPS_MAX)
		rc = err_set(e, ERR_IMG_IN_USE, -E2BIG,
			     "the image has %zu names: remove some of them by name first",
			     r.names.n);
	rc = rc ? rc : check_users(s, &r, e);
	rc = rc ? rc : commit(s, &r, e);
	if (!rc)
		report(&r, ret);
	return rc;
}

int image_remove(struct image_store *s, const char *text, bool force, struct image_removed *ret,
		 struct err *e)
{
	struct image_removed done = {0};
	struct collected collected = {0};
	int rc = -EAGAIN;

	for (unsigned i = 0; i < IMAGE_TRIES_MAX && rc == -EAGAIN; i++)
		rc = try_remove(s, text, force, &done, e);
	if (!rc && done.deleted)
		rc = image_collect(s, &(struct collect_options){0}, &collected, e);
	done.bytes = collected.bytes;
	if (rc && !done.untagged.n && !done.deleted)
		return rc;
	*ret = done;
	return rc;
}
