/* events: figures at intervals and OOM notices, one JSON object a line, until the container ends.
 */
#include "cmd/runtime.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "os/proc.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

struct watch {
	const struct container *ct;
	int pidfd;     /* its init */
	int oom_fd;    /* -1: this host cannot tell */
	uint64_t ooms; /* kills that were told already */
};

/* {"type":"stats","id":"…","data":{…}} */
static int print_event(const struct container *ct, const char *type, const char *data)
{
	_buf_ struct buf line = {0};

	buf_addf(&line, "{\"type\":\"%s\",\"id\":", type);
	buf_add_json_string(&line, ct->id);
	if (data)
		buf_addf(&line, ",\"data\":%s", data);
	buf_adds(&line, "}\n");
	return fputs(buf_str(&line), stdout) < 0 || fflush(stdout) ? -EPIPE : 0;
}

static int print_stats(const struct container *ct, struct err *e)
{
	_buf_ struct buf data = {0};
	int rc = cgroup_stats(&ct->cgroup, &data, e);

	if (rc)
		return rc;
	if (print_event(ct, "stats", buf_str(&data)))
		return err_set(e, ERR_SYS, -EPIPE, "cannot write to standard output");
	return 0;
}

static long long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ll + t.tv_nsec / 1000000;
}

/* v1 signals the eventfd for each OOM, and when the group goes; v2 tells of any change of the two
 * event files. */
static int take_oom(struct watch *w)
{
	char drain[4096];
	uint64_t count = 0;

	while (read(w->oom_fd, drain, sizeof(drain)) > 0)
		;
	if (!cgroup_exists(&w->ct->cgroup) || cgroup_oom_count(&w->ct->cgroup, &count))
		return 0;
	if (w->ct->cgroup.mode == CGROUP_V2 && count <= w->ooms)
		return 0;
	w->ooms = count;
	return print_event(w->ct, "oom", NULL);
}

static int watch_loop(struct watch *w, long long interval_ms, struct err *e)
{
	for (long long next = now_ms() + interval_ms;;) {
		struct pollfd fds[] = {{.fd = w->pidfd, .events = POLLIN},
				       {.fd = w->oom_fd, .events = POLLIN}};
		long long left = next - now_ms();
		int n = poll(fds, 2, left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left);

		if (n < 0 && errno != EINTR)
			return err_sys(e, ERR_SYS, "poll");
		if (n > 0 && fds[1].revents && take_oom(w))
			return err_set(e, ERR_SYS, -EPIPE, "cannot write to standard output");
		if (n > 0 && fds[0].revents)
			return 0;
		if (now_ms() < next)
			continue;
		int rc = print_stats(w->ct, e);

		if (rc) /* its groups go a moment before its init is reaped */
			return rc == -ENOENT ? 0 : rc;
		next += interval_ms;
	}
}

int runtime_events(struct cli *c)
{
	_container_ struct container ct = {.dir_fd = -1, .cgroup.fd = -1};
	struct err e = {0};
	long long interval_ms = cli_int(c, "interval");
	_close_ int root = -1, pidfd = -1, oom_fd = -1;

	if (interval_ms <= 0) {
		err_set(&e, ERR_USAGE, -EINVAL, "duration interval must be greater than 0");
		return runtime_fail(c, &e, 1);
	}
	root = runtime_root(c, false);
	if (root < 0)
		return 1;
	int rc = container_load(root, cli_argv(c)[0], false, &ct, &e);

	if (!rc && container_status(&ct) == CONTAINER_STOPPED)
		rc =
		    err_set(&e, ERR_CT_STATE, -ESRCH, "container with id %s is not running", ct.id);
	if (!rc && cli_bool(c, "stats")) {
		rc = print_stats(&ct, &e);
	} else if (!rc) {
		pidfd = proc_pidfd(ct.init.pid, ct.init.start);
		oom_fd = cgroup_oom_fd(&ct.cgroup, NULL);
		struct watch w = {.ct = &ct, .pidfd = pidfd, .oom_fd = oom_fd};

		cgroup_oom_count(&ct.cgroup, &w.ooms);
		rc = pidfd < 0 ? 0 : watch_loop(&w, interval_ms, &e);
	}
	return rc ? runtime_fail(c, &e, 1) : 0;
}
