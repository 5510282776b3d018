/* Linux mounts EROFS from regular files since 6.12 (CONFIG_EROFS_FS_BACKED_BY_FILE); before that, and
 * where that is turned off, both files become loop devices, which go away with the mount. */
#include "image/layer_int.h"

#include "base/cleanup.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <linux/mount.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#define LOOP_TRIES 64 /* others may take the free device first */

static int refused(struct err *e, const char *what)
{
	return err_sys(e, ERR_LAYER_MOUNT, "the kernel refuses to mount a layer: %s", what);
}

static int set(int fs, unsigned command, const char *key, const char *value)
{
	return (int)syscall(SYS_fsconfig, fs, command, key, value, 0);
}

/* source and device: paths. -ENOTBLK: this kernel wants block devices. */
static int mount_from(const char *source, const char *device, struct err *e)
{
	_close_ int fs = (int)syscall(SYS_fsopen, "erofs", FSOPEN_CLOEXEC);

	if (fs < 0)
		return refused(e, "it has no EROFS");
	if (set(fs, FSCONFIG_SET_STRING, "source", source) ||
	    set(fs, FSCONFIG_SET_STRING, "device", device) ||
	    set(fs, FSCONFIG_SET_FLAG, "ro", NULL) || set(fs, FSCONFIG_CMD_CREATE, NULL, NULL))
		return refused(e, "its index");
	int fd = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY);

	return fd < 0 ? refused(e, "fsmount") : fd;
}

/* An open loop device over the file, which ends with its last user. */
static int loop_over(int fd, char path[static 32], struct err *e)
{
	struct loop_config c = {.fd = (uint32_t)fd,
				.block_size = 512,
				.info.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR};
	_close_ int control = path_open(AT_FDCWD, "/dev/loop-control", O_RDWR, 0);

	if (control < 0)
		return err_set(e, ERR_LAYER_MOUNT, control, "there are no loop devices here");
	for (int i = 0; i < LOOP_TRIES; i++) {
		int n = ioctl(control, LOOP_CTL_GET_FREE);

		if (n < 0)
			break;
		snprintf(path, 32, "/dev/loop%d", n);
		_close_ int loop = path_open(AT_FDCWD, path, O_RDONLY, 0);

		if (loop >= 0 && !ioctl(loop, LOOP_CONFIGURE, &c))
			return STEAL_FD(loop);
		if (loop >= 0 && errno != EBUSY)
			break;
	}
	return err_sys(e, ERR_LAYER_MOUNT, "cannot make a loop device");
}

static int mount_by_loop(int index_fd, int tar_fd, struct err *e)
{
	char index_path[32], tar_path[32];
	_close_ int index = loop_over(index_fd, index_path, e);
	_close_ int tar = index < 0 ? -1 : loop_over(tar_fd, tar_path, e);

	return index < 0 ? index : tar < 0 ? tar : mount_from(index_path, tar_path, e);
}

int mount_erofs(int index_fd, int tar_fd, struct err *e)
{
	char index_path[32], tar_path[32];

	snprintf(index_path, sizeof(index_path), "/proc/self/fd/%d", index_fd);
	snprintf(tar_path, sizeof(tar_path), "/proc/self/fd/%d", tar_fd);
	int fd = mount_from(index_path, tar_path, e);

	return fd == -ENOTBLK ? mount_by_loop(index_fd, tar_fd, e) : fd;
}
