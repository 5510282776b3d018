/* Bytes from one descriptor to another, no faster than the slower end: what the writer does not
 * take stays with us, and then nothing more is read. splice(2) is used where the kernel can.
 *
 * Both descriptors are O_NONBLOCK, or regular files. One that two streams wait for, as a socket
 * that is copied both ways, must be dup(2)'d for the second (epoll(7) has one entry for each).
 * The program ignores SIGPIPE. */
#ifndef IO_STREAM_H
#define IO_STREAM_H

#include <stdint.h>

#include "io/loop.h"

#define STREAM_BUF 65536

struct stream;
/* The stream has ended: rc 0, all that came until the end was written; -EPIPE: the reader went
 * away; other failures. The descriptors are no longer used: close them, shut the writing side
 * down. */
typedef void stream_fn(struct stream *s, int rc);

struct stream {
	struct loop *loop; /* NULL: not running */
	stream_fn *fn;
	int in, out;    /* borrowed */
	uint64_t bytes; /* written so far */
	bool no_splice;
	struct loop_fd wait;    /* for the end that holds us up … */
	struct loop_defer soon; /* … or for our next turn, so that others have theirs */
	size_t start, end;      /* of what is read and not written */
	char buf[STREAM_BUF];
};

/* Zeroed before the first start. fn is called from the loop, once, never from here. */
void stream_start(struct loop *l, struct stream *s, int in, int out, stream_fn *fn);
/* Stops without calling fn; what is in the buffer is lost. */
void stream_stop(struct stream *s);

#endif
