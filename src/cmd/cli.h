/* The command line's one table. A program has tables of struct cli_command; parser, --help, man
 * pages, completion and the reference page all come from them. Grammar: CLI chapter of
 * ARCHITECTURE.md. A command handler gets parsed values and returns the exit status. No global
 * state.
 *
 * Several programs may share their tables: each shows all of them, runs the commands for which it
 * has handlers, and hands the others to the program that the row names. */
#ifndef CMD_CLI_H
#define CMD_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum cli_type {
	CLI_BOOL,   /* --x, --x=true|false, -x */
	CLI_STRING, /* --x V, --x=V, -xV */
	CLI_LIST,   /* repeatable string */
	CLI_INT,    /* signed 64-bit */
	CLI_UINT,
	CLI_BYTES,    /* 512m, 1.5g */
	CLI_DURATION, /* Go's "1h2m3s4ms", or bare seconds; value in ms */
	CLI_ENUM,     /* one of choices, "a|b|c" */
};

struct cli_flag {
	const char *name; /* long name without dashes */
	char letter;      /* short name or 0 */
	enum cli_type type;
	const char *metavar;  /* "FILE" */
	const char *help;     /* one line, lower case, no full stop */
	const char *choices;  /* CLI_ENUM */
	const char *fallback; /* shown as default; parsed as the default value */
	const char
	    *complete; /* kind of names for completion: "container", "file", "dir"; NULL: none */
	bool hidden;
};

struct cli; /* one parsed command line */

struct cli_command {
	const char *name;  /* "runtime spec": words separated by spaces, below the program's name */
	const char *group; /* heading in --help; NULL hidden */
	const char *args;  /* "CONTAINER [COMMAND [ARG...]]", "" for none */
	const char *summary;     /* one line */
	const char *description; /* paragraphs for man page and --help; may be NULL */
	const char *examples;    /* lines "command\tcomment"; NULL: none */
	const char *complete;    /* kinds of the positionals, by position; the last one repeats */
	const struct cli_flag *flags; /* ends with name == NULL; NULL: none */
	int args_min, args_max;       /* positionals; max -1: any */
	bool stop_at_positional;      /* flags end at the first positional (exec, run) */
	bool passthrough; /* raw argv goes to the handler: links that keep their tool's grammar */
	int (*run)(struct cli *c); /* NULL: the handler is in the program's list, or elsewhere */
	const char *program;       /* where elsewhere is: "viv-image" */
};

/* What runs a command of a shared table; the lists end with command == NULL. */
struct cli_handler {
	const char *command; /* the row's name */
	int (*run)(struct cli *c);
};

struct cli_program {
	const char *name; /* "viv", "viv runtime" */
	const char *summary, *description;
	const struct cli_command *const
	    *tables; /* each ends with name == NULL, the list with NULL */
	const struct cli_handler
	    *handlers; /* of the rows without one; NULL: every row has its own */
	/* before the command, and after it unless the command has a flag of that name */
	const struct cli_flag *globals;
	const char *const *groups; /* order of headings, NULL-terminated */
	int usage_status;          /* of a usage error: 2, or the tool's own for links (runc: 1) */
	/* where --help would be longer, it names commands without their summaries; 0: no limit */
	unsigned help_lines;
	int section;           /* of the man pages; 0: 1 */
	bool link_style;       /* another tool's manners: an error is the bare message, status 1 */
	void (*version)(void); /* for --version, and -v where no flag has that letter */
	/* after parsing, before run or bare: logging set-up and the like; 0 continues */
	int (*before)(struct cli *c);
	int (*bare)(struct cli *c); /* no command given; NULL: help */
	/* prints the names of a kind that begin so, for completion: "name" or "name\tsummary" */
	int (*names)(const char *kind, const char *prefix);
	/* Becomes the program of a command that has no handler here, and returns the exit status
	 * where that fails. words: the line behind the program's name, or for a passthrough command
	 * behind the command; "__complete" comes first where the last word is to be completed. */
	int (*elsewhere)(const struct cli_command *cmd, char *const *words);
	void *context; /* the handlers' own */
};

/* Parses argv, prints help or a usage error, or runs the command. Returns the exit status. Every
 * program also answers `__complete WORD...` (what may stand where the last word stands, one a line;
 * ":file" and ":dir" ask for such names), `__man [COMMAND|--list]` and `__reference`. */
int cli_main(const struct cli_program *p, int argc, char **argv);

/* Inside a handler. Names are the long ones; asking for an undeclared flag is our bug (assert). */
bool cli_given(const struct cli *c, const char *flag);
bool cli_bool(const struct cli *c, const char *flag);
const char *cli_string(const struct cli *c, const char *flag); /* NULL: not given, no default */
int64_t cli_int(const struct cli *c, const char *flag);        /* CLI_INT, CLI_DURATION (ms) */
uint64_t cli_uint(const struct cli *c, const char *flag);      /* CLI_UINT, CLI_BYTES */
char *const *cli_list(const struct cli *c, const char *flag);  /* NULL-terminated, never NULL */
int cli_argc(const struct cli *c);                             /* positionals */
char *const *cli_argv(const struct cli *c);                    /* NULL-terminated */
const struct cli_command *cli_command(const struct cli *c);
const struct cli_program *cli_program(const struct cli *c);

/* Prints "NAME: message [CODE]" and the cure to stderr (JSON where the flag --output says json),
 * returns the status of e->code. With link_style only "NAME: message", and status 1. */
int cli_fail(const struct cli *c, const struct err *e);
/* A usage error found by a handler: message, then "see … --help". Returns usage_status. */
int cli_usage(const struct cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Generators for the build and the hidden commands: mdoc(7) man page of one command (NULL: the
 * program's own), completion scripts, Markdown reference. Written to stdout. */
void cli_print_man(const struct cli_program *p, const struct cli_command *cmd);
void cli_print_completion(const struct cli_program *p, const char *shell);
void cli_print_reference(const struct cli_program *p);

#endif
