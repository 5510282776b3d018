/* Standing in for an attached process (`run`, `exec` without --detach): its signals are ours, its
 * terminal is ours, its exit status becomes ours. */
#include "container/start.h"
#include "base/cleanup.h"
#include "os/fdpass.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define DRAIN_MS 100

/* Before the child exists: for a terminal without a --console-socket the master comes to ourselves.
 */
int attend_begin(struct start *s, struct err *e)
{
	int pair[2];

	if (!s->opts->no_subreaper && !s->opts->detach)
		prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	if (!s->process->terminal || s->console_sock >= 0)
		return 0;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, ERR_SYS, "socket pair for the terminal");
	s->master_sock = pair[0];
	s->console_sock = pair[1];
	return 0;
}

static int receive_master(int sock, struct err *e)
{
	int fd = fdpass_receive(sock);

	return fd < 0 ? err_set(e, ERR_PROTO, fd, "terminal of the container did not arrive: %s",
				strerror(-fd))
		      : fd;
}

struct relay {
	int master; /* -1: no terminal, or it has ended */
	bool input; /* our standard input still gives something */
	bool raw;   /* our terminal is to be restored */
	struct termios before;
};

static void copy_winsize(int master)
{
	struct winsize ws;

	if (ioctl(0, TIOCGWINSZ, &ws) == 0)
		ioctl(master, TIOCSWINSZ, &ws);
}

static void relay_begin(struct relay *r)
{
	r->input = true;
	if (tcgetattr(0, &r->before))
		return;
	struct termios t = r->before;

	copy_winsize(r->master);
	cfmakeraw(&t);
	t.c_oflag |= OPOST; /* lines end here, not in the container: console_setup() */
	r->raw = tcsetattr(0, TCSANOW, &t) == 0;
}

static void relay_end(struct relay *r)
{
	if (r->raw)
		tcsetattr(0, TCSANOW, &r->before);
	if (r->master >= 0)
		close(r->master);
	r->master = -1;
}

/* One step in each direction. The master's EIO is its end: the last process closed the slave. */
static void relay_step(struct relay *r, short in, short out)
{
	char chunk[8192];

	if (in) {
		ssize_t n = read(0, chunk, sizeof(chunk));

		if (n > 0)
			fd_write_all(r->master, chunk, (size_t)n);
		else if (n == 0 || errno != EINTR)
			r->input = false;
	}
	if (out) {
		ssize_t n = read(r->master, chunk, sizeof(chunk));

		if (n > 0) {
			fd_write_all(1, chunk, (size_t)n);
		} else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
			close(r->master);
			r->master = -1;
		}
	}
}

/* Reaps everything that has ended; true when pid was among it. */
static bool reap_all(pid_t pid, int *ret_status)
{
	int status;
	bool found = false;

	for (pid_t p; (p = waitpid(-1, &status, WNOHANG)) > 0;)
		if (p == pid) {
			*ret_status =
			    WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
			found = true;
		}
	return found;
}

static bool handle_signals(struct start *s, struct relay *r, pid_t pid, int *ret_status)
{
	struct signalfd_siginfo si;
	bool ended = false;

	while (read(s->signal_fd, &si, sizeof(si)) == sizeof(si)) {
		int sig = (int)si.ssi_signo;

		if (sig == SIGCHLD)
			ended |= reap_all(pid, ret_status);
		else if (sig == SIGWINCH && r->master >= 0)
			copy_winsize(r->master);
		else if (sig != SIGURG && sig != SIGWINCH && !ended)
			kill(pid, sig); /* our child, not yet reaped: the pid is its */
	}
	return ended;
}

int attend(struct start *s, pid_t pid, int notify_fd, int *ret_status, struct err *e)
{
	struct relay r = {.master = -1};

	if (s->master_sock >= 0) {
		r.master = receive_master(s->master_sock, e);
		if (r.master < 0) {
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
			return r.master;
		}
		relay_begin(&r);
	}
	/* It may have ended before the first signal was read. */
	for (bool ended = reap_all(pid, ret_status); !ended;) {
		struct pollfd p[4] = {{.fd = s->signal_fd, .events = POLLIN},
				      {.fd = r.master >= 0 && r.input ? 0 : -1, .events = POLLIN},
				      {.fd = r.master, .events = POLLIN},
				      {.fd = notify_fd, .events = POLLIN}};

		if (poll(p, 4, -1) < 0 && errno != EINTR)
			break;
		if (r.master >= 0)
			relay_step(&r, p[1].revents, p[2].revents);
		if (p[3].revents)
			notify_forward(notify_fd, pid);
		if (p[0].revents)
			ended = handle_signals(s, &r, pid, ret_status);
	}
	/* What it wrote last may still be on its way through the pty. Its end is an error of read(2);
	 * somebody who outlived it with the terminal open is not waited for. */
	while (r.master >= 0) {
		struct pollfd p = {.fd = r.master, .events = POLLIN};

		if (poll(&p, 1, DRAIN_MS) <= 0)
			break;
		relay_step(&r, 0, p.revents);
	}
	relay_end(&r);
	return 0;
}
