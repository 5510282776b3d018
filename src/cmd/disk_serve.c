/* viv disk serve: an image as an NBD export, with qemu-nbd's options. One thread: a coroutine waits for
 * clients, one serves each. It ends with its last client, or, with --persistent, by a signal. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/disk.h"
#include "disk/driver.h"
#include "disk/nbd.h"
#include "disk/nbd_proto.h"
#include "disk/sock.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENTS_MAX 1024u

struct server {
	struct tool *tool;
	struct nbd_export export;
	int listen_fd;
	unsigned max; /* clients at once */
	bool persistent, verbose, stopping;
	unsigned count;
	int fds[CLIENTS_MAX]; /* of clients; -1: free */
	struct co_queue left; /* waits for a client to leave */
	struct co_group group;
};

/* --- signals --- */

static int stop_fd = -1;

static void on_signal(int sig)
{
	uint64_t one = 1;
	ssize_t n = write(stop_fd, &one, sizeof(one));

	(void)n; /* a full counter says the same */
}

static void catch_signals(void)
{
	struct sigaction a = {.sa_handler = on_signal};

	sigaction(SIGTERM, &a, NULL);
	sigaction(SIGINT, &a, NULL);
	sigaction(SIGHUP, &a, NULL);
}

/* --- clients --- */

static void stop(struct server *s)
{
	uint64_t one = 1;

	if (s->stopping)
		return;
	s->stopping = true;
	shutdown(s->listen_fd, SHUT_RDWR);
	if (write(stop_fd, &one, sizeof(one)) < 0)
		s->stopping = true; /* it is set: the waiter wakes anyhow */
	for (unsigned i = 0; i < s->max; i++)
		if (s->fds[i] >= 0)
			shutdown(s->fds[i], SHUT_RDWR);
	co_queue_wake_all(&s->left);
}

struct seat {
	struct server *server;
	unsigned i;
};

static void serve_client(void *arg)
{
	struct seat seat = *(struct seat *)arg;
	struct server *s = seat.server;
	int rc = nbd_serve(s->tool->ctx, s->fds[seat.i], &s->export);

	free(arg);
	if (rc < 0 && s->verbose)
		tool_warn(s->tool, "a client broke off: %s", strerror(-rc));
	s->fds[seat.i] = -1;
	s->count--;
	co_queue_wake_all(&s->left);
	if (!s->count && !s->persistent)
		stop(s);
	co_group_end(&s->group);
}

static void start_client(struct server *s, int fd)
{
	struct seat *seat = mem_alloc(sizeof(*seat));

	seat->server = s;
	while (s->fds[seat->i] >= 0)
		seat->i++;
	s->fds[seat->i] = fd;
	s->count++;
	co_group_add(&s->group);
	co_spawn(s->tool->ctx, serve_client, seat);
}

static void accept_clients(void *arg)
{
	struct server *s = arg;

	while (!s->stopping) {
		if (s->count == s->max) {
			co_queue_wait(&s->left);
			continue;
		}
		if (co_poll(s->tool->ctx, s->listen_fd, POLLIN) < 0 || s->stopping)
			continue;
		int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0)
			start_client(s, fd);
	}
	co_group_end(&s->group);
}

static void wait_for_signal(void *arg)
{
	struct server *s = arg;

	while (!s->stopping) {
		uint64_t n;

		co_poll(s->tool->ctx, stop_fd, POLLIN);
		if (read(stop_fd, &n, sizeof(n)) == sizeof(n))
			stop(s);
	}
	co_group_end(&s->group);
}

static void run_server(struct server *s)
{
	co_group_add(&s->group);
	co_spawn(s->tool->ctx, wait_for_signal, s);
	co_group_add(&s->group);
	co_spawn(s->tool->ctx, accept_clients, s);
	while (s->group.running)
		disk_ctx_wait(s->tool->ctx);
}

/* --- going to the background --- */

/* Written to once the server listens; -1: in the foreground. */
static int ready_fd = -1;

static int tell_ready(const struct tool *t)
{
	const char *file = cli_string(t->cli, "pid-file");
	char text[32];
	int rc;

	snprintf(text, sizeof(text), "%d\n", getpid());
	if (file) {
		rc = path_replace(AT_FDCWD, file, text, strlen(text), 0644, false);
		if (rc < 0)
			return tool_error(t, "Failed to store PID in file '%s': %s", file,
					  strerror(-rc));
	}
	if (ready_fd < 0)
		return 0;
	int null = path_open(AT_FDCWD, "/dev/null", O_RDWR, 0);

	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0)
		return tool_error(t, "cannot leave the terminal");
	if (null > 2)
		close(null);
	if (write(ready_fd, "", 1) != 1)
		return 1;
	close(STEAL_FD(ready_fd));
	return 0;
}

/* Returns in the child; the parent ends when that listens, or with its failure. */
static void go_to_background(void)
{
	int fds[2], status;
	char c;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) || (pid = fork()) < 0) {
		perror("Failed to fork");
		_exit(1);
	}
	if (!pid) {
		close(fds[0]);
		ready_fd = fds[1];
		setsid();
		return;
	}
	close(fds[1]);
	/* A byte: it serves. The end without one: it has failed, and said why. */
	status = read(fds[0], &c, 1) == 1 ? 0 : 1;
	_exit(status);
}

/* --- the command --- */

static int open_image(struct server *s, unsigned flags, struct disk **ret)
{
	struct cli *c = s->tool->cli;
	const char *snapshot = cli_string(c, "load-snapshot"), *name;
	struct err e = {0};
	struct disk *d = tool_open(s->tool, cli_argv(c)[0], cli_bool(c, "image-opts"),
				   cli_string(c, "format"), flags);
	int rc = 0;

	if (!d)
		return 1;
	if (snapshot) {
		name = str_after(snapshot, "snapshot.name=");
		if (!name)
			name = str_after(snapshot, "snapshot.id=");
		rc = disk_snapshot_show(d, name ? name : snapshot, &e);
		if (rc < 0)
			tool_fail(s->tool, &e);
	}
	if (rc < 0) {
		disk_close(d);
		return 1;
	}
	*ret = d;
	return 0;
}

static int take_export(struct server *s, struct disk *d)
{
	struct cli *c = s->tool->cli;
	const char *offset = cli_string(c, "offset");
	const char *name = cli_string(c, "export-name");

	s->export.disk = d;
	s->export.name = name ? name : "";
	s->export.description = cli_string(c, "description");
	s->export.readonly = !disk_writable(d);
	s->export.shared = s->max > 1;
	s->export.allocation_depth = cli_bool(c, "allocation-depth");
	s->export.bitmap = cli_string(c, "bitmap");
	if (offset && !tool_size(s->tool, "offset", offset, 0, disk_size(d), &s->export.offset))
		return 1;
	s->export.size = disk_size(d) - s->export.offset;
	if (strlen(s->export.name) > NBD_NAME_MAX)
		return tool_error(s->tool, "export name too long");
	return 0;
}

/* Is there such a bitmap? Its context would fail only when a client asks. */
static int check_bitmap(const struct server *s)
{
	uint64_t offset, len;
	int rc;

	if (!s->export.bitmap)
		return 0;
	rc = disk_bitmap_next(s->export.disk, s->export.bitmap, 0, 1, &offset, &len);
	if (rc >= 0)
		return 0;
	return tool_error(s->tool, "Bitmap '%s' is not found", s->export.bitmap);
}

static int serve(struct server *s, struct disk *d)
{
	struct cli *c = s->tool->cli;
	const char *path = cli_string(c, "socket"), *port = cli_string(c, "port");
	struct err e = {0};
	int status = take_export(s, d);

	if (!status)
		status = check_bitmap(s);
	if (status)
		return status;
	s->listen_fd = sock_listen(cli_string(c, "bind"), port ? port : NBD_PORT, path, &e);
	if (s->listen_fd < 0)
		return tool_fail(s->tool, &e);
	fcntl(s->listen_fd, F_SETFL, O_NONBLOCK);
	stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	catch_signals();
	status = tell_ready(s->tool);
	if (!status)
		run_server(s);
	close(s->listen_fd);
	close(stop_fd);
	if (path)
		path_unlink(AT_FDCWD, path);
	return status;
}

static int run_image(struct tool *t)
{
	struct cli *c = t->cli;
	const char *cache = cli_string(c, "cache"), *discard = cli_string(c, "discard");
	bool readonly = cli_bool(c, "read-only") || cli_string(c, "load-snapshot");
	unsigned flags = readonly ? 0 : DISK_WRITE;
	struct server *s = mem_alloc(sizeof(*s));
	uint64_t max = 1;
	struct disk *d;
	int status = 1;

	s->tool = t;
	s->persistent = cli_bool(c, "persistent");
	s->verbose = cli_bool(c, "verbose");
	if (cli_bool(c, "nocache"))
		flags |= DISK_DIRECT;
	if (cache && !tool_cache(cache, &flags))
		tool_error(t, "Invalid cache mode `%s'", cache);
	else if (discard && !str_eq(discard, "unmap") && !str_eq(discard, "on") &&
		 !str_eq(discard, "ignore") && !str_eq(discard, "off"))
		tool_error(t, "Invalid discard mode `%s'", discard);
	else if (cli_string(c, "shared") &&
		 (str_to_u64(cli_string(c, "shared"), &max) < 0 || max > CLIENTS_MAX))
		tool_error(t, "Invalid shared device number '%s'", cli_string(c, "shared"));
	else
		status = 0;
	if (discard && (str_eq(discard, "unmap") || str_eq(discard, "on")))
		flags |= DISK_UNMAP;
	s->max = max ? max : CLIENTS_MAX; /* 0: no limit of the user's */
	memset(s->fds, 0xff, sizeof(s->fds));
	if (!status)
		status = open_image(s, flags, &d);
	if (!status) {
		status = serve(s, d);
		if (tool_close(t, d))
			status = 1;
	}
	free(s);
	return status;
}

/* --- --list --- */

static void print_export(void *arg, const char *name, const char *description, uint64_t size,
			 unsigned flags)
{
	static const char *const names[] = {NULL,         "readonly", "flush",  "fua",
					    "rotational", "trim",     "zeroes", "df",
					    "multi",      "resize",   "cache",  "fast-zero"};

	printf(" export: '%s'\n", name);
	printf("  size:  %" PRIu64 "\n", size);
	printf("  flags: 0x%x (", flags);
	for (unsigned i = 1; i < ARRAY_SIZE(names); i++)
		if (flags & 1u << i)
			printf(" %s", names[i]);
	printf(" )\n");
}

static int run_list(struct tool *t)
{
	struct cli *c = t->cli;
	const char *path = cli_string(c, "socket"), *host = cli_string(c, "bind");
	const char *port = cli_string(c, "port");
	json_t *o = json_object();
	struct err e = {0};
	int rc;

	if (path) {
		json_object_set_new(o, "path", json_string(path));
	} else {
		json_object_set_new(o, "host", json_string(host ? host : "localhost"));
		json_object_set_new(o, "port", json_string(port ? port : NBD_PORT));
	}
	rc = nbd_list(t->ctx, o, print_export, NULL, &e);
	json_decref(o);
	return rc < 0 ? tool_fail(t, &e) : 0;
}

int disk_cmd_serve(struct cli *c)
{
	if (cli_bool(c, "list"))
		return cli_argc(c) ? tool_usage(c, "List mode is incompatible with a file name")
				   : tool_run(c, run_list);
	if (cli_argc(c) != 1)
		return tool_usage(c, "Expecting one image file name");
	if (cli_string(c, "tls-creds"))
		return tool_usage(c, "NBD over TLS is not supported");
	/* Before threads and rings exist, which a fork would not take along. */
	if (cli_bool(c, "fork"))
		go_to_background();
	return tool_run(c, run_image);
}
