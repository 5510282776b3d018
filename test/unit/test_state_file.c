/* The store as a file: its format version and upgrades, what is refused, and who may read it. */
#include "test.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "os/path.h"
#include "state/db.h"
#include "state/dirs.h"
#include "state/holder.h"
#include "state/state.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static char dir[32];
static char file[64];

static int setup(void **arg)
{
	strcpy(dir, "/tmp/test_state.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(file, sizeof(file), "%s/state.db", dir);
	return 0;
}

static int teardown(void **arg)
{
	return path_remove_tree(AT_FDCWD, dir);
}

static struct state *open_ok(const char *where)
{
	struct state *s = NULL;
	struct err e = {0};

	if (state_open(where, NULL, &s, &e))
		fail_msg("%s [%s]", e.msg, err_info(e.code)->name);
	return s;
}

static void open_fails(int want, const char *code, const char *word)
{
	struct state *s = NULL;
	struct err e = {0};

	assert_int_equal(state_open(dir, NULL, &s, &e), want);
	assert_null(s);
	assert_string_equal(err_info(e.code)->name, code);
	assert_non_null(strstr(e.msg, word));
	assert_non_null(strstr(e.msg, dir));
}

static void raw(const char *sql)
{
	sqlite3 *db;
	char *message = NULL;

	assert_int_equal(sqlite3_open(file, &db), SQLITE_OK);
	if (sqlite3_exec(db, sql, NULL, NULL, &message))
		fail_msg("%s", message);
	sqlite3_close(db);
}

static int64_t raw_number(const char *sql)
{
	sqlite3_stmt *st;
	sqlite3 *db;

	assert_int_equal(sqlite3_open(file, &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	int64_t number = sqlite3_column_int64(st, 0);

	sqlite3_finalize(st);
	sqlite3_close(db);
	return number;
}

static int put(struct state *s, const char *key)
{
	struct err e = {0};

	return state_put(s, state_str(key), state_str("v"), 0, NULL, &e);
}

static size_t keys(struct state *s)
{
	_state_result_ struct state_result found = {0};
	struct err e = {0};

	assert_ok(state_range(s, &(struct state_range){.prefix = true}, &found, &e));
	return found.n;
}

/* --- versions --- */

static void new_file_is_version_zero_upgraded(void **arg)
{
	/* An empty file, and one that SQLite has initialised but nobody filled, are version 0. */
	static const char *const beginnings[] = {"PRAGMA page_size=8192; VACUUM", "SELECT 1"};

	for (size_t i = 0; i < ARRAY_SIZE(beginnings); i++) {
		raw(beginnings[i]);
		assert_int_equal(raw_number("PRAGMA user_version"), 0);
		struct state *s = open_ok(dir);

		assert_ok(put(s, "a"));
		state_free(s);
		assert_int_equal(raw_number("PRAGMA user_version"), 1);
		assert_int_equal(raw_number("PRAGMA application_id"), DB_APPLICATION_ID);
		s = open_ok(dir);
		assert_int_equal(keys(s), 1);
		state_free(s);
		path_remove_tree(AT_FDCWD, dir);
		path_mkdir(AT_FDCWD, dir, 0700);
	}
}

static void newer_is_refused_and_kept(void **arg)
{
	struct state *s = open_ok(dir);

	assert_ok(put(s, "a"));
	state_free(s);
	raw("PRAGMA user_version = 2");
	open_fails(-EPROTONOSUPPORT, "STATE-NEWER", "format 2");
	assert_int_equal(raw_number("PRAGMA user_version"), 2);
	raw("PRAGMA user_version = 1");
	s = open_ok(dir);
	assert_int_equal(keys(s), 1);
	state_free(s);
}

static void others_are_refused(void **arg)
{
	raw("CREATE TABLE mine (x)");
	open_fails(-EBADMSG, "STATE-CORRUPT", "something else");
	assert_int_equal(raw_number("SELECT count(*) FROM mine"), 0);
	raw("PRAGMA application_id = 0x76697673"); /* ours, but tables without a version */
	open_fails(-EBADMSG, "STATE-CORRUPT", "do not fit");
	raw("DROP TABLE mine; PRAGMA user_version = 1");
	open_fails(-EBADMSG, "STATE-CORRUPT", "do not fit");
}

/* What later versions will do: a real file goes through more steps than we have today. */
static int upgrade(const char *const *steps, size_t n, struct err *e)
{
	struct db d = {.timeout_ms = 1000};
	int rc = db_open(&d, file, steps, n, NULL, 0, e);

	db_done(&d);
	return rc;
}

static void steps_run_once_in_order(void **arg)
{
	static const char *const steps[] = {
	    "CREATE TABLE t (x); INSERT INTO t VALUES (1)",
	    "INSERT INTO t SELECT max(x) + 1 FROM t",
	    "INSERT INTO t SELECT max(x) * 10 FROM t",
	};
	struct err e = {0};

	assert_ok(upgrade(steps, 1, &e));
	assert_int_equal(raw_number("SELECT group_concat(x, '') FROM t"), 1);
	assert_ok(upgrade(steps, 3, &e));
	assert_int_equal(raw_number("SELECT group_concat(x, '') FROM t"), 1220);
	assert_int_equal(raw_number("PRAGMA user_version"), 3);
	assert_ok(upgrade(steps, 3, &e));
	assert_int_equal(raw_number("SELECT count(*) FROM t"), 3);
	assert_int_equal(upgrade(steps, 2, &e), -EPROTONOSUPPORT);
}

static void failing_step_leaves_the_old_version(void **arg)
{
	static const char *const steps[] = {
	    "CREATE TABLE t (x UNIQUE); INSERT INTO t VALUES (1)",
	    "INSERT INTO t VALUES (2)",
	    "INSERT INTO t VALUES (3); INSERT INTO t VALUES (1)",
	};
	struct err e = {0};

	assert_ok(upgrade(steps, 1, &e));
	assert_true(upgrade(steps, 3, &e) < 0);
	assert_true(e.msg[0]);
	assert_int_equal(raw_number("PRAGMA user_version"), 1);
	assert_int_equal(raw_number("SELECT count(*) FROM t"), 1);
	assert_ok(upgrade(steps, 2, &e));
	assert_int_equal(raw_number("SELECT count(*) FROM t"), 2);
}

/* --- files --- */

static void files_are_private(void **arg)
{
	static const char *const names[] = {"state.db", "state.db-wal", "state.db-shm",
					    "state.told"};
	_free_ char *below = mem_printf("%s/a/b", dir);
	mode_t mask = umask(0);
	struct state *s = open_ok(below);
	struct stat st;

	assert_ok(put(s, "a"));
	umask(mask);
	assert_ok(path_stat(AT_FDCWD, below, &st));
	assert_int_equal(st.st_mode & 0777, 0700);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_free_ char *path = mem_printf("%s/%s", below, names[i]);

		assert_ok(path_stat(AT_FDCWD, path, &st));
		assert_int_equal(st.st_mode & 0777, 0600);
	}
	state_free(s);
}

static void two_handles_share_the_store(void **arg)
{
	struct state *a = open_ok(dir), *b = open_ok(dir);
	struct state_watch *w;
	struct state_event ev;
	struct err e = {0};

	assert_ok(state_watch(b, &(struct state_range){.prefix = true}, 0, &w, &e));
	assert_ok(put(a, "a"));
	state_free(a); /* closing one must not drop the locks of the other */
	assert_int_equal(state_watch_next(w, &ev, &e), 1);
	assert_int_equal(ev.kv.mod_revision, 2);
	assert_ok(put(b, "b"));
	assert_int_equal(keys(b), 2);
	state_watch_free(w);
	state_free(b);
}

static void busy_is_said_in_time(void **arg)
{
	static const struct state_options impatient = {.timeout_ms = 50};
	struct state *s;
	struct err e = {0};
	sqlite3 *other;

	assert_ok(state_open(dir, &impatient, &s, &e));
	assert_int_equal(sqlite3_open(file, &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(state_put(s, state_str("a"), state_str("v"), 0, NULL, &e), -EBUSY);
	assert_string_equal(err_info(e.code)->name, "STATE-BUSY");
	assert_non_null(strstr(e.msg, "50 ms"));
	assert_int_equal(keys(s), 0); /* readers do not wait for writers */
	sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL);
	assert_ok(put(s, "a"));
	sqlite3_close(other);
	state_free(s);
}

static void removed_notice_ends_a_watch(void **arg)
{
	_free_ char *told = mem_printf("%s/state.told", dir);
	struct state *s = open_ok(dir);
	struct state_watch *w;
	struct state_event ev;
	struct err e = {0};

	assert_ok(state_watch(s, &(struct state_range){.prefix = true}, 0, &w, &e));
	assert_ok(path_unlink(AT_FDCWD, told));
	assert_int_equal(state_watch_next(w, &ev, &e), -EBADMSG);
	assert_non_null(strstr(e.msg, "removed"));
	state_watch_free(w);
	state_free(s);
}

/* --- directories, holders --- */

static void assert_dirs(int (*ask)(char **, struct err *), const char *want)
{
	_free_ char *got = NULL;
	struct err e = {0};

	assert_ok(ask(&got, &e));
	assert_string_equal(got, want);
}

static void directories_of_root(void **arg)
{
	if (geteuid())
		test_skip("needs root");
	assert_dirs(dirs_data, "/var/lib/viv");
	assert_dirs(dirs_run, "/run/viv");
}

static void directories_of_a_user(void **arg)
{
	if (geteuid() == 0 && seteuid(65534))
		test_skip("cannot become another user");
	setenv("XDG_DATA_HOME", "/data", 1);
	setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
	assert_dirs(dirs_data, "/data/viv");
	assert_dirs(dirs_run, "/run/user/7/viv");
	setenv("XDG_DATA_HOME", "relative", 1);
	setenv("HOME", "/home/ann", 1);
	assert_dirs(dirs_data, "/home/ann/.local/share/viv");
	unsetenv("XDG_RUNTIME_DIR");
	assert_dirs(dirs_run, "/home/ann/.local/share/viv/run");
	(void)!seteuid(getuid());
}

static void holders_survive_encoding(void **arg)
{
	struct state_holder h, back = {0};
	uint8_t record[HOLDER_BYTES + 1];
	struct err e = {0};

	assert_ok(state_holder_of(0, &h, &e));
	holder_encode(&h, record);
	assert_ok(holder_decode(record, HOLDER_BYTES, &back));
	assert_memory_equal(back.boot_id, h.boot_id, sizeof(h.boot_id));
	assert_int_equal(back.pid, h.pid);
	assert_int_equal(back.start_time, h.start_time);
	assert_int_equal(back.pid_ns, h.pid_ns);
	assert_int_equal(back.time_ns, h.time_ns);
	assert_int_equal(holder_decode(record, HOLDER_BYTES - 1, &back), -EBADMSG);
	assert_int_equal(holder_decode(record, HOLDER_BYTES + 1, &back), -EBADMSG);
	record[0]++;
	assert_int_equal(holder_decode(record, HOLDER_BYTES, &back), -EBADMSG);
	record[0]--;
	record[7] = 0x80; /* a pid that is negative */
	assert_int_equal(holder_decode(record, HOLDER_BYTES, &back), -EBADMSG);
	assert_int_equal(state_holder_of(0x7ffffffe, &h, &e), -ESRCH);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	return TEST_RUN(
	    "state_file", T(new_file_is_version_zero_upgraded), T(newer_is_refused_and_kept),
	    T(others_are_refused), T(steps_run_once_in_order),
	    T(failing_step_leaves_the_old_version), T(files_are_private),
	    T(two_handles_share_the_store), T(busy_is_said_in_time), T(removed_notice_ends_a_watch),
	    T(directories_of_root), T(directories_of_a_user), T(holders_survive_encoding));
}
