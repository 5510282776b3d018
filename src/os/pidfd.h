/* Processes held by descriptor: what is signalled or reaped is the process that was meant, never
 * one that got its pid later. Functions return 0 or an fd, else a negative errno. */
#ifndef OS_PIDFD_H
#define OS_PIDFD_H

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <sys/syscall.h>
#include <unistd.h>

/* O_CLOEXEC. The pid must be one that cannot be reused meanwhile: an unreaped child's, or one
 * that proc_pidfd() checks. */
static inline int pidfd_of(pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	return fd < 0 ? -errno : fd;
}

static inline int pidfd_kill(int pidfd, int signo)
{
	return syscall(SYS_pidfd_send_signal, pidfd, signo, NULL, 0) < 0 ? -errno : 0;
}

/* Reaps a child that has ended. -EAGAIN while it runs, -ECHILD where it is not ours or gone
 * already. */
static inline int pidfd_reap(int pidfd, siginfo_t *ret_info)
{
	siginfo_t info = {0};

	if (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG) < 0)
		return -errno;
	if (!info.si_pid)
		return -EAGAIN;
	*ret_info = info;
	return 0;
}

#endif
