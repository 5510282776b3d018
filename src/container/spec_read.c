#include "container/spec_int.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

static size_t path_of(const struct spec_at *at, char *buf, size_t size)
{
	if (!at)
		return 0;
	size_t len = path_of(at->up, buf, size);
	int n = at->key ? snprintf(buf + len, size - len, len ? ".%s" : "%s", at->key)
			: snprintf(buf + len, size - len, "[%zu]", at->index);

	return n > 0 && (size_t)n < size - len ? len + (size_t)n : size - 1;
}

int spec_fail(struct spec_reader *r, const struct spec_at *at, const char *key, const char *fmt,
	      ...)
{
	char path[256] = "", msg[ERR_MSG_MAX / 2];
	struct spec_at member = {at, key, 0};
	va_list ap;

	path_of(key ? &member : at, path, sizeof(path));
	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	return err_set(r->e, ERR_SPEC_VALUE, -EINVAL, "%s: %s%s%s", r->doc, path, *path ? ": " : "",
		       msg);
}

static const char *type_name(const json_t *v)
{
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "a list";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
		return "a number";
	case JSON_REAL:
		return "a fraction";
	case JSON_TRUE:
	case JSON_FALSE:
		return "a boolean";
	default:
		return "null";
	}
}

static int expected(struct spec_reader *r, const struct spec_at *at, const char *what,
		    const json_t *v)
{
	return spec_fail(r, at, NULL, "expected %s, got %s", what, type_name(v));
}

static int expect_count(struct spec_reader *r, const struct spec_at *at, size_t n)
{
	if (n > SPEC_LIST_MAX)
		return spec_fail(r, at, NULL, "%zu elements; the most is %u", n, SPEC_LIST_MAX);
	return 0;
}

int spec_expect_list(struct spec_reader *r, const struct spec_at *at, const json_t *v)
{
	return json_is_array(v) ? expect_count(r, at, json_array_size(v))
				: expected(r, at, "a list", v);
}

int spec_expect_map(struct spec_reader *r, const struct spec_at *at, const json_t *v)
{
	return json_is_object(v) ? expect_count(r, at, json_object_size(v))
				 : expected(r, at, "an object", v);
}

const struct spec_name *spec_name_find(const struct spec_name *names, const char *name)
{
	while (names->name && !str_eq(names->name, name))
		names++;
	return names->name ? names : NULL;
}

static void store(void *p, size_t size, uint64_t value)
{
	switch (size) {
	case 1:
		*(uint8_t *)p = (uint8_t)value;
		break;
	case 2:
		*(uint16_t *)p = (uint16_t)value;
		break;
	case 4:
		*(uint32_t *)p = (uint32_t)value;
		break;
	default:
		*(uint64_t *)p = value;
	}
}

static uint64_t load(const void *p, size_t size)
{
	return size == 4 ? *(const uint32_t *)p : *(const uint64_t *)p;
}

/* An integer beyond INT64_MAX, where jansson ends: spec.c turned it into a string of digits. */
static bool is_wide(const json_t *v, uint64_t *ret)
{
	return json_is_string(v) && !str_to_u64(json_string_value(v), ret) && *ret > INT64_MAX;
}

static int read_uint(struct spec_reader *r, const struct spec_at *at, const struct spec_field *f,
		     const json_t *v, void *p)
{
	uint64_t min = (uint64_t)f->min, value = 0;
	uint64_t max = f->max ? (uint64_t)f->max : UINT64_MAX >> (64 - 8 * f->size);
	bool wide = is_wide(v, &value);

	if (!wide && !json_is_integer(v))
		return expected(r, at, "a number", v);
	if (!wide)
		value = (uint64_t)json_integer_value(v);
	if ((!wide && json_integer_value(v) < 0) || value < min || value > max)
		return spec_fail(r, at, NULL, "out of range: %" PRIu64 " to %" PRIu64, min, max);
	store(p, f->size, value);
	return 0;
}

static int read_int(struct spec_reader *r, const struct spec_at *at, const struct spec_field *f,
		    const json_t *v, void *p)
{
	int64_t max = f->size == 4 ? INT32_MAX : INT64_MAX, min = -max - 1;
	uint64_t unused;
	bool wide = is_wide(v, &unused);

	if (f->max) {
		min = f->min;
		max = f->max;
	}
	if (!wide && !json_is_integer(v))
		return expected(r, at, "a number", v);
	if (wide || json_integer_value(v) < min || json_integer_value(v) > max)
		return spec_fail(r, at, NULL, "out of range: %" PRId64 " to %" PRId64, min, max);
	store(p, f->size, (uint64_t)json_integer_value(v));
	return 0;
}

static int read_strv(struct spec_reader *r, const struct spec_at *at, const json_t *v, char ***ret)
{
	int rc = spec_expect_list(r, at, v);

	if (rc < 0)
		return rc;
	size_t n = json_array_size(v);
	char **strv = spec_alloc(r->s, n + 1, sizeof(*strv));

	for (size_t i = 0; i < n; i++) {
		const json_t *item = json_array_get(v, i);

		if (!json_is_string(item))
			return expected(r, &(struct spec_at){at, NULL, i}, "a string", item);
		strv[i] = spec_strdup(r->s, json_string_value(item));
	}
	*ret = strv;
	return 0;
}

static int read_name(struct spec_reader *r, const struct spec_at *at, const struct spec_field *f,
		     const json_t *v, uint64_t *ret)
{
	if (!json_is_string(v))
		return expected(r, at, "a string", v);
	const struct spec_name *n = spec_name_find(f->names, json_string_value(v));

	if (!n)
		return spec_fail(r, at, NULL, "unknown value '%s'", json_string_value(v));
	*ret = n->value;
	return 0;
}

static int read_flags(struct spec_reader *r, const struct spec_at *at, const struct spec_field *f,
		      const json_t *v, void *p)
{
	uint64_t bits = 0, bit = 0;
	int rc = spec_expect_list(r, at, v);

	for (size_t i = 0; !rc && i < json_array_size(v); i++) {
		struct spec_at item = {at, NULL, i};

		rc = read_name(r, &item, f, json_array_get(v, i), &bit);
		if (!rc)
			bits |= bit;
	}
	if (!rc)
		store(p, f->size, load(p, f->size) | bits);
	return rc;
}

static int read_kv(struct spec_reader *r, const struct spec_at *at, const struct spec_field *f,
		   const json_t *v, void *base)
{
	int rc = spec_expect_map(r, at, v);

	if (rc < 0)
		return rc;
	struct spec_kv *kv = spec_alloc(r->s, json_object_size(v), sizeof(*kv));
	size_t n = 0;
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)v, key, value) {
		if (!*key)
			return spec_fail(r, at, NULL, "an empty key");
		if (!json_is_string(value))
			return expected(r, &(struct spec_at){at, key, 0}, "a string", value);
		kv[n].key = spec_strdup(r->s, key);
		kv[n++].value = spec_strdup(r->s, json_string_value(value));
	}
	*(struct spec_kv **)((char *)base + f->off) = kv;
	*(size_t *)((char *)base + f->count) = n;
	return 0;
}

static int read_list(struct spec_reader *r, const struct spec_at *at, const struct spec_field *f,
		     const json_t *v, void *base)
{
	int rc = spec_expect_list(r, at, v);

	if (rc < 0)
		return rc;
	size_t n = json_array_size(v);
	char *array = spec_alloc(r->s, n, f->elem->size);

	for (size_t i = 0; i < n; i++) {
		struct spec_at item = {at, NULL, i};

		rc = spec_read(r, &item, f->elem, json_array_get(v, i), array + i * f->elem->size);
		if (rc < 0)
			return rc;
	}
	*(void **)((char *)base + f->off) = array;
	*(size_t *)((char *)base + f->count) = n;
	return 0;
}

static int read_scalar(struct spec_reader *r, const struct spec_at *at, const struct spec_field *f,
		       const json_t *v, void *p)
{
	uint64_t value = 0;
	int rc;

	switch (f->kind) {
	case K_BOOL:
		if (!json_is_boolean(v))
			return expected(r, at, "a boolean", v);
		*(bool *)p = json_is_true(v);
		return 0;
	case K_UINT:
		return read_uint(r, at, f, v, p);
	case K_INT:
		return read_int(r, at, f, v, p);
	case K_NAME:
		rc = read_name(r, at, f, v, &value);
		if (!rc)
			store(p, f->size, value);
		return rc;
	default:
		if (!json_is_string(v))
			return expected(r, at, "a string", v);
		*(char **)p = spec_strdup(r->s, json_string_value(v));
		return 0;
	}
}

int spec_read(struct spec_reader *r, const struct spec_at *at, const struct spec_field *f,
	      const json_t *v, void *base)
{
	void *p = (char *)base + f->off;

	switch (f->kind) {
	case K_STRV:
		return read_strv(r, at, v, p);
	case K_FLAGS:
		return read_flags(r, at, f, v, p);
	case K_KV:
		return read_kv(r, at, f, v, base);
	case K_OBJ:
		return spec_read_object(r, at, f->obj, v, p);
	case K_LIST:
		return read_list(r, at, f, v, base);
	case K_FN:
		return f->fn(r, at, v, base);
	default:
		return read_scalar(r, at, f, v, p);
	}
}

/* Programs in Go write null, or "" for a string, for what is not given. */
static bool is_nothing(const struct spec_field *f, const json_t *v)
{
	bool string = (f->kind == K_STR || f->kind == K_NAME) && !f->required;

	return json_is_null(v) || (string && json_is_string(v) && !json_string_length(v));
}

int spec_read_object(struct spec_reader *r, const struct spec_at *at, const struct spec_object *o,
		     const json_t *v, void *base)
{
	if (!json_is_object(v))
		return expected(r, at, "an object", v);
	for (const struct spec_field *f = o->fields; f->key; f++) {
		const json_t *value = json_object_get(v, f->key);
		struct spec_at member = {at, f->key, 0};

		if (!value || is_nothing(f, value)) {
			if (f->required)
				return spec_fail(r, &member, NULL, "missing");
			continue;
		}
		int rc = spec_read(r, &member, f, value, base);

		if (rc < 0)
			return rc;
		if (f->has)
			*(bool *)((char *)base + f->has - 1) = true;
		if (f->bit)
			((struct spec_resources *)base)->has |= f->bit;
	}
	return o->check ? o->check(r, at, v, base) : 0;
}

bool spec_is_cpu_list(const char *s)
{
	for (;;) {
		unsigned long first, last;
		char *end;

		if (*s < '0' || *s > '9')
			return false;
		first = last = strtoul(s, &end, 10);
		if (*end == '-') {
			s = end + 1;
			if (*s < '0' || *s > '9')
				return false;
			last = strtoul(s, &end, 10);
		}
		if (first > last || last > 65535)
			return false;
		if (!*end)
			return true;
		if (*end != ',')
			return false;
		s = end + 1;
	}
}
