/* One descriptor over a UNIX stream socket (unix(7), SCM_RIGHTS), with bytes that say what it is. Frames of several belong
 * to io/ipc.h. */
#ifndef OS_FDPASS_H
#define OS_FDPASS_H

#include <stddef.h>

/* Sends all of data (len > 0 bytes), the descriptor with its first byte. 0 or a negative errno; no SIGPIPE. */
int fdpass_send(int sock, int fd, const void *data, size_t len);

/* Receives what has arrived already, at most size bytes, which are dropped. Returns the descriptor, O_CLOEXEC, or a negative
 * errno: -EAGAIN nothing there, -EPROTO not exactly one descriptor. */
int fdpass_receive(int sock);

#endif
