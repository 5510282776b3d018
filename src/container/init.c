/* The child's half of a start: from its first instruction in the new namespaces to execve(2) of the
 * user's program. Any failure goes to the parent as one message, and the process ends. */
#include "container/start.h"
#include "container/sync.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

static int enter_user_namespace(struct start *s, struct err *e)
{
	if (!s->new_userns)
		return 0;
	/* An intermediate has asked for the maps already: they were inherited with its namespace.
	 */
	int rc = s->joined ? 0 : sync_ask(s->sync, SYNC_MAPS, 0, e);

	return rc ? rc : idmap_become_root(e);
}

static int set_names(const struct spec *spec, struct err *e)
{
	if (spec->hostname && *spec->hostname && spec->ns[SPEC_NS_UTS].present &&
	    sethostname(spec->hostname, strlen(spec->hostname)) < 0)
		return err_sys(e, ERR_SYS, "hostname '%s'", spec->hostname);
	if (spec->domainname && *spec->domainname && spec->ns[SPEC_NS_UTS].present &&
	    setdomainname(spec->domainname, strlen(spec->domainname)) < 0)
		return err_sys(e, ERR_SYS, "domainname '%s'", spec->domainname);
	return 0;
}

/* "net.ipv4.ip_forward" is the file net/ipv4/ip_forward; with slashes, dots stay dots
 * (sysctl.d(5)). Written through the host's /proc: sysctls belong to the writer's namespaces,
 * whatever procfs they are reached by. */
static int write_sysctl(const struct start *s, const struct spec_kv *kv, struct err *e)
{
	_free_ char *path = mem_printf("sys/%s", kv->key);
	bool slashes = strchr(kv->key, '/') != NULL;

	for (char *p = path + 4; *p && !slashes; p++)
		if (*p == '.')
			*p = '/';
	_close_ int fd = path_open(s->proc_fd, path, O_WRONLY, 0);

	if (fd < 0)
		return err_set(e, ERR_SYS, fd, "sysctl '%s': %s", kv->key, strerror(-fd));
	if (!fd_is_fs(fd, PROC_SUPER_MAGIC))
		return err_set(e, ERR_SPEC_VALUE, -EINVAL, "sysctl '%s' is no sysctl", kv->key);
	int rc = fd_write_all(fd, kv->value, strlen(kv->value));

	return rc ? err_set(e, ERR_SYS, rc, "sysctl '%s' = '%s': %s", kv->key, kv->value,
			    strerror(-rc))
		  : 0;
}

/* The groups exist when the parent says so; before that, init was busy with mounts that need none.
 */
int init_join_late_group(struct start *s, struct err *e)
{
	if (!s->late_group)
		return 0;
	s->late_group = false;
	int rc = sync_wait_go(s->sync, e);

	if (!rc)
		rc = cgroup_join_self(&s->c->cgroup, e);
	return rc ? rc : ns_unshare_late(s, e);
}

/* The fifo is opened again after the wait for `start`, by a name that only procfs has. All of the
 * host's /proc would lead whoever may look into init to the host's root: init keeps a mount of its
 * own descriptors alone, made while the host's mounts are still in sight. */
static void keep_descriptors_dir(struct start *s)
{
	if (s->fifo_fd >= 0)
		s->fds_dir_fd =
		    open_tree(AT_FDCWD, "/proc/self/fd", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
}

/* The container as such: everything up to the last namespace, mount and kernel setting. */
static int make_container(struct start *s, struct err *e)
{
	const struct spec *spec = s->spec;
	int rc = 0;

	/* Before the user namespace, in which the group's files belong to nobody. */
	if (!s->late_group && !s->joined && cgroup_clone_fd(&s->c->cgroup) < 0)
		rc = cgroup_join_self(&s->c->cgroup, e);
	if (!rc)
		rc = enter_user_namespace(s, e);
	if (!rc && !s->late_group)
		rc = ns_unshare_late(s, e);
	if (rc)
		return rc;
	/* From here on nobody of the container may look into this process. */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (setsid() < 0)
		return err_sys(e, ERR_SYS, "session");
	if (spec->ns[SPEC_NS_NETWORK].present && !spec->ns[SPEC_NS_NETWORK].path)
		rc = netdev_lo_up(e);
	if (!rc)
		rc = set_names(spec, e);
	keep_descriptors_dir(s);
	if (!rc)
		rc = rootfs_setup(s, e);
	for (size_t i = 0; i < spec->sysctl_count && !rc; i++)
		rc = write_sysctl(s, &spec->sysctl[i], e);
	return rc;
}

static int apply_limits(struct start *s, struct err *e)
{
	/* In a user namespace of our making only the outer one may raise them. */
	if (s->in_userns)
		return sync_ask(s->sync, SYNC_LIMITS, 0, e);
	int rc = process_oom(s->proc_fd, 0, s->process, e);

	return rc ? rc : process_limits(s->proc_fd, 0, s->process, e);
}

/* The process: shared with exec. Ends with everything done but the filter (with no_new_privs) and
 * execve. */
int init_prepare_process(struct start *s, char **ret_file, struct err *e)
{
	const struct spec_process *p = s->process;
	int rc = process_attributes(s, e);

	if (!rc)
		rc = console_fix_stdio_owner(s, e);
	if (!rc)
		rc = apply_limits(s, e);
	if (!rc)
		rc = lsm_exec_label(s, e);
	if (!rc && p->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		rc = err_sys(e, ERR_SYS, "no_new_privs");
	/* Without no_new_privs the filter needs CAP_SYS_ADMIN, which goes with the credentials. */
	if (!rc && !p->no_new_privileges)
		rc = process_seccomp(s, e);
	if (!rc)
		rc = process_credentials(s, e);
	if (!rc)
		rc = process_resolve(s, ret_file, e);
	return rc;
}

/* It may wait for long: nothing of the host stays open but what the start needs. */
static void close_for_wait(struct start *s)
{
	/* Who makes no mount namespace may not clone mounts either. */
	int dir = s->fds_dir_fd >= 0 ? s->fds_dir_fd : s->proc_fd;
	int keep[2] = {dir < s->fifo_fd ? dir : s->fifo_fd, dir < s->fifo_fd ? s->fifo_fd : dir};

	s->sync = -1;
	s->c->dir_fd = s->c->cgroup.fd = -1;
	log_to(NULL, NULL, LOG_LVL_ERROR); /* the log's descriptor goes as well */
	fd_close_from(3 + s->preserve_fds, keep, 2);
}

static void end_by_signal(int sig)
{
	_exit(128 + sig);
}

/* The first process of a pid namespace ignores what it does not catch, and a container that waits
 * must end when it is told to. execve(2) takes the handlers off again. */
static void heed_signals(const struct start *s)
{
	static const int ending[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM};
	struct sigaction was;

	for (size_t i = 0; i < ARRAY_SIZE(ending); i++)
		if (sigaction(ending[i], NULL, &was) == 0 && was.sa_handler == SIG_DFL)
			sigaction(ending[i], &(struct sigaction){.sa_handler = end_by_signal},
				  NULL);
	sigprocmask(SIG_SETMASK, &s->saved_mask, NULL);
}

/* Waits for `start`: its opening of the fifo for reading lets our opening for writing return. */
static int wait_for_start(struct start *s, int *ret_fifo, struct err *e)
{
	int rc = s->asks_nothing ? 0 : sync_send(s->sync, SYNC_READY, 0, e);

	if (rc)
		return rc;
	if (s->fifo_fd < 0)
		return sync_wait_go(s->sync, e); /* the state is written, hooks have run */
	close_for_wait(s);
	heed_signals(s);
	char name[16];

	snprintf(name, sizeof(name), "%d", s->fifo_fd);
	int fd = s->fds_dir_fd >= 0 ? path_open(s->fds_dir_fd, name, O_WRONLY, 0)
				    : fd_reopen(s->proc_fd, s->fifo_fd, O_WRONLY);

	if (fd < 0)
		return err_set(e, ERR_SYS, fd, "start fifo: %s", strerror(-fd));
	*ret_fifo = fd;
	return 0;
}

static int run_start_hooks(struct start *s, char *const *env, struct err *e)
{
	const struct spec_hook_list *hooks = &s->spec->hooks.start_container;

	if (!hooks->count)
		return 0;
	json_t *state = container_state_json(s->c, CONTAINER_CREATED);
	_free_ char *text = json_dumps(state, JSON_COMPACT);

	json_decref(state);
	return hooks_run(hooks, "startContainer", text, env, -1, e);
}

void start_as_child(struct start *s)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (s->sync_peer >= 0)
		close(s->sync_peer);
	s->sync_peer = -1;
}

int init_main(struct start *s)
{
	struct err e = {0};
	char *file = NULL;
	int fifo = -1;

	start_as_child(s);
	s->c->init.pid = getpid();
	int rc = make_container(s, &e);

	if (!rc)
		rc = init_prepare_process(s, &file, &e);
	/* The filter holds for startContainer hooks as well, and its listener must be handed over
	 * while the parent is there. */
	if (!rc && s->process->no_new_privileges)
		rc = process_seccomp(s, &e);
	prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
	char **env = rc ? NULL : process_environment(s);

	if (!rc)
		rc = wait_for_start(s, &fifo, &e);
	if (!rc)
		rc = run_start_hooks(s, env, &e);
	if (!rc)
		process_exec(s, file, env, &e);
	/* Whoever waits hears of it: the parent, or `start` at the other end of the fifo. */
	if (s->sync >= 0)
		sync_send_err(s->sync, &e);
	else if (fifo >= 0)
		(void)!write(fifo, e.msg, strlen(e.msg));
	return 1;
}
