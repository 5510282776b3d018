/* `viv runtime spec`: a config.json to start from. */
#include "cmd/runtime.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "container/spec.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static int write_new(const char *path, const char *text, struct err *e)
{
	_close_ int fd = path_open(AT_FDCWD, path, O_WRONLY | O_CREAT | O_EXCL, 0666);

	if (fd == -EEXIST)
		return err_set(e, ERR_NONE, fd, "file '%s' exists; remove it first", path);
	int rc = fd < 0 ? fd : fd_write_all(fd, text, strlen(text));

	if (rc < 0)
		return err_set(e, ERR_SYS, rc, "writing '%s': %s", path, strerror(-rc));
	return 0;
}

int runtime_spec(struct cli *c)
{
	const char *bundle = cli_string(c, "bundle");
	_free_ char *text = spec_default(cli_bool(c, "rootless"), geteuid(), getegid());
	_free_ char *path =
	    bundle && *bundle ? mem_printf("%s/config.json", bundle) : mem_strdup("config.json");
	struct err e;

	return write_new(path, text, &e) < 0 ? runtime_fail(c, &e, 1) : 0;
}
