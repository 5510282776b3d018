/* Driver of Hyper-V's disk images (VHDX): dynamic and fixed, with log replay. Differencing images are
 * refused by name. */
#ifndef DISK_VHDX_H
#define DISK_VHDX_H

#include "disk/driver.h"

extern const struct disk_driver disk_driver_vhdx;

#endif
