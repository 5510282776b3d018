/* The commands that speak with registries: rows of viv-registry. */
#include "cmd/table.h"

#define PROGRAM "viv-registry"

#define INSECURE_FLAG                                                                           \
	{                                                                                       \
		"insecure", .type = CLI_LIST, .metavar = "REGISTRY",                            \
			    .help = "allow this registry to speak HTTP or show any certificate" \
	}

static const struct cli_flag login_flags[] = {
    {"username", 'u', CLI_STRING, "NAME", "user name at the registry"},
    {"password", 'p', CLI_STRING, "PASSWORD",
     "password; others may see it: better --password-stdin"},
    {"password-stdin", .type = CLI_BOOL, .help = "read the password from standard input"},
    INSECURE_FLAG,
    {0},
};

static const struct cli_flag search_flags[] = {
    {"filter", 'f', CLI_LIST, "FILTER",
     "only stars=N (at least), is-official=BOOL, is-automated=BOOL"},
    {"limit", .type = CLI_UINT, .metavar = "N", .help = "at most so many results, up to 100",
     .fallback = "25"},
    {"no-trunc", .type = CLI_BOOL, .help = "whole descriptions"},
    INSECURE_FLAG,
    VIV_FORMAT_FLAG,
    {0},
};

const struct cli_command viv_registry_table[] = {
    {
	.name = "login",
	.group = viv_group_images,
	.args = "[REGISTRY]",
	.summary = "log in to a registry, and keep the login",
	.description =
	    "The login is tried first, and then kept where Docker keeps it: with the credential "
	    "helper that config.json names for the registry, else in config.json itself "
	    "($DOCKER_CONFIG or ~/.docker; $REGISTRY_AUTH_FILE names another file). Without "
	    "REGISTRY it is for docker.io.",
	.examples = "viv login quay.io\tasks for name and password\n"
		    "pass quay | viv login -u ann --password-stdin quay.io\tfor scripts",
	.flags = login_flags,
	.args_max = 1,
	.program = PROGRAM,
    },
    {
	.name = "logout",
	.group = viv_group_images,
	.args = "[REGISTRY]",
	.summary = "forget the login of a registry",
	.examples = "viv logout quay.io",
	.args_max = 1,
	.program = PROGRAM,
    },
    {
	.name = "search",
	.group = viv_group_images,
	.args = "[REGISTRY/]TERM",
	.summary = "search a registry for images",
	.description =
	    "Docker Hub is asked for its search; another registry for the list of its "
	    "repositories, of which those that contain TERM are shown. Many registries keep that "
	    "list to themselves.",
	.examples = "viv search --filter is-official=true debian\n"
		    "viv search registry.example.com/team/",
	.flags = search_flags,
	.args_min = 1,
	.args_max = 1,
	.program = PROGRAM,
    },
    {0},
};
