/* Stands in for libFuzzer in ordinary builds: gives every file of the folders named on the command
 * line to the target, in the order of their names. An empty corpus is an error, because it would
 * test nothing. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void replay(const char *dir, const char *name)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	FILE *f = fopen(path, "re");

	if (!f || fseek(f, 0, SEEK_END) < 0) {
		perror(path);
		exit(1);
	}
	size_t size = (size_t)ftell(f);
	uint8_t *data =
	    malloc(size ? size : 1); /* exactly sized: ASan sees the first byte too far */

	rewind(f);
	if (!data || fread(data, 1, size, f) != size) {
		perror(path);
		exit(1);
	}
	fclose(f);
	if (getenv("REPLAY_VERBOSE"))
		fprintf(stderr, "%s\n", path);
	LLVMFuzzerTestOneInput(data, size);
	free(data);
}

static int is_input(const struct dirent *ent)
{
	return ent->d_name[0] != '.';
}

int main(int argc, char **argv)
{
	int inputs = 0;

	for (int i = 1; i < argc; i++) {
		struct dirent **names;
		int n = scandir(argv[i], &names, is_input, alphasort);

		if (n < 0) {
			perror(argv[i]);
			return 1;
		}
		for (int j = 0; j < n; j++) {
			replay(argv[i], names[j]->d_name);
			free(names[j]);
		}
		free(names);
		inputs += n > 0 ? n : 0;
	}
	if (!inputs) {
		fprintf(stderr, "%s: no inputs\n", argv[0]);
		return 1;
	}
	printf("%d inputs replayed\n", inputs);
	return 0;
}
