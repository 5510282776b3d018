/* The commands of viv-runtime, runc's by name, argument and exit status; src/cmd/runtime.c has
 * their table. */
#ifndef CMD_RUNTIME_H
#define CMD_RUNTIME_H

#include "base/err.h"
#include "cmd/cli.h"
#include "container/container.h"

/* The state directory that --root names (or the default), as an fd; an error has been printed where
 * it is negative. */
int runtime_root(struct cli *c, bool create);

/* Reports through the log (--log, --log-format) and on stderr, as runc does; returns the exit
 * status. */
int runtime_fail(struct cli *c, const struct err *e, int status);

int runtime_create(struct cli *c);
int runtime_run(struct cli *c);
int runtime_start(struct cli *c);
int runtime_exec(struct cli *c);
int runtime_state(struct cli *c);
int runtime_list(struct cli *c);
int runtime_kill(struct cli *c);
int runtime_delete(struct cli *c);
int runtime_spec(struct cli *c);
int runtime_features(struct cli *c);
int runtime_update(struct cli *c);
int runtime_events(struct cli *c);
int runtime_pause(struct cli *c);
int runtime_resume(struct cli *c);
int runtime_ps(struct cli *c);

#endif
