/* Files and block devices of the host (driver "file", with the aliases of QEMU's other names for
 * them), and the locks on them, which are QEMU's: byte-range locks of open file descriptions, one byte
 * per permission at 100 for what is used and at 200 for what others may not use. */
#ifndef DISK_HOST_H
#define DISK_HOST_H

#include "disk/driver.h"

enum disk_perm {
	DISK_PERM_CONSISTENT_READ = 1 << 0,
	DISK_PERM_WRITE = 1 << 1,
	DISK_PERM_WRITE_UNCHANGED = 1 << 2,
	DISK_PERM_RESIZE = 1 << 3,
	DISK_PERM_ALL = 15,
};

/* Takes the locks for perm and against what is not shared, or gives up those that are not needed any
 * more. On failure the locks are as before. name: for the message. */
int disk_host_lock(int fd, const char *name, unsigned old_perm, unsigned old_shared, unsigned perm,
		   unsigned shared, struct err *e);

extern const struct disk_driver disk_driver_host;
extern const struct disk_driver disk_driver_raw;

#endif
