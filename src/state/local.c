/* etcd's semantics over a table of rows (table.h).
 *
 * Leases are judged here. A row that is read as part of the present may be tied to a lease whose
 * holder is gone; then the key must not be there any more. The reader notices (LEASE_GONE), gives
 * its transaction up, revokes the leases of all who are gone in a transaction of its own, and
 * starts again. */
#include "state/local_int.h"

#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>

#define LEASE_GONE 2 /* a visitor's value */

/* A verb starts again at most so often; each round needs another process to die meanwhile. */
#define JUDGE_ROUNDS 16

int64_t pass_revision(const struct pass *p)
{
	return p->revision + (p->changes > 0);
}

int pass_begin(struct pass *p, struct local *l, bool write, struct err *e)
{
	*p = (struct pass){.l = l, .e = e};
	int rc = l->t->ops->begin(l->t, write, e);

	if (rc)
		return rc;
	rc = l->t->ops->bounds(l->t, &p->newest, &p->compacted, e);
	if (rc)
		l->t->ops->rollback(l->t);
	p->revision = p->newest ? row_revision(p->newest) : REVISION_EMPTY;
	return rc;
}

int pass_end(struct pass *p, bool write, int rc)
{
	if (!rc && write)
		return p->l->t->ops->commit(p->l->t, p->e);
	p->l->t->ops->rollback(p->l->t);
	return rc;
}

static int pass_append(struct pass *p, struct row *row)
{
	if (p->changes == STATE_CHANGES_MAX)
		return err_set(p->e, ERR_STATE_LIMIT, -E2BIG,
			       "a transaction changes more than %u keys", STATE_CHANGES_MAX);
	if (p->revision == REVISION_MAX)
		return err_set(p->e, ERR_STATE_LIMIT, -EOVERFLOW, "revisions are used up");
	row->id = row_first(p->revision + 1) + p->changes++;
	return p->l->t->ops->append(p->l->t, row, p->e);
}

/* 0 where the row's lease, if any, is held by the living. */
static int judge_row(struct pass *p, const struct row *row)
{
	struct state_holder h;

	if (!row->lease)
		return 0;
	int rc = p->l->t->ops->lease_get(p->l->t, row->lease, &h, p->e);

	if (rc < 0)
		return rc;
	if (!rc)
		return err_set(p->e, ERR_STATE_CORRUPT, -EBADMSG,
			       "key '%s' is tied to lease %lld, which does not exist",
			       key_name((char[KEY_NAME_MAX]){0}, row->key), (long long)row->lease);
	return holder_gone(&p->l->view, &h) ? LEASE_GONE : 0;
}

struct state_kv kv_of(const struct row *row)
{
	return (struct state_kv){.key = row->key,
				 .value = row->value,
				 .create_revision = row->created,
				 .mod_revision = row_revision(row->id),
				 .version = row->version,
				 .lease = row->lease};
}

/* --- reading --- */

struct reading {
	struct pass *p;
	const struct state_range *r;
	struct state_result *ret;
};

static int read_row(void *arg, const struct row *row)
{
	struct reading *g = arg;
	int rc = g->r->revision || !row->created ? 0 : judge_row(g->p, row);

	if (rc || !row->created)
		return rc;
	if (g->r->count_only) {
		g->ret->count++;
		return 0;
	}
	if (g->r->limit && g->ret->n == g->r->limit) {
		g->ret->more = true;
		return 1;
	}
	struct state_kv kv = kv_of(row);

	return result_add(g->ret, &kv, !g->r->keys_only, g->p->e);
}

static int pass_range(struct pass *p, const struct state_range *r, struct state_result *ret)
{
	struct reading g = {p, r, ret};
	struct table *t = p->l->t;
	int64_t before = r->revision ? row_first(r->revision + 1) : ROW_ID_MAX;
	int rc;

	if (r->revision > p->revision)
		return err_set(p->e, ERR_STATE_FUTURE, -ERANGE,
			       "revision %lld has not happened: the store is at %lld",
			       (long long)r->revision, (long long)p->revision);
	if (r->revision && r->revision < p->compacted)
		return err_set(p->e, ERR_STATE_COMPACTED, -ESTALE,
			       "revision %lld is gone: history begins at %lld",
			       (long long)r->revision, (long long)p->compacted);
	if (r->prefix || r->to.len || r->after.len) {
		struct span sp;

		span_init(&sp, r);
		rc = t->ops->walk(t, &sp, before, read_row, &g, p->e);
	} else {
		rc = t->ops->find(t, r->from, before, read_row, &g, p->e);
	}
	ret->revision = pass_revision(p);
	return rc == 1 ? 0 : rc;
}

/* --- changing --- */

/* What a key was: enough for the next version of it. */
struct previous {
	struct pass *p;
	int64_t created, version;
};

static int read_previous(void *arg, const struct row *row)
{
	struct previous *prev = arg;
	int rc = judge_row(prev->p, row);

	prev->created = row->created;
	prev->version = row->version;
	return rc;
}

static int pass_put(struct pass *p, const struct state_op *op, struct state_result *ret)
{
	struct previous prev = {.p = p};
	struct state_holder h;
	struct table *t = p->l->t;
	int rc = t->ops->find(t, op->key, ROW_ID_MAX, read_previous, &prev, p->e);

	if (rc)
		return rc;
	if (op->lease) {
		rc = t->ops->lease_get(t, op->lease, &h, p->e);
		if (rc < 0)
			return rc;
		if (!rc)
			return err_set(p->e, ERR_NOT_FOUND, -ENOENT, "there is no lease %lld",
				       (long long)op->lease);
		if (holder_gone(&p->l->view, &h))
			return LEASE_GONE;
	}
	struct row row = {.created = prev.created ? prev.created : p->revision + 1,
			  .version = prev.version + 1,
			  .lease = op->lease,
			  .key = op->key,
			  .value = op->value};

	rc = pass_append(p, &row);
	ret->count = prev.created != 0;
	ret->revision = pass_revision(p);
	return rc;
}

int pass_delete_keys(struct pass *p, const struct state_result *keys)
{
	for (size_t i = 0; i < keys->n; i++) {
		struct row row = {.key = keys->kvs[i].key};
		int rc = pass_append(p, &row);

		if (rc)
			return rc;
	}
	return 0;
}

static int pass_delete(struct pass *p, const struct state_op *op, struct state_result *ret)
{
	_state_result_ struct state_result keys = {0};
	struct state_range r = op->range;

	r.revision = 0;
	r.limit = STATE_CHANGES_MAX + 1;
	r.keys_only = true;
	r.count_only = false;
	int rc = pass_range(p, &r, &keys);

	rc = rc ? rc : pass_delete_keys(p, &keys);
	ret->count = keys.n;
	ret->revision = pass_revision(p);
	return rc;
}

static int pass_op(struct pass *p, const struct state_op *op, struct state_result *ret)
{
	switch (op->verb) {
	case STATE_GET:
		return pass_range(p, &op->range, ret);
	case STATE_PUT:
		return pass_put(p, op, ret);
	case STATE_DELETE:
		return pass_delete(p, op, ret);
	}
	return err_set(p->e, ERR_STATE_LIMIT, -EINVAL, "an operation has no such verb");
}

struct comparing {
	struct pass *p;
	const struct state_compare *c;
	bool holds;
};

static int compare_row(void *arg, const struct row *row)
{
	struct comparing *g = arg;
	struct state_kv kv = kv_of(row);
	int rc = judge_row(g->p, row);

	if (!rc && row->created)
		g->holds = compare_holds(g->c, &kv);
	return rc;
}

static int pass_compares(struct pass *p, const struct state_txn *txn, bool *ret)
{
	bool all = true;

	for (size_t i = 0; i < txn->compare_count && all; i++) {
		const struct state_compare *c = &txn->compares[i];
		struct comparing g = {p, c, compare_holds(c, NULL)};
		int rc = p->l->t->ops->find(p->l->t, c->key, ROW_ID_MAX, compare_row, &g, p->e);

		if (rc)
			return rc;
		all = g.holds;
	}
	*ret = all;
	return 0;
}

static int pass_txn(struct pass *p, const struct state_txn *txn, struct state_txn_result *ret)
{
	int rc = pass_compares(p, txn, &ret->succeeded);
	const struct state_op *ops = ret->succeeded ? txn->then_ops : txn->else_ops;
	size_t n = ret->succeeded ? txn->then_count : txn->else_count;

	if (rc)
		return rc;
	ret->results = mem_array(n, sizeof(*ret->results));
	for (; ret->n < n && !rc; ret->n++)
		rc = pass_op(p, &ops[ret->n], &ret->results[ret->n]);
	ret->revision = pass_revision(p);
	return rc;
}

/* --- verbs --- */

static int local_compact(struct state *s, int64_t revision, struct err *e)
{
	struct local *l = local_of(s);
	struct pass p;
	int rc = pass_begin(&p, l, true, e);

	if (rc)
		return rc;
	if (revision > p.revision)
		rc = err_set(e, ERR_STATE_FUTURE, -ERANGE,
			     "revision %lld has not happened: the store is at %lld",
			     (long long)revision, (long long)p.revision);
	else if (revision <= p.compacted)
		rc = err_set(e, ERR_STATE_COMPACTED, -ESTALE,
			     "history is compacted up to %lld already", (long long)p.compacted);
	else
		rc = l->t->ops->compact(l->t, p.compacted, revision, e);
	return pass_end(&p, true, rc);
}

/* Keeps history between one and two times its length, so that the work is done rarely and is
 * proportional to what happened meanwhile. The change it follows is committed: failing here is no
 * failure of it. */
static void trim_history(const struct pass *p)
{
	struct err e = {0};
	int64_t revision = pass_revision(p);

	if (!p->changes || revision - p->compacted < 2 * (int64_t)p->l->history)
		return;
	if (local_compact(&p->l->state, revision - p->l->history, &e))
		log_debug("Compaction put off: %s", e.msg);
}

/* After a verb met a dead holder: 0 to start again. */
static int judge_again(struct local *l, unsigned round, struct err *e)
{
	if (round == JUDGE_ROUNDS)
		return err_set(e, ERR_STATE_BUSY, -EBUSY,
			       "holders of leases end faster than their keys can be removed");
	return local_lease_judge(&l->state, NULL, e);
}

static int local_range(struct state *s, const struct state_range *r, struct state_result *ret,
		       struct err *e)
{
	struct local *l = local_of(s);

	for (unsigned round = 0;; round++) {
		struct pass p;
		int rc = pass_begin(&p, l, false, e);

		if (rc)
			return rc;
		rc = pass_end(&p, false, pass_range(&p, r, ret));
		if (rc != LEASE_GONE)
			return rc;
		state_result_done(ret);
		rc = judge_again(l, round, e);
		if (rc)
			return rc;
	}
}

static bool only_reads(const struct state_op *ops, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (ops[i].verb != STATE_GET)
			return false;
	return true;
}

static int local_txn(struct state *s, const struct state_txn *t, struct state_txn_result *ret,
		     struct err *e)
{
	struct local *l = local_of(s);
	bool write =
	    !only_reads(t->then_ops, t->then_count) || !only_reads(t->else_ops, t->else_count);

	for (unsigned round = 0;; round++) {
		struct pass p;
		int rc = pass_begin(&p, l, write, e);

		if (rc)
			return rc;
		rc = pass_txn(&p, t, ret);
		rc = pass_end(&p, p.changes > 0, rc);
		if (!rc)
			trim_history(&p);
		if (rc != LEASE_GONE)
			return rc;
		state_txn_result_done(ret);
		rc = judge_again(l, round, e);
		if (rc)
			return rc;
	}
}

/* --- life cycle --- */

static void local_free(struct state *s)
{
	struct local *l = local_of(s);

	l->t->ops->free(l->t);
	free(l);
}

static const struct state_ops local_ops = {
    .free = local_free,
    .range = local_range,
    .txn = local_txn,
    .compact = local_compact,
    .lease_grant = local_lease_grant,
    .lease_keepalive = local_lease_keepalive,
    .lease_holder = local_lease_holder,
    .lease_revoke = local_lease_revoke,
    .lease_judge = local_lease_judge,
    .watch = local_watch,
    .watch_free = local_watch_free,
    .watch_next = local_watch_next,
};

struct state *local_new(struct table *t, const struct state_options *o)
{
	struct local *l = mem_alloc(sizeof(*l));

	l->state.ops = &local_ops;
	l->t = t;
	l->history = o && o->history ? o->history : STATE_HISTORY;
	return &l->state;
}

int state_open(const char *dir, const struct state_options *o, struct state **ret, struct err *e)
{
	struct table *t;
	int rc = table_open_sqlite(dir, o, &t, e);

	if (!rc)
		*ret = local_new(t, o);
	return rc;
}

struct state *state_new_memory(const struct state_options *o)
{
	return local_new(table_new_memory(), o);
}
