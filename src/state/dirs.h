/* Where state lives: "State" in ARCHITECTURE.md. root has /var/lib/viv and /run/viv, everybody else
 * the XDG base directories. Nothing is created here. */
#ifndef STATE_DIRS_H
#define STATE_DIRS_H

#include "base/err.h"

/* For what outlives a boot. Returns owned in *ret. */
int dirs_data(char **ret, struct err *e);
/* For sockets and the like. Where an ordinary user has no run-time directory (no login session) it
 * is inside the data directory: still the user's own, and what a former boot left there is known by
 * its boot id. Returns owned in *ret. */
int dirs_run(char **ret, struct err *e);

#endif
