/* viv settings, settings get, set and unset. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "cmd/commands.h"
#include "cmd/viv.h"
#include "codec/template.h"

#include <errno.h>
#include <stdio.h>

int cmd_settings(struct cli *c)
{
	static const struct output_column columns[] = {
	    {"Key", "KEY", false},        {"Value", "VALUE", false}, {"Origin", "FROM", false},
	    {"Choices", "CHOICES", true}, {"Help", "MEANING", true}, {0},
	};
	const struct settings *s = viv_settings(c);
	_json_ json_t *rows = json_array();

	for (const struct cli_flag *f = settings_table; f->name; f++) {
		_free_ char *origin = settings_origin(s, f->name);
		const char *value = settings_get(s, f->name);

		json_array_append_new(rows, json_pack("{s:s, s:s, s:s, s:s, s:s}", "Key", f->name,
						      "Value", value ? value : "", "Origin", origin,
						      "Choices", f->choices ? f->choices : "",
						      "Help", f->help));
	}
	return viv_print_rows(c, columns, rows);
}

int cmd_settings_get(struct cli *c)
{
	const char *key = cli_argv(c)[0];
	struct err e = {0};

	if (settings_find(key) < 0) {
		err_set(&e, ERR_NOT_FOUND, -ENOENT, "there is no setting '%s'", key);
		return cli_fail(c, &e);
	}
	const char *value = settings_get(viv_settings(c), key);

	puts(value ? value : "");
	return 0;
}

static int change(struct cli *c, const char *value)
{
	struct err e = {0};
	int rc = settings_set(viv_settings(c), cli_bool(c, "system"), cli_argv(c)[0], value, &e);

	return rc ? cli_fail(c, &e) : 0;
}

int cmd_settings_set(struct cli *c)
{
	return change(c, cli_argv(c)[1]);
}

int cmd_settings_unset(struct cli *c)
{
	return change(c, NULL);
}
