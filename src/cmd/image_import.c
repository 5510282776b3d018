/* viv import, viv export. */
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/image.h"
#include "cmd/viv.h"
#include "image/import.h"
#include "image/mount.h"
#include "image/pack.h"
#include "image/userns.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>

/* --- import --- */

static int open_source(const char *source, struct err *e)
{
	if (str_eq(source, "-"))
		return STDIN_FILENO;
	if (strstr(source, "://"))
		return err_set(
		    e, ERR_UNSUPPORTED, -EOPNOTSUPP,
		    "'%s' is not downloaded: pipe it in, as in curl -L URL | viv import -", source);
	int fd = path_open(AT_FDCWD, source, O_RDONLY, 0);

	return fd < 0 ? err_set(e, ERR_NOT_FOUND, fd, "cannot open '%s': %s", source, strerror(-fd))
		      : fd;
}

static int changed_config(const struct cli *c, json_t *config, struct err *e)
{
	int rc = 0;

	for (char *const *change = cli_list(c, "change"); *change && !rc; change++)
		rc = import_change(config, *change, e);
	return rc;
}

void image_now(char out[static IMAGE_TIME_MAX])
{
	const char *epoch = getenv("SOURCE_DATE_EPOCH"); /* reproducible-builds.org */
	int64_t s;
	time_t now = epoch && !str_to_i64(epoch, &s) ? (time_t)s : time(NULL);
	struct tm tm;

	strftime(out, IMAGE_TIME_MAX, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
}

static int import(const struct cli *c, struct image_store *s, json_t *config, struct image **ret,
		  struct err *e)
{
	const char *name = cli_argv(c)[1], *platform = cli_string(c, "platform");
	_reference_ struct reference r = {0};
	_platform_ struct platform p = {0};
	_importer_ struct importer *i = NULL;
	char created[IMAGE_TIME_MAX];
	const struct import_options o = {.names = &r,
					 .name_count = name != NULL,
					 .platform = platform ? &p : NULL,
					 .created = created,
					 .comment = cli_string(c, "message"),
					 .config = config};
	int rc = name ? reference_parse_tagged(name, &r, e) : 0;

	image_now(created);
	rc = rc || !platform ? rc : platform_parse(platform, &p, e);
	rc = rc ? rc : changed_config(c, config, e);
	if (rc)
		return rc;
	int fd = open_source(cli_argv(c)[0], e);

	if (fd < 0)
		return fd;
	rc = importer_new(s, &o, &i, e);
	rc = rc ? rc : importer_feed_fd(i, fd, e);
	rc = rc ? rc : importer_finish(i, ret, e);
	if (fd != STDIN_FILENO)
		close(fd);
	return rc;
}

int cmd_import(struct cli *c)
{
	_image_session_ struct image_session s = {0};
	_image_ struct image *i = NULL;
	json_t *config = json_object();
	char text[DIGEST_TEXT_MAX];
	struct err e = {0};
	int rc = image_session_open(c, &s, &e);

	rc = rc ? rc : import(c, s.store, config, &i, &e);
	json_decref(config);
	if (rc)
		return cli_fail(c, &e);
	puts(digest_text(&i->id, text));
	return 0;
}

/* --- export --- */

static int write_out(void *arg, const void *p, size_t len, struct err *e)
{
	int rc = fd_write_all(*(int *)arg, p, len);

	return rc ? err_set(e, ERR_SYS, rc, "cannot write the archive: %s", strerror(-rc)) : 0;
}

struct export_job {
	struct image_store *store;
	const struct image *image;
	int fd;
};

/* An ordinary user's runs in a user namespace. */
static int export_image(void *arg, struct err *e)
{
	struct export_job *job = arg;
	_close_ int mounted = image_mount(job->store, job->image, NULL, NULL, e);

	if (mounted < 0)
		return mounted;
	_close_ int root = path_open(mounted, ".", O_RDONLY | O_DIRECTORY, 0);

	if (root < 0)
		return err_set(e, ERR_SYS, root, "cannot open the root file system");
	return pack_tree(root, &(struct pack_options){0}, write_out, &job->fd, e);
}

static int export(struct cli *c, struct image_store *s, int fd, struct err *e)
{
	_image_ struct image *i = NULL;
	int rc = image_find(s, cli_argv(c)[0], NULL, &i, e);
	struct export_job job = {s, i, fd};

	return rc ? rc : userns_run(export_image, &job, e);
}

/* A file appears when it is whole. */
static int export_to_file(struct cli *c, struct image_store *s, const char *file, struct err *e)
{
	_free_ char *part = mem_printf("%s.part", file);
	_close_ int fd = path_open(AT_FDCWD, part, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0644);

	if (fd < 0)
		return err_set(e, ERR_SYS, fd, "cannot make '%s': %s", part, strerror(-fd));
	int rc = export(c, s, fd, e);

	if (!rc && (fsync(fd) || (rc = path_rename(AT_FDCWD, part, file))))
		rc = err_set(e, ERR_SYS, rc ? rc : -errno, "cannot write '%s'", file);
	if (rc)
		path_unlink(AT_FDCWD, part);
	return rc;
}

int cmd_export(struct cli *c)
{
	_image_session_ struct image_session s = {0};
	const char *file = cli_string(c, "output");
	struct err e = {0};
	int rc = !file && isatty(STDOUT_FILENO)
		     ? err_set(&e, ERR_USAGE, -EINVAL,
			       "a terminal wants no archive: say --output FILE, or redirect")
		     : image_session_open(c, &s, &e);

	if (!rc)
		rc = file ? export_to_file(c, s.store, file, &e)
			  : export(c, s.store, STDOUT_FILENO, &e);
	return rc ? cli_fail(c, &e) : 0;
}
