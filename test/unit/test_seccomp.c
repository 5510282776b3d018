#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "container/seccomp_int.h"
#include "specs.h"

#define X32        0x40000000
#define NO_SUCH    100000 /* newer than any profile */
#define ERRNO(e)   (SECCOMP_RET_ERRNO | (e))
#define EACH(i, a) for (size_t i = 0; i < ARRAY_SIZE(a); i++)
#define _program_  __attribute__((cleanup(seccomp_prog_done)))

static struct seccomp_prog build(const struct spec *s)
{
	struct seccomp_prog p;
	struct err e;

	if (seccomp_build(&s->seccomp, &p, &e) < 0)
		fail_msg("%s", e.msg);
	return p;
}

/* The part of the kernel's classic BPF that filters use:
 * Documentation/userspace-api/seccomp_filter.rst. */
static uint32_t evaluate(const struct seccomp_prog *p, const struct seccomp_data *data)
{
	uint32_t a = 0;

	for (size_t pc = 0; pc < p->count; pc++) {
		const struct sock_filter *i = &p->insns[pc];
		bool taken = false;

		switch (i->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			assert_in_range(i->k, 0, sizeof(*data) - 4);
			memcpy(&a, (const char *)data + i->k, 4);
			continue;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= i->k;
			continue;
		case BPF_RET | BPF_K:
			return i->k;
		case BPF_JMP | BPF_JA:
			pc += i->k;
			continue;
		case BPF_JMP | BPF_JEQ | BPF_K:
			taken = a == i->k;
			break;
		case BPF_JMP | BPF_JGT | BPF_K:
			taken = a > i->k;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			taken = a >= i->k;
			break;
		case BPF_JMP | BPF_JSET | BPF_K:
			taken = a & i->k;
			break;
		default:
			fail_msg("instruction %zu: unexpected code %#x", pc, i->code);
		}
		pc += taken ? i->jt : i->jf;
	}
	fail_msg("ran off the end");
	return 0;
}

static uint32_t decide(const struct seccomp_prog *p, uint32_t arch, int nr, uint64_t arg0,
		       uint64_t arg1)
{
	struct seccomp_data data = {.nr = nr, .arch = arch, .args = {arg0, arg1}};

	return evaluate(p, &data);
}

/* Decision for a call of the native architecture, by name. */
static uint32_t native(const struct seccomp_prog *p, const char *name, uint64_t arg0, uint64_t arg1)
{
	int nr = seccomp_syscall_resolve_name(name);

	assert_true(nr >= 0);
	return decide(p, seccomp_arch_native(), nr, arg0, arg1);
}

static void docker_profile(void **state)
{
	_spec_ struct spec *s = specs_file("docker.json");
	_program_ struct seccomp_prog p = build(s);
	uint32_t arch = seccomp_arch_native();

	assert_int_equal(native(&p, "read", 0, 0), SECCOMP_RET_ALLOW);
	assert_int_equal(native(&p, "keyctl", 0, 0), ERRNO(EPERM));
	assert_int_equal(native(&p, "personality", 0, 0), SECCOMP_RET_ALLOW);
	assert_int_equal(native(&p, "personality", 7, 0), ERRNO(EPERM));
	assert_int_equal(native(&p, "clone", CLONE_VM, 0), SECCOMP_RET_ALLOW);
	assert_int_equal(native(&p, "clone", CLONE_VM | CLONE_NEWUSER, 0), ERRNO(EPERM));
	assert_int_equal(decide(&p, arch, NO_SUCH, 0, 0), ERRNO(ENOSYS));
}

/* One program for three ABIs, told apart by the architecture and by bit 30 of the number. */
static void docker_profile_on_other_abis(void **state)
{
	_spec_ struct spec *s = specs_file("docker.json");
	_program_ struct seccomp_prog p = {0};

	if (seccomp_arch_native() != SCMP_ARCH_X86_64)
		test_skip("the document is for x86-64");
	p = build(s);

	static const struct {
		const char *name;
		uint32_t decision;
	} rows[] = {
	    {"read", SECCOMP_RET_ALLOW},
	    {"futex", SECCOMP_RET_ALLOW},
	    {"keyctl", ERRNO(EPERM)},
	    {"userfaultfd", ERRNO(EPERM)},
	};

	EACH(i, rows)
	{
		int x86 = seccomp_syscall_resolve_name_arch(SCMP_ARCH_X86, rows[i].name);
		int x32 = seccomp_syscall_resolve_name_arch(SCMP_ARCH_X32, rows[i].name);

		assert_true(x32 & X32);
		assert_int_equal(decide(&p, AUDIT_ARCH_I386, x86, 0, 0), rows[i].decision);
		assert_int_equal(decide(&p, AUDIT_ARCH_X86_64, x32, 0, 0), rows[i].decision);
	}
	/* i386 has socket(2) twice: as itself and as call 1 of socketcall(2). */
	assert_int_equal(decide(&p, AUDIT_ARCH_I386, 359, 0, 0), SECCOMP_RET_ALLOW);
	assert_int_equal(decide(&p, AUDIT_ARCH_I386, 102, 1, 0), SECCOMP_RET_ALLOW);
	assert_int_equal(decide(&p, AUDIT_ARCH_I386, NO_SUCH, 0, 0), ERRNO(ENOSYS));
	assert_int_equal(decide(&p, AUDIT_ARCH_X86_64, X32 | NO_SUCH, 0, 0), ERRNO(ENOSYS));
	assert_int_equal(decide(&p, AUDIT_ARCH_AARCH64, 0, 0, 0), SECCOMP_RET_KILL_THREAD);
	assert_int_equal(decide(&p, AUDIT_ARCH_AARCH64, NO_SUCH, 0, 0), SECCOMP_RET_KILL_THREAD);
}

/* x32 calls are no way round a filter that does not list the ABI. */
static void unlisted_abis_are_killed(void **state)
{
	_spec_ struct spec *s = specs_seccomp("'defaultAction':'SCMP_ACT_ERRNO','syscalls':"
					      "[{'names':['read'],'action':'SCMP_ACT_ALLOW'}]");
	_program_ struct seccomp_prog p = {0};

	if (seccomp_arch_native() != SCMP_ARCH_X86_64)
		test_skip("needs x86-64");
	p = build(s);
	assert_int_equal(decide(&p, AUDIT_ARCH_X86_64, 0, 0, 0), SECCOMP_RET_ALLOW);
	assert_int_equal(decide(&p, AUDIT_ARCH_X86_64, X32, 0, 0), SECCOMP_RET_KILL_THREAD);
	assert_int_equal(decide(&p, AUDIT_ARCH_X86_64, X32 | NO_SUCH, 0, 0),
			 SECCOMP_RET_KILL_THREAD);
	assert_int_equal(decide(&p, AUDIT_ARCH_I386, 3, 0, 0), SECCOMP_RET_KILL_THREAD);
}

static void prologue_only_where_unknown_calls_are_denied(void **state)
{
	static const struct {
		const char *action;
		uint32_t unknown, largest; /* decisions for NO_SUCH, and for what no rule names */
	} rows[] = {
	    {"'SCMP_ACT_ERRNO'", ERRNO(ENOSYS), ERRNO(EPERM)},
	    {"'SCMP_ACT_ERRNO','defaultErrnoRet':13", ERRNO(ENOSYS), ERRNO(EACCES)},
	    {"'SCMP_ACT_KILL'", ERRNO(ENOSYS), SECCOMP_RET_KILL_THREAD},
	    {"'SCMP_ACT_KILL_PROCESS'", ERRNO(ENOSYS), SECCOMP_RET_KILL_PROCESS},
	    {"'SCMP_ACT_TRAP'", ERRNO(ENOSYS), SECCOMP_RET_TRAP},
	    {"'SCMP_ACT_ERRNO','defaultErrnoRet':38", ERRNO(ENOSYS), ERRNO(ENOSYS)},
	    {"'SCMP_ACT_ALLOW'", SECCOMP_RET_ALLOW, SECCOMP_RET_ALLOW},
	    {"'SCMP_ACT_LOG'", SECCOMP_RET_LOG, SECCOMP_RET_LOG},
	    {"'SCMP_ACT_TRACE','defaultErrnoRet':5", SECCOMP_RET_TRACE | 5, SECCOMP_RET_TRACE | 5},
	};

	EACH(i, rows)
	{
		_free_ char *members =
		    mem_printf("'defaultAction':%s,'syscalls':[{'names':['openat2',"
			       "'no_such_call'],'action':'SCMP_ACT_ERRNO','errnoRet':1000}]",
			       rows[i].action);
		_spec_ struct spec *s = specs_seccomp(members);
		_program_ struct seccomp_prog p = build(s);

		assert_int_equal(decide(&p, seccomp_arch_native(), NO_SUCH, 0, 0), rows[i].unknown);
		assert_int_equal(native(&p, "gettid", 0, 0), rows[i].largest);
		assert_int_equal(native(&p, "openat2", 0, 0), ERRNO(1000));
	}
}

static void no_rules_at_all(void **state)
{
	_spec_ struct spec *s = specs_seccomp("'defaultAction':'SCMP_ACT_ERRNO'");
	_program_ struct seccomp_prog p = build(s);

	assert_int_equal(native(&p, "read", 0, 0), ERRNO(EPERM));
}

/* libseccomp's optimizer must not be let loose on no rules at all. */
static void unknown_names_only(void **state)
{
	_buf_ struct buf b = {0};

	buf_adds(
	    &b,
	    "'defaultAction':'SCMP_ACT_ERRNO','syscalls':[{'action':'SCMP_ACT_ALLOW','names':['x'");
	for (int i = 0; i < 100; i++)
		buf_addf(&b, ",'x%d'", i);
	buf_adds(&b, "]}]");
	_spec_ struct spec *s = specs_seccomp(b.s);
	_program_ struct seccomp_prog p = build(s);

	assert_int_equal(native(&p, "read", 0, 0), ERRNO(EPERM));
}

static void operators(void **state)
{
	const uint64_t big = UINT64_C(0x100000005);
	static const struct {
		const char *op;
		bool below, equal, above;
	} rows[] = {
	    {"NE", true, false, true},  {"LT", true, false, false}, {"LE", true, true, false},
	    {"EQ", false, true, false}, {"GE", false, true, true},  {"GT", false, false, true},
	};

	EACH(i, rows)
	{
		_free_ char *members =
		    mem_printf("'defaultAction':'SCMP_ACT_ALLOW','syscalls':[{'names':['mkdirat'],"
			       "'action':'SCMP_ACT_KILL_PROCESS','args':[{'index':1,'value':%llu,'"
			       "op':'SCMP_CMP_%s'}]}]",
			       (unsigned long long)big, rows[i].op);
		_spec_ struct spec *s = specs_seccomp(members);
		_program_ struct seccomp_prog p = build(s);

		assert_int_equal(native(&p, "mkdirat", 0, big - 1) != SECCOMP_RET_ALLOW,
				 rows[i].below);
		assert_int_equal(native(&p, "mkdirat", 0, big) != SECCOMP_RET_ALLOW, rows[i].equal);
		assert_int_equal(native(&p, "mkdirat", 0, big + 1) != SECCOMP_RET_ALLOW,
				 rows[i].above);
		assert_int_equal(native(&p, "mkdirat", 0, 5) != SECCOMP_RET_ALLOW, rows[i].below);
	}

	_spec_ struct spec *s = specs_seccomp(
	    "'defaultAction':'SCMP_ACT_ALLOW','syscalls':[{'names':['mkdirat'],'action':"
	    "'SCMP_ACT_LOG','args':[{'index':0,'value':18446744073709551600,'valueTwo':32,"
	    "'op':'SCMP_CMP_MASKED_EQ'}]}]");
	_program_ struct seccomp_prog p = build(s);

	assert_int_equal(native(&p, "mkdirat", 47, 0), SECCOMP_RET_LOG);
	assert_int_equal(native(&p, "mkdirat", 48, 0), SECCOMP_RET_ALLOW);
	assert_int_equal(native(&p, "mkdirat", big + 32, 0), SECCOMP_RET_ALLOW);
}

static void conditions_are_joined(void **state)
{
#define CONDITIONS(first, second)                                                     \
	"'defaultAction':'SCMP_ACT_ERRNO','syscalls':[{'names':['mkdirat'],'action':" \
	"'SCMP_ACT_ALLOW','args':[{'index':" first ",'value':1,'op':'SCMP_CMP_EQ'},"  \
	"{'index':" second ",'value':2,'op':'SCMP_CMP_EQ'}]}]"
	_spec_ struct spec *both = specs_seccomp(CONDITIONS("0", "1"));
	_spec_ struct spec *either = specs_seccomp(CONDITIONS("0", "0"));
	_program_ struct seccomp_prog and = build(both);
	_program_ struct seccomp_prog or = build(either);

	assert_int_equal(native(&and, "mkdirat", 1, 2), SECCOMP_RET_ALLOW);
	assert_int_equal(native(&and, "mkdirat", 1, 1), ERRNO(EPERM));
	assert_int_equal(native(&and, "mkdirat", 2, 2), ERRNO(EPERM));
	assert_int_equal(native(& or, "mkdirat", 1, 0), SECCOMP_RET_ALLOW);
	assert_int_equal(native(& or, "mkdirat", 2, 0), SECCOMP_RET_ALLOW);
	assert_int_equal(native(& or, "mkdirat", 3, 0), ERRNO(EPERM));
}

static void rules_that_change_nothing(void **state)
{
	_spec_ struct spec *s =
	    specs_seccomp("'defaultAction':'SCMP_ACT_ERRNO','syscalls':[{'names':['"
			  "mkdirat'],'action':'SCMP_ACT_ERRNO'},"
			  "{'names':['read','read'],'action':'SCMP_ACT_ALLOW'},{'"
			  "names':['read'],'action':'SCMP_ACT_ALLOW'}]");
	_program_ struct seccomp_prog p = build(s);

	assert_int_equal(native(&p, "mkdirat", 0, 0), ERRNO(EPERM));
	assert_int_equal(native(&p, "read", 0, 0), SECCOMP_RET_ALLOW);
}

static void notify_has_limits(void **state)
{
	static const char *const rows[] = {
	    "'listenerPath':'/a','defaultAction':'SCMP_ACT_NOTIFY'",
	    "'listenerPath':'/a','defaultAction':'SCMP_ACT_ALLOW','syscalls':"
	    "[{'names':['mkdir','write'],'action':'SCMP_ACT_NOTIFY'}]",
	};

	EACH(i, rows)
	{
		_spec_ struct spec *s = specs_seccomp(rows[i]);
		struct seccomp_prog p = {0};
		struct err e;

		assert_int_equal(seccomp_build(&s->seccomp, &p, &e), -EINVAL);
		assert_int_equal(e.code, ERR_SECCOMP);
		assert_null(p.insns);
	}
}

/* --- in the kernel --- */

/* Runs fn under the filter in a child; its value is the exit status. */
static int under(const struct spec *s, const struct seccomp_prog *p, int sock,
		 int (*fn)(int listener, int sock))
{
	pid_t pid = fork();

	if (pid)
		return pid;
	int listener;
	struct err e;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    seccomp_prog_load(&s->seccomp, p, &listener, &e) < 0)
		_exit(100);
	_exit(fn(listener, sock));
}

static int exit_status(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int try_calls(int listener, int sock)
{
	if (listener != -1)
		return 1;
	if (getpid() <= 0)
		return 2;
	if (syscall(SYS_keyctl, 0, 0, 0, 0, 0) != -1 || errno != EPERM)
		return 3;
	if (syscall(NO_SUCH) != -1 || errno != ENOSYS)
		return 4;
	if (unshare(CLONE_NEWUSER) != -1 || errno != EPERM)
		return 5;
	if (prctl(PR_GET_SECCOMP) != SECCOMP_MODE_FILTER)
		return 6;
	return 0;
}

static void docker_profile_in_the_kernel(void **state)
{
	_spec_ struct spec *s = specs_file("docker.json");
	_program_ struct seccomp_prog p = build(s);

	assert_int_equal(s->seccomp.flags, SECCOMP_FILTER_FLAG_SPEC_ALLOW);
	assert_int_equal(exit_status(under(s, &p, -1, try_calls)), 0);
}

static int send_and_mkdir(int listener, int sock)
{
	struct err e;

	if (!(fcntl(listener, F_GETFD) & FD_CLOEXEC))
		return 1;
	if (seccomp_send_listener(sock, listener, "{\"state\":1}", &e) < 0)
		return 2;
	close(listener);
	close(sock);
	return syscall(SYS_mkdirat, -1, "/x", 0) == -1 && errno == EXDEV ? 0 : 3;
}

static int receive_listener(int sock, char *text, size_t size)
{
	struct iovec iov = {text, size - 1};
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(sock, &msg, 0);
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	int fd;

	assert_true(n > 0);
	text[n] = '\0';
	assert_non_null(c);
	assert_int_equal(c->cmsg_type, SCM_RIGHTS);
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

static void an_agent_answers(void **state)
{
	_spec_ struct spec *s =
	    specs_seccomp("'defaultAction':'SCMP_ACT_ALLOW','listenerPath':'/a','flags':"
			  "['SECCOMP_FILTER_FLAG_LOG','SECCOMP_FILTER_FLAG_TSYNC'],'syscalls':"
			  "[{'names':['mkdirat'],'action':'SCMP_ACT_NOTIFY'}]");
	_program_ struct seccomp_prog p = build(s);
	struct seccomp_notif req = {0};
	struct seccomp_notif_resp resp = {.error = -EXDEV};
	char text[64];
	int socks[2];

	assert_true(p.has_notify);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks), 0);
	pid_t pid = under(s, &p, socks[1], send_and_mkdir);

	close(socks[1]);
	_close_ int sock = socks[0];
	_close_ int listener = receive_listener(sock, text, sizeof(text));

	assert_string_equal(text, "{\"state\":1}");
	assert_int_equal(ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &req), 0);
	assert_int_equal(req.data.nr, SYS_mkdirat);
	resp.id = req.id;
	assert_int_equal(ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &resp), 0);
	assert_int_equal(exit_status(pid), 0);
}

static void a_closed_agent_is_an_error(void **state)
{
	int socks[2];
	struct err e;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks), 0);
	close(socks[1]);
	assert_int_equal(seccomp_send_listener(socks[0], socks[0], "{}", &e), -EPIPE);
	close(socks[0]);
}

static void names(void **state)
{
	uint32_t value;
	uint64_t flag;
	int op;

	for (const char *const *n = seccomp_known_actions(); *n; n++)
		assert_true(seccomp_action_by_name(*n, 1, &value));
	for (const char *const *n = seccomp_known_archs(); *n; n++)
		assert_true(seccomp_arch_by_name(*n, &value));
	for (const char *const *n = seccomp_known_operators(); *n; n++)
		assert_true(seccomp_op_by_name(*n, &op));
	for (const char *const *n = seccomp_supported_flags(); *n; n++)
		assert_true(seccomp_flag_by_name(*n, &flag));
	assert_true(seccomp_action_by_name("SCMP_ACT_ERRNO", 7, &value));
	assert_int_equal(value, SCMP_ACT_ERRNO(7));
	assert_true(seccomp_action_by_name("SCMP_ACT_ALLOW", 7, &value));
	assert_int_equal(value, SCMP_ACT_ALLOW);
	assert_false(seccomp_action_by_name("allow", 0, &value));
	assert_false(seccomp_flag_by_name("", &flag));
}

int main(void)
{
	return TEST_RUN(
	    "seccomp", cmocka_unit_test(docker_profile),
	    cmocka_unit_test(docker_profile_on_other_abis),
	    cmocka_unit_test(unlisted_abis_are_killed),
	    cmocka_unit_test(prologue_only_where_unknown_calls_are_denied),
	    cmocka_unit_test(no_rules_at_all), cmocka_unit_test(unknown_names_only),
	    cmocka_unit_test(operators), cmocka_unit_test(conditions_are_joined),
	    cmocka_unit_test(rules_that_change_nothing), cmocka_unit_test(notify_has_limits),
	    cmocka_unit_test(docker_profile_in_the_kernel), cmocka_unit_test(an_agent_answers),
	    cmocka_unit_test(a_closed_agent_is_an_error), cmocka_unit_test(names));
}
