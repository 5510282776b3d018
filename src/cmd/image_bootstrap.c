/* viv image bootstrap: an image of Debian from its packages, so that a machine has one without any
 * registry. mmdebstrap makes the root file system and streams it as a tar, which becomes the one layer.
 * With the same packages the same bytes come out: times are cut at SOURCE_DATE_EPOCH, which is the
 * suite's release where the environment does not say otherwise. */
#include "base/cleanup.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "cmd/image.h"
#include "cmd/viv.h"
#include "image/import.h"
#include "io/child.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#define MMDEBSTRAP "/usr/bin/mmdebstrap"
#define PATH_ENV   "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* Days on which suites were released, as seconds since 1970. */
static const struct {
	const char *suite;
	int64_t released;
	bool latest; /* what "debian" means here */
} suites[] = {
    {"bullseye", 1628899200, false},
    {"bookworm", 1686355200, true},
    {"trixie", 1754697600, false},
};

struct plan {
	const char *suite; /* borrowed from the command line */
	bool latest;
	char *epoch; /* SOURCE_DATE_EPOCH=… */
	char created[IMAGE_TIME_MAX];
	VEC(const char *) argv;
	VEC(char *) owned;
	VEC(const char *) envp;
};

static void plan_done(struct plan *p)
{
	vec_each (text, &p->owned)
		free(*text);
	vec_done(&p->owned);
	vec_done(&p->argv);
	vec_done(&p->envp);
	free(p->epoch);
}
#define _plan_ __attribute__((cleanup(plan_done)))

extern char **environ;

static void plan_time(struct plan *p)
{
	const char *given = getenv("SOURCE_DATE_EPOCH");
	int64_t s = time(NULL);
	struct tm tm;

	for (size_t i = 0; i < ARRAY_SIZE(suites); i++) {
		if (!str_eq(suites[i].suite, p->suite))
			continue;
		s = suites[i].released;
		p->latest = suites[i].latest;
	}
	if (given && str_to_i64(given, &s))
		log_warn("SOURCE_DATE_EPOCH '%s' is no number and is not used", given);
	p->epoch = mem_printf("SOURCE_DATE_EPOCH=%lld", (long long)s);
	strftime(p->created, sizeof(p->created), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&(time_t){s}, &tm));
}

static void add_flag(struct plan *p, const char *flag, const char *value)
{
	char *text = mem_printf("%s=%s", flag, value);

	vec_push(&p->owned, text);
	vec_push(&p->argv, text);
}

static int make_plan(const struct cli *c, struct plan *p, struct err *e)
{
	const char *name = cli_argv(c)[0], *mirror = cli_string(c, "mirror");

	p->suite = str_after(name, "debian:");
	if (!p->suite || !*p->suite ||
	    strspn(p->suite, "abcdefghijklmnopqrstuvwxyz-") != strlen(p->suite))
		return err_set(e, ERR_USAGE, -EINVAL,
			       "'%s' is not debian:SUITE, as in debian:bookworm", name);
	plan_time(p);
	vec_push(&p->argv, "mmdebstrap");
	vec_push(&p->argv, "--quiet");
	add_flag(p, "--variant", cli_string(c, "variant"));
	for (char *const *package = cli_list(c, "include"); *package; package++)
		add_flag(p, "--include", *package);
	vec_push(&p->argv, "--format=tar");
	vec_push(&p->argv, p->suite);
	vec_push(&p->argv, "-");
	if (mirror)
		vec_push(&p->argv, mirror);
	vec_push(&p->argv, NULL);
	for (char **v = environ; *v; v++)
		if (!str_after(*v, "SOURCE_DATE_EPOCH="))
			vec_push(&p->envp, *v);
	vec_push(&p->envp, p->epoch);
	vec_push(&p->envp, NULL);
	return 0;
}

/* Runs mmdebstrap and reads what it streams. */
static int stream(struct plan *p, struct importer *i, struct err *e)
{
	struct child child;
	int pipes[2], status = 0;

	if (pipe2(pipes, O_CLOEXEC))
		return err_sys(e, ERR_SYS, "cannot make a pipe");
	const struct child_fd fds[] = {{pipes[1], STDOUT_FILENO}, {STDERR_FILENO, STDERR_FILENO}};
	const struct child_spec spec = {.path = MMDEBSTRAP,
					.argv = p->argv.v,
					.envp = p->envp.v,
					.fds = fds,
					.fd_count = ARRAY_SIZE(fds),
					.death_signal = SIGTERM};
	int rc = child_start(&spec, &child, e);

	close(pipes[1]);
	if (!rc) {
		rc = importer_feed_fd(i, pipes[0], e);
		if (rc)
			child_stop(&child, 5000);
		else
			rc = child_wait(&child, -1, &status);
	}
	close(pipes[0]);
	if (!rc && status)
		rc = err_set(e, ERR_SYS, -EIO,
			     "mmdebstrap failed with status %d; what it said is above", status);
	return rc;
}

/* localhost/debian:SUITE, and what people write: debian:SUITE, and debian for the latest suite. */
static int make_names(const struct plan *p, struct reference names[3], size_t *ret_n, struct err *e)
{
	_free_ char *local = mem_printf("localhost/debian:%s", p->suite),
		    *tagged = mem_printf("debian:%s", p->suite);
	const char *const texts[] = {local, tagged, "debian:latest"};
	size_t n = p->latest ? 3 : 2;
	int rc = 0;

	for (*ret_n = 0; *ret_n < n && !rc; *ret_n += !rc)
		rc = reference_parse(texts[*ret_n], &names[*ret_n], e);
	return rc;
}

static int bootstrap(const struct cli *c, struct image_store *s, struct image **ret, struct err *e)
{
	_plan_ struct plan p = {0};
	_importer_ struct importer *i = NULL;
	struct reference names[3] = {0};
	json_t *config = json_pack("{s:[s], s:[s]}", "Env", PATH_ENV, "Cmd", "bash");
	struct import_options o = {.names = names,
				   .created = p.created,
				   .created_by = "viv image bootstrap",
				   .config = config};
	int rc = make_plan(c, &p, e);

	if (!rc && !path_exists(AT_FDCWD, MMDEBSTRAP))
		rc = err_set(e, ERR_NOT_FOUND, -ENOENT,
			     "mmdebstrap is not installed: apt-get install mmdebstrap");
	rc = rc ? rc : make_names(&p, names, &o.name_count, e);
	rc = rc ? rc : importer_new(s, &o, &i, e);
	rc = rc ? rc : stream(&p, i, e);
	rc = rc ? rc : importer_finish(i, ret, e);
	for (size_t n = 0; n < ARRAY_SIZE(names); n++)
		reference_done(&names[n]);
	json_decref(config);
	return rc;
}

int cmd_image_bootstrap(struct cli *c)
{
	_image_session_ struct image_session s = {0};
	_image_ struct image *i = NULL;
	char text[DIGEST_TEXT_MAX];
	struct err e = {0};
	int rc = image_session_open(c, &s, &e);

	rc = rc ? rc : bootstrap(c, s.store, &i, &e);
	if (rc)
		return cli_fail(c, &e);
	puts(digest_text(&i->id, text));
	return 0;
}
