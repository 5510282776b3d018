#include "disk/sock.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/cleanup.h"

#define BACKLOG 16

struct target {
	const char *host, *port, *path;
	char problem[128];
};

static int unix_address(const char *path, struct sockaddr_un *a)
{
	*a = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(a->sun_path))
		return -ENAMETOOLONG;
	strcpy(a->sun_path, path);
	return 0;
}

static int open_unix(const char *path, bool listening)
{
	_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un a;
	int rc = unix_address(path, &a);

	if (fd < 0 || rc < 0)
		return fd < 0 ? -errno : rc;
	if (listening)
		rc = bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, BACKLOG) ? -errno : 0;
	else
		rc = connect(fd, (struct sockaddr *)&a, sizeof(a)) ? -errno : 0;
	return rc < 0 ? rc : STEAL_FD(fd);
}

static int open_address(const struct addrinfo *a, bool listening)
{
	_close_ int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int one = 1;

	if (fd < 0)
		return -errno;
	if (listening) {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		if (bind(fd, a->ai_addr, a->ai_addrlen) || listen(fd, BACKLOG))
			return -errno;
	} else {
		if (connect(fd, a->ai_addr, a->ai_addrlen))
			return -errno;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	}
	return STEAL_FD(fd);
}

static int open_inet(struct target *t, bool listening)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
				 .ai_flags = listening ? AI_PASSIVE : 0};
	struct addrinfo *all;
	int rc = getaddrinfo(t->host, t->port, &hints, &all);

	if (rc) {
		snprintf(t->problem, sizeof(t->problem), "address resolution failed: %s",
			 gai_strerror(rc));
		return -EHOSTUNREACH;
	}
	rc = -EHOSTUNREACH;
	for (struct addrinfo *a = all; a && rc < 0; a = a->ai_next)
		rc = open_address(a, listening);
	freeaddrinfo(all);
	return rc;
}

static int failed(struct err *e, const struct target *t, const char *what, int rc)
{
	const char *why = *t->problem ? t->problem : strerror(-rc);

	if (t->path)
		return err_set(e, ERR_DISK_IO, rc, "Failed to %s '%s': %s", what, t->path, why);
	return err_set(e, ERR_DISK_IO, rc, "Failed to %s '%s:%s': %s", what, t->host ? t->host : "",
		       t->port, why);
}

/* Resolving names and connecting block: on a thread. */
static int connect_on_thread(void *arg)
{
	struct target *t = arg;

	return t->path ? open_unix(t->path, false) : open_inet(t, false);
}

int sock_connect(struct disk_ctx *ctx, const char *host, const char *port, const char *path,
		 struct err *e)
{
	struct target t = {.host = host ? host : "localhost", .port = port, .path = path};
	int fd = co_call(ctx, connect_on_thread, &t);

	return fd < 0 ? failed(e, &t, "connect to", fd) : fd;
}

int sock_listen(const char *host, const char *port, const char *path, struct err *e)
{
	struct target t = {.host = host, .port = port, .path = path};
	int fd = path ? open_unix(path, true) : open_inet(&t, true);

	return fd < 0 ? failed(e, &t, "bind socket to", fd) : fd;
}

int sock_read(struct disk_ctx *ctx, int fd, void *buf, size_t len)
{
	uint8_t *p = buf;

	while (len) {
		ssize_t n = recv(fd, p, len, MSG_DONTWAIT);

		if (!n)
			return -ECONNRESET;
		if (n > 0) {
			p += n;
			len -= n;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return -errno;
		int rc = co_poll(ctx, fd, POLLIN);

		if (rc < 0)
			return rc;
	}
	return 0;
}

int sock_skip(struct disk_ctx *ctx, int fd, size_t len)
{
	uint8_t buf[4096];
	int rc = 0;

	while (len && !rc) {
		size_t n = MIN(len, sizeof(buf));

		rc = sock_read(ctx, fd, buf, n);
		len -= n;
	}
	return rc;
}

int sock_writev(struct disk_ctx *ctx, int fd, struct iovec *iov, int count, bool more)
{
	int flags = MSG_DONTWAIT | MSG_NOSIGNAL | (more ? MSG_MORE : 0);

	while (count) {
		struct msghdr m = {.msg_iov = iov, .msg_iovlen = count};
		ssize_t n = sendmsg(fd, &m, flags);

		if (n < 0 && errno == EAGAIN) {
			int rc = co_poll(ctx, fd, POLLOUT);

			if (rc < 0)
				return rc;
			continue;
		}
		if (n < 0 && errno != EINTR)
			return -errno;
		for (n = MAX(n, (ssize_t)0); count && (size_t)n >= iov->iov_len; iov++, count--)
			n -= iov->iov_len;
		if (count) {
			iov->iov_base = (char *)iov->iov_base + n;
			iov->iov_len -= n;
		}
	}
	return 0;
}

int sock_write(struct disk_ctx *ctx, int fd, const void *buf, size_t len)
{
	struct iovec iov = {(void *)buf, len};

	return sock_writev(ctx, fd, &iov, 1, false);
}
