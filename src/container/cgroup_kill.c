/* The processes of a container as a set: list, stop, signal them all; and the end, when the
 * directories go. */
#include "container/cgroup_int.h"

#include "base/cleanup.h"
#include "base/str.h"
#include "base/vec.h"
#include "os/path.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define PIDS_MAX          (4u << 20) /* the kernel's own bound of pids */
#define FREEZE_TRIES      1000
#define KILL_PASSES       100
#define REMOVE_FIRST_US   100
#define REMOVE_TOTAL_US   (10 * 1000 * 1000)
#define REMOVE_LONGEST_US (1000 * 1000)

static void sleep_us(long us)
{
	struct timespec t = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};

	nanosleep(&t, NULL);
}

/* --- listing --- */

struct pid_list {
	VEC(pid_t) pids;
	int depth;
};

static int list_one(const char *dir, struct pid_list *l)
{
	_buf_ struct buf text = {0};
	int rc = cg_read(dir, "cgroup.procs", &text);

	if (rc == -EOPNOTSUPP) /* a threaded group of v2 */
		rc = cg_read(dir, "cgroup.threads", &text);
	if (rc)
		return rc == -ENODEV ? -ENOENT : rc;
	char *save;

	for (char *p = strtok_r(text.s, "\n", &save); p; p = strtok_r(NULL, "\n", &save)) {
		uint64_t pid;

		if (l->pids.n >= PIDS_MAX)
			return -E2BIG;
		/* 0: a process of another pid namespace, which cannot be named from here */
		if (!str_to_u64(p, &pid) && pid > 0 && pid <= INT32_MAX)
			vec_push(&l->pids, (pid_t)pid);
	}
	return 0;
}

static int list_tree(void *arg, const char *dir)
{
	struct pid_list *l = arg;
	int rc = list_one(dir, l);

	if (rc)
		return rc == -ENOENT ? 0 : rc;
	if (++l->depth > CGROUP_DEPTH_MAX)
		return -ELOOP;
	rc = cg_each_child(dir, list_tree, l);
	l->depth--;
	return rc == -ENOENT ? 0 : rc;
}

int cgroup_pids(const struct cgroup *cg, pid_t **ret_pids, size_t *ret_count, struct err *e)
{
	struct pid_list l = {0};
	const char *dir = cg_main_dir(cg);

	if (!dir)
		return err_set(e, ERR_CG_UNAVAILABLE, -ENOENT,
			       "the container has no control group");
	int rc = list_tree(&l, dir);

	if (rc) {
		vec_done(&l.pids);
		return err_set(e, ERR_SYS, rc, "cannot list the processes in '%s': %s", dir,
			       strerror(-rc));
	}
	*ret_pids = l.pids.v;
	*ret_count = l.pids.n;
	return 0;
}

/* --- freezing --- */

/* v1 cannot freeze a group reliably while processes are born in it: FREEZING then stays, and the
 * cure of the kernel's documentation is to try again, thawing at times (freezer-subsystem.txt). */
static int freeze_v1(const char *dir, struct err *e)
{
	for (int i = 0; i < FREEZE_TRIES; i++) {
		char state[16], path[CGROUP_PATH_MAX];

		if (i % 50 == 49) {
			cg_write(dir, "freezer.state", "THAWED");
			sleep_us(10000);
		}
		int rc = cg_write(dir, "freezer.state", "FROZEN");

		if (!rc && i % 25 == 24)
			sleep_us(10);
		snprintf(path, sizeof(path), "%s/freezer.state", dir);
		if (!rc)
			rc = path_read_line(AT_FDCWD, path, state, sizeof(state));
		if (rc < 0)
			return err_set(e, ERR_SYS, rc, "cannot freeze '%s': %s", dir,
				       strerror(-rc));
		if (str_eq(state, "FROZEN"))
			return 0;
	}
	cg_write(dir, "freezer.state", "THAWED");
	return err_set(e, ERR_TIMEOUT, -ETIMEDOUT,
		       "cannot freeze '%s': it stays in the state FREEZING", dir);
}

static int freeze_v2(const char *dir, bool frozen, struct err *e)
{
	int rc = cg_write(dir, "cgroup.freeze", frozen ? "1" : "0");
	uint64_t now = !frozen;

	for (int i = 0; !rc && i < FREEZE_TRIES; i++) {
		rc = cg_read_key(dir, "cgroup.events", "frozen", &now);
		if (rc || now == frozen)
			break;
		sleep_us(i < 10 ? 100 : 10000);
	}
	if (!rc && now == frozen)
		return 0;
	if (frozen)
		cg_write(dir, "cgroup.freeze", "0");
	return err_set(e, rc ? ERR_SYS : ERR_TIMEOUT, rc ? rc : -ETIMEDOUT, "cannot %s '%s': %s",
		       frozen ? "freeze" : "thaw", dir, strerror(rc ? -rc : ETIMEDOUT));
}

int cgroup_freeze(const struct cgroup *cg, bool frozen, struct err *e)
{
	const char *dir = cg_dir(cg, "freezer");

	if (!dir)
		return err_set(e, ERR_CG_UNAVAILABLE, -ENOENT,
			       "cannot pause or resume: the container has no group in the freezer");
	if (cg->mode == CGROUP_V2)
		return freeze_v2(dir, frozen, e);
	if (frozen)
		return freeze_v1(dir, e);
	return cg_set(e, dir, "freezer.state", "THAWED");
}

bool cgroup_is_frozen(const struct cgroup *cg)
{
	const char *dir = cg_dir(cg, "freezer");
	uint64_t self = 0;

	if (!dir)
		return false;
	/* What was asked for, not what an ancestor's freezing adds; the files of both versions hold
	 * 0 or 1. */
	return !cg_read_u64(dir, cg->mode == CGROUP_V2 ? "cgroup.freeze" : "freezer.self_freezing",
			    &self) &&
	       self == 1;
}

/* --- signals --- */

/* One pass. *ret_count: how many there were. */
static int signal_all(const struct cgroup *cg, int sig, size_t *ret_count, struct err *e)
{
	_free_ pid_t *pids = NULL;
	int rc = cgroup_pids(cg, &pids, ret_count, e);

	for (size_t i = 0; !rc && i < *ret_count; i++)
		if (kill(pids[i], sig) < 0 && errno != ESRCH)
			rc = err_sys(e, ERR_SYS, "cannot signal process %d", pids[i]);
	return rc;
}

/* A frozen group cannot fork, so one pass finds all; without a freezer, passes follow until nobody
 * is left. */
static int kill_v1(const struct cgroup *cg, struct err *e)
{
	size_t count = 0;
	int rc = signal_all(cg, SIGKILL, &count, e);

	if (rc || !count) /* the usual case: they died with their init */
		return rc;
	bool frozen = cg_dir(cg, "freezer") && !cgroup_freeze(cg, true, NULL);

	rc = signal_all(cg, SIGKILL, &count, e);

	if (cg_dir(cg, "freezer")) {
		int thaw_rc = cgroup_freeze(cg, false, rc ? NULL : e);

		rc = rc ? rc : thaw_rc;
	}
	for (int i = 0; !rc && !frozen && count && i < KILL_PASSES; i++) {
		sleep_us(1000);
		rc = signal_all(cg, SIGKILL, &count, e);
	}
	return rc;
}

int cgroup_kill(const struct cgroup *cg, int sig, struct err *e)
{
	size_t count = 0;

	if (!cg->made)
		return 0;
	if (sig != SIGKILL)
		return signal_all(cg, sig, &count, e);
	if (cg->mode != CGROUP_V2)
		return kill_v1(cg, e);
	int rc = cg_write(cg->path, "cgroup.kill", "1"); /* Linux 5.14 */

	if (!rc || rc == -ENODEV)
		return 0;
	return cgroup_exists(cg) ? kill_v1(cg, e) : 0;
}

/* --- the end --- */

static int remove_now(void *arg, const char *dir)
{
	int *depth = arg;
	int rc = path_rmdir(AT_FDCWD, dir);

	if (!rc || rc == -ENOENT)
		return 0;
	/* The reason may be groups that the container made, processes that are about to vanish, or
	 * a read-only mount, where even a missing directory yields EROFS. */
	if (++*depth > CGROUP_DEPTH_MAX)
		return -ELOOP;
	int below = cg_each_child(dir, remove_now, depth);

	--*depth;
	if (below == -ENOENT)
		return 0;
	rc = below ? below : path_rmdir(AT_FDCWD, dir);
	return rc == -ENOENT ? 0 : rc;
}

int cg_remove(const char *dir)
{
	int depth = 0, rc = remove_now(&depth, dir);

	for (long wait = REMOVE_FIRST_US, total = 0; rc == -EBUSY && total < REMOVE_TOTAL_US;) {
		sleep_us(wait);
		total += wait;
		wait = wait * 2 > REMOVE_LONGEST_US ? REMOVE_LONGEST_US : wait * 2;
		rc = remove_now(&depth, dir);
	}
	return rc;
}

int cgroup_destroy(struct cgroup *cg, struct err *e)
{
	int rc = cg->systemd && cg->made ? cg_systemd_stop(cg, e) : 0;

	for (size_t i = 0; i < cg->v1_count || (cg->mode == CGROUP_V2 && i == 0); i++) {
		const char *dir = cg->mode == CGROUP_V2 ? cg->path : cg->v1[i].path;
		int one = 0;

		if (*dir && cg->made)
			one = cg_remove(dir);
		else if (*dir)
			path_rmdir(AT_FDCWD,
				   dir); /* fails where it is another's: that has processes */

		if (one && !rc)
			rc = err_set(e, one == -EBUSY ? ERR_CT_STATE : ERR_SYS, one,
				     "cannot remove the control group '%s': %s", dir,
				     one == -EBUSY ? "it still has processes" : strerror(-one));
	}
	return rc;
}
