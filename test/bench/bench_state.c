/* bench_state [DIR]: the state store with one client and 256-byte values, beside what the disk
 * allows (12 KiB appended and one fdatasync, which is what a put writes). Each figure is the median
 * of ROUNDS rounds, with the least and the greatest. DIR (default: a new one below $TMPDIR or
 * /var/tmp) says which file system. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "os/path.h"
#include "state/state.h"

#include <fcntl.h>
#include <time.h>

#define ROUNDS 7
#define PUTS   300
#define GETS   3000
#define KEYS   1000
#define OPENS  50

static const char value[256] = "value";
static const char *dir;

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void check(int rc, const struct err *e)
{
	if (!rc)
		return;
	fprintf(stderr, "bench_state: %s\n", e->msg);
	exit(1);
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void put(struct state *s, int i)
{
	struct err e = {0};
	char key[32];

	snprintf(key, sizeof(key), "instance/%06d", i % KEYS);
	check(state_put(s, state_str(key), (struct state_bytes){value, sizeof(value)}, 0, NULL, &e),
	      &e);
}

/* Each returns microseconds for one operation. */

static double bench_floor(struct state *s)
{
	_free_ char *path = mem_printf("%s/floor", dir);
	_close_ int fd = path_open(AT_FDCWD, path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	static const char pages[3 * 4096];
	double start = now_us();

	for (int i = 0; i < PUTS; i++)
		if (write(fd, pages, sizeof(pages)) != sizeof(pages) || fdatasync(fd))
			exit(1);
	return (now_us() - start) / PUTS;
}

static double bench_put(struct state *s)
{
	double start = now_us();

	for (int i = 0; i < PUTS; i++)
		put(s, i);
	return (now_us() - start) / PUTS;
}

/* The median of single puts, not the mean. */
static double bench_put_p50(struct state *s)
{
	double took[PUTS];

	for (int i = 0; i < PUTS; i++) {
		double start = now_us();

		put(s, i);
		took[i] = now_us() - start;
	}
	qsort(took, PUTS, sizeof(*took), by_size);
	return took[PUTS / 2];
}

static double bench_get(struct state *s)
{
	double start = now_us();

	for (int i = 0; i < GETS; i++) {
		_state_result_ struct state_result found = {0};
		struct err e = {0};
		char key[32];

		snprintf(key, sizeof(key), "instance/%06d", i % KEYS);
		check(state_get(s, state_str(key), &found, &e), &e);
	}
	return (now_us() - start) / GETS;
}

static double bench_range(struct state *s)
{
	_state_result_ struct state_result found = {0};
	struct state_range r = {.from = state_str("instance/"), .prefix = true};
	struct err e = {0};
	double start = now_us();

	check(state_range(s, &r, &found, &e), &e);
	return now_us() - start;
}

/* What a command pays: it opens the store, changes one thing and leaves. */
static double bench_command(struct state *unused)
{
	double start = now_us();

	for (int i = 0; i < OPENS; i++) {
		struct state *s;
		struct err e = {0};

		check(state_open(dir, NULL, &s, &e), &e);
		put(s, i);
		state_free(s);
	}
	return (now_us() - start) / OPENS;
}

static void figure(const char *name, double (*run)(struct state *), struct state *s)
{
	double us[ROUNDS];

	for (int i = 0; i < ROUNDS; i++)
		us[i] = run(s);
	qsort(us, ROUNDS, sizeof(*us), by_size);
	printf("%-34s %9.1f us (%.1f .. %.1f) %9.0f/s\n", name, us[ROUNDS / 2], us[0],
	       us[ROUNDS - 1], 1e6 / us[ROUNDS / 2]);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	const char *tmp = getenv("TMPDIR");
	_free_ char *made = mem_printf("%s/bench_state.XXXXXX", tmp ? tmp : "/var/tmp");
	struct err e = {0};
	struct state *s;

	dir = argc > 1 ? argv[1] : mkdtemp(made);
	if (!dir) {
		perror("bench_state");
		return 1;
	}
	check(state_open(dir, NULL, &s, &e), &e);
	for (int i = 0; i < KEYS; i++)
		put(s, i);
	printf("state store, %d keys of %zu bytes, median of %d (least .. greatest)\n", KEYS,
	       sizeof(value), ROUNDS);
	figure("floor: 12 KiB and fdatasync", bench_floor, NULL);
	figure("put, mean", bench_put, s);
	figure("put, p50", bench_put_p50, s);
	figure("get", bench_get, s);
	figure("range of 1000 keys", bench_range, s);
	state_free(s);
	figure("open, put, close, alone", bench_command, NULL);
	if (argc == 1)
		path_remove_tree(AT_FDCWD, dir);
	return 0;
}
