#include "cmd/table.h"

#include "cmd/output.h"

const char viv_group_start[] = "Start here";
const char viv_group_images[] = "Images";
const char viv_group_low[] = "Low level";
const char viv_group_host[] = "This installation";

const char *const viv_groups[] = {viv_group_start, viv_group_images, viv_group_low, viv_group_host,
				  NULL};

const struct cli_flag viv_globals[] = {
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

static const struct cli_command start_table[] = {
    {
	.name = "doctor",
	.group = viv_group_start,
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
    },
    {
	.name = "explain",
	.group = viv_group_start,
	.args = "[CODE]",
	.summary = "explain an error code: its cause and its cure",
	.description = "An error message ends with a code in brackets. Codes are stable: the "
		       "wording of a message "
		       "may change, its code does not. Without CODE all of them are listed.",
	.examples = "viv explain CT-NOT-FOUND\twhy, and what to do\nviv explain\tall codes",
	.flags = format_flags,
	.args_max = 1,
	.complete = "code",
    },
    {0},
};

static const struct cli_command low_table[] = {
    {
	.name = "disk",
	.group = viv_group_low,
	.args = "COMMAND [ARG...]",
	.summary = "make, convert, check and change disk images, as qemu-img does",
	.passthrough = true,
	.program = "viv-disk",
    },
    {
	.name = "runtime",
	.group = viv_group_low,
	.args = "COMMAND [ARG...]",
	.summary = "run OCI bundles, argument for argument as runc does",
	.passthrough = true,
	.program = "viv-runtime",
    },
    {0},
};

static const struct cli_command host_table[] = {
    {
	.name = "completion",
	.group = viv_group_host,
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
    },
    {
	.name = "info",
	.group = viv_group_host,
	.args = "",
	.summary = "show this host and where Vivarium keeps things",
	.examples = "viv info\nviv info --format '{{.Kernel}}'",
	.flags = format_flags,
    },
    {
	.name = "settings",
	.group = viv_group_host,
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
    },
    {
	.name = "settings get",
	.group = viv_group_host,
	.args = "KEY",
	.summary = "print one setting",
	.examples = "viv settings get output",
	.args_min = 1,
	.args_max = 1,
	.complete = "setting",
    },
    {
	.name = "settings set",
	.group = viv_group_host,
	.args = "KEY VALUE",
	.summary = "change one setting in its file",
	.examples = "viv settings set progress none",
	.flags = settings_flags,
	.args_min = 2,
	.args_max = 2,
	.complete = "setting none",
    },
    {
	.name = "settings unset",
	.group = viv_group_host,
	.args = "KEY",
	.summary = "remove one setting from its file",
	.examples = "viv settings unset progress",
	.flags = settings_flags,
	.args_min = 1,
	.args_max = 1,
	.complete = "setting",
    },
    {
	.name = "version",
	.group = viv_group_host,
	.args = "",
	.summary = "show the versions of Vivarium and of what it is built with",
	.examples = "viv version\nviv version -o json",
	.flags = format_flags,
    },
    {0},
};

const struct cli_command *const viv_tables[] = {
    start_table, viv_image_table, viv_rootfs_table, viv_registry_table, low_table, host_table, NULL,
};
