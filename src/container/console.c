/* The container's terminal: a pty of its own devpts, whose master goes to whoever asked for it over
 * a UNIX socket (runc's --console-socket protocol: one message, the slave's name as data, the
 * master as SCM_RIGHTS). The slave is opened through the master (TIOCGPTPEER), never by name, so
 * the container cannot hand us another terminal. */
#include "container/start.h"
#include "base/cleanup.h"
#include "os/fdpass.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

int console_send(int sock, int master, struct err *e)
{
	char name[64];
	unsigned number;

	if (ioctl(master, TIOCGPTN, &number) < 0)
		return err_sys(e, ERR_SYS, "terminal");
	int len = snprintf(name, sizeof(name), "/dev/pts/%u", number);
	int rc = fdpass_send(sock, master, name, (size_t)len);

	return rc ? err_set(e, ERR_SYS, rc, "console socket: %s", strerror(-rc)) : 0;
}

/* rootfd: the root in which /dev/ptmx is looked up. */
static int open_master(int rootfd, struct err *e)
{
	_close_ int path = root_open(rootfd, "/dev/ptmx", O_PATH);
	struct stat st;

	if (path < 0)
		return err_set(e, ERR_CT_MOUNT, path,
			       "/dev/ptmx: %s (does the container mount devpts?)", strerror(-path));
	/* 5:2 is ptmx; anything else is a trick of the image. */
	if (fstat(path, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(5, 2))
		return err_set(e, ERR_CT_MOUNT, -ENODEV,
			       "/dev/ptmx is not the terminal multiplexer");
	int fd = root_open(rootfd, "/dev/ptmx", O_RDWR | O_NOCTTY);

	if (fd < 0)
		return err_set(e, ERR_CT_MOUNT, fd, "/dev/ptmx: %s", strerror(-fd));
	if (fstat(fd, &st) < 0 || st.st_rdev != makedev(5, 2)) {
		close(fd);
		return err_set(e, ERR_CT_MOUNT, -ENODEV, "/dev/ptmx changed while it was opened");
	}
	return fd;
}

static int bind_slave(int rootfd, int slave, struct err *e)
{
	_close_ int target = root_mkfile(rootfd, "/dev/console", 0666);
	_close_ int tree =
	    target < 0 ? target
		       : open_tree(slave, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	int rc = target < 0 ? target : tree < 0 ? -errno : mount_attach(tree, target);

	return rc ? err_set(e, ERR_CT_MOUNT, rc, "/dev/console: %s", strerror(-rc)) : 0;
}

/* What an attached container prints must not grow carriage returns on its way into a file or pipe.
 */
static void leave_line_ends(int slave)
{
	struct termios t;

	if (tcgetattr(slave, &t))
		return;
	t.c_oflag &= ~(tcflag_t)ONLCR;
	tcsetattr(slave, TCSANOW, &t);
}

int console_setup(struct start *s, int rootfd, bool bind_console, struct err *e)
{
	const struct spec_process *p = s->process;

	if (!p->terminal)
		return 0;
	_close_ int master = open_master(rootfd, e);
	int unlock = 0;

	if (master < 0)
		return master;
	if (ioctl(master, TIOCSPTLCK, &unlock) < 0)
		return err_sys(e, ERR_SYS, "terminal cannot be unlocked");
	_close_ int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (slave < 0)
		return err_sys(e, ERR_SYS, "terminal");
	if (p->console_height || p->console_width) {
		struct winsize ws = {.ws_row = (unsigned short)p->console_height,
				     .ws_col = (unsigned short)p->console_width};

		ioctl(master, TIOCSWINSZ, &ws);
	}
	if (s->master_sock >= 0)
		leave_line_ends(slave);
	int rc = bind_console ? bind_slave(rootfd, slave, e) : 0;

	if (!rc)
		rc = console_send(s->console_sock, master, e);
	if (rc)
		return rc;
	if (ioctl(slave, TIOCSCTTY, 0) < 0)
		return err_sys(e, ERR_SYS, "controlling terminal");
	for (int fd = 0; fd < 3; fd++)
		if (dup2(slave, fd) < 0)
			return err_sys(e, ERR_SYS, "terminal as standard stream");
	return 0;
}

/* The user must be able to reopen /proc/self/fd/1: stdio belongs to the process's user, as under
 * runc. */
int console_fix_stdio_owner(const struct start *s, struct err *e)
{
	struct stat null_st, st;

	if (path_stat(s->proc_fd, "../dev/null", &null_st) < 0)
		null_st.st_rdev = makedev(1, 3);
	for (int fd = 0; fd < 3; fd++) {
		if (fstat(fd, &st) < 0)
			continue; /* closed by the caller: stays closed */
		if (S_ISCHR(st.st_mode) && st.st_rdev == null_st.st_rdev)
			continue;
		if (st.st_uid == s->process->user.uid)
			continue;
		/* EINVAL: owner not mapped here; EPERM: no right; EROFS: a read-only file. None
		 * keeps it from working. */
		if (fchown(fd, s->process->user.uid, (gid_t)-1) < 0 && errno != EINVAL &&
		    errno != EPERM && errno != EROFS)
			return err_sys(e, ERR_SYS, "owner of standard stream %d", fd);
	}
	return 0;
}
