#include "container/seccomp_int.h"
#include "os/fdpass.h"

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
	int rc = fdpass_send(sock, listener, state_json, strlen(state_json));

	return rc ? err_set(e, ERR_SECCOMP, rc, "sending the listener to the seccomp agent: %s",
			    strerror(-rc))
		  : 0;
}
