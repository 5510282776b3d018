/* The program viv-disk: `viv disk …`, which is qemu-img 7.2 argument for argument, and the links
 * qemu-img and qemu-io. One file per command; src/cmd/disk.c has their table. What they share is
 * here: the context, opening images as the common flags say, errors, progress and signals. One
 * thread.
 *
 * Exit statuses are qemu-img's: 0, 1 for failure, and what `check` and `compare` add to them. */
#ifndef CMD_DISK_H
#define CMD_DISK_H

#include "base/err.h"
#include "cmd/cli.h"
#include "disk/disk.h"

#include <jansson.h>
#include <stdbool.h>

/* A command under way. */
struct tool {
	struct cli *cli;
	struct disk_ctx *ctx;
	bool quiet;
};

/* Makes the context, takes in the objects of --object, runs `run` and returns its exit status. */
int tool_run(struct cli *c, int (*run)(struct tool *t));

/* --- errors: each prints, and returns the exit status 1 --- */

int tool_fail(const struct tool *t, const struct err *e);
int tool_error(const struct tool *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A wrong command line: the message and where help is. */
int tool_usage(const struct cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void tool_warn(const struct tool *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* To standard output, unless quiet. */
void tool_say(const struct tool *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* --- images --- */

/* Flags of a cache mode (none, writeback, writethrough, directsync, unsafe) added to *flags; false:
 * no such mode. */
bool tool_cache(const char *mode, unsigned *flags);

/* [waits] Opens name as a path or, with image_opts, as an option list; format NULL: probed. On
 * failure the error has been printed, and NULL is returned. */
struct disk *tool_open(const struct tool *t, const char *name, bool image_opts, const char *format,
		       unsigned flags);
/* Closes; what could not be written is printed. Returns 0 or 1. */
int tool_close(const struct tool *t, struct disk *d);

/* The command's one image by its flags --format, --image-opts, --force-share and, where it has one,
 * a cache mode; the name is its only positional. NULL: printed. */
struct disk *tool_open_only(const struct tool *t, const char *cache, unsigned flags);

/* Takes the size `text`, called `what` in messages, between min and max; false: printed. */
bool tool_size(const struct tool *t, const char *what, const char *text, uint64_t min, uint64_t max,
	       uint64_t *ret_bytes);
/* --output human or json. Returns 0, or the exit status. */
int tool_output(const struct tool *t, bool *ret_json);
/* The driver of that name, or NULL: printed. */
const struct disk_driver *tool_driver(const struct tool *t, const char *name);

/* All `-o` lists joined, as QEMU joins them; owned, NULL: none given. *ret_status is 1 where one is
 * malformed (printed). */
char *tool_options(const struct tool *t, int *ret_status);
/* Prints the options of a driver, with those of the protocol of `filename` where that is not NULL;
 * amend: those that amend takes. */
int tool_options_help(const struct tool *t, const char *format, const char *filename, bool amend);

/* --- long operations --- */

/* Progress: with -p lines "    (12.34/100%)" on standard output as qemu-img prints them; without,
 * a bar on a terminal's standard error after a moment. SIGINT and SIGTERM make its function stop the
 * operation; a second one kills. SIGUSR1 prints one line. */
struct tool_progress {
	struct disk_progress fn; /* for those who report */
	bool print, silent;
	double printed; /* percent; negative: nothing yet */
	struct progress *bar;
	struct progress_item *item;
};

void tool_progress_begin(struct tool_progress *p, const struct tool *t, const char *label,
			 bool print);
/* The last line, 100 percent where ok. */
void tool_progress_end(struct tool_progress *p, bool ok);
/* From now on signals stop long operations instead of the process; tool_progress_begin() does it too.
 * For those who make files before that. */
void tool_listen(void);
/* The signal that asked to stop, or 0. */
int tool_interrupted(void);

/* --- the commands --- */

int disk_cmd_amend(struct cli *c);
int disk_cmd_bench(struct cli *c);
int disk_cmd_bitmap(struct cli *c);
int disk_cmd_check(struct cli *c);
int disk_cmd_commit(struct cli *c);
int disk_cmd_compare(struct cli *c);
int disk_cmd_convert(struct cli *c);
int disk_cmd_create(struct cli *c);
int disk_cmd_dd(struct cli *c);
int disk_cmd_info(struct cli *c);
int disk_cmd_io(struct cli *c);
int disk_cmd_map(struct cli *c);
int disk_cmd_measure(struct cli *c);
int disk_cmd_rebase(struct cli *c);
int disk_cmd_resize(struct cli *c);
int disk_cmd_serve(struct cli *c);
int disk_cmd_snapshot(struct cli *c);

#endif
