/* The state store: what exists and what is wanted, as keys with revisions. It has the semantics of
 * etcd v3, so that a cluster may keep it there; on one machine it is an SQLite file, in tests it is
 * memory. Large things (blobs, disks, logs) are files: values only point to them.
 * doc/format/state.md describes the file and the rules in full.
 *
 *   revision   one number for the whole store, 1 when it is empty; each transaction that changes
 * something makes the next one, and all its changes carry it. key        bytes in memcmp order,
 * with the revision that created it and the one that changed it last, a version (1, 2, … since it
 * was created) and perhaps a lease. history    reads at, and watches from, an older revision work
 * until compaction has passed it. lease      ties keys to a process: they are gone when it is.
 * Nobody waits for its end: the next one who reads such a key, or takes a lease, looks whether the
 * process still runs, and removes the keys of those that do not.
 *
 * Many processes use one store at once. A handle belongs to one thread at a time and does not
 * survive fork(2). Whatever returned 0 is on the disk. Errors: negative errno plus err code:
 *   -EINVAL, -E2BIG ERR_STATE_LIMIT   a bound below, or a rule of etcd (one change per key and
 * transaction) -EAGAIN ERR_STATE_CONFLICT        state_put_if() lost -EBUSY ERR_STATE_BUSY the lock
 * was not to be had in time -ESTALE ERR_STATE_COMPACTED, -ERANGE ERR_STATE_FUTURE   the revision is
 * gone, or not there yet -ENOENT ERR_NOT_FOUND             no such lease -EBADMSG
 * ERR_STATE_CORRUPT, -EPROTONOSUPPORT ERR_STATE_NEWER, -ENOSPC ERR_STATE_FULL, -EROFS
 * ERR_STATE_READONLY
 */
#ifndef STATE_STATE_H
#define STATE_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#include "base/err.h"

#define STATE_KEY_MAX     1024u
#define STATE_VALUE_MAX   (1u << 20)
#define STATE_OPS_MAX     128u       /* compares, then-ops and else-ops of one transaction, each */
#define STATE_CHANGES_MAX (1u << 16) /* keys changed by one transaction; ranges may name many */
#define STATE_RANGE_BYTES_MAX \
	(256u << 20)            /* keys and values of one result: beyond, read in pages */
#define STATE_TIMEOUT_MS 10000u /* default: how long to wait for other processes */
#define STATE_HISTORY    4096u  /* default: revisions that automatic compaction keeps */

/* Borrowed bytes; p may be NULL where len is 0. */
struct state_bytes {
	const void *p;
	size_t len;
};

static inline struct state_bytes state_str(const char *s)
{
	return (struct state_bytes){s, strlen(s)};
}

struct state_kv {
	struct state_bytes key, value; /* value.p NULL where only keys were asked for */
	int64_t create_revision, mod_revision;
	int64_t version;
	int64_t lease; /* 0: none */
};

/* Which keys, and what of them. All zero but `from`: that key alone. */
struct state_range {
	struct state_bytes from;
	struct state_bytes to; /* not empty: every key in [from, to) */
	bool prefix;           /* every key that starts with `from`; with an empty one, every key */
	struct state_bytes after; /* not empty: only keys behind this one (the next page) */
	int64_t revision;         /* read as of this revision; 0: now */
	uint64_t limit;           /* at most so many keys; 0: all */
	bool keys_only, count_only;
};

/* What a read, or one operation of a transaction, gave. Owns its bytes; state_result_done() frees.
 */
struct state_result {
	int64_t revision;     /* of the store when it was read */
	struct state_kv *kvs; /* in key order */
	size_t n;
	uint64_t count; /* count_only: keys in the range; put: keys replaced (0, 1); delete: keys
			   deleted; else n */
	bool more;      /* the limit cut it short */
	size_t cap, bytes;
};

enum state_target {
	STATE_VALUE,
	STATE_VERSION,
	STATE_CREATE_REVISION,
	STATE_MOD_REVISION,
	STATE_LEASE
};

enum state_relation { STATE_EQUAL, STATE_NOT_EQUAL, STATE_LESS, STATE_GREATER };

/* Holds when what the key has stands in that relation to what is given. Of a key that does not
 * exist every number is 0, and no comparison of its value holds. */
struct state_compare {
	struct state_bytes key;
	enum state_target target;
	enum state_relation relation;
	int64_t number;           /* every target but STATE_VALUE */
	struct state_bytes value; /* STATE_VALUE */
};

enum state_verb { STATE_GET, STATE_PUT, STATE_DELETE };

struct state_op {
	enum state_verb verb;
	struct state_range
	    range; /* STATE_GET, STATE_DELETE (revision, limit and …_only: STATE_GET alone) */
	struct state_bytes key; /* STATE_PUT, with value and lease */
	struct state_bytes value;
	int64_t lease;
};

/* When every compare holds, the then-ops run, else the else-ops: all of them or none, in order,
 * each seeing those before it. No branch may change one key twice. */
struct state_txn {
	const struct state_compare *compares;
	size_t compare_count;
	const struct state_op *then_ops;
	size_t then_count;
	const struct state_op *else_ops;
	size_t else_count;
};

struct state_txn_result {
	bool succeeded; /* every compare held */
	int64_t revision;
	struct state_result *results; /* one per operation of the branch that ran */
	size_t n;
};

/* Who holds a lease: a process that no reuse of its pid can be taken for. */
struct state_holder {
	uint8_t boot_id[16];
	pid_t pid;
	uint64_t start_time; /* clock ticks since boot: proc_pid_stat(5), field 22 */
	uint64_t pid_ns,
	    time_ns; /* inode numbers: only who sees the same pids and times may judge */
};

struct state_event {
	bool deleted;
	struct state_kv kv; /* deleted: key and mod_revision alone */
	bool has_prev;
	struct state_kv prev; /* what the key was before */
};

struct state_options {
	unsigned timeout_ms; /* 0: STATE_TIMEOUT_MS */
	unsigned history;    /* 0: STATE_HISTORY */
	uint64_t steps_max;  /* of SQLite's machine for one read of a damaged file; 0: a bound for
				real ones */
};

struct state;
struct state_watch;

/* --- life cycle --- */

/* Opens the store in directory dir, creating what is missing (mode 0700), and brings an older file
 * up to date. o may be NULL. Returns owned in *ret. */
int state_open(const char *dir, const struct state_options *o, struct state **ret, struct err *e);
/* An empty store that ends with its handle. */
struct state *state_new_memory(const struct state_options *o);
void state_free(struct state *s);

/* --- use --- */

int state_range(struct state *s, const struct state_range *r, struct state_result *ret,
		struct err *e);
/* One key: ret->n is 1 or 0. */
int state_get(struct state *s, struct state_bytes key, struct state_result *ret, struct err *e);
/* ret_revision may be NULL here and below. lease 0: none. */
int state_put(struct state *s, struct state_bytes key, struct state_bytes value, int64_t lease,
	      int64_t *ret_revision, struct err *e);
/* Puts if the key's mod_revision is still that one (0: if the key does not exist). -EAGAIN where it
 * is not. */
int state_put_if(struct state *s, struct state_bytes key, int64_t mod_revision,
		 struct state_bytes value, int64_t lease, int64_t *ret_revision, struct err *e);
/* Deletes every key of the range; how many goes to *ret_count (may be NULL). None is success. */
int state_delete(struct state *s, const struct state_range *r, uint64_t *ret_count,
		 int64_t *ret_revision, struct err *e);
int state_txn(struct state *s, const struct state_txn *t, struct state_txn_result *ret,
	      struct err *e);
/* Forgets what was superseded before or at that revision. It happens by itself too
 * (options.history). */
int state_compact(struct state *s, int64_t revision, struct err *e);

void state_result_done(struct state_result *r);
void state_txn_result_done(struct state_txn_result *r);
#define _state_result_     __attribute__((cleanup(state_result_done)))
#define _state_txn_result_ __attribute__((cleanup(state_txn_result_done)))

/* --- leases --- */

/* The record of a living process; pid 0: the caller. -ESRCH where there is none. */
int state_holder_of(pid_t pid, struct state_holder *ret, struct err *e);
/* A new lease held by that process; its number (> 0, never used again) goes to *ret_lease. */
int state_lease_grant(struct state *s, const struct state_holder *h, int64_t *ret_lease,
		      struct err *e);
/* 0 while the lease exists and its holder lives; -ENOENT otherwise. In a cluster it also renews. */
int state_lease_keepalive(struct state *s, int64_t lease, struct err *e);
/* Who holds it, for instance to wait for that process's end by a pidfd. */
int state_lease_holder(struct state *s, int64_t lease, struct state_holder *ret, struct err *e);
/* Ends it and deletes its keys. -ENOENT where there is none. */
int state_lease_revoke(struct state *s, int64_t lease, struct err *e);
/* Revokes every lease whose holder is gone; how many goes to *ret_count (may be NULL). */
int state_lease_judge(struct state *s, uint64_t *ret_count, struct err *e);

/* --- watch --- */

/* Events of the keys of r (from, to, prefix) with that revision or a later one; 0: from now on. s
 * outlives the watch. Returns owned in *ret. */
int state_watch(struct state *s, const struct state_range *r, int64_t revision,
		struct state_watch **ret, struct err *e);
void state_watch_free(struct state_watch *w);
/* Poll it for reading, always after state_watch_next() returned 0. Borrowed. */
int state_watch_fd(const struct state_watch *w);
/* 1 and the next event, oldest first, whose bytes live until the next call; 0: none for now; or a
 * negative errno. After -ESTALE the watch is over: read the present state and watch from its
 * revision + 1. */
int state_watch_next(struct state_watch *w, struct state_event *ret, struct err *e);

#endif
