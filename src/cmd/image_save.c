/* viv save. An archive named by --output appears whole: it is written to a file without a name,
 * which gets one at the end. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/image.h"
#include "cmd/viv.h"
#include "image/exchange.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct saving {
	struct image_session session;
	VEC(struct save_item) items;
	enum save_format format;
	struct progress *progress;
};

static void saving_done(struct saving *w)
{
	progress_free(w->progress);
	vec_each (it, &w->items) {
		image_free(it->image);
		reference_done(&it->name);
	}
	vec_done(&w->items);
	image_session_done(&w->session);
}

static enum save_format format_of(const char *name)
{
	return str_eq(name, "oci-dir")       ? SAVE_OCI_DIR
	       : str_eq(name, "oci-archive") ? SAVE_OCI_ARCHIVE
					     : SAVE_DOCKER_ARCHIVE;
}

static int find_all(struct cli *c, struct saving *w, struct err *e)
{
	const char *platform = cli_string(c, "platform");
	_platform_ struct platform want = {0};
	int rc = platform ? platform_parse(platform, &want, e) : 0;

	for (char *const *name = cli_argv(c); !rc && *name; name++) {
		struct save_item it = {0};

		rc = image_resolve(w->session.store, *name, &it.image, &it.name, e);
		if (rc)
			break;
		vec_push(&w->items, it);
		if (platform && !platform_match(&want, &it.image->platform))
			rc = err_set(e, ERR_IMG_NO_PLATFORM, -ENOENT,
				     "the image '%s' that is here is not for %s", *name, platform);
	}
	return rc;
}

static int save_to(struct saving *w, int fd, struct err *e)
{
	return image_save(w->session.store, w->items.v, w->items.n, w->format, fd, w->progress, e);
}

static int cannot(const char *what, const char *path, int rc, struct err *e)
{
	return err_set(e, ERR_IMG_ARCHIVE, rc, "cannot %s '%s': %s", what, path, strerror(-rc));
}

/* Into a folder that is empty or new. */
static int save_folder(struct saving *w, const char *path, struct err *e)
{
	bool made = !path_exists(AT_FDCWD, path);
	int rc = path_mkdirs(AT_FDCWD, path, 0777);
	int fd = rc ? rc : path_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
	_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir)
		return cannot("make the folder", path, fd < 0 ? fd : -errno, e);
	for (struct dirent *entry; (entry = readdir(dir));)
		if (!str_eq(entry->d_name, ".") && !str_eq(entry->d_name, ".."))
			return cannot("write into the folder", path, -ENOTEMPTY, e);
	rc = save_to(w, fd, e);
	if (rc && made)
		path_remove_tree(AT_FDCWD, path);
	return rc;
}

/* A name beside path, for the moment between the link and the rename. */
static int give_name(int fd, const char *path, struct err *e)
{
	_free_ char *temporary = mem_printf("%s.viv-%d", path, getpid());
	int rc = fd_name(fd, AT_FDCWD, temporary);

	if (!rc) {
		rc = path_rename(AT_FDCWD, temporary, path);
		if (rc)
			path_unlink(AT_FDCWD, temporary);
	}
	return rc ? cannot("write", path, rc, e) : 0;
}

static int save_file(struct saving *w, const char *path, struct err *e)
{
	const char *slash = strrchr(path, '/');
	_free_ char *folder =
	    slash ? mem_strndup(path, (size_t)(slash - path) + 1) : mem_strdup(".");
	struct stat st;
	bool special = !path_stat(AT_FDCWD, path, &st) && !S_ISREG(st.st_mode);
	bool nameless = !special;
	_close_ int fd = special ? path_open(AT_FDCWD, path, O_WRONLY, 0)
				 : path_open(AT_FDCWD, folder, O_TMPFILE | O_WRONLY, 0666);

	if (fd == -EOPNOTSUPP) { /* a file system that has no nameless files */
		nameless = false;
		fd = path_open(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
	}
	if (fd < 0)
		return cannot("write", path, fd, e);
	int rc = save_to(w, fd, e);

	return rc || !nameless ? rc : give_name(fd, path, e);
}

int cmd_save(struct cli *c)
{
	_cleanup_(saving_done) struct saving w = {.format = format_of(cli_string(c, "format"))};
	const char *path = cli_string(c, "output");
	struct err e = {0};

	if (path && str_eq(path, "-"))
		path = NULL;
	if (!path && w.format == SAVE_OCI_DIR)
		return cli_usage(c, "a folder needs a name: --output DIR");
	if (!path && isatty(STDOUT_FILENO))
		return cli_usage(
		    c, "an archive is not for a terminal: name a file by --output, or redirect");
	int rc = image_session_open(c, &w.session, &e);

	rc = rc ? rc : find_all(c, &w, &e);
	if (rc)
		return cli_fail(c, &e);
	w.progress = viv_progress(c, false);
	if (!path)
		rc = save_to(&w, STDOUT_FILENO, &e);
	else
		rc = w.format == SAVE_OCI_DIR ? save_folder(&w, path, &e) : save_file(&w, path, &e);
	return rc ? cli_fail(c, &e) : 0;
}
