/* Templates of --format, over fixed data: parsed, evaluated as rows and as a heading. The first
 * byte of the input chooses between evaluation and heading, the rest is the template. */
#include "codec/template.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char sample[] =
    "{\"ID\":\"0123\",\"N\":3,\"R\":1.5,\"T\":true,\"Z\":null,\"L\":[\"a\",\"b\",[1,2]],"
    "\"M\":{\"x\":\"1\",\"y\":{\"z\":\"f\xc3\xbc\"}}}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_json_ json_t *value = json_loads(sample, 0, NULL);
	_template_ struct template *t = NULL;
	_buf_ struct buf out = {0};
	struct err e = {0};

	if (!size)
		return 0;
	char *text = malloc(size);

	if (!text || !value)
		abort();
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	if (!template_parse(text, &t, &e)) {
		int rc = data[0] & 1 ? template_exec_header(t, value, &out, &e)
				     : template_exec(t, value, &out, &e);

		if (rc && (!*e.msg || e.rc != rc))
			abort(); /* a failure without words */
	} else if (!*e.msg || t) {
		abort();
	}
	free(text);
	return 0;
}
