/* What the embedded back ends differ in: a table that keeps every version of every key, in a
 * transaction or not at all. local.c puts etcd's semantics on top. The rows are a log, in which a
 * number gives the order, and an index by key:
 *
 *   id = revision << ROW_SUB_BITS | place within its transaction
 *
 * so that "the store at revision r" is "the newest row of each key with id < row_first(r + 1)", and
 * a watch is a walk from an id. A row whose `created` is 0 says that its key was deleted.
 *
 * Functions return 0 or a negative errno with *e set. Where they take a visitor, its value ends the
 * walk unless it is 0, and is returned; a row's bytes live until the visitor returns. A visitor may
 * call find and lease_get, nothing else. */
#ifndef STATE_TABLE_H
#define STATE_TABLE_H

#include <assert.h>

#include "state/ops.h"

#define ROW_SUB_BITS   20
#define ROW_ID_MAX     INT64_MAX
#define REVISION_MAX   (INT64_MAX >> ROW_SUB_BITS)
#define REVISION_EMPTY 1 /* of a store that was never written to, as in etcd */

static_assert(STATE_CHANGES_MAX <= 1u << ROW_SUB_BITS, "places of a transaction fit in an id");

/* Of a revision that is too great for an id: greater than all ids. */
static inline int64_t row_first(int64_t revision)
{
	return revision > REVISION_MAX ? ROW_ID_MAX : revision << ROW_SUB_BITS;
}

static inline int64_t row_revision(int64_t id)
{
	return id >> ROW_SUB_BITS;
}

struct row {
	int64_t id;
	int64_t created; /* revision; 0: deleted, then version and lease are 0 and value is empty */
	int64_t version;
	int64_t lease;
	struct state_bytes key, value;
};

typedef int row_visit(void *arg, const struct row *row);
typedef int lease_visit(void *arg, int64_t lease, const struct state_holder *h);

struct table;

struct table_ops {
	void (*free)(struct table *t);

	/* One consistent view; `write` also excludes other writers. end() of a reader, or of a
	 * writer that gives up, is rollback(); commit() makes it durable, tells the watches, and on
	 * failure rolls back. */
	int (*begin)(struct table *t, bool write, struct err *e);
	int (*commit)(struct table *t, struct err *e);
	void (*rollback)(struct table *t);

	/* The newest id (0: none) and the revision up to which history is compacted. */
	int (*bounds)(struct table *t, int64_t *ret_newest, int64_t *ret_compacted, struct err *e);
	/* The newest row of the key with a smaller id; visit is not called where there is none. */
	int (*find)(struct table *t, struct state_bytes key, int64_t before, row_visit *visit,
		    void *arg, struct err *e);
	/* As find, for each key of the span that exists there (created != 0), in key order. */
	int (*walk)(struct table *t, const struct span *sp, int64_t before, row_visit *visit,
		    void *arg, struct err *e);
	/* The first row of the span with that id or a greater one. */
	int (*change)(struct table *t, const struct span *sp, int64_t since, row_visit *visit,
		      void *arg, struct err *e);
	int (*append)(struct table *t, const struct row *row, struct err *e);
	/* Removes the rows up to `revision` that a read at it would not show, but never the newest
	 * of all, which carries the store's revision. Rows up to `compacted` have been through
	 * this. */
	int (*compact)(struct table *t, int64_t compacted, int64_t revision, struct err *e);

	int (*lease_add)(struct table *t, const struct state_holder *h, int64_t *ret,
			 struct err *e);
	int (*lease_get)(struct table *t, int64_t lease, struct state_holder *ret,
			 struct err *e); /* 1, 0: none */
	int (*lease_walk)(struct table *t, lease_visit *visit, void *arg, struct err *e);
	int (*lease_drop)(struct table *t, int64_t lease, struct err *e); /* none is success */
	/* The keys that exist and are tied to the lease, in any order. */
	int (*lease_keys)(struct table *t, int64_t lease, row_visit *visit, void *arg,
			  struct err *e);

	/* An fd that becomes readable at commits, of this process and others; close it by
	 * watch_close. */
	int (*watch_open)(struct table *t, int *ret_fd, struct err *e);
	void (*watch_close)(struct table *t, int fd);
	/* Makes it unreadable: 1 if it was readable, 0 if not. */
	int (*watch_drain)(struct table *t, int fd, struct err *e);
};

struct table {
	const struct table_ops *ops;
};

/* Tables, returned owned. */
struct table *table_new_memory(void);
int table_open_sqlite(const char *dir, const struct state_options *o, struct table **ret,
		      struct err *e);

/* The back end on a table, which it takes. */
struct state *local_new(struct table *t, const struct state_options *o);

#endif
