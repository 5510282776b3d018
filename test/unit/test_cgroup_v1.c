/* cgroup v1 for real: needs root and the hierarchies of this host, and leaves none of its groups
 * behind. */
#include "test.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "container/cgroup_int.h"
#include "os/path.h"

#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char group[64]; /* absolute, below each hierarchy */

static bool usable(void)
{
	_free_ struct cgroup_host *h = mem_alloc(sizeof(*h));

	return geteuid() == 0 && !cgroup_host(h, NULL) && h->mode == CGROUP_V1 &&
	       path_access(AT_FDCWD, h->v1[0].mountpoint, W_OK) == 0;
}

#define NEED_V1()                                                                   \
	do {                                                                        \
		if (!usable())                                                      \
			test_skip("needs root and writable cgroup v1 hierarchies"); \
	} while (0)

static struct cgroup make(const struct spec *spec)
{
	struct cgroup cg;
	struct err e = {0};

	if (cgroup_init(&cg, spec, "viv-unit-test", false, false, &e) ||
	    cgroup_create(&cg, spec, 0, &e))
		fail_msg("%s", e.msg);
	return cg;
}

static void destroy(struct cgroup *cg)
{
	struct err e = {0};

	if (cgroup_destroy(cg, &e))
		fail_msg("%s", e.msg);
	assert_false(cgroup_exists(cg));
	for (size_t i = 0; i < cg->v1_count; i++)
		assert_false(path_exists(AT_FDCWD, cg->v1[i].path));
	cgroup_done(cg);
}

/* A child in the group that sleeps until it is killed. */
static pid_t child_in(const struct cgroup *cg)
{
	int ready[2];
	char byte = 0;

	assert_int_equal(pipe(ready), 0);
	pid_t pid = fork();

	if (pid == 0) {
		byte = cgroup_join_self(cg, NULL) ? 'n' : 'y';
		(void)!write(ready[1], &byte, 1);
		for (;;)
			pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(byte, 'y');
	close(ready[0]);
	close(ready[1]);
	return pid;
}

static void assert_file(const struct cgroup *cg, const char *controller, const char *file,
			const char *want)
{
	_buf_ struct buf b = {0};

	assert_int_equal(cg_read(cg_dir(cg, controller), file, &b), 0);
	b.s[strcspn(b.s, "\n")] = '\0';
	assert_string_equal(b.s, want);
}

static void join_and_list(void **state)
{
	struct spec spec = {.cgroups_path = group};
	_free_ pid_t *pids = NULL;
	size_t count;

	NEED_V1();
	struct cgroup cg = make(&spec);
	pid_t pid = child_in(&cg);

	assert_int_equal(cgroup_pids(&cg, &pids, &count, NULL), 0);
	assert_int_equal(count, 1);
	assert_int_equal(pids[0], pid);
	/* Every hierarchy has it, not only the one that is listed. */
	for (size_t i = 0; i < cg.v1_count; i++) {
		_buf_ struct buf b = {0};

		assert_int_equal(cg_read(cg.v1[i].path, "cgroup.procs", &b), 0);
		assert_int_equal(atoi(b.s), pid);
	}
	/* An occupied group is not given to a second container. */
	struct cgroup other;
	struct err e = {0};

	assert_int_equal(cgroup_init(&other, &spec, "x", false, false, &e), 0);
	assert_ok(cgroup_kill(&other, SIGKILL, &e));
	assert_ok(cgroup_destroy(&other, &e));
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	assert_int_equal(cgroup_create(&other, &spec, 0, &e), -EBUSY);
	assert_int_equal(e.code, ERR_CT_STATE);
	/* Cleaning up after the refusal, or before the attempt, harms nobody. */
	cgroup_kill(&other, SIGKILL, NULL);
	assert_ok(cgroup_destroy(&other, NULL));
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	cgroup_done(&other);
	assert_true(cgroup_exists(&cg));
	assert_int_equal(cgroup_kill(&cg, SIGKILL, &e), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	destroy(&cg);
}

static void default_path_is_below_own_group(void **state)
{
	struct spec spec = {0};
	_free_ struct cgroup_host *h = mem_alloc(sizeof(*h));
	struct cgroup cg;

	NEED_V1();
	assert_int_equal(cgroup_host(h, NULL), 0);
	assert_int_equal(cgroup_init(&cg, &spec, "some-id", false, false, NULL), 0);
	for (size_t i = 0; i < cg.v1_count; i++) {
		_free_ char *want =
		    mem_printf("%s%s/some-id", h->v1[i].mountpoint,
			       str_eq(h->v1[i].own_path, "/") ? "" : h->v1[i].own_path);

		assert_string_equal(cg.v1[i].path, want);
	}
	cgroup_done(&cg);
}

static void limits_are_read_back(void **state)
{
	struct spec spec = {.cgroups_path = group,
			    .resources = {.has = RES_MEM_LIMIT | RES_MEM_SWAP | RES_MEM_SWAPPINESS |
						 RES_CPU_SHARES | RES_CPU_QUOTA | RES_CPU_PERIOD |
						 RES_PIDS | RES_MEM_RESERVATION,
					  .mem_limit = 64 << 20,
					  .mem_swap = 96 << 20,
					  .mem_reservation = 32 << 20,
					  .mem_swappiness = 10,
					  .cpu_shares = 512,
					  .cpu_quota = 20000,
					  .cpu_period = 50000,
					  .pids_limit = 17,
					  .cpuset_cpus = (char *)"0",
					  .cpuset_mems = (char *)"0"}};

	NEED_V1();
	struct cgroup cg = make(&spec);
	struct err e = {0};

	assert_file(&cg, "memory", "memory.limit_in_bytes", "67108864");
	assert_file(&cg, "memory", "memory.memsw.limit_in_bytes", "100663296");
	assert_file(&cg, "memory", "memory.soft_limit_in_bytes", "33554432");
	assert_file(&cg, "memory", "memory.swappiness", "10");
	assert_file(&cg, "cpu", "cpu.shares", "512");
	assert_file(&cg, "cpu", "cpu.cfs_quota_us", "20000");
	assert_file(&cg, "cpu", "cpu.cfs_period_us", "50000");
	assert_file(&cg, "pids", "pids.max", "17");
	assert_file(&cg, "cpuset", "cpuset.cpus", "0");

	/* Up, then down: each order is refused by the kernel the other way round. */
	struct spec_resources up = {
	    .has = RES_MEM_LIMIT | RES_MEM_SWAP, .mem_limit = 256 << 20, .mem_swap = 512 << 20};
	struct spec_resources down = {
	    .has = RES_MEM_LIMIT | RES_MEM_SWAP, .mem_limit = 16 << 20, .mem_swap = 20 << 20};
	struct spec_resources none = {
	    .has = RES_MEM_LIMIT | RES_PIDS, .mem_limit = -1, .pids_limit = -1};

	assert_int_equal(cgroup_update(&cg, &up, &e), 0);
	assert_file(&cg, "memory", "memory.memsw.limit_in_bytes", "536870912");
	assert_int_equal(cgroup_update(&cg, &down, &e), 0);
	assert_file(&cg, "memory", "memory.limit_in_bytes", "16777216");
	assert_file(&cg, "memory", "memory.memsw.limit_in_bytes", "20971520");
	assert_int_equal(cgroup_update(&cg, &none, &e), 0);
	assert_file(&cg, "memory", "memory.limit_in_bytes", "9223372036854771712");
	assert_file(&cg, "memory", "memory.memsw.limit_in_bytes", "9223372036854771712");
	assert_file(&cg, "pids", "pids.max", "max");

	/* A smaller period is invalid with the old quota and valid with the new one. */
	struct spec_resources cpu = {
	    .has = RES_CPU_QUOTA | RES_CPU_PERIOD, .cpu_quota = 2000, .cpu_period = 5000};

	assert_int_equal(cgroup_update(&cg, &cpu, &e), 0);
	assert_file(&cg, "cpu", "cpu.cfs_quota_us", "2000");
	assert_file(&cg, "cpu", "cpu.cfs_period_us", "5000");
	destroy(&cg);
}

static void refused_limits_leave_nothing(void **state)
{
	static const struct {
		struct spec_resources r;
		const char *word;
	} bad[] = {
	    {{.has = RES_CPU_SHARES, .cpu_shares = 1}, "minimum"},
	    {{.has = RES_CPU_SHARES, .cpu_shares = 1 << 20}, "maximum"},
	    {{.has = RES_CPU_PERIOD, .cpu_period = 3}, "cpu.cfs_period_us"},
	    {{.cpuset_cpus = (char *)"4095"}, "cpuset.cpus"},
	    {{.has = RES_NET_CLASSID, .net_classid = 5}, "net_cls"},
	    {{.has = RES_MEM_SWAPPINESS, .mem_swappiness = 4000}, "memory.swappiness"},
	    {{.unified_count = 1}, "unified"},
	};

	NEED_V1();
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct spec spec = {.cgroups_path = group, .resources = bad[i].r};
		struct cgroup cg;
		struct err e = {0};

		assert_int_equal(cgroup_init(&cg, &spec, "x", false, false, &e), 0);
		assert_true(cgroup_create(&cg, &spec, 0, &e) < 0);
		assert_non_null(strstr(e.msg, bad[i].word));
		assert_int_equal(cgroup_init(&cg, &spec, "x", false, false, &e), 0);
		for (size_t k = 0; k < cg.v1_count; k++)
			assert_false(path_exists(AT_FDCWD, cg.v1[k].path));
		cgroup_done(&cg);
	}
}

static void device_rules(void **state)
{
	struct spec_device_rule rules[] = {
	    {.allow = false,
	     .type = 'a',
	     .major = -1,
	     .minor = -1,
	     .read = 1,
	     .write = 1,
	     .mknod = 1},
	    {.allow = true, .type = 'c', .major = 1, .minor = 3, .read = 1, .write = 1, .mknod = 1},
	    {.allow = true, .type = 'b', .major = -1, .minor = -1, .mknod = 1},
	};
	struct spec spec = {.cgroups_path = group,
			    .resources = {.devices = rules, .devices_count = 3}};
	_buf_ struct buf list = {0};

	NEED_V1();
	struct cgroup cg = make(&spec);

	assert_int_equal(cg_read(cg_dir(&cg, "devices"), "devices.list", &list), 0);
	assert_string_equal(list.s, "c 1:3 rwm\nb *:* m\n");
	destroy(&cg);
}

static char process_state(pid_t pid)
{
	_free_ char *path = mem_printf("/proc/%d/stat", pid);
	char line[256];

	assert_true(path_read_line(AT_FDCWD, path, line, sizeof(line)) > 0);
	return strrchr(line, ')')[2];
}

static void freeze_thaw_kill(void **state)
{
	struct spec spec = {.cgroups_path = group};

	NEED_V1();
	struct cgroup cg = make(&spec);
	pid_t pid = child_in(&cg);
	struct err e = {0};
	int status;

	assert_false(cgroup_is_frozen(&cg));
	assert_int_equal(cgroup_freeze(&cg, true, &e), 0);
	assert_true(cgroup_is_frozen(&cg));
	assert_int_equal(process_state(pid), 'D');
	assert_int_equal(cgroup_freeze(&cg, false, &e), 0);
	assert_false(cgroup_is_frozen(&cg));
	/* SIGKILL reaches a frozen one too. */
	assert_int_equal(cgroup_freeze(&cg, true, &e), 0);
	assert_int_equal(cgroup_kill(&cg, SIGKILL, &e), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_false(cgroup_is_frozen(&cg));
	destroy(&cg);
}

/* Nested groups that the container made, one of them with a process, are listed, killed and
 * removed. */
static void nested_groups(void **state)
{
	struct spec spec = {.cgroups_path = group};
	_free_ pid_t *pids = NULL;
	size_t count;

	NEED_V1();
	struct cgroup cg = make(&spec);

	for (size_t i = 0; i < cg.v1_count; i++) {
		_free_ char *deep = mem_printf("%s/a/b", cg.v1[i].path);

		assert_int_equal(path_mkdirs(AT_FDCWD, deep, 0755), 0);
	}
	pid_t pid = fork();

	if (pid == 0) {
		_free_ char *deep = mem_printf("%s/a/b", cg_dir(&cg, "devices"));

		_exit(cg_write(deep, "tasks", "0") || (pause(), 0));
	}
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(cgroup_pids(&cg, &pids, &count, NULL), 0);
		if (count)
			break;
		free(STEAL(pids));
		usleep(1000);
	}
	assert_int_equal(count, 1);
	assert_int_equal(pids[0], pid);
	assert_int_equal(cgroup_kill(&cg, SIGKILL, NULL), 0);
	/* Removal may meet the dying process: it is retried. */
	pid_t reaper = fork();

	if (reaper == 0)
		_exit(0);
	assert_int_equal(waitpid(reaper, NULL, 0), reaper);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	destroy(&cg);
}

static void removal_waits_for_the_dying(void **state)
{
	struct spec spec = {.cgroups_path = group};

	NEED_V1();
	struct cgroup cg = make(&spec);
	pid_t pid = fork();

	if (pid == 0) {
		cgroup_join_self(&cg, NULL);
		usleep(50000);
		_exit(0);
	}
	usleep(20000);
	assert_int_equal(cg_remove(cg_dir(&cg, "devices")), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	destroy(&cg);
}

static void survives_json(void **state)
{
	struct spec spec = {.cgroups_path = group};

	NEED_V1();
	struct cgroup cg = make(&spec), again;
	json_t *j = cgroup_to_json(&cg);

	assert_int_equal(cgroup_from_json(&again, j, NULL), 0);
	assert_true(again.made);
	assert_int_equal(again.v1_count, cg.v1_count);
	assert_string_equal(cg_dir(&again, "memory"), cg_dir(&cg, "memory"));
	json_decref(j);
	cgroup_done(&cg);
	destroy(&again);
}

int main(void)
{
	snprintf(group, sizeof(group), "/viv-unit-%d", getpid());
	return TEST_RUN(
	    "cgroup_v1", cmocka_unit_test(join_and_list),
	    cmocka_unit_test(default_path_is_below_own_group),
	    cmocka_unit_test(limits_are_read_back), cmocka_unit_test(refused_limits_leave_nothing),
	    cmocka_unit_test(device_rules), cmocka_unit_test(freeze_thaw_kill),
	    cmocka_unit_test(nested_groups), cmocka_unit_test(removal_waits_for_the_dying),
	    cmocka_unit_test(survives_json));
}
