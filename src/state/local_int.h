/* Shared by the files of the embedded back end: local.c has reads, changes and the verbs for them,
 * local_lease.c and local_watch.c the rest. A `pass` is one transaction on the table. */
#ifndef STATE_LOCAL_INT_H
#define STATE_LOCAL_INT_H

#include "state/holder.h"
#include "state/table.h"

struct local {
	struct state state;
	struct table *t;
	struct holder_view view;
	unsigned history;
};

static inline struct local *local_of(struct state *s)
{
	return (struct local *)s;
}

struct pass {
	struct local *l;
	struct err *e;
	int64_t newest;   /* row, when it began; 0: none */
	int64_t revision; /* of the store, then */
	int64_t compacted;
	uint32_t changes; /* rows appended, all of revision + 1 */
};

int pass_begin(struct pass *p, struct local *l, bool write, struct err *e);
/* Commits where it was to write and rc, what came of it so far, is 0; else rolls back. Returns the
 * verdict. */
int pass_end(struct pass *p, bool write, int rc);
/* The store's revision if it were committed now. */
int64_t pass_revision(const struct pass *p);
/* Deletes the keys that were collected: a table is not changed while it is walked. */
int pass_delete_keys(struct pass *p, const struct state_result *keys);

/* Borrows the row's bytes. */
struct state_kv kv_of(const struct row *row);

/* state_ops */
int local_lease_grant(struct state *s, const struct state_holder *h, int64_t *ret, struct err *e);
int local_lease_keepalive(struct state *s, int64_t lease, struct err *e);
int local_lease_holder(struct state *s, int64_t lease, struct state_holder *ret, struct err *e);
int local_lease_revoke(struct state *s, int64_t lease, struct err *e);
int local_lease_judge(struct state *s, uint64_t *ret_count, struct err *e);
int local_watch(struct state *s, const struct state_range *r, int64_t revision,
		struct state_watch **ret, struct err *e);
void local_watch_free(struct state_watch *watch);
int local_watch_next(struct state_watch *watch, struct state_event *ret, struct err *e);

#endif
