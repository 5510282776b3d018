#include "test.h"

#include <errno.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "codec/template.h"
#include "image/auth.h"
#include "tmpdir.h"

/* bm9ib2R5OnNlY3JldA== is "nobody:secret", dGVhbTp0 is "team:t" */
static const char docker_file[] =
    "{\"auths\": {\"https://index.docker.io/v1/\": {\"auth\": \"bm9ib2R5OnNlY3JldA==\"},"
    " \"quay.io/team\": {\"auth\": \"dGVhbTp0\"}, \"quay.io\": {\"auth\": "
    "\"bm9ib2R5OnNlY3JldA==\"},"
    " \"https://ghcr.io\": {\"identitytoken\": \"refresh\"},"
    " \"plain.example:5000\": {\"username\": \"u\", \"password\": \"p:q\"}, \"empty\": {}},"
    " \"credHelpers\": {\"helped.example\": \"test\"}, \"HttpHeaders\": {\"X\": \"y\"}}";

static json_t *parse(const char *text)
{
	json_t *v = NULL;
	struct err e;

	if (auth_parse(text, strlen(text), "config.json", &v, &e))
		fail_msg("%s", e.msg);
	return v;
}

static void expect_login(const json_t *v, const char *registry, const char *repository,
			 const char *user, const char *password)
{
	_credential_ struct credential c = {0};
	struct err e;

	assert_int_equal(auth_file_find(v, registry, repository, &c, &e), user ? 1 : 0);
	if (user) {
		assert_string_equal(c.username, user);
		assert_string_equal(c.password, password);
	}
}

static void finds_in_a_file(void **state)
{
	_json_ json_t *v = parse(docker_file);
	_credential_ struct credential token = {0};
	struct err e;

	expect_login(v, "docker.io", "library/debian", "nobody", "secret");
	expect_login(v, "quay.io", "team/app", "team", "t");
	expect_login(v, "quay.io", "team", "team", "t");
	expect_login(v, "quay.io", "teamwork/app", "nobody", "secret");
	expect_login(v, "quay.io", "", "nobody", "secret");
	expect_login(v, "plain.example:5000", "x", "u", "p:q");
	expect_login(v, "plain.example", "x", NULL, NULL);
	expect_login(v, "empty", "x", NULL, NULL);
	assert_int_equal(auth_file_find(v, "ghcr.io", "x", &token, &e), 1);
	assert_string_equal(token.identity_token, "refresh");
	assert_string_equal(auth_file_helper(v, "helped.example"), "test");
	assert_null(auth_file_helper(v, "quay.io"));
}

static void store_serves_what_no_helper_does(void **state)
{
	_json_ json_t *v = parse("{\"credsStore\": \"all\", \"credHelpers\": {\"a.b\": \"one\"}}");

	assert_string_equal(auth_file_helper(v, "a.b"), "one");
	assert_string_equal(auth_file_helper(v, "docker.io"), "all");
}

static void malformed_files(void **state)
{
	static const char *const bad[] = {
	    "",
	    "[]",
	    "{\"auths\": 1}",
	    "{\"auths\": {\"x\": \"y\"}}",
	    "{\"credsStore\": {}}",
	    "{\"credHelpers\": {\"x\": 1}}",
	    "{} x",
	    "{\"auths\": {}, \"auths\": {}}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		json_t *v = NULL;
		struct err e = {0};

		assert_int_equal(auth_parse(bad[i], strlen(bad[i]), "config.json", &v, &e),
				 -EBADMSG);
		assert_null(v);
		assert_non_null(strstr(e.msg, "config.json"));
	}
}

static void malformed_logins_are_named(void **state)
{
	static const char *const bad[] = {"%%", "bm9ib2R5", "bm8=", "AAAA", "bgBvOnM="};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_free_ char *text = mem_printf("{\"auths\": {\"x\": {\"auth\": \"%s\"}}}", bad[i]);
		_json_ json_t *v = parse(text);
		_credential_ struct credential c = {0};
		struct err e = {0};

		assert_int_equal(auth_file_find(v, "x", "", &c, &e), -EBADMSG);
		assert_non_null(strstr(e.msg, "'x'"));
	}
}

static void helper_answers(void **state)
{
	static const char *const bad[] = {"", "[]", "{}", "{\"Username\": \"u\"}",
					  "{\"Username\": 1, \"Secret\": \"s\"}"};
	static const char token[] =
	    "{\"ServerURL\":\"x\",\"Username\":\"<token>\",\"Secret\":\"r\"}";
	_credential_ struct credential c = {0}, t = {0};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(auth_helper_parse(bad[i], strlen(bad[i]), &c), -EBADMSG);
	assert_ok(auth_helper_parse("{\"Username\":\"u\",\"Secret\":\"s\"}", 29, &c));
	assert_string_equal(c.username, "u");
	assert_string_equal(c.password, "s");
	assert_ok(auth_helper_parse(token, strlen(token), &t));
	assert_string_equal(t.identity_token, "r");
	assert_null(t.username);
}

/* --- files and helpers for real --- */

static struct auth *open_in(const struct tmpdir *t)
{
	struct auth *a;
	struct err e;

	unsetenv("REGISTRY_AUTH_FILE");
	setenv("XDG_RUNTIME_DIR", t->path, 1);
	_free_ char *dir = mem_printf("%s/docker", t->path);

	setenv("DOCKER_CONFIG", dir, 1);
	assert_ok(auth_open(&a, &e));
	return a;
}

static void put_find_erase(void **state)
{
	_tmpdir_ struct tmpdir t = tmpdir_new();
	_credential_ struct credential found = {0}, none = {0};
	_free_ char *where = NULL;
	struct stat st;
	struct err e;

	assert_ok(path_mkdirs(t.fd, "docker", 0755));
	assert_ok(path_replace(t.fd, "docker/config.json", "{\"HttpHeaders\":{\"X\":\"y\"}}", 25,
			       0644, false));
	{
		_auth_ struct auth *a = open_in(&t);
		struct credential c = {(char *)(uintptr_t) "ann", (char *)(uintptr_t) "s:3", NULL};

		assert_ok(auth_put(a, "docker.io", &c, &where, &e));
		assert_non_null(strstr(where, "docker/config.json"));
	}
	_auth_ struct auth *a = open_in(&t);

	assert_ok(path_stat(t.fd, "docker/config.json", &st));
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_ok(auth_find(a, "docker.io", "library/x", &found, &e));
	assert_string_equal(found.username, "ann");
	assert_string_equal(found.password, "s:3");
	assert_ok(auth_erase(a, "docker.io", &e));
	assert_int_equal(auth_erase(a, "docker.io", &e), -ENOENT);
	assert_ok(auth_find(a, "docker.io", "library/x", &none, &e));
	assert_null(none.username);
	_buf_ struct buf text = {0};

	assert_ok(path_read(t.fd, "docker/config.json", &text, 10000));
	assert_non_null(strstr(text.s, "HttpHeaders"));
	assert_null(strstr(text.s, "index.docker.io"));
}

static void podmans_file_comes_second(void **state)
{
	_tmpdir_ struct tmpdir t = tmpdir_new();
	_auth_ struct auth *a = open_in(&t);
	_credential_ struct credential c = {0};
	struct err e;

	assert_ok(path_mkdirs(t.fd, "containers", 0755));
	assert_ok(path_replace(t.fd, "containers/auth.json", docker_file, strlen(docker_file), 0600,
			       false));
	assert_ok(auth_find(a, "quay.io", "team/app", &c, &e));
	assert_string_equal(c.username, "team");
}

static void install_helper(const struct tmpdir *t, const char *script)
{
	_free_ char *path = mem_printf("%s:/usr/bin:/bin", t->path);

	setenv("PATH", path, 1);
	assert_ok(
	    path_replace(t->fd, "docker-credential-test", script, strlen(script), 0755, false));
	assert_ok(path_mkdirs(t->fd, "docker", 0755));
	assert_ok(path_replace(t->fd, "docker/config.json", "{\"credsStore\":\"test\"}", 21, 0600,
			       false));
}

static void helper_round_trip(void **state)
{
	_tmpdir_ struct tmpdir t = tmpdir_new();
	_free_ char *script = mem_printf(
	    "#!/bin/sh\nf=%s/kept\ncase $1 in\nstore) cat >$f;;\n"
	    "get) read s; echo \"$s\" >%s/asked; [ -f $f ] && cat $f || { echo 'credentials not "
	    "found in native keychain'; exit 1; };;\nerase) rm $f;;\nesac\n",
	    t.path, t.path);
	struct credential c = {(char *)(uintptr_t) "ann", (char *)(uintptr_t) "pw", NULL};
	_credential_ struct credential none = {0}, found = {0};
	_buf_ struct buf text = {0};
	_free_ char *where = NULL;
	struct err e;

	install_helper(&t, script);
	_auth_ struct auth *a = open_in(&t);

	assert_ok(auth_find(a, "docker.io", "x", &none, &e));
	assert_null(none.username);
	assert_ok(path_read(t.fd, "asked", &text, 1000));
	assert_string_equal(text.s, "https://index.docker.io/v1/\n");
	assert_ok(auth_put(a, "quay.io", &c, &where, &e));
	assert_string_equal(where, "the credential helper 'test'");
	assert_ok(auth_find(a, "quay.io", "x", &found, &e));
	assert_string_equal(found.password, "pw");
	assert_ok(auth_erase(a, "quay.io", &e));
	assert_false(path_exists(t.fd, "kept"));
	buf_reset(&text);
	assert_ok(path_read(t.fd, "docker/config.json", &text, 1000));
	assert_null(strstr(text.s, "quay.io"));
}

static void helpers_that_fail(void **state)
{
	_tmpdir_ struct tmpdir t = tmpdir_new();
	_credential_ struct credential c = {0};
	struct err e = {0};

	install_helper(&t, "#!/bin/sh\necho keyring is locked\nexit 2\n");
	{
		_auth_ struct auth *a = open_in(&t);

		assert_int_equal(auth_find(a, "quay.io", "", &c, &e), -EIO);
		assert_non_null(strstr(e.msg, "keyring is locked"));
	}
	install_helper(&t, "#!/bin/sh\necho nonsense\n");
	{
		_auth_ struct auth *a = open_in(&t);

		assert_int_equal(auth_find(a, "quay.io", "", &c, &e), -EBADMSG);
	}
	assert_int_equal(auth_helper_get("absent-x", "quay.io", &c, &e), -ENOENT);
	assert_int_equal(auth_helper_get("../../bin/sh", "quay.io", &c, &e), -EINVAL);
}

int main(void)
{
	return TEST_RUN(
	    "auth", cmocka_unit_test(finds_in_a_file),
	    cmocka_unit_test(store_serves_what_no_helper_does), cmocka_unit_test(malformed_files),
	    cmocka_unit_test(malformed_logins_are_named), cmocka_unit_test(helper_answers),
	    cmocka_unit_test(put_find_erase), cmocka_unit_test(podmans_file_comes_second),
	    cmocka_unit_test(helper_round_trip), cmocka_unit_test(helpers_that_fail));
}
