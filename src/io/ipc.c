#include "io/ipc.h"
#include "base/cleanup.h"
#include "base/endian.h"
#include "base/mem.h"
#include "io/loop.h"
#include "os/path.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/un.h>

#define READ_CHUNK 65536

/* What the peer has not taken yet of one frame. */
struct queued {
	struct list node;
	size_t sent, len;
	unsigned fd_count; /* 0 once the first byte is sent: they went with it */
	int fds[IPC_FDS_MAX];
	unsigned char bytes[];
};

/* --- sending --- */

static void queued_free(struct queued *q)
{
	for (unsigned i = 0; i < q->fd_count; i++)
		close(q->fds[i]);
	free(q);
}

/* Closes the connection; rc is handed through. The message that was read last stays readable: its
 * handler may be the one who found out, by answering. */
static int fail(struct ipc_conn *c, int rc)
{
	for (struct list *node; (node = list_pop(&c->out));)
		queued_free(CONTAINER_OF(node, struct queued, node));
	c->out_bytes = 0;
	ipc_parser_break(&c->in);
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	return rc;
}

void ipc_init(struct ipc_conn *c, int fd)
{
	*c = (struct ipc_conn){.fd = fd};
	list_init(&c->out);
}

void ipc_done(struct ipc_conn *c)
{
	fail(c, 0);
	ipc_parser_done(&c->in);
}

/* One sendmsg(2) without blocking. The kernel hands the fds over with the first byte that it
 * takes. */
static ssize_t send_some(int fd, struct iovec *iov, size_t iov_count, const int *fds,
			 size_t fd_count)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int) * IPC_FDS_MAX)];
	} control = {0};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = iov_count};

	if (fd_count) {
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		struct cmsghdr *cm = CMSG_FIRSTHDR(&msg);

		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(cm), fds, fd_count * sizeof(int));
	}
	for (;;) {
		ssize_t n = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n >= 0)
			return n;
		if (errno == EAGAIN)
			return 0;
		if (errno != EINTR)
			return -errno;
	}
}

/* Queues the frame from byte `sent` on, with copies of the fds where they have not gone yet. */
static int queue(struct ipc_conn *c, const unsigned char *header, const void *data, size_t len,
		 const int *fds, size_t fd_count, size_t sent)
{
	struct queued *q = malloc(sizeof(*q) + IPC_HEADER_LEN + len);

	if (!q)
		return -ENOMEM;
	*q = (struct queued){.sent = sent, .len = IPC_HEADER_LEN + len};
	memcpy(q->bytes, header, IPC_HEADER_LEN);
	if (len)
		memcpy(q->bytes + IPC_HEADER_LEN, data, len);
	for (size_t i = 0; !sent && i < fd_count; i++) {
		int copy = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);

		if (copy < 0) {
			int rc = -errno;

			queued_free(q);
			return rc;
		}
		q->fds[q->fd_count++] = copy;
	}
	list_push(&c->out, &q->node);
	c->out_bytes += q->len - sent;
	return 0;
}

int ipc_send(struct ipc_conn *c, uint16_t type, uint32_t id, const void *data, size_t len,
	     const int *fds, size_t fd_count)
{
	unsigned char header[IPC_HEADER_LEN];
	ssize_t sent = 0;

	if (c->fd < 0)
		return -EPIPE;
	if (len > IPC_PAYLOAD_MAX || fd_count > IPC_FDS_MAX)
		return -EMSGSIZE;
	if (IPC_HEADER_LEN + len > IPC_QUEUE_MAX - c->out_bytes)
		return -ENOBUFS;
	put_le32(header, IPC_MAGIC);
	put_le32(header + 4, (uint32_t)len);
	put_le16(header + 8, type);
	put_le16(header + 10, (uint16_t)fd_count);
	put_le32(header + 12, id);
	if (list_empty(&c->out)) {
		struct iovec iov[2] = {{header, IPC_HEADER_LEN}, {(void *)(uintptr_t)data, len}};

		sent = send_some(c->fd, iov, len ? 2 : 1, fds, fd_count);
		if (sent <
		    0) /* -EBADF, -ETOOMANYREFS: the fds; nothing was sent, the connection lives */
			return sent == -EPIPE || sent == -ECONNRESET ? fail(c, -EPIPE) : (int)sent;
		if ((size_t)sent == IPC_HEADER_LEN + len)
			return 0;
	}
	int rc = queue(c, header, data, len, fds, fd_count, (size_t)sent);

	return rc && sent ? fail(c, rc) : rc; /* half a frame is out: it cannot be taken back */
}

int ipc_flush(struct ipc_conn *c)
{
	if (c->fd < 0)
		return -EPIPE;
	while (!list_empty(&c->out)) {
		struct queued *q = CONTAINER_OF(c->out.next, struct queued, node);
		struct iovec iov = {q->bytes + q->sent, q->len - q->sent};
		ssize_t n = send_some(c->fd, &iov, 1, q->fds, q->fd_count);

		if (n < 0)
			return fail(c, n == -ECONNRESET ? -EPIPE : (int)n);
		if (n == 0)
			return 1;
		for (unsigned i = 0; i < q->fd_count; i++)
			close(q->fds[i]);
		q->fd_count = 0;
		q->sent += (size_t)n;
		c->out_bytes -= (size_t)n;
		if (q->sent == q->len) {
			list_remove(&q->node);
			queued_free(q);
		}
	}
	return 0;
}

uint32_t ipc_events(const struct ipc_conn *c)
{
	return EPOLLIN | (list_empty(&c->out) ? 0 : EPOLLOUT);
}

/* --- receiving --- */

/* Takes the descriptors out of a received control message. Every SCM_RIGHTS is collected before
 * anything is judged, so that none stays open. -EPROTO where the kernel had to drop some
 * (MSG_CTRUNC: too many, or our own limit is reached). */
static int collect_fds(struct msghdr *msg, int *fds, size_t *ret_count)
{
	size_t n = 0;

	for (struct cmsghdr *cm = CMSG_FIRSTHDR(msg); cm; cm = CMSG_NXTHDR(msg, cm)) {
		if (cm->cmsg_level != SOL_SOCKET || cm->cmsg_type != SCM_RIGHTS)
			continue;
		size_t here = (cm->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		for (size_t i = 0; i < here; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(cm) + i * sizeof(int), sizeof(int));
			if (n < IPC_FDS_MAX)
				fds[n++] = fd;
			else
				close(fd);
		}
	}
	*ret_count = n;
	return msg->msg_flags & MSG_CTRUNC ? -EPROTO : 0;
}

/* One recvmsg(2) into the parser. 1: something came; 0: nothing now. */
static int read_some(struct ipc_conn *c)
{
	char chunk[READ_CHUNK];
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int) * IPC_FDS_MAX)];
	} control;
	struct iovec iov = {chunk, sizeof(chunk)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = sizeof(control)};
	int fds[IPC_FDS_MAX];
	size_t fd_count;
	ssize_t n;

	do
		n = recvmsg(c->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : errno == ECONNRESET ? -EPIPE : -errno;
	if (n == 0)
		return ipc_parser_idle(&c->in) ? -EPIPE : -EPROTO;
	int truncated = collect_fds(&msg, fds, &fd_count);
	int rc = ipc_parser_add(&c->in, chunk, (size_t)n, fds, fd_count);

	return truncated ? truncated : rc ? rc : 1;
}

int ipc_recv(struct ipc_conn *c, struct ipc_msg *ret_msg)
{
	if (c->fd < 0)
		return -EPIPE;
	for (;;) {
		int rc = ipc_parser_next(&c->in, ret_msg);

		if (rc == 0)
			rc = read_some(c);
		else if (rc > 0)
			return rc;
		if (rc <= 0)
			return rc ? fail(c, rc) : 0;
	}
}

/* --- blocking --- */

/* Waits for the events until the moment `until_ns` (0: for ever), sending what is queued
 * meanwhile. */
static int wait_for(struct ipc_conn *c, short events, uint64_t until_ns)
{
	struct pollfd p = {.fd = c->fd,
			   .events = (short)(events | (list_empty(&c->out) ? 0 : POLLOUT))};
	uint64_t now = loop_now_ns();

	if (until_ns && now >= until_ns)
		return -ETIMEDOUT;
	int ms = until_ns ? (int)MIN((until_ns - now) / 1000000 + 1, (uint64_t)INT32_MAX) : -1;

	if (poll(&p, 1, ms) < 0 && errno != EINTR)
		return -errno;
	return p.revents & POLLOUT ? ipc_flush(c) : 0;
}

static uint64_t deadline(int timeout_ms)
{
	return timeout_ms < 0 ? 0 : loop_now_ns() + (uint64_t)timeout_ms * 1000000;
}

int ipc_flush_wait(struct ipc_conn *c, int timeout_ms)
{
	uint64_t until_ns = deadline(timeout_ms);
	int rc;

	while ((rc = ipc_flush(c)) > 0)
		if ((rc = wait_for(c, 0, until_ns)) < 0)
			break;
	return rc;
}

int ipc_recv_wait(struct ipc_conn *c, struct ipc_msg *ret_msg, int timeout_ms)
{
	uint64_t until_ns = deadline(timeout_ms);
	int rc;

	while (!(rc = ipc_recv(c, ret_msg)))
		if ((rc = wait_for(c, POLLIN, until_ns)) < 0)
			break;
	return rc;
}

int ipc_err(struct err *e, int rc, const char *peer)
{
	switch (rc) {
	case -EPROTO:
		return err_set(e, ERR_PROTO, rc, "%s sent what is no message of ours", peer);
	case -EPIPE:
		return err_set(e, ERR_SYS, rc, "%s has closed the connection", peer);
	case -ETIMEDOUT:
		return err_set(e, ERR_TIMEOUT, rc, "%s did not answer in time", peer);
	default:
		return err_set(e, ERR_SYS, rc, "cannot talk to %s: %s", peer, strerror(-rc));
	}
}

/* --- sockets --- */

int ipc_peer(int fd, struct ucred *ret_cred)
{
	socklen_t len = sizeof(*ret_cred);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, ret_cred, &len) < 0 ? -errno : 0;
}

/* The address of name in the directory, through procfs: sun_path has 108 bytes, directories may
 * be deeper. */
static int address(struct sockaddr_un *sa, int dir, const char *name)
{
	*sa = (struct sockaddr_un){.sun_family = AF_UNIX};
	int n = snprintf(sa->sun_path, sizeof(sa->sun_path), "/proc/self/fd/%d/%s", dir, name);

	return n < 0 || (size_t)n >= sizeof(sa->sun_path) ? -ENAMETOOLONG : 0;
}

static int try_connect(int fd, const struct sockaddr_un *sa)
{
	int rc;

	do
		rc = connect(fd, (const struct sockaddr *)sa, sizeof(*sa));
	while (rc < 0 && errno == EINTR);
	return rc < 0 ? -errno : 0;
}

/* A socket is there and nobody listens behind it: its process was killed. */
static bool is_stale(int dir, const char *name, const struct sockaddr_un *sa)
{
	struct stat st;

	if (path_lstat(dir, name, &st) < 0 || !S_ISSOCK(st.st_mode))
		return false;
	_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd >= 0 && try_connect(fd, sa) == -ECONNREFUSED;
}

static int try_listen(int dir, const char *name)
{
	struct sockaddr_un sa;
	int rc = address(&sa, dir, name);

	if (rc)
		return rc;
	_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	/* The file gets the permissions that the socket has at bind(2): others never could
	 * connect. */
	if (fd < 0 || fchmod(fd, 0600) < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		if (errno != EADDRINUSE)
			return -errno;
		if (!is_stale(dir, name, &sa))
			return -EADDRINUSE;
		rc = path_unlink(dir, name);
		if (rc)
			return rc;
		if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
			return -errno;
	}
	return listen(fd, SOMAXCONN) < 0 ? -errno : STEAL_FD(fd);
}

int ipc_listen(int dirfd, const char *name, struct err *e)
{
	_close_ int dir = path_open(dirfd, ".", O_PATH | O_DIRECTORY, 0);
	int fd = dir < 0 ? dir : try_listen(dir, name);

	if (fd < 0)
		return err_set(e, ERR_SYS, fd, "cannot listen on socket '%s': %s", name,
			       strerror(-fd));
	return fd;
}

int ipc_accept(int listen_fd)
{
	int fd;

	do
		fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
	return fd < 0 ? -errno : fd;
}

int ipc_connect(int dirfd, const char *name, struct err *e)
{
	struct sockaddr_un sa;
	_close_ int dir = path_open(dirfd, ".", O_PATH | O_DIRECTORY, 0);
	int rc = dir < 0 ? dir : address(&sa, dir, name);

	if (rc)
		return err_set(e, ERR_SYS, rc, "cannot reach socket '%s': %s", name, strerror(-rc));
	_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	rc = fd < 0 ? -errno : try_connect(fd, &sa);
	if (rc)
		return err_set(e, ERR_SYS, rc, "cannot reach socket '%s': %s", name, strerror(-rc));
	return STEAL_FD(fd);
}
