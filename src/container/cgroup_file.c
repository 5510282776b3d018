/* The files of a group: one short write or read each, and errors that tell a person which value the
 * kernel refused. */
#include "container/cgroup_int.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/path.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static int file_path(char out[CGROUP_PATH_MAX], const char *dir, const char *file)
{
	int n = snprintf(out, CGROUP_PATH_MAX, "%s/%s", dir, file);

	return n < CGROUP_PATH_MAX ? 0 : -ENAMETOOLONG;
}

int cg_write(const char *dir, const char *file, const char *value)
{
	char path[CGROUP_PATH_MAX];
	int rc = file_path(path, dir, file);

	if (rc)
		return rc;
	_close_ int fd = path_open(AT_FDCWD, path, O_WRONLY, 0);

	if (fd < 0)
		return fd;
	/* The kernel takes one setting per write(2) from files of the nested-keyed kind. */
	for (const char *p = value; !rc;) {
		size_t len = strcspn(p, "\n");

		rc = fd_write_all(fd, p, len);
		if (!p[len] || !p[len + 1])
			break;
		p += len + 1;
	}
	return rc;
}

static const char *why(int rc, const char *file)
{
	switch (rc) {
	case -ENOENT:
		return "the controller is not enabled here, or the kernel lacks this setting";
	case -EINVAL:
		return "the kernel does not take this value: out of range, or in conflict with the "
		       "parent "
		       "group or another setting";
	case -EBUSY:
		return str_after(file, "memory") ? "more than that is in use" : strerror(EBUSY);
	case -ERANGE:
		return "the value is out of range";
	default:
		return strerror(-rc);
	}
}

int cg_refused(struct err *e, int rc, const char *dir, const char *file, const char *value)
{
	return err_set(e, ERR_CG_LIMIT, rc, "cannot set '%s' to '%s' in '%s': %s", file, value, dir,
		       why(rc, file));
}

int cg_set(struct err *e, const char *dir, const char *file, const char *fmt, ...)
{
	_buf_ struct buf value = {0};
	va_list ap;

	va_start(ap, fmt);
	buf_addfv(&value, fmt, ap);
	va_end(ap);
	int rc = cg_write(dir, file, buf_str(&value));

	return rc ? cg_refused(e, rc, dir, file, buf_str(&value)) : 0;
}

int cg_read(const char *dir, const char *file, struct buf *b)
{
	char path[CGROUP_PATH_MAX];
	int rc = file_path(path, dir, file);

	return rc ? rc : path_read(AT_FDCWD, path, b, CGROUP_FILE_MAX);
}

static int number(const char *s, uint64_t *ret)
{
	int64_t negative;

	if (str_eq(s, "max")) {
		*ret = UINT64_MAX;
		return 0;
	}
	if (*s == '-' && !str_to_i64(s, &negative)) {
		*ret = 0;
		return 0;
	}
	return str_to_u64(s, ret);
}

int cg_read_u64(const char *dir, const char *file, uint64_t *ret)
{
	char path[CGROUP_PATH_MAX], line[64];
	int rc = file_path(path, dir, file);

	if (!rc)
		rc = path_read_line(AT_FDCWD, path, line, sizeof(line));
	return rc < 0 ? rc : number(line, ret);
}

int cg_read_key(const char *dir, const char *file, const char *key, uint64_t *ret)
{
	_buf_ struct buf b = {0};
	int rc = cg_read(dir, file, &b);
	char *text = b.s, *save;

	if (rc)
		return rc;
	for (char *p = strtok_r(text, "\n", &save); p; p = strtok_r(NULL, "\n", &save)) {
		const char *rest = str_after(p, key);

		if (rest && *rest == ' ')
			return number(rest + 1, ret);
	}
	return -ENOENT;
}

bool cg_has(const char *dir, const char *file)
{
	char path[CGROUP_PATH_MAX];

	return !file_path(path, dir, file) && path_exists(AT_FDCWD, path);
}

int cg_each_child(const char *dir, cg_child_fn *fn, void *arg)
{
	int fd = path_open(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY, 0);
	int rc = 0;

	if (fd < 0)
		return fd;
	_closedir_ DIR *d = fdopendir(fd);

	if (!d) {
		rc = -errno;
		close(fd);
		return rc;
	}
	for (struct dirent *ent; rc >= 0 && (ent = readdir(d));) {
		char child[CGROUP_PATH_MAX];

		if (ent->d_type != DT_DIR || str_eq(ent->d_name, ".") || str_eq(ent->d_name, ".."))
			continue;
		rc = file_path(child, dir, ent->d_name);
		if (!rc)
			rc = fn(arg, child);
	}
	return rc;
}
