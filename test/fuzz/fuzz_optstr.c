/* Option lists of disk images: whatever is parsed can be written again and means the same. */
#include "disk/optstr.h"

#include "base/cleanup.h"
#include "base/mem.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_free_ char *text = mem_strndup((const char *)data, size);
	_buf_ struct buf again = {0};
	json_t *first, *second, *value;
	const char *key;

	_buf_ struct buf json = {0};

	optstr_requote(&json, text);
	optstr_wants_help(text);
	optstr_malformed(text);
	if (optstr_parse(text, size % 2 ? "driver" : NULL, &first, NULL))
		return 0;
	json_object_foreach (first, key, value) {
		/* An implied key's value may be anything; keys are what stands before "=". */
		buf_addf(&again, "%s%s=", again.len ? "," : "", key);
		optstr_escape(&again, json_string_value(value));
	}
	assert(!optstr_parse(buf_str(&again), NULL, &second, NULL));
	assert(json_equal(first, second));
	json_decref(first);
	json_decref(second);
	return 0;
}
