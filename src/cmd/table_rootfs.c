/* The commands that turn root file systems into images and back: viv-image's rows. */
#include "cmd/table.h"

#define PROGRAM "viv-image"

static const struct cli_flag import_flags[] = {
    {"change", 'c', CLI_LIST, "INSTRUCTION",
     "a Dockerfile instruction for the configuration, as in 'CMD [\"sh\"]'"},
    {"message", 'm', CLI_STRING, "TEXT", "comment in the image's history"},
    {"platform", .type = CLI_STRING, .metavar = "PLATFORM",
     .help = "what it runs on; this host's where nothing is said"},
    {0},
};

static const struct cli_flag export_flags[] = {
    {"output", 'o', CLI_STRING, "FILE", "write there instead of to standard output",
     .complete = "file"},
    {0},
};

static const struct cli_flag mount_flags[] = {
    {"writable", 'w', CLI_BOOL, .help = "changes are possible, and gone when it is unmounted"},
    {0},
};

static const struct cli_flag bootstrap_flags[] = {
    {"include", .type = CLI_LIST, .metavar = "PACKAGE[,PACKAGE]",
     .help = "packages to install beside"},
    {"mirror", .type = CLI_STRING, .metavar = "URL",
     .help = "where the packages come from; deb.debian.org where nothing is said"},
    {"variant", .type = CLI_ENUM, .metavar = "NAME", .help = "which packages make the base",
     .choices = "essential|apt|minbase|important|standard|buildd", .fallback = "minbase"},
    {0},
};

#define ROW_IMPORT(NAME)                                                                          \
	{                                                                                         \
		.name = NAME, .group = viv_group_images, .args = "FILE|- [NAME[:TAG]]",           \
		.summary = "make an image from a root file system in a tar",                      \
		.description = "The tar may be compressed by gzip or zstd; - is standard input.", \
		.examples = "viv " NAME " rootfs.tar.gz base:1\n"                                 \
			    "tar c -C rootfs . | viv " NAME " -c 'CMD [\"sh\"]' - base:2",        \
		.flags = import_flags, .args_min = 1, .args_max = 2, .complete = "file image",    \
		.program = PROGRAM,                                                               \
	}

const struct cli_command viv_rootfs_table[] = {
    ROW_IMPORT("import"),
    {
	.name = "export",
	.group = viv_group_images,
	.args = "IMAGE",
	.summary = "write an image's root file system as one tar",
	.description = "All layers as one. Docker's import, and ours, make an image of it again; "
		       "`viv save` keeps layers and configuration.",
	.examples = "viv export -o rootfs.tar debian\nviv export debian | tar t",
	.flags = export_flags,
	.args_min = 1,
	.args_max = 1,
	.complete = "image",
	.program = PROGRAM,
    },
    ROW_IMPORT("image import"),
    {
	.name = "image mount",
	.group = viv_group_images,
	.args = "IMAGE DIRECTORY",
	.summary = "mount an image's root file system",
	.description =
	    "Read-only, or with --writable. The image cannot be removed until it is unmounted. An "
	    "ordinary user mounts in a user namespace (unshare --map-root-user --map-auto "
	    "--mount).",
	.examples = "viv image mount debian /mnt\nviv image unmount /mnt",
	.flags = mount_flags,
	.args_min = 2,
	.args_max = 2,
	.complete = "image dir",
	.program = PROGRAM,
    },
    {
	.name = "image unmount",
	.group = viv_group_images,
	.args = "DIRECTORY...",
	.summary = "unmount images",
	.description = "What a writable mount has changed is gone then.",
	.examples = "viv image unmount /mnt",
	.args_min = 1,
	.args_max = -1,
	.complete = "dir",
	.program = PROGRAM,
    },
    {
	.name = "image bootstrap",
	.group = viv_group_images,
	.args = "debian:SUITE",
	.summary = "make an image of Debian from its packages, without a registry",
	.description =
	    "Needs mmdebstrap and a mirror. The image is localhost/debian:SUITE, and debian:SUITE "
	    "(debian, too, for the stable suite) means it from then on.\n\n"
	    "The same packages give the same image: times are cut at SOURCE_DATE_EPOCH, or at the "
	    "suite's release. To have the same packages again, name a mirror that keeps them "
	    "(--mirror http://snapshot.debian.org/archive/debian/DATE).",
	.examples = "viv image bootstrap debian:bookworm\n"
		    "viv image bootstrap debian:bookworm --include curl,ca-certificates",
	.flags = bootstrap_flags,
	.args_min = 1,
	.args_max = 1,
	.program = PROGRAM,
    },
    {0},
};
