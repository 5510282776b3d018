/* The commands of images: viv-image's rows. A flat verb and its long form `image VERB` are the same
 * command twice: ROW_…(name). */
#include "cmd/table.h"

#define PROGRAM "viv-image"

static const struct cli_flag images_flags[] = {
    {"all", 'a', CLI_BOOL, .help = "accepted for Docker's sake: there are no hidden images here"},
    {"digests", .type = CLI_BOOL, .help = "show the digests that registries have for them"},
    {"filter", 'f', CLI_LIST, "KEY=VALUE",
     "only those: dangling=BOOL, label=KEY[=VALUE], before=IMAGE, since=IMAGE, until=TIME, "
     "reference=PATTERN"},
    {"no-trunc", .type = CLI_BOOL, .help = "do not shorten IDs"},
    {"quiet", 'q', CLI_BOOL, .help = "only IDs"},
    VIV_FORMAT_FLAG,
    {0},
};

#define ROW_IMAGES(NAME)                                                                       \
	{                                                                                      \
		.name = NAME, .group = viv_group_images, .args = "[REPOSITORY[:TAG]]",         \
		.summary = "list images",                                                      \
		.description =                                                                 \
		    "A row per name, the newest images first. The size is that of the "        \
		    "uncompressed layers; `viv image df` tells what they take on the disk.",   \
		.examples = "viv " NAME "\tall of them\n"                                      \
			    "viv " NAME " -f dangling=true -q\tIDs of those without a name\n"  \
			    "viv " NAME " --format '{{.Repository}}:{{.Tag}}'\tchosen fields", \
		.flags = images_flags, .args_max = 1, .complete = "image", .program = PROGRAM, \
	}

#define ROW_TAG(NAME)                                                                             \
	{                                                                                         \
		.name = NAME, .group = viv_group_images, .args = "IMAGE NAME[:TAG]",              \
		.summary = "give an image another name",                                          \
		.description = "What had that name before keeps its ID and its other names.",     \
		.examples =                                                                       \
		    "viv " NAME " debian:bookworm registry.example.org/base:1\tto push it there", \
		.args_min = 2, .args_max = 2, .complete = "image image", .program = PROGRAM,      \
	}

static const struct cli_flag rmi_flags[] = {
    {"force", 'f', CLI_BOOL,
     .help =
	 "also an ID with names in several repositories; no error where there is no such image"},
    {"no-prune", .type = CLI_BOOL,
     .help = "accepted for Docker's sake: there are no untagged parents here"},
    {0},
};

#define ROW_RMI(NAME)                                                                              \
	{                                                                                          \
		.name = NAME, .group = viv_group_images, .args = "IMAGE...",                       \
		.summary = "remove images",                                                        \
		.description =                                                                     \
		    "A name is taken off its image; the image goes with its last tag, or when "    \
		    "its ID is given. What other images share with it stays.",                     \
		.examples =                                                                        \
		    "viv " NAME " debian:bookworm\nviv " NAME " 4f3c\tby the beginning of its ID", \
		.flags = rmi_flags, .args_min = 1, .args_max = -1, .complete = "image",            \
		.program = PROGRAM,                                                                \
	}

static const struct cli_flag history_flags[] = {
    {"human", 'H', CLI_BOOL, .help = "sizes and times for people", .fallback = "true"},
    {"no-trunc", .type = CLI_BOOL, .help = "do not shorten commands and IDs"},
    {"platform", .type = CLI_STRING, .metavar = "PLATFORM", .help = "the image must be for it"},
    {"quiet", 'q', CLI_BOOL, .help = "only IDs"},
    VIV_FORMAT_FLAG,
    {0},
};

#define ROW_HISTORY(NAME)                                                                   \
	{                                                                                   \
		.name = NAME, .group = viv_group_images, .args = "IMAGE",                   \
		.summary = "show the steps that made an image",                             \
		.examples = "viv " NAME " debian\nviv " NAME                                \
			    " --no-trunc --format '{{.CreatedBy}}' debian\twhole commands", \
		.flags = history_flags, .args_min = 1, .args_max = 1, .complete = "image",  \
		.program = PROGRAM,                                                         \
	}

static const struct cli_flag inspect_flags[] = {
    {"format", 'f', CLI_STRING, "TEMPLATE",
     "Go template for each image, as in Docker; also \"json\""},
    {"platform", .type = CLI_STRING, .metavar = "PLATFORM", .help = "the image must be for it"},
    {0},
};

const struct cli_command viv_image_table[] = {
    ROW_IMAGES("images"),
    ROW_TAG("tag"),
    ROW_RMI("rmi"),
    ROW_HISTORY("history"),
    {
	.name = "image inspect",
	.group = viv_group_images,
	.args = "IMAGE...",
	.summary = "show everything about images",
	.examples = "viv image inspect debian\n"
		    "viv image inspect -f '{{json .Config.Env}}' debian\tone field",
	.flags = inspect_flags,
	.args_min = 1,
	.args_max = -1,
	.complete = "image",
	.program = PROGRAM,
    },
    ROW_IMAGES("image ls"),
    ROW_TAG("image tag"),
    ROW_RMI("image rm"),
    ROW_HISTORY("image history"),
    {0},
};
