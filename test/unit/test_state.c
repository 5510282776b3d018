/* The conformance test of the state store: every back end passes all of it. */
#include "test.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "os/path.h"
#include "state/state.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

struct fixture {
	struct state *s;
	char *dir;
};

static const struct state_options short_history = {.history = 8};

static int setup_memory(void **arg)
{
	struct fixture *f = mem_alloc(sizeof(*f));

	f->s = state_new_memory(*arg);
	*arg = f;
	return 0;
}

static int setup_sqlite(void **arg)
{
	struct fixture *f = mem_alloc(sizeof(*f));
	struct err e = {0};

	f->dir = mem_strdup("/tmp/test_state.XXXXXX");
	if (!mkdtemp(f->dir) || state_open(f->dir, *arg, &f->s, &e)) {
		print_error("%s\n", e.msg);
		return -1;
	}
	*arg = f;
	return 0;
}

static int teardown(void **arg)
{
	struct fixture *f = *arg;

	state_free(f->s);
	if (f->dir)
		path_remove_tree(AT_FDCWD, f->dir);
	free(f->dir);
	free(f);
	return 0;
}

#define S (((struct fixture *)*arg)->s)

#define must(call)                                                                             \
	do {                                                                                   \
		struct err e = {0};                                                            \
		int rc_ = (call);                                                              \
		if (rc_)                                                                       \
			fail_msg("%s: %d %s [%s]", #call, rc_, e.msg, err_info(e.code)->name); \
	} while (0)

#define must_fail(want, want_code, call)                                \
	do {                                                            \
		struct err e = {0};                                     \
		int rc_ = (call);                                       \
		assert_int_equal(rc_, want);                            \
		assert_int_equal(e.rc, want);                           \
		assert_string_equal(err_info(e.code)->name, want_code); \
		assert_true(e.msg[0]);                                  \
	} while (0)

#define same_bytes(b, text)                                     \
	do {                                                    \
		assert_int_equal((b).len, strlen(text));        \
		assert_memory_equal((b).p, text, strlen(text)); \
	} while (0)

static int64_t put(struct state *s, const char *key, const char *value)
{
	int64_t revision = 0;

	must(state_put(s, state_str(key), state_str(value), 0, &revision, &e));
	return revision;
}

static int64_t del(struct state *s, const char *key)
{
	int64_t revision = 0;

	must(state_delete(s, &(struct state_range){.from = state_str(key)}, NULL, &revision, &e));
	return revision;
}

/* "k=v k=v" of a range, so that a test shows what it expects in one line. */
static char *listing(struct state *s, const struct state_range *r)
{
	_state_result_ struct state_result found = {0};
	struct buf b = {0};

	must(state_range(s, r, &found, &e));
	for (size_t i = 0; i < found.n; i++) {
		struct state_kv *kv = &found.kvs[i];

		buf_addf(&b, "%s%.*s=%.*s", i ? " " : "", (int)kv->key.len, (const char *)kv->key.p,
			 (int)kv->value.len, (const char *)kv->value.p);
	}
	return buf_take(&b);
}

#define assert_listing(s, text, ...)                                                \
	do {                                                                        \
		_free_ char *got_ = listing(s, &(struct state_range){__VA_ARGS__}); \
		assert_string_equal(got_, text);                                    \
	} while (0)

static void assert_value(struct state *s, const char *key, const char *value)
{
	_state_result_ struct state_result found = {0};

	must(state_get(s, state_str(key), &found, &e));
	assert_int_equal(found.n, value != NULL);
	if (value)
		same_bytes(found.kvs[0].value, value);
}

/* --- keys --- */

static void empty_store(void **arg)
{
	_state_result_ struct state_result found = {0};

	must(state_get(S, state_str("a"), &found, &e));
	assert_int_equal(found.n, 0);
	assert_int_equal(found.revision, 1);
	assert_false(found.more);
}

static void put_counts_revisions(void **arg)
{
	_state_result_ struct state_result found = {0};

	assert_int_equal(put(S, "a", "1"), 2);
	assert_int_equal(put(S, "b", "1"), 3);
	assert_int_equal(put(S, "a", "2"), 4);
	must(state_get(S, state_str("a"), &found, &e));
	assert_int_equal(found.n, 1);
	assert_int_equal(found.revision, 4);
	assert_int_equal(found.kvs[0].create_revision, 2);
	assert_int_equal(found.kvs[0].mod_revision, 4);
	assert_int_equal(found.kvs[0].version, 2);
	assert_int_equal(found.kvs[0].lease, 0);
	same_bytes(found.kvs[0].key, "a");
	same_bytes(found.kvs[0].value, "2");
}

static void delete_starts_versions_anew(void **arg)
{
	_state_result_ struct state_result found = {0};
	uint64_t count = 9;
	int64_t revision = 0;

	put(S, "a", "1");
	put(S, "a", "2");
	assert_int_equal(del(S, "a"), 4);
	assert_value(S, "a", NULL);
	must(state_delete(S, &(struct state_range){.from = state_str("a")}, &count, &revision, &e));
	assert_int_equal(count, 0);
	assert_int_equal(revision, 4); /* nothing changed: no new revision */
	put(S, "a", "3");
	must(state_get(S, state_str("a"), &found, &e));
	assert_int_equal(found.kvs[0].create_revision, 5);
	assert_int_equal(found.kvs[0].version, 1);
}

static void bytes_are_any_bytes(void **arg)
{
	static const char key[] = "\0k\xff\x00", value[] = "\0\xff\n\0";
	static const struct state_bytes k = {key, 4}, v = {value, 4};
	_state_result_ struct state_result found = {0};

	must(state_put(S, k, v, 0, NULL, &e));
	must(state_put(S, state_str("empty"), (struct state_bytes){NULL, 0}, 0, NULL, &e));
	must(state_get(S, k, &found, &e));
	assert_int_equal(found.n, 1);
	assert_int_equal(found.kvs[0].value.len, 4);
	assert_memory_equal(found.kvs[0].value.p, value, 4);
	assert_value(S, "empty", "");
	/* A key is not its own prefix, with or without a zero byte. */
	state_result_done(&found);
	must(state_get(S, (struct state_bytes){key, 3}, &found, &e));
	assert_int_equal(found.n, 0);
}

static void limits(void **arg)
{
	_free_ char *big = mem_alloc(STATE_VALUE_MAX + 1);
	_state_result_ struct state_result found = {0};
	struct state_bytes longest = {big, STATE_KEY_MAX}, largest = {big, STATE_VALUE_MAX};
	struct state_bytes key = state_str("a");

	memset(big, 0xff, STATE_VALUE_MAX + 1);
	must(state_put(S, longest, largest, 0, NULL, &e));
	must(state_range(S, &(struct state_range){.from = longest, .prefix = true}, &found, &e));
	assert_int_equal(found.n, 1);
	assert_int_equal(found.kvs[0].key.len, STATE_KEY_MAX);
	assert_int_equal(found.kvs[0].value.len, STATE_VALUE_MAX);
	must_fail(-E2BIG, "STATE-LIMIT",
		  state_put(S, (struct state_bytes){big, STATE_KEY_MAX + 1}, key, 0, NULL, &e));
	must_fail(-E2BIG, "STATE-LIMIT",
		  state_put(S, key, (struct state_bytes){big, STATE_VALUE_MAX + 1}, 0, NULL, &e));
	must_fail(-EINVAL, "STATE-LIMIT", state_put(S, (struct state_bytes){0}, key, 0, NULL, &e));
	must_fail(-EINVAL, "STATE-LIMIT", state_get(S, (struct state_bytes){0}, &found, &e));
	assert_int_equal(found.n, 1); /* out-parameters are untouched on failure */
}

/* --- ranges --- */

static void fill(struct state *s)
{
	static const char *const keys[] = {"a", "a/1", "a/2", "a/22", "a0", "b"};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		put(s, keys[i], "v");
}

static void ranges(void **arg)
{
	fill(S);
	assert_listing(S, "a/1=v a/2=v a/22=v", .from = state_str("a/"), .prefix = true);
	assert_listing(S, "a=v a/1=v a/2=v a/22=v a0=v b=v", .prefix = true);
	assert_listing(S, "a/1=v a/2=v", .from = state_str("a/1"), .to = state_str("a/22"));
	assert_listing(S, "", .from = state_str("b"), .to = state_str("a"));
	assert_listing(S, "a/2=v", .from = state_str("a/2"));
	assert_listing(S, "", .from = state_str("c"), .prefix = true);
	must_fail(-EINVAL, "STATE-LIMIT",
		  state_range(S,
			      &(struct state_range){
				  .from = state_str("a"), .to = state_str("b"), .prefix = true},
			      &(struct state_result){0}, &e));
}

static void ranges_in_pages(void **arg)
{
	_state_result_ struct state_result page = {0};
	struct state_range r = {.from = state_str("a"), .prefix = true, .limit = 2};

	fill(S);
	must(state_range(S, &r, &page, &e));
	assert_true(page.more);
	assert_int_equal(page.n, 2);
	assert_listing(S, "a/2=v a/22=v", .from = r.from, .prefix = true, .limit = 2,
		       .after = page.kvs[1].key);
	assert_listing(S, "a0=v", .from = r.from, .prefix = true, .after = state_str("a/22"));
	assert_listing(S, "", .from = r.from, .prefix = true, .after = state_str("b"));
	assert_listing(S, "a=v", .from = r.from, .prefix = true, .limit = 1,
		       .after = state_str("A"));
	r.limit = 5;
	state_result_done(&page);
	must(state_range(S, &r, &page, &e));
	assert_false(page.more);
	assert_int_equal(page.n, 5);
}

static void range_counts_and_keys(void **arg)
{
	_state_result_ struct state_result found = {0};
	struct state_range r = {.from = state_str("a/"), .prefix = true, .count_only = true};

	fill(S);
	must(state_range(S, &r, &found, &e));
	assert_int_equal(found.n, 0);
	assert_int_equal(found.count, 3);
	r.count_only = false;
	r.keys_only = true;
	must(state_range(S, &r, &found, &e));
	assert_int_equal(found.n, 3);
	assert_null(found.kvs[0].value.p);
	assert_int_equal(found.kvs[2].version, 1);
}

static void prefix_of_ff(void **arg)
{
	put(S, "\xff", "1");
	put(S, "\xff\xff", "2");
	put(S, "\xfe\xff", "3");
	put(S, "\xfe\xff\x01", "4");
	assert_listing(S, "\xff=1 \xff\xff=2", .from = state_str("\xff"), .prefix = true);
	assert_listing(S, "\xfe\xff=3 \xfe\xff\x01=4", .from = state_str("\xfe\xff"),
		       .prefix = true);
}

static void older_revisions(void **arg)
{
	put(S, "a", "1");
	put(S, "b", "1");
	put(S, "a", "2");
	del(S, "b");
	put(S, "b", "3");
	assert_listing(S, "", .prefix = true, .revision = 1);
	assert_listing(S, "a=1", .prefix = true, .revision = 2);
	assert_listing(S, "a=1 b=1", .prefix = true, .revision = 3);
	assert_listing(S, "a=2 b=1", .prefix = true, .revision = 4);
	assert_listing(S, "a=2", .prefix = true, .revision = 5);
	assert_listing(S, "a=2 b=3", .prefix = true, .revision = 6);
	assert_listing(S, "b=1", .from = state_str("b"), .revision = 4);
	assert_listing(S, "", .from = state_str("b"), .revision = 5);
	must_fail(-ERANGE, "STATE-FUTURE",
		  state_range(S, &(struct state_range){.prefix = true, .revision = 7},
			      &(struct state_result){0}, &e));
}

/* --- transactions --- */

static bool holds(struct state *s, const char *key, enum state_target target,
		  enum state_relation relation, int64_t number, const char *value)
{
	_state_txn_result_ struct state_txn_result done = {0};
	struct state_compare c = {.key = state_str(key),
				  .target = target,
				  .relation = relation,
				  .number = number,
				  .value = state_str(value ? value : "")};

	must(state_txn(s, &(struct state_txn){.compares = &c, .compare_count = 1}, &done, &e));
	return done.succeeded;
}

static void compares(void **arg)
{
	/* how a number of 2 compares with 1, 2, 3 under =, !=, <, > */
	static const bool table[4][3] = {
	    {false, true, false}, {true, false, true}, {false, false, true}, {true, false, false}};
	static const char *const values[] = {"m1", "m2", "m3"};

	put(S, "a", "m1");
	put(S, "a", "m2"); /* version 2, created 2, modified 3 */
	for (int rel = STATE_EQUAL; rel <= STATE_GREATER; rel++) {
		for (int i = 0; i < 3; i++) {
			bool want = table[rel][i];

			assert_int_equal(holds(S, "a", STATE_VERSION, rel, i + 1, NULL), want);
			assert_int_equal(holds(S, "a", STATE_CREATE_REVISION, rel, i + 1, NULL),
					 want);
			assert_int_equal(holds(S, "a", STATE_MOD_REVISION, rel, i + 2, NULL), want);
			assert_int_equal(holds(S, "a", STATE_LEASE, rel, i - 1, NULL), want);
			assert_int_equal(holds(S, "a", STATE_VALUE, rel, 0, values[i]), want);
		}
		/* What does not exist has no value, and 0 for every number. */
		assert_false(holds(S, "none", STATE_VALUE, rel, 0, "x"));
		assert_int_equal(holds(S, "none", STATE_VERSION, rel, 0, NULL), rel == STATE_EQUAL);
	}
	assert_true(holds(S, "a", STATE_VALUE, STATE_GREATER, 0, "m"));
	assert_true(holds(S, "a", STATE_VALUE, STATE_LESS, 0, "m22"));
	del(S, "a");
	assert_true(holds(S, "a", STATE_CREATE_REVISION, STATE_EQUAL, 0, NULL));
	assert_false(holds(S, "a", STATE_VALUE, STATE_NOT_EQUAL, 0, "x"));
}

static void txn_takes_one_branch(void **arg)
{
	_state_txn_result_ struct state_txn_result done = {0};
	struct state_compare c[] = {
	    {.key = state_str("a"), .target = STATE_VERSION, .number = 1},
	    {.key = state_str("b"), .target = STATE_VERSION, .number = 0},
	};
	struct state_op yes[] = {
	    {.verb = STATE_PUT, .key = state_str("b"), .value = state_str("new")},
	    {.verb = STATE_GET, .range = {.from = state_str("b")}},
	    {.verb = STATE_DELETE, .range = {.from = state_str("a"), .prefix = true}},
	    {.verb = STATE_GET, .range = {.prefix = true}},
	    {.verb = STATE_GET, .range = {.prefix = true, .revision = 3}},
	};
	struct state_op no[] = {{.verb = STATE_GET, .range = {.prefix = true}}};
	struct state_txn t = {c, 2, yes, 5, no, 1};

	put(S, "a", "1");
	put(S, "a/1", "2");
	must(state_txn(S, &t, &done, &e));
	assert_true(done.succeeded);
	assert_int_equal(done.revision, 4); /* one transaction, one revision */
	assert_int_equal(done.n, 5);
	assert_int_equal(done.results[0].count, 0);
	assert_int_equal(done.results[1].n, 1); /* it sees what came before it */
	assert_int_equal(done.results[1].kvs[0].mod_revision, 4);
	assert_int_equal(done.results[2].count, 2);
	assert_int_equal(done.results[3].n, 1);
	assert_int_equal(done.results[4].n, 2);
	state_txn_result_done(&done);

	must(state_txn(S, &t, &done, &e));
	assert_false(done.succeeded);
	assert_int_equal(done.revision, 4);
	assert_int_equal(done.n, 1);
	assert_int_equal(done.results[0].n, 1);
	same_bytes(done.results[0].kvs[0].value, "new");
}

static void txn_is_all_or_nothing(void **arg)
{
	struct state_op ops[] = {
	    {.verb = STATE_PUT, .key = state_str("a"), .value = state_str("2")},
	    {.verb = STATE_PUT, .key = state_str("new"), .value = state_str("1")},
	    {.verb = STATE_DELETE, .range = {.from = state_str("b")}},
	    {.verb = STATE_GET, .range = {.prefix = true, .revision = 99}},
	};
	struct state_txn t = {.then_ops = ops, .then_count = 4};

	put(S, "a", "1");
	put(S, "b", "1");
	must_fail(-ERANGE, "STATE-FUTURE", state_txn(S, &t, &(struct state_txn_result){0}, &e));
	assert_listing(S, "a=1 b=1", .prefix = true);
	assert_int_equal(put(S, "c", "1"), 4);
	assert_listing(S, "a=1 b=1 c=1", .prefix = true, .revision = 4);
}

static void txn_changes_a_key_once(void **arg)
{
	struct state_op ops[] = {
	    {.verb = STATE_PUT, .key = state_str("a"), .value = state_str("1")},
	    {.verb = STATE_PUT, .key = state_str("a"), .value = state_str("2")},
	};
	struct state_txn t = {.then_ops = ops, .then_count = 2};

	must_fail(-EINVAL, "STATE-LIMIT", state_txn(S, &t, &(struct state_txn_result){0}, &e));
	ops[1] = (struct state_op){.verb = STATE_DELETE, .range = {.prefix = true}};
	must_fail(-EINVAL, "STATE-LIMIT", state_txn(S, &t, &(struct state_txn_result){0}, &e));
	ops[1].range = (struct state_range){.from = state_str("aa"), .prefix = true};
	_state_txn_result_ struct state_txn_result done = {0};

	must(state_txn(S, &t, &done, &e));
}

static void txn_has_at_most_so_many_ops(void **arg)
{
	_state_txn_result_ struct state_txn_result done = {0};
	struct state_op ops[STATE_OPS_MAX + 1];
	struct state_compare c[STATE_OPS_MAX + 1];
	char keys[STATE_OPS_MAX + 1][8];
	struct state_txn t = {.compares = c, .then_ops = ops};

	for (size_t i = 0; i <= STATE_OPS_MAX; i++) {
		snprintf(keys[i], sizeof(keys[i]), "k%03zu", i);
		ops[i] = (struct state_op){.verb = STATE_PUT, .key = state_str(keys[i])};
		c[i] = (struct state_compare){.key = state_str(keys[i]), .target = STATE_VERSION};
	}
	t.compare_count = t.then_count = STATE_OPS_MAX;
	must(state_txn(S, &t, &done, &e));
	assert_true(done.succeeded);
	t.then_count = STATE_OPS_MAX + 1;
	must_fail(-E2BIG, "STATE-LIMIT", state_txn(S, &t, &(struct state_txn_result){0}, &e));
	t.then_count = 1;
	t.compare_count = STATE_OPS_MAX + 1;
	must_fail(-E2BIG, "STATE-LIMIT", state_txn(S, &t, &(struct state_txn_result){0}, &e));
}

static void put_if(void **arg)
{
	int64_t revision = 0;
	struct state_bytes a = state_str("a"), v = state_str("v");

	must(state_put_if(S, a, 0, v, 0, &revision, &e));
	assert_int_equal(revision, 2);
	must_fail(-EAGAIN, "STATE-CONFLICT", state_put_if(S, a, 0, v, 0, &revision, &e));
	must(state_put_if(S, a, 2, v, 0, &revision, &e));
	assert_int_equal(revision, 3);
	must_fail(-EAGAIN, "STATE-CONFLICT", state_put_if(S, a, 2, v, 0, &revision, &e));
	assert_int_equal(revision, 3);
}

/* --- history --- */

static void compaction(void **arg)
{
	put(S, "a", "1");
	put(S, "b", "1");
	put(S, "a", "2");
	del(S, "b");
	put(S, "c", "1");
	must(state_compact(S, 4, &e));
	must_fail(-ESTALE, "STATE-COMPACTED",
		  state_range(S, &(struct state_range){.prefix = true, .revision = 3},
			      &(struct state_result){0}, &e));
	assert_listing(S, "a=2 b=1", .prefix = true, .revision = 4);
	assert_listing(S, "a=2", .prefix = true, .revision = 5);
	must_fail(-ESTALE, "STATE-COMPACTED", state_compact(S, 4, &e));
	must_fail(-ERANGE, "STATE-FUTURE", state_compact(S, 7, &e));
	must(state_compact(S, 6, &e));
	assert_listing(S, "a=2 c=1", .prefix = true, .revision = 6);
	assert_listing(S, "a=2 c=1", .prefix = true);
	assert_int_equal(put(S, "b", "2"), 7);
}

static void compaction_keeps_the_revision(void **arg)
{
	_state_result_ struct state_result found = {0};

	put(S, "a", "1");
	del(S, "a");
	must(state_compact(S, 3, &e));
	must(state_get(S, state_str("a"), &found, &e));
	assert_int_equal(found.n, 0);
	assert_int_equal(found.revision, 3);
	assert_int_equal(put(S, "b", "1"), 4);
	must(state_compact(S, 4, &e));
	assert_listing(S, "b=1", .prefix = true);
	assert_int_equal(put(S, "a", "2"), 5);
	assert_listing(S, "b=1", .prefix = true, .revision = 4);
}

static void history_trims_itself(void **arg)
{
	for (int i = 0; i < 40; i++)
		put(S, "a", "1");
	must_fail(-ESTALE, "STATE-COMPACTED",
		  state_range(S, &(struct state_range){.prefix = true, .revision = 41 - 16},
			      &(struct state_result){0}, &e));
	assert_listing(S, "a=1", .prefix = true,
		       .revision = 41 - 8); /* what options.history promises */
}

/* --- watches --- */

static bool readable(int fd, int timeout_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, timeout_ms) == 1;
}

/* The next event as "3 put a=1 (was 0)", or NULL. */
static char *event(struct state_watch *w)
{
	struct state_event ev;
	struct err e = {0};
	struct buf b = {0};
	int rc = state_watch_next(w, &ev, &e);

	if (rc < 0)
		fail_msg("%s", e.msg);
	if (!rc)
		return NULL;
	buf_addf(&b, "%lld %s %.*s", (long long)ev.kv.mod_revision, ev.deleted ? "delete" : "put",
		 (int)ev.kv.key.len, (const char *)ev.kv.key.p);
	if (!ev.deleted)
		buf_addf(&b, "=%.*s", (int)ev.kv.value.len, (const char *)ev.kv.value.p);
	if (ev.has_prev)
		buf_addf(&b, " (was %.*s of %lld)", (int)ev.prev.value.len,
			 (const char *)ev.prev.value.p, (long long)ev.prev.mod_revision);
	return buf_take(&b);
}

#define assert_event(w, text)                    \
	do {                                     \
		_free_ char *got_ = event(w);    \
		assert_non_null(got_);           \
		assert_string_equal(got_, text); \
	} while (0)

#define assert_no_event(w) assert_null(event(w))

static void watch_from_the_past(void **arg)
{
	struct state_watch *w;

	put(S, "a", "1");
	put(S, "b", "1");
	put(S, "a", "2");
	del(S, "a");
	must(state_watch(S, &(struct state_range){.from = state_str("a")}, 1, &w, &e));
	assert_event(w, "2 put a=1");
	assert_event(w, "4 put a=2 (was 1 of 2)");
	assert_event(w, "5 delete a (was 2 of 4)");
	assert_no_event(w);
	put(S, "a", "3");
	assert_event(w, "6 put a=3");
	assert_no_event(w);
	state_watch_free(w);
}

static void watch_from_now(void **arg)
{
	struct state_watch *w;
	struct state_range r = {.from = state_str("a/"), .prefix = true};
	struct state_op ops[] = {
	    {.verb = STATE_PUT, .key = state_str("a/3"), .value = state_str("x")},
	    {.verb = STATE_DELETE, .range = r},
	};

	put(S, "a/1", "1");
	put(S, "a/2", "1");
	must(state_watch(S, &r, 0, &w, &e));
	assert_no_event(w);
	assert_false(readable(state_watch_fd(w), 0));
	put(S, "b", "1");
	put(S, "a/1", "2");
	assert_true(readable(state_watch_fd(w), 5000));
	assert_event(w, "5 put a/1=2 (was 1 of 2)");
	assert_no_event(w);
	assert_false(readable(state_watch_fd(w), 0));

	/* The events of one transaction come in the order of its operations. */
	ops[1].range.to = state_str("a/3");
	ops[1].range.prefix = false;
	_state_txn_result_ struct state_txn_result done = {0};

	must(state_txn(S, &(struct state_txn){.then_ops = ops, .then_count = 2}, &done, &e));
	assert_true(readable(state_watch_fd(w), 5000));
	assert_event(w, "6 put a/3=x");
	assert_event(w, "6 delete a/1 (was 2 of 5)");
	assert_event(w, "6 delete a/2 (was 1 of 3)");
	assert_no_event(w);
	state_watch_free(w);
}

static void watch_a_future_revision(void **arg)
{
	struct state_watch *w;

	must(state_watch(S, &(struct state_range){.prefix = true}, 4, &w, &e));
	put(S, "a", "1");
	put(S, "a", "2");
	assert_no_event(w);
	put(S, "a", "3");
	assert_event(w, "4 put a=3 (was 2 of 3)");
	assert_no_event(w);
	state_watch_free(w);
}

static void watch_compacted(void **arg)
{
	struct state_watch *w, *late;
	struct state_range all = {.prefix = true};
	struct state_event ev;

	put(S, "a", "1");
	must(state_watch(S, &all, 0, &w, &e));
	must(state_watch(S, &all, 2, &late, &e));
	put(S, "a", "2");
	assert_event(w, "3 put a=2 (was 1 of 2)");
	must(state_compact(S, 3, &e));
	/* Who has seen everything does not mind; who has not is told. */
	assert_no_event(w);
	must_fail(-ESTALE, "STATE-COMPACTED", state_watch_next(late, &ev, &e));
	state_watch_free(late);
	must_fail(-ESTALE, "STATE-COMPACTED", state_watch(S, &all, 3, &late, &e));
	must(state_watch(S, &all, 4, &late, &e));
	put(S, "a", "3");
	assert_event(w, "4 put a=3 (was 2 of 3)");
	assert_event(late, "4 put a=3 (was 2 of 3)");
	state_watch_free(late);
	state_watch_free(w);
}

/* --- leases --- */

/* A process that does nothing until it is killed. */
static pid_t spawn(void)
{
	pid_t pid = fork();

	if (!pid) {
		pause();
		_exit(0);
	}
	return pid;
}

static void end(pid_t pid, bool reap)
{
	siginfo_t info;

	kill(pid, SIGKILL);
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | (reap ? 0 : WNOWAIT)), 0);
}

static int64_t grant(struct state *s, pid_t pid)
{
	struct state_holder h;
	int64_t lease = 0;

	must(state_holder_of(pid, &h, &e));
	must(state_lease_grant(s, &h, &lease, &e));
	assert_true(lease > 0);
	return lease;
}

static void put_leased(struct state *s, const char *key, const char *value, int64_t lease)
{
	must(state_put(s, state_str(key), state_str(value), lease, NULL, &e));
}

static void lease_lives_with_its_holder(void **arg)
{
	_state_result_ struct state_result found = {0};
	struct state_holder h;
	int64_t lease = grant(S, 0);

	put_leased(S, "a", "1", lease);
	must(state_get(S, state_str("a"), &found, &e));
	assert_int_equal(found.kvs[0].lease, lease);
	must(state_lease_keepalive(S, lease, &e));
	must(state_lease_holder(S, lease, &h, &e));
	assert_int_equal(h.pid, getpid());
	assert_true(grant(S, 0) > lease);
	must_fail(-ENOENT, "NOT-FOUND", state_lease_keepalive(S, lease + 5, &e));
	must_fail(-ENOENT, "NOT-FOUND", state_lease_revoke(S, lease + 5, &e));
	must_fail(-ENOENT, "NOT-FOUND",
		  state_put(S, state_str("b"), state_str("1"), lease + 5, NULL, &e));
	assert_int_equal(put(S, "c", "1"), 3); /* granting is no change of a key */
}

static void lease_revoked(void **arg)
{
	struct state_watch *w;
	int64_t lease = grant(S, 0);

	put_leased(S, "a", "1", lease);
	put_leased(S, "b", "1", lease);
	put_leased(S, "c", "1", lease);
	put(S, "b", "2"); /* a put without the lease unties the key */
	must(state_watch(S, &(struct state_range){.prefix = true}, 0, &w, &e));
	must(state_lease_revoke(S, lease, &e));
	assert_listing(S, "b=2", .prefix = true);
	assert_event(w, "6 delete a (was 1 of 2)");
	assert_event(w, "6 delete c (was 1 of 4)");
	assert_no_event(w);
	must_fail(-ENOENT, "NOT-FOUND", state_lease_revoke(S, lease, &e));
	must_fail(-ENOENT, "NOT-FOUND", state_lease_keepalive(S, lease, &e));
	state_watch_free(w);
}

static void dead_holder_is_noticed_by(struct state *s, void (*reader)(struct state *), bool reap)
{
	pid_t pid = spawn();
	int64_t lease = grant(s, pid);

	put_leased(s, "lock", "theirs", lease);
	assert_value(s, "lock", "theirs");
	end(pid, reap);
	reader(s);
	must_fail(-ENOENT, "NOT-FOUND", state_lease_keepalive(s, lease, &e));
	if (!reap)
		end(pid, true);
}

static void reader_get(struct state *s)
{
	assert_value(s, "lock", NULL);
}

static void reader_range(struct state *s)
{
	assert_listing(s, "", .prefix = true);
}

static void reader_count(struct state *s)
{
	_state_result_ struct state_result found = {0};

	must(state_range(s, &(struct state_range){.prefix = true, .count_only = true}, &found, &e));
	assert_int_equal(found.count, 0);
}

static void reader_lock(struct state *s)
{
	struct state_bytes lock = state_str("lock");

	must(state_put_if(s, lock, 0, state_str("mine"), 0, NULL, &e));
	must(state_delete(s, &(struct state_range){.from = lock}, NULL, NULL, &e));
}

static void reader_judge(struct state *s)
{
	uint64_t count = 0;

	must(state_lease_judge(s, &count, &e));
	assert_int_equal(count, 1);
	must(state_lease_judge(s, &count, &e));
	assert_int_equal(count, 0);
	assert_value(s, "lock", NULL);
}

static void reader_grant(struct state *s)
{
	uint64_t count = 1;

	grant(s, 0);
	must(state_lease_judge(s, &count, &e));
	assert_int_equal(count, 0);
	assert_value(s, "lock", NULL);
}

static void lease_of_the_dead(void **arg)
{
	static void (*const readers[])(struct state *) = {reader_get,  reader_range, reader_count,
							  reader_lock, reader_judge, reader_grant};

	for (size_t i = 0; i < ARRAY_SIZE(readers); i++)
		dead_holder_is_noticed_by(S, readers[i], true);
	dead_holder_is_noticed_by(S, reader_get, false); /* a zombie */
}

/* Only what was read by hand: the past does not change. */
static void lease_of_the_dead_in_history(void **arg)
{
	pid_t pid = spawn();

	put_leased(S, "lock", "theirs", grant(S, pid));
	end(pid, true);
	assert_listing(S, "lock=theirs", .prefix = true, .revision = 2);
	assert_listing(S, "", .prefix = true);
	assert_listing(S, "lock=theirs", .prefix = true, .revision = 2);
}

static void lease_is_not_kept_by_pid_reuse(void **arg)
{
	struct state_holder h;
	int64_t lease;

	/* This process has the pid, but another start. */
	must(state_holder_of(0, &h, &e));
	h.start_time--;
	must(state_lease_grant(S, &h, &lease, &e));
	must_fail(-ENOENT, "NOT-FOUND", state_lease_keepalive(S, lease, &e));
	/* The same of another boot. */
	h.start_time++;
	h.boot_id[15] ^= 1;
	must(state_lease_grant(S, &h, &lease, &e));
	must_fail(-ENOENT, "NOT-FOUND", state_lease_keepalive(S, lease, &e));
	must_fail(-ENOENT, "NOT-FOUND",
		  state_put(S, state_str("a"), state_str("1"), lease, NULL, &e));
	/* In another pid namespace the pid says nothing: in doubt for the holder. */
	h.boot_id[15] ^= 1;
	h.start_time--;
	h.pid_ns++;
	must(state_lease_grant(S, &h, &lease, &e));
	must(state_lease_keepalive(S, lease, &e));
}

#define BOTH_WITH(test, options)                                                  \
	{"memory: " #test, test, setup_memory, teardown, (void *)(options)},      \
	{                                                                         \
		"sqlite: " #test, test, setup_sqlite, teardown, (void *)(options) \
	}
#define BOTH(test) BOTH_WITH(test, NULL)

int main(void)
{
	return TEST_RUN("state", BOTH(empty_store), BOTH(put_counts_revisions),
			BOTH(delete_starts_versions_anew), BOTH(bytes_are_any_bytes), BOTH(limits),
			BOTH(ranges), BOTH(ranges_in_pages), BOTH(range_counts_and_keys),
			BOTH(prefix_of_ff), BOTH(older_revisions), BOTH(compares),
			BOTH(txn_takes_one_branch), BOTH(txn_is_all_or_nothing),
			BOTH(txn_changes_a_key_once), BOTH(txn_has_at_most_so_many_ops),
			BOTH(put_if), BOTH(compaction), BOTH(compaction_keeps_the_revision),
			BOTH_WITH(history_trims_itself, &short_history), BOTH(watch_from_the_past),
			BOTH(watch_from_now), BOTH(watch_a_future_revision), BOTH(watch_compacted),
			BOTH(lease_lives_with_its_holder), BOTH(lease_revoked),
			BOTH(lease_of_the_dead), BOTH(lease_of_the_dead_in_history),
			BOTH(lease_is_not_kept_by_pid_reuse));
}
