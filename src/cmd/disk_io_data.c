/* The commands of `viv disk io` that read and write. */
#include "cmd/disk_io.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "disk/opts.h"
#include "io/loop.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LENGTH_MAX ((int64_t)(INT32_MAX & ~511)) /* bytes of one request with data */
#define BUFFER_MAX (1ull << 31)
#define FILL_BYTE  0xcd
#define READ_FILL  0xab /* so that bytes that a read does not fill show */
#define PARTS_MAX  64   /* lengths of one readv or writev */

/* One request as its words say it. */
struct io_request {
	struct io_shell *shell;
	const char *op; /* "read", "wrote" … */
	bool write, vm_state, compressed, zeroes, machine, quiet, dump, verify, has_pattern;
	unsigned flags;
	uint8_t pattern;
	const char *pattern_file;
	int64_t verify_offset, verify_len;
	int64_t offset, len;
	uint8_t *buf;
	uint64_t began_ns;
	const char *failed; /* "read failed" */
};

static int take_pattern(struct io_request *r, const char *text)
{
	char *end;
	long v = strtol(text, &end, 0);

	if (!*text || *end || v < 0 || v > 255) {
		printf("%s is not a valid pattern byte\n", text);
		return -EINVAL;
	}
	r->pattern = (uint8_t)v;
	r->has_pattern = true;
	return 0;
}

/* The letters that all of them know; false: unknown here, and an error. */
static int take_option(struct io_request *r, int letter, const char *value)
{
	switch (letter) {
	case 'b':
		r->vm_state = true;
		return 0;
	case 'c':
		r->compressed = true;
		return 0;
	case 'C':
		r->machine = true;
		return 0;
	case 'f':
		r->flags |= DISK_REQ_FUA;
		return 0;
	case 'n':
		r->flags |= DISK_REQ_NO_FALLBACK;
		return 0;
	case 'u':
		r->flags |= DISK_REQ_UNMAP;
		return 0;
	case 'z':
		r->zeroes = true;
		return 0;
	case 'q':
		r->quiet = true;
		return 0;
	case 'v':
		r->dump = true;
		return 0;
	case 'p':
	case 'a':
		return 0; /* of old versions */
	case 'P':
		r->verify = !r->write;
		return take_pattern(r, value);
	case 's':
		if (r->write)
			r->pattern_file = value;
		else
			r->verify_offset = io_number(value);
		return r->write || r->verify_offset >= 0 ? 0 : -EINVAL;
	case 'l':
		r->verify_len = io_number(value);
		return r->verify_len >= 0 ? 0 : -EINVAL;
	default:
		return -ENOENT;
	}
}

static int parse(struct io_request *r, const struct io_command *cmd, const char *letters, int argc,
		 char **argv)
{
	int letter, rc = 0;

	r->verify_len = -1;
	r->verify_offset = -1;
	optind = 0;
	opterr = 0;
	while (!rc && (letter = getopt(argc, argv, letters)) != -1)
		rc = take_option(r, letter, optarg);
	return rc == -ENOENT ? io_usage(cmd) : rc;
}

static int say(const char *text)
{
	puts(text);
	return -EINVAL;
}

static int check_write(const struct io_request *r)
{
	if (r->vm_state && r->zeroes)
		return say("-b and -z cannot be specified at the same time");
	if (r->vm_state && r->compressed)
		return say("-b and -c cannot be specified at the same time");
	if (r->flags & DISK_REQ_FUA && (r->vm_state || r->compressed))
		return say("-f and -b or -c cannot be specified at the same time");
	if (r->flags & DISK_REQ_NO_FALLBACK && !r->zeroes)
		return say("-n requires -z to be specified");
	if (r->flags & DISK_REQ_UNMAP && !r->zeroes)
		return say("-u requires -z to be specified");
	if (r->zeroes + r->has_pattern + !!r->pattern_file > 1)
		return say("Only one of -z, -P, and -s can be specified at the same time");
	return 0;
}

/* Offset and one length; where many are allowed, their sum. */
static int take_range(struct io_request *r, char **words, int count)
{
	r->offset = io_number(words[0]);
	if (r->offset < 0)
		return -EINVAL;
	for (int i = 1; i < count; i++) {
		int64_t n = io_number(words[i]);

		if (n < 0)
			return -EINVAL;
		if (n > LENGTH_MAX && !(r->zeroes && count == 2)) {
			printf("length cannot exceed %" PRIi64 "%s, given %s\n", LENGTH_MAX,
			       r->write ? " without -n" : "", words[i]);
			return -EINVAL;
		}
		r->len += n;
		if (!r->zeroes && r->len > LENGTH_MAX) {
			printf("Argument '%s' exceeds maximum size %" PRIi64 "\n", words[i],
			       LENGTH_MAX);
			return -EINVAL;
		}
	}
	if ((r->vm_state || r->compressed) && (r->offset % 512 || r->len % 512)) {
		printf("%" PRIi64 " is not a sector-aligned value for '%s'\n",
		       r->offset % 512 ? r->offset : r->len, r->offset % 512 ? "offset" : "count");
		return -EINVAL;
	}
	return 0;
}

/* The bytes of the pattern file again and again. */
static int fill_from_file(struct io_request *r)
{
	_buf_ struct buf content = {0};
	int rc = path_read(AT_FDCWD, r->pattern_file, &content, BUFFER_MAX);

	if (rc < 0 || !content.len) {
		printf("%s: %s\n", r->pattern_file, rc < 0 ? strerror(-rc) : "file is empty");
		return -EINVAL;
	}
	for (size_t at = 0; at < (size_t)r->len; at += content.len) {
		size_t n = (size_t)r->len - at;

		memcpy(r->buf + at, content.s, n < content.len ? n : content.len);
	}
	return 0;
}

static int make_buffer(struct io_request *r)
{
	if (r->zeroes)
		return 0;
	if (posix_memalign((void **)&r->buf, 4096, r->len ? (size_t)r->len : 1)) {
		r->buf = NULL;
		return -ENOMEM;
	}
	memset(r->buf,
	       !r->write        ? READ_FILL
	       : r->has_pattern ? r->pattern
				: FILL_BYTE,
	       (size_t)r->len);
	return r->pattern_file ? fill_from_file(r) : 0;
}

/* What reaches over the end is an I/O error, as for a guest. */
static bool outside(const struct io_request *r)
{
	uint64_t size = disk_size(r->shell->disk);

	return !r->vm_state &&
	       ((uint64_t)r->offset > size || (uint64_t)r->len > size - (uint64_t)r->offset);
}

static int transfer(struct io_request *r)
{
	struct disk *d = r->shell->disk;
	uint64_t offset = (uint64_t)r->offset;
	size_t len = (size_t)r->len;

	if (outside(r))
		return -EIO;
	if (r->vm_state)
		return r->write ? disk_vmstate_pwrite(d, offset, r->buf, len)
				: disk_vmstate_pread(d, offset, r->buf, len);
	if (r->zeroes)
		return disk_write_zeroes(d, offset, len, r->flags);
	if (!r->write)
		return disk_pread(d, offset, r->buf, len);
	return disk_pwrite(d, offset, r->buf, len,
			   r->flags | (r->compressed ? DISK_REQ_COMPRESSED : 0));
}

static void verify(const struct io_request *r)
{
	int64_t from = r->verify_offset < 0 ? 0 : r->verify_offset;
	int64_t len = r->verify_len < 0 ? r->len - from : r->verify_len;

	for (int64_t i = 0; i < len; i++)
		if (r->buf[from + i] != r->pattern) {
			printf("Pattern verification failed at offset %" PRIi64 ", %" PRIi64
			       " bytes\n",
			       r->offset + from, len);
			return;
		}
}

static int finish(struct io_request *r, int rc)
{
	if (rc) {
		printf("%s failed: %s\n", r->failed, strerror(-rc));
		return rc;
	}
	if (r->verify)
		verify(r);
	if (r->quiet)
		return 0;
	if (r->dump)
		io_dump(r->buf, (uint64_t)r->offset, (size_t)r->len);
	io_report(r->op, loop_now_ns() - r->began_ns, (uint64_t)r->offset, (uint64_t)r->len, 1,
		  r->machine);
	return 0;
}

static int check_verify(const struct io_request *r, const struct io_command *cmd)
{
	int64_t from = r->verify_offset < 0 ? 0 : r->verify_offset;
	int64_t len = r->verify_len < 0 ? 0 : r->verify_len;

	if (!r->verify && (r->verify_offset >= 0 || r->verify_len >= 0))
		return io_usage(cmd);
	if (from + len > r->len) {
		puts("pattern verification range exceeds end of read data");
		return -EINVAL;
	}
	return 0;
}

/* Words to a request that is ready to go; buf is then the caller's to free. */
static int prepare(struct io_request *r, const struct io_command *cmd, const char *letters,
		   int argc, char **argv, int lengths_max)
{
	int rc = parse(r, cmd, letters, argc, argv), count = argc - optind;

	if (!rc && (count < 2 || count > lengths_max + 1))
		rc = io_usage(cmd);
	if (!rc && r->write)
		rc = check_write(r);
	if (!rc)
		rc = take_range(r, argv + optind, count);
	if (!rc && !r->write)
		rc = check_verify(r, cmd);
	return rc ? rc : make_buffer(r);
}

static int run_now(struct io_request *r, const struct io_command *cmd, const char *letters,
		   int argc, char **argv, int lengths_max)
{
	int rc = prepare(r, cmd, letters, argc, argv, lengths_max);

	r->began_ns = loop_now_ns();
	if (!rc)
		rc = finish(r, transfer(r));
	free(r->buf);
	return rc;
}

static int cmd_read(struct io_shell *s, const struct io_command *cmd, int argc, char **argv)
{
	struct io_request r = {.shell = s, .op = "read", .failed = "read"};

	return run_now(&r, cmd, "abCl:pP:qs:v", argc, argv, 1);
}

static int cmd_readv(struct io_shell *s, const struct io_command *cmd, int argc, char **argv)
{
	struct io_request r = {.shell = s, .op = "read", .failed = "readv"};

	return run_now(&r, cmd, "CP:qv", argc, argv, PARTS_MAX);
}

static int cmd_write(struct io_shell *s, const struct io_command *cmd, int argc, char **argv)
{
	struct io_request r = {.shell = s, .op = "wrote", .failed = "write", .write = true};

	return run_now(&r, cmd, "bcCfnpP:qs:uz", argc, argv, 1);
}

static int cmd_writev(struct io_shell *s, const struct io_command *cmd, int argc, char **argv)
{
	struct io_request r = {.shell = s, .op = "wrote", .failed = "writev", .write = true};

	return run_now(&r, cmd, "CfqP:", argc, argv, PARTS_MAX);
}

/* --- asynchronous --- */

static void run_async(void *arg)
{
	struct io_request *r = arg;

	finish(r, transfer(r));
	fflush(stdout);
	co_group_end(&r->shell->async);
	free(r->buf);
	free(r);
}

static int start(struct io_request *r, const struct io_command *cmd, const char *letters, int argc,
		 char **argv)
{
	int rc = prepare(r, cmd, letters, argc, argv, PARTS_MAX);

	if (rc) {
		free(r->buf);
		return rc;
	}
	r->began_ns = loop_now_ns();
	co_group_add(&r->shell->async);
	co_spawn(r->shell->t->ctx, run_async, mem_dup(r, sizeof(*r)));
	return 0;
}

static int cmd_aio_read(struct io_shell *s, const struct io_command *cmd, int argc, char **argv)
{
	struct io_request r = {.shell = s, .op = "read", .failed = "aio_read"};

	return start(&r, cmd, "CP:qv", argc, argv);
}

static int cmd_aio_write(struct io_shell *s, const struct io_command *cmd, int argc, char **argv)
{
	struct io_request r = {.shell = s, .op = "wrote", .failed = "aio_write", .write = true};

	return start(&r, cmd, "CfP:quz", argc, argv);
}

static int cmd_aio_flush(struct io_shell *s, const struct io_command *cmd, int argc, char **argv)
{
	co_group_wait(&s->async);
	return 0;
}

/* --- the rest that changes data --- */

static int cmd_discard(struct io_shell *s, const struct io_command *cmd, int argc, char **argv)
{
	struct io_request r = {.shell = s, .op = "discard", .failed = "discard", .zeroes = true};
	int rc = parse(&r, cmd, "Cq", argc, argv);

	if (!rc && argc - optind != 2)
		rc = io_usage(cmd);
	if (!rc)
		rc = take_range(&r, argv + optind, 2);
	if (rc)
		return rc;
	r.began_ns = loop_now_ns();
	return finish(&r, outside(&r) ? -EIO
				      : disk_discard(s->disk, (uint64_t)r.offset, (uint64_t)r.len));
}

static int cmd_flush(struct io_shell *s, const struct io_command *cmd, int argc, char **argv)
{
	return disk_flush(s->disk);
}

const struct io_command io_data_commands[] = {
    {"aio_flush", NULL, cmd_aio_flush, 0, 0, 0, "", "completes all outstanding aio requests"},
    {"aio_read", NULL, cmd_aio_read, 2, -1, 0, "[-Ciqv] [-P pattern] off len [len..]",
     "asynchronously reads a number of bytes"},
    {"aio_write", NULL, cmd_aio_write, 2, -1, IO_WRITES, "[-Cfiquz] [-P pattern] off len [len..]",
     "asynchronously writes a number of bytes"},
    {"discard", "d", cmd_discard, 2, -1, IO_WRITES, "[-Cq] off len",
     "discards a number of bytes at a specified offset"},
    {"flush", "f", cmd_flush, 0, 0, 0, "", "flush all in-core file state to disk"},
    {"read", "r", cmd_read, 2, -1, 0, "[-abCqv] [-P pattern [-s off] [-l len]] off len",
     "reads a number of bytes at a specified offset"},
    {"readv", "rv", cmd_readv, 2, -1, 0, "[-Cqv] [-P pattern] off len [len..]",
     "reads a number of bytes at a specified offset"},
    {"write", "w", cmd_write, 2, -1, IO_WRITES, "[-bcCfnquz] [-P pattern | -s source_file] off len",
     "writes a number of bytes at a specified offset"},
    {"writev", "wv", cmd_writev, 2, -1, IO_WRITES, "[-Cfq] [-P pattern] off len [len..]",
     "writes a number of bytes at a specified offset"},
    {0},
};
