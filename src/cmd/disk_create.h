/* Making an image as `viv disk create` does, for the commands that make one too. */
#ifndef CMD_DISK_CREATE_H
#define CMD_DISK_CREATE_H

#include "base/buf.h"
#include "cmd/disk.h"
#include "disk/opts.h"

/* [waits] Checks opts (changed in place) and the backing file they name, says what is made, and makes
 * it. unsafe: the backing file need not exist. Returns 0, or 1 after the error has been printed. */
int disk_create_image(const struct tool *t, const struct disk_driver *drv, const char *filename,
		      json_t *opts, bool unsafe);

/* Adds " name=value" for each option that is given or has a default. */
void disk_create_show(struct buf *b, const struct disk_opt *table, const json_t *opts);

#endif
