/* Driver of VirtualBox disk images (VDI): dynamic and static, without a parent. */
#ifndef DISK_VDI_H
#define DISK_VDI_H

#include "disk/driver.h"

extern const struct disk_driver disk_driver_vdi;

#endif
