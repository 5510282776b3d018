/* Joins layers. Every layer is a mount (EROFS) or a directory, overlay is put over them, and the
 * caller gets the overlay alone: it keeps clones of what it stands on.
 *
 * Linux takes mounts that are attached nowhere as overlay's layers from 6.15 on. Before, they must be
 * attached in the mount namespace of the caller. Nobody wants to see them there, nor to clean up after
 * a kill, so then a child does it all in a namespace of its own, which ends with it. */
#include "image/layer_int.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "image/store_int.h"
#include "os/fdpass.h"
#include "os/path.h"
#include "os/proc.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* A directory that every host has; in the child's namespace a tmpfs covers it. */
#define CHILD_PLACE "/sys"

static void parts_done(struct layer_part *parts, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (parts[i].fd >= 0)
			close(parts[i].fd);
		buf_done(&parts[i].implied);
	}
}

static int open_erofs(int dirfd, struct err *e)
{
	_close_ int index = path_open(dirfd, LAYER_INDEX, O_RDONLY, 0);
	_close_ int tar = path_open(dirfd, LAYER_TAR, O_RDONLY, 0);

	if (index < 0 || tar < 0)
		return err_set(e, ERR_LAYER_IO, index < 0 ? index : tar, "cannot open a layer");
	return mount_erofs(index, tar, e);
}

static int open_root(struct image_store *s, int dirfd, const struct digest *diff_id,
		     bool *ret_is_mount, struct err *e)
{
	int fd;

	switch (layer_backend_of(s, dirfd)) {
	case LAYER_EROFS:
		*ret_is_mount = true;
		return open_erofs(dirfd, e);
	case LAYER_DIR:
		fd = path_open(dirfd, LAYER_ROOT, O_RDONLY | O_DIRECTORY, 0);
		return fd < 0 ? err_set(e, ERR_LAYER_IO, fd, "cannot open a layer") : fd;
	default:
		return err_set(e, ERR_LAYER_MISSING, -ENOENT,
			       "layer %s cannot be mounted by this user on this host",
			       digest_text(diff_id, (char[DIGEST_TEXT_MAX]){0}));
	}
}

static int open_layer(struct image_store *s, const struct digest *diff_id, struct layer_part *part,
		      struct err *e)
{
	_close_ int dirfd = layer_open_dir(s, diff_id, e);
	struct layer_facts facts;
	int rc = dirfd < 0 ? dirfd : layer_read_facts(dirfd, &facts, e);

	*part = (struct layer_part){.fd = -1};
	if (rc)
		return rc;
	part->whiteouts = facts.whiteouts;
	rc = path_read(dirfd, LAYER_IMPLIED, &part->implied, LAYER_IMPLIED_MAX);
	if (rc && rc != -ENOENT)
		return err_set(e, ERR_LAYER_IO, rc, "cannot read a layer: %s", strerror(-rc));
	part->fd = open_root(s, dirfd, diff_id, &part->is_mount, e);
	return part->fd < 0 ? part->fd : 0;
}

/* In the child's namespace: the mount gets a place. */
static int attach(int mount_fd, size_t i, struct err *e)
{
	char place[32];

	snprintf(place, sizeof(place), CHILD_PLACE "/%zu", i);
	if (path_mkdir(AT_FDCWD, place, 0700) ||
	    syscall(SYS_move_mount, mount_fd, "", AT_FDCWD, place, MOVE_MOUNT_F_EMPTY_PATH))
		return err_sys(e, ERR_LAYER_MOUNT, "cannot attach a layer");
	return 0;
}

static int join(const struct layer_mount *m, const struct layer_part *parts, size_t count,
		struct err *e)
{
	int lower[LAYER_COUNT_MAX + 2];
	bool user_xattrs = proc_in_userns();

	for (size_t i = 0; i < count; i++)
		lower[i] = parts[i].fd;
	if (!m->upper)
		return mount_overlay(lower, count, -1, -1, user_xattrs, e);
	_close_ int upper = path_open(AT_FDCWD, m->upper, O_RDONLY | O_DIRECTORY, 0);
	_close_ int work = path_open(AT_FDCWD, m->work, O_RDONLY | O_DIRECTORY, 0);

	if (upper < 0 || work < 0)
		return err_set(e, ERR_LAYER_MOUNT, upper < 0 ? upper : work, "cannot open '%s'",
			       upper < 0 ? m->upper : m->work);
	return mount_overlay(lower, count, upper, work, user_xattrs, e);
}

/* A layer of nothing below the others. */
static int add_empty(struct layer_part *parts, size_t *n, struct err *e)
{
	int fd = mount_tmpfs(e);

	if (fd < 0)
		return fd;
	parts[(*n)++] = (struct layer_part){.fd = fd, .is_mount = true};
	return 0;
}

/* Opens the layers behind parts[0], which is the place of what layer_fix() makes. */
static int open_layers(struct image_store *s, const struct layer_mount *m, struct layer_part *parts,
		       size_t *n, struct err *e)
{
	int rc = 0;

	for (size_t i = m->count; i-- > 0 && !rc;)
		rc = open_layer(s, &m->diff_ids[i], &parts[(*n)++], e);
	return rc ? rc : layer_fix(parts + 1, *n - 1, proc_in_userns(), &parts[0].fd, e);
}

/* Mounts the layers, the uppermost first, and joins them. */
static int compose(struct image_store *s, const struct layer_mount *m, bool attached, struct err *e)
{
	struct layer_part parts[LAYER_COUNT_MAX + 2];
	size_t n = 1, first;

	parts[0] = (struct layer_part){.fd = -1, .is_mount = true};
	int rc = open_layers(s, m, parts, &n, e);

	first = parts[0].fd < 0;
	/* The lowest layer's whiteouts have nothing to remove, but only overlay hides them, and it
	 * wants two layers for that. An image of no layers is an empty directory. */
	bool alone = n - first == 1 && !m->upper && parts[first].is_mount &&
		     !parts[first].whiteouts && !attached;

	if (!rc && !alone && n - first < 2)
		rc = add_empty(parts, &n, e);
	if (!rc && !alone && n - first < 2)
		rc = add_empty(parts, &n, e);
	for (size_t i = first; i < n && !rc && attached; i++)
		rc = parts[i].is_mount ? attach(parts[i].fd, i, e) : 0;
	if (!rc && alone)
		rc = STEAL_FD(parts[first].fd);
	else if (!rc)
		rc = join(m, parts + first, n - first, e);
	parts_done(parts, n);
	return rc;
}

/* --- the child --- */

struct result {
	int rc;
	struct err e;
};

static void child_main(struct image_store *s, const struct layer_mount *m, int sock,
		       struct result *r)
{
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", CHILD_PLACE, "tmpfs", 0, NULL)) {
		r->rc = err_sys(&r->e, ERR_LAYER_MOUNT, "cannot make a mount namespace");
		return;
	}
	/* The parent's descriptor belongs to the namespace that the child has left. */
	s->fd = path_open(AT_FDCWD, s->path, O_RDONLY | O_DIRECTORY, 0);
	int fd = compose(s, m, true, &r->e);

	r->rc = fd < 0 ? fd : fdpass_send(sock, fd, "m", 1);
}

int layer_mount_in_child(struct image_store *s, const struct layer_mount *m, struct err *e)
{
	int sock[2], rc;
	struct result *r =
	    mmap(NULL, sizeof(*r), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (r == MAP_FAILED)
		return err_sys(e, ERR_LAYER_MOUNT, "cannot share memory with a child");
	r->rc = -ECHILD; /* what a killed one leaves */
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock)) {
		munmap(r, sizeof(*r));
		return err_sys(e, ERR_LAYER_MOUNT, "cannot make a socket pair");
	}
	pid_t pid = fork();

	if (pid == 0) {
		child_main(s, m, sock[1], r);
		_exit(0);
	}
	close(sock[1]);
	if (pid < 0) {
		rc = err_sys(e, ERR_LAYER_MOUNT, "cannot start a child");
	} else {
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		rc = r->rc ? r->rc : fdpass_receive(sock[0]);
		if (r->rc && r->e.rc && e)
			*e = r->e;
		else if (rc < 0)
			err_set(e, ERR_LAYER_MOUNT, rc, "a child could not mount the image");
	}
	close(sock[0]);
	munmap(r, sizeof(*r));
	return rc;
}

int layer_mount(struct image_store *s, const struct layer_mount *m, struct err *e)
{
	if (m->count > LAYER_COUNT_MAX)
		return err_set(e, ERR_LAYER_MOUNT, -E2BIG, "the image has more than %u layers",
			       LAYER_COUNT_MAX);
	struct err first = {0};
	int fd = compose(s, m, false, &first);

	if (fd == -EINVAL && first.code == ERR_LAYER_MOUNT)
		return layer_mount_in_child(s, m, e);
	if (fd < 0 && e)
		*e = first;
	return fd;
}
