/* Every driver there is. In the order of probing among equals. */
#include "disk/driver.h"
#include "disk/host.h"

const struct disk_driver *const disk_drivers[] = {
    &disk_driver_host,
    &disk_driver_raw,
    NULL,
};
