#include "test.h"

#include <errno.h>
#include <fcntl.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "io/progress.h"
#include "io/pty.h"
#include "os/path.h"

/* A clock that stands until it is moved, and a pipe that shows what was written. */
struct scene {
	uint64_t ms;
	int ends[2];
	struct progress *p;
	char text[65536];
};

static uint64_t clock_of(void *arg)
{
	return ((struct scene *)arg)->ms;
}

static void begin(struct scene *s, enum progress_mode mode, bool terminal, unsigned columns,
		  unsigned rows)
{
	s->ms = 1000000;
	assert_int_equal(pipe2(s->ends, O_CLOEXEC | O_NONBLOCK), 0);
	s->p = progress_new(&(struct progress_conf){.fd = s->ends[1],
						    .mode = mode,
						    .assume_terminal = terminal,
						    .columns = columns,
						    .rows = rows,
						    .now_ms = clock_of,
						    .arg = s});
}

/* What was written since the last call. */
static const char *seen(struct scene *s)
{
	ssize_t n = read(s->ends[0], s->text, sizeof(s->text) - 1);

	s->text[n < 0 ? 0 : n] = '\0';
	return s->text;
}

static void end(struct scene *s)
{
	if (s->p)
		progress_free(s->p);
	close(s->ends[0]);
	close(s->ends[1]);
}

static unsigned count(const char *text, const char *what)
{
	unsigned n = 0;

	for (const char *p = text; (p = strstr(p, what)); p += strlen(what))
		n++;
	return n;
}

static void modes(void **state)
{
	enum progress_mode m;

	assert_int_equal(progress_mode_parse("auto", &m), 0);
	assert_int_equal(m, PROGRESS_AUTO);
	assert_int_equal(progress_mode_parse("none", &m), 0);
	assert_int_equal(m, PROGRESS_NONE);
	assert_int_equal(progress_mode_parse("Auto", &m), -EINVAL);
	assert_int_equal(progress_mode_parse("", &m), -EINVAL);
}

static void short_work_shows_nothing(void **state)
{
	static const enum progress_mode silent[] = {PROGRESS_AUTO, PROGRESS_PLAIN, PROGRESS_NONE};
	struct scene s;

	for (size_t i = 0; i < ARRAY_SIZE(silent); i++) {
		begin(&s, silent[i], true, 80, 24);
		struct progress_item *it = progress_add(s.p, "layer", 1000);

		s.ms += PROGRESS_DELAY_MS - 1;
		progress_set(it, 999, 1000);
		progress_finish(it, true);
		progress_free(s.p);
		s.p = NULL;
		assert_string_equal(seen(&s), "");
		end(&s);
	}
}

static void silent_where_no_terminal(void **state)
{
	struct scene s;

	begin(&s, PROGRESS_AUTO, false, 0, 0);
	struct progress_item *it = progress_add(s.p, "layer", 1000);

	for (int i = 0; i < 100; i++) {
		s.ms += 1000;
		progress_set(it, (uint64_t)i, 1000);
	}
	assert_string_equal(seen(&s), "");
	end(&s);
	begin(&s, PROGRESS_NONE, true, 80, 24);
	it = progress_add(s.p, "layer", 1000);
	s.ms += 1000;
	progress_set(it, 1, 1000);
	assert_string_equal(seen(&s), "");
	end(&s);
}

static void at_most_ten_a_second(void **state)
{
	struct scene s;
	unsigned draws = 0;

	begin(&s, PROGRESS_AUTO, true, 80, 24);
	struct progress_item *it = progress_add(s.p, "layer", 100000);

	for (uint64_t i = 0; i < 3000; i++) {
		s.ms++;
		progress_set(it, i, 100000);
		draws += *seen(&s) != '\0';
	}
	assert_int_equal(draws, 28); /* at 300, 400 … 3000 ms */
	end(&s);
}

static void what_a_line_says(void **state)
{
	struct scene s;

	begin(&s, PROGRESS_AUTO, true, 100, 24);
	struct progress_item *it = progress_add(s.p, "layer 3f2a", 40u << 20);

	s.ms += 1000;
	progress_set(it, 10u << 20, 40u << 20);
	assert_string_equal(seen(&s), "layer 3f2a                [=====>              ]  25%  "
				      "10.0 MiB of 40.0 MiB  10.0 MiB/s  0:04\n");
	s.ms += 1000;
	progress_set(it, 40u << 20, 40u << 20);
	progress_finish(it, true);
	s.ms += 100;
	progress_tick(s.p);
	const char *text = seen(&s);

	assert_non_null(strstr(text, "[====================] 100%  40.0 MiB of 40.0 MiB  done\n"));
	assert_int_equal(count(text, "\033[1A\033[J"), 2); /* over what was drawn */
	progress_free(s.p);
	s.p = NULL;
	assert_string_equal(seen(&s), "\033[1A\033[J"); /* and nothing stays */
	end(&s);
}

static void unknown_total_and_more_than_total(void **state)
{
	struct scene s;

	begin(&s, PROGRESS_AUTO, true, 100, 24);
	struct progress_item *a = progress_add(s.p, "unknown", 0);
	struct progress_item *b = progress_add(s.p, "more", 10);

	s.ms += 1000;
	progress_set(a, 500, 0);
	progress_set(b, 20, 10);
	s.ms += 100;
	progress_tick(s.p);
	const char *text = seen(&s);

	assert_non_null(strstr(text, "unknown                   500 B  500 B/s\n"));
	assert_non_null(strstr(text, "100%  20 B of 10 B"));
	assert_int_equal(count(text, "\033[2A"), 1);
	end(&s);
}

static void rate_follows_a_change(void **state)
{
	struct scene s;
	uint64_t done = 0;

	begin(&s, PROGRESS_AUTO, true, 120, 24);
	struct progress_item *it = progress_add(s.p, "x", 0);

	for (int i = 0; i < 100; i++) {
		s.ms += 100;
		progress_set(it, done += 100u << 10, 0);
	}
	assert_non_null(strstr(seen(&s), "  1.0 MiB/s\n")); /* 1000 KiB */
	for (int i = 0; i < 200; i++) { /* ten times slower, for twenty seconds */
		s.ms += 100;
		progress_set(it, done += 10u << 10, 0);
		seen(&s);
	}
	assert_non_null(strstr(s.text, "  100."));
	assert_null(strstr(s.text, "MiB/s"));
	end(&s);
}

/* Labels are foreign: no control bytes reach the terminal; and no line is wider than it. */
static void lines_fit(void **state)
{
	struct scene s;

	for (unsigned columns = 2; columns < 100; columns += 7) {
		begin(&s, PROGRESS_AUTO, true, columns, 24);
		progress_add(s.p, "bad\033[2J\n\r\a label that is long", 5);
		progress_add(s.p, "äöü€😀äöü€😀äöü€😀äöü€😀äöü€😀äöü€😀", 5);
		s.ms += 300;
		progress_tick(s.p);
		unsigned width = 0, lines = 0;

		for (const char *p = seen(&s); *p; p++) {
			assert_true((unsigned char)*p >= 0x20 || *p == '\n');
			if (*p == '\n') {
				assert_true(width < columns);
				width = 0;
				lines++;
			} else {
				width += ((unsigned char)*p & 0xc0) != 0x80;
			}
		}
		assert_int_equal(lines, 2);
		end(&s);
	}
}

static void many_items_do_not_scroll(void **state)
{
	struct scene s;
	struct progress_item *it[40];

	begin(&s, PROGRESS_AUTO, true, 80, 10);
	for (int i = 0; i < 40; i++) {
		char label[16];

		snprintf(label, sizeof(label), "layer-%02d", i);
		it[i] = progress_add(s.p, label, 5);
	}
	s.ms += 300;
	for (int i = 0; i < 20; i++)
		progress_finish(it[i], i != 7);
	s.ms += 100;
	progress_tick(s.p);
	seen(&s);
	s.ms += 100;
	progress_tick(s.p);
	const char *text = seen(&s);

	assert_int_equal(count(text, "\n"), 9);
	assert_int_equal(count(text, "\033[9A\033[J"), 1);
	assert_null(strstr(text, "layer-03"));
	assert_non_null(strstr(text, "layer-20"));
	assert_non_null(strstr(text, "20 under way, 20 finished"));
	end(&s);
}

static void cleared_for_others(void **state)
{
	struct scene s;

	begin(&s, PROGRESS_AUTO, true, 80, 24);
	progress_add(s.p, "x", 5);
	s.ms += 300;
	progress_tick(s.p);
	seen(&s);
	progress_clear(s.p);
	assert_string_equal(seen(&s), "\033[1A\033[J");
	progress_clear(s.p);
	assert_string_equal(seen(&s), "");
	s.ms += 100;
	progress_tick(s.p);
	assert_null(strchr(seen(&s), '\033'));
	assert_int_equal(count(s.text, "\n"), 1);
	end(&s);
}

static void plain_lines(void **state)
{
	struct scene s;

	begin(&s, PROGRESS_PLAIN, true, 80, 24);
	struct progress_item *a = progress_add(s.p, "base", 2000);
	struct progress_item *b = progress_add(s.p, "app\n", 1000);

	for (int i = 0; i < 120; i++) { /* twelve seconds */
		s.ms += 100;
		progress_set(a, 1000, 2000);
	}
	progress_finish(a, true);
	s.ms += 100;
	progress_tick(s.p);
	(void)b;
	progress_free(s.p); /* as when the operation failed */
	s.p = NULL;
	assert_string_equal(seen(&s), "base: 50%, 1.0 KiB in 0:05\napp?: 0%, 0 B in 0:05\n"
				      "base: 50%, 1.0 KiB in 0:10\napp?: 0%, 0 B in 0:10\n"
				      "base: done, 1.0 KiB in 0:12\napp?: failed, 0 B in 0:12\n");
	end(&s);
}

static void json_lines(void **state)
{
	struct scene s;

	begin(&s, PROGRESS_JSON, false, 0, 0);
	struct progress_item *a = progress_add(s.p, "a \"b\"", 10);

	s.ms += 300;
	progress_set(a, 4, 10);
	s.ms += 100;
	progress_tick(s.p); /* nothing new */
	s.ms += 100;
	progress_set(a, 10, 10);
	progress_finish(a, true);
	progress_add(s.p, "c", 0);
	progress_free(s.p);
	s.p = NULL;
	assert_string_equal(
	    seen(&s), "{\"item\":\"a \\\"b\\\"\",\"done\":4,\"total\":10,\"state\":\"running\"}\n"
		      "{\"item\":\"a \\\"b\\\"\",\"done\":10,\"total\":10,\"state\":\"running\"}\n"
		      "{\"item\":\"a \\\"b\\\"\",\"done\":10,\"total\":10,\"state\":\"done\"}\n"
		      "{\"item\":\"c\",\"done\":0,\"total\":0,\"state\":\"failed\"}\n");
	end(&s);
	begin(&s, PROGRESS_JSON, false, 0, 0); /* short work: the ends are told all the same */
	progress_finish(progress_add(s.p, "d", 3), true);
	progress_free(s.p);
	s.p = NULL;
	assert_string_equal(seen(&s),
			    "{\"item\":\"d\",\"done\":0,\"total\":3,\"state\":\"done\"}\n");
	end(&s);
}

/* The real clock, and a real terminal with its own width. */
static void on_a_real_terminal(void **state)
{
	struct winsize size = {.ws_row = 5, .ws_col = 30};
	struct pty t;
	char text[4096] = {0};

	assert_int_equal(pty_open(&t, &size), 0);
	fcntl(t.master, F_SETFL, O_NONBLOCK);
	struct progress *p = progress_new(&(struct progress_conf){.fd = t.slave});

	progress_add(p, "layer", 100);
	assert_int_equal(read(t.master, text, sizeof(text)), -1);
	usleep(310000);
	progress_tick(p);
	ssize_t n = read(t.master, text, sizeof(text) - 1);

	assert_int_equal(n, 31); /* 29 columns, "\r\n" */
	progress_free(p);
	progress_free(NULL);
	n = read(t.master, text, sizeof(text) - 1);
	assert_true(n > 0);
	text[n] = '\0';
	assert_string_equal(text, "\033[1A\033[J");
	pty_close(&t);
}

int main(void)
{
	return TEST_RUN(
	    "progress", cmocka_unit_test(modes), cmocka_unit_test(short_work_shows_nothing),
	    cmocka_unit_test(silent_where_no_terminal), cmocka_unit_test(at_most_ten_a_second),
	    cmocka_unit_test(what_a_line_says), cmocka_unit_test(unknown_total_and_more_than_total),
	    cmocka_unit_test(rate_follows_a_change), cmocka_unit_test(lines_fit),
	    cmocka_unit_test(many_items_do_not_scroll), cmocka_unit_test(cleared_for_others),
	    cmocka_unit_test(plain_lines), cmocka_unit_test(json_lines),
	    cmocka_unit_test(on_a_real_terminal));
}
