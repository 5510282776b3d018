#include "io/progress.h"
#include "base/bits.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "io/loop.h"
#include "os/path.h"

#include <inttypes.h>
#include <sys/ioctl.h>

/* The rate is that of about the last seconds: what is older counts half after so long. */
#define RATE_HALF_MS 2000
#define LABEL_MAX    24 /* columns */
#define BAR_COLUMNS  20

enum item_state { RUNNING, DONE, FAILED };

struct progress_item {
	struct progress *owner;
	char *label;
	enum item_state state;
	uint64_t done, total;
	uint64_t start_ms, end_ms;
	uint64_t rate_ms, rate_done; /* the last sample */
	double rate;                 /* bytes per second */
	uint64_t written_ms;         /* plain */
	uint64_t written_done;       /* json */
	bool written_end;
};

struct progress {
	struct progress_conf conf;
	bool terminal;
	uint64_t start_ms, drawn_ms;
	unsigned drawn_lines; /* on the terminal, with the cursor below them */
	VEC(struct progress_item *) items;
};

int progress_mode_parse(const char *text, enum progress_mode *ret_mode)
{
	static const char *const names[] = {"auto", "plain", "json", "none"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (str_eq(text, names[i])) {
			*ret_mode = (enum progress_mode)i;
			return 0;
		}
	return -EINVAL;
}

static uint64_t now_ms(const struct progress *p)
{
	return p->conf.now_ms ? p->conf.now_ms(p->conf.arg) : loop_now_ns() / 1000000;
}

static void flush(struct progress *p, const struct buf *b)
{
	if (b->len)
		(void)fd_write_all(p->conf.fd, b->s, b->len);
}

/* --- text --- */

/* "0 B", "999 B", "12.3 MiB": at most 10 columns. */
static void add_bytes(struct buf *b, double bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	size_t u = 0;

	for (; bytes >= 1000 && u + 1 < ARRAY_SIZE(units); u++)
		bytes /= 1024;
	buf_addf(b, u ? "%.1f %s" : "%.0f %s", bytes, units[u]);
}

static void add_duration(struct buf *b, uint64_t seconds)
{
	if (seconds >= 3600)
		buf_addf(b, "%" PRIu64 ":%02u:%02u", seconds / 3600, (unsigned)(seconds / 60 % 60),
			 (unsigned)(seconds % 60));
	else
		buf_addf(b, "%u:%02u", (unsigned)(seconds / 60), (unsigned)(seconds % 60));
}

/* At most `columns` characters of s, counted as one column each; control bytes as '?'. Returns
 * how many. */
static unsigned add_cut(struct buf *b, const char *s, unsigned columns)
{
	unsigned used = 0;

	for (; *s; s++) {
		bool continues = ((unsigned char)*s & 0xc0) == 0x80; /* of a UTF-8 character */

		if (!continues && used++ == columns)
			return columns;
		buf_addc(b, (unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s);
	}
	return used;
}

static void add_bar(struct buf *b, double part)
{
	unsigned full = (unsigned)(part * BAR_COLUMNS);

	buf_addc(b, '[');
	for (unsigned i = 0; i < BAR_COLUMNS; i++)
		buf_addc(b, i < full ? '=' : i == full ? '>' : ' ');
	buf_addf(b, "] %3u%%  ", (unsigned)(part * 100));
}

static double rate_of(const struct progress_item *it, uint64_t end_ms)
{
	uint64_t ms = MAX(end_ms - it->start_ms, UINT64_C(1));

	return it->rate > 0 ? it->rate : (double)it->done * 1000 / (double)ms;
}

static void add_line(struct buf *b, const struct progress_item *it, uint64_t now)
{
	double rate = rate_of(it, now);

	for (unsigned used = add_cut(b, it->label, LABEL_MAX); used < LABEL_MAX + 2; used++)
		buf_addc(b, ' ');
	if (it->total) {
		add_bar(b, (double)MIN(it->done, it->total) / (double)it->total);
		add_bytes(b, (double)it->done);
		buf_adds(b, " of ");
		add_bytes(b, (double)it->total);
	} else {
		add_bytes(b, (double)it->done);
	}
	if (it->state == RUNNING && it->done) {
		buf_adds(b, "  ");
		add_bytes(b, rate);
		buf_adds(b, "/s");
		if (it->total > it->done && rate >= 1) {
			buf_adds(b, "  ");
			add_duration(b, (uint64_t)((double)(it->total - it->done) / rate) + 1);
		}
	}
	if (it->state != RUNNING)
		buf_adds(b, it->state == DONE ? "  done" : "  failed");
}

/* --- on a terminal --- */

static void add_erase(struct progress *p, struct buf *b)
{
	if (p->drawn_lines)
		buf_addf(b, "\033[%uA\033[J",
			 p->drawn_lines); /* up, clear to the end of the screen */
	p->drawn_lines = 0;
}

static void terminal_size(const struct progress *p, unsigned *ret_columns, unsigned *ret_rows)
{
	struct winsize size = {0};

	ioctl(p->conf.fd, TIOCGWINSZ, &size);
	*ret_columns = p->conf.columns ? p->conf.columns : size.ws_col ? size.ws_col : 80;
	*ret_rows = p->conf.rows ? p->conf.rows : size.ws_row ? size.ws_row : 24;
}

static unsigned count_state(const struct progress *p, enum item_state state)
{
	unsigned n = 0;

	for (size_t i = 0; i < p->items.n; i++)
		n += p->items.v[i]->state == state;
	return n;
}

/* One write(2), so that it does not flicker. No line is wrapped and the screen does not scroll:
 * each is cut at the width, and where there are too many, finished items are left out first. */
static void draw(struct progress *p, uint64_t now)
{
	_buf_ struct buf b = {0};
	unsigned columns, rows, lines = 0;

	terminal_size(p, &columns, &rows);
	unsigned room = MAX(rows, 2u) - 1;
	bool all = p->items.n <= room;

	add_erase(p, &b);
	for (size_t i = 0; i < p->items.n && lines < room; i++) {
		const struct progress_item *it = p->items.v[i];
		_buf_ struct buf line = {0};

		if (!all && it->state != RUNNING)
			continue;
		if (!all && lines == room - 1)
			buf_addf(&line, "%u under way, %u finished", count_state(p, RUNNING),
				 (unsigned)p->items.n - count_state(p, RUNNING));
		else
			add_line(&line, it, now);
		add_cut(&b, line.s, columns - 1);
		buf_addc(&b, '\n');
		lines++;
	}
	flush(p, &b);
	p->drawn_lines = lines;
}

/* --- lines of text --- */

static void write_plain(struct progress *p, uint64_t now)
{
	_buf_ struct buf b = {0};

	for (size_t i = 0; i < p->items.n; i++) {
		struct progress_item *it = p->items.v[i];

		if (it->written_end ||
		    (it->state == RUNNING &&
		     now - MAX(it->written_ms, it->start_ms) < PROGRESS_PLAIN_MS))
			continue;
		it->written_ms = now;
		it->written_end = it->state != RUNNING;
		add_cut(&b, it->label, UINT32_MAX);
		buf_adds(&b, it->state == DONE     ? ": done, "
			     : it->state == FAILED ? ": failed, "
						   : ": ");
		if (it->state == RUNNING && it->total)
			buf_addf(&b, "%u%%, ",
				 (unsigned)(100.0 * (double)MIN(it->done, it->total) /
					    (double)it->total));
		add_bytes(&b, (double)it->done);
		buf_adds(&b, " in ");
		add_duration(&b, ((it->state == RUNNING ? now : it->end_ms) - it->start_ms) / 1000);
		buf_addc(&b, '\n');
	}
	flush(p, &b);
}

static void write_json(struct progress *p)
{
	static const char *const states[] = {"running", "done", "failed"};
	_buf_ struct buf b = {0};

	for (size_t i = 0; i < p->items.n; i++) {
		struct progress_item *it = p->items.v[i];

		if (it->written_end || (it->state == RUNNING && it->written_done == it->done))
			continue;
		it->written_done = it->done;
		it->written_end = it->state != RUNNING;
		buf_adds(&b, "{\"item\":");
		buf_add_json_string(&b, it->label);
		buf_addf(&b, ",\"done\":%" PRIu64 ",\"total\":%" PRIu64 ",\"state\":\"%s\"}\n",
			 it->done, it->total, states[it->state]);
	}
	flush(p, &b);
}

/* --- when --- */

static void show(struct progress *p, uint64_t now)
{
	p->drawn_ms = now;
	if (p->conf.mode == PROGRESS_PLAIN)
		write_plain(p, now);
	else if (p->conf.mode == PROGRESS_JSON)
		write_json(p);
	else if (p->terminal)
		draw(p, now);
}

void progress_tick(struct progress *p)
{
	uint64_t now = now_ms(p);

	if (now - p->start_ms >= PROGRESS_DELAY_MS &&
	    (!p->drawn_ms || now - p->drawn_ms >= PROGRESS_PERIOD_MS))
		show(p, now);
}

void progress_clear(struct progress *p)
{
	_buf_ struct buf b = {0};

	add_erase(p, &b);
	flush(p, &b);
}

struct progress *progress_new(const struct progress_conf *conf)
{
	struct progress *p = mem_alloc(sizeof(*p));

	p->conf = *conf;
	p->terminal = conf->mode == PROGRESS_AUTO && (conf->assume_terminal || isatty(conf->fd));
	p->start_ms = now_ms(p);
	return p;
}

void progress_free(struct progress *p)
{
	if (!p)
		return;
	uint64_t now = now_ms(p);

	for (size_t i = 0; i < p->items.n; i++) {
		struct progress_item *it = p->items.v[i];

		if (it->state == RUNNING) {
			it->state = FAILED;
			it->end_ms = now;
		}
	}
	/* The last states are facts for who reads lines; a terminal is left as it was. */
	if (p->conf.mode == PROGRESS_JSON || now - p->start_ms >= PROGRESS_DELAY_MS)
		if (!p->terminal)
			show(p, now);
	progress_clear(p);
	for (size_t i = 0; i < p->items.n; i++) {
		free(p->items.v[i]->label);
		free(p->items.v[i]);
	}
	vec_done(&p->items);
	free(p);
}

/* --- items --- */

struct progress_item *progress_add(struct progress *p, const char *label, uint64_t total)
{
	struct progress_item *it = mem_alloc(sizeof(*it));

	*it = (struct progress_item){.owner = p,
				     .label = mem_strdup(label),
				     .total = total,
				     .start_ms = now_ms(p),
				     .written_done = UINT64_MAX};
	it->rate_ms = it->start_ms;
	vec_push(&p->items, it);
	progress_tick(p);
	return it;
}

/* An average that forgets: after t ms the old rate weighs 1/2^(t/RATE_HALF_MS), for which a
 * fraction is near enough. */
static void sample_rate(struct progress_item *it, uint64_t now)
{
	uint64_t ms = now - it->rate_ms;

	if (ms < PROGRESS_PERIOD_MS || it->done < it->rate_done)
		return;
	double latest = (double)(it->done - it->rate_done) * 1000 / (double)ms;
	double weight = (double)ms / (double)(ms + RATE_HALF_MS);

	it->rate = it->rate_done || it->rate > 0 ? it->rate + (latest - it->rate) * weight : latest;
	it->rate_ms = now;
	it->rate_done = it->done;
}

void progress_set(struct progress_item *it, uint64_t done, uint64_t total)
{
	it->done = done;
	it->total = total;
	sample_rate(it, now_ms(it->owner));
	progress_tick(it->owner);
}

void progress_finish(struct progress_item *it, bool ok)
{
	it->state = ok ? DONE : FAILED;
	it->end_ms = now_ms(it->owner);
	progress_tick(it->owner);
}
