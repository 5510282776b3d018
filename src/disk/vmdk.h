/* Driver of VMware's disk images (VMDK): monolithicSparse, monolithicFlat, twoGbMaxExtentSparse,
 * twoGbMaxExtentFlat, streamOptimized; also vmfs and custom descriptors of flat extents. */
#ifndef DISK_VMDK_H
#define DISK_VMDK_H

#include "disk/driver.h"

extern const struct disk_driver disk_driver_vmdk;

#endif
