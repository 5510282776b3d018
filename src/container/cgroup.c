/* One container's groups: which mode, which directories, and the order of things. The kernel's two
 * interfaces are in cgroup_v1*.c and cgroup_v2*.c, systemd's in cgroup_systemd.c. */
#include "container/cgroup_int.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/path.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

int cg_path_join(char out[CGROUP_PATH_MAX], const char *base, const char *path)
{
	size_t floor = strlen(base), len = floor;

	while (floor && base[floor - 1] == '/')
		len = --floor;
	if (len >= CGROUP_PATH_MAX)
		return -ENAMETOOLONG;
	memmove(out, base, len);
	for (const char *p = path; *(p += strspn(p, "/"));) {
		size_t n = strcspn(p, "/");

		if (n == 2 && p[0] == '.' && p[1] == '.') {
			while (len > floor && out[--len] != '/')
				;
		} else if (n != 1 || p[0] != '.') {
			if (len + n + 2 > CGROUP_PATH_MAX)
				return -ENAMETOOLONG;
			out[len++] = '/';
			memcpy(out + len, p, n);
			len += n;
		}
		p += n;
	}
	out[len] = '\0';
	return 0;
}

static bool has_controller(const char *list, const char *controller)
{
	size_t len = strlen(controller);

	for (const char *p = list; *p;) {
		size_t n = strcspn(p, ",");

		if (n == len && !memcmp(p, controller, n))
			return true;
		p += n + (p[n] == ',');
	}
	return false;
}

const char *cg_dir(const struct cgroup *cg, const char *controller)
{
	if (cg->mode == CGROUP_V2)
		return *cg->path ? cg->path : NULL;
	for (size_t i = 0; i < cg->v1_count; i++)
		if (has_controller(cg->v1[i].controllers, controller))
			return cg->v1[i].path;
	return NULL;
}

const char *cg_main_dir(const struct cgroup *cg)
{
	const char *dir = cg_dir(cg, "devices");

	return dir ? dir : cg->v1_count ? cg->v1[0].path : NULL;
}

bool cg_may_ignore(const struct cgroup *cg, const struct spec *spec, int rc)
{
	return cg->rootless && !(spec->cgroups_path && *spec->cgroups_path) &&
	       (rc == -EPERM || rc == -EACCES || rc == -EROFS);
}

static int init_v2(struct cgroup *cg, const struct cgroup_host *h, const char *path, struct err *e)
{
	/* A group with processes cannot hand controllers down ("no internal processes"), so the
	 * container's group becomes a sister of the caller's, not a child. */
	_free_ char *parent = mem_printf("%s/..", *path == '/' ? "" : h->unified_own);

	if (cg_path_join(cg->path, h->unified, parent) || cg_path_join(cg->path, cg->path, path))
		return err_set(e, ERR_SPEC_VALUE, -ENAMETOOLONG, "linux.cgroupsPath is too long");
	return 0;
}

int cgroup_init(struct cgroup *cg, const struct spec *spec, const char *id, bool systemd,
		bool rootless, struct err *e)
{
	_free_ struct cgroup_host *h = mem_alloc(sizeof(*h));
	const char *path = spec->cgroups_path && *spec->cgroups_path ? spec->cgroups_path : id;
	int rc = cgroup_host(h, e);

	if (rc)
		return rc;
	memset(cg, 0, sizeof(*cg));
	cg->fd = -1;
	cg->mode = h->mode;
	cg->rootless = rootless;
	if (h->mode == CGROUP_NONE) {
		if (rootless && !systemd)
			return 0;
		return err_set(e, ERR_CG_UNAVAILABLE, -ENOENT,
			       "no control group file system is mounted");
	}
	if (systemd)
		return cg_systemd_init(cg, spec, id, e);
	rc = h->mode == CGROUP_V2 ? init_v2(cg, h, path, e) : cg_v1_paths(cg, h, path, e);
	if (rc)
		cgroup_done(cg);
	return rc;
}

void cgroup_done(struct cgroup *cg)
{
	free(cg->v1);
	cg->v1 = NULL;
	cg->v1_count = 0;
	if (cg->fd >= 0)
		close(cg->fd);
	cg->fd = -1;
}

static void warn_ignored(const struct spec_resources *r)
{
	if (r->has & (RES_MEM_KERNEL | RES_MEM_KERNEL_TCP))
		log_warn("Limits of kernel memory are ignored: current kernels have none");
}

/* Whatever is at these places now belongs to someone else: a caller that cleans up must not kill or
 * remove it. */
static void disown(struct cgroup *cg)
{
	cgroup_done(cg);
	cg->mode = CGROUP_NONE;
	cg->systemd = false;
	cg->path[0] = cg->unit[0] = '\0';
}

int cgroup_create(struct cgroup *cg, const struct spec *spec, pid_t pid, struct err *e)
{
	int rc = 0;

	warn_ignored(&spec->resources);
	if (cg->systemd)
		rc = cg_systemd_start(cg, spec, pid, e);
	if (!rc) {
		rc = cg->mode == CGROUP_V2 ? cg_v2_create(cg, spec, e) : cg_v1_create(cg, spec, e);
		if (rc && cg->systemd)
			cg_systemd_stop(cg, NULL);
	}
	if (rc)
		disown(cg);
	else
		cg->made = true;
	return rc;
}

int cgroup_clone_fd(const struct cgroup *cg)
{
	return cg->fd;
}

int cgroup_join_self(const struct cgroup *cg, struct err *e)
{
	switch (cg->mode) {
	case CGROUP_V1:
		return cg_v1_join(cg, e);
	case CGROUP_V2:
		return cg_v2_join(cg, e);
	default:
		return 0;
	}
}

int cgroup_update(const struct cgroup *cg, const struct spec_resources *res, struct err *e)
{
	int rc = 0;

	warn_ignored(res);
	if (cg->systemd)
		rc = cg_systemd_update(cg, res, e);
	if (rc)
		return rc;
	return cg->mode == CGROUP_V2 ? cg_v2_limits(cg, res, e) : cg_v1_limits(cg, res, e);
}

bool cgroup_exists(const struct cgroup *cg)
{
	const char *dir = cg_main_dir(cg);

	return dir && path_exists(AT_FDCWD, dir);
}

/* --- the container's state file --- */

static const char *const mode_names[] = {
    [CGROUP_NONE] = "none", [CGROUP_V1] = "v1", [CGROUP_V2] = "v2"};

json_t *cgroup_to_json(const struct cgroup *cg)
{
	json_t *paths = json_object();

	if (*cg->path)
		json_object_set_new(paths, "", json_string(cg->path));
	for (size_t i = 0; i < cg->v1_count; i++)
		json_object_set_new(paths, cg->v1[i].controllers, json_string(cg->v1[i].path));
	return json_pack("{s:s, s:b, s:b, s:b, s:s, s:s, s:o}", "mode", mode_names[cg->mode],
			 "systemd", cg->systemd, "rootless", cg->rootless, "made", cg->made, "unit",
			 cg->unit, "slice", cg->slice, "paths", paths);
}

static bool take(char *to, size_t size, const char *from)
{
	return (size_t)snprintf(to, size, "%s", from) < size;
}

/* Directories that a later `delete` removes: absolute, and nothing that climbs. */
static bool path_is_plain(const char *path)
{
	char clean[CGROUP_PATH_MAX];

	return *path == '/' && !cg_path_join(clean, "", path) && str_eq(clean, path);
}

static bool load_paths(struct cgroup *cg, json_t *paths)
{
	const char *controllers;
	json_t *value;

	if (json_object_size(paths) > CGROUP_V1_MAX)
		return false;
	if (cg->mode == CGROUP_V1)
		cg->v1 = mem_array(json_object_size(paths), sizeof(*cg->v1));
	json_object_foreach (paths, controllers, value) {
		const char *path = json_string_value(value);
		__typeof__(*cg->v1) *to = cg->v1 ? &cg->v1[cg->v1_count] : NULL;

		if (!path || !path_is_plain(path))
			return false;
		if (!to) {
			if (!take(cg->path, sizeof(cg->path), path))
				return false;
			continue;
		}
		if (!take(to->controllers, sizeof(to->controllers), controllers) ||
		    !take(to->path, sizeof(to->path), path))
			return false;
		cg->v1_count++;
	}
	return true;
}

int cgroup_from_json(struct cgroup *cg, const json_t *j, struct err *e)
{
	const char *mode, *unit, *slice;
	int systemd = 0, rootless = 0, made = 0;
	json_t *paths;

	memset(cg, 0, sizeof(*cg));
	cg->fd = -1;
	if (json_unpack((json_t *)j, "{s:s, s:b, s:b, s:b, s:s, s:s, s:o}", "mode", &mode,
			"systemd", &systemd, "rootless", &rootless, "made", &made, "unit", &unit,
			"slice", &slice, "paths", &paths))
		return err_set(e, ERR_STATE_CORRUPT, -EBADMSG,
			       "the state's control group is malformed");
	cg->systemd = systemd;
	cg->rootless = rootless;
	cg->made = made;
	for (size_t i = 0; i < ARRAY_SIZE(mode_names); i++)
		if (str_eq(mode, mode_names[i]))
			cg->mode = (enum cgroup_mode)i;
	if (take(cg->unit, sizeof(cg->unit), unit) && take(cg->slice, sizeof(cg->slice), slice) &&
	    load_paths(cg, paths))
		return 0;
	cgroup_done(cg);
	return err_set(e, ERR_STATE_CORRUPT, -EBADMSG,
		       "the state's control group paths are malformed");
}
