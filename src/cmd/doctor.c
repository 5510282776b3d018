#include "cmd/doctor.h"

#include "base/cleanup.h"
#include "base/str.h"
#include "codec/template.h"
#include "cmd/commands.h"
#include "cmd/viv.h"

#include <stdio.h>

static const char *const verdicts[] = {
    [VERDICT_OK] = "ok", [VERDICT_WARN] = "warn", [VERDICT_FAIL] = "fail"};

void doctor_add(json_t *rows, enum verdict verdict, const char *check, const char *found,
		const char *cure)
{
	json_array_append_new(rows, json_pack("{s:s, s:s, s:s, s:s}", "Check", check, "Status",
					      verdicts[verdict], "Found", found, "Cure",
					      cure ? cure : ""));
}

static const char *field(const json_t *row, const char *name)
{
	return json_string_value(json_object_get(row, name));
}

/* What people read: the cures stand below the finding that they mend. */
static void print_report(const json_t *rows, bool colour)
{
	static const char *const colours[] = {"\033[32m", "\033[33m", "\033[31m"};
	unsigned count[3] = {0};
	size_t i;
	json_t *row;

	json_array_foreach (rows, i, row) {
		int v = 0;

		while (!str_eq(verdicts[v], field(row, "Status")))
			v++;
		count[v]++;
		printf("%s%-4s%s  %-18s %s\n", colour ? colours[v] : "", verdicts[v],
		       colour ? "\033[0m" : "", field(row, "Check"), field(row, "Found"));
		if (*field(row, "Cure"))
			printf("      %-18s try: %s\n", "", field(row, "Cure"));
	}
	printf("\n%u ok, %u warnings, %u failed: %s\n", count[VERDICT_OK], count[VERDICT_WARN],
	       count[VERDICT_FAIL],
	       count[VERDICT_FAIL]   ? "containers cannot run here"
	       : count[VERDICT_WARN] ? "containers run here, with the limits named above"
				     : "this host can do everything");
}

int cmd_doctor(struct cli *c)
{
	static const struct output_column columns[] = {
	    {"Check", "CHECK", false},
	    {"Status", "STATUS", false},
	    {"Found", "FOUND", false},
	    {"Cure", "CURE", true},
	    {0},
	};
	_json_ json_t *rows = json_array();
	struct output o = viv_output(c, columns);
	int status = 0;
	size_t i;
	json_t *row;

	doctor_kernel(rows);
	doctor_users(rows);
	doctor_cgroups(rows);
	doctor_devices(rows);
	json_array_foreach (rows, i, row)
		if (str_eq(field(row, "Status"), verdicts[VERDICT_FAIL]))
			status = 1;
	if (!o.template && str_eq(o.format, "table")) {
		print_report(rows, viv_colour(c));
		return status;
	}
	int rc = viv_print_rows(c, columns, rows);

	return rc ? rc : status;
}
