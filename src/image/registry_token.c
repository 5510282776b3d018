/* Authorization: Basic (RFC 7617), and Docker's token authentication. A registry answers 401 with a
 * Bearer challenge that names a token server (realm); that one gives a token for what the scope says:
 * by GET with the name and password, if there are any, or by POST where the login is a refresh token
 * (distribution's "Token Authentication" and "OAuth2 Token Authentication"). */
#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/base64.h"
#include "image/answer.h"
#include "image/challenge.h"
#include "image/registry_int.h"

#define CLIENT_ID "viv"

static void forget(char *s)
{
	if (s)
		explicit_bzero(s, strlen(s));
	free(s);
}

static void cleanup_forget(char **s)
{
	forget(*s);
}
#define _secret_ __attribute__((cleanup(cleanup_forget)))

static char *basic(const struct credential *c)
{
	_secret_ char *plain = mem_printf("%s:%s", c->username, c->password);
	_buf_ struct buf text = {0};

	buf_adds(&text, "Basic ");
	base64_encode(plain, strlen(plain), &text);
	return buf_take(&text);
}

/* NAME=VALUE of a query or form, with "&" before all but the first. */
static void add_pair(struct buf *b, const char *name, const char *value)
{
	char *escaped = value ? curl_easy_escape(NULL, value, (int)strlen(value)) : NULL;

	if (escaped)
		buf_addf(b, "%s%s=%s", b->len ? "&" : "", name, escaped);
	curl_free(escaped);
}

/* What the challenge asks for, or what we know to need: some registries name too little. */
static void add_scopes(struct buf *b, const struct repository *p, const struct endpoint *n,
		       const struct challenge *c, const char *separator)
{
	_buf_ struct buf scopes = {0};

	if (*n->path)
		buf_addf(&scopes, "repository:%s:%s", n->path,
			 p->rights == REPOSITORY_PUSH ? "pull,push" : "pull");
	else if (c->scope)
		buf_adds(&scopes, c->scope);
	if (!scopes.len)
		return;
	if (*separator && p->from)
		buf_addf(&scopes, "%srepository:%s:pull", separator, p->from);
	add_pair(b, "scope", buf_str(&scopes));
	if (!*separator && p->from) {
		_free_ char *from = mem_printf("repository:%s:pull", p->from);

		add_pair(b, "scope", from);
	}
}

static int read_token(struct http_transfer *t, char **ret, char **ret_refresh, struct err *e)
{
	const struct buf *body = http_body(t);

	if (answer_token(buf_str(body), body->len, ret, ret_refresh))
		return err_set(e, ERR_REG_PROTOCOL, -EPROTO, "'%s' gives no usable token",
			       http_url(t));
	return 0;
}

/* How to speak with the token server. It gets the login, so it needs TLS, or to be named as insecure,
 * or to be the registry itself. */
static int realm_peer(struct repository *p, struct endpoint *n, const char *realm,
		      const struct http_peer **ret, struct err *e)
{
	const struct registry_entry *entry = NULL;
	char *host = NULL, *port = NULL;
	CURLU *u = curl_url();
	int rc = 0;

	if (u && !curl_url_set(u, CURLUPART_URL, realm, 0) &&
	    !curl_url_get(u, CURLUPART_HOST, &host, 0)) {
		curl_url_get(u, CURLUPART_PORT, &port, 0);
		_free_ char *name = port ? mem_printf("%s:%s", host, port) : mem_strdup(host);

		rc = str_eq(name, n->host) ? (entry = n->entry, 0)
					   : registries_find(p->registry->conf, name, &entry, e);
	}
	curl_free(host);
	curl_free(port);
	curl_url_cleanup(u);
	if (rc)
		return rc;
	if (!entry ||
	    (!str_after(realm, "https://") && !(entry->insecure && str_after(realm, "http://"))))
		return err_set(e, ERR_REG_PROTOCOL, -EPROTO,
			       "registry '%s' sends us for a token to '%.200s', which is no https "
			       "address nor named as insecure",
			       n->host, realm);
	*ret = &entry->peer;
	return 0;
}

static int ask(struct repository *p, const struct http_request *r, struct http_transfer **ret,
	       struct err *e)
{
	struct http_request request = *r;

	request.idle = p->registry->idle;
	request.idle_arg = p->registry->idle_arg;
	request.body_max = REGISTRY_TOKEN_BODY_MAX;
	return http_perform(p->registry->http, &request, ret, e);
}

static int get_token(struct repository *p, struct endpoint *n, const struct challenge *c,
		     const struct credential *login, const struct http_peer *peer, bool offline,
		     struct http_transfer **ret, struct err *e)
{
	_buf_ struct buf query = {0};
	_secret_ char *authorization = login->username ? basic(login) : NULL;

	add_pair(&query, "service", c->service);
	add_scopes(&query, p, n, c, "");
	add_pair(&query, "client_id", CLIENT_ID);
	add_pair(&query, "account", login->username);
	if (offline)
		add_pair(&query, "offline_token", "true");
	_free_ char *url =
	    mem_printf("%s%c%s", c->realm, strchr(c->realm, '?') ? '&' : '?', buf_str(&query));

	return ask(
	    p,
	    &(struct http_request){
		.method = HTTP_GET, .url = url, .peer = peer, .authorization = authorization},
	    ret, e);
}

static int post_token(struct repository *p, struct endpoint *n, const struct challenge *c,
		      const struct credential *login, const struct http_peer *peer,
		      struct http_transfer **ret, struct err *e)
{
	_buf_ struct buf form = {0};

	add_pair(&form, "grant_type", "refresh_token");
	add_pair(&form, "service", c->service);
	add_pair(&form, "client_id", CLIENT_ID);
	add_scopes(&form, p, n, c, " ");
	add_pair(&form, "refresh_token", login->identity_token);
	int rc = ask(p,
		     &(struct http_request){.method = HTTP_POST,
					    .url = c->realm,
					    .peer = peer,
					    .content_type = "application/x-www-form-urlencoded",
					    .body = buf_str(&form),
					    .body_len = form.len},
		     ret, e);

	explicit_bzero(form.s, form.len);
	return rc;
}

static int bearer(struct repository *p, struct endpoint *n, const struct challenge *c,
		  const struct credential *login, char **ret_identity_token, struct err *e)
{
	_http_transfer_ struct http_transfer *t = NULL;
	_secret_ char *token = NULL;
	const struct http_peer *peer;
	int rc = realm_peer(p, n, c->realm, &peer, e);

	if (!rc)
		rc = login->identity_token
			 ? post_token(p, n, c, login, peer, &t, e)
			 : get_token(p, n, c, login, peer, ret_identity_token, &t, e);
	if (rc)
		return rc;
	if (http_status(t) != 200)
		return repository_refuse(p, t,
					 login->username || login->identity_token
					     ? "the login is not accepted"
					     : "a token is refused",
					 e);
	rc = read_token(t, &token, ret_identity_token, e);
	if (rc)
		return rc;
	forget(n->authorization);
	n->authorization = mem_printf("Bearer %s", token);
	return 0;
}

static int read_challenges(struct http_transfer *t, struct challenges *ret, struct err *e)
{
	const char *header;

	for (size_t i = 0; i < CHALLENGES_MAX && (header = http_header(t, "WWW-Authenticate", i));
	     i++)
		if (challenges_add(ret, header))
			return err_set(e, ERR_REG_PROTOCOL, -EPROTO,
				       "'%s' answers with a malformed WWW-Authenticate",
				       http_url(t));
	return 0;
}

int endpoint_authorize_as(struct repository *p, struct endpoint *n, struct http_transfer *t,
			  const struct credential *c, char **ret_identity_token, struct err *e)
{
	_challenges_ struct challenges list = {0};
	int rc = read_challenges(t, &list, e);

	if (rc)
		return rc;
	const struct challenge *wanted = challenges_find(&list, CHALLENGE_BEARER);

	if (wanted && wanted->realm)
		return bearer(p, n, wanted, c, ret_identity_token, e);
	if (!challenges_find(&list, CHALLENGE_BASIC))
		return err_set(e, ERR_REG_PROTOCOL, -EPROTO,
			       "registry '%s' wants a login of a kind that is not known here",
			       n->host);
	if (!c->username)
		return err_set(e, ERR_REG_DENIED, -EACCES,
			       "registry '%s' wants a login, and there is none for it", n->host);
	forget(n->authorization);
	n->authorization = basic(c);
	return 0;
}

int endpoint_authorize(struct repository *p, struct endpoint *n, struct http_transfer *t,
		       struct err *e)
{
	_credential_ struct credential c = {0};
	int rc = auth_find(p->registry->auth, n->entry->name, n->path, &c, e);

	return rc ? rc : endpoint_authorize_as(p, n, t, &c, NULL, e);
}

/* --- login --- */

static int ping(struct repository *p, struct http_transfer **ret, struct err *e)
{
	struct endpoint *n = &p->endpoints.v[0];

	for (;;) {
		_http_transfer_ struct http_transfer *t = NULL;
		_free_ char *base = endpoint_base(n), *url = mem_printf("%s/", base);
		int rc = ask(p,
			     &(struct http_request){.method = HTTP_GET,
						    .url = url,
						    .peer = &n->entry->peer,
						    .authorization = n->authorization},
			     &t, e);

		if (!rc) {
			*ret = STEAL(t);
			return 0;
		}
		if (!endpoint_turn_plain(n, url, rc))
			return rc;
	}
}

int registry_login(struct registry *r, const char *domain, const struct credential *c,
		   char **ret_identity_token, struct err *e)
{
	_repository_ struct repository *p = NULL;
	_http_transfer_ struct http_transfer *first = NULL, *second = NULL;
	_free_ char *token = NULL;
	int rc = repository_open(r, domain, "", REPOSITORY_PULL, &p, e);

	if (!rc)
		rc = ping(p, &first, e);
	if (rc)
		return rc;
	if (http_status(first) == 401) {
		rc = endpoint_authorize_as(p, &p->endpoints.v[0], first, c, &token, e);
		if (!rc)
			rc = ping(p, &second, e);
		if (rc)
			return rc;
	}
	struct http_transfer *last = second ? second : first;

	if (http_status(last) != 200)
		return repository_refuse(p, last, "the login is not accepted", e);
	*ret_identity_token = STEAL(token);
	return 0;
}
