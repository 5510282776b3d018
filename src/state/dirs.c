#include "state/dirs.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "os/path.h"
#include "os/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>

/* XDG base directory specification: relative paths are to be ignored. */
static const char *absolute_env(const char *name)
{
	const char *value = getenv(name);

	return value && value[0] == '/' ? value : NULL;
}

/* Root of a user namespace that an ordinary user has made is that user: the machine's directories
 * are not its own. */
static bool is_root(void)
{
	struct stat st;

	return geteuid() == 0 &&
	       (!proc_in_userns() || (!path_stat(AT_FDCWD, "/var/lib", &st) && !st.st_uid));
}

int dirs_data(char **ret, struct err *e)
{
	if (is_root()) {
		*ret = mem_strdup("/var/lib/viv");
		return 0;
	}
	const char *data = absolute_env("XDG_DATA_HOME");

	if (data) {
		*ret = mem_printf("%s/viv", data);
		return 0;
	}
	const char *home = absolute_env("HOME");
	const struct passwd *user = home ? NULL : getpwuid(geteuid());

	if (user && user->pw_dir && user->pw_dir[0] == '/')
		home = user->pw_dir;
	if (!home)
		return err_set(e, ERR_SYS, -ENOENT,
			       "user %u has no home directory: set HOME or XDG_DATA_HOME",
			       geteuid());
	*ret = mem_printf("%s/.local/share/viv", home);
	return 0;
}

int dirs_run(char **ret, struct err *e)
{
	if (is_root()) {
		*ret = mem_strdup("/run/viv");
		return 0;
	}
	const char *run = absolute_env("XDG_RUNTIME_DIR");

	if (run) {
		*ret = mem_printf("%s/viv", run);
		return 0;
	}
	_free_ char *data = NULL;
	int rc = dirs_data(&data, e);

	if (!rc)
		*ret = mem_printf("%s/run", data);
	return rc;
}
