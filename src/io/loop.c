#include "io/loop.h"
#include "base/cleanup.h"
#include "os/pidfd.h"

#include <assert.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>

#define NS_PER_MS  1000000ull
#define NS_PER_SEC 1000000000ull

/* --- descriptors --- */

int loop_fd_add(struct loop *l, struct loop_fd *s, int fd, uint32_t events, loop_fd_fn *fn)
{
	struct epoll_event ev = {.events = events, .data.ptr = s};

	assert(!s->loop);
	if (epoll_ctl(l->epfd, EPOLL_CTL_ADD, fd, &ev) < 0)
		return -errno;
	*s = (struct loop_fd){.loop = l, .fn = fn, .fd = fd, .events = events};
	return 0;
}

int loop_fd_set(struct loop_fd *s, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = s};

	assert(s->loop);
	if (events == s->events)
		return 0;
	if (epoll_ctl(s->loop->epfd, EPOLL_CTL_MOD, s->fd, &ev) < 0)
		return -errno;
	s->events = events;
	return 0;
}

void loop_fd_remove(struct loop_fd *s)
{
	struct loop *l = s->loop;

	if (!l)
		return;
	epoll_ctl(l->epfd, EPOLL_CTL_DEL, s->fd, NULL);
	for (int i = l->batch_next; i < l->batch_count; i++)
		if (l->batch[i].data.ptr == s)
			l->batch[i].data.ptr = NULL;
	s->loop = NULL;
}

/* --- timers: a heap, and one timerfd set to its top --- */

uint64_t loop_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

static bool timer_before(const struct loop_timer *a, const struct loop_timer *b)
{
	return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static void heap_put(struct loop *l, size_t slot, struct loop_timer *s)
{
	l->timers.v[slot] = s;
	s->slot = slot;
}

/* Moves s from a free slot up or down to where it belongs. */
static void heap_settle(struct loop *l, size_t slot, struct loop_timer *s)
{
	struct loop_timer **v = l->timers.v;

	for (; slot && timer_before(s, v[(slot - 1) / 2]); slot = (slot - 1) / 2)
		heap_put(l, slot, v[(slot - 1) / 2]);
	for (size_t child; (child = 2 * slot + 1) < l->timers.n; slot = child) {
		if (child + 1 < l->timers.n && timer_before(v[child + 1], v[child]))
			child++;
		if (timer_before(s, v[child]))
			break;
		heap_put(l, slot, v[child]);
	}
	heap_put(l, slot, s);
}

static void heap_remove(struct loop *l, struct loop_timer *s)
{
	struct loop_timer *last = l->timers.v[--l->timers.n];

	if (last != s)
		heap_settle(l, s->slot, last);
	s->loop = NULL;
}

/* Sets the timerfd to the earliest timer. A time in the past fires at once; 0 disarms. */
static int timerfd_arm(struct loop *l)
{
	uint64_t at_ns = l->timers.n ? MAX(l->timers.v[0]->at_ns, UINT64_C(1)) : 0;

	if (at_ns == l->armed_ns)
		return 0;
	struct itimerspec its = {.it_value = {.tv_sec = (time_t)(at_ns / NS_PER_SEC),
					      .tv_nsec = (long)(at_ns % NS_PER_SEC)}};

	if (timerfd_settime(l->timerfd.fd, TFD_TIMER_ABSTIME, &its, NULL) < 0)
		return -errno;
	l->armed_ns = at_ns;
	return 0;
}

/* Timers that a callback arms anew wait for the next round, however soon they are: `order` tells
 * them apart. */
static void timers_ready(struct loop_fd *fd, uint32_t events)
{
	struct loop *l = CONTAINER_OF(fd, struct loop, timerfd);
	uint64_t now = loop_now_ns(), newest = l->timer_order, expirations;

	if (read(fd->fd, &expirations, sizeof(expirations)) == sizeof(expirations))
		l->armed_ns = 0; /* it has fired */
	while (!l->quit && l->timers.n) {
		struct loop_timer *s = l->timers.v[0];

		if (s->at_ns > now || s->order >= newest)
			break;
		heap_remove(l, s);
		s->fn(s);
	}
	timerfd_arm(l);
}

static int timerfd_need(struct loop *l)
{
	if (l->timerfd.loop)
		return 0;
	_close_ int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

	if (fd < 0)
		return -errno;
	int rc = loop_fd_add(l, &l->timerfd, fd, EPOLLIN, timers_ready);

	if (!rc)
		STEAL_FD(fd);
	return rc;
}

int loop_timer_at(struct loop *l, struct loop_timer *s, uint64_t at_ns, loop_timer_fn *fn)
{
	int rc = at_ns > INT64_MAX ? -ERANGE : timerfd_need(l);

	if (rc)
		return rc;
	if (s->loop)
		heap_remove(l, s);
	*s = (struct loop_timer){.loop = l, .fn = fn, .at_ns = at_ns, .order = l->timer_order++};
	vec_push(&l->timers, s);
	heap_settle(l, l->timers.n - 1, s);
	return timerfd_arm(l);
}

int loop_timer_after(struct loop *l, struct loop_timer *s, uint64_t ms, loop_timer_fn *fn)
{
	uint64_t at_ns;

	if (__builtin_mul_overflow(ms, NS_PER_MS, &at_ns) ||
	    __builtin_add_overflow(at_ns, loop_now_ns(), &at_ns))
		return -ERANGE;
	return loop_timer_at(l, s, at_ns, fn);
}

void loop_timer_remove(struct loop_timer *s)
{
	struct loop *l = s->loop;

	if (!l)
		return;
	heap_remove(l, s);
	timerfd_arm(l);
}

/* --- signals: one signalfd for all --- */

static void signals_ready(struct loop_fd *fd, uint32_t events)
{
	struct loop *l = CONTAINER_OF(fd, struct loop, signalfd);
	struct signalfd_siginfo info;

	/* One signal a round: a callback that quits or removes leaves the others in the kernel. */
	if (read(fd->fd, &info, sizeof(info)) != sizeof(info))
		return;
	for (struct list *at = l->signal_sources.next; at != &l->signal_sources;
	     at = l->signal_next) {
		struct loop_signal *s = CONTAINER_OF(at, struct loop_signal, node);

		l->signal_next = at->next;
		if (s->signo == (int)info.ssi_signo)
			s->fn(s, &info);
	}
	l->signal_next = NULL;
}

static int signalfd_need(struct loop *l)
{
	if (l->signalfd.loop)
		return 0;
	_close_ int fd = signalfd(-1, &l->signals, SFD_CLOEXEC | SFD_NONBLOCK);

	if (fd < 0)
		return -errno;
	int rc = loop_fd_add(l, &l->signalfd, fd, EPOLLIN, signals_ready);

	if (!rc)
		STEAL_FD(fd);
	return rc;
}

/* Blocks the signal and adds it to the signalfd, or takes it out and puts the mask back as it
 * was. */
static int signal_watch(struct loop *l, int signo, bool on)
{
	sigset_t one, before;

	sigemptyset(&one);
	sigaddset(&one, signo);
	if (on) {
		sigaddset(&l->signals, signo);
		if (signalfd(l->signalfd.fd, &l->signals, 0) < 0) {
			int rc = -errno;

			sigdelset(&l->signals, signo);
			return rc;
		}
		pthread_sigmask(SIG_BLOCK, &one, &before);
		if (sigismember(&before, signo))
			sigaddset(&l->blocked_before, signo);
		return 0;
	}
	sigdelset(&l->signals, signo);
	if (signalfd(l->signalfd.fd, &l->signals, 0) < 0)
		return -errno;
	if (!sigismember(&l->blocked_before, signo))
		pthread_sigmask(SIG_UNBLOCK, &one, NULL);
	sigdelset(&l->blocked_before, signo);
	return 0;
}

int loop_signal_add(struct loop *l, struct loop_signal *s, int signo, loop_signal_fn *fn)
{
	assert(!s->loop);
	int rc = signalfd_need(l);

	if (!rc && !sigismember(&l->signals, signo))
		rc = signal_watch(l, signo, true);
	if (rc)
		return rc;
	*s = (struct loop_signal){.loop = l, .fn = fn, .signo = signo};
	list_push(&l->signal_sources, &s->node);
	return 0;
}

void loop_signal_remove(struct loop_signal *s)
{
	struct loop *l = s->loop;

	if (!l)
		return;
	if (l->signal_next == &s->node)
		l->signal_next = s->node.next;
	list_remove(&s->node);
	s->loop = NULL;
	for (struct list *at = l->signal_sources.next; at != &l->signal_sources; at = at->next)
		if (CONTAINER_OF(at, struct loop_signal, node)->signo == s->signo)
			return;
	signal_watch(l, s->signo, false);
}

/* --- children --- */

static void child_ready(struct loop_fd *fd, uint32_t events)
{
	struct loop_child *s = CONTAINER_OF(fd, struct loop_child, pidfd);
	siginfo_t info = {0};
	int rc = pidfd_reap(fd->fd, &info);

	if (rc == -EAGAIN)
		return;
	/* -ECHILD: someone else has reaped it. Its end is known all the same, its status is not. */
	loop_fd_remove(fd);
	s->fn(s, &info);
}

int loop_child_add(struct loop *l, struct loop_child *s, int pidfd, loop_child_fn *fn)
{
	int rc = loop_fd_add(l, &s->pidfd, pidfd, EPOLLIN, child_ready);

	if (!rc)
		s->fn = fn;
	return rc;
}

void loop_child_remove(struct loop_child *s)
{
	loop_fd_remove(&s->pidfd);
}

/* --- deferred calls --- */

void loop_defer_add(struct loop *l, struct loop_defer *s, loop_defer_fn *fn)
{
	if (s->loop)
		return;
	*s = (struct loop_defer){.loop = l, .fn = fn};
	list_push(&l->deferred, &s->node);
}

void loop_defer_remove(struct loop_defer *s)
{
	if (!s->loop)
		return;
	list_remove(&s->node);
	s->loop = NULL;
}

/* Those that these calls defer anew go to the now empty list and wait for the next round. */
static void run_deferred(struct loop *l)
{
	struct list now, *node;

	list_init(&now);
	list_splice(&now, &l->deferred);
	while (!l->quit && (node = list_pop(&now))) {
		struct loop_defer *s = CONTAINER_OF(node, struct loop_defer, node);

		s->loop = NULL;
		s->fn(s);
	}
	list_splice(&now, &l->deferred); /* after a quit: what was not called comes first again */
	list_splice(&l->deferred, &now);
}

/* --- the loop --- */

int loop_init(struct loop *l)
{
	*l = (struct loop){.epfd = epoll_create1(EPOLL_CLOEXEC)};
	if (l->epfd < 0)
		return -errno;
	sigemptyset(&l->signals);
	sigemptyset(&l->blocked_before);
	list_init(&l->signal_sources);
	list_init(&l->deferred);
	return 0;
}

void loop_done(struct loop *l)
{
	assert(!l->running);
	for (int signo = 1; signo < NSIG; signo++)
		if (sigismember(&l->signals, signo))
			signal_watch(l, signo, false);
	if (l->signalfd.loop)
		close(l->signalfd.fd);
	if (l->timerfd.loop)
		close(l->timerfd.fd);
	close(l->epfd);
	vec_done(&l->timers);
	l->epfd = -1;
}

int loop_once(struct loop *l, int timeout_ms)
{
	assert(!l->running);
	l->running = true;
	run_deferred(l);
	int n = 0;

	if (!l->quit)
		n = epoll_wait(l->epfd, l->batch, LOOP_BATCH,
			       list_empty(&l->deferred) ? timeout_ms : 0);
	int rc = n < 0 && errno != EINTR ? -errno : 0;

	/* What a quit leaves unserved is still ready, and so comes again. */
	l->batch_count = MAX(n, 0);
	for (l->batch_next = 0; !l->quit && l->batch_next < l->batch_count;) {
		const struct epoll_event *ev = &l->batch[l->batch_next++];
		struct loop_fd *s = ev->data.ptr;
		uint32_t events = s ? ev->events & (s->events | EPOLLERR | EPOLLHUP) : 0;

		if (events)
			s->fn(s, events);
	}
	l->batch_next = l->batch_count = 0;
	l->running = false;
	return rc;
}

void loop_quit(struct loop *l, int status)
{
	l->quit = true;
	l->status = status;
}

int loop_run(struct loop *l)
{
	int rc = 0;

	while (!rc && !l->quit)
		rc = loop_once(l, -1);
	l->quit = false;
	return rc ? rc : l->status;
}
