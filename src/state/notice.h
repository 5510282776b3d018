/* Telling other processes that something was committed: a file of 8 bytes, little-endian, that
 * holds the newest revision told. Writing it wakes whoever watches it by inotify(7); what happened
 * they read from the store. Whoever opens the store and finds the file behind tells it again, so
 * that a committer's death in between leaves no watch asleep for longer than until the next
 * command. */
#ifndef STATE_NOTICE_H
#define STATE_NOTICE_H

#include <stdint.h>

#include "base/err.h"

struct notice {
	int fd;
	char *path;
};

/* Creates the file if need be. notice_done() also after failure. */
int notice_open(struct notice *n, const char *path, struct err *e);
void notice_done(struct notice *n);

/* The revision told last; 0 where none was. */
int64_t notice_told(const struct notice *n);
/* Failing here fails nothing: the change is committed. */
void notice_tell(const struct notice *n, int64_t revision);

/* A new inotify fd that becomes readable when another revision is told. */
int notice_watch(const struct notice *n, int *ret_fd, struct err *e);
/* Makes it unreadable: 1 if it was readable, 0 if not. */
int notice_drain(const struct notice *n, int fd, struct err *e);

#endif
