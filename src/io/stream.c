#include "io/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

/* Bytes moved in one turn, so that one stream does not starve the loop's others. */
#define TURN_MAX (1u << 20)

enum wants {
	WANTS_END, /* nothing: all is done */
	WANTS_IN,
	WANTS_OUT,
	WANTS_TURN, /* both ends are ready */
};

static bool is_ready(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};

	return poll(&p, 1, 0) > 0;
}

/* One splice(2). 1: go on; 0: *ret_wants says what for; -EINVAL: these two cannot be spliced. */
static int splice_some(struct stream *s, enum wants *ret_wants)
{
	ssize_t n =
	    splice(s->in, NULL, s->out, NULL, STREAM_BUF, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);

	if (n > 0) {
		s->bytes += (size_t)n;
		return 1;
	}
	if (n == 0) {
		*ret_wants = WANTS_END;
		return 0;
	}
	if (errno == EINTR)
		return 1;
	if (errno != EAGAIN)
		return -errno;
	/* -EAGAIN does not tell which end: if there is something to read, the other one is full. */
	*ret_wants = is_ready(s->in, POLLIN) ? WANTS_OUT : WANTS_IN;
	return 0;
}

/* One write(2), or one read(2) where nothing waits to be written. As splice_some(). */
static int copy_some(struct stream *s, enum wants *ret_wants)
{
	bool writing = s->start < s->end;
	ssize_t n = writing ? write(s->out, s->buf + s->start, s->end - s->start)
			    : read(s->in, s->buf, STREAM_BUF);

	if (n < 0 && errno == EINTR)
		return 1;
	if (n < 0 && errno != EAGAIN)
		return -errno;
	if (n < 0 || (n == 0 && !writing)) {
		*ret_wants = n == 0 ? WANTS_END : writing ? WANTS_OUT : WANTS_IN;
		return 0;
	}
	if (writing) {
		s->start += (size_t)n;
		s->bytes += (size_t)n;
	} else {
		s->start = 0;
		s->end = (size_t)n;
	}
	return 1;
}

/* Moves bytes until an end holds us up or the turn is over. */
static int pump(struct stream *s, enum wants *ret_wants)
{
	uint64_t until = s->bytes + TURN_MAX;

	*ret_wants = WANTS_TURN;
	while (s->bytes < until) {
		int rc = s->no_splice ? copy_some(s, ret_wants) : splice_some(s, ret_wants);

		if (rc == -EINVAL && !s->no_splice)
			s->no_splice = true;
		else if (rc <= 0)
			return rc;
	}
	return 0;
}

static void turn(struct stream *s);

static void on_ready(struct loop_fd *fd, uint32_t events)
{
	struct stream *s = CONTAINER_OF(fd, struct stream, wait);

	loop_fd_remove(fd);
	turn(s);
}

static void on_turn(struct loop_defer *d)
{
	turn(CONTAINER_OF(d, struct stream, soon));
}

/* Only the end that holds us up is watched: the other would report its hang-up without pause. */
static void turn(struct stream *s)
{
	enum wants wants;
	int rc = pump(s, &wants);

	if (!rc && (wants == WANTS_IN || wants == WANTS_OUT))
		rc = wants == WANTS_IN ? loop_fd_add(s->loop, &s->wait, s->in, EPOLLIN, on_ready)
				       : loop_fd_add(s->loop, &s->wait, s->out, EPOLLOUT, on_ready);
	else if (!rc && wants == WANTS_TURN)
		loop_defer_add(s->loop, &s->soon, on_turn);
	if (!rc && wants != WANTS_END)
		return;
	s->loop = NULL;
	s->fn(s, rc == -ECONNRESET ? -EPIPE : rc);
}

void stream_start(struct loop *l, struct stream *s, int in, int out, stream_fn *fn)
{
	s->loop = l;
	s->fn = fn;
	s->in = in;
	s->out = out;
	s->bytes = 0;
	s->no_splice = false;
	s->start = s->end = 0;
	loop_defer_add(l, &s->soon, on_turn);
}

void stream_stop(struct stream *s)
{
	loop_fd_remove(&s->wait);
	loop_defer_remove(&s->soon);
	s->loop = NULL;
}
