/* Every driver there is. In the order of probing among equals. */
#include "disk/driver.h"
#include "disk/filter.h"
#include "disk/host.h"
#include "disk/http.h"
#include "disk/luks_format.h"
#include "disk/nbd.h"
#include "disk/null.h"
#include "disk/qcow2.h"
#include "disk/vdi.h"
#include "disk/vhd.h"
#include "disk/vhdx.h"
#include "disk/vmdk.h"

/* clang-format off */
const struct disk_driver *const disk_drivers[] = {
	&disk_driver_host,
	&disk_driver_null,
	&disk_driver_raw,
	&disk_driver_qcow2,
	&disk_driver_vdi,
	&disk_driver_vmdk,
	&disk_driver_vhd,
	&disk_driver_vhdx,
	&disk_driver_luks,
	&disk_driver_nbd,
	&disk_driver_http,
	&disk_driver_https,
	&disk_driver_throttle,
	&disk_driver_copy_before_write,
	NULL,
};
/* clang-format on */
