#include "fault.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fault_calls.h" /* from meson.build, which also gives the names to the linker */

/* One per symbol, in the order of FAULT_CALLS. */
enum call {
#define X(symbol) CALL_##symbol,
	FAULT_CALLS
#undef X
	    CALL_COUNT
};

static const char *const symbols[] = {
#define X(symbol) #symbol,
    FAULT_CALLS
#undef X
};

/* Calls that glibc 2.36 has no function for and that go through syscall(2). */
static const struct {
	long number;
	const char *name;
} by_number[] = {
    {SYS_openat2, "openat2"},
    {SYS_clone3, "clone3"},
    {SYS_pidfd_getfd, "pidfd_getfd"},
    {SYS_faccessat2, "faccessat2"},
    {SYS_landlock_create_ruleset, "landlock_create_ruleset"},
    {SYS_keyctl, "keyctl"},
    {SYS_bpf, "bpf"},
    {SYS_seccomp, "seccomp"},
    {SYS_execveat, "execveat"},
    {SYS_pivot_root, "pivot_root"},
    {SYS_mount_setattr, "mount_setattr"},
    {SYS_open_tree, "open_tree"},
    {SYS_move_mount, "move_mount"},
    {SYS_fsopen, "fsopen"},
    {SYS_fsconfig, "fsconfig"},
    {SYS_fsmount, "fsmount"},
};
#define NUMBER_COUNT (sizeof(by_number) / sizeof(by_number[0]))
#define NAME_COUNT   (CALL_COUNT + NUMBER_COUNT)

static struct {
	unsigned alloc_at, allocs;
	const char *name; /* of the call that fails; FAULT_ANY with call_at: each */
	unsigned call_at, matching;
	int err; /* 0: kill */
	unsigned calls[NAME_COUNT];
	bool hit;
} fault;

/* Is `symbol` the C library's spelling of the kernel's `name`: openat64, __openat_2, __read_chk …?
 */
static bool spells(const char *symbol, const char *name)
{
	size_t n = strlen(name);

	symbol += strncmp(symbol, "__", 2) ? 0 : 2;
	if (strncmp(symbol, name, n))
		return false;
	symbol += n;
	symbol += strncmp(symbol, "64", 2) ? 0 : 2;
	return !*symbol || !strcmp(symbol, "_chk") || !strcmp(symbol, "_2");
}

static const char *name_of(size_t i)
{
	return i < CALL_COUNT ? symbols[i] : by_number[i - CALL_COUNT].name;
}

/* Counts a call; true where it is the one that has to fail, with errno set. */
static bool fails(size_t i)
{
	__atomic_add_fetch(&fault.calls[i], 1, __ATOMIC_RELAXED);
	if (!fault.call_at || (fault.name && !spells(name_of(i), fault.name)))
		return false;
	if (__atomic_add_fetch(&fault.matching, 1, __ATOMIC_RELAXED) != fault.call_at)
		return false;
	fault.hit = true;
	if (!fault.err)
		kill(getpid(), SIGKILL);
	errno = fault.err;
	return true;
}

static bool alloc_fails(void)
{
	if (__atomic_add_fetch(&fault.allocs, 1, __ATOMIC_RELAXED) != fault.alloc_at)
		return false;
	fault.hit = true;
	errno = ENOMEM;
	return true;
}

/* The shims. One shape serves all calls, because the calling conventions of x86-64 and AArch64 pass
 * six words in registers whatever the prototype says; only the linker sees both ends. */
#define X(symbol)                                                                     \
	long __real_##symbol(long, long, long, long, long, long);                     \
	long __wrap_##symbol(long, long, long, long, long, long);                     \
	long __wrap_##symbol(long a, long b, long c, long d, long e, long f)          \
	{                                                                             \
		return fails(CALL_##symbol) ? -1 : __real_##symbol(a, b, c, d, e, f); \
	}
FAULT_CALLS
#undef X

long __real_syscall(long, long, long, long, long, long, long);
long __wrap_syscall(long, long, long, long, long, long, long);
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f)
{
	for (size_t i = 0; i < NUMBER_COUNT; i++)
		if (by_number[i].number == number && fails(CALL_COUNT + i))
			return -1;
	return __real_syscall(number, a, b, c, d, e, f);
}

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size)
{
	return alloc_fails() ? NULL : __real_malloc(size);
}

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
	return alloc_fails() ? NULL : __real_calloc(count, size);
}

void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size)
{
	return alloc_fails() ? NULL : __real_realloc(p, size);
}

/* vasprintf(3), as FORTIFY spells it and as it is. */
int __real___vasprintf_chk(char **ret, int flag, const char *fmt, va_list ap);
int __wrap___vasprintf_chk(char **ret, int flag, const char *fmt, va_list ap);
int __wrap___vasprintf_chk(char **ret, int flag, const char *fmt, va_list ap)
{
	return alloc_fails() ? -1 : __real___vasprintf_chk(ret, flag, fmt, ap);
}

int __real_vasprintf(char **ret, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
int __wrap_vasprintf(char **ret, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
int __wrap_vasprintf(char **ret, const char *fmt, va_list ap)
{
	return alloc_fails() ? -1 : __real_vasprintf(ret, fmt, ap);
}

static void check_name(const char *name)
{
	for (size_t i = 0; i < NAME_COUNT; i++)
		if (!name || spells(name_of(i), name))
			return;
	fprintf(stderr, "fault: no shim for '%s': add it to test/lib/meson.build\n", name);
	exit(255);
}

void fault_reset(void)
{
	memset(&fault, 0, sizeof(fault));
}

void fault_alloc_at(unsigned n)
{
	fault_reset();
	fault.alloc_at = n;
}

void fault_syscall_at(const char *name, unsigned n, int err)
{
	check_name(name);
	fault_reset();
	fault.name = name;
	fault.call_at = n;
	fault.err = err;
}

void fault_kill_at(const char *name, unsigned n)
{
	fault_syscall_at(name, n, 0);
}

bool fault_hit(void)
{
	return fault.hit;
}

unsigned fault_allocs(void)
{
	return fault.allocs;
}

unsigned fault_syscalls(const char *name)
{
	unsigned n = 0;

	check_name(name);
	for (size_t i = 0; i < NAME_COUNT; i++)
		if (!name || spells(name_of(i), name))
			n += fault.calls[i];
	return n;
}

int fault_run(int (*fn)(void *arg), void *arg)
{
	int status;

	fflush(NULL);
	pid_t pid = (pid_t)__real_fork(0, 0, 0, 0, 0, 0); /* not one of the calls under test */

	if (pid < 0) {
		perror("fork");
		exit(255);
	}
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){0});
		int rc = fn(arg);

		_exit((fault.alloc_at || fault.call_at) && !fault.hit ? 254 : rc);
	}
	while (waitpid(pid, &status, 0) < 0)
		;
	return status;
}
