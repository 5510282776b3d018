#include "state/db.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

/* The log is folded into the file whenever it has so many pages, which bounds what the first opener
 * after a crash, or after everybody left, reads to find its end. */
#define WAL_PAGES "256"

/* Real statements on a store of a million keys take a hundredth of this; a damaged tree can make
 * them endless. */
#define STEPS_MAX      (UINT64_C(1) << 32)
#define STEPS_INTERVAL 100000

/* --- errors --- */

#define SALVAGE "move it away to begin anew, or salvage it: sqlite3 FILE .recover"

int db_corrupt(struct db *d, const char *what, struct err *e)
{
	return err_set(e, ERR_STATE_CORRUPT, -EBADMSG, "state store '%s' is damaged: %s; " SALVAGE,
		       d->path, what);
}

/* SQLite folds many failures of the system into SQLITE_IOERR and SQLITE_CANTOPEN; errno tells them
 * apart. */
static int system_failed(struct db *d, int error, const char *what, struct err *e)
{
	switch (error) {
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return err_set(e, ERR_STATE_FULL, -ENOSPC, "state store '%s': %s: %s", d->path,
			       what, strerror(error));
	case EROFS:
	case EACCES:
	case EPERM:
		return err_set(e, ERR_STATE_READONLY, -EROFS, "state store '%s': %s: %s", d->path,
			       what, strerror(error));
	case ENOENT: /* of SQLite's second try, without O_CREAT, on the log; why the first failed is
			lost */
		return err_set(
		    e, ERR_SYS, -EIO,
		    "state store '%s': %s: its log cannot be created beside it; the file "
		    "system may be full or read-only",
		    d->path, what);
	default:
		return err_set(e, ERR_SYS, -error, "state store '%s': %s: %s", d->path, what,
			       strerror(error));
	}
}

int db_fail(struct db *d, int result, const char *what, struct err *e)
{
	int error = d->h ? sqlite3_system_errno(d->h) : 0;
	const char *said = d->h ? sqlite3_errmsg(d->h) : sqlite3_errstr(result);

	switch (result & 0xff) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
	case SQLITE_PROTOCOL: /* gave up on the races of recovery */
		return err_set(e, ERR_STATE_BUSY, -EBUSY,
			       "state store '%s' was locked by others for %u ms", d->path,
			       d->timeout_ms);
	case SQLITE_NOMEM:
		return err_set(e, ERR_NOMEM, -ENOMEM, "state store '%s': out of memory", d->path);
	case SQLITE_FULL:
		return system_failed(d, ENOSPC, what, e);
	case SQLITE_READONLY:
		return system_failed(d, EROFS, what, e);
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
	case SQLITE_PERM:
	case SQLITE_AUTH:
		if (result == SQLITE_IOERR_NOMEM)
			return err_set(e, ERR_NOMEM, -ENOMEM, "state store '%s': out of memory",
				       d->path);
		return system_failed(d, error ? error : EIO, what, e);
	case SQLITE_INTERRUPT:
		return db_corrupt(d, "a read of it does not end", e);
	default: /* our statements are fixed: whatever else is wrong with them is wrong with the
		    file */
		return db_corrupt(d, said, e);
	}
}

/* --- waiting --- */

/* Sleeps for a random while that grows, so that many writers neither wake together nor starve; 0
 * gives up. */
static int wait_for_lock(void *arg, int attempt)
{
	struct db *d = arg;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (attempt == 0)
		d->busy_since = now;
	int64_t waited_ms = (now.tv_sec - d->busy_since.tv_sec) * 1000 +
			    (now.tv_nsec - d->busy_since.tv_nsec) / 1000000;

	if (waited_ms >= d->timeout_ms)
		return 0;
	unsigned random;
	int64_t most_us = INT64_C(250) << (attempt < 6 ? attempt : 6);

	sqlite3_randomness(sizeof(random), &random);
	int64_t us = 50 + random % most_us;
	struct timespec pause = {us / 1000000, us % 1000000 * 1000};

	nanosleep(&pause, NULL);
	return 1;
}

static int count_steps(void *arg)
{
	struct db *d = arg;

	d->steps += STEPS_INTERVAL;
	return d->steps > d->steps_max;
}

/* --- statements --- */

int db_stmt(struct db *d, size_t index, sqlite3_stmt **ret, struct err *e)
{
	if (!d->stmts[index]) {
		int result = sqlite3_prepare_v3(d->h, d->sql[index], -1, SQLITE_PREPARE_PERSISTENT,
						&d->stmts[index], NULL);

		if (result)
			return db_fail(d, result, "cannot read", e);
	}
	sqlite3_reset(d->stmts[index]);
	sqlite3_clear_bindings(d->stmts[index]);
	d->steps = 0;
	*ret = d->stmts[index];
	return 0;
}

int db_step(struct db *d, sqlite3_stmt *st, struct err *e)
{
	int result = sqlite3_step(st);

	if (result == SQLITE_ROW)
		return 1;
	const char *what = sqlite3_column_count(st) ? "cannot read" : "cannot write";
	int rc = result == SQLITE_DONE ? 0 : db_fail(d, result, what, e);

	sqlite3_reset(st);
	return rc;
}

int db_run(struct db *d, size_t index, struct err *e)
{
	sqlite3_stmt *st;
	int rc = db_stmt(d, index, &st, e);

	if (rc)
		return rc;
	while ((rc = db_step(d, st, e)) == 1)
		;
	return rc;
}

/* --- opening --- */

/* Runs SQL and gives the first column of the last row. */
static int last_number(void *arg, int columns, char **values, char **names)
{
	if (columns && values[0])
		*(int64_t *)arg = strtoll(values[0], NULL, 10);
	return 0;
}

static int exec(struct db *d, const char *sql, int64_t *ret_number, struct err *e)
{
	int64_t number = 0;
	int result = sqlite3_exec(d->h, sql, last_number, &number, NULL);

	d->steps = 0;
	if (result)
		return db_fail(d, result, "cannot open", e);
	if (ret_number)
		*ret_number = number;
	return 0;
}

static int check_version(struct db *d, size_t step_count, int64_t *ret, struct err *e)
{
	int64_t id = 0, tables = 0, version = 0;
	int rc = exec(d, "PRAGMA application_id", &id, e);

	rc = rc ? rc : exec(d, "PRAGMA user_version", &version, e);
	rc = rc ? rc : exec(d, "SELECT count(*) FROM sqlite_schema", &tables, e);
	if (rc)
		return rc;
	/* Without tables it is a new file, whatever else it says. */
	if (tables && id != DB_APPLICATION_ID)
		return db_corrupt(d, "it is a database of something else", e);
	if (version < 0 || (tables > 0) != (version > 0))
		return db_corrupt(d, "its tables do not fit its version", e);
	if (version > (int64_t)step_count)
		return err_set(e, ERR_STATE_NEWER, -EPROTONOSUPPORT,
			       "state store '%s' has format %lld, this version knows up to %zu",
			       d->path, (long long)version, step_count);
	*ret = version;
	return 0;
}

int db_upgrade(struct db *d, const char *const *steps, size_t step_count, struct err *e)
{
	int64_t version = 0;
	/* In one view: somebody else may be creating the tables right now. */
	int rc = exec(d, "BEGIN", NULL, e);

	if (rc)
		return rc;
	rc = check_version(d, step_count, &version, e);
	sqlite3_exec(d->h, "ROLLBACK", NULL, NULL, NULL);
	if (rc || version == (int64_t)step_count)
		return rc;
	rc = exec(d, "BEGIN IMMEDIATE", NULL, e);
	if (rc)
		return rc;
	/* Others may have done it while we waited. */
	rc = check_version(d, step_count, &version, e);
	for (; !rc && version < (int64_t)step_count; version++)
		rc = exec(d, steps[version], NULL, e);
	if (!rc) {
		char sql[96];

		sqlite3_snprintf(sizeof(sql), sql,
				 "PRAGMA application_id = %d; PRAGMA user_version = %lld; COMMIT",
				 DB_APPLICATION_ID, version);
		rc = exec(d, sql, NULL, e);
	}
	if (rc && !sqlite3_get_autocommit(d->h))
		sqlite3_exec(d->h, "ROLLBACK", NULL, NULL, NULL);
	return rc;
}

/* 1 where the file is in WAL mode now, 0 where its file system cannot have that. */
static int try_wal(struct db *d, struct err *e)
{
	sqlite3_stmt *st;
	int result = sqlite3_prepare_v2(d->h, "PRAGMA journal_mode=WAL", -1, &st, NULL);
	int rc;

	result = result ? result : sqlite3_step(st);
	if (result == SQLITE_ROW)
		rc = !sqlite3_stricmp((const char *)sqlite3_column_text(st, 0), "wal");
	else
		rc = db_fail(d, result, "cannot open", e);
	sqlite3_finalize(st);
	return rc;
}

/* The journal mode is a property of the file, and changing it needs the file alone; SQLite does not
 * wait for that. */
static int set_wal(struct db *d, struct err *e)
{
	for (int attempt = 0;; attempt++) {
		int rc = try_wal(d, e);

		if (rc == 1)
			return 0;
		if (!rc)
			return err_set(e, ERR_UNSUPPORTED, -EOPNOTSUPP,
				       "state store '%s': its file system has no shared memory",
				       d->path);
		if (rc != -EBUSY || !wait_for_lock(d, attempt))
			return rc;
	}
}

static int configure(struct db *d, struct err *e)
{
	static const struct {
		int option, on;
	} options[] = {
	    {SQLITE_DBCONFIG_DEFENSIVE, 1},
	    {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
	    {SQLITE_DBCONFIG_ENABLE_TRIGGER, 0},
	    {SQLITE_DBCONFIG_ENABLE_VIEW, 0},
	    {SQLITE_DBCONFIG_DQS_DML, 0},
	    {SQLITE_DBCONFIG_DQS_DDL, 0},
	    /* Leaving costs nothing: the log stays for the next command, WAL_PAGES bounds it. */
	    {SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1},
	};

	sqlite3_extended_result_codes(d->h, 1);
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		sqlite3_db_config(d->h, options[i].option, options[i].on, NULL);
	sqlite3_busy_handler(d->h, wait_for_lock, d);
	sqlite3_progress_handler(d->h, STEPS_INTERVAL, count_steps, d);
	return exec(d,
		    "PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=" WAL_PAGES
		    "; PRAGMA temp_store=MEMORY; PRAGMA cell_size_check=ON; PRAGMA mmap_size=0",
		    NULL, e);
}

/* SQLite would create it readable for everybody. Only a file that did not exist is opened here,
 * because closing any fd of a file drops all POSIX locks that the process has on it. */
static int create_file(struct db *d, struct err *e)
{
	_close_ int fd = path_open(AT_FDCWD, d->path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);

	return fd >= 0 || fd == -EEXIST ? 0 : system_failed(d, -fd, "cannot create", e);
}

int db_open(struct db *d, const char *path, const char *const *steps, size_t step_count,
	    const char *const *sql, size_t stmt_count, struct err *e)
{
	d->path = mem_strdup(path);
	d->sql = sql;
	d->stmt_count = stmt_count;
	d->stmts = mem_array(stmt_count, sizeof(*d->stmts));
	if (!d->steps_max)
		d->steps_max = STEPS_MAX;
	int rc = create_file(d, e);

	if (rc)
		return rc;
	int result =
	    sqlite3_open_v2(path, &d->h, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);

	if (result)
		return db_fail(d, result, "cannot open", e);
	rc = configure(d, e);
	/* SQLite falls back to reading where it may not write, and forgets why. */
	if (!rc && sqlite3_db_readonly(d->h, "main") == 1) {
		int access = path_access(AT_FDCWD, d->path, W_OK);

		rc = system_failed(d, access ? -access : EACCES, "cannot open for writing", e);
	}
	rc = rc ? rc : set_wal(d, e);
	return rc ? rc : db_upgrade(d, steps, step_count, e);
}

void db_done(struct db *d)
{
	for (size_t i = 0; d->stmts && i < d->stmt_count; i++)
		sqlite3_finalize(d->stmts[i]);
	sqlite3_close(d->h);
	free(d->stmts);
	free(d->path);
	*d = (struct db){0};
}
