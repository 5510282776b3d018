/* create, start, run, kill, delete. The state file is written before anything exists that a crash
 * could orphan, so `delete --force` always finds the rest. */
#include "container/start.h"
#include "container/sync.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/path.h"
#include "os/pidfd.h"
#include "os/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define KILL_WAIT_MS    10000
#define DELETE_GRACE_MS 100

void container_isolate_fds(int preserve)
{
	fd_cloexec_from(3 + preserve);
}

/* --- the end of a container: shared by delete, a failed start, and the end of an attached run ---
 */

static void run_poststop(const struct container *c, const struct spec *spec)
{
	struct err e = {0};
	json_t *state = container_state_json(c, CONTAINER_STOPPED);
	_free_ char *text = json_dumps(state, JSON_COMPACT);

	json_decref(state);
	/* "MUST log a warning, but the remaining hooks … continue": one at a time. */
	for (size_t i = 0; i < spec->hooks.poststop.count; i++) {
		struct spec_hook_list one = {&spec->hooks.poststop.v[i], 1};

		if (hooks_run(&one, "poststop", text, NULL, -1, &e))
			log_warn("%s", e.msg);
	}
}

/* all_dead: init was the first process of a pid namespace, so nobody has outlived it. */
static int destroy(struct container *c, const struct spec *spec, bool all_dead, struct err *e)
{
	int rc = 0;

	if (!all_dead && cgroup_exists(&c->cgroup))
		rc = cgroup_kill(&c->cgroup, SIGKILL, e);
	if (!rc)
		rc = cgroup_destroy(&c->cgroup, e);
	if (!rc)
		rc = container_remove(c, e);
	if (rc)
		return rc;
	if (spec)
		run_poststop(c, spec);
	return 0;
}

/* After a failed start: what was made goes; the first error stays. */
static void undo(struct start *s, pid_t pid)
{
	struct err ignored = {0};

	if (pid) {
		pid_t p = pid < 0 ? -pid : pid;

		kill(p, SIGKILL);
		while (waitpid(p, NULL, 0) < 0 && errno == EINTR)
			;
	}
	s->c->init.pid = 0;
	if (destroy(s->c, s->spec, false, &ignored))
		log_warn("After the failed start: %s", ignored.msg);
}

/* --- start --- */

static json_t *annotations_json(const struct spec *spec)
{
	json_t *j = spec->annotations_count ? json_object() : NULL;

	for (size_t i = 0; i < spec->annotations_count; i++)
		json_object_set_new(j, spec->annotations[i].key,
				    json_string(spec->annotations[i].value));
	return j;
}

static int describe(struct container *c, const struct spec *spec, const struct container_opts *o,
		    bool rootless, struct err *e)
{
	c->bundle = mem_strdup(spec->bundle);
	c->rootfs = spec->root_path[0] == '/' ? mem_strdup(spec->root_path)
					      : mem_printf("%s/%s", spec->bundle, spec->root_path);
	c->annotations = annotations_json(spec);
	c->has_poststop = spec->hooks.poststop.count > 0;
	c->own_pid_ns = spec->ns[SPEC_NS_PID].present && !spec->ns[SPEC_NS_PID].path;
	c->systemd_cgroup = o->systemd_cgroup;
	return cgroup_init(&c->cgroup, spec, c->id, o->systemd_cgroup, rootless, e);
}

static int keep_config(const struct container *c, const char *text, size_t len, struct err *e)
{
	_close_ int fd = path_open(c->dir_fd, "config.json", O_WRONLY | O_CREAT | O_EXCL, 0600);
	int rc = fd < 0 ? fd : fd_write_all(fd, text, len);

	return rc ? err_set(e, ERR_SYS, rc, "configuration of container '%s' cannot be kept: %s",
			    c->id, strerror(-rc))
		  : 0;
}

static int open_fifo(struct start *s, struct err *e)
{
	int rc = path_mkfifo(s->c->dir_fd, CONTAINER_FIFO, 0622);

	if (!rc)
		rc = s->fifo_fd = path_open(s->c->dir_fd, CONTAINER_FIFO, O_PATH | O_NOFOLLOW, 0);
	/* In a user namespace init opens it as somebody else. */
	if (rc >= 0)
		rc = path_chmod(s->c->dir_fd, CONTAINER_FIFO, 0622);
	return rc < 0 ? err_set(e, ERR_SYS, rc, "start fifo: %s", strerror(-rc)) : 0;
}

static int check_terminal(const struct spec_process *p, const struct container_opts *o,
			  bool attached, struct err *e)
{
	if (p->terminal && !o->console_socket && !attached)
		return err_set(
		    e, ERR_USAGE, -EINVAL,
		    "cannot allocate tty if runc will detach without setting console socket");
	if (!p->terminal && o->console_socket)
		return err_set(e, ERR_USAGE, -EINVAL,
			       "cannot use console socket if runc will not detach or allocate tty");
	return 0;
}

static int move_net_devices(struct start *s, pid_t pid, struct err *e)
{
	char path[64];

	if (!s->spec->net_devices_count)
		return 0;
	snprintf(path, sizeof(path), "%d/ns/net", pid);
	_close_ int ns = path_open(s->proc_fd, path, O_RDONLY, 0);

	return ns < 0 ? err_set(e, ERR_SYS, ns, "network namespace: %s", strerror(-ns))
		      : netdev_move(s->spec, ns, e);
}

static int send_go(const struct start *s, struct err *e)
{
	int rc = sync_send(s->sync, SYNC_GO, 0, e);

	return rc == -EPIPE ? 0 : rc; /* it has ended, and its last message says why */
}

/* Clones init. What it is to find is on record before, or it dies with us: PR_SET_PDEATHSIG. */
static int clone_init(struct start *s, pid_t *ret_pid, struct err *e)
{
	struct container *c = s->c;
	int pair[2];
	char state;
	int rc = sync_pair(pair, e);

	if (rc)
		return rc;
	s->sync = pair[1];
	s->sync_peer = pair[0];
	rc = ns_clone(s, init_main, ret_pid, e);
	close(pair[1]);
	s->sync = pair[0];
	if (rc || *ret_pid < 0)
		return rc;
	c->init.pid = *ret_pid;
	rc = proc_stat(*ret_pid, &c->init.start, &state);
	log_debug("Container '%s': init is process %d", c->id, *ret_pid);
	return rc ? err_set(e, ERR_SYS, rc, "container init is gone") : 0;
}

/* The groups first, init is born into them, or told to join them. */
static int start_in_group(struct start *s, const char *text, size_t len, pid_t *ret_pid,
			  struct err *e)
{
	struct container *c = s->c;
	int rc = keep_config(c, text, len, e);

	if (!rc)
		rc = container_save(c, e);
	if (!rc && !c->cgroup.systemd)
		rc = parent_create_cgroup(s, 0, e);
	if (!rc)
		rc = clone_init(s, ret_pid, e);
	return rc ? rc : container_save(c, e);
}

/* Init first: it makes its mounts on one CPU while the groups are made on another. */
static int start_beside_group(struct start *s, const char *text, size_t len, pid_t *ret_pid,
			      struct err *e)
{
	struct container *c = s->c;
	int rc = clone_init(s, ret_pid, e);

	if (!rc)
		rc = keep_config(c, text, len, e);
	if (!rc)
		rc = container_save(c, e);
	if (!rc)
		rc = parent_create_cgroup(s, 0, e);
	if (rc)
		return rc;
	return send_go(s, e);
}

/* Will init get from its clone to its program without a word from us? Then it may start when it is
 * ready, and need not wait for two turns of the scheduler to say so. */
static bool has_no_questions(const struct start *s)
{
	const struct spec *spec = s->spec;

	return !spec->hooks.prestart.count && !spec->hooks.create_runtime.count && !s->in_userns &&
	       !s->filter.has_notify && s->notify_dir_fd < 0 && !spec->net_devices_count;
}

/* From nothing to an init that is ready to execute the program. */
static int make(struct start *s, int root_fd, const char *text, size_t len, bool wait_for_start,
		pid_t *ret_pid, struct err *e)
{
	struct container *c = s->c;
	int rc = parent_prepare(s, root_fd, e);

	if (!rc && !wait_for_start && !s->opts->detach)
		rc = attend_begin(s, e);
	if (!rc)
		rc = describe(c, s->spec, s->opts, s->rootless, e);
	if (!rc && wait_for_start)
		rc = open_fifo(s, e);
	if (!rc)
		rc = notify_prepare(s, e);
	if (!rc)
		rc = rootfs_open_sources(s, e);
	if (rc)
		return rc;
	/* Which groups a rootless caller may make is known only when they are made, and a child that
	 * was cloned before would join all of them. */
	s->late_group = c->cgroup.mode == CGROUP_V1 && !s->rootless && !s->new_userns &&
			!ns_needs_intermediate(s);
	s->asks_nothing = !wait_for_start && s->late_group && has_no_questions(s);
	rc = s->late_group ? start_beside_group(s, text, len, ret_pid, e)
			   : start_in_group(s, text, len, ret_pid, e);
	if (!rc && !s->asks_nothing)
		rc = parent_serve(s, ret_pid, true, e);
	if (!rc)
		rc = move_net_devices(s, *ret_pid, e);
	if (!rc)
		rc = parent_write_pid(s->opts->pid_file, *ret_pid, e);
	if (!rc)
		rc = parent_send_pidfd(s->opts->pidfd_socket, *ret_pid, e);
	return rc;
}

/* The state no longer says that it is being made. */
static int finish(struct container *c, struct err *e)
{
	c->creator = (struct container_proc){0};
	return container_save(c, e);
}

static int check_before_claim(const struct spec *spec, struct err *e)
{
	_free_ char *rootfs = spec->root_path[0] == '/'
				  ? mem_strdup(spec->root_path)
				  : mem_printf("%s/%s", spec->bundle, spec->root_path);
	struct stat st;
	int rc = path_stat(AT_FDCWD, rootfs, &st);

	if (rc)
		return err_set(e, ERR_CT_ROOTFS, rc, "root file system '%s': %s", rootfs,
			       strerror(-rc));
	if (!S_ISDIR(st.st_mode))
		return err_set(e, ERR_CT_ROOTFS, -ENOTDIR, "root file system '%s' is no directory",
			       rootfs);
	return 0;
}

int container_create(int root_fd, const char *id, const struct spec *spec, const char *text,
		     size_t len, const struct container_opts *o, struct err *e)
{
	_container_ struct container c = {.dir_fd = -1, .cgroup.fd = -1};
	struct start s = {
	    .spec = spec, .process = &spec->process, .opts = o, .c = &c, .proc_fd = -1};
	pid_t pid = 0;
	int rc = check_terminal(s.process, o, false, e);

	if (!rc)
		rc = check_before_claim(spec, e);
	if (!rc)
		rc = container_claim(root_fd, id, &c, e);
	if (rc)
		return rc;
	rc = make(&s, root_fd, text, len, true, &pid, e);
	if (!rc)
		rc = finish(&c, e);
	if (rc)
		undo(&s, pid);
	parent_done(&s);
	return rc;
}

/* The other end of the fifo: its opening releases init, its end of file says that the program runs;
 * anything that comes before is why it does not. */
static int release(const struct container *c, struct err *e)
{
	char said[512];
	_close_ int pidfd = proc_pidfd(c->init.pid, c->init.start);
	_close_ int fifo = path_open(c->dir_fd, CONTAINER_FIFO, O_RDONLY | O_NONBLOCK, 0);

	if (pidfd < 0 || fifo < 0)
		return err_set(e, ERR_CT_STATE, -ESRCH, "container '%s' has ended before its start",
			       c->id);
	struct pollfd p[2] = {{.fd = fifo, .events = POLLIN}, {.fd = pidfd, .events = POLLIN}};

	while (poll(p, 2, -1) < 0)
		if (errno != EINTR)
			return err_sys(e, ERR_SYS, "start fifo");
	ssize_t n = p[0].revents ? read(fifo, said, sizeof(said) - 1) : -1;

	path_unlink(c->dir_fd, CONTAINER_FIFO);
	if (n > 0) {
		said[n] = '\0';
		return err_set(e, ERR_CT_EXEC, -ECHILD, "%s", said);
	}
	return n < 0 ? err_set(e, ERR_CT_STATE, -ESRCH, "container '%s' ended during its start",
			       c->id)
		     : 0;
}

static int run_poststart(struct container *c, const struct spec *spec, struct err *e)
{
	if (!spec->hooks.poststart.count)
		return 0;
	json_t *state = container_state_json(c, CONTAINER_RUNNING);
	_free_ char *text = json_dumps(state, JSON_COMPACT);

	json_decref(state);
	return hooks_run(&spec->hooks.poststart, "poststart", text, NULL, -1, e);
}

int container_start(int root_fd, const char *id, struct err *e)
{
	_container_ struct container c = {.dir_fd = -1, .cgroup.fd = -1};
	_spec_ struct spec *spec = NULL;
	int rc = container_load(root_fd, id, true, &c, e);

	if (rc)
		return rc;
	enum container_status st = container_status(&c);

	if (st == CONTAINER_STOPPED)
		return err_set(e, ERR_CT_STATE, -ESRCH,
			       "cannot start a container that has stopped");
	if (st == CONTAINER_RUNNING)
		return err_set(e, ERR_CT_STATE, -EALREADY,
			       "cannot start an already running container");
	if (st != CONTAINER_CREATED)
		return err_set(e, ERR_CT_STATE, -EBUSY, "cannot start a container in the %s state",
			       container_status_name(st));
	rc = container_spec(&c, &spec, e);
	_close_ int notify_fd = rc ? -1 : notify_listen(&c, e);

	if (!rc && notify_fd < -1)
		rc = notify_fd;
	if (!rc)
		rc = release(&c, e);
	if (rc)
		return rc;
	if (notify_fd >= 0)
		rc = notify_wait(notify_fd, &c.init, e);
	rc = rc ? rc : run_poststart(&c, spec, e);
	if (rc) { /* runtime.md "Lifecycle" step 9: the container is stopped and destroyed */
		struct err ignored;

		destroy(&c, spec, false, &ignored);
	}
	return rc;
}

/* --- run --- */

int container_run(int root_fd, const char *id, const struct spec *spec, const char *text,
		  size_t len, const struct container_opts *o, int *ret_status, struct err *e)
{
	_container_ struct container c = {.dir_fd = -1, .cgroup.fd = -1};
	struct start s = {
	    .spec = spec, .process = &spec->process, .opts = o, .c = &c, .proc_fd = -1};
	pid_t pid = 0;
	int rc = check_terminal(s.process, o, !o->detach, e);

	if (!rc)
		rc = check_before_claim(spec, e);
	if (!rc)
		rc = container_claim(root_fd, id, &c, e);
	if (rc)
		return rc;
	rc = make(&s, root_fd, text, len, false, &pid, e);
	_close_ int notify_fd = rc ? -1 : notify_listen(&c, e);

	if (!rc && notify_fd < -1)
		rc = notify_fd;
	if (!rc)
		rc = send_go(&s, e);
	if (!rc)
		rc = finish(&c, e); /* while init executes the program */
	if (!rc)
		rc = parent_serve(&s, &pid, false, e);
	if (!rc)
		rc = run_poststart(&c, spec, e);
	if (rc) {
		undo(&s, pid);
	} else if (o->detach) {
		rc = notify_fd < 0 ? 0 : notify_wait(notify_fd, &c.init, e);
	} else {
		rc = attend(&s, pid, notify_fd, ret_status, e);
		struct err why = {0};
		int gone = o->keep ? 0 : destroy(&c, spec, c.own_pid_ns, &why);

		if (!rc && gone) {
			*e = why;
			rc = gone;
		}
	}
	parent_done(&s);
	return rc;
}

/* --- kill, delete --- */

static bool has_processes(const struct cgroup *cg)
{
	_free_ pid_t *pids = NULL;
	size_t n = 0;

	return cgroup_exists(cg) && cgroup_pids(cg, &pids, &n, NULL) == 0 && n;
}

int container_kill(int root_fd, const char *id, int sig, bool all, struct err *e)
{
	_container_ struct container c = {.dir_fd = -1, .cgroup.fd = -1};
	int rc = container_load(root_fd, id, false, &c, e);

	if (rc)
		return rc;
	enum container_status st = container_status(&c);

	if (all)
		return cgroup_kill(&c.cgroup, sig, e);
	/* Without a pid namespace of its own the others would outlive, or have outlived, init. */
	if (sig == SIGKILL && !c.own_pid_ns && has_processes(&c.cgroup))
		return cgroup_kill(&c.cgroup, sig, e);
	if (st == CONTAINER_STOPPED)
		return err_set(e, ERR_CT_STATE, -ESRCH, "container not running");
	_close_ int pidfd = proc_pidfd(c.init.pid, c.init.start);

	if (pidfd < 0)
		return err_set(e, ERR_CT_STATE, -ESRCH, "container not running");
	if (syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0) < 0)
		return err_sys(e, ERR_SYS, "unable to signal init");
	/* A frozen process dies only when it is thawed. */
	if (sig == SIGKILL && st == CONTAINER_PAUSED)
		return cgroup_freeze(&c.cgroup, false, e);
	return 0;
}

/* Kills init and waits for its end. Without a pid namespace the others must go as well: destroy()
 * sees to them. */
static int kill_and_wait(struct container *c, struct err *e)
{
	_close_ int pidfd = proc_pidfd(c->init.pid, c->init.start);

	if (pidfd >= 0 && syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) < 0 &&
	    errno != ESRCH)
		return err_sys(e, ERR_SYS, "unable to signal init");
	if (cgroup_is_frozen(&c->cgroup))
		cgroup_freeze(&c->cgroup, false, NULL);
	if (pidfd >= 0 && proc_wait_pidfd(pidfd, KILL_WAIT_MS))
		return err_set(e, ERR_TIMEOUT, -ETIMEDOUT, "container init still running");
	return 0;
}

static void kill_process(const struct container_proc *p)
{
	_close_ int pidfd = proc_pidfd(p->pid, p->start);

	if (pidfd >= 0)
		pidfd_kill(pidfd, SIGKILL);
}

/* A signal was sent a moment ago, perhaps: `kill` does not wait, so `delete` does, a little. */
static bool ends_soon(const struct container *c)
{
	_close_ int pidfd = proc_pidfd(c->init.pid, c->init.start);

	return pidfd < 0 || proc_wait_pidfd(pidfd, DELETE_GRACE_MS) == 0;
}

int container_delete(int root_fd, const char *id, bool force, struct err *e)
{
	_container_ struct container c = {.dir_fd = -1, .cgroup.fd = -1};
	_spec_ struct spec *spec = NULL;
	int rc = container_load(root_fd, id, true, &c, e);

	if (rc == -ENOENT && force && e->code == ERR_CT_NOT_FOUND)
		return 0;
	if (rc == -EBADMSG && force) /* nothing can be learned from it; its directory can go */
		return path_remove_tree(root_fd, id);
	if (rc)
		return rc;
	enum container_status st = container_status(&c);

	if (st == CONTAINER_CREATING && force)
		kill_process(&c.creator); /* its child dies with it */
	if (st == CONTAINER_RUNNING && !force && ends_soon(&c))
		st = CONTAINER_STOPPED;
	if (st != CONTAINER_STOPPED && st != CONTAINER_CREATED && !force)
		return err_set(e, ERR_CT_STATE, -EBUSY,
			       "cannot delete container %s that is not stopped: %s", id,
			       container_status_name(st));
	if (st != CONTAINER_STOPPED)
		rc = kill_and_wait(&c, e);
	if (rc)
		return rc;
	if (c.has_poststop && container_spec(&c, &spec, NULL))
		log_warn("Stored configuration of container '%s' is gone: no poststop hooks", id);
	return destroy(&c, spec, false, e);
}
