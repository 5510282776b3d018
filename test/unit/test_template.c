#include "test.h"

#include "base/cleanup.h"
#include "codec/template.h"

static const char data_text[] =
    "{\"ID\":\"0123456789abcdef\",\"Names\":\"web\",\"N\":3,\"Zero\":0,\"Real\":1.5,\"Up\":true,"
    "\"Down\":false,\"Nil\":null,"
    "\"Args\":[\"a\",\"b\",\"c\"],\"Empty\":[],\"State\":{\"Status\":\"running\",\"Health\":{"
    "\"Status\":\"healthy\"}},"
    "\"Labels\":{\"x\":\"1\",\"y "
    "z\":\"2\"},\"Mounts\":[{\"Src\":\"/a\",\"Dst\":\"/b\"},{\"Src\":\"/c\",\"Dst\":\"/d\"}],"
    "\"Html\":\"<a&b>\",\"Uml\":\"f\xc3\xbc\xc3\x9f\xc3\xa4\",\"Path\":\"/usr/bin\"}";

/* Output of the template, or the error's message; owned by the caller of the test. */
static const char *eval(const char *text, struct buf *out)
{
	_json_ json_t *data = json_loads(data_text, 0, NULL);
	_template_ struct template *t = NULL;
	struct err e = {0};

	assert_non_null(data);
	buf_reset(out);
	if (template_parse(text, &t, &e) || template_exec(t, data, out, &e)) {
		assert_int_equal(e.code, ERR_USAGE);
		buf_reset(out);
		buf_addf(out, "ERROR %s", e.msg);
	}
	return buf_str(out);
}

/* Expected texts are what Go 1.19's text/template with Docker's functions prints for the same data.
 */
static void test_values(void **state)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
	    {"", ""},
	    {"plain } text {", "plain } text {"},
	    {"{{.ID}}", "0123456789abcdef"},
	    {"a{{.N}}b{{.Real}}c", "a3b1.5c"},
	    {"{{.Up}} {{.Down}}", "true false"},
	    {"{{.State.Health.Status}}", "healthy"},
	    {"{{$.Names}}{{$.State.Status}}", "webrunning"},
	    {"{{.Args}}", "[a b c]"},
	    {"{{.Labels}}", "map[x:1 y z:2]"},
	    {"{{\"q\\n\\\"\"}}{{`r\\n`}}", "q\n\"r\\n"},
	    {"{{1}} {{-2}} {{true}}", "1 -2 true"},
	    {"{{/* nothing */}}x{{- /* trimmed */ -}} y", "xy"},
	    {" a {{- .N -}} b ", " a3b "},
	    {"{{.N -}} \n x", "3x"},
	    {"{{json .Args}}", "[\"a\",\"b\",\"c\"]"},
	    {"{{json .State}}", "{\"Status\":\"running\",\"Health\":{\"Status\":\"healthy\"}}"},
	    {"{{.State | json}}", "{\"Status\":\"running\",\"Health\":{\"Status\":\"healthy\"}}"},
	    {"{{json .Html}} {{json .Nil}} {{json .N}}", "\"<a&b>\" null 3"},
	    {"{{join .Args \", \"}}", "a, b, c"},
	    {"{{join .Empty \",\"}}", ""},
	    {"{{split .Path \"/\"}}", "[ usr bin]"},
	    {"{{index (split .Path \"/\") 2}}", "bin"},
	    {"{{len (split \"\" \",\")}} {{len (split \"a,\" \",\")}} {{split \"ab\" \"\"}}",
	     "1 2 [a b]"},
	    {"{{upper .Names}} {{lower \"ABC\"}} {{title \"two words\"}}", "WEB abc Two Words"},
	    {"{{.Names | upper | lower}}", "web"},
	    {"{{truncate .ID 4}} {{truncate .Names 9}} {{truncate .Uml 2}}", "0123 web f\xc3\xbc"},
	    {"[{{pad .Names 1 2}}][{{pad \"\" 1 2}}]", "[ web  ][]"},
	    {"{{println .Names .N}}{{print .Names .N 4}}", "web 3\nweb3 4"},
	    {"{{len .Args}} {{len .Labels}} {{len .Names}} {{.Args | len}}", "3 2 3 3"},
	    {"{{index .Args 1}} {{index .Labels \"y z\"}} {{(index .Mounts 1).Src}}", "b 2 /c"},
	    {"{{if .Up}}yes{{else}}no{{end}}{{if .Down}}yes{{else}}no{{end}}", "yesno"},
	    {"{{if .Zero}}1{{else if .Empty}}2{{else if eq .N 3}}3{{else}}4{{end}}", "3"},
	    {"{{if not .Nil}}empty{{end}}", "empty"},
	    {"{{if and .Up (gt .N 2)}}both{{end}}{{if or .Down .Zero}}any{{else}}none{{end}}",
	     "bothnone"},
	    {"{{or .Empty \"default\"}}", "default"},
	    {"{{eq .N 1 2 3}} {{ne .Names \"web\"}} {{lt 1 2}} {{le 2 2}} {{ge 1 2}}",
	     "true false true true false"},
	    {"{{eq .Names \"web\"}} {{lt \"a\" \"b\"}} {{eq .N \"3\"}}", "true true false"},
	    {"{{range .Args}}<{{.}}>{{end}}", "<a><b><c>"},
	    {"{{range .Empty}}x{{else}}none{{end}}", "none"},
	    {"{{range $i, $a := .Args}}{{$i}}={{$a}} {{end}}", "0=a 1=b 2=c "},
	    {"{{range $a := .Args}}{{$a}}{{$.N}}{{end}}", "a3b3c3"},
	    {"{{range $k, $v := .Labels}}{{$k}}:{{$v}};{{end}}", "x:1;y z:2;"},
	    {"{{range .Mounts}}{{.Src}}->{{.Dst}}\n{{end}}", "/a->/b\n/c->/d\n"},
	    {"{{range .Args}}{{range $.Args}}{{.}}{{end}},{{end}}", "abc,abc,abc,"},
	    {"{{with .State.Health}}{{.Status}}{{end}}{{with .Empty}}x{{else}}-{{end}}",
	     "healthy-"},
	    {"{{with $h := .State}}{{$h.Status}}{{end}}", "running"},
	    {"{{$x := .N}}{{if .Up}}{{$x}}{{end}}", "3"},
	    {"{{$x := 1}}{{$x := 2}}{{$x}}", "2"},
	    {"{{ .Names | printf_is_not_here }}",
	     "ERROR format, line 1, column 13: there is no function 'printf_is_not_here'"},
	    {"{{.Nope}}", "ERROR format, line 1, column 3: there is no field 'Nope'"},
	    {"a\nb {{.Names.X}}", "ERROR format, line 2, column 5: a string has no field 'X'"},
	    {"{{.Names", "ERROR format, line 1, column 9: '}}' is missing"},
	    {"{{}}", "ERROR format, line 1, column 3: a value is missing"},
	    {"{{if .Up}}x", "ERROR format, line 1, column 3: the block has no {{end}}"},
	    {"{{end}}", "ERROR format, line 1, column 6: 'end' without a block"},
	    {"{{if 1}}{{else}}{{else}}{{end}}", "ERROR format, line 1, column 3: a second 'else'"},
	    {"{{\"open}}", "ERROR format, line 1, column 3: the string is not closed"},
	    {"{{(.N}}", "ERROR format, line 1, column 6: ')' is missing"},
	    {"{{.N)}}", "ERROR format, line 1, column 5: ')' is unexpected"},
	    {"{{.N .N}}", "ERROR format, line 1, column 3: only a function takes arguments"},
	    {"{{.N | .N}}", "ERROR format, line 1, column 8: only a function may follow '|'"},
	    {"{{$x}}", "ERROR format, line 1, column 3: there is no variable '$x'"},
	    {"{{if 1}}{{$x := 1}}{{end}}{{$x}}",
	     "ERROR format, line 1, column 29: there is no variable '$x'"},
	    {"{{index .Args 9}}", "ERROR format, line 1, column 3: index: no such element"},
	    {"{{index .Args \"a\"}}",
	     "ERROR format, line 1, column 3: index: the index does not suit the value"},
	    {"{{upper .N}}", "ERROR format, line 1, column 3: upper: a string is expected"},
	    {"{{join .N \",\"}}", "ERROR format, line 1, column 3: join: a list is expected"},
	    {"{{upper}}", "ERROR format, line 1, column 3: upper: wrong number of arguments"},
	    {"{{len .N}}", "ERROR format, line 1, column 3: len: the value has no length"},
	    {"{{lt .N .Names}}",
	     "ERROR format, line 1, column 3: lt: only numbers, or strings, have an order"},
	    {"{{range .N}}{{end}}",
	     "ERROR format, line 1, column 3: range cannot go over a number"},
	    {"{{/* open", "ERROR format, line 1, column 3: the comment is not closed"},
	    {"{{1x}}", "ERROR format, line 1, column 4: 'x' is unexpected"},
	    {"{{.A..B}}", "ERROR format, line 1, column 6: a field's name is missing after '.'"},
	    {"{{pad .Names -1 2}}",
	     "ERROR format, line 1, column 3: pad: the width is not between 0 and 4096"},
	};
	_buf_ struct buf out = {0};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strcmp(eval(rows[i].text, &out), rows[i].want))
			fail_msg("%s\n  gives %s\n  not   %s", rows[i].text, buf_str(&out),
				 rows[i].want);
}

static void test_bounds(void **state)
{
	_buf_ struct buf text = {0}, out = {0};

	for (int i = 0; i < TEMPLATE_DEPTH_MAX + 1; i++)
		buf_adds(&text, "{{if 1}}");
	assert_non_null(strstr(eval(text.s, &out), "nested too deeply"));
	buf_reset(&text);
	buf_adds(&text, "{{");
	for (int i = 0; i < 100000 / 2; i++)
		buf_adds(&text, "(");
	assert_non_null(strstr(eval(text.s, &out), "nested too deeply"));
	buf_reset(&text);
	for (int i = 0; i < 20; i++) /* 3^20 rounds */
		buf_adds(&text, "{{range $.Args}}");
	for (int i = 0; i < 20; i++)
		buf_adds(&text, "{{end}}");
	assert_non_null(strstr(eval(text.s, &out), "too many steps"));
	buf_reset(&text);
	buf_adds(&text, "{{$a := `xxxxxxxxxxxxxxxx`}}");
	for (int i = 0; i < 30; i++) /* doubles each time */
		buf_adds(&text, "{{$a := print $a $a}}");
	assert_non_null(strstr(eval(text.s, &out), "too long"));
	buf_reset(&text);
	for (unsigned i = 0; i <= TEMPLATE_LEN_MAX; i++)
		buf_addc(&text, 'x');
	assert_non_null(strstr(eval(text.s, &out), "longer than"));
}

static void test_header(void **state)
{
	_json_ json_t *heads = json_pack("{s:s, s:s}", "ID", "CONTAINER ID", "Names", "NAMES");
	_template_ struct template *t = NULL;
	_buf_ struct buf out = {0};
	struct err e = {0};

	assert_ok(
	    template_parse("{{.ID}}\t{{upper .Names}}\t{{truncate .ID 3}}\t{{json .ID}}", &t, &e));
	assert_ok(template_exec_header(t, heads, &out, &e));
	assert_string_equal(out.s, "CONTAINER ID\tNAMES\tCONTAINER ID\tCONTAINER ID");
}

int main(void)
{
	return TEST_RUN("template", cmocka_unit_test(test_values), cmocka_unit_test(test_bounds),
			cmocka_unit_test(test_header));
}
