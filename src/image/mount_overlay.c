/* Overlay by fsopen(2). Directories are named by /proc/self/fd/N, one by one with "lowerdir+" (Linux
 * 6.5), before that in one string, of which fsconfig(2) takes 255 bytes. */
#include "image/layer_int.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <sys/syscall.h>

#define FSCONFIG_STRING_MAX 255u

static int refused(struct err *e, const char *what)
{
	return err_sys(e, ERR_LAYER_MOUNT, "the kernel refuses to join layers: %s", what);
}

static int set(int fs, unsigned command, const char *key, const char *value)
{
	return (int)syscall(SYS_fsconfig, fs, command, key, value, 0);
}

static int set_fd(int fs, const char *key, int fd)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return set(fs, FSCONFIG_SET_STRING, key, path);
}

int mount_tmpfs(struct err *e)
{
	_close_ int fs = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);

	if (fs < 0 || set(fs, FSCONFIG_CMD_CREATE, NULL, NULL))
		return refused(e, "tmpfs");
	int fd = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, 0);

	return fd < 0 ? refused(e, "tmpfs") : fd;
}

static int set_lower(int fs, const int *lower, size_t count, struct err *e)
{
	size_t done = 0;

	while (done < count && !set_fd(fs, "lowerdir+", lower[done]))
		done++;
	if (done == count)
		return 0;
	if (done || errno != EINVAL)
		return refused(e, "lowerdir+");
	_buf_ struct buf all = {0};

	for (size_t i = 0; i < count; i++)
		buf_addf(&all, "%s/proc/self/fd/%d", i ? ":" : "", lower[i]);
	if (all.len > FSCONFIG_STRING_MAX)
		return err_set(e, ERR_LAYER_MOUNT, -E2BIG,
			       "this kernel joins fewer than %zu layers; Linux 6.5 takes more",
			       count);
	return set(fs, FSCONFIG_SET_STRING, "lowerdir", all.s) ? refused(e, "lowerdir") : 0;
}

/* No redirects and no metadata alone: what is changed lies in upper whole, so that it can become a
 * layer; and a layer that brings a redirect is not followed. */
static int set_options(int fs, bool user_xattrs, struct err *e)
{
	static const char *const options[][2] = {
	    {"redirect_dir", "nofollow"}, {"metacopy", "off"}, {"index", "off"}};

	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if (set(fs, FSCONFIG_SET_STRING, options[i][0], options[i][1]))
			return refused(e, options[i][0]);
	return user_xattrs && set(fs, FSCONFIG_SET_FLAG, "userxattr", NULL)
		   ? refused(e, "userxattr")
		   : 0;
}

int mount_overlay(const int *lower, size_t count, int upper, int work, bool user_xattrs,
		  struct err *e)
{
	_close_ int fs = (int)syscall(SYS_fsopen, "overlay", FSOPEN_CLOEXEC);
	int rc;

	if (fs < 0)
		return refused(e, "it has no overlay");
	set(fs, FSCONFIG_SET_STRING, "source", "viv-image"); /* only a name in /proc/mounts */
	if ((rc = set_lower(fs, lower, count, e)) || (rc = set_options(fs, user_xattrs, e)))
		return rc;
	if (upper >= 0 && (set_fd(fs, "upperdir", upper) || set_fd(fs, "workdir", work)))
		return refused(e, "the upper directory");
	if (set(fs, FSCONFIG_CMD_CREATE, NULL, NULL))
		return refused(e, "overlay");
	int fd = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, upper < 0 ? MOUNT_ATTR_RDONLY : 0);

	return fd < 0 ? refused(e, "fsmount") : fd;
}
