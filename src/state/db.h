/* The SQLite file of a state store: opening, settings, schema version, prepared statements, and
 * SQLite's results as our errors. Knows no keys. One connection, one thread at a time. */
#ifndef STATE_DB_H
#define STATE_DB_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "base/err.h"

#define DB_APPLICATION_ID 0x76697673 /* "vivs", in the file's header */

struct db {
	sqlite3 *h;
	char *path;
	unsigned timeout_ms;
	uint64_t steps, steps_max; /* of SQLite's machine, by the statement that runs */
	struct timespec busy_since;
	sqlite3_stmt **stmts; /* prepared when first used */
	const char *const *sql;
	size_t stmt_count;
};

/* Opens or creates the file, and upgrades it: step i of `steps` leads from schema version i to i +
 * 1, and a new file has version 0. sql: the statements, which the db borrows and db_stmt() names by
 * index. db_done() also after failure. */
int db_open(struct db *d, const char *path, const char *const *steps, size_t step_count,
	    const char *const *sql, size_t stmt_count, struct err *e);
void db_done(struct db *d);

/* The upgrade alone, for tests of other step tables. */
int db_upgrade(struct db *d, const char *const *steps, size_t step_count, struct err *e);

/* The statement, reset and without bindings. *ret is borrowed. */
int db_stmt(struct db *d, size_t index, sqlite3_stmt **ret, struct err *e);
/* 1: a row, 0: done, or an error; resets the statement unless it gave a row. */
int db_step(struct db *d, sqlite3_stmt *st, struct err *e);
/* Prepares and runs one statement without parameters to its end. */
int db_run(struct db *d, size_t index, struct err *e);

/* What SQLite last said, as our error. what: "cannot read", … */
int db_fail(struct db *d, int result, const char *what, struct err *e);
/* The file holds what no version of ours writes. */
int db_corrupt(struct db *d, const char *what, struct err *e);

#endif
