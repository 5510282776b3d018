/* The event loop: epoll with descriptors, timers, signals, child exits and deferred calls as
 * sources. A source is a struct embedded in its owner's; the callback finds the owner by
 * CONTAINER_OF. The loop allocates nothing per source but a slot in its heap of timers.
 *
 * Rules
 * - A source is removed before its memory or its fd goes away. Removing one that is not in a loop
 *   does nothing, if it is zeroed or was once added.
 * - A callback may remove and free any source, its own and those that are ready in the same round
 *   included: they are not called any more. It may add sources, quit the loop, and re-arm itself;
 *   what it adds is served in the next round.
 * - One thread. Loops do not nest. Callbacks do not block.
 *
 * Functions return 0 or a negative errno. */
#ifndef IO_LOOP_H
#define IO_LOOP_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

#include "base/list.h"
#include "base/vec.h"

struct loop;

/* --- a descriptor --- */

struct loop_fd;
typedef void loop_fd_fn(struct loop_fd *s, uint32_t events);

struct loop_fd {
	struct loop *loop; /* NULL: not in a loop */
	loop_fd_fn *fn;
	int fd; /* borrowed */
	uint32_t events;
};

/* --- a moment of CLOCK_MONOTONIC --- */

struct loop_timer;
typedef void loop_timer_fn(struct loop_timer *s);

struct loop_timer {
	struct loop *loop; /* NULL: not armed */
	loop_timer_fn *fn;
	uint64_t at_ns;
	uint64_t order; /* timers of the same moment fire in the order they were armed */
	size_t slot;    /* in the heap */
};

/* --- a signal --- */

struct loop_signal;
typedef void loop_signal_fn(struct loop_signal *s, const struct signalfd_siginfo *info);

struct loop_signal {
	struct loop *loop;
	loop_signal_fn *fn;
	struct list node;
	int signo;
};

/* --- the end of a child process --- */

struct loop_child;
/* info is waitid(2)'s; all zero where someone else reaped the child. */
typedef void loop_child_fn(struct loop_child *s, const siginfo_t *info);

struct loop_child {
	struct loop_fd pidfd;
	loop_child_fn *fn;
};

/* --- a call after the present round --- */

struct loop_defer;
typedef void loop_defer_fn(struct loop_defer *s);

struct loop_defer {
	struct loop *loop; /* NULL: not pending */
	loop_defer_fn *fn;
	struct list node;
};

#define LOOP_BATCH 64 /* events taken from the kernel at once */

struct loop {
	int epfd;
	bool running, quit;
	int status;
	struct epoll_event batch[LOOP_BATCH]; /* the round's events … */
	int batch_next, batch_count;          /* … of which these are still to be served */
	VEC(struct loop_timer *) timers;      /* binary heap, earliest first */
	uint64_t timer_order, armed_ns;       /* what the timerfd is set to; 0: not */
	struct loop_fd timerfd, signalfd;     /* made when first needed */
	sigset_t signals, blocked_before;     /* watched; those of them that were blocked before */
	struct list signal_sources;
	struct list *signal_next; /* the next one of the dispatch under way */
	struct list deferred;
};

int loop_init(struct loop *l);
/* Closes the loop's own descriptors and restores the signal mask. Sources still in it must not
 * be used afterwards. */
void loop_done(struct loop *l);

/* Serves sources until loop_quit(); returns its status, or a negative errno where the kernel
 * failed. */
int loop_run(struct loop *l);
/* Ends loop_run() after the callback under way, or the next loop_run() at once. What else was
 * ready is served later. */
void loop_quit(struct loop *l, int status);
/* One round: waits until something is ready, at most timeout_ms (-1: for ever), and serves it. */
int loop_once(struct loop *l, int timeout_ms);

/* events: EPOLLIN, EPOLLOUT …, level-triggered; EPOLLHUP and EPOLLERR always come. -EPERM: a
 * regular file. */
int loop_fd_add(struct loop *l, struct loop_fd *s, int fd, uint32_t events, loop_fd_fn *fn);
int loop_fd_set(struct loop_fd *s, uint32_t events);
void loop_fd_remove(struct loop_fd *s);

uint64_t loop_now_ns(void); /* CLOCK_MONOTONIC */
/* Arms the timer, or moves it. It fires once. */
int loop_timer_at(struct loop *l, struct loop_timer *s, uint64_t at_ns, loop_timer_fn *fn);
int loop_timer_after(struct loop *l, struct loop_timer *s, uint64_t ms, loop_timer_fn *fn);
void loop_timer_remove(struct loop_timer *s);

/* Blocks the signal in this thread and delivers it to fn, and to any other source of the same
 * signal. */
int loop_signal_add(struct loop *l, struct loop_signal *s, int signo, loop_signal_fn *fn);
void loop_signal_remove(struct loop_signal *s);

/* Reaps the child of this pidfd (borrowed) when it ends, removes the source and calls fn. */
int loop_child_add(struct loop *l, struct loop_child *s, int pidfd, loop_child_fn *fn);
void loop_child_remove(struct loop_child *s);

/* Calls fn once before the loop waits again. Pending already: nothing changes. */
void loop_defer_add(struct loop *l, struct loop_defer *s, loop_defer_fn *fn);
void loop_defer_remove(struct loop_defer *s);

#endif
