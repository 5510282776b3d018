/* The table in an SQLite file: state.db in WAL mode with synchronous FULL, so that a commit is one
 * append to the log and one fsync, and readers never wait for writers. doc/format/state.md has the
 * schema.
 *
 * What comes back from the file is foreign: every row is checked before the rest sees it. */
#include "state/db.h"
#include "state/holder.h"
#include "state/notice.h"
#include "state/table.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>

/* Step i leads from schema version i to i + 1. Steps are never edited once released. */
static const char *const schema_steps[] = {
    /* Version 1. history: the log of rows, value last, because SQLite reads a record from its
       beginning. */
    "CREATE TABLE history (id INTEGER PRIMARY KEY, key BLOB NOT NULL, created INTEGER NOT NULL,"
    " version INTEGER NOT NULL, lease INTEGER NOT NULL, value BLOB NOT NULL) STRICT;"
    "CREATE UNIQUE INDEX history_key ON history (key, id);"
    "CREATE INDEX history_lease ON history (lease) WHERE lease <> 0;"
    "CREATE TABLE lease (id INTEGER PRIMARY KEY AUTOINCREMENT, holder BLOB NOT NULL) STRICT;"
    "CREATE TABLE compaction (revision INTEGER NOT NULL) STRICT;"
    "INSERT INTO compaction VALUES (0);",
};

enum statement {
	BEGIN_READ,
	BEGIN_WRITE,
	COMMIT,
	ROLLBACK,
	BOUNDS,
	FIND,
	WALK,
	CHANGE,
	APPEND,
	COMPACT_SUPERSEDED,
	COMPACT_DELETED,
	COMPACT_MARK,
	LEASE_ADD,
	LEASE_GET,
	LEASE_WALK,
	LEASE_DROP,
	LEASE_KEYS,
	STATEMENT_COUNT
};

#define COLUMNS "id, key, created, version, lease, value"

static const char *const statements[] = {
    [BEGIN_READ] = "BEGIN",
    [BEGIN_WRITE] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    [BOUNDS] = "SELECT ifnull((SELECT id FROM history ORDER BY id DESC LIMIT 1), 0), revision"
	       " FROM compaction",
    [FIND] = "SELECT " COLUMNS " FROM history WHERE key = ?1 AND id < ?2 ORDER BY id DESC LIMIT 1",
    [WALK] = "SELECT " COLUMNS " FROM history AS r WHERE key >= ?1 AND key < ?2 AND id < ?3"
	     " AND created <> 0 AND NOT EXISTS (SELECT 1 FROM history AS n WHERE n.key = r.key"
	     " AND n.id > r.id AND n.id < ?3) ORDER BY key",
    /* The key conditions are kept from the planner: the order of ids is what is wanted. */
    [CHANGE] = "SELECT " COLUMNS " FROM history NOT INDEXED WHERE id >= ?1 AND +key >= ?2"
	       " AND +key < ?3 ORDER BY id LIMIT 1",
    [APPEND] = "INSERT INTO history (" COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    /* What the rows that are new since the last compaction superseded; then those that only say
       "deleted". */
    [COMPACT_SUPERSEDED] =
	"DELETE FROM history WHERE id IN (SELECT o.id FROM history AS n JOIN history AS o"
	" ON o.key = n.key AND o.id < n.id WHERE n.id >= ?1 AND n.id < ?2)",
    [COMPACT_DELETED] = "DELETE FROM history WHERE id >= ?1 AND id < ?2 AND created = 0"
			" AND id <> (SELECT max(id) FROM history)",
    [COMPACT_MARK] = "UPDATE compaction SET revision = ?1",
    [LEASE_ADD] = "INSERT INTO lease (holder) VALUES (?1)",
    [LEASE_GET] = "SELECT id, holder FROM lease WHERE id = ?1",
    [LEASE_WALK] = "SELECT id, holder FROM lease",
    [LEASE_DROP] = "DELETE FROM lease WHERE id = ?1",
    [LEASE_KEYS] =
	"SELECT " COLUMNS " FROM history AS r WHERE lease = ?1 AND lease <> 0"
	" AND NOT EXISTS (SELECT 1 FROM history AS n WHERE n.key = r.key AND n.id > r.id)",
};

struct sqlite_table {
	struct table table;
	struct db db;
	struct notice notice;
	int64_t appended; /* id of the row appended last in this transaction; 0: none */
};

static struct sqlite_table *of(struct table *t)
{
	return (struct sqlite_table *)t;
}

static void bind_bytes(sqlite3_stmt *st, int index, struct state_bytes b)
{
	/* A NULL pointer would bind NULL instead of an empty blob. */
	sqlite3_bind_blob(st, index, b.len ? b.p : "", (int)b.len, SQLITE_STATIC);
}

/* --- foreign rows --- */

static bool is_bytes(sqlite3_stmt *st, int column, size_t min, size_t max, struct state_bytes *ret)
{
	if (sqlite3_column_type(st, column) != SQLITE_BLOB)
		return false;
	ret->p = sqlite3_column_blob(st, column);
	ret->len = (size_t)sqlite3_column_bytes(st, column);
	return ret->len >= min && ret->len <= max && (ret->p || !ret->len);
}

static bool is_number(sqlite3_stmt *st, int column, int64_t *ret)
{
	if (sqlite3_column_type(st, column) != SQLITE_INTEGER)
		return false;
	*ret = sqlite3_column_int64(st, column);
	return true;
}

/* Columns as COLUMNS names them. */
static int read_row(struct sqlite_table *t, sqlite3_stmt *st, struct row *ret, struct err *e)
{
	struct row r;

	if (!is_number(st, 0, &r.id) || row_revision(r.id) <= REVISION_EMPTY)
		return db_corrupt(&t->db, "a row has no valid revision", e);
	if (!is_bytes(st, 1, 1, STATE_KEY_MAX, &r.key))
		return db_corrupt(&t->db, "a row has no valid key", e);
	if (!is_number(st, 2, &r.created) || !is_number(st, 3, &r.version) ||
	    !is_number(st, 4, &r.lease) || !is_bytes(st, 5, 0, STATE_VALUE_MAX, &r.value))
		return db_corrupt(&t->db, "a row has a column of the wrong type or size", e);
	bool deleted = r.created == 0 && r.version == 0 && r.lease == 0 && r.value.len == 0;
	bool exists = r.created > REVISION_EMPTY && r.created <= row_revision(r.id) &&
		      r.version > 0 && r.version <= row_revision(r.id) - r.created + 1 &&
		      r.lease >= 0;

	if (!deleted && !exists)
		return db_corrupt(&t->db, "a row contradicts itself", e);
	*ret = r;
	return 0;
}

static int read_lease(struct sqlite_table *t, sqlite3_stmt *st, int64_t *ret_lease,
		      struct state_holder *ret, struct err *e)
{
	struct state_bytes holder;

	if (!is_number(st, 0, ret_lease) || *ret_lease <= 0)
		return db_corrupt(&t->db, "a lease has no valid number", e);
	if (!is_bytes(st, 1, HOLDER_BYTES, HOLDER_BYTES, &holder) ||
	    holder_decode(holder.p, holder.len, ret))
		return db_corrupt(&t->db, "a lease has no valid holder", e);
	return 0;
}

/* Visits what the statement gives, and resets it. */
static int visit_rows(struct sqlite_table *t, sqlite3_stmt *st, row_visit *visit, void *arg,
		      struct err *e)
{
	struct row row;
	int rc;

	while ((rc = db_step(&t->db, st, e)) == 1) {
		rc = read_row(t, st, &row, e);
		rc = rc ? rc : visit(arg, &row);
		if (rc)
			break;
	}
	sqlite3_reset(st);
	return rc;
}

/* --- transactions --- */

static int table_begin(struct table *base, bool write, struct err *e)
{
	struct sqlite_table *t = of(base);

	t->appended = 0;
	return db_run(&t->db, write ? BEGIN_WRITE : BEGIN_READ, e);
}

static void table_rollback(struct table *base)
{
	struct sqlite_table *t = of(base);
	struct err ignored;

	/* Some failures make SQLite roll back by itself. */
	if (!sqlite3_get_autocommit(t->db.h))
		db_run(&t->db, ROLLBACK, &ignored);
}

static int table_commit(struct table *base, struct err *e)
{
	struct sqlite_table *t = of(base);
	int rc = db_run(&t->db, COMMIT, e);

	if (rc)
		table_rollback(base);
	else if (t->appended)
		notice_tell(&t->notice, row_revision(t->appended));
	return rc;
}

static int table_bounds(struct table *base, int64_t *ret_newest, int64_t *ret_compacted,
			struct err *e)
{
	struct sqlite_table *t = of(base);
	sqlite3_stmt *st;
	int64_t newest, compacted;
	int rc = db_stmt(&t->db, BOUNDS, &st, e);

	if (rc)
		return rc;
	rc = db_step(&t->db, st, e);
	if (rc < 0)
		return rc;
	bool valid = rc == 1 && is_number(st, 0, &newest) && is_number(st, 1, &compacted) &&
		     newest >= 0 && compacted >= 0 &&
		     compacted <= (newest ? row_revision(newest) : REVISION_EMPTY);

	sqlite3_reset(st);
	if (!valid)
		return db_corrupt(&t->db, "its revisions contradict each other", e);
	*ret_newest = newest;
	*ret_compacted = compacted;
	return 0;
}

/* --- rows --- */

static int table_find(struct table *base, struct state_bytes key, int64_t before, row_visit *visit,
		      void *arg, struct err *e)
{
	struct sqlite_table *t = of(base);
	sqlite3_stmt *st;
	int rc = db_stmt(&t->db, FIND, &st, e);

	if (rc)
		return rc;
	bind_bytes(st, 1, key);
	sqlite3_bind_int64(st, 2, before);
	return visit_rows(t, st, visit, arg, e);
}

static int table_walk(struct table *base, const struct span *sp, int64_t before, row_visit *visit,
		      void *arg, struct err *e)
{
	struct sqlite_table *t = of(base);
	sqlite3_stmt *st;
	int rc = db_stmt(&t->db, WALK, &st, e);

	if (rc)
		return rc;
	bind_bytes(st, 1, sp->from);
	bind_bytes(st, 2, sp->to);
	sqlite3_bind_int64(st, 3, before);
	return visit_rows(t, st, visit, arg, e);
}

static int table_change(struct table *base, const struct span *sp, int64_t since, row_visit *visit,
			void *arg, struct err *e)
{
	struct sqlite_table *t = of(base);
	sqlite3_stmt *st;
	int rc = db_stmt(&t->db, CHANGE, &st, e);

	if (rc)
		return rc;
	sqlite3_bind_int64(st, 1, since);
	bind_bytes(st, 2, sp->from);
	bind_bytes(st, 3, sp->to);
	return visit_rows(t, st, visit, arg, e);
}

static int table_append(struct table *base, const struct row *row, struct err *e)
{
	struct sqlite_table *t = of(base);
	sqlite3_stmt *st;
	int rc = db_stmt(&t->db, APPEND, &st, e);

	if (rc)
		return rc;
	sqlite3_bind_int64(st, 1, row->id);
	bind_bytes(st, 2, row->key);
	sqlite3_bind_int64(st, 3, row->created);
	sqlite3_bind_int64(st, 4, row->version);
	sqlite3_bind_int64(st, 5, row->lease);
	bind_bytes(st, 6, row->value);
	rc = db_step(&t->db, st, e);
	t->appended = row->id;
	return rc;
}

static int run_with(struct sqlite_table *t, enum statement s, int64_t first, int64_t second,
		    struct err *e)
{
	sqlite3_stmt *st;
	int rc = db_stmt(&t->db, s, &st, e);

	if (rc)
		return rc;
	sqlite3_bind_int64(st, 1, first);
	if (sqlite3_bind_parameter_count(st) > 1)
		sqlite3_bind_int64(st, 2, second);
	return db_step(&t->db, st, e);
}

static int table_compact(struct table *base, int64_t compacted, int64_t revision, struct err *e)
{
	struct sqlite_table *t = of(base);
	int64_t since = row_first(compacted + 1), before = row_first(revision + 1);
	int rc = run_with(t, COMPACT_SUPERSEDED, since, before, e);

	rc = rc ? rc : run_with(t, COMPACT_DELETED, 0, before, e);
	return rc ? rc : run_with(t, COMPACT_MARK, revision, 0, e);
}

/* --- leases --- */

static int table_lease_add(struct table *base, const struct state_holder *h, int64_t *ret,
			   struct err *e)
{
	struct sqlite_table *t = of(base);
	uint8_t record[HOLDER_BYTES];
	sqlite3_stmt *st;
	int rc = db_stmt(&t->db, LEASE_ADD, &st, e);

	if (rc)
		return rc;
	holder_encode(h, record);
	bind_bytes(st, 1, (struct state_bytes){record, sizeof(record)});
	rc = db_step(&t->db, st, e);
	if (!rc)
		*ret = sqlite3_last_insert_rowid(t->db.h);
	return rc;
}

static int table_lease_get(struct table *base, int64_t lease, struct state_holder *ret,
			   struct err *e)
{
	struct sqlite_table *t = of(base);
	sqlite3_stmt *st;
	int64_t id;
	int rc = db_stmt(&t->db, LEASE_GET, &st, e);

	if (rc)
		return rc;
	sqlite3_bind_int64(st, 1, lease);
	rc = db_step(&t->db, st, e);
	if (rc != 1)
		return rc;
	rc = read_lease(t, st, &id, ret, e);
	sqlite3_reset(st);
	return rc ? rc : 1;
}

static int table_lease_walk(struct table *base, lease_visit *visit, void *arg, struct err *e)
{
	struct sqlite_table *t = of(base);
	struct state_holder h;
	sqlite3_stmt *st;
	int64_t id;
	int rc = db_stmt(&t->db, LEASE_WALK, &st, e);

	if (rc)
		return rc;
	while ((rc = db_step(&t->db, st, e)) == 1) {
		rc = read_lease(t, st, &id, &h, e);
		rc = rc ? rc : visit(arg, id, &h);
		if (rc)
			break;
	}
	sqlite3_reset(st);
	return rc;
}

static int table_lease_drop(struct table *base, int64_t lease, struct err *e)
{
	return run_with(of(base), LEASE_DROP, lease, 0, e);
}

static int table_lease_keys(struct table *base, int64_t lease, row_visit *visit, void *arg,
			    struct err *e)
{
	struct sqlite_table *t = of(base);
	sqlite3_stmt *st;
	int rc = db_stmt(&t->db, LEASE_KEYS, &st, e);

	if (rc)
		return rc;
	sqlite3_bind_int64(st, 1, lease);
	return visit_rows(t, st, visit, arg, e);
}

/* --- watches, life cycle --- */

static int table_watch_open(struct table *base, int *ret_fd, struct err *e)
{
	return notice_watch(&of(base)->notice, ret_fd, e);
}

static void table_watch_close(struct table *base, int fd)
{
	close(fd);
}

static int table_watch_drain(struct table *base, int fd, struct err *e)
{
	return notice_drain(&of(base)->notice, fd, e);
}

static void table_free(struct table *base)
{
	struct sqlite_table *t = of(base);

	db_done(&t->db);
	notice_done(&t->notice);
	free(t);
}

static const struct table_ops sqlite_ops = {
    .free = table_free,
    .begin = table_begin,
    .commit = table_commit,
    .rollback = table_rollback,
    .bounds = table_bounds,
    .find = table_find,
    .walk = table_walk,
    .change = table_change,
    .append = table_append,
    .compact = table_compact,
    .lease_add = table_lease_add,
    .lease_get = table_lease_get,
    .lease_walk = table_lease_walk,
    .lease_drop = table_lease_drop,
    .lease_keys = table_lease_keys,
    .watch_open = table_watch_open,
    .watch_close = table_watch_close,
    .watch_drain = table_watch_drain,
};

/* The directory and, where it is new, its name in the one above. */
static int make_dir(const char *dir, struct err *e)
{
	if (path_exists(AT_FDCWD, dir))
		return 0;
	int rc = path_mkdirs(AT_FDCWD, dir, 0700);
	_close_ int fd = rc ? rc : path_open(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY, 0);
	_close_ int above = fd < 0 ? fd : path_open(fd, "..", O_RDONLY | O_DIRECTORY, 0);

	if (above < 0)
		return err_set(e,
			       above == -EACCES || above == -EROFS ? ERR_STATE_READONLY : ERR_SYS,
			       above == -EACCES ? -EROFS : above,
			       "cannot create directory '%s': %s", dir, strerror(-above));
	return fsync(above) < 0 ? err_sys(e, ERR_SYS, "cannot create directory '%s'", dir) : 0;
}

/* Tells the watches what somebody committed and died before telling. */
static int catch_up(struct sqlite_table *t, struct err *e)
{
	int64_t newest, compacted;
	int rc = table_bounds(&t->table, &newest, &compacted, e);

	if (!rc && newest && notice_told(&t->notice) != row_revision(newest))
		notice_tell(&t->notice, row_revision(newest));
	return rc;
}

int table_open_sqlite(const char *dir, const struct state_options *o, struct table **ret,
		      struct err *e)
{
	_free_ char *file = mem_printf("%s/state.db", dir);
	_free_ char *told = mem_printf("%s/state.told", dir);
	struct sqlite_table *t = mem_alloc(sizeof(*t));

	t->table.ops = &sqlite_ops;
	t->db.timeout_ms = o && o->timeout_ms ? o->timeout_ms : STATE_TIMEOUT_MS;
	t->db.steps_max = o ? o->steps_max : 0;
	t->notice.fd = -1;
	int rc = make_dir(dir, e);

	rc = rc ? rc : notice_open(&t->notice, told, e);
	rc = rc ? rc
		: db_open(&t->db, file, schema_steps, ARRAY_SIZE(schema_steps), statements,
			  STATEMENT_COUNT, e);
	rc = rc ? rc : catch_up(t, e);
	if (rc)
		table_free(&t->table);
	else
		*ret = &t->table;
	return rc;
}
