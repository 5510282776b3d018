/* Platforms: their names, which is the host's, and which serves whom. Names are Go's GOOS and
 * GOARCH (image-spec 1.1, image-index.md, "platform"). */
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/manifest.h"

#include <ctype.h>
#include <errno.h>
#include <sys/utsname.h>

/* What others call them; containerd's platforms package has the same list. */
static const struct {
	const char *name, *architecture, *variant;
} aliases[] = {
    {"x86_64", "amd64", ""}, {"x86-64", "amd64", ""},  {"i386", "386", ""},
    {"i686", "386", ""},     {"aarch64", "arm64", ""}, {"armhf", "arm", "v7"},
    {"armel", "arm", "v6"},  {"armv7l", "arm", "v7"},  {"armv6l", "arm", "v6"},
};

static const char *const known_os[] = {"linux", "windows", "darwin", "freebsd", "wasip1"};

void platform_done(struct platform *p)
{
	free(p->os);
	free(p->architecture);
	free(p->variant);
	free(p->os_version);
	*p = (struct platform){0};
}

void platform_copy(const struct platform *from, struct platform *ret)
{
	*ret = (struct platform){mem_strdup(from->os), mem_strdup(from->architecture),
				 mem_strdup(from->variant), mem_strdup(from->os_version)};
}

/* arm64 without a variant is v8, arm without one is v7. */
static const char *variant_of(const struct platform *p)
{
	if (*p->variant)
		return p->variant;
	return str_eq(p->architecture, "arm64") ? "v8" : str_eq(p->architecture, "arm") ? "v7" : "";
}

/* Replaces another's name of an architecture by Go's. */
static void normalize(struct platform *p)
{
	for (size_t i = 0; i < ARRAY_SIZE(aliases); i++) {
		if (!str_eq(p->architecture, aliases[i].name))
			continue;
		free(p->architecture);
		p->architecture = mem_strdup(aliases[i].architecture);
		if (!*p->variant) {
			free(p->variant);
			p->variant = mem_strdup(aliases[i].variant);
		}
	}
}

void platform_host(struct platform *ret)
{
	struct utsname u;

	uname(&u);
	*ret = (struct platform){mem_strdup("linux"), mem_strdup(u.machine), mem_strdup(""),
				 mem_strdup("")};
	normalize(ret);
}

static bool is_os(const char *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(known_os); i++)
		if (str_eq(word, known_os[i]))
			return true;
	return false;
}

static int malformed(const char *text, struct err *e)
{
	return err_set(e, ERR_IMG_PLATFORM, -EINVAL,
		       "platform '%s' is not OS[/ARCHITECTURE[/VARIANT]]", text);
}

int platform_parse(const char *text, struct platform *ret, struct err *e)
{
	_platform_ struct platform host = {0};
	char *parts[3] = {NULL, NULL, NULL};
	_free_ char *copy = mem_strdup(text);
	int n = 0;

	for (char *rest = copy, *part; (part = strsep(&rest, "/")); n++) {
		if (n == 3 || !*part)
			return malformed(text, e);
		for (char *s = part; *s; s++) {
			*s = (char)tolower((unsigned char)*s);
			if (!isalnum((unsigned char)*s) && !strchr("_.-", *s))
				return malformed(text, e);
		}
		parts[n] = part;
	}
	platform_host(&host);
	bool os_missing = n == 1 && !is_os(parts[0]);
	const char *architecture = os_missing ? parts[0] : parts[1];

	*ret = (struct platform){mem_strdup(os_missing ? host.os : parts[0]),
				 mem_strdup(architecture ? architecture : host.architecture),
				 mem_strdup(parts[2] ? parts[2] : ""), mem_strdup("")};
	normalize(ret);
	return 0;
}

char *platform_text(const struct platform *p)
{
	return mem_printf("%s/%s%s%s", *p->os ? p->os : "unknown",
			  *p->architecture ? p->architecture : "unknown", *p->variant ? "/" : "",
			  p->variant);
}

/* Variants of arm and amd64 are levels, each of which runs what the lower ones run. */
static unsigned level(const char *variant)
{
	return variant[0] == 'v' && isdigit((unsigned char)variant[1]) && !variant[2]
		   ? (unsigned)(variant[1] - '0')
		   : 0;
}

unsigned platform_match(const struct platform *want, const struct platform *have)
{
	const char *w = variant_of(want), *h = variant_of(have);

	if (!str_eq(want->os, have->os) || !str_eq(want->architecture, have->architecture))
		return 0;
	if (str_eq(w, h))
		return 100;
	if (!*want->variant &&
	    !str_eq(want->architecture, "arm")) /* any will do, the lowest best */
		return 50 - level(h);
	return level(h) <= level(w) ? 50 + level(h) : 0;
}
