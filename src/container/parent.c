/* The parent's half of a start: it answers the child's questions (sync.h) with the rights and the
 * namespaces that the child has left behind, and, for an attached container, stands in for it until
 * it ends. */
#include "container/start.h"
#include "container/sync.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/fdpass.h"
#include "os/path.h"
#include "os/pidfd.h"
#include "os/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* Below the state directory, beside the containers: their names never start with a dot. */
#define FILTER_CACHE ".seccomp"

static bool has_full_userns(int proc_fd)
{
	char line[64];
	unsigned inside, outside, size;

	return path_read_line(proc_fd, "self/uid_map", line, sizeof(line)) > 0 &&
	       sscanf(line, "%u %u %u", &inside, &outside, &size) == 3 && inside == 0 &&
	       outside == 0 && size == UINT32_MAX;
}

static int parent_connect(const char *path, struct err *e)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof(a.sun_path))
		return err_set(e, ERR_USAGE, -ENAMETOOLONG, "socket '%s': the path is too long",
			       path);
	strcpy(a.sun_path, path);
	_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return err_sys(e, ERR_SYS, "socket '%s'", path);
	return STEAL_FD(fd);
}

/* Signals are read from a descriptor from now on: an interrupted start is undone, and an attached
 * container gets what its runtime gets. The container's process starts with the caller's own mask.
 */
static int take_signals(struct start *s, struct err *e)
{
	static const int leave[] = {SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGTRAP, SIGABRT, SIGSYS};
	sigset_t all;

	sigfillset(&all);
	for (size_t i = 0; i < ARRAY_SIZE(leave); i++)
		sigdelset(&all, leave[i]);
	sigprocmask(SIG_SETMASK, &all, &s->saved_mask);
	s->signal_fd = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	return s->signal_fd < 0 ? err_sys(e, ERR_SYS, "signals") : 0;
}

/* What both create and exec need before they clone. */
int parent_prepare(struct start *s, int root_fd, struct err *e)
{
	const struct spec *spec = s->spec;

	s->sync = s->console_sock = s->master_sock = s->fifo_fd = s->notify_dir_fd = s->rootfs_fd =
	    -1;
	s->preserve_fds = s->opts->preserve_fds;
	s->signal_fd = s->fds_dir_fd = -1;
	s->proc_fd = path_open(AT_FDCWD, "/proc", O_PATH | O_DIRECTORY, 0);
	if (s->proc_fd < 0)
		return err_set(e, ERR_SYS, s->proc_fd, "/proc: %s", strerror(-s->proc_fd));
	s->rootless = geteuid() != 0 || !has_full_userns(s->proc_fd);
	s->new_userns = spec->ns[SPEC_NS_USER].present && !spec->ns[SPEC_NS_USER].path;
	s->in_userns = spec->ns[SPEC_NS_USER].present;
	int rc = take_signals(s, e);

	if (rc)
		return rc;
	if (s->opts->console_socket) {
		s->console_sock = parent_connect(s->opts->console_socket, e);
		if (s->console_sock < 0)
			return s->console_sock;
	}
	if (!spec->seccomp.present)
		return 0;
	_close_ int cache =
	    path_open(root_fd, FILTER_CACHE, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);

	if (cache == -ENOENT && path_mkdir(root_fd, FILTER_CACHE, 0700) == 0)
		cache = path_open(root_fd, FILTER_CACHE, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	return seccomp_compile(&spec->seccomp, cache < 0 ? -1 : cache, &s->filter, e);
}

void parent_done(struct start *s)
{
	int fds[] = {s->proc_fd, s->sync,          s->console_sock, s->master_sock,
		     s->fifo_fd, s->notify_dir_fd, s->rootfs_fd,    s->signal_fd};

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	for (size_t i = 0; s->mount_fds && i < s->spec->mounts_count; i++)
		if (s->mount_fds[i] >= 0)
			close(s->mount_fds[i]);
	free(s->mount_fds);
	seccomp_prog_done(&s->filter);
}

int parent_create_cgroup(struct start *s, pid_t pid, struct err *e)
{
	struct spec with_rules = *s->spec;

	device_rules(s->spec, &with_rules.resources);
	int rc = cgroup_create(&s->c->cgroup, &with_rules, pid, e);

	if (with_rules.resources.devices != s->spec->resources.devices)
		free(with_rules.resources.devices);
	return rc;
}

/* --- answers --- */

static int run_runtime_hooks(struct start *s, struct err *e)
{
	const struct spec_hooks *h = &s->spec->hooks;
	json_t *state = container_state_json(s->c, CONTAINER_CREATING);
	_free_ char *text = json_dumps(state, JSON_COMPACT);

	json_decref(state);
	int rc = hooks_run(&h->prestart, "prestart", text, NULL, s->signal_fd, e);

	return rc ? rc
		  : hooks_run(&h->create_runtime, "createRuntime", text, NULL, s->signal_fd, e);
}

/* config-linux.md "The Container Process State": what the seccomp agent is told. */
static int pass_listener(struct start *s, pid_t pid, int number, struct err *e)
{
	const struct spec_seccomp *sc = &s->spec->seccomp;
	_close_ int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	_close_ int listener = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);

	if (listener < 0)
		return err_sys(e, ERR_SECCOMP, "seccomp listener");
	_close_ int sock = parent_connect(sc->listener_path, e);

	if (sock < 0) {
		err_prefix(e, "failed to connect with seccomp agent: ");
		return sock;
	}
	json_t *fds = json_array();

	json_array_append_new(fds, json_string("seccompFd"));
	json_t *j = json_pack(
	    "{s:s, s:o, s:i, s:s, s:o}", "ociVersion", SPEC_VERSION, "fds", fds, "pid", (int)pid,
	    "metadata", sc->listener_metadata ? sc->listener_metadata : "", "state",
	    container_state_json(s->c, !s->is_exec ? CONTAINER_CREATING : CONTAINER_RUNNING));
	_free_ char *text = json_dumps(j, JSON_COMPACT);

	json_decref(j);
	return seccomp_send_listener(sock, listener, text, e);
}

static void reap(pid_t pid)
{
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

/* The intermediate has made the process and goes; an init is put on record. */
static int learn_pid(struct start *s, pid_t *pid, pid_t reported, struct err *e)
{
	char state;

	reap(-*pid);
	*pid = reported;
	if (s->is_exec)
		return 0;
	s->c->init.pid = reported;
	int rc = proc_stat(reported, &s->c->init.start, &state);

	return rc ? err_set(e, ERR_SYS, rc, "container init is gone") : container_save(s->c, e);
}

static int died(struct start *s, pid_t pid, struct err *e)
{
	uint64_t kills = 0;
	int status = 0;

	kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (cgroup_oom_count(&s->c->cgroup, &kills) == 0 && kills)
		return err_set(e, ERR_NOMEM, -ENOMEM,
			       "container init was OOM-killed (memory limit too low?)");
	return err_set(e, ERR_SYS, -ECHILD, "container init ended early (%s %d)",
		       WIFSIGNALED(status) ? "signal" : "status",
		       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

int parent_interrupted(int signal_fd)
{
	struct signalfd_siginfo si;

	if (read(signal_fd, &si, sizeof(si)) != sizeof(si))
		return 0;
	int sig = (int)si.ssi_signo;

	return sig == SIGINT || sig == SIGTERM || sig == SIGHUP || sig == SIGQUIT ? sig : 0;
}

/* Waits for the child's next message, or for somebody who wants the start to end. */
static int wait_message(const struct start *s, struct err *e)
{
	struct pollfd p[2] = {{.fd = s->sync, .events = POLLIN},
			      {.fd = s->signal_fd, .events = POLLIN}};

	for (;;) {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return err_sys(e, ERR_SYS, "waiting for the container's init");
		int sig = p[1].revents ? parent_interrupted(s->signal_fd) : 0;

		if (sig)
			return err_set(e, ERR_NONE, -EINTR, "interrupted by signal %d", sig);
		if (p[0].revents)
			return 0;
	}
}

/* Ends the child. pid: init's, or minus the intermediate's. */
static void end_child(pid_t *pid)
{
	pid_t p = *pid < 0 ? -*pid : *pid;

	kill(p, SIGKILL);
	reap(p);
	*pid = 0;
}

/* Answers until the child says that it is ready (until_ready) or has executed the user's program.
 * On failure *pid has been reaped and is 0. */
int parent_serve(struct start *s, pid_t *pid, bool until_ready, struct err *e)
{
	struct sync_msg m;

	for (int rc = 0;;) {
		rc = wait_message(s, e);
		if (!rc)
			rc = sync_recv(s->sync, &m, e);
		switch (rc ? SYNC_ERROR : m.type) {
		case SYNC_CGROUP:
			rc = parent_create_cgroup(s, -*pid, e);
			break;
		case SYNC_MAPS:
			rc = idmap_write(s->proc_fd, *pid < 0 ? -*pid : *pid, &s->spec->idmaps,
					 s->rootless, e);
			break;
		case SYNC_PID:
			rc = learn_pid(s, pid, m.value, e);
			if (!rc)
				continue;
			break;
		case SYNC_LIMITS:
			rc = process_oom(s->proc_fd, *pid, s->process, e);
			if (!rc)
				rc = process_limits(s->proc_fd, *pid, s->process, e);
			break;
		case SYNC_HOOKS:
			rc = run_runtime_hooks(s, e);
			break;
		case SYNC_LISTENER:
			rc = pass_listener(s, *pid, m.value, e);
			break;
		case SYNC_READY:
			return 0;
		case SYNC_EOF:
			if (!until_ready)
				return 0;
			rc = died(s, *pid < 0 ? -*pid : *pid, e);
			*pid = 0;
			return rc;
		default:
			if (!rc && e)
				*e = m.err;
			rc = rc ? rc : m.err.rc;
			end_child(pid);
			return rc ? rc : -EIO;
		}
		if (rc) {
			end_child(pid);
			return rc;
		}
		rc = sync_send(s->sync, SYNC_GO, 0, e);
		if (rc)
			return rc;
	}
}

int parent_send_pidfd(const char *socket_path, pid_t pid, struct err *e)
{
	if (!socket_path)
		return 0;
	_close_ int pidfd = pidfd_of(pid);
	_close_ int sock = parent_connect(socket_path, e);
	int rc = pidfd < 0 ? pidfd : sock < 0 ? sock : fdpass_send(sock, pidfd, "", 1);

	return rc ? err_set(e, ERR_SYS, rc, "pidfd socket '%s': %s", socket_path, strerror(-rc))
		  : 0;
}

int parent_write_pid(const char *file, pid_t pid, struct err *e)
{
	char text[16];

	if (!file)
		return 0;
	int len = snprintf(text, sizeof(text), "%d", pid);
	int rc = path_replace(AT_FDCWD, file, text, (size_t)len, 0644, false);

	return rc ? err_set(e, ERR_SYS, rc, "pid file '%s': %s", file, strerror(-rc)) : 0;
}
