#include "image/mount.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/image_int.h"
#include "image/layer.h"
#include "image/store_int.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sys/mount.h>
#include <sys/syscall.h>

#define USER_PREFIX "mount:" /* + the target: who uses the image */

int image_mount(struct image_store *s, const struct image *i, const char *upper, const char *work,
		struct err *e)
{
	struct digest diff_ids[LAYER_COUNT_MAX];
	struct layer_mount m = {diff_ids, i->layers.n, upper, work};

	if (i->layers.n > LAYER_COUNT_MAX)
		return err_set(e, ERR_LAYER_MOUNT, -E2BIG, "the image has more than %u layers",
			       LAYER_COUNT_MAX);
	for (size_t n = 0; n < i->layers.n; n++) {
		diff_ids[n] = i->layers.v[n].diff_id;
		if (!digest_is_set(&diff_ids[n]))
			return err_set(e, ERR_LAYER_MOUNT, -EINVAL,
				       "it is an artifact, which has no root file system");
	}
	return layer_mount(s, &m, e);
}

/* --- places for what is changed --- */

/* Below the store's directory. Returns owned. */
static char *changes_of(const char *target)
{
	struct digest d;
	char hex[DIGEST_HEX_MAX];

	digest_of(DIGEST_SHA256, target, strlen(target), &d);
	return mem_printf("mounts/%s", digest_hex(&d, hex));
}

static int make_places(struct image_store *s, const char *changes, char **upper, char **work,
		       struct err *e)
{
	char **const places[] = {upper, work};
	static const char *const names[] = {"upper", "work"};

	for (size_t n = 0; n < 2; n++) {
		_free_ char *place = mem_printf("%s/%s", changes, names[n]);
		int rc = path_mkdirs(s->fd, place, 0755);

		if (rc)
			return store_fail(s, rc, e, "make", place);
		*places[n] = mem_printf("%s/%s", s->path, place);
	}
	return 0;
}

static int attach(int mount_fd, const char *target, struct err *e)
{
	_close_ int at = path_open(AT_FDCWD, target, O_PATH | O_DIRECTORY, 0);

	if (at < 0)
		return err_set(e, ERR_LAYER_MOUNT, at, "cannot mount at '%s': %s", target,
			       strerror(-at));
	if (syscall(SYS_move_mount, mount_fd, "", at, "",
		    MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH))
		return err_sys(e, ERR_LAYER_MOUNT, "cannot mount at '%s'", target);
	return 0;
}

static int mount_writable(struct image_store *s, const struct image *i, const char *changes,
			  struct err *e)
{
	_free_ char *upper = NULL, *work = NULL;
	int rc = make_places(s, changes, &upper, &work, e);

	return rc ? rc : image_mount(s, i, upper, work, e);
}

int image_mount_at(struct image_store *s, const struct image *i, const char *target, bool writable,
		   struct err *e)
{
	_free_ char *who = mem_printf(USER_PREFIX "%s", target), *changes = changes_of(target);
	struct image *other = NULL;

	if (!image_mounted_at(s, target, &other, NULL)) {
		image_free(other);
		return err_set(e, ERR_LAYER_MOUNT, -EBUSY, "an image is mounted at '%s' already",
			       target);
	}
	int rc = image_use(s, i, who, 0, e);

	if (rc)
		return rc;
	_close_ int fd =
	    writable ? mount_writable(s, i, changes, e) : image_mount(s, i, NULL, NULL, e);

	rc = fd < 0 ? fd : attach(fd, target, e);
	if (rc) {
		path_remove_tree(s->fd, changes);
		image_use_end(s, i, who, NULL);
	}
	return rc;
}

/* --- unmounting --- */

/* The key "image/use/DIGEST/mount:TARGET" names the image. */
static int find_use(struct image_store *s, const char *target, struct digest *ret, struct err *e)
{
	_state_result_ struct state_result r = {0};
	_free_ char *wanted = mem_printf("/" USER_PREFIX "%s", target);
	const struct state_range all = {
	    .from = state_str(KEY_USE), .prefix = true, .keys_only = true};
	int rc = state_range(image_store_state(s), &all, &r, e);

	for (size_t n = 0; !rc && n < r.n; n++) {
		_free_ char *key = mem_strndup(r.kvs[n].key.p, r.kvs[n].key.len);
		char *slash = strchr(key + strlen(KEY_USE), '/');

		if (!slash || !str_eq(slash, wanted))
			continue;
		*slash = '\0';
		if (!digest_parse(key + strlen(KEY_USE), ret))
			return 0;
	}
	return rc ? rc : err_set(e, ERR_NOT_FOUND, -ENOENT, "no image is mounted at '%s'", target);
}

int image_mounted_at(struct image_store *s, const char *target, struct image **ret, struct err *e)
{
	struct digest manifest;
	int rc = find_use(s, target, &manifest, e);

	return rc ? rc : record_get(s, &manifest, ret, NULL, e);
}

int image_unmount(struct image_store *s, const char *target, struct err *e)
{
	_free_ char *who = mem_printf(USER_PREFIX "%s", target), *changes = changes_of(target);
	_image_ struct image *i = NULL;
	int rc = image_mounted_at(s, target, &i, e);

	if (rc)
		return rc;
	/* Not mounted any more, for instance since the last boot: the rest goes all the same. */
	if (umount2(target, UMOUNT_NOFOLLOW) && errno != EINVAL && errno != ENOENT)
		return err_sys(e, ERR_LAYER_MOUNT, "cannot unmount '%s'", target);
	rc = path_remove_tree(s->fd, changes);
	return rc ? store_fail(s, rc, e, "remove", changes) : image_use_end(s, i, who, e);
}
