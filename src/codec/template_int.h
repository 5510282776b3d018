/* What parser, evaluator and functions of templates share. */
#ifndef CODEC_TEMPLATE_INT_H
#define CODEC_TEMPLATE_INT_H

#include "base/vec.h"
#include "codec/template.h"

#include <stdbool.h>

struct pipeline;

enum operand_kind {
	OPERAND_DOT,
	OPERAND_VARIABLE,
	OPERAND_LITERAL,
	OPERAND_FUNCTION,
	OPERAND_PIPELINE
};

/* One word of a command with the fields after it: ".A.B", "$v.A", "(index .L 0).A". */
struct operand {
	enum operand_kind kind;
	size_t at;              /* byte offset in the text, for messages */
	char *name;             /* of a variable (without '$') or function */
	json_t *literal;        /* owned */
	struct pipeline *inner; /* owned */
	VEC(char *) fields;
};

/* A function with its arguments, or a single operand. */
struct command {
	VEC(struct operand) words;
};

/* Commands separated by '|': each result is the last argument of the next. */
struct pipeline {
	size_t at;
	char *declares[2]; /* "$i, $v :="; for one name only [0] */
	VEC(struct command) commands;
};

enum node_kind { NODE_TEXT, NODE_PRINT, NODE_IF, NODE_RANGE, NODE_WITH };

struct node {
	enum node_kind kind;
	size_t at;
	char *text;
	struct pipeline *pipeline;
	struct node *body, *otherwise; /* of blocks; NULL: empty */
	struct node *next;
};

struct template
{
	char *text;
	struct node *nodes;
};

/* One evaluation. */
struct template_run {
	const struct template *t;
	bool header; /* functions hand their first value through */
	unsigned steps;
	struct err *e;
};

/* Sets the error with the position and returns -EINVAL. */
int template_error(const char *text, size_t at, struct err *e, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Whether such a function exists. */
bool template_is_function(const char *name);

/* Calls the function; at is the position for messages. Returns a new reference, or NULL after
 * setting the error. */
json_t *template_call(struct template_run *run, const char *name, size_t at, json_t *const *args,
		      size_t n);

/* As Go prints the value: strings bare, lists [a b], objects map[k:v]. */
void template_print(const json_t *value, struct buf *out);

/* Go's truth: not false, 0, nil, or empty. */
bool template_truth(const json_t *value);

#endif
