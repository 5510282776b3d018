/* Stream sockets in coroutines: whole messages in and out. Sockets are non-blocking. */
#ifndef DISK_SOCK_H
#define DISK_SOCK_H

#include <stddef.h>
#include <sys/uio.h>

#include "base/err.h"
#include "disk/co.h"

/* [waits] Connects to host and port (NULL host: localhost), or to the UNIX socket at path. An fd. */
int sock_connect(struct disk_ctx *ctx, const char *host, const char *port, const char *path,
		 struct err *e);
/* Listens there; host NULL: every address. An fd. */
int sock_listen(const char *host, const char *port, const char *path, struct err *e);

/* [waits] All len bytes, or a negative errno; -ECONNRESET where the stream ends before. */
int sock_read(struct disk_ctx *ctx, int fd, void *buf, size_t len);
/* [waits] Reads and forgets. */
int sock_skip(struct disk_ctx *ctx, int fd, size_t len);
/* [waits] All bytes of all pieces; iov is used up. more: another write follows at once. */
int sock_writev(struct disk_ctx *ctx, int fd, struct iovec *iov, int count, bool more);
int sock_write(struct disk_ctx *ctx, int fd, const void *buf, size_t len);

#endif
