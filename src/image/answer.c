#include "image/answer.h"

#include <curl/curl.h>
#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/template.h"

/* --- bodies --- */

static bool is_token(const char *s)
{
	size_t n = 0;

	while (s[n] > ' ' && s[n] < 0x7f)
		n++;
	return n && n <= ANSWER_TOKEN_MAX && !s[n];
}

int answer_token(const char *text, size_t len, char **ret_token, char **ret_refresh)
{
	_json_ json_t *v = json_loadb(text, len, 0, NULL);
	const char *token = json_string_value(json_object_get(v, "token"));
	const char *refresh = json_string_value(json_object_get(v, "refresh_token"));

	if (!token || !*token)
		token = json_string_value(json_object_get(v, "access_token"));
	if (!token || !is_token(token))
		return -EBADMSG;
	*ret_token = mem_strdup(token);
	if (ret_refresh && refresh && is_token(refresh))
		*ret_refresh = mem_strdup(refresh);
	return 0;
}

char *answer_error(const char *text, size_t len)
{
	_json_ json_t *v = json_loadb(text, len, 0, NULL);
	const json_t *first = json_array_get(json_object_get(v, "errors"), 0);
	const char *code = json_string_value(json_object_get(first, "code"));
	const char *message = json_string_value(json_object_get(first, "message"));

	if (!code && !message)
		return NULL;
	char *said = mem_printf("%.60s%s%.200s", code ? code : "", code && message ? ": " : "",
				message ? message : "");

	for (char *c = said; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = ' ';
	return said;
}

int answer_names(const char *text, size_t len, const char *field, size_t *count,
		 int (*fn)(const char *name, void *arg), void *arg)
{
	_json_ json_t *v = json_loadb(text, len, 0, NULL);
	json_t *list = json_object_get(v, field), *item;
	size_t i;

	if (json_is_null(list)) /* an empty list of Go's */
		return 0;
	if (!json_is_array(list))
		return -EBADMSG;
	json_array_foreach (list, i, item) {
		if (!json_is_string(item))
			return -EBADMSG;
		if (++*count > ANSWER_NAMES_MAX)
			return -E2BIG;
		int rc = fn(json_string_value(item), arg);

		if (rc)
			return rc;
	}
	return 0;
}

/* --- headers --- */

char *answer_location(const char *text, const char *base)
{
	char *url = NULL, *result = NULL;
	CURLU *u = curl_url();

	if (u && !curl_url_set(u, CURLUPART_URL, base, 0) &&
	    !curl_url_set(u, CURLUPART_URL, text, 0) && !curl_url_get(u, CURLUPART_URL, &url, 0))
		result = mem_strdup(url);
	curl_free(url);
	curl_url_cleanup(u);
	return result;
}

char *answer_next_page(const char *link, const char *base)
{
	const char *end = *link == '<' ? strchr(link, '>') : NULL;

	if (!end || !strstr(end, "next"))
		return NULL;
	_free_ char *target = mem_strndup(link + 1, (size_t)(end - link) - 1);

	return answer_location(target, base);
}

/* Digits up to one of these characters; what follows it goes to *ret_rest. */
static int number_until(const char *text, const char *ends, uint64_t *ret, const char **ret_rest)
{
	size_t n = strspn(text, "0123456789");
	_free_ char *digits = mem_strndup(text, n);

	if (!strchr(ends, text[n]) || str_to_u64(digits, ret))
		return -EBADMSG;
	*ret_rest = text + n + (text[n] ? 1 : 0);
	return 0;
}

int answer_content_range(const char *text, uint64_t *ret_start)
{
	const char *rest = str_after(text, "bytes ");

	return rest && strchr(rest, '-') ? number_until(rest, "-", ret_start, &rest) : -EBADMSG;
}

int answer_upload_range(const char *text, uint64_t *ret_bytes)
{
	const char *range = str_after(text, "bytes="),
		   *rest = str_after(range ? range : text, "0-");
	uint64_t last;

	if (!rest || number_until(rest, "", &last, &rest) || *rest || last == UINT64_MAX)
		return -EBADMSG;
	*ret_bytes = last ? last + 1 : 0;
	return 0;
}
