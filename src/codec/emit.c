#include "codec/emit.h"

#include "base/cleanup.h"

#include <errno.h>
#include <string.h>

#include <libfyaml.h>

int emit_json(const json_t *value, bool pretty, struct buf *out, struct err *e)
{
	_free_ char *text =
	    json_dumps(value, JSON_ENCODE_ANY | (pretty ? JSON_INDENT(2) : JSON_COMPACT));

	if (!text)
		return err_set(e, ERR_NONE, -EILSEQ,
			       "the value has no JSON form: it has bytes that are not UTF-8");
	buf_adds(out, text);
	buf_addc(out, '\n');
	return 0;
}

/* JSON is a subset of YAML 1.2, so the library reads the one and writes the other. */
int emit_yaml(const json_t *value, struct buf *out, struct err *e)
{
	_buf_ struct buf json = {0};
	int rc = emit_json(value, false, &json, e);

	if (rc)
		return rc;
	struct fy_document *doc = fy_document_build_from_string(NULL, json.s, json.len);
	char *text =
	    doc ? fy_emit_document_to_string(doc, FYECF_MODE_BLOCK | FYECF_WIDTH_INF) : NULL;

	if (text)
		buf_adds(out, text);
	else
		rc = err_set(e, ERR_NOMEM, -ENOMEM, "the value cannot be written as YAML");
	free(text);
	fy_document_destroy(doc);
	return rc;
}

void emit_csv_field(const json_t *value, struct buf *out)
{
	_free_ char *text = NULL;
	const char *s = json_string_value(value);

	if (!s && !json_is_null(value))
		s = text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
	if (!s)
		return;
	if (!strpbrk(s, ",\"\r\n")) {
		buf_adds(out, s);
		return;
	}
	buf_addc(out, '"');
	for (; *s; s++)
		buf_addf(out, *s == '"' ? "\"\"" : "%c", *s);
	buf_addc(out, '"');
}
