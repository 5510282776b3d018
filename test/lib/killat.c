/* killat [-f [-a]] [-e ERRNO] [-n NAME[,NAME...]] [-v] N -- PROGRAM [ARG...]
 *
 * Runs PROGRAM and kills it by SIGKILL when it enters its N-th system call (from 1, counted from
 * its first instruction), which is not made any more. A test sweeps N from 1 until the answer is 1,
 * and looks after each round at what is left.
 *
 *   -f   counts the calls of all its children too, in the order in which they come, and kills the
 * process that makes the N-th; the others go on by themselves -a   with -f: kills all of them -e
 * does not kill: the N-th call fails with that errno (a number), unless it is brk, which knows no
 * errno -v   says on stderr which call it was, or how many there were
 *
 * N = 0 never matches. Exit status: 0 it was done, 1 PROGRAM ended before (its children are left
 * alone), 3 it was done by -e and PROGRAM died of a signal, 2 usage or killat's own trouble. Where
 * PROGRAM is not the one killed, 0 comes when it has ended. */
#include <elf.h>
#include <errno.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

/* glibc's sys/ptrace.h and linux/ptrace.h cannot both be included. */
#ifndef PTRACE_EVENT_STOP
#define PTRACE_EVENT_STOP 128
#endif

#define TRACEES_MAX 4096
#define NUMBERS_MAX 64

static struct {
	bool follow, all, verbose;
	int error;
	int numbers[NUMBERS_MAX]; /* of -n */
	size_t number_count;
	uint64_t at;
	pid_t program;
	int status; /* of the program, once it ended */
	bool ended;
	bool counting; /* from execve on */
	bool acted;
	pid_t failing; /* its call is to return -error */
	uint64_t calls;
	pid_t tracees[TRACEES_MAX];
	size_t tracee_count;
} k;

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "killat: %s: %s\n", what, strerror(errno));
	exit(2);
}

static void remember(pid_t tid)
{
	for (size_t i = 0; i < k.tracee_count; i++)
		if (k.tracees[i] == tid)
			return;
	if (k.tracee_count == TRACEES_MAX) {
		errno = E2BIG;
		die("too many processes");
	}
	k.tracees[k.tracee_count++] = tid;
}

/* A new child is traced before its first stop is seen. */
static void remember_child(pid_t parent)
{
	unsigned long child;

	if (ptrace(PTRACE_GETEVENTMSG, parent, 0, &child) == 0)
		remember((pid_t)child);
}

static void forget(pid_t tid)
{
	for (size_t i = 0; i < k.tracee_count; i++)
		if (k.tracees[i] == tid)
			k.tracees[i--] = k.tracees[--k.tracee_count];
}

/* Sets the number of the call about to be made, or what it returned. */
enum reg { REG_NUMBER, REG_RESULT };

static void set_reg(pid_t tid, enum reg which, int64_t value)
{
	struct user_regs_struct regs;
	struct iovec io = {&regs, sizeof(regs)};

#if defined(__aarch64__)
	int number = (int)value;
	struct iovec number_io = {&number, sizeof(number)};

	if (which == REG_NUMBER) {
		if (ptrace(PTRACE_SETREGSET, tid, NT_ARM_SYSTEM_CALL, &number_io) < 0)
			die("PTRACE_SETREGSET");
		return;
	}
#endif
	if (ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &io) < 0)
		die("PTRACE_GETREGSET");
#if defined(__x86_64__)
	*(which == REG_NUMBER ? &regs.orig_rax : &regs.rax) = (unsigned long long)value;
#elif defined(__aarch64__)
	regs.regs[0] = (uint64_t)value;
#else
#error "which register holds the result of a system call here?"
#endif
	if (ptrace(PTRACE_SETREGSET, tid, NT_PRSTATUS, &io) < 0)
		die("PTRACE_SETREGSET");
}

/* Those that live stop for it, and are let go then (resume). */
static void interrupt_all(void)
{
	for (size_t i = 0; i < k.tracee_count; i++)
		ptrace(PTRACE_INTERRUPT, k.tracees[i], 0, 0);
}

/* The N-th call is about to be made. */
static void act(pid_t tid, uint64_t number)
{
	k.acted = true;
	if (k.verbose) {
		char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, (int)number);

		fprintf(stderr, "killat: call %llu, %s\n", (unsigned long long)k.calls,
			name ? name : "?");
		free(name);
	}
	if (k.error && number == SYS_brk) /* the one call whose result is no errno: brk(2), NOTES */
		return;
	if (k.error) {
		k.failing = tid;
		set_reg(tid, REG_NUMBER, -1);
		return;
	}
	for (size_t i = 0; k.all && i < k.tracee_count; i++)
		kill(k.tracees[i], SIGKILL);
	kill(tid, SIGKILL);
	interrupt_all();
}

static bool counts(uint64_t number)
{
	for (size_t i = 0; i < k.number_count; i++)
		if ((int)number == k.numbers[i])
			return true;
	return !k.number_count;
}

static void syscall_stop(pid_t tid)
{
	struct __ptrace_syscall_info info;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(info), &info) < 0)
		return; /* killed meanwhile */
	if (info.op == PTRACE_SYSCALL_INFO_ENTRY && k.counting && !k.acted &&
	    counts(info.entry.nr)) {
		if (++k.calls == k.at)
			act(tid, info.entry.nr);
	} else if (info.op == PTRACE_SYSCALL_INFO_EXIT && tid == k.failing) {
		set_reg(tid, REG_RESULT, -k.error);
		k.failing = 0;
	}
}

/* Lets a stopped tracee go on: on a leash while there is something to do, else free. */
static void resume(pid_t tid, int sig, bool group_stop)
{
	if (k.ended || (k.acted && !k.failing)) {
		ptrace(PTRACE_DETACH, tid, 0, sig);
		forget(tid);
	} else {
		ptrace(group_stop ? PTRACE_LISTEN : PTRACE_SYSCALL, tid, 0, sig);
	}
}

static void stopped(pid_t tid, int status)
{
	int sig = WSTOPSIG(status), event = status >> 16;
	bool stop_signal = sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU;

	remember(tid);
	if (sig == (SIGTRAP | 0x80))
		syscall_stop(tid);
	else if (event == PTRACE_EVENT_EXEC)
		k.counting = true;
	else if (event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK ||
		 event == PTRACE_EVENT_CLONE)
		remember_child(tid);
	resume(tid, event || sig == (SIGTRAP | 0x80) ? 0 : sig,
	       event == PTRACE_EVENT_STOP && stop_signal);
}

/* Starts the program, stopped before its execve until it is traced. */
static void start(char **argv)
{
	int gate[2];
	long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;

	if (k.follow)
		options |= PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE;
	if (pipe(gate) < 0 || (k.program = fork()) < 0)
		die("fork");
	if (!k.program) {
		char go;

		close(gate[1]);
		if (read(gate[0], &go, 1) != 1)
			_exit(2);
		close(gate[0]);
		execvp(argv[0], argv);
		fprintf(stderr, "killat: %s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	if (ptrace(PTRACE_SEIZE, k.program, 0, options) < 0 ||
	    ptrace(PTRACE_INTERRUPT, k.program, 0, 0) < 0)
		die("cannot trace");
	close(gate[0]);
	if (write(gate[1], "", 1) != 1)
		die("pipe");
	close(gate[1]);
}

static void parse_names(char *names)
{
	for (char *name; (name = strsep(&names, ","));) {
		int number = seccomp_syscall_resolve_name(name);

		if (number < 0 || k.number_count == NUMBERS_MAX) {
			fprintf(stderr, "killat: no system call '%s' here\n", name);
			exit(2);
		}
		k.numbers[k.number_count++] = number;
	}
}

static void parse(int argc, char **argv)
{
	char *end;

	for (int opt; (opt = getopt(argc, argv, "+fae:n:v")) != -1;) {
		if (opt == 'f')
			k.follow = true;
		else if (opt == 'a')
			k.all = true;
		else if (opt == 'n')
			parse_names(optarg);
		else if (opt == 'v')
			k.verbose = true;
		else if (opt == 'e' && (k.error = atoi(optarg)) > 0)
			;
		else
			goto usage;
	}
	if (optind + 1 >= argc)
		goto usage;
	k.at = strtoull(argv[optind], &end, 10);
	if (*end || end == argv[optind])
		goto usage;
	return;
usage:
	fprintf(
	    stderr,
	    "usage: killat [-f [-a]] [-e ERRNO] [-n NAME[,NAME...]] [-v] N -- PROGRAM [ARG...]\n");
	exit(2);
}

int main(int argc, char **argv)
{
	parse(argc, argv);
	char **program = argv + optind + 1;

	start(!strcmp(program[0], "--") ? program + 1 : program);
	/* Children that outlive the program are let go, because PTRACE_O_EXITKILL would kill them
	 * with us. */
	while (!k.ended || k.tracee_count) {
		int status;
		pid_t tid = waitpid(-1, &status, __WALL);

		if (tid < 0 && errno == EINTR)
			continue;
		if (tid < 0)
			die("waitpid");
		if (WIFSTOPPED(status)) {
			stopped(tid, status);
			continue;
		}
		forget(tid);
		if (tid == k.program) {
			k.ended = true;
			k.status = status;
			interrupt_all();
		}
	}
	if (k.verbose && !k.acted)
		fprintf(stderr, "killat: %llu calls\n", (unsigned long long)k.calls);
	if (!k.acted)
		return 1;
	return k.error && WIFSIGNALED(k.status) ? 3 : 0;
}
