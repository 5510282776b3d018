#include "image/document.h"

#include "base/mem.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int document_error(struct err *e, const char *fmt, ...)
{
	char why[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	return err_set(e, ERR_IMG_MANIFEST, -EBADMSG, "%s", why);
}

int document_load(const void *p, size_t len, size_t max_bytes, const char *what, json_t **ret,
		  struct err *e)
{
	json_error_t at;

	if (len > max_bytes)
		return document_error(e, "the %s has %zu bytes, more than %zu", what, len,
				      max_bytes);
	json_t *v = json_loadb(p, len, JSON_REJECT_DUPLICATES, &at);

	if (!v)
		return document_error(e, "the %s is no JSON: %s in line %d, column %d", what,
				      at.text, at.line, at.column);
	if (!json_is_object(v)) {
		json_decref(v);
		return document_error(e, "the %s is no JSON object", what);
	}
	*ret = v;
	return 0;
}

static const char *type_name(json_type type)
{
	return type == JSON_OBJECT   ? "an object"
	       : type == JSON_ARRAY  ? "an array"
	       : type == JSON_STRING ? "a string"
				     : "a whole number";
}

int document_get(const json_t *object, const char *key, json_type type, json_t **ret, struct err *e)
{
	json_t *v = json_object_get(object, key);

	if (json_is_null(v))
		v = NULL;
	if (v && json_typeof(v) != type)
		return document_error(e, "'%s' is not %s", key, type_name(type));
	*ret = v;
	return 0;
}

int document_string(const json_t *object, const char *key, char **ret, struct err *e)
{
	json_t *v = NULL;
	int rc = document_get(object, key, JSON_STRING, &v, e);

	if (rc)
		return rc;
	if (v && json_string_length(v) > DOCUMENT_STRING_MAX)
		return document_error(e, "'%s' has more than %u bytes", key, DOCUMENT_STRING_MAX);
	*ret = mem_strdup(v ? json_string_value(v) : "");
	return 0;
}

int document_size(const json_t *object, const char *key, uint64_t *ret, struct err *e)
{
	json_t *v = NULL;
	int rc = document_get(object, key, JSON_INTEGER, &v, e);

	if (rc)
		return rc;
	if (!v || json_integer_value(v) < 0)
		return document_error(e, "'%s' is %s", key, v ? "negative" : "missing");
	*ret = (uint64_t)json_integer_value(v);
	return 0;
}

int document_digest(const json_t *object, const char *key, struct digest *ret, struct err *e)
{
	json_t *v = NULL;
	int rc = document_get(object, key, JSON_STRING, &v, e);

	if (rc)
		return rc;
	if (!v)
		return document_error(e, "'%s' is missing", key);
	rc = digest_parse(json_string_value(v), ret);
	if (rc)
		return document_error(e, "'%s' %s: '%.160s'", key,
				      rc == -EOPNOTSUPP ? "has an algorithm that is not known here"
							: "is no digest",
				      json_string_value(v));
	return 0;
}

int document_strings(const json_t *object, const char *key, json_t **ret, struct err *e)
{
	json_t *v = NULL, *member;
	const char *name;
	int rc = document_get(object, key, JSON_OBJECT, &v, e);

	if (rc)
		return rc;
	json_object_foreach (v, name, member)
		if (!json_is_string(member))
			return document_error(e, "'%s' in '%s' is no string", name, key);
	*ret = json_incref(v);
	return 0;
}
