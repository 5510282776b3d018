/* config.md "Process", "POSIX process", "Linux Process". */
#include "container/spec_int.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"

#include <linux/ioprio.h>
#include <linux/sched.h>
#include <string.h>
#include <sys/resource.h>

/* By number: linux/capability.h. */
static const char *const cap_names[] = {
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
};

const char *spec_cap_name(int cap)
{
	return cap >= 0 && (size_t)cap < ARRAY_SIZE(cap_names) ? cap_names[cap] : NULL;
}

int spec_cap_by_name(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(cap_names); i++)
		if (str_eq(cap_names[i], name))
			return (int)i;
	return -1;
}

/* "Any value which cannot be mapped to a relevant kernel interface … MUST be logged as a warning."
 */
static int read_caps(struct spec_reader *r, const struct spec_at *at, const json_t *v,
		     uint64_t *ret)
{
	int rc = spec_expect_list(r, at, v);

	for (size_t i = 0; !rc && i < json_array_size(v); i++) {
		const char *name = json_string_value(json_array_get(v, i));

		if (!name)
			return spec_fail(r, &(struct spec_at){at, NULL, i}, NULL,
					 "expected the name of a capability");
		int cap = spec_cap_by_name(name);

		if (cap < 0)
			log_warn("Unknown capability '%s' in '%s' ignored", name, at->key);
		else
			*ret |= UINT64_C(1) << cap;
	}
	return rc;
}

static int read_cap_sets(struct spec_reader *r, const struct spec_at *at, const json_t *v,
			 void *base)
{
	struct spec_process *p = base;
	const struct {
		const char *key;
		uint64_t *bits;
	} sets[] = {
	    {"bounding", &p->caps.bounding},       {"effective", &p->caps.effective},
	    {"inheritable", &p->caps.inheritable}, {"permitted", &p->caps.permitted},
	    {"ambient", &p->caps.ambient},
	};
	int rc = spec_expect_map(r, at, v);

	for (size_t i = 0; !rc && i < ARRAY_SIZE(sets); i++) {
		const json_t *list = json_object_get(v, sets[i].key);

		if (list && !json_is_null(list))
			rc =
			    read_caps(r, &(struct spec_at){at, sets[i].key, 0}, list, sets[i].bits);
	}
	return rc;
}

static const struct spec_name rlimit_names[] = {
    {"RLIMIT_AS", RLIMIT_AS},
    {"RLIMIT_CORE", RLIMIT_CORE},
    {"RLIMIT_CPU", RLIMIT_CPU},
    {"RLIMIT_DATA", RLIMIT_DATA},
    {"RLIMIT_FSIZE", RLIMIT_FSIZE},
    {"RLIMIT_LOCKS", RLIMIT_LOCKS},
    {"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK},
    {"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE},
    {"RLIMIT_NICE", RLIMIT_NICE},
    {"RLIMIT_NOFILE", RLIMIT_NOFILE},
    {"RLIMIT_NPROC", RLIMIT_NPROC},
    {"RLIMIT_RSS", RLIMIT_RSS},
    {"RLIMIT_RTPRIO", RLIMIT_RTPRIO},
    {"RLIMIT_RTTIME", RLIMIT_RTTIME},
    {"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING},
    {"RLIMIT_STACK", RLIMIT_STACK},
    {},
};

static int check_rlimit(struct spec_reader *r, const struct spec_at *at, const json_t *v,
			void *base)
{
	const struct spec_rlimit *l = base;

	if (l->soft > l->hard)
		return spec_fail(r, at, "soft", "is above the hard limit");
	return 0;
}

static const struct spec_field rlimit_fields[] = {
    {"type", K_NAME, AT(struct spec_rlimit, resource), .names = rlimit_names, .required = true},
    {"soft", K_UINT, AT(struct spec_rlimit, soft), .required = true},
    {"hard", K_UINT, AT(struct spec_rlimit, hard), .required = true},
    {},
};
static const struct spec_object rlimit_object = {rlimit_fields, check_rlimit};
static const struct spec_field rlimit_elem = {
    .kind = K_OBJ, .size = sizeof(struct spec_rlimit), .obj = &rlimit_object};

/* linux/sched.h; SCHED_ISO is reserved there and refused by every kernel. */
#define SCHED_ISO_RESERVED 4

static const struct spec_name scheduler_policies[] = {
    {"SCHED_OTHER", SCHED_NORMAL},
    {"SCHED_FIFO", SCHED_FIFO},
    {"SCHED_RR", SCHED_RR},
    {"SCHED_BATCH", SCHED_BATCH},
    {"SCHED_ISO", SCHED_ISO_RESERVED},
    {"SCHED_IDLE", SCHED_IDLE},
    {"SCHED_DEADLINE", SCHED_DEADLINE},
    {},
};

static const struct spec_name scheduler_flags[] = {
    {"SCHED_FLAG_RESET_ON_FORK", SCHED_FLAG_RESET_ON_FORK},
    {"SCHED_FLAG_RECLAIM", SCHED_FLAG_RECLAIM},
    {"SCHED_FLAG_DL_OVERRUN", SCHED_FLAG_DL_OVERRUN},
    {"SCHED_FLAG_KEEP_POLICY", SCHED_FLAG_KEEP_POLICY},
    {"SCHED_FLAG_KEEP_PARAMS", SCHED_FLAG_KEEP_PARAMS},
    {"SCHED_FLAG_UTIL_CLAMP_MIN", SCHED_FLAG_UTIL_CLAMP_MIN},
    {"SCHED_FLAG_UTIL_CLAMP_MAX", SCHED_FLAG_UTIL_CLAMP_MAX},
    {},
};

/* sched_setattr(2) */
static int check_scheduler(struct spec_reader *r, const struct spec_at *at, const json_t *v,
			   void *base)
{
	const struct spec_scheduler *s = base;
	bool nice = s->policy == SCHED_NORMAL || s->policy == SCHED_BATCH;
	bool realtime = s->policy == SCHED_FIFO || s->policy == SCHED_RR;

	if (nice && (s->nice < -20 || s->nice > 19))
		return spec_fail(r, at, "nice", "out of range: -20 to 19");
	if (s->priority && !realtime)
		return spec_fail(r, at, "priority", "only SCHED_FIFO and SCHED_RR have one");
	if (s->policy != SCHED_DEADLINE && (s->runtime || s->deadline || s->period))
		return spec_fail(r, at, NULL,
				 "runtime, deadline and period belong to SCHED_DEADLINE");
	return 0;
}

static const struct spec_field scheduler_fields[] = {
    {"policy", K_NAME, AT(struct spec_scheduler, policy), .names = scheduler_policies,
     .required = true},
    {"nice", K_INT, AT(struct spec_scheduler, nice)},
    {"priority", K_INT, AT(struct spec_scheduler, priority)},
    {"flags", K_FLAGS, AT(struct spec_scheduler, flags), .names = scheduler_flags},
    {"runtime", K_UINT, AT(struct spec_scheduler, runtime)},
    {"deadline", K_UINT, AT(struct spec_scheduler, deadline)},
    {"period", K_UINT, AT(struct spec_scheduler, period)},
    {},
};
static const struct spec_object scheduler_object = {scheduler_fields, check_scheduler};

static const struct spec_name ioprio_classes[] = {
    {"IOPRIO_CLASS_RT", IOPRIO_CLASS_RT},
    {"IOPRIO_CLASS_BE", IOPRIO_CLASS_BE},
    {"IOPRIO_CLASS_IDLE", IOPRIO_CLASS_IDLE},
    {},
};

static int read_ioprio(struct spec_reader *r, const struct spec_at *at, const json_t *v, void *base)
{
	struct {
		int class, priority;
	} io = {0};
	static const struct spec_field fields[] = {
	    {"class", K_NAME, .size = 4, .names = ioprio_classes, .required = true},
	    {"priority", K_INT, .off = 4, .size = 4, .min = 0, .max = 7},
	    {},
	};
	static const struct spec_object object = {fields};
	int rc = spec_read_object(r, at, &object, v, &io);

	if (!rc)
		((struct spec_process *)base)->ioprio =
		    io.class << IOPRIO_CLASS_SHIFT | io.priority;
	return rc;
}

static int check_affinity(struct spec_reader *r, const struct spec_at *at, const json_t *v,
			  void *base)
{
	const struct spec_process *p = base;

	if (p->cpu_affinity_initial && !spec_is_cpu_list(p->cpu_affinity_initial))
		return spec_fail(r, at, "initial", "'%s' is no CPU list", p->cpu_affinity_initial);
	if (p->cpu_affinity_final && !spec_is_cpu_list(p->cpu_affinity_final))
		return spec_fail(r, at, "final", "'%s' is no CPU list", p->cpu_affinity_final);
	return 0;
}

static const struct spec_field affinity_fields[] = {
    {"initial", K_STR, AT(struct spec_process, cpu_affinity_initial)},
    {"final", K_STR, AT(struct spec_process, cpu_affinity_final)},
    {},
};
static const struct spec_object affinity_object = {affinity_fields, check_affinity};

static const struct spec_field gid_elem = {.kind = K_UINT, .size = sizeof(gid_t)};

static const struct spec_field user_fields[] = {
    {"uid", K_UINT, AT(struct spec_user, uid)},
    {"gid", K_UINT, AT(struct spec_user, gid)},
    {"umask", K_UINT, AT(struct spec_user, umask), HAS(struct spec_user, has_umask), .max = 0777},
    {"additionalGids", K_LIST, AT(struct spec_user, additional_gids),
     COUNT(struct spec_user, additional_gids_count), .elem = &gid_elem},
    {},
};
static const struct spec_object user_object = {user_fields};

static const struct spec_field console_fields[] = {
    {"height", K_UINT, AT(struct spec_process, console_height)},
    {"width", K_UINT, AT(struct spec_process, console_width)},
    {},
};
static const struct spec_object console_object = {console_fields};

static int check_process(struct spec_reader *r, const struct spec_at *at, const json_t *v,
			 void *base)
{
	struct spec_process *p = base;

	if (*p->cwd != '/')
		return spec_fail(r, at, "cwd", "'%s' is not an absolute path", p->cwd);
	if (!p->args[0])
		return spec_fail(r, at, "args", "must not be empty");
	if (!p->env)
		p->env = spec_alloc(r->s, 1, sizeof(*p->env));
	for (size_t i = 0; p->env[i]; i++)
		if (*p->env[i] == '=' || !strchr(p->env[i], '='))
			return spec_fail(
			    r, &(struct spec_at){&(struct spec_at){at, "env", 0}, NULL, i}, NULL,
			    "'%s' is not of the form NAME=VALUE", p->env[i]);
	for (size_t i = 0; i < p->rlimits_count; i++)
		for (size_t j = 0; j < i; j++)
			if (p->rlimits[i].resource == p->rlimits[j].resource)
				return spec_fail(r, at, "rlimits",
						 "elements %zu and %zu have the same type", j, i);
	return 0;
}

static const struct spec_field process_fields[] = {
    {"terminal", K_BOOL, AT(struct spec_process, terminal)},
    {"consoleSize", K_OBJ, .obj = &console_object},
    {"user", K_OBJ, AT(struct spec_process, user), .obj = &user_object},
    {"args", K_STRV, AT(struct spec_process, args), .required = true},
    {"env", K_STRV, AT(struct spec_process, env)},
    {"cwd", K_STR, AT(struct spec_process, cwd), .required = true},
    {"capabilities", K_FN, HAS(struct spec_process, has_caps), .fn = read_cap_sets},
    {"rlimits", K_LIST, AT(struct spec_process, rlimits), COUNT(struct spec_process, rlimits_count),
     .elem = &rlimit_elem},
    {"noNewPrivileges", K_BOOL, AT(struct spec_process, no_new_privileges)},
    {"apparmorProfile", K_STR, AT(struct spec_process, apparmor_profile)},
    {"selinuxLabel", K_STR, AT(struct spec_process, selinux_label)},
    {"oomScoreAdj", K_INT, AT(struct spec_process, oom_score_adj),
     HAS(struct spec_process, has_oom_score_adj), .min = -1000, .max = 1000},
    {"scheduler", K_OBJ, AT(struct spec_process, scheduler),
     HAS(struct spec_process, scheduler.present), .obj = &scheduler_object},
    {"ioPriority", K_FN, HAS(struct spec_process, has_ioprio), .fn = read_ioprio},
    {"execCPUAffinity", K_OBJ, .obj = &affinity_object},
    {},
};
const struct spec_object spec_process_object = {process_fields, check_process};
