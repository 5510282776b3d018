/* The commands of viv-cli: one handler per file, listed in main.c. */
#ifndef CMD_COMMANDS_H
#define CMD_COMMANDS_H

#include "cmd/cli.h"

int cmd_completion(struct cli *c);
int cmd_doctor(struct cli *c);
int cmd_explain(struct cli *c);
int cmd_info(struct cli *c);
int cmd_settings(struct cli *c);
int cmd_settings_get(struct cli *c);
int cmd_settings_set(struct cli *c);
int cmd_settings_unset(struct cli *c);
int cmd_status(struct cli *c); /* bare `viv` */
int cmd_version(struct cli *c);

#endif
