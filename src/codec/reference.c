#include "codec/reference.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#define DOCKER_DOMAIN "docker.io"
#define DOCKER_LEGACY "index.docker.io"
#define DOCKER_SINGLE "library/" /* where images without a slash are */
#define TEXT_MAX      (REFERENCE_NAME_MAX + REFERENCE_TAG_MAX + DIGEST_TEXT_MAX + 4)

static bool is_alnum(char c)
{
	return isalnum((unsigned char)c) && (unsigned char)c < 0x80;
}

static bool is_lower_alnum(char c)
{
	return is_alnum(c) && !isupper((unsigned char)c);
}

/* path-component = [a-z0-9]+ ((?:[._]|__|[-]+) [a-z0-9]+)*, separated by '/'. */
static bool path_valid(const char *s)
{
	for (;;) {
		if (!is_lower_alnum(*s))
			return false;
		while (is_lower_alnum(*s))
			s++;
		if (!*s)
			return true;
		if (*s == '/' || *s == '.')
			s++;
		else if (*s == '_')
			s += 1 + (s[1] == '_');
		else if (*s == '-')
			s += strspn(s, "-");
		else
			return false;
	}
}

/* [a-zA-Z0-9] ([a-zA-Z0-9-]* [a-zA-Z0-9])?, separated by '.'; an IPv4 address is of that form. */
static bool host_valid(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		bool edge = !i || s[i - 1] == '.' || i + 1 == len || s[i + 1] == '.';

		if (!is_alnum(s[i]) && (s[i] == '.' ? edge : edge || s[i] != '-'))
			return false;
	}
	return len > 0;
}

/* "host", "host:port", "[IPv6]:port" */
static bool domain_valid(const char *s)
{
	const char *port;

	if (*s == '[') {
		size_t n = strspn(s + 1, "0123456789abcdefABCDEF:");

		if (!n || s[1 + n] != ']')
			return false;
		port = s + n + 2;
	} else {
		port = s + strcspn(s, ":");
		if (!host_valid(s, (size_t)(port - s)))
			return false;
	}
	return !*port || (*port == ':' && port[1] && !port[1 + strspn(port + 1, "0123456789")]);
}

static bool tag_valid(const char *s)
{
	size_t n = strlen(s);

	if (!n || n > REFERENCE_TAG_MAX || (!is_alnum(*s) && *s != '_'))
		return false;
	for (; *s; s++)
		if (!is_alnum(*s) && !strchr("_.-", *s))
			return false;
	return true;
}

static bool is_id(const char *s)
{
	return strlen(s) == 64 && strspn(s, "0123456789abcdef") == 64;
}

static int malformed(const char *text, struct err *e, const char *why)
{
	return err_set(e, ERR_IMG_REFERENCE, -EINVAL, "'%.*s%s' is no name of an image: %s", 128,
		       text, strlen(text) > 128 ? "…" : "", why);
}

/* The part before the first slash is a domain where it looks like one: with a dot or a port,
 * "localhost", or with capitals, which a path cannot have. */
static bool starts_with_domain(const char *name, size_t len)
{
	bool like = len == strlen("localhost") && !memcmp(name, "localhost", len);

	for (size_t i = 0; i < len; i++)
		like |= name[i] == '.' || name[i] == ':' || isupper((unsigned char)name[i]);
	return like;
}

static void split_name(const char *name, char **ret_domain, char **ret_path)
{
	const char *slash = strchr(name, '/');
	bool has_domain = slash && starts_with_domain(name, (size_t)(slash - name));
	char *domain = has_domain ? mem_strndup(name, (size_t)(slash - name)) : NULL;
	const char *rest = has_domain ? slash + 1 : name;

	if (!domain || str_eq(domain, DOCKER_LEGACY)) {
		free(domain);
		domain = mem_strdup(DOCKER_DOMAIN);
	}
	bool single = str_eq(domain, DOCKER_DOMAIN) && !strchr(rest, '/');

	*ret_domain = domain;
	*ret_path = mem_printf("%s%s", single ? DOCKER_SINGLE : "", rest);
}

/* Cuts the digest and then the tag off name, which becomes the rest. */
static int cut_suffixes(const char *text, char *name, struct reference *r, struct err *e)
{
	char *at = strchr(name, '@');

	if (at) {
		*at = '\0';
		int rc = digest_parse(at + 1, &r->digest);

		if (rc)
			return malformed(text, e,
					 rc == -EOPNOTSUPP
					     ? "the digest's algorithm is not known here"
					     : "the digest is malformed");
	}
	char *slash = strrchr(name, '/'), *colon = strrchr(name, ':');

	if (!colon || (slash && colon < slash))
		return 0;
	*colon = '\0';
	if (!tag_valid(colon + 1))
		return malformed(text, e,
				 "a tag has up to 128 letters, digits, '_', '.' and '-', and does "
				 "not begin with '.' or '-'");
	r->tag = mem_strdup(colon + 1);
	return 0;
}

static int check(const char *text, const struct reference *r, struct err *e)
{
	if (!domain_valid(r->domain))
		return malformed(text, e, "its domain is malformed");
	if (!path_valid(r->path)) {
		for (const char *s = r->path; *s; s++)
			if (isupper((unsigned char)*s))
				return malformed(text, e, "a repository has no capital letters");
		return malformed(text, e,
				 "a repository consists of lower-case letters, digits and single "
				 "separators");
	}
	if (strlen(r->domain) + 1 + strlen(r->path) > REFERENCE_NAME_MAX)
		return malformed(text, e, "it is longer than 255 characters");
	return 0;
}

int reference_parse(const char *text, struct reference *ret, struct err *e)
{
	struct reference r = {0};

	if (!*text)
		return malformed(text, e, "it is empty");
	if (strlen(text) > TEXT_MAX)
		return malformed(text, e, "it is too long");
	if (is_id(text))
		return malformed(text, e, "64 hexadecimal digits are an ID");
	_free_ char *name = mem_strdup(text);
	int rc = cut_suffixes(text, name, &r, e);

	if (!rc) {
		split_name(name, &r.domain, &r.path);
		rc = check(text, &r, e);
	}
	if (rc)
		reference_done(&r);
	else
		*ret = r;
	return rc;
}

int reference_parse_tagged(const char *text, struct reference *ret, struct err *e)
{
	int rc = reference_parse(text, ret, e);

	if (!rc && !ret->tag && !digest_is_set(&ret->digest))
		ret->tag = mem_strdup("latest");
	return rc;
}

void reference_done(struct reference *r)
{
	free(r->domain);
	free(r->path);
	free(r->tag);
	*r = (struct reference){0};
}

static char *with_suffixes(char *repository, const struct reference *r)
{
	_free_ char *name = repository;
	char text[DIGEST_TEXT_MAX] = "";

	if (digest_is_set(&r->digest))
		digest_text(&r->digest, text);
	return mem_printf("%s%s%s%s%s", name, r->tag ? ":" : "", r->tag ? r->tag : "",
			  *text ? "@" : "", text);
}

char *reference_repository(const struct reference *r)
{
	return mem_printf("%s/%s", r->domain, r->path);
}

char *reference_canonical(const struct reference *r)
{
	return with_suffixes(reference_repository(r), r);
}

char *reference_familiar_repository(const struct reference *r)
{
	const char *slash = strchr(r->path, '/');

	/* Without its domain such a path would name another one: "docker.io/a.b/c". */
	if (!str_eq(r->domain, DOCKER_DOMAIN) ||
	    (slash && starts_with_domain(r->path, (size_t)(slash - r->path))))
		return reference_repository(r);
	const char *single = str_after(r->path, DOCKER_SINGLE);

	return mem_strdup(single && !strchr(single, '/') ? single : r->path);
}

char *reference_familiar(const struct reference *r)
{
	return with_suffixes(reference_familiar_repository(r), r);
}
