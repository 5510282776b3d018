/* Progress of an operation of several parts, for whoever waits at stderr. It never fails what it
 * reports on and never appears for what is short: nothing is shown before PROGRESS_DELAY_MS, nor
 * more often than every PROGRESS_PERIOD_MS.
 *
 *	layer 3f2a   [=========>          ]  47%  12.1 MiB of 25.6 MiB  3.2 MiB/s  0:04
 *
 * Modes: `auto` draws such lines where fd is a terminal and is silent elsewhere; `plain` writes
 * a line per finished item and one every PROGRESS_PLAIN_MS for those under way; `json` writes an
 * object a line ({"item","done","total","state"}; total 0: unknown; state running, done or
 * failed; the last state of an item is always written). One thread; program-sized
 * allocations. */
#ifndef IO_PROGRESS_H
#define IO_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#define PROGRESS_DELAY_MS  300
#define PROGRESS_PERIOD_MS 100
#define PROGRESS_PLAIN_MS  5000

enum progress_mode { PROGRESS_AUTO, PROGRESS_PLAIN, PROGRESS_JSON, PROGRESS_NONE };

/* "auto", "plain", "json", "none"; -EINVAL. */
int progress_mode_parse(const char *text, enum progress_mode *ret_mode);

struct progress_conf {
	int fd; /* borrowed */
	enum progress_mode mode;
	/* For tests; 0 and NULL: the real ones. */
	bool assume_terminal;
	unsigned columns, rows;
	uint64_t (*now_ms)(void *arg);
	void *arg;
};

struct progress;
struct progress_item;

/* Returns owned. */
struct progress *progress_new(const struct progress_conf *conf);
/* Takes what was drawn off the terminal. Items that were not finished count as failed. */
void progress_free(struct progress *p);

/* A part of it, shown in the order of adding. total: 0 for unknown. Belongs to p. */
struct progress_item *progress_add(struct progress *p, const char *label, uint64_t total);
/* So much is done now; draws if it is time. */
void progress_set(struct progress_item *it, uint64_t done, uint64_t total);
void progress_finish(struct progress_item *it, bool ok);

/* Draws if it is time: for waits in which no item moves. */
void progress_tick(struct progress *p);
/* Takes the drawing off the terminal before something else is written there; the next tick draws
 * again. */
void progress_clear(struct progress *p);

#endif
