#include "state/state.h"
#include "state/ops.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* --- bytes, spans, compares --- */

int bytes_cmp(struct state_bytes a, struct state_bytes b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int c = n ? memcmp(a.p, b.p, n) : 0;

	return c ? c : (a.len > b.len) - (a.len < b.len);
}

const char *key_name(char *room, struct state_bytes key)
{
	const uint8_t *p = key.p;
	size_t n = 0;

	for (size_t i = 0; i < key.len && n < KEY_NAME_MAX - 8; i++)
		n += (size_t)sprintf(room + n, p[i] > ' ' && p[i] < 0x7f ? "%c" : "\\x%02x", p[i]);
	strcpy(room + n, n < KEY_NAME_MAX - 8 ? "" : "...");
	return room;
}

/* The first key behind `key`: itself and a zero byte. */
static struct state_bytes key_successor(uint8_t *room, struct state_bytes key)
{
	memcpy(room, key.p, key.len);
	room[key.len] = 0;
	return (struct state_bytes){room, key.len + 1};
}

/* The first key behind all that start with `prefix`. Where there is none (nothing, or only 0xff), a
 * string greater than any key: one byte longer than the longest, all 0xff. */
static struct state_bytes prefix_end(uint8_t *room, struct state_bytes prefix)
{
	const uint8_t *p = prefix.p;
	size_t n = prefix.len;

	while (n && p[n - 1] == 0xff)
		n--;
	if (!n) {
		memset(room, 0xff, STATE_KEY_MAX + 1);
		return (struct state_bytes){room, STATE_KEY_MAX + 1};
	}
	memcpy(room, p, n);
	room[n - 1]++;
	return (struct state_bytes){room, n};
}

void span_init(struct span *sp, const struct state_range *r)
{
	sp->from = r->from;
	if (r->prefix)
		sp->to = prefix_end(sp->to_buf, r->from);
	else if (r->to.len)
		sp->to = r->to;
	else
		sp->to = key_successor(sp->to_buf, r->from);
	if (r->after.len && bytes_cmp(r->after, sp->from) >= 0)
		sp->from = key_successor(sp->from_buf, r->after);
}

bool compare_holds(const struct state_compare *c, const struct state_kv *kv)
{
	static const struct state_kv none;
	int order = 0;

	if (c->target == STATE_VALUE) {
		if (!kv)
			return false;
		order = bytes_cmp(kv->value, c->value);
	} else {
		const struct state_kv *k = kv ? kv : &none;
		int64_t number = c->target == STATE_VERSION           ? k->version
				 : c->target == STATE_CREATE_REVISION ? k->create_revision
				 : c->target == STATE_MOD_REVISION    ? k->mod_revision
								      : k->lease;

		order = (number > c->number) - (number < c->number);
	}
	switch (c->relation) {
	case STATE_EQUAL:
		return order == 0;
	case STATE_NOT_EQUAL:
		return order != 0;
	case STATE_LESS:
		return order < 0;
	case STATE_GREATER:
		return order > 0;
	}
	return false;
}

/* --- results --- */

int result_add(struct state_result *r, const struct state_kv *kv, bool value, struct err *e)
{
	size_t len = kv->key.len + (value ? kv->value.len : 0);

	if (len > STATE_RANGE_BYTES_MAX - r->bytes)
		return err_set(e, ERR_STATE_LIMIT, -E2BIG,
			       "the result is larger than %u MiB: read it in pages (limit, after)",
			       STATE_RANGE_BYTES_MAX >> 20);
	if (r->n == r->cap) {
		size_t cap = r->cap ? r->cap * 2 : 8;
		struct state_kv *grown = realloc(r->kvs, cap * sizeof(*grown));

		if (!grown)
			return err_set(e, ERR_NOMEM, -ENOMEM, "out of memory for %zu keys", cap);
		r->kvs = grown;
		r->cap = cap;
	}
	uint8_t *copy = malloc(len);

	if (!copy)
		return err_set(e, ERR_NOMEM, -ENOMEM, "out of memory for %zu bytes", len);
	struct state_kv *to = &r->kvs[r->n++];

	*to = *kv;
	memcpy(copy, kv->key.p, kv->key.len);
	to->key.p = copy;
	to->value = (struct state_bytes){0};
	if (value) {
		if (kv->value.len)
			memcpy(copy + kv->key.len, kv->value.p, kv->value.len);
		to->value = (struct state_bytes){copy + kv->key.len, kv->value.len};
	}
	r->bytes += len;
	r->count = r->n;
	return 0;
}

void state_result_done(struct state_result *r)
{
	for (size_t i = 0; i < r->n; i++)
		free((void *)r->kvs[i].key.p); /* the value lies behind it */
	free(r->kvs);
	*r = (struct state_result){0};
}

void state_txn_result_done(struct state_txn_result *r)
{
	for (size_t i = 0; i < r->n; i++)
		state_result_done(&r->results[i]);
	free(r->results);
	*r = (struct state_txn_result){0};
}

/* --- arguments --- */

static int check_key(struct state_bytes key, struct err *e)
{
	if (!key.len)
		return err_set(e, ERR_STATE_LIMIT, -EINVAL, "a key is empty");
	if (key.len > STATE_KEY_MAX)
		return err_set(e, ERR_STATE_LIMIT, -E2BIG, "a key has %zu bytes, more than %u",
			       key.len, STATE_KEY_MAX);
	return 0;
}

static int check_range(const struct state_range *r, struct err *e)
{
	if (r->prefix && r->to.len)
		return err_set(e, ERR_STATE_LIMIT, -EINVAL, "a range has both a prefix and an end");
	if (r->revision < 0)
		return err_set(e, ERR_STATE_LIMIT, -EINVAL, "a revision is negative");
	if (r->from.len > STATE_KEY_MAX || r->to.len > STATE_KEY_MAX ||
	    r->after.len > STATE_KEY_MAX)
		return err_set(e, ERR_STATE_LIMIT, -E2BIG,
			       "a range names a key of more than %u bytes", STATE_KEY_MAX);
	return r->prefix || r->to.len ? 0 : check_key(r->from, e);
}

static int check_op(const struct state_op *op, struct err *e)
{
	if (op->verb != STATE_PUT)
		return check_range(&op->range, e);
	if (op->value.len > STATE_VALUE_MAX)
		return err_set(e, ERR_STATE_LIMIT, -E2BIG, "a value has %zu bytes, more than %u",
			       op->value.len, STATE_VALUE_MAX);
	if (op->lease < 0)
		return err_set(e, ERR_STATE_LIMIT, -EINVAL, "a lease's number is negative");
	return check_key(op->key, e);
}

/* etcd's rule: a key put by one operation is put or deleted by no other of its branch. */
static bool changes_twice(const struct state_op *put, const struct state_op *other)
{
	struct span sp;

	if (other->verb == STATE_PUT)
		return !bytes_cmp(put->key, other->key);
	if (other->verb != STATE_DELETE)
		return false;
	span_init(&sp, &other->range);
	return span_has(&sp, put->key);
}

static int check_ops(const struct state_op *ops, size_t n, struct err *e)
{
	if (n > STATE_OPS_MAX)
		return err_set(e, ERR_STATE_LIMIT, -E2BIG,
			       "a transaction has %zu operations, more than %u", n, STATE_OPS_MAX);
	for (size_t i = 0; i < n; i++) {
		int rc = check_op(&ops[i], e);

		if (rc)
			return rc;
	}
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n && ops[i].verb == STATE_PUT; j++)
			if (i != j && changes_twice(&ops[i], &ops[j]))
				return err_set(e, ERR_STATE_LIMIT, -EINVAL,
					       "a transaction changes one key twice");
	return 0;
}

/* --- the interface --- */

void state_free(struct state *s)
{
	if (s)
		s->ops->free(s);
}

int state_range(struct state *s, const struct state_range *r, struct state_result *ret,
		struct err *e)
{
	struct state_result found = {0};
	int rc = check_range(r, e);

	rc = rc ? rc : s->ops->range(s, r, &found, e);
	if (rc)
		state_result_done(&found);
	else
		*ret = found;
	return rc;
}

int state_get(struct state *s, struct state_bytes key, struct state_result *ret, struct err *e)
{
	return state_range(s, &(struct state_range){.from = key}, ret, e);
}

int state_txn(struct state *s, const struct state_txn *t, struct state_txn_result *ret,
	      struct err *e)
{
	struct state_txn_result done = {0};
	int rc;

	if (t->compare_count > STATE_OPS_MAX)
		return err_set(e, ERR_STATE_LIMIT, -E2BIG,
			       "a transaction has %zu compares, more than %u", t->compare_count,
			       STATE_OPS_MAX);
	for (size_t i = 0; i < t->compare_count; i++)
		if ((rc = check_key(t->compares[i].key, e)))
			return rc;
	rc = check_ops(t->then_ops, t->then_count, e);
	rc = rc ? rc : check_ops(t->else_ops, t->else_count, e);
	rc = rc ? rc : s->ops->txn(s, t, &done, e);
	if (rc)
		state_txn_result_done(&done);
	else
		*ret = done;
	return rc;
}

/* One operation, with or without a condition. */
static int run_one(struct state *s, const struct state_compare *c, const struct state_op *op,
		   struct state_txn_result *ret, int64_t *ret_revision, struct err *e)
{
	const struct state_txn t = {
	    .compares = c, .compare_count = c != NULL, .then_ops = op, .then_count = 1};
	int rc = state_txn(s, &t, ret, e);

	if (!rc && ret_revision && ret->succeeded)
		*ret_revision = ret->revision;
	return rc;
}

int state_put(struct state *s, struct state_bytes key, struct state_bytes value, int64_t lease,
	      int64_t *ret_revision, struct err *e)
{
	_state_txn_result_ struct state_txn_result done = {0};
	const struct state_op op = {.verb = STATE_PUT, .key = key, .value = value, .lease = lease};

	return run_one(s, NULL, &op, &done, ret_revision, e);
}

int state_put_if(struct state *s, struct state_bytes key, int64_t mod_revision,
		 struct state_bytes value, int64_t lease, int64_t *ret_revision, struct err *e)
{
	_state_txn_result_ struct state_txn_result done = {0};
	const struct state_op op = {.verb = STATE_PUT, .key = key, .value = value, .lease = lease};
	const struct state_compare c = {
	    .key = key, .target = STATE_MOD_REVISION, .number = mod_revision};
	int rc = run_one(s, &c, &op, &done, ret_revision, e);

	if (!rc && !done.succeeded)
		return err_set(e, ERR_STATE_CONFLICT, -EAGAIN,
			       "key '%s' is no longer at revision %lld",
			       key_name((char[KEY_NAME_MAX]){0}, key), (long long)mod_revision);
	return rc;
}

int state_delete(struct state *s, const struct state_range *r, uint64_t *ret_count,
		 int64_t *ret_revision, struct err *e)
{
	_state_txn_result_ struct state_txn_result done = {0};
	const struct state_op op = {.verb = STATE_DELETE, .range = *r};
	int rc = run_one(s, NULL, &op, &done, ret_revision, e);

	if (!rc && ret_count)
		*ret_count = done.results[0].count;
	return rc;
}

int state_compact(struct state *s, int64_t revision, struct err *e)
{
	return s->ops->compact(s, revision, e);
}

int state_lease_grant(struct state *s, const struct state_holder *h, int64_t *ret, struct err *e)
{
	return s->ops->lease_grant(s, h, ret, e);
}

int state_lease_keepalive(struct state *s, int64_t lease, struct err *e)
{
	return s->ops->lease_keepalive(s, lease, e);
}

int state_lease_holder(struct state *s, int64_t lease, struct state_holder *ret, struct err *e)
{
	return s->ops->lease_holder(s, lease, ret, e);
}

int state_lease_revoke(struct state *s, int64_t lease, struct err *e)
{
	return s->ops->lease_revoke(s, lease, e);
}

int state_lease_judge(struct state *s, uint64_t *ret_count, struct err *e)
{
	return s->ops->lease_judge(s, ret_count, e);
}

int state_watch(struct state *s, const struct state_range *r, int64_t revision,
		struct state_watch **ret, struct err *e)
{
	int rc = check_range(r, e);

	if (!rc && revision < 0)
		rc = err_set(e, ERR_STATE_LIMIT, -EINVAL, "a revision is negative");
	return rc ? rc : s->ops->watch(s, r, revision, ret, e);
}

void state_watch_free(struct state_watch *w)
{
	if (w)
		w->ops->watch_free(w);
}

int state_watch_fd(const struct state_watch *w)
{
	return w->fd;
}

int state_watch_next(struct state_watch *w, struct state_event *ret, struct err *e)
{
	return w->ops->watch_next(w, ret, e);
}
