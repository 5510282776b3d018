/* exec: another process in a running container. The runtime enters the pid namespace by itself
 * (that concerns only its children) and makes the process with one clone3(2), which joins the rest
 * through init's pidfd in one setns(2). A caller without rights outside the container's user
 * namespace needs an intermediate that has entered that first. */
#include "container/start.h"
#include "container/sync.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/path.h"
#include "os/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct entry {
	struct start s;
	int init_fd;       /* pidfd of the container's init */
	int root_fd;       /* its root, for a container without a mount namespace */
	uint64_t ns_flags; /* namespaces to join, without pid */
	bool has_pid_ns;
};

static int join_all(struct entry *x, struct err *e)
{
	if (x->ns_flags && setns(x->init_fd, (int)x->ns_flags) < 0)
		return err_sys(e, ERR_SYS, "joining the container's namespaces");
	if (x->root_fd >= 0 && (fchdir(x->root_fd) < 0 || chroot(".") < 0))
		return err_sys(e, ERR_CT_ROOTFS, "entering the container's root");
	return 0;
}

static int child(struct entry *x)
{
	struct start *s = &x->s;
	struct err e = {0};
	char *file = NULL;
	_close_ int root = -1;

	start_as_child(s);
	/* The container's processes see this one from setns on: they may not look inside. */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	int rc = process_initial_affinity(s->process, &e);

	if (!rc)
		rc = s->joined || cgroup_clone_fd(&s->c->cgroup) >= 0
			 ? 0
			 : cgroup_join_self(&s->c->cgroup, &e);

	if (!rc)
		rc = join_all(x, &e);
	if (!rc && s->in_userns)
		rc = idmap_become_root(&e);
	if (!rc && setsid() < 0)
		rc = err_sys(&e, ERR_SYS, "session");
	if (!rc && s->process->terminal) {
		root = path_open(AT_FDCWD, "/", O_PATH | O_DIRECTORY, 0);
		rc = console_setup(s, root, false, &e);
	}
	if (!rc)
		rc = init_prepare_process(s, &file, &e);
	bool late_filter = !rc && s->process->no_new_privileges && s->spec->seccomp.present;

	if (late_filter)
		rc = process_seccomp(s, &e);
	prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
	if (!rc && !s->asks_nothing)
		rc = sync_send(s->sync, SYNC_READY, 0, &e);
	if (!rc)
		rc = sync_wait_go(s->sync, &e);
	if (!rc)
		process_exec(s, file, process_environment(s), &e);
	sync_send_err(s->sync, &e);
	return 1;
}

static pid_t clone_child(struct entry *x, bool sibling)
{
	struct clone_args a = {.flags = sibling ? CLONE_PARENT : 0,
			       .exit_signal = sibling ? 0 : SIGCHLD};
	int group = sibling ? -1 : cgroup_clone_fd(&x->s.c->cgroup);

	if (group >= 0) {
		a.flags |= CLONE_INTO_CGROUP;
		a.cgroup = (uint64_t)group;
	}
	return (pid_t)syscall(SYS_clone3, &a, sizeof(a));
}

/* Without rights outside: into the user namespace, into the pid namespace, then the process as our
 * sibling. */
static void intermediate(struct entry *x)
{
	struct err e = {0};

	start_as_child(&x->s);
	int rc = cgroup_join_self(&x->s.c->cgroup, &e);

	x->s.joined = true;
	if (!rc && x->s.in_userns && setns(x->init_fd, CLONE_NEWUSER) < 0)
		rc = err_sys(&e, ERR_SYS, "joining the container's user namespace");
	x->ns_flags &= ~(uint64_t)CLONE_NEWUSER;
	if (!rc && x->has_pid_ns && setns(x->init_fd, CLONE_NEWPID) < 0)
		rc = err_sys(&e, ERR_SYS, "joining the container's pid namespace");
	if (!rc) {
		pid_t pid = clone_child(x, true);

		if (pid == 0)
			_exit(child(x));
		rc = pid < 0 ? err_sys(&e, ERR_SYS, "process in the container")
			     : sync_send(x->s.sync, SYNC_PID, pid, &e);
	}
	if (rc)
		sync_send_err(x->s.sync, &e);
	_exit(rc ? 1 : 0);
}

static int spawn(struct entry *x, pid_t *ret_pid, struct err *e)
{
	bool direct = !x->s.rootless;

	if (direct && x->has_pid_ns && setns(x->init_fd, CLONE_NEWPID) < 0)
		return err_sys(e, ERR_SYS, "joining the container's pid namespace");
	pid_t pid = direct ? clone_child(x, false) : fork();

	if (pid < 0 && errno == EBUSY &&
	    direct) { /* the container's group has become an inner node */
		int rc = cgroup_use_group_of(&x->s.c->cgroup, x->s.c->init.pid, e);

		if (rc)
			return rc;
		pid = clone_child(x, false);
	}
	if (pid < 0)
		return err_sys(e, ERR_SYS, "process in the container");
	if (pid == 0 && direct)
		_exit(child(x));
	if (pid == 0)
		intermediate(x);
	*ret_pid = direct ? pid : -pid;
	return 0;
}

static int open_target(struct entry *x, struct err *e)
{
	const struct spec *spec = x->s.spec;
	const struct container *c = x->s.c;

	x->init_fd = proc_pidfd(c->init.pid, c->init.start);
	if (x->init_fd < 0)
		return err_set(e, ERR_CT_STATE, -ESRCH, "cannot exec in a stopped container");
	for (int i = 0; i < SPEC_NS_COUNT; i++)
		if (spec->ns[i].present && i != SPEC_NS_PID)
			x->ns_flags |= spec_ns_info[i].flag;
	x->has_pid_ns = spec->ns[SPEC_NS_PID].present;
	x->root_fd = -1;
	if (spec->ns[SPEC_NS_MOUNT].present)
		return 0;
	char path[64];

	snprintf(path, sizeof(path), "%d/root", c->init.pid);
	x->root_fd = path_open(x->s.proc_fd, path, O_PATH | O_DIRECTORY, 0);
	return x->root_fd < 0 ? err_set(e, ERR_CT_ROOTFS, x->root_fd, "root of the container: %s",
					strerror(-x->root_fd))
			      : 0;
}

static int start_process(struct entry *x, pid_t *pid, struct err *e)
{
	struct start *s = &x->s;
	int pair[2];
	int rc = sync_pair(pair, e);

	if (rc)
		return rc;
	s->sync = pair[1];
	s->sync_peer = pair[0];
	/* As in a run: who has no question need not wait for the answer to "ready". */
	s->asks_nothing = !s->rootless && !s->in_userns && !s->filter.has_notify;
	rc = spawn(x, pid, e);
	close(pair[1]);
	s->sync = pair[0];
	if (!rc && !s->asks_nothing)
		rc = parent_serve(s, pid, true, e);
	log_debug("Container '%s': exec is process %d", s->c->id, *pid);
	if (!rc)
		rc = parent_write_pid(s->opts->pid_file, *pid, e);
	if (!rc)
		rc = parent_send_pidfd(s->opts->pidfd_socket, *pid, e);
	if (!rc)
		rc = sync_send(s->sync, SYNC_GO, 0, e);
	if (rc == -EPIPE)
		rc = 0; /* it has ended, and its last message says why */
	return rc ? rc : parent_serve(s, pid, false, e);
}

static int check(const struct container *c, const struct container_exec *x,
		 const struct container_opts *o, struct err *e)
{
	enum container_status st = container_status(c);

	if (st == CONTAINER_STOPPED || st == CONTAINER_CREATING)
		return err_set(e, ERR_CT_STATE, -ESRCH, "cannot exec in a %s container",
			       container_status_name(st));
	if (st == CONTAINER_PAUSED && !x->ignore_paused)
		return err_set(
		    e, ERR_CT_STATE, -EBUSY,
		    "cannot exec in a paused container (use --ignore-paused to override)");
	if (x->process->terminal && o->detach && !o->console_socket)
		return err_set(
		    e, ERR_USAGE, -EINVAL,
		    "cannot allocate tty if runc will detach without setting console socket");
	if (o->console_socket && !x->process->terminal)
		return err_set(e, ERR_USAGE, -EINVAL,
			       "cannot use console socket if runc will not detach or allocate tty");
	return 0;
}

int container_exec(int root_fd, const char *id, const struct container_exec *x,
		   const struct container_opts *o, int *ret_status, struct err *e)
{
	_container_ struct container c = {.dir_fd = -1, .cgroup.fd = -1};
	_spec_ struct spec *own = NULL;
	pid_t pid = 0;
	int rc = container_load(root_fd, id, false, &c, e);

	if (!rc)
		rc = check(&c, x, o, e);
	if (!rc && !x->spec)
		rc = container_spec(&c, &own, e);
	if (rc)
		return rc;
	const struct spec *spec = x->spec ? x->spec : own;
	struct entry entry = {.s = {.is_exec = true,
				    .spec = spec,
				    .process = x->process,
				    .opts = o,
				    .c = &c,
				    .proc_fd = -1},
			      .init_fd = -1,
			      .root_fd = -1};

	rc = parent_prepare(&entry.s, root_fd, e);
	if (!rc && !o->detach)
		rc = attend_begin(&entry.s, e);
	if (!rc)
		rc = cgroup_open_for_exec(&c.cgroup, x->sub_cgroups, e);
	if (!rc)
		rc = open_target(&entry, e);
	if (!rc)
		rc = start_process(&entry, &pid, e);
	if (rc && pid) {
		kill(pid < 0 ? -pid : pid, SIGKILL);
		waitpid(pid < 0 ? -pid : pid, NULL, 0);
	}
	if (!rc && !o->detach)
		rc = attend(&entry.s, pid, -1, ret_status, e);
	if (entry.init_fd >= 0)
		close(entry.init_fd);
	if (entry.root_fd >= 0)
		close(entry.root_fd);
	parent_done(&entry.s);
	return rc;
}
