#include "test.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "codec/tar.h"
#include "erofs_check.h"
#include "fault.h"
#include "image/entry.h"
#include "image/erofs_write.h"
#include "image/tree.h"
#include "os/path.h"

static const char tag[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static struct tar_entry dir(const char *path)
{
	return (struct tar_entry){.type = TAR_DIR, .path = path, .link = "", .mode = 0755};
}

static struct tar_entry file(const char *path)
{
	return (struct tar_entry){.type = TAR_FILE, .path = path, .link = "", .mode = 0644};
}

static struct tar_entry link_to(enum tar_type type, const char *path, const char *to)
{
	return (struct tar_entry){.type = type, .path = path, .link = to};
}

/* The tree as text: a name a line, sorted, with what it is. */
static void print(struct tree *t, uint32_t n, const char *path, struct buf *b)
{
	for (uint32_t c = t->nodes.v[n].child; c; c = t->nodes.v[c].next) {
		const struct tree_inode *in = &t->inodes.v[t->nodes.v[c].inode];
		_free_ char *name = mem_printf("%s%s", path, tree_name(t, &t->nodes.v[c]));
		_free_ char *below = mem_printf("%s/", name);

		buf_addf(b, "%s%s%s%s%s\n", name,
			 S_ISDIR(in->mode)   ? "/"
			 : in->whiteout      ? " gone"
			 : S_ISLNK(in->mode) ? "@"
					     : "",
			 in->opaque ? " opaque" : "", in->implied ? " implied" : "",
			 !S_ISDIR(in->mode) && in->nlink > 1 ? " linked" : "");
		print(t, c, below, b);
	}
}

#define expect(text, ...)                                                          \
	do {                                                                       \
		const struct tar_entry entries_[] = {__VA_ARGS__};                 \
		_buf_ struct buf got_ = {0};                                       \
		assert_int_equal(build(entries_, ARRAY_SIZE(entries_), &got_), 0); \
		assert_string_equal(buf_str(&got_), text);                         \
	} while (0)

static int build(const struct tar_entry *entries, size_t n, struct buf *got)
{
	struct tree t;
	struct err e = {0};
	uint32_t inode;
	int rc = 0;

	tree_init(&t);
	for (size_t i = 0; i < n && !rc; i++)
		rc = tree_add(&t, &entries[i], &inode, &e);
	if (!rc) {
		tree_sort(&t);
		print(&t, TREE_ROOT, "", got);
	} else {
		assert_int_equal(e.rc, rc);
		assert_int_equal(e.code, ERR_LAYER_PATH);
	}
	tree_done(&t);
	return rc;
}

static void names_are_merged(void **state)
{
	expect("a/ implied\na/b/ implied\na/b/c\n", file("a/b/c"));
	expect("a/\na/b\n", file("a/b"), dir("a/"));
	expect("a\n", dir("a"), file("a/b"), file("a"));
	expect("a/\n", dir("a"), file("a/b"), file("a"), dir("a"));
	expect("x\ny\n", file("../../x"), file("/q/../y"));
	expect("a linked\nb linked\n", file("a"), link_to(TAR_HARDLINK, "b", "./a"));
	expect("a\n", file("a"), link_to(TAR_HARDLINK, "a", "a"));
}

static void symlinks_stay_inside(void **state)
{
	expect("l@\nx\n", link_to(TAR_SYMLINK, "l", "../../.."), file("l/x"));
	expect("l@\ntmp/ implied\ntmp/x\n", link_to(TAR_SYMLINK, "l", "/tmp"), file("l/x"));
	expect("d/\nd/l@\nd/y/ implied\nd/y/x\n", dir("d"), link_to(TAR_SYMLINK, "d/l", "y"),
	       file("d/l/x"));
	expect("l\n", link_to(TAR_SYMLINK, "l", "/etc/passwd"), file("l"));
	const struct tar_entry loop[] = {link_to(TAR_SYMLINK, "a", "b"),
					 link_to(TAR_SYMLINK, "b", "a"), file("a/x")};

	assert_int_equal(build(loop, 3, NULL), -ELOOP);
}

static void whiteouts_are_overlays(void **state)
{
	expect("a gone\n", file(".wh.a"));
	expect("a\n", file(".wh.a"), file("a"));
	expect("a\n", file("a"), file(".wh.a"));
	expect("a/ opaque\n", file(".wh.a"), dir("a"));
	expect("a/ opaque\n", dir("a"), file(".wh.a"));
	expect("a/ opaque implied\na/b\n", file(".wh.a"), file("a/b"));
	expect("a/ opaque\n", dir("a"), file("a/.wh..wh..opq"));
	expect("", file(".wh..wh.plnk"));
}

static void nonsense_is_refused(void **state)
{
	const struct {
		struct tar_entry entries[2];
		size_t n;
		int rc;
	} cases[] = {
	    {{file(".wh.")}, 1, -EBADMSG},
	    {{file("a/.wh...")}, 1, -EBADMSG},
	    {{file("./")}, 1, -EBADMSG},
	    {{file("a"), file("a/b")}, 2, -ENOTDIR},
	    {{link_to(TAR_HARDLINK, "a", "b")}, 1, -EBADMSG},
	    {{dir("d"), link_to(TAR_HARDLINK, "a", "d")}, 2, -EBADMSG},
	    {{file(".wh.w"), link_to(TAR_HARDLINK, "a", "w")}, 2, -EBADMSG},
	    {{link_to(TAR_SYMLINK, "s", "")}, 1, -EBADMSG},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(build(cases[i].entries, cases[i].n, NULL), cases[i].rc);
}

/* --- the image --- */

static int write_index(const struct tar_entry *entries, size_t n, struct buf *image)
{
	_close_ int fd = memfd_create("index", MFD_CLOEXEC);
	struct erofs_writer *w = erofs_writer_new(fd);
	uint64_t at = 0;
	struct err e = {0};
	int rc = 0;

	for (size_t i = 0; i < n && !rc; i++) {
		struct tar_entry t = entries[i];

		t.data_offset = at += TAR_BLOCK;
		rc = erofs_writer_entry(w, &t, &e);
		at += (t.data_len + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
	}
	rc = rc ? rc : erofs_writer_finish(w, at + 1024, tag, &e);
	erofs_writer_free(w);
	if (rc)
		return rc;
	assert_ok(lseek(fd, 0, SEEK_SET));
	return fd_read_all(fd, image, 64u << 20);
}

/* Directories of every size around a block, names of every length, targets of every length. */
static void every_size_fits(void **state)
{
	for (unsigned count = 0; count < 60; count++) {
		VEC(struct tar_entry) list = {0};
		_buf_ struct buf image = {0}, again = {0};
		struct tar_xattr xattrs[60];
		uint64_t inodes;

		for (unsigned i = 0; i < count; i++) {
			char name[256], target[4096];

			memset(name, 'n', sizeof(name));
			snprintf(name, 16, "%06u", i);
			name[6] = 'x';
			name[6 + (i * 37 + count) % 249] = '\0';
			memset(target, 't', sizeof(target));
			target[1 + (i * 71 + count * 13) % 2000] = '\0';
			struct tar_entry t =
			    i % 2 ? link_to(TAR_SYMLINK, mem_strdup(name), mem_strdup(target))
				  : file(mem_strdup(name));

			t.size = t.data_len = t.type == TAR_FILE ? i * 300 : 0;
			xattrs[i] = (struct tar_xattr){"user.x", "0123456789", i % 11};
			t.xattrs = &xattrs[i];
			t.xattr_count = i % 3 == 0;
			vec_push(&list, t);
		}
		assert_ok(write_index(list.v, list.n, &image));
		const char *why = erofs_check((const unsigned char *)image.s, image.len, &inodes);

		if (why)
			fail_msg("%u entries: %s", count, why);
		assert_int_equal(inodes, count + 1);
		assert_ok(write_index(list.v, list.n, &again));
		assert_int_equal(again.len, image.len);
		assert_memory_equal(again.s, image.s, image.len);
		vec_each (t, &list) {
			free((void *)(uintptr_t)t->path);
			if (*t->link)
				free((void *)(uintptr_t)t->link);
		}
		vec_done(&list);
	}
}

static void sparse_files_are_mapped_or_copied(void **state)
{
	static const struct tar_segment aligned[] = {{4096, 4096}, {65536, 100}};
	static const struct tar_segment odd[] = {{10, 1000}, {1u << 30, 512}};
	static const struct tar_segment far[] = {{1ull << 45, 4096}};
	const struct {
		const struct tar_segment *segments;
		size_t n;
		uint64_t size, stored;
	} cases[] = {{aligned, 2, 65636, 4196},
		     {odd, 2, (1ull << 30) + 512, 1512},
		     {far, 1, (1ull << 45) + 4096, 4096},
		     {NULL, 0, 1ull << 50, 0}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct tar_entry t = file("sparse");
		_buf_ struct buf image = {0};

		t.sparse = true;
		t.size = cases[i].size;
		t.data_len = cases[i].stored;
		t.segments = cases[i].segments;
		t.segment_count = cases[i].n;
		assert_ok(write_index(&t, 1, &image));
		assert_null(erofs_check((const unsigned char *)image.s, image.len, NULL));
		assert_true(image.len < 2u << 20);
	}
	struct tar_entry t = file("sparse");
	_buf_ struct buf image = {0};

	t.sparse = true;
	t.size = 1ull << 62;
	assert_int_equal(write_index(&t, 1, &image), -EFBIG);
}

static void write_errors_arrive(void **state)
{
	const struct tar_entry entries[] = {dir("d"), file("d/f")};

	for (unsigned n = 1;; n++) {
		_buf_ struct buf image = {0};

		fault_syscall_at("pwrite64", n, ENOSPC);
		int rc = write_index(entries, 2, &image);
		bool hit = fault_hit();

		fault_reset();
		if (!hit) {
			assert_true(n > 1);
			break;
		}
		assert_int_equal(rc, -ENOSPC);
	}
}

int main(void)
{
	return TEST_RUN(
	    "erofs", cmocka_unit_test(names_are_merged), cmocka_unit_test(symlinks_stay_inside),
	    cmocka_unit_test(whiteouts_are_overlays), cmocka_unit_test(nonsense_is_refused),
	    cmocka_unit_test(every_size_fits), cmocka_unit_test(sparse_files_are_mapped_or_copied),
	    cmocka_unit_test(write_errors_arrive));
}
