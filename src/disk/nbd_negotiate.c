/* The server's handshake (fixed newstyle). The client's options are bounded in number and length. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/endian.h"
#include "base/mem.h"
#include "base/str.h"
#include "disk/nbd_server.h"
#include "disk/sock.h"

#define OPTIONS_MAX 1000u

struct option {
	uint32_t number, len;
	uint8_t *data; /* NUL-terminated; owned */
};

unsigned nbd_export_flags(const struct nbd_client *c)
{
	unsigned flags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_CACHE;

	if (c->structured)
		flags |= NBD_FLAG_SEND_DF;
	if (c->export->shared)
		flags |= NBD_FLAG_CAN_MULTI_CONN;
	if (c->export->readonly)
		return flags | NBD_FLAG_READ_ONLY | NBD_FLAG_SEND_FLUSH;
	return flags | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA | NBD_FLAG_SEND_TRIM |
	       NBD_FLAG_SEND_WRITE_ZEROES | NBD_FLAG_SEND_FAST_ZERO;
}

static int reply(struct nbd_client *c, uint32_t option, uint32_t type, const void *data, size_t len)
{
	uint8_t head[NBD_REP_HEAD];
	struct iovec iov[] = {{head, sizeof(head)}, {(void *)data, len}};

	put_be64(head, NBD_REP_MAGIC);
	put_be32(head + 8, option);
	put_be32(head + 12, type);
	put_be32(head + 16, len);
	return sock_writev(c->ctx, c->fd, iov, len ? 2 : 1, false);
}

static int reply_error(struct nbd_client *c, uint32_t option, uint32_t type, const char *why)
{
	return reply(c, option, type, why, strlen(why));
}

/* --- names in options --- */

/* A string with its length before it; NULL where it is not whole. *at moves behind it. Owned. */
static char *take_string(const struct option *o, size_t *at)
{
	size_t left = o->len - *at, n;
	char *s;

	if (left < 4)
		return NULL;
	n = get_be32(o->data + *at);
	if (n > left - 4 || n > NBD_NAME_MAX)
		return NULL;
	s = mem_strndup((char *)o->data + *at + 4, n);
	*at += 4 + n;
	return s;
}

static bool is_ours(const struct nbd_client *c, const char *name)
{
	return str_eq(name, c->export->name);
}

/* --- NBD_OPT_INFO, NBD_OPT_GO --- */

static int tell_export(struct nbd_client *c, uint32_t option)
{
	uint8_t raw[14];
	int rc;

	put_be16(raw, NBD_INFO_EXPORT);
	put_be64(raw + 2, c->export->size);
	put_be16(raw + 10, nbd_export_flags(c));
	rc = reply(c, option, NBD_REP_INFO, raw, 12);
	if (rc < 0)
		return rc;
	put_be16(raw, NBD_INFO_BLOCK_SIZE);
	put_be32(raw + 2, 1);
	put_be32(raw + 6, 4096);
	put_be32(raw + 10, NBD_DATA_MAX);
	return reply(c, option, NBD_REP_INFO, raw, 14);
}

static int tell_text(struct nbd_client *c, uint32_t option, uint16_t kind, const char *text)
{
	size_t n = strlen(text);
	_free_ uint8_t *raw = mem_alloc(2 + n);

	put_be16(raw, kind);
	memcpy(raw + 2, text, n);
	return reply(c, option, NBD_REP_INFO, raw, 2 + n);
}

/* 1 where a client may go on with the export. */
static int info(struct nbd_client *c, const struct option *o)
{
	size_t at = 0;
	_free_ char *name = take_string(o, &at);
	unsigned wanted = 0;
	int rc;

	if (!name || o->len - at < 2 || o->len - at - 2 != get_be16(o->data + at) * 2u)
		return reply_error(c, o->number, NBD_REP_INVALID, "malformed request");
	if (!is_ours(c, name))
		return reply_error(c, o->number, NBD_REP_UNKNOWN, "export not present");
	for (at += 2; at < o->len; at += 2)
		wanted |= get_be16(o->data + at) < 32 ? 1u << get_be16(o->data + at) : 0;
	rc = tell_export(c, o->number);
	if (!rc && wanted & 1u << NBD_INFO_NAME)
		rc = tell_text(c, o->number, NBD_INFO_NAME, c->export->name);
	if (!rc && wanted & 1u << NBD_INFO_DESCRIPTION && c->export->description)
		rc = tell_text(c, o->number, NBD_INFO_DESCRIPTION, c->export->description);
	if (!rc)
		rc = reply(c, o->number, NBD_REP_ACK, NULL, 0);
	return rc < 0 ? rc : o->number == NBD_OPT_GO;
}

/* NBD_OPT_EXPORT_NAME, which cannot fail: the server hangs up. */
static int export_name(struct nbd_client *c, const struct option *o)
{
	uint8_t raw[10 + NBD_EXPORT_PAD] = {0};
	int rc;

	if (!is_ours(c, (char *)o->data))
		return -EINVAL;
	put_be64(raw, c->export->size);
	put_be16(raw + 8, nbd_export_flags(c));
	rc = sock_write(c->ctx, c->fd, raw, c->no_zeroes ? 10 : sizeof(raw));
	return rc < 0 ? rc : 1;
}

static int list(struct nbd_client *c, const struct option *o)
{
	const char *text = c->export->description ? c->export->description : "";
	size_t n = strlen(c->export->name), m = strlen(text);
	_free_ uint8_t *raw = mem_alloc(4 + n + m);
	int rc;

	if (o->len)
		return reply_error(c, o->number, NBD_REP_INVALID, "malformed request");
	put_be32(raw, n);
	memcpy(raw + 4, c->export->name, n);
	memcpy(raw + 4 + n, text, m);
	rc = reply(c, o->number, NBD_REP_SERVER, raw, 4 + n + m);
	return rc < 0 ? rc : reply(c, o->number, NBD_REP_ACK, NULL, 0);
}

/* --- metadata contexts --- */

/* The name of a context, where this export has it. Owned, or NULL. */
static char *context_name(const struct nbd_client *c, enum nbd_context i)
{
	if (i == NBD_CTX_ALLOCATION)
		return mem_strdup("base:allocation");
	if (i == NBD_CTX_DEPTH)
		return c->export->allocation_depth ? mem_strdup("qemu:allocation-depth") : NULL;
	return c->export->bitmap ? mem_printf("qemu:dirty-bitmap:%s", c->export->bitmap) : NULL;
}

/* Does a query name it? To list, also "base:", "qemu:" and "qemu:dirty-bitmap:" do. */
static bool matches(const char *query, const char *name, bool listing)
{
	size_t n = strlen(query);

	if (str_eq(query, name))
		return true;
	return listing && n && query[n - 1] == ':' && !strncmp(query, name, n);
}

static int tell_context(struct nbd_client *c, const struct option *o, enum nbd_context i,
			const char *name)
{
	size_t n = strlen(name);
	_free_ uint8_t *raw = mem_alloc(4 + n);

	put_be32(raw, o->number == NBD_OPT_LIST_META_CONTEXT ? 0 : i);
	memcpy(raw + 4, name, n);
	return reply(c, o->number, NBD_REP_META_CONTEXT, raw, 4 + n);
}

static int tell_contexts(struct nbd_client *c, const struct option *o, unsigned chosen)
{
	int rc = 0;

	for (enum nbd_context i = 0; i < NBD_CTX_COUNT && !rc; i++) {
		_free_ char *name = context_name(c, i);

		if (name && chosen & 1u << i)
			rc = tell_context(c, o, i, name);
	}
	return rc < 0 ? rc : reply(c, o->number, NBD_REP_ACK, NULL, 0);
}

static unsigned choose(const struct nbd_client *c, const char *query, bool listing)
{
	unsigned chosen = 0;

	for (enum nbd_context i = 0; i < NBD_CTX_COUNT; i++) {
		_free_ char *name = context_name(c, i);

		if (name && matches(query, name, listing))
			chosen |= 1u << i;
	}
	return chosen;
}

static int contexts(struct nbd_client *c, const struct option *o)
{
	bool listing = o->number == NBD_OPT_LIST_META_CONTEXT;
	size_t at = 0;
	_free_ char *name = take_string(o, &at);
	unsigned chosen = 0;
	uint32_t count;

	if (!listing)
		c->contexts = 0;
	if (!c->structured)
		return reply_error(c, o->number, NBD_REP_INVALID, "structured replies come first");
	if (!name || o->len - at < 4)
		return reply_error(c, o->number, NBD_REP_INVALID, "malformed request");
	if (!is_ours(c, name))
		return reply_error(c, o->number, NBD_REP_UNKNOWN, "export not present");
	count = get_be32(o->data + at);
	at += 4;
	if (count > NBD_QUERIES_MAX)
		return reply_error(c, o->number, NBD_REP_TOO_BIG, "too many queries");
	if (listing && !count)
		chosen = (1u << NBD_CTX_COUNT) - 1;
	for (uint32_t i = 0; i < count; i++) {
		_free_ char *query = take_string(o, &at);

		if (!query)
			return reply_error(c, o->number, NBD_REP_INVALID, "malformed request");
		chosen |= choose(c, query, listing);
	}
	if (at != o->len)
		return reply_error(c, o->number, NBD_REP_INVALID, "malformed request");
	if (!listing)
		c->contexts = chosen;
	return tell_contexts(c, o, chosen);
}

/* --- the dialogue --- */

static int greet(struct nbd_client *c)
{
	uint8_t raw[18];
	uint32_t flags;
	int rc;

	put_be64(raw, NBD_MAGIC);
	put_be64(raw + 8, NBD_OPT_MAGIC);
	put_be16(raw + 16, NBD_FIXED | NBD_NO_ZEROES);
	rc = sock_write(c->ctx, c->fd, raw, sizeof(raw));
	if (!rc)
		rc = sock_read(c->ctx, c->fd, raw, 4);
	if (rc < 0)
		return rc;
	flags = get_be32(raw);
	if (!(flags & NBD_FIXED) || flags & ~(NBD_FIXED | NBD_NO_ZEROES))
		return -EBADMSG;
	c->no_zeroes = flags & NBD_NO_ZEROES;
	return 0;
}

static int receive_option(struct nbd_client *c, struct option *o)
{
	uint8_t head[NBD_OPT_HEAD];
	int rc = sock_read(c->ctx, c->fd, head, sizeof(head));

	free(STEAL(o->data));
	if (rc < 0)
		return rc;
	if (get_be64(head) != NBD_OPT_MAGIC)
		return -EBADMSG;
	o->number = get_be32(head + 8);
	o->len = get_be32(head + 12);
	if (o->len > NBD_OPTION_MAX)
		return -EBADMSG;
	o->data = mem_alloc(o->len + 1);
	return sock_read(c->ctx, c->fd, o->data, o->len);
}

static int answer(struct nbd_client *c, const struct option *o)
{
	switch (o->number) {
	case NBD_OPT_EXPORT_NAME:
		return export_name(c, o);
	case NBD_OPT_LIST:
		return list(c, o);
	case NBD_OPT_INFO:
	case NBD_OPT_GO:
		return info(c, o);
	case NBD_OPT_STRUCTURED_REPLY:
		if (o->len)
			return reply_error(c, o->number, NBD_REP_INVALID, "malformed request");
		c->structured = true;
		return reply(c, o->number, NBD_REP_ACK, NULL, 0);
	case NBD_OPT_LIST_META_CONTEXT:
	case NBD_OPT_SET_META_CONTEXT:
		return contexts(c, o);
	case NBD_OPT_STARTTLS:
		return reply_error(c, o->number, NBD_REP_UNSUP, "TLS is not supported");
	default:
		return reply_error(c, o->number, NBD_REP_UNSUP, "unknown option");
	}
}

int nbd_negotiate(struct nbd_client *c)
{
	struct option o = {0};
	int rc = greet(c);

	for (unsigned i = 0; !rc; i++) {
		rc = i == OPTIONS_MAX ? -EBADMSG : receive_option(c, &o);
		if (!rc && o.number == NBD_OPT_ABORT) {
			reply(c, o.number, NBD_REP_ACK, NULL, 0);
			break;
		}
		if (!rc)
			rc = answer(c, &o);
	}
	free(o.data);
	return rc;
}
