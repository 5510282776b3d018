/* Namespaces. The fast way is one clone3(2) with every new namespace in it: the parent's child is
 * the container's init. Namespaces that are joined, and time offsets (which must be written while
 * the time namespace is still empty), need a process that has prepared itself: an intermediate,
 * which makes init as its sibling (CLONE_PARENT) and goes. The cgroup namespace is never in clone3,
 * because its root must be the group that init joined: ns_unshare_late(). */
#include "container/start.h"
#include "container/sync.h"
#include "base/cleanup.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static bool has_time_offsets(const struct spec *spec)
{
	return spec->time_monotonic.given || spec->time_boottime.given;
}

/* Those that clone3 makes. */
static uint64_t new_flags(const struct start *s, bool intermediate)
{
	uint64_t flags = 0;

	for (int i = 0; i < SPEC_NS_COUNT; i++)
		if (s->spec->ns[i].present && !s->spec->ns[i].path)
			flags |= spec_ns_info[i].flag;
	flags &= ~(uint64_t)CLONE_NEWCGROUP;
	if (intermediate) /* it has made these itself */
		flags &= ~(uint64_t)(CLONE_NEWUSER | CLONE_NEWTIME);
	return flags;
}

bool ns_needs_intermediate(const struct start *s)
{
	for (int i = 0; i < SPEC_NS_COUNT; i++)
		if (s->spec->ns[i].path)
			return true;
	/* systemd makes no empty scope: it is made around the intermediate, and init is born there.
	 */
	return has_time_offsets(s->spec) || s->c->cgroup.systemd;
}

static pid_t clone_init(struct start *s, uint64_t flags, bool sibling)
{
	struct clone_args a = {.flags = flags | (sibling ? CLONE_PARENT : 0),
			       .exit_signal = sibling ? 0 : SIGCHLD};
	/* An intermediate has joined the group before it entered a user namespace that may not;
	 * init inherits that. */
	int group = sibling ? -1 : cgroup_clone_fd(&s->c->cgroup);

	if (group >= 0) {
		a.flags |= CLONE_INTO_CGROUP;
		a.cgroup = (uint64_t)group;
	}
	return (pid_t)syscall(SYS_clone3, &a, sizeof(a));
}

static int clone_failed(const struct start *s, struct err *e)
{
	if (errno == EPERM && s->rootless)
		return err_sys(e, ERR_DENIED, "namespaces cannot be made by this user");
	if (errno == ENOSPC)
		return err_set(
		    e, ERR_SYS, -ENOSPC,
		    "too many namespaces (see /proc/sys/user/max_*_namespaces), or nested "
		    "too deeply");
	if (errno == EINVAL)
		return err_set(
		    e, ERR_UNSUPPORTED, -EINVAL,
		    "this kernel lacks one of the namespaces that the configuration asks for");
	return err_sys(e, ERR_SYS, "namespaces cannot be made");
}

static int join(const struct start *s, enum spec_ns ns, struct err *e)
{
	const struct spec_ns_info *info = &spec_ns_info[ns];
	const char *path = s->spec->ns[ns].path;
	_close_ int fd = path_open(AT_FDCWD, path, O_RDONLY, 0);

	if (fd < 0)
		return err_set(e, ERR_SYS, fd, "%s namespace '%s': %s", info->name, path,
			       strerror(-fd));
	int type = ioctl(fd, NS_GET_NSTYPE);

	if (type < 0 || (uint64_t)type != info->flag)
		return err_set(e, ERR_SPEC_VALUE, -EINVAL, "'%s' is no %s namespace", path,
			       info->name);
	if (setns(fd, (int)info->flag) < 0)
		return err_sys(e, ERR_SYS, "joining %s namespace '%s'", info->name, path);
	return 0;
}

static int write_time_offsets(const struct start *s, struct err *e)
{
	char text[128] = "";
	int n = 0;

	if (s->spec->time_monotonic.given)
		n = snprintf(text, sizeof(text), "monotonic %lld %u\n",
			     (long long)s->spec->time_monotonic.secs,
			     s->spec->time_monotonic.nanosecs);
	if (s->spec->time_boottime.given)
		n += snprintf(text + n, sizeof(text) - (size_t)n, "boottime %lld %u\n",
			      (long long)s->spec->time_boottime.secs,
			      s->spec->time_boottime.nanosecs);
	/* A change of ids has made /proc/self root's, and not this namespace's root. */
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	int rc = path_write(s->proc_fd, "self/timens_offsets", text, (size_t)n);

	return rc ? err_set(e, ERR_SYS, rc, "time offsets: %s", strerror(-rc)) : 0;
}

/* Joins what joined[] does not have yet, the mount namespace excepted. Not strict: leaves out what
 * the caller has no rights over. */
static int join_others(const struct start *s, bool *joined, bool strict, struct err *e)
{
	for (int i = SPEC_NS_PID; i < SPEC_NS_COUNT; i++) {
		if (!s->spec->ns[i].path || i == SPEC_NS_MOUNT || joined[i])
			continue;
		int rc = join(s, (enum spec_ns)i, e);

		joined[i] = !rc;
		if (rc && (strict || rc != -EPERM))
			return rc;
		if (rc)
			*e = (struct err){0};
	}
	return 0;
}

static int enter_userns(struct start *s, struct err *e)
{
	int rc = 0;

	if (s->spec->ns[SPEC_NS_USER].path)
		rc = join(s, SPEC_NS_USER, e);
	else if (unshare(CLONE_NEWUSER) < 0)
		rc = err_sys(e, ERR_SYS, "user namespace cannot be made");
	else
		rc = sync_ask(s->sync, SYNC_MAPS, 0, e);
	return rc ? rc : idmap_become_root(e);
}

static int prepare_intermediate(struct start *s, struct err *e)
{
	const struct spec *spec = s->spec;
	bool joined[SPEC_NS_COUNT] = {false};
	int rc = 0;

	/* The user namespace gives the rights over those that it owns, and takes away those over
	 * the caller's: the others are tried before it and after it. The mount namespace is last,
	 * because the paths are of the present one. */
	if (spec->ns[SPEC_NS_USER].present) {
		rc = join_others(s, joined, false, e);
		if (!rc)
			rc = enter_userns(s, e);
	}
	if (!rc)
		rc = join_others(s, joined, true, e);
	if (!rc && spec->ns[SPEC_NS_MOUNT].path)
		rc = join(s, SPEC_NS_MOUNT, e);
	if (rc || !spec->ns[SPEC_NS_TIME].present || spec->ns[SPEC_NS_TIME].path)
		return rc;
	if (unshare(CLONE_NEWTIME) < 0)
		return err_sys(e, ERR_SYS, "time namespace cannot be made");
	return has_time_offsets(spec) ? write_time_offsets(s, e) : 0;
}

static void intermediate(struct start *s, int (*child)(struct start *))
{
	struct err e = {0};

	start_as_child(s);
	int rc = 0;

	if (s->c->cgroup.systemd)
		rc = sync_ask(s->sync, SYNC_CGROUP, 0, &e);
	if (!rc)
		rc = cgroup_join_self(&s->c->cgroup, &e);
	s->joined = true;
	if (!rc)
		rc = prepare_intermediate(s, &e);

	if (!rc) {
		pid_t pid = clone_init(s, new_flags(s, true), true);

		if (pid == 0)
			_exit(child(s));
		rc = pid < 0 ? clone_failed(s, &e) : sync_send(s->sync, SYNC_PID, pid, &e);
	}
	if (rc)
		sync_send_err(s->sync, &e);
	_exit(rc ? 1 : 0);
}

int ns_clone(struct start *s, int (*child)(struct start *), pid_t *ret_pid, struct err *e)
{
	if (!ns_needs_intermediate(s)) {
		pid_t pid = clone_init(s, new_flags(s, false), false);

		if (pid == 0)
			_exit(child(s));
		if (pid < 0)
			return clone_failed(s, e);
		*ret_pid = pid;
		return 0;
	}
	pid_t pid = fork();

	if (pid < 0)
		return err_sys(e, ERR_SYS, "fork");
	if (pid == 0)
		intermediate(s, child);
	*ret_pid = -pid; /* the caller learns init's pid by SYNC_PID and reaps this one */
	return 0;
}

int ns_unshare_late(const struct start *s, struct err *e)
{
	const struct spec *spec = s->spec;

	if (!spec->ns[SPEC_NS_CGROUP].present || spec->ns[SPEC_NS_CGROUP].path)
		return 0;
	return unshare(CLONE_NEWCGROUP) < 0 ? err_sys(e, ERR_SYS, "cgroup namespace cannot be made")
					    : 0;
}
