/* create, run, start: from a bundle to a container. */
#include "cmd/runtime.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "container/spec.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* "auto": -1. */
static int rootless_mode(struct cli *c)
{
	const char *mode = cli_string(c, "rootless");

	return str_eq(mode, "true") ? 1 : str_eq(mode, "false") ? 0 : -1;
}

/* Socket activation (sd_listen_fds(3)): descriptors from 3 on belong to the container as well. */
static int listen_fds(void)
{
	const char *text = getenv("LISTEN_FDS");
	uint64_t n;

	return text && str_to_u64(text, &n) == 0 && n < 1024 ? (int)n : 0;
}

static struct container_opts start_options(struct cli *c)
{
	return (struct container_opts){
	    .pid_file = cli_string(c, "pid-file"),
	    .console_socket = cli_string(c, "console-socket"),
	    .pidfd_socket = cli_string(c, "pidfd-socket"),
	    .preserve_fds = (int)cli_uint(c, "preserve-fds") + listen_fds(),
	    .no_pivot = cli_bool(c, "no-pivot"),
	    .no_new_keyring = cli_bool(c, "no-new-keyring"),
	    .systemd_cgroup = cli_bool(c, "systemd-cgroup"),
	    .rootless = rootless_mode(c),
	};
}

/* The bundle's configuration as text and parsed. */
static int read_bundle(const char *bundle, struct buf *text, struct spec **ret, struct err *e)
{
	_free_ char *real = NULL;
	int rc = path_real(bundle, &real);

	if (rc)
		return err_set(e, ERR_USAGE, rc, "bundle '%s': %s", bundle, strerror(-rc));
	_close_ int dir = path_open(AT_FDCWD, real, O_PATH | O_DIRECTORY, 0);

	rc = dir < 0 ? dir : path_read(dir, "config.json", text, SPEC_FILE_MAX);
	if (rc)
		return err_set(e, ERR_SPEC_JSON, rc, "JSON specification file '%s/config.json': %s",
			       real, rc == -ENOENT ? "not found" : strerror(-rc));
	rc = spec_parse(buf_str(text), text->len, real, ret, e);
	if (rc)
		return rc;
	if (!(*ret)->has_process || !(*ret)->process.args || !(*ret)->process.args[0])
		return err_set(e, ERR_SPEC_VALUE, -EINVAL,
			       "config.json: process.args must not be empty");
	return 0;
}

static int start_container(struct cli *c, bool run)
{
	const char *id = cli_argv(c)[0];
	struct container_opts o = start_options(c);
	_buf_ struct buf text = {0};
	_spec_ struct spec *spec = NULL;
	struct err e = {0};
	int status = 0;

	container_isolate_fds(o.preserve_fds);
	int rc = read_bundle(cli_string(c, "bundle"), &text, &spec, &e);

	if (rc)
		return runtime_fail(c, &e, 1);
	_close_ int root = runtime_root(c, true);

	if (root < 0)
		return 1;
	if (run) {
		o.detach = cli_bool(c, "detach");
		o.keep = cli_bool(c, "keep");
		o.no_subreaper = cli_bool(c, "no-subreaper");
		rc = container_run(root, id, spec, text.s, text.len, &o, &status, &e);
	} else {
		o.detach = true;
		rc = container_create(root, id, spec, text.s, text.len, &o, &e);
	}
	return rc ? runtime_fail(c, &e, 1) : status;
}

int runtime_create(struct cli *c)
{
	return start_container(c, false);
}

int runtime_run(struct cli *c)
{
	return start_container(c, true);
}

int runtime_start(struct cli *c)
{
	struct err e = {0};
	_close_ int root = runtime_root(c, false);

	container_isolate_fds(0);
	if (root < 0)
		return 1;
	return container_start(root, cli_argv(c)[0], &e) ? runtime_fail(c, &e, 1) : 0;
}
