/* Finding, adding and naming images. Every change is one transaction that also rewrites the record
 * it is about, on condition that it is still there: so a name, or somebody who needs the image, can
 * never outlive a record that is removed at the same time. */
#include "image/image.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/image_int.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define LOCAL_DOMAIN "localhost/" /* of images that were made here; looked at first */

bool image_is_artifact(const struct image *i)
{
	return *i->artifact_type || !(str_eq(i->config_media_type, MEDIA_OCI_CONFIG) ||
				      str_eq(i->config_media_type, MEDIA_DOCKER_CONFIG));
}

uint64_t image_size(const struct image *i)
{
	uint64_t sum = 0;

	vec_each (l, &i->layers)
		sum += l->unpacked_size ? l->unpacked_size : l->size;
	return sum;
}

/* --- listing --- */

void image_list_done(struct image_list *l)
{
	vec_each (i, &l->images)
		image_free(*i);
	vec_each (n, &l->names)
		image_name_done(n);
	vec_done(&l->images);
	vec_done(&l->names);
}

static int list_into(const struct state_result *records, const struct state_result *names,
		     struct image_list *l, struct err *e)
{
	for (size_t k = 0; k < records->n; k++) {
		struct image *i;
		int rc = record_parse(&records->kvs[k], &i, e);

		if (rc)
			return rc;
		vec_push(&l->images, i);
	}
	for (size_t k = 0; k < names->n; k++) {
		struct image_name n;
		int rc = name_parse(&names->kvs[k], &n, e);

		if (rc)
			return rc;
		vec_push(&l->names, n);
	}
	return 0;
}

int image_list(struct image_store *s, struct image_list *ret, struct err *e)
{
	const struct state_op ops[] = {
	    {.verb = STATE_GET, .range = {.from = state_str(KEY_RECORD), .prefix = true}},
	    {.verb = STATE_GET, .range = {.from = state_str(KEY_NAME), .prefix = true}},
	};
	_state_txn_result_ struct state_txn_result r = {0};
	struct image_list l = {0};
	int rc =
	    state_txn(image_store_state(s),
		      &(struct state_txn){.then_ops = ops, .then_count = ARRAY_SIZE(ops)}, &r, e);

	if (rc)
		return rc;
	l.revision = r.revision;
	rc = list_into(&r.results[0], &r.results[1], &l, e);
	if (rc)
		image_list_done(&l);
	else
		*ret = l;
	return rc;
}

/* --- finding --- */

int record_get(struct image_store *s, const struct digest *manifest, struct image **ret,
	       int64_t *ret_revision, struct err *e)
{
	_free_ char *key = record_key(manifest);
	_state_result_ struct state_result r = {0};
	int rc = state_get(image_store_state(s), state_str(key), &r, e);

	if (!rc && !r.n)
		rc = err_set(e, ERR_IMG_NOT_FOUND, -ENOENT,
			     "there is no image with the manifest %s", key + strlen(KEY_RECORD));
	if (rc)
		return rc;
	if (ret_revision)
		*ret_revision = r.kvs[0].mod_revision;
	return record_parse(&r.kvs[0], ret, e);
}

int image_find_name(struct image_store *s, const struct reference *r, struct image **ret,
		    struct err *e)
{
	_free_ char *key = name_key(r), *shown = reference_familiar(r);
	_state_result_ struct state_result result = {0};
	struct image_name n;
	int rc = state_get(image_store_state(s), state_str(key), &result, e);

	if (!rc && !result.n)
		rc = err_set(e, ERR_IMG_NOT_FOUND, -ENOENT, "no such image: '%s'", shown);
	rc = rc ? rc : name_parse(&result.kvs[0], &n, e);
	if (rc)
		return rc;
	rc = record_get(s, &n.manifest, ret, NULL, e);
	image_name_done(&n);
	return rc;
}

/* A name with tag and digest is found by its digest, as in Docker. */
static int find_parsed(struct image_store *s, struct reference *r, struct image **ret,
		       struct err *e)
{
	if (digest_is_set(&r->digest)) {
		free(r->tag);
		r->tag = NULL;
	}
	return image_find_name(s, r, ret, e);
}

/* text as a name, below localhost/ first where it has no domain of its own. */
static int find_by_name(struct image_store *s, const char *text, struct image **ret,
			struct reference *ret_name, struct err *e)
{
	_free_ char *local = mem_printf(LOCAL_DOMAIN "%s", text);
	_reference_ struct reference plain = {0}, own = {0};
	int rc = reference_parse_tagged(text, &plain, e);

	if (rc)
		return rc;
	bool written = str_after(text, plain.domain) != NULL;

	if (!written && !reference_parse_tagged(local, &own, NULL)) {
		rc = find_parsed(s, &own, ret, e);
		if (rc != -ENOENT) {
			*ret_name = own;
			own = (struct reference){0};
			return rc;
		}
	}
	rc = find_parsed(s, &plain, ret, e);
	*ret_name = plain;
	plain = (struct reference){0};
	return rc;
}

/* The beginning of an ID, or of a manifest's digest; *n counts those that it fits. */
static void match_id(const struct image_list *l, const char *hex, size_t *ret_at, size_t *n)
{
	char text[DIGEST_HEX_MAX];
	const struct digest *first = NULL;

	*n = 0;
	vec_each (i, &l->images) {
		bool fits = str_after(digest_hex(&(*i)->id, text), hex) ||
			    str_after(digest_hex(&(*i)->manifest, text), hex);

		if (!fits)
			continue;
		/* The same image under another manifest is no second one. */
		*n += !first || !digest_eq(first, &(*i)->id);
		if (!first)
			*ret_at = (size_t)(i - l->images.v);
		first = first ? first : &(*i)->id;
	}
}

static int find_by_id(struct image_store *s, const char *text, struct image **ret, struct err *e)
{
	const char *sha = str_after(text, "sha256:");
	const char *hex = sha ? sha : text;
	_image_list_ struct image_list l = {0};
	size_t len = strlen(hex), at = 0, n;
	int rc;

	if (!len || len > 64 || strspn(hex, "0123456789abcdef") != len)
		return err_set(e, ERR_IMG_NOT_FOUND, -ENOENT, "no such image: '%s'", text);
	rc = image_list(s, &l, e);
	if (rc)
		return rc;
	match_id(&l, hex, &at, &n);
	if (!n)
		return err_set(e, ERR_IMG_NOT_FOUND, -ENOENT, "no such image: '%s'", text);
	if (n > 1)
		return err_set(e, ERR_IMG_AMBIGUOUS, -ENOTUNIQ,
			       "'%s' is the beginning of %zu images' IDs", text, n);
	*ret = STEAL(l.images.v[at]);
	return 0;
}

int image_resolve(struct image_store *s, const char *text, struct image **ret,
		  struct reference *ret_name, struct err *e)
{
	_reference_ struct reference name = {0};
	bool is_id = str_after(text, "sha256:") || strlen(text) == 64;
	int rc = is_id ? -ENOENT : find_by_name(s, text, ret, &name, e);
	struct err by_id = {0};

	if (!rc) {
		*ret_name = name;
		name = (struct reference){0};
		return 0;
	}
	if (rc != -ENOENT && rc != -EINVAL)
		return rc;
	*ret_name = (struct reference){0};
	int id_rc = find_by_id(s, text, ret, &by_id);

	if (id_rc && e && (is_id || id_rc != -ENOENT))
		*e = by_id;
	return id_rc == -ENOENT && !is_id ? rc : id_rc;
}

int image_find(struct image_store *s, const char *text, const struct platform *want,
	       struct image **ret, struct err *e)
{
	_reference_ struct reference name = {0};
	_image_ struct image *i = NULL;
	int rc = image_resolve(s, text, &i, &name, e);

	if (rc)
		return rc;
	if (want && !platform_match(want, &i->platform)) {
		_free_ char *is = platform_text(&i->platform), *wanted = platform_text(want);

		return err_set(e, ERR_IMG_NO_PLATFORM, -ENOENT,
			       "the image '%s' that is here is for %s, not for %s", text, is,
			       wanted);
	}
	*ret = STEAL(i);
	return 0;
}

int image_read_config(struct image_store *s, const struct image *i, struct image_config **ret,
		      struct err *e)
{
	_buf_ struct buf b = {0};
	int rc = blob_read(s, &i->config, CONFIG_BYTES_MAX, &b, e);

	return rc ? rc : image_config_parse(buf_str(&b), b.len, ret, e);
}

/* --- changing --- */

int record_put_with(struct image_store *s, const struct image *i, const struct image_put *puts,
		    size_t n, struct err *e)
{
	_free_ char *key = record_key(&i->manifest);
	_buf_ struct buf value = {0};
	struct state_op ops[IMAGE_PUTS_MAX + 1];
	const struct state_compare there = {
	    .key = state_str(key), .target = STATE_VERSION, .relation = STATE_GREATER};
	_state_txn_result_ struct state_txn_result r = {0};

	assert(n <= IMAGE_PUTS_MAX);
	record_format(i, &value);
	ops[0] = (struct state_op){
	    .verb = STATE_PUT, .key = state_str(key), .value = {buf_str(&value), value.len}};
	for (size_t k = 0; k < n; k++)
		ops[k + 1] = (struct state_op){.verb = STATE_PUT,
					       .key = puts[k].key,
					       .value = puts[k].value,
					       .lease = puts[k].lease};
	int rc = state_txn(
	    image_store_state(s),
	    &(struct state_txn){
		.compares = &there, .compare_count = 1, .then_ops = ops, .then_count = n + 1},
	    &r, e);

	if (!rc && !r.succeeded)
		rc = err_set(e, ERR_IMG_NOT_FOUND, -ENOENT,
			     "the image was removed by somebody else just now");
	return rc;
}

int image_tag(struct image_store *s, const struct image *i, const struct reference *name,
	      struct err *e)
{
	_free_ char *key = name_key(name);
	_buf_ struct buf value = {0};
	struct image_name n = {.manifest = i->manifest};

	name_format(&n, &value);
	struct image_put put = {state_str(key), {buf_str(&value), value.len}, 0};

	return record_put_with(s, i, &put, 1, e);
}

static char *use_key(const struct digest *manifest, const char *who)
{
	char text[DIGEST_TEXT_MAX];

	return mem_printf(KEY_USE "%s/%s", digest_text(manifest, text), who);
}

int image_use(struct image_store *s, const struct image *i, const char *who, int64_t lease,
	      struct err *e)
{
	_free_ char *key = use_key(&i->manifest, who);
	struct image_put put = {state_str(key), {NULL, 0}, lease};

	return record_put_with(s, i, &put, 1, e);
}

int image_use_end(struct image_store *s, const struct image *i, const char *who, struct err *e)
{
	_free_ char *key = use_key(&i->manifest, who);
	struct state_range r = {.from = state_str(key)};

	return state_delete(image_store_state(s), &r, NULL, NULL, e);
}

int image_users(struct image_store *s, const struct digest *manifest, char **ret, struct err *e)
{
	_free_ char *prefix = use_key(manifest, "");
	_state_result_ struct state_result r = {0};
	_buf_ struct buf b = {0};
	struct state_range range = {.from = state_str(prefix), .prefix = true, .keys_only = true};
	int rc = state_range(image_store_state(s), &range, &r, e);

	for (size_t k = 0; !rc && k < r.n; k++)
		buf_addf(&b, "%s%.*s", k ? ", " : "", (int)(r.kvs[k].key.len - strlen(prefix)),
			 (const char *)r.kvs[k].key.p + strlen(prefix));
	if (!rc)
		*ret = buf_take(&b);
	return rc;
}
