/* Errors that a person will read: a negative errno for the caller, a stable code for `viv explain`,
 * and a message that gathers context on its way up. `struct err` lives on the caller's stack, holds
 * no pointers and works when memory is gone. It is not a log and never prints itself: one layer
 * (cmd, keeper, serve) does.
 *
 * A function that may fail takes `struct err *e` last, returns 0 or a negative errno, and leaves
 * its out-parameters untouched on failure. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stddef.h>

#define ERR_MSG_MAX 768

/* One row per stable code; base/err_codes.h is the one place that knows them. */
enum err_code {
#define ERR_CODE(sym, name, status, summary, cause, cure) ERR_##sym,
#include "base/err_codes.h"
#undef ERR_CODE
	ERR_COUNT
};

struct err {
	int rc;             /* negative errno; 0 while nothing failed */
	enum err_code code; /* what `viv explain` explains */
	char msg[ERR_MSG_MAX];
};

struct err_info {
	const char *name;    /* "CT-EXISTS" */
	int status;          /* exit status of commands with our own exit codes (not of links) */
	const char *summary; /* one line */
	const char *cause;   /* a sentence or more */
	const char *cure;    /* what to do */
};

/* Sets code, message and rc. rc: negative errno. Returns rc, so that callers write `return
 * err_set(…)`. The message says what failed and why; it names things in '…' and has no full stop. e
 * may be NULL. */
int err_set(struct err *e, enum err_code code, int rc, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* As err_set with rc = -errno as it stands, and ": strerror" added to the message. */
int err_sys(struct err *e, enum err_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts context before the message: "container 'web': " + what was there. Returns e->rc. */
int err_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Facts about a code; never NULL. */
const struct err_info *err_info(enum err_code code);

/* Finds a code by its name, any case; NULL where there is none. */
const struct err_info *err_info_by_name(const char *name);

#endif
