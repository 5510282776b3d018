/* viv image mount, viv image unmount. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "cmd/image.h"
#include "cmd/viv.h"
#include "image/mount.h"
#include "os/caps.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>

/* In its canonical form, so that unmount finds it again. Returns owned. */
static int target_of(const char *path, char **ret, struct err *e)
{
	int rc = path_real(path, ret);

	return rc ? err_set(e, ERR_NOT_FOUND, rc, "cannot use '%s': %s", path, strerror(-rc)) : 0;
}

static int may_mount(struct err *e)
{
	return caps_have(CAP_SYS_ADMIN)
		   ? 0
		   : err_set(e, ERR_DENIED, -EPERM,
			     "an ordinary user mounts in a user namespace only: try unshare "
			     "--map-root-user --map-auto --mount, and mount there");
}

int cmd_image_mount(struct cli *c)
{
	_image_session_ struct image_session s = {0};
	_image_ struct image *i = NULL;
	_free_ char *target = NULL;
	struct err e = {0};
	int rc = may_mount(&e);

	rc = rc ? rc : target_of(cli_argv(c)[1], &target, &e);
	rc = rc ? rc : image_session_open(c, &s, &e);
	rc = rc ? rc : image_find(s.store, cli_argv(c)[0], NULL, &i, &e);
	rc = rc ? rc : image_mount_at(s.store, i, target, cli_bool(c, "writable"), &e);
	if (rc)
		return cli_fail(c, &e);
	puts(target);
	return 0;
}

int cmd_image_unmount(struct cli *c)
{
	_image_session_ struct image_session s = {0};
	struct err e = {0};
	int rc = image_session_open(c, &s, &e), status = rc ? cli_fail(c, &e) : 0;

	for (char *const *t = cli_argv(c); !rc && *t; t++) {
		_free_ char *target = NULL;
		struct err why = {0};

		if (target_of(*t, &target, &why) || image_unmount(s.store, target, &why)) {
			int failed = cli_fail(c, &why);

			status = status ? status : failed;
		}
	}
	return status;
}
