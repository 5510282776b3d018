/* Hooks (config.md "POSIX-platform Hooks"): programs of the caller, run in order, with the
 * container's state as JSON on standard input. The first that fails ends the list. */
#include "container/start.h"
#include "base/cleanup.h"
#include "os/path.h"
#include "os/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* What a hook prints on stderr is part of the error, up to this much. */
#define HOOK_STDERR_MAX 400

static void hook_child(const struct spec_hook *h, char *const *env, int in, int errors)
{
	char *const path_only[] = {h->path, NULL};
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (dup2(in, 0) < 0 || dup2(errors, 2) < 0)
		_exit(126);
	int null = path_open(AT_FDCWD, "/dev/null", O_WRONLY, 0);

	if (null >= 0)
		dup2(null, 1);
	execve(h->path, h->args ? h->args : path_only, h->env ? h->env : env ? env : environ);
	dprintf(2, "%s", strerror(errno));
	_exit(127);
}

/* Feeds the state and gathers stderr until the hook ends or its time is over. */
static int hook_serve(int pidfd, int in, int errors, const char *state, int timeout_s,
		      int signal_fd, char *said)
{
	size_t sent = 0, len = strlen(state), got = 0;
	struct timespec t0;

	clock_gettime(CLOCK_MONOTONIC, &t0);
	fcntl(in, F_SETFL, O_NONBLOCK);
	for (bool over = false; !over;) {
		struct timespec now;
		int left = -1;

		clock_gettime(CLOCK_MONOTONIC, &now);
		if (timeout_s > 0) {
			long long used = (now.tv_sec - t0.tv_sec) * 1000LL +
					 (now.tv_nsec - t0.tv_nsec) / 1000000;

			left = used >= timeout_s * 1000LL ? 0 : (int)(timeout_s * 1000LL - used);
		}
		struct pollfd p[4] = {{.fd = pidfd, .events = POLLIN},
				      {.fd = sent < len ? in : -1, .events = POLLOUT},
				      {.fd = errors, .events = POLLIN},
				      {.fd = signal_fd, .events = POLLIN}};
		int n = poll(p, 4, left);

		if (n == 0)
			return -ETIMEDOUT;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n < 0)
			continue;
		if (p[3].revents && parent_interrupted(signal_fd))
			return -EINTR;
		if (p[1].revents) {
			ssize_t w = write(in, state + sent, len - sent);

			sent = w < 0 && errno != EAGAIN ? len : sent + (w > 0 ? (size_t)w : 0);
			if (sent == len)
				close(in);
		}
		if (p[2].revents) {
			char chunk[256];
			ssize_t r = read(errors, chunk, sizeof(chunk));

			for (ssize_t i = 0; i < r && got < HOOK_STDERR_MAX - 1; i++)
				said[got++] = chunk[i];
			if (r <= 0)
				errors = -1;
		}
		over = p[0].revents && (errors < 0 || !p[2].revents);
	}
	said[got] = '\0';
	while (got && strchr(" \n\t", said[got - 1]))
		said[--got] = '\0';
	if (sent < len)
		close(in);
	return 0;
}

static int hook_run(const struct spec_hook *h, const char *state, char *const *env, int signal_fd,
		    struct err *e)
{
	int in[2], errors[2];
	char said[HOOK_STDERR_MAX] = "";

	if (pipe2(in, O_CLOEXEC) < 0)
		return err_sys(e, ERR_CT_HOOK, "pipe");
	if (pipe2(errors, O_CLOEXEC) < 0) {
		close(in[0]);
		close(in[1]);
		return err_sys(e, ERR_CT_HOOK, "pipe");
	}
	void (*pipe_handler)(int) = signal(SIGPIPE, SIG_IGN);
	pid_t pid = fork();

	if (pid == 0) {
		signal(SIGPIPE, SIG_DFL);
		hook_child(h, env, in[0], errors[1]);
	}
	close(in[0]);
	close(errors[1]);
	_close_ int errors_fd = errors[0];

	if (pid < 0) {
		close(in[1]);
		return err_sys(e, ERR_CT_HOOK, "fork");
	}
	_close_ int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	int rc = pidfd < 0
		     ? -errno
		     : hook_serve(pidfd, in[1], errors_fd, state, h->timeout_s, signal_fd, said);
	int status = 0;

	if (rc)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	signal(SIGPIPE, pipe_handler);
	if (rc == -ETIMEDOUT)
		return err_set(e, ERR_CT_HOOK, rc, "'%s' took longer than %d s", h->path,
			       h->timeout_s);
	if (rc)
		return err_set(e, ERR_CT_HOOK, rc, "'%s': %s", h->path, strerror(-rc));
	if (WIFSIGNALED(status))
		return err_set(e, ERR_CT_HOOK, -ECANCELED, "'%s': signal %d, stderr: %s", h->path,
			       WTERMSIG(status), said);
	if (WEXITSTATUS(status))
		return err_set(e, ERR_CT_HOOK, -ECANCELED, "'%s': exit status %d, stderr: %s",
			       h->path, WEXITSTATUS(status), said);
	return 0;
}

int hooks_run(const struct spec_hook_list *hooks, const char *name, const char *state_json,
	      char *const *env, int signal_fd, struct err *e)
{
	for (size_t i = 0; i < hooks->count; i++)
		if (hook_run(&hooks->v[i], state_json, env, signal_fd, e))
			return err_prefix(e, "error running %s hook #%zu: ", name, i);
	return 0;
}
