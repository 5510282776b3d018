/* User and group id maps (user_namespaces(7)). Who may write which map:
 *   root of the initial user namespace      anything, straight into /proc/PID/uid_map
 *   an ordinary user, one entry, own id     straight, after "deny" went to setgroups
 *   an ordinary user, anything else         through the set-uid programs newuidmap and newgidmap */
#include "container/start.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void map_text(struct buf *b, const struct spec_idmap *maps, size_t count)
{
	for (size_t i = 0; i < count; i++)
		buf_addf(b, "%u %u %u\n", maps[i].container_id, maps[i].host_id, maps[i].size);
}

static int write_map(int proc_fd, pid_t pid, const char *file, const struct spec_idmap *maps,
		     size_t count)
{
	_buf_ struct buf text = {0};
	char path[64];

	map_text(&text, maps, count);
	snprintf(path, sizeof(path), "%d/%s", pid, file);
	return path_write(proc_fd, path, text.s, text.len);
}

/* newuidmap PID CONTAINER HOST SIZE … ; found in PATH, because distributions disagree about the
 * place. */
static int run_helper(const char *program, pid_t pid, const struct spec_idmap *maps, size_t count,
		      struct err *e)
{
	enum { ARGS_MAX = 2 + 3 * 340 }; /* the kernel takes 340 lines */
	static char words[ARGS_MAX][12];
	char *argv[ARGS_MAX + 1];
	size_t n = 0;

	if (count > 340)
		return err_set(e, ERR_CT_IDMAP, -EINVAL, "%zu id mappings: the kernel takes 340",
			       count);
	snprintf(words[0], sizeof(words[0]), "%d", pid);
	argv[n++] = (char *)(uintptr_t)program;
	argv[n++] = words[0];
	for (size_t i = 0; i < count; i++) {
		const uint32_t v[3] = {maps[i].container_id, maps[i].host_id, maps[i].size};

		for (size_t k = 0; k < 3; k++, n++) {
			snprintf(words[n], sizeof(words[n]), "%u", v[k]);
			argv[n] = words[n];
		}
	}
	argv[n] = NULL;
	pid_t child = fork();

	if (child < 0)
		return err_sys(e, ERR_CT_IDMAP, "cannot run %s", program);
	if (child == 0) {
		execvp(program, argv);
		_exit(errno == ENOENT ? 127 : 126);
	}
	int status;

	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return err_set(
		    e, ERR_CT_IDMAP, -ENOENT,
		    "%s is not installed: an ordinary user needs it for more than one id "
		    "(Debian's package uidmap)",
		    program);
	return err_set(e, ERR_CT_IDMAP, -EPERM,
		       "%s refused the mapping: check /etc/subuid and /etc/subgid", program);
}

static bool is_own_id(const struct spec_idmap *maps, size_t count, uint32_t id)
{
	return count == 1 && maps[0].size == 1 && maps[0].host_id == id;
}

int idmap_write(int proc_fd, pid_t pid, const struct spec_idmaps *maps, bool rootless,
		struct err *e)
{
	char path[64];
	int rc;

	if (maps->gid_count) {
		bool own = is_own_id(maps->gid, maps->gid_count, getegid());

		if (rootless && own) {
			snprintf(path, sizeof(path), "%d/setgroups", pid);
			rc = path_write(proc_fd, path, "deny", 4);
			if (rc && rc != -ENOENT)
				return err_set(e, ERR_CT_IDMAP, rc, "setgroups: %s", strerror(-rc));
		}
		rc = write_map(proc_fd, pid, "gid_map", maps->gid, maps->gid_count);
		if (rc == -EPERM && rootless)
			rc = run_helper("newgidmap", pid, maps->gid, maps->gid_count, e);
		else if (rc)
			err_set(e, ERR_CT_IDMAP, rc, "gid_map: %s", strerror(-rc));
		if (rc)
			return rc;
	}
	if (!maps->uid_count)
		return 0;
	rc = write_map(proc_fd, pid, "uid_map", maps->uid, maps->uid_count);
	if (rc == -EPERM && rootless)
		return run_helper("newuidmap", pid, maps->uid, maps->uid_count, e);
	return rc ? err_set(e, ERR_CT_IDMAP, rc, "uid_map: %s", strerror(-rc)) : 0;
}

int idmap_become_root(struct err *e)
{
	/* setgroups may be denied in this namespace; what matters is that we are 0:0. */
	if (setgroups(0, NULL) < 0 && errno != EPERM)
		return err_sys(e, ERR_CT_IDMAP, "setgroups");
	if (setresgid(0, 0, 0) < 0)
		return err_sys(e, ERR_CT_IDMAP, "group 0 is not mapped in the user namespace");
	if (setresuid(0, 0, 0) < 0)
		return err_sys(e, ERR_CT_IDMAP, "user 0 is not mapped in the user namespace");
	return 0;
}

int idmap_userns_fd(const struct spec_idmaps *maps, struct err *e)
{
	int ready[2], fd = -1;
	pid_t child;

	if (pipe2(ready, O_CLOEXEC) < 0)
		return err_sys(e, ERR_CT_IDMAP, "pipe");
	child = fork();
	if (child < 0) {
		close(ready[0]);
		close(ready[1]);
		return err_sys(e, ERR_CT_IDMAP, "fork");
	}
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		char ok = unshare(CLONE_NEWUSER) == 0;

		(void)!write(ready[1], &ok, 1);
		pause();
		_exit(0);
	}
	char ok = 0;
	_close_ int proc_fd = path_open(AT_FDCWD, "/proc", O_PATH | O_DIRECTORY, 0);
	ssize_t n = read(ready[0], &ok, 1);
	int rc;

	if (n != 1 || !ok)
		rc = err_set(e, ERR_CT_IDMAP, -EPERM, "no user namespace for an id-mapped mount");
	else
		rc = idmap_write(proc_fd, child, maps, false, e);
	if (!rc) {
		char path[64];

		snprintf(path, sizeof(path), "%d/ns/user", child);
		fd = path_open(proc_fd, path, O_RDONLY, 0);
		rc = fd < 0 ? err_set(e, ERR_CT_IDMAP, fd,
				      "user namespace of an id-mapped mount: %s", strerror(-fd))
			    : fd;
	}
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	close(ready[0]);
	close(ready[1]);
	return rc;
}
