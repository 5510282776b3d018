/* viv image prune. */
#include "base/cleanup.h"
#include "base/str.h"
#include "cmd/human.h"
#include "cmd/image.h"
#include "cmd/viv.h"
#include "image/collect.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

struct pruning {
	struct cli *c;
	struct image_session session;
	struct image_list list;
	struct image_filter *filter;
	uint64_t bytes;
	bool headed;
};

static void pruning_done(struct pruning *p)
{
	image_filter_free(p->filter);
	image_list_done(&p->list);
	image_session_done(&p->session);
}

static bool confirmed(const struct pruning *p)
{
	bool all = cli_bool(p->c, "all");
	char answer[8] = "";

	fprintf(stderr,
		"WARNING! This will remove all %s.\nAre you sure you want to continue? [y/N] ",
		all ? "images that nothing uses" : "images without a name");
	return fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

/* Nobody uses it, and it has no tag, or --all takes it nevertheless. */
static int is_candidate(struct pruning *p, const struct image *i, bool *ret, struct err *e)
{
	_free_ char *users = NULL;
	bool tagged = false, match = false;
	int rc = image_users(p->session.store, &i->manifest, &users, e);

	vec_each (n, &p->list.names)
		tagged |= n->reference.tag && digest_eq(&n->manifest, &i->manifest);
	rc = rc ? rc : image_filter_match(p->filter, i, NULL, !tagged, &match, e);
	if (!rc)
		*ret = !*users && match && (!tagged || cli_bool(p->c, "all"));
	return rc;
}

static void report(struct pruning *p, const struct image_removed *r)
{
	char text[DIGEST_TEXT_MAX];

	if (!p->headed)
		puts("Deleted Images:");
	p->headed = true;
	vec_each (n, &r->untagged)
		printf("untagged: %s\n", *n);
	printf("deleted: %s\n", digest_text(&r->id, text));
}

static int prune_one(struct pruning *p, const struct image *i, struct err *e)
{
	struct image_removed removed = {.id = i->id};
	char text[DIGEST_TEXT_MAX];
	int rc = 0;

	if (!cli_bool(p->c, "dry-run"))
		rc = image_remove(p->session.store, digest_text(&i->manifest, text), true, &removed,
				  e);
	else
		vec_each (n, &p->list.names)
			if (digest_eq(&n->manifest, &i->manifest))
				vec_push(&removed.untagged, reference_canonical(&n->reference));

	if (!rc)
		report(p, &removed);
	p->bytes += removed.bytes;
	image_removed_done(&removed);
	/* Somebody has begun to use it, or was faster. */
	return rc == -EBUSY || rc == -ENOENT ? 0 : rc;
}

static int prune(struct pruning *p, struct err *e)
{
	struct collect_options o = {.dry_run = cli_bool(p->c, "dry-run"), .partials = true};
	struct collected collected = {0};
	int rc = image_filter_new(p->session.store, cli_list(p->c, "filter"), &p->filter, e);

	rc = rc ? rc : image_list(p->session.store, &p->list, e);
	vec_each (i, &p->list.images) {
		bool candidate = false;

		rc = rc ? rc : is_candidate(p, *i, &candidate, e);
		if (!rc && candidate)
			rc = prune_one(p, *i, e);
	}
	rc = rc ? rc : image_collect(p->session.store, &o, &collected, e);
	p->bytes += collected.bytes;
	return rc;
}

int cmd_image_prune(struct cli *c)
{
	_cleanup_(pruning_done) struct pruning p = {.c = c};
	bool asks = !cli_bool(c, "force") && !cli_bool(c, "dry-run");
	struct err e = {0};

	if (asks && (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)))
		return cli_usage(c,
				 "'image prune' asks before it removes, and there is no terminal: "
				 "say --force, or --dry-run");
	if (asks && !confirmed(&p))
		return 0;
	int rc = image_session_open(c, &p.session, &e);

	rc = rc ? rc : prune(&p, &e);
	_free_ char *size = human_size(p.bytes);

	if (p.headed)
		puts("");
	printf("Total reclaimed space: %s\n", size);
	return rc ? cli_fail(c, &e) : 0;
}
