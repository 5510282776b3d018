/* The user's terminal and the master. Both of the user's descriptors may be shared with other
 * processes, so they keep their flags: they are read and written once when poll(2) says so, at
 * most PIPE_BUF bytes, which then do not block. */
#include "io/pty.h"
#include "base/cleanup.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>

struct half {
	int from, to; /* -1: has ended */
	size_t start, end;
	char buf[PIPE_BUF + PTY_KEYS_MAX];
};

#define GO_ON 100

enum { P_IN, P_OUT, P_MASTER, P_PROCESS, P_SIGNAL, P_COUNT };

struct state {
	struct pty_relay *r;
	struct half to_master, to_user;
	int signalfd;
	bool process_ended, detached;
};

static int half_read(struct half *h)
{
	ssize_t n = read(h->from, h->buf, PIPE_BUF);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	h->start = 0;
	h->end = (size_t)n;
	if (n == 0)
		h->from = -1;
	return 0;
}

static int half_write(struct half *h)
{
	ssize_t n = write(h->to, h->buf + h->start, h->end - h->start);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	h->start += (size_t)n;
	return 0;
}

static bool half_empty(const struct half *h)
{
	return h->start == h->end;
}

/* From the user to the master. What cannot be written any more is dropped. */
static int copy_in(struct state *s, short in, short master)
{
	struct half *h = &s->to_master;
	char typed[PIPE_BUF];
	int rc = in ? half_read(h) : 0;

	if (rc == -EIO) { /* the user's terminal has hung up */
		h->from = -1;
		rc = 0;
	}
	if (!rc && in && s->r->keys && !half_empty(h)) {
		size_t len = h->end;

		memcpy(typed, h->buf, len);
		s->detached = pty_keys_filter(s->r->keys, typed, len, h->buf, &h->end);
	}
	if (!rc && !half_empty(h) && (master & POLLOUT || s->detached))
		rc = half_write(h);
	if (rc == -EIO || master & POLLHUP) { /* nobody reads */
		h->from = -1;
		h->start = h->end;
		rc = 0;
	}
	return rc;
}

/* From the master to the user. 1: the slave is closed and all it wrote is out. */
static int copy_out(struct state *s, short master, short out)
{
	struct half *h = &s->to_user;

	if (out)
		return half_write(h);
	if (!half_empty(h) || !(master & (POLLIN | POLLHUP | POLLERR)))
		return 0;
	int rc = half_read(h);

	return rc == -EIO || h->from < 0 ? 1 : rc;
}

/* Whose turn poll(2) is asked for: a half reads while it is empty and writes while it is not. */
static void fill_polls(struct state *s, struct pollfd *p)
{
	const struct half *in = &s->to_master, *out = &s->to_user;

	p[P_IN] = (struct pollfd){half_empty(in) ? in->from : -1, POLLIN, 0};
	p[P_OUT] = (struct pollfd){half_empty(out) ? -1 : out->to, POLLOUT, 0};
	p[P_MASTER] = (struct pollfd){
	    out->from, (short)((half_empty(out) ? POLLIN : 0) | (half_empty(in) ? 0 : POLLOUT)), 0};
	/* A master without a slave hangs up for ever: nothing to poll until its output is out. */
	if (!p[P_MASTER].events)
		p[P_MASTER].fd = -1;
	p[P_PROCESS] = (struct pollfd){s->process_ended ? -1 : s->r->pidfd, POLLIN, 0};
	p[P_SIGNAL] = (struct pollfd){s->signalfd, POLLIN, 0};
}

/* Returns true where the user of the relay ends it. */
static bool signal_came(struct state *s)
{
	struct signalfd_siginfo info;

	if (read(s->signalfd, &info, sizeof(info)) != sizeof(info))
		return false;
	if (info.ssi_signo == SIGWINCH) {
		pty_copy_size(s->r->in, s->r->master);
		return false;
	}
	return s->r->on_signal(s->r->arg, (int)info.ssi_signo);
}

/* One round: GO_ON, or what pty_relay() returns. */
static int relay_step(struct state *s)
{
	struct pollfd p[P_COUNT];

	fill_polls(s, p);
	/* After the end of the process only what is in the pty already is copied. */
	int n = poll(p, P_COUNT, s->process_ended && half_empty(&s->to_user) ? 0 : -1);

	if (n < 0)
		return errno == EINTR ? GO_ON : -errno;
	if (s->process_ended && half_empty(&s->to_user) && !(p[P_MASTER].revents & POLLIN))
		return PTY_END_CLOSED;
	if (p[P_SIGNAL].revents && signal_came(s))
		return PTY_END_SIGNAL;
	if (p[P_PROCESS].revents)
		s->process_ended = true;
	int rc = copy_out(s, p[P_MASTER].revents, p[P_OUT].revents);

	if (rc)
		return rc < 0 ? rc : PTY_END_CLOSED;
	rc = copy_in(s, p[P_IN].revents, p[P_MASTER].revents);
	if (rc)
		return rc;
	return s->detached ? PTY_END_DETACHED : GO_ON;
}

static int watch_signals(const struct pty_relay *r, sigset_t *ret_before)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	if (r->on_signal) {
		sigaddset(&set, SIGHUP);
		sigaddset(&set, SIGINT);
		sigaddset(&set, SIGQUIT);
		sigaddset(&set, SIGTERM);
	}
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);

	if (fd < 0)
		return -errno;
	sigprocmask(SIG_BLOCK, &set, ret_before);
	return fd;
}

int pty_relay(struct pty_relay *r)
{
	struct state s = {.r = r,
			  .to_master = {.from = r->in, .to = r->master},
			  .to_user = {.from = r->master, .to = r->out}};
	sigset_t before;
	int flags = fcntl(r->master, F_GETFL);

	if (flags < 0 || fcntl(r->master, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	s.signalfd = watch_signals(r, &before);
	if (s.signalfd < 0)
		return s.signalfd;
	if (r->in >= 0)
		pty_copy_size(r->in, r->master); /* not a terminal: there is no size to follow */
	int rc;

	while ((rc = relay_step(&s)) == GO_ON)
		;
	close(s.signalfd);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return rc;
}
