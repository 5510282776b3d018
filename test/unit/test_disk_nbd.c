/* NBD: our client and our server together, our client with qemu-nbd and nbdkit, and names. Other clients
 * meet our server in test/system/disk-serve.bats. */
#include "diskbed.h"

#include <errno.h>
#include <sys/socket.h>

#include "disk/nbd.h"
#include "disk/nbd_client.h"
#include "disk/nbd_proto.h"
#include "disk/sock.h"

#define SIZE (3u << 20)

/* A raw disk behind a server of ours in this context. */
struct site {
	struct diskbed b; /* b.d: the client's view */
	struct disk *served;
	struct nbd_export export;
	struct co_group group;
	int fds[2];
	int result;
};

static void serve(void *arg)
{
	struct site *s = arg;

	s->result = nbd_serve(s->b.ctx, s->fds[1], &s->export);
	co_group_end(&s->group);
}

static void serve_fd(struct site *s)
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s->fds), 0);
	co_group_add(&s->group);
	co_spawn(s->b.ctx, serve, s);
}

struct listener {
	struct site *site;
	int fd, clients;
};

static void accept_clients(void *arg)
{
	struct listener *l = arg;

	while (l->clients--) {
		while (co_poll(l->site->b.ctx, l->fd, 1) < 0)
			;
		l->site->fds[1] = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
		l->site->result = nbd_serve(l->site->b.ctx, l->site->fds[1], &l->site->export);
	}
	close(l->fd);
	co_group_end(&l->site->group);
}

static void site_start(struct site *s)
{
	json_t *o = json_pack("{s:I}", "size", (json_int_t)SIZE);

	memset(s, 0, sizeof(*s));
	diskbed_start(&s->b, "raw");
	assert_ok(disk_create(s->b.ctx, disk_driver_find("raw"), s->b.path, o, 0, &s->b.e));
	json_decref(o);
	diskbed_open(&s->b, DISK_WRITE | DISK_UNMAP);
	s->served = s->b.d;
	s->b.d = NULL;
	s->b.size = SIZE;
	s->b.model = mem_array(SIZE, 1);
	s->export = (struct nbd_export){.disk = s->served, .name = "x", .size = SIZE};
}

static void site_end(struct site *s)
{
	assert_ok(disk_close(s->b.d));
	s->b.d = NULL;
	while (s->group.running)
		disk_ctx_wait(s->b.ctx);
	assert_ok(disk_close(s->served));
	diskbed_end(&s->b);
}

static void open_client(struct diskbed *b, const char *name, unsigned flags)
{
	json_t *o = json_pack("{s:s}", "driver", "nbd");

	if (disk_open(b->ctx, name, o, flags, &b->d, &b->e) < 0)
		fail_msg("%s", b->e.msg);
	json_decref(o);
}

static void steps(struct diskbed *b)
{
	for (int n = 0; n < 60; n++) {
		uint64_t offset = diskbed_random(b, SIZE - 200000);
		uint64_t len = 1 + diskbed_random(b, n % 5 ? 5000 : 200000);

		switch (diskbed_random(b, 6)) {
		case 0:
			diskbed_zero(b, offset, len);
			break;
		case 1:
			assert_ok(disk_flush(b->d));
			break;
		default:
			diskbed_write(b, offset, len);
		}
	}
	diskbed_compare(b);
	diskbed_status(b);
	assert_int_equal(disk_pread(b->d, SIZE - 1, b->model, 2), -EINVAL);
}

static void client_and_server(void **state)
{
	struct site s;
	struct listener l = {.site = &s, .clients = 1};

	site_start(&s);
	_free_ char *socket = mem_printf("%s/sock", s.b.dir.path);
	_free_ char *name = mem_printf("nbd+unix:///x?socket=%s", socket);

	l.fd = sock_listen(NULL, NULL, socket, &s.b.e);
	assert_ok(l.fd);
	co_group_add(&s.group);
	co_spawn(s.b.ctx, accept_clients, &l);
	open_client(&s.b, name, DISK_WRITE | DISK_UNMAP);
	assert_int_equal(disk_size(s.b.d), SIZE);
	steps(&s.b);
	site_end(&s);
	assert_int_equal(s.result, 0);
}

/* Many at once over one connection; replies come in any order. */
struct reader {
	struct site *s;
	uint64_t offset;
	bool good;
};

static void read_one(void *arg)
{
	struct reader *r = arg;
	uint8_t *buf = mem_alloc(40000);

	r->good = !disk_pread(r->s->b.d, r->offset, buf, 40000) &&
		  !memcmp(buf, r->s->b.model + r->offset, 40000);
	free(buf);
	co_group_end(&r->s->group);
}

static void many_at_once(void **state)
{
	struct site s;
	struct listener l = {.site = &s, .clients = 1};
	struct reader r[50];

	site_start(&s);
	_free_ char *socket = mem_printf("%s/sock", s.b.dir.path);
	_free_ char *name = mem_printf("nbd:unix:%s:exportname=x", socket);

	l.fd = sock_listen(NULL, NULL, socket, &s.b.e);
	co_group_add(&s.group);
	co_spawn(s.b.ctx, accept_clients, &l);
	open_client(&s.b, name, DISK_WRITE);
	diskbed_write(&s.b, 0, SIZE);
	for (int i = 0; i < 50; i++) {
		r[i] = (struct reader){&s, diskbed_random(&s.b, SIZE - 40000), false};
		co_group_add(&s.group);
		co_spawn(s.b.ctx, read_one, &r[i]);
	}
	while (s.group.running > 1)
		disk_ctx_wait(s.b.ctx);
	for (int i = 0; i < 50; i++)
		assert_true(r[i].good);
	site_end(&s);
}

/* What a client may send instead of the protocol. */
static void server_survives_nonsense(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		int result;
	} cases[] = {
	    {"", 0, 0},
	    {"\0\0\0\1", 4, 0},
	    {"\0\0\0\0", 4, -EBADMSG},
	    {"GET / HTTP/1.0\r\n\r\n", 18, -EBADMSG},
	    {"\0\0\0\3IHAVEOPT\0\0\0\7\xff\xff\xff\xff", 20, -EBADMSG},
	    {"\0\0\0\3IHAVEOPT\0\0\0\1\0\0\0\1y", 21, -EINVAL},
	    {"\0\0\0\3IHAVEOPT\0\0\0\7\0\0\0\2\xff\xff", 22, 0},
	    {"\0\0\0\3IHAVEOPT\0\0\0\1\0\0\0\1xjunkjunkjunkjunkjunkjunkjunkjunk", 53, -EBADMSG},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct site s;

		site_start(&s);
		serve_fd(&s);
		assert_int_equal(send(s.fds[0], cases[i].bytes, cases[i].len, 0), cases[i].len);
		shutdown(s.fds[0], SHUT_WR);
		while (s.group.running)
			disk_ctx_wait(s.b.ctx);
		close(s.fds[0]);
		assert_int_equal(s.result, cases[i].result);
		site_end(&s);
	}
}

/* Plays a server by bytes; the client must fail, and not hang or crash. */
static void client_survives_nonsense(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} cases[] = {
	    {"", 0},
	    {"HTTP/1.0 400 Bad Request\r\n\r\n", 28},
	    {"NBDMAGIC\0\0\x42\2\x81\x86\x12\x53\0\0", 18},
	    {"NBDMAGICIHAVEOPT\0\0", 18},
	    {"NBDMAGICIHAVEOPT\0\3\0\3\xe8\x89\x04\x55\x65\xa9\0\0\0\10\0\0\0\1\xff\xff\xff\xff",
	     38},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct diskbed b;
		json_t *o = json_pack("{s:s}", "driver", "nbd");

		diskbed_start(&b, "nbd");
		_free_ char *socket = mem_printf("%s/sock", b.dir.path);
		_free_ char *name = mem_printf("nbd+unix:///?socket=%s", socket);
		int fd = sock_listen(NULL, NULL, socket, &b.e);
		pid_t pid = fork();

		if (!pid) {
			int c = accept(fd, NULL, NULL);
			char buf[64];

			if (send(c, cases[i].bytes, cases[i].len, MSG_NOSIGNAL) < 0)
				_exit(1);
			shutdown(c, SHUT_WR);
			while (read(c, buf, sizeof(buf)) > 0)
				;
			_exit(0);
		}
		close(fd);
		assert_true(disk_open(b.ctx, name, o, 0, &b.d, &b.e) < 0);
		assert_true(*b.e.msg);
		json_decref(o);
		waitpid(pid, NULL, 0);
		diskbed_end(&b);
	}
}

static void talks_to(const char *start, const char *stop)
{
	struct diskbed b;

	diskbed_start(&b, "raw");
	b.size = SIZE;
	b.model = mem_array(SIZE, 1);
	for (size_t i = 0; i < SIZE; i++)
		b.model[i] = i >> 8;
	diskbed_save_model(&b);
	assert_int_equal(diskbed_run(&b, "%s", start), 0);
	_free_ char *name = mem_printf("nbd+unix:///?socket=%s/sock", b.dir.path);

	open_client(&b, name, DISK_WRITE | DISK_UNMAP);
	diskbed_compare(&b);
	steps(&b);
	assert_ok(disk_close(b.d));
	b.d = NULL;
	assert_int_equal(diskbed_run(&b, "%s", stop), 0);
	_buf_ struct buf now = {0};

	assert_ok(path_read(b.dir.fd, "model", &now, SIZE));
	assert_memory_equal(now.s, b.model, SIZE);
	diskbed_end(&b);
}

static void talks_to_qemu_nbd(void **state)
{
	if (!diskbed_has("qemu-nbd"))
		test_skip("needs qemu-nbd");
	talks_to("qemu-nbd -k \"$PWD/sock\" -t -f raw --fork --pid-file=pid model",
		 "kill $(cat pid); while kill -0 $(cat pid) 2>/dev/null; do sleep 0.05; done");
}

static void talks_to_nbdkit(void **state)
{
	if (!diskbed_has("nbdkit"))
		test_skip("needs nbdkit");
	talks_to("nbdkit -U \"$PWD/sock\" -P \"$PWD/pid\" file model",
		 "kill $(cat pid); while kill -0 $(cat pid) 2>/dev/null; do sleep 0.05; done");
}

static void reads_names(void **state)
{
	static const struct {
		const char *name, *options; /* NULL: refused */
	} cases[] = {
	    {"nbd://h", "{\"server\":{\"type\":\"inet\",\"host\":\"h\",\"port\":\"10809\"}}"},
	    {"nbd://h:1/e%20x",
	     "{\"export\":\"e x\",\"server\":{\"type\":\"inet\",\"host\":\"h\",\"port\":\"1\"}}"},
	    {"nbd://[::1]:7/", "{\"server\":{\"type\":\"inet\",\"host\":\"::1\",\"port\":\"7\"}}"},
	    {"nbd+unix:///e?socket=/a%2fb",
	     "{\"export\":\"e\",\"server\":{\"type\":\"unix\",\"path\":\"/a/b\"}}"},
	    {"nbd:h:1:exportname=e",
	     "{\"export\":\"e\",\"server\":{\"type\":\"inet\",\"host\":\"h\",\"port\":\"1\"}}"},
	    {"nbd:unix:/s", "{\"server\":{\"type\":\"unix\",\"path\":\"/s\"}}"},
	    {"nbd+unix:///e", NULL},
	    {"nbd:h", NULL},
	    {"nbd:unix:", NULL},
	    {"nbds://h", NULL},
	    {"nbd://[::1", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_t *o = json_object(), *want = NULL;
		struct err e = {0};
		int rc = nbd_parse_name(cases[i].name, o, &e);

		if (cases[i].options) {
			want = json_loads(cases[i].options, 0, NULL);
			assert_ok(rc);
			assert_true(json_equal(o, want));
		} else {
			assert_true(rc < 0 && *e.msg);
		}
		json_decref(want);
		json_decref(o);
	}
}

int main(void)
{
	return TEST_RUN("disk_nbd", cmocka_unit_test(client_and_server),
			cmocka_unit_test(many_at_once), cmocka_unit_test(server_survives_nonsense),
			cmocka_unit_test(client_survives_nonsense),
			cmocka_unit_test(talks_to_qemu_nbd), cmocka_unit_test(talks_to_nbdkit),
			cmocka_unit_test(reads_names));
}
