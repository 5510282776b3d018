#include "image/layer_int.h"

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "codec/tar.h"
#include "image/entry.h"
#include "image/unpack.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#define XATTRS_MAX (64u << 10) /* xattr(7): bytes of all names, and of one value */

struct paths {
	VEC(char *) list;
};

static void paths_done(struct paths *p)
{
	vec_each (path, &p->list)
		free(*path);
	vec_done(&p->list);
}
#define _paths_ __attribute__((cleanup(paths_done)))

static bool is_implied(const struct layer_part *part, const char *path)
{
	const char *p = part->implied.s, *end = p + part->implied.len;

	for (; p < end; p += strlen(p) + 1)
		if (str_eq(p, path))
			return true;
	return false;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The path and those of all its parents. */
static void add_with_parents(struct paths *p, const char *path)
{
	for (size_t len = strlen(path);; len--) {
		if (len == strlen(path) || path[len] == '/' || !len)
			vec_push(&p->list, mem_strndup(path, len));
		if (!len)
			return;
	}
}

/* Every layer's but the lowest's: there is nothing below that. Sorted, so that parents come first. */
static void collect(struct paths *p, const struct layer_part *parts, size_t count)
{
	for (size_t i = 0; i + 1 < count; i++) {
		const char *s = parts[i].implied.s, *end = s + parts[i].implied.len;

		for (; s < end; s += strlen(s) + 1)
			add_with_parents(p, s);
	}
	if (p->list.n)
		qsort(p->list.v, p->list.n, sizeof(*p->list.v), compare);
}

static bool is_opaque(int fd)
{
	char mark;

	return fd_get_xattr(fd, ENTRY_OPAQUE_TRUSTED, &mark, 1) > 0 ||
	       fd_get_xattr(fd, ENTRY_OPAQUE_USER, &mark, 1) > 0;
}

/* Opens what one layer has at path: *ret_fd, -1 where it is no directory. True where the layer hides
 * what those below have there: it, or something on the way, is opaque or no directory (a whiteout, for
 * instance). */
static bool look(int rootfd, const char *path, int *ret_fd)
{
	_close_ int fd = path_open(rootfd, ".", O_RDONLY | O_DIRECTORY, 0);
	bool hides = false;

	*ret_fd = -1;
	while (fd >= 0) {
		size_t len = strcspn(path, "/");
		_free_ char *name = mem_strndup(path, len);

		hides |= is_opaque(fd);
		if (!len) {
			*ret_fd = STEAL_FD(fd);
			return hides;
		}
		int next = path_open(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);

		if (next < 0)
			return hides || next != -ENOENT;
		close(fd);
		fd = next;
		path += len + (path[len] == '/');
	}
	return hides;
}

/* The directory of the uppermost layer whose tar describes path; -1: none does. */
static int find_described(const struct layer_part *parts, size_t count, const char *path)
{
	for (size_t i = 0; i < count; i++) {
		int fd;
		bool hidden = look(parts[i].fd, path, &fd);

		if (fd >= 0 && !is_implied(&parts[i], path))
			return fd;
		if (fd >= 0)
			close(fd);
		if (hidden)
			break;
	}
	return -1;
}

/* Describes path as the directory fd is. */
static int copy_directory(struct unpacker *u, int fd, const char *path, struct err *e)
{
	struct tar_xattr xattrs[TAR_XATTRS_MAX];
	_free_ char *names = mem_alloc(XATTRS_MAX);
	struct stat st;
	size_t n = 0;

	if (fstat(fd, &st))
		return err_sys(e, ERR_LAYER_IO, "cannot look at a directory of a layer");
	ssize_t len = fd_list_xattrs(fd, names, XATTRS_MAX);

	for (char *name = names; name < names + MAX(len, (ssize_t)0); name += strlen(name) + 1) {
		char *value = n < TAR_XATTRS_MAX ? mem_alloc(XATTRS_MAX) : NULL;
		ssize_t size = value ? fd_get_xattr(fd, name, value, XATTRS_MAX) : -1;

		if (size >= 0)
			xattrs[n++] = (struct tar_xattr){name, value, (size_t)size};
		else
			free(value);
	}
	const struct tar_entry t = {.type = TAR_DIR,
				    .path = *path ? path : ".",
				    .link = "",
				    .mode = st.st_mode & 07777,
				    .uid = st.st_uid,
				    .gid = st.st_gid,
				    .mtime_s = st.st_mtim.tv_sec,
				    .mtime_ns = (uint32_t)st.st_mtim.tv_nsec,
				    .xattrs = xattrs,
				    .xattr_count = n};
	int rc = unpacker_entry(u, &t, e);

	while (n--)
		free((void *)(uintptr_t)xattrs[n].value);
	return rc;
}

static int copy_all(struct unpacker *u, const struct paths *p, const struct layer_part *parts,
		    size_t count, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < p->list.n && !rc; i++) {
		if (i && str_eq(p->list.v[i], p->list.v[i - 1]))
			continue;
		_close_ int fd = find_described(parts, count, p->list.v[i]);

		if (fd >= 0)
			rc = copy_directory(u, fd, p->list.v[i], e);
	}
	return rc ? rc : unpacker_finish(u, e);
}

int layer_fix(const struct layer_part *parts, size_t count, bool lenient, int *ret_fd,
	      struct err *e)
{
	_paths_ struct paths p = {0};

	collect(&p, parts, count);
	if (!p.list.n)
		return 0;
	_close_ int fd = mount_tmpfs(e);
	const struct unpack_options o = {.lenient = lenient, .user_xattrs = lenient};

	if (fd < 0)
		return fd;
	struct unpacker *u = unpacker_new(fd, &o);
	int rc = copy_all(u, &p, parts, count, e);

	unpacker_free(u);
	if (!rc)
		*ret_fd = STEAL_FD(fd);
	return rc;
}
