#include "state/notice.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/mem.h"
#include "os/path.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

/* Reads of one drain; a watch that is told faster is drained further next time. */
#define DRAIN_MAX 64

int notice_open(struct notice *n, const char *path, struct err *e)
{
	n->path = mem_strdup(path);
	n->fd = path_open(AT_FDCWD, path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
	if (n->fd < 0) {
		int rc = n->fd;
		bool readonly = rc == -EROFS || rc == -EACCES || rc == -EPERM;

		return err_set(e,
			       readonly        ? ERR_STATE_READONLY
			       : rc == -ENOSPC ? ERR_STATE_FULL
					       : ERR_SYS,
			       readonly ? -EROFS : rc, "cannot open '%s': %s", path, strerror(-rc));
	}
	return 0;
}

void notice_done(struct notice *n)
{
	if (n->path && n->fd >= 0)
		close(n->fd);
	free(n->path);
	*n = (struct notice){.fd = -1};
}

int64_t notice_told(const struct notice *n)
{
	uint64_t told;

	return pread(n->fd, &told, sizeof(told), 0) == sizeof(told) ? (int64_t)le64toh(told) : 0;
}

void notice_tell(const struct notice *n, int64_t revision)
{
	uint64_t told = htole64((uint64_t)revision);

	if (pwrite(n->fd, &told, sizeof(told), 0) == sizeof(told))
		return;
	/* A full disk can refuse even to overwrite. A new time stamp is an event too. */
	if (futimens(n->fd, NULL) < 0)
		log_warn("Watches were not told of revision %lld: %s", (long long)revision,
			 strerror(errno));
}

int notice_watch(const struct notice *n, int *ret_fd, struct err *e)
{
	_close_ int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

	if (fd < 0)
		return err_sys(e, ERR_SYS, "cannot watch '%s'", n->path);
	int rc = path_watch(fd, n->path, IN_MODIFY | IN_ATTRIB);

	if (rc < 0)
		return err_set(e, ERR_SYS, rc, "cannot watch '%s': %s", n->path, strerror(-rc));
	*ret_fd = STEAL_FD(fd);
	return 0;
}

int notice_drain(const struct notice *n, int fd, struct err *e)
{
	char events[4096];
	struct stat st;
	int drained = 0;

	for (int i = 0; i < DRAIN_MAX; i++) {
		ssize_t len = read(fd, events, sizeof(events));

		if (len < 0 && errno == EAGAIN)
			break;
		if (len < 0 && errno != EINTR)
			return err_sys(e, ERR_SYS, "cannot watch '%s'", n->path);
		drained = 1;
	}
	if (drained && fstat(n->fd, &st) == 0 && st.st_nlink == 0)
		return err_set(e, ERR_STATE_CORRUPT, -EBADMSG,
			       "'%s' was removed under a running program; start it again", n->path);
	return drained;
}
