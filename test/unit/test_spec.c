#include "test.h"

#include <errno.h>
#include <linux/ioprio.h>
#include <linux/mempolicy.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <linux/seccomp.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/resource.h>

#include "specs.h"

static void process_of_everything(void **state)
{
	_spec_ struct spec *s = specs_file("everything.json");
	const struct spec_process *p = &s->process;

	assert_string_equal(s->version, "1.2.0+dev");
	assert_string_equal(s->bundle, "/bundle");
	assert_string_equal(s->root_path, "/srv/r");
	assert_false(s->root_readonly);
	assert_string_equal(s->hostname, "h");
	assert_string_equal(s->domainname, "d.example");
	assert_true(s->has_process);
	assert_true(p->terminal);
	assert_int_equal(p->console_height, 25);
	assert_int_equal(p->console_width, 80);
	assert_int_equal(p->user.uid, 1);
	assert_int_equal(p->user.gid, 2);
	assert_true(p->user.has_umask);
	assert_int_equal(p->user.umask, 077);
	assert_int_equal(p->user.additional_gids_count, 2);
	assert_int_equal(p->user.additional_gids[1], 4294967294u);
	assert_string_equal(p->args[0], "/bin/a");
	assert_string_equal(p->args[1], "");
	assert_null(p->args[2]);
	assert_string_equal(p->env[0], "A=b=c");
	assert_null(p->env[2]);
	assert_string_equal(p->cwd, "/w");
	assert_true(p->has_caps);
	assert_int_equal(p->caps.bounding, UINT64_C(1) << 40 | 1);
	assert_int_equal(p->caps.effective, 1 << 5);
	assert_int_equal(p->caps.inheritable, UINT64_C(1) << 39);
	assert_int_equal(p->caps.permitted, 1 << 21);
	assert_int_equal(p->caps.ambient, 0);
	assert_int_equal(p->rlimits_count, 2);
	assert_int_equal(p->rlimits[0].resource, RLIMIT_CORE);
	assert_int_equal(p->rlimits[0].hard, UINT64_MAX);
	assert_int_equal(p->rlimits[1].soft, INT64_MAX);
	assert_int_equal(p->rlimits[1].hard, UINT64_C(1) << 63);
	assert_true(p->no_new_privileges);
	assert_string_equal(p->apparmor_profile, "p");
	assert_string_equal(p->selinux_label, "s");
	assert_true(p->has_oom_score_adj);
	assert_int_equal(p->oom_score_adj, -1000);
	assert_true(p->scheduler.present);
	assert_int_equal(p->scheduler.policy, SCHED_DEADLINE);
	assert_int_equal(p->scheduler.flags, SCHED_FLAG_RECLAIM | SCHED_FLAG_DL_OVERRUN);
	assert_int_equal(p->scheduler.runtime, 1);
	assert_int_equal(p->scheduler.deadline, 2);
	assert_int_equal(p->scheduler.period, 3);
	assert_true(p->has_ioprio);
	assert_int_equal(p->ioprio, IOPRIO_CLASS_IDLE << IOPRIO_CLASS_SHIFT | 4);
	assert_string_equal(p->cpu_affinity_initial, "7");
	assert_string_equal(p->cpu_affinity_final, "0-3,7");
}

static void top_of_everything(void **state)
{
	_spec_ struct spec *s = specs_file("everything.json");
	const struct spec_hooks *h = &s->hooks;

	assert_int_equal(s->mounts_count, 2);
	assert_int_equal(s->mounts[0].idmap, SPEC_IDMAP_RECURSIVE);
	assert_int_equal(s->mounts[0].idmaps.uid[0].host_id, 1000);
	assert_int_equal(s->mounts[0].idmaps.gid[0].size, 20);
	assert_int_equal(s->mounts[1].kind, SPEC_MOUNT_CGROUP);
	assert_int_equal(s->mounts[1].attr_set, MOUNT_ATTR_RDONLY);
	assert_int_equal(s->mounts[1].sb_flags, 0); /* the host's superblock stays writable */

	assert_string_equal(h->prestart.v[0].path, "/h0");
	assert_null(h->prestart.v[0].args);
	assert_int_equal(h->prestart.v[0].timeout_s, 0);
	assert_string_equal(h->create_runtime.v[0].args[1], "x");
	assert_string_equal(h->create_runtime.v[0].env[0], "K=V");
	assert_int_equal(h->create_runtime.v[0].timeout_s, 5);
	assert_string_equal(h->create_container.v[0].path, "/h2");
	assert_string_equal(h->start_container.v[0].path, "/h3");
	assert_int_equal(h->poststart.count, 2);
	assert_string_equal(h->poststart.v[1].path, "/h5");
	assert_string_equal(h->poststop.v[0].path, "/h6");

	assert_string_equal(spec_annotation(s, "k"), "v");
	assert_string_equal(spec_annotation(s, "empty"), "");
	assert_null(spec_annotation(s, "none"));
}

static void linux_of_everything(void **state)
{
	_spec_ struct spec *s = specs_file("everything.json");

	for (int i = 0; i < SPEC_NS_COUNT; i++) {
		assert_true(s->ns[i].present);
		if (i == SPEC_NS_NETWORK)
			assert_string_equal(s->ns[i].path, "/run/netns/n");
		else
			assert_null(s->ns[i].path);
	}
	assert_int_equal(s->idmaps.uid[0].host_id, 100000);
	assert_int_equal(s->idmaps.gid[0].size, 65535);
	assert_true(s->time_monotonic.given && s->time_boottime.given);
	assert_int_equal(s->time_monotonic.secs, -5);
	assert_int_equal(s->time_monotonic.nanosecs, 999999999);
	assert_int_equal(s->devices_count, 3);
	assert_int_equal(s->devices[0].type, 'c');
	assert_int_equal(s->devices[0].mode, 0666);
	assert_true(s->devices[0].has_uid && s->devices[0].has_gid && s->devices[0].has_mode);
	assert_int_equal(s->devices[0].minor, 229);
	assert_false(s->devices[1].has_mode);
	assert_int_equal(s->devices[2].type, 'p');
	assert_int_equal(s->net_devices_count, 2);
	assert_string_equal(s->net_devices[0].value, "inside");
	assert_string_equal(s->net_devices[1].key, "eth1");
	assert_string_equal(s->net_devices[1].value, "");
	assert_string_equal(s->cgroups_path, "/c/g");
	assert_true(s->has_memory_policy);
	assert_int_equal(s->memory_policy_mode, MPOL_INTERLEAVE | MPOL_F_STATIC_NODES);
	assert_string_equal(s->memory_policy_nodes, "0-1");
	assert_int_equal(s->sysctl_count, 6);
	assert_string_equal(s->sysctl[0].key, "net/ipv4/conf/eno2.100/rp_filter");
	assert_string_equal(s->sysctl[1].key, "net/core/somaxconn");
	assert_string_equal(s->sysctl[3].key, "fs/mqueue/msg_max");
	assert_int_equal(s->rootfs_propagation, MS_SLAVE | MS_REC);
	assert_string_equal(s->masked_paths[0], "/proc/kcore");
	assert_null(s->masked_paths[1]);
	assert_string_equal(s->readonly_paths[1], "/proc/bus");
	assert_string_equal(s->mount_label, "l");
	assert_true(s->has_personality);
	assert_int_equal(s->personality, PER_LINUX32);
}

static void seccomp_of_everything(void **state)
{
	_spec_ struct spec *s = specs_file("everything.json");
	const struct spec_seccomp *c = &s->seccomp;

	assert_true(c->present);
	assert_int_equal(c->default_action, SCMP_ACT_ERRNO(ENOSYS));
	assert_int_equal(c->architectures_count, 2);
	assert_int_equal(c->architectures[1], SCMP_ARCH_X32);
	assert_int_equal(c->flags,
			 SECCOMP_FILTER_FLAG_LOG | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
	assert_string_equal(c->listener_path, "/run/agent");
	assert_string_equal(c->listener_metadata, "m");
	assert_int_equal(c->rules_count, 3);
	assert_string_equal(c->rules[0].names[1], "chmod");
	assert_int_equal(c->rules[0].action, SCMP_ACT_ALLOW);
	assert_int_equal(c->rules[1].action, SCMP_ACT_NOTIFY);
	assert_int_equal(c->rules[2].action, SCMP_ACT_TRACE(7));
	assert_int_equal(c->rules[2].args[0].index, 5);
	assert_int_equal(c->rules[2].args[0].value, UINT64_MAX);
	assert_int_equal(c->rules[2].args[0].value_two, 8);
	assert_int_equal(c->rules[2].args[0].op, SCMP_CMP_MASKED_EQ);
}

static void resources_of_everything(void **state)
{
	_spec_ struct spec *s = specs_file("everything.json");
	const struct spec_resources *r = &s->resources;

	assert_int_equal(r->has, (1 << 20) - 1);
	assert_int_equal(r->mem_limit, 536870912);
	assert_int_equal(r->mem_reservation, -1);
	assert_int_equal(r->mem_swap, 0);
	assert_int_equal(r->mem_kernel, 1);
	assert_int_equal(r->mem_kernel_tcp, 2);
	assert_int_equal(r->mem_swappiness, 60);
	assert_true(r->mem_disable_oom_killer && r->mem_use_hierarchy &&
		    r->mem_check_before_update);
	assert_int_equal(r->cpu_shares, 1024);
	assert_int_equal(r->cpu_quota, 1000000);
	assert_int_equal(r->cpu_burst, 1000);
	assert_int_equal(r->cpu_period, 500000);
	assert_int_equal(r->cpu_rt_runtime, 95);
	assert_int_equal(r->cpu_rt_period, 100);
	assert_int_equal(r->cpu_idle, 1);
	assert_string_equal(r->cpuset_cpus, "2-3");
	assert_string_equal(r->cpuset_mems, "0");
	assert_int_equal(r->pids_limit, -1);
	assert_int_equal(r->blkio_weight, 10);
	assert_int_equal(r->blkio_leaf_weight, 11);
	assert_int_equal(r->blkio_weight_device.v[0].leaf_value, 300);
	assert_int_equal(r->blkio_read_bps.v[0].minor, 1);
	assert_int_equal(r->blkio_write_bps.v[0].value, UINT64_MAX);
	assert_int_equal(r->blkio_read_iops.v[0].value, 1);
	assert_int_equal(r->blkio_write_iops.count, 2);
	assert_string_equal(r->hugepages[0].page_size, "2MB");
	assert_int_equal(r->hugepages[0].limit, UINT64_C(9223372036854772000));
	assert_int_equal(r->net_classid, 1048577);
	assert_string_equal(r->net_prio[0].name, "eth0");
	assert_int_equal(r->rdma_count, 2);
	assert_int_equal(r->rdma[0].hca_objects, 10000);
	assert_false(r->rdma[1].has_handles);
	assert_int_equal(r->unified_count, 2);
	assert_string_equal(r->unified[1].key, "memory.high");
	assert_int_equal(r->devices_count, 2);
	assert_int_equal(r->devices[0].type, 'a');
	assert_int_equal(r->devices[0].major, -1);
	assert_true(r->devices[0].read && r->devices[0].write && r->devices[0].mknod);
	assert_int_equal(r->devices[1].major, 10);
	assert_int_equal(r->devices[1].minor, -1);
	assert_false(r->devices[1].mknod);
}

/* What other programs write today. */
static void real_documents(void **state)
{
	_spec_ struct spec *docker = specs_file("docker.json");
	_spec_ struct spec *privileged = specs_file("docker-privileged.json");
	_spec_ struct spec *podman = specs_file("podman.json");
	_spec_ struct spec *rootless = specs_file("runc-rootless.json");
	_spec_ struct spec *crun = specs_file("crun.json");
	_spec_ struct spec *example = specs_file("example.json");

	assert_int_equal(docker->process.rlimits[1].hard, RLIM_INFINITY);
	assert_int_equal(docker->seccomp.architectures_count, 3);
	assert_true(docker->root_readonly);
	assert_false(privileged->seccomp.present);
	assert_int_equal(podman->seccomp.default_action, SCMP_ACT_ERRNO(ENOSYS));
	assert_int_equal(podman->resources.mem_limit, 100 << 20);
	assert_true(rootless->ns[SPEC_NS_USER].present);
	assert_false(rootless->ns[SPEC_NS_NETWORK].present);
	assert_true(crun->has_process);
	assert_int_equal(example->hooks.poststart.v[0].timeout_s, 5);
}

static void own_default(void **state)
{
	for (int rootless = 0; rootless < 2; rootless++) {
		_free_ char *text = spec_default(rootless, 1000, 1001);
		_spec_ struct spec *s = NULL;
		_spec_ struct spec *runc =
		    specs_file(rootless ? "runc-rootless.json" : "runc.json");
		struct err e;

		assert_non_null(strstr(text, "\n\t\t\t\"sh\"\n")); /* people edit it by sed */
		assert_ok(spec_parse(text, strlen(text), "/b", &s, &e));
		assert_string_equal(s->version, SPEC_VERSION);
		assert_int_equal(s->process.caps.bounding, runc->process.caps.bounding);
		assert_int_equal(s->mounts_count, runc->mounts_count);
		for (size_t i = 0; i < s->mounts_count; i++) {
			assert_string_equal(s->mounts[i].destination, runc->mounts[i].destination);
			assert_int_equal(s->mounts[i].attr_set, runc->mounts[i].attr_set);
			assert_int_equal(!s->mounts[i].data, !runc->mounts[i].data);
			if (s->mounts[i].data)
				assert_string_equal(s->mounts[i].data, runc->mounts[i].data);
		}
		for (int i = 0; i < SPEC_NS_COUNT; i++)
			if (i != SPEC_NS_CGROUP) /* only where the host has cgroup v2 */
				assert_int_equal(s->ns[i].present, runc->ns[i].present);
		assert_int_equal(s->idmaps.uid_count, rootless);
		if (rootless) {
			assert_int_equal(s->idmaps.uid[0].host_id, 1000);
			assert_int_equal(s->idmaps.gid[0].host_id, 1001);
		}
		assert_int_equal(s->resources.devices_count, !rootless);
	}
}

static void whole_documents(void **state)
{
	static const struct {
		const char *text, *message;
		enum err_code code;
	} rows[] = {
	    {"", "config.json:1:0: ", ERR_SPEC_JSON},
	    {"{", "config.json:1:1: ", ERR_SPEC_JSON},
	    {"{}x", "config.json:1:3: end of file expected", ERR_SPEC_JSON},
	    {"[]", "expected an object, got a list", ERR_SPEC_VALUE},
	    {"null", "expected an object, got null", ERR_SPEC_VALUE},
	    {"{}", "ociVersion: missing", ERR_SPEC_VALUE},
	    {"{'ociVersion':'1.0.2','root':{'path':'a\\u0000b'}}", "\\u0000", ERR_SPEC_JSON},
	    {"{'ociVersion':'1.0.2'}", "root: missing", ERR_SPEC_VALUE},
	    {"{'ociVersion':'1.0.2','root':{}}", "root.path: missing", ERR_SPEC_VALUE},
	    {"{'ociVersion':'1.0.2','root':{'path':''}}", "root.path: must not be", ERR_SPEC_VALUE},
	    {"{'ociVersion':'2.0.0','root':{'path':'r'}}", "'2.0.0' is not supported",
	     ERR_SPEC_VALUE},
	    {"{'ociVersion':'0.9','root':{'path':'r'}}", "'0.9' is not supported", ERR_SPEC_VALUE},
	    {"{'ociVersion':'11.0','root':{'path':'r'}}", "is not supported", ERR_SPEC_VALUE},
	    {"{'ociVersion':'1','root':{'path':'r'}}", "'1' is not a version", ERR_SPEC_VALUE},
	    {"{'ociVersion':1,'root':{'path':'r'}}", "expected a string, got a number",
	     ERR_SPEC_VALUE},
	    {"{'ociVersion':'1.0.2','root':{'path':'r'},'linux':{'intelRdt':{}}}",
	     "linux.intelRdt: Intel RDT is not supported", ERR_UNSUPPORTED},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_free_ char *text = specs_quote(rows[i].text);
		struct spec *s = NULL;
		struct err e = {0};

		assert_true(spec_parse(text, strlen(text), NULL, &s, &e) < 0);
		assert_null(s);
		if (!strstr(e.msg, rows[i].message) || e.code != rows[i].code)
			fail_msg("row %zu: expected '%s', got '%s'", i, rows[i].message, e.msg);
	}
}

static void nesting_and_size_have_bounds(void **state)
{
	size_t n = 100000;
	_free_ char *deep = malloc(n);
	_free_ char *large = calloc(1, SPEC_FILE_MAX + 1);
	struct spec *s = NULL;
	struct err e;

	memset(deep, '[', n);
	assert_int_equal(spec_parse(deep, n, NULL, &s, &e), -EINVAL);
	assert_int_equal(e.code, ERR_SPEC_JSON);
	assert_int_equal(spec_parse(large, SPEC_FILE_MAX + 1, NULL, &s, &e), -EFBIG);

	_buf_ struct buf b = {0};

	buf_adds(&b, "{\"cwd\":\"/\",\"args\":[\"a\"");
	for (size_t i = 0; i < SPEC_LIST_MAX; i++)
		buf_adds(&b, ",\"\"");
	buf_adds(&b, "]}");
	assert_int_equal(spec_parse_process(b.s, b.len, &s, &e), -EINVAL);
	assert_string_equal(e.msg, "process: args: 65537 elements; the most is 65536");
	assert_null(s);
}

static void parts_alone(void **state)
{
	_free_ char *process = specs_quote("{'cwd':'/x','args':['a'],'user':{'uid':7}}");
	_free_ char *resources = specs_quote("{'pids':{'limit':5}}");
	_spec_ struct spec *p = NULL;
	_spec_ struct spec *r = NULL;
	struct spec *none = NULL;
	struct err e;

	assert_ok(spec_parse_process(process, strlen(process), &p, &e));
	assert_true(p->has_process);
	assert_int_equal(p->process.user.uid, 7);
	assert_non_null(p->process.env);
	assert_ok(spec_parse_resources(resources, strlen(resources), &r, &e));
	assert_int_equal(r->resources.has, RES_PIDS);
	assert_int_equal(r->resources.pids_limit, 5);
	assert_int_equal(spec_parse_process("{}", 2, &none, &e), -EINVAL);
	assert_string_equal(e.msg, "process: args: missing");
	assert_int_equal(spec_parse_resources("[]", 2, &none, &e), -EINVAL);
}

static void capability_names(void **state)
{
	assert_string_equal(spec_cap_name(0), "CAP_CHOWN");
	assert_string_equal(spec_cap_name(40), "CAP_CHECKPOINT_RESTORE");
	assert_null(spec_cap_name(41));
	assert_null(spec_cap_name(-1));
	assert_int_equal(spec_cap_by_name("CAP_SYS_ADMIN"), 21);
	assert_int_equal(spec_cap_by_name("cap_sys_admin"), -1);
}

static void memory_of_the_spec(void **state)
{
	_spec_ struct spec *s = specs_file("runc.json");
	char *big = spec_alloc(s, 100, 1000), *copy = spec_strdup(s, "abc");

	for (size_t i = 0; i < 100000; i++)
		assert_int_equal(big[i], 0);
	memset(big, 'x', 100000);
	assert_string_equal(copy, "abc");
	assert_int_equal((uintptr_t)spec_alloc(s, 1, 1) % 16, 0);
}

int main(void)
{
	return TEST_RUN(
	    "spec", cmocka_unit_test(process_of_everything), cmocka_unit_test(top_of_everything),
	    cmocka_unit_test(linux_of_everything), cmocka_unit_test(seccomp_of_everything),
	    cmocka_unit_test(resources_of_everything), cmocka_unit_test(real_documents),
	    cmocka_unit_test(own_default), cmocka_unit_test(whole_documents),
	    cmocka_unit_test(nesting_and_size_have_bounds), cmocka_unit_test(parts_alone),
	    cmocka_unit_test(capability_names), cmocka_unit_test(memory_of_the_spec));
}
