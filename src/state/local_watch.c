/* Watches of the embedded back end: each is a place in the log of rows and an fd that tells when to
 * look again. */
#include "state/local_int.h"

#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>

struct local_watch {
	struct state_watch watch;
	struct local *l;
	struct span span;
	uint8_t from[STATE_KEY_MAX], to[STATE_KEY_MAX]; /* span borrows these */
	int64_t next;                                   /* id of the first row not yet delivered */
	struct state_result shown;                      /* bytes of the event delivered last */
	bool deleted;
};

int local_watch(struct state *s, const struct state_range *r, int64_t revision,
		struct state_watch **ret, struct err *e)
{
	struct local *l = local_of(s);
	struct pass p;
	int rc = pass_begin(&p, l, false, e);

	if (rc)
		return rc;
	pass_end(&p, false, 0);
	if (revision && revision <= p.compacted)
		return err_set(e, ERR_STATE_COMPACTED, -ESTALE,
			       "revision %lld is gone: history is compacted up to %lld",
			       (long long)revision, (long long)p.compacted);
	struct local_watch *w = mem_alloc(sizeof(*w));
	struct state_range own = *r;

	rc = l->t->ops->watch_open(l->t, &w->watch.fd, e);
	if (rc) {
		free(w);
		return rc;
	}
	w->watch.ops = s->ops;
	w->l = l;
	w->next = row_first(revision ? revision : p.revision + 1);
	own.from.p = memcpy(w->from, r->from.p ? r->from.p : "", r->from.len);
	own.to.p = memcpy(w->to, r->to.p ? r->to.p : "", r->to.len);
	own.after = (struct state_bytes){0};
	span_init(&w->span, &own);
	*ret = &w->watch;
	return 0;
}

void local_watch_free(struct state_watch *watch)
{
	struct local_watch *w = (struct local_watch *)watch;

	w->l->t->ops->watch_close(w->l->t, watch->fd);
	state_result_done(&w->shown);
	free(w);
}

struct showing {
	struct local_watch *w;
	struct pass *p;
	int64_t id;
};

static int show_previous(void *arg, const struct row *row)
{
	struct showing *g = arg;
	struct state_kv kv = kv_of(row);

	return row->created ? result_add(&g->w->shown, &kv, true, g->p->e) : 0;
}

/* shown: what happened, then what was before. */
static int show_change(void *arg, const struct row *row)
{
	struct showing *g = arg;
	struct local *l = g->w->l;
	struct state_kv kv = kv_of(row);
	int rc = result_add(&g->w->shown, &kv, true, g->p->e);

	g->w->deleted = !row->created;
	g->id = row->id;
	return rc ? rc : l->t->ops->find(l->t, row->key, row->id, show_previous, g, g->p->e);
}

/* Fills `shown` with the next change, if there is one. */
static int next_change(struct local_watch *w, struct err *e)
{
	struct table *t = w->l->t;
	struct showing g = {.w = w};
	struct pass p;
	int rc = pass_begin(&p, w->l, false, e);

	g.p = &p;
	if (rc)
		return rc;
	if (row_revision(w->next) <= p.compacted)
		rc = err_set(
		    e, ERR_STATE_COMPACTED, -ESTALE,
		    "revision %lld, next in the watch, is gone: history is compacted up to %lld",
		    (long long)row_revision(w->next), (long long)p.compacted);
	rc = rc ? rc : t->ops->change(t, &w->span, w->next, show_change, &g, e);
	pass_end(&p, false, 0);
	if (rc)
		return rc;
	/* Where all that has happened was seen, compaction may take it without harm to this watch.
	 */
	int64_t future = row_first(p.revision + 1);

	if (g.id && g.id < p.newest)
		w->next = g.id + 1;
	else if (w->next < future)
		w->next = future;
	return 0;
}

int local_watch_next(struct state_watch *watch, struct state_event *ret, struct err *e)
{
	struct local_watch *w = (struct local_watch *)watch;
	struct table *t = w->l->t;

	/* Drain after a look that found nothing, then look again: a commit between the two is not
	 * missed. */
	for (;;) {
		state_result_done(&w->shown);
		int rc = next_change(w, e);

		if (rc)
			return rc;
		if (w->shown.n)
			break;
		rc = t->ops->watch_drain(t, watch->fd, e);
		if (rc <= 0)
			return rc;
	}
	*ret = (struct state_event){
	    .deleted = w->deleted, .kv = w->shown.kvs[0], .has_prev = w->shown.n > 1};
	if (ret->has_prev)
		ret->prev = w->shown.kvs[1];
	return 1;
}
