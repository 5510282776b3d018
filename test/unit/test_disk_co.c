#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "disk/co.h"

/* Every test runs with io_uring and with threads. */
static struct disk_ctx *new_ctx(bool threads)
{
	struct disk_ctx_options o = {.no_uring = threads};
	struct disk_ctx *ctx;
	struct err e;

	assert_ok(disk_ctx_new(&o, &ctx, &e));
	return ctx;
}

struct trace {
	struct disk_ctx *ctx;
	char text[64];
	struct co_mutex lock;
	struct co_group group;
	int fd;
};

static void add(struct trace *t, char c)
{
	size_t n = strlen(t->text);

	assert_true(n + 1 < sizeof(t->text));
	t->text[n] = c;
}

static void worker(void *arg)
{
	struct trace *t = arg;

	add(t, 'a');
	co_turn();
	co_lock(&t->lock);
	add(t, 'b');
	co_turn();
	add(t, 'c');
	co_unlock(&t->lock);
	co_group_end(&t->group);
}

static void interleaves_and_locks(void **state)
{
	for (int threads = 0; threads < 2; threads++) {
		struct trace t = {.ctx = new_ctx(threads)};

		for (int i = 0; i < 3; i++) {
			co_group_add(&t.group);
			co_spawn(t.ctx, worker, &t);
		}
		assert_string_equal(t.text, "aaa");
		/* The thread itself queues for the lock like anyone. */
		disk_ctx_poll(t.ctx);
		co_group_wait(&t.group);
		assert_string_equal(t.text, "aaabcbcbc");
		disk_ctx_free(t.ctx);
	}
}

static void sleeper(void *arg)
{
	struct trace *t = arg;

	co_lock(&t->lock);
	co_sleep(t->ctx, 20000000);
	add(t, '1');
	co_unlock(&t->lock);
}

static void thread_waits_for_a_coroutine(void **state)
{
	for (int threads = 0; threads < 2; threads++) {
		struct trace t = {.ctx = new_ctx(threads)};

		co_spawn(t.ctx, sleeper, &t);
		co_lock(&t.lock);
		add(&t, '2');
		co_unlock(&t.lock);
		assert_string_equal(t.text, "12");
		disk_ctx_free(t.ctx);
	}
}

static int twice(void *arg)
{
	return *(int *)arg * 2;
}

static void reader(void *arg)
{
	struct trace *t = arg;
	char c;
	struct iovec iov = {&c, 1};

	assert_int_equal(co_poll(t->ctx, t->fd, POLLIN), POLLIN);
	assert_int_equal(co_preadv(t->ctx, t->fd, &iov, 1, -1), 1);
	add(t, c);
	co_group_end(&t->group);
}

static void waits_for_the_kernel(void **state)
{
	for (int threads = 0; threads < 2; threads++) {
		struct trace t = {.ctx = new_ctx(threads)};
		int pipe_fd[2], n = 21;
		struct iovec iov = {&(char){'x'}, 1};

		assert_ok(pipe2(pipe_fd, O_CLOEXEC));
		assert_int_equal(co_call(t.ctx, twice, &n), 42);
		t.fd = pipe_fd[0];
		co_group_add(&t.group);
		co_spawn(t.ctx, reader, &t);
		assert_string_equal(t.text, "");
		assert_int_equal(co_pwritev(t.ctx, pipe_fd[1], &iov, 1, -1), 1);
		co_group_wait(&t.group);
		assert_string_equal(t.text, "x");
		assert_int_equal(co_preadv(t.ctx, -1, &iov, 1, 0), -EBADF);
		assert_int_equal(co_fdatasync(t.ctx, pipe_fd[1]), -EINVAL);
		assert_int_equal(co_fallocate(t.ctx, pipe_fd[1], 0, 0, 1), -ESPIPE);
		close(pipe_fd[0]);
		close(pipe_fd[1]);
		disk_ctx_free(t.ctx);
	}
}

static void nested(void *arg)
{
	struct trace *t = arg;

	if (strlen(t->text) < 40) {
		add(t, 'n');
		co_spawn(t->ctx, nested, t);
	}
	co_sleep(t->ctx, 1000);
	t->group.running--;
	if (!t->group.running)
		co_queue_wake_all(&t->group.waiting);
}

static void many_at_once(void **state)
{
	for (int threads = 0; threads < 2; threads++) {
		struct trace t = {.ctx = new_ctx(threads), .group.running = 41 + 300};

		co_spawn(t.ctx, nested, &t);
		for (int i = 0; i < 300; i++)
			co_spawn(t.ctx, nested, &t);
		co_group_wait(&t.group);
		disk_ctx_free(t.ctx);
	}
}

static void keeps_secrets(void **state)
{
	struct disk_ctx *ctx = new_ctx(false);
	size_t len;

	assert_null(disk_ctx_secret(ctx, "s", &len));
	disk_ctx_add_secret(ctx, "s", "old", 3);
	disk_ctx_add_secret(ctx, "s", "newer", 5);
	assert_memory_equal(disk_ctx_secret(ctx, "s", &len), "newer", 5);
	assert_int_equal(len, 5);
	disk_ctx_free(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(interleaves_and_locks), cmocka_unit_test(thread_waits_for_a_coroutine),
	    cmocka_unit_test(waits_for_the_kernel),  cmocka_unit_test(many_at_once),
	    cmocka_unit_test(keeps_secrets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
