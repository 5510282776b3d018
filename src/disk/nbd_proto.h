/* Numbers and headers of the NBD protocol, and messages to bytes and back. No I/O.
 *
 * https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md; names are its, without NBD_. All
 * numbers are big-endian. */
#ifndef DISK_NBD_PROTO_H
#define DISK_NBD_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NBD_PORT "10809"

/* Handshake */
#define NBD_MAGIC      0x4e42444d41474943ULL /* "NBDMAGIC" */
#define NBD_OPT_MAGIC  0x49484156454f5054ULL /* "IHAVEOPT" */
#define NBD_OLD_MAGIC  0x0000420281861253ULL
#define NBD_REP_MAGIC  0x0003e889045565a9ULL
#define NBD_FIXED      1u /* fixed newstyle */
#define NBD_NO_ZEROES  2u
#define NBD_OPT_HEAD   16u /* magic, option, length */
#define NBD_REP_HEAD   20u /* magic, option, type, length */
#define NBD_EXPORT_PAD 124u

/* Limits: of the protocol for names, ours for the rest (as QEMU's for data). */
#define NBD_NAME_MAX    4096u
#define NBD_OPTION_MAX  (64u << 10)
#define NBD_DATA_MAX    (32u << 20)
#define NBD_QUERIES_MAX 64u

enum nbd_opt {
	NBD_OPT_EXPORT_NAME = 1,
	NBD_OPT_ABORT = 2,
	NBD_OPT_LIST = 3,
	NBD_OPT_STARTTLS = 5,
	NBD_OPT_INFO = 6,
	NBD_OPT_GO = 7,
	NBD_OPT_STRUCTURED_REPLY = 8,
	NBD_OPT_LIST_META_CONTEXT = 9,
	NBD_OPT_SET_META_CONTEXT = 10,
};

enum nbd_rep {
	NBD_REP_ACK = 1,
	NBD_REP_SERVER = 2,
	NBD_REP_INFO = 3,
	NBD_REP_META_CONTEXT = 4,
};

#define NBD_REP_ERROR    0x80000000U
#define NBD_REP_UNSUP    (NBD_REP_ERROR | 1)
#define NBD_REP_POLICY   (NBD_REP_ERROR | 2)
#define NBD_REP_INVALID  (NBD_REP_ERROR | 3)
#define NBD_REP_TLS_REQD (NBD_REP_ERROR | 5)
#define NBD_REP_UNKNOWN  (NBD_REP_ERROR | 6)
#define NBD_REP_TOO_BIG  (NBD_REP_ERROR | 9)

enum nbd_info {
	NBD_INFO_EXPORT = 0,
	NBD_INFO_NAME = 1,
	NBD_INFO_DESCRIPTION = 2,
	NBD_INFO_BLOCK_SIZE = 3
};

enum nbd_flag {
	NBD_FLAG_HAS_FLAGS = 1 << 0,
	NBD_FLAG_READ_ONLY = 1 << 1,
	NBD_FLAG_SEND_FLUSH = 1 << 2,
	NBD_FLAG_SEND_FUA = 1 << 3,
	NBD_FLAG_SEND_TRIM = 1 << 5,
	NBD_FLAG_SEND_WRITE_ZEROES = 1 << 6,
	NBD_FLAG_SEND_DF = 1 << 7,
	NBD_FLAG_CAN_MULTI_CONN = 1 << 8,
	NBD_FLAG_SEND_CACHE = 1 << 10,
	NBD_FLAG_SEND_FAST_ZERO = 1 << 11,
};

/* Transmission */
#define NBD_REQUEST_MAGIC    0x25609513U
#define NBD_SIMPLE_MAGIC     0x67446698U
#define NBD_STRUCTURED_MAGIC 0x668e33efU
#define NBD_REQUEST_BYTES    28u
#define NBD_SIMPLE_BYTES     16u
#define NBD_CHUNK_BYTES      20u

enum nbd_cmd {
	NBD_CMD_READ = 0,
	NBD_CMD_WRITE = 1,
	NBD_CMD_DISC = 2,
	NBD_CMD_FLUSH = 3,
	NBD_CMD_TRIM = 4,
	NBD_CMD_CACHE = 5,
	NBD_CMD_WRITE_ZEROES = 6,
	NBD_CMD_BLOCK_STATUS = 7,
};

enum nbd_cmd_flag {
	NBD_CMD_FUA = 1 << 0,
	NBD_CMD_NO_HOLE = 1 << 1,
	NBD_CMD_DF = 1 << 2,
	NBD_CMD_REQ_ONE = 1 << 3,
	NBD_CMD_FAST_ZERO = 1 << 4,
};

#define NBD_CHUNK_DONE 1u

enum nbd_chunk_type {
	NBD_CHUNK_NONE = 0,
	NBD_CHUNK_DATA = 1,
	NBD_CHUNK_HOLE = 2,
	NBD_CHUNK_STATUS = 5,
	NBD_CHUNK_ERROR = 0x8001,
	NBD_CHUNK_ERROR_OFFSET = 0x8002,
};

/* base:allocation */
#define NBD_STATE_HOLE 1u
#define NBD_STATE_ZERO 2u

struct nbd_request {
	uint16_t flags, type;
	uint64_t cookie, offset;
	uint32_t len;
};

/* The header of either kind of reply. */
struct nbd_reply {
	bool structured;
	uint16_t flags, type; /* structured */
	uint32_t error;       /* simple: on the wire's numbers */
	uint64_t cookie;
	uint32_t len; /* structured: bytes that follow */
};

/* -EBADMSG where the magic is wrong. */
int nbd_request_parse(const uint8_t raw[NBD_REQUEST_BYTES], struct nbd_request *ret_request);
void nbd_request_build(const struct nbd_request *r, uint8_t raw[NBD_REQUEST_BYTES]);
void nbd_simple_build(uint32_t error, uint64_t cookie, uint8_t raw[NBD_SIMPLE_BYTES]);
void nbd_chunk_build(const struct nbd_reply *r, uint8_t raw[NBD_CHUNK_BYTES]);
/* raw: the first 16 bytes, which any reply has; -EAGAIN where the last four are missing. */
int nbd_reply_parse(const uint8_t *raw, size_t have, struct nbd_reply *ret_reply);

/* Errors: the protocol's numbers are Linux's, a few of them. */
uint32_t nbd_error_of(int rc);
int nbd_error_to_errno(uint32_t error); /* negative */

#endif
