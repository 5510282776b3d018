/* The OOM killer's work, as it happens. v1: an eventfd that the memory controller signals (kernel:
 * Documentation/admin-guide/cgroup-v1/memory.rst, "OOM Control"); v2: inotify on the files of
 * events. */
#include "container/cgroup_int.h"

#include "base/cleanup.h"
#include "os/path.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>

static int oom_v1(const char *dir)
{
	char text[64], path[CGROUP_PATH_MAX];

	snprintf(path, sizeof(path), "%.*s/memory.oom_control", CGROUP_PATH_MAX - 32, dir);
	_close_ int control = path_open(AT_FDCWD, path, O_RDONLY, 0);
	_close_ int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (control < 0 || event < 0)
		return control < 0 ? control : -errno;
	snprintf(text, sizeof(text), "%d %d", event, control);
	int rc = cg_write(dir, "cgroup.event_control", text);

	return rc ? rc : STEAL_FD(event);
}

static int oom_v2(const char *dir)
{
	static const char *const files[] = {"memory.events", "cgroup.events"};
	_close_ int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	if (fd < 0)
		return -errno;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		char path[CGROUP_PATH_MAX];

		snprintf(path, sizeof(path), "%.*s/%s", CGROUP_PATH_MAX - 32, dir, files[i]);
		int rc = path_watch(fd, path, IN_MODIFY);

		if (rc < 0)
			return rc;
	}
	return STEAL_FD(fd);
}

int cgroup_oom_fd(const struct cgroup *cg, struct err *e)
{
	const char *dir = cg_dir(cg, "memory");
	int fd = !dir ? -ENOTSUP : cg->mode == CGROUP_V2 ? oom_v2(dir) : oom_v1(dir);

	if (fd >= 0)
		return fd;
	if (!dir || fd == -ENOENT)
		return err_set(e, ERR_CG_UNAVAILABLE, -ENOTSUP,
			       "the container has no group of the memory controller, which knows "
			       "of OOM kills");
	return err_set(e, ERR_SYS, fd, "cannot watch '%s' for OOM kills: %s", dir, strerror(-fd));
}

int cgroup_oom_count(const struct cgroup *cg, uint64_t *ret_count)
{
	const char *dir = cg_dir(cg, "memory");

	if (!dir)
		return -ENOTSUP;
	return cg_read_key(dir, cg->mode == CGROUP_V2 ? "memory.events" : "memory.oom_control",
			   "oom_kill", ret_count);
}
