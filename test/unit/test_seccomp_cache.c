#include "test.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "container/seccomp_int.h"
#include "specs.h"
#include "tmpdir.h"

#define EACH(i, a) for (size_t i = 0; i < ARRAY_SIZE(a); i++)
#define _program_  __attribute__((unused, cleanup(seccomp_prog_done)))

static struct seccomp_prog build(const struct spec *s)
{
	struct seccomp_prog p;
	struct err e;

	if (seccomp_build(&s->seccomp, &p, &e) < 0)
		fail_msg("%s", e.msg);
	return p;
}

static struct seccomp_prog compile(const struct spec *s, int dirfd)
{
	struct seccomp_prog p;
	struct err e;

	if (seccomp_compile(&s->seccomp, dirfd, &p, &e) < 0)
		fail_msg("%s", e.msg);
	return p;
}

static void assert_same(const struct seccomp_prog *a, const struct seccomp_prog *b)
{
	assert_int_equal(a->count, b->count);
	assert_int_equal(a->has_notify, b->has_notify);
	assert_memory_equal(a->insns, b->insns, a->count * sizeof(*a->insns));
}

/* Number of files in the directory; the name of the last. */
static size_t files(int dirfd, char *name)
{
	DIR *d = fdopendir(path_open(dirfd, ".", O_RDONLY | O_DIRECTORY, 0));
	size_t n = 0;

	for (struct dirent *de; (de = readdir(d));)
		if (de->d_name[0] != '.' && ++n && name)
			strcpy(name, de->d_name);
	closedir(d);
	return n;
}

static bool hit(const struct spec *s, int dirfd)
{
	_buf_ struct buf key = {0};
	_program_ struct seccomp_prog p = {0};

	seccomp_key(&s->seccomp, &key);
	return seccomp_cache_get(dirfd, &key, &p);
}

static void cache_returns_what_was_compiled(void **state)
{
	_tmpdir_ struct tmpdir t = tmpdir_new();
	_spec_ struct spec *docker = specs_file("docker.json");
	_spec_ struct spec *notify =
	    specs_seccomp("'defaultAction':'SCMP_ACT_ALLOW','listenerPath':'/a',"
			  "'syscalls':[{'names':['bpf'],'action':'SCMP_ACT_NOTIFY'}]");
	_program_ struct seccomp_prog plain = build(docker);
	_program_ struct seccomp_prog miss = compile(docker, t.fd);
	char name[NAME_MAX + 1];
	struct stat st;

	assert_int_equal(files(t.fd, name), 1);
	assert_ok(path_lstat(t.fd, name, &st));
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	assert_true(hit(docker, t.fd));
	_program_ struct seccomp_prog second = compile(docker, t.fd);
	_program_ struct seccomp_prog notify_miss = compile(notify, t.fd);
	_program_ struct seccomp_prog notify_hit = compile(notify, t.fd);

	assert_same(&plain, &miss);
	assert_same(&plain, &second);
	assert_same(&notify_miss, &notify_hit);
	assert_true(notify_hit.has_notify);
	assert_int_equal(files(t.fd, NULL), 2);
}

/* Every byte of a file counts: with any one of them changed, the file is not used, and is replaced.
 */
static void damaged_files_are_not_used(void **state)
{
	_spec_ struct spec *s = specs_seccomp("'defaultAction':'SCMP_ACT_ERRNO','syscalls':"
					      "[{'names':['read'],'action':'SCMP_ACT_ALLOW'}]");
	_program_ struct seccomp_prog p = build(s);
	_buf_ struct buf key = {0};
	_buf_ struct buf file = {0};
	struct seccomp_prog none = {0};

	seccomp_key(&s->seccomp, &key);
	seccomp_cache_format(&key, &p, &file);
	for (size_t i = 0; i < file.len; i++) {
		file.s[i] ^= 1;
		assert_false(seccomp_cache_parse(file.s, file.len, &key, &none));
		file.s[i] ^= 1;
		assert_false(seccomp_cache_parse(file.s, i, &key, &none));
	}
	buf_addc(&file, 'x');
	assert_false(seccomp_cache_parse(file.s, file.len, &key, &none));
	assert_null(none.insns);
	assert_true(seccomp_cache_parse(file.s, file.len - 1, &key, &none));
	assert_same(&p, &none);
	seccomp_prog_done(&none);

	_tmpdir_ struct tmpdir t = tmpdir_new();
	_program_ struct seccomp_prog first = compile(s, t.fd);
	char name[NAME_MAX + 1];

	files(t.fd, name);
	assert_ok(path_replace(t.fd, name, file.s, 20, 0600, false));
	assert_false(hit(s, t.fd));
	_program_ struct seccomp_prog again = compile(s, t.fd);

	assert_same(&first, &again);
	assert_true(hit(s, t.fd));
}

static void what_others_could_write_is_not_used(void **state)
{
	_tmpdir_ struct tmpdir t = tmpdir_new();
	_spec_ struct spec *s = specs_seccomp("'defaultAction':'SCMP_ACT_ERRNO'");
	_program_ struct seccomp_prog p = compile(s, t.fd);
	char name[NAME_MAX + 1];

	files(t.fd, name);
	assert_true(hit(s, t.fd));
	assert_ok(path_chmod(t.fd, name, 0620));
	assert_false(hit(s, t.fd));
	assert_ok(path_chmod(t.fd, name, 0602));
	assert_false(hit(s, t.fd));
	assert_ok(path_chmod(t.fd, name, 0600));
	if (geteuid() == 0) {
		assert_ok(path_chown(t.fd, name, 12345, (gid_t)-1));
		assert_false(hit(s, t.fd));
		assert_ok(path_chown(t.fd, name, 0, (gid_t)-1));
	}
	assert_true(hit(s, t.fd));
	assert_int_equal(fchmod(t.fd, 0777), 0);
	assert_false(hit(s, t.fd));
	assert_int_equal(fchmod(t.fd, 0700), 0);

	assert_ok(path_rename(t.fd, name, "elsewhere"));
	assert_ok(path_symlink("elsewhere", t.fd, name));
	assert_false(hit(s, t.fd));
	assert_ok(path_unlink(t.fd, name));
	assert_ok(path_mkfifo(t.fd, name, 0600));
	assert_false(hit(s, t.fd)); /* and does not wait for a writer */
}

static void the_number_of_files_is_bounded(void **state)
{
	_tmpdir_ struct tmpdir t = tmpdir_new();
	_spec_ struct spec *last = NULL;

	assert_ok(path_replace(t.fd, "unrelated", "", 0, 0600, false));
	for (int i = 1; i <= SECCOMP_CACHE_FILES + 10; i++) {
		_free_ char *members =
		    mem_printf("'defaultAction':'SCMP_ACT_ERRNO','defaultErrnoRet':%d", i);

		spec_free(last);
		last = specs_seccomp(members);
		_program_ struct seccomp_prog p = compile(last, t.fd);
	}
	assert_int_equal(files(t.fd, NULL), SECCOMP_CACHE_FILES + 1);
	assert_true(hit(last, t.fd));
	assert_true(path_exists(t.fd, "unrelated"));
	_spec_ struct spec *first =
	    specs_seccomp("'defaultAction':'SCMP_ACT_ERRNO','defaultErrnoRet':1");

	assert_false(hit(first, t.fd));
}

static void keys_tell_profiles_apart(void **state)
{
	static const char *const rows[] = {
	    "'defaultAction':'SCMP_ACT_ERRNO'",
	    "'defaultAction':'SCMP_ACT_ERRNO','defaultErrnoRet':2",
	    "'defaultAction':'SCMP_ACT_ERRNO','architectures':['SCMP_ARCH_X86']",
	    "'defaultAction':'SCMP_ACT_ERRNO','syscalls':[{'names':['ab'],'action':'SCMP_ACT_ALLOW'"
	    "}]",
	    "'defaultAction':'SCMP_ACT_ERRNO','syscalls':[{'names':['a','b'],'action':'SCMP_ACT_"
	    "ALLOW'}]",
	    "'defaultAction':'SCMP_ACT_ERRNO','syscalls':[{'names':['a'],'action':'SCMP_ACT_ALLOW'}"
	    ","
	    "{'names':['b'],'action':'SCMP_ACT_ALLOW'}]",
	    "'defaultAction':'SCMP_ACT_ERRNO','syscalls':[{'names':['ab'],'action':'SCMP_ACT_ALLOW'"
	    ","
	    "'args':[{'index':0,'value':1,'op':'SCMP_CMP_EQ'}]}]",
	    "'defaultAction':'SCMP_ACT_ERRNO','syscalls':[{'names':['ab'],'action':'SCMP_ACT_ALLOW'"
	    ","
	    "'args':[{'index':0,'value':1,'op':'SCMP_CMP_NE'}]}]",
	    "'defaultAction':'SCMP_ACT_ERRNO','syscalls':[{'names':['ab'],'action':'SCMP_ACT_ALLOW'"
	    ","
	    "'args':[{'index':0,'value':1,'valueTwo':1,'op':'SCMP_CMP_EQ'}]}]",
	    "'defaultAction':'SCMP_ACT_ERRNO','syscalls':[{'names':['ab'],'action':'SCMP_ACT_LOG'}"
	    "]",
	};
	struct buf keys[ARRAY_SIZE(rows)] = {0};

	EACH(i, rows)
	{
		_spec_ struct spec *s = specs_seccomp(rows[i]);

		seccomp_key(&s->seccomp, &keys[i]);
		for (size_t j = 0; j < i; j++)
			assert_false(keys[i].len == keys[j].len &&
				     !memcmp(keys[i].s, keys[j].s, keys[i].len));
	}
	EACH(i, rows)
	buf_done(&keys[i]);
}

int main(void)
{
	return TEST_RUN("seccomp_cache", cmocka_unit_test(cache_returns_what_was_compiled),
			cmocka_unit_test(damaged_files_are_not_used),
			cmocka_unit_test(what_others_could_write_is_not_used),
			cmocka_unit_test(the_number_of_files_is_bounded),
			cmocka_unit_test(keys_tell_profiles_apart));
}
