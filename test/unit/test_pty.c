#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <termios.h>

#include "base/cleanup.h"
#include "io/child.h"
#include "io/loop.h"
#include "io/pty.h"
#include "os/pidfd.h"

#define _pty_ __attribute__((cleanup(pty_close)))

static bool is_raw(int fd)
{
	struct termios t;

	assert_int_equal(tcgetattr(fd, &t), 0);
	return !(t.c_lflag & (ECHO | ICANON | ISIG));
}

static void opens_a_pair(void **state)
{
	struct winsize size = {.ws_row = 33, .ws_col = 101}, got;
	_pty_ struct pty a, b;
	char text[16] = {0};

	assert_ok(pty_open(&a, &size));
	assert_ok(pty_open(&b, NULL));
	assert_true(isatty(a.slave));
	assert_true(fcntl(a.master, F_GETFD) & fcntl(a.slave, F_GETFD) & FD_CLOEXEC);
	assert_ok(pty_copy_size(a.slave, b.master));
	assert_int_equal(ioctl(b.slave, TIOCGWINSZ, &got), 0);
	assert_int_equal(got.ws_row, 33);
	assert_int_equal(got.ws_col, 101);
	assert_int_equal(write(a.slave, "out\n", 4), 4);
	assert_int_equal(read(a.master, text, sizeof(text)), 5);
	assert_string_equal(text, "out\r\n");
	_close_ int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	assert_int_equal(pty_copy_size(null_fd, b.master), -ENOTTY);
}

/* --- raw mode --- */

static void raw_and_back(void **state)
{
	_pty_ struct pty p;
	struct termios before, after;
	_close_ int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	assert_ok(pty_open(&p, NULL));
	assert_int_equal(tcgetattr(p.slave, &before), 0);
	assert_int_equal(pty_raw(null_fd), -ENOTTY);
	assert_ok(pty_raw(p.slave));
	assert_true(is_raw(p.slave));
	assert_int_equal(pty_raw(p.slave), -EBUSY);
	pty_restore();
	pty_restore();
	assert_int_equal(tcgetattr(p.slave, &after), 0);
	assert_memory_equal(&before, &after, sizeof(before));
	struct sigaction act;

	sigaction(SIGTERM, NULL, &act);
	assert_ptr_equal(act.sa_handler, SIG_DFL);
}

/* However the program ends, the terminal is as it was. */
static int status_of_raw_program(int slave, int how)
{
	int status;

	fflush(NULL);
	pid_t pid = fork();

	if (pid == 0) {
		signal(SIGUSR1, SIG_DFL);
		if (pty_raw(slave) < 0 || !is_raw(slave))
			_exit(99);
		if (how)
			raise(how);
		exit(3);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void restored_however_it_ends(void **state)
{
	static const int signals[] = {SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGABRT, SIGPIPE};
	_pty_ struct pty p;

	assert_ok(pty_open(&p, NULL));
	int status = status_of_raw_program(p.slave, 0);

	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
	assert_false(is_raw(p.slave));
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		status = status_of_raw_program(p.slave, signals[i]);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), signals[i]);
		assert_false(is_raw(p.slave));
	}
	/* The control: what pty_raw() does not promise is seen by this test. */
	status = status_of_raw_program(p.slave, SIGKILL);
	assert_true(is_raw(p.slave));
}

/* --- detach keys --- */

static void keys_are_parsed(void **state)
{
	static const struct {
		const char *text, *bytes;
	} good[] = {
	    {"", ""},
	    {"ctrl-p,ctrl-q", "\x10\x11"},
	    {"ctrl-a", "\x01"},
	    {"ctrl-z,x", "\x1ax"},
	    {"ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_", "\x1b\x1c\x1d\x1e\x1f"},
	    {"DEL", "\x7f"},
	    {"a,b,~", "ab~"},
	};
	static const char *const bad[] = {
	    ",",    "a,", ",a",   "ctrl-", "ctrl-P", "ctrl-ab", "ctrl-1",  "CTRL-p", "ab",
	    "a,,b", " ",  "\x01", "é",     "del",    "ctrl",    "ctrl-p ", "a b"};
	struct pty_keys k;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_ok(pty_keys_parse(good[i].text, &k));
		assert_int_equal(k.count, strlen(good[i].bytes));
		assert_memory_equal(k.key, good[i].bytes, k.count);
	}
	assert_ok(pty_keys_parse("ctrl-@", &k));
	assert_true(k.count == 1 && k.key[0] == 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (pty_keys_parse(bad[i], &k) != -EINVAL)
			fail_msg("'%s' is taken", bad[i]);
	assert_ok(pty_keys_parse("1,2,3,4,5,6,7,8,9,0,a,b,c,d,e,f", &k));
	assert_int_equal(pty_keys_parse("1,2,3,4,5,6,7,8,9,0,a,b,c,d,e,f,g", &k), -EINVAL);
	assert_int_equal(k.count, PTY_KEYS_MAX);
}

/* What goes on and where it ends must not depend on how the typing is cut. */
static void filter_case(const char *keys, const char *typed, const char *want, bool detached)
{
	size_t len = strlen(typed);

	for (size_t cut = 0; cut <= len; cut++) {
		struct pty_keys k;
		char out[128] = {0};
		size_t n = 0, m = 0;

		assert_ok(pty_keys_parse(keys, &k));
		bool done = pty_keys_filter(&k, typed, cut, out, &n);

		assert_true(n <= cut + PTY_KEYS_MAX);
		if (!done)
			done = pty_keys_filter(&k, typed + cut, len - cut, out + n, &m);
		assert_int_equal(done, detached);
		out[n + m] = '\0';
		if (strcmp(out, want))
			fail_msg("'%s' in '%s' cut at %zu: '%s'", keys, typed, cut, out);
	}
}

static void keys_are_found(void **state)
{
	filter_case("", "abc", "abc", false);
	filter_case("ctrl-p,ctrl-q", "ls\r\x10\x11rest", "ls\r", true);
	filter_case("ctrl-p,ctrl-q", "\x10x\x10\x10y", "\x10x\x10\x10y", false);
	filter_case("ctrl-p,ctrl-q", "\x10\x10\x11", "\x10", true);
	filter_case("ctrl-p,ctrl-q", "a\x10", "a", false); /* held back */
	filter_case("a,a,b", "aaaab", "aa", true);
	filter_case("a,b,a,c", "ababac", "ab", true);
	filter_case("a,b,a,b,c", "abababc", "ab", true);
	filter_case("x", "abx", "ab", true);
}

/* --- the relay --- */

/* The user's terminal is a pty of ours, too: user.master is the hands and eyes of the user. */
struct scene {
	struct pty user, program;
	struct child child;
};

static void scene_open(struct scene *s, const char *script)
{
	const char *const argv[] = {"sh", "-c", script, NULL};
	const char *const envp[] = {"PATH=/usr/bin:/bin", NULL};
	struct winsize size = {.ws_row = 11, .ws_col = 44};

	assert_ok(pty_open(&s->user, &size));
	assert_ok(pty_open(&s->program, NULL));
	const struct child_fd fds[] = {
	    {s->program.slave, 0}, {s->program.slave, 1}, {s->program.slave, 2}};
	struct child_spec spec = {.path = "/bin/sh",
				  .argv = argv,
				  .envp = envp,
				  .fds = fds,
				  .fd_count = 3,
				  .terminal = true};

	assert_ok(child_start(&spec, &s->child, NULL));
	close(s->program.slave);
	s->program.slave = -1;
	assert_ok(pty_raw(s->user.slave));
	fcntl(s->user.master, F_SETFL, O_NONBLOCK);
}

static int scene_run(struct scene *s, struct pty_relay *r)
{
	r->in = r->out = s->user.slave;
	r->master = s->program.master;
	r->pidfd = s->child.pidfd;
	alarm(20); /* a relay that does not end fails the test */
	int rc = pty_relay(r);

	alarm(0);
	return rc;
}

/* Ends the scene; what the user has seen, in text. */
static void scene_close(struct scene *s, char *text, size_t size)
{
	fcntl(s->user.master, F_SETFL, O_NONBLOCK);
	size_t n = 0;

	for (ssize_t got; (got = read(s->user.master, text + n, size - 1 - n)) > 0;)
		n += (size_t)got;
	text[n] = '\0';
	pty_restore();
	if (s->child.pidfd >= 0)
		kill(-s->child.pid, SIGKILL); /* and what it left in its session */
	child_stop(&s->child, 2000);
	pty_close(&s->program);
	pty_close(&s->user);
}

static void relays_both_ways(void **state)
{
	struct scene s;
	struct pty_relay r = {0};
	char seen[4096];

	scene_open(&s, "stty -echo; echo ready; stty size; tty >/dev/null && echo tty; "
		       "read line; echo got $line; exit 4");
	assert_int_equal(write(s.user.master, "hello there\r", 12), 12);
	assert_int_equal(scene_run(&s, &r), PTY_END_CLOSED);
	int status;

	assert_ok(child_wait(&s.child, 10000, &status));
	assert_int_equal(status, 4);
	scene_close(&s, seen, sizeof(seen));
	assert_non_null(strstr(seen, "tty\r\n"));
	assert_non_null(strstr(seen, "got hello there\r\n"));
}

static void much_output_arrives_whole(void **state)
{
	struct scene s;
	struct pty_relay r = {0};
	static char seen[600000];
	size_t n = 0;

	scene_open(&s, "seq 1 50000");
	fflush(NULL);
	pid_t user = fork(); /* the user looks while the relay runs */

	if (user == 0) {
		alarm(20);
		fcntl(s.user.master, F_SETFL, 0);
		for (;;) {
			ssize_t got = read(s.user.master, seen + n, sizeof(seen) - n);

			n += (size_t)MAX(got, (ssize_t)0);
			if (n >= 7 && !memcmp(seen + n - 7, "50000\r\n", 7))
				_exit(n == 338894 ? 0 : 1); /* 288894 bytes and 50000 returns */
			if (got <= 0)
				_exit(2);
		}
	}
	assert_int_equal(scene_run(&s, &r), PTY_END_CLOSED);
	int status;

	assert_int_equal(waitpid(user, &status, 0), user);
	assert_int_equal(status, 0);
	scene_close(&s, seen, sizeof(seen));
}

static void detaches(void **state)
{
	struct scene s;
	struct pty_keys keys;
	struct pty_relay r = {.keys = &keys};
	char seen[4096];
	int status;

	assert_ok(pty_keys_parse("ctrl-p,ctrl-q", &keys));
	scene_open(&s, "sleep 60");
	assert_int_equal(write(s.user.master, "x\x10\x11", 3), 3);
	assert_int_equal(scene_run(&s, &r), PTY_END_DETACHED);
	assert_int_equal(child_wait(&s.child, 0, &status), -ETIMEDOUT); /* it runs on */
	scene_close(&s, seen, sizeof(seen));
}

/* A process that is left behind holds the slave: the end of the one that counts is the end. */
static void ends_with_the_process(void **state)
{
	struct scene s;
	struct pty_relay r = {0};
	char seen[4096];
	uint64_t start = loop_now_ns();

	scene_open(&s, "trap '' HUP; sleep 10 & echo last words");
	assert_int_equal(scene_run(&s, &r), PTY_END_CLOSED);
	assert_true(loop_now_ns() - start < 8000000000ull);
	scene_close(&s, seen, sizeof(seen));
	assert_string_equal(seen, "last words\r\n");
}

struct heard {
	int signals[8];
	unsigned count;
};

static bool hear(void *arg, int signo)
{
	struct heard *h = arg;

	h->signals[h->count++] = signo;
	return signo == SIGTERM;
}

/* Reads what the user sees until it has that text, whatever else comes. */
static void see(int fd, const char *text)
{
	static char seen[4096];
	static size_t n;

	while (!strstr(seen, text)) {
		ssize_t got = n < sizeof(seen) - 1 ? read(fd, seen + n, sizeof(seen) - 1 - n) : 0;

		if (got <= 0)
			_exit(1);
		n += (size_t)got;
	}
}

static void signals_and_sizes(void **state)
{
	struct scene s;
	struct heard h = {0};
	struct pty_relay r = {.on_signal = hear, .arg = &h};
	char rest[4096];
	int status;

	scene_open(&s, "trap 'stty size' WINCH; echo ready; while :; do sleep 0.02; done");
	fflush(NULL);
	pid_t user = fork();

	if (user == 0) {
		struct winsize size = {.ws_row = 20, .ws_col = 60};

		alarm(20);
		fcntl(s.user.master, F_SETFL, 0);
		see(s.user.master, "ready\r\n"); /* so the program has set its trap */
		ioctl(s.user.slave, TIOCSWINSZ, &size);
		kill(getppid(), SIGWINCH); /* not our controlling terminal: the kernel sends none */
		see(s.user.master, "20 60\r\n");
		kill(getppid(), SIGINT);
		usleep(10000);
		kill(getppid(), SIGTERM);
		_exit(0);
	}
	assert_int_equal(scene_run(&s, &r), PTY_END_SIGNAL);
	assert_int_equal(waitpid(user, &status, 0), user);
	assert_int_equal(status, 0);
	assert_int_equal(h.count, 2);
	assert_int_equal(h.signals[0], SIGINT);
	sigset_t now;

	sigprocmask(SIG_BLOCK, NULL, &now);
	assert_false(sigismember(&now, SIGTERM) || sigismember(&now, SIGWINCH));
	scene_close(&s, rest, sizeof(rest));
}

/* Input from a file that ends, output that goes nowhere: no busy waiting, no hang. */
static void input_may_end(void **state)
{
	struct scene s;
	struct pty_relay r = {0};
	_close_ int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	scene_open(&s, "sleep 0.2; echo done");
	r.in = r.out = null_fd;
	r.master = s.program.master;
	r.pidfd = -1;
	alarm(20);
	assert_int_equal(pty_relay(&r), PTY_END_CLOSED);
	alarm(0);
	char seen[64];

	scene_close(&s, seen, sizeof(seen));
}

int main(void)
{
	return TEST_RUN("pty", cmocka_unit_test(opens_a_pair), cmocka_unit_test(raw_and_back),
			cmocka_unit_test(restored_however_it_ends),
			cmocka_unit_test(keys_are_parsed), cmocka_unit_test(keys_are_found),
			cmocka_unit_test(relays_both_ways),
			cmocka_unit_test(much_output_arrives_whole), cmocka_unit_test(detaches),
			cmocka_unit_test(ends_with_the_process),
			cmocka_unit_test(signals_and_sizes), cmocka_unit_test(input_may_end));
}
