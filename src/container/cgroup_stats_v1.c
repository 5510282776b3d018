#include "container/cgroup_stats.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CPUS_MAX 8192

static void pids(struct buf *b, const char *dir)
{
	uint64_t limit = stats_read(dir, "pids.max");

	stats_open(b, "pids", '{');
	stats_nonzero(b, "current", stats_read(dir, "pids.current"));
	stats_nonzero(b, "limit", limit == UINT64_MAX ? 0 : limit); /* 0: none */
	stats_close(b, '}');
}

/* One column of cpuacct.usage_all ("cpu user system" per line), nanoseconds. */
static void per_cpu(struct buf *b, const char *key, const char *dir, int column)
{
	_buf_ struct buf text = {0};
	char *save;
	unsigned long long cpu, user, system;
	int n = 0;

	if (cg_read(dir, "cpuacct.usage_all", &text))
		return;
	for (char *p = strtok_r(text.s, "\n", &save); p && n < CPUS_MAX;
	     p = strtok_r(NULL, "\n", &save)) {
		if (sscanf(p, "%llu %llu %llu", &cpu, &user, &system) != 3)
			continue;
		if (!n++)
			stats_open(b, key, '[');
		stats_key(b, NULL);
		buf_addf(b, "%llu", column == 0 ? user + system : column == 1 ? system : user);
	}
	if (n)
		stats_close(b, ']');
}

static void cpu(struct buf *b, const char *cpu_dir, const char *acct_dir)
{
	uint64_t ns_per_tick = 1000000000u / (uint64_t)sysconf(_SC_CLK_TCK);
	uint64_t periods = stats_read_key(cpu_dir, "cpu.stat", "nr_periods");

	stats_open(b, "cpu", '{');
	stats_open(b, "usage", '{');
	stats_nonzero(b, "total", stats_read(acct_dir, "cpuacct.usage"));
	if (acct_dir) {
		per_cpu(b, "percpu", acct_dir, 0);
		per_cpu(b, "percpu_kernel", acct_dir, 1);
		per_cpu(b, "percpu_user", acct_dir, 2);
	}
	stats_number(b, "kernel", stats_read_key(acct_dir, "cpuacct.stat", "system") * ns_per_tick);
	stats_number(b, "user", stats_read_key(acct_dir, "cpuacct.stat", "user") * ns_per_tick);
	stats_close(b, '}');
	if (periods) {
		stats_open(b, "throttling", '{');
		stats_number(b, "periods", periods);
		stats_nonzero(b, "throttledPeriods",
			      stats_read_key(cpu_dir, "cpu.stat", "nr_throttled"));
		stats_nonzero(b, "throttledTime",
			      stats_read_key(cpu_dir, "cpu.stat", "throttled_time"));
		stats_close(b, '}');
	}
	stats_close(b, '}');
}

/* "0-2,7" as [0,1,2,7] */
static void cpu_list(struct buf *b, const char *key, const char *dir, const char *file)
{
	uint8_t bits[CPUS_MAX / 8];
	_buf_ struct buf text = {0};
	size_t len;

	if (cg_read(dir, file, &text) ||
	    cg_cpu_list_to_bytes(buf_str(&text), bits, sizeof(bits), &len))
		return;
	stats_open(b, key, '[');
	for (size_t i = 0; i < len * 8; i++)
		if (bits[i / 8] & 1u << i % 8) {
			stats_key(b, NULL);
			buf_addf(b, "%zu", i);
		}
	stats_close(b, ']');
}

static void cpuset(struct buf *b, const char *dir)
{
	static const char *const flags[] = {
	    "cpu_exclusive",      "mem_hardwall",       "mem_exclusive",   "memory_migrate",
	    "memory_spread_page", "memory_spread_slab", "memory_pressure", "sched_load_balance"};

	stats_open(b, "cpuset", '{');
	if (dir) {
		cpu_list(b, "cpus", dir, "cpuset.cpus");
		cpu_list(b, "mems", dir, "cpuset.mems");
	}
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		char file[64];

		snprintf(file, sizeof(file), "cpuset.%s", flags[i]);
		stats_number(b, flags[i], stats_read(dir, file));
	}
	_buf_ struct buf level = {0};

	stats_key(b, "sched_relax_domain_level"); /* the one that may be negative */
	buf_addf(b, "%d",
		 dir && !cg_read(dir, "cpuset.sched_relax_domain_level", &level)
		     ? atoi(buf_str(&level))
		     : 0);
	stats_close(b, '}');
}

static void memory_entry(struct buf *b, const char *key, const char *dir, const char *what)
{
	static const char *const part[] = {"limit_in_bytes", "usage_in_bytes", "max_usage_in_bytes",
					   "failcnt"};
	uint64_t value[4];

	for (size_t i = 0; i < 4; i++) {
		char file[64];

		snprintf(file, sizeof(file), "memory.%s%s", what, part[i]);
		value[i] = stats_read(dir, file);
	}
	stats_memory_entry(b, key, value[0], value[1], value[2], value[3]);
}

static void memory(struct buf *b, const char *dir)
{
	stats_open(b, "memory", '{');
	stats_nonzero(b, "cache", stats_read_key(dir, "memory.stat", "cache"));
	memory_entry(b, "usage", dir, "");
	memory_entry(b, "swap", dir, "memsw.");
	memory_entry(b, "kernel", dir, "kmem.");
	memory_entry(b, "kernelTCP", dir, "kmem.tcp.");
	stats_raw(b, "raw", dir, "memory.stat");
	stats_close(b, '}');
}

/* "8:0 Read 4096", or "8:0 12" where there is no operation; "Total" closes the list. False: nothing
 * there. */
static bool blkio_list(struct buf *b, const char *key, const char *dir, const char *file)
{
	_buf_ struct buf text = {0};
	bool any = false;
	char *save;

	if (cg_read(dir, file, &text))
		return false;
	for (char *p = strtok_r(text.s, "\n", &save); p; p = strtok_r(NULL, "\n", &save)) {
		unsigned long long major, minor, value;
		char op[32] = "";

		if (sscanf(p, "%llu:%llu %31[A-Za-z] %llu", &major, &minor, op, &value) != 4) {
			*op = '\0';
			if (sscanf(p, "%llu:%llu %llu", &major, &minor, &value) != 3)
				continue;
		}
		if (!any)
			stats_open(b, key, '[');
		any = true;
		stats_blkio_entry(b, major, minor, op, value);
	}
	if (any)
		stats_close(b, ']');
	return any;
}

/* The I/O schedulers count under names of their own: BFQ, CFQ (old kernels), else what the throttle
 * layer saw. */
static void blkio(struct buf *b, const char *dir)
{
	static const struct {
		const char *key, *name;
	} lists[] = {
	    {"ioServiceBytesRecursive", "io_service_bytes"},
	    {"ioServicedRecursive", "io_serviced"},
	    {"ioQueueRecursive", "io_queued"},
	    {"ioServiceTimeRecursive", "io_service_time"},
	    {"ioWaitTimeRecursive", "io_wait_time"},
	    {"ioMergedRecursive", "io_merged"},
	    {"ioTimeRecursive", "time"},
	    {"sectorsRecursive", "sectors"},
	};
	static const char *const forms[] = {"blkio.bfq.%s_recursive", "blkio.%s_recursive",
					    "blkio.throttle.%s_recursive", "blkio.throttle.%s"};

	stats_open(b, "blkio", '{');
	for (size_t i = 0; dir && i < ARRAY_SIZE(lists); i++)
		for (size_t k = 0; k < ARRAY_SIZE(forms); k++) {
			const char *percent = strchr(forms[k], '%');
			char file[64];

			snprintf(file, sizeof(file), "%.*s%s%s", (int)(percent - forms[k]),
				 forms[k], lists[i].name, percent + 2);
			if (blkio_list(b, lists[i].key, dir, file))
				break;
		}
	stats_close(b, '}');
}

static void hugepage(struct buf *b, const char *dir, const char *size)
{
	const char *rsvd = ".rsvd"; /* Linux 5.7 */
	char file[64];

	snprintf(file, sizeof(file), "hugetlb.%.16s.rsvd.usage_in_bytes", size);
	if (!cg_has(dir, file))
		rsvd = "";
	stats_open(b, size, '{');
	snprintf(file, sizeof(file), "hugetlb.%.16s%s.usage_in_bytes", size, rsvd);
	stats_nonzero(b, "usage", stats_read(dir, file));
	snprintf(file, sizeof(file), "hugetlb.%.16s%s.max_usage_in_bytes", size, rsvd);
	stats_nonzero(b, "max", stats_read(dir, file));
	snprintf(file, sizeof(file), "hugetlb.%.16s%s.failcnt", size, rsvd);
	stats_number(b, "failcnt", stats_read(dir, file));
	stats_close(b, '}');
}

void stats_v1(const struct cgroup *cg, struct buf *b)
{
	cpu(b, cg_dir(cg, "cpu"), cg_dir(cg, "cpuacct"));
	cpuset(b, cg_dir(cg, "cpuset"));
	memory(b, cg_dir(cg, "memory"));
	pids(b, cg_dir(cg, "pids"));
	blkio(b, cg_dir(cg, "blkio"));
	stats_open(b, "hugetlb", '{');
	stats_each_hugepage(hugepage, b, cg_dir(cg, "hugetlb"));
	stats_close(b, '}');
}
