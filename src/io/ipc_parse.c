#include "io/ipc.h"
#include "base/cleanup.h"
#include "base/endian.h"

#include <string.h>

struct header {
	uint32_t len;
	uint16_t type, fd_count;
	uint32_t id;
};

static void close_fds(const int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

void ipc_msg_done(struct ipc_msg *m)
{
	close_fds(m->fds, m->fd_count);
	*m = (struct ipc_msg){0};
}

int ipc_parser_break(struct ipc_parser *p)
{
	close_fds(p->fds, p->fd_count);
	p->fd_count = 0;
	p->broken = true;
	return -EPROTO;
}

void ipc_parser_done(struct ipc_parser *p)
{
	ipc_parser_break(p);
	free(p->buf);
	*p = (struct ipc_parser){.broken = true};
}

/* Room for len more bytes. The buffer holds at most one incomplete frame and what was read with
 * it, so its size is bounded by IPC_PAYLOAD_MAX and the caller's reads; it grows with what has
 * come, not with what a header announces. */
static int reserve(struct ipc_parser *p, size_t len)
{
	if (p->start) {
		memmove(p->buf, p->buf + p->start, p->end - p->start);
		p->end -= p->start;
		p->start = 0;
	}
	if (len <= p->cap - p->end)
		return 0;
	size_t cap = p->cap ? p->cap : 4096, need;

	if (__builtin_add_overflow(p->end, len, &need))
		return -ENOMEM;
	while (cap < need)
		if (__builtin_mul_overflow(cap, 2, &cap))
			return -ENOMEM;
	unsigned char *bigger = realloc(p->buf, cap);

	if (!bigger)
		return -ENOMEM;
	p->buf = bigger;
	p->cap = cap;
	return 0;
}

int ipc_parser_add(struct ipc_parser *p, const void *data, size_t len, const int *fds,
		   size_t fd_count)
{
	/* Descriptors come with the first byte of their frame, and at most one frame's in one
	 * read. So two sets may wait: of a frame whose end, and of one whose start came with
	 * this read. */
	if (p->broken || fd_count > IPC_FDS_MAX || fd_count > ARRAY_SIZE(p->fds) - p->fd_count ||
	    (fd_count && !len)) {
		close_fds(fds, fd_count);
		return ipc_parser_break(p);
	}
	if (fd_count)
		memcpy(p->fds + p->fd_count, fds, fd_count * sizeof(*fds));
	p->fd_count += (unsigned)fd_count;
	int rc = reserve(p, len);

	if (rc)
		return rc;
	if (len)
		memcpy(p->buf + p->end, data, len);
	p->end += len;
	return 0;
}

/* doc/format/ipc.md, "Frame" */
static int parse_header(const unsigned char *b, struct header *h)
{
	if (get_le32(b) != IPC_MAGIC)
		return -EPROTO;
	*h = (struct header){.len = get_le32(b + 4),
			     .type = get_le16(b + 8),
			     .fd_count = get_le16(b + 10),
			     .id = get_le32(b + 12)};
	return h->len > IPC_PAYLOAD_MAX || h->fd_count > IPC_FDS_MAX ? -EPROTO : 0;
}

int ipc_parser_next(struct ipc_parser *p, struct ipc_msg *ret_msg)
{
	struct header h;

	if (p->broken)
		return -EPROTO;
	if (p->end - p->start < IPC_HEADER_LEN)
		return 0;
	if (parse_header(p->buf + p->start, &h) < 0)
		return ipc_parser_break(p);
	if (p->end - p->start - IPC_HEADER_LEN < h.len)
		return 0;
	/* All its bytes are here, so its descriptors must be; without a byte behind them, the
	 * rest belongs to no frame. */
	size_t next = p->start + IPC_HEADER_LEN + h.len;

	if (h.fd_count > p->fd_count || (next == p->end && h.fd_count != p->fd_count))
		return ipc_parser_break(p);
	*ret_msg = (struct ipc_msg){.type = h.type,
				    .id = h.id,
				    .data = p->buf + p->start + IPC_HEADER_LEN,
				    .len = h.len,
				    .fd_count = h.fd_count};
	memcpy(ret_msg->fds, p->fds, h.fd_count * sizeof(int));
	p->fd_count -= h.fd_count;
	memmove(p->fds, p->fds + h.fd_count, p->fd_count * sizeof(int));
	p->start = next;
	return 1;
}

bool ipc_parser_idle(const struct ipc_parser *p)
{
	return p->start == p->end && !p->broken;
}
