#include "image/layer_int.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "image/erofs_write.h"
#include "image/store_int.h"
#include "image/userns.h"
#include "os/path.h"
#include "os/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>

#define FACTS_VERSION 1
#define FACTS_MAX     4096u

/* --- the files --- */

int layer_open_dir(struct image_store *s, const struct digest *diff_id, struct err *e)
{
	char name[DIGEST_HEX_MAX + 7], text[DIGEST_TEXT_MAX];
	int fd = path_open(s->fd, image_store_layer_name(diff_id, name), O_RDONLY | O_DIRECTORY, 0);

	if (fd == -ENOENT)
		return err_set(e, ERR_LAYER_MISSING, fd, "layer %s is not here",
			       digest_text(diff_id, text));
	return fd < 0 ? store_fail(s, fd, e, "open", name) : fd;
}

int layer_read_facts(int dirfd, struct layer_facts *ret, struct err *e)
{
	_buf_ struct buf b = {0};
	int rc = path_read(dirfd, LAYER_INFO, &b, FACTS_MAX);

	if (rc)
		return err_set(e, ERR_LAYER_IO, rc, "cannot read the facts of a layer: %s",
			       strerror(-rc));
	json_t *j = json_loadb(buf_str(&b), b.len, 0, NULL);
	json_int_t version, tar, disk;
	int whiteouts;

	if (json_unpack(j, "{s:I, s:I, s:I, s:b}", "version", &version, "tar", &tar, "disk", &disk,
			"whiteouts", &whiteouts) ||
	    version != FACTS_VERSION || tar < 0 || disk < 0)
		rc = err_set(e, ERR_LAYER_IO, -EBADMSG, "the facts of a layer are damaged");
	else
		*ret = (struct layer_facts){(uint64_t)tar, (uint64_t)disk, whiteouts};
	json_decref(j);
	return rc;
}

int layer_write_facts(int dirfd, const struct layer_facts *f, struct err *e)
{
	_free_ char *text =
	    mem_printf("{\"version\":%d,\"tar\":%llu,\"disk\":%llu,\"whiteouts\":%s}\n",
		       FACTS_VERSION, (unsigned long long)f->tar_bytes,
		       (unsigned long long)f->disk_bytes, f->whiteouts ? "true" : "false");
	int rc = path_replace(dirfd, LAYER_INFO, text, strlen(text), 0600, true);

	return rc ? err_set(e, ERR_LAYER_IO, rc, "cannot write the facts of a layer: %s",
			    strerror(-rc))
		  : 0;
}

/* --- what the host can do --- */

/* The index of nothing, mounted and gone again. */
static bool try_erofs(struct image_store *s)
{
	_free_ char *name = NULL;

	if (image_store_temp_name(s, "probe", &name, NULL))
		return false;
	_close_ int fd = path_open(s->fd, name, O_RDWR | O_CREAT | O_EXCL, 0600);
	static const char tag[] =
	    "0000000000000000000000000000000000000000000000000000000000000000";
	int mounted = -1;

	if (fd >= 0) {
		struct erofs_writer *w = erofs_writer_new(fd);

		if (!erofs_writer_finish(w, 0, tag, NULL))
			mounted = mount_erofs(fd, fd, NULL);
		erofs_writer_free(w);
		path_unlink(s->fd, name);
	}
	if (mounted >= 0)
		close(mounted);
	return mounted >= 0;
}

bool layer_host_has_erofs(struct image_store *s)
{
	static int known; /* 0: not yet, 1: yes, -1: no; a race tries twice */

	if (!known)
		known = geteuid() == 0 && !proc_in_userns() && try_erofs(s) ? 1 : -1;
	return known > 0;
}

enum layer_backend layer_backend_of(struct image_store *s, int dirfd)
{
	if (path_exists(dirfd, LAYER_INDEX) && layer_host_has_erofs(s))
		return LAYER_EROFS;
	return path_exists(dirfd, LAYER_ROOT) ? LAYER_DIR : LAYER_AUTO;
}

/* --- asking --- */

bool layer_exists(struct image_store *s, const struct digest *diff_id)
{
	_close_ int fd = layer_open_dir(s, diff_id, NULL);

	return fd >= 0 && layer_backend_of(s, fd) != LAYER_AUTO;
}

int layer_stat(struct image_store *s, const struct digest *diff_id, struct layer_info *ret,
	       struct err *e)
{
	struct layer_facts f;
	_close_ int fd = layer_open_dir(s, diff_id, e);
	int rc = fd < 0 ? fd : layer_read_facts(fd, &f, e);

	if (rc)
		return rc;
	*ret =
	    (struct layer_info){.backend = path_exists(fd, LAYER_INDEX) ? LAYER_EROFS : LAYER_DIR,
				.tar_bytes = f.tar_bytes,
				.disk_bytes = f.disk_bytes};
	return 0;
}

int layer_open_tar(struct image_store *s, const struct digest *diff_id, struct err *e)
{
	_close_ int dir = layer_open_dir(s, diff_id, e);

	if (dir < 0)
		return dir;
	int fd = path_open(dir, LAYER_TAR, O_RDONLY, 0);

	return fd < 0
		   ? err_set(e, ERR_LAYER_MISSING, fd, "layer %s is kept unpacked, not as it came",
			     digest_text(diff_id, (char[DIGEST_TEXT_MAX]){0}))
		   : fd;
}

int layer_remove(struct image_store *s, const struct digest *diff_id, struct err *e)
{
	char name[DIGEST_HEX_MAX + 7];
	_free_ char *gone = NULL;
	int rc = image_store_temp_name(s, "removed", &gone, e);

	if (rc)
		return rc;
	/* At once for everybody else; a kill leaves a temporary. */
	rc = path_rename(s->fd, image_store_layer_name(diff_id, name), gone);
	if (rc == -ENOENT)
		return 0;
	rc = rc ? rc : userns_remove_tree(s->fd, gone);
	return rc ? store_fail(s, rc, e, "remove", name) : 0;
}
