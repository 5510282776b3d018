/* --help: of the program, of a noun ("image") and of a command. Plain text; headings are bold on a
 * terminal. */
#include "cmd/cli_int.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <stdio.h>
#include <sys/ioctl.h>

enum { WIDTH_DEFAULT = 80, WIDTH_MAX = 100, INDENT = 2, COLUMN_MAX = 30 };

struct page {
	struct buf text;
	unsigned width;
	bool colour;
};

static struct page page_new(void)
{
	struct page page = {.width = WIDTH_DEFAULT};
	const char *no_color = getenv("NO_COLOR");
	struct winsize ws;

	if (isatty(STDOUT_FILENO)) {
		page.colour = !no_color || !*no_color;
		if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) && ws.ws_col >= 40)
			page.width = ws.ws_col < WIDTH_MAX ? ws.ws_col : WIDTH_MAX;
	}
	return page;
}

static void page_print(struct page *page)
{
	fputs(buf_str(&page->text), stdout);
	buf_done(&page->text);
}

static void heading(struct page *page, const char *text)
{
	buf_addf(&page->text, page->colour ? "\n\033[1m%s:\033[0m\n" : "\n%s:\n", text);
}

/* Adds words, starting in column `at` and indenting the next lines to `indent`; ends the line.
 * Counts bytes, because the tables are ASCII. */
static void wrap(struct page *page, const char *text, unsigned at, unsigned indent)
{
	unsigned column = at;
	bool first = true;

	while (*text) {
		unsigned n = (unsigned)strcspn(text, " \n");

		if (!first && column + 1 + n > page->width) {
			buf_addf(&page->text, "\n%*s", (int)indent, "");
			column = indent;
		} else if (!first) {
			buf_addc(&page->text, ' ');
			column++;
		}
		buf_add(&page->text, text, n);
		column += n;
		first = false;
		text += n;
		text += strspn(text, " \n");
	}
	buf_addc(&page->text, '\n');
}

/* "  left      right", the right part wrapped in its own column. */
static void row(struct page *page, const char *left, const char *right, unsigned column)
{
	buf_addf(&page->text, "%*s%s", INDENT, "", left);
	unsigned at = INDENT + (unsigned)strlen(left);

	if (at + 2 > column) {
		buf_addf(&page->text, "\n");
		at = 0;
	}
	buf_addf(&page->text, "%*s", (int)(column - at), "");
	wrap(page, right, column, column);
}

static void paragraphs(struct page *page, const char *text)
{
	while (*text) {
		const char *end = strstr(text, "\n\n");
		_buf_ struct buf one = {0};

		buf_add(&one, text, end ? (size_t)(end - text) : strlen(text));
		buf_addc(&page->text, '\n');
		wrap(page, one.s, 0, 0);
		text = end ? end + 2 : "";
	}
}

static void flag_spelling(const struct cli_flag *f, struct buf *b)
{
	const char *metavar = cli_metavar(f);

	if (f->letter)
		buf_addf(b, "-%c, ", f->letter);
	else
		buf_adds(b, "    ");
	buf_addf(b, "--%s%s%s", f->name, metavar ? " " : "", metavar ? metavar : "");
}

static void flag_rows(struct page *page, const char *title, const struct cli_flag *flags)
{
	unsigned column = 0;
	bool any = false;

	each_flag (f, flags) {
		_buf_ struct buf left = {0};

		flag_spelling(f, &left);
		unsigned need = (unsigned)left.len + INDENT + 2;

		if (!f->hidden && need > column && need <= COLUMN_MAX)
			column = need;
		any |= !f->hidden;
	}
	if (!any)
		return;
	heading(page, title);
	each_flag (f, flags) {
		_buf_ struct buf left = {0}, right = {0};

		if (f->hidden)
			continue;
		flag_spelling(f, &left);
		buf_adds(&right, f->help);
		if (f->choices)
			buf_addf(&right, ": %s", f->choices);
		if (f->fallback && *f->fallback)
			buf_addf(&right, " (default %s)", f->fallback);
		row(page, left.s, right.s, column ? column : COLUMN_MAX);
	}
}

static void example_rows(struct page *page, const char *examples)
{
	heading(page, "Examples");
	while (*examples) {
		size_t n = strcspn(examples, "\n");
		const char *tab = memchr(examples, '\t', n);
		size_t left = tab ? (size_t)(tab - examples) : n;

		buf_addf(&page->text, "  %.*s", (int)left, examples);
		if (tab)
			buf_addf(&page->text, "%*s  # %.*s", left < 36 ? (int)(36 - left) : 0, "",
				 (int)(n - left - 1), tab + 1);
		buf_addc(&page->text, '\n');
		examples += n + (examples[n] == '\n');
	}
}

/* --- the program's page --- */

static void command_rows(struct page *page, const struct cli_program *p, const char *group)
{
	unsigned column = 0;

	each_command (cmd, p)
		if (cmd->group && strlen(cmd->name) + INDENT + 2 > column)
			column = (unsigned)strlen(cmd->name) + INDENT + 2;
	heading(page, group);
	each_command (cmd, p)
		if (cmd->group && str_eq(cmd->group, group))
			row(page, cmd->name, cmd->summary, column);
}

/* "Group   name name name": nouns appear once, without their verbs. */
static void name_row(struct page *page, const struct cli_program *p, const char *group,
		     unsigned column)
{
	_buf_ struct buf names = {0};
	char last[64] = "";

	each_command (cmd, p) {
		size_t n = strcspn(cmd->name, " ");

		if (!cmd->group || !str_eq(cmd->group, group) || n >= sizeof(last) ||
		    (strlen(last) == n && !memcmp(last, cmd->name, n)))
			continue;
		memcpy(last, cmd->name, n);
		last[n] = '\0';
		buf_addf(&names, "%s%s", names.len ? " " : "", last);
	}
	row(page, group, buf_str(&names), column);
}

static unsigned count_lines(const struct page *page)
{
	unsigned n = 0;

	for (const char *s = buf_str(&page->text); *s; s++)
		n += *s == '\n';
	return n;
}

static void program_head(struct page *page, const struct cli_program *p)
{
	buf_addf(&page->text, "%s: ", p->name);
	wrap(page, p->summary, (unsigned)strlen(p->name) + 2, 0);
	buf_addf(&page->text, "\nUsage: %s [FLAG...] COMMAND [ARG...]\n", p->name);
}

static void program_full(struct page *page, const struct cli_program *p, bool description)
{
	program_head(page, p);
	if (description && p->description)
		paragraphs(page, p->description);
	for (const char *const *g = p->groups; g && *g; g++)
		command_rows(page, p, *g);
	flag_rows(page, "Flags", p->globals);
	buf_addf(&page->text, "\n'%s COMMAND --help' tells more about a command.\n", p->name);
}

static void program_short(struct page *page, const struct cli_program *p)
{
	unsigned column = 0;

	program_head(page, p);
	for (const char *const *g = p->groups; g && *g; g++)
		if (strlen(*g) + INDENT + 2 > column)
			column = (unsigned)strlen(*g) + INDENT + 2;
	buf_addc(&page->text, '\n');
	for (const char *const *g = p->groups; g && *g; g++)
		name_row(page, p, *g, column);
	buf_addf(&page->text,
		 "\n'%s COMMAND --help' tells more about a command, '%s --help --all' lists "
		 "everything.\n",
		 p->name, p->name);
}

/* The commands below a noun: "image ls", "image inspect". */
static void noun_rows(struct page *page, const struct cli_program *p, const char *noun)
{
	_free_ char *prefix = mem_printf("%s ", noun);
	unsigned column = 0;

	each_command (cmd, p)
		if (cmd->group && str_after(cmd->name, prefix) &&
		    strlen(cmd->name) + INDENT + 2 > column)
			column = (unsigned)strlen(cmd->name) + INDENT + 2;
	if (!column)
		return;
	heading(page, "Commands");
	each_command (cmd, p)
		if (cmd->group && str_after(cmd->name, prefix))
			row(page, cmd->name, cmd->summary, column);
}

static void command_page(struct page *page, const struct cli_program *p,
			 const struct cli_command *cmd)
{
	bool flags = cmd->flags && cmd->flags->name;

	buf_addf(&page->text, "Usage: %s %s%s%s%s\n\n", p->name, cmd->name,
		 flags ? " [FLAG...]" : "", *cmd->args ? " " : "", cmd->args);
	wrap(page, cmd->summary, 0, 0);
	if (cmd->examples)
		example_rows(page, cmd->examples);
	if (cmd->description)
		paragraphs(page, cmd->description);
	noun_rows(page, p, cmd->name);
	flag_rows(page, "Flags", cmd->flags);
	flag_rows(page, "Global flags", p->globals);
}

void cli_print_help(const struct cli_program *p, const struct cli_command *cmd, bool all)
{
	struct page page = page_new();

	if (cmd) {
		command_page(&page, p, cmd);
	} else {
		program_full(&page, p, all);
		if (!all && p->help_lines && count_lines(&page) > p->help_lines) {
			buf_reset(&page.text);
			program_short(&page, p);
		}
	}
	page_print(&page);
}

void cli_print_noun_help(const struct cli_program *p, const char *noun)
{
	struct page page = page_new();

	buf_addf(&page.text, "Usage: %s %s COMMAND [ARG...]\n", p->name, noun);
	noun_rows(&page, p, noun);
	buf_addf(&page.text, "\n'%s %s COMMAND --help' tells more about a command.\n", p->name,
		 noun);
	page_print(&page);
}
