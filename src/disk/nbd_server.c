/* Serving requests: one coroutine reads them, one per request answers. What a client may have under way is
 * bounded in number and memory; past that, its next request waits. */
#include "disk/nbd_server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "base/endian.h"
#include "base/mem.h"
#include "disk/sock.h"

#define REQUESTS_MAX 16u
#define BYTES_MAX    NBD_DATA_MAX
/* Extents of one block status reply. */
#define EXTENTS_MAX 1024u

struct work {
	struct nbd_client *client;
	struct nbd_request request;
	uint8_t *data; /* of a write; owned */
	size_t held;   /* bytes counted in client->bytes */
};

/* --- replies --- */

static int send_pieces(struct nbd_client *c, struct iovec *iov, int count)
{
	int rc;

	co_lock(&c->sending);
	rc = c->broken ? c->broken : sock_writev(c->ctx, c->fd, iov, count, false);
	if (rc < 0 && !c->broken) {
		c->broken = rc;
		shutdown(c->fd, SHUT_RDWR);
	}
	co_unlock(&c->sending);
	return rc;
}

static int send_simple(struct nbd_client *c, uint64_t cookie, int rc, void *data, size_t len)
{
	uint8_t raw[NBD_SIMPLE_BYTES];
	struct iovec iov[] = {{raw, sizeof(raw)}, {data, len}};

	nbd_simple_build(nbd_error_of(rc), cookie, raw);
	return send_pieces(c, iov, len ? 2 : 1);
}

/* A chunk whose payload is `head`, then data. */
static int send_chunk(struct nbd_client *c, uint64_t cookie, uint16_t type, bool last,
		      const void *head, size_t head_len, const void *data, size_t len)
{
	struct nbd_reply r = {.flags = last ? NBD_CHUNK_DONE : 0,
			      .type = type,
			      .cookie = cookie,
			      .len = head_len + len};
	uint8_t raw[NBD_CHUNK_BYTES];
	struct iovec iov[] = {{raw, sizeof(raw)}, {(void *)head, head_len}, {(void *)data, len}};

	nbd_chunk_build(&r, raw);
	return send_pieces(c, iov, 3);
}

/* The end of a request that has no data. */
static int send_result(struct nbd_client *c, uint64_t cookie, int rc)
{
	uint8_t raw[6];

	if (!c->structured)
		return send_simple(c, cookie, rc, NULL, 0);
	if (!rc)
		return send_chunk(c, cookie, NBD_CHUNK_NONE, true, NULL, 0, NULL, 0);
	put_be32(raw, nbd_error_of(rc));
	put_be16(raw + 4, 0);
	return send_chunk(c, cookie, NBD_CHUNK_ERROR, true, raw, sizeof(raw), NULL, 0);
}

/* --- reads --- */

/* What is there at offset, as far as it is all of one kind. */
static int extent_at(struct nbd_client *c, uint64_t offset, uint64_t len, struct disk_extent *ret)
{
	return disk_block_status_above(c->export->disk, NULL, c->export->offset + offset, len, true,
				       ret);
}

/* Pieces that are known to be zeros go as holes, the others as data. */
static int read_sparse(struct nbd_client *c, const struct nbd_request *r, uint8_t *buf)
{
	uint64_t done = 0;
	int rc = 0;

	while (done < r->len && !rc) {
		uint64_t left = r->len - done, at = r->offset + done;
		struct disk_extent x;
		uint8_t head[12];
		bool last, hole;

		rc = extent_at(c, at, left, &x);
		if (rc < 0)
			break;
		x.len = MIN(x.len, left);
		last = x.len == left;
		hole = x.flags & DISK_EXT_ZERO;
		put_be64(head, at);
		put_be32(head + 8, x.len);
		if (!hole)
			rc = disk_pread(c->export->disk, c->export->offset + at, buf, x.len);
		if (!rc)
			rc = hole
				 ? send_chunk(c, r->cookie, NBD_CHUNK_HOLE, last, head, 12, NULL, 0)
				 : send_chunk(c, r->cookie, NBD_CHUNK_DATA, last, head, 8, buf,
					      x.len);
		if (c->broken)
			return c->broken;
		done += x.len;
	}
	return rc < 0 ? send_result(c, r->cookie, rc) : 0;
}

static int serve_read(struct nbd_client *c, const struct nbd_request *r)
{
	_free_ uint8_t *buf = mem_try_array(r->len, 1, NBD_DATA_MAX);
	uint8_t head[8];
	int rc = buf ? 0 : -ENOMEM;

	if (!rc && c->structured && !(r->flags & NBD_CMD_DF))
		return read_sparse(c, r, buf);
	if (!rc)
		rc = disk_pread(c->export->disk, c->export->offset + r->offset, buf, r->len);
	if (rc < 0)
		return send_result(c, r->cookie, rc);
	if (!c->structured)
		return send_simple(c, r->cookie, 0, buf, r->len);
	put_be64(head, r->offset);
	return send_chunk(c, r->cookie, NBD_CHUNK_DATA, true, head, 8, buf, r->len);
}

/* --- block status --- */

struct extents {
	uint8_t *raw; /* as they go out: length, flags */
	unsigned count, max;
	uint64_t covered;
};

/* Adds one, joined to the last where that says the same; false where there is no room. */
static bool add_extent(struct extents *x, uint64_t len, uint32_t flags)
{
	uint8_t *last = x->raw + (size_t)(x->count - 1) * 8;

	if (x->count && get_be32(last + 4) == flags && get_be32(last) + len <= UINT32_MAX) {
		put_be32(last, get_be32(last) + len);
	} else {
		if (x->count == x->max)
			return false;
		put_be32(x->raw + (size_t)x->count * 8, len);
		put_be32(x->raw + (size_t)x->count * 8 + 4, flags);
		x->count++;
	}
	x->covered += len;
	return true;
}

static uint32_t allocation_flags(const struct disk_extent *x)
{
	uint32_t flags = x->flags & DISK_EXT_ZERO ? NBD_STATE_ZERO : 0;

	return flags | (x->flags & DISK_EXT_DATA ? 0 : NBD_STATE_HOLE);
}

static uint32_t depth_flags(const struct disk_extent *x)
{
	return x->flags & DISK_EXT_ALLOCATED ? x->depth + 1 : 0;
}

static int collect_blocks(struct nbd_client *c, const struct nbd_request *r, bool depth,
			  struct extents *all)
{
	while (all->covered < r->len) {
		uint64_t left = r->len - all->covered;
		struct disk_extent x;
		int rc = extent_at(c, r->offset + all->covered, left, &x);

		if (rc < 0)
			return rc;
		if (!add_extent(all, MIN(x.len, left),
				depth ? depth_flags(&x) : allocation_flags(&x)))
			break;
	}
	return 0;
}

static int collect_bitmap(struct nbd_client *c, const struct nbd_request *r, struct extents *all)
{
	uint64_t begin = c->export->offset + r->offset, end = begin + r->len;

	while (all->covered < r->len) {
		uint64_t at = begin + all->covered, dirty = end, len = 0;
		int rc =
		    disk_bitmap_next(c->export->disk, c->export->bitmap, at, end, &dirty, &len);

		if (rc < 0)
			return rc;
		if (!rc)
			dirty = end;
		if (dirty > at && !add_extent(all, dirty - at, 0))
			break;
		if (dirty < end && !add_extent(all, MIN(len, end - dirty), 1))
			break;
	}
	return 0;
}

static int send_status(struct nbd_client *c, const struct nbd_request *r, enum nbd_context i,
		       bool last)
{
	struct extents all = {.max = r->flags & NBD_CMD_REQ_ONE ? 1 : EXTENTS_MAX};
	uint8_t id[4];
	int rc;

	all.raw = mem_array(all.max, 8);
	rc = i == NBD_CTX_BITMAP ? collect_bitmap(c, r, &all)
				 : collect_blocks(c, r, i == NBD_CTX_DEPTH, &all);
	put_be32(id, i);
	if (!rc)
		rc = send_chunk(c, r->cookie, NBD_CHUNK_STATUS, last, id, 4, all.raw,
				(size_t)all.count * 8);
	else
		rc = send_result(c, r->cookie, rc) < 0 ? c->broken : 1;
	free(all.raw);
	return rc;
}

static int serve_status(struct nbd_client *c, const struct nbd_request *r)
{
	unsigned left = c->contexts;
	int rc = 0;

	if (!left || !r->len)
		return send_result(c, r->cookie, -EINVAL);
	for (enum nbd_context i = 0; left && !rc; i++) {
		if (!(left & 1u << i))
			continue;
		left &= ~(1u << i);
		rc = send_status(c, r, i, !left); /* 1: an error has ended the reply */
	}
	return rc < 0 ? rc : 0;
}

/* --- other commands --- */

static int change(struct nbd_client *c, const struct work *w)
{
	const struct nbd_request *r = &w->request;
	struct disk *d = c->export->disk;
	uint64_t at = c->export->offset + r->offset;
	unsigned flags = r->flags & NBD_CMD_FUA ? DISK_REQ_FUA : 0;
	int rc;

	switch (r->type) {
	case NBD_CMD_WRITE:
		return disk_pwrite(d, at, w->data, r->len, flags);
	case NBD_CMD_WRITE_ZEROES:
		flags |= r->flags & NBD_CMD_NO_HOLE ? 0 : DISK_REQ_UNMAP;
		flags |= r->flags & NBD_CMD_FAST_ZERO ? DISK_REQ_NO_FALLBACK : 0;
		return disk_write_zeroes(d, at, r->len, flags);
	case NBD_CMD_TRIM:
		rc = disk_discard(d, at, r->len);
		return !rc && flags ? disk_flush(d) : rc;
	default:
		return -EINVAL;
	}
}

static int serve(struct nbd_client *c, const struct work *w)
{
	const struct nbd_request *r = &w->request;

	if (!checked_within(r->offset, r->len, c->export->size))
		return send_result(c, r->cookie, r->type == NBD_CMD_WRITE ? -ENOSPC : -EINVAL);
	switch (r->type) {
	case NBD_CMD_READ:
		return r->len > NBD_DATA_MAX ? send_result(c, r->cookie, -EINVAL)
					     : serve_read(c, r);
	case NBD_CMD_BLOCK_STATUS:
		return serve_status(c, r);
	case NBD_CMD_FLUSH:
		return send_result(c, r->cookie,
				   c->export->readonly ? 0 : disk_flush(c->export->disk));
	case NBD_CMD_CACHE:
		return send_result(c, r->cookie, 0);
	default:
		return send_result(c, r->cookie, c->export->readonly ? -EPERM : change(c, w));
	}
}

static void run(void *arg)
{
	struct work *w = arg;
	struct nbd_client *c = w->client;

	serve(c, w);
	c->running--;
	c->bytes -= w->held;
	free(w->data);
	free(w);
	co_queue_wake_all(&c->finished);
	co_group_end(&c->group);
}

/* Memory that a request will hold; the reader waits until there is room for it. */
static size_t memory_of(const struct nbd_request *r)
{
	return r->type == NBD_CMD_READ || r->type == NBD_CMD_WRITE ? MIN(r->len, NBD_DATA_MAX) : 0;
}

/* The data of a write follows its header, whether we want it or not. */
static int receive_data(struct nbd_client *c, struct work *w)
{
	if (w->request.type != NBD_CMD_WRITE)
		return 0;
	if (w->request.len > NBD_DATA_MAX)
		return -EBADMSG;
	w->data = mem_try_array(MAX(w->request.len, 1u), 1, NBD_DATA_MAX);
	return w->data ? sock_read(c->ctx, c->fd, w->data, w->request.len) : -ENOMEM;
}

/* Reads a request and starts it. 1: the client says good-bye. */
static int receive(struct nbd_client *c)
{
	uint8_t raw[NBD_REQUEST_BYTES];
	struct nbd_request r;
	struct work *w;
	int rc = sock_read(c->ctx, c->fd, raw, sizeof(raw));

	if (!rc)
		rc = nbd_request_parse(raw, &r);
	if (rc < 0)
		return rc;
	if (r.type == NBD_CMD_DISC)
		return 1;
	while (c->running >= REQUESTS_MAX || (c->bytes && c->bytes + memory_of(&r) > BYTES_MAX))
		co_queue_wait(&c->finished);
	w = mem_alloc(sizeof(*w));
	*w = (struct work){.client = c, .request = r, .held = memory_of(&r)};
	rc = receive_data(c, w);
	if (rc < 0) {
		free(w->data);
		free(w);
		return rc;
	}
	c->running++;
	c->bytes += w->held;
	co_group_add(&c->group);
	co_spawn(c->ctx, run, w);
	return c->broken;
}

int nbd_serve(struct disk_ctx *ctx, int fd, const struct nbd_export *x)
{
	struct nbd_client c = {.ctx = ctx, .fd = fd, .export = x};
	int rc = nbd_negotiate(&c);

	if (rc == 1) {
		do
			rc = receive(&c);
		while (!rc);
		if (rc < 0 && !c.broken)
			c.broken = rc;
		co_group_wait(&c.group);
	}
	close(fd);
	/* Hanging up without a word is no way to leave, but many do. */
	return rc == -ECONNRESET || rc > 0 ? 0 : rc;
}
