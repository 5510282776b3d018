/* The input is a whole state.db, of any origin. */
#include "state_exercise.h"

#include "base/cleanup.h"

#define FILE_MAX (256u << 10)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_free_ char *path = mem_printf("%s/state.db", exercise_dir());

	if (size > FILE_MAX)
		return 0;
	if (path_mkdirs(AT_FDCWD, exercise_dir(), 0700) ||
	    path_replace(AT_FDCWD, path, data, size, 0600, false))
		abort();
	exercise_store();
	return 0;
}
