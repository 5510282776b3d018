/* Driver of the format `luks`: a LUKS1 volume in a file. */
#ifndef DISK_LUKS_FORMAT_H
#define DISK_LUKS_FORMAT_H

#include "disk/driver.h"

extern const struct disk_driver disk_driver_luks;

#endif
