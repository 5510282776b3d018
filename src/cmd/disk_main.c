/* Entry of viv-disk, which is also qemu-img and qemu-io where it is called so. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/disk.h"
#include "disk/driver.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

extern const struct cli_program disk_program;

/* A size such as "-10M" is no flag: the word before it ends the flags. */
static bool is_negative_size(const char *word)
{
	return word[0] == '-' && isdigit((unsigned char)word[1]);
}

/* The line with what must stand in it between: the command of a link, and the end of flags. */
static char **rewrite(int argc, char **argv, const char *command)
{
	char **line = mem_array((size_t)argc + 3, sizeof(*line));
	int n = 0;

	line[n++] = argv[0];
	if (command)
		line[n++] = (char *)command;
	for (int i = 1; i < argc; i++) {
		if (i == argc - 1 && argc > 2 && str_eq(argv[1], "resize") &&
		    is_negative_size(argv[i]) && !str_eq(argv[i - 1], "--"))
			line[n++] = (char *)"--";
		line[n++] = argv[i];
	}
	return line;
}

/* Scripts look for this line to learn what the program can do. */
static void print_formats(void)
{
	const struct disk_driver *drv;

	printf("\nSupported formats:");
	for (unsigned i = 0; (drv = disk_driver_at(i)); i++)
		printf(" %s", drv->name);
	putchar('\n');
}

static bool asks_for_help(char **line)
{
	return line[1] && !line[2] && (str_eq(line[1], "--help") || str_eq(line[1], "-h"));
}

int main(int argc, char **argv)
{
	struct cli_program p = disk_program;
	const char *slash = strrchr(argv[0], '/'), *name = slash ? slash + 1 : argv[0];
	bool io = str_eq(name, "qemu-io");
	_free_ char **line = rewrite(argc, argv, io ? "io" : NULL);
	int n = 0;

	if (io || str_eq(name, "qemu-img")) {
		p.link_style = true;
		p.name = name;
	}
	while (line[n])
		n++;
	if (n == 2 && str_eq(line[1], "-V"))
		return p.version(), 0;
	p.context = line;
	int status = cli_main(&p, n, line);

	if (asks_for_help(line) && !status)
		print_formats();
	return status;
}
