/* The same figures from cgroup v2's files, in the names and units of v1, because that is what
 * readers of runc's events know: microseconds become nanoseconds, swap includes memory. */
#include "container/cgroup_stats.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <stdio.h>
#include <string.h>

/* some avg10=0.00 avg60=0.00 avg300=0.00 total=0 (kernel: Documentation/accounting/psi.rst) */
static void pressure(struct buf *b, const char *dir, const char *file)
{
	_buf_ struct buf text = {0};
	char *save;
	bool any = false;

	if (cg_read(dir, file, &text))
		return;
	for (char *p = strtok_r(text.s, "\n", &save); p; p = strtok_r(NULL, "\n", &save)) {
		unsigned long long total;
		double avg10, avg60, avg300;
		char name[8];

		if (sscanf(p, "%7[a-z] avg10=%lf avg60=%lf avg300=%lf total=%llu", name, &avg10,
			   &avg60, &avg300, &total) != 5)
			continue;
		if (!any)
			stats_open(b, "psi", '{');
		any = true;
		stats_open(b, name, '{');
		buf_addf(b, "\"avg10\":%.2f,\"avg60\":%.2f,\"avg300\":%.2f,\"total\":%llu", avg10,
			 avg60, avg300, total);
		stats_close(b, '}');
	}
	if (any)
		stats_close(b, '}');
}

static void cpu(struct buf *b, const char *dir)
{
	uint64_t periods = stats_read_key(dir, "cpu.stat", "nr_periods");

	stats_open(b, "cpu", '{');
	stats_open(b, "usage", '{');
	stats_nonzero(b, "total", stats_read_key(dir, "cpu.stat", "usage_usec") * 1000);
	stats_number(b, "kernel", stats_read_key(dir, "cpu.stat", "system_usec") * 1000);
	stats_number(b, "user", stats_read_key(dir, "cpu.stat", "user_usec") * 1000);
	stats_close(b, '}');
	if (periods) {
		stats_open(b, "throttling", '{');
		stats_number(b, "periods", periods);
		stats_nonzero(b, "throttledPeriods",
			      stats_read_key(dir, "cpu.stat", "nr_throttled"));
		stats_nonzero(b, "throttledTime",
			      stats_read_key(dir, "cpu.stat", "throttled_usec") * 1000);
		stats_close(b, '}');
	}
	pressure(b, dir, "cpu.pressure");
	stats_close(b, '}');
}

/* v2 has none of these switches. */
static void cpuset(struct buf *b)
{
	stats_key(b, "cpuset");
	buf_adds(b,
		 "{\"cpu_exclusive\":0,\"mem_hardwall\":0,\"mem_exclusive\":0,\"memory_migrate\":0,"
		 "\"memory_spread_page\":0,\"memory_spread_slab\":0,\"memory_pressure\":0,"
		 "\"sched_load_balance\":0,\"sched_relax_domain_level\":0}");
}

static void memory(struct buf *b, const char *dir)
{
	uint64_t usage = stats_read(dir, "memory.current"), limit = stats_read(dir, "memory.max");
	uint64_t swap = stats_read(dir, "memory.swap.current"),
		 swap_limit = stats_read(dir, "memory.swap.max");

	if (__builtin_add_overflow(swap_limit, limit, &swap_limit))
		swap_limit = UINT64_MAX; /* one of them has no limit */
	stats_open(b, "memory", '{');
	stats_nonzero(b, "cache", stats_read_key(dir, "memory.stat", "file"));
	stats_memory_entry(b, "usage", limit, usage, stats_read(dir, "memory.peak"), 0);
	stats_memory_entry(b, "swap", swap_limit, swap + usage, 0, 0);
	stats_raw(b, "raw", dir, "memory.stat");
	pressure(b, dir, "memory.pressure");
	stats_close(b, '}');
}

/* One list from io.stat: "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0" per device. */
static void io_list(struct buf *b, const char *key, const char *text, const char *read_key,
		    const char *write_key)
{
	bool any = false;

	for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		const struct {
			const char *op, *key;
		} ops[] = {{"Read", read_key}, {"Write", write_key}};
		unsigned long long major, minor, value;
		size_t len = strcspn(line, "\n");

		if (sscanf(line, "%llu:%llu ", &major, &minor) != 2)
			continue;
		for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
			const char *at = memmem(line, len, ops[i].key, strlen(ops[i].key));

			if (!at || sscanf(at + strlen(ops[i].key), "%llu", &value) != 1)
				continue;
			if (!any)
				stats_open(b, key, '[');
			any = true;
			stats_blkio_entry(b, major, minor, ops[i].op, value);
		}
	}
	if (any)
		stats_close(b, ']');
}

static void io(struct buf *b, const char *dir)
{
	_buf_ struct buf text = {0};

	stats_open(b, "blkio", '{');
	if (!cg_read(dir, "io.stat", &text)) {
		io_list(b, "ioServiceBytesRecursive", text.s, " rbytes=", " wbytes=");
		io_list(b, "ioServicedRecursive", text.s, " rios=", " wios=");
	}
	pressure(b, dir, "io.pressure");
	stats_close(b, '}');
}

static void hugepage(struct buf *b, const char *dir, const char *size)
{
	char file[64], events[64];

	snprintf(file, sizeof(file), "hugetlb.%.16s.rsvd.current", size);
	if (!cg_has(dir, file))
		snprintf(file, sizeof(file), "hugetlb.%.16s.current", size);
	if (!cg_has(dir, file))
		return;
	snprintf(events, sizeof(events), "hugetlb.%.16s.events", size);
	stats_open(b, size, '{');
	stats_nonzero(b, "usage", stats_read(dir, file));
	stats_number(b, "failcnt", stats_read_key(dir, events, "max"));
	stats_close(b, '}');
}

static void pids(struct buf *b, const char *dir)
{
	uint64_t limit = stats_read(dir, "pids.max");

	stats_open(b, "pids", '{');
	stats_nonzero(b, "current", stats_read(dir, "pids.current"));
	stats_nonzero(b, "limit", limit == UINT64_MAX ? 0 : limit); /* 0: none */
	stats_close(b, '}');
}

void stats_v2(const struct cgroup *cg, struct buf *b)
{
	const char *dir = cg->path;

	cpu(b, dir);
	cpuset(b);
	memory(b, dir);
	pids(b, dir);
	io(b, dir);
	stats_open(b, "hugetlb", '{');
	stats_each_hugepage(hugepage, b, dir);
	stats_close(b, '}');
}
