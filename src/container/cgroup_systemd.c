/* The systemd driver: systemd makes the group, as a transient scope below a slice, and must hear of
 * each limit that it manages, or it would put its own idea back (systemd: "Control Group APIs and
 * Delegation"). D-Bus is spoken by the program viv-scope (src/cmd/scope.c), so that the runtime
 * stays small and static: it gets the verb and the unit as arguments, the properties as JSON on
 * standard input, and answers with the group's path, or with the reason of a failure. What lies
 * below the scope is then ours, as with the cgroupfs driver. */
#include "container/cgroup_int.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/exe.h"
#include "os/path.h"

#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#define HELPER     "viv-scope"
#define ANSWER_MAX 65536 /* bytes */

/* "slice:prefix:name" into its three parts. */
static bool split(const char *path, char part[3][256])
{
	for (int i = 0; i < 3; i++) {
		size_t n = strcspn(path, ":");

		if (n >= 256 || (path[n] == ':') != (i < 2))
			return false;
		memcpy(part[i], path, n);
		part[i][n] = '\0';
		path += n + (i < 2);
	}
	return !strpbrk(part[0], "/") && !strpbrk(part[1], "/") && !strpbrk(part[2], "/") &&
	       *part[2];
}

static bool ends_with(const char *s, const char *suffix)
{
	size_t n = strlen(s), m = strlen(suffix);

	return n >= m && str_eq(s + n - m, suffix);
}

int cg_systemd_init(struct cgroup *cg, const struct spec *spec, const char *id, struct err *e)
{
	const char *path = spec->cgroups_path && *spec->cgroups_path ? spec->cgroups_path : NULL;
	char part[3][256];
	int n;

	if (!path) {
		_free_ char *own = mem_printf(":viv:%s", id);

		if (!split(own, part))
			return err_set(e, ERR_CT_ID, -EINVAL,
				       "'%s' makes no name of a systemd unit", id);
	} else if (!split(path, part)) {
		return err_set(e, ERR_SPEC_VALUE, -EINVAL,
			       "linux.cgroupsPath: expected \"slice:prefix:name\" for systemd "
			       "cgroups, got \"%s\"",
			       path);
	}
	cg->systemd = true;
	snprintf(cg->slice, sizeof(cg->slice), "%s",
		 *part[0]       ? part[0]
		 : cg->rootless ? "user.slice"
				: "system.slice");
	if (ends_with(part[2], ".slice"))
		n = snprintf(cg->unit, sizeof(cg->unit), "%s", part[2]);
	else
		n = snprintf(cg->unit, sizeof(cg->unit), "%s-%s.scope", part[1], part[2]);
	if ((size_t)n >= sizeof(cg->unit))
		return err_set(e, ERR_SPEC_VALUE, -ENAMETOOLONG,
			       "linux.cgroupsPath: the unit's name is longer than %zu characters",
			       sizeof(cg->unit) - 1);
	return 0;
}

/* --- the helper --- */

static int spawn(const char *file, char **argv, int in, int out, pid_t *ret_pid)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none;

	sigemptyset(&none);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_adddup2(&files, in, 0);
	posix_spawn_file_actions_adddup2(&files, out, 1);
	posix_spawn_file_actions_adddup2(&files, out, 2);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	int rc = -posix_spawn(ret_pid, file, &files, &attr, argv, environ);

	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
	return rc;
}

static int wait_status(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Runs `viv-scope VERB UNIT` and collects what it says. */
static int call(const struct cgroup *cg, const char *verb, json_t *properties,
		struct buf *ret_answer, struct err *e)
{
	_free_ char *file = mem_printf("%s/%s", exe_directory(), HELPER);
	char *argv[] = {(char *)HELPER, (char *)(cg->rootless ? "--user" : "--system"),
			(char *)verb, (char *)cg->unit, NULL};
	_free_ char *input = json_dumps(properties, JSON_COMPACT);
	_close_ int in = fd_memfd_sealed("properties", input, strlen(input));
	int pipe_fds[2];
	pid_t pid;

	if (in < 0 || lseek(in, 0, SEEK_SET) < 0 || pipe2(pipe_fds, O_CLOEXEC) < 0)
		return err_sys(e, ERR_SYS, "cannot talk to '%s'", file);
	int rc = spawn(file, argv, in, pipe_fds[1], &pid);

	close(pipe_fds[1]);
	if (rc) {
		close(pipe_fds[0]);
		return err_set(e, ERR_CG_UNAVAILABLE, rc,
			       "the systemd driver needs the program '%s': %s", file,
			       strerror(-rc));
	}
	rc = fd_read_all(pipe_fds[0], ret_answer, ANSWER_MAX);
	close(pipe_fds[0]);
	int status = wait_status(pid);

	while (ret_answer->len && ret_answer->s[ret_answer->len - 1] == '\n')
		ret_answer->s[--ret_answer->len] = '\0';
	if (!rc && status == 0)
		return 0;
	return err_set(e, ERR_CG_UNAVAILABLE, -EIO, "systemd: cannot %s unit '%s': %s", verb,
		       cg->unit, ret_answer->len ? ret_answer->s : "the helper died");
}

/* The directories that belong to the group that systemd named. */
static int place(struct cgroup *cg, const char *group, struct err *e)
{
	_free_ struct cgroup_host *h = mem_alloc(sizeof(*h));
	int rc = cgroup_host(h, e);

	if (rc)
		return rc;
	if (*group != '/' || str_eq(group, "/"))
		return err_set(e, ERR_CG_UNAVAILABLE, -EPROTO,
			       "systemd put '%s' into the group '%s'", cg->unit, group);
	if (cg->mode == CGROUP_V2)
		return cg_path_join(cg->path, h->unified, group)
			   ? err_set(e, ERR_CG_UNAVAILABLE, -ENAMETOOLONG, "'%s' is too long",
				     group)
			   : 0;
	return cg_v1_paths(cg, h, group, e);
}

int cg_systemd_start(struct cgroup *cg, const struct spec *spec, pid_t pid, struct err *e)
{
	_buf_ struct buf answer = {0};
	json_t *properties;
	int rc = cg_systemd_start_properties(cg, spec, pid, &properties, e);

	if (rc)
		return rc;
	rc = call(cg, "start", properties, &answer, e);
	json_decref(properties);
	if (rc)
		return rc;
	rc = place(cg, buf_str(&answer), e);
	if (rc)
		cg_systemd_stop(cg, NULL);
	return rc;
}

int cg_systemd_update(const struct cgroup *cg, const struct spec_resources *r, struct err *e)
{
	_buf_ struct buf answer = {0};
	json_t *properties;
	int rc = cg_systemd_limit_properties(cg, r, &properties, e);

	if (rc)
		return rc;
	if (json_array_size(properties))
		rc = call(cg, "set", properties, &answer, e);
	json_decref(properties);
	return rc;
}

int cg_systemd_stop(const struct cgroup *cg, struct err *e)
{
	_buf_ struct buf answer = {0};
	json_t *none = json_array();
	int rc = call(cg, "stop", none, &answer, e);

	json_decref(none);
	return rc;
}
