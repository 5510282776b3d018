#include "test.h"

#include <errno.h>
#include <sys/wait.h>

#include "base/bits.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "codec/tar.h"
#include "tmpdir.h"

/* What came out of an archive, as text: one line an entry, its contents (holes as zeros) behind. */
struct seen {
	struct buf log, data;
	uint64_t data_at; /* what the entry said */
	const char *archive;
};

static int entry(void *arg, const struct tar_entry *t, struct err *e)
{
	static const char types[] = "fhlcbdp";
	struct seen *s = arg;

	buf_addf(&s->log, "%c %s %s %o %u:%u %lld.%u %u,%u %llu", types[t->type], t->path,
		 *t->link ? t->link : "-", t->mode, t->uid, t->gid, (long long)t->mtime_s,
		 t->mtime_ns, t->dev_major, t->dev_minor, (unsigned long long)t->size);
	for (size_t i = 0; i < t->xattr_count; i++)
		buf_addf(&s->log, " %s=%.*s", t->xattrs[i].name, (int)t->xattrs[i].len,
			 (const char *)t->xattrs[i].value);
	for (size_t i = 0; i < t->segment_count; i++)
		buf_addf(&s->log, " [%llu+%llu]", (unsigned long long)t->segments[i].offset,
			 (unsigned long long)t->segments[i].len);
	buf_addc(&s->log, '\n');
	/* The data is where the entry says. */
	if (s->archive)
		buf_add(&s->data, s->archive + t->data_offset, t->data_len);
	s->data_at = s->data.len - (s->archive ? t->data_len : 0);
	return 0;
}

static int data(void *arg, const void *p, size_t len, struct err *e)
{
	struct seen *s = arg;

	if (!s->archive)
		return 0;
	assert_memory_equal(s->data.s + s->data_at, p, len);
	s->data_at += len;
	return 0;
}

static const struct tar_sink sink = {entry, data};

static int read_tar(const struct buf *tar, size_t piece, struct seen *s, struct err *e)
{
	struct tar_reader *r = tar_reader_new(&sink, s);
	int rc = 0;

	for (size_t i = 0; i < tar->len && !rc; i += piece)
		rc = tar_reader_feed(r, tar->s + i, MIN(piece, tar->len - i), e);
	if (!rc)
		rc = tar_reader_finish(r, e);
	tar_reader_free(r);
	return rc;
}

static void seen_done(struct seen *s)
{
	buf_done(&s->log);
	buf_done(&s->data);
}
#define _seen_ __attribute__((cleanup(seen_done)))

/* Runs a shell script in dir and returns what it printed. */
static struct buf run(const char *dir, const char *script)
{
	struct buf b = {0};
	_free_ char *command = mem_printf("cd '%s' && %s", dir, script);
	FILE *f = popen(command, "re");

	assert_non_null(f);
	assert_ok(fd_read_all(fileno(f), &b, 64u << 20));
	assert_int_equal(pclose(f), 0);
	return b;
}

static void expect(const struct buf *tar, const char *log)
{
	static const size_t pieces[] = {1u << 20, 512, 511, 1};

	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
		_seen_ struct seen s = {.archive = tar->s};
		struct err e = {0};
		int rc = read_tar(tar, pieces[i], &s, &e);

		if (rc)
			fail_msg("%s", e.msg);
		assert_string_equal(buf_str(&s.log), log);
	}
}

#define NAME60 "a-name-of-sixty-bytes-----------------------------------end"
#define LONG   NAME60 "/" NAME60 "/" NAME60 "/" NAME60 "/" NAME60

static const struct tar_entry entries[] = {
    {.type = TAR_DIR, .path = "d/", .link = "", .mode = 01777, .mtime_s = 1},
    {.type = TAR_FILE, .path = "d/f", .link = "", .mode = 04755, .uid = 1000, .gid = 2097151},
    {.type = TAR_FILE, .path = "owner", .link = "", .uid = 2097152, .gid = 4294967294u},
    {.type = TAR_HARDLINK, .path = "h", .link = "d/f"},
    {.type = TAR_SYMLINK, .path = "s", .link = "../" LONG, .mode = 0777},
    {.type = TAR_CHAR, .path = "c", .link = "", .dev_major = 1, .dev_minor = 300},
    {.type = TAR_BLOCKDEV, .path = "b", .link = "", .dev_major = 8, .dev_minor = 1},
    {.type = TAR_FIFO, .path = LONG, .link = "", .mtime_s = -2, .mtime_ns = 500000000},
    {.type = TAR_FIFO,
     .path = NAME60 "/" NAME60,
     .link = "",
     .mtime_s = 8589934592,
     .mtime_ns = 120000000},
    {.type = TAR_FILE,
     .path = "x",
     .link = "",
     .xattrs = (const struct tar_xattr[]){{"user.a", "1=2\n", 4}, {"security.capability", "", 0}},
     .xattr_count = 2},
};

static void what_is_written_is_read(void **state)
{
	_buf_ struct buf tar = {0};
	_seen_ struct seen wanted = {0};

	for (size_t i = 0; i < ARRAY_SIZE(entries); i++) {
		tar_write_header(&tar, &entries[i]);
		assert_ok(entry(&wanted, &entries[i], NULL));
	}
	tar_write_end(&tar);
	expect(&tar, buf_str(&wanted.log));
	/* and GNU tar reads the same names */
	_tmpdir_ struct tmpdir t = tmpdir_new();

	assert_ok(path_replace(t.fd, "t.tar", tar.s, tar.len, 0644, false));
	_buf_ struct buf names = run(t.path, "tar tf t.tar");
	_buf_ struct buf mine = {0};

	for (size_t i = 0; i < ARRAY_SIZE(entries); i++)
		buf_addf(&mine, "%s\n", entries[i].path);
	assert_string_equal(buf_str(&names), buf_str(&mine));
}

static void formats_of_gnu_tar(void **state)
{
	static const char make[] =
	    "mkdir -p " LONG " && echo hello >" LONG "/f && ln " LONG "/f h && ln -s " LONG
	    "/f s && touch -hd @1000000000 " LONG "/f s && "
	    "tar c --format=%s --owner=7 --group=8 --mode=u=rw,go= --no-recursion " LONG "/f h s";
	static const char *const formats[] = {"gnu", "pax --pax-option=delete=atime,delete=ctime"};

	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		_tmpdir_ struct tmpdir t = tmpdir_new();
		_free_ char *script = mem_printf(make, formats[i]);
		_buf_ struct buf tar = run(t.path, script);

		expect(&tar, "f " LONG "/f - 600 7:8 1000000000.0 0,0 6\n"
			     "h h " LONG "/f 600 7:8 1000000000.0 0,0 0\n"
			     "l s " LONG "/f 600 7:8 1000000000.0 0,0 0\n");
	}
}

static void sparse_files(void **state)
{
	static const char make[] =
	    "truncate -s 1M f && printf one | dd of=f conv=notrunc status=none && "
	    "for i in 1 2 3 4 5 6 7; do printf two | dd of=f bs=4k seek=$((i * 20)) conv=notrunc "
	    "status=none; done; touch -d @1 f && "
	    "tar cS %s --mode=644 --owner=0 --group=0 f";
	static const char *const formats[] = {
	    "--format=gnu",
	    "--format=posix --sparse-version=0.0 --pax-option=delete=atime,delete=ctime",
	    "--format=posix --sparse-version=0.1 --pax-option=delete=atime,delete=ctime",
	    "--format=posix --sparse-version=1.0 --pax-option=delete=atime,delete=ctime"};

	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		_tmpdir_ struct tmpdir t = tmpdir_new();
		_free_ char *script = mem_printf(make, formats[i]);
		_buf_ struct buf tar = run(t.path, script);

		if (tar.len > 500000)
			test_skip("this file system has no holes");
		expect(&tar, "f f - 644 0:0 1.0 0,0 1048576 [0+4096] [81920+4096] [163840+4096] "
			     "[245760+4096] [327680+4096] [409600+4096] [491520+4096] "
			     "[573440+4096]\n");
	}
}

static void empty_archives(void **state)
{
	_buf_ struct buf none = {0}, end = {0};

	expect(&none, "");
	tar_write_end(&end);
	buf_adds(&end, "whatever follows");
	expect(&end, "");
}

/* --- damage --- */

static struct buf one(const char *pax, const char *path, size_t len)
{
	struct buf b = {0};

	if (pax) {
		struct tar_entry x = {.path = "x", .link = "", .data_len = strlen(pax)};

		tar_write_header(&b, &x);
		buf_adds(&b, pax);
		tar_write_padding(&b, b.len);
		/* the writer makes no such header of its own: type, check sum */
		unsigned sum = 0;

		b.s[156] = 'x';
		memset(b.s + 148, ' ', 8);
		for (size_t i = 0; i < TAR_BLOCK; i++)
			sum += (unsigned char)b.s[i];
		snprintf(b.s + 148, 7, "%06o", sum);
	}
	struct tar_entry t = {.path = path, .link = "", .size = len, .data_len = len};

	tar_write_header(&b, &t);
	for (size_t i = 0; i < len; i++)
		buf_addc(&b, 'x');
	tar_write_padding(&b, len);
	return b;
}

static void fails(const struct buf *tar, int rc, enum err_code code, const char *word)
{
	_seen_ struct seen s = {0};
	struct err e = {0};

	assert_int_equal(read_tar(tar, 512, &s, &e), rc);
	assert_int_equal(e.rc, rc);
	assert_int_equal(e.code, code);
	if (!strstr(e.msg, word))
		fail_msg("no '%s' in: %s", word, e.msg);
}

static void pax_records(void **state)
{
	static const char *const malformed[] = {
	    "no record",
	    "5 a=b\n",
	    "99 a=b\n",
	    "6 a=b ",
	    "5 =b\n\n",
	    "4 a\n\n",
	    "11 uid=abc\n",
	    "13 mtime=1.x\n",
	    "18 SCHILY.xattr.=\n",
	    "25 GNU.sparse.numbytes=1\n",
	    "23 GNU.sparse.offset=1\n",
	};

	for (size_t i = 0; i < ARRAY_SIZE(malformed); i++) {
		_buf_ struct buf tar = one(malformed[i], "f", 0);

		fails(&tar, -EBADMSG, ERR_TAR_FORMAT, "PAX");
	}
	_buf_ struct buf tar = one("12 path=new\n14 mtime=-1.5\n20 SCHILY.xattr.u=1\n"
				   "20 SCHILY.xattr.u=2\n9 ctime=\n",
				   "f", 0);

	expect(&tar, "f new - 0 0:0 -2.500000000 0,0 0 u=2\n");
	_buf_ struct buf owner = one("19 uid=99999999999\n", "f", 0);

	fails(&owner, -EBADMSG, ERR_TAR_FORMAT, "owner");
}

static void sparse_maps_must_suit(void **state)
{
	static const char *const maps[] = {
	    "22 GNU.sparse.size=10\n22 GNU.sparse.map=0,9\n",      /* stored: 8 */
	    "22 GNU.sparse.size=10\n22 GNU.sparse.map=4,8\n",      /* leaves the file */
	    "23 GNU.sparse.size=100\n26 GNU.sparse.map=9,4,8,4\n", /* overlap */
	    "23 GNU.sparse.size=100\n41 GNU.sparse.map=18446744073709551615,8\n",
	};

	for (size_t i = 0; i < ARRAY_SIZE(maps); i++) {
		_buf_ struct buf tar = one(maps[i], "f", 8);

		fails(&tar, -EBADMSG, ERR_TAR_FORMAT, "map");
	}
	_buf_ struct buf tar =
	    one("23 GNU.sparse.size=100\n33 GNU.sparse.map=0,4,50,4,100,0\n", "f", 8);

	expect(&tar, "f f - 0 0:0 0.0 0,0 100 [0+4] [50+4]\n");
}

static void cut_and_flipped(void **state)
{
	_buf_ struct buf tar = one("12 path=new\n", "f", 600);

	for (size_t cut = 1; cut < tar.len - 424; cut += 37) {
		struct buf part = {tar.s, cut, cut};

		fails(&part, -EBADMSG, ERR_TAR_FORMAT, "");
	}
	for (size_t i = 0; i < TAR_BLOCK; i += 3) {
		tar.s[i] ^= 4;
		fails(&tar, -EBADMSG, ERR_TAR_FORMAT, "header");
		tar.s[i] ^= 4;
	}
	_buf_ struct buf late = {0};

	buf_add(&late, (char[TAR_BLOCK]){0}, TAR_BLOCK);
	buf_add(&late, tar.s, tar.len);
	fails(&late, -EBADMSG, ERR_TAR_FORMAT, "end mark");
}

static void limits(void **state)
{
	_buf_ struct buf pax = {0}, many = {0};

	for (unsigned i = 0; i <= TAR_XATTRS_MAX; i++)
		buf_addf(&pax, "22 SCHILY.xattr.%03u=v\n", i);
	_buf_ struct buf tar = one(pax.s, "f", 0);

	fails(&tar, -E2BIG, ERR_TAR_LIMIT, "attributes");
	buf_reserve(&many, 2 * TAR_META_MAX);
	for (unsigned i = 0; i < TAR_META_MAX / 8 + 1; i++)
		buf_adds(&many, "8 ab=cd\n");
	_buf_ struct buf large = one(many.s, "f", 0);

	fails(&large, -E2BIG, ERR_TAR_LIMIT, "PAX");
}

static int refuse(void *arg, const struct tar_entry *t, struct err *e)
{
	return err_set(e, ERR_LAYER_IO, -ENOSPC, "no room");
}

static void a_failure_stays(void **state)
{
	static const struct tar_sink refusing = {refuse, NULL};
	struct tar_reader *r = tar_reader_new(&refusing, NULL);
	_buf_ struct buf tar = one(NULL, "f", 0);
	struct err e = {0};

	assert_int_equal(tar_reader_feed(r, tar.s, tar.len, &e), -ENOSPC);
	e = (struct err){0};
	assert_int_equal(tar_reader_feed(r, tar.s, tar.len, &e), -ENOSPC);
	assert_int_equal(e.code, ERR_LAYER_IO);
	assert_int_equal(tar_reader_finish(r, &e), -ENOSPC);
	tar_reader_free(r);
}

int main(void)
{
	return TEST_RUN("tar", cmocka_unit_test(what_is_written_is_read),
			cmocka_unit_test(formats_of_gnu_tar), cmocka_unit_test(sparse_files),
			cmocka_unit_test(empty_archives), cmocka_unit_test(pax_records),
			cmocka_unit_test(sparse_maps_must_suit), cmocka_unit_test(cut_and_flipped),
			cmocka_unit_test(limits), cmocka_unit_test(a_failure_stays));
}
