/* viv doctor: kernel version, system calls, file systems, security modules, service manager. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/doctor.h"
#include "os/path.h"
#include "os/probe.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/utsname.h>

/* The oldest kernel with everything the runtime calls: mount_setattr and idmapped mounts (5.12). */
enum { NEED_MAJOR = 5, NEED_MINOR = 12 };

static void check_version(json_t *rows)
{
	struct utsname u;
	unsigned major = 0, minor = 0;

	uname(&u);
	sscanf(u.release, "%u.%u", &major, &minor);
	bool old = major < NEED_MAJOR || (major == NEED_MAJOR && minor < NEED_MINOR);
	_free_ char *found = mem_printf("%s %s %s", u.sysname, u.release, u.machine);

	doctor_add(rows, old ? VERDICT_WARN : VERDICT_OK, "kernel", found,
		   old ? "install Linux 5.12 or newer; Debian 12 has 6.1" : NULL);
}

/* One row for all calls: the names of what is missing. */
static void check_calls(json_t *rows)
{
	static const struct {
		const char *name;
		int (*probe)(void);
		bool essential;
	} calls[] = {
	    {"clone3", probe_clone3, true},
	    {"openat2", probe_openat2, true},
	    {"pidfd_open", probe_pidfd, true},
	    {"close_range", probe_close_range, true},
	    {"mount_setattr", probe_mount_setattr, false},
	    {"fsopen", probe_new_mount, false},
	};
	_buf_ struct buf there = {0}, missing = {0};
	enum verdict verdict = VERDICT_OK;

	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		int rc = calls[i].probe();
		struct buf *list = rc ? &missing : &there;

		buf_addf(list, "%s%s", list->len ? " " : "", calls[i].name);
		if (rc)
			buf_addf(list, " (%s)", strerror(-rc));
		if (rc && (calls[i].essential || verdict == VERDICT_OK))
			verdict = calls[i].essential ? VERDICT_FAIL : VERDICT_WARN;
	}
	_free_ char *found =
	    missing.len ? mem_printf("missing: %s", missing.s) : mem_strdup(buf_str(&there));

	doctor_add(
	    rows, verdict, "system calls", found,
	    missing.len
		? "update the kernel; inside a container, allow these calls in its seccomp profile"
		: NULL);
}

static void check_memfd(json_t *rows)
{
	int rc = probe_memfd_exec();

	doctor_add(rows, rc ? VERDICT_FAIL : VERDICT_OK, "sealed programs",
		   rc ? strerror(-rc) : "memfd can be executed",
		   rc ? "sysctl vm.memfd_noexec=0, or allow it in the security module" : NULL);
}

static void check_seccomp(json_t *rows)
{
	int rc = probe_seccomp();

	doctor_add(
	    rows, rc ? VERDICT_WARN : VERDICT_OK, "seccomp",
	    rc ? strerror(-rc) : "filters and user notification",
	    rc ? "use a kernel with CONFIG_SECCOMP_FILTER; without it containers run unfiltered"
	       : NULL);
}

static void check_landlock(json_t *rows)
{
	int abi = probe_landlock();
	_free_ char *found =
	    abi ? mem_printf("ABI %d", abi) : mem_strdup("not in this kernel, or not enabled");

	doctor_add(rows, abi ? VERDICT_OK : VERDICT_WARN, "landlock", found,
		   abi ? NULL : "boot with landlock in lsm= to give machines one more jail wall");
}

static void check_fs(json_t *rows, const char *type, const char *use)
{
	int rc = probe_fs(type);
	_free_ char *found = rc ? mem_printf("%s: %s", type, strerror(-rc)) : mem_printf("%s", use);
	_free_ char *cure = mem_printf("modprobe %s, as root", type);

	doctor_add(rows, rc ? VERDICT_WARN : VERDICT_OK, type, found, rc ? cure : NULL);
}

static void check_idmap(json_t *rows)
{
	int rc = geteuid() ? -EPERM : probe_idmapped_mount("/");

	if (geteuid())
		doctor_add(rows, VERDICT_OK, "idmapped mounts", "only root can make them", NULL);
	else
		doctor_add(rows, rc ? VERDICT_WARN : VERDICT_OK, "idmapped mounts",
			   rc ? strerror(-rc) : "the root file system takes them",
			   rc ? "keep images on ext4, xfs, btrfs or tmpfs, with Linux 5.12 or newer"
			      : NULL);
}

static void check_lsm(json_t *rows)
{
	char list[256] = "";

	path_read_line(AT_FDCWD, "/sys/kernel/security/lsm", list, sizeof(list));
	bool known = strstr(list, "apparmor") || strstr(list, "selinux");
	bool hidden = !*list;

	doctor_add(rows, VERDICT_OK, "security modules",
		   hidden  ? "unknown: securityfs is not mounted"
		   : known ? list
			   : "neither AppArmor nor SELinux: containers have no label",
		   NULL);
}

static void check_systemd(json_t *rows)
{
	bool runs = path_exists(AT_FDCWD, "/run/systemd/system");

	doctor_add(rows, VERDICT_OK, "systemd",
		   runs ? "runs this host; --systemd-cgroup works"
			: "does not run this host; groups are made directly",
		   NULL);
}

void doctor_kernel(json_t *rows)
{
	check_version(rows);
	check_calls(rows);
	check_memfd(rows);
	check_seccomp(rows);
	check_landlock(rows);
	check_lsm(rows);
	check_fs(rows, "overlay", "layers of images can be mounted");
	check_fs(rows, "erofs", "images can be mounted without unpacking");
	check_idmap(rows);
	check_systemd(rows);
}
