/* Where control groups are on this host: /proc/self/mountinfo says where each hierarchy is mounted,
 * /proc/self/cgroup which hierarchies there are and where the caller is in each. Both are read
 * once, and both are foreign text: another container may have chosen the names in them.
 *
 *   36 35 98:0 /mnt1 /sys/fs/cgroup/cpu rw,noatime master:1 - cgroup cgroup rw,cpu
 * proc_pid_mountinfo(5) 4:memory:/user.slice        0::/user.slice        1:name=systemd:/
 * cgroups(7) */
#include "container/cgroup_int.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/path.h"

#include <fcntl.h>
#include <stdio.h>

#define CGROUP_ROOT "/sys/fs/cgroup"
#define FIELDS_MAX  24 /* of a line of mountinfo; optional fields are few */

struct mount {
	const char *root, *point, *type, *options;
};

/* Is `word` one of the comma-separated words of list? */
static bool list_has(const char *list, const char *word, size_t len)
{
	for (const char *p = list; *p;) {
		size_t n = strcspn(p, ",");

		if (n == len && !memcmp(p, word, n))
			return true;
		p += n + (p[n] == ',');
	}
	return false;
}

/* mountinfo writes space, tab, newline and backslash as \ooo. */
static void unescape(char *s)
{
	char *out = s;

	for (; *s; s++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
		    s[3] >= '0' && s[3] <= '7') {
			*out++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
			s += 3;
		} else {
			*out++ = *s;
		}
	}
	*out = '\0';
}

static bool mount_parse(char *line, struct mount *m)
{
	char *field[FIELDS_MAX], *save;
	size_t n = 0, dash = 0;

	for (char *p = strtok_r(line, " ", &save); p && n < FIELDS_MAX;
	     p = strtok_r(NULL, " ", &save)) {
		if (n >= 6 && !dash && str_eq(p, "-"))
			dash = n;
		field[n++] = p;
	}
	if (!dash || dash + 3 >= n)
		return false;
	unescape(field[3]);
	unescape(field[4]);
	*m = (struct mount){.root = field[3],
			    .point = field[4],
			    .type = field[dash + 1],
			    .options = field[dash + 3]};
	return true;
}

/* The caller's group as seen below a mount whose root is not the hierarchy's: a container without a
 * cgroup namespace reads paths of the host in /proc/self/cgroup. */
static const char *below_root(const char *own, const char *root)
{
	const char *rest = str_eq(root, "/") ? own : str_after(own, root);

	return rest && *rest == '/' ? rest : "/";
}

/* false where it does not fit */
static bool copy(char *to, size_t size, const char *from)
{
	size_t n = strlen(from);

	if (n >= size)
		return false;
	memcpy(to, from, n + 1);
	return true;
}

/* The same hierarchy may be mounted several times: the usual place wins, else the first. What is
 * mounted on the very root of the usual place hides all that is below it. */
static bool better_place(const char *present, const char *candidate)
{
	return !*present || str_eq(candidate, CGROUP_ROOT) ||
	       (!str_after(present, CGROUP_ROOT) && str_after(candidate, CGROUP_ROOT));
}

static void add_mount(struct cgroup_host *h, const struct mount *m)
{
	if (str_eq(m->type, "cgroup2")) {
		char own[CGROUP_PATH_MAX];

		if (!better_place(h->unified, m->point) || strlen(m->point) >= sizeof(h->unified) ||
		    !copy(own, sizeof(own), below_root(h->unified_own, m->root)))
			return;
		copy(h->unified, sizeof(h->unified), m->point);
		copy(h->unified_own, sizeof(h->unified_own), own);
		return;
	}
	if (!str_eq(m->type, "cgroup"))
		return;
	for (size_t i = 0; i < h->v1_count; i++) {
		const char *name = h->v1[i].controllers;
		char own[CGROUP_PATH_MAX];

		if (!list_has(m->options, name, strcspn(name, ",")))
			continue;
		if (!better_place(h->v1[i].mountpoint, m->point) ||
		    strlen(m->point) >= sizeof(h->v1[i].mountpoint) ||
		    !copy(own, sizeof(own), below_root(h->v1[i].own_path, m->root)))
			return;
		copy(h->v1[i].mountpoint, sizeof(h->v1[i].mountpoint), m->point);
		copy(h->v1[i].own_path, sizeof(h->v1[i].own_path), own);
		return;
	}
}

/* hierarchy-ID:controllers:path */
static void add_own(struct cgroup_host *h, char *line)
{
	char *controllers = strchr(line, ':');
	char *path = controllers ? strchr(controllers + 1, ':') : NULL;

	if (!path || path[1] != '/')
		return;
	*path++ = '\0';
	controllers++;
	if (!*controllers) {
		copy(h->unified_own, sizeof(h->unified_own), path);
		return;
	}
	if (h->v1_count < CGROUP_V1_MAX &&
	    copy(h->v1[h->v1_count].controllers, sizeof(h->v1[0].controllers), controllers) &&
	    copy(h->v1[h->v1_count].own_path, sizeof(h->v1[0].own_path), path))
		h->v1[h->v1_count++].mountpoint[0] = '\0';
}

void cgroup_host_parse(char *self_cgroup, char *mountinfo, struct cgroup_host *ret)
{
	char *save;
	size_t mounted = 0;

	ret->v1_count = 0;
	ret->unified[0] = '\0';
	copy(ret->unified_own, sizeof(ret->unified_own), "/");
	for (char *p = strtok_r(self_cgroup, "\n", &save); p; p = strtok_r(NULL, "\n", &save))
		add_own(ret, p);
	for (char *p = strtok_r(mountinfo, "\n", &save); p; p = strtok_r(NULL, "\n", &save)) {
		struct mount m;

		if (mount_parse(p, &m))
			add_mount(ret, &m);
	}
	for (size_t i = 0; i < ret->v1_count; i++) {
		if (!*ret->v1[i].mountpoint)
			continue;
		if (mounted != i)
			ret->v1[mounted] = ret->v1[i];
		mounted++;
	}
	ret->v1_count = mounted;
	/* A stray v1 mount elsewhere does not make a v2 host a v1 host. */
	if (str_eq(ret->unified, CGROUP_ROOT))
		ret->mode = CGROUP_V2;
	else if (mounted)
		ret->mode = CGROUP_V1;
	else if (*ret->unified)
		ret->mode = CGROUP_V2;
	else
		ret->mode = CGROUP_NONE;
	ret->hybrid = ret->mode == CGROUP_V1 && *ret->unified;
}

int cgroup_host(struct cgroup_host *ret, struct err *e)
{
	_buf_ struct buf self_cgroup = {0}, mountinfo = {0};
	int rc = path_read(AT_FDCWD, "/proc/self/cgroup", &self_cgroup, PATH_READ_MAX);

	if (!rc)
		rc = path_read(AT_FDCWD, "/proc/self/mountinfo", &mountinfo, PATH_READ_MAX);
	if (rc && rc != -ENOENT) /* no such file: a kernel without control groups, or no /proc */
		return err_set(e, ERR_CG_UNAVAILABLE, rc,
			       "cannot read /proc/self/cgroup and /proc/self/mountinfo: %s",
			       strerror(-rc));
	_free_ char *own = buf_take(&self_cgroup), *mounts = buf_take(&mountinfo);

	cgroup_host_parse(own, mounts, ret);
	return 0;
}
