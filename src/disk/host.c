/* Host files and block devices. Buffered reads are tried with RWF_NOWAIT first, which serves what is in
 * the page cache without a turn of the context; what would block goes through it. Buffered writes go
 * directly only in contexts that have nothing else to do (inline_writes), since they may wait for
 * writeback. Where O_DIRECT wants aligned memory, bad memory is copied. */
#include "disk/host.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "disk/co_int.h"
#include "os/path.h"

#define SLICE_MAX    64          /* pieces of one system call */
#define FILL_BYTES   (1u << 20)  /* of zeroes at once, for preallocation=full */
#define COPY_MAX     (64u << 20) /* of one copy_file_range(2), so that progress is seen */
#define DIRECT_ALIGN 4096        /* where the kernel does not say what O_DIRECT wants */

enum locking { LOCKING_AUTO, LOCKING_ON, LOCKING_OFF };

struct host {
	int fd;
	bool device, direct, lock;
	bool no_nowait; /* the file system knows no RWF_NOWAIT */
	bool no_punch, no_zero_range, no_copy;
	uint32_t mem_align;    /* of O_DIRECT; 1: any */
	unsigned perm, shared; /* as locked */
	bool locked;
	/* The data that lseek(2) found last; start == end: none. Writes inside only confirm it. */
	uint64_t data_start, data_end;
};

static int host_error(struct err *e, const char *name, int rc)
{
	enum err_code code = rc == -ENOENT                    ? ERR_NOT_FOUND
			     : rc == -EACCES || rc == -EPERM  ? ERR_DENIED
			     : rc == -EROFS                   ? ERR_DISK_READONLY
			     : rc == -ENOSPC || rc == -EDQUOT ? ERR_DISK_FULL
							      : ERR_DISK_IO;

	return err_set(e, code, rc, "%s%s%s", name, *name ? ": " : "", strerror(-rc));
}

/* --- open and close --- */

static int device_size(int fd, uint64_t *ret_size)
{
	return ioctl(fd, BLKGETSIZE64, ret_size) < 0 ? -errno : 0;
}

/* What O_DIRECT wants of offsets and of memory. */
static void find_alignment(struct disk *d, struct host *h)
{
	int sector = 0;

	d->align = 1;
	h->mem_align = 1;
	if (!h->direct)
		return;
	struct statx sx;

	d->align = h->mem_align = DIRECT_ALIGN;
	if (h->device && ioctl(h->fd, BLKSSZGET, &sector) == 0 && bits_is_pow2((uint64_t)sector))
		d->align = h->mem_align = (uint32_t)sector;
#ifdef STATX_DIOALIGN
	else if (statx(h->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) == 0 &&
		 sx.stx_mask & STATX_DIOALIGN && bits_is_pow2(sx.stx_dio_offset_align) &&
		 bits_is_pow2(sx.stx_dio_mem_align)) {
		d->align = sx.stx_dio_offset_align;
		h->mem_align = sx.stx_dio_mem_align;
	}
#else
	(void)sx;
#endif
}

static int open_flags(unsigned flags)
{
	return (flags & DISK_WRITE ? O_RDWR : O_RDONLY) | (flags & DISK_DIRECT ? O_DIRECT : 0) |
	       O_NONBLOCK;
}

static int open_fd(const char *filename, unsigned flags, struct stat *ret_st, struct err *e)
{
	_close_ int fd = path_open(AT_FDCWD, filename, open_flags(flags), 0);

	if (fd == -EINVAL && flags & DISK_DIRECT)
		return err_set(e, ERR_UNSUPPORTED, -EINVAL,
			       "File system does not support O_DIRECT for '%s'", filename);
	if (fd < 0)
		return err_set(e, fd == -ENOENT ? ERR_NOT_FOUND : ERR_DENIED, fd,
			       "Could not open '%s': %s", filename, strerror(-fd));
	if (fstat(fd, ret_st) < 0)
		return host_error(e, "fstat", -errno);
	if (!S_ISREG(ret_st->st_mode) && !S_ISBLK(ret_st->st_mode))
		return err_set(e, ERR_DISK_FORMAT, S_ISDIR(ret_st->st_mode) ? -EISDIR : -EINVAL,
			       "'%s' is neither a regular file nor a block device", filename);
	return STEAL_FD(fd);
}

static bool wants_lock(enum locking locking, const struct host *h, int fd)
{
	/* Some file systems have none; QEMU's "auto" goes without there, too. */
	struct flock fl = {.l_type = F_RDLCK, .l_whence = SEEK_SET};

	return locking == LOCKING_ON ||
	       (locking == LOCKING_AUTO && fcntl(fd, F_OFD_GETLK, &fl) == 0);
}

static int take_locks(struct disk *d, struct host *h, int fd, struct err *e)
{
	unsigned old_perm = h->locked ? h->perm : 0,
		 old_shared = h->locked ? h->shared : DISK_PERM_ALL;
	int rc = h->lock
		     ? disk_host_lock(fd, d->filename, old_perm, old_shared, d->perm, d->shared, e)
		     : 0;

	if (rc < 0)
		return rc;
	h->perm = d->perm;
	h->shared = d->shared;
	h->locked = true;
	return 0;
}

static int host_size(const struct host *h, const struct stat *st, uint64_t *ret_size)
{
	*ret_size = (uint64_t)st->st_size;
	return h->device ? device_size(h->fd, ret_size) : 0;
}

static int host_open(struct disk *d, json_t *o, struct err *e)
{
	static const char *const lockings[] = {"auto", "on", "off", NULL};
	static const char *const aios[] = {"threads", "native", "io_uring", NULL};
	struct host *h = d->state;
	_free_ char *filename = NULL;
	unsigned locking = LOCKING_AUTO, aio;
	struct stat st;
	int rc = disk_opts_take_str(o, "filename", &filename, e);

	if (rc < 0)
		return rc;
	if (!rc)
		return err_set(e, ERR_DISK_OPTION, -EINVAL,
			       "The 'file' block driver requires a file name");
	/* How I/O is done is the context's decision; QEMU's names for it are accepted. */
	if (disk_opts_take_enum(o, "locking", lockings, &locking, e) < 0 ||
	    disk_opts_take_enum(o, "aio", aios, &aio, e) < 0)
		return e ? e->rc : -EINVAL;
	_close_ int fd = open_fd(filename, d->flags, &st, e);

	if (fd < 0)
		return fd;
	if (!d->filename)
		d->filename = mem_strdup(filename);
	h->device = S_ISBLK(st.st_mode);
	h->direct = d->flags & DISK_DIRECT;
	h->lock = wants_lock(locking, h, fd);
	h->fd = fd;
	rc = host_size(h, &st, &d->size);
	if (rc < 0)
		return host_error(e, filename, rc);
	rc = take_locks(d, h, fd, e);
	if (rc < 0)
		return rc;
	find_alignment(d, h);
	d->growable = !h->device;
	d->zero_flags = DISK_REQ_UNMAP;
	STEAL_FD(fd);
	return 0;
}

static void drop_locks(const char *name, struct host *h)
{
	if (h->lock && h->locked)
		disk_host_lock(h->fd, name, h->perm, h->shared, 0, DISK_PERM_ALL, NULL);
	h->locked = false;
}

/* io_uring may hold the open file for a moment longer than we do, and the locks with it: they go
 * first. */
static int host_close(struct disk *d)
{
	struct host *h = d->state;

	drop_locks(d->filename, h);
	return close(h->fd) < 0 ? -errno : 0;
}

/* The descriptor's access mode cannot be changed: a new one, with its own locks. */
static int host_reopen(struct disk *d, unsigned flags, struct err *e)
{
	struct host *h = d->state, fresh = *h;
	struct stat st, old;

	_close_ int fd = open_fd(d->filename, flags, &st, e);

	if (fd < 0)
		return fd;
	if (fstat(h->fd, &old) < 0 || old.st_ino != st.st_ino || old.st_dev != st.st_dev)
		return err_set(e, ERR_DISK_IO, -ESTALE, "'%s' is another file now", d->filename);
	/* The old locks are ours: they must not stand in the way of the new ones. */
	bool was_locked = h->locked;

	drop_locks(d->filename, h);
	fresh.locked = false;
	fresh.fd = fd;
	fresh.direct = flags & DISK_DIRECT;
	int rc = take_locks(d, &fresh, fd, e);

	if (rc < 0) {
		if (h->lock && was_locked &&
		    disk_host_lock(h->fd, d->filename, 0, DISK_PERM_ALL, h->perm, h->shared,
				   NULL) == 0)
			h->locked = true;
		return rc;
	}
	close(h->fd);
	*h = fresh;
	STEAL_FD(fd);
	find_alignment(d, h);
	return 0;
}

/* --- reading and writing --- */

static void skip_bytes(struct iovec **iov, int *count, size_t n)
{
	while (*count && n >= (*iov)->iov_len) {
		n -= (*iov)->iov_len;
		(*iov)++;
		(*count)--;
	}
	if (*count) {
		(*iov)->iov_base = (char *)(*iov)->iov_base + n;
		(*iov)->iov_len -= n;
	}
}

static ssize_t read_some(struct disk *d, struct host *h, struct iovec *iov, int count,
			 uint64_t offset)
{
	if (!h->direct && !h->no_nowait) {
		ssize_t n = preadv2(h->fd, iov, count, (off_t)offset, RWF_NOWAIT);

		if (n > 0)
			return n;
		if (n < 0 && errno == EOPNOTSUPP)
			h->no_nowait = true;
	}
	return co_preadv(d->ctx, h->fd, iov, count, (off_t)offset);
}

/* A short read is the file's end, or an interrupted one: what is not there is zero. */
static int read_pieces(struct disk *d, uint64_t offset, struct iovec *iov, int count)
{
	struct host *h = d->state;

	while (count) {
		ssize_t n = read_some(d, h, iov, count, offset);

		if (n == -EINTR || n == -EAGAIN)
			continue;
		if (n < 0)
			return (int)n;
		if (n == 0) {
			for (int i = 0; i < count; i++)
				memset(iov[i].iov_base, 0, iov[i].iov_len);
			return 0;
		}
		offset += (uint64_t)n;
		skip_bytes(&iov, &count, (size_t)n);
	}
	return 0;
}

static ssize_t write_some(struct disk *d, struct host *h, const struct iovec *iov, int count,
			  uint64_t offset)
{
	if (d->ctx->inline_writes && !h->direct) {
		ssize_t n = pwritev(h->fd, iov, count, (off_t)offset);

		return n < 0 ? -errno : n;
	}
	return co_pwritev(d->ctx, h->fd, iov, count, (off_t)offset);
}

static int write_pieces(struct disk *d, uint64_t offset, struct iovec *iov, int count)
{
	struct host *h = d->state;

	while (count) {
		ssize_t n = write_some(d, h, iov, count, offset);

		if (n == -EINTR || n == -EAGAIN)
			continue;
		if (n <= 0)
			return n ? (int)n : -EIO;
		offset += (uint64_t)n;
		skip_bytes(&iov, &count, (size_t)n);
	}
	return 0;
}

/* Is the memory good enough for O_DIRECT? */
static bool pieces_suit(const struct host *h, const struct iovec *iov, int count)
{
	for (int i = 0; h->mem_align > 1 && i < count; i++)
		if (((uintptr_t)iov[i].iov_base | iov[i].iov_len) & (h->mem_align - 1))
			return false;
	return true;
}

static int via_copy(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v,
		    size_t at, bool writing)
{
	struct host *h = d->state;
	_free_ uint8_t *copy = NULL;

	if (posix_memalign((void **)&copy, MAX(h->mem_align, d->align), len))
		return -ENOMEM;
	struct iovec iov = {copy, len};

	if (writing)
		disk_vec_get(v, at, copy, len);
	int rc = writing ? write_pieces(d, offset, &iov, 1) : read_pieces(d, offset, &iov, 1);

	if (rc == 0 && !writing)
		disk_vec_put(v, at, copy, len);
	return rc;
}

/* In steps that a slice holds. */
static int transfer(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v,
		    size_t at, bool writing)
{
	struct host *h = d->state;
	struct iovec iov[SLICE_MAX];
	int rc = 0;

	while (len && rc == 0) {
		size_t n = len;
		int count = disk_vec_slice(v, at, n, iov, SLICE_MAX);

		if (count < 0) {
			/* Many small pieces: as many as fit, or a copy where those would be misaligned. */
			n = 0;
			count = SLICE_MAX;
			for (int i = 0; i < SLICE_MAX; i++)
				n += iov[i].iov_len;
		}
		if ((n & (d->align - 1)) || !pieces_suit(h, iov, count)) {
			n = MIN(len, (size_t)FILL_BYTES);
			rc = via_copy(d, offset, n, v, at, writing);
		} else {
			rc = writing ? write_pieces(d, offset, iov, count)
				     : read_pieces(d, offset, iov, count);
		}
		offset += n;
		at += n;
		len -= n;
	}
	return rc;
}

static int host_preadv(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v,
		       size_t at)
{
	return transfer(d, offset, len, v, at, false);
}

/* The cached data range is only right for what it says is data; a hole may have been filled. */
static void has_grown(struct disk *d, uint64_t end)
{
	if (d->growable && end > d->size)
		d->size = end;
}

static int host_pwritev(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v,
			size_t at, unsigned flags)
{
	int rc = transfer(d, offset, len, v, at, true);

	if (rc == 0)
		has_grown(d, offset + len);
	return rc;
}

static int host_flush(struct disk *d)
{
	struct host *h = d->state;

	return co_fdatasync(d->ctx, h->fd);
}

/* --- zeroes, holes, space --- */

static bool unsupported_here(int rc)
{
	return rc == -EOPNOTSUPP || rc == -ENOSYS || rc == -ENOTTY || rc == -EINVAL ||
	       rc == -ENODEV || rc == -EPERM;
}

static int punch(struct disk *d, struct host *h, uint64_t offset, uint64_t len)
{
	if (h->no_punch)
		return -ENOTSUP;
	int rc = co_fallocate(d->ctx, h->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			      (off_t)offset, (off_t)len);

	h->data_start = h->data_end = 0;
	if (rc < 0 && unsupported_here(rc)) {
		h->no_punch = true;
		return -ENOTSUP;
	}
	return rc;
}

static int grow_to(struct disk *d, struct host *h, uint64_t end)
{
	if (!d->growable || end <= d->size)
		return 0;
	if (ftruncate(h->fd, (off_t)end) < 0)
		return -errno;
	d->size = end;
	return 0;
}

static int host_write_zeroes(struct disk *d, uint64_t offset, uint64_t len, unsigned flags)
{
	struct host *h = d->state;
	int rc;

	if (d->growable && offset >= d->size) {
		/* Behind the end there is nothing to clear. */
		if (flags & DISK_REQ_UNMAP)
			return grow_to(d, h, offset + len);
		rc = co_fallocate(d->ctx, h->fd, 0, (off_t)offset, (off_t)len);
		if (rc == 0)
			has_grown(d, offset + len);
		return rc < 0 && unsupported_here(rc) ? grow_to(d, h, offset + len) : rc;
	}
	if (flags & DISK_REQ_UNMAP) {
		rc = punch(d, h, offset, len);
		if (rc == 0)
			rc = grow_to(d, h, offset + len);
		if (rc != -ENOTSUP)
			return rc;
	}
	if (h->no_zero_range)
		return -ENOTSUP;
	rc = co_fallocate(d->ctx, h->fd, FALLOC_FL_ZERO_RANGE, (off_t)offset, (off_t)len);
	if (rc == 0)
		has_grown(d, offset + len);
	if (rc < 0 && unsupported_here(rc)) {
		h->no_zero_range = true;
		return -ENOTSUP;
	}
	return rc;
}

static int host_discard(struct disk *d, uint64_t offset, uint64_t len)
{
	struct host *h = d->state;

	if (d->growable && offset + len > d->size)
		len = offset < d->size ? d->size - offset : 0;
	return len ? punch(d, h, offset, len) : 0;
}

struct copy {
	int from, to;
	off_t from_offset, to_offset;
	size_t len;
};

static int call_copy(void *arg)
{
	struct copy *c = arg;

	while (c->len) {
		ssize_t n =
		    copy_file_range(c->from, &c->from_offset, c->to, &c->to_offset, c->len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		c->len -= (size_t)n;
	}
	return 0;
}

static int host_copy_range(struct disk *from, uint64_t from_offset, struct disk *to,
			   uint64_t to_offset, uint64_t len)
{
	struct host *h = to->state;

	if (from->drv != to->drv || h->no_copy || from_offset + len > from->size)
		return -ENOTSUP;
	while (len) {
		struct copy c = {
		    .from = ((struct host *)from->state)->fd,
		    .to = h->fd,
		    .from_offset = (off_t)from_offset,
		    .to_offset = (off_t)to_offset,
		    .len = (size_t)MIN(len, (uint64_t)COPY_MAX),
		};
		size_t n = c.len;
		int rc = co_call(to->ctx, call_copy, &c);

		if (rc < 0) {
			h->no_copy = rc == -ENOSYS || rc == -EXDEV || rc == -EOPNOTSUPP ||
				     rc == -EINVAL || rc == -EBADF;
			return h->no_copy ? -ENOTSUP : rc;
		}
		from_offset += n;
		to_offset += n;
		len -= n;
		has_grown(to, to_offset);
	}
	return 0;
}

/* --- where data is --- */

/* Finds the extent at offset: data from it on, or a hole. */
static int seek_extent(struct disk *d, struct host *h, uint64_t offset, uint64_t *ret_end,
		       bool *ret_data)
{
	off_t data = lseek(h->fd, (off_t)offset, SEEK_DATA);

	if (data < 0 && errno == ENXIO) {
		*ret_data = false;
		*ret_end = d->size;
		return 0;
	}
	if (data < 0)
		return -errno;
	if ((uint64_t)data > offset) {
		*ret_data = false;
		*ret_end = (uint64_t)data;
		return 0;
	}
	off_t hole = lseek(h->fd, (off_t)offset, SEEK_HOLE);

	if (hole < 0)
		return -errno;
	*ret_data = true;
	*ret_end = (uint64_t)hole;
	return 0;
}

static int host_block_status(struct disk *d, uint64_t offset, uint64_t len, bool exact,
			     struct disk_extent *x)
{
	struct host *h = d->state;
	uint64_t end = offset + len;
	bool data = true;

	x->host = d;
	x->host_offset = offset;
	if (exact && offset >= h->data_start && offset < h->data_end) {
		end = h->data_end;
	} else if (exact) {
		if (seek_extent(d, h, offset, &end, &data) < 0 || end <= offset) {
			end = offset + len;
			data = true;
		} else if (data) {
			h->data_start = offset;
			h->data_end = end;
		}
	}
	x->len = MIN(len, end - offset);
	x->flags = DISK_EXT_OFFSET | DISK_EXT_ALLOCATED | (data ? DISK_EXT_DATA : DISK_EXT_ZERO);
	return 0;
}

static int64_t host_allocated_size(struct disk *d)
{
	struct host *h = d->state;
	struct stat st;

	return fstat(h->fd, &st) < 0 ? -errno : (int64_t)st.st_blocks * 512;
}

static bool host_starts_zeroed(struct disk *d)
{
	struct host *h = d->state;

	return !h->device;
}

/* --- size and creation --- */

static int fill(struct disk *d, struct host *h, uint64_t offset, uint64_t end)
{
	_free_ uint8_t *buf = NULL;

	if (posix_memalign((void **)&buf, DIRECT_ALIGN, FILL_BYTES))
		return -ENOMEM;
	memset(buf, 0, FILL_BYTES);
	while (offset < end) {
		struct iovec iov = {buf, (size_t)MIN(end - offset, (uint64_t)FILL_BYTES)};
		uint64_t n = iov.iov_len;
		int rc = write_pieces(d, offset, &iov, 1);

		if (rc < 0)
			return rc;
		offset += n;
	}
	return co_fdatasync(d->ctx, h->fd);
}

static int grow(struct disk *d, struct host *h, uint64_t size, enum disk_prealloc prealloc,
		struct err *e)
{
	int rc = 0;

	switch (prealloc) {
	case DISK_PREALLOC_OFF:
	case DISK_PREALLOC_METADATA:
		if (ftruncate(h->fd, (off_t)size) < 0)
			return host_error(e, "Failed to resize file", -errno);
		return 0;
	case DISK_PREALLOC_FALLOC:
		rc = co_fallocate(d->ctx, h->fd, 0, (off_t)d->size, (off_t)(size - d->size));
		if (rc < 0)
			host_error(e, "Could not preallocate data for the new file", rc);
		break;
	case DISK_PREALLOC_FULL:
		rc = fill(d, h, d->size, size);
		if (rc < 0)
			host_error(e, "Could not write zeros for preallocation", rc);
		break;
	}
	if (rc < 0 && ftruncate(h->fd, (off_t)d->size) < 0)
		return rc; /* the first error counts */
	return rc;
}

static int host_truncate(struct disk *d, uint64_t size, bool exact, enum disk_prealloc prealloc,
			 unsigned flags, struct err *e)
{
	struct host *h = d->state;

	h->data_start = h->data_end = 0;
	if (h->device) {
		if (size > d->size || (size < d->size && exact))
			return err_set(e, ERR_UNSUPPORTED, -ENOTSUP, "Cannot resize device files");
		return 0;
	}
	if (prealloc == DISK_PREALLOC_METADATA)
		return err_set(e, ERR_UNSUPPORTED, -ENOTSUP,
			       "Unsupported preallocation mode 'metadata'");
	if (size < d->size) {
		if (prealloc != DISK_PREALLOC_OFF)
			return err_set(e, ERR_DISK_OPTION, -EINVAL,
				       "Preallocation can't be used for shrinking files");
		if (ftruncate(h->fd, (off_t)size) < 0)
			return host_error(e, "Failed to resize file", -errno);
	} else if (size > d->size) {
		int rc = grow(d, h, size, prealloc, e);

		if (rc < 0)
			return rc;
	}
	d->size = size;
	return 0;
}

static const struct disk_opt host_create_opts[] = {
    {"preallocation", DISK_OPT_STRING, "Preallocation mode (allowed values: off, falloc, full)",
     NULL, false},
    {"nocow", DISK_OPT_BOOL, "Turn off copy-on-write (valid only on btrfs)", NULL, false},
    {"extent_size_hint", DISK_OPT_SIZE, "Extent size hint for the image file, 0 to disable", NULL,
     false},
    {"size", DISK_OPT_SIZE, "Virtual disk size", NULL, false},
    {0},
};

static void set_nocow(int fd)
{
	int attr;

	/* Of use on btrfs alone; elsewhere the kernel refuses it, which changes nothing. */
	if (ioctl(fd, FS_IOC_GETFLAGS, &attr) == 0) {
		attr |= FS_NOCOW_FL;
		ioctl(fd, FS_IOC_SETFLAGS, &attr);
	}
}

static void set_extent_hint(int fd, uint64_t bytes)
{
	struct fsxattr attr;

	if (bytes > UINT_MAX || ioctl(fd, FS_IOC_FSGETXATTR, &attr) < 0)
		return;
	attr.fsx_xflags |= FS_XFLAG_EXTSIZE;
	attr.fsx_extsize = (uint32_t)bytes;
	ioctl(fd, FS_IOC_FSSETXATTR, &attr);
}

/* The image may be somebody's: locks come before the truncation. */
static int create_open(const char *name, struct err *e)
{
	struct stat st;
	_close_ int fd = path_open(AT_FDCWD, name, O_RDWR | O_CREAT | O_NONBLOCK, 0644);

	if (fd < 0)
		return host_error(e, "Could not create file", fd);
	if (fstat(fd, &st) < 0)
		return host_error(e, "fstat", -errno);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(e, ERR_DISK_FORMAT, -EINVAL,
			       "'%s' is neither a regular file nor a block device", name);
	return STEAL_FD(fd);
}

static int create_prepare(const struct disk_create *c, int fd, bool device, struct err *e)
{
	uint64_t hint = 1u << 20, size;
	bool nocow = false;
	int rc =
	    disk_host_lock(fd, c->filename, 0, DISK_PERM_ALL, DISK_PERM_WRITE | DISK_PERM_RESIZE,
			   DISK_PERM_ALL & ~(unsigned)DISK_PERM_RESIZE, e);

	if (rc < 0)
		return rc;
	if (disk_opts_take_bool(c->opts, "nocow", &nocow, e) < 0 ||
	    disk_opts_take_size(c->opts, "extent_size_hint", &hint, e) < 0)
		return e ? e->rc : -EINVAL;
	if (device) {
		rc = device_size(fd, &size);
		if (rc == 0 && size < c->size)
			return err_set(e, ERR_DISK_FULL, -ENOSPC, "Device is too small");
		return rc < 0 ? host_error(e, c->filename, rc) : 0;
	}
	if (ftruncate(fd, 0) < 0)
		return host_error(e, "Could not clear file", -errno);
	if (nocow)
		set_nocow(fd);
	if (hint)
		set_extent_hint(fd, hint);
	return 0;
}

static int create_locked(const struct disk_create *c, struct host *h, enum disk_prealloc prealloc,
			 struct err *e)
{
	struct disk d = {.ctx = c->ctx, .state = h, .align = 1};
	int rc = create_prepare(c, h->fd, h->device, e);

	return rc < 0 || h->device || !c->size ? rc : grow(&d, h, c->size, prealloc, e);
}

static int host_create(const struct disk_create *c, struct err *e)
{
	const char *rest = str_after(c->filename, "file:"), *name = rest ? rest : c->filename;
	struct host h = {.perm = DISK_PERM_WRITE | DISK_PERM_RESIZE,
			 .shared = DISK_PERM_ALL & ~(unsigned)DISK_PERM_RESIZE};
	unsigned prealloc = DISK_PREALLOC_OFF;
	struct stat st;
	int rc = disk_opts_take_enum(c->opts, "preallocation", disk_prealloc_names, &prealloc, e);

	if (rc < 0)
		return rc;
	if (prealloc == DISK_PREALLOC_METADATA)
		return err_set(e, ERR_DISK_OPTION, -EINVAL,
			       "Invalid parameter 'metadata' for 'preallocation'");
	_close_ int fd = create_open(name, e);

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return host_error(e, "fstat", -errno);
	h.fd = fd;
	h.device = S_ISBLK(st.st_mode);
	h.lock = wants_lock(LOCKING_AUTO, &h, fd);
	rc = h.lock ? disk_host_lock(fd, name, 0, DISK_PERM_ALL, h.perm, h.shared, e) : 0;
	if (rc < 0)
		return rc;
	h.locked = true;
	rc = create_locked(c, &h, (enum disk_prealloc)prealloc, e);
	drop_locks(name, &h);
	if (rc < 0)
		return rc;
	return close(STEAL_FD(fd)) < 0 ? host_error(e, "Could not close file", -errno) : 0;
}

static int host_parse_name(const char *name, json_t *o, struct err *e)
{
	const char *rest = str_after(name, "file:");

	return json_object_set_new(o, "filename", json_string(rest ? rest : name));
}

static const char *const host_aliases[] = {"host_device", "host_cdrom", NULL};
static const char *const host_prefixes[] = {"file", "host_device", NULL};

const struct disk_driver disk_driver_host = {
    .name = "file",
    .aliases = host_aliases,
    .kind = DISK_KIND_PROTOCOL,
    .state_size = sizeof(struct host),
    .prefixes = host_prefixes,
    .parse_name = host_parse_name,
    .open = host_open,
    .close = host_close,
    .reopen = host_reopen,
    .preadv = host_preadv,
    .pwritev = host_pwritev,
    .write_zeroes = host_write_zeroes,
    .discard = host_discard,
    .flush = host_flush,
    .copy_range = host_copy_range,
    .block_status = host_block_status,
    .truncate = host_truncate,
    .allocated_size = host_allocated_size,
    .starts_zeroed = host_starts_zeroed,
    .create_opts = host_create_opts,
    .create = host_create,
};
