/* statectl DIR COMMAND...: drives a state store from scripts, for the tests with many processes and
 * those that kill.
 *
 *   put KEY VALUE         get KEY         list [PREFIX]         revision
 *   incr KEY N            N compare-and-set increments of a number
 *   hold KEY              grants itself a lease, ties KEY to it, says "held", and waits for its end
 *   watch PREFIX REV N    prints N events from that revision on (0: now; says "watching" first)
 *   work N [big]          the first N steps of a fixed piece of work, with "step I" on stdout when
 * step I is acknowledged verify I [big]        the store is what I steps of that work leave, or I +
 * 1, and its parts agree; the steps are replayed on the in-memory store
 *
 * $STATECTL_TIMEOUT_MS is how long to wait for locks. Exit status: 0, or 1 with "statectl: MESSAGE
 * [CODE]" on stderr, or 2 for usage. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "state/state.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>

#define CONFLICTS_MAX 100000 /* retries of one increment */

static int report(const struct err *e)
{
	fprintf(stderr, "statectl: %s [%s]\n", e->msg, err_info(e->code)->name);
	return 1;
}

static int complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int complain(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("statectl: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	return 1;
}

static void print_kv(const char *before, const struct state_kv *kv)
{
	printf("%s%.*s=%.*s\n", before, (int)kv->key.len, (const char *)kv->key.p,
	       (int)kv->value.len, (const char *)kv->value.p);
}

/* --- small commands --- */

static int do_put(struct state *s, char **arg, struct err *e)
{
	int64_t revision;
	int rc = state_put(s, state_str(arg[0]), state_str(arg[1]), 0, &revision, e);

	if (!rc)
		printf("%lld\n", (long long)revision);
	return rc;
}

static int do_get(struct state *s, char **arg, struct err *e)
{
	_state_result_ struct state_result found = {0};
	int rc = state_get(s, state_str(arg[0]), &found, e);

	if (rc)
		return rc;
	if (!found.n)
		return err_set(e, ERR_NOT_FOUND, -ENOENT, "there is no key '%s'", arg[0]);
	printf("%.*s\n", (int)found.kvs[0].value.len, (const char *)found.kvs[0].value.p);
	return 0;
}

static int do_list(struct state *s, char **arg, struct err *e)
{
	_state_result_ struct state_result found = {0};
	struct state_range r = {.from = state_str(arg[0] ? arg[0] : ""), .prefix = true};
	int rc = state_range(s, &r, &found, e);

	for (size_t i = 0; i < found.n; i++)
		print_kv("", &found.kvs[i]);
	return rc;
}

static int do_revision(struct state *s, char **arg, struct err *e)
{
	_state_result_ struct state_result found = {0};
	int rc = state_get(s, state_str("-"), &found, e);

	if (!rc)
		printf("%lld\n", (long long)found.revision);
	return rc;
}

static int increment(struct state *s, struct state_bytes key, struct err *e)
{
	for (int i = 0; i < CONFLICTS_MAX; i++) {
		_state_result_ struct state_result found = {0};
		char text[32] = "0";
		int rc = state_get(s, key, &found, e);

		if (rc)
			return rc;
		if (found.n)
			snprintf(text, sizeof(text), "%.*s", (int)found.kvs[0].value.len,
				 (const char *)found.kvs[0].value.p);
		snprintf(text, sizeof(text), "%lld", atoll(text) + 1);
		rc = state_put_if(s, key, found.n ? found.kvs[0].mod_revision : 0, state_str(text),
				  0, NULL, e);
		if (rc != -EAGAIN)
			return rc;
	}
	return -EAGAIN;
}

static int do_incr(struct state *s, char **arg, struct err *e)
{
	int rc = 0;

	for (int i = 0; i < atoi(arg[1]) && !rc; i++)
		rc = increment(s, state_str(arg[0]), e);
	return rc;
}

static int do_hold(struct state *s, char **arg, struct err *e)
{
	struct state_holder h;
	int64_t lease;
	int rc = state_holder_of(0, &h, e);

	rc = rc ? rc : state_lease_grant(s, &h, &lease, e);
	rc = rc ? rc : state_put(s, state_str(arg[0]), state_str("held"), lease, NULL, e);
	if (rc)
		return rc;
	printf("held\n");
	fflush(stdout);
	for (;;)
		pause();
}

static int do_watch(struct state *s, char **arg, struct err *e)
{
	struct state_range r = {.from = state_str(arg[0]), .prefix = true};
	struct state_watch *w;
	struct state_event ev;
	int left = atoi(arg[2]);
	int rc = state_watch(s, &r, atoll(arg[1]), &w, e);

	if (rc)
		return rc;
	printf("watching\n");
	fflush(stdout);
	while (left) {
		rc = state_watch_next(w, &ev, e);
		if (rc < 0)
			break;
		if (rc) {
			print_kv(ev.deleted ? "delete " : "put ", &ev.kv);
			fflush(stdout);
			left--;
		} else {
			poll(&(struct pollfd){.fd = state_watch_fd(w), .events = POLLIN}, 1, -1);
		}
	}
	state_watch_free(w);
	return rc < 0 ? rc : 0;
}

/* --- work and its model --- */

struct work {
	struct state *s;
	int64_t lease, revision;
	bool big;
};

/* Step i: every verb in turn. All keys differ by i where one step does not build on another. */
static int work_step(struct work *w, int i, struct err *e)
{
	_free_ char *large = mem_alloc(STATE_VALUE_MAX);
	char own[16], other[16];
	int64_t *revision = &w->revision;
	struct state_bytes key = {own, (size_t)snprintf(own, sizeof(own), "a/%d", i)};
	struct state_bytes key2 = {other, (size_t)snprintf(other, sizeof(other), "b/%d", i / 4)};
	struct state_bytes value = {large, w->big ? STATE_VALUE_MAX : 5000};
	struct state_holder h;

	memset(large, 'x', STATE_VALUE_MAX);
	switch (i % 9) {
	case 0:
		return state_put(w->s, key, state_str(own), 0, revision, e);
	case 1: {
		_state_txn_result_ struct state_txn_result done = {0};
		struct state_compare c = {.key = key, .target = STATE_VERSION};
		struct state_op ops[] = {{.verb = STATE_PUT, .key = key, .value = key2},
					 {.verb = STATE_PUT, .key = key2, .value = key}};

		return state_txn(w->s, &(struct state_txn){&c, 1, ops, 2, NULL, 0}, &done, e);
	}
	case 2:
		return state_delete(w->s,
				    &(struct state_range){.from = state_str("a/"), .prefix = true},
				    NULL, revision, e);
	case 3: {
		int rc = state_holder_of(0, &h, e);

		return rc ? rc : state_lease_grant(w->s, &h, &w->lease, e);
	}
	case 4:
		return state_put(w->s, key, state_str("leased"), w->lease, revision, e);
	case 5:
		return state_put(w->s, state_str("large"), value, 0, revision, e);
	case 6:
		return state_put(w->s, key, state_str("leased too"), w->lease, revision, e);
	case 7:
		return state_lease_revoke(w->s, w->lease, e);
	default:
		return state_compact(w->s, w->revision - 2, e);
	}
}

static int do_work(struct state *s, char **arg, struct err *e)
{
	struct work w = {.s = s, .big = arg[1] != NULL};

	for (int i = 0; i < atoi(arg[0]); i++) {
		char line[32];
		int rc = work_step(&w, i, e);

		if (rc)
			return rc;
		/* One system call: said or not said. */
		int len = snprintf(line, sizeof(line), "step %d\n", i + 1);

		if (write(STDOUT_FILENO, line, (size_t)len) != len)
			return err_sys(e, ERR_SYS, "write");
	}
	return 0;
}

static bool same_kv(const struct state_kv *a, const struct state_kv *b)
{
	return a->key.len == b->key.len && !memcmp(a->key.p, b->key.p, a->key.len) &&
	       a->value.len == b->value.len && !memcmp(a->value.p, b->value.p, a->value.len) &&
	       a->create_revision == b->create_revision && a->mod_revision == b->mod_revision &&
	       a->version == b->version;
}

/* Is `found` what so many steps leave once their process is dead? */
static bool is_after(const struct state_result *found, int steps, bool big)
{
	_state_result_ struct state_result want = {0};
	struct work w = {.s = state_new_memory(NULL), .big = big};
	struct err e = {0};
	int rc = 0;

	for (int i = 0; i < steps && !rc; i++)
		rc = work_step(&w, i, &e);
	if (!rc && w.lease)
		state_lease_revoke(w.s, w.lease, &e); /* perhaps the work has done it */
	if (!rc)
		rc = state_range(w.s, &(struct state_range){.prefix = true}, &want, &e);
	bool same = !rc && want.n == found->n;

	for (size_t i = 0; same && i < want.n; i++)
		same = same_kv(&want.kvs[i], &found->kvs[i]);
	state_free(w.s);
	return same;
}

static int check_told(const char *dir, int64_t revision)
{
	_free_ char *path = mem_printf("%s/state.told", dir);
	_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint64_t told = 0;

	if (fd < 0 || (read(fd, &told, sizeof(told)) != sizeof(told) && revision > 1))
		return complain("%s: cannot be read", path);
	if (revision > 1 && (int64_t)le64toh(told) != revision)
		return complain("revision %lld was told, the store is at %lld",
				(long long)le64toh(told), (long long)revision);
	return 0;
}

static int keep_text(void *arg, int n, char **values, char **names)
{
	snprintf(arg, 256, "%s", values[0] ? values[0] : "");
	return 0;
}

static int check_database(const char *dir)
{
	_free_ char *path = mem_printf("%s/state.db", dir);
	char verdict[256] = "";
	sqlite3 *db;
	int rc = sqlite3_open(path, &db);

	rc = rc ? rc : sqlite3_exec(db, "PRAGMA integrity_check", keep_text, verdict, NULL);
	sqlite3_close(db);
	return rc || strcmp(verdict, "ok") ? complain("integrity: %s (%d)", verdict, rc) : 0;
}

static int verify(struct state *s, const char *dir, int steps, bool big)
{
	_state_result_ struct state_result found = {0};
	struct err e = {0};
	int64_t revision;

	if (state_range(s, &(struct state_range){.prefix = true}, &found, &e))
		return report(&e);
	if (!is_after(&found, steps, big) && !is_after(&found, steps + 1, big))
		return complain("the store is not what %d or %d steps leave", steps, steps + 1);
	if (check_told(dir, found.revision) || check_database(dir))
		return 1;
	/* It goes on from there. */
	if (state_put(s, state_str("more"), state_str("1"), 0, &revision, &e))
		return report(&e);
	return revision == found.revision + 1 ? 0 : complain("revisions have a gap");
}

static const struct command {
	const char *name;
	int args_min, args_max;
	int (*run)(struct state *s, char **arg, struct err *e);
} commands[] = {
    {"put", 2, 2, do_put},           {"get", 1, 1, do_get},   {"list", 0, 1, do_list},
    {"revision", 0, 0, do_revision}, {"incr", 2, 2, do_incr}, {"hold", 1, 1, do_hold},
    {"watch", 3, 3, do_watch},       {"work", 1, 2, do_work}, {"verify", 1, 2, NULL},
};

int main(int argc, char **argv)
{
	const struct command *c = NULL;
	struct err e = {0};
	struct state *s;

	for (size_t i = 0; argc > 2 && i < ARRAY_SIZE(commands); i++)
		if (!strcmp(argv[2], commands[i].name))
			c = &commands[i];
	if (!c || argc - 3 < c->args_min || argc - 3 > c->args_max) {
		fprintf(stderr, "usage: statectl DIR COMMAND [ARG...]\n");
		return 2;
	}
	const char *timeout = getenv("STATECTL_TIMEOUT_MS");
	const struct state_options o = {.timeout_ms = timeout ? (unsigned)atoi(timeout) : 0};

	signal(SIGXFSZ, SIG_IGN); /* a file size limit is an error like another */
	if (state_open(argv[1], &o, &s, &e))
		return report(&e);
	int rc;

	if (c->run)
		rc = c->run(s, argv + 3, &e) ? report(&e) : 0;
	else
		rc = verify(s, argv[1], atoi(argv[3]), argc > 4);
	state_free(s);
	return rc;
}
