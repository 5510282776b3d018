/* Which program answers to which word: `viv WORD …`, or a link to `viv` of that name. Everything
 * else is viv-cli's. For words of the table of commands this is only a short cut, and a unit test
 * compares the two. */
#ifndef CMD_PROGRAMS_H
#define CMD_PROGRAMS_H

#include <stdbool.h>

#define PROGRAM_DEFAULT "viv-cli"

/* Characters, not pointers: the launcher has nobody who relocates it. */
struct program {
	char word[16];    /* first word of the command line; "" only the link */
	char link[16];    /* argv[0] of links; "" none */
	char program[16]; /* file beside viv in the build folder, or in libexec */
	/* Executed from a sealed memfd, so that a container that gets at /proc/PID/exe of it finds
	 * nothing that it could overwrite, or that shares pages with the host's file. */
	bool sealed;
	/* The program gets the whole line: it has the table of all commands (cmd/table.h). Else the
	 * word is taken off, and the program's own command line follows. */
	bool whole;
};

/* clang-format off */
static const struct program programs[] = {
    {"disk", "qemu-img", "viv-disk"},
    {"", "qemu-io", "viv-disk"},
    {"export", "", "viv-image", .whole = true},
    {"import", "", "viv-image", .whole = true},
    {"history", "", "viv-image", .whole = true},
    {"image", "", "viv-image", .whole = true},
    {"images", "", "viv-image", .whole = true},
    {"load", "", "viv-image", .whole = true},
    {"save", "", "viv-image", .whole = true},
    {"rmi", "", "viv-image", .whole = true},
    {"tag", "", "viv-image", .whole = true},
    {"runtime", "runc", "viv-runtime", .sealed = true},
    {"login", "", "viv-registry", .whole = true},
    {"logout", "", "viv-registry", .whole = true},
    {"pull", "", "viv-registry", .whole = true},
    {"push", "", "viv-registry", .whole = true},
    {"search", "", "viv-registry", .whole = true},
};
/* clang-format on */

#endif
