/* seccomp_agent SOCKET STATEFILE ERRNO: the agent behind linux.seccomp.listenerPath. Takes the
 * notification fd and the container process state from the socket, writes the state to STATEFILE,
 * then fails every notified system call with ERRNO until the last process with that filter is gone.
 */
#include <err.h>
#include <errno.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* The state may come in several pieces; the fds come with the first. */
static int recv_state(int sock, const char *path)
{
	char buf[65536];
	struct iovec iov = {buf, sizeof buf};
	union {
		struct cmsghdr h;
		char space[CMSG_SPACE(4 * sizeof(int))];
	} c;
	struct msghdr m = {
	    .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof c};
	ssize_t n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
	FILE *f = fopen(path, "w");
	int fd;

	if (!f)
		err(1, "%s", path);
	if (n <= 0 || m.msg_controllen < CMSG_LEN(sizeof fd))
		errx(1, "no file descriptor came");
	memcpy(&fd, CMSG_DATA(&c.h), sizeof fd);
	for (; n > 0; n = read(sock, buf, sizeof buf))
		fwrite(buf, 1, (size_t)n, f);
	fclose(f);
	return fd;
}

int main(int argc, char **argv)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int lsock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), sock, notify;

	if (argc != 4 || strlen(argv[1]) >= sizeof a.sun_path)
		errx(2, "usage: seccomp_agent SOCKET STATEFILE ERRNO");
	strcpy(a.sun_path, argv[1]);
	if (bind(lsock, (struct sockaddr *)&a, sizeof a) < 0 || listen(lsock, 1) < 0)
		err(1, "%s", argv[1]);
	sock = accept4(lsock, NULL, NULL, SOCK_CLOEXEC);
	if (sock < 0)
		err(1, "accept");
	notify = recv_state(sock, argv[2]);

	for (;;) {
		struct pollfd p = {notify, POLLIN, 0};
		struct seccomp_notif req = {0};

		if (poll(&p, 1, -1) < 0)
			err(1, "poll");
		if (p.revents & POLLHUP)
			return 0;
		if (ioctl(notify, SECCOMP_IOCTL_NOTIF_RECV, &req) < 0)
			continue; /* the caller was killed meanwhile */
		struct seccomp_notif_resp resp = {.id = req.id, .error = -atoi(argv[3])};
		if (ioctl(notify, SECCOMP_IOCTL_NOTIF_SEND, &resp) < 0 && errno != ENOENT)
			err(1, "SECCOMP_IOCTL_NOTIF_SEND");
	}
}
