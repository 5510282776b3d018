#include "os/probe.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/path.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>

extern char **environ;

/* Runs f(arg) in a child and returns what it returned (0 or a negative errno), -ECHILD where it
 * died of something. */
static int in_child(int (*f)(void *arg), void *arg)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		return -errno;
	if (!pid)
		_exit(-f(arg));
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -ECHILD;
}

/* The call was made with arguments that the kernel refuses: any other errno than ENOSYS and EPERM
 * shows that it is there (EPERM is what a seccomp filter of a container says instead). */
static int known(long rc)
{
	return rc < 0 && (errno == ENOSYS || errno == EPERM) ? -errno : 0;
}

int probe_clone3(void)
{
	return known(syscall(SYS_clone3, NULL, 0));
}

int probe_mount_setattr(void)
{
	return known(syscall(SYS_mount_setattr, -1, "", AT_EMPTY_PATH, NULL, 0));
}

int probe_close_range(void)
{
	return known(syscall(SYS_close_range, ~0u, 0, 0));
}

int probe_openat2(void)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT};
	_close_ int fd = (int)syscall(SYS_openat2, AT_FDCWD, "/", &how, sizeof(how));

	return fd < 0 ? -errno : 0;
}

/* fsopen checks the caller's rights first, so an ordinary user asks from a namespace of its own. */
static int try_fsopen(void *type)
{
	if (geteuid() && unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		return -errno;
	_close_ int fd = (int)syscall(SYS_fsopen, (const char *)type, FSOPEN_CLOEXEC);

	return fd < 0 ? -errno : 0;
}

int probe_new_mount(void)
{
	char type[] = "tmpfs";

	return in_child(try_fsopen, type);
}

int probe_fs(const char *type)
{
	_buf_ struct buf list = {0};
	_free_ char *line = mem_printf("\t%s\n", type);
	_free_ char *name = mem_strdup(type);
	int rc = path_read(AT_FDCWD, "/proc/filesystems", &list, PATH_READ_MAX);

	if (rc >= 0 && strstr(list.s, line))
		return 0;
	rc = in_child(try_fsopen, name);
	return rc == -EPERM || rc == -ENOSYS ? -ENODEV : rc;
}

int probe_pidfd(void)
{
	_close_ int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	siginfo_t info;

	if (fd < 0)
		return -errno;
	/* We are no child of ours: ECHILD is the answer of a kernel that knows P_PIDFD. */
	return waitid(P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG) < 0 && errno != ECHILD ? -errno
											  : 0;
}

/* The bytes are no program, so the attempt always fails: with ENOEXEC after every permission has
 * been checked. */
int probe_memfd_exec(void)
{
	_close_ int fd = fd_memfd_sealed("probe", "no program", 10);
	char name[] = "probe", *argv[] = {name, NULL};

	if (fd < 0)
		return fd;
	fexecve(fd, argv, environ);
	return errno == ENOEXEC ? 0 : -errno;
}

static int write_map(pid_t pid, const char *file, unsigned id)
{
	_free_ char *path = mem_printf("/proc/%d/%s", (int)pid, file);
	_free_ char *line = mem_printf("0 %u 1\n", id);

	return path_write(AT_FDCWD, path, line, strlen(line));
}

static int new_userns(void *arg)
{
	unsigned uid = geteuid();

	if (unshare(CLONE_NEWUSER) < 0)
		return -errno;
	int rc = write_map(getpid(), "uid_map", uid);

	return rc < 0 ? rc : 0;
}

int probe_userns(void)
{
	return in_child(new_userns, NULL);
}

/* The fd of a user namespace that maps id 0 to 1; the process that made it is gone afterwards. */
static int make_userns(void)
{
	int gate[2];

	if (pipe2(gate, O_CLOEXEC) < 0)
		return -errno;
	pid_t pid = fork();

	if (!pid) {
		char ch = unshare(CLONE_NEWUSER) < 0 ? 'n' : 'y';
		ssize_t n = write(gate[1], &ch, 1);

		while (n == 1)
			pause();
		_exit(1);
	}
	char answer = 'n';
	ssize_t n = pid < 0 ? -1 : read(gate[0], &answer, 1);
	int fd = -EPERM;

	close(gate[0]);
	close(gate[1]);
	if (n == 1 && answer == 'y' && write_map(pid, "uid_map", 1) >= 0 &&
	    write_map(pid, "gid_map", 1) >= 0) {
		_free_ char *path = mem_printf("/proc/%d/ns/user", (int)pid);

		fd = path_open(AT_FDCWD, path, O_RDONLY, 0);
	}
	if (pid > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	return fd;
}

int probe_idmapped_mount(const char *path)
{
	_close_ int userns = make_userns();

	if (userns < 0)
		return userns;
	_close_ int tree =
	    (int)syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (tree < 0)
		return -errno;
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (unsigned)userns};

	return syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0 ? -errno
											    : 0;
}

int probe_landlock(void)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	return abi < 0 ? 0 : (int)abi;
}

int probe_seccomp(void)
{
	unsigned action = SECCOMP_RET_USER_NOTIF;

	return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) < 0 ? -errno : 0;
}
