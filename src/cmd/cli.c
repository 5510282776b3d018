/* The command line: finds the command, parses flags, and hands the values to its handler. Grammar:
 * GNU long and short flags; globals before the command, or after it; "did you mean" for what is
 * unknown. Help, man pages and completion are in the files cli_*.c beside this one. */
#include "cmd/cli.h"

#include "base/cleanup.h"
#include "base/str.h"
#include "cmd/cli_int.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

/* --- the tables --- */

const struct cli_command *cli_next_command(const struct cli_program *p,
					   const struct cli_command *cmd)
{
	const struct cli_command *const *t = p->tables;

	if (cmd && cmd[1].name)
		return cmd + 1;
	while (cmd && *t) { /* the table that ends behind cmd */
		const struct cli_command *end = *t++;

		while (end->name)
			end++;
		if (end == cmd + 1)
			break;
	}
	while (*t && !(*t)->name)
		t++;
	return *t;
}

int (*cli_handler_of(const struct cli_program *p, const struct cli_command *cmd))(struct cli *c)
{
	const struct cli_handler *h = p->handlers;

	while (!cmd->run && h && h->command && !str_eq(h->command, cmd->name))
		h++;
	return cmd->run || !h ? cmd->run : h->run;
}

/* --- finding names --- */

const struct cli_flag *cli_find_long(const struct cli *c, const char *name, size_t len,
				     struct cli_value **ret_value)
{
	for (int s = 0; s < SCOPE_COUNT; s++)
		each_flag (f, c->scope[s].flags)
			if (strlen(f->name) == len && !memcmp(f->name, name, len)) {
				*ret_value = &c->scope[s].values[f - c->scope[s].flags];
				return f;
			}
	return NULL;
}

const struct cli_flag *cli_find_letter(const struct cli *c, char letter,
				       struct cli_value **ret_value)
{
	for (int s = 0; s < SCOPE_COUNT; s++)
		each_flag (f, c->scope[s].flags)
			if (f->letter && f->letter == letter) {
				*ret_value = &c->scope[s].values[f - c->scope[s].flags];
				return f;
			}
	return NULL;
}

int cli_match_command(struct cli *c, char *const *argv)
{
	_buf_ struct buf words = {0};
	int matched = 0;
	bool begins = true;

	for (int n = 0; begins && argv[n] && argv[n][0] != '-'; n++) {
		buf_addf(&words, "%s%s", n ? " " : "", argv[n]);
		begins = false;
		each_command (cmd, c->program) {
			const char *rest = str_after(cmd->name, words.s);

			if (rest && !*rest) {
				c->command = cmd;
				matched = n + 1;
			}
			begins |= rest && *rest == ' ';
		}
		if (!n && begins)
			c->noun = argv[0];
	}
	return matched;
}

/* Tries name as the best suggestion so far for wrong. */
static void suggest(const char *wrong, const char *name, const char **best, unsigned *distance)
{
	unsigned d = str_distance(wrong, name, *distance);

	if (d < *distance) {
		*best = name;
		*distance = d;
	}
}

/* Only a name that differs in less than half of its letters, and by three at most, is worth
 * suggesting. */
static unsigned suggest_limit(const char *wrong)
{
	size_t half = strlen(wrong) / 2;

	return half > 3 ? 4 : (unsigned)half + 1;
}

static const char *suggest_command(const struct cli_program *p, const char *wrong)
{
	const char *best = NULL;
	unsigned distance = suggest_limit(wrong);

	each_command (cmd, p)
		if (cmd->group)
			suggest(wrong, cmd->name, &best, &distance);
	return best;
}

static const char *suggest_flag(const struct cli *c, const char *wrong)
{
	const char *best = NULL;
	unsigned distance = suggest_limit(wrong);

	for (int s = 0; s < SCOPE_COUNT; s++)
		each_flag (f, c->scope[s].flags)
			if (!f->hidden)
				suggest(wrong, f->name, &best, &distance);
	return best;
}

/* --- errors --- */

int cli_usage(const struct cli *c, const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fprintf(stderr, "%s: ", c->program->name);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\nsee '%s%s%s --help'\n", c->program->name, c->command ? " " : "",
		c->command ? c->command->name : "");
	return c->program->usage_status;
}

/* By the program's own --output: that of `save` names a file. */
static bool wants_json(const struct cli *c)
{
	const struct cli_scope *s = &c->scope[SCOPE_PROGRAM];

	each_flag (f, s->flags)
		if (str_eq(f->name, "output")) {
			const char *text = s->values[f - s->flags].text;

			return text && str_after(text, "json");
		}
	return false;
}

int cli_fail(const struct cli *c, const struct err *e)
{
	const struct err_info *info = err_info(e->code);
	const char *name = c->program->name;

	fflush(stdout);
	if (c->program->link_style) {
		fprintf(stderr, "%s: %s\n", name, e->msg);
		return 1;
	}
	if (wants_json(c)) {
		_buf_ struct buf b = {0};

		buf_adds(&b, "{\"error\":{\"code\":");
		buf_add_json_string(&b, info->name);
		buf_adds(&b, ",\"message\":");
		buf_add_json_string(&b, e->msg);
		buf_adds(&b, ",\"cure\":");
		buf_add_json_string(&b, info->cure);
		fprintf(stderr, "%s}}\n", b.s);
	} else if (e->code == ERR_NONE) {
		fprintf(stderr, "%s: %s\n", name, e->msg);
	} else {
		fprintf(stderr, "%s: %s [%s]\ntry: %s   more: viv explain %s\n", name, e->msg,
			info->name, info->cure, info->name);
	}
	return info->status;
}

/* --- parsing --- */

void cli_scope_init(struct cli_scope *s, const struct cli_flag *flags)
{
	size_t n = 0;

	each_flag (f, flags)
		n++;
	s->flags = flags;
	s->values = mem_array(n + 1, sizeof(*s->values));
	for (size_t i = 0; i < n; i++) {
		_buf_ struct buf why = {0};

		if (flags[i].fallback &&
		    !cli_value_parse(&flags[i], flags[i].fallback, &s->values[i], &why))
			assert(!"a flag's fallback is of its type");
	}
}

void cli_scope_done(struct cli_scope *s)
{
	each_flag (f, s->flags)
		vec_done(&s->values[f - s->flags].list);
	free(s->values);
}

/* Stores text as the value of f, which was written as `written`. Returns 0 or the usage status. */
static int take_value(struct cli *c, const struct cli_flag *f, struct cli_value *v,
		      const char *written, const char *text)
{
	_buf_ struct buf why = {0};

	if (!v->given)
		vec_done(&v->list); /* what is given replaces the fallback */
	v->given = true;
	if (cli_value_parse(f, text, v, &why))
		return 0;
	return cli_usage(c, "%s '%s' is not %s", written, text, buf_str(&why));
}

static int need_value(struct cli *c, const struct cli_flag *f, const char *written)
{
	return cli_usage(c, "%s needs a value (%s)", written, cli_metavar(f));
}

/* "--name", "--name=value", "--name value"; *i is the index in argv and moves over a value. */
static int parse_long(struct cli *c, char **argv, int *i)
{
	const char *name = argv[*i] + 2;
	size_t len = strcspn(name, "=");
	const char *value = name[len] ? name + len + 1 : NULL;
	_free_ char *written = mem_printf("--%.*s", (int)len, name);
	struct cli_value *v;
	const struct cli_flag *f = cli_find_long(c, name, len, &v);

	if (!f && str_eq(name, "help")) {
		c->help = true;
		return 0;
	}
	if (!f && str_eq(name, "version") && !c->command && c->program->version) {
		c->version = true;
		return 0;
	}
	if (!f) {
		const char *near = suggest_flag(c, written + 2);

		return near ? cli_usage(c, "unknown flag '%s'; did you mean '--%s'?", written, near)
			    : cli_usage(c, "unknown flag '%s'", written);
	}
	if (!value && f->type == CLI_BOOL)
		value = "true";
	if (!value)
		value = argv[*i + 1] ? argv[++*i] : NULL;
	return value ? take_value(c, f, v, written, value) : need_value(c, f, written);
}

/* "-abc", "-xVALUE", "-x=VALUE", "-x VALUE". */
static int parse_short(struct cli *c, char **argv, int *i)
{
	for (const char *p = argv[*i] + 1; *p; p++) {
		struct cli_value *v;
		const struct cli_flag *f = cli_find_letter(c, *p, &v);
		char written[] = {'-', *p, '\0'};
		const char *value = "true";

		if (!f && *p == 'h') {
			c->help = true;
			return 0;
		}
		if (!f && *p == 'v' && !c->command && c->program->version) {
			c->version = true;
			return 0;
		}
		if (!f)
			return cli_usage(c, "unknown flag '%s' in '%s'", written, argv[*i]);
		bool rest_is_value = p[1] == '=' || (p[1] && f->type != CLI_BOOL);

		if (rest_is_value)
			value = p + 1 + (p[1] == '=');
		else if (f->type != CLI_BOOL)
			value = argv[*i + 1] ? argv[++*i] : NULL;
		if (!value)
			return need_value(c, f, written);
		int rc = take_value(c, f, v, written, value);

		if (rc || rest_is_value || f->type != CLI_BOOL)
			return rc;
	}
	return 0;
}

static int unknown_command(const struct cli *c, const char *word, const char *second)
{
	_free_ char *full =
	    c->noun && second ? mem_printf("%s %s", word, second) : mem_strdup(word);
	const char *near = suggest_command(c->program, full);

	return near ? cli_usage(c, "unknown command '%s'; did you mean '%s'?", full, near)
		    : cli_usage(c, "unknown command '%s'", full);
}

/* The words after a passthrough command; "help COMMAND" becomes its own "--help". */
static void take_raw(struct cli *c, char **argv, int *i)
{
	static char help[] = "--help";

	while (argv[*i + 1])
		vec_push(&c->args, argv[++*i]);
	if (c->help)
		vec_push(&c->args, help);
	c->help = false;
}

/* A word where the command's name is expected. */
static int take_command(struct cli *c, char **argv, int *i)
{
	int words = cli_match_command(c, argv + *i);

	if (!words && !c->noun && str_eq(argv[*i], "help")) {
		c->help = true;
		return 0;
	}
	if (!words) {
		const char *second = argv[*i + 1] && argv[*i + 1][0] != '-' ? argv[*i + 1] : NULL;

		return c->noun && !second ? 0 : unknown_command(c, argv[*i], second);
	}
	*i += words - 1;
	cli_scope_init(&c->scope[SCOPE_COMMAND], c->command->flags);
	if (c->command->passthrough)
		take_raw(c, argv, i);
	return 0;
}

static int parse_flag(struct cli *c, char **argv, int *i)
{
	if (c->help) { /* which page is all that matters now */
		c->help_all |= str_eq(argv[*i], "--all");
		return 0;
	}
	return argv[*i][1] == '-' ? parse_long(c, argv, i) : parse_short(c, argv, i);
}

static int parse(struct cli *c, char **argv)
{
	int rc = 0;

	for (int i = 1; argv[0] && argv[i] && !rc; i++) {
		bool is_flag = !c->flags_end && argv[i][0] == '-' && argv[i][1];

		if (is_flag && str_eq(argv[i], "--")) {
			c->flags_end = true;
		} else if (is_flag) {
			rc = parse_flag(c, argv, &i);
		} else if (!c->command) {
			rc = take_command(c, argv, &i);
		} else {
			vec_push(&c->args, argv[i]);
			c->flags_end |= c->command->stop_at_positional;
		}
	}
	vec_push(&c->args, NULL);
	c->args.n--;
	return rc;
}

static int check_args(const struct cli *c)
{
	const struct cli_command *cmd = c->command;
	int n = (int)c->args.n;

	if (cmd->passthrough || (n >= cmd->args_min && (cmd->args_max < 0 || n <= cmd->args_max)))
		return 0;
	if (n < cmd->args_min)
		return cli_usage(c, "'%s' needs %s: %s", cmd->name,
				 n || cmd->args_min > 1 ? "more arguments" : "an argument",
				 cmd->args);
	if (!cmd->args_max)
		return cli_usage(c, "'%s' takes no arguments, '%s' is one", cmd->name,
				 c->args.v[0]);
	return cli_usage(c, "'%s' takes no more arguments than %s; '%s' is too many", cmd->name,
			 cmd->args, c->args.v[cmd->args_max]);
}

static int run(struct cli *c)
{
	const struct cli_program *p = c->program;

	if (c->version)
		return p->version(), 0;
	if (c->help && c->noun && !c->command)
		return cli_print_noun_help(p, c->noun), 0;
	if (c->help)
		return cli_print_help(p, c->command, c->help_all), 0;
	if (!c->command && c->noun)
		return cli_print_noun_help(p, c->noun), p->usage_status;
	if (!c->command && !p->bare)
		return cli_print_help(p, NULL, false), p->usage_status;
	int (*handler)(struct cli * c) = c->command ? cli_handler_of(p, c->command) : p->bare;
	int rc = c->command ? check_args(c) : 0;

	if (rc)
		return rc;
	if (!handler)
		return p->elsewhere(c->command, c->command->passthrough ? c->args.v : c->words);
	rc = p->before ? p->before(c) : 0;
	return rc ? rc : handler(c);
}

/* Output that was lost (a full disk) is a failure; a reader that went away is not worth a word. */
static int flush(const struct cli_program *p, int status)
{
	if (!fflush(stdout) && !ferror(stdout))
		return status;
	if (errno != EPIPE)
		fprintf(stderr, "%s: cannot write the output: %s\n", p->name, strerror(errno));
	return status ? status : 1;
}

int cli_main(const struct cli_program *p, int argc, char **argv)
{
	struct cli c = {.program = p, .words = argv + (argc > 0)};
	int status;

	cli_scope_init(&c.scope[SCOPE_PROGRAM], p->globals);
	if (argc > 1 && str_eq(argv[1], "__complete"))
		status = cli_complete(p, argc - 2, argv + 2);
	else if (argc > 1 && str_eq(argv[1], "__man"))
		status = cli_man(p, argc - 2, argv + 2);
	else if (argc == 2 && str_eq(argv[1], "__reference"))
		status = (cli_print_reference(p), 0);
	else if (!(status = parse(&c, argv)))
		status = run(&c);
	cli_scope_done(&c.scope[SCOPE_PROGRAM]);
	cli_scope_done(&c.scope[SCOPE_COMMAND]);
	vec_done(&c.args);
	return flush(p, status);
}

/* --- what a handler asks --- */

static const struct cli_value *value_of(const struct cli *c, const char *name, unsigned types)
{
	struct cli_value *v;
	const struct cli_flag *f = cli_find_long(c, name, strlen(name), &v);

	assert(f && (types >> f->type & 1));
	return v;
}

bool cli_given(const struct cli *c, const char *flag)
{
	return value_of(c, flag, ~0u)->given;
}

bool cli_bool(const struct cli *c, const char *flag)
{
	return value_of(c, flag, 1u << CLI_BOOL)->number;
}

const char *cli_string(const struct cli *c, const char *flag)
{
	return value_of(c, flag, ~(1u << CLI_LIST))->text;
}

int64_t cli_int(const struct cli *c, const char *flag)
{
	return (int64_t)value_of(c, flag, 1u << CLI_INT | 1u << CLI_DURATION)->number;
}

uint64_t cli_uint(const struct cli *c, const char *flag)
{
	return value_of(c, flag, 1u << CLI_UINT | 1u << CLI_BYTES)->number;
}

char *const *cli_list(const struct cli *c, const char *flag)
{
	static char *const none[] = {NULL};
	const struct cli_value *v = value_of(c, flag, 1u << CLI_LIST);

	return v->list.v ? v->list.v : none;
}

int cli_argc(const struct cli *c)
{
	return (int)c->args.n;
}

char *const *cli_argv(const struct cli *c)
{
	return c->args.v;
}

const struct cli_command *cli_command(const struct cli *c)
{
	return c->command;
}

const struct cli_program *cli_program(const struct cli *c)
{
	return c->program;
}
