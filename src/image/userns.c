#include "image/userns.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/child.h"
#include "os/caps.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define SUBID_FILE_MAX (1u << 20)
#define MAP_TIMEOUT_MS 10000

/* In memory that the child shares. */
struct answer {
	int rc;
	struct err e;
};

struct userns_task {
	pid_t pid;
	struct answer *answer;
};

bool userns_is_needed(void)
{
	return geteuid() != 0 && !caps_have(CAP_SYS_ADMIN);
}

/* --- maps --- */

/* The first range of the user in /etc/subuid or /etc/subgid (subuid(5)): "NAME:START:COUNT". */
static bool find_range(const char *file, char start[static 16], char count[static 16])
{
	_buf_ struct buf b = {0};
	const struct passwd *user = getpwuid(getuid());
	char uid[16];

	snprintf(uid, sizeof(uid), "%u", getuid());
	if (path_read(AT_FDCWD, file, &b, SUBID_FILE_MAX) || !b.len)
		return false;
	for (char *save = NULL, *line = strtok_r(b.s, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		char name[256];

		if (sscanf(line, "%255[^:]:%15[0-9]:%15[0-9]", name, start, count) == 3 &&
		    (str_eq(name, uid) || (user && str_eq(name, user->pw_name))))
			return true;
	}
	return false;
}

static bool map_range(const char *program, const char *file, pid_t pid, unsigned own)
{
	char start[16], count[16], pid_text[16], own_text[16];

	snprintf(pid_text, sizeof(pid_text), "%d", pid);
	snprintf(own_text, sizeof(own_text), "%u", own);
	if (!find_range(file, start, count))
		return false;
	const char *const argv[] = {program, pid_text, "0", own_text, "1", "1", start, count, NULL};
	const struct child_spec spec = {.path = program, .argv = argv};
	const struct child_io io = {.max_bytes = 4096, .timeout_ms = MAP_TIMEOUT_MS};
	int status;

	return !child_run(&spec, &io, &status, NULL) && !status;
}

/* Root alone. */
static int map_self(pid_t pid)
{
	_free_ char *uids = mem_printf("0 %u 1", getuid()), *gids = mem_printf("0 %u 1", getgid());
	_free_ char *dir = mem_printf("/proc/%d", pid);
	_close_ int fd = path_open(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY, 0);
	int rc = fd < 0 ? fd : path_write(fd, "setgroups", "deny", 4);

	rc = rc ? rc : path_write(fd, "uid_map", uids, strlen(uids));
	return rc ? rc : path_write(fd, "gid_map", gids, strlen(gids));
}

static int map(pid_t pid)
{
	if (map_range("/usr/bin/newuidmap", "/etc/subuid", pid, getuid()) &&
	    map_range("/usr/bin/newgidmap", "/etc/subgid", pid, getgid()))
		return 0;
	return map_self(pid);
}

/* --- the child --- */

static _Noreturn void child_main(userns_fn *fn, void *arg, struct answer *a, int sock, pid_t parent)
{
	char ready = 'r';

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) || write(sock, &ready, 1) != 1 ||
	    read(sock, &ready, 1) != 1 || setresgid(0, 0, 0) || setresuid(0, 0, 0)) {
		a->rc = err_sys(&a->e, ERR_DENIED, "cannot make a user namespace");
		_exit(1);
	}
	close(sock);
	/* The change of ids has taken the signal back (prctl(2)). */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	a->rc = fn(arg, &a->e);
	_exit(0);
}

static int meet(int sock, pid_t pid, struct err *e)
{
	char ready;

	if (read(sock, &ready, 1) != 1)
		return -ECHILD; /* the child has said why */
	int rc = map(pid);

	if (rc)
		return err_set(e, ERR_DENIED, rc, "cannot map ids of a user namespace: %s",
			       strerror(-rc));
	return write(sock, "g", 1) == 1 ? 0 : -ECHILD;
}

static void task_free(struct userns_task *t)
{
	munmap(t->answer, sizeof(*t->answer));
	free(t);
}

int userns_start(userns_fn *fn, void *arg, struct userns_task **ret, struct err *e)
{
	int sock[2];
	pid_t parent = getpid();
	struct answer *a =
	    mmap(NULL, sizeof(*a), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (a == MAP_FAILED)
		return err_sys(e, ERR_SYS, "cannot share memory with a child");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock)) {
		munmap(a, sizeof(*a));
		return err_sys(e, ERR_SYS, "cannot make a socket pair");
	}
	struct userns_task *t = mem_alloc(sizeof(*t));

	t->answer = a;
	a->rc = -ECHILD; /* what a killed one leaves */
	t->pid = fork();
	if (t->pid == 0) {
		close(sock[0]);
		child_main(fn, arg, a, sock[1], parent);
	}
	close(sock[1]);
	int rc =
	    t->pid < 0 ? err_sys(e, ERR_SYS, "cannot start a child") : meet(sock[0], t->pid, e);

	close(sock[0]);
	if (!rc) {
		*ret = t;
		return 0;
	}
	if (t->pid < 0)
		task_free(t);
	else if (rc == -ECHILD)
		return userns_wait(t, e);
	else
		userns_stop(t);
	return rc;
}

static void reap(pid_t pid)
{
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

int userns_wait(struct userns_task *t, struct err *e)
{
	reap(t->pid);
	int rc = t->answer->rc;

	if (rc && t->answer->e.rc && e)
		*e = t->answer->e;
	else if (rc)
		err_set(e, ERR_SYS, rc, "a child in a user namespace was killed");
	task_free(t);
	return rc;
}

void userns_stop(struct userns_task *t)
{
	if (!t)
		return;
	kill(t->pid, SIGKILL);
	reap(t->pid);
	task_free(t);
}

int userns_run(userns_fn *fn, void *arg, struct err *e)
{
	struct userns_task *t;

	if (!userns_is_needed())
		return fn(arg, e);
	int rc = userns_start(fn, arg, &t, e);

	return rc ? rc : userns_wait(t, e);
}

struct removal {
	int dirfd;
	const char *path;
};

static int remove_tree(void *arg, struct err *e)
{
	const struct removal *r = arg;
	int rc = path_remove_tree(r->dirfd, r->path);

	return rc ? err_set(e, ERR_SYS, rc, "cannot remove '%s'", r->path) : 0;
}

int userns_remove_tree(int dirfd, const char *path)
{
	struct removal r = {dirfd, path};
	int rc = path_remove_tree(dirfd, path);

	return (rc == -EACCES || rc == -EPERM) && userns_is_needed()
		   ? userns_run(remove_tree, &r, NULL)
		   : rc;
}
