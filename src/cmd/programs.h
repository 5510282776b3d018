/* Which program answers to which word: `viv WORD …`, or a link to `viv` of that name. Everything
 * else is viv-cli's. */
#ifndef CMD_PROGRAMS_H
#define CMD_PROGRAMS_H

#include <stdbool.h>

#define PROGRAM_DEFAULT "viv-cli"

struct program {
	const char *word;    /* first word of the command line */
	const char *link;    /* argv[0] of links; NULL: none */
	const char *program; /* file beside viv in the build folder, or in libexec */
	/* Executed from a sealed memfd, so that a container that gets at /proc/PID/exe of it finds
	 * nothing that it could overwrite, or that shares pages with the host's file. */
	bool sealed;
};

static const struct program programs[] = {
    {"runtime", "runc", "viv-runtime", true},
};

#endif
