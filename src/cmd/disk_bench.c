/* viv disk bench: a simple load on an image, and how long it took. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/disk.h"
#include "io/loop.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX  1024
#define BUFFER_MAX (64u << 20)

struct bench {
	struct tool *t;
	struct disk *disk;
	uint64_t count, depth, size, step, offset, flush_every;
	uint8_t pattern;
	bool write, drain;

	uint64_t started, done; /* requests */
	bool flushing;
	struct co_queue waiting; /* for a flush to end, or for all before it */
	struct co_group workers;
	int rc;
};

/* The place of the next request. Requests go round at the end of the disk. */
static uint64_t next_offset(struct bench *b)
{
	uint64_t end = disk_size(b->disk), at = b->offset;

	if (at + b->size > end)
		at = 0;
	b->offset = at + b->step;
	return at;
}

/* The last request before a flush makes it; with drain, nobody starts another meanwhile. */
static void flush(struct bench *b)
{
	b->flushing = b->drain;
	while (b->drain && b->done < b->started)
		co_queue_wait(&b->waiting);
	int rc = disk_flush(b->disk);

	if (rc && !b->rc)
		b->rc = rc;
	b->flushing = false;
	co_queue_wake_all(&b->waiting);
}

static void work(void *arg)
{
	struct bench *b = arg;
	_free_ uint8_t *buf = NULL;

	if (posix_memalign((void **)&buf, 4096, b->size))
		b->rc = -ENOMEM;
	else
		memset(buf, b->pattern, b->size);
	while (!b->rc) {
		while (b->flushing)
			co_queue_wait(&b->waiting);
		if (b->started == b->count)
			break;
		bool flushes =
		    b->flush_every && b->started && (b->count - b->started) % b->flush_every == 0;

		if (flushes)
			flush(b);
		b->started++;
		uint64_t at = next_offset(b);
		int rc = b->write ? disk_pwrite(b->disk, at, buf, b->size, 0)
				  : disk_pread(b->disk, at, buf, b->size);

		b->done++;
		if (rc && !b->rc)
			b->rc = rc;
		co_queue_wake_all(&b->waiting);
	}
	co_group_end(&b->workers);
}

static int measure(struct bench *b)
{
	uint64_t begin = loop_now_ns();

	tool_say(b->t,
		 "Sending %" PRIu64 " %s requests, %" PRIu64 " bytes each, %" PRIu64 " in parallel "
		 "(starting at offset %" PRIu64 ", step size %" PRIu64 ")\n",
		 b->count, b->write ? "write" : "read", b->size, b->depth, b->offset, b->step);
	if (b->flush_every)
		tool_say(b->t, "Sending flush every %" PRIu64 " %srequests\n", b->flush_every,
			 b->drain ? "" : "non-draining ");
	for (uint64_t i = 0; i < b->depth && i < b->count; i++) {
		co_group_add(&b->workers);
		co_spawn(b->t->ctx, work, b);
	}
	co_group_wait(&b->workers);
	if (b->rc)
		return tool_error(b->t, "Failed request: %s", strerror(-b->rc));
	tool_say(b->t, "Run completed in %3.3f seconds.\n", (double)(loop_now_ns() - begin) / 1e9);
	return 0;
}

static bool number(const struct tool *t, const char *flag, const char *what, uint64_t min,
		   uint64_t max, uint64_t *ret)
{
	const char *text = cli_string(t->cli, flag);

	return !text || tool_size(t, what, text, min, max, ret);
}

static int run(struct tool *t)
{
	struct cli *c = t->cli;
	struct bench b = {.t = t, .count = 75000, .depth = 64, .size = 4096};
	uint64_t pattern = 0;

	if (!number(t, "count", "request count", 1, INT32_MAX, &b.count) ||
	    !number(t, "depth", "queue depth", 1, DEPTH_MAX, &b.depth) ||
	    !number(t, "buffer-size", "buffer size", 1, BUFFER_MAX, &b.size) ||
	    !number(t, "offset", "offset", 0, INT64_MAX, &b.offset) ||
	    !number(t, "pattern", "pattern byte", 0, 255, &pattern) ||
	    !number(t, "flush-interval", "flush interval", 0, INT32_MAX, &b.flush_every))
		return 1;
	b.step = b.size;
	if (!number(t, "step-size", "step size", 0, INT32_MAX, &b.step))
		return 1;
	b.pattern = (uint8_t)pattern;
	b.write = cli_bool(c, "write");
	b.drain = !cli_bool(c, "no-drain");
	if (!b.write && b.flush_every)
		return tool_error(t, "--flush-interval is only available in write tests");
	if (b.flush_every && b.flush_every < b.depth)
		return tool_error(t, "Flush interval can't be smaller than depth");
	b.disk = tool_open_only(t, cli_string(c, "cache"), b.write ? DISK_WRITE | DISK_UNMAP : 0);
	if (!b.disk)
		return 1;
	int status = disk_size(b.disk) < b.size
			 ? tool_error(t, "The disk is smaller than one request")
			 : measure(&b);

	return tool_close(t, b.disk) || status;
}

int disk_cmd_bench(struct cli *c)
{
	return tool_run(c, run);
}
