/* Coroutines and the context that they run in: drivers are plain sequential code that yields where
 * it waits. A context is a thread's, which has one at a time: it owns an io_uring (where the kernel
 * refuses one, a pool of threads does the same work), a pool of stacks, and the coroutines that
 * wait. A node, its context and its coroutines belong to one thread.
 *
 * Functions marked [waits] may be called inside a coroutine, where they yield, and outside of any,
 * where they drive the context until they are done; so tools and tests call them as they are.
 * Inside a coroutine other coroutines run meanwhile: what a coroutine read before a wait may have
 * changed after it. Between waits nothing else runs, so no lock is needed there.
 *
 * Stacks have CO_STACK_BYTES with a guard page: no large arrays on them. */
#ifndef DISK_CO_H
#define DISK_CO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/err.h"
#include "base/list.h"

#define CO_STACK_BYTES (256u << 10)
#define CO_STACKS_KEPT 64 /* stacks of ended coroutines that are kept for the next */
#define CO_THREADS_MAX 16 /* threads of a context's pool */

struct disk_ctx;
struct co;

/* --- the context --- */

struct disk_ctx_options {
	bool no_uring;      /* threads only, as where the kernel refuses io_uring */
	bool inline_writes; /* buffered writes in the caller's thread: right for tools, which have
				nothing else to do, wrong for a thread that serves a guest */
	unsigned threads;   /* of the pool; 0: as many as CPUs, and for I/O CO_THREADS_MAX */
};

/* o may be NULL. Fails only where neither io_uring nor threads can be had. */
int disk_ctx_new(const struct disk_ctx_options *o, struct disk_ctx **ret_ctx, struct err *e);
/* Every node is closed and every coroutine ended before; by the same thread. NULL is fine. */
void disk_ctx_free(struct disk_ctx *ctx);

/* An fd that polls readable while completions wait, for a thread that has its own loop; the context
 * keeps it. */
int disk_ctx_fd(const struct disk_ctx *ctx);
/* Runs what can run, waits for nothing. For the callback of disk_ctx_fd(). */
void disk_ctx_poll(struct disk_ctx *ctx);
/* Runs what can run, and waits for the next completion where nothing can. Not in a coroutine. */
void disk_ctx_wait(struct disk_ctx *ctx);

/* Keys and passphrases that options name (key-secret, password-secret): a copy under that id, which
 * is wiped when the context goes. A later one of the same id replaces it. */
void disk_ctx_add_secret(struct disk_ctx *ctx, const char *id, const void *data, size_t len);
/* Borrowed until the context goes; NULL where there is none. */
const uint8_t *disk_ctx_secret(const struct disk_ctx *ctx, const char *id, size_t *ret_len);

/* --- coroutines --- */

typedef void co_fn(void *arg);

/* Starts fn(arg) in a new coroutine and returns when it waits for the first time or has ended. It
 * may be called inside a coroutine and outside. */
void co_spawn(struct disk_ctx *ctx, co_fn *fn, void *arg);
/* The running coroutine; outside of any, the thread itself, which can wait and be woken likewise. */
struct co *co_self(void);
/* Is this a coroutine, not the thread itself? */
bool co_inside(void);
/* [waits] Until someone calls co_wake(). Whoever waits checks its condition in a loop. */
void co_wait(void);
/* Makes a waiting coroutine run at the next turn of its context; nothing where it does not wait. */
void co_wake(struct co *co);
/* [waits] Lets others run. */
void co_turn(void);
/* [waits] */
void co_sleep(struct disk_ctx *ctx, uint64_t ns);

/* Those who wait for something, in the order they came. Zeroed is empty. */
struct co_queue {
	struct co *first, *last;
};

void co_queue_wait(struct co_queue *q); /* [waits] */
bool co_queue_wake(struct co_queue *q); /* the first; false where nobody waits */
void co_queue_wake_all(struct co_queue *q);
static inline bool co_queue_empty(const struct co_queue *q)
{
	return !q->first;
}

/* A lock that may be held across waits. Fair; not recursive. Zeroed is open. */
struct co_mutex {
	bool held;
	struct co_queue waiting;
};

void co_lock(struct co_mutex *m); /* [waits] */
void co_unlock(struct co_mutex *m);

/* Counts what is under way, so that it can be waited for. */
struct co_group {
	unsigned running;
	struct co_queue waiting;
};

static inline void co_group_add(struct co_group *g)
{
	g->running++;
}
void co_group_end(struct co_group *g);
/* [waits] Until nothing is under way. */
void co_group_wait(struct co_group *g);

/* --- waiting for the kernel; results are those of the system call, or a negative errno --- */

/* [waits] offset -1: the file's own position (sockets, pipes). A short count is returned as it is. */
ssize_t co_preadv(struct disk_ctx *ctx, int fd, const struct iovec *iov, int count, off_t offset);
ssize_t co_pwritev(struct disk_ctx *ctx, int fd, const struct iovec *iov, int count, off_t offset);
/* [waits] fdatasync(2) */
int co_fdatasync(struct disk_ctx *ctx, int fd);
/* [waits] fallocate(2) */
int co_fallocate(struct disk_ctx *ctx, int fd, int mode, off_t offset, off_t len);
/* [waits] poll(2) of one fd: returns the events that came. Sockets are non-blocking: try first, and
 * wait after EAGAIN. */
int co_poll(struct disk_ctx *ctx, int fd, unsigned events);

/* [waits] Runs fn(arg) on a thread of the pool and returns its result: compression, digests, key
 * derivation, and system calls that io_uring lacks. fn sees no node and no coroutine. */
typedef int co_call_fn(void *arg);
int co_call(struct disk_ctx *ctx, co_call_fn *fn, void *arg);
/* Threads that co_call() may keep busy at once. */
unsigned co_call_width(const struct disk_ctx *ctx);

#endif
