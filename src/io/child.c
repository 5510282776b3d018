#include "io/child.h"
#include "base/bits.h"
#include "base/cleanup.h"
#include "io/loop.h"
#include "os/path.h"
#include "os/pidfd.h"
#include "os/proc.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>

/* What the child reports where it fails before its program runs. */
struct report {
	int errnum;
	char doing[28];
};

/* --- in the child: nothing but async-signal-safe calls --- */

static _Noreturn void give_up(int report_fd, const char *doing)
{
	struct report r = {.errnum = errno};

	strncpy(r.doing, doing, sizeof(r.doing) - 1);
	(void)!write(report_fd, &r, sizeof(r));
	_exit(127);
}

/* Moves fd above all that the table fills. */
static bool lift(int *fd, int above)
{
	int copy = fcntl(*fd, F_DUPFD_CLOEXEC, above);

	if (copy >= 0)
		*fd = copy;
	return copy >= 0;
}

/* The child's descriptors become those of the table; what else is open closes with execve(2).
 * Sources are moved out of the way first, because the table may be any permutation. */
static bool install_fds(const struct child_spec *spec, int null_fd, int above)
{
	int from[CHILD_FDS_MAX];

	for (size_t i = 0; i < spec->fd_count; i++) {
		from[i] = spec->fds[i].from;
		if (!lift(&from[i], above))
			return false;
	}
	if (close_range(0, ~0u, CLOSE_RANGE_CLOEXEC) < 0)
		return false;
	for (int fd = 0; fd <= 2; fd++)
		if (dup2(null_fd, fd) < 0)
			return false;
	for (size_t i = 0; i < spec->fd_count; i++)
		if (dup2(from[i], spec->fds[i].to) < 0)
			return false;
	return true;
}

static void default_signals(void)
{
	struct sigaction dfl = {.sa_handler = SIG_DFL};
	sigset_t none;

	for (int signo = 1; signo < NSIG; signo++)
		sigaction(signo, &dfl, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void become(const struct child_spec *spec, int report_fd, int null_fd,
			     pid_t parent)
{
	static char *const empty[] = {NULL};
	char *const *argv = (char *const *)(uintptr_t)spec->argv;
	char *const *envp = spec->envp ? (char *const *)(uintptr_t)spec->envp : empty;
	int above = 3, exe_fd = spec->exe_fd, cwd_fd = spec->cwd_fd;

	for (size_t i = 0; i < spec->fd_count; i++)
		above = MAX(above, spec->fds[i].to + 1);
	if (!lift(&report_fd, above))
		give_up(report_fd, "arrange descriptors");
	if (spec->death_signal) {
		if (prctl(PR_SET_PDEATHSIG, spec->death_signal) < 0)
			give_up(report_fd, "set the death signal");
		if (getppid() != parent) /* it ended before the line above */
			_exit(127);
	}
	if ((spec->new_session || spec->terminal) && setsid() < 0)
		give_up(report_fd, "start a session");
	if (!lift(&null_fd, above) || (!spec->path && !lift(&exe_fd, above)) ||
	    (cwd_fd && !lift(&cwd_fd, above)) || !install_fds(spec, null_fd, above))
		give_up(report_fd, "arrange descriptors");
	if (spec->terminal && ioctl(0, TIOCSCTTY, 0) < 0)
		give_up(report_fd, "take the terminal");
	if (cwd_fd && fchdir(cwd_fd) < 0)
		give_up(report_fd, "enter its directory");
	default_signals();
	if (spec->path)
		execve(spec->path, argv, envp);
	else
		execveat(exe_fd, "", argv, envp, AT_EMPTY_PATH);
	give_up(report_fd, "execute it");
}

/* --- in the parent --- */

/* Signals stay blocked from before the fork until the child has its own handlers, so that none
 * of ours runs in it. */
static pid_t fork_blocked(const struct child_spec *spec, int report_fd, int null_fd)
{
	sigset_t all, before;
	pid_t parent = getpid();

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pid_t pid = fork();

	if (pid == 0)
		become(spec, report_fd, null_fd, parent);
	int saved = errno;

	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = saved;
	return pid;
}

/* Waits until the program runs (the pipe closes) or says why it does not. */
static int await_exec(int pipe, struct report *ret_report)
{
	ssize_t n;

	do
		n = read(pipe, ret_report, sizeof(*ret_report));
	while (n < 0 && errno == EINTR);
	return n == 0 ? 0 : n == sizeof(*ret_report) ? -ret_report->errnum : -EIO;
}

int child_start(const struct child_spec *spec, struct child *ret_child, struct err *e)
{
	const char *name = spec->path ? spec->path : spec->argv[0];
	struct report report = {0};
	int ends[2];

	if (spec->fd_count > CHILD_FDS_MAX)
		return err_set(e, ERR_SYS, -E2BIG, "too many descriptors for '%s'", name);
	_close_ int null_fd = path_open(AT_FDCWD, "/dev/null", O_RDWR, 0);

	if (null_fd < 0)
		return err_set(e, ERR_SYS, null_fd, "cannot open '/dev/null': %s",
			       strerror(-null_fd));
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(e, ERR_SYS, "cannot start '%s'", name);
	_close_ int read_end = ends[0];
	int write_end = ends[1];
	pid_t pid = fork_blocked(spec, write_end, null_fd);
	int forked = pid < 0 ? -errno : 0;

	close(write_end);
	if (forked)
		return err_set(e, ERR_SYS, forked, "cannot start '%s': %s", name,
			       strerror(-forked));
	int pidfd = pidfd_of(pid);
	int rc = pidfd < 0 ? pidfd : await_exec(read_end, &report);

	if (!rc) {
		*ret_child = (struct child){.pid = pid, .pidfd = pidfd};
		return 0;
	}
	kill(pid, SIGKILL); /* not reaped yet: the pid is still its own */
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (pidfd >= 0)
		close(pidfd);
	return err_set(e, rc == -ENOENT ? ERR_NOT_FOUND : ERR_SYS, rc, "cannot start '%s': %s%s%s",
		       name, report.doing, report.doing[0] ? ": " : "", strerror(-rc));
}

int child_wait(struct child *c, int timeout_ms, int *ret_status)
{
	siginfo_t info = {0};
	int rc = c->pidfd < 0 ? -ECHILD : proc_wait_pidfd(c->pidfd, timeout_ms);

	if (!rc)
		rc = pidfd_reap(c->pidfd, &info);
	if (rc && rc != -ECHILD)
		return rc;
	if (c->pidfd >= 0)
		close(c->pidfd);
	*c = (struct child){.pidfd = -1};
	if (!rc && ret_status)
		*ret_status = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
	return rc;
}

void child_stop(struct child *c, int grace_ms)
{
	if (c->pidfd < 0)
		return;
	pidfd_kill(c->pidfd, SIGTERM);
	if (child_wait(c, grace_ms, NULL) != -ETIMEDOUT)
		return;
	pidfd_kill(c->pidfd, SIGKILL);
	child_wait(c, -1, NULL);
}

/* --- to the end, with its output --- */

struct capture {
	int fd; /* our end; -1: closed */
	struct buf *to;
	size_t left;
};

/* Reads what is there. */
static int capture_some(struct capture *c)
{
	char chunk[16384];

	while (c->fd >= 0) {
		ssize_t n = read(c->fd, chunk, sizeof(chunk));

		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		if ((size_t)n > c->left)
			return -EFBIG;
		if (n == 0) {
			close(c->fd);
			c->fd = -1;
		}
		buf_add(c->to, chunk, (size_t)n);
		c->left -= (size_t)n;
	}
	return 0;
}

/* Until the child has ended. Its end decides, not that of the pipes: a process that it left
 * behind may hold them. */
static int capture_all(const struct child *child, struct capture *captures, int timeout_ms)
{
	uint64_t until_ns = loop_now_ns() + (uint64_t)MAX(timeout_ms, 0) * 1000000;
	bool ended = false;

	while (!ended) {
		struct pollfd p[3] = {{.fd = captures[0].fd, .events = POLLIN},
				      {.fd = captures[1].fd, .events = POLLIN},
				      {.fd = child->pidfd, .events = POLLIN}};
		uint64_t now = loop_now_ns();

		if (timeout_ms >= 0 && now >= until_ns)
			return -ETIMEDOUT;
		if (poll(p, 3, timeout_ms < 0 ? -1 : (int)((until_ns - now) / 1000000 + 1)) < 0 &&
		    errno != EINTR)
			return -errno;
		ended = p[2].revents;
		for (int i = 0; i < 2; i++) {
			int rc = capture_some(&captures[i]);

			if (rc)
				return rc;
		}
	}
	return 0;
}

static int capture_open(struct capture *c, struct buf *to, size_t max_bytes, int *ret_childs_end)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	*c = (struct capture){.fd = ends[0], .to = to, .left = max_bytes};
	*ret_childs_end = ends[1];
	return 0;
}

static int input_file(const void *input, size_t len)
{
	int fd = fd_memfd_sealed("stdin", input, len);

	if (fd >= 0)
		lseek(fd, 0, SEEK_SET);
	return fd;
}

/* Opens the child's 0, 1, 2 as io says; those that it does not say stay -1. */
static int open_stdio(const struct child_io *io, int *stdio, struct capture *captures)
{
	int rc = 0;

	if (io->input)
		rc = stdio[0] = input_file(io->input, io->input_len);
	if (rc >= 0 && io->out)
		rc = capture_open(&captures[0], io->out, io->max_bytes, &stdio[1]);
	if (rc >= 0 && io->err)
		rc = capture_open(&captures[1], io->err, io->max_bytes, &stdio[2]);
	return MIN(rc, 0);
}

int child_run(const struct child_spec *spec, const struct child_io *io, int *ret_status,
	      struct err *e)
{
	const char *name = spec->path ? spec->path : spec->argv[0];
	struct child_fd table[CHILD_FDS_MAX];
	struct child_spec full = *spec;
	struct capture captures[2] = {{.fd = -1}, {.fd = -1}};
	struct child child = {.pidfd = -1};
	int stdio[3] = {-1, -1, -1};
	int rc = open_stdio(io, stdio, captures);

	if (rc)
		err_set(e, ERR_SYS, rc, "cannot start '%s': %s", name, strerror(-rc));
	else if (spec->fd_count > CHILD_FDS_MAX - 3)
		rc = err_set(e, ERR_SYS, -E2BIG, "too many descriptors for '%s'", name);
	if (!rc) {
		if (spec->fd_count)
			memcpy(table, spec->fds, spec->fd_count * sizeof(*table));
		full.fds = table;
		for (int fd = 0; fd <= 2; fd++)
			if (stdio[fd] >= 0)
				table[full.fd_count++] = (struct child_fd){stdio[fd], fd};
		rc = child_start(&full, &child, e);
	}
	for (int fd = 0; fd <= 2; fd++)
		if (stdio[fd] >= 0)
			close(stdio[fd]);
	if (!rc) {
		rc = capture_all(&child, captures, io->timeout_ms);
		if (rc == -EFBIG)
			err_set(e, ERR_SYS, rc, "'%s' wrote more than %zu bytes", name,
				io->max_bytes);
		else if (rc == -ETIMEDOUT)
			err_set(e, ERR_TIMEOUT, rc, "'%s' took longer than %d ms", name,
				io->timeout_ms);
		else if (rc)
			err_set(e, ERR_SYS, rc, "cannot read from '%s': %s", name, strerror(-rc));
		if (rc)
			pidfd_kill(child.pidfd, SIGKILL);
		child_wait(&child, -1, rc ? NULL : ret_status);
	}
	for (int i = 0; i < 2; i++)
		if (captures[i].fd >= 0)
			close(captures[i].fd);
	return rc;
}
