/* update: other limits for a container that lives. */
#include "cmd/runtime.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* linux.resources as JSON from a file, "-" for standard input. */
static int from_file(const char *file, struct spec **ret, struct err *e)
{
	_buf_ struct buf text = {0};
	int rc = str_eq(file, "-") ? fd_read_all(STDIN_FILENO, &text, SPEC_FILE_MAX)
				   : path_read(AT_FDCWD, file, &text, SPEC_FILE_MAX);

	if (rc)
		return err_set(e, ERR_SYS, rc, "cannot read the resources from '%s': %s", file,
			       strerror(-rc));
	return spec_parse_resources(buf_str(&text), text.len, ret, e);
}

/* Bytes with a suffix as Docker has them, or -1. */
static int take_bytes(struct cli *c, const char *flag, enum spec_res bit, int64_t *to,
		      uint32_t *has, struct err *e)
{
	const char *text = cli_string(c, flag);
	uint64_t bytes;

	if (!text || !*text)
		return 0;
	if (str_eq(text, "-1"))
		*to = -1;
	else if (str_to_bytes(text, &bytes) || bytes > INT64_MAX)
		return err_set(e, ERR_USAGE, -EINVAL, "invalid value for %s: '%s'", flag, text);
	else
		*to = (int64_t)bytes;
	*has |= bit;
	return 0;
}

static void take_uint(struct cli *c, const char *flag, enum spec_res bit, uint64_t *to,
		      uint32_t *has)
{
	if (!cli_given(c, flag))
		return;
	*to = cli_uint(c, flag);
	*has |= bit;
}

static void take_int(struct cli *c, const char *flag, enum spec_res bit, int64_t *to, uint32_t *has)
{
	if (!cli_given(c, flag))
		return;
	*to = cli_int(c, flag);
	*has |= bit;
}

static int from_flags(struct cli *c, struct spec_resources *r, struct err *e)
{
	uint64_t weight = cli_given(c, "blkio-weight") ? cli_uint(c, "blkio-weight") : 0;
	int rc;

	if (weight > UINT16_MAX)
		return err_set(e, ERR_USAGE, -ERANGE, "invalid value for blkio-weight: '%llu'",
			       (unsigned long long)weight);
	if (weight) {
		r->blkio_weight = (uint16_t)weight;
		r->has |= RES_BLKIO_WEIGHT;
	}
	take_uint(c, "cpu-period", RES_CPU_PERIOD, &r->cpu_period, &r->has);
	take_uint(c, "cpu-burst", RES_CPU_BURST, &r->cpu_burst, &r->has);
	take_uint(c, "cpu-share", RES_CPU_SHARES, &r->cpu_shares, &r->has);
	take_uint(c, "cpu-rt-period", RES_CPU_RT_PERIOD, &r->cpu_rt_period, &r->has);
	take_int(c, "cpu-quota", RES_CPU_QUOTA, &r->cpu_quota, &r->has);
	take_int(c, "cpu-rt-runtime", RES_CPU_RT_RUNTIME, &r->cpu_rt_runtime, &r->has);
	take_int(c, "cpu-idle", RES_CPU_IDLE, &r->cpu_idle, &r->has);
	take_int(c, "pids-limit", RES_PIDS, &r->pids_limit, &r->has);
	r->cpuset_cpus = (char *)cli_string(c, "cpuset-cpus");
	r->cpuset_mems = (char *)cli_string(c, "cpuset-mems");
	rc = take_bytes(c, "memory", RES_MEM_LIMIT, &r->mem_limit, &r->has, e);
	if (!rc)
		rc = take_bytes(c, "memory-swap", RES_MEM_SWAP, &r->mem_swap, &r->has, e);
	if (!rc)
		rc = take_bytes(c, "memory-reservation", RES_MEM_RESERVATION, &r->mem_reservation,
				&r->has, e);
	if (!rc)
		rc = take_bytes(c, "kernel-memory", RES_MEM_KERNEL, &r->mem_kernel, &r->has, e);
	if (!rc)
		rc = take_bytes(c, "kernel-memory-tcp", RES_MEM_KERNEL_TCP, &r->mem_kernel_tcp,
				&r->has, e);
	return rc;
}

static int refuse_rdt(struct cli *c, struct err *e)
{
	if (cli_given(c, "l3-cache-schema") || cli_given(c, "mem-bw-schema"))
		return err_set(e, ERR_UNSUPPORTED, -ENOTSUP, "Intel RDT is not supported");
	return 0;
}

int runtime_update(struct cli *c)
{
	_container_ struct container ct = {.dir_fd = -1, .cgroup.fd = -1};
	_spec_ struct spec *parsed = NULL;
	struct spec_resources flags = {0};
	const char *file = cli_string(c, "resources");
	struct err e = {0};
	_close_ int root = runtime_root(c, false);

	if (root < 0)
		return 1;
	int rc = container_load(root, cli_argv(c)[0], true, &ct, &e);

	if (!rc && container_status(&ct) == CONTAINER_STOPPED)
		rc = err_set(&e, ERR_CT_STATE, -ESRCH, "container not running");
	if (!rc)
		rc = refuse_rdt(c, &e);
	if (!rc)
		rc = file && *file ? from_file(file, &parsed, &e) : from_flags(c, &flags, &e);
	if (!rc)
		rc = cgroup_update(&ct.cgroup, parsed ? &parsed->resources : &flags, &e);
	return rc ? runtime_fail(c, &e, 1) : 0;
}
