/* The client's side of an NBD connection up to transmission: names, options, handshake. */
#ifndef DISK_NBD_CLIENT_H
#define DISK_NBD_CLIENT_H

#include <jansson.h>

#include "disk/co.h"
#include "disk/nbd.h"

struct nbd_target {
	char *host, *port, *path; /* owned; a path, or host and port */
	char *name;               /* of the export; owned */
};

struct nbd_session {
	int fd;
	uint64_t size;
	unsigned flags; /* enum nbd_flag */
	bool structured;
	bool has_allocation; /* base:allocation was agreed, under this id */
	uint32_t allocation_id;
	uint32_t min_block, preferred_block, max_block; /* 0: not told */
};

/* nbd:…, nbd://…, nbd+unix:///…: adds the driver's options to o. */
int nbd_parse_name(const char *name, json_t *o, struct err *e);
/* Takes the driver's options out of o. The caller ends with nbd_target_done(), also after a failure. */
int nbd_take_target(json_t *o, struct nbd_target *ret_target, struct err *e);
void nbd_target_done(struct nbd_target *t);

/* [waits] Connects, and agrees on the export. The caller closes fd. */
int nbd_connect(struct disk_ctx *ctx, const struct nbd_target *t, struct nbd_session *ret_session,
		struct err *e);

#endif
