#include "cmd/output.h"

#include "base/cleanup.h"
#include "base/str.h"
#include "base/vec.h"
#include "codec/emit.h"
#include "codec/template.h"

#include <ctype.h>
#include <errno.h>

enum { COLUMN_GAP = 3 };

#define each_column(col, o) for (const struct output_column *col = (o)->columns; col->field; col++)

/* --- tables: cells are divided by tabs, lines by newlines, and lined up at the end --- */

/* Columns on a terminal: characters, not bytes. */
static size_t cell_width(const char *s, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += (s[i] & 0xc0) != 0x80;
	return n;
}

/* Lines up the cells of text. The last cell of a line does not widen its column, nor is it padded.
 */
static void align(const char *text, struct buf *out)
{
	VEC(size_t) widths = {0};

	for (int pass = 0; pass < 2; pass++)
		for (const char *s = text; *s;) {
			size_t column = 0;

			for (;; column++) {
				size_t len = strcspn(s, "\t\n"), width = cell_width(s, len);
				bool last = s[len] != '\t';

				if (pass)
					buf_add(out, s, len);
				if (!last && column == widths.n)
					vec_push(&widths, 0);
				if (!last && width > widths.v[column])
					widths.v[column] = width;
				if (pass && !last)
					buf_addf(out, "%*s",
						 (int)(widths.v[column] - width + COLUMN_GAP), "");
				s += len;
				if (last)
					break;
				s++;
			}
			if (pass)
				buf_addc(out, '\n');
			s += *s == '\n';
		}
	vec_done(&widths);
}

/* A name chosen by others must not steer the terminal nor break the table. */
static void add_clean(struct buf *out, const char *s)
{
	for (; *s; s++)
		buf_addc(out, iscntrl((unsigned char)*s) ? '?' : *s);
}

static void add_cell(struct buf *out, const json_t *v)
{
	if (json_is_string(v)) {
		add_clean(out, json_string_value(v));
	} else if (json_is_boolean(v)) {
		buf_adds(out, json_is_true(v) ? "yes" : "no");
	} else if (json_is_array(v)) {
		for (size_t i = 0; i < json_array_size(v); i++) {
			if (i)
				buf_addc(out, ',');
			add_cell(out, json_array_get(v, i));
		}
	} else if (v && !json_is_null(v)) {
		_free_ char *text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);

		add_clean(out, text ? text : "");
	}
}

static void rows_table(const struct output *o, const json_t *rows, struct buf *out)
{
	bool wide = str_eq(o->format, "wide"), first = true;
	_buf_ struct buf text = {0};
	size_t i;
	json_t *row;

	each_column(col, o)
	{
		if (col->wide && !wide)
			continue;
		buf_addf(&text, "%s%s", first ? "" : "\t", col->header);
		first = false;
	}
	json_array_foreach (rows, i, row) {
		buf_addc(&text, '\n');
		each_column(col, o)
		{
			if (col->wide && !wide)
				continue;
			if (col != o->columns)
				buf_addc(&text, '\t');
			add_cell(&text, json_object_get(row, col->field));
		}
	}
	align(buf_str(&text), out);
}

static void rows_csv(const struct output *o, const json_t *rows, struct buf *out)
{
	size_t i;
	json_t *row;

	each_column(col, o) buf_addf(out, "%s%s", col == o->columns ? "" : ",", col->field);
	buf_adds(out, "\r\n");
	json_array_foreach (rows, i, row) {
		each_column(col, o)
		{
			json_t *v = json_object_get(row, col->field);

			if (col != o->columns)
				buf_addc(out, ',');
			if (v)
				emit_csv_field(v, out);
		}
		buf_adds(out, "\r\n");
	}
}

static void rows_name(const struct output *o, const json_t *rows, struct buf *out)
{
	size_t i;
	json_t *row;

	json_array_foreach (rows, i, row) {
		add_cell(out, json_object_get(row, o->columns[0].field));
		buf_addc(out, '\n');
	}
}

static int rows_jsonl(const json_t *rows, struct buf *out, struct err *e)
{
	int rc = 0;
	size_t i;
	json_t *row;

	json_array_foreach (rows, i, row)
		if ((rc = emit_json(row, false, out, e)))
			break;
	return rc;
}

/* --- templates --- */

/* As Docker: \t and \n in the argument, which the shell left alone, are a tab and a newline.
 * Returns owned. */
static char *unescape(const char *s)
{
	_buf_ struct buf b = {0};

	for (; *s; s++) {
		bool escape = *s == '\\' && (s[1] == 't' || s[1] == 'n');

		buf_addc(&b, !escape ? *s : s[1] == 't' ? '\t' : '\n');
		s += escape;
	}
	return buf_take(&b);
}

/* The data for a table's heading: each field's header, or the field's name in capitals. */
static json_t *headers(const struct output *o, const json_t *rows)
{
	json_t *h = json_object();
	const char *field;
	json_t *value;

	json_object_foreach (json_array_get(rows, 0), field, value) {
		_free_ char *name = mem_strdup(field);

		for (char *s = name; *s; s++)
			*s = (char)toupper((unsigned char)*s);
		json_object_set_new(h, field, json_string(name));
	}
	each_column(col, o) json_object_set_new(h, col->field, json_string(col->header));
	return h;
}

static int rows_template(const struct output *o, const json_t *rows, struct buf *out, struct err *e)
{
	const char *table = str_after(o->template, "table");
	bool heading = table && (isspace((unsigned char)*table) || *table == '\\');
	_free_ char *text = unescape(heading ? table + 1 + (*table == '\\') : o->template);
	_template_ struct template *t = NULL;
	_json_ json_t *head = headers(o, rows);
	_buf_ struct buf raw = {0};
	size_t i;
	json_t *row;
	int rc = template_parse(text, &t, e);

	if (!rc && heading) {
		rc = template_exec_header(t, head, &raw, e);
		buf_addc(&raw, '\n');
	}
	if (rc)
		return rc;
	json_array_foreach (rows, i, row) {
		rc = template_exec(t, row, &raw, e);
		if (rc)
			return rc;
		buf_addc(&raw, '\n');
	}
	if (heading)
		align(buf_str(&raw), out);
	else
		buf_adds(out, buf_str(&raw));
	return 0;
}

int output_rows(const struct output *o, const json_t *rows, struct buf *out, struct err *e)
{
	bool plain_table = o->template && str_eq(o->template, "table");

	if (o->template && str_eq(o->template, "json"))
		return rows_jsonl(rows, out, e);
	if (o->template && !plain_table)
		return rows_template(o, rows, out, e);
	if (str_eq(o->format, "json"))
		return emit_json(rows, true, out, e);
	if (str_eq(o->format, "jsonl"))
		return rows_jsonl(rows, out, e);
	if (str_eq(o->format, "yaml"))
		return emit_yaml(rows, out, e);
	if (str_eq(o->format, "csv"))
		rows_csv(o, rows, out);
	else if (str_eq(o->format, "name"))
		rows_name(o, rows, out);
	else
		rows_table(o, rows, out);
	return 0;
}

/* --- one object --- */

static void object_lines(const json_t *object, unsigned indent, struct buf *out)
{
	size_t widest = 0;
	const char *field;
	json_t *v;

	json_object_foreach ((json_t *)object, field, v)
		if (strlen(field) > widest)
			widest = strlen(field);
	json_object_foreach ((json_t *)object, field, v) {
		buf_addf(out, "%*s%s:", (int)indent, "", field);
		if (json_is_object(v)) {
			buf_addc(out, '\n');
			object_lines(v, indent + 2, out);
			continue;
		}
		buf_addf(out, "%*s", (int)(widest - strlen(field) + 2), "");
		add_cell(out, v);
		buf_addc(out, '\n');
	}
}

int output_object(const struct output *o, const json_t *object, struct buf *out, struct err *e)
{
	bool lines = str_eq(o->format, "table") || str_eq(o->format, "wide");

	if (!o->template && lines) {
		object_lines(object, 0, out);
		return 0;
	}
	if (!o->template && str_eq(o->format, "json"))
		return emit_json(object, true, out, e);
	if (!o->template && str_eq(o->format, "yaml"))
		return emit_yaml(object, out, e);
	_json_ json_t *rows = json_pack("[O]", object);

	return output_rows(o, rows, out, e);
}
