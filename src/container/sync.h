/* How the runtime (parent) and the container's init (child) talk while the container is made: a
 * SOCK_SEQPACKET pair, one message per packet, no fds. The child asks, the parent acts and answers
 * SYNC_GO; either may send SYNC_ERROR, which ends the start. The child's end is O_CLOEXEC: end of
 * file after the last message is how the parent learns that execve(2) succeeded, so a plain `run`
 * needs no round trip at all. */
#ifndef CONTAINER_SYNC_H
#define CONTAINER_SYNC_H

#include "base/err.h"

enum sync_type {
	SYNC_EOF,      /* never sent: the other side closed */
	SYNC_ERROR,    /* carries a struct err */
	SYNC_CGROUP,   /* make the systemd scope around the asker, an intermediate; answered */
	SYNC_PID,      /* value: pid of the init that an intermediate process made */
	SYNC_MAPS,     /* write the id maps of the asker; answered */
	SYNC_LIMITS,   /* apply what only the outer user namespace may: rlimits; answered */
	SYNC_HOOKS,    /* namespaces exist, root not pivoted: prestart, createRuntime; answered */
	SYNC_LISTENER, /* value: fd number of the seccomp listener in the child; answered */
	SYNC_READY,    /* everything is done but the start */
	SYNC_GO,       /* the parent's answer */
};

struct sync_msg {
	enum sync_type type;
	int value;
	struct err err;
};

int sync_pair(int fds[2], struct err *e);
int sync_send(int fd, enum sync_type type, int value, struct err *e);
/* Sends what failed; best effort, because there is nobody else to tell. */
void sync_send_err(int fd, const struct err *failure);
/* Receives one message. 0 with SYNC_EOF where the other side is gone; SYNC_ERROR is returned as a
 * message. */
int sync_recv(int fd, struct sync_msg *ret, struct err *e);
/* The child's half of a question: sends, waits for SYNC_GO. */
int sync_ask(int fd, enum sync_type type, int value, struct err *e);
/* Waits for SYNC_GO. */
int sync_wait_go(int fd, struct err *e);

#endif
