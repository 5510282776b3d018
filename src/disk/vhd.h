/* Driver of Virtual Hard Disks, "vpc": fixed, dynamic and differencing. */
#ifndef DISK_VHD_H
#define DISK_VHD_H

#include "disk/driver.h"

extern const struct disk_driver disk_driver_vhd;

#endif
