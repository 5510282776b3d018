/* Lists that come in pages: tags of a repository, repositories of a registry (distribution-spec 1.1,
 * "Listing Tags"; the catalog is Docker's extension), and Docker Hub's search. */
#include <curl/curl.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/template.h"
#include "image/registry_int.h"

#define PAGE 1000

struct listing {
	const char *what, *field; /* "tags" */
	int (*fn)(const char *name, void *arg);
	void *arg;
	size_t count;
};

static int read_page(struct repository *p, struct http_transfer *t, struct listing *l,
		     struct err *e)
{
	const struct buf *body = http_body(t);
	_json_ json_t *v = json_loadb(buf_str(body), body->len, 0, NULL);
	json_t *list = json_object_get(v, l->field), *item;
	size_t i;

	if (json_is_null(list)) /* Go's empty slice */
		return 0;
	if (!json_is_array(list))
		return err_set(e, ERR_REG_PROTOCOL, -EPROTO, "registry '%s': %s: no list of %s",
			       p->domain, l->what, l->field);
	json_array_foreach (list, i, item) {
		if (!json_is_string(item) || ++l->count > REGISTRY_NAMES_MAX)
			return err_set(e, ERR_REG_PROTOCOL, -EPROTO,
				       "registry '%s': %s: too long, or no list of strings",
				       p->domain, l->what);
		int rc = l->fn(json_string_value(item), l->arg);

		if (rc)
			return rc;
	}
	return 0;
}

/* Link: <URL>; rel="next" (RFC 8288). Returns owned; NULL: this was the last page. */
static char *next_page(struct http_transfer *t)
{
	const char *link = http_header(t, "Link", 0);
	const char *end = link && *link == '<' ? strchr(link, '>') : NULL;
	char *url = NULL, *result = NULL;

	if (!end || !strstr(end, "next"))
		return NULL;
	_free_ char *target = mem_strndup(link + 1, (size_t)(end - link) - 1);
	CURLU *u = curl_url();

	if (u && !curl_url_set(u, CURLUPART_URL, http_url(t), 0) &&
	    !curl_url_set(u, CURLUPART_URL, target, 0) && !curl_url_get(u, CURLUPART_URL, &url, 0))
		result = mem_strdup(url);
	curl_free(url);
	curl_url_cleanup(u);
	return result;
}

static int list(struct repository *p, const char *path, struct listing *l, struct err *e)
{
	_free_ char *url = mem_strdup(path);
	size_t last = p->endpoints.n - 1;

	for (unsigned page = 0; url && page < REGISTRY_PAGES_MAX; page++) {
		_http_transfer_ struct http_transfer *t = NULL;
		int rc = repository_request(
		    p, last, &(struct http_request){.method = HTTP_GET, .url = url}, &t, e);

		if (rc)
			return rc;
		if (http_status(t) != 200)
			return repository_refuse(p, t, l->what, e);
		rc = read_page(p, t, l, e);
		if (rc)
			return rc;
		free(url);
		url = next_page(t);
	}
	return 0;
}

int repository_tags(struct repository *p, int (*fn)(const char *tag, void *arg), void *arg,
		    struct err *e)
{
	struct listing l = {"the list of tags", "tags", fn, arg, 0};
	_free_ char *path = mem_printf("/tags/list?n=%d", PAGE);

	return list(p, path, &l, e);
}

int registry_catalog(struct registry *r, const char *domain, int (*fn)(const char *name, void *arg),
		     void *arg, struct err *e)
{
	struct listing l = {"the list of repositories", "repositories", fn, arg, 0};
	_repository_ struct repository *p = NULL;
	_free_ char *path = mem_printf("/_catalog?n=%d", PAGE);
	int rc = repository_open(r, domain, "", REPOSITORY_PULL, &p, e);

	return rc ? rc : list(p, path, &l, e);
}

int registry_hub_search(struct registry *r, const char *term, unsigned limit, struct buf *ret,
			struct err *e)
{
	_repository_ struct repository *p = NULL;
	_http_transfer_ struct http_transfer *t = NULL;
	char *escaped = curl_easy_escape(NULL, term, (int)strlen(term));
	_free_ char *url = mem_printf("https://index.docker.io/v1/search?q=%s&n=%u",
				      escaped ? escaped : "", limit);
	int rc = repository_open(r, "docker.io", "", REPOSITORY_PULL, &p, e);

	curl_free(escaped);
	if (!rc)
		rc = repository_request(
		    p, 0, &(struct http_request){.method = HTTP_GET, .url = url}, &t, e);
	if (rc)
		return rc;
	if (http_status(t) != 200)
		return repository_refuse(p, t, "search", e);
	buf_add(ret, buf_str(http_body(t)), http_body(t)->len);
	return 0;
}
