/* viv tag, viv rmi. */
#include "base/cleanup.h"
#include "base/str.h"
#include "cmd/image.h"
#include "cmd/viv.h"

#include <errno.h>
#include <stdio.h>

static int tag(struct image_store *s, const char *source, const char *target, struct err *e)
{
	_reference_ struct reference name = {0};
	_image_ struct image *i = NULL;
	int rc = reference_parse_tagged(target, &name, e);

	if (!rc && digest_is_set(&name.digest))
		rc = err_set(e, ERR_IMG_REFERENCE, -EINVAL,
			     "'%s' has a digest: an image gets tags only, its digest it has",
			     target);
	rc = rc ? rc : image_find(s, source, NULL, &i, e);
	return rc ? rc : image_tag(s, i, &name, e);
}

int cmd_tag(struct cli *c)
{
	_image_session_ struct image_session s = {0};
	struct err e = {0};
	int rc = image_session_open(c, &s, &e);

	rc = rc ? rc : tag(s.store, cli_argv(c)[0], cli_argv(c)[1], &e);
	return rc ? cli_fail(c, &e) : 0;
}

static void report(const struct image_removed *r)
{
	char text[DIGEST_TEXT_MAX];

	vec_each (n, &r->untagged) {
		_reference_ struct reference name = {0};

		if (reference_parse(*n, &name, NULL))
			continue;
		_free_ char *familiar = reference_familiar(&name);

		printf("Untagged: %s\n", familiar);
	}
	if (r->deleted)
		printf("Deleted: %s\n", digest_text(&r->id, text));
}

/* Each image for itself; the status is the first failure's. */
int cmd_rmi(struct cli *c)
{
	_image_session_ struct image_session s = {0};
	struct err e = {0};
	int status = image_session_open(c, &s, &e) ? cli_fail(c, &e) : 0;
	bool force = cli_bool(c, "force");

	for (char *const *name = cli_argv(c); s.store && *name; name++) {
		struct image_removed removed = {0};
		struct err why = {0};
		int rc = image_remove(s.store, *name, force, &removed, &why);

		report(&removed);
		image_removed_done(&removed);
		if (rc == -ENOENT && force && why.code == ERR_IMG_NOT_FOUND)
			continue; /* what is not there need not be removed, as with rm -f */
		if (rc) {
			int failed = cli_fail(c, &why);

			status = status ? status : failed;
		}
	}
	return status;
}
