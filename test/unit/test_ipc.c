#include "test.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/endian.h"
#include "base/mem.h"
#include "fault.h"
#include "io/ipc.h"
#include "io/loop.h"
#include "tmpdir.h"

#define _conn_   __attribute__((cleanup(ipc_done)))
#define _parser_ __attribute__((cleanup(ipc_parser_done)))

/* The lowest free descriptor: the same before and after means that none leaked below it. */
static int lowest_fd(void)
{
	int fd = dup(0);

	close(fd);
	return fd;
}

static unsigned open_fds(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static int new_fd(void)
{
	int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);

	assert_ok(fd);
	return fd;
}

static size_t frame(unsigned char *b, uint16_t type, uint16_t fds, const char *payload)
{
	put_le32(b, IPC_MAGIC);
	put_le32(b + 4, (uint32_t)strlen(payload));
	put_le16(b + 8, type);
	put_le16(b + 10, fds);
	put_le32(b + 12, 77);
	memcpy(b + IPC_HEADER_LEN, payload, strlen(payload));
	return IPC_HEADER_LEN + strlen(payload);
}

/* --- the parser --- */

static void bytes_on_the_wire(void **state)
{
	int sv[2];
	unsigned char b[64];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	_conn_ struct ipc_conn c;

	ipc_init(&c, sv[0]);
	assert_ok(ipc_send(&c, 0x0102, 0x03040506, "hi", 2, NULL, 0));
	assert_int_equal(read(sv[1], b, sizeof(b)), 18);
	/* doc/format/ipc.md, "Frame" */
	assert_memory_equal(b, "VIV1\2\0\0\0\2\1\0\0\6\5\4\3hi", 18);
	close(sv[1]);
}

/* Three messages, cut at every byte. */
static void any_cut_gives_the_same_messages(void **state)
{
	unsigned char b[256];
	size_t len = frame(b, 1, 0, "first");

	len += frame(b + len, 2, 0, "");
	len += frame(b + len, 3, 0, "third message");
	for (size_t cut = 0; cut <= len; cut++) {
		_parser_ struct ipc_parser p = {0};
		unsigned next = 1;

		for (int part = 0; part < 2; part++) {
			struct ipc_msg m = {0};
			int rc;

			assert_ok(part ? ipc_parser_add(&p, b + cut, len - cut, NULL, 0)
				       : ipc_parser_add(&p, b, cut, NULL, 0));
			while ((rc = ipc_parser_next(&p, &m)) == 1) {
				assert_int_equal(m.type, next++);
				assert_int_equal(m.id, 77);
				assert_int_equal(m.len, m.type == 1 ? 5 : m.type == 2 ? 0 : 13);
				if (m.type == 3)
					assert_memory_equal(m.data, "third message", 13);
			}
			assert_int_equal(rc, 0);
		}
		assert_int_equal(next, 4);
		assert_true(ipc_parser_idle(&p));
	}
}

static void refuse(const unsigned char *b, size_t len, unsigned fd_count)
{
	unsigned before = open_fds();
	_parser_ struct ipc_parser p = {0};
	struct ipc_msg m = {0};
	int fds[3 * IPC_FDS_MAX];

	for (unsigned i = 0; i < fd_count; i++)
		fds[i] = new_fd();
	int rc = ipc_parser_add(&p, b, len, fds, fd_count);

	if (!rc)
		rc = ipc_parser_next(&p, &m);
	assert_int_equal(rc, -EPROTO);
	assert_int_equal(open_fds(), before);
	/* and it stays so */
	int fd = new_fd();

	assert_int_equal(ipc_parser_add(&p, b, len, &fd, 1), -EPROTO);
	assert_int_equal(ipc_parser_next(&p, &m), -EPROTO);
	assert_int_equal(open_fds(), before);
	assert_false(ipc_parser_idle(&p));
}

static void malformed_frames(void **state)
{
	unsigned char b[64];
	size_t len = frame(b, 1, 0, "x");

	b[3] = '2'; /* another version */
	refuse(b, len, 0);
	refuse((const unsigned char *)"GET / HTTP/1.1\r\n\r\n", 18, 0);
	frame(b, 1, 0, "x");
	put_le32(b + 4, IPC_PAYLOAD_MAX + 1);
	refuse(b, IPC_HEADER_LEN, 0);
	put_le32(b + 4, UINT32_MAX);
	refuse(b, IPC_HEADER_LEN, 3);
	frame(b, 1, IPC_FDS_MAX + 1, "x");
	refuse(b, IPC_HEADER_LEN, 0);
	frame(b, 1, 2, "x");
	refuse(b, len, 1); /* fewer than announced */
	refuse(b, len, 3); /* more */
	refuse(b, len, IPC_FDS_MAX + 1);
	refuse(b, 0, 1); /* without a byte */
	frame(b, 1, 0, "x");
	refuse(b, len, 1);
}

static void announced_sizes_cost_nothing(void **state)
{
	unsigned char b[IPC_HEADER_LEN];
	_parser_ struct ipc_parser p = {0};
	struct ipc_msg m = {0};

	frame(b, 1, 0, "");
	put_le32(b + 4, IPC_PAYLOAD_MAX);
	assert_ok(ipc_parser_add(&p, b, sizeof(b), NULL, 0));
	assert_int_equal(ipc_parser_next(&p, &m), 0);
	assert_true(p.cap < 65536);
	assert_false(ipc_parser_idle(&p));
}

/* The end of one frame and the start of the next, each with all the descriptors it may have. */
static void descriptors_of_two_frames_wait(void **state)
{
	unsigned before = open_fds();
	unsigned char b[128];
	int fds[2][IPC_FDS_MAX];
	struct ipc_parser p = {0};
	struct ipc_msg m = {0};

	for (int i = 0; i < 2; i++)
		for (int j = 0; j < IPC_FDS_MAX; j++)
			fds[i][j] = new_fd();
	size_t first = frame(b, 1, IPC_FDS_MAX, "one");
	size_t both = first + frame(b + first, 2, IPC_FDS_MAX, "two");

	assert_ok(ipc_parser_add(&p, b, 5, fds[0], IPC_FDS_MAX));
	assert_int_equal(ipc_parser_next(&p, &m), 0);
	assert_ok(ipc_parser_add(&p, b + 5, both - 5, fds[1], IPC_FDS_MAX));
	for (int i = 0; i < 2; i++) {
		assert_int_equal(ipc_parser_next(&p, &m), 1);
		assert_memory_equal(m.fds, fds[i], sizeof(fds[i]));
		ipc_msg_done(&m);
	}
	ipc_parser_done(&p);
	assert_int_equal(open_fds(), before);
}

static void parser_without_memory(void **state)
{
	_parser_ struct ipc_parser p = {0};
	int before = lowest_fd(), fd = new_fd();

	fault_alloc_at(1);
	assert_int_equal(ipc_parser_add(&p, "VIV1", 4, &fd, 1), -ENOMEM);
	fault_reset();
	ipc_parser_done(&p);
	assert_int_equal(lowest_fd(), before);
}

/* --- connections --- */

struct pair {
	struct ipc_conn a, b;
};

static void pair_open(struct pair *p, int sndbuf)
{
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	if (sndbuf)
		assert_int_equal(setsockopt(sv[0], SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof(sndbuf)),
				 0);
	ipc_init(&p->a, sv[0]);
	ipc_init(&p->b, sv[1]);
}

static void pair_close(struct pair *p)
{
	ipc_done(&p->a);
	ipc_done(&p->b);
}

static void messages_with_descriptors(void **state)
{
	unsigned before = open_fds();
	struct pair p;
	int pipes[2];
	char c;

	pair_open(&p, 0);
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_ok(ipc_send(&p.a, 1, 5, NULL, 0, NULL, 0));
	assert_ok(ipc_send(&p.a, 2, 6, "fd", 2, &pipes[1], 1));
	assert_ok(ipc_send(&p.a, 3, 7, "two", 3, pipes, 2));
	close(pipes[1]);
	for (unsigned i = 0; i < 3; i++) {
		_ipc_msg_ struct ipc_msg m = {0};

		assert_int_equal(ipc_recv(&p.b, &m), 1);
		assert_int_equal(m.type, i + 1);
		assert_int_equal(m.id, i + 5);
		assert_int_equal(m.fd_count, i);
		if (i == 1) {
			_close_ int fd = STEAL_FD(m.fds[0]);

			assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
			assert_int_equal(write(fd, "!", 1), 1);
		}
	}
	struct ipc_msg m = {0};

	assert_int_equal(ipc_recv(&p.b, &m), 0);
	assert_int_equal(read(pipes[0], &c, 1), 1);
	assert_int_equal(read(pipes[0], &c, 1), 0); /* no writer is left: all copies are closed */
	close(pipes[0]);
	pair_close(&p);
	assert_int_equal(open_fds(), before);
}

/* A megabyte and descriptors through a socket that takes a few kilobytes at a time. */
static void slow_peers_are_queued_for(void **state)
{
	enum { COUNT = 5 };
	unsigned before = open_fds();
	struct pair p;
	_free_ unsigned char *data = mem_alloc(IPC_PAYLOAD_MAX);
	unsigned got = 0;

	for (size_t i = 0; i < IPC_PAYLOAD_MAX; i++)
		data[i] = (unsigned char)(i * 7 + i / 251);
	pair_open(&p, 4096);
	for (unsigned i = 0; i < COUNT; i++) {
		int fd = new_fd();

		assert_ok(ipc_send(&p.a, (uint16_t)i, 0, data, IPC_PAYLOAD_MAX, &fd, 1));
		close(fd);
	}
	assert_int_equal(ipc_events(&p.a), EPOLLIN | EPOLLOUT);
	while (got < COUNT) {
		_ipc_msg_ struct ipc_msg m = {0};
		int rc = ipc_recv(&p.b, &m);

		assert_ok(rc);
		if (rc) {
			assert_int_equal(m.type, got++);
			assert_int_equal(m.len, IPC_PAYLOAD_MAX);
			assert_memory_equal(m.data, data, m.len);
			assert_int_equal(m.fd_count, 1);
			assert_true(fcntl(m.fds[0], F_GETFD) >= 0);
		}
		assert_ok(ipc_flush(&p.a));
	}
	assert_int_equal(ipc_flush(&p.a), 0);
	assert_int_equal(ipc_events(&p.a), EPOLLIN);
	assert_int_equal(p.a.out_bytes, 0);
	pair_close(&p);
	assert_int_equal(open_fds(), before);
}

static void bounds_of_sending(void **state)
{
	unsigned before = open_fds();
	struct pair p;
	_free_ char *data = mem_alloc(IPC_PAYLOAD_MAX + 1);
	int fds[IPC_FDS_MAX + 1] = {0}, rc = 0, sent = 0, bad = 1000;

	pair_open(&p, 4096);
	assert_int_equal(ipc_send(&p.a, 1, 0, data, IPC_PAYLOAD_MAX + 1, NULL, 0), -EMSGSIZE);
	assert_int_equal(ipc_send(&p.a, 1, 0, data, 1, fds, IPC_FDS_MAX + 1), -EMSGSIZE);
	assert_int_equal(ipc_send(&p.a, 1, 0, data, 1, &bad, 1), -EBADF);
	while (sent < 100 && !(rc = ipc_send(&p.a, 1, 0, data, IPC_PAYLOAD_MAX, fds, 1)))
		sent++;
	assert_int_equal(rc, -ENOBUFS);
	assert_int_equal(sent, IPC_QUEUE_MAX / IPC_PAYLOAD_MAX);
	assert_int_equal(ipc_send(&p.a, 1, 0, "x", 1, &bad, 1), -EBADF);
	assert_ok(ipc_send(&p.a, 1, 0, "small ones still fit", 20, fds, 1));
	pair_close(&p); /* with a full queue: nothing leaks */
	assert_int_equal(open_fds(), before);
}

static void ends_of_connections(void **state)
{
	struct pair p;
	struct ipc_msg m = {0};
	unsigned char b[64];
	size_t len = frame(b, 1, 0, "x");

	pair_open(&p, 0);
	assert_ok(ipc_send(&p.a, 9, 0, "last words", 10, NULL, 0));
	ipc_done(&p.a);
	assert_int_equal(ipc_recv(&p.b, &m), 1);
	/* The answer fails and closes; the question stays readable (ASan). */
	assert_int_equal(ipc_send(&p.b, 9, 0, "answer", 6, NULL, 0), -EPIPE);
	assert_int_equal(p.b.fd, -1);
	assert_memory_equal(m.data, "last words", 10);
	assert_int_equal(ipc_recv(&p.b, &m), -EPIPE);
	assert_int_equal(ipc_send(&p.b, 9, 0, "", 0, NULL, 0), -EPIPE);
	assert_int_equal(ipc_flush(&p.b), -EPIPE);
	pair_close(&p);

	pair_open(&p, 0);
	ipc_done(&p.a);
	assert_int_equal(ipc_recv(&p.b, &m), -EPIPE); /* clean */
	pair_close(&p);

	pair_open(&p, 0);
	assert_int_equal(write(p.a.fd, b, len - 1), len - 1);
	assert_int_equal(ipc_recv(&p.b, &m), 0);
	ipc_done(&p.a);
	assert_int_equal(ipc_recv(&p.b, &m), -EPROTO); /* within a frame */
	assert_int_equal(p.b.fd, -1);
	pair_close(&p);
}

static void hostile_descriptors(void **state)
{
	unsigned before = open_fds();
	struct pair p;
	struct ipc_msg m = {0};
	unsigned char b[64];
	size_t len = frame(b, 1, 1, "x");
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(40 * sizeof(int))];
	} control = {0};
	struct iovec iov = {b, len};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = sizeof(control)};
	struct cmsghdr *cm = CMSG_FIRSTHDR(&msg);

	cm->cmsg_level = SOL_SOCKET;
	cm->cmsg_type = SCM_RIGHTS;
	cm->cmsg_len = CMSG_LEN(40 * sizeof(int));
	memset(CMSG_DATA(cm), 0, 40 * sizeof(int)); /* forty times our stdin */
	pair_open(&p, 0);
	assert_int_equal(sendmsg(p.a.fd, &msg, 0), len);
	assert_int_equal(ipc_recv(&p.b, &m), -EPROTO);
	pair_close(&p);
	assert_int_equal(open_fds(), before);
}

static void failing_system_calls(void **state)
{
	unsigned before = open_fds();
	struct ipc_msg m = {0};
	struct pair p;
	int fd = 0;

	pair_open(&p, 0);
	fault_syscall_at("sendmsg", 1, EINTR);
	assert_ok(ipc_send(&p.a, 1, 0, "x", 1, &fd, 1));
	assert_int_equal(fault_syscalls("sendmsg"), 2);
	fault_syscall_at("sendmsg", 1, EAGAIN);
	assert_ok(ipc_send(&p.a, 2, 0, "x", 1, &fd, 1));
	assert_int_equal(ipc_events(&p.a), EPOLLIN | EPOLLOUT);
	fault_syscall_at("fcntl", 1, EMFILE);
	assert_int_equal(ipc_send(&p.a, 3, 0, "x", 1, &fd, 1), -EMFILE);
	fault_alloc_at(1);
	assert_int_equal(ipc_send(&p.a, 3, 0, "x", 1, NULL, 0), -ENOMEM);
	fault_syscall_at("recvmsg", 1, EINTR);
	assert_int_equal(ipc_recv(&p.b, &m), 1);
	ipc_msg_done(&m);
	fault_syscall_at("sendmsg", 1, ECONNRESET);
	assert_int_equal(ipc_flush(&p.a), -EPIPE);
	assert_int_equal(p.a.fd, -1);
	fault_syscall_at("recvmsg", 1, EIO);
	assert_int_equal(ipc_recv(&p.b, &m), -EIO);
	fault_reset();
	pair_close(&p);
	assert_int_equal(open_fds(), before);
}

/* --- sockets and waiting --- */

static void listen_and_connect(void **state)
{
	_tmpdir_ struct tmpdir t = tmpdir_new();
	struct err e = {0};
	struct stat st;
	struct ucred cred;
	_free_ char *deep = mem_printf("%0100d/%0100d", 1, 2);

	assert_ok(path_mkdirs(t.fd, deep, 0700)); /* longer than sun_path */
	_close_ int dir = path_open(t.fd, deep, O_RDONLY | O_DIRECTORY, 0);

	assert_int_equal(ipc_connect(dir, "sock", &e), -ENOENT);
	int fd = ipc_listen(dir, "sock", &e);

	assert_ok(fd);
	assert_ok(path_lstat(dir, "sock", &st));
	assert_int_equal(st.st_mode, S_IFSOCK | 0600);
	assert_int_equal(ipc_accept(fd), -EAGAIN);
	assert_int_equal(ipc_listen(dir, "sock", &e), -EADDRINUSE);
	close(ipc_accept(fd)); /* the question whether somebody listens was a connection */
	_conn_ struct ipc_conn client, server;

	ipc_init(&client, ipc_connect(dir, "sock", &e));
	ipc_init(&server, ipc_accept(fd));
	assert_ok(client.fd);
	assert_ok(server.fd);
	assert_ok(ipc_peer(server.fd, &cred));
	assert_int_equal(cred.pid, getpid());
	assert_int_equal(cred.uid, geteuid());
	assert_ok(ipc_send(&client, 4, 1, "ping", 4, NULL, 0));
	_ipc_msg_ struct ipc_msg m = {0};

	assert_int_equal(ipc_recv_wait(&server, &m, 1000), 1);
	assert_memory_equal(m.data, "ping", 4);
	close(fd); /* as if killed: the file stays, nobody listens */
	fd = ipc_listen(dir, "sock", &e);
	assert_ok(fd);
	close(fd);
	assert_ok(path_replace(dir, "file", "precious", 8, 0600, false));
	assert_int_equal(ipc_listen(dir, "file", &e), -EADDRINUSE);
	assert_true(path_exists(dir, "file"));
	_free_ char *long_name = mem_printf("%0120d", 1);

	assert_int_equal(ipc_listen(dir, long_name, &e), -ENAMETOOLONG);
	assert_int_equal(ipc_connect(dir, long_name, &e), -ENAMETOOLONG);
}

static void waits_end(void **state)
{
	struct pair p;
	struct ipc_msg m = {0};
	_free_ char *data = mem_alloc(IPC_PAYLOAD_MAX);
	uint64_t start = loop_now_ns();

	pair_open(&p, 4096);
	assert_int_equal(ipc_recv_wait(&p.b, &m, 0), -ETIMEDOUT);
	assert_int_equal(ipc_recv_wait(&p.b, &m, 20), -ETIMEDOUT);
	assert_true(loop_now_ns() - start >= 20000000);
	assert_ok(ipc_send(&p.a, 1, 0, data, IPC_PAYLOAD_MAX, NULL, 0));
	assert_int_equal(ipc_flush_wait(&p.a, 20), -ETIMEDOUT);
	assert_true(p.a.fd >= 0);
	if (fork() == 0) { /* someone who reads */
		_exit(ipc_recv_wait(&p.b, &m, 5000) == 1 && m.len == IPC_PAYLOAD_MAX ? 0 : 1);
	}
	assert_int_equal(ipc_flush_wait(&p.a, 5000), 0);
	pair_close(&p);
}

static void errors_are_explained(void **state)
{
	struct err e;

	assert_int_equal(ipc_err(&e, -EPROTO, "the keeper of 'web'"), -EPROTO);
	assert_int_equal(e.code, ERR_PROTO);
	assert_non_null(strstr(e.msg, "the keeper of 'web'"));
	assert_int_equal(ipc_err(&e, -ETIMEDOUT, "x"), -ETIMEDOUT);
	assert_int_equal(e.code, ERR_TIMEOUT);
	assert_int_equal(ipc_err(&e, -EPIPE, "x"), -EPIPE);
	assert_int_equal(ipc_err(&e, -EMFILE, "x"), -EMFILE);
	assert_non_null(strstr(e.msg, "Too many open files"));
}

int main(void)
{
	return TEST_RUN(
	    "ipc", cmocka_unit_test(bytes_on_the_wire),
	    cmocka_unit_test(any_cut_gives_the_same_messages), cmocka_unit_test(malformed_frames),
	    cmocka_unit_test(announced_sizes_cost_nothing),
	    cmocka_unit_test(descriptors_of_two_frames_wait),
	    cmocka_unit_test(parser_without_memory), cmocka_unit_test(messages_with_descriptors),
	    cmocka_unit_test(slow_peers_are_queued_for), cmocka_unit_test(bounds_of_sending),
	    cmocka_unit_test(ends_of_connections), cmocka_unit_test(hostile_descriptors),
	    cmocka_unit_test(failing_system_calls), cmocka_unit_test(listen_and_connect),
	    cmocka_unit_test(waits_end), cmocka_unit_test(errors_are_explained));
}
