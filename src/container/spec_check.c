/* Rules that join fields of different objects: what needs which namespace. */
#include "container/spec_int.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <string.h>

static bool has_ns(const struct spec *s, enum spec_ns ns)
{
	return s->ns[ns].present;
}

static bool is_new(const struct spec *s, enum spec_ns ns)
{
	return s->ns[ns].present && !s->ns[ns].path;
}

static int check_names(struct spec_reader *r, const struct spec *s, const struct spec_at *linux_at)
{
	if (s->hostname && !has_ns(s, SPEC_NS_UTS))
		return spec_fail(r, NULL, "hostname", "needs a uts namespace");
	if (s->domainname && !has_ns(s, SPEC_NS_UTS))
		return spec_fail(r, NULL, "domainname", "needs a uts namespace");
	if (s->masked_paths && s->masked_paths[0] && !has_ns(s, SPEC_NS_MOUNT))
		return spec_fail(r, linux_at, "maskedPaths", "needs a mount namespace");
	if (s->readonly_paths && s->readonly_paths[0] && !has_ns(s, SPEC_NS_MOUNT))
		return spec_fail(r, linux_at, "readonlyPaths", "needs a mount namespace");
	if (s->net_devices_count && !has_ns(s, SPEC_NS_NETWORK))
		return spec_fail(r, linux_at, "netDevices", "needs a network namespace");
	return 0;
}

/* Mappings beside the path of a user namespace are the caller's to compare with it: containerd and
 * CRI-O write both. */
static int check_user_ns(struct spec_reader *r, const struct spec *s,
			 const struct spec_at *linux_at)
{
	if (!has_ns(s, SPEC_NS_USER) && (s->idmaps.uid_count || s->idmaps.gid_count))
		return spec_fail(r, linux_at, s->idmaps.uid_count ? "uidMappings" : "gidMappings",
				 "needs a user namespace");
	if (is_new(s, SPEC_NS_USER) && !s->idmaps.uid_count)
		return spec_fail(r, linux_at, "uidMappings",
				 "missing; a new user namespace needs it");
	if (is_new(s, SPEC_NS_USER) && !s->idmaps.gid_count)
		return spec_fail(r, linux_at, "gidMappings",
				 "missing; a new user namespace needs it");
	for (size_t i = 0; i < s->mounts_count; i++) {
		const struct spec_mount *m = &s->mounts[i];
		struct spec_at mounts = {NULL, "mounts", 0};

		if (m->idmap && !m->idmaps.uid_count && !has_ns(s, SPEC_NS_USER))
			return spec_fail(
			    r, &(struct spec_at){&mounts, NULL, i}, NULL,
			    "idmap needs uidMappings and gidMappings, or a user namespace");
	}
	return 0;
}

static int check_time_ns(struct spec_reader *r, const struct spec *s,
			 const struct spec_at *linux_at)
{
	if ((s->time_monotonic.given || s->time_boottime.given) && !is_new(s, SPEC_NS_TIME))
		return spec_fail(r, linux_at, "timeOffsets", "needs a new time namespace");
	return 0;
}

/* sysctl(8): the first separator decides which of '.' and '/' separates; the other one is then part
 * of a name, as in net/ipv4/conf/eno2.100 = net.ipv4.conf.eno2/100. Makes it a path. */
static bool sysctl_path(char *key)
{
	const char *first = strpbrk(key, "./");

	if (first && *first == '.')
		for (char *p = key; *p; p++)
			*p = *p == '.' ? '/' : *p == '/' ? '.' : *p;
	for (const char *p = key;; p++) {
		size_t n = strcspn(p, "/");

		if (!n || (n <= 2 && !strncmp(p, "..", n)))
			return false;
		p += n;
		if (!*p)
			return true;
	}
}

/* /proc/sys is not namespaced as a whole: a key is allowed where a namespace of the container holds
 * it. */
static int check_sysctl(struct spec_reader *r, const struct spec *s, const struct spec_at *at,
			const char *key)
{
	static const struct {
		const char *prefix;
		bool whole;
		enum spec_ns ns;
	} rules[] = {
	    {"kernel/msgmax", true, SPEC_NS_IPC},     {"kernel/msgmnb", true, SPEC_NS_IPC},
	    {"kernel/msgmni", true, SPEC_NS_IPC},     {"kernel/sem", true, SPEC_NS_IPC},
	    {"kernel/shmall", true, SPEC_NS_IPC},     {"kernel/shmmax", true, SPEC_NS_IPC},
	    {"kernel/shmmni", true, SPEC_NS_IPC},     {"kernel/shm_rmid_forced", true, SPEC_NS_IPC},
	    {"fs/mqueue/", false, SPEC_NS_IPC},       {"net/", false, SPEC_NS_NETWORK},
	    {"kernel/domainname", true, SPEC_NS_UTS}, {"user/", false, SPEC_NS_USER},
	};

	if (str_eq(key, "kernel/hostname"))
		return spec_fail(r, at, NULL, "conflicts with the field hostname");
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		const char *rest = str_after(key, rules[i].prefix);

		if (!rest || (rules[i].whole && *rest))
			continue;
		if (has_ns(s, rules[i].ns))
			return 0;
		return spec_fail(r, at, NULL, "needs a %s namespace",
				 spec_ns_info[rules[i].ns].name);
	}
	return spec_fail(r, at, NULL, "is not in a namespace of the container");
}

static int check_sysctls(struct spec_reader *r, const struct spec *s,
			 const struct spec_at *linux_at)
{
	struct spec_at sysctl = {linux_at, "sysctl", 0};

	for (size_t i = 0; i < s->sysctl_count; i++) {
		struct spec_at item = {&sysctl, s->sysctl[i].key, 0};

		if (!sysctl_path(s->sysctl[i].key))
			return spec_fail(r, &sysctl, NULL, "'%s' is malformed", s->sysctl[i].key);
		int rc = check_sysctl(r, s, &item, s->sysctl[i].key);

		if (rc < 0)
			return rc;
	}
	return 0;
}

int spec_check(struct spec_reader *r)
{
	static const struct spec_at linux_at = {NULL, "linux", 0};
	static int (*const checks[])(struct spec_reader *, const struct spec *,
				     const struct spec_at *) = {
	    check_names,
	    check_user_ns,
	    check_time_ns,
	    check_sysctls,
	};
	int rc = 0;

	for (size_t i = 0; !rc && i < ARRAY_SIZE(checks); i++)
		rc = checks[i](r, r->s, &linux_at);
	return rc;
}
