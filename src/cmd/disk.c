/* viv-disk's table: qemu-img's commands, and qemu-io's as `io`. Short options are qemu-img's; the long
 * names beside them are ours where qemu-img has none. */
#include "cmd/disk.h"

#include "base/str.h"
#include "disk/driver.h"

#include <stdio.h>

static const char group_images[] = "Images", group_content[] = "Content",
		  group_chains[] = "Chains, snapshots, bitmaps",
		  group_measure[] = "Measuring and testing";
static const char *const groups[] = {group_images, group_content, group_chains, group_measure,
				     NULL};

/* clang-format off */
#define OBJECT     {"object", 0, CLI_LIST, "OBJECT", "secret,id=ID,file=FILE or secret,id=ID,data=TEXT: a key or passphrase that options name", NULL, NULL, NULL}
#define IMAGE_OPTS {"image-opts", 0, CLI_BOOL, NULL, "the name is a list of options: driver=qcow2,file.filename=disk.img", NULL, NULL, NULL}
#define FORMAT     {"format", 'f', CLI_STRING, "FORMAT", "format of the image; without, its first bytes are looked at", NULL, NULL, "format"}
#define QUIET      {"quiet", 'q', CLI_BOOL, NULL, "print nothing but errors", NULL, NULL, NULL}
#define SHARE      {"force-share", 'U', CLI_BOOL, NULL, "read the image although another program writes to it", NULL, NULL, NULL}
#define OUTPUT     {"output", 0, CLI_STRING, "FORM", "human or json", NULL, NULL, NULL}
#define PROGRESS   {"progress", 'p', CLI_BOOL, NULL, "print progress on standard output", NULL, NULL, NULL}
#define OPTIONS    {"options", 'o', CLI_LIST, "OPTIONS", "options of the format: NAME=VALUE,…; \"help\" lists them", NULL, NULL, NULL}
#define SOURCE_CACHE {"source-cache", 'T', CLI_STRING, "CACHE", "how images are read: none, writeback, writethrough, directsync, unsafe", NULL, NULL, NULL}
#define CACHE(mode) {"cache", 't', CLI_STRING, "CACHE", "how the image is written: none, writeback, writethrough, directsync, unsafe", NULL, mode, NULL}
#define RATE       {"rate-limit", 'r', CLI_STRING, "RATE", "at most so many bytes per second", NULL, NULL, NULL}

static const struct cli_flag amend_flags[] = {
	OBJECT, IMAGE_OPTS, FORMAT, QUIET, PROGRESS, OPTIONS, CACHE("writeback"),
	{"force", 0, CLI_BOOL, NULL, "also what cannot be undone, such as erasing the last key", NULL, NULL, NULL},
	{0},
};

static const struct cli_flag bench_flags[] = {
	OBJECT, IMAGE_OPTS, FORMAT, QUIET, SHARE, CACHE("writeback"),
	{"count", 'c', CLI_STRING, "N", "requests", NULL, NULL, NULL},
	{"depth", 'd', CLI_STRING, "N", "requests at a time", NULL, NULL, NULL},
	{"flush-interval", 0, CLI_STRING, "N", "flush after so many writes", NULL, NULL, NULL},
	{"aio", 'i', CLI_STRING, "AIO", "accepted; the best way is found", NULL, NULL, NULL, true},
	{"native", 'n', CLI_BOOL, NULL, "accepted; the best way is found", NULL, NULL, NULL, true},
	{"no-drain", 0, CLI_BOOL, NULL, "flush without waiting for the requests before it", NULL, NULL, NULL},
	{"offset", 'o', CLI_STRING, "OFFSET", "where the first request goes", NULL, NULL, NULL},
	{"pattern", 0, CLI_STRING, "BYTE", "what is written", NULL, NULL, NULL},
	{"buffer-size", 's', CLI_STRING, "SIZE", "bytes of a request", NULL, NULL, NULL},
	{"step-size", 'S', CLI_STRING, "SIZE", "bytes from one request to the next", NULL, NULL, NULL},
	{"write", 'w', CLI_BOOL, NULL, "write instead of read", NULL, NULL, NULL},
	{0},
};

static const struct cli_flag bitmap_flags[] = {
	OBJECT, IMAGE_OPTS, FORMAT,
	{"add", 0, CLI_BOOL, NULL, "make the bitmap; it records writes from now on", NULL, NULL, NULL},
	{"remove", 0, CLI_BOOL, NULL, "remove it", NULL, NULL, NULL},
	{"clear", 0, CLI_BOOL, NULL, "mark everything as clean", NULL, NULL, NULL},
	{"enable", 0, CLI_BOOL, NULL, "record writes from now on", NULL, NULL, NULL},
	{"disable", 0, CLI_BOOL, NULL, "record no more", NULL, NULL, NULL},
	{"merge", 0, CLI_LIST, "BITMAP", "mark what BITMAP has marked as well", NULL, NULL, NULL},
	{"source", 'b', CLI_STRING, "FILE", "the image that has the bitmaps to merge", NULL, NULL, "file"},
	{"source-format", 'F', CLI_STRING, "FORMAT", "its format", NULL, NULL, "format"},
	{"granularity", 'g', CLI_STRING, "SIZE", "bytes that one bit stands for", NULL, NULL, NULL},
	{0},
};

static const struct cli_flag check_flags[] = {
	OBJECT, IMAGE_OPTS, FORMAT, QUIET, SHARE, OUTPUT, SOURCE_CACHE,
	{"repair", 'r', CLI_STRING, "WHAT", "leaks: give lost clusters back; all: mend errors too", NULL, NULL, NULL},
	{0},
};

static const struct cli_flag commit_flags[] = {
	OBJECT, IMAGE_OPTS, FORMAT, QUIET, PROGRESS, RATE, CACHE("writeback"),
	{"base", 'b', CLI_STRING, "FILE", "commit into this image of the chain, not the next one; implies -d", NULL, NULL, "file"},
	{"drop", 'd', CLI_BOOL, NULL, "do not empty the image afterwards", NULL, NULL, NULL},
	{0},
};

static const struct cli_flag serve_flags[] = {
	OBJECT, IMAGE_OPTS, FORMAT,
	{"cache", 0, CLI_STRING, "CACHE", "how the image is written: none, writeback, writethrough, directsync, unsafe", NULL, NULL, NULL},
	{"port", 'p', CLI_STRING, "PORT", "port to listen on; without: 10809", NULL, NULL, NULL},
	{"bind", 'b', CLI_STRING, "ADDRESS", "address to listen on; without: all", NULL, NULL, NULL},
	{"socket", 'k', CLI_STRING, "PATH", "listen on this UNIX socket instead", NULL, NULL, "file"},
	{"shared", 'e', CLI_STRING, "N", "clients at once; without: 1; 0: any number", NULL, NULL, NULL},
	{"persistent", 't', CLI_BOOL, NULL, "stay when the last client has left", NULL, NULL, NULL},
	{"export-name", 'x', CLI_STRING, "NAME", "name of the export; without: the empty name", NULL, NULL, NULL},
	{"description", 'D', CLI_STRING, "TEXT", "description of the export", NULL, NULL, NULL},
	{"offset", 'o', CLI_STRING, "OFFSET", "show the image from there on", NULL, NULL, NULL},
	{"allocation-depth", 'A', CLI_BOOL, NULL, "show which layer of the chain has what: qemu:allocation-depth", NULL, NULL, NULL},
	{"bitmap", 'B', CLI_STRING, "NAME", "show a persistent dirty bitmap: qemu:dirty-bitmap:NAME", NULL, NULL, NULL},
	{"read-only", 'r', CLI_BOOL, NULL, "clients may not write", NULL, NULL, NULL},
	{"load-snapshot", 'l', CLI_STRING, "SNAPSHOT", "show an internal snapshot, read-only", NULL, NULL, NULL},
	{"nocache", 'n', CLI_BOOL, NULL, "past the host's cache: --cache none", NULL, NULL, NULL},
	{"discard", 0, CLI_STRING, "MODE", "unmap: what clients trim is given back; ignore", NULL, NULL, NULL},
	{"aio", 0, CLI_STRING, "AIO", "accepted; the best way is found", NULL, NULL, NULL, true},
	{"fork", 0, CLI_BOOL, NULL, "go to the background once clients can connect", NULL, NULL, NULL},
	{"pid-file", 0, CLI_STRING, "PATH", "write the server's process id there", NULL, NULL, "file"},
	{"list", 'L', CLI_BOOL, NULL, "list what the server at the address exports", NULL, NULL, NULL},
	{"tls-creds", 0, CLI_STRING, "ID", "refused: TLS is not supported", NULL, NULL, NULL, true},
	{"verbose", 'v', CLI_BOOL, NULL, "tell of clients that break off", NULL, NULL, NULL},
	{0},
};

static const struct cli_flag compare_flags[] = {
	OBJECT, IMAGE_OPTS, FORMAT, QUIET, SHARE, PROGRESS, SOURCE_CACHE,
	{"second-format", 'F', CLI_STRING, "FORMAT", "format of the second image", NULL, NULL, "format"},
	{"strict", 's', CLI_BOOL, NULL, "sizes and allocation have to be the same too", NULL, NULL, NULL},
	{0},
};

static const struct cli_flag convert_flags[] = {
	OBJECT, IMAGE_OPTS, FORMAT, QUIET, SHARE, PROGRESS, SOURCE_CACHE, OPTIONS, RATE, CACHE("unsafe"),
	{"target-format", 'O', CLI_STRING, "FORMAT", "format of the target", NULL, "raw", "format"},
	{"backing", 'B', CLI_STRING, "FILE", "backing image of the target, equal to that of the source", NULL, NULL, "file"},
	{"backing-format", 'F', CLI_STRING, "FORMAT", "its format", NULL, NULL, "format"},
	{"compress", 'c', CLI_BOOL, NULL, "compress", NULL, NULL, NULL},
	{"copy-offload", 'C', CLI_BOOL, NULL, "let the host copy or share blocks; zeroes are not looked for", NULL, NULL, NULL},
	{"no-create", 'n', CLI_BOOL, NULL, "the target exists already", NULL, NULL, NULL},
	{"target-is-zero", 0, CLI_BOOL, NULL, "with -n: the target reads as zeroes", NULL, NULL, NULL},
	{"target-image-opts", 0, CLI_BOOL, NULL, "the target's name is a list of options", NULL, NULL, NULL},
	{"snapshot", 'l', CLI_STRING, "SNAPSHOT", "copy this snapshot: NAME, or snapshot.id=ID,snapshot.name=NAME", NULL, NULL, NULL},
	{"sparse", 'S', CLI_STRING, "SIZE", "as many zero bytes become a hole (4k); 0: write everything", NULL, NULL, NULL},
	{"coroutines", 'm', CLI_STRING, "N", "pieces under way at a time, 1 to 16 (8)", NULL, NULL, NULL},
	{"unordered", 'W', CLI_BOOL, NULL, "write in any order", NULL, NULL, NULL},
	{"salvage", 0, CLI_BOOL, NULL, "what cannot be read becomes zeroes", NULL, NULL, NULL},
	{"bitmaps", 0, CLI_BOOL, NULL, "copy persistent bitmaps too", NULL, NULL, NULL},
	{"skip-broken-bitmaps", 0, CLI_BOOL, NULL, "leave out bitmaps that are inconsistent", NULL, NULL, NULL},
	{0},
};

static const struct cli_flag create_flags[] = {
	OBJECT, QUIET, OPTIONS,
	{"format", 'f', CLI_STRING, "FORMAT", "format of the image", NULL, "raw", "format"},
	{"backing", 'b', CLI_STRING, "FILE", "the image behind it; relative names are relative to the new image", NULL, NULL, "file"},
	{"backing-format", 'F', CLI_STRING, "FORMAT", "its format", NULL, NULL, "format"},
	{"unsafe", 'u', CLI_BOOL, NULL, "do not look at the backing image", NULL, NULL, NULL},
	{0},
};

static const struct cli_flag dd_flags[] = {
	OBJECT, IMAGE_OPTS, FORMAT, SHARE,
	{"target-format", 'O', CLI_STRING, "FORMAT", "format of the output", NULL, "raw", "format"},
	{0},
};

static const struct cli_flag info_flags[] = {
	OBJECT, IMAGE_OPTS, FORMAT, SHARE, OUTPUT,
	{"backing-chain", 0, CLI_BOOL, NULL, "show the images behind it too", NULL, NULL, NULL},
	{0},
};

static const struct cli_flag io_flags[] = {
	OBJECT, IMAGE_OPTS, FORMAT, SHARE,
	{"cmd", 'c', CLI_LIST, "COMMAND", "run this command; without, commands are read from standard input", NULL, NULL, NULL},
	{"read-only", 'r', CLI_BOOL, NULL, "open the image for reading", NULL, NULL, NULL},
	{"snapshot", 's', CLI_BOOL, NULL, "leave the image as it is: writes are forgotten at the end", NULL, NULL, NULL},
	{"nocache", 'n', CLI_BOOL, NULL, "as --cache none", NULL, NULL, NULL},
	{"cache", 't', CLI_STRING, "CACHE", "none, writeback, writethrough, directsync, unsafe", NULL, NULL, NULL},
	{"discard", 'd', CLI_STRING, "MODE", "ignore: discards do not reach the file", NULL, NULL, NULL},
	{"aio", 'i', CLI_STRING, "AIO", "accepted; the best way is found", NULL, NULL, NULL, true},
	{"native-aio", 'k', CLI_BOOL, NULL, "accepted; the best way is found", NULL, NULL, NULL, true},
	{"misalign", 'm', CLI_BOOL, NULL, "accepted; buffers are aligned where they must be", NULL, NULL, NULL, true},
	{0},
};

static const struct cli_flag map_flags[] = {
	OBJECT, IMAGE_OPTS, FORMAT, SHARE, OUTPUT,
	{"start-offset", 's', CLI_STRING, "OFFSET", "begin here", NULL, NULL, NULL},
	{"max-length", 'l', CLI_STRING, "LENGTH", "end after so many bytes", NULL, NULL, NULL},
	{0},
};

static const struct cli_flag measure_flags[] = {
	OBJECT, IMAGE_OPTS, FORMAT, SHARE, OUTPUT, OPTIONS,
	{"target-format", 'O', CLI_STRING, "FORMAT", "format of the image to be", NULL, "raw", "format"},
	{"size", 0, CLI_STRING, "SIZE", "of an empty image of this size", NULL, NULL, NULL},
	{"snapshot", 'l', CLI_STRING, "SNAPSHOT", "of this snapshot", NULL, NULL, NULL},
	{0},
};

static const struct cli_flag rebase_flags[] = {
	OBJECT, IMAGE_OPTS, FORMAT, QUIET, SHARE, PROGRESS, SOURCE_CACHE, CACHE("writeback"),
	{"backing", 'b', CLI_STRING, "FILE", "the new backing image; \"\": none", NULL, NULL, "file"},
	{"backing-format", 'F', CLI_STRING, "FORMAT", "its format", NULL, NULL, "format"},
	{"unsafe", 'u', CLI_BOOL, NULL, "only change the name", NULL, NULL, NULL},
	{0},
};

static const struct cli_flag resize_flags[] = {
	OBJECT, IMAGE_OPTS, FORMAT, QUIET,
	{"preallocation", 0, CLI_STRING, "MODE", "of what is added: off, metadata, falloc, full", NULL, NULL, NULL},
	{"shrink", 0, CLI_BOOL, NULL, "yes, throw away what lies behind the new end", NULL, NULL, NULL},
	{0},
};

static const struct cli_flag snapshot_flags[] = {
	OBJECT, IMAGE_OPTS, QUIET, SHARE,
	{"list", 'l', CLI_BOOL, NULL, "list them", NULL, NULL, NULL},
	{"apply", 'a', CLI_STRING, "SNAPSHOT", "revert the disk to it", NULL, NULL, NULL},
	{"create", 'c', CLI_STRING, "SNAPSHOT", "make one", NULL, NULL, NULL},
	{"delete", 'd', CLI_STRING, "SNAPSHOT", "delete it", NULL, NULL, NULL},
	{0},
};

static const struct cli_command commands[] = {
	{.name = "create", .group = group_images, .args = "FILENAME [SIZE]", .summary = "make an empty image",
	 .description = "Without SIZE the image is as large as its backing image. What lies at FILENAME is overwritten.",
	 .examples = "viv disk create -f qcow2 disk.qcow2 20G\nviv disk create -f qcow2 -b base.qcow2 -F qcow2 overlay.qcow2\tan overlay\n"
		     "viv disk create -f qcow2 -o help\tthe options of a format",
	 .flags = create_flags, .args_max = -1, .complete = "file", .run = disk_cmd_create},
	{.name = "info", .group = group_images, .args = "FILENAME", .summary = "show what an image is",
	 .description = "No file that the image names is opened, unless --backing-chain asks for it.",
	 .examples = "viv disk info disk.qcow2\nviv disk info --output json --backing-chain disk.qcow2",
	 .flags = info_flags, .args_max = -1, .complete = "file", .run = disk_cmd_info},
	{.name = "resize", .group = group_images, .args = "FILENAME [+|-]SIZE", .summary = "change the size of a disk",
	 .examples = "viv disk resize disk.qcow2 +10G\nviv disk resize --shrink disk.raw 5G",
	 .flags = resize_flags, .args_max = -1, .complete = "file none", .run = disk_cmd_resize},
	{.name = "amend", .group = group_images, .args = "FILENAME", .summary = "change options of an image",
	 .examples = "viv disk amend -f qcow2 -o compat=0.10 disk.qcow2",
	 .flags = amend_flags, .args_max = -1, .complete = "file", .run = disk_cmd_amend},
	{.name = "check", .group = group_images, .args = "FILENAME", .summary = "check an image, and repair it",
	 .description = "The status is 0 for a sound image, 1 where the check could not be made, 2 for a corrupt one, 3 where clusters "
			"are lost but nothing is wrong, and 63 for formats that have no check.",
	 .examples = "viv disk check disk.qcow2\nviv disk check -r leaks disk.qcow2",
	 .flags = check_flags, .args_max = -1, .complete = "file", .run = disk_cmd_check},
	{.name = "convert", .group = group_content, .args = "FILENAME... OUTPUT", .summary = "copy images into one of another kind",
	 .description = "Several images are put one behind the other. A target that was not finished is removed.",
	 .examples = "viv disk convert -O qcow2 disk.vmdk disk.qcow2\n"
		     "viv disk convert -c -O qcow2 -o compression_type=zstd disk.raw small.qcow2\tcompressed",
	 .flags = convert_flags, .args_max = -1, .complete = "file", .run = disk_cmd_convert},
	{.name = "dd", .group = group_content, .args = "[bs=SIZE] [count=N] [skip=N] if=INPUT of=OUTPUT", .summary = "copy a part of an image into a new one",
	 .examples = "viv disk dd -f qcow2 -O raw bs=1M count=10 if=disk.qcow2 of=part.raw",
	 .flags = dd_flags, .args_max = -1, .complete = "file", .run = disk_cmd_dd},
	{.name = "compare", .group = group_content, .args = "FILENAME1 FILENAME2", .summary = "tell whether two images hold the same",
	 .description = "The status is 0 where they do, 1 where not, 2 where an image could not be opened, 3 and 4 where it could not be read.",
	 .examples = "viv disk compare disk.raw disk.qcow2",
	 .flags = compare_flags, .args_max = -1, .complete = "file", .run = disk_cmd_compare},
	{.name = "map", .group = group_content, .args = "FILENAME", .summary = "show where the bytes of an image lie",
	 .examples = "viv disk map --output json disk.qcow2",
	 .flags = map_flags, .args_max = -1, .complete = "file", .run = disk_cmd_map},
	{.name = "serve", .group = group_content, .args = "FILENAME", .summary = "show an image to others as an NBD export",
	 .description = "The options are qemu-nbd's. The server ends when its last client leaves, or, with --persistent, by SIGTERM or SIGINT. "
			"Whoever reaches the address may read the image, and write it unless --read-only is given.",
	 .examples = "viv disk serve -k /run/disk.sock -t -e 4 -f qcow2 disk.qcow2\nviv disk serve -r -b 127.0.0.1 -x data --fork disk.raw\n"
		     "viv disk serve -L -k /run/disk.sock\twhat another server exports",
	 .flags = serve_flags, .args_max = -1, .complete = "file", .run = disk_cmd_serve},
	{.name = "snapshot", .group = group_chains, .args = "FILENAME", .summary = "make, list, apply and delete internal snapshots",
	 .examples = "viv disk snapshot -c before disk.qcow2\nviv disk snapshot -a before disk.qcow2",
	 .flags = snapshot_flags, .args_max = -1, .complete = "file", .run = disk_cmd_snapshot},
	{.name = "commit", .group = group_chains, .args = "FILENAME", .summary = "write what an image holds into the image behind it",
	 .examples = "viv disk commit overlay.qcow2",
	 .flags = commit_flags, .args_max = -1, .complete = "file", .run = disk_cmd_commit},
	{.name = "rebase", .group = group_chains, .args = "FILENAME", .summary = "put an image on another backing image",
	 .description = "What would read otherwise afterwards is copied into the image first, unless -u says that the backing images are equal.",
	 .examples = "viv disk rebase -b other.qcow2 -F qcow2 overlay.qcow2\nviv disk rebase -b '' overlay.qcow2\tmake it independent",
	 .flags = rebase_flags, .args_max = -1, .complete = "file", .run = disk_cmd_rebase},
	{.name = "bitmap", .group = group_chains, .args = "FILENAME BITMAP", .summary = "change persistent dirty bitmaps",
	 .description = "Actions are done in the order in which they are given.",
	 .examples = "viv disk bitmap --add disk.qcow2 since-monday",
	 .flags = bitmap_flags, .args_max = -1, .complete = "file none", .run = disk_cmd_bitmap},
	{.name = "measure", .group = group_measure, .args = "[FILENAME]", .summary = "tell how much an image would take",
	 .examples = "viv disk measure -O qcow2 disk.raw\nviv disk measure -O qcow2 --size 1T",
	 .flags = measure_flags, .args_max = -1, .complete = "file", .run = disk_cmd_measure},
	{.name = "bench", .group = group_measure, .args = "FILENAME", .summary = "measure requests to an image",
	 .examples = "viv disk bench -c 100000 -d 32 -w disk.qcow2",
	 .flags = bench_flags, .args_max = -1, .complete = "file", .run = disk_cmd_bench},
	{.name = "io", .group = group_measure, .args = "[FILENAME]", .summary = "read and write an image by hand: a shell of commands",
	 .description = "The commands are those of qemu-io; \"help\" lists them. The status is 1 where one of them failed.",
	 .examples = "viv disk io -c 'write -P 0x55 0 64k' -c 'read -v 0 16' disk.qcow2",
	 .flags = io_flags, .args_max = -1, .complete = "file", .run = disk_cmd_io},
	{0},
};
/* clang-format on */

static int names(const char *kind, const char *prefix)
{
	const struct disk_driver *drv;

	if (!str_eq(kind, "format"))
		return 0;
	for (unsigned i = 0; (drv = disk_driver_at(i)); i++)
		if (str_after(drv->name, prefix))
			puts(drv->name);
	return 0;
}

static void version(void)
{
	puts("viv " VIV_VERSION);
}

static const struct cli_command *const tables[] = {commands, NULL};

const struct cli_program disk_program = {
    .name = "viv disk",
    .summary = "disk images: make, convert, check and change them",
    .description =
	"Arguments, output and exit statuses are those of qemu-img 7.2, so that a link of that "
	"name to viv serves scripts that call it; a link qemu-io is viv disk io.\n\n"
	"A name is a path, a protocol's address (nbd://, http://), json:{…} with the options of an "
	"image, or, with --image-opts, a list of options. In such lists a comma in a value is "
	"doubled.",
    .tables = tables,
    .groups = groups,
    .usage_status = 1,
    .version = version,
    .names = names,
};
