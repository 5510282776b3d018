/* Messages with file descriptors between our own processes, over a connected SOCK_STREAM UNIX
 * socket. The wire format is doc/format/ipc.md. The peer is not trusted: a frame that breaks the
 * format is -EPROTO, the connection is closed then and there, and no descriptor that came along
 * stays open.
 *
 * Two parts: struct ipc_parser turns bytes and descriptors, however they were cut, into messages
 * and knows no socket; struct ipc_conn is a socket with a parser and a queue of what the peer
 * has not taken yet. Neither blocks, except the two functions that say so. One thread. Functions
 * return 0 or more, else a negative errno. */
#ifndef IO_IPC_H
#define IO_IPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/list.h"

#define IPC_MAGIC       0x31564956u /* "VIV1": its last byte is the version */
#define IPC_HEADER_LEN  16
#define IPC_PAYLOAD_MAX (1u << 20)
#define IPC_FDS_MAX     16         /* of one message */
#define IPC_QUEUE_MAX   (8u << 20) /* bytes that wait for a peer that does not read */

struct ipc_msg {
	uint16_t type;    /* the user's */
	uint32_t id;      /* the user's; an answer repeats that of its question */
	const void *data; /* the parser's: until the next call with it */
	size_t len;
	int fds[IPC_FDS_MAX]; /* owned: take by STEAL_FD; ipc_msg_done() closes the others */
	unsigned fd_count;
};

void ipc_msg_done(struct ipc_msg *m);
#define _ipc_msg_ __attribute__((cleanup(ipc_msg_done)))

/* --- the parser --- */

struct ipc_parser {
	unsigned char *buf; /* [start, end) is not parsed yet */
	size_t start, end, cap;
	int fds[2 * IPC_FDS_MAX]; /* arrived, not yet claimed by a frame */
	unsigned fd_count;
	bool broken;
};

/* Starts as {0}. */
void ipc_parser_done(struct ipc_parser *p);
/* Adds what arrived together. Takes the fds, on failure too. -EPROTO, -ENOMEM. */
int ipc_parser_add(struct ipc_parser *p, const void *data, size_t len, const int *fds,
		   size_t fd_count);
/* 1: *ret_msg is the next message; 0: it is not complete yet; -EPROTO, for ever. */
int ipc_parser_next(struct ipc_parser *p, struct ipc_msg *ret_msg);
/* Closes what is unclaimed and refuses everything from now on; a message's data stays readable.
 * Returns -EPROTO. */
int ipc_parser_break(struct ipc_parser *p);
/* Lies between two messages: an end here is a clean one. */
bool ipc_parser_idle(const struct ipc_parser *p);

/* --- a connection --- */

struct ipc_conn { /* does not move once initialised */
	int fd;   /* owned; -1 after a failure */
	struct ipc_parser in;
	struct list out;
	size_t out_bytes;
};

/* Takes fd. */
void ipc_init(struct ipc_conn *c, int fd);
void ipc_done(struct ipc_conn *c);

/* Sends, or queues what the peer does not take now. Borrows the fds: they may be closed on return.
 * -EMSGSIZE: beyond the bounds above; -ENOBUFS: the queue is full, nothing was sent; -EPIPE. */
int ipc_send(struct ipc_conn *c, uint16_t type, uint32_t id, const void *data, size_t len,
	     const int *fds, size_t fd_count);
/* Sends what is queued. 0: nothing is left; 1: wait for EPOLLOUT. */
int ipc_flush(struct ipc_conn *c);
/* EPOLLIN, with EPOLLOUT while something is queued. */
uint32_t ipc_events(const struct ipc_conn *c);
/* 1: *ret_msg is a message; 0: none now, wait for EPOLLIN; -EPIPE: the peer has closed; -EPROTO.
 * Before waiting, call it until it returns 0: what it has read ahead raises no event. */
int ipc_recv(struct ipc_conn *c, struct ipc_msg *ret_msg);

/* Blocking, for programs without a loop: everything queued is sent; a message is received.
 * -ETIMEDOUT. timeout_ms -1: none. */
int ipc_flush_wait(struct ipc_conn *c, int timeout_ms);
int ipc_recv_wait(struct ipc_conn *c, struct ipc_msg *ret_msg, int timeout_ms);

/* Says in *e what an rc of the functions above means; peer: "the keeper of 'web'". Returns rc. */
int ipc_err(struct err *e, int rc, const char *peer);

/* Who is at the other end: pid, uid, gid as of its connect(2) or listen(2). */
int ipc_peer(int fd, struct ucred *ret_cred);

/* A socket in the directory, O_NONBLOCK, for the owner alone (mode 0600). The length of the
 * directory's path does not matter. A socket that nobody listens on any more is replaced;
 * -EADDRINUSE where somebody does. Returns the fd. */
int ipc_listen(int dirfd, const char *name, struct err *e);
/* The next connection, O_CLOEXEC; -EAGAIN where none waits. */
int ipc_accept(int listen_fd);
int ipc_connect(int dirfd, const char *name, struct err *e);

#endif
