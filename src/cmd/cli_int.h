/* What the files of the command line library share; programs include cmd/cli.h. */
#ifndef CMD_CLI_INT_H
#define CMD_CLI_INT_H

#include "base/buf.h"
#include "base/vec.h"
#include "cmd/cli.h"

struct cli_value {
	bool given;       /* on the command line, not by fallback */
	const char *text; /* as written: borrows argv or the flag's fallback; NULL: no value */
	uint64_t number;  /* CLI_BOOL 0 or 1; CLI_INT and CLI_DURATION as two's complement */
	VEC(char *) list; /* CLI_LIST; ends with NULL, which n does not count */
};

struct cli_scope {
	const struct cli_flag *flags;
	struct cli_value *values; /* one per flag */
};

enum { SCOPE_COMMAND, SCOPE_PROGRAM, SCOPE_COUNT };

struct cli {
	const struct cli_program *program;
	char **words;                      /* the line behind the program's name */
	const struct cli_command *command; /* NULL: none named */
	const char *noun; /* a word that only begins commands: "image" of "image ls" */
	struct cli_scope scope[SCOPE_COUNT];
	VEC(char *) args; /* positionals, ends with NULL, which n does not count */
	bool help, help_all, version;
	bool flags_end; /* what follows is positional */
};

#define each_flag(f, flags) for (const struct cli_flag *f = (flags); f && f->name; f++)
#define each_command(cmd, program)                                                   \
	for (const struct cli_command *cmd = cli_next_command((program), NULL); cmd; \
	     cmd = cli_next_command((program), cmd))

/* The row behind this one, in whichever table; NULL: the first, and at the end. */
const struct cli_command *cli_next_command(const struct cli_program *p,
					   const struct cli_command *cmd);
/* What runs the command here; NULL: another program does. */
int (*cli_handler_of(const struct cli_program *p, const struct cli_command *cmd))(struct cli *c);

/* Makes the slots, with the fallbacks in them. done: also of a scope that is all zero. */
void cli_scope_init(struct cli_scope *s, const struct cli_flag *flags);
void cli_scope_done(struct cli_scope *s);

/* Finds a flag among the command's and then the program's; *ret_value is its slot. NULL: no such
 * flag. */
const struct cli_flag *cli_find_long(const struct cli *c, const char *name, size_t len,
				     struct cli_value **ret_value);
const struct cli_flag *cli_find_letter(const struct cli *c, char letter,
				       struct cli_value **ret_value);

/* Counts the words of argv that name a command (the longest match) and sets c->command, or c->noun
 * where a word only begins one. 0: no match. */
int cli_match_command(struct cli *c, char *const *argv);

/* Parses text as f's type into v. False: it is none, and *why says what was expected. */
bool cli_value_parse(const struct cli_flag *f, const char *text, struct cli_value *v,
		     struct buf *why);

/* "FILE", or what suits the type; NULL for CLI_BOOL. */
const char *cli_metavar(const struct cli_flag *f);

void cli_print_help(const struct cli_program *p, const struct cli_command *cmd, bool all);
void cli_print_noun_help(const struct cli_program *p, const char *noun);

/* The candidates for the last word of argv (which may be empty), one a line: "word" or
 * "word\tsummary"; last a line
 * ":file" or ":dir" where the shell shall add such names. */
int cli_complete(const struct cli_program *p, int argc, char **argv);

/* `__man [WORD...]`: the page of that command; `__man --list`: "viv-doctor.1", one page a line. */
int cli_man(const struct cli_program *p, int argc, char **argv);

#endif
