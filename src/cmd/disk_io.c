/* viv disk io, and the link qemu-io: a shell of commands on one image. */
#include "cmd/disk_io.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/disk_print.h"
#include "disk/driver.h"
#include "disk/opts.h"
#include "disk/optstr.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 256
#define ASK_MAX   (1ull << 30) /* bytes asked about at once */

/* --- opening --- */

static int node_options(const char *list, const char *format, json_t **ret, struct err *e)
{
	json_t *flat;
	int rc = optstr_parse(list ? list : "", NULL, &flat, e);

	if (rc)
		return rc;
	if (format)
		json_object_set_new(flat, "driver", json_string(format));
	rc = disk_opts_nest(flat, ret, e);
	json_decref(flat);
	return rc;
}

int io_open(struct io_shell *s, const char *name, const char *options, bool image_opts,
	    const char *format, unsigned flags)
{
	json_t *o = NULL;
	struct err e = {0};
	int rc;

	if (s->disk) {
		tool_error(s->t, "file open already, try 'help close'");
		return -EBUSY;
	}
	rc = node_options(image_opts ? name : options, format, &o, &e);
	if (!rc && !json_object_get(o, "driver"))
		flags |= DISK_PROBE;
	if (!rc)
		rc = disk_open(s->t->ctx, image_opts ? NULL : name, o, flags, &s->disk, &e);
	if (rc) {
		if (name && !image_opts)
			err_prefix(&e, "can't open device %s: ", name);
		else
			err_prefix(&e, "can't open: ");
		tool_fail(s->t, &e);
	}
	json_decref(o);
	return rc;
}

void io_close(struct io_shell *s)
{
	co_group_wait(&s->async);
	if (s->disk)
		tool_close(s->t, s->disk);
	s->disk = NULL;
}

static int cmd_open(struct io_shell *s, const struct io_command *cmd, int argc, char **argv)
{
	unsigned flags = DISK_WRITE | DISK_UNMAP | DISK_RESIZE;
	_buf_ struct buf options = {0};
	int letter;

	optind = 0;
	opterr = 0;
	while ((letter = getopt(argc, argv, "rnkUi:t:d:o:")) != -1) {
		if (letter == 'r')
			flags &= ~(unsigned)(DISK_WRITE | DISK_RESIZE);
		else if (letter == 'n')
			flags |= DISK_DIRECT;
		else if (letter == 'U')
			flags |= DISK_SHARE;
		else if (letter == 'o')
			buf_addf(&options, "%s%s", options.len ? "," : "", optarg);
		else if (letter == 'd' && (str_eq(optarg, "off") || str_eq(optarg, "ignore")))
			flags &= ~(unsigned)DISK_UNMAP;
		else if (letter == 't' && !tool_cache(optarg, &flags))
			return tool_error(s->t, "Invalid cache option: %s", optarg), -EINVAL;
		else if (letter == '?')
			return io_usage(cmd);
	}
	if (argc - optind > 1)
		return io_usage(cmd);
	return io_open(s, argv[optind], buf_str(&options), false, NULL, flags);
}

static int cmd_close(struct io_shell *s, const struct io_command *cmd, int argc, char **argv)
{
	io_close(s);
	return 0;
}

static int cmd_reopen(struct io_shell *s, const struct io_command *cmd, int argc, char **argv)
{
	const unsigned cache = DISK_DIRECT | DISK_THROUGH | DISK_NO_FLUSH;
	unsigned flags = s->disk->flags;
	bool mode_given = false;
	struct err e = {0};
	int letter;

	optind = 0;
	opterr = 0;
	while ((letter = getopt(argc, argv, "rwc:")) != -1) {
		if (letter == '?')
			return io_usage(cmd);
		if (letter == 'c') {
			flags &= ~cache;
			if (!tool_cache(optarg, &flags))
				return tool_error(s->t, "Invalid cache option: %s", optarg),
				       -EINVAL;
			continue;
		}
		if (mode_given)
			return tool_error(s->t, "Only one -r/-w option can be given"), -EINVAL;
		mode_given = true;
		flags = letter == 'w' ? flags | DISK_WRITE : flags & ~(unsigned)DISK_WRITE;
	}
	if (optind != argc)
		return io_usage(cmd);
	int rc = disk_reopen(s->disk, flags, &e);

	if (rc)
		tool_fail(s->t, &e);
	return rc;
}

/* --- asking --- */

static int cmd_length(struct io_shell *s, const struct io_command *cmd, int argc, char **argv)
{
	char size[64];

	io_size(size, sizeof(size), (double)disk_size(s->disk));
	puts(size);
	return 0;
}

static int cmd_info(struct io_shell *s, const struct io_command *cmd, int argc, char **argv)
{
	_buf_ struct buf text = {0};
	struct disk_info info;
	struct err e = {0};
	char cluster[64], state[64];
	int rc = disk_get_info(s->disk, &info, &e);

	printf("format name: %s\n", disk_format(s->disk));
	if (rc)
		return tool_fail(s->t, &e), rc;
	io_size(cluster, sizeof(cluster), info.cluster_size);
	io_size(state, sizeof(state), (double)info.vm_state_offset);
	printf("cluster size: %s\nvm state offset: %s\n", cluster, state);
	const json_t *data = json_object_get(info.specific, "data");

	if (json_object_size(data)) {
		puts("Format specific information:");
		disk_print_tree(&text, data, 4);
		fputs(buf_str(&text), stdout);
	}
	json_decref(info.specific);
	return 0;
}

/* How many bytes from offset on are allocated in this layer, or not. */
static int allocated(struct io_shell *s, uint64_t offset, uint64_t len, bool *ret_allocated,
		     uint64_t *ret_len)
{
	struct disk_extent x = {0};
	int rc = disk_block_status(s->disk, offset, len < ASK_MAX ? len : ASK_MAX, false, &x);

	if (rc)
		return rc;
	*ret_allocated = x.flags & DISK_EXT_ALLOCATED;
	*ret_len = x.len < len ? x.len : len;
	return 0;
}

static int cmd_alloc(struct io_shell *s, const struct io_command *cmd, int argc, char **argv)
{
	int64_t offset = io_number(argv[1]), count = argc > 2 ? io_number(argv[2]) : 512;
	uint64_t sum = 0, size = disk_size(s->disk);
	char where[64];

	if (offset < 0 || count < 0)
		return -EINVAL;
	for (uint64_t at = (uint64_t)offset, left = (uint64_t)count; left;) {
		bool is = false;
		uint64_t n = left;
		int rc =
		    at < size ? allocated(s, at, left < size - at ? left : size - at, &is, &n) : 0;

		if (rc) {
			printf("is_allocated failed: %s\n", strerror(-rc));
			return rc;
		}
		sum += is ? n : 0;
		at += n;
		left -= n;
	}
	io_size(where, sizeof(where), (double)offset);
	printf("%" PRIu64 "/%" PRIi64 " bytes allocated at offset %s\n", sum, count, where);
	return 0;
}

static int cmd_map(struct io_shell *s, const struct io_command *cmd, int argc, char **argv)
{
	uint64_t size = disk_size(s->disk);

	if (!size) {
		fprintf(stderr, "%s\n", "Failed to query image length");
		return 0;
	}
	for (uint64_t at = 0, run; at < size; at += run) {
		bool first = false, next;
		char len[64], where[64];
		uint64_t n;

		run = 0;
		do {
			int rc = allocated(s, at + run, size - at - run, &next, &n);

			if (rc)
				return tool_error(s->t, "Failed to get allocation status: %s",
						  strerror(-rc)),
				       rc;
			first = run ? first : next;
			run += next == first ? n : 0;
		} while (next == first && at + run < size);
		io_size(len, sizeof(len), (double)run);
		io_size(where, sizeof(where), (double)at);
		printf("%s (0x%" PRIx64 ") bytes %s allocated at offset %s (0x%" PRIx64 ")\n", len,
		       run, first ? "   " : "not", where, at);
	}
	return 0;
}

/* --- changing --- */

static int cmd_truncate(struct io_shell *s, const struct io_command *cmd, int argc, char **argv)
{
	enum disk_prealloc prealloc = DISK_PREALLOC_OFF;
	struct err e = {0};
	int letter;

	optind = 0;
	opterr = 0;
	while ((letter = getopt(argc, argv, "m:")) != -1) {
		unsigned i = 0;

		if (letter == '?')
			return io_usage(cmd);
		while (disk_prealloc_names[i] && !str_eq(disk_prealloc_names[i], optarg))
			i++;
		if (!disk_prealloc_names[i])
			return tool_error(s->t, "invalid parameter value: %s", optarg), -EINVAL;
		prealloc = (enum disk_prealloc)i;
	}
	int64_t size = argc - optind == 1 ? io_number(argv[optind]) : io_usage(cmd);

	if (size < 0)
		return -EINVAL;
	int rc = disk_truncate(s->disk, (uint64_t)size, false, prealloc, 0, &e);

	if (rc)
		tool_fail(s->t, &e);
	return rc;
}

/* --- the process --- */

static int cmd_quit(struct io_shell *s, const struct io_command *cmd, int argc, char **argv)
{
	s->quit = true;
	return 0;
}

static int cmd_sleep(struct io_shell *s, const struct io_command *cmd, int argc, char **argv)
{
	char *end;
	long ms = strtol(argv[1], &end, 0);

	if (*end || ms < 0) {
		printf("%s is not a valid argument to sleep\n", argv[1]);
		return -EINVAL;
	}
	co_sleep(s->t->ctx, (uint64_t)ms * 1000000);
	return 0;
}

/* Ends as a crash would: for tests of what is left behind. */
static int cmd_abort(struct io_shell *s, const struct io_command *cmd, int argc, char **argv)
{
	abort();
}

static int cmd_sigraise(struct io_shell *s, const struct io_command *cmd, int argc, char **argv)
{
	int64_t n = io_number(argv[1]);

	if (n < 0 || n >= NSIG) {
		printf("signal argument '%s' is too large to be a valid signal number\n", argv[1]);
		return -EINVAL;
	}
	fflush(stdout);
	raise((int)n);
	return 0;
}

/* --- the shell --- */

static int cmd_help(struct io_shell *s, const struct io_command *cmd, int argc, char **argv);

static const struct io_command shell_commands[] = {
    {"abort", NULL, cmd_abort, 0, 0, IO_NO_FILE, "", "simulate a program crash using abort(3)"},
    {"alloc", NULL, cmd_alloc, 1, 2, 0, "offset [count]",
     "checks if offset is allocated in the file"},
    {"close", "c", cmd_close, 0, 0, 0, "", "close the current open file"},
    {"help", "?", cmd_help, 0, 1, IO_NO_FILE, "[command]", "help for one or all commands"},
    {"info", "i", cmd_info, 0, 0, 0, "", "prints information about the current file"},
    {"length", "l", cmd_length, 0, 0, 0, "", "gets the length of the current file"},
    {"map", NULL, cmd_map, 0, 1, 0, "", "prints the allocated areas of a file"},
    {"open", "o", cmd_open, 1, -1, IO_NO_FILE,
     "[-rnkU] [-t cache] [-d discard] [-o options] [path]", "open the file specified by path"},
    {"quit", "q", cmd_quit, 0, -1, IO_NO_FILE, "", "exit the program"},
    {"reopen", NULL, cmd_reopen, 0, -1, 0, "[(-r|-w)] [-c cache]",
     "reopens an image with new options"},
    {"sigraise", NULL, cmd_sigraise, 1, 1, IO_NO_FILE, "signal", "raises a signal"},
    {"sleep", NULL, cmd_sleep, 1, 1, IO_NO_FILE, "", "waits for the given value in milliseconds"},
    {"truncate", "t", cmd_truncate, 1, -1, IO_WRITES, "[-m prealloc_mode] off",
     "truncates the current file at the given offset"},
    {0},
};

static const struct io_command *const tables[] = {shell_commands, io_data_commands};

static const struct io_command *find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		for (const struct io_command *c = tables[i]; c->name; c++)
			if (str_eq(c->name, name) || (c->alias && str_eq(c->alias, name)))
				return c;
	return NULL;
}

static int cmd_help(struct io_shell *s, const struct io_command *cmd, int argc, char **argv)
{
	if (argc == 2) {
		const struct io_command *c = find(argv[1]);

		if (c)
			return io_usage(c), 0;
		printf("command %s not found\n", argv[1]);
		return -EINVAL;
	}
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		for (const struct io_command *c = tables[i]; c->name; c++)
			io_usage(c);
	puts("\nUse 'help commandname' for extended help.");
	return 0;
}

static bool count_is_wrong(const struct io_command *c, int count)
{
	if (count >= c->args_min && (c->args_max < 0 || count <= c->args_max))
		return false;
	fflush(stdout);
	fprintf(stderr, "bad argument count %d to %s, expected ", count, c->name);
	if (c->args_max < 0)
		fprintf(stderr, "at least %d arguments\n", c->args_min);
	else if (c->args_min == c->args_max)
		fprintf(stderr, "%d arguments\n", c->args_min);
	else
		fprintf(stderr, "between %d and %d arguments\n", c->args_min, c->args_max);
	return true;
}

static int run_words(struct io_shell *s, int argc, char **argv)
{
	const struct io_command *c = find(argv[0]);

	fflush(stdout);
	if (!c) {
		fprintf(stderr, "command \"%s\" not found\n", argv[0]);
		return -EINVAL;
	}
	if (!s->disk && !(c->needs & IO_NO_FILE)) {
		fprintf(stderr, "no file open, try 'help open'\n");
		return -EINVAL;
	}
	if (count_is_wrong(c, argc - 1))
		return -EINVAL;
	if (c->needs & IO_WRITES && !disk_writable(s->disk)) {
		tool_error(s->t, "Block node is read-only");
		return -EACCES;
	}
	return c->run(s, c, argc, argv);
}

/* A line is words between blanks; there are no quotes. */
static int run_line(struct io_shell *s, const char *text)
{
	_free_ char *line = mem_strdup(text);
	char *words[WORDS_MAX + 1], *rest = line, *word;
	int n = 0;

	while ((word = strsep(&rest, " \t")))
		if (*word && n < WORDS_MAX)
			words[n++] = word;
	words[n] = NULL;
	return n ? run_words(s, n, words) : 0;
}

static int read_lines(struct io_shell *s)
{
	_free_ char *line = NULL;
	size_t cap = 0;
	int rc = 0, last = 0;

	while (!s->quit) {
		printf("%s> ", "qemu-io");
		fflush(stdout);
		if (getline(&line, &cap, stdin) < 0)
			break;
		line[strcspn(line, "\n")] = '\0';
		rc = run_line(s, line);
		last = rc ? rc : last;
	}
	return last;
}

/* The format of an image by its first bytes; owned, NULL: printed. */
static char *format_of(struct io_shell *s, const char *name)
{
	struct disk *d = tool_open(s->t, name, false, NULL, DISK_NO_IO | DISK_NO_BACKING);
	char *format = d ? mem_strdup(disk_format(d)) : NULL;

	disk_close(d);
	return format;
}

/* An overlay that takes all writes and is gone with the process: a file without a name. */
static int open_overlay(struct io_shell *s, const char *name, unsigned flags)
{
	const char *wanted = cli_string(s->t->cli, "format"), *dir = getenv("TMPDIR");
	_free_ char *format = wanted ? mem_strdup(wanted) : format_of(s, name);
	_free_ char *real = NULL;
	_close_ int fd = path_open(AT_FDCWD, dir ? dir : "/var/tmp", O_TMPFILE | O_RDWR, 0600);
	_free_ char *overlay = mem_printf("/proc/self/fd/%d", fd);
	struct err e = {0};
	int rc = path_real(name, &real);

	if (!format)
		return -EINVAL;
	if (rc < 0 || fd < 0)
		return tool_error(s->t, "can't open device %s: %s", name,
				  strerror(rc < 0 ? -rc : -fd)),
		       -EINVAL;
	json_t *opts = json_pack("{s:s, s:s}", "backing_file", real, "backing_fmt", format);

	rc = disk_create(s->t->ctx, disk_driver_find("qcow2"), overlay, opts, 0, &e);
	json_decref(opts);
	if (rc)
		return tool_fail(s->t, &e), rc;
	return io_open(s, overlay, NULL, false, "qcow2", flags | DISK_WRITE);
}

static int open_first(struct io_shell *s)
{
	struct cli *c = s->t->cli;
	const char *cache = cli_string(c, "cache"), *discard = cli_string(c, "discard");
	unsigned flags = DISK_UNMAP;

	if (!cli_bool(c, "read-only"))
		flags |= DISK_WRITE | DISK_RESIZE;
	if (cli_bool(c, "force-share"))
		flags |= DISK_SHARE;
	if (cli_bool(c, "nocache"))
		flags |= DISK_DIRECT;
	if (discard && (str_eq(discard, "off") || str_eq(discard, "ignore")))
		flags &= ~(unsigned)DISK_UNMAP;
	if (cache && !tool_cache(cache, &flags))
		return tool_error(s->t, "Invalid cache option: %s", cache), -EINVAL;
	if (!cli_argc(c))
		return 0;
	if (cli_bool(c, "snapshot") && !cli_bool(c, "image-opts"))
		return open_overlay(s, cli_argv(c)[0], flags);
	return io_open(s, cli_argv(c)[0], NULL, cli_bool(c, "image-opts"), cli_string(c, "format"),
		       flags);
}

static int run(struct tool *t)
{
	struct cli *c = t->cli;
	struct io_shell s = {.t = t};
	char *const *lines = cli_list(c, "cmd");
	int rc, last = 0;

	if (cli_argc(c) > 1)
		return tool_usage(c, "Only one image can be open");
	if (cli_bool(c, "image-opts") && cli_given(c, "format"))
		return tool_error(t, "--image-opts and -f are mutually exclusive");
	rc = open_first(&s);
	if (rc)
		return 1;
	for (char *const *line = lines; *line && !s.quit; line++) {
		rc = run_line(&s, *line);
		last = rc ? rc : last;
	}
	if (!*lines)
		last = read_lines(&s);
	io_close(&s);
	return last ? 1 : 0;
}

int disk_cmd_io(struct cli *c)
{
	return tool_run(c, run);
}
