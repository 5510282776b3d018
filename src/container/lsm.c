/* Linux security modules: the label that the user's program gets at execve(2). Written through the
 * host's /proc, so that the container cannot catch the write (CVE-2019-16884 and its kin), and only
 * where procfs really is behind it. */
#include "container/start.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>

bool lsm_selinux_enabled(void)
{
	return path_exists(AT_FDCWD, "/sys/fs/selinux/enforce");
}

static bool apparmor_enabled(int proc_fd)
{
	char answer[8];

	/* Without /sys (we have pivoted) the attribute file still tells. */
	if (path_read_line(AT_FDCWD, "/sys/module/apparmor/parameters/enabled", answer,
			   sizeof(answer)) > 0)
		return answer[0] == 'Y';
	return path_exists(proc_fd, "self/attr/apparmor/exec");
}

static int write_attr(const struct start *s, const char *file, const char *text)
{
	_close_ int fd = path_open(s->proc_fd, file, O_WRONLY, 0);

	if (fd < 0)
		return fd;
	if (!fd_is_fs(fd, PROC_SUPER_MAGIC))
		return -EBADF;
	return fd_write_all(fd, text, strlen(text));
}

int lsm_exec_label(const struct start *s, struct err *e)
{
	const char *profile = s->process->apparmor_profile, *label = s->process->selinux_label;

	if (profile && *profile) {
		_buf_ struct buf text = {0};

		if (!apparmor_enabled(s->proc_fd))
			return err_set(e, ERR_UNSUPPORTED, -ENOTSUP,
				       "apparmorProfile '%s': this host has no AppArmor", profile);
		buf_addf(&text, "exec %s", profile);
		int rc = write_attr(s, "self/attr/apparmor/exec", text.s);

		if (rc == -ENOENT) /* before Linux 5.8 */
			rc = write_attr(s, "self/attr/exec", text.s);
		if (rc)
			return err_set(e, ERR_SPEC_VALUE, rc, "apparmorProfile '%s': %s", profile,
				       rc == -ENOENT ? "the profile is not loaded" : strerror(-rc));
	}
	if (label && *label) {
		int rc = write_attr(s, "self/attr/exec", label);

		if (rc)
			return err_set(e, rc == -EINVAL ? ERR_UNSUPPORTED : ERR_SPEC_VALUE, rc,
				       "selinuxLabel '%s': %s", label,
				       rc == -EINVAL ? "this host has no SELinux, or no such label"
						     : strerror(-rc));
	}
	return 0;
}
