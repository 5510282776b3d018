/* viv pull. */
#include "image/pull.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/vec.h"
#include "cmd/image.h"
#include "cmd/registry.h"
#include "cmd/viv.h"
#include "image/policy.h"

/* All that one pull needs; opened once for all tags. */
struct job {
	struct image_session session;
	struct registry *registry;
	struct policy *policy;
	struct platform platform;
	struct pull_options options;
	bool quiet;
};

static void job_done(struct job *j)
{
	platform_done(&j->platform);
	policy_free(j->policy);
	registry_free(j->registry);
	image_session_done(&j->session);
}

static int job_open(const struct cli *c, struct job *j, struct err *e)
{
	const char *platform = cli_string(c, "platform");
	int rc = platform ? platform_parse(platform, &j->platform, e) : 0;

	if (!rc)
		rc = policy_open(&j->policy, e);
	if (!rc)
		rc = registry_of(c, &j->registry, e);
	if (!rc)
		rc = image_session_open(c, &j->session, e);
	j->options.platform = platform ? &j->platform : NULL;
	j->options.policy = j->policy;
	j->options.discard_compressed = cli_bool(c, "discard-compressed");
	j->quiet = cli_bool(c, "quiet");
	return rc;
}

/* The lines are Docker's. */
static void report(const struct job *j, const struct reference *r, const struct pull_result *p)
{
	_free_ char *canonical = reference_canonical(r), *familiar = reference_familiar(r);

	if (!j->quiet)
		printf("Digest: %s\nStatus: %s for %s\n",
		       digest_text(&p->digest, (char[DIGEST_TEXT_MAX]){0}),
		       p->unchanged ? "Image is up to date" : "Downloaded newer image", familiar);
	puts(canonical);
}

static int pull_one(const struct cli *c, struct job *j, const struct reference *r, struct err *e)
{
	struct progress *progress = j->quiet ? NULL : registry_progress(c, j->registry);
	struct pull_result result;
	char text[DIGEST_TEXT_MAX];

	if (!j->quiet) {
		printf("%s: Pulling from %s\n", r->tag ? r->tag : digest_text(&r->digest, text),
		       r->path);
		fflush(stdout);
	}
	j->options.progress = progress;
	int rc = pull(j->session.store, j->registry, r, &j->options, &result, e);

	registry_progress_free(j->registry, progress);
	if (!rc)
		report(j, r, &result);
	return rc;
}

struct names {
	VEC(char *) list;
};

static int add_name(const char *name, void *arg)
{
	struct names *n = arg;

	vec_push(&n->list, mem_strdup(name));
	return 0;
}

static int pull_all(const struct cli *c, struct job *j, struct reference *r, struct err *e)
{
	_repository_ struct repository *p = NULL;
	struct names tags = {0};
	int rc = repository_open(j->registry, r->domain, r->path, REPOSITORY_PULL, &p, e);

	if (!rc)
		rc = repository_tags(p, add_name, &tags, e);
	vec_each (tag, &tags.list) {
		free(r->tag);
		r->tag = *tag;
		rc = rc ? rc : pull_one(c, j, r, e);
	}
	vec_done(&tags.list);
	return rc;
}

int cmd_pull(struct cli *c)
{
	_reference_ struct reference r = {0};
	struct job j = {0};
	struct err e = {0};
	bool all = cli_bool(c, "all-tags");
	int rc = reference_parse(cli_argv(c)[0], &r, &e);

	if (rc)
		return cli_fail(c, &e);
	if (all && (r.tag || digest_is_set(&r.digest)))
		return cli_usage(c, "a tag cannot be used with --all-tags");
	rc = job_open(c, &j, &e);
	if (!rc && !all && !r.tag && !digest_is_set(&r.digest)) {
		r.tag = mem_strdup("latest");
		if (!j.quiet)
			puts("Using default tag: latest");
	}
	if (!rc)
		rc = all ? pull_all(c, &j, &r, &e) : pull_one(c, &j, &r, &e);
	job_done(&j);
	return rc ? cli_fail(c, &e) : 0;
}
