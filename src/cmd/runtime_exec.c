/* exec: the process is the container's own, amended by flags, or one from a file. */
#include "cmd/runtime.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "container/spec.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Status of an exec that could not be done at all: runc's. */
#define EXEC_FAILED 255

static int from_file(const char *file, struct spec **ret, struct err *e)
{
	_buf_ struct buf text = {0};
	int rc = path_read(AT_FDCWD, file, &text, SPEC_FILE_MAX);

	if (rc)
		return err_set(e, ERR_SPEC_JSON, rc, "process file '%s': %s", file, strerror(-rc));
	return spec_parse_process(buf_str(&text), text.len, ret, e);
}

static int set_user(struct spec_process *p, const char *text, struct err *e)
{
	const char *colon = strchr(text, ':');
	_free_ char *uid_text =
	    colon ? mem_strndup(text, (size_t)(colon - text)) : mem_strdup(text);
	uint64_t uid, gid = p->user.gid;

	if (str_to_u64(uid_text, &uid) || uid >= UINT32_MAX ||
	    (colon && (str_to_u64(colon + 1, &gid) || gid >= UINT32_MAX)))
		return err_set(e, ERR_USAGE, -EINVAL, "user '%s': expected UID[:GID], numbers",
			       text);
	p->user.uid = (uid_t)uid;
	p->user.gid = (gid_t)gid;
	return 0;
}

static int set_groups(struct spec *s, char *const *groups, struct err *e)
{
	struct spec_user *u = &s->process.user;
	size_t n = 0;

	while (groups[n])
		n++;
	if (!n)
		return 0;
	gid_t *all = spec_alloc(s, u->additional_gids_count + n, sizeof(*all));

	if (u->additional_gids_count)
		memcpy(all, u->additional_gids, u->additional_gids_count * sizeof(*all));
	for (size_t i = 0; i < n; i++) {
		uint64_t gid;

		if (str_to_u64(groups[i], &gid) || gid >= UINT32_MAX)
			return err_set(e, ERR_USAGE, -EINVAL,
				       "additional group '%s': expected a number", groups[i]);
		all[u->additional_gids_count + i] = (gid_t)gid;
	}
	u->additional_gids = all;
	u->additional_gids_count += n;
	return 0;
}

static void add_env(struct spec *s, char *const *more)
{
	struct spec_process *p = &s->process;
	size_t n = 0, extra = 0;

	while (p->env && p->env[n])
		n++;
	while (more[extra])
		extra++;
	if (!extra)
		return;
	char **env = spec_alloc(s, n + extra + 1, sizeof(*env));

	if (n)
		memcpy(env, p->env, n * sizeof(*env));
	for (size_t i = 0; i < extra; i++)
		env[n + i] = spec_strdup(s, more[i]);
	p->env = env;
}

/* runc's --cap: bounding, effective and permitted; ambient where it is inheritable already. */
static int add_caps(struct spec_process *p, char *const *names, struct err *e)
{
	for (; *names; names++) {
		int cap = spec_cap_by_name(*names);

		if (cap < 0)
			return err_set(e, ERR_USAGE, -EINVAL, "unknown capability '%s'", *names);
		uint64_t bit = 1ull << cap;

		p->has_caps = true;
		p->caps.bounding |= bit;
		p->caps.effective |= bit;
		p->caps.permitted |= bit;
		if (p->caps.inheritable & bit)
			p->caps.ambient |= bit;
	}
	return 0;
}

static int from_flags(struct cli *c, struct spec *s, struct err *e)
{
	struct spec_process *p = &s->process;
	int n = cli_argc(c) - 1;
	int rc = 0;

	if (n < 1)
		return err_set(e, ERR_USAGE, -EINVAL, "process args cannot be empty");
	p->args = spec_alloc(s, (size_t)n + 1, sizeof(*p->args));
	for (int i = 0; i < n; i++)
		p->args[i] = spec_strdup(s, cli_argv(c)[i + 1]);
	p->terminal = cli_bool(c, "tty");
	if (cli_string(c, "cwd"))
		p->cwd = spec_strdup(s, cli_string(c, "cwd"));
	if (cli_string(c, "user"))
		rc = set_user(p, cli_string(c, "user"), e);
	if (!rc)
		rc = set_groups(s, cli_list(c, "additional-gids"), e);
	if (!rc)
		rc = add_caps(p, cli_list(c, "cap"), e);
	if (cli_string(c, "process-label"))
		p->selinux_label = spec_strdup(s, cli_string(c, "process-label"));
	if (cli_string(c, "apparmor"))
		p->apparmor_profile = spec_strdup(s, cli_string(c, "apparmor"));
	if (cli_given(c, "no-new-privs"))
		p->no_new_privileges = cli_bool(c, "no-new-privs");
	add_env(s, cli_list(c, "env"));
	return rc;
}

static int build_process(struct cli *c, int root, struct spec **ret, struct err *e)
{
	const char *file = cli_string(c, "process");

	if (file) {
		int rc = from_file(file, ret, e);

		if (!rc && cli_bool(c, "tty"))
			(*ret)->process.terminal = true;
		return rc;
	}
	_container_ struct container ct = {.dir_fd = -1, .cgroup.fd = -1};
	int rc = container_load(root, cli_argv(c)[0], false, &ct, e);

	if (!rc)
		rc = container_spec(&ct, ret, e);
	return rc ? rc : from_flags(c, *ret, e);
}

int runtime_exec(struct cli *c)
{
	_spec_ struct spec *spec = NULL;
	struct err e = {0};
	int status = 0;
	struct container_opts o = {
	    .pid_file = cli_string(c, "pid-file"),
	    .console_socket = cli_string(c, "console-socket"),
	    .pidfd_socket = cli_string(c, "pidfd-socket"),
	    .preserve_fds = (int)cli_uint(c, "preserve-fds"),
	    .detach = cli_bool(c, "detach"),
	    .no_new_keyring = true,
	    .rootless = -1,
	};

	container_isolate_fds(o.preserve_fds);
	_close_ int root = runtime_root(c, false);

	if (root < 0)
		return EXEC_FAILED;
	if (build_process(c, root, &spec, &e))
		return runtime_fail(c, &e, EXEC_FAILED);
	struct container_exec x = {.spec = cli_string(c, "process") ? NULL : spec,
				   .process = &spec->process,
				   .sub_cgroups = (const char *const *)cli_list(c, "cgroup"),
				   .ignore_paused = cli_bool(c, "ignore-paused")};

	if (container_exec(root, cli_argv(c)[0], &x, &o, &status, &e))
		return runtime_fail(c, &e, EXEC_FAILED);
	return status;
}
