/* Control groups without a kernel: where they are, what values become, what systemd is told. The v2
 * files are plain ones in a temporary directory here; the real ones are tested in the guest
 * (test/system/guest/cgroup2.bats). */
#include "test.h"
#include "tmpdir.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "container/cgroup_devices.h"
#include "container/cgroup_int.h"
#include "os/path.h"

#include <fcntl.h>
#include <jansson.h>

/* --- paths --- */

static void assert_join(const char *base, const char *path, const char *want)
{
	char out[CGROUP_PATH_MAX];

	assert_int_equal(cg_path_join(out, base, path), 0);
	assert_string_equal(out, want);
}

static void paths_never_climb(void **state)
{
	assert_join("/sys/fs/cgroup", "a/b", "/sys/fs/cgroup/a/b");
	assert_join("/sys/fs/cgroup/", "/a//b/", "/sys/fs/cgroup/a/b");
	assert_join("/m", "../../etc", "/m/etc");
	assert_join("/m", "a/../../../b/./c", "/m/b/c");
	assert_join("/m", "..", "/m");
	assert_join("/m", "...", "/m/...");
	assert_join("", "/a/..", "");

	char out[CGROUP_PATH_MAX];
	_free_ char *longest = mem_alloc(CGROUP_PATH_MAX + 1);

	memset(longest, 'x', CGROUP_PATH_MAX);
	assert_int_equal(cg_path_join(out, "/m", longest), -ENAMETOOLONG);
	longest[CGROUP_PATH_MAX - 4] = '\0'; /* with "/m/" and NUL: just fits */
	assert_int_equal(cg_path_join(out, "/m", longest), 0);
}

static struct cgroup_host *parse(const char *own, const char *mounts)
{
	struct cgroup_host *h = mem_alloc(sizeof(*h));
	_free_ char *a = mem_strdup(own), *b = mem_strdup(mounts);

	cgroup_host_parse(a, b, h);
	return h;
}

static void host_v2(void **state)
{
	_free_ struct cgroup_host *h =
	    parse("0::/user.slice/s.scope\n",
		  "25 1 0:23 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n");

	assert_int_equal(h->mode, CGROUP_V2);
	assert_string_equal(h->unified, "/sys/fs/cgroup");
	assert_string_equal(h->unified_own, "/user.slice/s.scope");
	assert_int_equal(h->v1_count, 0);
}

static void host_hybrid(void **state)
{
	_free_ struct cgroup_host *h =
	    parse("12:pids:/\n11:cpu,cpuacct:/a b\n10:freezer:/gone\n1:name=systemd:/x\n0::/x\n",
		  "30 1 0:26 / /sys/fs/cgroup ro shared:9 - tmpfs tmpfs ro,mode=755\n"
		  "31 30 0:27 / /sys/fs/cgroup/unified rw shared:10 - cgroup2 cgroup2 rw\n"
		  "32 30 0:28 / /sys/fs/cgroup/systemd rw shared:11 - cgroup cgroup "
		  "rw,xattr,name=systemd\n"
		  "33 30 0:29 / /mnt/odd\\040place rw - cgroup cgroup rw,cpu,cpuacct\n"
		  "34 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
		  "35 30 0:30 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
		  "36 30 0:30 / /mnt/pids rw - cgroup cgroup rw,pids\n");

	assert_int_equal(h->mode, CGROUP_V1);
	assert_true(h->hybrid);
	assert_int_equal(h->v1_count, 3); /* freezer is not mounted */
	assert_string_equal(h->v1[0].mountpoint, "/sys/fs/cgroup/pids");
	assert_string_equal(h->v1[1].controllers, "cpu,cpuacct");
	assert_string_equal(h->v1[1].mountpoint, "/sys/fs/cgroup/cpu,cpuacct");
	assert_string_equal(h->v1[1].own_path, "/a b");
	assert_string_equal(h->v1[2].controllers, "name=systemd");
	assert_string_equal(h->unified, "/sys/fs/cgroup/unified");
}

/* A v2 mount over the v1 hierarchies: they are still listed, and out of reach. */
static void host_overmounted(void **state)
{
	_free_ struct cgroup_host *h = parse(
	    "2:pids:/\n0::/\n", "30 1 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
				"31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
				"35 30 0:30 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
				"40 30 0:27 / /sys/fs/cgroup rw - cgroup2 none rw\n");

	assert_int_equal(h->mode, CGROUP_V2);
	assert_string_equal(h->unified, "/sys/fs/cgroup");
}

/* Docker in Docker without a cgroup namespace: the paths are the host's, the mounts begin at the
 * container's group. */
static void host_nested(void **state)
{
	_free_ struct cgroup_host *h =
	    parse("3:memory:/docker/abc/inner\n2:pids:/docker/abc\n1:cpu:/elsewhere\n",
		  "50 1 0:28 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
		  "51 1 0:29 /docker/abc /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
		  "52 1 0:30 /docker/abc /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n");

	assert_string_equal(h->v1[0].own_path, "/inner");
	assert_string_equal(h->v1[1].own_path, "/");
	assert_string_equal(h->v1[2].own_path, "/");
}

static void host_none(void **state)
{
	_free_ struct cgroup_host *h =
	    parse("garbage\n::\n1:a\n", "1 2 3\n- - - -\n\n1 2 3 4 5 6 - cgroup\n");

	assert_int_equal(h->mode, CGROUP_NONE);
	assert_int_equal(h->v1_count, 0);
}

/* --- values --- */

static void conversions(void **state)
{
	int64_t swap;

	assert_int_equal(cg_weight_from_shares(0), 0);
	assert_int_equal(cg_weight_from_shares(1), 1);
	assert_int_equal(cg_weight_from_shares(2), 1);
	assert_int_equal(cg_weight_from_shares(1024), 39);
	assert_int_equal(cg_weight_from_shares(262144), 10000);
	assert_int_equal(cg_weight_from_shares(UINT64_MAX), 10000);
	assert_int_equal(cg_io_weight_from_blkio(0), 0);
	assert_int_equal(cg_io_weight_from_blkio(10), 1);
	assert_int_equal(cg_io_weight_from_blkio(1000), 10000);

	assert_int_equal(cg_swap_v2(0, 100, &swap), 0);
	assert_int_equal(swap, 0);
	assert_int_equal(cg_swap_v2(300, 100, &swap), 0);
	assert_int_equal(swap, 200);
	assert_int_equal(cg_swap_v2(-1, 100, &swap), 0);
	assert_int_equal(swap, -1);
	assert_int_equal(cg_swap_v2(0, -1, &swap), 0);
	assert_int_equal(swap, -1);
	assert_int_equal(cg_swap_v2(50, -1, &swap), 0);
	assert_int_equal(swap, 50);
	assert_int_equal(cg_swap_v2(50, 0, &swap), -EINVAL);
	assert_int_equal(cg_swap_v2(50, 100, &swap), -EINVAL);
}

static void cpu_lists(void **state)
{
	uint8_t bits[4];
	size_t len;

	assert_int_equal(cg_cpu_list_to_bytes("0-3,8", bits, sizeof(bits), &len), 0);
	assert_int_equal(len, 2);
	assert_int_equal(bits[0], 0x0f);
	assert_int_equal(bits[1], 0x01);
	assert_int_equal(cg_cpu_list_to_bytes("31\n", bits, sizeof(bits), &len), 0);
	assert_int_equal(len, 4);
	assert_int_equal(bits[3], 0x80);
	static const char *const bad[] = {"",   "32", "3-1", "a",
					  "1-", "-1", "1;2", "99999999999999999999"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(cg_cpu_list_to_bytes(bad[i], bits, sizeof(bits), &len), -EINVAL);
}

/* --- v2 files --- */

static struct cgroup fake_v2(const char *dir, const char *const *files)
{
	struct cgroup cg = {.mode = CGROUP_V2, .fd = -1};

	snprintf(cg.path, sizeof(cg.path), "%s", dir);
	for (; *files; files++) {
		_free_ char *path = mem_printf("%s/%s", dir, *files);

		assert_ok(path_replace(AT_FDCWD, path, "", 0, 0600, false));
	}
	return cg;
}

static void assert_has(const struct cgroup *cg, const char *file, const char *want)
{
	_buf_ struct buf b = {0};

	assert_ok(cg_read(cg->path, file, &b));
	assert_string_equal(buf_str(&b), want);
}

static void v2_files(void **state)
{
	static const char *const files[] = {
	    "memory.max",    "memory.low",      "memory.swap.max", "cpu.weight",  "cpu.max",
	    "cpu.max.burst", "cpu.idle",        "cpuset.cpus",     "pids.max",    "io.max",
	    "io.weight",     "hugetlb.2MB.max", "rdma.max",        "memory.high", NULL};
	_tmpdir_ struct tmpdir tmp = tmpdir_new();
	const char *dir = tmp.path;
	struct cgroup cg = fake_v2(dir, files);
	struct spec_blkio_device rate = {8, 16, 1048576, 0};
	struct spec_kv unified = {(char *)"memory.high", (char *)"12345"};
	__typeof__(*((struct spec_resources *)0)->hugepages) huge = {(char *)"2MB", 4 << 20};
	__typeof__(*((struct spec_resources *)0)->rdma) rdma = {(char *)"mlx5_0", true, true, 2,
								2000};
	struct spec_resources r = {.has = RES_MEM_LIMIT | RES_MEM_SWAP | RES_MEM_RESERVATION |
					  RES_CPU_SHARES | RES_CPU_QUOTA | RES_CPU_BURST |
					  RES_CPU_IDLE | RES_PIDS | RES_BLKIO_WEIGHT,
				   .mem_limit = 1000,
				   .mem_swap = 3000,
				   .mem_reservation = 500,
				   .cpu_shares = 1024,
				   .cpu_quota = 50000,
				   .cpu_burst = 7,
				   .cpu_idle = 1,
				   .cpuset_cpus = (char *)"0-1",
				   .pids_limit = -1,
				   .blkio_weight = 1000,
				   .blkio_read_bps = {&rate, 1},
				   .hugepages = &huge,
				   .hugepages_count = 1,
				   .rdma = &rdma,
				   .rdma_count = 1,
				   .unified = &unified,
				   .unified_count = 1};
	struct err e = {0};

	assert_ok(cg_v2_limits(&cg, &r, &e));
	assert_has(&cg, "memory.max", "1000");
	assert_has(&cg, "memory.swap.max", "2000");
	assert_has(&cg, "memory.low", "500");
	assert_has(&cg, "cpu.weight", "39");
	assert_has(&cg, "cpu.max", "50000 100000");
	assert_has(&cg, "cpu.max.burst", "7");
	assert_has(&cg, "cpu.idle", "1");
	assert_has(&cg, "cpuset.cpus", "0-1");
	assert_has(&cg, "pids.max", "max");
	assert_has(&cg, "io.max", "8:16 rbps=1048576");
	assert_has(&cg, "io.weight", "10000");
	assert_has(&cg, "hugetlb.2MB.max", "4194304");
	assert_has(&cg, "rdma.max", "mlx5_0 hca_handle=2 hca_object=2000");
	assert_has(&cg, "memory.high", "12345");

	/* An update of one half keeps the other. */
	struct spec_resources period = {.has = RES_CPU_PERIOD, .cpu_period = 200000};

	assert_ok(cg_v2_limits(&cg, &period, &e));
	assert_has(&cg, "cpu.max", "50000 200000");
}

static void v2_refusals(void **state)
{
	static const char *const files[] = {"memory.max", "memory.current", NULL};
	_tmpdir_ struct tmpdir tmp = tmpdir_new();
	const char *dir = tmp.path;
	struct cgroup cg = fake_v2(dir, files);
	struct spec_resources swap = {
	    .has = RES_MEM_LIMIT | RES_MEM_SWAP, .mem_limit = 10, .mem_swap = 5};
	struct spec_resources missing = {.has = RES_PIDS, .pids_limit = 5};
	struct spec_resources no_swap = {
	    .has = RES_MEM_LIMIT | RES_MEM_SWAP, .mem_limit = 10, .mem_swap = 10};
	struct spec_kv outside = {(char *)"../x", (char *)"1"};
	struct spec_resources unified = {.unified = &outside, .unified_count = 1};
	struct err e = {0};

	assert_int_equal(cg_v2_limits(&cg, &swap, &e), -EINVAL);
	assert_int_equal(e.code, ERR_SPEC_VALUE);
	assert_int_equal(cg_v2_limits(&cg, &missing, &e), -ENOENT);
	assert_int_equal(e.code, ERR_CG_LIMIT);
	assert_non_null(strstr(e.msg, "'pids.max' to '5'"));
	assert_int_equal(cg_v2_limits(&cg, &unified, &e), -EINVAL);
	/* No swap accounting: to forbid swap is to ask for nothing. */
	assert_ok(cg_v2_limits(&cg, &no_swap, &e));

	struct spec_resources checked = {.has = RES_MEM_LIMIT | RES_MEM_CHECK,
					 .mem_limit = 100,
					 .mem_check_before_update = true};

	assert_ok(cg_write(dir, "memory.current", "101"));
	assert_int_equal(cg_v2_limits(&cg, &checked, &e), -EBUSY);
	assert_non_null(strstr(e.msg, "rejecting memory limit"));
}

/* --- devices --- */

#define RULE(allow_, type_, major_, minor_, access)                                        \
	{                                                                                  \
		.allow = allow_, .type = type_, .major = major_, .minor = minor_,          \
		.read = strchr(access, 'r') != NULL, .write = strchr(access, 'w') != NULL, \
		.mknod = strchr(access, 'm') != NULL                                       \
	}

static void device_rules_reduce(void **state)
{
	const struct spec_device_rule rules[] = {
	    RULE(true, 'c', 7, 7, "rwm"),  RULE(false, 'a', -1, -1, "rwm"), /* voids the first */
	    RULE(true, 'c', 1, 3, "r"),    RULE(true, 'c', 1, 3, "w"),      /* one exception */
	    RULE(true, 'b', 8, -1, "rwm"), RULE(false, 'b', 8, -1, "m"),
	    RULE(true, 'c', 5, 0, "rwm"),  RULE(false, 'c', 5, 0, "rwm"), /* gone again */
	};
	_device_policy_ struct device_policy p = {0};

	assert_ok(device_policy_build(rules, ARRAY_SIZE(rules), &p, NULL));
	assert_false(p.allow);
	assert_int_equal(p.count, 2);
	assert_true(p.v[0].read && p.v[0].write && !p.v[0].mknod);
	assert_int_equal(p.v[1].type, 'b');
	assert_true(p.v[1].read && p.v[1].write && !p.v[1].mknod);
}

static void device_rules_without_effect_are_refused(void **state)
{
	const struct spec_device_rule hole[] = {RULE(true, 'c', 1, -1, "rw"),
						RULE(false, 'c', 1, 3, "w")};
	const struct spec_device_rule fine[] = {RULE(true, 'c', 1, -1, "r"),
						RULE(false, 'c', 1, 3, "w")};
	const struct spec_device_rule pipe_rule[] = {RULE(true, 'p', 1, 3, "w")};
	_device_policy_ struct device_policy p = {0};
	struct err e = {0};

	assert_int_equal(device_policy_build(hole, 2, &p, &e), -EINVAL);
	assert_int_equal(e.code, ERR_SPEC_VALUE);
	assert_int_equal(device_policy_build(pipe_rule, 1, &p, &e), -EINVAL);
	assert_ok(device_policy_build(fine, 2, &p, &e));
	assert_int_equal(p.count, 1);
}

/* --- systemd --- */

static void scope_names(void **state)
{
	static const struct {
		const char *path;
		bool rootless;
		const char *slice, *unit;
	} good[] = {
	    {NULL, false, "system.slice", "viv-web.scope"},
	    {NULL, true, "user.slice", "viv-web.scope"},
	    {"machine.slice:libpod:123", false, "machine.slice", "libpod-123.scope"},
	    {":libpod:123", true, "user.slice", "libpod-123.scope"},
	    {"a.slice:x:a-b.slice", false, "a.slice", "a-b.slice"},
	};
	static const char *const bad[] = {"/a/b",       "a:b",           "a:b:c:d",
					  "a.slice:p:", "a/b.slice:p:n", "s:p:../n"};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct spec spec = {.cgroups_path = (char *)good[i].path};
		struct cgroup cg = {.rootless = good[i].rootless};

		assert_ok(cg_systemd_init(&cg, &spec, "web", NULL));
		assert_string_equal(cg.slice, good[i].slice);
		assert_string_equal(cg.unit, good[i].unit);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct spec spec = {.cgroups_path = (char *)bad[i]};
		struct cgroup cg = {0};

		assert_int_equal(cg_systemd_init(&cg, &spec, "web", NULL), -EINVAL);
	}
}

/* The value of a property as compact JSON with its signature, or "". The last one counts, as in
 * systemd. */
static char *property(json_t *props, const char *name)
{
	char *found = mem_strdup("");
	size_t i;
	json_t *p;

	json_array_foreach (props, i, p) {
		if (strcmp(json_string_value(json_array_get(p, 0)), name))
			continue;
		_free_ char *value =
		    json_dumps(json_array_get(p, 2), JSON_COMPACT | JSON_ENCODE_ANY);

		free(found);
		found = mem_printf("%s %s", json_string_value(json_array_get(p, 1)), value);
	}
	return found;
}

static void assert_property(json_t *props, const char *name, const char *want)
{
	_free_ char *is = property(props, name);

	assert_string_equal(is, want);
}

static void scope_properties(void **state)
{
	struct spec_device_rule rules[] = {
	    RULE(false, 'a', -1, -1, "rwm"), RULE(true, 'c', 1, 3, "rwm"),
	    RULE(true, 'c', 136, -1, "rw"), RULE(true, 'b', -1, -1, "m"),
	    RULE(true, 'c', -1, 9, "m")};
	struct spec_kv annotations[] = {
	    {(char *)"org.systemd.property.TimeoutStopSec", (char *)"2.5"},
	    {(char *)"org.systemd.property.CollectMode", (char *)"'inactive-or-failed'"},
	    {(char *)"org.systemd.property.Before", (char *)"['a.service', \"b, c\"]"},
	    {(char *)"org.systemd.property.CPUWeight", (char *)"uint64 7"},
	    {(char *)"other", (char *)"((("},
	};
	struct spec spec = {
	    .annotations = annotations,
	    .annotations_count = ARRAY_SIZE(annotations),
	    .resources = {.has = RES_MEM_LIMIT | RES_MEM_SWAP | RES_CPU_QUOTA | RES_PIDS,
			  .mem_limit = 1000,
			  .mem_swap = 1500,
			  .cpu_quota = 12345,
			  .pids_limit = -1,
			  .cpuset_cpus = (char *)"0,9",
			  .devices = rules,
			  .devices_count = ARRAY_SIZE(rules)}};
	struct cgroup cg = {.mode = CGROUP_V2, .unit = "viv-x.scope", .slice = "s.slice"};
	json_t *props;

	assert_ok(cg_systemd_start_properties(&cg, &spec, 42, &props, NULL));
	assert_property(props, "Slice", "s \"s.slice\"");
	assert_property(props, "PIDs", "au [\"42\"]");
	assert_property(props, "Delegate", "b true");
	assert_property(props, "DefaultDependencies", "b false");
	assert_property(props, "MemoryMax", "t \"1000\"");
	assert_property(props, "MemorySwapMax", "t \"500\"");
	assert_property(props, "CPUQuotaPerSecUSec", "t \"130000\""); /* 12.345 % is 13 % */
	assert_property(props, "TasksMax", "t \"18446744073709551615\"");
	assert_property(props, "AllowedCPUs", "ay [1,2]");
	assert_property(props, "DevicePolicy", "s \"strict\"");
	assert_property(
	    props, "DeviceAllow",
	    "a(ss) [[\"/dev/char/1:3\",\"rwm\"],[\"char-136\",\"rw\"],[\"block-*\",\"m\"]]");
	assert_property(props, "TimeoutStopUSec", "t \"2500000\"");
	assert_property(props, "CollectMode", "s \"inactive-or-failed\"");
	assert_property(props, "Before", "as [\"a.service\",\"b, c\"]");
	assert_property(props, "CPUWeight", "t \"7\"");
	json_decref(props);

	/* v1 has other names. */
	cg.mode = CGROUP_V1;
	assert_ok(cg_systemd_limit_properties(&cg, &spec.resources, &props, NULL));
	assert_property(props, "MemoryLimit", "t \"1000\"");
	assert_property(props, "MemoryMax", "");
	json_decref(props);
}

static void scope_annotations_are_checked(void **state)
{
	static const char *const bad[][2] = {
	    {"org.systemd.property.", "1"},
	    {"org.systemd.property.a-b", "1"},
	    {"org.systemd.property.Name", ""},
	    {"org.systemd.property.Name", "unquoted"},
	    {"org.systemd.property.Name", "['a', 1]"},
	    {"org.systemd.property.Name", "['a'"},
	    {"org.systemd.property.StopSec", "'x'"},
	    {"org.systemd.property.Name", "[[1]]"},
	    {"org.systemd.property.Name", "'"},
	    {"org.systemd.property.Name", "uint64 'x'"},
	    {"org.systemd.property.Name", "['a"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct spec_kv a = {(char *)bad[i][0], (char *)bad[i][1]};
		struct spec spec = {.annotations = &a, .annotations_count = 1};
		struct cgroup cg = {.mode = CGROUP_V2, .unit = "u.scope", .slice = "s.slice"};
		json_t *props;

		if (cg_systemd_start_properties(&cg, &spec, 0, &props, NULL) != -EINVAL)
			fail_msg("'%s' = '%s' was accepted", a.key, a.value);
	}
}

/* --- state --- */

static void stored_paths_are_checked(void **state)
{
	static const char *const bad[] = {"/", "relative", "/sys/../etc", "/a//b", "", "/a/."};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		json_t *j = json_pack("{s:s, s:b, s:b, s:b, s:s, s:s, s:{s:s}}", "mode", "v1",
				      "systemd", 0, "made", 1, "rootless", 0, "unit", "", "slice",
				      "", "paths", "cpu", bad[i]);
		struct cgroup cg;
		struct err e = {0};

		assert_int_equal(cgroup_from_json(&cg, j, &e), -EBADMSG);
		assert_int_equal(e.code, ERR_STATE_CORRUPT);
		json_decref(j);
	}
}

/* Before systemd has named the group there is no directory, and none that could be removed by
 * mistake. */
static void scope_without_a_group(void **state)
{
	struct cgroup cg = {.mode = CGROUP_V2, .systemd = true, .unit = "u.scope", .fd = -1}, again;
	json_t *j = cgroup_to_json(&cg);

	assert_ok(cgroup_from_json(&again, j, NULL));
	assert_string_equal(again.unit, "u.scope");
	assert_string_equal(again.path, "");
	assert_null(cg_main_dir(&again));
	assert_false(cgroup_exists(&again));
	json_decref(j);
}

int main(void)
{
	return TEST_RUN(
	    "cgroup", cmocka_unit_test(paths_never_climb), cmocka_unit_test(host_v2),
	    cmocka_unit_test(host_hybrid), cmocka_unit_test(host_overmounted),
	    cmocka_unit_test(host_nested), cmocka_unit_test(host_none),
	    cmocka_unit_test(conversions), cmocka_unit_test(cpu_lists), cmocka_unit_test(v2_files),
	    cmocka_unit_test(v2_refusals), cmocka_unit_test(device_rules_reduce),
	    cmocka_unit_test(device_rules_without_effect_are_refused),
	    cmocka_unit_test(scope_names), cmocka_unit_test(scope_properties),
	    cmocka_unit_test(scope_annotations_are_checked),
	    cmocka_unit_test(stored_paths_are_checked), cmocka_unit_test(scope_without_a_group));
}
