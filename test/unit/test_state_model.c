/* Random work on both back ends at once: whatever one answers, the other answers too. The seed is
 * printed when they differ; STATE_SEED repeats it. */
#include "test.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "os/path.h"
#include "state/state.h"

#include <fcntl.h>
#include <time.h>

#define STEPS 1500
#define OPS   4

struct pair {
	struct state *s[2];
	struct state_watch *w[2];
	char dir[32];
	unsigned seed;
};

static unsigned pick(struct pair *p, unsigned n)
{
	return (unsigned)rand_r(&p->seed) % n;
}

/* Few keys, prefixes of each other, with the bytes at both ends of the order. */
static struct state_bytes pick_key(struct pair *p)
{
	static const struct state_bytes keys[] = {
	    {"a", 1}, {"a\0", 2},  {"a\0b", 3},     {"aa", 2}, {"a\xff", 2},
	    {"b", 1}, {"\xff", 1}, {"\xff\xff", 2}, {"\0", 1}, {"\xff\xff\x01", 3}};

	return keys[pick(p, ARRAY_SIZE(keys))];
}

static struct state_bytes pick_value(struct pair *p)
{
	static const char values[] = "\0\1\2some value\xff";

	return (struct state_bytes){values, pick(p, sizeof(values))};
}

static struct state_range pick_range(struct pair *p, int64_t revision)
{
	struct state_range r = {.from = pick_key(p)};

	switch (pick(p, 4)) {
	case 0:
		r.prefix = true;
		r.from.len = pick(p, (unsigned)r.from.len + 1);
		break;
	case 1:
		r.to = pick_key(p);
		break;
	case 2:
		r.prefix = true;
		r.after = pick_key(p);
		break;
	default:
		break;
	}
	if (!pick(p, 3))
		r.revision = 1 + pick(p, (unsigned)revision + 1);
	r.limit = pick(p, 4);
	r.keys_only = !pick(p, 4);
	r.count_only = !pick(p, 6);
	return r;
}

static struct state_op pick_op(struct pair *p, int64_t revision)
{
	struct state_op op = {.verb = pick(p, 3), .range = pick_range(p, revision)};

	if (op.verb == STATE_PUT) {
		op.key = pick_key(p);
		op.value = pick_value(p);
	}
	return op;
}

static void same_bytes(struct state_bytes a, struct state_bytes b)
{
	assert_int_equal(a.len, b.len);
	assert_int_equal(!a.p, !b.p);
	if (a.len)
		assert_memory_equal(a.p, b.p, a.len);
}

static void same_kv(const struct state_kv *a, const struct state_kv *b)
{
	same_bytes(a->key, b->key);
	same_bytes(a->value, b->value);
	assert_int_equal(a->create_revision, b->create_revision);
	assert_int_equal(a->mod_revision, b->mod_revision);
	assert_int_equal(a->version, b->version);
	assert_int_equal(a->lease, b->lease);
}

static void same_result(const struct state_result *a, const struct state_result *b)
{
	assert_int_equal(a->n, b->n);
	assert_int_equal(a->count, b->count);
	assert_int_equal(a->more, b->more);
	assert_int_equal(a->revision, b->revision);
	for (size_t i = 0; i < a->n; i++)
		same_kv(&a->kvs[i], &b->kvs[i]);
}

static void same_errors(int a, const struct err *ea, int b, const struct err *eb)
{
	assert_int_equal(a, b);
	if (a < 0) {
		assert_int_equal(ea->code, eb->code);
		assert_string_equal(ea->msg, eb->msg);
	}
}

/* One random transaction; the store's revision afterwards. */
static int64_t step_txn(struct pair *p, int64_t revision)
{
	struct state_op ops[2 * OPS];
	struct state_compare c[2];
	struct state_txn t = {.compares = c,
			      .compare_count = pick(p, 3),
			      .then_ops = ops,
			      .then_count = pick(p, OPS + 1),
			      .else_ops = ops + OPS,
			      .else_count = pick(p, OPS + 1)};
	struct state_txn_result done[2] = {0};
	struct err e[2] = {0};
	int rc[2];

	for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
		ops[i] = pick_op(p, revision);
	for (size_t i = 0; i < ARRAY_SIZE(c); i++)
		c[i] = (struct state_compare){.key = pick_key(p),
					      .target = pick(p, 5),
					      .relation = pick(p, 4),
					      .number = pick(p, (unsigned)revision + 2),
					      .value = pick_value(p)};
	for (int i = 0; i < 2; i++)
		rc[i] = state_txn(p->s[i], &t, &done[i], &e[i]);
	same_errors(rc[0], &e[0], rc[1], &e[1]);
	if (!rc[0]) {
		assert_int_equal(done[0].succeeded, done[1].succeeded);
		assert_int_equal(done[0].revision, done[1].revision);
		assert_int_equal(done[0].n, done[1].n);
		for (size_t i = 0; i < done[0].n; i++)
			same_result(&done[0].results[i], &done[1].results[i]);
		revision = done[0].revision;
	}
	state_txn_result_done(&done[0]);
	state_txn_result_done(&done[1]);
	return revision;
}

static void step_range(struct pair *p, int64_t revision)
{
	struct state_range r = pick_range(p, revision);
	struct state_result found[2] = {0};
	struct err e[2] = {0};
	int rc[2];

	for (int i = 0; i < 2; i++)
		rc[i] = state_range(p->s[i], &r, &found[i], &e[i]);
	same_errors(rc[0], &e[0], rc[1], &e[1]);
	if (!rc[0])
		same_result(&found[0], &found[1]);
	state_result_done(&found[0]);
	state_result_done(&found[1]);
}

static void step_compact(struct pair *p, int64_t revision)
{
	int64_t to = revision - 3 + pick(p, 5);
	struct err e[2] = {0};
	int rc[2];

	for (int i = 0; i < 2; i++)
		rc[i] = state_compact(p->s[i], to, &e[i]);
	same_errors(rc[0], &e[0], rc[1], &e[1]);
}

static void open_watches(struct pair *p, int64_t revision)
{
	struct state_range r = pick_range(p, revision);
	int64_t from = pick(p, 2) ? 0 : 1 + pick(p, (unsigned)revision + 2);
	struct err e[2] = {0};
	int rc[2];

	for (int i = 0; i < 2; i++) {
		state_watch_free(p->w[i]);
		p->w[i] = NULL;
		rc[i] = state_watch(p->s[i], &r, from, &p->w[i], &e[i]);
	}
	same_errors(rc[0], &e[0], rc[1], &e[1]);
}

static void step_watch(struct pair *p, int64_t revision)
{
	if (!p->w[0] || !pick(p, 8))
		open_watches(p, revision);
	if (!p->w[0])
		return;
	for (;;) {
		struct state_event ev[2];
		struct err e[2] = {0};
		int rc[2];

		for (int i = 0; i < 2; i++)
			rc[i] = state_watch_next(p->w[i], &ev[i], &e[i]);
		same_errors(rc[0], &e[0], rc[1], &e[1]);
		if (rc[0] != 1)
			break;
		assert_int_equal(ev[0].deleted, ev[1].deleted);
		assert_int_equal(ev[0].has_prev, ev[1].has_prev);
		same_kv(&ev[0].kv, &ev[1].kv);
		if (ev[0].has_prev)
			same_kv(&ev[0].prev, &ev[1].prev);
	}
}

static int setup(void **arg)
{
	struct pair *p = mem_alloc(sizeof(*p));
	const char *seed = getenv("STATE_SEED");
	struct err e = {0};

	strcpy(p->dir, "/tmp/test_state.XXXXXX");
	p->seed = seed ? (unsigned)strtoul(seed, NULL, 10) : (unsigned)time(NULL);
	print_message("STATE_SEED=%u\n", p->seed);
	p->s[0] = state_new_memory(NULL);
	if (!mkdtemp(p->dir) || state_open(p->dir, NULL, &p->s[1], &e)) {
		print_error("%s\n", e.msg);
		return -1;
	}
	*arg = p;
	return 0;
}

static int teardown(void **arg)
{
	struct pair *p = *arg;

	for (int i = 0; i < 2; i++) {
		state_watch_free(p->w[i]);
		state_free(p->s[i]);
	}
	path_remove_tree(AT_FDCWD, p->dir);
	free(p);
	return 0;
}

static void both_answer_alike(void **arg)
{
	struct pair *p = *arg;
	int64_t revision = 1;

	for (int i = 0; i < STEPS; i++) {
		switch (pick(p, 12)) {
		case 0:
			step_compact(p, revision);
			break;
		case 1:
		case 2:
			step_watch(p, revision);
			break;
		case 3:
		case 4:
		case 5:
			step_range(p, revision);
			break;
		default:
			revision = step_txn(p, revision);
		}
	}
	assert_true(revision > STEPS / 8);
}

int main(void)
{
	return TEST_RUN("state_model",
			cmocka_unit_test_setup_teardown(both_answer_alike, setup, teardown));
}
