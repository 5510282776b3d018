/* The table in memory: the log as an array, and the keys as a sorted array of their rows' lists. It
 * ends with its handle; tests use it, and whatever wants the store's semantics without the store.
 */
#include "state/table.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/vec.h"

#include <errno.h>
#include <sys/eventfd.h>

typedef VEC(struct row *) row_list;

struct memory_key {
	struct state_bytes key; /* borrowed from its first row */
	row_list rows;          /* never empty, borrowed from the log */
};

struct memory_lease {
	int64_t id;
	struct state_holder holder;
};

struct memory_table {
	struct table table;
	row_list log; /* owns the rows */
	VEC(struct memory_key) keys;
	VEC(struct memory_lease) leases;
	VEC(int) watches;
	int64_t compacted, last_lease;
	size_t mark; /* length of the log when the transaction began */
};

static struct memory_table *of(struct table *t)
{
	return (struct memory_table *)t;
}

/* The place of the first key that is not smaller. */
static size_t lower_bound(const struct memory_table *t, struct state_bytes key)
{
	size_t low = 0, high = t->keys.n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (bytes_cmp(t->keys.v[mid].key, key) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static bool is_key(const struct memory_table *t, size_t at, struct state_bytes key)
{
	return at < t->keys.n && !bytes_cmp(t->keys.v[at].key, key);
}

/* The newest with a smaller id, or NULL. */
static const struct row *newest_before(const struct memory_key *k, int64_t before)
{
	for (size_t i = k->rows.n; i-- > 0;)
		if (k->rows.v[i]->id < before)
			return k->rows.v[i];
	return NULL;
}

/* Enters the row under its key. */
static void index_row(struct memory_table *t, struct row *row)
{
	size_t at = lower_bound(t, row->key);

	if (!is_key(t, at, row->key)) {
		vec_push(&t->keys, (struct memory_key){0}); /* room */
		memmove(&t->keys.v[at + 1], &t->keys.v[at],
			(t->keys.n - 1 - at) * sizeof(*t->keys.v));
		t->keys.v[at] = (struct memory_key){.key = row->key};
	}
	vec_push(&t->keys.v[at].rows, row);
}

static void clear_index(struct memory_table *t)
{
	vec_each (k, &t->keys)
		vec_done(&k->rows);
	t->keys.n = 0;
}

static void rebuild_index(struct memory_table *t)
{
	clear_index(t);
	for (size_t i = 0; i < t->log.n; i++)
		index_row(t, t->log.v[i]);
}

/* --- transactions --- */

static int table_begin(struct table *base, bool write, struct err *e)
{
	of(base)->mark = of(base)->log.n;
	return 0;
}

static void table_rollback(struct table *base)
{
	struct memory_table *t = of(base);

	if (t->log.n == t->mark)
		return;
	clear_index(t);
	while (t->log.n > t->mark)
		free(t->log.v[--t->log.n]);
	rebuild_index(t);
}

static int table_commit(struct table *base, struct err *e)
{
	struct memory_table *t = of(base);

	if (t->log.n > t->mark)
		vec_each (fd, &t->watches)
			eventfd_write(*fd, 1);
	return 0;
}

static int table_bounds(struct table *base, int64_t *ret_newest, int64_t *ret_compacted,
			struct err *e)
{
	struct memory_table *t = of(base);

	*ret_newest = t->log.n ? t->log.v[t->log.n - 1]->id : 0;
	*ret_compacted = t->compacted;
	return 0;
}

/* --- rows --- */

static int table_find(struct table *base, struct state_bytes key, int64_t before, row_visit *visit,
		      void *arg, struct err *e)
{
	struct memory_table *t = of(base);
	size_t at = lower_bound(t, key);
	const struct row *row = is_key(t, at, key) ? newest_before(&t->keys.v[at], before) : NULL;

	return row ? visit(arg, row) : 0;
}

static int table_walk(struct table *base, const struct span *sp, int64_t before, row_visit *visit,
		      void *arg, struct err *e)
{
	struct memory_table *t = of(base);

	for (size_t i = lower_bound(t, sp->from);
	     i < t->keys.n && bytes_cmp(t->keys.v[i].key, sp->to) < 0; i++) {
		const struct row *row = newest_before(&t->keys.v[i], before);
		int rc = row && row->created ? visit(arg, row) : 0;

		if (rc)
			return rc;
	}
	return 0;
}

static int table_change(struct table *base, const struct span *sp, int64_t since, row_visit *visit,
			void *arg, struct err *e)
{
	struct memory_table *t = of(base);
	size_t i = t->log.n;

	while (i && t->log.v[i - 1]->id >= since)
		i--;
	for (; i < t->log.n; i++)
		if (span_has(sp, t->log.v[i]->key))
			return visit(arg, t->log.v[i]);
	return 0;
}

static int table_append(struct table *base, const struct row *row, struct err *e)
{
	struct memory_table *t = of(base);
	struct row *copy = mem_alloc(sizeof(*copy) + row->key.len + row->value.len);
	uint8_t *bytes = (uint8_t *)(copy + 1);

	*copy = *row;
	memcpy(bytes, row->key.p, row->key.len);
	if (row->value.len)
		memcpy(bytes + row->key.len, row->value.p, row->value.len);
	copy->key.p = bytes;
	copy->value.p = bytes + row->key.len;
	vec_push(&t->log, copy);
	index_row(t, copy);
	return 0;
}

/* A row is shown at `revision` when it is the newest of its key there and does not say "deleted".
 */
static bool is_hidden(const struct memory_table *t, const struct row *row, int64_t revision)
{
	const struct memory_key *k = &t->keys.v[lower_bound(t, row->key)];

	return row_revision(row->id) <= revision &&
	       (!row->created || newest_before(k, row_first(revision + 1)) != row);
}

static int table_compact(struct table *base, int64_t compacted, int64_t revision, struct err *e)
{
	struct memory_table *t = of(base);
	row_list hidden = {0};
	size_t kept = 0;

	for (size_t i = 0; i < t->log.n; i++) {
		struct row *row = t->log.v[i];

		if (i + 1 < t->log.n && is_hidden(t, row, revision))
			vec_push(&hidden, row);
		else
			t->log.v[kept++] = row;
	}
	t->log.n = t->mark = kept;
	t->compacted = revision;
	rebuild_index(t);
	vec_each (row, &hidden)
		free(*row);
	vec_done(&hidden);
	return 0;
}

/* --- leases --- */

static int table_lease_add(struct table *base, const struct state_holder *h, int64_t *ret,
			   struct err *e)
{
	struct memory_table *t = of(base);

	vec_push(&t->leases, (struct memory_lease){++t->last_lease, *h});
	*ret = t->last_lease;
	return 0;
}

static int table_lease_get(struct table *base, int64_t lease, struct state_holder *ret,
			   struct err *e)
{
	vec_each (l, &of(base)->leases) {
		if (l->id == lease) {
			*ret = l->holder;
			return 1;
		}
	}
	return 0;
}

static int table_lease_walk(struct table *base, lease_visit *visit, void *arg, struct err *e)
{
	vec_each (l, &of(base)->leases) {
		int rc = visit(arg, l->id, &l->holder);

		if (rc)
			return rc;
	}
	return 0;
}

static int table_lease_drop(struct table *base, int64_t lease, struct err *e)
{
	struct memory_table *t = of(base);

	for (size_t i = 0; i < t->leases.n; i++)
		if (t->leases.v[i].id == lease)
			t->leases.v[i--] = t->leases.v[--t->leases.n];
	return 0;
}

static int table_lease_keys(struct table *base, int64_t lease, row_visit *visit, void *arg,
			    struct err *e)
{
	vec_each (k, &of(base)->keys) {
		const struct row *row = k->rows.v[k->rows.n - 1];
		int rc = row->lease == lease ? visit(arg, row) : 0;

		if (rc)
			return rc;
	}
	return 0;
}

/* --- watches, life cycle --- */

static int table_watch_open(struct table *base, int *ret_fd, struct err *e)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (fd < 0)
		return err_sys(e, ERR_SYS, "cannot watch the store");
	vec_push(&of(base)->watches, fd);
	*ret_fd = fd;
	return 0;
}

static void table_watch_close(struct table *base, int fd)
{
	struct memory_table *t = of(base);

	for (size_t i = 0; i < t->watches.n; i++)
		if (t->watches.v[i] == fd)
			t->watches.v[i--] = t->watches.v[--t->watches.n];
	close(fd);
}

static int table_watch_drain(struct table *base, int fd, struct err *e)
{
	eventfd_t n;

	return eventfd_read(fd, &n) == 0;
}

static void table_free(struct table *base)
{
	struct memory_table *t = of(base);

	clear_index(t);
	vec_done(&t->keys);
	vec_each (row, &t->log)
		free(*row);
	vec_done(&t->log);
	vec_done(&t->leases);
	vec_done(&t->watches);
	free(t);
}

static const struct table_ops memory_ops = {
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

struct table *table_new_memory(void)
{
	struct memory_table *t = mem_alloc(sizeof(*t));

	t->table.ops = &memory_ops;
	return &t->table;
}
