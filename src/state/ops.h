/* What a back end of the state store implements: state.h verb by verb, with arguments that state.c
 * has checked. SQLite and memory share one implementation (local.h) over two kinds of table; etcd
 * implements this itself. Back ends are private to state/. */
#ifndef STATE_OPS_H
#define STATE_OPS_H

#include "state/state.h"

struct state_ops {
	void (*free)(struct state *s);
	int (*range)(struct state *s, const struct state_range *r, struct state_result *ret,
		     struct err *e);
	int (*txn)(struct state *s, const struct state_txn *t, struct state_txn_result *ret,
		   struct err *e);
	int (*compact)(struct state *s, int64_t revision, struct err *e);

	int (*lease_grant)(struct state *s, const struct state_holder *h, int64_t *ret,
			   struct err *e);
	int (*lease_keepalive)(struct state *s, int64_t lease, struct err *e);
	int (*lease_holder)(struct state *s, int64_t lease, struct state_holder *ret,
			    struct err *e);
	int (*lease_revoke)(struct state *s, int64_t lease, struct err *e);
	int (*lease_judge)(struct state *s, uint64_t *ret_count, struct err *e);

	int (*watch)(struct state *s, const struct state_range *r, int64_t revision,
		     struct state_watch **ret, struct err *e);
	void (*watch_free)(struct state_watch *w);
	int (*watch_next)(struct state_watch *w, struct state_event *ret, struct err *e);
};

/* First member of every back end's own struct. */
struct state {
	const struct state_ops *ops;
};

struct state_watch {
	const struct state_ops *ops;
	int fd;
};

/* Appends a copy of kv, its value only where `value`. -E2BIG past STATE_RANGE_BYTES_MAX, -ENOMEM.
 */
int result_add(struct state_result *r, const struct state_kv *kv, bool value, struct err *e);

/* kv NULL: the key does not exist. */
bool compare_holds(const struct state_compare *c, const struct state_kv *kv);

/* memcmp order, the shorter first. */
int bytes_cmp(struct state_bytes a, struct state_bytes b);

/* A key for messages: what is not printable as \x.., cut short. Returns room, which has
 * KEY_NAME_MAX bytes. */
#define KEY_NAME_MAX 96
const char *key_name(char *room, struct state_bytes key);

/* The keys of a range as one interval [from, to), whatever form the range has. Holds the bytes that
 * the range did not have, so it is filled in place and never copied. */
struct span {
	struct state_bytes from, to;
	uint8_t from_buf[STATE_KEY_MAX + 1], to_buf[STATE_KEY_MAX + 1];
};

void span_init(struct span *sp, const struct state_range *r);

static inline bool span_has(const struct span *sp, struct state_bytes key)
{
	return bytes_cmp(key, sp->from) >= 0 && bytes_cmp(key, sp->to) < 0;
}

#endif
