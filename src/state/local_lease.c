/* Leases of the embedded back end: granted, judged, revoked. Who reads a key judges its lease
 * (local.c). */
#include "state/local_int.h"

#include "base/vec.h"

#include <errno.h>

struct collecting {
	struct pass *p;
	struct state_result *keys;
};

static int collect_key(void *arg, const struct row *row)
{
	struct collecting *g = arg;
	struct state_kv kv = kv_of(row);

	return result_add(g->keys, &kv, false, g->p->e);
}

/* Deletes the keys of a lease and the lease. */
static int pass_revoke(struct pass *p, int64_t lease)
{
	_state_result_ struct state_result keys = {0};
	struct collecting g = {p, &keys};
	struct table *t = p->l->t;
	int rc = t->ops->lease_keys(t, lease, collect_key, &g, p->e);

	rc = rc ? rc : pass_delete_keys(p, &keys);
	return rc ? rc : t->ops->lease_drop(t, lease, p->e);
}

struct judging {
	struct local *l;
	VEC(int64_t) gone;
};

static int judge_lease(void *arg, int64_t lease, const struct state_holder *h)
{
	struct judging *j = arg;

	if (holder_gone(&j->l->view, h))
		vec_push(&j->gone, lease);
	return 0;
}

int local_lease_judge(struct state *s, uint64_t *ret_count, struct err *e)
{
	struct local *l = local_of(s);
	struct judging j = {.l = l};
	struct pass p;
	int rc = pass_begin(&p, l, false, e);

	if (rc)
		return rc;
	rc = pass_end(&p, false, l->t->ops->lease_walk(l->t, judge_lease, &j, e));
	/* Numbers are never used again and the dead stay dead: no need to judge twice. */
	if (!rc && j.gone.n) {
		rc = pass_begin(&p, l, true, e);
		if (!rc) {
			for (size_t i = 0; i < j.gone.n && !rc; i++)
				rc = pass_revoke(&p, j.gone.v[i]);
			rc = pass_end(&p, true, rc);
		}
	}
	if (!rc && ret_count)
		*ret_count = j.gone.n;
	vec_done(&j.gone);
	return rc;
}

int local_lease_grant(struct state *s, const struct state_holder *h, int64_t *ret, struct err *e)
{
	struct local *l = local_of(s);
	struct pass p;
	int64_t lease = 0;
	/* So that leases which no key, and hence no reader, leads to do not pile up. */
	int rc = local_lease_judge(s, NULL, e);

	rc = rc ? rc : pass_begin(&p, l, true, e);
	if (rc)
		return rc;
	rc = pass_end(&p, true, l->t->ops->lease_add(l->t, h, &lease, e));
	if (!rc)
		*ret = lease;
	return rc;
}

int local_lease_holder(struct state *s, int64_t lease, struct state_holder *ret, struct err *e)
{
	struct local *l = local_of(s);
	struct pass p;
	int rc = pass_begin(&p, l, false, e);

	if (rc)
		return rc;
	int found = l->t->ops->lease_get(l->t, lease, ret, e);

	pass_end(&p, false, 0);
	if (!found)
		return err_set(e, ERR_NOT_FOUND, -ENOENT, "there is no lease %lld",
			       (long long)lease);
	return found < 0 ? found : 0;
}

int local_lease_keepalive(struct state *s, int64_t lease, struct err *e)
{
	struct state_holder h;
	int rc = local_lease_holder(s, lease, &h, e);

	if (rc)
		return rc;
	if (holder_gone(&local_of(s)->view, &h))
		return err_set(e, ERR_NOT_FOUND, -ENOENT, "the holder of lease %lld has ended",
			       (long long)lease);
	return 0;
}

int local_lease_revoke(struct state *s, int64_t lease, struct err *e)
{
	struct local *l = local_of(s);
	struct state_holder h;
	struct pass p;
	int rc = pass_begin(&p, l, true, e);

	if (rc)
		return rc;
	rc = l->t->ops->lease_get(l->t, lease, &h, e);
	if (rc == 1)
		rc = pass_revoke(&p, lease);
	else if (!rc)
		rc = err_set(e, ERR_NOT_FOUND, -ENOENT, "there is no lease %lld", (long long)lease);
	return pass_end(&p, true, rc);
}
