#include "disk/nbd_proto.h"

#include <errno.h>

#include "base/cleanup.h"
#include "base/endian.h"

int nbd_request_parse(const uint8_t raw[NBD_REQUEST_BYTES], struct nbd_request *ret_request)
{
	if (get_be32(raw) != NBD_REQUEST_MAGIC)
		return -EBADMSG;
	*ret_request = (struct nbd_request){
	    .flags = get_be16(raw + 4),
	    .type = get_be16(raw + 6),
	    .cookie = get_be64(raw + 8),
	    .offset = get_be64(raw + 16),
	    .len = get_be32(raw + 24),
	};
	return 0;
}

void nbd_request_build(const struct nbd_request *r, uint8_t raw[NBD_REQUEST_BYTES])
{
	put_be32(raw, NBD_REQUEST_MAGIC);
	put_be16(raw + 4, r->flags);
	put_be16(raw + 6, r->type);
	put_be64(raw + 8, r->cookie);
	put_be64(raw + 16, r->offset);
	put_be32(raw + 24, r->len);
}

void nbd_simple_build(uint32_t error, uint64_t cookie, uint8_t raw[NBD_SIMPLE_BYTES])
{
	put_be32(raw, NBD_SIMPLE_MAGIC);
	put_be32(raw + 4, error);
	put_be64(raw + 8, cookie);
}

void nbd_chunk_build(const struct nbd_reply *r, uint8_t raw[NBD_CHUNK_BYTES])
{
	put_be32(raw, NBD_STRUCTURED_MAGIC);
	put_be16(raw + 4, r->flags);
	put_be16(raw + 6, r->type);
	put_be64(raw + 8, r->cookie);
	put_be32(raw + 16, r->len);
}

int nbd_reply_parse(const uint8_t *raw, size_t have, struct nbd_reply *ret_reply)
{
	uint32_t magic = get_be32(raw);

	if (magic == NBD_SIMPLE_MAGIC) {
		*ret_reply =
		    (struct nbd_reply){.error = get_be32(raw + 4), .cookie = get_be64(raw + 8)};
		return 0;
	}
	if (magic != NBD_STRUCTURED_MAGIC)
		return -EBADMSG;
	if (have < NBD_CHUNK_BYTES)
		return -EAGAIN;
	*ret_reply = (struct nbd_reply){
	    .structured = true,
	    .flags = get_be16(raw + 4),
	    .type = get_be16(raw + 6),
	    .cookie = get_be64(raw + 8),
	    .len = get_be32(raw + 16),
	};
	return 0;
}

static const int known[] = {EPERM, EIO, ENOMEM, EINVAL, ENOSPC, EOVERFLOW, ENOTSUP, ESHUTDOWN};

uint32_t nbd_error_of(int rc)
{
	if (!rc)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (known[i] == -rc)
			return -rc;
	if (rc == -EROFS || rc == -EACCES)
		return EPERM;
	return rc == -EFBIG || rc == -EDQUOT ? ENOSPC : EIO;
}

int nbd_error_to_errno(uint32_t error)
{
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if ((uint32_t)known[i] == error)
			return -known[i];
	return -EINVAL;
}
