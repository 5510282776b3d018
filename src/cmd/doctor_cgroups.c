/* viv doctor: control groups as /proc/self/mountinfo and /proc/self/cgroup show them. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/doctor.h"
#include "os/path.h"

#include <fcntl.h>
#include <stdio.h>

static const char *const wanted[] = {"cpu", "cpuset", "io", "memory", "pids"};

struct layout {
	char v2_root[4096]; /* "": not mounted */
	struct buf v1;      /* options of the v1 mounts, ",cpu,cpuacct,…," */
	bool readonly;      /* some hierarchy is */
};

/* proc_pid_mountinfo(5): "id parent dev root POINT OPTIONS … - TYPE SOURCE SUPER". */
static void read_mount(char *line, struct layout *l)
{
	char *tail = strstr(line, " - "), point[4096], options[256], type[32], super[1024];

	if (!tail || sscanf(tail, " - %31s %*s %1023s", type, super) != 2 ||
	    sscanf(line, "%*s %*s %*s %*s %4095s %255s", point, options) != 2)
		return;
	if (str_eq(type, "cgroup2"))
		memcpy(l->v2_root, point, sizeof(point));
	else if (str_eq(type, "cgroup"))
		buf_addf(&l->v1, "%s,", super);
	else
		return;
	l->readonly |= str_eq(options, "ro") || str_after(options, "ro,");
}

static void read_layout(struct layout *l)
{
	_buf_ struct buf text = {0};
	char *save;

	buf_addc(&l->v1, ',');
	if (path_read(AT_FDCWD, "/proc/self/mountinfo", &text, PATH_READ_MAX) < 0 || !text.s)
		return;
	for (char *line = strtok_r(text.s, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		read_mount(line, l);
}

/* The caller's own group below the v2 mount: the line "0::/PATH" of /proc/self/cgroup. Returns
 * owned. */
static char *own_group(const struct layout *l)
{
	_buf_ struct buf text = {0};

	path_read(AT_FDCWD, "/proc/self/cgroup", &text, PATH_READ_MAX);
	const char *line = str_after(buf_str(&text), "0::");

	if (!line) {
		line = strstr(buf_str(&text), "\n0::");
		line = line ? line + 4 : "/";
	}
	return mem_printf("%s%.*s", l->v2_root, (int)strcspn(line, "\n"), line);
}

static bool has_word(const char *list, const char *word, char sep)
{
	_free_ char *padded = mem_printf("%c%s%c", sep, list, sep);
	_free_ char *needle = mem_printf("%c%s%c", sep, word, sep);

	return strstr(padded, needle);
}

/* The wanted controllers that are in neither hierarchy; v1 calls io blkio. */
static char *missing(const struct layout *l, const char *v2_controllers)
{
	_buf_ struct buf b = {0};

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		const char *v1_name = str_eq(wanted[i], "io") ? "blkio" : wanted[i];

		if (!has_word(v2_controllers, wanted[i], ' ') &&
		    !has_word(buf_str(&l->v1), v1_name, ','))
			buf_addf(&b, "%s%s", b.len ? " " : "", wanted[i]);
	}
	return buf_take(&b);
}

static void check_layout(json_t *rows, const struct layout *l, const char *controllers)
{
	bool v1 = l->v1.len > 1, v2 = *l->v2_root;
	_free_ char *lacking = missing(l, controllers);
	_free_ char *found = NULL;

	if (!v1 && !v2) {
		doctor_add(rows, VERDICT_FAIL, "control groups", "no hierarchy is mounted",
			   "mount -t cgroup2 cgroup2 /sys/fs/cgroup");
		return;
	}
	found = mem_printf("%s%s%s%s",
			   v1 && v2 ? "v1 with v2 beside it (hybrid)"
			   : v2     ? "v2"
				    : "v1",
			   l->readonly ? ", read-only" : "", *lacking ? "; without " : "", lacking);
	doctor_add(
	    rows, *lacking || l->readonly ? VERDICT_WARN : VERDICT_OK, "control groups", found,
	    l->readonly ? "mount them writable; an outer container must allow it"
	    : *lacking  ? "boot with systemd.unified_cgroup_hierarchy=1 and without cgroup_disable="
			: NULL);
}

/* An ordinary user's limits need a group that is the user's, with the controllers handed down into
 * it. */
static void check_delegation(json_t *rows, const struct layout *l, const char *own)
{
	static const char cure[] = "systemctl edit user@.service: [Service] Delegate=cpu cpuset io "
				   "memory pids; then log in again";
	_free_ char *file = mem_printf("%s/cgroup.procs", own);
	bool writable = *l->v2_root && !path_access(AT_FDCWD, file, W_OK);

	if (!geteuid())
		return;
	doctor_add(rows, writable ? VERDICT_OK : VERDICT_WARN, "delegation",
		   writable ? "this user may limit its containers"
			    : "containers of this user run without limits",
		   writable ? NULL : cure);
}

void doctor_cgroups(json_t *rows)
{
	struct layout l = {0};
	_buf_ struct buf controllers = {0};

	read_layout(&l);
	_free_ char *own = own_group(&l);
	_free_ char *file = mem_printf("%s/cgroup.controllers", geteuid() ? own : l.v2_root);

	if (*l.v2_root)
		path_read(AT_FDCWD, file, &controllers, PATH_READ_MAX);
	if (controllers.len && controllers.s[controllers.len - 1] == '\n')
		controllers.s[--controllers.len] = '\0';
	check_layout(rows, &l, buf_str(&controllers));
	check_delegation(rows, &l, own);
	buf_done(&l.v1);
}
