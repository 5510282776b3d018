/* config.json of the OCI runtime specification 1.2, parsed: everything else of the runtime sees
 * only these structs. Foreign data: each field is checked here (type, range, contradictions), each
 * list has a named bound, unknown fields are ignored as the specification demands. A spec owns all
 * its strings; pointers live until spec_free(). NULL or 0 count means "not given". Field names are
 * the specification's (config.md, config-linux.md), in C's spelling. */
#ifndef CONTAINER_SPEC_H
#define CONTAINER_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

#define SPEC_VERSION  "1.2.0"
#define SPEC_FILE_MAX (8u << 20) /* bytes of a config.json */
#define SPEC_LIST_MAX 65536      /* elements of any one list */

struct json_t;

enum spec_ns { /* order of joining: user first, pid before the rest that needs no order */
	       SPEC_NS_USER,
	       SPEC_NS_PID,
	       SPEC_NS_NETWORK,
	       SPEC_NS_IPC,
	       SPEC_NS_UTS,
	       SPEC_NS_MOUNT,
	       SPEC_NS_CGROUP,
	       SPEC_NS_TIME,
	       SPEC_NS_COUNT
};

/* name: "user" …; proc: name below /proc/PID/ns; flag: CLONE_NEW*. */
struct spec_ns_info {
	const char *name, *proc;
	uint64_t flag;
};
extern const struct spec_ns_info spec_ns_info[SPEC_NS_COUNT];

struct spec_idmap {
	uint32_t container_id, host_id, size;
};

struct spec_idmaps {
	struct spec_idmap *uid, *gid;
	size_t uid_count, gid_count;
};

struct spec_caps { /* bit N = capability N (linux/capability.h) */
	uint64_t bounding, effective, inheritable, permitted, ambient;
};

struct spec_rlimit {
	int resource; /* RLIMIT_* */
	uint64_t soft, hard;
};

struct spec_user {
	uid_t uid;
	gid_t gid;
	gid_t *additional_gids;
	size_t additional_gids_count;
	bool has_umask;
	mode_t umask;
};

struct spec_scheduler {
	bool present;
	uint32_t policy; /* SCHED_* */
	int32_t nice, priority;
	uint64_t flags; /* SCHED_FLAG_* */
	uint64_t runtime, deadline, period;
};

struct spec_process {
	bool terminal;
	uint32_t console_height, console_width; /* 0: not given */
	struct spec_user user;
	char **args; /* NULL-terminated; NULL where not given */
	char **env;  /* NULL-terminated, "K=V"; never NULL after parsing a process */
	char *cwd;
	bool has_caps;
	struct spec_caps caps;
	struct spec_rlimit *rlimits;
	size_t rlimits_count;
	bool no_new_privileges;
	char *apparmor_profile, *selinux_label;
	bool has_oom_score_adj;
	int oom_score_adj;
	struct spec_scheduler scheduler;
	bool has_ioprio;
	int ioprio;                                      /* the value of ioprio_set(2) */
	char *cpu_affinity_initial, *cpu_affinity_final; /* cpu lists, "0-3,7" */
};

enum spec_mount_kind { SPEC_MOUNT_FS, SPEC_MOUNT_BIND, SPEC_MOUNT_CGROUP };

struct spec_mount {
	char *destination, *type, *source;
	char **options; /* as given; NULL-terminated or NULL */
	/* What the options mean (config.md "Linux mount options"). */
	enum spec_mount_kind kind;
	bool recursive_bind;                 /* rbind */
	uint64_t attr_set, attr_clr;         /* MOUNT_ATTR_*, this mount */
	uint64_t rec_attr_set, rec_attr_clr; /* MOUNT_ATTR_*, recursively (rro, rnosuid …) */
	uint64_t propagation; /* MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE or 0, plus MS_REC */
	unsigned long sb_flags; /* MS_SYNCHRONOUS, MS_DIRSYNC, MS_LAZYTIME, MS_SILENT, MS_RDONLY …
				   of the superblock */
	char *data;             /* file system specific options, comma-separated, or NULL */
	bool tmpcopyup;
	enum { SPEC_IDMAP_NONE, SPEC_IDMAP, SPEC_IDMAP_RECURSIVE } idmap;
	struct spec_idmaps idmaps; /* empty with idmap set: the container's own user namespace */
	bool copy_symlink;         /* crun's copy-symlink, src-nofollow, dest-nofollow */
	bool src_nofollow, dest_nofollow;
};

struct spec_hook {
	char *path;
	char **args, **env; /* NULL-terminated or NULL */
	int timeout_s;      /* 0: none */
};

struct spec_hook_list {
	struct spec_hook *v;
	size_t count;
};

struct spec_hooks {
	struct spec_hook_list prestart, create_runtime, create_container, start_container,
	    poststart, poststop;
};

struct spec_device {
	char *path;
	char type; /* 'c' (also for 'u'), 'b', 'p' */
	uint32_t major, minor;
	bool has_mode, has_uid, has_gid;
	mode_t mode;
	uid_t uid;
	gid_t gid;
};

struct spec_kv {
	char *key, *value;
};

struct spec_device_rule { /* linux.resources.devices */
	bool allow;
	char type;            /* 'a', 'b', 'c' */
	int64_t major, minor; /* -1: any */
	bool read, write, mknod;
};

struct spec_blkio_device {
	int64_t major, minor;
	uint64_t value, leaf_value; /* weight or rate; 0: not given */
};

struct spec_blkio_list {
	struct spec_blkio_device *v;
	size_t count;
};

struct spec_hugepage {
	char *page_size; /* "2MB" */
	uint64_t limit;  /* bytes */
};

struct spec_net_prio {
	char *name;
	uint32_t priority;
};

struct spec_rdma {
	char *name;
	bool has_handles, has_objects;
	uint32_t hca_handles, hca_objects;
};

/* "has" bits for resources, because 0 and -1 are values. */
enum spec_res {
	RES_MEM_LIMIT = 1 << 0,
	RES_MEM_RESERVATION = 1 << 1,
	RES_MEM_SWAP = 1 << 2,
	RES_MEM_KERNEL = 1 << 3,
	RES_MEM_KERNEL_TCP = 1 << 4,
	RES_MEM_SWAPPINESS = 1 << 5,
	RES_MEM_DISABLE_OOM = 1 << 6,
	RES_MEM_USE_HIERARCHY = 1 << 7,
	RES_MEM_CHECK = 1 << 8,
	RES_CPU_SHARES = 1 << 9,
	RES_CPU_QUOTA = 1 << 10,
	RES_CPU_BURST = 1 << 11,
	RES_CPU_PERIOD = 1 << 12,
	RES_CPU_RT_RUNTIME = 1 << 13,
	RES_CPU_RT_PERIOD = 1 << 14,
	RES_CPU_IDLE = 1 << 15,
	RES_PIDS = 1 << 16,
	RES_BLKIO_WEIGHT = 1 << 17,
	RES_BLKIO_LEAF_WEIGHT = 1 << 18,
	RES_NET_CLASSID = 1 << 19,
};

struct spec_resources {
	uint32_t has; /* enum spec_res */
	/* memory, bytes; -1 unlimited */
	int64_t mem_limit, mem_reservation, mem_swap, mem_kernel, mem_kernel_tcp;
	uint64_t mem_swappiness;
	bool mem_disable_oom_killer, mem_use_hierarchy, mem_check_before_update;
	/* cpu; quota, burst, period, rt in microseconds */
	uint64_t cpu_shares, cpu_burst, cpu_period, cpu_rt_period;
	int64_t cpu_quota, cpu_rt_runtime, cpu_idle;
	char *cpuset_cpus, *cpuset_mems;
	int64_t pids_limit; /* <= 0 unlimited, as runc reads it: 0 and -1 */
	uint16_t blkio_weight, blkio_leaf_weight;
	struct spec_blkio_list blkio_weight_device, blkio_read_bps, blkio_write_bps,
	    blkio_read_iops, blkio_write_iops;
	struct spec_hugepage *hugepages;
	size_t hugepages_count;
	uint32_t net_classid;
	struct spec_net_prio *net_prio;
	size_t net_prio_count;
	struct spec_rdma *rdma;
	size_t rdma_count;
	struct spec_kv *unified; /* cgroup v2 file = value */
	size_t unified_count;
	struct spec_device_rule *devices;
	size_t devices_count;
};

struct spec_seccomp_arg {
	uint32_t index;
	uint64_t value, value_two;
	int op; /* enum scmp_compare */
};

struct spec_seccomp_rule {
	char **names;    /* NULL-terminated */
	uint32_t action; /* SCMP_ACT_*, errno or trace value included */
	struct spec_seccomp_arg *args;
	size_t args_count;
};

struct spec_seccomp {
	bool present;
	uint32_t default_action;
	uint32_t *architectures; /* SCMP_ARCH_* */
	size_t architectures_count;
	uint64_t flags; /* SECCOMP_FILTER_FLAG_* */
	char *listener_path, *listener_metadata;
	struct spec_seccomp_rule *rules;
	size_t rules_count;
};

struct spec_time_offset {
	bool given;
	int64_t secs;
	uint32_t nanosecs;
};

struct spec {
	char *version; /* ociVersion */
	char *bundle;  /* absolute, where it came from */
	bool has_process;
	struct spec_process process;
	char *root_path; /* absolute, or relative to the bundle as given */
	bool root_readonly;
	char *hostname, *domainname;
	struct spec_mount *mounts;
	size_t mounts_count;
	struct spec_hooks hooks;
	struct spec_kv *annotations;
	size_t annotations_count;

	/* linux */
	struct spec_idmaps idmaps;
	struct spec_kv *sysctl; /* key: a checked path below /proc/sys, "net/ipv4/ip_forward" */
	size_t sysctl_count;
	struct spec_resources resources;
	char *cgroups_path;
	struct {
		bool present; /* new, or joined where path is set */
		char *path;
	} ns[SPEC_NS_COUNT];
	struct spec_device *devices;
	size_t devices_count;
	struct spec_kv *net_devices; /* host name = name inside ("" keeps it) */
	size_t net_devices_count;
	struct spec_seccomp seccomp;
	unsigned long rootfs_propagation; /* MS_* | MS_REC, 0 not given */
	char **masked_paths, **readonly_paths;
	char *mount_label;
	bool has_memory_policy;
	int memory_policy_mode; /* MPOL_* with MPOL_F_* flags */
	char *memory_policy_nodes;
	bool has_personality;
	unsigned long personality;
	struct spec_time_offset time_monotonic, time_boottime;

	struct json_t *json; /* the document, for state and `unified` users; owned */
	struct spec_arena *arena;
};

/* Parses text (len bytes; a copy is made). bundle: absolute path kept in the spec. The result must
 * be freed with spec_free(). Errors: SPEC-JSON (-EINVAL), SPEC-VALUE (-EINVAL), UNSUPPORTED
 * (-ENOTSUP) for what is refused by name (intelRdt …). Warnings (unknown capabilities) go to the
 * log. Source: runtime-spec 1.2 config.md, config-linux.md. */
int spec_parse(const char *text, size_t len, const char *bundle, struct spec **ret, struct err *e);

/* A process object alone, as `exec --process` takes it: a spec with has_process set and nothing
 * else. */
int spec_parse_process(const char *text, size_t len, struct spec **ret, struct err *e);

/* A linux.resources object alone, as `update --resources` takes it; only spec->resources is set. */
int spec_parse_resources(const char *text, size_t len, struct spec **ret, struct err *e);

void spec_free(struct spec *s);

static inline void cleanup_spec(struct spec **s)
{
	spec_free(*s);
}
#define _spec_ __attribute__((cleanup(cleanup_spec)))

/* The value of an annotation, or NULL. */
const char *spec_annotation(const struct spec *s, const char *key);

/* Memory and strings that live as long as the spec: for `exec` and `update`, which amend it. */
void *spec_alloc(struct spec *s, size_t count, size_t size);
char *spec_strdup(struct spec *s, const char *str);

/* Capability N's name ("CAP_CHOWN") or NULL; and back: number, or -1. */
const char *spec_cap_name(int cap);
int spec_cap_by_name(const char *name);

/* Mount option number i of those that are known by name; NULL behind the last. */
const char *spec_mount_option_name(size_t i);

/* What `viv runtime spec` writes: the JSON text of a default configuration. Returns owned. */
char *spec_default(bool rootless, uid_t uid, gid_t gid);

#endif
