/* A thread that plays the owner of a root file system swaps a directory and a symlink to the
 * outside without pause, while the root_* functions work below that very name. Whatever they return
 * must lie inside; the outside stays as it was. */
#include "test.h"

#include <errno.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "os/path.h"
#include "tmpdir.h"

#define ROUNDS 1500

struct racer {
	int root;
	atomic_bool stop;
	atomic_uint swaps;
};

static void *swap(void *arg)
{
	struct racer *r = arg;

	while (!atomic_load(&r->stop))
		if (renameat2(r->root, "dir", r->root, "link", RENAME_EXCHANGE) == 0)
			atomic_fetch_add(&r->swaps, 1);
	return NULL;
}

static bool is_inside(int root, int fd)
{
	char want[PATH_MAX], got[PATH_MAX], link[64];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", root);
	assert_ok(path_readlink(AT_FDCWD, link, want, sizeof(want)));
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	assert_ok(path_readlink(AT_FDCWD, link, got, sizeof(got)));
	size_t n = strlen(want);

	return !strncmp(got, want, n) && (got[n] == '/' || !got[n]);
}

/* The symlink says head + the outside's path, or head alone. */
static void race(const char *head, bool add_outside)
{
	_tmpdir_ struct tmpdir t = tmpdir_new();
	_free_ char *outside = mem_printf("%s/outside", t.path);
	_free_ char *text = mem_printf("%s%s", head, add_outside ? outside : "");
	pthread_t thread;
	unsigned opened = 0;

	assert_ok(path_mkdirs(t.fd, "root/dir", 0755));
	assert_ok(path_mkdirs(t.fd, "outside", 0755));
	assert_ok(path_replace(t.fd, "outside/secret", "s", 1, 0644, false));
	_close_ int root = path_open(t.fd, "root", O_RDONLY | O_DIRECTORY, 0);
	_close_ int out = path_open(t.fd, "outside", O_RDONLY | O_DIRECTORY, 0);

	assert_ok(path_symlink(text, root, "link"));
	struct racer r = {.root = root};

	assert_int_equal(pthread_create(&thread, NULL, swap, &r), 0);
	for (int i = 0; i < ROUNDS; i++) {
		char path[64], name[NAME_MAX + 1];
		snprintf(path, sizeof(path), "dir/x%d/y/../z", i % 50);
		_close_ int a = root_mkdirs(root, path, 0755);
		_close_ int b = root_open(root, "dir/secret", O_RDONLY);
		_close_ int c = root_mkfile(root, "dir/f", 0644);
		_close_ int d = root_parent(root, "dir/../dir/n", 0755, name);
		const int fds[] = {a, c, d};

		assert_true(b < 0);
		for (size_t j = 0; j < ARRAY_SIZE(fds); j++)
			if (fds[j] >= 0) {
				opened++;
				assert_true(is_inside(root, fds[j]));
			}
		if (c >= 0)
			path_unlink(root, "dir/f");
	}
	atomic_store(&r.stop, true);
	pthread_join(thread, NULL);
	assert_true(atomic_load(&r.swaps) > 100);
	assert_true(opened > ROUNDS / 10);

	_closedir_ DIR *list = fdopendir(STEAL_FD(out));
	unsigned n = 0;

	while (readdir(list))
		n++;
	assert_int_equal(n, 3); /* ".", "..", "secret" */
}

static void absolute_link(void **state)
{
	race("", true);
}

static void link_to_the_host_root(void **state)
{
	race("/", false);
}

static void relative_link(void **state)
{
	race("../outside", false);
}

static void long_dotdot_link(void **state)
{
	race("../../../../../../../../../../..", true);
}

int main(void)
{
	return TEST_RUN("path_race", cmocka_unit_test(absolute_link),
			cmocka_unit_test(link_to_the_host_root), cmocka_unit_test(relative_link),
			cmocka_unit_test(long_dotdot_link));
}
