/* `__complete WORD...`: what may stand where the last word stands. The shells' scripts
 * (cli_shell.c) only call this, so that completion knows what the parser knows. */
#include "cmd/cli_int.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <stdio.h>

/* The line up to the word to complete. */
struct spot {
	struct cli c;                    /* as the parser would have it, without values */
	const struct cli_flag *value_of; /* the word is this flag's value */
	int positionals;                 /* before the word */
	bool lost;                       /* an unknown word: nothing to offer */
};

static void candidate(const char *head, const char *name, size_t len, const char *prefix,
		      const char *summary)
{
	size_t n = strlen(prefix);

	if (len < n || memcmp(name, prefix, n))
		return;
	printf("%s%.*s%s%s\n", head, (int)len, name, summary ? "\t" : "", summary ? summary : "");
}

/* What flags_end, a flag or a command make of one word before the last. Returns how many words it
 * took. */
static int step(struct spot *spot, char **words)
{
	struct cli *c = &spot->c;
	const char *w = words[0];
	const struct cli_flag *f = NULL;
	struct cli_value *v;

	if (!c->flags_end && str_eq(w, "--")) {
		c->flags_end = true;
	} else if (!c->flags_end && w[0] == '-' && w[1] == '-') {
		if (!strchr(w, '='))
			f = cli_find_long(c, w + 2, strlen(w + 2), &v);
	} else if (!c->flags_end && w[0] == '-' && w[1]) {
		const char *p = w + 1;

		while ((f = cli_find_letter(c, *p, &v)) && f->type == CLI_BOOL && p[1])
			p++;
		if (f && p[1])
			f = NULL; /* "-xVALUE" */
	} else if (!c->command) {
		int n = cli_match_command(c, words);

		if (n)
			cli_scope_init(&c->scope[SCOPE_COMMAND], c->command->flags);
		else
			spot->lost = !str_eq(w, "help") && (!c->noun || words[1]);
		return n ? n : 1;
	} else {
		spot->positionals++;
		c->flags_end |= c->command->stop_at_positional;
	}
	if (!f || f->type == CLI_BOOL)
		return 1;
	if (!words[1])
		spot->value_of = f;
	return words[1] ? 2 : 1;
}

/* The n-th of the kinds in "container file"; the last one repeats. Returns owned, NULL where there
 * is none. */
static char *kind_at(const char *kinds, int n)
{
	size_t len;

	if (!kinds)
		return NULL;
	while (len = strcspn(kinds, " "), n-- > 0 && kinds[len])
		kinds += len + 1;
	return mem_strndup(kinds, len);
}

static int names(const struct cli_program *p, const char *kind, const char *prefix)
{
	if (!kind)
		return 0;
	if (str_eq(kind, "file") || str_eq(kind, "dir"))
		return printf(":%s\n", kind) < 0;
	return p->names ? p->names(kind, prefix) : 0;
}

/* head: what stands before the value in the same word ("--output=") and comes back with each
 * candidate. */
static int flag_values(const struct cli_program *p, const struct cli_flag *f, const char *head,
		       const char *prefix)
{
	if (f->type == CLI_BOOL && *head) {
		candidate(head, "true", 4, prefix, NULL);
		candidate(head, "false", 5, prefix, NULL);
	}
	for (const char *s = f->choices; s && *s; s += strcspn(s, "|"), s += *s == '|')
		candidate(head, s, strcspn(s, "|"), prefix, NULL);
	return f->choices ? 0 : names(p, f->complete, prefix);
}

static int flags(const struct spot *spot, const char *last)
{
	const char *eq = strchr(last, '=');
	struct cli_value *v;

	if (eq && last[1] == '-') {
		const struct cli_flag *f =
		    cli_find_long(&spot->c, last + 2, (size_t)(eq - last - 2), &v);
		_free_ char *head = mem_strndup(last, (size_t)(eq + 1 - last));

		return f ? flag_values(spot->c.program, f, head, eq + 1) : 0;
	}
	for (int s = 0; s < SCOPE_COUNT; s++)
		each_flag (f, spot->c.scope[s].flags) {
			_free_ char *name = mem_printf("--%s", f->name);

			if (!f->hidden)
				candidate("", name, strlen(name), last, f->help);
		}
	candidate("", "--help", 6, last, "show help");
	return 0;
}

/* First words of commands, or second words below a noun; each word once. */
static void commands(const struct cli *c, const char *last)
{
	_free_ char *below = c->noun ? mem_printf("%s ", c->noun) : mem_strdup("");
	char shown[64] = "";

	each_command (cmd, c->program) {
		const char *word = str_after(cmd->name, below);
		size_t len = word ? strcspn(word, " ") : 0;

		if (!len || !cmd->group || len >= sizeof(shown) ||
		    (strlen(shown) == len && !memcmp(shown, word, len)))
			continue;
		memcpy(shown, word, len);
		shown[len] = '\0';
		candidate("", word, len, last, word[len] ? NULL : cmd->summary);
	}
}

static int positional(const struct spot *spot, const char *last)
{
	const struct cli_command *cmd = spot->c.command;
	_free_ char *kind = kind_at(cmd->complete, spot->positionals);

	if (cmd->args_max >= 0 && spot->positionals >= cmd->args_max)
		return 0;
	return names(spot->c.program, kind, last);
}

/* The program that runs a command completes its words, too: it knows the names. */
static int complete_elsewhere(const struct cli_program *p, const struct cli_command *cmd, int argc,
			      char **argv)
{
	static char complete[] = "__complete";
	_free_ char **words = mem_array((size_t)argc + 2, sizeof(*words));

	words[0] = complete;
	for (int i = 0; i < argc; i++)
		words[i + 1] = argv[i];
	return p->elsewhere(cmd, words);
}

static int complete(struct spot *spot, int argc, char **argv, char **before)
{
	const struct cli_program *p = spot->c.program;
	const char *last = argc ? argv[argc - 1] : "";

	for (int i = 0; before[i] && !spot->lost;) {
		i += step(spot, before + i);
		const struct cli_command *cmd = spot->c.command;
		bool own = cmd && cli_handler_of(p, cmd);

		if (cmd && cmd->passthrough)
			return own ? names(p, "file", last)
				   : complete_elsewhere(p, cmd, argc - i, argv + i);
		if (cmd && !own)
			return complete_elsewhere(p, cmd, argc, argv);
	}
	if (spot->lost)
		return 0;
	if (spot->value_of)
		return flag_values(p, spot->value_of, "", last);
	if (last[0] == '-' && !spot->c.flags_end)
		return flags(spot, last);
	/* A command may be a noun, too: "settings" beside "settings set". */
	if (!spot->c.command || (spot->c.noun && !spot->positionals))
		commands(&spot->c, last);
	return spot->c.command ? positional(spot, last) : 0;
}

int cli_complete(const struct cli_program *p, int argc, char **argv)
{
	struct spot spot = {.c.program = p};
	/* The parser's look-ups see a line that ends before the last word. */
	_free_ char **before = mem_array((size_t)argc + 1, sizeof(*before));

	for (int i = 0; i + 1 < argc; i++)
		before[i] = argv[i];
	cli_scope_init(&spot.c.scope[SCOPE_PROGRAM], p->globals);
	int rc = complete(&spot, argc, argv, before);

	cli_scope_done(&spot.c.scope[SCOPE_PROGRAM]);
	cli_scope_done(&spot.c.scope[SCOPE_COMMAND]);
	return rc;
}
