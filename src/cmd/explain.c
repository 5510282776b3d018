/* viv explain: the table of error codes (base/err_codes.h) for people. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/commands.h"
#include "cmd/viv.h"
#include "codec/template.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

static const struct output_column columns[] = {
    {"Code", "CODE", false},  {"Status", "STATUS", false}, {"Summary", "SUMMARY", false},
    {"Cause", "CAUSE", true}, {"Cure", "CURE", true},      {0},
};

static json_t *row(const struct err_info *info)
{
	return json_pack("{s:s, s:i, s:s, s:s, s:s}", "Code", info->name, "Status", info->status,
			 "Summary", info->summary, "Cause", info->cause, "Cure", info->cure);
}

/* Codes are in capitals; what a person types may not be. */
static const char *near_code(const char *typed)
{
	_free_ char *wrong = mem_strdup(typed);
	const char *best = NULL;
	unsigned distance = 4;

	for (char *s = wrong; *s; s++)
		*s = (char)toupper((unsigned char)*s);

	for (int i = 0; i < ERR_COUNT; i++) {
		unsigned d = str_distance(wrong, err_info((enum err_code)i)->name, distance);

		if (d < distance) {
			distance = d;
			best = err_info((enum err_code)i)->name;
		}
	}
	return best;
}

static int list(struct cli *c)
{
	_json_ json_t *rows = json_array();

	for (int i = 0; i < ERR_COUNT; i++)
		json_array_append_new(rows, row(err_info((enum err_code)i)));
	return viv_print_rows(c, columns, rows);
}

int cmd_explain(struct cli *c)
{
	const char *code = cli_argv(c)[0];
	struct output o = viv_output(c, columns);
	struct err e = {0};

	if (!code)
		return list(c);
	const struct err_info *info = err_info_by_name(code);

	if (!info) {
		const char *near = near_code(code);

		err_set(&e, ERR_NOT_FOUND, -ENOENT, "there is no error code '%s'%s%s%s", code,
			near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
		return cli_fail(c, &e);
	}
	if (!o.template && str_eq(o.format, "table")) {
		printf("%s: %s\n\nCause: %s\nCure:  %s\nExit status of the command: %d\n",
		       info->name, info->summary, info->cause, info->cure, info->status);
		return 0;
	}
	_json_ json_t *one = row(info);

	return viv_print_object(c, columns, one);
}
