/* Command lines: words divided by newlines go through parser, help and completion. stdout and
 * stderr go nowhere. */
#include "cmd/cli.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { WORDS_MAX = 32 };

static volatile size_t sink;

/* Touches every value that the parser made. */
static int use(struct cli *c)
{
	size_t sum = 0;

	for (int i = 0; i < cli_argc(c); i++)
		sum += strlen(cli_argv(c)[i]);
	if (cli_argv(c)[cli_argc(c)])
		abort();
	sink = sum;
	return 0;
}

static int use_flags(struct cli *c)
{
	size_t sum = (size_t)cli_int(c, "number") + (size_t)cli_uint(c, "memory") +
		     (size_t)cli_int(c, "time");

	for (char *const *e = cli_list(c, "env"); *e; e++)
		sum += strlen(*e);
	const char *form = cli_string(c, "form");

	if (strcmp(form, "table") && strcmp(form, "json"))
		abort();
	sink = sum;
	return use(c);
}

static const struct cli_flag globals[] = {
    {"root", .type = CLI_STRING, .help = "root", .complete = "dir"},
    {"output", 'o', CLI_ENUM, .help = "form", .choices = "table|json"},
    {0},
};

static const struct cli_flag flags[] = {
    {"detach", 'd', CLI_BOOL, .help = "detach"},
    {"number", 'n', CLI_INT, .help = "number"},
    {"memory", 'm', CLI_BYTES, .help = "memory"},
    {"time", 't', CLI_DURATION, .help = "time"},
    {"form", .type = CLI_ENUM, .help = "form", .choices = "table|json", .fallback = "table"},
    {"env", 'e', CLI_LIST, .help = "env"},
    {0},
};

static const char *const groups[] = {"All", NULL};

static const struct cli_command commands[] = {
    {"run", "All", "IMAGE [ARG...]", "run", .flags = flags, .args_min = 1, .args_max = -1,
     .stop_at_positional = true, .run = use_flags},
    {"set", "All", "[A [B]]", "set", .flags = flags, .args_max = 2, .run = use_flags},
    {"image ls", "All", "", "list", .run = use},
    {"image", "All", "", "noun", .run = use},
    {"raw", "All", "", "raw", .passthrough = true, .run = use},
    {0},
};

static const struct cli_program program = {
    .name = "tool",
    .summary = "tool",
    .tables = (const struct cli_command *const[]){commands, NULL},
    .globals = globals,
    .groups = groups,
    .usage_status = 2,
    .bare = use,
};

static void silence(void)
{
	static int null = -1;

	if (null >= 0)
		return;
	null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	/* The sanitizers keep their own copy of stderr's number, so only the streams are changed.
	 */
	if (null < 0 || !freopen("/dev/null", "w", stdout))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *argv[WORDS_MAX + 2] = {(char *)"tool"};
	int argc = 1;

	if (!text)
		abort();
	silence();
	memcpy(text, data, size);
	text[size] = '\0';
	for (char *word = text; argc <= WORDS_MAX; argc++) {
		char *end = strchr(word, '\n');

		argv[argc] = word;
		if (!end) {
			argc++;
			break;
		}
		*end = '\0';
		word = end + 1;
	}
	FILE *saved = stderr;

	stderr = stdout;
	int status = cli_main(&program, argc, argv);

	stderr = saved;
	if (status != 0 && status != 2)
		abort();
	free(text);
	return 0;
}
