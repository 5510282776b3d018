/* The input is rows, with columns of any type and content, in a file whose structure is sound: what
 * the checks of rows and holders are for. Lease records also meet holder_decode() directly.
 *
 *   row      'h' id key created version lease value | 'l' id holder | 'c' revision
 *   column   'i' 1 byte | 'I' 8 bytes, little-endian | 'r' n: revision n's first id | 'b' length,
 * bytes | 'n'
 */
#include "state_exercise.h"

#include "base/cleanup.h"
#include "state/db.h"
#include "state/holder.h"

#define ROWS_MAX 64

struct input {
	const uint8_t *p;
	size_t left;
};

static uint8_t next(struct input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->p++;
}

static int64_t next_number(struct input *in)
{
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		v |= (uint64_t)next(in) << 8 * i;
	return (int64_t)v;
}

static void bind_column(sqlite3_stmt *st, int index, struct input *in)
{
	switch (next(in)) {
	case 'i':
		sqlite3_bind_int64(st, index, next(in));
		return;
	case 'I':
		sqlite3_bind_int64(st, index, next_number(in));
		return;
	case 'r':
		sqlite3_bind_int64(st, index, (int64_t)next(in) << 20);
		return;
	case 'n':
		sqlite3_bind_null(st, index);
		return;
	default: {
		size_t len = next(in);

		len = len < in->left ? len : in->left;
		sqlite3_bind_blob(st, index, in->p, (int)len, SQLITE_TRANSIENT);
		in->p += len;
		in->left -= len;
	}
	}
}

/* As the real tables (table_sqlite.c), but for the types. */
static sqlite3 *create(const char *path)
{
	sqlite3 *db;

	if (sqlite3_open(path, &db) ||
	    sqlite3_exec(db,
			 "PRAGMA synchronous = OFF; PRAGMA application_id = 0x76697673; PRAGMA "
			 "user_version = 1;"
			 "CREATE TABLE history (id INTEGER PRIMARY KEY, key, created, version, "
			 "lease, value);"
			 "CREATE UNIQUE INDEX history_key ON history (key, id);"
			 "CREATE INDEX history_lease ON history (lease) WHERE lease <> 0;"
			 "CREATE TABLE lease (id INTEGER PRIMARY KEY AUTOINCREMENT, holder);"
			 "CREATE TABLE compaction (revision);"
			 "INSERT INTO compaction VALUES (0); BEGIN",
			 NULL, NULL, NULL))
		abort();
	return db;
}

static void insert(sqlite3 *db, struct input *in)
{
	static const struct {
		char tag;
		int columns;
		const char *sql;
	} rows[] = {
	    {'h', 6, "INSERT OR REPLACE INTO history VALUES (?, ?, ?, ?, ?, ?)"},
	    {'l', 2, "INSERT OR REPLACE INTO lease VALUES (?, ?)"},
	    {'c', 1, "UPDATE compaction SET revision = ?"},
	};
	uint8_t tag = next(in);
	sqlite3_stmt *st;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (rows[i].tag != tag)
			continue;
		if (sqlite3_prepare_v2(db, rows[i].sql, -1, &st, NULL))
			abort();
		for (int c = 1; c <= rows[i].columns; c++)
			bind_column(st, c, in);
		sqlite3_step(st);
		sqlite3_finalize(st);
	}
}

static void decode_holder(const uint8_t *data, size_t size)
{
	struct state_holder h;
	uint8_t again[HOLDER_BYTES];

	if (holder_decode(data, size, &h))
		return;
	holder_encode(&h, again);
	if (memcmp(data, again, HOLDER_BYTES))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_free_ char *path = mem_printf("%s/state.db", exercise_dir());
	struct input in = {data, size};

	decode_holder(data, size);
	if (path_mkdirs(AT_FDCWD, exercise_dir(), 0700))
		abort();
	sqlite3 *db = create(path);

	for (int i = 0; i < ROWS_MAX && in.left; i++)
		insert(db, &in);
	sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
	sqlite3_close(db);
	exercise_store();
	return 0;
}
