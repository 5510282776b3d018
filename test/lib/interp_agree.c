/* interp_agree COUNT [SEED]: runs at least COUNT random instructions on this host's CPU and in the interpreter. Prints what
 * differs and stops there; -v also names the rows of the opcode table that were never reached. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "interp_host.h"
#include "isa/x86.h"

static void print_unreached(const struct interp_host *t)
{
	for (size_t i = 1; i < x86_row_count; i++)
		if (!t->rows[i] &&
		    (x86_rows[i].class == X86_CLASS_INT || x86_rows[i].class == X86_CLASS_VEXGPR))
			printf("never executed: %s %s\n", x86_row_encodings[i],
			       x86_mnemonic_name(x86_rows[i].mnemonic));
}

int main(int argc, char **argv)
{
	bool verbose = argc > 1 && strcmp(argv[1], "-v") == 0;
	static char why[8192];
	struct interp_host t;
	bool agree = true;
	int rc;

	argv += verbose;
	argc -= verbose;
	if (argc < 2) {
		fprintf(stderr, "usage: interp_agree [-v] COUNT [SEED]\n");
		return 2;
	}
	rc = interp_host_open(&t, argc > 2 ? strtoull(argv[2], NULL, 0) : 1);
	t.rows = calloc(x86_row_count, sizeof(*t.rows));
	while (rc == 0 && agree && t.rows && t.instructions < strtoull(argv[1], NULL, 0))
		agree = interp_host_try(&t, &rc, why, sizeof(why));
	if (rc < 0)
		printf("the host cannot be asked: %s\n", strerror(-rc));
	if (!agree)
		printf("%s", why);
	printf("%" PRIu64 " instructions in %" PRIu64 " sequences, %s\n", t.instructions,
	       t.sequences, agree ? "no difference" : "one difference");
	if (verbose)
		print_unreached(&t);
	interp_host_close(&t);
	free(t.rows);
	return rc < 0 || !agree;
}
