/* linux.resources as properties of a systemd unit (systemd.resource-control(5),
 * org.freedesktop.systemd1(5)). A property is a JSON array [name, D-Bus signature, value]. */
#include "container/cgroup_devices.h"
#include "container/cgroup_int.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define CPU_PERIOD_DEFAULT_US 100000
#define CPU_SETS_MAX          8192 /* cpus or nodes; the kernel's CONFIG_NR_CPUS at most */
#define ANNOTATION            "org.systemd.property."

static void add(json_t *props, const char *name, const char *signature, json_t *value)
{
	json_array_append_new(props, json_pack("[s, s, o]", name, signature, value));
}

/* D-Bus numbers are unsigned; -1 is systemd's "infinity". JSON has no such number, so they travel
 * as strings. */
static void add_u64(json_t *props, const char *name, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	add(props, name, "t", json_string(text));
}

/* --- devices --- */

static void add_device(json_t *list, const struct device_exception *x)
{
	char path[64], access[4] = "";

	/* systemd knows single devices, all minors of a major, and everything of a type; the rest
	 * is left to our own program, which follows. */
	if (x->major < 0 && x->minor >= 0)
		return;
	if (x->major < 0)
		snprintf(path, sizeof(path), "%s-*", x->type == 'b' ? "block" : "char");
	else if (x->minor < 0)
		snprintf(path, sizeof(path), "%s-%lld", x->type == 'b' ? "block" : "char",
			 (long long)x->major);
	else
		snprintf(path, sizeof(path), "/dev/%s/%lld:%lld", x->type == 'b' ? "block" : "char",
			 (long long)x->major, (long long)x->minor);
	snprintf(access, sizeof(access), "%s%s%s", x->read ? "r" : "", x->write ? "w" : "",
		 x->mknod ? "m" : "");
	json_array_append_new(list, json_pack("[s, s]", path, access));
}

static int add_devices(json_t *props, const struct spec_resources *r, struct err *e)
{
	_device_policy_ struct device_policy p = {0};
	int rc = r->devices_count ? device_policy_build(r->devices, r->devices_count, &p, e) : 0;

	if (rc || !r->devices_count)
		return rc;
	add(props, "DevicePolicy", "s", json_string(p.allow && !p.count ? "auto" : "strict"));
	/* The empty list clears, the next one adds. A policy of denials is beyond systemd: nothing
	 * is allowed until our own program takes over. */
	add(props, "DeviceAllow", "a(ss)", json_array());
	if (!p.allow && p.count) {
		json_t *list = json_array();

		for (size_t i = 0; i < p.count; i++)
			add_device(list, &p.v[i]);
		add(props, "DeviceAllow", "a(ss)", list);
	}
	return 0;
}

/* --- limits --- */

static void add_cpu_quota(json_t *props, int64_t quota, uint64_t period)
{
	uint64_t per_second = UINT64_MAX;

	if (!quota && !period)
		return;
	if (period)
		add_u64(props, "CPUQuotaPeriodUSec", period);
	else
		period = CPU_PERIOD_DEFAULT_US;
	/* systemd counts in whole percents of a CPU: round up, so that groups inside get what they
	 * were promised. */
	if (quota > 0 && (uint64_t)quota <= UINT64_MAX / 1000000)
		per_second = ((uint64_t)quota * 1000000 / period + 9999) / 10000 * 10000;
	add_u64(props, "CPUQuotaPerSecUSec", per_second);
}

int cg_cpu_list_to_bytes(const char *list, uint8_t *bytes, size_t size, size_t *ret_len)
{
	size_t len = 0;

	memset(bytes, 0, size);
	for (const char *p = list; *p;) {
		size_t digits = strspn(p, "0123456789");
		unsigned long first = strtoul(p, NULL, 10), last = first;

		if (!digits || digits > 5)
			return -EINVAL;
		p += digits;
		if (*p == '-') {
			digits = strspn(++p, "0123456789");
			if (!digits || digits > 5)
				return -EINVAL;
			last = strtoul(p, NULL, 10);
			p += digits;
		}
		if (first > last || last / 8 >= size)
			return -EINVAL;
		for (unsigned long i = first; i <= last; i++)
			bytes[i / 8] |= (uint8_t)(1u << i % 8);
		if (last / 8 + 1 > len)
			len = last / 8 + 1;
		if (*p && *p != ',' && *p != '\n')
			return -EINVAL;
		p += strspn(p, ", \n");
	}
	*ret_len = len;
	return len ? 0 : -EINVAL;
}

static int add_set(json_t *props, const char *name, const char *list, struct err *e)
{
	uint8_t bytes[CPU_SETS_MAX / 8];
	size_t len;

	if (!list || !*list)
		return 0;
	if (cg_cpu_list_to_bytes(list, bytes, sizeof(bytes), &len))
		return err_set(e, ERR_SPEC_VALUE, -EINVAL,
			       "linux.resources.cpu: '%s' is no list of numbers", list);
	json_t *array = json_array();

	for (size_t i = 0; i < len; i++)
		json_array_append_new(array, json_integer(bytes[i]));
	add(props, name, "ay", array);
	return 0;
}

static void add_memory_v2(json_t *props, const struct spec_resources *r)
{
	int64_t limit = r->has & RES_MEM_LIMIT ? r->mem_limit : 0;
	int64_t sum = r->has & RES_MEM_SWAP ? r->mem_swap : 0, swap = 0;

	if (limit)
		add_u64(props, "MemoryMax", (uint64_t)limit);
	if ((r->has & RES_MEM_RESERVATION) && r->mem_reservation)
		add_u64(props, "MemoryLow", (uint64_t)r->mem_reservation);
	/* A contradiction is refused, with its reason, when the files are written. */
	if (!cg_swap_v2(sum, limit, &swap) && (swap || sum > 0))
		add_u64(props, "MemorySwapMax", (uint64_t)swap);
}

static void add_unified(json_t *props, const char *file, const char *value)
{
	static const char *const same[][2] = {
	    {"cpu.weight", "CPUWeight"},
	    {"memory.high", "MemoryHigh"},
	    {"memory.low", "MemoryLow"},
	    {"memory.max", "MemoryMax"},
	    {"memory.min", "MemoryMin"},
	    {"memory.swap.max", "MemorySwapMax"},
	    {"memory.zswap.max", "MemoryZSwapMax"},
	    {"pids.max", "TasksMax"},
	};
	unsigned long long quota, period = CPU_PERIOD_DEFAULT_US;
	uint64_t number = UINT64_MAX;

	for (size_t i = 0; i < ARRAY_SIZE(same); i++)
		if (str_eq(file, same[i][0]) &&
		    (str_eq(value, "max") || !str_to_u64(value, &number)))
			add_u64(props, same[i][1], number);
	if (str_eq(file, "cpu.max") && sscanf(value, "%llu %llu", &quota, &period) >= 1 &&
	    quota <= INT64_MAX && period)
		add_cpu_quota(props, (int64_t)quota, period);
}

static int add_limits(const struct cgroup *cg, json_t *props, const struct spec_resources *r,
		      struct err *e)
{
	bool v2 = cg->mode == CGROUP_V2;
	int rc = 0;

	if (v2)
		add_memory_v2(props, r);
	else if ((r->has & RES_MEM_LIMIT) && r->mem_limit)
		add_u64(props, "MemoryLimit", (uint64_t)r->mem_limit);
	if (v2 && (r->has & RES_CPU_IDLE) && r->cpu_idle == 1)
		add_u64(props, "CPUWeight", 0); /* systemd's "idle", since 252 */
	else if ((r->has & RES_CPU_SHARES) && r->cpu_shares)
		add_u64(props, v2 ? "CPUWeight" : "CPUShares",
			v2 ? cg_weight_from_shares(r->cpu_shares) : r->cpu_shares);
	int64_t quota = r->has & RES_CPU_QUOTA ? r->cpu_quota : 0;
	uint64_t period = r->has & RES_CPU_PERIOD ? r->cpu_period : 0;

	if (v2 && *cg->path)
		cg_cpu_max(cg->path, &quota, &period);
	add_cpu_quota(props, quota, period);
	if (!v2 && (r->has & RES_BLKIO_WEIGHT) && r->blkio_weight)
		add_u64(props, "BlockIOWeight", r->blkio_weight);
	if (r->has & RES_PIDS)
		add_u64(props, "TasksMax",
			r->pids_limit < 0 ? UINT64_MAX
			: r->pids_limit   ? (uint64_t)r->pids_limit
					  : 1);
	rc = add_set(props, "AllowedCPUs", r->cpuset_cpus, e);
	if (!rc)
		rc = add_set(props, "AllowedMemoryNodes", r->cpuset_mems, e);
	for (size_t i = 0; v2 && !rc && i < r->unified_count; i++)
		add_unified(props, r->unified[i].key, r->unified[i].value);
	return rc;
}

/* --- annotations --- */

/* One scalar in GVariant's text form: true, 'text', "text", 12, -1, 0.5, uint64 12. */
static json_t *scalar(const char *text, size_t len, const char **ret_signature)
{
	static const char *const typed[][2] = {
	    {"byte ", "y"},    {"int16 ", "n"},  {"uint16 ", "q"}, {"int32 ", "i"},
	    {"uint32 ", "u"},  {"int64 ", "x"},  {"uint64 ", "t"}, {"double ", "d"},
	    {"boolean ", "b"}, {"string ", "s"},
	};
	const char *forced = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(typed); i++)
		if (len > strlen(typed[i][0]) && str_after(text, typed[i][0])) {
			forced = typed[i][1];
			len -= strlen(typed[i][0]);
			text += strlen(typed[i][0]);
			break;
		}
	if (len >= 2 && (*text == '\'' || *text == '"') && text[len - 1] == *text) {
		*ret_signature = "s";
		return forced && !str_eq(forced, "s") ? NULL : json_stringn(text + 1, len - 2);
	}
	if ((len == 4 && !memcmp(text, "true", 4)) || (len == 5 && !memcmp(text, "false", 5))) {
		*ret_signature = "b";
		return forced && !str_eq(forced, "b") ? NULL : json_boolean(len == 4);
	}
	if (!len || strspn(text, "+-.0123456789") < len || (forced && strchr("sb", *forced)))
		return NULL;
	*ret_signature = forced ? forced : memchr(text, '.', len) ? "d" : "i";
	return json_stringn(text, len);
}

/* A scalar, or an array of scalars of one type: ['a', 'b']. */
static json_t *annotation_value(const char *text, char signature[3])
{
	const char *sig = NULL;
	size_t len = strlen(text);

	if (len < 2 || text[0] != '[' || text[len - 1] != ']') {
		json_t *one = scalar(text, len, &sig);

		snprintf(signature, 3, "%s", one ? sig : "");
		return one;
	}
	json_t *array = json_array();
	const char *end = text + len - 1;

	for (const char *p = text + 1; p < end;) {
		p += strspn(p, " ");
		const char *quote_end = *p == '\'' || *p == '"' ? strchr(p + 1, *p) : NULL;
		size_t n = quote_end ? (size_t)(quote_end + 1 - p) : strcspn(p, ", ]");
		const char *one_sig = NULL;
		json_t *one = p + n <= end ? scalar(p, n, &one_sig) : NULL;

		if (!one || (sig && !str_eq(sig, one_sig))) {
			json_decref(one);
			json_decref(array);
			return NULL;
		}
		sig = one_sig;
		json_array_append_new(array, one);
		p += n;
		p += strspn(p, " ,");
	}
	snprintf(signature, 3, "a%s", sig ? sig : "s");
	return array;
}

/* Seconds to the microseconds that D-Bus has: TimeoutStopSec=5 is TimeoutStopUSec=5000000. */
static json_t *to_usec(json_t *value)
{
	const char *text = json_string_value(value);
	char usec[24], *end = NULL;
	double seconds = text ? strtod(text, &end) : -1;
	bool number = end && end != text && !*end && seconds >= 0 && seconds <= 1e12;

	json_decref(value);
	if (!number)
		return NULL;
	snprintf(usec, sizeof(usec), "%llu", (unsigned long long)(seconds * 1e6));
	return json_string(usec);
}

/* org.systemd.property.NAME = VALUE: a property of the scope in the user's own words. */
static int add_annotation(json_t *props, const struct spec_kv *a, struct err *e)
{
	const char *name = str_after(a->key, ANNOTATION);
	char signature[3], usec_name[128];
	size_t len = name ? strlen(name) : 0;

	if (!name)
		return 0;
	json_t *value = annotation_value(a->value, signature);
	bool plain = len >= 3 && len < sizeof(usec_name) - 2 &&
		     strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") == len;

	if (plain && value && len > 3 && str_eq(name + len - 3, "Sec") && name[len - 4] >= 'a' &&
	    name[len - 4] <= 'z') {
		snprintf(usec_name, sizeof(usec_name), "%.*sUSec", (int)len - 3, name);
		name = usec_name;
		strcpy(signature, "t");
		value = to_usec(value);
	}
	if (plain && value) {
		add(props, name, signature, value);
		return 0;
	}
	json_decref(value);
	return err_set(e, ERR_SPEC_VALUE, -EINVAL,
		       "annotation '%s': '%s' makes no property of systemd", a->key, a->value);
}

/* --- the two lists --- */

int cg_systemd_limit_properties(const struct cgroup *cg, const struct spec_resources *r,
				json_t **ret, struct err *e)
{
	json_t *props = json_array();
	int rc = add_limits(cg, props, r, e);

	if (rc)
		json_decref(props);
	else
		*ret = props;
	return rc;
}

static void add_identity(const struct cgroup *cg, json_t *props, pid_t pid)
{
	static const char *const yes[] = {"MemoryAccounting", "CPUAccounting", "TasksAccounting"};
	bool slice = strstr(cg->unit, ".slice") != NULL;

	add(props, "Description", "s", json_sprintf("container %s", cg->unit));
	if (slice) {
		add(props, "Wants", "as", json_pack("[s]", cg->slice));
	} else {
		add(props, "Slice", "s", json_string(cg->slice));
		add(props, "Delegate", "b", json_true());
	}
	if (pid > 0)
		add(props, "PIDs", "au", json_pack("[o]", json_sprintf("%d", pid)));
	for (size_t i = 0; i < ARRAY_SIZE(yes); i++)
		add(props, yes[i], "b", json_true());
	add(props, cg->mode == CGROUP_V2 ? "IOAccounting" : "BlockIOAccounting", "b", json_true());
	add(props, "DefaultDependencies", "b", json_false());
}

int cg_systemd_start_properties(const struct cgroup *cg, const struct spec *spec, pid_t pid,
				json_t **ret, struct err *e)
{
	json_t *props = json_array();
	int rc = 0;

	add_identity(cg, props, pid);
	for (size_t i = 0; !rc && i < spec->annotations_count; i++)
		rc = add_annotation(props, &spec->annotations[i], e);
	if (!rc)
		rc = add_devices(props, &spec->resources, e);
	if (!rc)
		rc = add_limits(cg, props, &spec->resources, e);
	if (rc)
		json_decref(props);
	else
		*ret = props;
	return rc;
}
