#include "container/cgroup_stats.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <stdio.h>
#include <string.h>

#define HUGEPAGES_DIR "/sys/kernel/mm/hugepages"

void stats_key(struct buf *b, const char *key)
{
	char last = b->len ? b->s[b->len - 1] : '{';

	if (last != '{' && last != '[')
		buf_addc(b, ',');
	if (!key)
		return;
	buf_add_json_string(b, key);
	buf_addc(b, ':');
}

void stats_open(struct buf *b, const char *key, char bracket)
{
	stats_key(b, key);
	buf_addc(b, bracket);
}

void stats_close(struct buf *b, char bracket)
{
	buf_addc(b, bracket);
}

void stats_number(struct buf *b, const char *key, uint64_t value)
{
	stats_key(b, key);
	buf_addf(b, "%llu", (unsigned long long)value);
}

void stats_nonzero(struct buf *b, const char *key, uint64_t value)
{
	if (value)
		stats_number(b, key, value);
}

uint64_t stats_read(const char *dir, const char *file)
{
	uint64_t value;

	return dir && !cg_read_u64(dir, file, &value) ? value : 0;
}

uint64_t stats_read_key(const char *dir, const char *file, const char *key)
{
	uint64_t value;

	return dir && !cg_read_key(dir, file, key, &value) ? value : 0;
}

void stats_memory_entry(struct buf *b, const char *key, uint64_t limit, uint64_t usage,
			uint64_t peak, uint64_t failcnt)
{
	if (!limit && !usage && !peak && !failcnt)
		return;
	stats_open(b, key, '{');
	stats_number(b, "limit", limit);
	stats_nonzero(b, "usage", usage);
	stats_nonzero(b, "max", peak);
	stats_number(b, "failcnt", failcnt);
	stats_close(b, '}');
}

void stats_raw(struct buf *b, const char *key, const char *dir, const char *file)
{
	_buf_ struct buf text = {0};
	char *save;

	if (!dir || cg_read(dir, file, &text))
		return;
	stats_open(b, key, '{');
	for (char *p = strtok_r(text.s, "\n", &save); p; p = strtok_r(NULL, "\n", &save)) {
		char *blank = strchr(p, ' ');
		uint64_t value;

		if (!blank)
			continue;
		*blank = '\0';
		if (!str_to_u64(blank + 1, &value))
			stats_number(b, p, value);
	}
	stats_close(b, '}');
}

void stats_blkio_entry(struct buf *b, uint64_t major, uint64_t minor, const char *op,
		       uint64_t value)
{
	stats_open(b, NULL, '{');
	stats_nonzero(b, "major", major);
	stats_nonzero(b, "minor", minor);
	if (*op) {
		stats_key(b, "op");
		buf_add_json_string(b, op);
	}
	stats_nonzero(b, "value", value);
	stats_close(b, '}');
}

struct hugepage_walk {
	void (*fn)(struct buf *b, const char *dir, const char *size);
	struct buf *b;
	const char *dir;
};

/* hugepages-2048kB is called 2MB in control groups (kernel: mm/hugetlb_cgroup.c). */
static int hugepage(void *arg, const char *path)
{
	const struct hugepage_walk *w = arg;
	const char *name = strrchr(path, '/');
	unsigned long long kib;
	char size[32];

	if (!name || sscanf(name, "/hugepages-%llukB", &kib) != 1)
		return 0;
	if (kib >= 1 << 20)
		snprintf(size, sizeof(size), "%lluGB", kib >> 20);
	else if (kib >= 1 << 10)
		snprintf(size, sizeof(size), "%lluMB", kib >> 10);
	else
		snprintf(size, sizeof(size), "%lluKB", kib);
	w->fn(w->b, w->dir, size);
	return 0;
}

void stats_each_hugepage(void (*fn)(struct buf *b, const char *dir, const char *size),
			 struct buf *b, const char *dir)
{
	struct hugepage_walk w = {fn, b, dir};

	if (dir)
		cg_each_child(HUGEPAGES_DIR, hugepage, &w);
}

int cgroup_stats(const struct cgroup *cg, struct buf *b, struct err *e)
{
	if (cg->mode == CGROUP_NONE || !cgroup_exists(cg))
		return err_set(e, ERR_CG_UNAVAILABLE, -ENOENT,
			       "there are no figures: the container has no control group");
	stats_open(b, NULL, '{');
	if (cg->mode == CGROUP_V2)
		stats_v2(cg, b);
	else
		stats_v1(cg, b);
	stats_open(b, "intel_rdt", '{');
	stats_close(b, '}');
	stats_key(b, "network_interfaces");
	buf_adds(b, "null}");
	return 0;
}
