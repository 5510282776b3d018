#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "fault.h"
#include "io/loop.h"
#include "os/pidfd.h"

static int ready_eventfd(void)
{
	return eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
}

/* --- descriptors --- */

struct victim {
	struct loop_fd source;
	struct victim *other; /* removed and freed by whoever is called first */
	int fd;
	unsigned *calls;
};

static void kill_the_other(struct loop_fd *s, uint32_t events)
{
	struct victim *v = CONTAINER_OF(s, struct victim, source);

	assert_int_equal(events, EPOLLIN);
	++*v->calls;
	loop_fd_remove(&v->other->source);
	close(v->other->fd);
	free(v->other);
	loop_fd_remove(s);
	close(v->fd);
	free(v);
}

/* Both are ready in one round; ASan sees a call of the one that is gone. */
static void removal_of_a_ready_source(void **state)
{
	struct loop l;
	unsigned calls = 0;
	struct victim *v[2];

	assert_ok(loop_init(&l));
	for (int i = 0; i < 2; i++) {
		v[i] = calloc(1, sizeof(*v[i]));
		v[i]->fd = ready_eventfd();
		v[i]->calls = &calls;
		assert_ok(loop_fd_add(&l, &v[i]->source, v[i]->fd, EPOLLIN, kill_the_other));
	}
	v[0]->other = v[1];
	v[1]->other = v[0];
	assert_ok(loop_once(&l, 0));
	assert_ok(loop_once(&l, 0));
	assert_int_equal(calls, 1);
	loop_done(&l);
}

struct counter {
	struct loop_fd source;
	unsigned calls;
	uint32_t last;
};

static void count_fd(struct loop_fd *s, uint32_t events)
{
	struct counter *c = CONTAINER_OF(s, struct counter, source);

	c->calls++;
	c->last = events;
}

static void level_triggered_and_masked(void **state)
{
	struct loop l;
	struct counter c = {0};
	_close_ int fd = ready_eventfd();

	assert_ok(loop_init(&l));
	assert_ok(loop_fd_add(&l, &c.source, fd, EPOLLIN | EPOLLOUT, count_fd));
	assert_ok(loop_once(&l, -1));
	assert_int_equal(c.last, EPOLLIN | EPOLLOUT);
	assert_ok(loop_fd_set(&c.source, EPOLLIN));
	assert_ok(loop_once(&l, -1));
	assert_int_equal(c.last, EPOLLIN);
	assert_ok(loop_fd_set(&c.source, 0));
	assert_ok(loop_once(&l, 0));
	assert_int_equal(c.calls, 2);
	loop_fd_remove(&c.source);
	loop_fd_remove(&c.source);
	assert_ok(loop_fd_add(&l, &c.source, fd, EPOLLIN, count_fd));
	assert_ok(loop_once(&l, -1));
	assert_int_equal(c.calls, 3);
	loop_done(&l);
}

static void hangup_comes_unasked(void **state)
{
	struct loop l;
	struct counter c = {0};
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_ok(loop_init(&l));
	assert_ok(loop_fd_add(&l, &c.source, fds[0], 0, count_fd));
	assert_ok(loop_once(&l, 0));
	assert_int_equal(c.calls, 0);
	close(fds[1]);
	assert_ok(loop_once(&l, -1));
	assert_int_equal(c.last, EPOLLHUP);
	loop_done(&l);
	close(fds[0]);
}

static void add_reports_the_kernel(void **state)
{
	struct loop l;
	struct counter c = {0};
	_close_ int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	assert_ok(loop_init(&l));
	assert_int_equal(loop_fd_add(&l, &c.source, file, EPOLLIN, count_fd), -EPERM);
	assert_int_equal(loop_fd_add(&l, &c.source, -1, EPOLLIN, count_fd), -EBADF);
	assert_null(c.source.loop);
	loop_done(&l);
}

struct quitter {
	struct loop_fd source;
	unsigned *calls;
};

static void quit_at_once(struct loop_fd *s, uint32_t events)
{
	struct quitter *q = CONTAINER_OF(s, struct quitter, source);

	loop_quit(s->loop, (int)++*q->calls);
	loop_fd_remove(s);
}

static void quit_leaves_the_rest_ready(void **state)
{
	struct loop l;
	struct quitter q[3] = {0};
	int fds[3];
	unsigned calls = 0;

	assert_ok(loop_init(&l));
	for (int i = 0; i < 3; i++) {
		fds[i] = ready_eventfd();
		q[i].calls = &calls;
		assert_ok(loop_fd_add(&l, &q[i].source, fds[i], EPOLLIN, quit_at_once));
	}
	for (int i = 1; i <= 3; i++)
		assert_int_equal(loop_run(&l), i);
	loop_quit(&l, 7); /* before the run: it ends at once */
	assert_int_equal(loop_run(&l), 7);
	loop_done(&l);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
}

/* --- timers --- */

static int fired[64];
static unsigned fired_count;

struct alarm_clock {
	struct loop_timer timer;
	int id;
	struct loop *loop;
	unsigned again; /* re-arms itself that often, for the past */
	struct loop_timer *victim;
};

static void ring(struct loop_timer *t)
{
	struct alarm_clock *a = CONTAINER_OF(t, struct alarm_clock, timer);

	fired[fired_count++] = a->id;
	if (a->victim)
		loop_timer_remove(a->victim);
}

static void ring_again(struct loop_timer *t)
{
	struct alarm_clock *a = CONTAINER_OF(t, struct alarm_clock, timer);

	assert_null(t->loop); /* not armed while it fires */
	fired[fired_count++] = a->id;
}

static void timers_fire_in_order(void **state)
{
	static const int delays[] = {5, 3, 9, 1, 3, 7, 0, 2, 8, 6, 4, 3};
	struct alarm_clock a[ARRAY_SIZE(delays)] = {0};
	struct loop l;
	uint64_t start = loop_now_ns();

	fired_count = 0;
	assert_ok(loop_init(&l));
	for (size_t i = 0; i < ARRAY_SIZE(delays); i++) {
		a[i].id = delays[i] * 100 + (int)i;
		assert_ok(
		    loop_timer_at(&l, &a[i].timer, start + (uint64_t)delays[i] * 1000000, ring));
	}
	loop_timer_remove(&a[8].timer); /* from the middle of the heap */
	while (fired_count < ARRAY_SIZE(delays) - 1)
		assert_ok(loop_once(&l, -1));
	assert_true(loop_now_ns() - start >= 9000000);
	for (unsigned i = 1; i < fired_count; i++)
		assert_true(fired[i - 1] < fired[i]); /* equal moments: as armed */
	assert_int_equal(l.timers.n, 0);
	assert_ok(loop_once(&l, 20));
	assert_int_equal(fired_count, ARRAY_SIZE(delays) - 1);
	loop_done(&l);
}

/* A heap of a thousand with random removals, against the rule that what fires is sorted. */
static void many_timers(void **state)
{
	enum { N = 1000 };
	struct alarm_clock *a = calloc(N, sizeof(*a));
	struct loop l;
	uint64_t start = loop_now_ns();
	unsigned seed = 1, armed = 0;

	assert_ok(loop_init(&l));
	for (int i = 0; i < N; i++)
		assert_ok(loop_timer_at(
		    &l, &a[i].timer, start + 1000000 * ((unsigned)rand_r(&seed) % 100000), ring));
	for (int i = 0; i < N; i++) {
		int j = rand_r(&seed) % N;

		if (i % 2)
			loop_timer_remove(&a[j].timer);
		else
			assert_ok(loop_timer_at(
			    &l, &a[j].timer, start + 1000000 * ((unsigned)rand_r(&seed) % 100000),
			    ring));
	}
	for (int i = 0; i < N; i++)
		armed += a[i].timer.loop != NULL;
	assert_int_equal(l.timers.n, armed);
	uint64_t before = 0;

	while (l.timers.n) {
		struct loop_timer *top = l.timers.v[0];

		assert_true(top->at_ns >= before);
		before = top->at_ns;
		assert_int_equal(top->slot, 0);
		loop_timer_remove(top);
	}
	loop_done(&l);
	free(a);
}

static void timer_removes_another(void **state)
{
	struct loop l;
	struct alarm_clock a[3] = {{.id = 0}, {.id = 1}, {.id = 2}};

	fired_count = 0;
	assert_ok(loop_init(&l));
	for (int i = 0; i < 3; i++)
		assert_ok(loop_timer_at(&l, &a[i].timer, 1, ring));
	a[0].victim = &a[1].timer;
	assert_ok(loop_once(&l, -1));
	assert_int_equal(fired_count, 2);
	assert_int_equal(fired[1], 2);
	assert_ok(loop_timer_after(&l, &a[0].timer, 1, ring_again));
	assert_ok(loop_once(&l, -1));
	assert_int_equal(fired_count, 3);
	assert_int_equal(loop_timer_after(&l, &a[0].timer, UINT64_MAX, ring), -ERANGE);
	assert_int_equal(loop_timer_at(&l, &a[0].timer, UINT64_MAX, ring), -ERANGE);
	assert_null(a[0].timer.loop);
	loop_done(&l);
}

static void rearm_now(struct loop_timer *t)
{
	struct alarm_clock *a = CONTAINER_OF(t, struct alarm_clock, timer);

	fired_count++;
	if (a->again--)
		assert_ok(loop_timer_at(a->loop, t, 0, rearm_now));
}

/* A timer that re-arms itself for the past starves nobody: one call a round. */
static void rearming_waits_a_round(void **state)
{
	struct loop l;
	struct alarm_clock a = {.loop = &l, .again = 2};

	fired_count = 0;
	assert_ok(loop_init(&l));
	assert_ok(loop_timer_at(&l, &a.timer, 0, rearm_now));
	for (unsigned i = 1; i <= 3; i++) {
		assert_ok(loop_once(&l, 1000));
		assert_int_equal(fired_count, i);
	}
	assert_ok(loop_once(&l, 0));
	assert_int_equal(fired_count, 3);
	loop_done(&l);
}

/* --- signals --- */

struct listener {
	struct loop_signal source;
	unsigned calls;
	struct loop_signal *victim;
};

static void hear(struct loop_signal *s, const struct signalfd_siginfo *info)
{
	struct listener *h = CONTAINER_OF(s, struct listener, source);

	assert_int_equal(info->ssi_pid, getpid());
	h->calls++;
	if (h->victim)
		loop_signal_remove(h->victim);
}

static bool is_blocked(int signo)
{
	sigset_t now;

	sigprocmask(SIG_BLOCK, NULL, &now);
	return sigismember(&now, signo);
}

static void signals_reach_all_listeners(void **state)
{
	struct loop l;
	struct listener a = {0}, b = {0}, c = {0};

	assert_ok(loop_init(&l));
	assert_ok(loop_signal_add(&l, &a.source, SIGUSR1, hear));
	assert_ok(loop_signal_add(&l, &b.source, SIGUSR1, hear));
	assert_ok(loop_signal_add(&l, &c.source, SIGUSR2, hear));
	assert_true(is_blocked(SIGUSR1));
	kill(getpid(), SIGUSR1);
	kill(getpid(), SIGUSR2);
	assert_ok(loop_once(&l, -1));
	assert_ok(loop_once(&l, -1));
	assert_int_equal(a.calls, 1);
	assert_int_equal(b.calls, 1);
	assert_int_equal(c.calls, 1);
	a.victim = &b.source; /* the next of the same dispatch */
	kill(getpid(), SIGUSR1);
	assert_ok(loop_once(&l, -1));
	assert_int_equal(a.calls, 2);
	assert_int_equal(b.calls, 1);
	loop_signal_remove(&a.source);
	assert_false(is_blocked(SIGUSR1));
	assert_true(is_blocked(SIGUSR2));
	loop_done(&l);
	assert_false(is_blocked(SIGUSR2));
}

static void blocked_signals_stay_blocked(void **state)
{
	struct loop l;
	struct listener a = {0};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	assert_ok(loop_init(&l));
	assert_ok(loop_signal_add(&l, &a.source, SIGUSR1, hear));
	loop_signal_remove(&a.source);
	assert_true(is_blocked(SIGUSR1));
	loop_done(&l);
	assert_true(is_blocked(SIGUSR1));
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

/* --- children --- */

struct parent {
	struct loop_child source;
	siginfo_t info;
	unsigned calls;
};

static void child_ended(struct loop_child *s, const siginfo_t *info)
{
	struct parent *p = CONTAINER_OF(s, struct parent, source);

	p->info = *info;
	p->calls++;
}

static void children_are_reaped(void **state)
{
	struct loop l;
	struct parent p[2] = {0};
	int pidfds[2];

	assert_ok(loop_init(&l));
	for (int i = 0; i < 2; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			if (i)
				pause();
			_exit(42);
		}
		pidfds[i] = pidfd_of(pid);
		assert_ok(pidfds[i]);
		assert_ok(loop_child_add(&l, &p[i].source, pidfds[i], child_ended));
	}
	while (!p[0].calls)
		assert_ok(loop_once(&l, -1));
	assert_int_equal(p[0].info.si_code, CLD_EXITED);
	assert_int_equal(p[0].info.si_status, 42);
	assert_int_equal(p[1].calls, 0);
	assert_ok(pidfd_kill(pidfds[1], SIGTERM));
	while (!p[1].calls)
		assert_ok(loop_once(&l, -1));
	assert_int_equal(p[1].info.si_code, CLD_KILLED);
	assert_int_equal(p[1].info.si_status, SIGTERM);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(pidfd_kill(pidfds[1], SIGTERM), -ESRCH);

	/* Reaped behind the loop's back: the end is still reported, once. */
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	_close_ int pidfd = pidfd_of(pid);

	waitpid(pid, NULL, 0);
	assert_ok(loop_child_add(&l, &p[0].source, pidfd, child_ended));
	assert_ok(loop_once(&l, -1));
	assert_int_equal(p[0].calls, 2);
	assert_int_equal(p[0].info.si_pid, 0);
	assert_null(p[0].source.pidfd.loop);
	loop_done(&l);
	close(pidfds[0]);
	close(pidfds[1]);
}

/* --- deferred calls --- */

struct later {
	struct loop_defer source;
	struct loop *again;
	struct loop_defer *victim;
	unsigned calls;
	bool quit;
};

static void call_later(struct loop_defer *s)
{
	struct later *d = CONTAINER_OF(s, struct later, source);

	d->calls++;
	if (d->victim)
		loop_defer_remove(d->victim);
	if (d->quit)
		loop_quit(d->again, 5);
	else if (d->again)
		loop_defer_add(d->again, s, call_later);
}

static void deferred_calls(void **state)
{
	struct loop l;
	struct later a = {0}, b = {0}, c = {0};

	assert_ok(loop_init(&l));
	loop_defer_add(&l, &a.source, call_later);
	loop_defer_add(&l, &a.source, call_later);
	loop_defer_add(&l, &b.source, call_later);
	loop_defer_add(&l, &c.source, call_later);
	a.victim = &b.source;
	c.again = &l;
	assert_ok(loop_once(&l, 0));
	assert_int_equal(a.calls, 1);
	assert_int_equal(b.calls, 0);
	assert_int_equal(c.calls, 1);
	assert_ok(loop_once(&l, -1)); /* does not wait: c is pending again */
	assert_int_equal(c.calls, 2);

	/* Quit in the middle: the rest is called by the next run, in its order. */
	struct later q = {.again = &l, .quit = true};

	loop_defer_remove(&c.source);
	c.again = NULL;
	loop_defer_add(&l, &q.source, call_later);
	loop_defer_add(&l, &c.source, call_later);
	assert_int_equal(loop_run(&l), 5);
	assert_int_equal(c.calls, 2);
	assert_ok(loop_once(&l, 0));
	assert_int_equal(c.calls, 3);
	loop_done(&l);
}

/* --- failures of the kernel --- */

static void kernel_failures(void **state)
{
	struct loop l;
	struct alarm_clock a = {0};
	struct listener s = {0};

	fault_syscall_at("epoll_create1", 1, EMFILE);
	assert_int_equal(loop_init(&l), -EMFILE);
	fault_reset();
	assert_ok(loop_init(&l));
	fault_syscall_at("timerfd_create", 1, EMFILE);
	assert_int_equal(loop_timer_after(&l, &a.timer, 1, ring), -EMFILE);
	fault_syscall_at("epoll_ctl", 1, ENOSPC);
	assert_int_equal(loop_timer_after(&l, &a.timer, 1, ring), -ENOSPC);
	fault_syscall_at("signalfd", 1, EMFILE);
	assert_int_equal(loop_signal_add(&l, &s.source, SIGUSR1, hear), -EMFILE);
	fault_syscall_at("signalfd", 2, ENOMEM);
	assert_int_equal(loop_signal_add(&l, &s.source, SIGUSR1, hear), -ENOMEM);
	assert_false(is_blocked(SIGUSR1));
	fault_syscall_at("epoll_wait", 1, EINTR);
	assert_ok(loop_once(&l, -1));
	fault_syscall_at("epoll_wait", 1, EBADF);
	assert_int_equal(loop_run(&l), -EBADF);
	fault_reset();
	loop_done(&l);
}

int main(void)
{
	return TEST_RUN(
	    "loop", cmocka_unit_test(removal_of_a_ready_source),
	    cmocka_unit_test(level_triggered_and_masked), cmocka_unit_test(hangup_comes_unasked),
	    cmocka_unit_test(add_reports_the_kernel), cmocka_unit_test(quit_leaves_the_rest_ready),
	    cmocka_unit_test(timers_fire_in_order), cmocka_unit_test(many_timers),
	    cmocka_unit_test(timer_removes_another), cmocka_unit_test(rearming_waits_a_round),
	    cmocka_unit_test(signals_reach_all_listeners),
	    cmocka_unit_test(blocked_signals_stay_blocked), cmocka_unit_test(children_are_reaped),
	    cmocka_unit_test(deferred_calls), cmocka_unit_test(kernel_failures));
}
