/* systemd's readiness protocol (sd_notify(3)) across the container's border. The container gets a
 * directory of its own with a socket in it, /run/notify/notify.sock; the runtime passes on READY=1,
 * and nothing else, to the socket that its caller named in NOTIFY_SOCKET, with the container's init
 * as MAINPID. */
#include "container/start.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "os/path.h"
#include "os/pidfd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define NOTIFY_DIR    "notify"
#define NOTIFY_SOCKET "notify.sock"
#define NOTIFY_MAX    4096 /* bytes of one message; systemd's own limit is of that size */

static const char *host_socket(void)
{
	const char *path = getenv("NOTIFY_SOCKET");

	return path && (*path == '/' || *path == '@') ? path : NULL;
}

int notify_prepare(struct start *s, struct err *e)
{
	if (!host_socket())
		return 0;
	int rc = path_mkdir(s->c->dir_fd, NOTIFY_DIR, 0755);

	if (!rc)
		rc = path_chmod(s->c->dir_fd, NOTIFY_DIR, 0755);
	if (!rc)
		rc = s->notify_dir_fd =
		    path_open(s->c->dir_fd, NOTIFY_DIR, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0);
	return rc < 0 ? err_set(e, ERR_SYS, rc, "directory of the notify socket: %s", strerror(-rc))
		      : 0;
}

int notify_listen(const struct container *c, struct err *e)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	_close_ int dir =
	    host_socket() ? path_open(c->dir_fd, NOTIFY_DIR, O_PATH | O_DIRECTORY, 0) : -ENOENT;

	if (dir == -ENOENT)
		return -1; /* nobody wants to know, or nobody did when it was created */
	_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (dir < 0 || fd < 0)
		return err_sys(e, ERR_SYS, "notify socket");
	/* The state directory's path may be longer than an address. */
	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/" NOTIFY_SOCKET, dir);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return err_sys(e, ERR_SYS, "notify socket");
	int rc = path_chmod(dir, NOTIFY_SOCKET, 0777);

	return rc ? err_set(e, ERR_SYS, rc, "notify socket: %s", strerror(-rc)) : STEAL_FD(fd);
}

static bool says_ready(const char *text)
{
	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (str_after(line, "READY=1") && strchr("\n", line[7]))
			return true;
	}
	return false;
}

bool notify_forward(int fd, pid_t pid)
{
	char text[NOTIFY_MAX + 1];
	ssize_t n = recv(fd, text, NOTIFY_MAX, 0);
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	const char *path = host_socket();

	if (n <= 0)
		return false;
	text[n] = '\0';
	if (!says_ready(text) || !path || strlen(path) >= sizeof(a.sun_path))
		return false;
	strcpy(a.sun_path, path);
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));

	if (*path == '@')
		a.sun_path[0] = '\0';
	_close_ int out = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int size = snprintf(text, sizeof(text), "READY=1\nMAINPID=%d", pid);

	/* A supervisor that has gone is no reason to stop the container. */
	return out >= 0 &&
	       sendto(out, text, (size_t)size, MSG_NOSIGNAL, (struct sockaddr *)&a, len) > 0;
}

int notify_wait(int fd, const struct container_proc *init, struct err *e)
{
	_close_ int pidfd = pidfd_of(init->pid);
	struct pollfd p[2] = {{.fd = fd, .events = POLLIN}, {.fd = pidfd, .events = POLLIN}};

	for (;;) {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return err_sys(e, ERR_SYS, "notify socket");
		if (p[0].revents && notify_forward(fd, init->pid))
			return 0;
		if (p[1].revents) /* it ended without being ready: that is its supervisor's to judge
				   */
			return 0;
	}
}
