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

static const struct cli_flag save_flags[] = {
    {"output", 'o', CLI_STRING, "FILE", "write to FILE, or for oci-dir to that folder",
     .complete = "file"},
    {"format", .type = CLI_ENUM, .metavar = "FORM", .help = "what is written",
     .choices = "docker-archive|oci-archive|oci-dir", .fallback = "docker-archive"},
    {"platform", .type = CLI_STRING, .metavar = "PLATFORM", .help = "the images must be for it"},
    {0},
};

#define ROW_SAVE(NAME)                                                                             \
	{                                                                                          \
		.name = NAME, .group = viv_group_images, .args = "IMAGE...",                       \
		.summary = "write images to an archive",                                           \
		.description =                                                                     \
		    "A docker-archive has the files of an OCI layout, too, as Docker's has since " \
		    "version 25: docker, podman, skopeo and buildah read it either way. Layers "   \
		    "are written as they are stored, so their digests stay. The same images give " \
		    "the same bytes.\n\nWithout --output it goes to standard output.",             \
		.examples = "viv " NAME " -o debian.tar debian\n"                                  \
			    "viv " NAME " debian alpine | ssh host viv load\tto another machine\n" \
			    "viv " NAME " --format oci-dir -o layout debian\tas a folder",         \
		.flags = save_flags, .args_min = 1, .args_max = -1, .complete = "image",           \
		.program = PROGRAM,                                                                \
	}

static const struct cli_flag load_flags[] = {
    {"input", 'i', CLI_STRING, "FILE", "an archive or a folder, instead of standard input",
     .complete = "file"},
    {"discard-compressed", .type = CLI_BOOL,
     .help = "keep only what runs: the images cannot be pushed or saved"},
    {"platform", .type = CLI_STRING, .metavar = "PLATFORM", .help = "which image of an index"},
    {"quiet", 'q', CLI_BOOL, .help = "print nothing"},
    {0},
};

#define ROW_LOAD(NAME)                                                                             \
	{                                                                                          \
		.name = NAME, .group = viv_group_images, .args = "",                               \
		.summary = "read images from an archive",                                          \
		.description =                                                                     \
		    "Reads what docker, podman, buildah, skopeo and umoci write: docker-archives " \
		    "and OCI layouts, as a tar archive (also compressed by gzip or zstd) or as a " \
		    "folder. Where a layout has tags without a repository, the images are called " \
		    "localhost/FILE:TAG.",                                                         \
		.examples = "viv " NAME " -i debian.tar\n"                                         \
			    "viv " NAME " <debian.tar.gz\tfrom standard input\n"                   \
			    "viv " NAME " -i layout --platform linux/arm64\tfrom a folder",        \
		.flags = load_flags, .program = PROGRAM,                                           \
	}

static const struct cli_flag df_flags[] = {
    {"verbose", 'v', CLI_BOOL, .help = "image by image"},
    VIV_FORMAT_FLAG,
    {0},
};

static const struct cli_flag prune_flags[] = {
    {"all", 'a', CLI_BOOL, .help = "also images with a name, if nothing uses them"},
    {"dry-run", .type = CLI_BOOL, .help = "only say what would go"},
    {"filter", .type = CLI_LIST, .metavar = "KEY=VALUE",
     .help = "only those: until=TIME, label=KEY[=VALUE], label!=…"},
    {"force", 'f', CLI_BOOL, .help = "do not ask"},
    {0},
};

static const struct cli_flag verify_flags[] = {
    {"repair", .type = CLI_BOOL, .help = "make or pull again what is damaged or missing"},
    VIV_FORMAT_FLAG,
    {0},
};

const struct cli_command viv_image_table[] = {
    ROW_IMAGES("images"),
    ROW_TAG("tag"),
    ROW_RMI("rmi"),
    ROW_HISTORY("history"),
    ROW_SAVE("save"),
    ROW_LOAD("load"),
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
    {
	.name = "image df",
	.group = viv_group_images,
	.args = "",
	.summary = "show what images take on the disk",
	.description =
	    "What several images share counts once. Reclaimable is what `viv image prune "
	    "--all` would free.",
	.examples = "viv image df\nviv image df -v\timage by image",
	.flags = df_flags,
	.program = PROGRAM,
    },
    {
	.name = "image prune",
	.group = viv_group_images,
	.args = "",
	.summary = "remove images without a name, and what belongs to none",
	.description = "Also removes what cut pulls have left to be continued.",
	.examples =
	    "viv image prune\nviv image prune -a -f --filter until=240h\tall that are older than "
	    "ten days and not in use",
	.flags = prune_flags,
	.program = PROGRAM,
    },
    {
	.name = "image verify",
	.group = viv_group_images,
	.args = "",
	.summary = "read all images again and find what is damaged",
	.description =
	    "Every blob is compared with its digest and every layer with its DiffID. The status "
	    "is 1 where something is wrong (and stays so after --repair).",
	.examples = "viv image verify\nviv image verify --repair\tand get it again",
	.flags = verify_flags,
	.program = PROGRAM,
    },
    ROW_IMAGES("image ls"),
    ROW_TAG("image tag"),
    ROW_RMI("image rm"),
    ROW_HISTORY("image history"),
    ROW_SAVE("image save"),
    ROW_LOAD("image load"),
    {0},
};
