#include "os/proc.h"
#include "base/cleanup.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

int proc_stat(pid_t pid, uint64_t *ret_start, char *ret_state)
{
	char path[64], line[1024];

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	int n = path_read_line(AT_FDCWD, path, line, sizeof(line));

	if (n < 0)
		return n == -ENOENT ? -ESRCH : n;
	/* The name in parentheses may hold anything, ")" included: count fields from the last one.
	 */
	const char *p = strrchr(line, ')');
	char state;
	uint64_t start;

	if (!p || sscanf(p + 1,
			 " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d "
			 "%*d %" SCNu64,
			 &state, &start) != 2)
		return -EBADMSG;
	*ret_start = start;
	*ret_state = state;
	return 0;
}

bool proc_alive(pid_t pid, uint64_t start)
{
	uint64_t now;
	char state;

	return pid > 0 && proc_stat(pid, &now, &state) == 0 && now == start && state != 'Z' &&
	       state != 'X';
}

int proc_pidfd(pid_t pid, uint64_t start)
{
	if (pid <= 0)
		return -ESRCH;
	_close_ int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	if (fd < 0)
		return -errno;
	/* The fd pins the process; if the start time still matches, it is ours. */
	return proc_alive(pid, start) ? STEAL_FD(fd) : -ESRCH;
}

int proc_wait_pidfd(int pidfd, int timeout_ms)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	for (;;) {
		int n = poll(&p, 1, timeout_ms);

		if (n > 0)
			return 0;
		if (n == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

bool proc_in_userns(void)
{
	char line[64];

	/* The initial namespace maps every id (user_namespaces(7)). */
	return path_read_line(AT_FDCWD, "/proc/self/uid_map", line, sizeof(line)) > 0 &&
	       !strstr(line, "4294967295");
}
