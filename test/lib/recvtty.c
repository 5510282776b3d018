/* recvtty SOCKET: the other end of --console-socket. Listens on a UNIX socket, takes one terminal
 * from it, copies what comes out of the terminal to stdout and stdin into the terminal, until the
 * terminal hangs up. */
#include <err.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int recv_fd(int sock)
{
	char name[4096];
	struct iovec iov = {name, sizeof name};
	union {
		struct cmsghdr h;
		char space[CMSG_SPACE(sizeof(int))];
	} c;
	struct msghdr m = {
	    .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof c};
	int fd;

	if (recvmsg(sock, &m, MSG_CMSG_CLOEXEC) < 0)
		err(1, "recvmsg");
	if (m.msg_controllen < CMSG_LEN(sizeof fd) || c.h.cmsg_type != SCM_RIGHTS)
		errx(1, "the message carries no file descriptor");
	memcpy(&fd, CMSG_DATA(&c.h), sizeof fd);
	return fd;
}

/* Moves what is there; 0 at the end of the stream (EIO is how a terminal ends). */
static ssize_t pump(int from, int to)
{
	char buf[4096];
	ssize_t n = read(from, buf, sizeof buf);

	if (n > 0 && write(to, buf, (size_t)n) != n)
		err(1, "write");
	if (n < 0 && errno != EIO && errno != EAGAIN)
		err(1, "read");
	return n > 0 ? n : 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int lsock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), sock, tty;

	if (argc != 2 || strlen(argv[1]) >= sizeof a.sun_path)
		errx(2, "usage: recvtty SOCKET");
	strcpy(a.sun_path, argv[1]);
	if (bind(lsock, (struct sockaddr *)&a, sizeof a) < 0 || listen(lsock, 1) < 0)
		err(1, "%s", argv[1]);
	sock = accept4(lsock, NULL, NULL, SOCK_CLOEXEC);
	if (sock < 0)
		err(1, "accept");
	tty = recv_fd(sock);
	if (!isatty(tty))
		errx(1, "what was sent is no terminal");

	struct pollfd p[2] = {{tty, POLLIN, 0}, {0, POLLIN, 0}};
	for (;;) {
		if (poll(p, 2, -1) < 0)
			err(1, "poll");
		if (p[1].revents && !pump(0, tty))
			p[1].fd = -1;
		if (p[0].revents && !pump(tty, 1))
			return 0;
	}
}
