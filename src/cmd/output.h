/* What commands print: rows as table, wide, json, jsonl, yaml, csv or name, or through a template
 * (`--format`). Rows are JSON objects whose fields have Docker's names, so that one set of data
 * serves every form. Text is made in a buffer; the caller prints it. */
#ifndef CMD_OUTPUT_H
#define CMD_OUTPUT_H

#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>

#define OUTPUT_FORMATS "table|wide|json|jsonl|yaml|csv|name"

struct output_column {
	const char *field;  /* "ID"; every row has it */
	const char *header; /* "CONTAINER ID" */
	bool wide;          /* only in `wide`; csv and the JSON forms have every field */
};

struct output {
	const char *format;   /* one of OUTPUT_FORMATS */
	const char *template; /* NULL: none; "json" and "table …" as in Docker */
	const struct output_column
	    *columns; /* end with field == NULL; the first one is what `name` prints */
};

/* Appends rows (an array). Control characters in tables become '?'. */
int output_rows(const struct output *o, const json_t *rows, struct buf *out, struct err *e);

/* Appends one object: "Field:  value" lines as table, nested ones indented; the other forms as for
 * rows. */
int output_object(const struct output *o, const json_t *object, struct buf *out, struct err *e);

#endif
