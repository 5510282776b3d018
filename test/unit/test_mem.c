#include "test.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/vec.h"
#include "fault.h"

static void zeroed_and_never_null(void **state)
{
	_free_ char *a = mem_alloc(0);
	_free_ int *b = mem_array(0, sizeof(int));
	_free_ int *c = mem_array(100, sizeof(int));
	_free_ char *d = mem_grow(NULL, 0, 1);

	assert_non_null(a);
	assert_non_null(b);
	assert_non_null(d);
	for (int i = 0; i < 100; i++)
		assert_int_equal(c[i], 0);
}

static void copies(void **state)
{
	_free_ char *a = mem_dup("a\0b", 4);
	_free_ char *b = mem_strdup("");
	_free_ char *c = mem_strndup("abcdef", 3);
	_free_ char *d = mem_strndup("ab", 99);
	_free_ char *f = mem_printf("%s-%d", "x", 7);

	assert_memory_equal(a, "a\0b", 4);
	assert_string_equal(b, "");
	assert_string_equal(c, "abc");
	assert_string_equal(d, "ab");
	assert_string_equal(f, "x-7");
}

static void foreign_sizes_are_bounded(void **state)
{
	_free_ int *fits = mem_try_array(4, sizeof(int), 16);

	assert_non_null(fits);
	assert_null(mem_try_array(5, sizeof(int), 16));
	assert_null(mem_try_array(SIZE_MAX / 2, 4, SIZE_MAX));
	assert_null(mem_try_array(2, SIZE_MAX / 2 + 1, SIZE_MAX));
	_free_ char *none = mem_try_array(0, SIZE_MAX, 16);

	assert_non_null(none);
	fault_alloc_at(1);
	assert_null(mem_try_array(4, sizeof(int), 16));
	assert_true(fault_hit());
	fault_reset();
}

static int do_alloc(void *arg)
{
	free(mem_alloc(1));
	return 0;
}

static int do_array(void *arg)
{
	free(mem_array(1, 1));
	return 0;
}

static int do_grow(void *arg)
{
	free(mem_grow(NULL, 1, 1));
	return 0;
}

static int do_dup(void *arg)
{
	free(mem_dup("", 1));
	return 0;
}

static int do_strndup(void *arg)
{
	free(mem_strndup("", 1));
	return 0;
}

static int do_printf(void *arg)
{
	free(mem_printf("%d", *(int *)arg));
	return 0;
}

static int do_buf(void *arg)
{
	_buf_ struct buf b = {0};

	buf_adds(&b, "x");
	return 0;
}

static int do_vec(void *arg)
{
	VEC(int) v = {0};

	vec_push(&v, 1);
	vec_done(&v);
	return 0;
}

static int do_overflow(void *arg)
{
	free(mem_grow(NULL, SIZE_MAX / 2, 4));
	return 0;
}

static void aborts_without_memory(void **state)
{
	static int (*const fns[])(void *) = {do_alloc,   do_array,  do_grow, do_dup,
					     do_strndup, do_printf, do_buf,  do_vec};
	int seven = 7;

	for (size_t i = 0; i < ARRAY_SIZE(fns); i++) {
		fault_reset();
		int status = fault_run(fns[i], &seven);

		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
		fault_alloc_at(1);
		status = fault_run(fns[i], &seven);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGABRT);
	}
	fault_reset();
	int status = fault_run(do_overflow, NULL);

	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void frees_vectors_of_strings(void **state)
{
	_strv_ char **v = mem_array(3, sizeof(*v));

	v[0] = mem_strdup("a");
	v[1] = mem_strdup("b"); /* LeakSanitizer sees what stays */
	mem_strv_free(NULL);
}

static void vec_grows(void **state)
{
	struct pair {
		int a, b;
	};
	VEC(struct pair) v = {0};
	int seen = 0;

	vec_each (p, &v)
		fail();
	for (int i = 0; i < 1000; i++)
		vec_push(&v, (struct pair){i, -i});
	assert_int_equal(v.n, 1000);
	vec_each (p, &v) {
		assert_int_equal(p->a, seen);
		assert_int_equal(p->b, -seen);
		seen++;
	}
	assert_int_equal(seen, 1000);
	vec_done(&v);
	assert_null(v.v);
}

static void cleanup_closes_and_keeps_errno(void **state)
{
	int kept, fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	{
		_close_ int a = fds[0];
		_close_ int b = fds[1];

		kept = STEAL_FD(b);
		assert_int_equal(b, -1);
		errno = EXDEV;
		assert_int_equal(a, fds[0]);
	}
	assert_int_equal(errno, EXDEV);
	assert_int_equal(fcntl(fds[0], F_GETFD), -1);
	assert_true(fcntl(kept, F_GETFD) >= 0);
	close(kept);
}

/* The shims themselves: which call fails, how it is counted, and that a kill is a kill. */
static int write_thrice(void *arg)
{
	int *fds = arg;

	for (int i = 0; i < 3; i++)
		if (write(fds[1], "x", 1) != 1)
			return 10 + i;
	return 0;
}

static void faults_hit_the_nth_call(void **state)
{
	int fds[2];
	char c;

	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	fault_syscall_at("write", 2, EIO);
	assert_int_equal(write_thrice(fds), 11);
	assert_int_equal(errno, EIO);
	assert_true(fault_hit());
	assert_int_equal(fault_syscalls("write"), 2);
	assert_int_equal(write_thrice(fds), 0);

	fault_kill_at(FAULT_ANY, 3);
	int status = fault_run(write_thrice, fds);

	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	fault_reset();
	for (int i = 0; i < 1 + 3 + 2; i++)
		assert_int_equal(read(fds[0], &c, 1), 1);
	assert_int_equal(read(fds[0], &c, 1), -1);

	fault_syscall_at("write", 9, EIO);
	status = fault_run(write_thrice, fds);
	assert_int_equal(WEXITSTATUS(status), 254);
	fault_reset();
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	return TEST_RUN("mem", cmocka_unit_test(zeroed_and_never_null), cmocka_unit_test(copies),
			cmocka_unit_test(foreign_sizes_are_bounded),
			cmocka_unit_test(aborts_without_memory),
			cmocka_unit_test(frees_vectors_of_strings), cmocka_unit_test(vec_grows),
			cmocka_unit_test(cleanup_closes_and_keeps_errno),
			cmocka_unit_test(faults_hit_the_nth_call));
}
