/* linux.resources on cgroup v1 (runtime-spec config-linux.md "Control groups"): which value goes
 * into which file, and in which order where the kernel checks one against another. 0 means "leave
 * it" where the specification's consumers read it so. */
#include "container/cgroup_int.h"

#include "base/cleanup.h"
#include "base/mem.h"

#include <stdio.h>

/* Where the controller is, or an error if it is not there. */
static const char *need(const struct cgroup *cg, const char *controller, int *rc, struct err *e)
{
	const char *dir = cg_dir(cg, controller);

	if (!dir)
		*rc = err_set(
		    e, ERR_CG_UNAVAILABLE, -ENOENT, "cannot set a limit of '%s': %s", controller,
		    cg->rootless ? "this user may not make control groups of that controller"
				 : "the controller is not mounted on this host");
	return dir;
}

/* A value that depends on another one which is about to be set: EINVAL now may succeed later. */
static int set_or_defer(const char *dir, const char *file, long long value, bool may_defer,
			bool *ret_deferred, struct err *e)
{
	_free_ char *text = mem_printf("%lld", value);
	int rc = cg_write(dir, file, text);

	*ret_deferred = rc == -EINVAL && may_defer;
	return rc && !*ret_deferred ? cg_refused(e, rc, dir, file, text) : 0;
}

/* cpu.rt_period_us and cpu.rt_runtime_us bound each other. */
static int set_rt(const char *dir, const struct spec_resources *r, struct err *e)
{
	bool has_runtime = (r->has & RES_CPU_RT_RUNTIME) && r->cpu_rt_runtime, deferred = false;
	int rc = 0;

	if ((r->has & RES_CPU_RT_PERIOD) && r->cpu_rt_period)
		rc = set_or_defer(dir, "cpu.rt_period_us", (long long)r->cpu_rt_period, has_runtime,
				  &deferred, e);
	if (!rc && has_runtime)
		rc = cg_set(e, dir, "cpu.rt_runtime_us", "%lld", (long long)r->cpu_rt_runtime);
	if (!rc && deferred)
		rc = cg_set(e, dir, "cpu.rt_period_us", "%llu",
			    (unsigned long long)r->cpu_rt_period);
	return rc;
}

/* The kernel clamps shares in silence; the caller asked for a number and shall know. */
static int set_shares(const char *dir, uint64_t shares, struct err *e)
{
	uint64_t now;
	int rc = cg_set(e, dir, "cpu.shares", "%llu", (unsigned long long)shares);

	if (!rc && !cg_read_u64(dir, "cpu.shares", &now) && now != shares)
		rc = err_set(e, ERR_CG_LIMIT, -ERANGE,
			     "cannot set 'cpu.shares' to '%llu': the %s is %llu",
			     (unsigned long long)shares, shares > now ? "maximum" : "minimum",
			     (unsigned long long)now);
	return rc;
}

/* A smaller period or a larger burst may be invalid with the old quota and valid with the new one.
 */
static int set_bandwidth(const char *dir, const struct spec_resources *r, struct err *e)
{
	bool has_quota = (r->has & RES_CPU_QUOTA) && r->cpu_quota;
	bool period_deferred = false, burst_deferred = false;
	int rc = 0;

	if ((r->has & RES_CPU_PERIOD) && r->cpu_period)
		rc = set_or_defer(dir, "cpu.cfs_period_us", (long long)r->cpu_period, has_quota,
				  &period_deferred, e);
	if (!rc && (r->has & RES_CPU_BURST) && cg_has(dir, "cpu.cfs_burst_us"))
		rc = set_or_defer(dir, "cpu.cfs_burst_us", (long long)r->cpu_burst, has_quota,
				  &burst_deferred, e);
	if (!rc && has_quota)
		rc = cg_set(e, dir, "cpu.cfs_quota_us", "%lld", (long long)r->cpu_quota);
	if (!rc && period_deferred)
		rc = cg_set(e, dir, "cpu.cfs_period_us", "%llu", (unsigned long long)r->cpu_period);
	if (!rc && burst_deferred)
		rc = cg_set(e, dir, "cpu.cfs_burst_us", "%llu", (unsigned long long)r->cpu_burst);
	return rc;
}

static int set_cpu(const struct cgroup *cg, const struct spec_resources *r, struct err *e)
{
	const uint32_t any = RES_CPU_SHARES | RES_CPU_QUOTA | RES_CPU_BURST | RES_CPU_PERIOD |
			     RES_CPU_RT_RUNTIME | RES_CPU_RT_PERIOD | RES_CPU_IDLE;
	int rc = 0;
	const char *dir = r->has & any ? need(cg, "cpu", &rc, e) : NULL;

	if (!dir)
		return rc;
	if ((r->has & RES_CPU_SHARES) && r->cpu_shares)
		rc = set_shares(dir, r->cpu_shares, e);
	if (!rc)
		rc = set_bandwidth(dir, r, e);
	if (!rc && (r->has & RES_CPU_IDLE))
		rc = cg_set(e, dir, "cpu.idle", "%lld", (long long)r->cpu_idle);
	return rc ? rc : set_rt(dir, r, e);
}

static int set_cpuset(const struct cgroup *cg, const struct spec_resources *r, struct err *e)
{
	bool cpus = r->cpuset_cpus && *r->cpuset_cpus, mems = r->cpuset_mems && *r->cpuset_mems;
	int rc = 0;
	const char *dir = cpus || mems ? need(cg, "cpuset", &rc, e) : NULL;

	if (!dir)
		return rc;
	if (cpus)
		rc = cg_set(e, dir, "cpuset.cpus", "%s", r->cpuset_cpus);
	if (!rc && mems)
		rc = cg_set(e, dir, "cpuset.mems", "%s", r->cpuset_mems);
	return rc;
}

#define MEM_LIMIT "memory.limit_in_bytes"
#define MEM_MEMSW "memory.memsw.limit_in_bytes"

static int set_mem_limit(const char *dir, int64_t limit, struct err *e)
{
	uint64_t usage = 0, peak = 0;
	_free_ char *text = mem_printf("%lld", (long long)limit);
	int rc = limit ? cg_write(dir, MEM_LIMIT, text) : 0;

	if (rc != -EBUSY)
		return rc ? cg_refused(e, rc, dir, MEM_LIMIT, text) : 0;
	cg_read_u64(dir, "memory.usage_in_bytes", &usage);
	cg_read_u64(dir, "memory.max_usage_in_bytes", &peak);
	return err_set(e, ERR_CG_LIMIT, rc,
		       "unable to set memory limit to %lld (current usage: %llu, peak usage: %llu)",
		       (long long)limit, (unsigned long long)usage, (unsigned long long)peak);
}

static int set_mem_swap(const char *dir, int64_t swap, struct err *e)
{
	return swap ? cg_set(e, dir, MEM_MEMSW, "%lld", (long long)swap) : 0;
}

/* The kernel demands limit <= memory+swap at every moment: raise the sum first, lower it last. */
static int set_mem_and_swap(const char *dir, const struct spec_resources *r, struct err *e)
{
	int64_t limit = r->has & RES_MEM_LIMIT ? r->mem_limit : 0;
	int64_t swap = r->has & RES_MEM_SWAP ? r->mem_swap : 0;
	uint64_t now = 0;

	if (limit == -1 && !swap && cg_has(dir, MEM_MEMSW))
		swap = -1;
	if (limit && swap)
		cg_read_u64(dir, MEM_LIMIT, &now);
	bool raise = limit && swap && (swap == -1 || now < (uint64_t)swap);
	int rc = raise ? set_mem_swap(dir, swap, e) : set_mem_limit(dir, limit, e);

	if (rc)
		return rc;
	return raise ? set_mem_limit(dir, limit, e) : set_mem_swap(dir, swap, e);
}

static int set_memory(const struct cgroup *cg, const struct spec_resources *r, struct err *e)
{
	const uint32_t any = RES_MEM_LIMIT | RES_MEM_RESERVATION | RES_MEM_SWAP |
			     RES_MEM_SWAPPINESS | RES_MEM_DISABLE_OOM;
	int rc = 0;
	const char *dir = r->has & any ? need(cg, "memory", &rc, e) : NULL;

	if (!dir)
		return rc;
	rc = set_mem_and_swap(dir, r, e);
	if (!rc && (r->has & RES_MEM_RESERVATION) && r->mem_reservation)
		rc = cg_set(e, dir, "memory.soft_limit_in_bytes", "%lld",
			    (long long)r->mem_reservation);
	if (!rc && (r->has & RES_MEM_DISABLE_OOM) && r->mem_disable_oom_killer)
		rc = cg_set(e, dir, "memory.oom_control", "1");
	if (!rc && (r->has & RES_MEM_SWAPPINESS) && r->mem_swappiness != UINT64_MAX)
		rc = cg_set(e, dir, "memory.swappiness", "%llu",
			    (unsigned long long)r->mem_swappiness);
	return rc;
}

static int set_pids(const struct cgroup *cg, const struct spec_resources *r, struct err *e)
{
	int rc = 0;
	const char *dir = r->has & RES_PIDS ? need(cg, "pids", &rc, e) : NULL;

	if (!dir)
		return rc;
	if (r->pids_limit < 0)
		return cg_set(e, dir, "pids.max", "max");
	/* 0 would not even let init in; 1 is what it can mean, as in runc. */
	return cg_set(e, dir, "pids.max", "%lld", r->pids_limit ? (long long)r->pids_limit : 1);
}

static int set_rates(const char *dir, const char *file, const struct spec_blkio_list *l,
		     struct err *e)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < l->count; i++)
		rc = cg_set(e, dir, file, "%lld:%lld %llu", (long long)l->v[i].major,
			    (long long)l->v[i].minor, (unsigned long long)l->v[i].value);
	return rc;
}

/* Weights are the CFQ scheduler's on old kernels, BFQ's on newer ones, which know no leaves. */
static int set_weights(const char *dir, const struct spec_resources *r, struct err *e)
{
	const char *bfq = cg_has(dir, "blkio.weight") ? "" : "bfq.";
	const struct spec_blkio_list *l = &r->blkio_weight_device;
	char weight[32], device[32];
	int rc = 0;

	snprintf(weight, sizeof(weight), "blkio.%sweight", bfq);
	snprintf(device, sizeof(device), "blkio.%sweight_device", bfq);
	if ((r->has & RES_BLKIO_WEIGHT) && r->blkio_weight)
		rc = cg_set(e, dir, weight, "%u", r->blkio_weight);
	if (!rc && (r->has & RES_BLKIO_LEAF_WEIGHT) && r->blkio_leaf_weight)
		rc = cg_set(e, dir, "blkio.leaf_weight", "%u", r->blkio_leaf_weight);
	for (size_t i = 0; !rc && i < l->count; i++) {
		if (l->v[i].value)
			rc = cg_set(e, dir, device, "%lld:%lld %llu", (long long)l->v[i].major,
				    (long long)l->v[i].minor, (unsigned long long)l->v[i].value);
		if (!rc && l->v[i].leaf_value)
			rc = cg_set(e, dir, "blkio.leaf_weight_device", "%lld:%lld %llu",
				    (long long)l->v[i].major, (long long)l->v[i].minor,
				    (unsigned long long)l->v[i].leaf_value);
	}
	return rc;
}

static int set_blkio(const struct cgroup *cg, const struct spec_resources *r, struct err *e)
{
	bool weights =
	    (r->has & (RES_BLKIO_WEIGHT | RES_BLKIO_LEAF_WEIGHT)) || r->blkio_weight_device.count;
	size_t rates = r->blkio_read_bps.count + r->blkio_write_bps.count +
		       r->blkio_read_iops.count + r->blkio_write_iops.count;
	int rc = 0;
	const char *dir = weights || rates ? need(cg, "blkio", &rc, e) : NULL;

	if (!dir)
		return rc;
	if (weights)
		rc = set_weights(dir, r, e);
	if (!rc)
		rc = set_rates(dir, "blkio.throttle.read_bps_device", &r->blkio_read_bps, e);
	if (!rc)
		rc = set_rates(dir, "blkio.throttle.write_bps_device", &r->blkio_write_bps, e);
	if (!rc)
		rc = set_rates(dir, "blkio.throttle.read_iops_device", &r->blkio_read_iops, e);
	if (!rc)
		rc = set_rates(dir, "blkio.throttle.write_iops_device", &r->blkio_write_iops, e);
	return rc;
}

static int set_hugetlb(const struct cgroup *cg, const struct spec_resources *r, struct err *e)
{
	int rc = 0;
	const char *dir = r->hugepages_count ? need(cg, "hugetlb", &rc, e) : NULL;

	for (size_t i = 0; dir && !rc && i < r->hugepages_count; i++) {
		unsigned long long limit = r->hugepages[i].limit;
		char file[64];

		snprintf(file, sizeof(file), "hugetlb.%.16s.limit_in_bytes",
			 r->hugepages[i].page_size);
		rc = cg_set(e, dir, file, "%llu", limit);
		snprintf(file, sizeof(file), "hugetlb.%.16s.rsvd.limit_in_bytes",
			 r->hugepages[i].page_size);
		if (!rc && cg_has(dir, file)) /* Linux 5.7 */
			rc = cg_set(e, dir, file, "%llu", limit);
	}
	return rc;
}

static int set_network(const struct cgroup *cg, const struct spec_resources *r, struct err *e)
{
	int rc = 0;
	const char *dir;

	if ((r->has & RES_NET_CLASSID) && r->net_classid && (dir = need(cg, "net_cls", &rc, e)))
		rc = cg_set(e, dir, "net_cls.classid", "%u", r->net_classid);
	dir = !rc && r->net_prio_count ? need(cg, "net_prio", &rc, e) : NULL;
	for (size_t i = 0; dir && !rc && i < r->net_prio_count; i++)
		rc = cg_set(e, dir, "net_prio.ifpriomap", "%s %u", r->net_prio[i].name,
			    r->net_prio[i].priority);
	return rc;
}

static int set_rdma(const struct cgroup *cg, const struct spec_resources *r, struct err *e)
{
	int rc = 0;
	const char *dir = r->rdma_count ? need(cg, "rdma", &rc, e) : NULL;

	return dir ? cg_rdma(dir, r, e) : rc;
}

int cg_v1_limits(const struct cgroup *cg, const struct spec_resources *r, struct err *e)
{
	int rc =
	    r->unified_count
		? err_set(
		      e, ERR_CG_UNAVAILABLE, -ENOTSUP,
		      "invalid configuration: linux.resources.unified needs a group in cgroup v2, "
		      "and there is none")
		: set_cpuset(cg, r, e);

	if (!rc)
		rc = set_memory(cg, r, e);
	if (!rc)
		rc = set_cpu(cg, r, e);
	if (!rc)
		rc = set_pids(cg, r, e);
	if (!rc)
		rc = set_blkio(cg, r, e);
	if (!rc)
		rc = set_hugetlb(cg, r, e);
	if (!rc)
		rc = set_network(cg, r, e);
	return rc ? rc : set_rdma(cg, r, e);
}
