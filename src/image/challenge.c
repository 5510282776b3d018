/* The grammar is awkward: commas separate both challenges and the parameters of one.
 *
 *	WWW-Authenticate = #challenge
 *	challenge        = auth-scheme [ 1*SP ( token68 / #auth-param ) ]
 *	auth-param       = token BWS "=" BWS ( token / quoted-string )
 *
 * A token with "=" behind it is a parameter of the challenge under way, one without begins the next
 * challenge; right behind a scheme, what is no parameter is a token68. */
#include "image/challenge.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/mem.h"

static bool is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* RFC 9110, section 5.6.2 */
static size_t token_len(const char *p)
{
	size_t n = 0;

	while (is_alnum(p[n]) || (p[n] && strchr("!#$%&'*+-.^_`|~", p[n])))
		n++;
	return n;
}

static size_t token68_len(const char *p)
{
	size_t n = 0;

	while (is_alnum(p[n]) || (p[n] && strchr("-._~+/", p[n])))
		n++;
	while (n && p[n] == '=')
		n++;
	return n;
}

static const char *skip_blank(const char *p)
{
	return p + strspn(p, " \t");
}

/* A token or a quoted string (section 5.6.4) without its quotes. */
static int read_value(const char **p, char **ret)
{
	size_t len = token_len(*p), n = 0;

	if (**p != '"') {
		if (!len)
			return -EBADMSG;
		*ret = mem_strndup(*p, len);
		*p += len;
		return 0;
	}
	const char *s = *p + 1;
	_free_ char *text = mem_alloc(strlen(s) + 1);

	for (; *s != '"'; s++) {
		if (*s == '\\')
			s++;
		if (!*s)
			return -EBADMSG;
		text[n++] = *s;
	}
	*p = s + 1;
	*ret = STEAL(text);
	return 0;
}

static void keep(struct challenge *c, const char *name, size_t len, char **value)
{
	const struct {
		const char *name;
		char **slot;
	} known[] = {{"realm", &c->realm},
		     {"service", &c->service},
		     {"scope", &c->scope},
		     {"error", &c->error}};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strlen(known[i].name) == len && !strncasecmp(name, known[i].name, len) &&
		    !*known[i].slot)
			*known[i].slot = STEAL(*value);
}

/* token BWS "=" BWS value: 1 where it is a parameter, 0 where it is something else. c NULL: it is
 * read and dropped. */
static int read_param(const char **p, struct challenge *c)
{
	const char *name = *p;
	size_t len = token_len(name);
	const char *s = skip_blank(name + len);
	_free_ char *value = NULL;

	if (!len || *s != '=')
		return 0;
	s = skip_blank(s + 1);
	if (*s == '=' || *s == ',' || !*s) /* the padding of a token68 */
		return 0;
	int rc = read_value(&s, &value);

	if (rc)
		return rc;
	if (c)
		keep(c, name, len, &value);
	*p = s;
	return 1;
}

static enum challenge_scheme scheme_of(const char *name, size_t len)
{
	if (len == 5 && !strncasecmp(name, "Basic", len))
		return CHALLENGE_BASIC;
	if (len == 6 && !strncasecmp(name, "Bearer", len))
		return CHALLENGE_BEARER;
	return CHALLENGE_OTHER;
}

/* What stands behind the cursor must be the end of a list element. */
static int end_of_element(const char **p)
{
	*p = skip_blank(*p);
	return **p && **p != ',' ? -EBADMSG : 0;
}

static int read_scheme(struct challenges *c, const char **p, struct challenge **current)
{
	size_t len = token_len(*p);

	if (!len)
		return -EBADMSG;
	*current = c->n < CHALLENGES_MAX ? &c->v[c->n++] : NULL;
	if (*current)
		**current = (struct challenge){.scheme = scheme_of(*p, len)};
	*p += len;
	if (**p != ' ')
		return 0;
	*p = skip_blank(*p);
	int rc = read_param(p, *current);

	if (!rc)
		*p += token68_len(*p);
	return rc < 0 ? rc : 0;
}

int challenges_add(struct challenges *c, const char *value)
{
	struct challenge *current = NULL;
	bool begun = false;
	const char *p = value;

	if (strnlen(value, CHALLENGE_HEADER_MAX + 1) > CHALLENGE_HEADER_MAX)
		return -E2BIG;
	for (;;) {
		p += strspn(p, " \t,");
		if (!*p)
			return 0;
		int rc = begun ? read_param(&p, current) : 0;

		if (!rc)
			rc = read_scheme(c, &p, &current);
		begun = true;
		if (rc < 0 || end_of_element(&p))
			return -EBADMSG;
	}
}

void challenges_done(struct challenges *c)
{
	for (size_t i = 0; i < c->n; i++) {
		free(c->v[i].realm);
		free(c->v[i].service);
		free(c->v[i].scope);
		free(c->v[i].error);
	}
	*c = (struct challenges){0};
}

const struct challenge *challenges_find(const struct challenges *c, enum challenge_scheme scheme)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->v[i].scheme == scheme)
			return &c->v[i];
	return NULL;
}
