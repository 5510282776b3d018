/* linux.resources on cgroup v2. The specification speaks v1, so values are converted as every
 * runtime does (config-linux.md; the formulas are those of systemd and Kubernetes KEP-2254), and
 * `unified` has the last word. */
#include "container/cgroup_int.h"

#include "base/cleanup.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

#define CPU_PERIOD_DEFAULT_US 100000 /* cgroup-v2.rst, "cpu.max" */

/* [2, 262144] to [1, 10000], linear. */
uint64_t cg_weight_from_shares(uint64_t shares)
{
	if (shares == 0)
		return 0;
	if (shares <= 2)
		return 1;
	return shares >= 262144 ? 10000 : 1 + (shares - 2) * 9999 / 262142;
}

/* [10, 1000] to [1, 10000], linear. */
uint64_t cg_io_weight_from_blkio(uint16_t weight)
{
	if (weight == 0)
		return 0;
	return weight < 10 ? 1 : 1 + ((uint64_t)weight - 10) * 9999 / 990;
}

int cg_swap_v2(int64_t memory_and_swap, int64_t memory, int64_t *ret)
{
	if (memory == -1 && memory_and_swap == 0) /* all memory: all swap too, as v1 has it */
		*ret = -1;
	else if (memory_and_swap == -1 || memory_and_swap == 0 || memory == -1)
		*ret = memory_and_swap;
	else if (memory <= 0 || memory_and_swap < memory)
		return -EINVAL;
	else
		*ret = memory_and_swap - memory;
	return 0;
}

/* "max" for -1 */
static void limit_text(char out[24], int64_t value)
{
	if (value < 0)
		strcpy(out, "max");
	else
		snprintf(out, 24, "%lld", (long long)value);
}

static int set_pids(const char *dir, const struct spec_resources *r, struct err *e)
{
	char text[24];

	if (!(r->has & RES_PIDS))
		return 0;
	limit_text(text, r->pids_limit ? r->pids_limit : 1); /* 0 lets not even init in */
	return cg_set(e, dir, "pids.max", "%s", text);
}

/* memory.checkBeforeUpdate: v2 would kill where v1 refuses. */
static int check_usage(const char *dir, const struct spec_resources *r, struct err *e)
{
	uint64_t now;

	if (!r->mem_check_before_update || !(r->has & RES_MEM_LIMIT) || r->mem_limit <= 0 ||
	    cg_read_u64(dir, "memory.current", &now) || now <= (uint64_t)r->mem_limit)
		return 0;
	return err_set(e, ERR_CG_LIMIT, -EBUSY, "rejecting memory limit %lld < usage %llu",
		       (long long)r->mem_limit, (unsigned long long)now);
}

static int set_swap(const char *dir, const struct spec_resources *r, struct err *e)
{
	int64_t limit = r->has & RES_MEM_LIMIT ? r->mem_limit : 0;
	int64_t sum = r->has & RES_MEM_SWAP ? r->mem_swap : 0, swap;
	uint64_t now;
	char text[24];

	/* An update of the sum alone stands on the limit that is. */
	if (sum > 0 && !limit && !cg_read_u64(dir, "memory.max", &now) && now != UINT64_MAX)
		limit = (int64_t)now;
	if (cg_swap_v2(sum, limit, &swap))
		return err_set(e, ERR_SPEC_VALUE, -EINVAL,
			       "linux.resources.memory: swap (%lld) is memory and swap together "
			       "and needs a limit that "
			       "is no larger (%lld)",
			       (long long)sum, (long long)limit);
	if (swap == 0 && sum <= 0)
		return 0;
	limit_text(text, swap);
	int rc = cg_write(dir, "memory.swap.max", text);

	/* Without swap accounting there is nothing to be unlimited, or forbidden. */
	if (rc == -ENOENT && swap <= 0)
		return 0;
	return rc ? cg_refused(e, rc, dir, "memory.swap.max", text) : 0;
}

static int set_memory(const char *dir, const struct spec_resources *r, struct err *e)
{
	char text[24];
	int rc = check_usage(dir, r, e);

	if (!rc && (r->has & (RES_MEM_LIMIT | RES_MEM_SWAP)))
		rc = set_swap(dir, r, e);
	if (!rc && (r->has & RES_MEM_LIMIT) && r->mem_limit) {
		limit_text(text, r->mem_limit);
		rc = cg_set(e, dir, "memory.max", "%s", text);
	}
	if (!rc && (r->has & RES_MEM_RESERVATION) && r->mem_reservation) {
		limit_text(text, r->mem_reservation);
		rc = cg_set(e, dir, "memory.low", "%s", text);
	}
	return rc;
}

/* cpu.max holds both; an update of one of them keeps the other. */
void cg_cpu_max(const char *dir, int64_t *quota, uint64_t *period)
{
	long long quota_now = -1;
	unsigned long long period_now = CPU_PERIOD_DEFAULT_US;
	_buf_ struct buf text = {0};

	if (!*quota == !*period) /* both or none */
		return;
	if (!cg_read(dir, "cpu.max", &text) &&
	    sscanf(text.s, "%lld %llu", &quota_now, &period_now) != 2)
		sscanf(text.s, "max %llu", &period_now);
	if (!*quota)
		*quota = quota_now;
	if (!*period)
		*period = period_now;
}

static int set_cpu(const char *dir, const struct spec_resources *r, struct err *e)
{
	int64_t quota = r->has & RES_CPU_QUOTA ? r->cpu_quota : 0;
	uint64_t period = r->has & RES_CPU_PERIOD ? r->cpu_period : 0;
	bool deferred = false;
	char text[24];
	int rc = 0;

	cg_cpu_max(dir, &quota, &period);
	if (r->has & RES_CPU_IDLE)
		rc = cg_set(e, dir, "cpu.idle", "%lld", (long long)r->cpu_idle);
	if (!rc && (r->has & RES_CPU_SHARES) && r->cpu_shares)
		rc = cg_set(e, dir, "cpu.weight", "%llu",
			    (unsigned long long)cg_weight_from_shares(r->cpu_shares));
	if (!rc && (r->has & RES_CPU_BURST)) {
		snprintf(text, sizeof(text), "%llu", (unsigned long long)r->cpu_burst);
		rc = cg_write(dir, "cpu.max.burst", text);
		deferred = rc == -EINVAL && quota; /* a larger burst may fit the new quota */
		rc = rc && !deferred ? cg_refused(e, rc, dir, "cpu.max.burst", text) : 0;
	}
	if (!rc && (quota || period)) {
		limit_text(text, quota > 0 ? quota : -1);
		rc = cg_set(e, dir, "cpu.max", "%s %llu", text,
			    (unsigned long long)(period ? period : CPU_PERIOD_DEFAULT_US));
	}
	if (!rc && deferred)
		rc = cg_set(e, dir, "cpu.max.burst", "%llu", (unsigned long long)r->cpu_burst);
	return rc;
}

static int set_cpuset(const char *dir, const struct spec_resources *r, struct err *e)
{
	int rc = 0;

	if (r->cpuset_cpus && *r->cpuset_cpus)
		rc = cg_set(e, dir, "cpuset.cpus", "%s", r->cpuset_cpus);
	if (!rc && r->cpuset_mems && *r->cpuset_mems)
		rc = cg_set(e, dir, "cpuset.mems", "%s", r->cpuset_mems);
	return rc;
}

static int set_rates(const char *dir, const char *key, const struct spec_blkio_list *l,
		     struct err *e)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < l->count; i++)
		rc = l->v[i].value
			 ? cg_set(e, dir, "io.max", "%lld:%lld %s=%llu", (long long)l->v[i].major,
				  (long long)l->v[i].minor, key, (unsigned long long)l->v[i].value)
			 : cg_set(e, dir, "io.max", "%lld:%lld %s=max", (long long)l->v[i].major,
				  (long long)l->v[i].minor, key);
	return rc;
}

/* BFQ takes v1's scale, io.weight (io.cost) the new one. */
static int set_io_weight(const char *dir, const struct spec_resources *r, struct err *e)
{
	const struct spec_blkio_list *l = &r->blkio_weight_device;
	bool has = (r->has & RES_BLKIO_WEIGHT) && r->blkio_weight;
	bool bfq = (has || l->count) && cg_has(dir, "io.bfq.weight");
	int rc = 0;

	if (has && bfq)
		rc = cg_set(e, dir, "io.bfq.weight", "%u", r->blkio_weight);
	else if (has)
		rc = cg_set(e, dir, "io.weight", "%llu",
			    (unsigned long long)cg_io_weight_from_blkio(r->blkio_weight));
	for (size_t i = 0; !rc && i < l->count; i++) {
		uint64_t weight =
		    bfq ? l->v[i].value : cg_io_weight_from_blkio((uint16_t)l->v[i].value);

		if (weight)
			rc = cg_set(e, dir, bfq ? "io.bfq.weight" : "io.weight", "%lld:%lld %llu",
				    (long long)l->v[i].major, (long long)l->v[i].minor,
				    (unsigned long long)weight);
	}
	return rc;
}

static int set_io(const char *dir, const struct spec_resources *r, struct err *e)
{
	int rc = set_io_weight(dir, r, e);

	if (!rc)
		rc = set_rates(dir, "rbps", &r->blkio_read_bps, e);
	if (!rc)
		rc = set_rates(dir, "wbps", &r->blkio_write_bps, e);
	if (!rc)
		rc = set_rates(dir, "riops", &r->blkio_read_iops, e);
	return rc ? rc : set_rates(dir, "wiops", &r->blkio_write_iops, e);
}

static int set_hugetlb(const char *dir, const struct spec_resources *r, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < r->hugepages_count; i++) {
		unsigned long long limit = r->hugepages[i].limit;
		char file[64];

		snprintf(file, sizeof(file), "hugetlb.%.16s.max", r->hugepages[i].page_size);
		rc = cg_set(e, dir, file, "%llu", limit);
		snprintf(file, sizeof(file), "hugetlb.%.16s.rsvd.max", r->hugepages[i].page_size);
		if (!rc && cg_has(dir, file)) /* Linux 5.7 */
			rc = cg_set(e, dir, file, "%llu", limit);
	}
	return rc;
}

int cg_rdma(const char *dir, const struct spec_resources *r, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < r->rdma_count; i++) {
		_buf_ struct buf text = {0};

		buf_adds(&text, r->rdma[i].name);
		if (r->rdma[i].has_handles)
			buf_addf(&text, " hca_handle=%u", r->rdma[i].hca_handles);
		if (r->rdma[i].has_objects)
			buf_addf(&text, " hca_object=%u", r->rdma[i].hca_objects);
		rc = cg_set(e, dir, "rdma.max", "%s", text.s);
	}
	return rc;
}

static int set_unified(const char *dir, const struct spec_resources *r, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < r->unified_count; i++) {
		const char *file = r->unified[i].key;

		if (!*file || strchr(file, '/'))
			return err_set(e, ERR_SPEC_VALUE, -EINVAL,
				       "linux.resources.unified: '%s' is no file name", file);
		rc = cg_set(e, dir, file, "%s", r->unified[i].value);
	}
	return rc;
}

int cg_v2_limits(const struct cgroup *cg, const struct spec_resources *r, struct err *e)
{
	const char *dir = cg->path;
	int rc = set_pids(dir, r, e);

	if (!rc)
		rc = set_memory(dir, r, e);
	if (!rc)
		rc = set_io(dir, r, e);
	if (!rc)
		rc = set_cpu(dir, r, e);
	if (!rc)
		rc = set_cpuset(dir, r, e);
	if (!rc)
		rc = set_hugetlb(dir, r, e);
	if (!rc)
		rc = cg_rdma(dir, r, e);
	return rc ? rc : set_unified(dir, r, e);
}
