/* Manual pages in mdoc(7) and the reference page in Markdown, made from the same tables as --help.
 */
#include "cmd/cli_int.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <ctype.h>
#include <stdio.h>

static int section(const struct cli_program *p)
{
	return p->section ? p->section : 1;
}

/* "viv-image-inspect": the page's name, which is also what .Nm says. Returns owned. */
static char *page_name(const struct cli_program *p, const struct cli_command *cmd)
{
	char *name = cmd ? mem_printf("%s %s", p->name, cmd->name) : mem_strdup(p->name);

	for (char *s = name; *s; s++)
		if (*s == ' ')
			*s = '-';
	return name;
}

/* Text for roff: a backslash is \e, a leading '.' or ''' is shielded; in arguments of macros quotes
 * are, too. In running text each sentence starts a line, as mdoc(7) wants it. */
static void put_roff(const char *text, size_t len, bool argument)
{
	bool line_start = true;

	for (size_t i = 0; i < len; i++) {
		char ch = text[i];

		if (!argument && ch == ' ' && i && text[i - 1] == '.' && i + 1 < len &&
		    isupper((unsigned char)text[i + 1]))
			ch = '\n';
		if (line_start && (ch == '.' || ch == '\''))
			fputs("\\&", stdout);
		if (ch == '\\')
			fputs("\\e", stdout);
		else if (ch == '"' && argument)
			fputs("\\(dq", stdout);
		else
			putchar(ch);
		line_start = ch == '\n';
	}
}

static void put_text(const char *text)
{
	put_roff(text, strlen(text), false);
	putchar('\n');
}

/* Each blank line starts a paragraph. */
static void put_paragraphs(const char *text)
{
	while (*text) {
		const char *end = strstr(text, "\n\n");
		size_t len = end ? (size_t)(end - text) : strlen(text);

		put_roff(text, len, false);
		putchar('\n');
		text += len;
		text += strspn(text, "\n");
		if (*text)
			puts(".Pp");
	}
}

/* "CONTAINER [COMMAND [ARG...]]" as .Ar CONTAINER Oo Ar COMMAND Oo Ar ARG... Oc Oc */
static void put_args(const char *args)
{
	bool first = true;

	while (*args) {
		size_t n = strcspn(args, " []");

		if (*args == ' ') {
			args++;
			continue;
		}
		fputs(first ? "." : " ", stdout);
		first = false;
		if (*args == '[' || *args == ']') {
			fputs(*args == '[' ? "Oo" : "Oc", stdout);
			args++;
			continue;
		}
		fputs("Ar \\&", stdout);
		put_roff(args, n, true);
		args += n;
	}
	if (!first)
		putchar('\n');
}

static void put_flags(const struct cli_flag *flags)
{
	puts(".Bl -tag -width Ds");
	each_flag (f, flags) {
		const char *metavar = cli_metavar(f);

		if (f->hidden)
			continue;
		fputs(".It", stdout);
		if (f->letter)
			printf(" Fl %c ,", f->letter);
		printf(" Fl -%s", f->name);
		if (metavar)
			printf(" Ar \\&%s", metavar);
		putchar('\n');
		put_roff(f->help, strlen(f->help), false);
		if (f->choices)
			printf(": one of %s", f->choices);
		if (f->fallback && *f->fallback) {
			fputs(" (default ", stdout);
			put_roff(f->fallback, strlen(f->fallback), false);
			putchar(')');
		}
		puts(".");
	}
	puts(".El");
}

static bool any_shown(const struct cli_flag *flags)
{
	each_flag (f, flags)
		if (!f->hidden)
			return true;
	return false;
}

static void put_examples(const char *examples)
{
	puts(".Sh EXAMPLES");
	for (bool first = true; *examples; first = false) {
		size_t n = strcspn(examples, "\n");
		const char *tab = memchr(examples, '\t', n);
		size_t left = tab ? (size_t)(tab - examples) : n;

		if (!first)
			puts(".Pp");
		if (tab) {
			putchar(toupper((unsigned char)tab[1]));
			put_roff(tab + 2, n - left - 2, false);
			puts(":");
		}
		fputs(".Dl \\&", stdout);
		put_roff(examples, left, true);
		putchar('\n');
		examples += n + (examples[n] == '\n');
	}
}

static void put_exit_status(const struct cli_program *p)
{
	puts(".Sh EXIT STATUS");
	if (p->link_style || p->usage_status != 2) {
		puts("0 on success.\nA failure ends with status 1, or with another where the "
		     "description says so.");
		return;
	}
	puts(".Bl -tag -width Ds -compact\n.It 0\nSuccess.\n.It 1\nFailed.\n.It 2\nThe command "
	     "line is wrong.\n"
	     ".It 3\nNot found.\n.It 4\nExists already, or conflicts with something.\n.It "
	     "5\nPermission denied.\n"
	     ".It 6\nA remote side cannot be reached.\n.It 7\nNo capacity.\n.It 124\nTimed "
	     "out.\n.El");
}

static void put_head(const struct cli_program *p, const struct cli_command *cmd)
{
	_free_ char *name = page_name(p, cmd);

	printf(".Dd %s\n.Dt ", VIV_DATE);
	for (const char *s = name; *s; s++)
		putchar(toupper((unsigned char)*s));
	printf(" %d\n.Os Vivarium\n.Sh NAME\n.Nm %s\n.Nd ", section(p), name);
	put_text(cmd ? cmd->summary : p->summary);
	printf(".Sh SYNOPSIS\n.Nm %s%s%s\n", p->name, cmd ? " " : "", cmd ? cmd->name : "");
}

static void put_command_page(const struct cli_program *p, const struct cli_command *cmd)
{
	_free_ char *parent = page_name(p, NULL);

	put_head(p, cmd);
	if (any_shown(cmd->flags))
		puts(".Op Ar FLAG ...");
	put_args(cmd->args);
	puts(".Sh DESCRIPTION");
	if (cmd->description)
		put_paragraphs(cmd->description);
	else
		printf("%c%s.\n", toupper((unsigned char)cmd->summary[0]), cmd->summary + 1);
	if (any_shown(cmd->flags)) {
		puts(".Pp\nThe flags are:");
		put_flags(cmd->flags);
	}
	if (any_shown(p->globals)) {
		printf(".Pp\nThe global flags of\n.Xr %s %d\nare accepted, too.\n", parent,
		       section(p));
	}
	put_exit_status(p);
	if (cmd->examples)
		put_examples(cmd->examples);
	printf(".Sh SEE ALSO\n.Xr %s %d\n", parent, section(p));
}

static void put_program_page(const struct cli_program *p)
{
	put_head(p, NULL);
	puts(".Op Ar FLAG ...\n.Op Ar COMMAND Op Ar ARG ...\n.Sh DESCRIPTION");
	put_paragraphs(p->description ? p->description : p->summary);
	if (any_shown(p->globals)) {
		puts(".Pp\nThe global flags stand before the command or after it:");
		put_flags(p->globals);
	}
	puts(".Sh COMMANDS");
	for (const char *const *g = p->groups; g && *g; g++) {
		printf(".Ss ");
		put_text(*g);
		puts(".Bl -tag -width Ds -compact");
		each_command (cmd, p) {
			_free_ char *name = page_name(p, cmd);

			if (!cmd->group || !str_eq(cmd->group, *g))
				continue;
			if (cmd->passthrough)
				printf(".It Ic %s\n", cmd->name);
			else
				printf(".It Xr %s %d\n", name, section(p));
			put_text(cmd->summary);
		}
		puts(".El");
	}
	put_exit_status(p);
}

void cli_print_man(const struct cli_program *p, const struct cli_command *cmd)
{
	if (cmd)
		put_command_page(p, cmd);
	else
		put_program_page(p);
}

/* A passthrough command is another program, with pages of its own. */
static bool has_page(const struct cli_command *cmd)
{
	return cmd->group && !cmd->passthrough;
}

static void list_pages(const struct cli_program *p)
{
	_free_ char *own = page_name(p, NULL);

	printf("%s.%d\n", own, section(p));
	each_command (cmd, p) {
		_free_ char *name = page_name(p, cmd);

		if (has_page(cmd))
			printf("%s.%d\n", name, section(p));
	}
}

int cli_man(const struct cli_program *p, int argc, char **argv)
{
	struct cli c = {.program = p};

	if (!argc) {
		cli_print_man(p, NULL);
		return 0;
	}
	if (argc == 1 && str_eq(argv[0], "--list")) {
		list_pages(p);
		return 0;
	}
	/* By page name ("viv-doctor"), as the build asks, or by the command's words. */
	each_command (cmd, p) {
		_free_ char *name = page_name(p, cmd);

		if (argc == 1 && str_eq(argv[0], name))
			c.command = cmd;
	}
	_free_ char *own = page_name(p, NULL);

	if (!c.command && !(argc == 1 && str_eq(argv[0], own)) &&
	    cli_match_command(&c, argv) != argc)
		return cli_usage(&c, "no command '%s'", argv[0]);
	cli_print_man(p, c.command);
	return 0;
}

/* --- Markdown --- */

static void reference_flags(const struct cli_flag *flags)
{
	if (!any_shown(flags))
		return;
	puts("\n| flag | |\n|---|---|");
	each_flag (f, flags) {
		const char *metavar = cli_metavar(f);

		if (f->hidden)
			continue;
		fputs("| `", stdout);
		if (f->letter)
			printf("-%c`, `", f->letter);
		printf("--%s%s%s` | %s", f->name, metavar ? " " : "", metavar ? metavar : "",
		       f->help);
		for (const char *s = f->choices; s && *s; s += strcspn(s, "|"), s += *s == '|')
			printf("%s`%.*s`", s == f->choices ? ": " : " ", (int)strcspn(s, "|"), s);
		if (f->fallback && *f->fallback)
			printf(" (default `%s`)", f->fallback);
		puts(" |");
	}
}

static void reference_command(const struct cli_program *p, const struct cli_command *cmd)
{
	printf("\n### %s %s %s\n\n%c%s.\n", p->name, cmd->name, cmd->args,
	       toupper((unsigned char)cmd->summary[0]), cmd->summary + 1);
	if (cmd->examples) {
		puts("\n```");
		for (const char *s = cmd->examples; *s;) {
			size_t n = strcspn(s, "\n");
			const char *tab = memchr(s, '\t', n);

			if (tab)
				printf("%-36.*s  # %.*s\n", (int)(tab - s), s,
				       (int)(s + n - tab - 1), tab + 1);
			else
				printf("%.*s\n", (int)n, s);
			s += n + (s[n] == '\n');
		}
		puts("```");
	}
	if (cmd->description)
		printf("\n%s\n", cmd->description);
	reference_flags(cmd->flags);
}

void cli_print_reference(const struct cli_program *p)
{
	printf("# %s\n\n%s\n", p->name, p->description ? p->description : p->summary);
	reference_flags(p->globals);
	for (const char *const *g = p->groups; g && *g; g++) {
		printf("\n## %s\n", *g);
		each_command (cmd, p)
			if (has_page(cmd) && str_eq(cmd->group, *g))
				reference_command(p, cmd);
	}
}
