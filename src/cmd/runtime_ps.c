/* ps: the processes of a container, as numbers or as the host's ps(1) shows them. */
#include "cmd/runtime.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PS_OUTPUT_MAX (64u << 20) /* bytes */

static void print_json(const pid_t *pids, size_t count)
{
	if (!count) {
		puts("null"); /* what a Go program prints for no list */
		return;
	}
	for (size_t i = 0; i < count; i++)
		printf("%c%d", i ? ',' : '[', pids[i]);
	puts("]");
}

/* Runs ps with the caller's options, -ef by default, and collects what it says. */
static int run_ps(char *const *options, struct buf *out, struct err *e)
{
	static char ps[] = "ps", all[] = "-ef";
	size_t n = 0;
	int fds[2], status = 0;
	pid_t pid;

	while (options[n])
		n++;
	_free_ char **argv = mem_array(n + 3, sizeof(*argv));

	argv[0] = ps;
	argv[1] = all;
	memcpy(argv + 1, options, n * sizeof(*argv));
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(e, ERR_SYS, "cannot make a pipe");
	posix_spawn_file_actions_t files;

	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_adddup2(&files, fds[1], STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&files, fds[1], STDERR_FILENO);
	int rc = -posix_spawnp(&pid, ps, &files, NULL, argv, environ);

	posix_spawn_file_actions_destroy(&files);
	close(fds[1]);
	if (rc) {
		close(fds[0]);
		return err_set(e, ERR_SYS, rc, "cannot execute 'ps': %s", strerror(-rc));
	}
	rc = fd_read_all(fds[0], out, PS_OUTPUT_MAX);
	close(fds[0]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (rc || !WIFEXITED(status) || WEXITSTATUS(status))
		return err_set(e, ERR_SYS, rc ? rc : -EIO, "ps failed: %s", buf_str(out));
	return 0;
}

/* The n-th blank-separated word of a line; NULL where there are fewer. */
static const char *word(const char *line, size_t n)
{
	const char *p = line + strspn(line, " \t");

	while (n-- && *p) {
		p += strcspn(p, " \t");
		p += strspn(p, " \t");
	}
	return *p ? p : NULL;
}

/* Which column is headed PID; -1: none. */
static int pid_column(const char *title)
{
	const char *p;

	for (int i = 0; (p = word(title, (size_t)i)); i++)
		if (strcspn(p, " \t") == 3 && !strncmp(p, "PID", 3))
			return i;
	return -1;
}

static bool has_pid(const pid_t *pids, size_t count, const char *text)
{
	long pid = text ? strtol(text, NULL, 10) : 0;

	for (size_t i = 0; i < count; i++)
		if (pids[i] == pid)
			return true;
	return false;
}

static int print_table(char *text, const pid_t *pids, size_t count, struct err *e)
{
	char *save, *title = strtok_r(text, "\n", &save);
	int column = title ? pid_column(title) : -1;

	if (column < 0)
		return err_set(e, ERR_USAGE, -EINVAL, "couldn't find PID field in ps output");
	puts(title);
	for (char *p; (p = strtok_r(NULL, "\n", &save));)
		if (has_pid(pids, count, word(p, (size_t)column)))
			puts(p);
	return 0;
}

int runtime_ps(struct cli *c)
{
	_container_ struct container ct = {.dir_fd = -1, .cgroup.fd = -1};
	_free_ pid_t *pids = NULL;
	_buf_ struct buf out = {0};
	size_t count = 0;
	struct err e = {0};
	_close_ int root = runtime_root(c, false);

	if (root < 0)
		return 1;
	int rc = container_load(root, cli_argv(c)[0], false, &ct, &e);

	if (!rc)
		rc = cgroup_pids(&ct.cgroup, &pids, &count, &e);
	if (rc)
		return runtime_fail(c, &e, 1);
	if (str_eq(cli_string(c, "format"), "json")) {
		print_json(pids, count);
		return 0;
	}
	rc = run_ps(cli_argv(c) + 1, &out, &e);
	if (!rc)
		rc = print_table(out.s, pids, count, &e);
	return rc ? runtime_fail(c, &e, 1) : 0;
}
