/* QEMU's image locks. For each permission that a process uses it holds a read lock on byte 100 + bit,
 * and for each that it does not share one on byte 200 + bit. It then looks whether anyone holds the
 * opposite byte. Read locks never conflict with each other, so that they work on read-only
 * descriptors; the look is F_OFD_GETLK for a write lock. Locks before looks: of two that come at the
 * same time at least one sees the other. */
#include "disk/host.h"

#include <errno.h>
#include <fcntl.h>

#include "base/cleanup.h"

#define LOCK_PERM   100
#define LOCK_SHARED 200
#define PERM_BITS   4

static const char *const perm_names[PERM_BITS] = {"consistent read", "write", "write unchanged",
						  "resize"};

static int lock_byte(int fd, off_t at, short type)
{
	struct flock fl = {.l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};

	return fcntl(fd, F_OFD_SETLK, &fl) < 0 ? -errno : 0;
}

/* 1 where someone else holds the byte. */
static int byte_is_held(int fd, off_t at)
{
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};

	if (fcntl(fd, F_OFD_GETLK, &fl) < 0)
		return -errno;
	return fl.l_type != F_UNLCK;
}

/* Locks what `wanted` has more than `held`, or unlocks what it has less. */
static int change(int fd, off_t base, unsigned held, unsigned wanted, bool adding)
{
	unsigned bits = adding ? wanted & ~held : held & ~wanted;

	for (unsigned i = 0; i < PERM_BITS; i++) {
		if (!(bits & 1u << i))
			continue;
		int rc = lock_byte(fd, base + i, adding ? F_RDLCK : F_UNLCK);

		if (rc < 0)
			return rc;
	}
	return 0;
}

static int look(int fd, off_t base, unsigned bits, const char *kind, const char *name,
		struct err *e)
{
	for (unsigned i = 0; i < PERM_BITS; i++) {
		if (!(bits & 1u << i))
			continue;
		int rc = byte_is_held(fd, base + i);

		if (rc < 0)
			return err_set(e, ERR_DISK_LOCKED, rc, "Failed to get %s\"%s\" lock", kind,
				       perm_names[i]);
		if (rc)
			return err_set(e, ERR_DISK_LOCKED, -EAGAIN,
				       "Failed to get %s\"%s\" lock\n"
				       "Is another process using the image [%s]?",
				       kind, perm_names[i], name);
	}
	return 0;
}

int disk_host_lock(int fd, const char *name, unsigned old_perm, unsigned old_shared, unsigned perm,
		   unsigned shared, struct err *e)
{
	unsigned old_kept = ~old_shared & DISK_PERM_ALL, kept = ~shared & DISK_PERM_ALL;
	int rc = change(fd, LOCK_PERM, old_perm, perm, true);

	if (rc == 0)
		rc = change(fd, LOCK_SHARED, old_kept, kept, true);
	if (rc < 0)
		err_set(e, ERR_DISK_LOCKED, rc, "Failed to lock byte of image '%s'", name);
	if (rc == 0)
		rc = look(fd, LOCK_SHARED, perm & ~old_perm, "", name, e);
	if (rc == 0)
		rc = look(fd, LOCK_PERM, kept & ~old_kept, "shared ", name, e);
	if (rc < 0) {
		change(fd, LOCK_PERM, old_perm | perm, old_perm, false);
		change(fd, LOCK_SHARED, old_kept | kept, old_kept, false);
		return rc;
	}
	change(fd, LOCK_PERM, old_perm, perm, false);
	change(fd, LOCK_SHARED, old_kept, kept, false);
	return 0;
}
