/* What the two halves of the NBD server share: nbd_negotiate.c agrees with a client, nbd_server.c serves
 * its requests. */
#ifndef DISK_NBD_SERVER_H
#define DISK_NBD_SERVER_H

#include "disk/co.h"
#include "disk/nbd.h"
#include "disk/nbd_proto.h"

/* Ids of the metadata contexts that a client has chosen, as bits. */
enum nbd_context { NBD_CTX_ALLOCATION, NBD_CTX_DEPTH, NBD_CTX_BITMAP, NBD_CTX_COUNT };

struct nbd_client {
	struct disk_ctx *ctx;
	int fd;
	const struct nbd_export *export;
	bool structured, no_zeroes;
	unsigned contexts; /* 1 << enum nbd_context */

	/* Requests under way */
	struct co_mutex sending;
	struct co_group group;
	unsigned running;
	uint64_t bytes;           /* of memory that they hold */
	struct co_queue finished; /* someone waits for room */
	int broken;
};

/* [waits] The handshake. 1: transmission follows; 0: the client has left; negative: it broke the protocol. */
int nbd_negotiate(struct nbd_client *c);

/* enum nbd_flag of the export, for this client. */
unsigned nbd_export_flags(const struct nbd_client *c);

#endif
