/* pause, resume */
#include "cmd/runtime.h"
#include "base/cleanup.h"

#include <errno.h>
#include <unistd.h>

static int set_frozen(struct cli *c, bool frozen)
{
	_container_ struct container ct = {.dir_fd = -1, .cgroup.fd = -1};
	struct err e = {0};
	_close_ int root = runtime_root(c, false);

	if (root < 0)
		return 1;
	int rc = container_load(root, cli_argv(c)[0], true, &ct, &e);
	enum container_status now = rc ? CONTAINER_STOPPED : container_status(&ct);

	if (!rc && frozen && now != CONTAINER_RUNNING && now != CONTAINER_CREATED)
		rc = err_set(&e, ERR_CT_STATE, -EINVAL, "container not running");
	if (!rc && !frozen && now != CONTAINER_PAUSED)
		rc = err_set(&e, ERR_CT_STATE, -EINVAL, "container not paused");
	if (!rc)
		rc = cgroup_freeze(&ct.cgroup, frozen, &e);
	return rc ? runtime_fail(c, &e, 1) : 0;
}

int runtime_pause(struct cli *c)
{
	return set_frozen(c, true);
}

int runtime_resume(struct cli *c)
{
	return set_frozen(c, false);
}
