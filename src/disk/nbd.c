/* Driver `nbd`: requests and replies of one connection.
 *
 * Any number of requests is under way. Whoever waits for a reply reads the stream in turn: a reply for
 * another goes to its request, by cookie, until one's own is complete. What the connection has lost is
 * lost for all. */
#include "disk/nbd.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/endian.h"
#include "base/mem.h"
#include "disk/nbd_client.h"
#include "disk/nbd_proto.h"
#include "disk/sock.h"

/* Of an error's text that we read; it is dropped. */
#define CHUNK_MAX    (NBD_DATA_MAX + 64)
#define CHUNKS_MAX   (1u << 20)
#define IOV_MAX_READ 1024

struct pending {
	struct list link;
	struct nbd_request request;
	const struct disk_vec *vec; /* of a read */
	size_t at;
	struct disk_extent *extent; /* of a status */
	uint64_t covered;           /* bytes of a read that came */
	unsigned chunks;
	bool done;
	int rc;
};

struct nbd {
	struct nbd_session session;
	struct co_mutex sending, reading;
	struct list pending;
	uint64_t next_cookie;
	int broken; /* errno of the end of the connection */
};

static int break_off(struct nbd *s, int rc)
{
	if (!s->broken) {
		s->broken = rc;
		shutdown(s->session.fd, SHUT_RDWR);
	}
	return rc;
}

/* --- replies --- */

static struct pending *find(struct nbd *s, uint64_t cookie)
{
	for (struct list *l = s->pending.next; l != &s->pending; l = l->next) {
		struct pending *p = CONTAINER_OF(l, struct pending, link);

		if (p->request.cookie == cookie)
			return p;
	}
	return NULL;
}

/* Reads data of a read into its memory. */
static int read_data(struct disk *d, struct pending *p, uint64_t offset, size_t len)
{
	struct nbd *s = d->state;
	size_t at = p->at + (offset - p->request.offset);
	struct iovec iov[IOV_MAX_READ];
	int n = disk_vec_slice(p->vec, at, len, iov, IOV_MAX_READ), rc = 0;

	p->covered += len;
	if (n < 0) {
		_free_ uint8_t *buf = mem_alloc(len);

		rc = sock_read(d->ctx, s->session.fd, buf, len);
		if (!rc)
			disk_vec_put(p->vec, at, buf, len);
		return rc;
	}
	for (int i = 0; i < n && !rc; i++)
		rc = sock_read(d->ctx, s->session.fd, iov[i].iov_base, iov[i].iov_len);
	return rc;
}

static bool inside(const struct pending *p, uint64_t offset, uint64_t len)
{
	return p->vec && offset >= p->request.offset && len <= p->request.len &&
	       offset - p->request.offset <= p->request.len - len;
}

/* NBD_REPLY_TYPE_OFFSET_DATA, …_HOLE */
static int read_chunk(struct disk *d, struct pending *p, const struct nbd_reply *r)
{
	struct nbd *s = d->state;
	uint8_t raw[12];
	uint64_t offset, len;
	bool hole = r->type == NBD_CHUNK_HOLE;
	int rc;

	if (hole ? r->len != 12 : r->len <= 8)
		return -EBADMSG;
	rc = sock_read(d->ctx, s->session.fd, raw, hole ? 12 : 8);
	if (rc < 0)
		return rc;
	offset = get_be64(raw);
	len = hole ? get_be32(raw + 8) : r->len - 8;
	if (!inside(p, offset, len))
		return -EBADMSG;
	if (!hole)
		return read_data(d, p, offset, len);
	disk_vec_zero(p->vec, p->at + (offset - p->request.offset), len);
	p->covered += len;
	return 0;
}

/* NBD_REPLY_TYPE_BLOCK_STATUS: only the first extent was asked for. */
static int read_status(struct disk *d, struct pending *p, const struct nbd_reply *r)
{
	struct nbd *s = d->state;
	uint8_t raw[12];
	uint32_t flags;
	int rc;

	if (!p->extent || r->len < 12 || (r->len - 4) % 8)
		return -EBADMSG;
	rc = sock_read(d->ctx, s->session.fd, raw, sizeof(raw));
	if (!rc)
		rc = sock_skip(d->ctx, s->session.fd, r->len - sizeof(raw));
	if (rc < 0)
		return rc;
	if (get_be32(raw) != s->session.allocation_id || !get_be32(raw + 4))
		return -EBADMSG;
	flags = get_be32(raw + 8);
	p->extent->len = MIN(p->extent->len, (uint64_t)get_be32(raw + 4));
	p->extent->flags = DISK_EXT_ALLOCATED;
	if (flags & NBD_STATE_ZERO)
		p->extent->flags |= DISK_EXT_ZERO;
	if (!(flags & NBD_STATE_HOLE) || !(flags & NBD_STATE_ZERO))
		p->extent->flags |= DISK_EXT_DATA;
	p->covered = 1;
	return 0;
}

static int read_error(struct disk *d, struct pending *p, const struct nbd_reply *r)
{
	struct nbd *s = d->state;
	uint8_t raw[4];
	int rc;

	if (r->len < 6)
		return -EBADMSG;
	rc = sock_read(d->ctx, s->session.fd, raw, sizeof(raw));
	if (!rc)
		rc = sock_skip(d->ctx, s->session.fd, r->len - sizeof(raw));
	if (rc < 0)
		return rc;
	if (!p->rc)
		p->rc = nbd_error_to_errno(get_be32(raw));
	return 0;
}

static int take_chunk(struct disk *d, struct pending *p, const struct nbd_reply *r)
{
	struct nbd *s = d->state;
	int rc;

	if (r->len > CHUNK_MAX || p->chunks++ > CHUNKS_MAX)
		return -EBADMSG;
	if (r->type == NBD_CHUNK_DATA || r->type == NBD_CHUNK_HOLE)
		rc = read_chunk(d, p, r);
	else if (r->type == NBD_CHUNK_STATUS)
		rc = read_status(d, p, r);
	else if (r->type == NBD_CHUNK_NONE)
		rc = r->len || !(r->flags & NBD_CHUNK_DONE) ? -EBADMSG : 0;
	else if (r->type & 0x8000)
		rc = read_error(d, p, r);
	else
		rc = sock_skip(d->ctx, s->session.fd, r->len);
	p->done = r->flags & NBD_CHUNK_DONE;
	return rc;
}

static int take_simple(struct disk *d, struct pending *p, const struct nbd_reply *r)
{
	struct nbd *s = d->state;

	p->done = true;
	if (r->error) {
		p->rc = nbd_error_to_errno(r->error);
		return 0;
	}
	/* With structured replies a read must not be answered so. */
	if (p->extent || (p->vec && s->session.structured))
		return -EBADMSG;
	return p->vec ? read_data(d, p, p->request.offset, p->request.len) : 0;
}

static int read_reply(struct disk *d)
{
	struct nbd *s = d->state;
	uint8_t raw[NBD_CHUNK_BYTES];
	struct nbd_reply r;
	struct pending *p;
	int rc = sock_read(d->ctx, s->session.fd, raw, NBD_SIMPLE_BYTES);

	if (!rc)
		rc = nbd_reply_parse(raw, NBD_SIMPLE_BYTES, &r);
	if (rc == -EAGAIN) {
		rc = sock_read(d->ctx, s->session.fd, raw + NBD_SIMPLE_BYTES,
			       NBD_CHUNK_BYTES - NBD_SIMPLE_BYTES);
		if (!rc)
			rc = nbd_reply_parse(raw, NBD_CHUNK_BYTES, &r);
	}
	if (rc < 0)
		return rc;
	p = find(s, r.cookie);
	if (!p || (r.structured && !s->session.structured))
		return -EBADMSG;
	return r.structured ? take_chunk(d, p, &r) : take_simple(d, p, &r);
}

static int wait_for(struct disk *d, struct pending *p)
{
	struct nbd *s = d->state;

	while (!p->done && !s->broken) {
		co_lock(&s->reading);
		if (!p->done && !s->broken) {
			int rc = read_reply(d);

			if (rc < 0)
				break_off(s, rc);
		}
		co_unlock(&s->reading);
	}
	if (!p->done)
		return -EIO;
	if (!p->rc && p->vec && p->covered != p->request.len)
		return -EIO; /* the server left something out */
	if (!p->rc && p->extent && !p->covered)
		return -EIO;
	return p->rc;
}

/* --- requests --- */

/* Sends it with len bytes of v, and waits for the reply. */
static int request(struct disk *d, struct pending *p, const struct disk_vec *v, size_t at)
{
	struct nbd *s = d->state;
	uint8_t raw[NBD_REQUEST_BYTES];
	struct iovec head = {raw, sizeof(raw)}, iov[IOV_MAX_READ];
	int n = 0, rc = s->broken ? -EIO : 0;

	if (rc < 0)
		return rc;
	p->request.cookie = s->next_cookie++;
	nbd_request_build(&p->request, raw);
	if (v)
		n = disk_vec_slice(v, at, p->request.len, iov, IOV_MAX_READ);
	if (n < 0)
		return n;
	list_push(&s->pending, &p->link);
	co_lock(&s->sending);
	rc = s->broken ? -EIO : sock_writev(d->ctx, s->session.fd, &head, 1, v != NULL);
	if (!rc && v)
		rc = sock_writev(d->ctx, s->session.fd, iov, n, false);
	co_unlock(&s->sending);
	if (rc < 0)
		break_off(s, rc);
	rc = wait_for(d, p);
	list_remove(&p->link);
	return rc;
}

static bool has(const struct disk *d, enum nbd_flag flag)
{
	return ((const struct nbd *)d->state)->session.flags & flag;
}

static int nbd_preadv(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v,
		      size_t at)
{
	struct pending p = {
	    .request = {.type = NBD_CMD_READ, .offset = offset, .len = len}, .vec = v, .at = at};

	return request(d, &p, NULL, 0);
}

static int nbd_pwritev(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v,
		       size_t at, unsigned flags)
{
	struct pending p = {.request = {.type = NBD_CMD_WRITE, .offset = offset, .len = len}};

	if (flags & DISK_REQ_FUA)
		p.request.flags = NBD_CMD_FUA;
	return request(d, &p, v, at);
}

/* Commands without data take 32 bits of length. */
static int in_pieces(struct disk *d, uint16_t type, uint16_t flags, uint64_t offset, uint64_t len)
{
	struct nbd *s = d->state;
	uint64_t most = bits_align_down(UINT32_MAX, MAX(s->session.min_block, 512u));
	int rc = 0;

	while (len && !rc) {
		uint32_t n = MIN(len, most);
		struct pending p = {
		    .request = {.type = type, .flags = flags, .offset = offset, .len = n}};

		rc = request(d, &p, NULL, 0);
		offset += n;
		len -= n;
	}
	return rc;
}

static int nbd_write_zeroes(struct disk *d, uint64_t offset, uint64_t len, unsigned flags)
{
	uint16_t f = 0;

	if (!has(d, NBD_FLAG_SEND_WRITE_ZEROES))
		return -ENOTSUP;
	if (flags & DISK_REQ_NO_FALLBACK && !has(d, NBD_FLAG_SEND_FAST_ZERO))
		return -ENOTSUP;
	f |= flags & DISK_REQ_FUA ? NBD_CMD_FUA : 0;
	f |= flags & DISK_REQ_UNMAP ? 0 : NBD_CMD_NO_HOLE;
	f |= flags & DISK_REQ_NO_FALLBACK ? NBD_CMD_FAST_ZERO : 0;
	return in_pieces(d, NBD_CMD_WRITE_ZEROES, f, offset, len);
}

static int nbd_discard(struct disk *d, uint64_t offset, uint64_t len)
{
	return has(d, NBD_FLAG_SEND_TRIM) ? in_pieces(d, NBD_CMD_TRIM, 0, offset, len) : 0;
}

static int nbd_flush(struct disk *d)
{
	struct pending p = {.request = {.type = NBD_CMD_FLUSH}};

	return has(d, NBD_FLAG_SEND_FLUSH) ? request(d, &p, NULL, 0) : 0;
}

static int nbd_block_status(struct disk *d, uint64_t offset, uint64_t len, bool exact,
			    struct disk_extent *ret)
{
	struct nbd *s = d->state;
	uint64_t most = bits_align_down(UINT32_MAX, MAX(s->session.min_block, 512u));
	struct pending p = {.request = {.type = NBD_CMD_BLOCK_STATUS,
					.flags = NBD_CMD_REQ_ONE,
					.offset = offset,
					.len = MIN(len, most)},
			    .extent = ret};

	if (!s->session.has_allocation) {
		ret->flags = DISK_EXT_DATA | DISK_EXT_ALLOCATED;
		return 0;
	}
	ret->len = p.request.len;
	return request(d, &p, NULL, 0);
}

/* --- the driver --- */

static int nbd_open(struct disk *d, json_t *o, struct err *e)
{
	struct nbd *s = d->state;
	struct nbd_target t;
	int rc = nbd_take_target(o, &t, e);

	list_init(&s->pending);
	s->next_cookie = 1;
	if (!rc)
		rc = nbd_connect(d->ctx, &t, &s->session, e);
	nbd_target_done(&t);
	if (rc < 0)
		return rc;
	if (d->flags & DISK_WRITE && s->session.flags & NBD_FLAG_READ_ONLY) {
		close(s->session.fd);
		return err_set(e, ERR_DISK_READONLY, -EACCES,
			       "request for write access denied by the NBD server");
	}
	d->size = s->session.size;
	d->align = s->session.min_block ? s->session.min_block : 1;
	/* A disk that is no multiple of its blocks cannot be read to its end in whole blocks. */
	if (d->size % d->align)
		d->size = bits_align_down(d->size, d->align);
	/* Below a format, what is behind the end reads as zeros; by itself, a disk has an end. */
	d->growable = d->parent != NULL;
	d->max_transfer = NBD_DATA_MAX;
	if (s->session.max_block)
		d->max_transfer = MIN(d->max_transfer, (uint64_t)s->session.max_block);
	if (has(d, NBD_FLAG_SEND_FUA))
		d->write_flags = DISK_REQ_FUA;
	d->zero_flags = DISK_REQ_UNMAP | d->write_flags;
	return 0;
}

static int nbd_close(struct disk *d)
{
	struct nbd *s = d->state;
	struct nbd_request r = {.type = NBD_CMD_DISC};
	uint8_t raw[NBD_REQUEST_BYTES];

	nbd_request_build(&r, raw);
	if (!s->broken)
		sock_write(d->ctx, s->session.fd, raw, sizeof(raw));
	close(s->session.fd);
	return 0;
}

static int nbd_reopen(struct disk *d, unsigned flags, struct err *e)
{
	if (flags & DISK_WRITE && has(d, NBD_FLAG_READ_ONLY))
		return err_set(e, ERR_DISK_READONLY, -EACCES,
			       "request for write access denied by the NBD server");
	return 0;
}

static const char *const prefixes[] = {"nbd", "nbd+tcp", "nbd+unix", "nbds", "nbds+unix", NULL};

const struct disk_driver disk_driver_nbd = {
    .name = "nbd",
    .kind = DISK_KIND_PROTOCOL,
    .state_size = sizeof(struct nbd),
    .prefixes = prefixes,
    .parse_name = nbd_parse_name,
    .open = nbd_open,
    .close = nbd_close,
    .reopen = nbd_reopen,
    .preadv = nbd_preadv,
    .pwritev = nbd_pwritev,
    .write_zeroes = nbd_write_zeroes,
    .discard = nbd_discard,
    .flush = nbd_flush,
    .block_status = nbd_block_status,
};
