/* viv push. */
#include "image/push.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/image.h"
#include "cmd/registry.h"

struct job {
	struct image_session session;
	struct registry *registry;
	bool quiet;
};

static int push_one(const struct cli *c, struct job *j, const struct reference *r, struct err *e)
{
	struct progress *progress = j->quiet ? NULL : registry_progress(c, j->registry);
	struct push_result result;
	_free_ char *canonical = reference_canonical(r);
	int rc = push(j->session.store, j->registry, r, progress, &result, e);

	registry_progress_free(j->registry, progress);
	if (rc)
		return rc;
	if (j->quiet)
		puts(canonical);
	else
		printf("%s: digest: %s size: %ju\n", r->tag,
		       digest_text(&result.digest, (char[DIGEST_TEXT_MAX]){0}),
		       (uintmax_t)result.size);
	return 0;
}

/* Every tag that this repository has here. */
static int push_all(const struct cli *c, struct job *j, const struct reference *r, struct err *e)
{
	_image_list_ struct image_list l = {0};
	unsigned count = 0;
	int rc = image_list(j->session.store, &l, e);

	vec_each (n, &l.names) {
		const struct reference *x = &n->reference;

		if (rc || !x->tag || !str_eq(x->domain, r->domain) || !str_eq(x->path, r->path))
			continue;
		count++;
		rc = push_one(c, j, x, e);
	}
	if (!rc && !count) {
		_free_ char *name = reference_familiar_repository(r);

		return err_set(e, ERR_IMG_NOT_FOUND, -ENOENT,
			       "there is no image with a tag of '%s'", name);
	}
	return rc;
}

int cmd_push(struct cli *c)
{
	_reference_ struct reference r = {0};
	struct job j = {.quiet = cli_bool(c, "quiet")};
	struct err e = {0};
	bool all = cli_bool(c, "all-tags");
	int rc = (all ? reference_parse : reference_parse_tagged)(cli_argv(c)[0], &r, &e);

	if (rc)
		return cli_fail(c, &e);
	if (digest_is_set(&r.digest))
		return cli_usage(c, "a digest cannot be pushed: give the image a tag");
	if (all && r.tag)
		return cli_usage(c, "a tag cannot be used with --all-tags");
	rc = registry_of(c, &j.registry, &e);
	if (!rc)
		rc = image_session_open(c, &j.session, &e);
	if (!rc && !j.quiet) {
		_free_ char *name = reference_repository(&r);

		printf("The push refers to repository [%s]\n", name);
		fflush(stdout);
	}
	if (!rc)
		rc = all ? push_all(c, &j, &r, &e) : push_one(c, &j, &r, &e);
	registry_free(j.registry);
	image_session_done(&j.session);
	return rc ? cli_fail(c, &e) : 0;
}
