/* What the fuzz targets do to a store of foreign origin: open it and use every verb. Whatever it
 * holds, a call returns, and with one of the errors that state.h names. */
#ifndef TEST_FUZZ_STATE_EXERCISE_H
#define TEST_FUZZ_STATE_EXERCISE_H

#include "base/mem.h"
#include "os/path.h"
#include "state/state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#define EXERCISE_EVENTS_MAX 1000

/* A directory for one input, on memory where that is possible; fixed for the process. */
static const char *exercise_dir(void)
{
	static char dir[64];

	if (!dir[0]) {
		strcpy(dir, path_access(AT_FDCWD, "/dev/shm", W_OK) == 0
				? "/dev/shm/fuzz_state.XXXXXX"
				: "/tmp/fuzz_state.XXXXXX");
		if (!mkdtemp(dir))
			abort();
	}
	return dir;
}

static void exercise_check(int rc, const struct err *e)
{
	switch (rc) {
	case 0:
	case -EBADMSG:
	case -ESTALE:
	case -ERANGE:
	case -EAGAIN:
	case -ENOENT:
	case -E2BIG:
	case -EOVERFLOW:
	case -EPROTONOSUPPORT:
		break;
	default:
		fprintf(stderr, "unexpected %d: %s\n", rc, e->msg);
		abort();
	}
	if (rc && (e->rc != rc || !e->msg[0]))
		abort();
}

#define exercise(call)                                 \
	({                                             \
		struct err e = {0};                    \
		int rc_ = (call);                      \
		exercise_check(rc_ > 0 ? 0 : rc_, &e); \
		rc_;                                   \
	})

static void exercise_reads(struct state *s, int64_t revision)
{
	struct state_range all = {.prefix = true, .revision = revision}, some = all;
	_state_result_ struct state_result found = {0}, page = {0}, count = {0};

	exercise(state_range(s, &all, &found, &e));
	all.count_only = true;
	exercise(state_range(s, &all, &count, &e));
	some.limit = 1;
	if (found.n)
		some.after = found.kvs[0].key;
	exercise(state_range(s, &some, &page, &e));
}

static void exercise_watch(struct state *s)
{
	struct state_watch *w;
	struct state_event ev;

	if (exercise(state_watch(s, &(struct state_range){.prefix = true}, 2, &w, &e)))
		return;
	for (int i = 0; i < EXERCISE_EVENTS_MAX && exercise(state_watch_next(w, &ev, &e)) > 0; i++)
		;
	state_watch_free(w);
}

static void exercise_changes(struct state *s)
{
	struct state_bytes a = state_str("a"), lock = state_str("lock");
	struct state_holder h;
	int64_t lease;
	uint64_t count;

	exercise(state_put(s, a, state_str("1"), 0, NULL, &e));
	exercise(state_put_if(s, lock, 0, state_str("mine"), 0, NULL, &e));
	exercise(state_delete(s, &(struct state_range){.from = a, .prefix = true}, NULL, NULL, &e));
	exercise(state_lease_judge(s, &count, &e));
	if (exercise(state_holder_of(0, &h, &e)) == 0 &&
	    exercise(state_lease_grant(s, &h, &lease, &e)) == 0)
		exercise(state_put(s, lock, state_str("2"), lease, NULL, &e));
	for (lease = 1; lease < 4; lease++)
		exercise(state_lease_revoke(s, lease, &e));
	exercise(state_compact(s, 3, &e));
}

/* Opens what lies in exercise_dir(), uses it, and empties the directory. */
static void exercise_store(void)
{
	/* Enough for any input that is not endless. */
	static const struct state_options o = {.timeout_ms = 100, .steps_max = 3000000};
	struct state *s;

	if (exercise(state_open(exercise_dir(), &o, &s, &e)) == 0) {
		exercise_reads(s, 0);
		exercise_reads(s, 2);
		exercise_watch(s);
		exercise_changes(s);
		exercise_reads(s, 0);
		exercise_watch(s);
		state_free(s);
	}
	path_remove_tree(AT_FDCWD, exercise_dir());
}

#endif
