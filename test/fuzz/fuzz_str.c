/* Text to numbers, sizes and JSON strings, from any bytes. */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is accepted must print back to the same number. */
static void numbers(const char *s)
{
	uint64_t u = 0, again = 0, bytes = 0;
	int64_t i = 0;
	char text[32];
	int rc = str_to_u64(s, &u);

	assert(rc == 0 || ((rc == -EINVAL || rc == -ERANGE) && u == 0));
	if (rc == 0) {
		snprintf(text, sizeof(text), "%llu", (unsigned long long)u);
		assert(str_to_u64(text, &again) == 0 && again == u);
		assert(str_to_bytes(s, &bytes) == 0 && bytes == u);
	}
	rc = str_to_i64(s, &i);
	if (rc == 0) {
		errno = 0;
		assert(strtoll(s, NULL, 10) == i && errno == 0);
	}
	rc = str_to_bytes(s, &bytes);
	assert(rc == 0 || rc == -EINVAL || rc == -ERANGE);
}

/* The result is printable ASCII and UTF-8 without a quote that is not escaped. */
static void json(const char *s)
{
	_buf_ struct buf b = {0};

	buf_add_json_string(&b, s);
	assert(b.len >= 2 && b.s[0] == '"' && b.s[b.len - 1] == '"' && strlen(b.s) == b.len);
	for (size_t i = 1; i < b.len - 1; i++) {
		assert((unsigned char)b.s[i] >= 0x20 && b.s[i] != '"');
		if (b.s[i] == '\\') {
			assert(strchr("\"\\ntru", b.s[i + 1]));
			i++;
			assert(i < b.len - 1);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_free_ char *s = malloc(size + 1);

	assert(s);
	memcpy(s, data, size);
	s[size] = '\0';
	numbers(s);
	json(s);
	/* two words: distance is symmetric, 0 only for equal ones, bounded */
	char *second = strchr(s, '\n');

	if (second) {
		*second++ = '\0';
		unsigned ab = str_distance(s, second, 5), ba = str_distance(second, s, 5);

		assert(ab == ba && ab <= 6);
		assert(strlen(s) > 64 || strlen(second) > 64 || (ab == 0) == str_eq(s, second));
	}
	return 0;
}
