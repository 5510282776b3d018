/* viv doctor: what ordinary users may do: user namespaces and subordinate ids. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/doctor.h"
#include "os/path.h"
#include "os/probe.h"

#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/xattr.h>

enum { SUBID_NEED = 65536 }; /* what an image's users need */

/* A sysctl's number, or fallback where the kernel does not have it. */
static long sysctl(const char *name, long fallback)
{
	_free_ char *path = mem_printf("/proc/sys/%s", name);
	char line[32];
	int64_t value;

	if (path_read_line(AT_FDCWD, path, line, sizeof(line)) < 0 || str_to_i64(line, &value))
		return fallback;
	return (long)value;
}

static void check_userns(json_t *rows)
{
	int rc = probe_userns();
	const char *cure = NULL;
	_free_ char *found =
	    rc ? mem_printf("refused: %s", strerror(-rc)) : mem_strdup("can be made");

	/* Root is exempt from two of these, so they are checked even where the probe succeeded. */
	if (!sysctl("user/max_user_namespaces", 1))
		cure = "sysctl user.max_user_namespaces=15000";
	else if (!sysctl("kernel/unprivileged_userns_clone", 1))
		cure = "sysctl kernel.unprivileged_userns_clone=1";
	else if (sysctl("kernel/apparmor_restrict_unprivileged_userns", 0) > 0)
		cure = "give viv an AppArmor profile with 'userns,', or "
		       "sysctl kernel.apparmor_restrict_unprivileged_userns=0";
	else if (rc)
		cure = "allow unshare(2) where a security module or an outer container forbids it";
	doctor_add(rows, cure ? VERDICT_WARN : VERDICT_OK, "user namespaces",
		   cure && !rc ? "only for root" : found, cure);
}

/* Sums the ranges of user (by name or number) in /etc/subuid or /etc/subgid: "ann:100000:65536"
 * (subuid(5)). */
static uint64_t sub_ids(const char *file, const char *user, uid_t uid)
{
	_buf_ struct buf text = {0};
	uint64_t sum = 0;
	char *save;

	if (path_read(AT_FDCWD, file, &text, PATH_READ_MAX) < 0)
		return 0;
	for (char *line = text.s ? strtok_r(text.s, "\n", &save) : NULL; line;
	     line = strtok_r(NULL, "\n", &save)) {
		char *first = strchr(line, ':'), *count = first ? strchr(first + 1, ':') : NULL;
		uint64_t n, id;

		if (!count)
			continue;
		*first = '\0';
		bool ours = (user && str_eq(line, user)) || (!str_to_u64(line, &id) && id == uid);

		if (ours && !str_to_u64(count + 1, &n) && n < UINT32_MAX)
			sum += n;
	}
	return sum;
}

/* newuidmap raises its rights by set-user-ID or by file capabilities; a copy that has neither is of
 * no use. */
static bool helper_works(const char *name)
{
	static const char *const dirs[] = {"/usr/bin", "/bin", "/usr/local/bin"};

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		_free_ char *path = mem_printf("%s/%s", dirs[i], name);
		_close_ int fd = path_open(AT_FDCWD, path, O_RDONLY, 0);
		struct stat st;

		if (fd >= 0 && !fstat(fd, &st))
			return (st.st_mode & S_ISUID) ||
			       fgetxattr(fd, "security.capability", NULL, 0) > 0;
	}
	return false;
}

static void check_subids(json_t *rows)
{
	bool helpers = helper_works("newuidmap") && helper_works("newgidmap");
	const struct passwd *pw = getpwuid(geteuid());
	const char *user = pw ? pw->pw_name : NULL;
	uint64_t uids = sub_ids("/etc/subuid", user, geteuid()),
		 gids = sub_ids("/etc/subgid", user, geteuid());

	if (!helpers) {
		doctor_add(rows, VERDICT_WARN, "subordinate ids",
			   "newuidmap or newgidmap is missing or has no rights",
			   "apt-get install uidmap");
		return;
	}
	if (!geteuid()) { /* root maps what it likes */
		doctor_add(rows, VERDICT_OK, "subordinate ids",
			   "newuidmap and newgidmap work; root needs no ranges", NULL);
		return;
	}
	_free_ char *found = mem_printf("%llu user and %llu group ids", (unsigned long long)uids,
					(unsigned long long)gids);
	_free_ char *cure = mem_printf(
	    "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 %s, as root",
	    user ? user : "USER");
	bool enough = uids >= SUBID_NEED && gids >= SUBID_NEED;

	doctor_add(rows, enough ? VERDICT_OK : VERDICT_WARN, "subordinate ids", found,
		   enough ? NULL : cure);
}

void doctor_users(json_t *rows)
{
	check_userns(rows);
	check_subids(rows);
}
