/* Lists that come in pages: tags of a repository, repositories of a registry (distribution-spec 1.1,
 * "Listing Tags"; the catalog is Docker's extension), and Docker Hub's search. */
#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/answer.h"
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
	int rc = answer_names(buf_str(body), body->len, l->field, &l->count, l->fn, l->arg);

	if (rc == -EBADMSG || rc == -E2BIG)
		return err_set(e, ERR_REG_PROTOCOL, -EPROTO,
			       "registry '%s': %s: too long, or no list of strings", p->domain,
			       l->what);
	return rc;
}

/* Returns owned; NULL: this was the last page. */
static char *next_page(struct http_transfer *t)
{
	const char *link = http_header(t, "Link", 0);

	return link ? answer_next_page(link, http_url(t)) : NULL;
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
