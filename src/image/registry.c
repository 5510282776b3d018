#include "image/registry.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/answer.h"
#include "image/registry_int.h"
#include "io/loop.h"

#define RETRY_PUMP_MS 100

/* --- the client --- */

int registry_new(struct registry **ret, struct err *e)
{
	_registry_ struct registry *r = mem_alloc(sizeof(*r));
	int rc = http_new(&r->http, e);

	if (!rc)
		rc = registries_open(&r->conf, e);
	if (!rc)
		rc = auth_open(&r->auth, e);
	if (rc)
		return rc;
	*ret = STEAL(r);
	return 0;
}

void registry_free(struct registry *r)
{
	if (!r)
		return;
	auth_free(r->auth);
	registries_free(r->conf);
	http_free(r->http);
	free(r);
}

struct http *registry_http(struct registry *r)
{
	return r->http;
}

struct registries *registry_conf(struct registry *r)
{
	return r->conf;
}

struct auth *registry_auth(struct registry *r)
{
	return r->auth;
}

void registry_on_idle(struct registry *r, void (*idle)(void *arg), void *arg)
{
	r->idle = idle;
	r->idle_arg = arg;
}

/* --- a repository --- */

/* Docker Hub's registry has another name than its images. */
static const char *server_of(const char *domain)
{
	return str_eq(domain, "docker.io") ? "registry-1.docker.io" : domain;
}

static int add_endpoint(struct repository *p, const char *name, const char *prefix, struct err *e)
{
	struct endpoint n = {0};
	int rc = registries_find(p->registry->conf, name, &n.entry, e);

	if (rc)
		return rc;
	n.host = mem_strdup(server_of(name));
	n.path = *prefix && *p->path ? mem_printf("%s/%s", prefix, p->path) : mem_strdup(p->path);
	vec_push(&p->endpoints, n);
	return 0;
}

static int add_mirrors(struct repository *p, const struct registry_entry *entry, struct err *e)
{
	int rc = 0;

	for (char **m = entry->mirrors; !rc && m && *m; m++) {
		_free_ char *host = mem_strdup(*m);
		char *slash = strchr(host, '/');

		if (slash)
			*slash = '\0';
		rc = add_endpoint(p, host, slash ? slash + 1 : "", e);
	}
	return rc;
}

int repository_open(struct registry *r, const char *domain, const char *path,
		    enum repository_rights rights, struct repository **ret, struct err *e)
{
	_repository_ struct repository *p = mem_alloc(sizeof(*p));
	const struct registry_entry *entry;

	*p = (struct repository){.registry = r, .rights = rights};
	p->domain = mem_strdup(domain);
	p->path = mem_strdup(path);
	int rc = registries_find(r->conf, domain, &entry, e);

	if (rc)
		return rc;
	if (entry->blocked)
		return err_set(e, ERR_REG_CONFIG, -EPERM,
			       "the registry '%s' is blocked by registries.json", domain);
	if (rights == REPOSITORY_PULL && *path)
		rc = add_mirrors(p, entry, e);
	if (!rc)
		rc = add_endpoint(p, domain, "", e);
	if (rc)
		return rc;
	*ret = STEAL(p);
	return 0;
}

void repository_free(struct repository *p)
{
	if (!p)
		return;
	vec_each (n, &p->endpoints) {
		free(n->host);
		free(n->path);
		free(n->authorization);
	}
	vec_done(&p->endpoints);
	free(p->domain);
	free(p->path);
	free(p->from);
	free(p);
}

void repository_may_mount_from(struct repository *p, const char *path)
{
	free(p->from);
	p->from = mem_strdup(path);
}

size_t repository_endpoints(const struct repository *p)
{
	return p->endpoints.n;
}

const char *repository_domain(const struct repository *p)
{
	return p->domain;
}

struct registry *repository_registry(const struct repository *p)
{
	return p->registry;
}

/* --- endpoints --- */

char *endpoint_base(const struct endpoint *n)
{
	return mem_printf("%s://%s/v2", n->plain ? "http" : "https", n->host);
}

bool endpoint_owns(const struct endpoint *n, const char *url)
{
	_free_ char *origin = mem_printf("%s://%s", n->plain ? "http" : "https", n->host);
	const char *rest = str_after(url, origin);

	return rest && (*rest == '/' || *rest == '?' || !*rest);
}

static char *full_url(const struct endpoint *n, const char *url)
{
	_free_ char *base = endpoint_base(n);

	if (str_after(url, "https://") || str_after(url, "http://"))
		return mem_strdup(url);
	return *n->path ? mem_printf("%s/%s%s", base, n->path, url) : mem_printf("%s%s", base, url);
}

/* --- requests --- */

int repository_start(struct repository *p, size_t endpoint, const struct http_request *r,
		     struct http_transfer **ret, struct err *e)
{
	const struct endpoint *n = &p->endpoints.v[endpoint];
	_free_ char *url = full_url(n, r->url);
	struct http_request request = *r;

	request.url = url;
	request.peer = &n->entry->peer;
	request.idle = p->registry->idle;
	request.idle_arg = p->registry->idle_arg;
	request.authorization = endpoint_owns(n, url) ? n->authorization : NULL;
	return http_start(p->registry->http, &request, ret, e);
}

/* Doubled each time, and spread a little, so that many clients do not come back together. */
static uint64_t backoff_ms(unsigned count, long asked_s)
{
	uint64_t wait = (uint64_t)REGISTRY_WAIT_MS << (count - 1);
	uint8_t spread = 0;

	if (getrandom(&spread, sizeof(spread), GRND_NONBLOCK) > 0)
		wait += wait * spread / 1024;
	if (asked_s >= 0)
		wait = MAX(wait, MIN((uint64_t)asked_s * 1000, REGISTRY_WAIT_MAX_MS));
	return MIN(wait, REGISTRY_WAIT_MAX_MS);
}

static bool is_busy(int status)
{
	return status == 429 || status == 408 || (status >= 500 && status != 501);
}

/* 1 where there is another attempt left, else 0. */
static int again_later(struct attempt *a, long asked_s)
{
	if (++a->count >= REGISTRY_ATTEMPTS)
		return 0;
	a->wait_ms = backoff_ms(a->count, asked_s);
	return 1;
}

bool endpoint_turn_plain(struct endpoint *n, const char *url, int rc)
{
	if (!n->entry->insecure || !str_after(url, "https://") ||
	    (rc != -EPROTO && rc != -ECONNREFUSED))
		return false;
	n->plain = true;
	return true;
}

static int judge_failure(struct endpoint *n, struct http_transfer *t, struct attempt *a,
			 struct err *e)
{
	int rc = http_result(t, e);

	a->wait_ms = 0;
	if (endpoint_turn_plain(n, http_url(t), rc))
		return 1;
	return http_broken(rc) && again_later(a, -1) ? 1 : rc;
}

int repository_judge(struct repository *p, size_t endpoint, struct http_transfer *t,
		     struct attempt *a, struct err *e)
{
	struct endpoint *n = &p->endpoints.v[endpoint];

	if (http_result(t, NULL))
		return judge_failure(n, t, a, e);
	int status = http_status(t);

	if (is_busy(status) && again_later(a, http_retry_after(t)))
		return 1;
	if (status != 401 || !endpoint_owns(n, http_url(t))) {
		a->authorized = 0;
		return 0;
	}
	if (a->authorized == REGISTRY_TOKENS)
		return repository_refuse(p, t, "the login is not accepted", e);
	int rc = endpoint_authorize(p, n, t, e);

	a->authorized++;
	a->wait_ms = 0;
	return rc ? rc : 1;
}

/* Other transfers go on while this one waits. */
static int wait_ms(struct registry *r, uint64_t ms, struct err *e)
{
	uint64_t until = loop_now_ns() + ms * 1000000;

	for (uint64_t now; (now = loop_now_ns()) < until;) {
		uint64_t left = (until - now) / 1000000 + 1;
		int rc = http_pump(r->http, (int)MIN(left, (uint64_t)RETRY_PUMP_MS), e);

		if (rc)
			return rc;
		if (r->idle)
			r->idle(r->idle_arg);
	}
	return 0;
}

static int run(struct registry *r, struct http_transfer *t, struct err *e)
{
	int rc = 0;

	for (int timeout_ms = 0; !rc && !http_done(t); timeout_ms = RETRY_PUMP_MS) {
		rc = http_pump(r->http, timeout_ms, e);
		if (r->idle)
			r->idle(r->idle_arg);
	}
	return rc;
}

int repository_request(struct repository *p, size_t endpoint, const struct http_request *r,
		       struct http_transfer **ret, struct err *e)
{
	struct attempt a = {0};

	for (;;) {
		_http_transfer_ struct http_transfer *t = NULL;
		int rc = repository_start(p, endpoint, r, &t, e);

		if (!rc)
			rc = run(p->registry, t, e);
		if (!rc)
			rc = repository_judge(p, endpoint, t, &a, e);
		if (rc < 0)
			return rc;
		if (!rc) {
			*ret = STEAL(t);
			return 0;
		}
		rc = wait_ms(p->registry, a.wait_ms, e);
		if (rc)
			return rc;
	}
}

/* --- answers --- */

static char *explanation(struct http_transfer *t)
{
	const struct buf *body = http_body(t);
	char *said = answer_error(buf_str(body), body->len);

	return said ? said : mem_printf("status %d", http_status(t));
}

int repository_refuse(struct repository *p, struct http_transfer *t, const char *what,
		      struct err *e)
{
	_free_ char *why = explanation(t);
	int status = http_status(t);

	if (status == 401 || status == 403)
		return err_set(e, ERR_REG_DENIED, -EACCES, "registry '%s': %s: %s", p->domain, what,
			       why);
	if (status == 404)
		return err_set(e, ERR_REG_NOT_FOUND, -ENOENT, "registry '%s': %s: %s", p->domain,
			       what, why);
	if (is_busy(status))
		return err_set(e, ERR_REG_BUSY, -EBUSY, "registry '%s': %s: %s", p->domain, what,
			       why);
	return err_set(e, ERR_REG_PROTOCOL, -EPROTO, "registry '%s': %s: %s (status %d)", p->domain,
		       what, why, status);
}

int repository_location(struct http_transfer *t, char **ret, struct err *e)
{
	const char *location = http_header(t, "Location", 0);
	char *url = location ? answer_location(location, http_url(t)) : NULL;

	if (!url)
		return err_set(e, ERR_REG_PROTOCOL, -EPROTO,
			       "'%s' answers without a usable Location", http_url(t));
	*ret = url;
	return 0;
}
