#include "base/cleanup.h"
#include "base/str.h"
#include "codec/template_int.h"

#include <ctype.h>
#include <errno.h>

/* A call: the function finds its arguments here and sets the error here. */
struct call {
	struct template_run *run;
	const char *name;
	size_t at;
	json_t *const *args;
	size_t n;
};

static json_t *fail(const struct call *c, const char *why)
{
	template_error(c->run->t->text, c->at, c->run->e, "%s: %s", c->name, why);
	return NULL;
}

/* Takes the buffer. */
static json_t *to_string(const struct call *c, struct buf *b)
{
	c->run->steps += (unsigned)(b->len / 256);
	if (b->len > TEMPLATE_VALUE_MAX)
		return fail(c, "the result is too long");
	return json_stringn_nocheck(buf_str(b), b->len);
}

/* --- how values print and compare --- */

static void print_object(const json_t *value, struct buf *out)
{
	const char *sep = "";

	buf_adds(out, "map[");
	for (void *it = json_object_iter((json_t *)value); it;
	     it = json_object_iter_next((json_t *)value, it)) {
		buf_addf(out, "%s%s:", sep, json_object_iter_key(it));
		template_print(json_object_iter_value(it), out);
		sep = " ";
	}
	buf_addc(out, ']');
}

void template_print(const json_t *value, struct buf *out)
{
	switch (json_typeof(value)) {
	case JSON_STRING:
		buf_add(out, json_string_value(value), json_string_length(value));
		break;
	case JSON_INTEGER:
		buf_addf(out, "%lld", (long long)json_integer_value(value));
		break;
	case JSON_REAL:
		buf_addf(out, "%.15g", json_real_value(value));
		break;
	case JSON_TRUE:
		buf_adds(out, "true");
		break;
	case JSON_FALSE:
		buf_adds(out, "false");
		break;
	case JSON_NULL:
		buf_adds(out, "<nil>");
		break;
	case JSON_ARRAY:
		buf_addc(out, '[');
		for (size_t i = 0; i < json_array_size(value); i++) {
			if (i)
				buf_addc(out, ' ');
			template_print(json_array_get(value, i), out);
		}
		buf_addc(out, ']');
		break;
	case JSON_OBJECT:
		print_object(value, out);
		break;
	}
}

bool template_truth(const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_STRING:
		return json_string_length(value);
	case JSON_INTEGER:
		return json_integer_value(value);
	case JSON_REAL:
		return json_real_value(value) < 0 || json_real_value(value) > 0;
	case JSON_ARRAY:
		return json_array_size(value);
	case JSON_OBJECT:
		return json_object_size(value);
	case JSON_TRUE:
		return true;
	case JSON_FALSE:
	case JSON_NULL:
		break;
	}
	return false;
}

/* <0, 0, >0 for numbers and strings; *ret_ok false where the two have no order. */
static int compare(const json_t *a, const json_t *b, bool *ret_ok)
{
	*ret_ok = true;
	if (json_is_integer(a) && json_is_integer(b))
		return (json_integer_value(a) > json_integer_value(b)) -
		       (json_integer_value(a) < json_integer_value(b));
	if (json_is_number(a) && json_is_number(b))
		return (json_number_value(a) > json_number_value(b)) -
		       (json_number_value(a) < json_number_value(b));
	if (json_is_string(a) && json_is_string(b))
		return strcmp(json_string_value(a), json_string_value(b));
	*ret_ok = false;
	return 0;
}

static bool equal(const json_t *a, const json_t *b)
{
	bool ordered;
	int order = compare(a, b, &ordered);

	return ordered ? !order : json_equal(a, b);
}

/* --- functions of values --- */

static json_t *f_json(const struct call *c)
{
	_free_ char *text = json_dumps(c->args[0], JSON_COMPACT | JSON_ENCODE_ANY);

	return text ? json_string_nocheck(text) : fail(c, "the value has no JSON form");
}

static json_t *f_len(const struct call *c)
{
	const json_t *v = c->args[0];
	size_t n = 0;

	if (json_is_string(v)) {
		for (const char *s = json_string_value(v); *s; s++)
			n += (*s & 0xc0) != 0x80;
		return json_integer((json_int_t)n);
	}
	if (!json_is_array(v) && !json_is_object(v))
		return fail(c, "the value has no length");
	return json_integer(
	    (json_int_t)(json_is_array(v) ? json_array_size(v) : json_object_size(v)));
}

static json_t *f_index(const struct call *c)
{
	json_t *v = c->args[0];

	for (size_t i = 1; i < c->n && v; i++) {
		const json_t *key = c->args[i];

		if (json_is_array(v) && json_is_integer(key) && json_integer_value(key) >= 0)
			v = json_array_get(v, (size_t)json_integer_value(key));
		else if (json_is_object(v) && json_is_string(key))
			v = json_object_get(v, json_string_value(key));
		else
			return fail(c, "the index does not suit the value");
	}
	return v ? json_incref(v) : fail(c, "no such element");
}

static json_t *f_not(const struct call *c)
{
	return json_boolean(!template_truth(c->args[0]));
}

static json_t *f_and(const struct call *c)
{
	size_t i = 0;

	while (i + 1 < c->n && template_truth(c->args[i]))
		i++;
	return json_incref(c->args[i]);
}

static json_t *f_or(const struct call *c)
{
	size_t i = 0;

	while (i + 1 < c->n && !template_truth(c->args[i]))
		i++;
	return json_incref(c->args[i]);
}

/* The first equals any of the others. */
static json_t *f_eq(const struct call *c)
{
	bool any = false;

	for (size_t i = 1; i < c->n; i++)
		any |= equal(c->args[0], c->args[i]);
	return json_boolean(any);
}

static json_t *f_ne(const struct call *c)
{
	return json_boolean(!equal(c->args[0], c->args[1]));
}

/* lt le gt ge: the name tells which. */
static json_t *f_order(const struct call *c)
{
	bool ordered;
	int order = compare(c->args[0], c->args[1], &ordered);

	if (!ordered)
		return fail(c, "only numbers, or strings, have an order");
	bool strict = c->name[0] == 'l' ? order < 0 : order > 0;

	return json_boolean(strict || (c->name[1] == 'e' && !order));
}

/* --- functions of strings; their arguments have been checked to be strings --- */

static json_t *f_join(const struct call *c)
{
	_buf_ struct buf b = {0};

	for (size_t i = 0; i < json_array_size(c->args[0]) && b.len <= TEMPLATE_VALUE_MAX; i++) {
		if (i)
			buf_adds(&b, json_string_value(c->args[1]));
		template_print(json_array_get(c->args[0], i), &b);
	}
	return to_string(c, &b);
}

static json_t *f_split(const struct call *c)
{
	const char *s = json_string_value(c->args[0]), *sep = json_string_value(c->args[1]);
	size_t len = strlen(sep);
	json_t *list = json_array();

	for (const char *next; *s || len;) {
		size_t n;

		if (len)
			n = (next = strstr(s, sep)) ? (size_t)(next - s) : strlen(s);
		else /* each character */
			for (n = 1; (s[n] & 0xc0) == 0x80;)
				n++;
		json_array_append_new(list, json_stringn_nocheck(s, n));
		c->run->steps++;
		s += n;
		if (len && !*s)
			break;
		s += len;
	}
	return list;
}

/* lower, upper, title: ASCII letters, as names and states are. */
static json_t *f_case(const struct call *c)
{
	_buf_ struct buf b = {0};
	bool start = true;

	for (const char *s = json_string_value(c->args[0]); *s; s++) {
		int ch = (unsigned char)*s;

		if (c->name[0] == 'l')
			ch = tolower(ch);
		else if (c->name[0] == 'u' || start)
			ch = toupper(ch);
		start = isspace((unsigned char)*s);
		buf_addc(&b, (char)ch);
	}
	return to_string(c, &b);
}

static json_t *f_truncate(const struct call *c)
{
	const char *s = json_string_value(c->args[0]);
	json_int_t left = json_integer_value(c->args[1]);
	size_t n = 0;

	if (left < 0)
		return fail(c, "the length is negative");
	while (s[n] && (left || (s[n] & 0xc0) == 0x80)) /* whole characters only */
		left -= (s[n++] & 0xc0) != 0x80;
	return json_stringn_nocheck(s, n);
}

/* Spaces before and after; nothing where the string is empty. */
static json_t *f_pad(const struct call *c)
{
	const char *s = json_string_value(c->args[0]);
	json_int_t before = json_integer_value(c->args[1]), after = json_integer_value(c->args[2]);
	_buf_ struct buf b = {0};

	if (before < 0 || after < 0 || before > 4096 || after > 4096)
		return fail(c, "the width is not between 0 and 4096");
	if (*s)
		buf_addf(&b, "%*s%s%*s", (int)before, "", s, (int)after, "");
	return to_string(c, &b);
}

/* print puts spaces only between arguments that are not strings, println between all. */
static json_t *f_print(const struct call *c)
{
	bool line = str_eq(c->name, "println");
	_buf_ struct buf b = {0};

	for (size_t i = 0; i < c->n; i++) {
		if (i && (line || (!json_is_string(c->args[i]) && !json_is_string(c->args[i - 1]))))
			buf_addc(&b, ' ');
		template_print(c->args[i], &b);
	}
	if (line)
		buf_addc(&b, '\n');
	return to_string(c, &b);
}

/* --- the table --- */

/* types: one letter per argument: s string, i integer, l list, v any; '+' repeats the last any
 * number of times. */
static const struct {
	const char *name, *types;
	json_t *(*run)(const struct call *c);
} functions[] = {
    {"and", "v+", f_and},      {"eq", "vv+", f_eq},
    {"ge", "vv", f_order},     {"gt", "vv", f_order},
    {"index", "v+", f_index},  {"join", "ls", f_join},
    {"json", "v", f_json},     {"le", "vv", f_order},
    {"len", "v", f_len},       {"lower", "s", f_case},
    {"lt", "vv", f_order},     {"ne", "vv", f_ne},
    {"not", "v", f_not},       {"or", "v+", f_or},
    {"pad", "sii", f_pad},     {"print", "+", f_print},
    {"println", "+", f_print}, {"split", "ss", f_split},
    {"title", "s", f_case},    {"truncate", "si", f_truncate},
    {"upper", "s", f_case},
};

static int find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(functions); i++)
		if (str_eq(functions[i].name, name))
			return (int)i;
	return -1;
}

bool template_is_function(const char *name)
{
	return find(name) >= 0;
}

static bool suits(char type, const json_t *v)
{
	switch (type) {
	case 's':
		return json_is_string(v);
	case 'i':
		return json_is_integer(v);
	case 'l':
		return json_is_array(v);
	default:
		return true;
	}
}

json_t *template_call(struct template_run *run, const char *name, size_t at, json_t *const *args,
		      size_t n)
{
	struct call c = {run, name, at, args, n};
	int i = find(name);
	const char *types = functions[i].types;
	size_t fixed = strcspn(types, "+");

	if (n < fixed || (n > fixed && !types[fixed]))
		return fail(&c, "wrong number of arguments");
	if (run->header && n)
		return json_incref(args[0]);
	for (size_t k = 0; k < n && k < fixed; k++)
		if (!suits(types[k], args[k]))
			return fail(&c, types[k] == 's'   ? "a string is expected"
					: types[k] == 'i' ? "a number is expected"
							  : "a list is expected");
	return functions[i].run(&c);
}
