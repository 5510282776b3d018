/* A settings file. */
#include "cmd/settings.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libfyaml 0.7 leaks the buffer of some long scalars; what we leak ourselves still counts. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void)
{
	return "leak:libfyaml.so\n";
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct settings s = {0};
	struct err e = {0};
	char *text = malloc(size + 1);

	if (!text)
		abort();
	memcpy(text, data, size);
	text[size] = '\0';
	if (size <= SETTINGS_FILE_MAX &&
	    settings_parse(&s, text, size, "file", SETTINGS_USER, &e) && !*e.msg)
		abort();
	settings_done(&s);
	free(text);
	return 0;
}
