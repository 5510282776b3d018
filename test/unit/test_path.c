#include "test.h"

#include <errno.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "fault.h"
#include "os/path.h"
#include "tmpdir.h"

static void put(int dir, const char *path, const char *text)
{
	assert_ok(path_replace(dir, path, text, strlen(text), 0644, false));
}

static void expect(int dir, const char *path, const char *text)
{
	_buf_ struct buf b = {0};

	assert_ok(path_read(dir, path, &b, PATH_READ_MAX));
	assert_string_equal(buf_str(&b), text);
}

static unsigned entries(int dir)
{
	unsigned n = 0;
	_closedir_ DIR *d = fdopendir(path_open(dir, ".", O_RDONLY | O_DIRECTORY, 0));

	assert_non_null(d);
	while (readdir(d))
		n++;
	return n - 2;
}

static bool cloexec(int fd)
{
	return fcntl(fd, F_GETFD) & FD_CLOEXEC;
}

static void opens_cloexec_with_errno(void **state)
{
	_tmpdir_ struct tmpdir t = tmpdir_new();
	_close_ int fd = path_open(t.fd, "f", O_RDWR | O_CREAT, 0600);
	_close_ int memfd = fd_memfd_sealed("x", "abc", 3);
	_close_ int dir = root_open(t.fd, "/", O_PATH);

	assert_true(cloexec(fd) && cloexec(memfd) && cloexec(dir));
	assert_int_equal(path_open(t.fd, "missing", O_RDONLY, 0), -ENOENT);
	assert_true(path_exists(t.fd, "f"));
	assert_false(path_exists(t.fd, "missing"));
	assert_int_equal(path_access(t.fd, "missing", R_OK), -ENOENT);
	assert_int_equal(path_unlink(t.fd, "missing"), -ENOENT);
	assert_int_equal(path_rmdir(t.fd, "f"), -ENOTDIR);
	assert_int_equal(path_rename(t.fd, "missing", "x"), -ENOENT);
	assert_int_equal(path_mkdir(t.fd, "f", 0755), -EEXIST);
	assert_int_equal(path_chmod(t.fd, "missing", 0), -ENOENT);
}

static void mkdirs(void **state)
{
	_tmpdir_ struct tmpdir t = tmpdir_new();
	_free_ char *absolute = mem_printf("%s//x/y/", t.path);

	assert_ok(path_mkdirs(t.fd, "a/b/c", 0755));
	assert_ok(path_mkdirs(t.fd, "a/b/c", 0755));
	assert_ok(path_mkdirs(t.fd, "a//b/d/", 0755));
	assert_ok(path_mkdirs(AT_FDCWD, absolute, 0755));
	assert_ok(path_mkdirs(AT_FDCWD, "/", 0755));
	assert_true(path_exists(t.fd, "a/b/c") && path_exists(t.fd, "a/b/d") &&
		    path_exists(t.fd, "x/y"));
	assert_int_equal(path_mkdirs(t.fd, "", 0755), -ENOENT);
	put(t.fd, "file", "");
	assert_int_equal(path_mkdirs(t.fd, "file", 0755), -ENOTDIR);
	assert_int_equal(path_mkdirs(t.fd, "file/x", 0755), -ENOTDIR);
	assert_int_equal(path_mkdirs(t.fd, "file/x/y", 0755), -ENOTDIR);
}

static void reads_and_writes(void **state)
{
	_tmpdir_ struct tmpdir t = tmpdir_new();
	_buf_ struct buf b = {0};
	_free_ char *big = mem_array(100001, 1);
	char line[8];

	memset(big, 'x', 100000);
	put(t.fd, "big", big);
	expect(t.fd, "big", big);
	assert_int_equal(path_read(t.fd, "big", &b, 99999), -EFBIG);
	buf_reset(&b);
	assert_ok(path_read(t.fd, "big", &b, 100000));
	assert_int_equal(path_read_line(t.fd, "big", line, sizeof(line)), 7);
	put(t.fd, "lines", "one\ntwo\n");
	assert_int_equal(path_read_line(t.fd, "lines", line, sizeof(line)), 3);
	assert_string_equal(line, "one");
	assert_ok(path_write(t.fd, "lines", "ONE", 3));
	expect(t.fd, "lines", "ONE\ntwo\n");
	assert_int_equal(path_write(t.fd, "absent", "x", 1), -ENOENT);
	assert_ok(path_symlink("1234567", t.fd, "link"));
	assert_int_equal(path_readlink(t.fd, "link", line, 7), -ENAMETOOLONG);
	assert_int_equal(path_readlink(t.fd, "link", line, 8), 7);
	assert_string_equal(line, "1234567");
	buf_reset(&b);
	assert_ok(path_read(AT_FDCWD, "/proc/self/status", &b, PATH_READ_MAX));
	assert_memory_equal(b.s, "Name:", 5);
}

static void write_goes_on_after_eintr(void **state)
{
	_tmpdir_ struct tmpdir t = tmpdir_new();
	_buf_ struct buf b = {0};

	put(t.fd, "f", "");
	fault_syscall_at("write", 1, EINTR);
	assert_ok(path_write(t.fd, "f", "abc", 3));
	assert_true(fault_hit());
	fault_syscall_at("read", 1, EINTR);
	assert_ok(path_read(t.fd, "f", &b, 10));
	assert_true(fault_hit());
	fault_reset();
	assert_string_equal(b.s, "abc");
}

static void remove_tree(void **state)
{
	_tmpdir_ struct tmpdir t = tmpdir_new();
	_tmpdir_ struct tmpdir other = tmpdir_new();

	put(other.fd, "precious", "p");
	assert_ok(path_mkdirs(t.fd, "d/e/f", 0755));
	put(t.fd, "d/e/file", "x");
	assert_ok(path_mkfifo(t.fd, "d/fifo", 0600));
	assert_ok(path_symlink(other.path, t.fd, "d/link"));
	assert_ok(path_symlink(other.path, t.fd, "link"));
	assert_ok(path_remove_tree(t.fd, "d"));
	assert_ok(path_remove_tree(t.fd, "link"));
	assert_ok(path_remove_tree(t.fd, "link"));
	assert_int_equal(entries(t.fd), 0);
	expect(other.fd, "precious", "p");
}

static int remove_across_mounts(void *arg)
{
	struct tmpdir *t = arg;

	assert_int_equal(unshare(CLONE_NEWNS), 0);
	assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	_free_ char *a = mem_printf("%s/a", t->path), *m = mem_printf("%s/m", a);

	/* By path: t->fd belongs to the namespace that we left. */
	assert_ok(path_mkdirs(AT_FDCWD, m, 0755));
	assert_int_equal(mount("none", m, "tmpfs", 0, NULL), 0);
	_close_ int fd = path_open(AT_FDCWD, m, O_RDONLY | O_DIRECTORY, 0);

	put(fd, "precious", "p");
	assert_int_equal(path_remove_tree(AT_FDCWD, a), -EBUSY);
	assert_int_equal(path_remove_tree(AT_FDCWD, m), -EBUSY);
	expect(fd, "precious", "p");
	return 0;
}

static void remove_tree_crosses_no_mount(void **state)
{
	if (geteuid() != 0)
		test_skip("mounting needs root");
	_tmpdir_ struct tmpdir t = tmpdir_new();

	assert_int_equal(fault_run(remove_across_mounts, &t), 0);
}

static int replace(void *arg)
{
	return path_replace(*(int *)arg, "f", "new", 3, 0640, true) < 0;
}

/* After a failure at any step the old content stands and no temporary file lies about. */
static void replace_fails_whole(void **state)
{
	static const char *const calls[] = {"openat", "write", "fsync", "renameat"};
	_tmpdir_ struct tmpdir t = tmpdir_new();

	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		unsigned n = 1;

		for (;; n++) {
			fault_reset();
			put(t.fd, "f", "old");
			fault_syscall_at(calls[i], n, ENOSPC);
			int rc = path_replace(t.fd, "f", "new", 3, 0640, true);
			bool hit = fault_hit();

			fault_reset();
			if (!hit)
				break;
			assert_int_equal(rc, -ENOSPC);
			assert_int_equal(entries(t.fd), 1);
		}
		assert_true(n > 1);
		expect(t.fd, "f", "new");
	}
}

static void replace_survives_kill(void **state)
{
	_tmpdir_ struct tmpdir t = tmpdir_new();
	unsigned n = 1;

	for (;; n++) {
		_buf_ struct buf b = {0};

		put(t.fd, "f", "old");
		fault_kill_at(FAULT_ANY, n);
		int status = fault_run(replace, &t.fd);

		fault_reset();
		assert_ok(path_read(t.fd, "f", &b, 10));
		assert_true(!strcmp(b.s, "old") || !strcmp(b.s, "new"));
		if (!WIFSIGNALED(status))
			break;
	}
	assert_true(n > 6);
}

static void replace_sets_the_mode(void **state)
{
	_tmpdir_ struct tmpdir t = tmpdir_new();
	struct stat st;

	put(t.fd, "f", "old");
	umask(022);
	assert_ok(path_replace(t.fd, "f", "new", 3, 0600, false));
	assert_ok(path_lstat(t.fd, "f", &st));
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_ok(path_lstat(t.fd, "", &st));
	assert_true(S_ISDIR(st.st_mode));
}

static void memfd_is_sealed(void **state)
{
	_close_ int fd = fd_memfd_sealed("x", "abc", 3);
	_close_ int proc = path_open(AT_FDCWD, "/proc", O_RDONLY | O_DIRECTORY, 0);
	_close_ int again = fd_reopen(proc, fd, O_RDONLY);

	assert_int_equal(write(fd, "x", 1), -1);
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_true(fd_same(fd, again));
	assert_false(fd_same(fd, proc));
	assert_true(fd_is_fs(proc, 0x9fa0));
	assert_false(fd_is_fs(fd, 0x9fa0));
	for (unsigned n = 1; n <= 2; n++) {
		fault_syscall_at(n == 1 ? "write" : "fcntl", 1, EIO);
		assert_int_equal(fd_memfd_sealed("x", "abc", 3), -EIO);
	}
	fault_reset();
}

static int close_some(void *arg)
{
	int keep[] = {-1, 100, 100, 103}, bad = 0;

	for (int fd = 99; fd <= 105; fd++)
		bad |= dup2(STDERR_FILENO, fd) != fd;
	fd_close_from(50, keep, ARRAY_SIZE(keep));
	for (int fd = 50; fd <= 105; fd++)
		bad |= (fcntl(fd, F_GETFD) >= 0) != (fd == 100 || fd == 103);
	bad |= fcntl(STDERR_FILENO, F_GETFD) < 0;
	fd_close_from(100, NULL, 0);
	bad |= fcntl(103, F_GETFD) >= 0;
	return bad;
}

static void closes_all_but(void **state)
{
	assert_int_equal(fault_run(close_some, NULL), 0);
}

/* --- roots --- */

/* A root inside t with an outside next to it that nothing may touch. */
struct fixture {
	struct tmpdir t;
	int root, outside;
};

static struct fixture fixture_new(void)
{
	struct fixture f = {.t = tmpdir_new()};

	assert_ok(path_mkdirs(f.t.fd, "root/dir", 0755));
	assert_ok(path_mkdirs(f.t.fd, "outside/dir", 0755));
	put(f.t.fd, "outside/secret", "outside");
	put(f.t.fd, "root/file", "inside");
	f.root = path_open(f.t.fd, "root", O_RDONLY | O_DIRECTORY, 0);
	f.outside = path_open(f.t.fd, "outside", O_RDONLY | O_DIRECTORY, 0);
	return f;
}

static void fixture_done(struct fixture *f)
{
	assert_int_equal(entries(f->outside), 2);
	assert_int_equal(entries(f->t.fd), 2);
	close(f->root);
	close(f->outside);
	tmpdir_done(&f->t);
}
#define _fixture_ __attribute__((cleanup(fixture_done)))

static void symlinks_stay_inside(void **state)
{
	_fixture_ struct fixture f = fixture_new();
	_free_ char *outside = mem_printf("%s/outside", f.t.path);
	const char *const leaks[] = {"../outside",  "../../../../../../../..",
				     "/..",         "dir/../../outside",
				     "/../outside", outside};

	for (size_t i = 0; i < ARRAY_SIZE(leaks); i++) {
		assert_ok(path_symlink(leaks[i], f.root, "leak"));
		int fd = root_open(f.root, "leak/secret", O_RDONLY);

		assert_int_equal(fd, -ENOENT);
		_close_ int made = root_mkdirs(f.root, "leak/new/deep", 0755);
		_close_ int file = root_mkfile(f.root, "leak/newfile", 0644);

		assert_ok(made);
		assert_ok(file);
		assert_int_equal(root_open(f.outside, "new", O_PATH), -ENOENT);
		assert_int_equal(root_open(f.t.fd, "new", O_PATH), -ENOENT);
		assert_ok(path_unlink(f.root, "leak"));
	}
	assert_int_equal(path_open(AT_FDCWD, "/new", O_PATH, 0), -ENOENT);
	assert_int_equal(path_open(AT_FDCWD, "/newfile", O_PATH, 0), -ENOENT);
}

static void dotdot_stays_inside(void **state)
{
	_fixture_ struct fixture f = fixture_new();
	const char *const same[] = {"", ".", "/", "..", "/../..", "dir/..", "/dir/../../dir/.."};

	for (size_t i = 0; i < ARRAY_SIZE(same); i++) {
		_close_ int fd = root_open(f.root, same[i], O_PATH);
		_close_ int dir = root_mkdirs(f.root, same[i], 0755);

		assert_true(fd_same(fd, f.root));
		assert_true(fd_same(dir, f.root));
	}
	_close_ int deep = root_mkdirs(f.root, "a/../../b/./c//..", 0755);
	_close_ int b = root_open(f.root, "b", O_PATH);

	assert_true(fd_same(deep, b));
}

static void dangling_links_are_made_inside(void **state)
{
	_fixture_ struct fixture f = fixture_new();

	assert_ok(path_symlink("/var/run/x", f.root, "absolute"));
	assert_ok(path_symlink("../../up", f.root, "dir/relative"));
	assert_ok(path_symlink("absolute", f.root, "chain"));
	_close_ int a = root_mkdirs(f.root, "chain/y", 0755);
	_close_ int b = root_open(f.root, "var/run/x/y", O_PATH | O_NOFOLLOW);

	assert_true(fd_same(a, b));
	_close_ int c = root_mkdirs(f.root, "dir/relative", 0755);
	_close_ int d = root_open(f.root, "up", O_PATH | O_NOFOLLOW);

	assert_true(fd_same(c, d));
	/* /etc/resolv.conf of distributions with systemd */
	assert_ok(path_mkdir(f.root, "etc", 0755));
	assert_ok(path_symlink("../run/resolve/stub.conf", f.root, "etc/resolv.conf"));
	_close_ int e = root_mkfile(f.root, "/etc/resolv.conf", 0644);
	_close_ int stub = root_open(f.root, "run/resolve/stub.conf", O_PATH | O_NOFOLLOW);

	assert_ok(e);
	assert_true(fd_same(e, stub));
	_close_ int existing = root_mkfile(f.root, "file", 0644);

	assert_ok(existing);
	expect(f.root, "file", "inside");
}

static void loops_end(void **state)
{
	_fixture_ struct fixture f = fixture_new();

	assert_ok(path_symlink("b", f.root, "a"));
	assert_ok(path_symlink("a", f.root, "b"));
	assert_ok(path_symlink("grow/x", f.root, "grow"));
	assert_int_equal(root_open(f.root, "a", O_PATH), -ELOOP);
	assert_int_equal(root_mkdirs(f.root, "a/x", 0755), -ELOOP);
	assert_int_equal(root_mkfile(f.root, "a", 0644), -ELOOP);
	assert_int_equal(root_mkdirs(f.root, "grow", 0755), -ELOOP);
	/* 41 dangling links one after another */
	for (int i = 0; i < 41; i++) {
		_free_ char *name = mem_printf("l%d", i), *next = mem_printf("l%d", i + 1);

		assert_ok(path_symlink(next, f.root, name));
	}
	assert_int_equal(root_mkdirs(f.root, "l0", 0755), -ELOOP);
	assert_int_equal(root_mkfile(f.root, "l0", 0755), -ELOOP);
	_close_ int ok = root_mkdirs(f.root, "l2", 0755);

	assert_ok(ok);
	assert_true(path_exists(f.root, "l41"));
}

static void magic_links_are_refused(void **state)
{
	_close_ int host = path_open(AT_FDCWD, "/", O_PATH | O_DIRECTORY, 0);
	_close_ int proc = path_open(AT_FDCWD, "/proc", O_PATH | O_DIRECTORY, 0);

	assert_int_equal(root_open(host, "/proc/self/root/etc", O_PATH), -ELOOP);
	assert_int_equal(root_open(proc, "self/exe", O_RDONLY), -ELOOP);
	assert_int_equal(root_open(proc, "self/fd/0", O_PATH), -ELOOP);
	assert_int_equal(root_mkdirs(proc, "self/cwd", 0755), -ELOOP);
	_close_ int link = root_open(proc, "self/exe", O_PATH | O_NOFOLLOW);

	assert_ok(link);
}

static void refuses_what_is_no_directory(void **state)
{
	_fixture_ struct fixture f = fixture_new();
	char name[NAME_MAX + 1];
	_free_ char *long_name = mem_array(NAME_MAX + 2, 1);

	memset(long_name, 'n', NAME_MAX + 1);
	assert_int_equal(root_mkdirs(f.root, "file", 0755), -ENOTDIR);
	assert_int_equal(root_mkdirs(f.root, "file/x", 0755), -ENOTDIR);
	assert_int_equal(root_mkdirs(f.root, long_name, 0755), -ENAMETOOLONG);
	assert_int_equal(root_parent(f.root, long_name, 0755, name), -ENAMETOOLONG);
	static const char *const nameless[] = {"", "/", "..", "a/..", "a/.", "//"};

	for (size_t i = 0; i < ARRAY_SIZE(nameless); i++)
		assert_int_equal(root_parent(f.root, nameless[i], 0755, name), -EINVAL);
	_close_ int parent = root_parent(f.root, "p/q/leaf//", 0755, name);
	_close_ int q = root_open(f.root, "p/q", O_PATH);

	assert_string_equal(name, "leaf");
	assert_true(fd_same(parent, q));
	_close_ int top = root_parent(f.root, "/leaf", 0755, name);

	assert_true(fd_same(top, f.root));
}

static void retries_while_renames_race(void **state)
{
	_fixture_ struct fixture f = fixture_new();

	fault_syscall_at("openat2", 1, EAGAIN);
	_close_ int fd = root_open(f.root, "dir", O_PATH);

	assert_ok(fd);
	assert_true(fault_hit());
	fault_syscall_at("openat2", 1, EACCES);
	assert_int_equal(root_open(f.root, "dir", O_PATH), -EACCES);
	fault_reset();
}

int main(void)
{
	return TEST_RUN(
	    "path", cmocka_unit_test(opens_cloexec_with_errno), cmocka_unit_test(mkdirs),
	    cmocka_unit_test(reads_and_writes), cmocka_unit_test(write_goes_on_after_eintr),
	    cmocka_unit_test(remove_tree), cmocka_unit_test(remove_tree_crosses_no_mount),
	    cmocka_unit_test(replace_fails_whole), cmocka_unit_test(replace_survives_kill),
	    cmocka_unit_test(replace_sets_the_mode), cmocka_unit_test(memfd_is_sealed),
	    cmocka_unit_test(closes_all_but), cmocka_unit_test(symlinks_stay_inside),
	    cmocka_unit_test(dotdot_stays_inside), cmocka_unit_test(dangling_links_are_made_inside),
	    cmocka_unit_test(loops_end), cmocka_unit_test(magic_links_are_refused),
	    cmocka_unit_test(refuses_what_is_no_directory),
	    cmocka_unit_test(retries_while_renames_race));
}
