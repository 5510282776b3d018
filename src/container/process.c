/* What the user's process is given just before execve(2): limits, scheduling, security labels,
 * credentials, working directory, environment, system call filter. Init and exec share it. Order
 * matters and is runc's: what needs rights comes before they go, the filter comes as late as rights
 * allow. */
#include "container/start.h"
#include "container/sync.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/caps.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/keyctl.h>
#include <linux/magic.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define IOPRIO_WHO_PROCESS 1

/* sched_setattr(2); glibc 2.36 has none, and the kernel's header fights with <sched.h>. */
struct scheduler_attr {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

int process_limits(int proc_fd, pid_t pid, const struct spec_process *p, struct err *e)
{
	for (size_t i = 0; i < p->rlimits_count; i++) {
		struct rlimit64 r = {.rlim_cur = p->rlimits[i].soft,
				     .rlim_max = p->rlimits[i].hard};

		if (prlimit64(pid, (enum __rlimit_resource)p->rlimits[i].resource, &r, NULL) < 0)
			return err_sys(
			    e, ERR_SYS, "resource limit %d cannot be set to soft %llu, hard %llu",
			    p->rlimits[i].resource, (unsigned long long)p->rlimits[i].soft,
			    (unsigned long long)p->rlimits[i].hard);
	}
	return 0;
}

int process_oom(int proc_fd, pid_t pid, const struct spec_process *p, struct err *e)
{
	char path[64], text[16];

	if (!p->has_oom_score_adj)
		return 0;
	if (pid)
		snprintf(path, sizeof(path), "%d/oom_score_adj", pid);
	else
		snprintf(path, sizeof(path), "self/oom_score_adj");
	int len = snprintf(text, sizeof(text), "%d", p->oom_score_adj);
	int rc = path_write(proc_fd, path, text, (size_t)len);

	return rc ? err_set(e, ERR_SYS, rc, "oomScoreAdj %d: %s", p->oom_score_adj, strerror(-rc))
		  : 0;
}

/* --- attributes --- */

/* "0-3,7" into a bitmap; -EINVAL, -ERANGE. */
static int parse_list(const char *list, unsigned long *bits, size_t max)
{
	for (const char *p = list; *p;) {
		char *end;
		unsigned long a = strtoul(p, &end, 10), b = a;

		if (end == p)
			return -EINVAL;
		if (*end == '-') {
			p = end + 1;
			b = strtoul(p, &end, 10);
			if (end == p || b < a)
				return -EINVAL;
		}
		if (b >= max)
			return -ERANGE;
		for (; a <= b; a++)
			bits[a / 64] |= 1ul << a % 64;
		while (*end == ',' || *end == ' ' || *end == '\n')
			end++;
		p = end;
	}
	return 0;
}

static int set_affinity(const char *list, struct err *e)
{
	cpu_set_t set[8];

	if (!list || !*list)
		return 0;
	memset(set, 0, sizeof(set));
	int rc = parse_list(list, (unsigned long *)set, sizeof(set) * 8);

	if (rc)
		return err_set(e, ERR_SPEC_VALUE, rc, "CPU affinity '%s' is no list of CPUs", list);
	return sched_setaffinity(0, sizeof(set), set) < 0
		   ? err_sys(e, ERR_SYS, "CPU affinity '%s'", list)
		   : 0;
}

/* The caller may be pinned to a CPU; the container is where its cpuset is, unless exec was told
 * otherwise. */
static int settle_affinity(const struct start *s, struct err *e)
{
	const struct spec_process *p = s->process;
	cpu_set_t all[8];

	if (s->is_exec && p->cpu_affinity_final)
		return set_affinity(p->cpu_affinity_final, e);
	if (s->is_exec && p->cpu_affinity_initial)
		return 0;
	memset(all, 0xff, sizeof(all));
	/* EINVAL: none of the set is there, which cannot be; a filter may refuse the call. */
	sched_setaffinity(0, sizeof(all), all);
	return 0;
}

int process_initial_affinity(const struct spec_process *p, struct err *e)
{
	return set_affinity(p->cpu_affinity_initial, e);
}

static int set_scheduler(const struct spec_scheduler *sc, struct err *e)
{
	struct scheduler_attr a = {.size = sizeof(a),
				   .policy = sc->policy,
				   .flags = sc->flags,
				   .nice = sc->nice,
				   .priority = (uint32_t)sc->priority,
				   .runtime = sc->runtime,
				   .deadline = sc->deadline,
				   .period = sc->period};

	if (!sc->present)
		return 0;
	return syscall(SYS_sched_setattr, 0, &a, 0) < 0 ? err_sys(e, ERR_SYS, "process.scheduler")
							: 0;
}

static int set_memory_policy(const struct spec *spec, struct err *e)
{
	unsigned long nodes[16] = {0};

	if (!spec->has_memory_policy)
		return 0;
	bool some = spec->memory_policy_nodes && *spec->memory_policy_nodes;
	int rc = some ? parse_list(spec->memory_policy_nodes, nodes, sizeof(nodes) * 8) : 0;

	if (rc)
		return err_set(e, ERR_SPEC_VALUE, rc,
			       "linux.memoryPolicy.nodes '%s' is no list of nodes",
			       spec->memory_policy_nodes);
	return syscall(SYS_set_mempolicy, spec->memory_policy_mode, some ? nodes : NULL,
		       some ? sizeof(nodes) * 8 : 0) < 0
		   ? err_sys(e, ERR_SYS, "linux.memoryPolicy")
		   : 0;
}

/* A session keyring of its own: without it the container shares keys with whoever started it. */
static int set_keyring(const struct start *s, struct err *e)
{
	char name[CONTAINER_ID_MAX + 8];

	if (s->opts->no_new_keyring)
		return 0;
	snprintf(name, sizeof(name), "_ses.%s", s->c->id);
	long key = syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name);

	if (key < 0) {
		/* ENOSYS: a kernel without keys, or a filter that hides them; EDQUOT: the user has
		 * too many. */
		if (errno == ENOSYS || errno == EPERM || errno == EDQUOT || errno == EACCES)
			return 0;
		return err_sys(e, ERR_SYS, "session keyring");
	}
	/* The possessor may search it: uid of the process may differ from its maker's (keyctl(2)).
	 */
	syscall(SYS_keyctl, KEYCTL_SETPERM, key, 0x3f3f0000 | 0x080000 /* KEY_USR_SEARCH */);
	return 0;
}

int process_attributes(struct start *s, struct err *e)
{
	const struct spec_process *p = s->process;
	int rc = set_keyring(s, e);

	if (!rc)
		rc = set_scheduler(&p->scheduler, e);
	if (!rc && p->has_ioprio && syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, p->ioprio) < 0)
		rc = err_sys(e, ERR_SYS, "process.ioPriority");
	if (!rc && s->spec->has_personality && personality(s->spec->personality) < 0)
		rc = err_sys(e, ERR_SYS, "linux.personality");
	if (!rc)
		rc = set_memory_policy(s->spec, e);
	if (!rc)
		rc = settle_affinity(s, e);
	return rc;
}

/* --- credentials and working directory --- */

/* getcwd(2) prints "(unreachable)" for a directory outside the root: the fd-leak class
 * (CVE-2024-21626). */
static int verify_cwd(struct err *e)
{
	char path[PATH_MAX];

	if (syscall(SYS_getcwd, path, sizeof(path)) < 0 || path[0] != '/')
		return err_set(
		    e, ERR_CT_CWD, -EPERM,
		    "current working directory is outside of container mount namespace root "
		    "-- possible container breakout detected");
	return 0;
}

static int set_ids(const struct start *s, struct err *e)
{
	const struct spec_user *u = &s->process->user;
	char answer[8] = "";

	/* An ordinary user's namespace may deny setgroups; then asking for groups is an error,
	 * keeping none is not. */
	int n = path_read_line(s->proc_fd, "self/setgroups", answer, sizeof(answer));
	bool denied = n > 0 && str_eq(answer, "deny");

	if (denied && u->additional_gids_count)
		return err_set(e, ERR_CT_IDMAP, -EPERM,
			       "cannot set any additional groups in a rootless container");
	if (!denied && setgroups(u->additional_gids_count, u->additional_gids) < 0)
		return err_sys(e, ERR_CT_IDMAP, "additional groups");
	if (setresgid(u->gid, u->gid, u->gid) < 0)
		return err_sys(e, ERR_CT_IDMAP, "group %u%s", u->gid,
			       errno == EINVAL ? " is not mapped in the user namespace" : "");
	if (setresuid(u->uid, u->uid, u->uid) < 0)
		return err_sys(e, ERR_CT_IDMAP, "user %u%s", u->uid,
			       errno == EINVAL ? " is not mapped in the user namespace" : "");
	return 0;
}

static int set_caps(const struct spec_caps *caps, struct err *e)
{
	uint64_t known = caps_last() >= 63 ? UINT64_MAX : (1ull << (caps_last() + 1)) - 1;
	uint64_t effective, permitted, inheritable;

	caps_get(&effective, &permitted, &inheritable);
	/* What the caller itself lacks cannot be given; runc ignores it as well. */
	uint64_t can = permitted & known;
	int rc = caps_set(caps->effective & can & caps->permitted, caps->permitted & can,
			  caps->inheritable & can);

	if (rc)
		return err_set(e, ERR_SYS, rc, "capabilities: %s", strerror(-rc));
	caps_clear_ambient();
	for (int cap = 0; cap <= caps_last(); cap++) {
		if (!(caps->ambient >> cap & 1))
			continue;
		rc = caps_raise_ambient(cap);
		if (rc)
			log_warn("can't raise ambient capability %s: %s", spec_cap_name(cap),
				 strerror(-rc));
	}
	return 0;
}

int process_credentials(struct start *s, struct err *e)
{
	const struct spec_process *p = s->process;
	struct spec_caps none = {0};
	const struct spec_caps *caps = p->has_caps ? &p->caps : &none;
	const char *cwd = p->cwd && *p->cwd ? p->cwd : "/";
	int rc = 0;

	/* None given is none: the runtime's own are not the container's. */
	rc = caps_bound(caps->bounding);
	if (rc)
		return err_set(e, ERR_SYS, rc, "capability bounding set: %s", strerror(-rc));
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return err_sys(e, ERR_SYS, "keeping capabilities");
	/* As root first: the directory may be closed to the user, as under runc; and again as the
	 * user. */
	bool entered = chdir(cwd) == 0;

	if (!entered && errno != EACCES && errno != EPERM)
		return err_sys(e, ERR_CT_CWD, "chdir to cwd ('%s') set in config.json failed", cwd);
	rc = set_ids(s, e);
	if (rc)
		return rc;
	if (!entered && chdir(cwd) < 0)
		return err_sys(e, ERR_CT_CWD, "chdir to cwd ('%s') set in config.json failed", cwd);
	rc = verify_cwd(e);
	if (rc)
		return rc;
	rc = set_caps(caps, e);
	prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0);
	umask(p->user.has_umask ? p->user.umask : 0022);
	return rc;
}

/* --- environment and program --- */

static const char *env_value(char *const *env, const char *name)
{
	const char *found = NULL;

	for (; *env; env++) {
		const char *v = str_after(*env, name);

		if (v && *v == '=')
			found = v + 1; /* the last one counts */
	}
	return found;
}

/* The home directory in the container's own /etc/passwd; foreign text, read with a bound. Returns
 * owned or NULL. */
static char *passwd_home(uid_t uid)
{
	enum { PASSWD_MAX = 1 << 20 };
	_buf_ struct buf text = {0};
	_close_ int fd = path_open(AT_FDCWD, "/etc/passwd", O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    fd_read_all(fd, &text, PASSWD_MAX))
		return NULL;
	for (char *save, *line = text.len ? strtok_r(text.s, "\n", &save) : NULL; line;
	     line = strtok_r(NULL, "\n", &save)) {
		char *field[7] = {0};
		uint64_t id;
		int n = 0;

		for (char *p = line; p && n < 7;)
			field[n++] = strsep(&p, ":");
		if (n >= 6 && str_to_u64(field[2], &id) == 0 && id == uid)
			return mem_strdup(field[5]);
	}
	return NULL;
}

/* Go's spelling, by which podman and dockerd tell a missing program (127) from one that may not be
 * executed (126). */
static const char *reason(int rc)
{
	return rc == -ENOENT   ? "no such file or directory"
	       : rc == -EACCES ? "permission denied"
			       : strerror(-rc);
}

/* As the shell does it: a name with a slash is a path; others are searched in PATH of the
 * container's environment. */
static int find_program(const char *name, const char *path, char **ret, struct err *e)
{
	struct stat st;

	if (!*name)
		return err_set(e, ERR_CT_EXEC, -ENOENT, "exec: \"\": process.args[0] is empty");
	if (strchr(name, '/')) {
		int rc = path_stat(AT_FDCWD, name, &st);

		if (!rc && S_ISDIR(st.st_mode))
			return err_set(e, ERR_CT_EXEC, -EACCES,
				       "exec: \"%s\": is a directory: permission denied", name);
		if (!rc)
			rc = path_access(AT_FDCWD, name, X_OK);
		if (rc)
			return err_set(e, ERR_CT_EXEC, rc, "exec: \"%s\": stat %s: %s", name, name,
				       reason(rc));
		*ret = mem_strdup(name);
		return 0;
	}
	_free_ char *dirs = mem_strdup(path ? path : "");
	int rc = -ENOENT;

	for (char *rest = dirs, *dir; (dir = strsep(&rest, ":"));) {
		_free_ char *file = mem_printf("%s/%s", *dir ? dir : ".", name);

		if (path_stat(AT_FDCWD, file, &st) || !S_ISREG(st.st_mode))
			continue;
		if (path_access(AT_FDCWD, file, X_OK) == 0) {
			*ret = STEAL(file);
			return 0;
		}
		rc = -EACCES;
	}
	return err_set(e, ERR_CT_EXEC, rc, "exec: \"%s\": %s", name,
		       rc == -ENOENT ? "executable file not found in $PATH" : "permission denied");
}

int process_resolve(struct start *s, char **ret_file, struct err *e)
{
	const struct spec_process *p = s->process;

	return find_program(p->args[0], env_value(p->env, "PATH"), ret_file, e);
}

int process_seccomp(struct start *s, struct err *e)
{
	int listener = -1;

	if (!s->spec->seccomp.present)
		return 0;
	int rc = seccomp_prog_load(&s->spec->seccomp, &s->filter, &listener, e);

	if (rc || listener < 0)
		return rc;
	/* The agent must have the listener before anything is notified; write(2) and friends never
	 * are (checked when the profile was parsed), so this question can be asked. */
	rc = sync_ask(s->sync, SYNC_LISTENER, listener, e);
	close(listener);
	return rc;
}

char **process_environment(const struct start *s)
{
	const struct spec_process *p = s->process;
	size_t n = 0;

	while (p->env[n])
		n++;
	char **env = mem_array(n + 4, sizeof(*env));

	/* A variable given twice counts once, the last: programs disagree about which they take. */
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		size_t name = strcspn(p->env[i], "=");
		bool again = false;

		if (str_eq(p->env[i], "HOME="))
			continue; /* empty is as good as not given: below */
		for (size_t k = i + 1; k < n && !again; k++)
			again = !strncmp(p->env[i], p->env[k], name) && p->env[k][name] == '=';
		if (!again)
			env[kept++] = p->env[i];
	}
	if (!env_value(p->env, "HOME") || !*env_value(p->env, "HOME")) {
		_free_ char *home = passwd_home(p->user.uid);

		env[kept++] = mem_printf("HOME=%s", home && *home ? home : "/");
	}
	if (s->notify_dir_fd >= 0)
		env[kept++] = mem_strdup("NOTIFY_SOCKET=/run/notify/notify.sock");
	const char *fds = getenv("LISTEN_FDS");

	if (fds && s->preserve_fds > 0 && !env_value(p->env, "LISTEN_FDS")) {
		env = mem_grow(env, kept + 4, sizeof(*env));
		env[kept++] = mem_printf("LISTEN_FDS=%s", fds);
		env[kept++] = mem_strdup("LISTEN_PID=1");
		env[kept] = NULL;
	}
	return env;
}

void process_exec(struct start *s, const char *file, char *const *env, struct err *e)
{
	sigprocmask(SIG_SETMASK, &s->saved_mask, NULL);
	fd_cloexec_from(3 + s->preserve_fds);
	execve(file, s->process->args, env);
	int rc = -errno;

	err_set(e, ERR_CT_EXEC, rc, "exec %s: %s", file, reason(rc));
}
