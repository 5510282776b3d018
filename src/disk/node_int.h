/* What the files of the core share. */
#ifndef DISK_NODE_INT_H
#define DISK_NODE_INT_H

#include "disk/driver.h"

/* How a child serves its parent; decides its locks. */
enum disk_role {
	DISK_ROLE_TOP,      /* opened by a user */
	DISK_ROLE_FILE,     /* what an image lies in: metadata too */
	DISK_ROLE_DATA,     /* an external data file */
	DISK_ROLE_FILTERED, /* below a filter, or raw */
	DISK_ROLE_BACKING,
};

/* Opens a node with nothing above it, or below `parent`. o is taken; "driver" and what else the opener
 * knows is in it. format: for an object without "driver"; NULL: a protocol, by the name's prefix.
 * base: the name that relative names are beside; NULL: the working directory. */
struct disk_opening {
	struct disk_ctx *ctx;
	const char *filename; /* NULL: in o */
	json_t *o;
	unsigned flags;
	enum disk_role role;
	struct disk *parent;
};
int disk_open_node(struct disk_opening *in, struct disk **ret_disk, struct err *e);

/* The protocol whose prefix the name has; &disk_driver_host for a path. *ret_rest: the name. */
const struct disk_driver *disk_protocol_of(const char *name);

/* disk_reopen() of a node that serves another in that role. */
int disk_reopen_node(struct disk *d, unsigned flags, enum disk_role role, struct err *e);

/* Sets d->perm and d->shared for the role (disk/host.h). */
void disk_set_locks(struct disk *d, enum disk_role role);

/* A range of a node that writers of parts of a block hold. */
struct disk_range_lock {
	uint64_t start, end;
	struct disk_range_lock *next;
};

#endif
