#include "container/seccomp_int.h"

#include "base/cleanup.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

int seccomp_compile(const struct spec_seccomp *s, int cache_dirfd, struct seccomp_prog *ret,
		    struct err *e)
{
	_buf_ struct buf key = {0};

	if (cache_dirfd < 0)
		return seccomp_build(s, ret, e);
	seccomp_key(s, &key);
	if (seccomp_cache_get(cache_dirfd, &key, ret)) {
		ret->has_notify = seccomp_has_notify(s);
		return 0;
	}
	int rc = seccomp_build(s, ret, e);

	if (!rc)
		seccomp_cache_put(cache_dirfd, &key, ret);
	return rc;
}

void seccomp_prog_done(struct seccomp_prog *p)
{
	free(p->insns);
	*p = (struct seccomp_prog){0};
}

/* TSYNC is left out: the caller is single-threaded, and the flag would forbid a listener. */
int seccomp_prog_load(const struct spec_seccomp *s, const struct seccomp_prog *p, int *ret_listener,
		      struct err *e)
{
	struct sock_fprog prog = {p->count, p->insns};
	unsigned long flags = s->flags & (SECCOMP_FILTER_FLAG_LOG | SECCOMP_FILTER_FLAG_SPEC_ALLOW);

	if (p->has_notify)
		flags |= SECCOMP_FILTER_FLAG_NEW_LISTENER |
			 (s->flags & SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
	long rc = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);

	if (rc < 0)
		return err_sys(e, ERR_SECCOMP, "loading the system call filter (%u instructions)",
			       p->count);
	*ret_listener = p->has_notify ? (int)rc : -1;
	return 0;
}

int seccomp_send_listener(int sock, int listener, const char *state_json, struct err *e)
{
	struct iovec iov = {(void *)state_json, strlen(state_json)};
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = sizeof(control)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &listener, sizeof(int));
	while (iov.iov_len) {
		ssize_t n = sendmsg(sock, &msg, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, ERR_SECCOMP, "sending the listener to the seccomp agent");
		iov.iov_base = (char *)iov.iov_base + n;
		iov.iov_len -= (size_t)n;
		msg.msg_control = NULL; /* the fd goes with the first bytes only */
		msg.msg_controllen = 0;
	}
	return 0;
}
