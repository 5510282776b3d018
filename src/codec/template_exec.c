#include "base/cleanup.h"
#include "base/str.h"
#include "codec/template_int.h"

#include <errno.h>

/* Variables in scope, the newest first; "" is the whole data. Lives on the C stack. */
struct variable {
	const char *name;
	json_t *value; /* borrowed */
	const struct variable *outer;
};

struct scope {
	json_t *dot; /* borrowed */
	const struct variable *vars;
};

static json_t *eval_pipeline(struct template_run *run, const struct pipeline *pl,
			     const struct scope *s);
static int exec_nodes(struct template_run *run, const struct node *n, const struct scope *s,
		      struct buf *out);

#define fail(run, where, ...) template_error((run)->t->text, (where), (run)->e, __VA_ARGS__)

static int step(struct template_run *run, size_t at)
{
	return ++run->steps > TEMPLATE_STEPS_MAX
		   ? fail(run, at, "the evaluation takes too many steps")
		   : 0;
}

static const char *kind_name(const json_t *v)
{
	static const char *const names[] = {
	    [JSON_OBJECT] = "an object", [JSON_ARRAY] = "a list",  [JSON_STRING] = "a string",
	    [JSON_INTEGER] = "a number", [JSON_REAL] = "a number", [JSON_TRUE] = "a boolean",
	    [JSON_FALSE] = "a boolean",  [JSON_NULL] = "no value",
	};

	return names[json_typeof(v)];
}

/* Walks word's fields from v, which it takes. New reference. */
static json_t *walk_fields(struct template_run *run, const struct operand *word, json_t *v)
{
	vec_each (field, &word->fields) {
		json_t *inner = json_object_get(v, *field);

		if (!inner) {
			if (json_is_object(v))
				fail(run, word->at, "there is no field '%s'", *field);
			else
				fail(run, word->at, "%s has no field '%s'", kind_name(v), *field);
			json_decref(v);
			return NULL;
		}
		json_incref(inner);
		json_decref(v);
		v = inner;
	}
	return v;
}

static json_t *variable(struct template_run *run, const struct operand *word, const struct scope *s)
{
	for (const struct variable *v = s->vars; v; v = v->outer)
		if (str_eq(v->name, word->name))
			return json_incref(v->value);
	fail(run, word->at, "there is no variable '$%s'", word->name);
	return NULL;
}

/* New reference, or NULL after setting the error. */
static json_t *eval_operand(struct template_run *run, const struct operand *word,
			    const struct scope *s)
{
	json_t *v = NULL;

	switch (word->kind) {
	case OPERAND_DOT:
		v = json_incref(s->dot);
		break;
	case OPERAND_VARIABLE:
		v = variable(run, word, s);
		break;
	case OPERAND_LITERAL:
		v = json_incref(word->literal);
		break;
	case OPERAND_FUNCTION:
		v = template_call(run, word->name, word->at, NULL, 0);
		break;
	case OPERAND_PIPELINE:
		v = eval_pipeline(run, word->inner, s);
		break;
	}
	return v ? walk_fields(run, word, v) : NULL;
}

/* piped: the result of the command before it, or NULL; borrowed. */
static json_t *eval_command(struct template_run *run, const struct command *cmd, json_t *piped,
			    const struct scope *s)
{
	const struct operand *first = &cmd->words.v[0];
	VEC(json_t *) args = {0};
	json_t *result = NULL;

	if (step(run, first->at))
		return NULL;
	if (first->kind != OPERAND_FUNCTION)
		return eval_operand(run, first, s);
	for (size_t i = 1; i < cmd->words.n; i++) {
		json_t *arg = eval_operand(run, &cmd->words.v[i], s);

		if (!arg)
			goto out;
		vec_push(&args, arg);
	}
	if (piped)
		vec_push(&args, json_incref(piped));
	result = template_call(run, first->name, first->at, args.v, args.n);
out:
	vec_each (arg, &args)
		json_decref(*arg);
	vec_done(&args);
	return result;
}

static json_t *eval_pipeline(struct template_run *run, const struct pipeline *pl,
			     const struct scope *s)
{
	json_t *v = NULL;

	vec_each (cmd, &pl->commands) {
		json_t *next = eval_command(run, cmd, v, s);

		json_decref(v);
		if (!next)
			return NULL;
		v = next;
	}
	return v;
}

/* One round of range: key and value as the declared variables, value as '.'. */
static int exec_round(struct template_run *run, const struct node *n, json_t *key, json_t *value,
		      const struct scope *s, struct buf *out)
{
	char *const *names = n->pipeline->declares;
	struct variable first = {names[0], names[1] ? key : value, s->vars};
	struct variable second = {names[1], value, &first};
	struct scope inner = {value, names[1] ? &second : names[0] ? &first : s->vars};
	int rc = step(run, n->at);

	return rc ? rc : exec_nodes(run, n->body, &inner, out);
}

static int exec_range(struct template_run *run, const struct node *n, json_t *v,
		      const struct scope *s, struct buf *out)
{
	int rc = 0;

	if (!template_truth(v))
		return exec_nodes(run, n->otherwise, s, out);
	if (json_is_array(v)) {
		for (size_t i = 0; i < json_array_size(v) && !rc; i++) {
			_json_ json_t *key = json_integer((json_int_t)i);

			rc = exec_round(run, n, key, json_array_get(v, i), s, out);
		}
		return rc;
	}
	if (!json_is_object(v))
		return fail(run, n->at, "range cannot go over %s", kind_name(v));
	for (void *it = json_object_iter(v); it && !rc; it = json_object_iter_next(v, it)) {
		_json_ json_t *key = json_string_nocheck(json_object_iter_key(it));

		rc = exec_round(run, n, key, json_object_iter_value(it), s, out);
	}
	return rc;
}

static int exec_block(struct template_run *run, const struct node *n, const struct scope *s,
		      struct buf *out)
{
	_json_ json_t *v = eval_pipeline(run, n->pipeline, s);

	if (!v)
		return -EINVAL;
	if (n->kind == NODE_RANGE)
		return exec_range(run, n, v, s, out);
	if (!template_truth(v))
		return exec_nodes(run, n->otherwise, s, out);
	struct variable var = {n->pipeline->declares[0], v, s->vars};
	struct scope inner = {n->kind == NODE_WITH ? v : s->dot, var.name ? &var : s->vars};

	return exec_nodes(run, n->body, &inner, out);
}

/* A print action, or "$v := pipeline", which holds for the nodes after it in this block. */
static int exec_print(struct template_run *run, const struct node *n, const struct scope *s,
		      struct buf *out)
{
	_json_ json_t *v = eval_pipeline(run, n->pipeline, s);

	if (!v)
		return -EINVAL;
	if (n->pipeline->declares[0]) {
		struct variable var = {n->pipeline->declares[0], v, s->vars};
		struct scope inner = {s->dot, &var};

		return exec_nodes(run, n->next, &inner, out);
	}
	template_print(v, out);
	return 0;
}

static int exec_nodes(struct template_run *run, const struct node *n, const struct scope *s,
		      struct buf *out)
{
	for (; n; n = n->next) {
		bool declares = n->kind == NODE_PRINT && n->pipeline->declares[0];
		int rc = step(run, n->at);

		if (rc)
			return rc;
		if (n->kind == NODE_TEXT)
			buf_adds(out, n->text ? n->text : "");
		else
			rc = n->kind == NODE_PRINT ? exec_print(run, n, s, out)
						   : exec_block(run, n, s, out);
		if (!rc && out->len > TEMPLATE_OUT_MAX)
			rc = fail(run, n->at, "the output is too long");
		if (rc || declares) /* exec_print went on with the rest */
			return rc;
	}
	return 0;
}

static int execute(struct template_run *run, const json_t *data, struct buf *out)
{
	json_t *dot = (json_t *)data; /* never changed, only its reference count */
	struct variable whole = {"", dot, NULL};
	struct scope s = {dot, &whole};

	return exec_nodes(run, run->t->nodes, &s, out);
}

int template_exec(const struct template *t, const json_t *data, struct buf *out, struct err *e)
{
	return execute(&(struct template_run){.t = t, .e = e}, data, out);
}

int template_exec_header(const struct template *t, const json_t *data, struct buf *out,
			 struct err *e)
{
	return execute(&(struct template_run){.t = t, .header = true, .e = e}, data, out);
}
