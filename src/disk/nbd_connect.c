/* The client's handshake (fixed newstyle): structured replies, the context base:allocation and the export's
 * facts are asked for, and gone without where the server has none. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/endian.h"
#include "base/mem.h"
#include "base/str.h"
#include "disk/nbd_client.h"
#include "disk/nbd_proto.h"
#include "disk/sock.h"

/* Replies to one option; a server that never stops is broken. */
#define REPLIES_MAX 4096u

struct hello {
	struct disk_ctx *ctx;
	int fd;
	bool no_zeroes;
	struct err *e;
};

struct answer {
	uint32_t type, len;
	uint8_t *data; /* NUL-terminated; owned by the hello's caller */
};

static int broken(struct err *e, const char *what)
{
	return err_set(e, ERR_PROTO, -EPROTO, "NBD server: %s", what);
}

static int lost(struct err *e, int rc)
{
	return err_set(e, ERR_DISK_IO, rc, "NBD connection lost in the handshake: %s",
		       strerror(-rc));
}

static int receive(struct hello *h, void *buf, size_t len)
{
	int rc = sock_read(h->ctx, h->fd, buf, len);

	return rc < 0 ? lost(h->e, rc) : 0;
}

static int send_option(struct hello *h, uint32_t option, const void *data, uint32_t len)
{
	uint8_t head[NBD_OPT_HEAD];
	struct iovec iov[] = {{head, sizeof(head)}, {(void *)data, len}};
	int rc;

	put_be64(head, NBD_OPT_MAGIC);
	put_be32(head + 8, option);
	put_be32(head + 12, len);
	rc = sock_writev(h->ctx, h->fd, iov, len ? 2 : 1, false);
	return rc < 0 ? lost(h->e, rc) : 0;
}

static int receive_answer(struct hello *h, uint32_t option, struct answer *a)
{
	uint8_t head[NBD_REP_HEAD];
	int rc = receive(h, head, sizeof(head));

	free(STEAL(a->data));
	if (rc < 0)
		return rc;
	if (get_be64(head) != NBD_REP_MAGIC || get_be32(head + 8) != option)
		return broken(h->e, "an option's reply is malformed");
	a->type = get_be32(head + 12);
	a->len = get_be32(head + 16);
	if (a->len > NBD_OPTION_MAX)
		return broken(h->e, "an option's reply is too long");
	a->data = mem_alloc(a->len + 1);
	return receive(h, a->data, a->len);
}

/* Any answer with the error bit: for a person. */
static int refused(struct hello *h, const struct answer *a, const char *what)
{
	const char *why = a->len                       ? (const char *)a->data
			  : a->type == NBD_REP_UNSUP   ? "it does not know that"
			  : a->type == NBD_REP_POLICY  ? "its policy forbids it"
			  : a->type == NBD_REP_UNKNOWN ? "it has no such export"
						       : "it gives no reason";

	if (a->type == NBD_REP_TLS_REQD)
		return err_set(h->e, ERR_UNSUPPORTED, -ENOTSUP,
			       "the NBD server wants TLS, which is not supported");
	return err_set(h->e, ERR_DISK_IO, -EINVAL, "the NBD server refused %s: %s", what, why);
}

static int greet(struct hello *h)
{
	uint8_t raw[18], flags[4];
	uint16_t theirs;
	int rc = receive(h, raw, sizeof(raw));

	if (rc < 0)
		return rc;
	if (get_be64(raw) != NBD_MAGIC)
		return broken(h->e, "it does not speak NBD");
	if (get_be64(raw + 8) == NBD_OLD_MAGIC)
		return err_set(
		    h->e, ERR_UNSUPPORTED, -ENOTSUP,
		    "the NBD server speaks the old style of the protocol, which is not supported");
	theirs = get_be16(raw + 16);
	if (get_be64(raw + 8) != NBD_OPT_MAGIC || !(theirs & NBD_FIXED))
		return broken(h->e, "it does not speak the fixed newstyle protocol");
	h->no_zeroes = theirs & NBD_NO_ZEROES;
	put_be32(flags, NBD_FIXED | (h->no_zeroes ? NBD_NO_ZEROES : 0));
	rc = sock_write(h->ctx, h->fd, flags, sizeof(flags));
	return rc < 0 ? lost(h->e, rc) : 0;
}

/* 1 where the server agrees. */
static int ask_structured(struct hello *h, struct answer *a)
{
	int rc = send_option(h, NBD_OPT_STRUCTURED_REPLY, NULL, 0);

	if (!rc)
		rc = receive_answer(h, NBD_OPT_STRUCTURED_REPLY, a);
	if (rc < 0)
		return rc;
	return a->type == NBD_REP_ACK;
}

static int ask_allocation(struct hello *h, const char *name, struct nbd_session *s,
			  struct answer *a)
{
	static const char context[] = "base:allocation";
	size_t n = strlen(name), len = 4 + n + 4 + 4 + sizeof(context) - 1;
	_free_ uint8_t *q = mem_alloc(len);
	int rc;

	put_be32(q, n);
	memcpy(q + 4, name, n);
	put_be32(q + 4 + n, 1);
	put_be32(q + 8 + n, sizeof(context) - 1);
	memcpy(q + 12 + n, context, sizeof(context) - 1);
	rc = send_option(h, NBD_OPT_SET_META_CONTEXT, q, len);
	for (unsigned i = 0; i < REPLIES_MAX && !rc; i++) {
		rc = receive_answer(h, NBD_OPT_SET_META_CONTEXT, a);
		if (rc < 0 || a->type != NBD_REP_META_CONTEXT)
			return rc; /* the end, or a server without */
		if (a->len < 4)
			return broken(h->e, "a context's reply is too short");
		if (str_eq((char *)a->data + 4, context)) {
			s->has_allocation = true;
			s->allocation_id = get_be32(a->data);
		}
	}
	return rc < 0 ? rc : broken(h->e, "its list of contexts does not end");
}

static int take_info(struct hello *h, struct nbd_session *s, const struct answer *a)
{
	uint16_t kind;

	if (a->len < 2)
		return broken(h->e, "an info reply is too short");
	kind = get_be16(a->data);
	if (kind == NBD_INFO_EXPORT) {
		if (a->len != 12)
			return broken(h->e, "an info reply has the wrong length");
		s->size = get_be64(a->data + 2);
		s->flags = get_be16(a->data + 10);
	} else if (kind == NBD_INFO_BLOCK_SIZE) {
		if (a->len != 14)
			return broken(h->e, "an info reply has the wrong length");
		s->min_block = get_be32(a->data + 2);
		s->preferred_block = get_be32(a->data + 6);
		s->max_block = get_be32(a->data + 10);
		if (!bits_is_pow2(s->min_block) || s->min_block > 65536 ||
		    s->max_block < s->min_block)
			return broken(h->e, "its block sizes are impossible");
	}
	return 0;
}

/* The older way, which has no errors: the server hangs up instead. */
static int export_name(struct hello *h, const char *name, struct nbd_session *s)
{
	uint8_t raw[10];
	int rc = send_option(h, NBD_OPT_EXPORT_NAME, name, strlen(name));

	if (!rc)
		rc = receive(h, raw, sizeof(raw));
	if (rc < 0)
		return rc;
	s->size = get_be64(raw);
	s->flags = get_be16(raw + 8);
	rc = h->no_zeroes ? 0 : sock_skip(h->ctx, h->fd, NBD_EXPORT_PAD);
	return rc < 0 ? lost(h->e, rc) : 0;
}

static int go(struct hello *h, uint32_t option, const char *name, struct nbd_session *s,
	      struct answer *a)
{
	size_t n = strlen(name), len = 4 + n + 2 + 2;
	_free_ uint8_t *q = mem_alloc(len);
	bool told = false;
	int rc;

	put_be32(q, n);
	memcpy(q + 4, name, n);
	put_be16(q + 4 + n, 1);
	put_be16(q + 6 + n, NBD_INFO_BLOCK_SIZE);
	rc = send_option(h, option, q, len);
	for (unsigned i = 0; i < REPLIES_MAX && !rc; i++) {
		rc = receive_answer(h, option, a);
		if (rc < 0)
			return rc;
		if (a->type == NBD_REP_ACK)
			return told ? 0 : broken(h->e, "it did not tell the export's size");
		if (a->type == NBD_REP_UNSUP && option == NBD_OPT_GO)
			return export_name(h, name, s);
		if (a->type & NBD_REP_ERROR)
			return refused(h, a, *name ? "the export" : "the default export");
		if (a->type == NBD_REP_INFO) {
			rc = take_info(h, s, a);
			told |= a->len == 12;
		}
	}
	return rc < 0 ? rc : broken(h->e, "its list of facts does not end");
}

static int handshake(struct hello *h, const struct nbd_target *t, struct nbd_session *s)
{
	struct answer a = {0};
	int rc = greet(h);

	if (!rc)
		rc = ask_structured(h, &a);
	if (rc > 0) {
		s->structured = true;
		rc = ask_allocation(h, t->name, s, &a);
	}
	if (!rc)
		rc = go(h, NBD_OPT_GO, t->name, s, &a);
	free(a.data);
	if (!rc && s->size > DISK_SIZE_MAX)
		rc = broken(h->e, "the export is larger than 8 EiB");
	return rc;
}

int nbd_connect(struct disk_ctx *ctx, const struct nbd_target *t, struct nbd_session *ret_session,
		struct err *e)
{
	struct nbd_session s = {0};
	struct hello h = {.ctx = ctx, .e = e};
	int rc;

	h.fd = s.fd = sock_connect(ctx, t->host, t->port, t->path, e);
	if (s.fd < 0)
		return s.fd;
	rc = handshake(&h, t, &s);
	if (rc < 0) {
		close(s.fd);
		return rc;
	}
	*ret_session = s;
	return 0;
}

/* --- list --- */

struct listing {
	nbd_list_fn *fn;
	void *arg;
};

static int list_one(struct hello *h, const char *name, const struct listing *l)
{
	struct nbd_session s = {0};
	struct answer a = {0};
	int rc = go(h, NBD_OPT_INFO, name, &s, &a);

	free(a.data);
	if (!rc)
		l->fn(l->arg, name, "", s.size, s.flags);
	return rc;
}

static int list_all(struct hello *h, const struct listing *l)
{
	struct answer a = {0};
	char **names = mem_array(REPLIES_MAX + 1, sizeof(*names));
	unsigned count = 0;
	int rc = greet(h);

	if (!rc)
		rc = send_option(h, NBD_OPT_LIST, NULL, 0);
	while (!rc) {
		rc = receive_answer(h, NBD_OPT_LIST, &a);
		if (rc < 0 || a.type == NBD_REP_ACK)
			break;
		if (a.type != NBD_REP_SERVER) {
			rc = refused(h, &a, "the list of its exports");
		} else if (a.len < 4 || get_be32(a.data) > a.len - 4 || count == REPLIES_MAX) {
			rc = broken(h->e, "its list of exports is malformed");
		} else {
			names[count++] = mem_strndup((char *)a.data + 4, get_be32(a.data));
		}
	}
	for (unsigned i = 0; i < count && !rc; i++)
		rc = list_one(h, names[i], l);
	if (!rc)
		rc = send_option(h, NBD_OPT_ABORT, NULL, 0);
	free(a.data);
	mem_strv_free(names);
	return rc;
}

int nbd_list(struct disk_ctx *ctx, json_t *o, nbd_list_fn *fn, void *arg, struct err *e)
{
	struct listing l = {fn, arg};
	struct hello h = {.ctx = ctx, .e = e};
	struct nbd_target t;
	int rc = nbd_take_target(o, &t, e);

	if (!rc)
		rc = h.fd = sock_connect(ctx, t.host, t.port, t.path, e);
	if (rc >= 0) {
		rc = list_all(&h, &l);
		close(h.fd);
	}
	nbd_target_done(&t);
	return rc < 0 ? rc : 0;
}
