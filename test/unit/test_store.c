/* The content store: blobs appear whole or not at all, temporaries of the dead go or go on. */
#include "test.h"

#include "fault.h"
#include "tmpdir.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "image/store.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>

static struct tmpdir dir;
static struct state *st;
static struct image_store *store;

static void open_store(void)
{
	assert_int_equal(state_open(dir.path, NULL, &st, NULL), 0);
	assert_int_equal(image_store_open(dir.path, st, &store, NULL), 0);
}

static void close_store(void)
{
	image_store_free(store);
	state_free(st);
	store = NULL;
	st = NULL;
}

static int set_up(void **state)
{
	dir = tmpdir_new();
	open_store();
	return 0;
}

static int tear_down(void **state)
{
	fault_reset();
	close_store();
	tmpdir_done(&dir);
	return 0;
}

static unsigned count(const char *folder)
{
	_free_ char *path = mem_printf("%s/images/%s", dir.path, folder);
	DIR *d = fdopendir(path_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0));
	unsigned n = 0;

	assert_non_null(d);
	for (struct dirent *entry; (entry = readdir(d));)
		n += entry->d_name[0] != '.';
	closedir(d);
	return n;
}

static void test_put_and_read(void **state)
{
	struct digest d, other;
	_buf_ struct buf b = {0};
	uint64_t size;

	assert_int_equal(blob_put(store, DIGEST_SHA256, "hello", 5, &d, NULL), 0);
	digest_of(DIGEST_SHA256, "hello", 5, &other);
	assert_true(digest_eq(&d, &other));
	assert_true(blob_exists(store, &d, &size));
	assert_int_equal(size, 5);
	assert_int_equal(blob_read(store, &d, 100, &b, NULL), 0);
	assert_string_equal(b.s, "hello");
	assert_int_equal(blob_verify(store, &d, NULL), 0);
	assert_int_equal(blob_put(store, DIGEST_SHA512, "hello", 5, &other, NULL), 0);
	assert_int_equal(count("blobs/sha512"), 1);
	assert_int_equal(count("tmp"), 0);
	assert_int_equal(blob_remove(store, &d, NULL), 0);
	assert_int_equal(blob_remove(store, &d, NULL), 0);
	assert_int_equal(blob_open(store, &d, NULL, NULL), -ENOENT);
}

static void test_large_blobs_are_refused_for_reading(void **state)
{
	_buf_ struct buf b = {0};
	struct digest d;

	assert_int_equal(blob_put(store, DIGEST_SHA256, "hello", 5, &d, NULL), 0);
	assert_int_equal(blob_read(store, &d, 4, &b, NULL), -EFBIG);
}

static void test_every_flipped_bit_is_found(void **state)
{
	static const char text[] = "content";
	struct err e = {0};
	char hex[DIGEST_HEX_MAX];
	struct digest d;

	assert_int_equal(blob_put(store, DIGEST_SHA256, text, sizeof(text), &d, NULL), 0);
	_free_ char *path = mem_printf("%s/images/blobs/sha256/%s", dir.path, digest_hex(&d, hex));

	assert_int_equal(path_chmod(AT_FDCWD, path, 0600), 0);
	for (size_t bit = 0; bit < 8 * sizeof(text); bit++) {
		char copy[sizeof(text)];
		_buf_ struct buf b = {0};
		int fd = path_open(AT_FDCWD, path, O_WRONLY, 0);

		memcpy(copy, text, sizeof(text));
		copy[bit / 8] = (char)(copy[bit / 8] ^ 1 << bit % 8);
		assert_int_equal(pwrite(fd, copy, sizeof(copy), 0), sizeof(copy));
		close(fd);
		assert_int_equal(blob_verify(store, &d, &e), -EBADMSG);
		assert_int_equal(e.code, ERR_IMG_CORRUPT);
		assert_int_equal(blob_read(store, &d, 100, &b, &e), -EBADMSG);
	}
	/* Writing it anew repairs it. */
	assert_int_equal(blob_put(store, DIGEST_SHA256, text, sizeof(text), &d, NULL), 0);
	assert_int_equal(blob_verify(store, &d, NULL), 0);
}

static struct blob_expect expect_of(const char *text, uint64_t size)
{
	struct blob_expect x = {.size = size};

	digest_of(DIGEST_SHA256, text, strlen(text), &x.digest);
	return x;
}

static void test_wrong_content_is_not_kept(void **state)
{
	struct blob_expect x = expect_of("right", 5);
	struct blob_writer *w;
	struct err e = {0};

	assert_int_equal(blob_writer_new(store, &x, &w, NULL), 0);
	assert_int_equal(blob_writer_append(w, "wrong", 5, NULL), 0);
	assert_int_equal(blob_writer_append(w, "!", 1, &e), -EBADMSG);
	assert_int_equal(e.code, ERR_IMG_DIGEST);
	assert_int_equal(blob_writer_commit(w, NULL, &e), -EBADMSG);
	assert_int_equal(e.code, ERR_IMG_DIGEST);
	assert_int_equal(blob_writer_new(store, &x, &w, NULL), 0);
	assert_int_equal(blob_writer_append(w, "righ", 4, NULL), 0);
	assert_int_equal(blob_writer_commit(w, NULL, &e), -EBADMSG);
	assert_false(blob_exists(store, &x.digest, NULL));
	assert_int_equal(count("tmp"), 0);
}

static void test_suspended_writer_is_continued(void **state)
{
	struct blob_expect x = expect_of("right", 5);
	struct blob_writer *w;
	char back[4] = "";

	assert_int_equal(blob_writer_new(store, &x, &w, NULL), 0);
	assert_int_equal(blob_writer_append(w, "rig", 3, NULL), 0);
	blob_writer_suspend(w);
	close_store();
	open_store();
	x.resume = true;
	assert_int_equal(blob_writer_new(store, &x, &w, NULL), 0);
	assert_int_equal(blob_writer_offset(w), 3);
	assert_int_equal(blob_writer_read(w, 1, back, 3), 2);
	assert_string_equal(back, "ig");
	assert_int_equal(blob_writer_append(w, "ht", 2, NULL), 0);
	assert_int_equal(blob_writer_commit(w, NULL, NULL), 0);
	assert_true(blob_exists(store, &x.digest, NULL));
	assert_int_equal(count("tmp"), 0);
}

/* In a child that dies at that call. */
static int write_and_die(void *arg)
{
	struct blob_expect x = expect_of("right", 5);
	const unsigned *n = arg;
	struct blob_writer *w;
	struct digest d;

	open_store(); /* a handle does not survive fork */
	fault_kill_at(FAULT_ANY, *n);
	if (blob_writer_new(store, &x, &w, NULL) || blob_writer_append(w, "right", 5, NULL) ||
	    blob_writer_commit(w, &d, NULL))
		return 1;
	image_store_free(store);
	return fault_hit() ? 0 : 77;
}

static void test_kill_at_every_call(void **state)
{
	struct blob_expect x = expect_of("right", 5);
	unsigned n = 1;

	close_store();
	for (bool done = false; !done; n++) {
		struct blob_writer *w;
		int status = fault_run(write_and_die, &n);

		done = WIFEXITED(status);
		assert_true(done || WTERMSIG(status) == SIGKILL);
		open_store();
		if (blob_exists(store, &x.digest, NULL))
			assert_int_equal(blob_verify(store, &x.digest, NULL), 0);
		/* The next writer leaves no temporary of the dead one. */
		x.resume = true;
		assert_int_equal(blob_writer_new(store, &x, &w, NULL), 0);
		if (blob_writer_offset(w) < 5)
			assert_int_equal(blob_writer_append(w, &"right"[blob_writer_offset(w)],
							    5 - blob_writer_offset(w), NULL),
					 0);
		assert_int_equal(blob_writer_commit(w, NULL, NULL), 0);
		assert_int_equal(count("tmp"), 0);
		assert_int_equal(blob_remove(store, &x.digest, NULL), 0);
		close_store();
	}
	assert_true(n > 10);
	open_store();
}

static void test_fail_at_every_call(void **state)
{
	static const char *const calls[] = {"openat",   "write",  "fsync",
					    "renameat", "fchmod", "flock"};

	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		for (unsigned n = 1;; n++) {
			struct digest d, want;
			struct err e = {0};

			digest_of(DIGEST_SHA256, "right", 5, &want);
			fault_syscall_at(calls[i], n, ENOSPC);
			int rc = blob_put(store, DIGEST_SHA256, "right", 5, &d, &e);
			bool hit = fault_hit();

			fault_reset();
			if (!hit)
				break;
			/* Failing to make the name durable comes after the blob is there. */
			if (rc) {
				assert_string_not_equal(e.msg, "");
				assert_true(!blob_exists(store, &want, NULL) ||
					    !blob_verify(store, &want, NULL));
			}
			assert_int_equal(count("tmp"), 0);
			blob_remove(store, &want, NULL);
		}
	}
}

static void test_temporaries_of_the_living_stay(void **state)
{
	_free_ char *name = NULL;
	struct image_store *other;
	struct state *other_state;
	int64_t lease;

	assert_int_equal(image_store_temp_name(store, "x", &name, NULL), 0);
	assert_int_equal(path_mkdirs(image_store_dirfd(store), name, 0700), 0);
	assert_int_equal(state_open(dir.path, NULL, &other_state, NULL), 0);
	assert_int_equal(image_store_open(dir.path, other_state, &other, NULL), 0);
	assert_int_equal(image_store_lease(other, &lease, NULL), 0);
	assert_int_equal(count("tmp"), 1);
	image_store_free(store);
	store = NULL;
	/* The lease is gone with its handle: whoever comes next clears it away, tree and all. */
	image_store_free(other);
	assert_int_equal(image_store_open(dir.path, other_state, &other, NULL), 0);
	assert_int_equal(image_store_lease(other, &lease, NULL), 0);
	assert_int_equal(count("tmp"), 0);
	image_store_free(other);
	state_free(other_state);
}

static int collect(const struct digest *d, uint64_t size, void *arg, struct err *e)
{
	unsigned *n = arg;

	(*n)++;
	return size == 7 ? 42 : 0;
}

static void test_each(void **state)
{
	struct digest d;
	unsigned n = 0;

	assert_int_equal(blob_put(store, DIGEST_SHA256, "a", 1, &d, NULL), 0);
	assert_int_equal(blob_put(store, DIGEST_SHA512, "ab", 2, &d, NULL), 0);
	assert_int_equal(blob_each(store, collect, &n, NULL), 0);
	assert_int_equal(n, 2);
	assert_int_equal(blob_put(store, DIGEST_SHA256, "abcdefg", 7, &d, NULL), 0);
	assert_int_equal(blob_each(store, collect, &n, NULL), 42);
}

static void test_link(void **state)
{
	_free_ char *name = NULL;
	struct digest d;

	digest_of(DIGEST_SHA256, "tar", 3, &d);
	assert_int_equal(image_store_temp_name(store, "tar", &name, NULL), 0);
	assert_int_equal(path_replace(image_store_dirfd(store), name, "tar", 3, 0400, false), 0);
	assert_int_equal(blob_link(store, name, &d, NULL), 0);
	assert_int_equal(blob_link(store, name, &d, NULL), 0);
	assert_int_equal(blob_verify(store, &d, NULL), 0);
	assert_int_equal(path_unlink(image_store_dirfd(store), name), 0);
}

static void test_holds(void **state)
{
	struct digest d[300];
	_state_result_ struct state_result r = {0};

	for (unsigned i = 0; i < 300; i++) {
		unsigned value = i % 200; /* some are named twice */

		digest_of(DIGEST_SHA256, &value, sizeof(value), &d[i]);
	}
	assert_int_equal(image_store_hold(store, d, 300, NULL), 0);
	struct state_range range = {.from = state_str("image/hold/"), .prefix = true};

	assert_int_equal(state_range(st, &range, &r, NULL), 0);
	assert_int_equal(r.n, 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_put_and_read, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_large_blobs_are_refused_for_reading, set_up,
					    tear_down),
	    cmocka_unit_test_setup_teardown(test_every_flipped_bit_is_found, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_wrong_content_is_not_kept, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_suspended_writer_is_continued, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_kill_at_every_call, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_fail_at_every_call, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_temporaries_of_the_living_stay, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_each, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_link, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_holds, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
