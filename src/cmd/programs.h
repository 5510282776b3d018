/* Which program answers to which word: `viv WORD …`, or a link to `viv` of that name. Everything
 * else is viv-cli's. */
#ifndef CMD_PROGRAMS_H
#define CMD_PROGRAMS_H

#include <stdbool.h>

#define PROGRAM_DEFAULT "viv-cli"

/* Characters, not pointers: the launcher has nobody who relocates it. */
struct program {
	char word[16];    /* first word of the command line */
	char link[16];    /* argv[0] of links; "" none */
	char program[16]; /* file beside viv in the build folder, or in libexec */
	/* Executed from a sealed memfd, so that a container that gets at /proc/PID/exe of it finds
	 * nothing that it could overwrite, or that shares pages with the host's file. */
	bool sealed;
};

static const struct program programs[] = {
    {"runtime", "runc", "viv-runtime", true},
};

#endif
