/* Where a process of `exec` belongs: the container's group, a group below it by name, or, where the
 * container has made groups of its own and its top one may hold no processes any more, the group of
 * its init. */
#include "container/cgroup.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Appends a path of the caller below dir; ".." may not lead out of the container's group. */
static int descend(char *dir, const char *below, struct err *e)
{
	size_t len = strlen(dir);

	if (strstr(below, ".."))
		return err_set(e, ERR_USAGE, -EINVAL,
			       "bad sub cgroup path '%s': it leads out of the container's", below);
	if (len + strlen(below) + 2 > CGROUP_PATH_MAX)
		return err_set(e, ERR_USAGE, -ENAMETOOLONG, "cgroup '%s' is too long", below);
	snprintf(dir + len, CGROUP_PATH_MAX - len, "/%s", below);
	return path_exists(AT_FDCWD, dir)
		   ? 0
		   : err_set(e, ERR_NOT_FOUND, -ENOENT,
			     "cgroup '%s' does not exist in the container", below);
}

static bool has_word(const char *list, const char *word, size_t len)
{
	for (const char *p = list; *p; p += strspn(p, ",")) {
		size_t n = strcspn(p, ",");

		if (n == len && !strncmp(p, word, n))
			return true;
		p += n;
	}
	return false;
}

static int apply_sub(struct cgroup *cg, const char *sub, struct err *e)
{
	const char *colon = strchr(sub, ':');
	const char *path = colon ? colon + 1 : sub;

	if (cg->mode == CGROUP_V2)
		return colon ? err_set(e, ERR_USAGE, -EINVAL,
				       "cgroup '%s': no controllers are named on cgroup v2", sub)
			     : descend(cg->path, path, e);
	for (const char *p = sub; p < path; p += strspn(p, ",:")) {
		size_t len = strcspn(p, ",:");
		bool found = false;

		for (size_t i = 0; i < cg->v1_count && !found; i++)
			if (has_word(cg->v1[i].controllers, p, len)) {
				int rc = descend(cg->v1[i].path, path, e);

				if (rc)
					return rc;
				found = true;
			}
		if (!found)
			return err_set(e, ERR_USAGE, -EINVAL, "cgroup '%s': unknown controller",
				       sub);
		p += len;
	}
	for (size_t i = 0; i < cg->v1_count && !colon; i++) {
		int rc = descend(cg->v1[i].path, path, e);

		if (rc)
			return rc;
	}
	return 0;
}

int cgroup_open_for_exec(struct cgroup *cg, const char *const *subs, struct err *e)
{
	for (; subs && *subs; subs++) {
		int rc = apply_sub(cg, *subs, e);

		if (rc)
			return rc;
	}
	if (cg->mode != CGROUP_V2)
		return 0;
	int fd = path_open(AT_FDCWD, cg->path, O_PATH | O_DIRECTORY, 0);

	if (fd < 0)
		return err_set(e, ERR_CG_UNAVAILABLE, fd, "control group '%s': %s", cg->path,
			       strerror(-fd));
	if (cg->fd >= 0)
		close(cg->fd);
	cg->fd = fd;
	return 0;
}

int cgroup_use_group_of(struct cgroup *cg, pid_t pid, struct err *e)
{
	struct cgroup_host host;
	_buf_ struct buf text = {0};
	char path[64];
	int rc = cgroup_host(&host, e);

	if (rc)
		return rc;
	snprintf(path, sizeof(path), "/proc/%d/cgroup", pid);
	rc = path_read(AT_FDCWD, path, &text, PATH_READ_MAX);
	char *line = !rc && text.s ? strstr(text.s, "0::/") : NULL;

	if (!line)
		return err_set(e, ERR_CG_UNAVAILABLE, rc ? rc : -ENOENT,
			       "control group of the container's init cannot be read");
	line += strlen("0::");
	line[strcspn(line, "\n")] = '\0';
	snprintf(cg->path, sizeof(cg->path), "%s%s", host.unified, line);
	return cgroup_open_for_exec(cg, NULL, e);
}
