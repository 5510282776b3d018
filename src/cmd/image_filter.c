/* Filters of `images` and `image prune`: of one kind any may hold, of several kinds all must
 * (Docker). Labels are asked of the configuration, which is read only then. */
#include "cmd/image.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/human.h"

#include <errno.h>
#include <fnmatch.h>
#include <string.h>
#include <time.h>

enum filter_kind {
	FILTER_DANGLING,
	FILTER_LABEL,
	FILTER_NOT_LABEL,
	FILTER_BEFORE,
	FILTER_SINCE,
	FILTER_REFERENCE,
	FILTER_UNTIL,
	FILTER_COUNT
};

static const char *const names[] = {"dangling", "label",     "label!", "before",
				    "since",    "reference", "until"};

struct condition {
	enum filter_kind kind;
	char *text;   /* label, reference */
	bool value;   /* dangling */
	int64_t time; /* before, since, until */
};

struct image_filter {
	struct image_store *store; /* borrowed */
	VEC(struct condition) conditions;
};

void image_filter_free(struct image_filter *f)
{
	if (!f)
		return;
	vec_each (k, &f->conditions)
		free(k->text);
	vec_done(&f->conditions);
	free(f);
}

static int malformed(const char *text, const char *why, struct err *e)
{
	return err_set(e, ERR_USAGE, -EINVAL, "the filter '%s' %s", text, why);
}

static int created_of(struct image_store *s, const char *text, int64_t *ret_s, struct err *e)
{
	_image_ struct image *i = NULL;
	int rc = image_find(s, text, NULL, &i, e);

	if (rc)
		return rc;
	if (!image_created_s(i, ret_s))
		*ret_s = i->added;
	return 0;
}

/* A duration back from now ("24h"), seconds since 1970, or RFC 3339. */
static int parse_until(const char *text, const char *value, int64_t *ret_s, struct err *e)
{
	static const struct {
		char unit;
		int64_t seconds;
	} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
	size_t n = strlen(value);
	int64_t count;

	if (!human_parse_time(value, ret_s) || !str_to_i64(value, ret_s))
		return 0;
	_free_ char *number = mem_strndup(value, n ? n - 1 : 0);

	for (size_t k = 0; n && k < ARRAY_SIZE(units); k++)
		if (value[n - 1] == units[k].unit && !str_to_i64(number, &count) && count >= 0 &&
		    count < INT32_MAX) {
			*ret_s = time(NULL) - count * units[k].seconds;
			return 0;
		}
	return malformed(text, "has neither a duration (24h) nor a time (RFC 3339)", e);
}

static int parse_value(struct image_filter *f, const char *text, const char *value,
		       struct condition *c, struct err *e)
{
	switch (c->kind) {
	case FILTER_DANGLING:
		c->value = str_eq(value, "true") || str_eq(value, "1");
		if (!c->value && !str_eq(value, "false") && !str_eq(value, "0"))
			return malformed(text, "is neither true nor false", e);
		return 0;
	case FILTER_BEFORE:
	case FILTER_SINCE:
		return created_of(f->store, value, &c->time, e);
	case FILTER_UNTIL:
		return parse_until(text, value, &c->time, e);
	default:
		c->text = mem_strdup(value);
		return 0;
	}
}

static int add(struct image_filter *f, const char *text, struct err *e)
{
	const char *value = strchr(text, '=');
	size_t len = value ? (size_t)(value - text) : 0;
	struct condition c = {.kind = FILTER_COUNT};

	if (!value)
		return malformed(text, "is not KEY=VALUE", e);
	for (int k = 0; k < FILTER_COUNT; k++)
		if (strlen(names[k]) == len && !memcmp(names[k], text, len))
			c.kind = (enum filter_kind)k;
	if (c.kind == FILTER_COUNT)
		return malformed(
		    text, "is of no known kind (dangling, label, before, since, reference, until)",
		    e);
	int rc = parse_value(f, text, value + 1, &c, e);

	if (!rc)
		vec_push(&f->conditions, c);
	return rc;
}

int image_filter_new(struct image_store *s, char *const *texts, struct image_filter **ret,
		     struct err *e)
{
	_image_filter_ struct image_filter *f = mem_alloc(sizeof(*f));
	int rc = 0;

	f->store = s;
	for (; !rc && *texts; texts++)
		rc = add(f, *texts, e);
	if (!rc)
		*ret = STEAL(f);
	return rc;
}

/* "key" or "key=value" */
static bool has_label(const struct image_config *c, const char *label)
{
	size_t len = strcspn(label, "=");
	_free_ char *key = mem_strndup(label, len);
	const json_t *v = json_object_get(json_object_get(c->config, "Labels"), key);

	return v && (!label[len] ||
		     (json_is_string(v) && str_eq(json_string_value(v), label + len + 1)));
}

/* The pattern fits "debian:12", "debian", or the name in full (Docker's FamiliarMatch). */
static bool fits(const struct reference *name, const char *pattern)
{
	if (!name)
		return false;
	_free_ char *familiar = reference_familiar(name), *whole = reference_canonical(name),
		    *repository = reference_familiar_repository(name);

	return !fnmatch(pattern, familiar, FNM_PATHNAME) ||
	       !fnmatch(pattern, repository, FNM_PATHNAME) ||
	       !fnmatch(pattern, whole, FNM_PATHNAME);
}

static bool holds(const struct condition *k, const struct image *i, const struct image_config *c,
		  const struct reference *name, bool dangling)
{
	int64_t created = i->added;

	image_created_s(i, &created);
	switch (k->kind) {
	case FILTER_DANGLING:
		return k->value == dangling;
	case FILTER_LABEL:
		return c && has_label(c, k->text);
	case FILTER_NOT_LABEL:
		return !c || !has_label(c, k->text);
	case FILTER_BEFORE:
	case FILTER_UNTIL:
		return created < k->time;
	case FILTER_SINCE:
		return created > k->time;
	default:
		return fits(name, k->text);
	}
}

int image_filter_match(struct image_filter *f, const struct image *i, const struct reference *name,
		       bool dangling, bool *ret_match, struct err *e)
{
	_image_config_ struct image_config *c = NULL;
	bool asked[FILTER_COUNT] = {0}, held[FILTER_COUNT] = {0}, all[FILTER_COUNT];
	bool labels = false;

	vec_each (k, &f->conditions)
		labels |= k->kind == FILTER_LABEL || k->kind == FILTER_NOT_LABEL;
	int rc = labels && !image_is_artifact(i) ? image_read_config(f->store, i, &c, e) : 0;

	if (rc)
		return rc;
	memset(all, true, sizeof(all));
	vec_each (k, &f->conditions) {
		bool yes = holds(k, i, c, name, dangling);

		asked[k->kind] = true;
		held[k->kind] |= yes;
		all[k->kind] &= yes;
	}
	bool match = true;

	/* Labels must all be there; of everything else one is enough. */
	for (int k = 0; k < FILTER_COUNT; k++)
		if (asked[k])
			match &= k == FILTER_LABEL || k == FILTER_NOT_LABEL ? all[k] : held[k];
	*ret_match = match;
	return 0;
}
