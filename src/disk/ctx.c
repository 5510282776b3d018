/* The context: what waits for the kernel. With io_uring a wait is a submission whose user_data points
 * to a struct co_op on the waiter's stack; submissions gather until the context's turn ends, so that
 * many requests share one system call. Without io_uring the same calls run on the pool's threads, and
 * descriptors are polled by epoll. The pool tells of ended jobs through an eventfd in both cases. */
#include "disk/co_int.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/mem.h"

#define RING_ENTRIES 128
#define RING_REAP    64

struct disk_secret {
	struct disk_secret *next;
	char *id;
	uint8_t *data;
	size_t len;
};

static unsigned cpus(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) < 0 ? 1 : (unsigned)CPU_COUNT(&set);
}

/* Newer kernels take the flags that save interrupts and locking; older ones a plain ring. */
static bool ring_init(struct disk_ctx *ctx)
{
	static const unsigned flags[] = {
	    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
	    IORING_SETUP_COOP_TASKRUN,
	    0,
	};

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		struct io_uring_params p = {.flags = flags[i]};

		if (io_uring_queue_init_params(RING_ENTRIES, &ctx->ring, &p) < 0)
			continue;
		if (p.features & IORING_FEAT_NODROP)
			return true;
		io_uring_queue_exit(&ctx->ring);
	}
	return false;
}

static struct io_uring_sqe *ring_sqe(struct disk_ctx *ctx)
{
	struct io_uring_sqe *sqe;

	/* A full queue is submitted; the kernel takes it, or says -EBUSY until we have reaped. */
	while (!(sqe = io_uring_get_sqe(&ctx->ring)))
		io_uring_submit(&ctx->ring);
	return sqe;
}

static void watch_event(struct disk_ctx *ctx)
{
	struct io_uring_sqe *sqe = ring_sqe(ctx);

	ctx->event_op = (struct co_op){0};
	io_uring_prep_read(sqe, ctx->event_fd, &ctx->event_value, sizeof(ctx->event_value), 0);
	io_uring_sqe_set_data(sqe, &ctx->event_op);
}

static int epoll_init(struct disk_ctx *ctx)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &ctx->event_op};

	ctx->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (ctx->epfd < 0 || epoll_ctl(ctx->epfd, EPOLL_CTL_ADD, ctx->event_fd, &ev) < 0)
		return -errno;
	return 0;
}

int disk_ctx_new(const struct disk_ctx_options *o, struct disk_ctx **ret_ctx, struct err *e)
{
	const struct disk_ctx_options defaults = {0};
	struct disk_ctx *ctx = mem_alloc(sizeof(*ctx));

	o = o ? o : &defaults;
	ctx->self.ctx = ctx;
	ctx->inline_writes = o->inline_writes;
	ctx->epfd = -1;
	ctx->uring = !o->no_uring && ring_init(ctx);
	ctx->event_fd = eventfd(0, EFD_CLOEXEC | (ctx->uring ? 0 : EFD_NONBLOCK));
	if (ctx->event_fd < 0 || (!ctx->uring && epoll_init(ctx) < 0)) {
		int rc = err_sys(e, ERR_SYS, "Could not wait for events");

		if (ctx->uring)
			io_uring_queue_exit(&ctx->ring);
		cleanup_close(&ctx->epfd);
		cleanup_close(&ctx->event_fd);
		free(ctx);
		return rc;
	}
	ctx->pool = pool_new(o->threads   ? o->threads
			     : ctx->uring ? cpus()
					  : CO_THREADS_MAX,
			     ctx->event_fd);
	co_thread_set(ctx);
	if (ctx->uring)
		watch_event(ctx);
	*ret_ctx = ctx;
	return 0;
}

static void secrets_free(struct disk_ctx *ctx)
{
	while (ctx->secrets) {
		struct disk_secret *s = ctx->secrets;

		ctx->secrets = s->next;
		explicit_bzero(s->data, s->len);
		free(s->data);
		free(s->id);
		free(s);
	}
}

void disk_ctx_free(struct disk_ctx *ctx)
{
	if (!ctx)
		return;
	assert(!ctx->coroutines && !ctx->ops);
	pool_free(ctx->pool);
	if (ctx->uring)
		io_uring_queue_exit(&ctx->ring);
	cleanup_close(&ctx->epfd);
	cleanup_close(&ctx->event_fd);
	co_stacks_free(ctx);
	secrets_free(ctx);
	co_thread_set(NULL);
	free(ctx);
}

int disk_ctx_fd(const struct disk_ctx *ctx)
{
	return ctx->uring ? ctx->ring.ring_fd : ctx->epfd;
}

/* --- completions --- */

static void pool_ended(struct disk_ctx *ctx)
{
	for (struct pool_job *job = pool_take(ctx->pool), *next; job; job = next) {
		next = job->next;
		ctx->ops--;
		co_op_done(&job->op, job->result);
	}
}

static bool ring_reap(struct disk_ctx *ctx)
{
	struct io_uring_cqe *cqes[RING_REAP];
	unsigned n = io_uring_peek_batch_cqe(&ctx->ring, cqes, RING_REAP);

	for (unsigned i = 0; i < n; i++) {
		struct co_op *op = io_uring_cqe_get_data(cqes[i]);

		if (op == &ctx->event_op) {
			watch_event(ctx);
			pool_ended(ctx);
			continue;
		}
		ctx->ops--;
		co_op_done(op, cqes[i]->res);
	}
	io_uring_cq_advance(&ctx->ring, n);
	return n > 0;
}

static void ring_turn(struct disk_ctx *ctx, bool wait)
{
	if (wait)
		io_uring_submit_and_wait(&ctx->ring, 1);
	else if (ctx->ring.flags & IORING_SETUP_DEFER_TASKRUN)
		io_uring_submit_and_get_events(&ctx->ring);
	else
		io_uring_submit(&ctx->ring);
	while (ring_reap(ctx))
		;
}

static void epoll_turn(struct disk_ctx *ctx, bool wait)
{
	struct epoll_event ev[16];
	int n = epoll_wait(ctx->epfd, ev, ARRAY_SIZE(ev), wait ? -1 : 0);

	for (int i = 0; i < n; i++) {
		struct co_op *op = ev[i].data.ptr;
		uint64_t count;

		if (op != &ctx->event_op) {
			ctx->ops--;
			co_op_done(op, (int)ev[i].events);
		} else if (read(ctx->event_fd, &count, sizeof(count)) == sizeof(count)) {
			pool_ended(ctx);
		}
	}
}

static void turn(struct disk_ctx *ctx, bool wait)
{
	if (ctx->uring)
		ring_turn(ctx, wait);
	else
		epoll_turn(ctx, wait);
}

void disk_ctx_poll(struct disk_ctx *ctx)
{
	co_run_ready(ctx);
	do
		turn(ctx, false);
	while (co_run_ready(ctx));
}

void disk_ctx_wait(struct disk_ctx *ctx)
{
	assert(!co_inside());
	if (co_run_ready(ctx)) {
		/* What just ran may have been what the caller waits for. */
		turn(ctx, false);
	} else {
		assert(ctx->ops); /* or nothing would ever come */
		turn(ctx, true);
	}
	co_run_ready(ctx);
}

/* --- calls --- */

int co_call(struct disk_ctx *ctx, co_call_fn *fn, void *arg)
{
	struct pool_job job = {.fn = fn, .arg = arg, .op.co = co_self()};

	if (pool_submit(ctx->pool, &job) < 0)
		return fn(arg);
	ctx->ops++;
	co_op_wait(&job.op);
	return job.op.result;
}

unsigned co_call_width(const struct disk_ctx *ctx)
{
	return pool_width(ctx->pool);
}

static int ring_wait(struct disk_ctx *ctx, struct io_uring_sqe *sqe)
{
	struct co_op op = {.co = co_self()};

	io_uring_sqe_set_data(sqe, &op);
	ctx->ops++;
	co_op_wait(&op);
	return op.result;
}

/* A system call for the pool. */
struct rw {
	const struct iovec *iov;
	off_t offset, len;
	int fd, count, mode;
};

static int result(ssize_t rc)
{
	return rc < 0 ? -errno : (int)rc;
}

static int call_preadv(void *arg)
{
	const struct rw *c = arg;

	return result(c->offset < 0 ? readv(c->fd, c->iov, c->count)
				    : preadv(c->fd, c->iov, c->count, c->offset));
}

static int call_pwritev(void *arg)
{
	const struct rw *c = arg;

	return result(c->offset < 0 ? writev(c->fd, c->iov, c->count)
				    : pwritev(c->fd, c->iov, c->count, c->offset));
}

static int call_fdatasync(void *arg)
{
	const struct rw *c = arg;

	return result(fdatasync(c->fd));
}

static int call_fallocate(void *arg)
{
	const struct rw *c = arg;

	return result(fallocate(c->fd, c->mode, c->offset, c->len));
}

ssize_t co_preadv(struct disk_ctx *ctx, int fd, const struct iovec *iov, int count, off_t offset)
{
	if (ctx->uring) {
		struct io_uring_sqe *sqe = ring_sqe(ctx);

		io_uring_prep_readv(sqe, fd, iov, (unsigned)count, (uint64_t)offset);
		return ring_wait(ctx, sqe);
	}
	return co_call(ctx, call_preadv,
		       &(struct rw){.fd = fd, .iov = iov, .count = count, .offset = offset});
}

ssize_t co_pwritev(struct disk_ctx *ctx, int fd, const struct iovec *iov, int count, off_t offset)
{
	if (ctx->uring) {
		struct io_uring_sqe *sqe = ring_sqe(ctx);

		io_uring_prep_writev(sqe, fd, iov, (unsigned)count, (uint64_t)offset);
		return ring_wait(ctx, sqe);
	}
	return co_call(ctx, call_pwritev,
		       &(struct rw){.fd = fd, .iov = iov, .count = count, .offset = offset});
}

int co_fdatasync(struct disk_ctx *ctx, int fd)
{
	if (ctx->uring) {
		struct io_uring_sqe *sqe = ring_sqe(ctx);

		io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
		return ring_wait(ctx, sqe);
	}
	return co_call(ctx, call_fdatasync, &(struct rw){.fd = fd});
}

int co_fallocate(struct disk_ctx *ctx, int fd, int mode, off_t offset, off_t len)
{
	return co_call(ctx, call_fallocate,
		       &(struct rw){.fd = fd, .mode = mode, .offset = offset, .len = len});
}

static int call_poll(void *arg)
{
	const struct rw *c = arg;
	struct pollfd p = {.fd = c->fd, .events = (short)c->mode};

	return poll(&p, 1, -1) < 0 ? -errno : p.revents;
}

/* epoll takes an fd once; whoever comes second (a reader beside a writer) waits on a thread. */
static int epoll_wait_fd(struct disk_ctx *ctx, int fd, unsigned events)
{
	struct co_op op = {.co = co_self()};
	struct epoll_event ev = {.events = events | EPOLLONESHOT, .data.ptr = &op};

	if (epoll_ctl(ctx->epfd, EPOLL_CTL_ADD, fd, &ev) < 0)
		return errno == EEXIST
			   ? co_call(ctx, call_poll, &(struct rw){.fd = fd, .mode = (int)events})
			   : -errno;
	ctx->ops++;
	co_op_wait(&op);
	epoll_ctl(ctx->epfd, EPOLL_CTL_DEL, fd, NULL);
	return op.result;
}

int co_poll(struct disk_ctx *ctx, int fd, unsigned events)
{
	if (!ctx->uring)
		return epoll_wait_fd(ctx, fd, events);
	struct io_uring_sqe *sqe = ring_sqe(ctx);

	io_uring_prep_poll_add(sqe, fd, events);
	return ring_wait(ctx, sqe);
}

void co_sleep(struct disk_ctx *ctx, uint64_t ns)
{
	if (ctx->uring) {
		struct __kernel_timespec ts = {.tv_sec = (int64_t)(ns / 1000000000),
					       .tv_nsec = (long long)(ns % 1000000000)};
		struct io_uring_sqe *sqe = ring_sqe(ctx);

		io_uring_prep_timeout(sqe, &ts, 0, 0);
		ring_wait(ctx, sqe);
		return;
	}
	_close_ int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	struct itimerspec at = {.it_value = {.tv_sec = (time_t)(ns / 1000000000),
					     .tv_nsec = (long)(ns % 1000000000) | 1}};

	if (fd >= 0 && timerfd_settime(fd, 0, &at, NULL) == 0)
		epoll_wait_fd(ctx, fd, EPOLLIN);
}

/* --- secrets --- */

void disk_ctx_add_secret(struct disk_ctx *ctx, const char *id, const void *data, size_t len)
{
	struct disk_secret *s = mem_alloc(sizeof(*s));

	s->id = mem_strdup(id);
	s->data = mem_dup(data, len);
	s->len = len;
	s->next = ctx->secrets;
	ctx->secrets = s;
}

/* The latest of an id comes first. */
const uint8_t *disk_ctx_secret(const struct disk_ctx *ctx, const char *id, size_t *ret_len)
{
	for (const struct disk_secret *s = ctx->secrets; s; s = s->next) {
		if (strcmp(s->id, id) == 0) {
			*ret_len = s->len;
			return s->data;
		}
	}
	return NULL;
}
