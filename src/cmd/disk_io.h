/* The shell of `viv disk io`: qemu-io 7.2's commands on one open image. Its output is what QEMU's own
 * tests compare. A command gets its words and prints what it did; a failure is negative, and the
 * shell goes on. */
#ifndef CMD_DISK_IO_H
#define CMD_DISK_IO_H

#include "cmd/disk.h"

struct io_shell {
	const struct tool *t;
	struct disk *disk; /* NULL: none open */
	bool quit;
	struct co_group async; /* aio_read and aio_write under way */
};

enum io_need {
	IO_NO_FILE = 1 << 0, /* works without an open image */
	IO_WRITES = 1 << 1,  /* needs a writable one */
};

struct io_command {
	const char *name, *alias;
	int (*run)(struct io_shell *s, const struct io_command *cmd, int argc, char **argv);
	int args_min, args_max; /* without the name; -1: any */
	unsigned needs;
	const char *args, *summary;
};

extern const struct io_command io_data_commands[]; /* end with name == NULL */

/* "read [-q] off len -- reads …" */
int io_usage(const struct io_command *cmd);

/* A size as qemu-io reads it; negative: the error has been printed. */
int64_t io_number(const char *text);

/* "64 KiB", "1.193 MiB", "582.481872 bytes". */
void io_size(char *buf, size_t size, double bytes);

/* What an operation moved, and how fast. machine: as comma-separated values. */
void io_report(const char *op, uint64_t took_ns, uint64_t offset, uint64_t total, unsigned ops,
	       bool machine);
/* Lines of sixteen bytes in hexadecimal and ASCII. */
void io_dump(const uint8_t *p, uint64_t offset, size_t len);

/* Opens by a name and an option list (each may be NULL), and closes. Negative: printed. */
int io_open(struct io_shell *s, const char *name, const char *options, bool image_opts,
	    const char *format, unsigned flags);
void io_close(struct io_shell *s);

#endif
