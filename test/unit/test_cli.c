#include "test.h"

#include "base/buf.h"
#include "cmd/cli.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

/* What the handler saw, and what was printed. */
static struct {
	int runs;
	char seen[1024];
	char out[65536], err[8192];
	int status;
} got;

static int show(struct cli *c)
{
	_buf_ struct buf b = {0};

	got.runs++;
	buf_addf(&b, "%s", cli_command(c) ? cli_command(c)->name : "bare");
	for (int i = 0; i < cli_argc(c); i++)
		buf_addf(&b, " <%s>", cli_argv(c)[i]);
	assert_null(cli_argv(c)[cli_argc(c)]);
	snprintf(got.seen, sizeof(got.seen), "%s", b.s);
	return 0;
}

static int show_flags(struct cli *c)
{
	_buf_ struct buf b = {0};

	show(c);
	buf_addf(
	    &b, "%s bundle=%s detach=%d n=%lld u=%llu mem=%llu time=%lld form=%s env=", got.seen,
	    cli_string(c, "bundle"), cli_bool(c, "detach"), (long long)cli_int(c, "number"),
	    (unsigned long long)cli_uint(c, "unsigned"), (unsigned long long)cli_uint(c, "memory"),
	    (long long)cli_int(c, "time"), cli_string(c, "form"));
	for (char *const *e = cli_list(c, "env"); *e; e++)
		buf_addf(&b, "%s,", *e);
	buf_addf(&b, " given=%d root=%s", cli_given(c, "bundle"),
		 cli_string(c, "root") ? cli_string(c, "root") : "-");
	snprintf(got.seen, sizeof(got.seen), "%s", b.s);
	return 0;
}

static int fails(struct cli *c)
{
	struct err e = {0};

	err_set(&e, ERR_CT_NOT_FOUND, -2, "container '%s' is \"gone\"", cli_argv(c)[0]);
	return cli_fail(c, &e);
}

static int names(const char *kind, const char *prefix)
{
	printf("%s-one\n%s-two\n", kind, kind);
	return 0;
}

static void version(void)
{
	puts("tool 1.2");
}

static const struct cli_flag globals[] = {
    {"root", .type = CLI_STRING, .metavar = "DIR", .help = "state directory", .complete = "dir"},
    {"output", 'o', CLI_ENUM, .help = "form", .choices = "table|json"},
    {"debug", .type = CLI_BOOL, .help = "more"},
    {"secret", .type = CLI_BOOL, .help = "hidden one", .hidden = true},
    {0},
};

static const struct cli_flag flags[] = {
    {"bundle", 'b', CLI_STRING, "DIR", "bundle", .fallback = ".", .complete = "dir"},
    {"detach", 'd', CLI_BOOL, .help = "detach"},
    {"quiet", 'q', CLI_BOOL, .help = "quiet"},
    {"number", 'n', CLI_INT, .help = "number", .fallback = "-7"},
    {"unsigned", .type = CLI_UINT, .help = "unsigned"},
    {"memory", 'm', CLI_BYTES, .help = "memory", .fallback = "1k"},
    {"time", 't', CLI_DURATION, .help = "time"},
    {"form", .type = CLI_ENUM, .help = "form", .choices = "table|json|name", .fallback = "table"},
    {"env", 'e', CLI_LIST, "K=V", "environment"},
    {0},
};

static const char *const groups[] = {"Run", "Other", NULL};

static const struct cli_command commands[] = {
    {"create", "Run", "CONTAINER", "create it", .flags = flags,
     .examples = "create web\tmakes web\n", .description = "First.\n\nSecond.", .args_min = 1,
     .args_max = 1, .complete = "container", .run = show_flags},
    {"exec", "Run", "CONTAINER COMMAND [ARG...]", "run in it", .flags = flags, .args_min = 2,
     .args_max = -1, .stop_at_positional = true, .complete = "container file", .run = show},
    {"image", "Other", "", "the noun itself", .run = show},
    {"image ls", "Other", "", "list", .run = show},
    {"image inspect", "Other", "IMAGE", "look", .args_min = 1, .args_max = 1, .run = show},
    {"disk info", "Other", "", "of a disk", .run = show},
    {"raw", "Other", "ANY...", "another tool", .passthrough = true, .run = show},
    {"fail", "Other", "NAME", "fails", .args_min = 1, .args_max = 1, .run = fails},
    {"hidden", NULL, "", "not shown", .run = show},
    {0},
};

static const struct cli_program tool = {
    .name = "tool",
    .summary = "a tool",
    .tables = (const struct cli_command *const[]){commands, NULL},
    .globals = globals,
    .groups = groups,
    .usage_status = 2,
    .version = version,
    .bare = show,
    .names = names,
};

static void slurp(int fd, char *buf, size_t size)
{
	lseek(fd, 0, SEEK_SET);
	ssize_t n = read(fd, buf, size - 1);

	assert_true(n >= 0);
	buf[n] = '\0';
	close(fd);
}

/* Runs the program with stdout and stderr in memory. */
static int run_argv(const struct cli_program *p, int argc, char **argv)
{
	int out = memfd_create("out", 0), err = memfd_create("err", 0), saved[2] = {dup(1), dup(2)};

	memset(&got, 0, sizeof(got));
	fflush(NULL);
	dup2(out, 1);
	dup2(err, 2);
	got.status = cli_main(p, argc, argv);
	fflush(NULL);
	dup2(saved[0], 1);
	dup2(saved[1], 2);
	close(saved[0]);
	close(saved[1]);
	slurp(out, got.out, sizeof(got.out));
	slurp(err, got.err, sizeof(got.err));
	return got.status;
}

#define RUN_OF(p, ...)                                                         \
	({                                                                     \
		char *argv_[] = {(char *)"tool", ##__VA_ARGS__, NULL};         \
		run_argv(p, (int)(sizeof(argv_) / sizeof(*argv_)) - 1, argv_); \
	})
#define RUN(...) RUN_OF(&tool, ##__VA_ARGS__)
#define W(s)     ((char *)(s))

#define assert_has(text, part)                                       \
	do {                                                         \
		if (!strstr(text, part))                             \
			fail_msg("'%s' is not in:\n%s", part, text); \
	} while (0)
#define assert_lacks(text, part)                                 \
	do {                                                     \
		if (strstr(text, part))                          \
			fail_msg("'%s' is in:\n%s", part, text); \
	} while (0)

static void test_fallbacks(void **state)
{
	assert_int_equal(RUN(W("create"), W("x")), 0);
	assert_string_equal(
	    got.seen,
	    "create <x> bundle=. detach=0 n=-7 u=0 mem=1024 time=0 form=table env= given=0 root=-");
}

static void test_flag_forms(void **state)
{
	assert_int_equal(RUN(W("--root=/r"), W("create"), W("-qdb"), W("/b"), W("x"),
			     W("--number=5"), W("-m2m"), W("-t=1m30s"), W("--unsigned"), W("9"),
			     W("--form"), W("json"), W("-eA=1"), W("--env"), W("B=2")),
			 0);
	assert_string_equal(
	    got.seen, "create <x> bundle=/b detach=1 n=5 u=9 mem=2097152 time=90000 form=json "
		      "env=A=1,B=2, given=1 root=/r");
	assert_int_equal(RUN(W("create"), W("--detach=false"), W("-q=T"), W("--"), W("-x")), 0);
	assert_has(got.seen, "create <-x>");
	assert_has(got.seen, "detach=0");
	assert_int_equal(RUN(W("create"), W("x"), W("--root"), W("/late")), 0);
	assert_has(got.seen, "root=/late");
	assert_int_equal(RUN(W("create"), W("-b"), W("-"), W("-")),
			 0); /* a value may begin with '-', "-" is a word */
	assert_has(got.seen, "create <-> bundle=- ");
	assert_int_equal(RUN(W("create"), W("-b=1"), W("--bundle="), W("x")),
			 0); /* the last one counts */
	assert_has(got.seen, "bundle= detach");
}

static void test_durations(void **state)
{
	static const struct {
		const char *text;
		long long ms; /* -1: refused */
	} rows[] = {
	    {"0", 0},
	    {"10", 10000},
	    {"1h2m3s4ms", 3723004},
	    {"1.5h", 5400000},
	    {"250us", 0},
	    {"0.5", 500},
	    {"2m0.25s", 120250},
	    {"-3s", -3000},
	    {"1\xc2\xb5s", 0},
	    {"10x", -1},
	    {"", -1},
	    {"s", -1},
	    {"1h2", -1},
	    {"1e3", -1},
	    {"99999999999999999999h", -1},
	    {"9999999999999h", -1},
	    {"1 h", -1},
	    {"--1s", -1},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char arg[64], want[64];

		snprintf(arg, sizeof(arg), "--time=%s", rows[i].text);
		snprintf(want, sizeof(want), " time=%lld ", rows[i].ms);
		if (RUN(W("create"), W("x"), arg) != (rows[i].ms == -1 ? 2 : 0))
			fail_msg("'%s': status %d", rows[i].text, got.status);
		if (rows[i].ms != -1)
			assert_has(got.seen, want);
	}
}

static void test_bad_values(void **state)
{
	static const char *const bad[] = {"--number=x",
					  "--number=99999999999999999999",
					  "--unsigned=-1",
					  "--memory=1q",
					  "--form=tabel",
					  "--form=",
					  "--detach=maybe",
					  "--form=table|json",
					  "-n"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(RUN(W("create"), W("x"), W(bad[i])), 2);
		assert_int_equal(got.runs, 0);
		assert_has(got.err, "see 'tool create --help'");
	}
	assert_has(got.err, "-n needs a value (N)");
}

static void test_commands(void **state)
{
	assert_int_equal(RUN(W("image"), W("ls")), 0); /* the longest match */
	assert_string_equal(got.seen, "image ls");
	assert_int_equal(RUN(W("image")), 0);
	assert_string_equal(got.seen, "image");
	assert_int_equal(
	    RUN(W("exec"), W("-d"), W("c"), W("ls"), W("-l"), W("--bogus"), W("--"), W("x")), 0);
	assert_string_equal(got.seen, "exec <c> <ls> <-l> <--bogus> <--> <x>");
	assert_int_equal(RUN(W("raw"), W("-x"), W("--help"), W("--"), W("y")), 0);
	assert_string_equal(got.seen, "raw <-x> <--help> <--> <y>");
	assert_int_equal(RUN(W("help"), W("raw"), W("sub")), 0);
	assert_string_equal(got.seen, "raw <sub> <--help>");
	assert_int_equal(RUN(), 0);
	assert_string_equal(got.seen, "bare");
	assert_int_equal(RUN(W("hidden")), 0);
	assert_string_equal(got.seen, "hidden");
}

static void test_unknown(void **state)
{
	assert_int_equal(RUN(W("creat"), W("x")), 2);
	assert_has(got.err,
		   "tool: unknown command 'creat'; did you mean 'create'?\nsee 'tool --help'\n");
	assert_int_equal(RUN(W("disk"), W("inof")), 2);
	assert_has(got.err, "did you mean 'disk info'?");
	assert_int_equal(RUN(W("zzzzzz")), 2);
	assert_lacks(got.err, "did you mean");
	assert_int_equal(RUN(W("create"), W("--bundel=x"), W("y")), 2);
	assert_has(got.err, "unknown flag '--bundel'; did you mean '--bundle'?");
	assert_int_equal(RUN(W("create"), W("-dz"), W("y")), 2);
	assert_has(got.err, "unknown flag '-z' in '-dz'");
	assert_int_equal(RUN(W("create"), W("--secre"), W("y")), 2);
	assert_lacks(got.err, "secret"); /* hidden flags are not suggested */
	assert_int_equal(got.runs, 0);
}

static void test_argument_counts(void **state)
{
	assert_int_equal(RUN(W("create")), 2);
	assert_has(got.err, "'create' needs an argument: CONTAINER");
	assert_int_equal(RUN(W("exec"), W("c")), 2);
	assert_has(got.err, "'exec' needs more arguments: CONTAINER COMMAND [ARG...]");
	assert_int_equal(RUN(W("create"), W("a"), W("b")), 2);
	assert_has(got.err, "'b' is too many");
	assert_int_equal(RUN(W("image"), W("ls"), W("x")), 2);
	assert_has(got.err, "'image ls' takes no arguments");
}

static void test_help(void **state)
{
	assert_int_equal(RUN(W("--help")), 0);
	assert_has(got.out, "Run:\n  create");
	assert_lacks(got.out, "hidden");
	assert_lacks(got.out, "secret");
	assert_lacks(got.out, "\033"); /* no terminal, no colour */
	static char *const ways[][3] = {{W("create"), W("--help"), NULL},
					{W("help"), W("create"), NULL},
					{W("--help"), W("create"), NULL},
					{W("create"), W("x"), W("-h")}};

	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(RUN(ways[i][0], ways[i][1], ways[i][2]), 0);
		assert_int_equal(got.runs, 0);
		assert_has(got.out, "Usage: tool create [FLAG...] CONTAINER\n");
		assert_has(got.out, "  -b, --bundle DIR   bundle (default .)\n");
		assert_has(got.out, "      --form WORD    form: table|json|name (default table)\n");
		assert_true(strstr(got.out, "Examples:") < strstr(got.out, "Flags:"));
	}
	assert_int_equal(RUN(W("exec"), W("c"), W("ls"), W("--help")), 0); /* the command's own */
	assert_string_equal(got.seen, "exec <c> <ls> <--help>");
	assert_int_equal(RUN(W("disk"), W("--help")), 0);
	assert_has(got.out, "disk info");
	assert_int_equal(RUN(W("disk")), 2);
	assert_int_equal(RUN(W("--version")), 0);
	assert_string_equal(got.out, "tool 1.2\n");
	assert_int_equal(RUN(W("-v")), 0);
	assert_string_equal(got.out, "tool 1.2\n");
	assert_int_equal(RUN(W("create"), W("--version"), W("x")), 2);
}

/* A program whose table is too long for --help names its commands only. */
static void test_short_help(void **state)
{
	struct cli_program p = tool;

	p.help_lines = 12;
	assert_int_equal(RUN_OF(&p, W("--help")), 0);
	assert_has(got.out, "Run    create exec\n");
	assert_has(got.out, "Other  image disk raw fail\n");
	unsigned lines = 0;

	for (const char *s = got.out; *s; s++)
		lines += *s == '\n';
	assert_true(lines <= 12);
	assert_int_equal(RUN_OF(&p, W("--help"), W("--all")), 0);
	assert_has(got.out, "image inspect");
	assert_has(got.out, "look");
}

static void test_fail(void **state)
{
	assert_int_equal(RUN(W("fail"), W("web")), 3);
	assert_has(got.err, "tool: container 'web' is \"gone\" [CT-NOT-FOUND]\ntry: ");
	assert_has(got.err, "   more: viv explain CT-NOT-FOUND\n");
	assert_int_equal(RUN(W("-o"), W("json"), W("fail"), W("web")), 3);
	assert_has(got.err, "{\"error\":{\"code\":\"CT-NOT-FOUND\",\"message\":\"container 'web' "
			    "is \\\"gone\\\"\",");
	struct cli_program p = tool;

	p.link_style = true;
	p.usage_status = 1;
	assert_int_equal(RUN_OF(&p, W("fail"), W("web")), 1);
	assert_string_equal(got.err, "tool: container 'web' is \"gone\"\n");
	assert_int_equal(RUN_OF(&p, W("creat")), 1);
}

static void test_lost_output(void **state)
{
	int saved = dup(1), full = open("/dev/full", O_WRONLY);

	fflush(stdout);
	dup2(full, 1);
	char *argv[] = {W("tool"), W("--help"), NULL};
	int status = cli_main(&tool, 2, argv);

	clearerr(stdout);
	dup2(saved, 1);
	close(saved);
	close(full);
	assert_int_equal(status, 1);
}

static void test_complete(void **state)
{
	assert_int_equal(RUN(W("__complete"), W("cr")), 0);
	assert_string_equal(got.out, "create\tcreate it\n");
	RUN(W("__complete"), W(""));
	assert_has(got.out, "image\tthe noun itself\n"); /* a noun and its verbs are one word */
	assert_null(strstr(strstr(got.out, "image") + 1, "image"));
	assert_has(got.out, "\ndisk\n");
	assert_lacks(got.out, "hidden");
	RUN(W("__complete"), W("image"), W("i")); /* a command that is a noun, too */
	assert_string_equal(got.out, "inspect\tlook\n");
	RUN(W("__complete"), W("disk"), W("x"));
	assert_string_equal(got.out, "");
	RUN(W("__complete"), W("disk"), W(""));
	assert_string_equal(got.out, "info\tof a disk\n");
	RUN(W("__complete"), W("create"), W("--b"));
	assert_string_equal(got.out, "--bundle\tbundle\n");
	RUN(W("__complete"), W("create"), W("-b"), W(""));
	assert_string_equal(got.out, ":dir\n");
	RUN(W("__complete"), W("create"), W("--form=j"));
	assert_string_equal(got.out, "--form=json\n");
	RUN(W("__complete"), W("create"), W("-dqn"), W("3"), W("--form"), W(""));
	assert_string_equal(got.out, "table\njson\nname\n");
	RUN(W("__complete"), W("--root"), W("/x"), W("create"), W(""));
	assert_string_equal(got.out, "container-one\ncontainer-two\n");
	RUN(W("__complete"), W("create"), W("c"), W(""));
	assert_string_equal(got.out, ""); /* it takes one argument only */
	RUN(W("__complete"), W("exec"), W("c"), W(""));
	assert_string_equal(got.out, ":file\n");
	RUN(W("__complete"), W("exec"), W("c"), W("--"));
	assert_string_equal(got.out, ":file\n"); /* no flag of ours */
	RUN(W("__complete"), W("help"), W("cr"));
	assert_string_equal(got.out, "create\tcreate it\n");
	RUN(W("__complete"), W("nonsense"), W(""));
	assert_string_equal(got.out, "");
	assert_int_equal(RUN(W("__complete")), 0);
	RUN(W("__complete"), W("--s"));
	assert_string_equal(got.out, "");
}

static void test_man(void **state)
{
	assert_int_equal(RUN(W("__man"), W("--list")), 0);
	assert_has(got.out, "tool.1\ntool-create.1\n");
	assert_lacks(got.out, "hidden");
	assert_lacks(got.out, "tool-raw");
	assert_int_equal(RUN(W("__man"), W("image"), W("inspect")), 0);
	assert_has(got.out, ".Dt TOOL-IMAGE-INSPECT 1\n");
	assert_int_equal(RUN(W("__man"), W("tool-exec")), 0);
	assert_has(got.out, ".Ar \\&CONTAINER Ar \\&COMMAND Oo Ar \\&ARG... Oc\n");
	assert_int_equal(RUN(W("__man"), W("nope")), 2);
	assert_int_equal(RUN(W("__man")), 0);
	assert_has(got.out, ".It Xr tool-create 1\n");
}

static void test_reference(void **state)
{
	assert_int_equal(RUN(W("__reference")), 0);
	assert_has(got.out, "# tool\n");
	assert_has(got.out, "\n## Run\n\n### tool create CONTAINER\n\nCreate it.\n");
	assert_has(got.out, "| `-b`, `--bundle DIR` | bundle (default `.`) |\n");
	assert_has(got.out, "| `--form WORD` | form: `table` `json` `name` (default `table`) |\n");
	assert_lacks(got.out, "hidden");
}

int main(void)
{
	return TEST_RUN("cli", cmocka_unit_test(test_fallbacks), cmocka_unit_test(test_flag_forms),
			cmocka_unit_test(test_durations), cmocka_unit_test(test_bad_values),
			cmocka_unit_test(test_commands), cmocka_unit_test(test_unknown),
			cmocka_unit_test(test_argument_counts), cmocka_unit_test(test_help),
			cmocka_unit_test(test_short_help), cmocka_unit_test(test_fail),
			cmocka_unit_test(test_lost_output), cmocka_unit_test(test_complete),
			cmocka_unit_test(test_man), cmocka_unit_test(test_reference));
}
