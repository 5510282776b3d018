/* A disk of nothing (null-co): writes are forgotten, reads give zeroes. For measuring what lies above it,
 * and as a source or target that costs nothing. */
#ifndef DISK_NULL_H
#define DISK_NULL_H

#include "disk/driver.h"

extern const struct disk_driver disk_driver_null;

#endif
