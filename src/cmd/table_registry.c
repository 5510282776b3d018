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

static const struct cli_flag pull_flags[] = {
    {"all-tags", 'a', CLI_BOOL, .help = "every tag of the repository"},
    {"discard-compressed", .type = CLI_BOOL,
     .help = "keep only what runs: the image cannot be pushed or saved then"},
    {"platform", .type = CLI_STRING, .metavar = "OS/ARCH[/VARIANT]",
     .help = "for this platform instead of the host's"},
    {"quiet", 'q', CLI_BOOL, .help = "print the image's name alone"},
    INSECURE_FLAG,
    {0},
};

static const struct cli_flag push_flags[] = {
    {"all-tags", 'a', CLI_BOOL, .help = "every tag that the repository has here"},
    {"quiet", 'q', CLI_BOOL, .help = "print the image's name alone"},
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
	.name = "pull",
	.group = viv_group_images,
	.args = "NAME[:TAG|@DIGEST]",
	.summary = "pull an image from a registry",
	.description =
	    "The image is ready to run when its name appears; until then nothing of it is visible. "
	    "A pull that was cut is continued by the next one. Mirrors, insecure registries and "
	    "proxies are named in registries.json, certificates lie in certs.d/REGISTRY "
	    "(" VIV_SYSCONFDIR
	    " and $XDG_CONFIG_HOME/viv); policy.json there says which images may "
	    "come in, and by whom they must be signed (containers-policy.json(5)).",
	.examples = "viv pull debian:12\n"
		    "viv pull --platform linux/arm64 debian\n"
		    "viv pull --insecure localhost:5000 localhost:5000/app",
	.flags = pull_flags,
	.args_min = 1,
	.args_max = 1,
	.complete = "image",
	.program = PROGRAM,
    },
    {
	.name = "push",
	.group = viv_group_images,
	.args = "NAME[:TAG]",
	.summary = "push an image to a registry",
	.description = "The name says where to: give the image one by `viv tag` first. What the "
		       "registry has already is not sent again.",
	.examples = "viv tag app registry.example.com/team/app:1\n"
		    "viv push registry.example.com/team/app:1",
	.flags = push_flags,
	.args_min = 1,
	.args_max = 1,
	.complete = "image",
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
