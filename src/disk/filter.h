/* Filters: nodes that show what lies in their "file" and do something on the way.
 *
 * throttle: limits on operations and bytes per second: iops-total, iops-read, iops-write, bps-total,
 * bps-read, bps-write. A tenth of a second's worth may come at once; on average the limit is kept.
 *
 * copy-before-write: what a write is about to change is copied to "target" first, so that the target,
 * with "file" behind it, stays what the disk was when the filter was put there. on-cbw-error says who
 * loses where copying fails: break-guest-write (the write fails; default) or break-snapshot (the copy
 * is not made any more, and closing the node says so). */
#ifndef DISK_FILTER_H
#define DISK_FILTER_H

#include "disk/driver.h"

extern const struct disk_driver disk_driver_throttle;
extern const struct disk_driver disk_driver_copy_before_write;

#endif
