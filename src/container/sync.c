#include "container/sync.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int sync_pair(int fds[2], struct err *e)
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return err_sys(e, ERR_SYS, "socket pair for the container's init");
	return 0;
}

static int send_msg(int fd, const struct sync_msg *m, struct err *e)
{
	/* The text travels up to its end only. */
	size_t len = offsetof(struct sync_msg, err.msg) + strlen(m->err.msg) + 1;

	for (;;) {
		/* write(2), which seccomp profiles may not have notified: the question about the
		 * listener is asked under the filter. */
		if (write(fd, m, len) >= 0)
			return 0;
		if (errno != EINTR)
			return err_sys(e, ERR_SYS, "message between runtime and init");
	}
}

int sync_send(int fd, enum sync_type type, int value, struct err *e)
{
	return send_msg(fd, &(struct sync_msg){.type = type, .value = value}, e);
}

void sync_send_err(int fd, const struct err *failure)
{
	send_msg(fd, &(struct sync_msg){.type = SYNC_ERROR, .err = *failure}, NULL);
}

int sync_recv(int fd, struct sync_msg *ret, struct err *e)
{
	struct sync_msg m = {0};
	ssize_t n;

	/* ECONNRESET is told once: the other side ended with messages unread. Its own still wait. */
	do {
		n = recv(fd, &m, sizeof(m), 0);
	} while (n < 0 && (errno == EINTR || errno == ECONNRESET));
	if (n < 0)
		return err_sys(e, ERR_SYS, "message between runtime and init");
	if (n <= 0)
		m.type = SYNC_EOF;
	m.err.msg[sizeof(m.err.msg) - 1] = '\0';
	*ret = m;
	return 0;
}

int sync_wait_go(int fd, struct err *e)
{
	struct sync_msg m;
	int rc = sync_recv(fd, &m, e);

	if (rc)
		return rc;
	if (m.type == SYNC_GO)
		return 0;
	if (m.type == SYNC_ERROR) {
		*e = m.err;
		return m.err.rc;
	}
	return err_set(e, ERR_SYS, -EPIPE, "the other half of the start has gone");
}

int sync_ask(int fd, enum sync_type type, int value, struct err *e)
{
	int rc = sync_send(fd, type, value, e);

	return rc ? rc : sync_wait_go(fd, e);
}
