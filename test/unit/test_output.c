#include "test.h"

#include "base/cleanup.h"
#include "cmd/output.h"
#include "codec/template.h"

static const struct output_column columns[] = {{"ID", "ID", false},
					       {"Name", "NAME", false},
					       {"Ports", "PORTS", true},
					       {"Up", "UP", false},
					       {0}};

static json_t *sample(void)
{
	json_t *rows = json_loads(
	    "[{\"ID\":\"1\",\"Name\":\"web\",\"Ports\":[80,443],\"Up\":true,\"Extra\":null},"
	    "{\"ID\":\"22222\",\"Name\":\"d\xc3\xa4mon "
	    "\\\"x\\\"\\u001b[31m\",\"Ports\":[],\"Up\":false,"
	    "\"Extra\":{\"a\":1}}]",
	    0, NULL);

	assert_non_null(rows);
	return rows;
}

static const char *render(const char *format, const char *template, const json_t *rows,
			  struct buf *out)
{
	struct output o = {.format = format, .template = template, .columns = columns};
	struct err e = {0};

	buf_reset(out);
	if (output_rows(&o, rows, out, &e)) {
		buf_reset(out);
		buf_addf(out, "ERROR %s", e.msg);
	}
	return buf_str(out);
}

static void test_tables(void **state)
{
	_json_ json_t *rows = sample(), *none = json_array();
	_buf_ struct buf out = {0};

	/* Width counts characters; the escape sequence in the name is defused. */
	assert_string_equal(render("table", NULL, rows, &out),
			    "ID      NAME             UP\n"
			    "1       web              yes\n"
			    "22222   d\xc3\xa4mon \"x\"?[31m   no\n");
	assert_string_equal(render("wide", NULL, rows, &out),
			    "ID      NAME             PORTS    UP\n"
			    "1       web              80,443   yes\n"
			    "22222   d\xc3\xa4mon \"x\"?[31m            no\n");
	assert_string_equal(render("table", NULL, none, &out), "ID   NAME   UP\n");
	assert_string_equal(render("name", NULL, rows, &out), "1\n22222\n");
}

static void test_machine_forms(void **state)
{
	_json_ json_t *rows = sample();
	_buf_ struct buf out = {0};

	_json_ json_t *back = json_loads(render("json", NULL, rows, &out), 0, NULL);

	assert_true(json_equal(back, rows));
	render("jsonl", NULL, rows, &out);
	char *second = strchr(out.s, '\n') + 1;
	_json_ json_t *line = json_loads(second, JSON_DISABLE_EOF_CHECK, NULL);

	assert_true(json_equal(line, json_array_get(rows, 1)));
	assert_string_equal(strchr(second, '\n'), "\n");
	assert_string_equal(render("csv", NULL, rows, &out),
			    "ID,Name,Ports,Up\r\n"
			    "1,web,\"[80,443]\",true\r\n"
			    "22222,\"d\xc3\xa4mon \"\"x\"\"\033[31m\",[],false\r\n");
	render("yaml", NULL, rows, &out);
	assert_non_null(strstr(out.s, "Name"));
	assert_non_null(strstr(out.s, "web"));
}

static void test_templates(void **state)
{
	_json_ json_t *rows = sample(), *none = json_array();
	_buf_ struct buf out = {0};

	assert_string_equal(render("table", "{{.ID}}:{{.Up}}", rows, &out),
			    "1:true\n22222:false\n");
	assert_string_equal(render("table", "{{.ID}}\\t{{len .Ports}}\\n", rows, &out),
			    "1\t2\n\n22222\t0\n\n");
	assert_string_equal(render("table", "table {{.ID}}\\t{{.Extra}}", rows, &out),
			    "ID      EXTRA\n"
			    "1       <nil>\n"
			    "22222   map[a:1]\n");
	assert_string_equal(render("table", "table {{.Name}}", none, &out), "NAME\n");
	assert_string_equal(render("json", "{{.ID}}", none, &out), "");
	render("table", "json", rows, &out);
	assert_memory_equal(out.s, "{\"ID\":\"1\",", 10);
	assert_memory_equal(render("table", "table", rows, &out), "ID      NAME", 12);
	assert_memory_equal(render("table", "{{.Nope}}", rows, &out),
			    "ERROR format, line 1, column 3: ", 32);
}

static void test_object(void **state)
{
	_json_ json_t *object =
	    json_pack("{s:s, s:i, s:{s:b}}", "Version", "1", "N", 3, "Inner", "Deep", 1);
	struct output o = {.format = "table", .columns = columns};
	_buf_ struct buf out = {0};
	struct err e = {0};

	assert_ok(output_object(&o, object, &out, &e));
	assert_string_equal(out.s, "Version:  1\nN:        3\nInner:\n  Deep:  yes\n");
	buf_reset(&out);
	o.format = "json";
	assert_ok(output_object(&o, object, &out, &e));
	_json_ json_t *back = json_loads(out.s, 0, NULL);

	assert_true(json_equal(back, object));
	buf_reset(&out);
	o.template = "{{.Inner.Deep}}";
	assert_ok(output_object(&o, object, &out, &e));
	assert_string_equal(out.s, "true\n");
}

int main(void)
{
	return TEST_RUN("output", cmocka_unit_test(test_tables),
			cmocka_unit_test(test_machine_forms), cmocka_unit_test(test_templates),
			cmocka_unit_test(test_object));
}
