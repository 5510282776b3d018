/* Answers of registries; the first byte says which: token, error, names, location, page or ranges. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "image/answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int count_name(const char *name, void *arg)
{
	*(size_t *)arg += strlen(name) < SIZE_MAX;
	return 0;
}

static void token(const char *text, size_t len)
{
	char *value = NULL, *refresh = NULL;
	int rc = answer_token(text, len, &value, &refresh);

	if ((rc == 0) != (value != NULL) || (value && strpbrk(value, " \r\n\t")))
		abort();
	free(value);
	free(refresh);
}

static void names(const char *text, size_t len)
{
	size_t seen = 0, count = 0;

	if (!answer_names(text, len, "tags", &count, count_name, &seen) && seen != count)
		abort();
}

static void error(const char *text, size_t len)
{
	char *said = answer_error(text, len);

	if (said && strpbrk(said, "\r\n\033"))
		abort();
	free(said);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	size_t len = size - 1;
	char *text = mem_strndup((const char *)data + 1, len);
	uint64_t number;

	switch (*data) {
	case 'T':
		token((const char *)data + 1, len);
		break;
	case 'E':
		error((const char *)data + 1, len);
		break;
	case 'N':
		names((const char *)data + 1, len);
		break;
	case 'L':
		free(answer_location(text, "https://registry.example.com/v2/x/blobs/uploads/"));
		break;
	case 'P':
		free(answer_next_page(text, "https://registry.example.com/v2/x/tags/list"));
		break;
	default:
		answer_content_range(text, &number);
		answer_upload_range(text, &number);
	}
	free(text);
	return 0;
}
