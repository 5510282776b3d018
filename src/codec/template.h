/* The subset of Go's text/template that `--format` of Docker-style commands needs, evaluated over
 * JSON values.
 *
 * Actions: {{pipeline}}, if / else if / else, range (with $i, $v :=) / else, with / else, end,
 * comments, trim markers
 * {{- -}}. Operands: . .A.B $ $v "string" `raw` numbers true false nil (pipeline). Functions: json
 * join split lower upper title truncate pad println print len index and or not eq ne lt le gt ge.
 * No printf, no templates within templates, no methods.
 *
 * Differences from Go: a field that the data lacks is an error (Docker's own formatters behave so),
 * and lengths count characters. Templates come from the user: every bound is named here. No
 * threads; a parsed template may be used often. */
#ifndef CODEC_TEMPLATE_H
#define CODEC_TEMPLATE_H

#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>

#define TEMPLATE_LEN_MAX   (64u << 10) /* bytes of the template */
#define TEMPLATE_DEPTH_MAX 64          /* blocks and parentheses within each other */
#define TEMPLATE_STEPS_MAX 1000000     /* actions, commands, list elements, 256 bytes made */
#define TEMPLATE_OUT_MAX   (64u << 20) /* bytes of one evaluation's output */
#define TEMPLATE_VALUE_MAX (16u << 20) /* bytes of a string that a function makes */

struct template;

/* Errors name the position: "format, line 1, column 7: …". */
int template_parse(const char *text, struct template **ret, struct err *e);
void template_free(struct template *t);

/* Appends the text that data gives. On failure out has what came before. */
int template_exec(const struct template *t, const json_t *data, struct buf *out, struct err *e);

/* As template_exec, for a table's heading: data maps fields to headings, and functions hand their
 * value through, so that {{upper .Name}} heads its column "NAME". */
int template_exec_header(const struct template *t, const json_t *data, struct buf *out,
			 struct err *e);

static inline void cleanup_template(struct template **t)
{
	template_free(*t);
}
#define _template_ __attribute__((cleanup(cleanup_template)))

static inline void cleanup_json(json_t **v)
{
	json_decref(*v);
}
#define _json_ __attribute__((cleanup(cleanup_json)))

#endif
