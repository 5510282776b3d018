/* config-linux.md without resources and seccomp. */
#include "container/spec_int.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"

#include <errno.h>
#include <linux/mempolicy.h>
#include <linux/sched.h>
#include <string.h>
#include <sys/personality.h>

#ifndef MPOL_WEIGHTED_INTERLEAVE /* Linux 6.9 */
#define MPOL_WEIGHTED_INTERLEAVE 6
#endif
#ifndef MPOL_PREFERRED_MANY /* Linux 5.15 */
#define MPOL_PREFERRED_MANY 5
#endif

const struct spec_ns_info spec_ns_info[SPEC_NS_COUNT] = {
    [SPEC_NS_USER] = {"user", "user", CLONE_NEWUSER},
    [SPEC_NS_PID] = {"pid", "pid", CLONE_NEWPID},
    [SPEC_NS_NETWORK] = {"network", "net", CLONE_NEWNET},
    [SPEC_NS_IPC] = {"ipc", "ipc", CLONE_NEWIPC},
    [SPEC_NS_UTS] = {"uts", "uts", CLONE_NEWUTS},
    [SPEC_NS_MOUNT] = {"mount", "mnt", CLONE_NEWNS},
    [SPEC_NS_CGROUP] = {"cgroup", "cgroup", CLONE_NEWCGROUP},
    [SPEC_NS_TIME] = {"time", "time", CLONE_NEWTIME},
};

static int read_namespace(struct spec_reader *r, const struct spec_at *at, const json_t *v,
			  void *base)
{
	struct {
		char *type, *path;
	} ns = {0};
	static const struct spec_field fields[] = {
	    {"type", K_STR, .off = 0, .required = true},
	    {"path", K_STR, .off = sizeof(char *)},
	    {},
	};
	static const struct spec_object object = {fields};
	int rc = spec_read_object(r, at, &object, v, &ns);

	if (rc < 0)
		return rc;
	int type = 0;

	while (type < SPEC_NS_COUNT && !str_eq(spec_ns_info[type].name, ns.type))
		type++;
	if (type == SPEC_NS_COUNT)
		return spec_fail(r, at, "type", "unknown namespace '%s'", ns.type);
	if (r->s->ns[type].present)
		return spec_fail(r, at, "type", "'%s' is given twice", ns.type);
	if (ns.path && *ns.path != '/')
		return spec_fail(r, at, "path", "'%s' is not an absolute path", ns.path);
	r->s->ns[type].present = true;
	r->s->ns[type].path = ns.path;
	return 0;
}

static int read_namespaces(struct spec_reader *r, const struct spec_at *at, const json_t *v,
			   void *base)
{
	int rc = spec_expect_list(r, at, v);

	for (size_t i = 0; !rc && i < json_array_size(v); i++)
		rc = read_namespace(r, &(struct spec_at){at, NULL, i}, json_array_get(v, i), base);
	return rc;
}

static const struct spec_name device_types[] = {{"c", 'c'}, {"u", 'c'}, {"b", 'b'}, {"p", 'p'}, {}};

static int check_device(struct spec_reader *r, const struct spec_at *at, const json_t *v,
			void *base)
{
	struct spec_device *d = base;

	if (*d->path != '/')
		return spec_fail(r, at, "path", "'%s' is not an absolute path", d->path);
	for (int i = 0; d->type != 'p' && i < 2; i++)
		if (!json_object_get(v, i ? "minor" : "major"))
			return spec_fail(r, at, i ? "minor" : "major", "missing");
	d->mode &= 07777; /* some writers put the file type in, as stat(2) has it */
	return 0;
}

/* Device numbers are 12 + 20 bits wide: include/linux/kdev_t.h. */
static const struct spec_field device_fields[] = {
    {"type", K_NAME, AT(struct spec_device, type), .names = device_types, .required = true},
    {"path", K_STR, AT(struct spec_device, path), .required = true},
    {"major", K_UINT, AT(struct spec_device, major), .max = (1 << 12) - 1},
    {"minor", K_UINT, AT(struct spec_device, minor), .max = (1 << 20) - 1},
    {"fileMode", K_UINT, AT(struct spec_device, mode), HAS(struct spec_device, has_mode)},
    {"uid", K_UINT, AT(struct spec_device, uid), HAS(struct spec_device, has_uid)},
    {"gid", K_UINT, AT(struct spec_device, gid), HAS(struct spec_device, has_gid)},
    {},
};
static const struct spec_object device_object = {device_fields, check_device};
static const struct spec_field device_elem = {
    .kind = K_OBJ, .size = sizeof(struct spec_device), .obj = &device_object};

static bool is_device_name(const char *name)
{
	size_t len = strlen(name);

	return len && len < 16 /* IFNAMSIZ */ && !strpbrk(name, "/: ") && !str_eq(name, ".") &&
	       !str_eq(name, "..");
}

static int read_net_devices(struct spec_reader *r, const struct spec_at *at, const json_t *v,
			    void *base)
{
	static const struct spec_field fields[] = {
	    {"name", K_STR, AT(struct spec_kv, value)},
	    {},
	};
	static const struct spec_object object = {fields};
	int rc = spec_expect_map(r, at, v);
	struct spec_kv *d;
	const char *key;
	json_t *value;

	if (rc < 0)
		return rc;
	r->s->net_devices = spec_alloc(r->s, json_object_size(v), sizeof(*d));
	json_object_foreach ((json_t *)v, key, value) {
		struct spec_at item = {at, key, 0};

		d = &r->s->net_devices[r->s->net_devices_count++];
		rc = spec_read_object(r, &item, &object, value, d);
		if (rc < 0)
			return rc;
		d->key = spec_strdup(r->s, key);
		if (!d->value)
			d->value = spec_strdup(r->s, "");
		if (!is_device_name(d->key) || (*d->value && !is_device_name(d->value)))
			return spec_fail(r, &item, NULL, "not the name of a network device");
	}
	return 0;
}

/* time_namespaces(7) knows two clocks. */
static const struct spec_field offset_fields[] = {
    {"secs", K_INT, AT(struct spec_time_offset, secs)},
    {"nanosecs", K_UINT, AT(struct spec_time_offset, nanosecs), .max = 999999999},
    {},
};
static const struct spec_object offset_object = {offset_fields};

static int check_clocks(struct spec_reader *r, const struct spec_at *at, const json_t *v,
			void *base)
{
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)v, key, value)
		if (!str_eq(key, "monotonic") && !str_eq(key, "boottime"))
			return spec_fail(r, at, key,
					 "unknown clock; monotonic and boottime are known");
	return 0;
}

static const struct spec_field clock_fields[] = {
    {"monotonic", K_OBJ, AT(struct spec, time_monotonic), HAS(struct spec, time_monotonic.given),
     .obj = &offset_object},
    {"boottime", K_OBJ, AT(struct spec, time_boottime), HAS(struct spec, time_boottime.given),
     .obj = &offset_object},
    {},
};
static const struct spec_object clocks_object = {clock_fields, check_clocks};

/* set_mempolicy(2) */
static const struct spec_name mempolicy_modes[] = {
    {"MPOL_BIND", MPOL_BIND},
    {"MPOL_DEFAULT", MPOL_DEFAULT},
    {"MPOL_INTERLEAVE", MPOL_INTERLEAVE},
    {"MPOL_LOCAL", MPOL_LOCAL},
    {"MPOL_PREFERRED", MPOL_PREFERRED},
    {"MPOL_PREFERRED_MANY", MPOL_PREFERRED_MANY},
    {"MPOL_WEIGHTED_INTERLEAVE", MPOL_WEIGHTED_INTERLEAVE},
    {},
};

static const struct spec_name mempolicy_flags[] = {
    {"MPOL_F_NUMA_BALANCING", MPOL_F_NUMA_BALANCING},
    {"MPOL_F_RELATIVE_NODES", MPOL_F_RELATIVE_NODES},
    {"MPOL_F_STATIC_NODES", MPOL_F_STATIC_NODES},
    {},
};

static int check_mempolicy(struct spec_reader *r, const struct spec_at *at, const json_t *v,
			   void *base)
{
	const struct spec *s = base;
	int mode = s->memory_policy_mode & ~MPOL_MODE_FLAGS;
	const char *nodes = s->memory_policy_nodes;

	if (nodes && !spec_is_cpu_list(nodes))
		return spec_fail(r, at, "nodes", "'%s' is no list of nodes", nodes);
	if (nodes && (mode == MPOL_DEFAULT || mode == MPOL_LOCAL))
		return spec_fail(r, at, "nodes", "the mode takes none");
	if (!nodes && mode != MPOL_DEFAULT && mode != MPOL_LOCAL && mode != MPOL_PREFERRED)
		return spec_fail(r, at, "nodes", "the mode needs at least one");
	return 0;
}

static const struct spec_field mempolicy_fields[] = {
    {"mode", K_NAME, AT(struct spec, memory_policy_mode), .names = mempolicy_modes,
     .required = true},
    {"flags", K_FLAGS, AT(struct spec, memory_policy_mode), .names = mempolicy_flags},
    {"nodes", K_STR, AT(struct spec, memory_policy_nodes)},
    {},
};
static const struct spec_object mempolicy_object = {mempolicy_fields, check_mempolicy};

static const struct spec_name personality_domains[] = {
    {"LINUX", PER_LINUX}, {"LINUX32", PER_LINUX32}, {}};

static int check_personality(struct spec_reader *r, const struct spec_at *at, const json_t *v,
			     void *base)
{
	if (json_array_size(json_object_get(v, "flags")))
		log_warn("Flags of linux.personality ignored: none are defined");
	return 0;
}

static const struct spec_field personality_fields[] = {
    {"domain", K_NAME, AT(struct spec, personality), .names = personality_domains,
     .required = true},
    {},
};
static const struct spec_object personality_object = {personality_fields, check_personality};

/* Refused by name: a container that asked for cache partitions must not run without them. */
static int refuse_rdt(struct spec_reader *r, const struct spec_at *at, const json_t *v, void *base)
{
	return err_set(r->e, ERR_UNSUPPORTED, -ENOTSUP,
		       "%s: linux.intelRdt: Intel RDT is not supported", r->doc);
}

static const struct spec_field linux_fields[] = {
    {"namespaces", K_FN, .fn = read_namespaces},
    {"uidMappings", K_LIST, AT(struct spec, idmaps.uid), COUNT(struct spec, idmaps.uid_count),
     .elem = &spec_idmap_elem},
    {"gidMappings", K_LIST, AT(struct spec, idmaps.gid), COUNT(struct spec, idmaps.gid_count),
     .elem = &spec_idmap_elem},
    {"timeOffsets", K_OBJ, .obj = &clocks_object},
    {"devices", K_LIST, AT(struct spec, devices), COUNT(struct spec, devices_count),
     .elem = &device_elem},
    {"netDevices", K_FN, .fn = read_net_devices},
    {"cgroupsPath", K_STR, AT(struct spec, cgroups_path)},
    {"resources", K_OBJ, AT(struct spec, resources), .obj = &spec_resources_object},
    {"intelRdt", K_FN, .fn = refuse_rdt},
    {"memoryPolicy", K_OBJ, HAS(struct spec, has_memory_policy), .obj = &mempolicy_object},
    {"sysctl", K_KV, AT(struct spec, sysctl), COUNT(struct spec, sysctl_count)},
    {"seccomp", K_OBJ, AT(struct spec, seccomp), .obj = &spec_seccomp_object},
    {"rootfsPropagation", K_NAME, AT(struct spec, rootfs_propagation),
     .names = spec_propagation_names},
    {"maskedPaths", K_STRV, AT(struct spec, masked_paths)},
    {"readonlyPaths", K_STRV, AT(struct spec, readonly_paths)},
    {"mountLabel", K_STR, AT(struct spec, mount_label)},
    {"personality", K_OBJ, HAS(struct spec, has_personality), .obj = &personality_object},
    {},
};
const struct spec_object spec_linux_object = {linux_fields};
