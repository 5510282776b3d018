/* NBD: a disk on another server (driver `nbd`), and a server for disks of ours. Both speak fixed newstyle
 * with structured replies and metadata contexts where the other side does. TLS is refused by name. */
#ifndef DISK_NBD_H
#define DISK_NBD_H

#include "disk/driver.h"

extern const struct disk_driver disk_driver_nbd;

/* [waits] What a server exports (NBD_OPT_LIST): calls back for each. Of o: the keys of the driver. */
typedef void nbd_list_fn(void *arg, const char *name, const char *description, uint64_t size,
			 unsigned flags);
int nbd_list(struct disk_ctx *ctx, json_t *o, nbd_list_fn *fn, void *arg, struct err *e);

/* --- server --- */

struct nbd_export {
	struct disk *disk;
	const char *name, *description; /* description NULL: none */
	uint64_t offset, size;          /* the part of the disk that is shown */
	bool readonly;
	bool shared;           /* several clients may have it at once */
	bool allocation_depth; /* context qemu:allocation-depth */
	const char *bitmap;    /* context qemu:dirty-bitmap:NAME; NULL: none */
};

/* [waits] Serves one client on fd, which it closes, until the client leaves (0) or breaks the protocol
 * or the connection (a negative errno). Only inside a coroutine. Borrows x. */
int nbd_serve(struct disk_ctx *ctx, int fd, const struct nbd_export *x);

#endif
