/* Faults inside the store: the n-th allocation (SQLite's and ours) and the n-th system call
 * (SQLite's by its VFS, ours by fault.h) fail, for every n. A verb then succeeds or says so, the
 * store is never damaged, and what was acknowledged is there. test/system/state.bats does the same
 * from outside, and kills. */
#include "test.h"

#include "base/cleanup.h"
#include "fault.h"
#include "os/path.h"
#include "state/state.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define SWEEP_MAX 20000 /* far more steps than any operation has */

static char dir[64];

static int setup(void **arg)
{
	/* Thousands of syncs: in memory, if possible. */
	strcpy(dir, path_access(AT_FDCWD, "/dev/shm", W_OK) ? "/tmp/test_state.XXXXXX"
							    : "/dev/shm/test_state.XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **arg)
{
	fault_reset();
	return path_remove_tree(AT_FDCWD, dir);
}

/* --- SQLite's allocations --- */

static struct {
	sqlite3_mem_methods real;
	unsigned at, count; /* the at-th fails, and every later one until it is reset, as when
			       memory is gone */
} heap;

static bool heap_fails(void)
{
	return heap.at && ++heap.count >= heap.at;
}

static void *heap_malloc(int n)
{
	return heap_fails() ? NULL : heap.real.xMalloc(n);
}

static void *heap_realloc(void *p, int n)
{
	return heap_fails() ? NULL : heap.real.xRealloc(p, n);
}

static void heap_install(void)
{
	sqlite3_mem_methods failing;

	sqlite3_config(SQLITE_CONFIG_GETMALLOC, &heap.real);
	failing = heap.real;
	failing.xMalloc = heap_malloc;
	failing.xRealloc = heap_realloc;
	sqlite3_config(SQLITE_CONFIG_MALLOC, &failing);
	sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0); /* else small ones are not seen */
}

/* --- SQLite's system calls --- */

typedef ssize_t rw_call(int, void *, size_t, off_t);

static struct {
	unsigned at, count;
	int error;
	int (*open)(const char *, int, int);
	int (*ftruncate)(int, off_t);
	rw_call *pread, *pwrite;
	void *(*mmap)(void *, size_t, int, int, int, off_t);
} sys;

static bool sys_fails(void)
{
	errno = sys.error;
	return sys.at && ++sys.count == sys.at;
}

static int sys_open(const char *path, int flags, int mode)
{
	return sys_fails() ? -1 : sys.open(path, flags, mode);
}

static int sys_ftruncate(int fd, off_t size)
{
	return sys_fails() ? -1 : sys.ftruncate(fd, size);
}

static ssize_t sys_pread(int fd, void *p, size_t n, off_t at)
{
	return sys_fails() ? -1 : sys.pread(fd, p, n, at);
}

static ssize_t sys_pwrite(int fd, void *p, size_t n, off_t at)
{
	return sys_fails() ? -1 : sys.pwrite(fd, p, n, at);
}

static void *sys_mmap(void *p, size_t n, int prot, int flags, int fd, off_t at)
{
	return sys_fails() ? MAP_FAILED : sys.mmap(p, n, prot, flags, fd, at);
}

static void *sys_replace(const char *name, void *call)
{
	sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
	void *real = (void *)vfs->xGetSystemCall(vfs, name);

	if (vfs->xSetSystemCall(vfs, name, (sqlite3_syscall_ptr)call) != SQLITE_OK)
		fail_msg("SQLite has no call '%s'", name);
	return real;
}

static void sys_install(void)
{
	sys.open = sys_replace("open", sys_open);
	sys.ftruncate = sys_replace("ftruncate", sys_ftruncate);
	sys.pread = sys_replace("pread64", sys_pread);
	sys.pwrite = sys_replace("pwrite64", sys_pwrite);
	sys.mmap = sys_replace("mmap", sys_mmap);
}

/* --- the operation --- */

static int add(struct state *s, const char *key, int *ret_acknowledged, struct err *e)
{
	int rc = state_put(s, state_str(key), state_str("v"), 0, NULL, e);

	*ret_acknowledged += !rc;
	return rc;
}

/* Opens, puts three keys one by one, reads; ends at the first failure. */
static int operate(int *ret_acknowledged, struct err *e)
{
	_state_result_ struct state_result found = {0};
	struct state *s;
	int rc = state_open(dir, NULL, &s, e);

	if (rc)
		return rc;
	for (int i = 0; i < 3 && !rc; i++)
		rc = add(s, (const char *[]){"a", "b", "c"}[i], ret_acknowledged, e);
	rc = rc ? rc : state_range(s, &(struct state_range){.prefix = true}, &found, e);
	if (!rc)
		assert_int_equal(found.n, 3);
	state_free(s);
	return rc;
}

/* Without faults: what was acknowledged, at most one more, and it works. */
static void verify(int acknowledged)
{
	_state_result_ struct state_result found = {0};
	struct state *s;
	struct err e = {0};

	if (state_open(dir, NULL, &s, &e) ||
	    state_range(s, &(struct state_range){.prefix = true}, &found, &e))
		fail_msg("%s", e.msg);
	assert_in_range(found.n, (uintmax_t)acknowledged, (uintmax_t)acknowledged + 1);
	assert_int_equal(found.revision, 1 + found.n);
	assert_ok(state_put(s, state_str("d"), state_str("v"), 0, NULL, &e));
	state_free(s);
	assert_ok(path_remove_tree(AT_FDCWD, dir));
}

/* Arms the fault for n = 1, 2, … until it no longer happens. Returns how many n failed visibly. */
static int sweep(void (*arm)(unsigned n), bool (*happened)(void), const int *errors)
{
	int failures = 0;

	for (unsigned n = 1; n < SWEEP_MAX; n++) {
		int acknowledged = 0;
		struct err e = {0};

		arm(n);
		int rc = operate(&acknowledged, &e);
		bool hit = happened();

		arm(0);
		if (rc) {
			const int *want = errors;

			while (*want && *want != rc)
				want++;
			if (!*want)
				fail_msg("n = %u: unexpected %d: %s", n, rc, e.msg);
			assert_true(e.msg[0]);
			failures++;
		} else {
			assert_int_equal(acknowledged, 3);
		}
		verify(acknowledged);
		if (!hit)
			return failures;
	}
	fail_msg("the fault happens for ever");
	return 0;
}

static void arm_heap(unsigned n)
{
	heap.at = n;
	heap.count = 0;
}

static bool heap_happened(void)
{
	return heap.count >= heap.at;
}

static void sqlite_allocations(void **arg)
{
	static const int errors[] = {-ENOMEM, 0};

	assert_true(sweep(arm_heap, heap_happened, errors) > 50);
}

static void arm_sys(unsigned n)
{
	sys.at = n;
	sys.count = 0;
}

static bool sys_happened(void)
{
	return sys.count >= sys.at;
}

static void sqlite_system_calls(void **arg)
{
	static const struct {
		int error;
		/* Where the file cannot be opened for writing, SQLite reads it only; where the log
		 * cannot be created, it forgets why. */
		int seen[4];
	} faults[] = {
	    {ENOSPC, {-ENOSPC, -EROFS, -EIO}},
	    {EIO, {-EIO, -EROFS, -EBADMSG}},
	    {EROFS, {-EROFS, -EIO}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		sys.error = faults[i].error;
		assert_true(sweep(arm_sys, sys_happened, faults[i].seen) > 10);
	}
}

static void arm_ours(unsigned n)
{
	if (n)
		fault_syscall_at(FAULT_ANY, n, EIO);
	else
		fault_reset();
}

static void our_system_calls(void **arg)
{
	static const int errors[] = {-EIO, 0};

	assert_true(sweep(arm_ours, fault_hit, errors) > 3);
}

/* Ours abort the process when they are small: then the next one finds everything acknowledged. */
static int operate_without_memory(void *arg)
{
	struct err e = {0};
	int *acknowledged = arg;

	fault_alloc_at((unsigned)acknowledged[1]);
	int rc = operate(acknowledged, &e);

	return rc && rc != -ENOMEM;
}

static void our_allocations(void **arg)
{
	int *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int failures = 0;

	assert_ptr_not_equal(shared, MAP_FAILED);
	for (shared[1] = 1; shared[1] < SWEEP_MAX; shared[1]++) {
		shared[0] = 0;
		int status = fault_run(operate_without_memory, shared);

		verify(shared[0]);
		if (WIFEXITED(status) && WEXITSTATUS(status) == 254)
			break; /* not so many allocations */
		assert_true((WIFEXITED(status) && WEXITSTATUS(status) == 0) ||
			    (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT));
		failures++;
	}
	assert_in_range(failures, 5, 1000);
	munmap(shared, 4096);
}

int main(void)
{
	heap_install();
	sys_install();
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	return TEST_RUN("state_fault", T(sqlite_allocations), T(sqlite_system_calls),
			T(our_system_calls), T(our_allocations));
}
