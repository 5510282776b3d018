/* What the commands share that speak with registries. */
#ifndef CMD_REGISTRY_H
#define CMD_REGISTRY_H

#include "cmd/cli.h"
#include "image/registry.h"
#include "io/progress.h"

int cmd_login(struct cli *c);
int cmd_logout(struct cli *c);
int cmd_pull(struct cli *c);
int cmd_push(struct cli *c);
int cmd_search(struct cli *c);

/* A client, with the registries that --insecure names. Returns owned in *ret. */
int registry_of(const struct cli *c, struct registry **ret, struct err *e);
/* Progress on standard error, as --progress and the settings want it; it moves while r waits. Returns
 * owned. */
struct progress *registry_progress(const struct cli *c, struct registry *r);
void registry_progress_free(struct registry *r, struct progress *p);
/* The registry that a person may write as "https://quay.io/v2/" or "index.docker.io"; NULL:
 * docker.io. Returns owned. */
char *registry_name(const char *text);

#endif
