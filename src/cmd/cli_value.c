/* Flag values: text in, checked value out. */
#include "cmd/cli_int.h"

#include "base/str.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <strings.h>

/* As Go's strconv.ParseBool, in any case. */
static bool parse_bool(const char *text, uint64_t *ret_value)
{
	static const char *const yes[] = {"true", "1", "t"}, *const no[] = {"false", "0", "f"};

	for (size_t i = 0; i < 3; i++) {
		if (!strcasecmp(text, yes[i])) {
			*ret_value = 1;
			return true;
		}
		if (!strcasecmp(text, no[i])) {
			*ret_value = 0;
			return true;
		}
	}
	return false;
}

/* Nanoseconds in Go's unit at *s (time.ParseDuration), which is stepped over; 0: none. */
static uint64_t duration_unit(const char **s)
{
	static const struct {
		const char *name;
		uint64_t ns;
	} units[] = {
	    {"ns", 1},
	    {"us", 1000},
	    {"\xc2\xb5s", 1000},
	    {"\xce\xbcs", 1000},
	    {"ms", 1000000},
	    {"s", 1000000000},
	    {"m", 60 * 1000000000ull},
	    {"h", 3600 * 1000000000ull},
	};

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		const char *rest = str_after(*s, units[i].name);

		if (rest && (!*rest || *rest == '.' || isdigit((unsigned char)*rest))) {
			*s = rest;
			return units[i].ns;
		}
	}
	return 0;
}

/* One number of a duration, "1.5" of "1.5h", as a whole part and billionths. */
static bool duration_number(const char **s, uint64_t *ret_whole, uint64_t *ret_billionths)
{
	uint64_t whole = 0, frac = 0, scale = 1000000000;
	const char *start = *s;

	for (; isdigit((unsigned char)**s); ++*s)
		if (__builtin_mul_overflow(whole, 10, &whole) ||
		    __builtin_add_overflow(whole, (uint64_t)(**s - '0'), &whole))
			return false;
	if (*s == start)
		return false;
	if (**s == '.')
		for (++*s; isdigit((unsigned char)**s); ++*s) {
			scale /= 10;
			frac += scale * (uint64_t)(**s - '0');
		}
	*ret_whole = whole;
	*ret_billionths = frac;
	return true;
}

/* Go's "1h2m3.5s", or bare seconds; whole milliseconds, rounded down. */
static bool parse_duration(const char *s, uint64_t *ret_ms)
{
	bool negative = *s == '-';
	unsigned __int128 ns = 0;

	s += *s == '-' || *s == '+';
	if (!*s)
		return false;
	for (bool first = true; *s; first = false) {
		uint64_t whole, billionths;

		if (!duration_number(&s, &whole, &billionths))
			return false;
		uint64_t unit = *s || !first ? duration_unit(&s) : 1000000000;

		if (!unit)
			return false;
		ns += (unsigned __int128)whole * unit +
		      (unsigned __int128)billionths * unit / 1000000000;
		if (ns / 1000000 > INT64_MAX)
			return false;
	}
	int64_t ms = (int64_t)(ns / 1000000);

	*ret_ms = (uint64_t)(negative ? -ms : ms);
	return true;
}

static bool is_choice(const char *choices, const char *text)
{
	size_t len = strlen(text);

	for (const char *p = choices; len; p++) {
		size_t n = strcspn(p, "|");

		if (n == len && !memcmp(p, text, n))
			return true;
		p += n;
		if (!*p)
			break;
	}
	return false;
}

bool cli_value_parse(const struct cli_flag *f, const char *text, struct cli_value *v,
		     struct buf *why)
{
	bool ok = true;

	switch (f->type) {
	case CLI_BOOL:
		ok = parse_bool(text, &v->number);
		buf_adds(why, "true or false");
		break;
	case CLI_STRING:
		break;
	case CLI_LIST:
		vec_push(&v->list, (char *)text);
		vec_push(&v->list, NULL);
		v->list.n--;
		break;
	case CLI_INT: {
		int64_t n = 0;

		ok = !str_to_i64(text, &n);
		v->number = (uint64_t)n;
		buf_adds(why, "a whole number");
		break;
	}
	case CLI_UINT:
		ok = !str_to_u64(text, &v->number);
		buf_adds(why, "a whole number that is not negative");
		break;
	case CLI_BYTES:
		ok = !str_to_bytes(text, &v->number);
		buf_adds(why, "a size such as 512m or 1.5g");
		break;
	case CLI_DURATION:
		ok = parse_duration(text, &v->number);
		buf_adds(why, "a time such as 10s or 1h30m");
		break;
	case CLI_ENUM:
		ok = is_choice(f->choices, text);
		buf_addf(why, "one of %s", f->choices);
		break;
	}
	if (ok)
		v->text = text;
	return ok;
}

const char *cli_metavar(const struct cli_flag *f)
{
	static const char *const by_type[] = {
	    [CLI_BOOL] = NULL, [CLI_STRING] = "VALUE", [CLI_LIST] = "VALUE",    [CLI_INT] = "N",
	    [CLI_UINT] = "N",  [CLI_BYTES] = "SIZE",   [CLI_DURATION] = "TIME", [CLI_ENUM] = "WORD",
	};

	return f->metavar && f->type != CLI_BOOL ? f->metavar : by_type[f->type];
}
