/* The one table of commands, and the launcher's short cut to the programs behind it. */
#include "test.h"

#include "base/str.h"
#include "cmd/programs.h"
#include "cmd/table.h"

#include <stdio.h>

#define each_row(row)                                                  \
	for (const struct cli_command *const *t = viv_tables; *t; t++) \
		for (const struct cli_command *row = *t; row->name; row++)

static const struct program *program_of(const char *command)
{
	size_t n = strcspn(command, " ");

	for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++)
		if (strlen(programs[i].word) == n && !memcmp(programs[i].word, command, n))
			return &programs[i];
	return NULL;
}

static void test_rows_agree_with_launcher(void **state)
{
	each_row(row)
	{
		const struct program *p = program_of(row->name);

		if (!row->program != !p || (p && !str_eq(p->program, row->program)))
			fail_msg("'%s' is %s in table.c, the launcher goes to %s", row->name,
				 row->program ? row->program : PROGRAM_DEFAULT,
				 p ? p->program : PROGRAM_DEFAULT);
		if (p && p->whole == row->passthrough)
			fail_msg("'%s': whole and passthrough exclude each other", row->name);
	}
}

static void test_words_have_rows(void **state)
{
	for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
		bool found = !programs[i].word[0];

		each_row(row) found |= program_of(row->name) == &programs[i];
		if (!found)
			fail_msg("the launcher knows '%s', table.c does not", programs[i].word);
	}
}

static void test_groups_are_known(void **state)
{
	each_row(row)
	{
		bool known = !row->group;

		for (const char *const *g = viv_groups; *g; g++)
			known |= *g == row->group;
		if (!known)
			fail_msg("'%s' is in no group of viv_groups", row->name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_rows_agree_with_launcher),
	    cmocka_unit_test(test_words_have_rows),
	    cmocka_unit_test(test_groups_are_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
