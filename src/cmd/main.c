/* The program viv-cli: every command that needs no program of its own. The table below is all there
 * is to add to. */
#include "base/log.h"
#include "base/str.h"
#include "cmd/viv.h"
#include "io/logsink.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char group_start[] = "Start here";
static const char group_low[] = "Low level";
static const char group_host[] = "This installation";
static const char *const groups[] = {group_start, group_low, group_host, NULL};

static const struct cli_flag global_flags[] = {
    {"output", 'o', CLI_ENUM, "FORMAT", "form of the output", OUTPUT_FORMATS},
    {"log-level", .type = CLI_ENUM, .metavar = "LEVEL", .help = "most detailed messages to show",
     .choices = "error|warn|info|debug"},
    {"progress", .type = CLI_ENUM, .metavar = "MODE", .help = "progress on standard error",
     .choices = "auto|plain|json|none"},
    {"color", .type = CLI_ENUM, .metavar = "WHEN", .help = "colour in what people read",
     .choices = "auto|always|never"},
    {0},
};

static const struct cli_flag format_flags[] = {VIV_FORMAT_FLAG, {0}};
static const struct cli_flag settings_flags[] = {
    {"system", .type = CLI_BOOL, .help = "in " VIV_SYSCONFDIR "/settings.yaml, for every user"},
    {0},
};

static const struct cli_command commands[] = {
    {
	.name = "doctor",
	.group = group_start,
	.args = "",
	.summary = "tell what this host can and cannot do, and how to mend it",
	.description =
	    "Tries each thing that containers and machines need, instead of reading version "
	    "numbers, "
	    "and names a cure for what does not work.\n\n"
	    "The status is 1 where something essential is missing: then no container can run.",
	.examples = "viv doctor\tthe report\n"
		    "viv doctor -o json\tthe same for programs\n"
		    "viv doctor --format '{{.Status}} {{.Check}}'\tchosen fields",
	.flags = format_flags,
	.run = cmd_doctor,
    },
    {
	.name = "explain",
	.group = group_start,
	.args = "[CODE]",
	.summary = "explain an error code: its cause and its cure",
	.description = "An error message ends with a code in brackets. Codes are stable: the "
		       "wording of a message "
		       "may change, its code does not. Without CODE all of them are listed.",
	.examples = "viv explain CT-NOT-FOUND\twhy, and what to do\nviv explain\tall codes",
	.flags = format_flags,
	.args_max = 1,
	.complete = "code",
	.run = cmd_explain,
    },
    {
	.name = "runtime",
	.group = group_low,
	.args = "COMMAND [ARG...]",
	.summary = "run OCI bundles, argument for argument as runc does",
	.passthrough = true,
	.run = cmd_runtime,
	.complete_words = cmd_runtime_complete,
    },
    {
	.name = "completion",
	.group = group_host,
	.args = "SHELL",
	.summary = "print the completion script of bash or zsh",
	.description = "The packages install these scripts already. They know no commands, but ask "
		       "viv at each TAB.",
	.examples =
	    "source <(viv completion bash)\tfor this shell\n"
	    "viv completion zsh >~/.zfunc/_viv\tfor all zsh to come, with ~/.zfunc in fpath",
	.args_min = 1,
	.args_max = 1,
	.complete = "shell",
	.run = cmd_completion,
    },
    {
	.name = "info",
	.group = group_host,
	.args = "",
	.summary = "show this host and where Vivarium keeps things",
	.examples = "viv info\nviv info --format '{{.Kernel}}'",
	.flags = format_flags,
	.run = cmd_info,
    },
    {
	.name = "settings",
	.group = group_host,
	.args = "",
	.summary = "show the settings in force and where each comes from",
	.description =
	    "Settings are read from " VIV_SYSCONFDIR "/settings.yaml, from "
	    "$XDG_CONFIG_HOME/viv/settings.yaml (~/.config where that is unset), and from "
	    "environment variables such as VIV_LOG_LEVEL; the later one wins, and a flag above "
	    "all.",
	.examples = "viv settings\nviv settings set output json\tfor this user\n"
		    "viv settings set --system log-level info\tfor every user",
	.flags = format_flags,
	.run = cmd_settings,
    },
    {
	.name = "settings get",
	.group = group_host,
	.args = "KEY",
	.summary = "print one setting",
	.examples = "viv settings get output",
	.args_min = 1,
	.args_max = 1,
	.complete = "setting",
	.run = cmd_settings_get,
    },
    {
	.name = "settings set",
	.group = group_host,
	.args = "KEY VALUE",
	.summary = "change one setting in its file",
	.examples = "viv settings set progress none",
	.flags = settings_flags,
	.args_min = 2,
	.args_max = 2,
	.complete = "setting none",
	.run = cmd_settings_set,
    },
    {
	.name = "settings unset",
	.group = group_host,
	.args = "KEY",
	.summary = "remove one setting from its file",
	.examples = "viv settings unset progress",
	.flags = settings_flags,
	.args_min = 1,
	.args_max = 1,
	.complete = "setting",
	.run = cmd_settings_unset,
    },
    {
	.name = "version",
	.group = group_host,
	.args = "",
	.summary = "show the versions of Vivarium and of what it is built with",
	.examples = "viv version\nviv version -o json",
	.flags = format_flags,
	.run = cmd_version,
    },
    {0},
};

/* The one mutable object of this program: filled before the handler runs, read by it. */
static struct settings settings;

const struct settings *viv_settings(const struct cli *c)
{
	return cli_program(c)->context;
}

/* The flag where it is given, else the setting of the same name. */
static const char *chosen(const struct cli *c, const char *name)
{
	return cli_given(c, name) ? cli_string(c, name) : settings_get(viv_settings(c), name);
}

static enum log_level level_of(const char *name)
{
	static const char *const names[] = {[LOG_LVL_ERROR] = "error",
					    [LOG_LVL_WARN] = "warn",
					    [LOG_LVL_INFO] = "info",
					    [LOG_LVL_DEBUG] = "debug"};
	int level = LOG_LVL_DEBUG;

	while (level && !str_eq(names[level], name))
		level--;
	return (enum log_level)level;
}

static struct logsink stderr_sink;

/* Settings that cannot be used are no reason to do nothing: what could be read counts, and the rest
 * is named. */
static int before(struct cli *c)
{
	struct err e = {0};
	int rc = settings_load(&settings, &e);

	logsink_init(&stderr_sink, STDERR_FILENO, LOGSINK_TEXT, "viv");
	log_to(logsink_write, &stderr_sink, level_of(chosen(c, "log-level")));
	if (rc)
		log_warn("%s", e.msg);
	return 0;
}

struct output viv_output(const struct cli *c, const struct output_column *columns)
{
	return (struct output){
	    .format = chosen(c, "output"),
	    .template = cli_string(c, "format"),
	    .columns = columns,
	};
}

static int print(const struct cli *c, int rc, const struct buf *text, const struct err *e)
{
	if (rc)
		return cli_fail(c, e);
	fwrite(buf_str(text), 1, text->len, stdout);
	return 0;
}

int viv_print_rows(const struct cli *c, const struct output_column *columns, const json_t *rows)
{
	struct output o = viv_output(c, columns);
	_buf_ struct buf text = {0};
	struct err e = {0};

	return print(c, output_rows(&o, rows, &text, &e), &text, &e);
}

int viv_print_object(const struct cli *c, const struct output_column *columns, const json_t *object)
{
	struct output o = viv_output(c, columns);
	_buf_ struct buf text = {0};
	struct err e = {0};

	return print(c, output_object(&o, object, &text, &e), &text, &e);
}

bool viv_colour(const struct cli *c)
{
	const char *when = chosen(c, "color"), *no_color = getenv("NO_COLOR");

	if (!str_eq(when, "auto"))
		return str_eq(when, "always");
	return (!no_color || !*no_color) && isatty(STDOUT_FILENO);
}

static void name(const char *prefix, const char *word, const char *summary)
{
	if (str_after(word, prefix))
		printf("%s\t%s\n", word, summary);
}

static int names(const char *kind, const char *prefix)
{
	if (str_eq(kind, "shell")) {
		name(prefix, "bash", "the script for bash");
		name(prefix, "zsh", "the script for zsh");
	} else if (str_eq(kind, "setting")) {
		for (const struct cli_flag *f = settings_table; f->name; f++)
			name(prefix, f->name, f->help);
	} else if (str_eq(kind, "code")) {
		for (int i = 0; i < ERR_COUNT; i++)
			name(prefix, err_info((enum err_code)i)->name,
			     err_info((enum err_code)i)->summary);
	}
	return 0;
}

static void version(void)
{
	puts("viv " VIV_VERSION);
}

static const struct cli_program program = {
    .name = "viv",
    .summary = "containers and virtual machines, on one machine or many",
    .description =
	"Vivarium runs containers and virtual machines, and keeps their images, disks and "
	"networks. "
	"A container and a machine are the same object with another isolation, so the same "
	"commands act on both.\n\n"
	"Without a command it shows the state of this host and the next sensible command.",
    .commands = commands,
    .globals = global_flags,
    .groups = groups,
    .usage_status = 2,
    .help_lines = 24,
    .version = version,
    .before = before,
    .bare = cmd_status,
    .names = names,
    .context = &settings,
};

int main(int argc, char **argv)
{
	int status = cli_main(&program, argc, argv);

	settings_done(&settings);
	return status;
}
