/* The reader of cached system call filters. A file that fits must carry exactly the key that it was
 * looked up by. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "container/seccomp_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char text[] = "key";
	const struct buf key = {text, 3, sizeof(text)};
	struct seccomp_prog p = {0};

	if (seccomp_cache_parse(data, size, &key, &p)) {
		struct buf again = {0};

		seccomp_cache_format(&key, &p, &again);
		if (again.len != size || memcmp(again.s, data, size))
			abort();
		buf_done(&again);
		seccomp_prog_done(&p);
	}
	return 0;
}
