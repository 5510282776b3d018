#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "fault.h"
#include "io/child.h"
#include "io/loop.h"
#include "os/path.h"
#include "tmpdir.h"

#define SHELL "/bin/sh"

static const char *const plain_env[] = {"PATH=/usr/bin:/bin", NULL};

/* Runs a shell script; its output in *out. */
static int shell(const char *script, struct buf *out, int *ret_status)
{
	const char *const argv[] = {"sh", "-c", script, NULL};
	struct child_spec spec = {.path = SHELL, .argv = argv, .envp = plain_env};
	struct child_io io = {.out = out, .err = out, .max_bytes = 65536, .timeout_ms = 20000};
	struct err e = {0};

	return child_run(&spec, &io, ret_status, &e);
}

static void output_and_status(void **state)
{
	_buf_ struct buf out = {0};
	int status = -1;

	assert_ok(shell("echo one; echo two >&2; exit 7", &out, &status));
	assert_string_equal(out.s, "one\ntwo\n");
	assert_int_equal(status, 7);
	assert_ok(shell("kill -9 $$", &out, &status));
	assert_int_equal(status, 128 + SIGKILL);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

/* Whatever is open here, the child has 0, 1, 2 and nothing else. */
static void nothing_else_is_inherited(void **state)
{
	_buf_ struct buf out = {0};
	_close_ int leak = dup2(STDERR_FILENO, 77); /* not O_CLOEXEC */
	int status;

	assert_int_equal(leak, 77);
	assert_ok(shell("for f in /proc/$$/fd/*; do echo -n ${f##*/}=; readlink $f; done", &out,
			&status));
	assert_non_null(strstr(out.s, "0=/dev/null\n"));
	assert_non_null(strstr(out.s, "1=pipe:"));
	assert_non_null(strstr(out.s, "2=pipe:"));
	unsigned lines = 0;

	for (const char *p = out.s; *p; p++)
		lines += *p == '\n';
	assert_int_equal(lines, 3);
}

static void environment_is_what_was_said(void **state)
{
	_buf_ struct buf out = {0};
	const char *const argv[] = {"env", NULL};
	const char *const envp[] = {"A=1", "B=two words", NULL};
	struct child_spec spec = {.path = "/usr/bin/env", .argv = argv};
	struct child_io io = {.out = &out, .max_bytes = 1000, .timeout_ms = 20000};
	int status;

	assert_ok(child_run(&spec, &io, &status, NULL));
	assert_string_equal(buf_str(&out), "");
	spec.envp = envp;
	assert_ok(child_run(&spec, &io, &status, NULL));
	assert_string_equal(out.s, "A=1\nB=two words\n");
}

/* Tables that swap, repeat, and name what we use ourselves. */
static void descriptor_tables_permute(void **state)
{
	static const char *const texts[] = {"zero", "one", "two", "three"};
	int fds[4], status;
	const char *const argv[] = {"sh", "-c",
				    "cat <&3; cat <&4; cat <&5; cat <&9 >&6; cat <&4 >&6", NULL};
	_close_ int result = memfd_create("result", MFD_CLOEXEC);

	for (int i = 0; i < 4; i++) {
		_close_ int memfd = fd_memfd_sealed("x", texts[i], strlen(texts[i]));

		lseek(memfd, 0, SEEK_SET);
		fds[i] = fcntl(memfd, F_DUPFD_CLOEXEC, 3);
	}
	const struct child_fd table[] = {{fds[3], 3}, {fds[2], 4}, {fds[1], 5},
					 {fds[0], 9}, {result, 6}, {result, 1}};
	struct child_spec spec = {.path = SHELL,
				  .argv = argv,
				  .envp = plain_env,
				  .fds = table,
				  .fd_count = ARRAY_SIZE(table)};
	struct child child;
	char text[64] = {0};

	assert_ok(child_start(&spec, &child, NULL));
	assert_ok(child_wait(&child, 20000, &status));
	assert_int_equal(status, 0);
	assert_ok((int)pread(result, text, sizeof(text) - 1, 0));
	assert_string_equal(text, "threetwoonezero"); /* the last cat finds its file read */
	for (int i = 0; i < 4; i++)
		close(fds[i]);
}

static void input_directory_session(void **state)
{
	_tmpdir_ struct tmpdir t = tmpdir_new();
	_buf_ struct buf out = {0};
	const char *const argv[] = {"sh", "-c",
				    "cat; pwd; ps -o sid= -p $$ | grep -qw $$ && echo leads", NULL};
	struct child_spec spec = {
	    .path = SHELL, .argv = argv, .envp = plain_env, .cwd_fd = t.fd, .new_session = true};
	struct child_io io = {.input = "from us\n",
			      .input_len = 8,
			      .out = &out,
			      .max_bytes = 4096,
			      .timeout_ms = 20000};
	_free_ char *want = mem_printf("from us\n%s\nleads\n", t.path);
	int status;

	assert_ok(child_run(&spec, &io, &status, NULL));
	assert_string_equal(out.s, want);
}

static void signals_are_the_default_ones(void **state)
{
	_buf_ struct buf out = {0};
	sigset_t set, before;
	int status;

	sigfillset(&set);
	sigprocmask(SIG_BLOCK, &set, &before);
	signal(SIGPIPE, SIG_IGN);
	assert_ok(shell("sed -n '/^Sig[BIC]/p' /proc/self/status", &out, &status));
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, &before, NULL);
	assert_string_equal(out.s, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"
				   "SigCgt:\t0000000000000000\n");
}

static void failure_before_exec_is_ours(void **state)
{
	_tmpdir_ struct tmpdir t = tmpdir_new();
	_free_ char *plain = mem_printf("%s/plain", t.path);
	const char *const argv[] = {"x", NULL};
	struct child_spec spec = {.path = "/nonexistent/program", .argv = argv};
	struct child child = {.pidfd = -1};
	struct err e = {0};

	assert_int_equal(child_start(&spec, &child, &e), -ENOENT);
	assert_int_equal(e.code, ERR_NOT_FOUND);
	assert_non_null(strstr(e.msg, "'/nonexistent/program': execute it: No such file"));
	assert_ok(path_replace(AT_FDCWD, plain, "text", 4, 0644, false));
	spec.path = plain;
	assert_int_equal(child_start(&spec, &child, &e), -EACCES);
	_close_ int file = path_open(AT_FDCWD, plain, O_RDONLY, 0);

	spec.path = SHELL;
	spec.cwd_fd = file;
	assert_int_equal(child_start(&spec, &child, &e), -ENOTDIR);
	assert_non_null(strstr(e.msg, "enter its directory"));
	spec.cwd_fd = 0;
	spec.terminal = true; /* /dev/null is none */
	assert_int_equal(child_start(&spec, &child, &e), -ENOTTY);
	spec.terminal = false;
	const struct child_fd bad = {999, 3};

	spec.fds = &bad;
	spec.fd_count = 1;
	assert_int_equal(child_start(&spec, &child, &e), -EBADF);
	spec.fd_count = CHILD_FDS_MAX + 1;
	assert_int_equal(child_start(&spec, &child, &e), -E2BIG);
	assert_int_equal(child.pidfd, -1);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
}

static void program_by_descriptor(void **state)
{
	const char *const argv[] = {"sh", "-c", "exit 3", NULL};
	_close_ int exe = path_open(AT_FDCWD, SHELL, O_PATH, 0);
	struct child_spec spec = {.exe_fd = exe, .argv = argv};
	struct child child;
	int status;

	assert_ok(child_start(&spec, &child, NULL));
	assert_ok(child_wait(&child, 20000, &status));
	assert_int_equal(status, 3);
	assert_int_equal(child_wait(&child, 0, &status), -ECHILD);
}

static void bounds_kill(void **state)
{
	_buf_ struct buf out = {0};
	const char *argv[] = {"sh", "-c", "while :; do echo yes; done", NULL};
	struct child_spec spec = {.path = SHELL, .argv = argv, .envp = plain_env};
	struct child_io io = {.out = &out, .max_bytes = 100000, .timeout_ms = 20000};
	struct err e = {0};
	int status = 42;

	assert_int_equal(child_run(&spec, &io, &status, &e), -EFBIG);
	assert_true(out.len <= 100000);
	argv[2] = "trap '' TERM; while :; do sleep 1; done";
	io.timeout_ms = 50;
	assert_int_equal(child_run(&spec, &io, &status, &e), -ETIMEDOUT);
	assert_int_equal(e.code, ERR_TIMEOUT);
	assert_int_equal(status, 42);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);

	/* A process left behind that holds the pipe does not hold us. */
	uint64_t start = loop_now_ns();

	buf_reset(&out);
	assert_ok(shell("sleep 5 & echo left", &out, &status));
	assert_string_equal(out.s, "left\n");
	assert_true(loop_now_ns() - start < 4000000000ull);
}

static void stops_gently_then_firmly(void **state)
{
	const char *argv[] = {"sh", "-c", "exec sleep 60", NULL};
	struct child_spec spec = {.path = SHELL, .argv = argv, .envp = plain_env};
	struct child child;
	int status = 0;

	assert_ok(child_start(&spec, &child, NULL));
	assert_int_equal(child_wait(&child, 0, &status), -ETIMEDOUT);
	child_stop(&child, 10000);
	assert_int_equal(child.pidfd, -1);
	child_stop(&child, 10000);
	argv[2] = "trap '' TERM; echo ready; while :; do sleep 1; done";
	int ends[2];
	char c;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	const struct child_fd table = {ends[1], 1};

	spec.fds = &table;
	spec.fd_count = 1;
	assert_ok(child_start(&spec, &child, NULL));
	assert_int_equal(read(ends[0], &c, 1), 1); /* the trap is set */
	pid_t pid = child.pid;

	child_stop(&child, 50);
	assert_int_equal(kill(pid, 0), -1);
	close(ends[0]);
	close(ends[1]);
}

/* A process that starts a child with a death signal and ends: the child is gone too. */
static int orphan(void *arg)
{
	const char *const argv[] = {"sleep", "60", NULL};
	struct child_spec spec = {.path = "/bin/sleep", .argv = argv, .death_signal = SIGKILL};
	struct child child;

	if (child_start(&spec, &child, NULL) < 0)
		return 1;
	*(pid_t *)arg = child.pid;
	return write(((int *)arg)[1], &child.pid, sizeof(pid_t)) < 0;
}

static void death_signal(void **state)
{
	int ends[2];
	pid_t pid = 0;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	int arg[2] = {0, ends[1]};

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	assert_int_equal(fault_run(orphan, arg), 0);
	assert_int_equal(read(ends[0], &pid, sizeof(pid)), sizeof(pid));
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	prctl(PR_SET_CHILD_SUBREAPER, 0);
	close(ends[0]);
	close(ends[1]);
}

/* Each system call of start fails once: an error, no child, no descriptor left. */
static void failing_system_calls(void **state)
{
	const char *const argv[] = {"true", NULL};
	struct child_spec spec = {.path = "/bin/true", .argv = argv};
	_buf_ struct buf out = {0};
	struct child_io io = {
	    .input = "x", .input_len = 1, .out = &out, .max_bytes = 10, .timeout_ms = -1};
	unsigned n = 1, failed = 0;
	int before = dup(0), status;

	close(before);
	for (;; n++) {
		fault_syscall_at(FAULT_ANY, n, EMFILE);
		int rc = child_run(&spec, &io, &status, NULL);
		bool hit = fault_hit();

		fault_reset();
		failed += rc < 0;
		int now = dup(0);

		close(now);
		assert_int_equal(now, before);
		assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
		/* The child's own calls fail in the child: they are counted there, not here. */
		if (!hit && rc == 0)
			break;
	}
	assert_true(failed >= 8);
}

int main(void)
{
	return TEST_RUN(
	    "child", cmocka_unit_test(output_and_status),
	    cmocka_unit_test(nothing_else_is_inherited),
	    cmocka_unit_test(environment_is_what_was_said),
	    cmocka_unit_test(descriptor_tables_permute), cmocka_unit_test(input_directory_session),
	    cmocka_unit_test(signals_are_the_default_ones),
	    cmocka_unit_test(failure_before_exec_is_ours), cmocka_unit_test(program_by_descriptor),
	    cmocka_unit_test(bounds_kill), cmocka_unit_test(stops_gently_then_firmly),
	    cmocka_unit_test(death_signal), cmocka_unit_test(failing_system_calls));
}
