#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "fault.h"
#include "io/stream.h"
#include "os/path.h"

struct sink {
	struct stream stream;
	int rc, calls;
};

static void ended(struct stream *s, int rc)
{
	struct sink *k = CONTAINER_OF(s, struct sink, stream);

	k->rc = rc;
	k->calls++;
}

static void fill(char *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		data[i] = (char)(i * 13 + i / 4093);
}

enum { TOTAL = 3 << 20 };

/* Feeds `feed`, pumps in → out, and takes from `drain` slowly; everything must come through. */
static void push_through(int feed, int in, int out, int drain, bool want_splice)
{
	_free_ char *data = mem_alloc(TOTAL), *got = mem_alloc(TOTAL);
	struct sink *k = mem_alloc(sizeof(*k));
	struct loop l;
	size_t fed = 0, taken = 0;

	fill(data, TOTAL);
	assert_ok(loop_init(&l));
	stream_start(&l, &k->stream, in, out, ended);
	while (taken < TOTAL) {
		if (feed >= 0) {
			ssize_t n =
			    write(feed, data + fed, MIN((size_t)TOTAL - fed, (size_t)70000));

			fed += (size_t)MAX(n, (ssize_t)0);
			if (fed == TOTAL) {
				close(feed);
				feed = -1;
			}
		}
		assert_ok(loop_once(&l, 0));
		if (drain >= 0) {
			ssize_t n =
			    read(drain, got + taken, MIN((size_t)TOTAL - taken, (size_t)30000));

			taken += (size_t)MAX(n, (ssize_t)0);
		} else if (k->calls) {
			break;
		}
	}
	while (!k->calls)
		assert_ok(loop_once(&l, 1000));
	assert_int_equal(k->rc, 0);
	assert_int_equal(k->calls, 1);
	assert_true(k->stream.bytes == TOTAL);
	assert_int_equal(k->stream.no_splice, !want_splice);
	if (drain < 0)
		assert_int_equal(pread(out, got, TOTAL, 0), TOTAL);
	assert_memory_equal(got, data, TOTAL);
	loop_done(&l);
	free(k);
}

static void pipe_to_pipe(void **state)
{
	int a[2], b[2];

	assert_int_equal(pipe2(a, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(pipe2(b, O_CLOEXEC | O_NONBLOCK), 0);
	push_through(a[1], a[0], b[1], b[0], true);
	close(a[0]);
	close(b[0]);
	close(b[1]);
}

static void socket_to_socket(void **state)
{
	int a[2], b[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, a), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, b), 0);
	push_through(a[1], a[0], b[1], b[0], false);
	close(a[0]);
	close(b[0]);
	close(b[1]);
}

static void file_to_pipe_to_file(void **state)
{
	_free_ char *data = mem_alloc(TOTAL);
	int b[2];

	fill(data, TOTAL);
	_close_ int file = fd_memfd_sealed("x", data, TOTAL);
	_close_ int out = memfd_create("out", MFD_CLOEXEC);

	lseek(file, 0, SEEK_SET);
	assert_int_equal(pipe2(b, O_CLOEXEC | O_NONBLOCK), 0);
	push_through(-1, file, b[1], b[0], true);
	close(b[0]);
	close(b[1]);
	assert_int_equal(pipe2(b, O_CLOEXEC | O_NONBLOCK), 0);
	push_through(b[1], b[0], out, -1, true);
	close(b[0]);
	lseek(file, 0, SEEK_SET);
	assert_int_equal(ftruncate(out, 0), 0);
	lseek(out, 0, SEEK_SET);
	push_through(-1, file, out, -1, false);
}

/* Nobody takes anything: we read no more than the pipe and one buffer hold. */
static void back_pressure(void **state)
{
	int a[2], b[2];
	char chunk[4096] = {0};
	struct sink *k = mem_alloc(sizeof(*k));
	struct loop l;
	size_t fed = 0;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, a), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, b), 0);
	assert_ok(loop_init(&l));
	stream_start(&l, &k->stream, a[0], b[1], ended);
	for (int i = 0; i < 5000; i++) {
		ssize_t n = write(a[1], chunk, sizeof(chunk));

		fed += (size_t)MAX(n, (ssize_t)0);
		assert_ok(loop_once(&l, 0));
	}
	assert_true(fed < 4u << 20);
	assert_int_equal(k->stream.wait.fd, b[1]);
	size_t stalled = k->stream.bytes;

	assert_ok(loop_once(&l, 20));
	assert_true(k->stream.bytes == stalled);
	/* The reader goes away: an end with its reason. */
	close(b[0]);
	while (!k->calls)
		assert_ok(loop_once(&l, 1000));
	assert_int_equal(k->rc, -EPIPE);
	close(a[0]);
	close(a[1]);
	close(b[1]);
	loop_done(&l);
	free(k);
}

static void stops_and_fails(void **state)
{
	int a[2], b[2];
	struct sink *k = mem_alloc(sizeof(*k));
	struct loop l;

	assert_int_equal(pipe2(a, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(pipe2(b, O_CLOEXEC | O_NONBLOCK), 0);
	assert_ok(loop_init(&l));
	stream_start(&l, &k->stream, a[0], b[1], ended);
	assert_ok(loop_once(&l, 0));
	stream_stop(&k->stream);
	assert_int_equal(write(a[1], "x", 1), 1);
	assert_ok(loop_once(&l, 0));
	assert_int_equal(k->calls, 0);
	fault_syscall_at("splice", 1, EIO);
	stream_start(&l, &k->stream, a[0], b[1], ended);
	assert_ok(loop_once(&l, 0));
	assert_int_equal(k->rc, -EIO);
	assert_int_equal(k->calls, 1);
	fault_syscall_at("splice", 1, EINTR);
	stream_start(&l, &k->stream, a[0], b[1], ended);
	assert_ok(loop_once(&l, 0));
	assert_true(k->stream.bytes == 1);
	fault_reset();
	stream_stop(&k->stream);
	for (int i = 0; i < 2; i++) {
		close(a[i]);
		close(b[i]);
	}
	loop_done(&l);
	free(k);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	return TEST_RUN("stream", cmocka_unit_test(pipe_to_pipe),
			cmocka_unit_test(socket_to_socket), cmocka_unit_test(file_to_pipe_to_file),
			cmocka_unit_test(back_pressure), cmocka_unit_test(stops_and_fails));
}
