/* viv search: Docker Hub's search, or what another registry lists. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/registry.h"
#include "cmd/viv.h"
#include "codec/template.h"

#define LIMIT_MAX         100
#define DESCRIPTION_SHOWN 45 /* characters in a table, as in Docker */

struct filter {
	int64_t stars;
	int official, automated; /* -1: either */
};

static const struct output_column columns[] = {
    {"Name", "NAME", false},
    {"Description", "DESCRIPTION", false},
    {"StarCount", "STARS", false},
    {"IsOfficial", "OFFICIAL", false},
    {"IsAutomated", "AUTOMATED", true},
    {0},
};

static int parse_bool(const char *text, int *ret)
{
	*ret = str_eq(text, "true") || str_eq(text, "1");
	return *ret || str_eq(text, "false") || str_eq(text, "0") ? 0 : -EINVAL;
}

static int parse_filter(const char *text, struct filter *f)
{
	const char *value;

	if ((value = str_after(text, "stars=")))
		return str_to_i64(value, &f->stars);
	if ((value = str_after(text, "is-official=")))
		return parse_bool(value, &f->official);
	if ((value = str_after(text, "is-automated=")))
		return parse_bool(value, &f->automated);
	return -EINVAL;
}

static bool passes(const struct filter *f, int64_t stars, bool official, bool automated)
{
	return stars >= f->stars && (f->official < 0 || f->official == official) &&
	       (f->automated < 0 || f->automated == automated);
}

/* Cut behind a whole UTF-8 character, with "…". Returns owned. */
static char *shorten(const char *text, bool whole)
{
	size_t at = 0, characters = 0, cut = 0;

	for (; text[at]; at++)
		if ((text[at] & 0xc0) != 0x80 && characters++ == DESCRIPTION_SHOWN - 1)
			cut = at;
	if (whole || characters <= DESCRIPTION_SHOWN)
		return mem_strdup(text);
	return mem_printf("%.*s…", (int)cut, text);
}

static void add_row(json_t *rows, const char *name, const char *description, int64_t stars,
		    bool official, bool automated)
{
	json_array_append_new(
	    rows, json_pack("{s:s, s:s, s:I, s:s, s:s}", "Name", name, "Description", description,
			    "StarCount", (json_int_t)stars, "IsOfficial", official ? "[OK]" : "",
			    "IsAutomated", automated ? "[OK]" : ""));
}

/* {"results":[{"name","description","star_count","is_official","is_automated"}]} */
static int read_hub(const struct buf *text, const struct filter *f, bool whole, json_t *rows,
		    struct err *e)
{
	_json_ json_t *v = json_loadb(buf_str(text), text->len, 0, NULL);
	json_t *list = json_object_get(v, "results"), *item;
	size_t i;

	if (!json_is_array(list))
		return err_set(e, ERR_REG_PROTOCOL, -EPROTO, "the search gave no list of results");
	json_array_foreach (list, i, item) {
		const char *name = json_string_value(json_object_get(item, "name"));
		const char *about = json_string_value(json_object_get(item, "description"));
		int64_t stars = json_integer_value(json_object_get(item, "star_count"));
		bool official = json_is_true(json_object_get(item, "is_official"));
		bool automated = json_is_true(json_object_get(item, "is_automated"));
		_free_ char *description = shorten(about ? about : "", whole);

		if (name && passes(f, stars, official, automated))
			add_row(rows, name, description, stars, official, automated);
	}
	return 0;
}

struct listing {
	const char *domain, *term;
	size_t limit;
	json_t *rows;
};

static int take_name(const char *name, void *arg)
{
	struct listing *l = arg;
	_free_ char *full = mem_printf("%s/%s", l->domain, name);

	if (strcasestr(name, l->term) && json_array_size(l->rows) < l->limit)
		add_row(l->rows, full, "", 0, false, false);
	return 0;
}

/* "registry.example.com/term": what stands before the slash is a registry if it looks like one
 * (codec/reference.h has the same rule). */
static bool names_registry(const char *text)
{
	size_t n = strcspn(text, "/");

	return text[n] && (memchr(text, '.', n) || memchr(text, ':', n) ||
			   (n == 9 && !memcmp(text, "localhost", n)));
}

static int search(const struct cli *c, const struct filter *f, json_t *rows, struct err *e)
{
	const char *text = cli_argv(c)[0];
	_registry_ struct registry *r = NULL;
	_buf_ struct buf answer = {0};
	unsigned limit = (unsigned)cli_uint(c, "limit");
	int rc = registry_of(c, &r, e);

	if (rc)
		return rc;
	if (names_registry(text)) {
		_free_ char *domain = registry_name(text);

		if (!str_eq(domain, "docker.io")) {
			struct listing l = {domain, strchr(text, '/') + 1, limit, rows};

			return registry_catalog(r, domain, take_name, &l, e);
		}
		text = strchr(text, '/') + 1;
	}
	rc = registry_hub_search(r, text, limit, &answer, e);
	return rc ? rc : read_hub(&answer, f, cli_bool(c, "no-trunc"), rows, e);
}

int cmd_search(struct cli *c)
{
	struct filter f = {.official = -1, .automated = -1};
	_json_ json_t *rows = json_array();
	struct err e = {0};

	for (char *const *text = cli_list(c, "filter"); *text; text++)
		if (parse_filter(*text, &f))
			return cli_usage(c, "'%s' is no filter", *text);
	if (!cli_uint(c, "limit") || cli_uint(c, "limit") > LIMIT_MAX)
		return cli_usage(c, "--limit must be 1 to %d", LIMIT_MAX);
	return search(c, &f, rows, &e) ? cli_fail(c, &e) : viv_print_rows(c, columns, rows);
}
