#include "disk/opts.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"

/* With QEMU's hint, which its users know. */
#define NON_NEGATIVE                                                                   \
	"a non-negative number below 2^64\n"                                           \
	"Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\n" \
	"and exabytes, respectively."

static int wrong(struct err *e, const char *key, const char *expects)
{
	return err_set(e, ERR_DISK_OPTION, -EINVAL, "Parameter '%s' expects %s", key, expects);
}

/* --- sizes --- */

/* The power of 1024 that the letter stands for, or -1. */
static int unit_power(char unit)
{
	static const char units[] = "bkmgtpe";
	const char *p = unit ? strchr(units, tolower((unsigned char)unit)) : NULL;

	return p ? (int)(p - units) : -1;
}

int disk_size_parse(const char *s, char default_unit, uint64_t *ret_bytes)
{
	char *end;

	if (!isdigit((unsigned char)*s) && *s != '.')
		return -EINVAL;
	bool hex = s[0] == '0' && (s[1] == 'x' || s[1] == 'X');
	errno = 0;
	uint64_t whole = strtoull(s, &end, hex ? 16 : 10);

	if (errno || (end == s && *s != '.'))
		return errno ? -ERANGE : -EINVAL;
	double fraction = 0;

	if (*end == '.' && !hex) {
		const char *dot = end;

		fraction = strtod(dot, &end);
		if (end == dot || !isdigit((unsigned char)end[-1]) || strpbrk(dot, "eE") == end)
			return -EINVAL;
	}
	int power = unit_power(*end ? *end : default_unit);

	if (power < 0 || (*end && end[1]) || (power == 0 && fraction > 0))
		return -EINVAL;
	uint64_t factor = 1ull << (10 * power), bytes;

	if (__builtin_mul_overflow(whole, factor, &bytes) ||
	    __builtin_add_overflow(bytes, (uint64_t)(fraction * (double)factor), &bytes))
		return -ERANGE;
	*ret_bytes = bytes;
	return 0;
}

/* --- taking values out --- */

/* The value, owned, or NULL. */
static json_t *take(json_t *o, const char *key)
{
	json_t *v = json_object_get(o, key);

	if (!v)
		return NULL;
	json_incref(v);
	json_object_del(o, key);
	return v;
}

static void drop(json_t **v)
{
	json_decref(*v);
}
#define _json_ _cleanup_(drop)

static int to_bool(const json_t *v, bool *ret_value)
{
	static const char *const yes[] = {"on", "yes", "true", "y"}, *const no[] = {"off", "no",
										    "false", "n"};

	if (json_is_boolean(v)) {
		*ret_value = json_is_true(v);
		return 0;
	}
	const char *s = json_string_value(v);

	for (size_t i = 0; s && i < ARRAY_SIZE(yes); i++) {
		if (str_eq(s, yes[i]) || str_eq(s, no[i])) {
			*ret_value = str_eq(s, yes[i]);
			return 0;
		}
	}
	return -EINVAL;
}

static int to_u64(const json_t *v, uint64_t *ret_value)
{
	if (json_is_integer(v)) {
		if (json_integer_value(v) < 0)
			return -EINVAL;
		*ret_value = (uint64_t)json_integer_value(v);
		return 0;
	}
	return json_is_string(v) ? str_to_u64(json_string_value(v), ret_value) : -EINVAL;
}

static int to_size(const json_t *v, uint64_t *ret_bytes)
{
	return json_is_string(v) ? disk_size_parse(json_string_value(v), 'b', ret_bytes)
				 : to_u64(v, ret_bytes);
}

int disk_opts_take_str(json_t *o, const char *key, char **ret_value, struct err *e)
{
	_json_ json_t *v = take(o, key);

	if (!v)
		return 0;
	if (json_is_integer(v))
		*ret_value = mem_printf("%lld", (long long)json_integer_value(v));
	else if (json_is_string(v))
		*ret_value = mem_strdup(json_string_value(v));
	else
		return wrong(e, key, "a string");
	return 1;
}

int disk_opts_take_bool(json_t *o, const char *key, bool *ret_value, struct err *e)
{
	_json_ json_t *v = take(o, key);

	if (!v)
		return 0;
	return to_bool(v, ret_value) < 0 ? wrong(e, key, "'on' or 'off'") : 1;
}

int disk_opts_take_u64(json_t *o, const char *key, uint64_t *ret_value, struct err *e)
{
	_json_ json_t *v = take(o, key);

	if (!v)
		return 0;
	return to_u64(v, ret_value) < 0 ? wrong(e, key, "a number") : 1;
}

int disk_opts_take_size(json_t *o, const char *key, uint64_t *ret_bytes, struct err *e)
{
	_json_ json_t *v = take(o, key);

	if (!v)
		return 0;
	return to_size(v, ret_bytes) < 0 ? wrong(e, key, NON_NEGATIVE) : 1;
}

int disk_opts_take_enum(json_t *o, const char *key, const char *const *names, unsigned *ret_index,
			struct err *e)
{
	_free_ char *s = NULL;
	int rc = disk_opts_take_str(o, key, &s, e);

	if (rc <= 0)
		return rc;
	for (unsigned i = 0; names[i]; i++) {
		if (str_eq(names[i], s)) {
			*ret_index = i;
			return 1;
		}
	}
	return err_set(e, ERR_DISK_OPTION, -EINVAL, "Invalid parameter '%s' for '%s'", s, key);
}

int disk_opts_take_object(json_t *o, const char *key, json_t **ret_object, struct err *e)
{
	json_t *v = take(o, key);

	if (!v)
		return 0;
	if (!json_is_object(v)) {
		json_decref(v);
		return wrong(e, key, "an object, not the name of a node");
	}
	*ret_object = v;
	return 1;
}

/* --- dotted keys --- */

/* Puts value at the dotted key, making objects on the way. */
static int put_nested(json_t *root, const char *key, json_t *value, struct err *e)
{
	for (;;) {
		const char *dot = strchr(key, '.');

		if (!dot) {
			json_t *old = json_object_get(root, key);

			if (json_is_object(old) && json_is_object(value))
				return json_object_update_missing(old, value);
			return json_object_set(root, key, value);
		}
		_free_ char *part = mem_strndup(key, (size_t)(dot - key));
		json_t *child = json_object_get(root, part);

		if (!child) {
			child = json_object();
			json_object_set_new(root, part, child);
		}
		if (!json_is_object(child))
			return err_set(e, ERR_DISK_OPTION, -EINVAL,
				       "'%s' is a value and a prefix of other keys", part);
		root = child;
		key = dot + 1;
	}
}

/* {"0": a, "1": b} becomes [a, b], all the way down. Returns owned. */
static json_t *with_arrays(json_t *o)
{
	const char *key;
	json_t *v;
	void *next;

	if (!json_is_object(o))
		return json_incref(o);
	json_object_foreach_safe(o, next, key, v) json_object_set_new(o, key, with_arrays(v));
	size_t n = json_object_size(o);
	json_t *array = n ? json_array() : NULL;

	for (size_t i = 0; array && i < n; i++) {
		char name[24];

		snprintf(name, sizeof(name), "%zu", i);
		v = json_object_get(o, name);
		if (!v) {
			json_decref(array);
			array = NULL;
		} else {
			json_array_append(array, v);
		}
	}
	return array ? array : json_incref(o);
}

int disk_opts_nest(const json_t *flat, json_t **ret_nested, struct err *e)
{
	_json_ json_t *root = json_object();
	const char *key;
	json_t *v;

	json_object_foreach ((json_t *)flat, key, v) {
		_json_ json_t *copy = json_deep_copy(v);
		int rc = put_nested(root, key, copy, e);

		if (rc < 0)
			return rc;
	}
	*ret_nested = with_arrays(root);
	return 0;
}

/* --- creation options --- */

static const char *nearest(const char *key, const struct disk_opt *table)
{
	const char *best = NULL;
	unsigned best_distance = 3;

	for (; table->name; table++) {
		unsigned d = str_distance(key, table->name, 3);

		if (d < best_distance) {
			best = table->name;
			best_distance = d;
		}
	}
	return best;
}

static int check_one(json_t *o, const char *key, json_t *v, const struct disk_opt *row,
		     struct err *e)
{
	uint64_t n;
	bool b;

	switch (row->type) {
	case DISK_OPT_STRING:
		return json_is_string(v) ? 0 : wrong(e, key, "a string");
	case DISK_OPT_BOOL:
		if (to_bool(v, &b) < 0)
			return wrong(e, key, "'on' or 'off'");
		return json_object_set_new(o, key, json_boolean(b));
	case DISK_OPT_NUMBER:
		if (to_u64(v, &n) < 0)
			return wrong(e, key, "a number");
		break;
	case DISK_OPT_SIZE:
		if (to_size(v, &n) < 0)
			return wrong(e, key, NON_NEGATIVE);
		break;
	}
	if (n > INT64_MAX)
		return wrong(e, key, "a number below 2^63");
	return json_object_set_new(o, key, json_integer((json_int_t)n));
}

int disk_opts_check(json_t *o, const struct disk_opt *table, struct err *e)
{
	const char *key;
	json_t *v;
	void *next;

	json_object_foreach_safe(o, next, key, v)
	{
		const struct disk_opt *row = table;

		while (row->name && !str_eq(row->name, key))
			row++;
		if (!row->name) {
			const char *near = nearest(key, table);

			return near ? err_set(e, ERR_DISK_OPTION, -EINVAL,
					      "Invalid parameter '%s' (did you mean '%s'?)", key,
					      near)
				    : err_set(e, ERR_DISK_OPTION, -EINVAL, "Invalid parameter '%s'",
					      key);
		}
		int rc = check_one(o, key, v, row, e);

		if (rc < 0)
			return rc;
	}
	return 0;
}
