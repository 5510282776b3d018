/* What the files of disk/co share: the coroutine itself, the pool of threads, and what waits for a
 * completion. */
#ifndef DISK_CO_INT_H
#define DISK_CO_INT_H

#include <liburing.h>

#include "disk/co.h"

/* A stack that can be left and entered again: a coroutine's, or a thread's own. */
struct co_stack {
	void *sp;           /* while it is left */
	const void *bottom; /* these three are the sanitizer's */
	size_t size;
	void *fake;
};

struct co {
	struct co_stack stack;
	struct co_stack *caller; /* runs again at the next wait */
	struct co *next;         /* in a queue, in the list of the ready, or of free stacks */
	struct disk_ctx *ctx;
	co_fn *fn;
	void *arg;
	bool waiting, ready;
	bool ended;
};

/* What a completion finds its waiter by; on the waiter's stack. */
struct co_op {
	struct co *co;
	int result;
	bool done;
};

void co_op_wait(struct co_op *op);
void co_op_done(struct co_op *op, int result);

/* One call on a thread. */
struct pool_job {
	co_call_fn *fn;
	void *arg;
	struct co_op op;
	int result;
	struct pool_job *next;
};

struct pool;

/* event_fd is written when a job has ended. Threads start when there is work. */
struct pool *pool_new(unsigned threads, int event_fd);
void pool_free(struct pool *p); /* nothing is under way */
/* -EAGAIN where no thread can be started; the caller runs the job itself. */
int pool_submit(struct pool *p, struct pool_job *job);
/* The list of the jobs that have ended since. */
struct pool_job *pool_take(struct pool *p);
unsigned pool_width(const struct pool *p);

struct disk_ctx {
	struct co *ready_first, *ready_last;
	struct co *free_stacks;
	unsigned free_count;
	unsigned coroutines; /* alive */
	unsigned ops;        /* completions that will come */
	struct co self;      /* the thread */

	bool uring;
	bool inline_writes;
	struct io_uring ring; /* uring */
	int epfd;             /* else */
	int event_fd;         /* the pool's */
	uint64_t event_value;
	struct co_op event_op;
	struct pool *pool;
	struct disk_secret *secrets;
};

/* Runs fn(arg) of co, or goes on with it, until it waits or ends. */
void co_enter(struct co *co);
/* Runs all that is ready; false where nothing was. */
bool co_run_ready(struct disk_ctx *ctx);
/* Frees the kept stacks. */
void co_stacks_free(struct disk_ctx *ctx);
/* The calling thread's context from now on, or none. */
void co_thread_set(struct disk_ctx *ctx);

#endif
