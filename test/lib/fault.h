/* Faults on request: the n-th allocation or system call from now on fails, or kills the process.
 * A test program opts in by the dependency `fault` (test/unit/meson.build), which links it with
 * --wrap: calls from our archives and from the test itself go through the shims, those inside
 * shared libraries do not.
 *
 * Program-sized allocations (base/mem.h) abort when they fail, on purpose: run them in fault_run(),
 * which forks. The usual form is a sweep over every step of an operation:
 *
 *	for (unsigned n = 1;; n++) {
 *		fault_syscall_at("openat", n, EMFILE);
 *		int rc = operation();
 *		if (!fault_hit())
 *			break;
 *		assert_int_equal(rc, -EMFILE);	… and nothing is left behind
 *	}
 */
#ifndef TEST_LIB_FAULT_H
#define TEST_LIB_FAULT_H

#include <stdbool.h>

/* Any name. */
#define FAULT_ANY NULL

/* The n-th (from 1) allocation from now on fails once; 0 turns it off. */
void fault_alloc_at(unsigned n);
/* The n-th call of that name from now on fails once with errno `err`. Names are the kernel's
 * ("openat", "openat2", "read"); one that has no shim ends the test program, so that no sweep is
 * empty by mistake. FAULT_ANY counts every shimmed call. */
void fault_syscall_at(const char *name, unsigned n, int err);
/* The process kills itself by SIGKILL at the n-th call, before it is made. */
void fault_kill_at(const char *name, unsigned n);
/* Everything works again, counters are 0. */
void fault_reset(void);

/* The fault that was asked for last has happened. */
bool fault_hit(void);
/* Allocations, and calls of that name, since the fault was asked for or fault_reset(). */
unsigned fault_allocs(void);
unsigned fault_syscalls(const char *name);

/* Runs fn(arg) in a forked child without core dump and returns its wait status. The child exits
 * with fn's result, and with 254 where it returned although the fault it asked for never happened.
 */
int fault_run(int (*fn)(void *arg), void *arg);

#endif
