/* config-linux.md "Control groups" and the sections below it. */
#include "container/spec_int.h"

#include "base/cleanup.h"

#include <string.h>

static const struct spec_name rule_types[] = {{"a", 'a'}, {"b", 'b'}, {"c", 'c'}, {}};

static int read_access(struct spec_reader *r, const struct spec_at *at, const json_t *v, void *base)
{
	struct spec_device_rule *rule = base;
	const char *s = json_string_value(v);

	/* An 'a' among them adds nothing; runc's users have it. */
	if (!s || !*s || s[strspn(s, "rwma")])
		return spec_fail(r, at, NULL, "expected a combination of r, w and m");
	rule->read = strchr(s, 'r');
	rule->write = strchr(s, 'w');
	rule->mknod = strchr(s, 'm');
	return 0;
}

static int check_rule(struct spec_reader *r, const struct spec_at *at, const json_t *v, void *base)
{
	struct spec_device_rule *rule = base;

	if (!rule->type)
		rule->type = 'a';
	for (int i = 0; i < 2; i++) {
		const json_t *n = json_object_get(v, i ? "minor" : "major");

		if (!n || json_is_null(n))
			*(i ? &rule->minor : &rule->major) = -1;
	}
	return 0;
}

static const struct spec_field rule_fields[] = {
    {"allow", K_BOOL, AT(struct spec_device_rule, allow)},
    {"type", K_NAME, AT(struct spec_device_rule, type), .names = rule_types},
    {"major", K_INT, AT(struct spec_device_rule, major), .min = -1, .max = UINT32_MAX},
    {"minor", K_INT, AT(struct spec_device_rule, minor), .min = -1, .max = UINT32_MAX},
    {"access", K_FN, .fn = read_access, .required = true},
    {},
};
static const struct spec_object rule_object = {rule_fields, check_rule};
static const struct spec_field rule_elem = {
    .kind = K_OBJ, .size = sizeof(struct spec_device_rule), .obj = &rule_object};

#define RES(kind, m) kind, AT(struct spec_resources, m)

static const struct spec_field memory_fields[] = {
    {"limit", RES(K_INT, mem_limit), .bit = RES_MEM_LIMIT},
    {"reservation", RES(K_INT, mem_reservation), .bit = RES_MEM_RESERVATION},
    {"swap", RES(K_INT, mem_swap), .bit = RES_MEM_SWAP},
    {"kernel", RES(K_INT, mem_kernel), .bit = RES_MEM_KERNEL},
    {"kernelTCP", RES(K_INT, mem_kernel_tcp), .bit = RES_MEM_KERNEL_TCP},
    {"swappiness", RES(K_UINT, mem_swappiness), .bit = RES_MEM_SWAPPINESS},
    {"disableOOMKiller", RES(K_BOOL, mem_disable_oom_killer), .bit = RES_MEM_DISABLE_OOM},
    {"useHierarchy", RES(K_BOOL, mem_use_hierarchy), .bit = RES_MEM_USE_HIERARCHY},
    {"checkBeforeUpdate", RES(K_BOOL, mem_check_before_update), .bit = RES_MEM_CHECK},
    {},
};
static const struct spec_object memory_object = {memory_fields};

static const struct spec_field cpu_fields[] = {
    {"shares", RES(K_UINT, cpu_shares), .bit = RES_CPU_SHARES},
    {"quota", RES(K_INT, cpu_quota), .bit = RES_CPU_QUOTA},
    {"burst", RES(K_UINT, cpu_burst), .bit = RES_CPU_BURST},
    {"period", RES(K_UINT, cpu_period), .bit = RES_CPU_PERIOD},
    {"realtimeRuntime", RES(K_INT, cpu_rt_runtime), .bit = RES_CPU_RT_RUNTIME},
    {"realtimePeriod", RES(K_UINT, cpu_rt_period), .bit = RES_CPU_RT_PERIOD},
    {"idle", RES(K_INT, cpu_idle), .bit = RES_CPU_IDLE},
    {"cpus", RES(K_STR, cpuset_cpus)},
    {"mems", RES(K_STR, cpuset_mems)},
    {},
};
static const struct spec_object cpu_object = {cpu_fields};

static const struct spec_field pids_fields[] = {
    {"limit", RES(K_INT, pids_limit), .bit = RES_PIDS},
    {},
};
static const struct spec_object pids_object = {pids_fields};

static int check_weight(struct spec_reader *r, const struct spec_at *at, const json_t *v,
			void *base)
{
	const struct spec_blkio_device *d = base;

	if (!d->value && !d->leaf_value)
		return spec_fail(r, at, NULL, "needs weight or leafWeight");
	return 0;
}

#define BLKIO(kind, m) kind, AT(struct spec_blkio_device, m)

static const struct spec_field weight_fields[] = {
    {"major", BLKIO(K_INT, major), .max = UINT32_MAX, .required = true},
    {"minor", BLKIO(K_INT, minor), .max = UINT32_MAX, .required = true},
    {"weight", BLKIO(K_UINT, value), .max = UINT16_MAX},
    {"leafWeight", BLKIO(K_UINT, leaf_value), .max = UINT16_MAX},
    {},
};
static const struct spec_object weight_object = {weight_fields, check_weight};
static const struct spec_field weight_elem = {
    .kind = K_OBJ, .size = sizeof(struct spec_blkio_device), .obj = &weight_object};

static const struct spec_field rate_fields[] = {
    {"major", BLKIO(K_INT, major), .max = UINT32_MAX, .required = true},
    {"minor", BLKIO(K_INT, minor), .max = UINT32_MAX, .required = true},
    {"rate", BLKIO(K_UINT, value), .required = true},
    {},
};
static const struct spec_object rate_object = {rate_fields};
static const struct spec_field rate_elem = {
    .kind = K_OBJ, .size = sizeof(struct spec_blkio_device), .obj = &rate_object};

#define RES_LIST(m, n) K_LIST, AT(struct spec_resources, m), COUNT(struct spec_resources, n)

static const struct spec_field blkio_fields[] = {
    {"weight", RES(K_UINT, blkio_weight), .bit = RES_BLKIO_WEIGHT},
    {"leafWeight", RES(K_UINT, blkio_leaf_weight), .bit = RES_BLKIO_LEAF_WEIGHT},
    {"weightDevice", RES_LIST(blkio_weight_device.v, blkio_weight_device.count),
     .elem = &weight_elem},
    {"throttleReadBpsDevice", RES_LIST(blkio_read_bps.v, blkio_read_bps.count), .elem = &rate_elem},
    {"throttleWriteBpsDevice", RES_LIST(blkio_write_bps.v, blkio_write_bps.count),
     .elem = &rate_elem},
    {"throttleReadIOPSDevice", RES_LIST(blkio_read_iops.v, blkio_read_iops.count),
     .elem = &rate_elem},
    {"throttleWriteIOPSDevice", RES_LIST(blkio_write_iops.v, blkio_write_iops.count),
     .elem = &rate_elem},
    {},
};
static const struct spec_object blkio_object = {blkio_fields};

/* "<size><unit-prefix>B": it becomes part of a control file's name. */
static int check_hugepage(struct spec_reader *r, const struct spec_at *at, const json_t *v,
			  void *base)
{
	const struct spec_hugepage *h = base;
	size_t digits = strspn(h->page_size, "0123456789");
	const char *unit = h->page_size + digits;

	if (!digits || digits > 4 || *h->page_size == '0' || !*unit || !strchr("KMG", *unit) ||
	    unit[1] != 'B' || unit[2])
		return spec_fail(r, at, "pageSize", "'%s' is not of the form 64KB, 2MB, 1GB",
				 h->page_size);
	return 0;
}

static const struct spec_field hugepage_fields[] = {
    {"pageSize", K_STR, AT(struct spec_hugepage, page_size), .required = true},
    {"limit", K_UINT, AT(struct spec_hugepage, limit), .required = true},
    {},
};
static const struct spec_object hugepage_object = {hugepage_fields, check_hugepage};
static const struct spec_field hugepage_elem = {
    .kind = K_OBJ, .size = sizeof(struct spec_hugepage), .obj = &hugepage_object};

static const struct spec_field priority_fields[] = {
    {"name", K_STR, AT(struct spec_net_prio, name), .required = true},
    {"priority", K_UINT, AT(struct spec_net_prio, priority), .required = true},
    {},
};
static const struct spec_object priority_object = {priority_fields};
static const struct spec_field priority_elem = {
    .kind = K_OBJ, .size = sizeof(struct spec_net_prio), .obj = &priority_object};

static const struct spec_field network_fields[] = {
    {"classID", RES(K_UINT, net_classid), .bit = RES_NET_CLASSID},
    {"priorities", RES_LIST(net_prio, net_prio_count), .elem = &priority_elem},
    {},
};
static const struct spec_object network_object = {network_fields};

static const struct spec_field rdma_fields[] = {
    {"hcaHandles", K_UINT, AT(struct spec_rdma, hca_handles), HAS(struct spec_rdma, has_handles)},
    {"hcaObjects", K_UINT, AT(struct spec_rdma, hca_objects), HAS(struct spec_rdma, has_objects)},
    {},
};
static const struct spec_object rdma_object = {rdma_fields};

static int read_rdma(struct spec_reader *r, const struct spec_at *at, const json_t *v, void *base)
{
	struct spec_resources *res = base;
	int rc = spec_expect_map(r, at, v);
	const char *key;
	json_t *value;

	if (rc < 0)
		return rc;
	res->rdma = spec_alloc(r->s, json_object_size(v), sizeof(*res->rdma));
	json_object_foreach ((json_t *)v, key, value) {
		struct spec_rdma *d = &res->rdma[res->rdma_count++];
		struct spec_at item = {at, key, 0};

		d->name = spec_strdup(r->s, key);
		rc = spec_read_object(r, &item, &rdma_object, value, d);
		if (rc < 0)
			return rc;
		if (!d->has_handles && !d->has_objects)
			return spec_fail(r, &item, NULL, "needs hcaHandles or hcaObjects");
	}
	return 0;
}

static int check_resources(struct spec_reader *r, const struct spec_at *at, const json_t *v,
			   void *base)
{
	const struct spec_resources *res = base;

	for (size_t i = 0; i < res->unified_count; i++)
		if (strchr(res->unified[i].key, '/') || res->unified[i].key[0] == '.')
			return spec_fail(r, at, "unified", "'%s' is not the name of a control file",
					 res->unified[i].key);
	if (res->has & RES_CPU_BURST && res->has & RES_CPU_QUOTA && res->cpu_quota > 0 &&
	    res->cpu_burst > (uint64_t)res->cpu_quota)
		return spec_fail(r, at, "cpu", "burst is above quota");
	return 0;
}

static const struct spec_field resources_fields[] = {
    {"devices", RES_LIST(devices, devices_count), .elem = &rule_elem},
    {"memory", K_OBJ, .obj = &memory_object},
    {"cpu", K_OBJ, .obj = &cpu_object},
    {"pids", K_OBJ, .obj = &pids_object},
    {"blockIO", K_OBJ, .obj = &blkio_object},
    {"hugepageLimits", RES_LIST(hugepages, hugepages_count), .elem = &hugepage_elem},
    {"network", K_OBJ, .obj = &network_object},
    {"rdma", K_FN, .fn = read_rdma},
    {"unified", K_KV, AT(struct spec_resources, unified),
     COUNT(struct spec_resources, unified_count)},
    {},
};
const struct spec_object spec_resources_object = {resources_fields, check_resources};
