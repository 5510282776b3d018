#include "disk/optstr.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"

#include <string.h>

/* Appends one value up to its end, which is a comma that is not doubled. Returns what follows it. */
static const char *take_value(const char *p, struct buf *value)
{
	for (; *p; p++) {
		if (*p == ',' && *++p != ',')
			return p;
		buf_addc(value, *p);
	}
	return p;
}

int optstr_parse(const char *text, const char *implied, json_t **ret, struct err *e)
{
	json_t *options = json_object();
	size_t count = 0;

	for (const char *p = text; *p;) {
		size_t n = strcspn(p, "=,");
		_free_ char *key = NULL;
		_buf_ struct buf value = {0};

		if (p[n] == '=') {
			key = mem_strndup(p, n);
			p = take_value(p + n + 1, &value);
		} else if (implied && p == text) {
			key = mem_strdup(implied);
			p = take_value(p, &value);
		} else {
			key = mem_strndup(p, n);
			buf_adds(&value, "on");
			p += n + (p[n] == ',');
		}
		if (!*key || ++count > OPTSTR_KEYS_MAX ||
		    json_object_set_new(options, key, json_string(buf_str(&value)))) {
			json_decref(options);
			return err_set(e, ERR_USAGE, -EINVAL, "Invalid option list: %.400s", text);
		}
	}
	*ret = options;
	return 0;
}

bool optstr_wants_help(const char *text)
{
	for (const char *p = text; *p;) {
		_buf_ struct buf word = {0};

		p = take_value(p, &word);
		if (str_eq(buf_str(&word), "help") || str_eq(buf_str(&word), "?"))
			return true;
	}
	return false;
}

bool optstr_malformed(const char *text)
{
	size_t len = strlen(text), commas = 0;

	while (commas < len && text[len - 1 - commas] == ',')
		commas++;
	return !len || text[0] == ',' || commas % 2;
}

void optstr_escape(struct buf *b, const char *value)
{
	for (; *value; value++) {
		if (*value == ',')
			buf_addc(b, ',');
		buf_addc(b, *value);
	}
}

/* Copies one literal: 'a "b"' becomes "a \"b\"". Returns what follows. */
static const char *requote_literal(const char *p, struct buf *b)
{
	char quote = *p++;

	buf_addc(b, '"');
	for (; *p && *p != quote; p++) {
		if (*p == '\\' && p[1] == '\'') {
			buf_addc(b, *++p);
		} else if (*p == '\\' && p[1]) {
			buf_add(b, p++, 2);
		} else {
			buf_adds(b, *p == '"' ? "\\" : "");
			buf_addc(b, *p);
		}
	}
	if (!*p)
		return p;
	buf_addc(b, '"');
	return p + 1;
}

void optstr_requote(struct buf *b, const char *json)
{
	while (*json) {
		if (*json == '\'' || *json == '"')
			json = requote_literal(json, b);
		else
			buf_addc(b, *json++);
	}
}
