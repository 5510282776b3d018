#include "image/layer_dir.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "codec/tar.h"
#include "image/layer_int.h"
#include "image/tree.h"
#include "image/unpack.h"
#include "image/userns.h"
#include "os/path.h"
#include "os/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define PIECE (256u << 10)

struct layer_dir {
	int dirfd;
	bool *whiteouts; /* shared with the child */

	/* here */
	int root;
	struct tar_reader *reader;
	struct unpacker *unpacker;
	struct tree names; /* to know which directories have no entry */

	/* in a child */
	struct userns_task *task;
	int sock, child_end;
};

/* --- unpacking --- */

static int take_entry(void *arg, const struct tar_entry *t, struct err *e)
{
	struct layer_dir *d = arg;
	uint32_t inode;
	int rc = tree_add(&d->names, t, &inode, e);

	*d->whiteouts |= layer_entry_is_whiteout(t);
	return rc ? rc : unpacker_entry(d->unpacker, t, e);
}

static int take_data(void *arg, const void *p, size_t len, struct err *e)
{
	return unpacker_data(((struct layer_dir *)arg)->unpacker, p, len, e);
}

static const struct tar_sink sink = {take_entry, take_data};

static int fail(int rc, struct err *e, const char *what)
{
	return err_set(e, ERR_LAYER_IO, rc, "cannot %s an unpacked layer: %s", what, strerror(-rc));
}

static int begin(struct layer_dir *d, struct err *e)
{
	bool plain_user = proc_in_userns();
	const struct unpack_options o = {.lenient = plain_user, .user_xattrs = plain_user};
	int rc = path_mkdir(d->dirfd, LAYER_ROOT, 0755);

	d->root = rc ? rc : path_open(d->dirfd, LAYER_ROOT, O_RDONLY | O_DIRECTORY, 0);
	if (d->root < 0)
		return fail(d->root, e, "make");
	d->unpacker = unpacker_new(d->root, &o);
	d->reader = tar_reader_new(&sink, d);
	tree_init(&d->names);
	return 0;
}

static int end(struct layer_dir *d, struct err *e)
{
	_buf_ struct buf implied = {0};
	int rc = tar_reader_finish(d->reader, e);

	rc = rc ? rc : unpacker_finish(d->unpacker, e);
	if (rc)
		return rc;
	tree_implied(&d->names, &implied);
	if (implied.len)
		rc = path_replace(d->dirfd, LAYER_IMPLIED, implied.s, implied.len, 0600, true);
	/* One call instead of one per file. */
	if (!rc && syncfs(d->root))
		rc = -errno;
	return rc ? fail(rc, e, "write") : 0;
}

/* --- the child --- */

static int child_main(void *arg, struct err *e)
{
	struct layer_dir *d = arg;
	_free_ char *piece = mem_alloc(PIECE);
	int rc = begin(d, e);

	while (!rc) {
		ssize_t n = recv(d->child_end, piece, PIECE, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail(-errno, e, "receive");
		if (n == 0)
			return end(d, e);
		rc = tar_reader_feed(d->reader, piece, (size_t)n, e);
	}
	return rc;
}

static int start_child(struct layer_dir *d, struct err *e)
{
	int sock[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock))
		return fail(-errno, e, "make");
	d->sock = sock[0];
	d->child_end = sock[1];
	int rc = userns_start(child_main, d, &d->task, e);

	close(sock[1]);
	return rc;
}

/* Why the child takes no more. */
static int child_failed(struct layer_dir *d, struct err *e)
{
	int rc = userns_wait(d->task, e);

	d->task = NULL;
	return rc ? rc : fail(-EPIPE, e, "write");
}

static int send_all(struct layer_dir *d, const char *p, size_t len, struct err *e)
{
	while (len) {
		ssize_t n = send(d->sock, p, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return child_failed(d, e);
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* --- either --- */

int layer_dir_new(int dirfd, struct layer_dir **ret, struct err *e)
{
	struct layer_dir *d = mem_alloc(sizeof(*d));

	d->dirfd = dirfd;
	d->root = d->sock = -1;
	d->whiteouts = mmap(NULL, sizeof(*d->whiteouts), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int rc = d->whiteouts == MAP_FAILED ? fail(-errno, e, "make")
		 : userns_is_needed()       ? start_child(d, e)
					    : begin(d, e);

	if (rc)
		layer_dir_free(d);
	else
		*ret = d;
	return rc;
}

void layer_dir_free(struct layer_dir *d)
{
	if (!d)
		return;
	userns_stop(d->task);
	if (d->sock >= 0)
		close(d->sock);
	tar_reader_free(d->reader);
	unpacker_free(d->unpacker);
	tree_done(&d->names);
	if (d->root >= 0)
		close(d->root);
	if (d->whiteouts != MAP_FAILED)
		munmap(d->whiteouts, sizeof(*d->whiteouts));
	free(d);
}

int layer_dir_append(struct layer_dir *d, const void *p, size_t len, struct err *e)
{
	return d->task ? send_all(d, p, len, e) : tar_reader_feed(d->reader, p, len, e);
}

int layer_dir_finish(struct layer_dir *d, bool *ret_whiteouts, struct err *e)
{
	int rc;

	if (d->task) {
		/* Not close(2): children of other layers have copies of the descriptor. */
		shutdown(d->sock, SHUT_WR);
		rc = userns_wait(d->task, e);
		d->task = NULL;
	} else {
		rc = end(d, e);
	}
	if (!rc)
		*ret_whiteouts = *d->whiteouts;
	return rc;
}
