#include "codec/template.h"

#include "base/cleanup.h"
#include "base/str.h"
#include "codec/template_int.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>

struct parser {
	const char *text;
	size_t at;
	unsigned depth;
	struct err *e;
};

static int parse_nodes(struct parser *p, struct node **ret, const char **ret_stop);
static int parse_pipeline(struct parser *p, bool in_parens, struct pipeline **ret);

int template_error(const char *text, size_t at, struct err *e, const char *fmt, ...)
{
	size_t line = 1, column = 1;
	char msg[ERR_MSG_MAX];
	va_list ap;

	for (size_t i = 0; i < at; i++) {
		column = text[i] == '\n' ? 1 : column + 1;
		line += text[i] == '\n';
	}
	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	return err_set(e, ERR_USAGE, -EINVAL, "format, line %zu, column %zu: %s", line, column,
		       msg);
}

#define fail(p, where, ...) template_error((p)->text, (where), (p)->e, __VA_ARGS__)

/* --- ownership --- */

static void pipeline_free(struct pipeline *pl)
{
	if (!pl)
		return;
	vec_each (cmd, &pl->commands) {
		vec_each (word, &cmd->words) {
			vec_each (field, &word->fields)
				free(*field);
			vec_done(&word->fields);
			free(word->name);
			json_decref(word->literal);
			pipeline_free(word->inner);
		}
		vec_done(&cmd->words);
	}
	vec_done(&pl->commands);
	free(pl->declares[0]);
	free(pl->declares[1]);
	free(pl);
}

static void nodes_free(struct node *n)
{
	while (n) {
		struct node *next = n->next;

		free(n->text);
		pipeline_free(n->pipeline);
		nodes_free(n->body);
		nodes_free(n->otherwise);
		free(n);
		n = next;
	}
}

void template_free(struct template *t)
{
	if (!t)
		return;
	nodes_free(t->nodes);
	free(t->text);
	free(t);
}

/* --- inside {{ }} --- */

static const char *rest(const struct parser *p)
{
	return p->text + p->at;
}

static void skip_space(struct parser *p)
{
	p->at += strspn(rest(p), " \t\r\n");
}

/* The end of an action: "}}" or " -}}". Not consumed. */
static bool at_end(const struct parser *p)
{
	return str_after(rest(p), "}}") || str_after(rest(p), "-}}");
}

static bool is_name(char ch)
{
	return isalnum((unsigned char)ch) || ch == '_' || (ch & 0x80);
}

/* A name at this point; NULL where there is none. Returns owned. */
static char *take_name(struct parser *p)
{
	size_t n = 0;

	while (is_name(rest(p)[n]))
		n++;
	if (!n)
		return NULL;
	char *name = mem_strndup(rest(p), n);

	p->at += n;
	return name;
}

/* Whether the keyword stands here; steps over it then. */
static bool take_word(struct parser *p, const char *word)
{
	const char *after = str_after(rest(p), word);

	if (!after || is_name(*after))
		return false;
	p->at += strlen(word);
	skip_space(p);
	return true;
}

static int take_string(struct parser *p, json_t **ret)
{
	size_t start = p->at;
	char quote = p->text[p->at++];
	_buf_ struct buf b = {0};

	for (;; p->at++) {
		char ch = *rest(p);

		if (!ch || (ch == '\n' && quote == '"'))
			return fail(p, start, "the string is not closed");
		if (ch == quote)
			break;
		if (ch == '\\' && quote == '"') {
			static const char from[] = "nrt\\\"'", to[] = "\n\r\t\\\"'";
			const char *found = p->text[++p->at] ? strchr(from, *rest(p)) : NULL;

			if (!found)
				return fail(p, p->at - 1, "unknown escape in the string");
			ch = to[found - from];
		}
		buf_addc(&b, ch);
	}
	p->at++;
	*ret = json_stringn_nocheck(buf_str(&b), b.len);
	return 0;
}

static int take_number(struct parser *p, json_t **ret)
{
	size_t n = strspn(rest(p), "+-.0123456789eE");
	_free_ char *digits = mem_strndup(rest(p), n);
	int64_t whole;
	char *end;

	if (!str_to_i64(digits, &whole)) {
		*ret = json_integer(whole);
	} else {
		double real = strtod(digits, &end);

		*ret = *end || end == digits ? NULL : json_real(real);
	}
	if (!*ret)
		return fail(p, p->at, "'%s' is not a number", digits);
	p->at += n;
	return 0;
}

/* ".A.B" after an operand. */
static int take_fields(struct parser *p, struct operand *word)
{
	while (*rest(p) == '.') {
		p->at++;
		char *name = take_name(p);

		if (!name)
			return fail(p, p->at, "a field's name is missing after '.'");
		vec_push(&word->fields, name);
	}
	return 0;
}

static int take_named(struct parser *p, struct operand *word)
{
	static const char *const literals[] = {"true", "false", "nil"};

	word->name = take_name(p);
	if (!word->name)
		return fail(p, p->at, "'%c' is unexpected", *rest(p) ? *rest(p) : '?');
	for (size_t i = 0; i < ARRAY_SIZE(literals); i++)
		if (str_eq(word->name, literals[i])) {
			word->kind = OPERAND_LITERAL;
			word->literal = i < 2 ? json_boolean(!i) : json_null();
			return 0;
		}
	word->kind = OPERAND_FUNCTION;
	if (!template_is_function(word->name))
		return fail(p, word->at, "there is no function '%s'", word->name);
	return 0;
}

static int take_parens(struct parser *p, struct operand *word)
{
	word->kind = OPERAND_PIPELINE;
	if (++p->depth > TEMPLATE_DEPTH_MAX)
		return fail(p, p->at, "nested too deeply");
	p->at++;
	int rc = parse_pipeline(p, true, &word->inner);

	if (rc)
		return rc;
	p->at++; /* parse_pipeline stopped at ')' */
	p->depth--;
	return take_fields(p, word);
}

static int parse_operand(struct parser *p, struct operand *word)
{
	char ch = *rest(p);

	word->at = p->at;
	if (ch == '"' || ch == '`') {
		word->kind = OPERAND_LITERAL;
		return take_string(p, &word->literal);
	}
	if (isdigit((unsigned char)ch) ||
	    ((ch == '-' || ch == '+') && isdigit((unsigned char)rest(p)[1]))) {
		word->kind = OPERAND_LITERAL;
		return take_number(p, &word->literal);
	}
	if (ch == '(')
		return take_parens(p, word);
	if (ch == '.') {
		word->kind = OPERAND_DOT;
		if (!is_name(rest(p)[1])) {
			p->at++;
			return 0;
		}
		return take_fields(p, word);
	}
	if (ch == '$') {
		p->at++;
		word->kind = OPERAND_VARIABLE;
		word->name = take_name(p);
		if (!word->name)
			word->name = mem_strdup("");
		return take_fields(p, word);
	}
	return take_named(p, word);
}

static int parse_command(struct parser *p, struct command *cmd)
{
	for (;;) {
		skip_space(p);
		if (at_end(p) || strchr("|)", *rest(p)))
			break;
		vec_push(&cmd->words, (struct operand){.kind = OPERAND_DOT});
		int rc = parse_operand(p, &cmd->words.v[cmd->words.n - 1]);

		if (rc)
			return rc;
		if (!at_end(p) && !strchr(" \t\r\n|)", *rest(p)))
			return fail(p, p->at, "'%c' is unexpected", *rest(p));
	}
	if (!cmd->words.n)
		return fail(p, p->at, "a value is missing");
	for (size_t i = 1; i < cmd->words.n; i++)
		if (cmd->words.v[0].kind != OPERAND_FUNCTION)
			return fail(p, cmd->words.v[0].at, "only a function takes arguments");
	return 0;
}

/* "$i, $v :=" where it stands here; nothing is taken otherwise. */
static void take_declaration(struct parser *p, struct pipeline *pl)
{
	size_t start = p->at;
	char *names[2] = {NULL, NULL};

	for (int n = 0; n < 2 && *rest(p) == '$'; n++) {
		p->at++;
		names[n] = take_name(p);
		skip_space(p);
		if (*rest(p) != ',')
			break;
		p->at++;
		skip_space(p);
	}
	if (names[0] && str_after(rest(p), ":=")) {
		p->at += 2;
		pl->declares[0] = names[0];
		pl->declares[1] = names[1];
		return;
	}
	free(names[0]);
	free(names[1]);
	p->at = start;
}

static int parse_commands(struct parser *p, bool in_parens, struct pipeline *pl)
{
	for (;;) {
		vec_push(&pl->commands, (struct command){0});
		int rc = parse_command(p, &pl->commands.v[pl->commands.n - 1]);

		if (rc)
			return rc;
		if (pl->commands.n > 1 &&
		    pl->commands.v[pl->commands.n - 1].words.v[0].kind != OPERAND_FUNCTION)
			return fail(p, pl->commands.v[pl->commands.n - 1].words.v[0].at,
				    "only a function may follow '|'");
		if (*rest(p) != '|')
			break;
		p->at++;
	}
	if (in_parens != (*rest(p) == ')'))
		return fail(p, p->at, in_parens ? "')' is missing" : "')' is unexpected");
	return 0;
}

/* Stops before ')' or at the action's end. */
static int parse_pipeline(struct parser *p, bool in_parens, struct pipeline **ret)
{
	struct pipeline *pl = mem_alloc(sizeof(*pl));

	skip_space(p);
	pl->at = p->at;
	if (!in_parens)
		take_declaration(p, pl);
	int rc = parse_commands(p, in_parens, pl);

	if (rc)
		pipeline_free(pl);
	else
		*ret = pl;
	return rc;
}

/* --- text and blocks --- */

/* "}}" or "-}}", which trims the text that follows. */
static int take_end(struct parser *p)
{
	skip_space(p);
	bool trim = *rest(p) == '-';

	p->at += trim;
	if (!str_after(rest(p), "}}"))
		return fail(p, p->at, "'}}' is missing");
	p->at += 2;
	if (trim)
		skip_space(p);
	return 0;
}

static int skip_comment(struct parser *p)
{
	const char *end = strstr(rest(p) + 2, "*/");

	if (!end)
		return fail(p, p->at, "the comment is not closed");
	p->at = (size_t)(end + 2 - p->text);
	return take_end(p);
}

static int parse_block(struct parser *p, struct node *n)
{
	const char *stop;
	int rc;

	if (++p->depth > TEMPLATE_DEPTH_MAX)
		return fail(p, n->at, "nested too deeply");
	if ((rc = parse_pipeline(p, false, &n->pipeline)) || (rc = take_end(p)) ||
	    (rc = parse_nodes(p, &n->body, &stop)))
		return rc;
	if (str_eq(stop, "else")) {
		if (n->kind == NODE_IF &&
		    take_word(p, "if")) { /* its {{end}} is this block's too */
			n->otherwise = mem_alloc(sizeof(*n));
			n->otherwise->kind = NODE_IF;
			n->otherwise->at = n->at;
			rc = parse_block(p, n->otherwise);
			p->depth--;
			return rc;
		}
		if ((rc = take_end(p)) || (rc = parse_nodes(p, &n->otherwise, &stop)))
			return rc;
	}
	if (!str_eq(stop, "end"))
		return fail(p, n->at, *stop ? "a second 'else'" : "the block has no {{end}}");
	p->depth--;
	return take_end(p);
}

/* One action, from after "{{" on. *ret_stop: "else" or "end" where it is one of these (not
 * finished). */
static int parse_action(struct parser *p, struct node *n, const char **ret_stop)
{
	static const struct {
		const char *word;
		enum node_kind kind;
	} blocks[] = {{"if", NODE_IF}, {"range", NODE_RANGE}, {"with", NODE_WITH}};

	skip_space(p);
	n->at = p->at;
	if (str_after(rest(p), "/*"))
		return skip_comment(p);
	if (take_word(p, "else")) {
		*ret_stop = "else";
		return 0;
	}
	if (take_word(p, "end")) {
		*ret_stop = "end";
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(blocks); i++)
		if (take_word(p, blocks[i].word)) {
			n->kind = blocks[i].kind;
			return parse_block(p, n);
		}
	n->kind = NODE_PRINT;
	int rc = parse_pipeline(p, false, &n->pipeline);

	return rc ? rc : take_end(p);
}

/* The text up to the next action or the end; "{{- " trims it. Returns whether an action follows. */
static bool take_text(struct parser *p, struct node *n)
{
	const char *open = strstr(rest(p), "{{");
	size_t len = open ? (size_t)(open - rest(p)) : strlen(rest(p));
	size_t keep = len;

	n->kind = NODE_TEXT;
	n->at = p->at;
	if (open && open[2] == '-' && isspace((unsigned char)open[3]))
		while (keep && isspace((unsigned char)rest(p)[keep - 1]))
			keep--;
	n->text = mem_strndup(rest(p), keep);
	p->at += len;
	if (open)
		p->at += open[2] == '-' && isspace((unsigned char)open[3]) ? 3 : 2;
	return open;
}

static struct node *append(struct node ***tail)
{
	struct node *n = mem_alloc(sizeof(*n));

	**tail = n;
	*tail = &n->next;
	return n;
}

/* Nodes up to the text's end (*ret_stop "") or to an {{else}} or {{end}}, whose word has been
 * taken. What has been parsed belongs to *ret even on failure. */
static int parse_nodes(struct parser *p, struct node **ret, const char **ret_stop)
{
	struct node **tail = ret;

	*ret_stop = "";
	while (take_text(p, append(&tail))) {
		int rc = parse_action(p, append(&tail), ret_stop);

		if (rc || **ret_stop)
			return rc;
	}
	return 0;
}

int template_parse(const char *text, struct template **ret, struct err *e)
{
	if (strlen(text) > TEMPLATE_LEN_MAX)
		return err_set(e, ERR_USAGE, -EINVAL, "the format is longer than %u bytes",
			       TEMPLATE_LEN_MAX);
	struct template *t = mem_alloc(sizeof(*t));
	struct parser p = {.text = t->text = mem_strdup(text), .e = e};
	const char *stop;
	int rc = parse_nodes(&p, &t->nodes, &stop);

	if (!rc && *stop)
		rc = fail(&p, p.at, "'%s' without a block", stop);
	if (rc)
		template_free(t);
	else
		*ret = t;
	return rc;
}
