/* How `viv disk` prints what programs may compare with qemu-img's output of 7.2: JSON in QEMU's
 * layout and order of members, sizes as people read them, lists of snapshots, trees of facts. Text
 * goes into buffers. */
#ifndef CMD_DISK_PRINT_H
#define CMD_DISK_PRINT_H

#include "base/buf.h"
#include "disk/disk.h"

#include <jansson.h>

/* A JSON value as QEMU lays it out, four columns to a level, starting at `indent`; no newline at the
 * end. Members stand in QEMU's order where they are known, else after those, as they are. */
void disk_print_json(struct buf *b, const json_t *value, unsigned indent);

/* An object as lines "name: value", nested ones indented further; dashes of names become spaces. */
void disk_print_tree(struct buf *b, const json_t *object, unsigned indent);

/* "64 MiB": three digits that matter. */
void disk_print_size(struct buf *b, uint64_t bytes);

/* The table of qemu-img snapshot -l, with its head. */
void disk_print_snapshots(struct buf *b, const struct disk_snapshot *list, int count);

/* QAPI's SnapshotInfo. Returns a new reference. */
json_t *disk_snapshot_json(const struct disk_snapshot *s);

#endif
