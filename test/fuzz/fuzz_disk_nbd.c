/* Both sides of NBD. The first byte chooses: the rest is what a client sends to our server, or what a
 * server sends to our client. */
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"
#include "disk/driver.h"
#include "disk/nbd.h"
#include "disk/sock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DISK_BYTES (1u << 20)
#define INPUT_MAX  (64u << 10) /* fits into a socket's buffer */

struct peer {
	struct disk_ctx *ctx;
	const struct nbd_export *export;
	int fd;
	const uint8_t *data;
	size_t size;
	struct co_group group;
};

static void serve(void *arg)
{
	struct peer *p = arg;

	nbd_serve(p->ctx, p->fd, p->export);
	co_group_end(&p->group);
}

/* Takes what the server answers, or its socket would fill. */
static void drain(void *arg)
{
	struct peer *p = arg;
	uint8_t buf[4096];

	while (!sock_read(p->ctx, p->fd, buf, 1))
		while (recv(p->fd, buf, sizeof(buf), MSG_DONTWAIT) > 0)
			;
	co_group_end(&p->group);
}

static void to_server(struct disk_ctx *ctx, const struct nbd_export *x, const uint8_t *data,
		      size_t size)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
		abort();
	struct peer server = {.ctx = ctx, .export = x, .fd = fds[1]};
	struct peer client = {.ctx = ctx, .fd = fds[0]};

	if (send(fds[0], data, size, MSG_DONTWAIT) < 0 && size)
		abort();
	shutdown(fds[0], SHUT_WR);
	co_group_add(&server.group);
	co_spawn(ctx, serve, &server);
	co_group_add(&client.group);
	co_spawn(ctx, drain, &client);
	while (server.group.running || client.group.running)
		disk_ctx_wait(ctx);
	close(fds[0]);
}

static void play_server(void *arg)
{
	struct peer *p = arg;
	uint8_t buf[4096];
	int fd;

	co_poll(p->ctx, p->fd, POLLIN);
	fd = accept4(p->fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0) {
		sock_write(p->ctx, fd, p->data, p->size);
		shutdown(fd, SHUT_WR);
		while (!sock_read(p->ctx, fd, buf, 1))
			;
		close(fd);
	}
	co_group_end(&p->group);
}

static void to_client(struct disk_ctx *ctx, const uint8_t *data, size_t size)
{
	static uint8_t buf[8000];
	char path[64], name[128];
	json_t *o = json_pack("{s:s}", "driver", "nbd");
	struct err e = {0};
	struct disk *d;
	struct disk_extent x;

	snprintf(path, sizeof(path), "/tmp/fuzz-nbd.%d", getpid());
	snprintf(name, sizeof(name), "nbd+unix:///x?socket=%s", path);
	struct peer p = {
	    .ctx = ctx, .data = data, .size = size, .fd = sock_listen(NULL, NULL, path, &e)};

	if (p.fd < 0)
		abort();
	co_group_add(&p.group);
	co_spawn(ctx, play_server, &p);
	if (!disk_open(ctx, name, o, 0, &d, &e)) {
		disk_pread(d, 0, buf, disk_size(d) < sizeof(buf) ? disk_size(d) : sizeof(buf));
		disk_block_status(d, 0, disk_size(d), true, &x);
		disk_flush(d);
		disk_close(d);
	} else if (!*e.msg) {
		abort();
	}
	while (p.group.running)
		disk_ctx_wait(ctx);
	close(p.fd);
	unlink(path);
	json_decref(o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct disk_ctx *ctx;
	static struct nbd_export x;

	if (!ctx) {
		struct disk_ctx_options co = {.inline_writes = true};
		json_t *o = json_pack("{s:s,s:i,s:b}", "driver", "null-co", "size", (int)DISK_BYTES,
				      "read-zeroes", 1);
		struct disk *d;

		if (disk_ctx_new(&co, &ctx, NULL) < 0 ||
		    disk_open(ctx, NULL, o, DISK_WRITE, &d, NULL) < 0)
			abort();
		json_decref(o);
		x = (struct nbd_export){.disk = d,
					.name = "x",
					.description = "d",
					.size = DISK_BYTES,
					.allocation_depth = true};
	}
	if (!size || size > INPUT_MAX)
		return 0;
	if (*data & 1)
		to_client(ctx, data + 1, size - 1);
	else
		to_server(ctx, &x, data + 1, size - 1);
	return 0;
}
