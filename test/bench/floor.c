/* floor [-g GAP_MS] [-n RUNS] ROOTFS: what the kernel alone takes for a container's life. Each run
 * makes the control groups, clones pid, mnt, uts, ipc and net namespaces, mounts what `runc spec`
 * asks for, pivots, executes /bin/true of ROOTFS, waits, and removes the groups. There is no
 * configuration, no state, no seccomp, no capabilities: a runtime can come near this, not below.
 *
 * On cgroup v1 the child writes "0" into every controller's tasks, because moving another process,
 * or a whole thread group by cgroup.procs, waits for an RCU grace period of 10 ms. On v2 it is born
 * in its group (CLONE_INTO_CGROUP). Prints the median wall time in milliseconds. */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <mntent.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HIERARCHIES_MAX 16
#define RUNS_MAX        100000

static struct hierarchy {
	char path[256]; /* of the group made in it */
	char top[224];
	int v2;
} groups[HIERARCHIES_MAX];
static size_t groups_count;

static void must(long rc, const char *what)
{
	if (rc < 0)
		err(1, "%s", what);
}

/* --- control groups --- */

/* v1 hierarchies with a controller if there are any, else the v2 tree. */
static void find_hierarchies(int v2)
{
	FILE *f = setmntent("/proc/self/mounts", "re");
	struct mntent *m;

	if (!f)
		err(1, "/proc/self/mounts");
	while (groups_count < HIERARCHIES_MAX && (m = getmntent(f))) {
		struct hierarchy *h = &groups[groups_count];

		if (strcmp(m->mnt_type, v2 ? "cgroup2" : "cgroup") || hasmntopt(m, "name"))
			continue;
		if (snprintf(h->top, sizeof(h->top), "%s", m->mnt_dir) >= (int)sizeof(h->top))
			continue;
		snprintf(h->path, sizeof(h->path), "%.220s/viv-floor-%d", m->mnt_dir, getpid());
		h->v2 = v2;
		groups_count++;
	}
	endmntent(f);
	if (!groups_count && !v2)
		find_hierarchies(1);
}

static void write_file(const char *dir, const char *name, const char *text, size_t len)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	must(fd, path);
	must(write(fd, text, len), path);
	close(fd);
}

/* A new cpuset is empty until it has its parent's CPUs and memory nodes. */
static void inherit(const struct hierarchy *h, const char *name)
{
	char path[512], text[256];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", h->top, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return; /* not the cpuset hierarchy */
	n = read(fd, text, sizeof(text));
	must(n, path);
	close(fd);
	write_file(h->path, name, text, (size_t)n);
}

static void make_groups(void)
{
	for (size_t i = 0; i < groups_count; i++) {
		must(mkdir(groups[i].path, 0755), groups[i].path);
		if (groups[i].v2)
			continue;
		inherit(&groups[i], "cpuset.cpus");
		inherit(&groups[i], "cpuset.mems");
	}
}

static void remove_groups(void)
{
	for (size_t i = 0; i < groups_count; i++)
		must(rmdir(groups[i].path), groups[i].path);
}

/* --- file systems --- */

static void mount_fs(const char *type, const char *at, unsigned long flags, const char *data)
{
	must(mount(type, at, type, flags, data), at);
}

static void make_devices(void)
{
	static const struct {
		const char *path;
		unsigned major, minor;
	} devices[] = {{"dev/null", 1, 3},   {"dev/zero", 1, 5},    {"dev/full", 1, 7},
		       {"dev/random", 1, 8}, {"dev/urandom", 1, 9}, {"dev/tty", 5, 0}};
	static const char *const links[][2] = {{"/proc/self/fd", "dev/fd"},
					       {"/proc/self/fd/0", "dev/stdin"},
					       {"/proc/self/fd/1", "dev/stdout"},
					       {"/proc/self/fd/2", "dev/stderr"},
					       {"pts/ptmx", "dev/ptmx"}};

	for (size_t i = 0; i < sizeof(devices) / sizeof(*devices); i++)
		must(mknod(devices[i].path, S_IFCHR | 0666,
			   makedev(devices[i].major, devices[i].minor)),
		     devices[i].path);
	for (size_t i = 0; i < sizeof(links) / sizeof(*links); i++)
		must(symlink(links[i][0], links[i][1]), links[i][1]);
}

static void hide_proc(void)
{
	static const char *const masked[] = {"proc/kcore", "proc/keys", "proc/timer_list"};
	static const char *const readonly[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys",
					       "proc/sysrq-trigger"};

	for (size_t i = 0; i < sizeof(masked) / sizeof(*masked); i++)
		if (mount("dev/null", masked[i], NULL, MS_BIND, NULL) < 0 && errno != ENOENT)
			err(1, "%s", masked[i]);
	for (size_t i = 0; i < sizeof(readonly) / sizeof(*readonly); i++) {
		const char *at = readonly[i];

		if (mount(at, at, NULL, MS_BIND | MS_REC, NULL) < 0) {
			if (errno != ENOENT)
				err(1, "%s", at);
			continue;
		}
		must(mount(NULL, at, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL), at);
	}
}

static void enter(const char *rootfs)
{
	const unsigned long strict = MS_NOSUID | MS_NODEV | MS_NOEXEC;

	must(mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL), "/");
	must(mount(rootfs, rootfs, NULL, MS_BIND | MS_REC, NULL), rootfs);
	must(chdir(rootfs), rootfs);
	mount_fs("proc", "proc", strict, NULL);
	mount_fs("tmpfs", "dev", MS_NOSUID, "mode=755,size=65536k");
	must(mkdir("dev/pts", 0755) | mkdir("dev/shm", 0755) | mkdir("dev/mqueue", 0755), "dev");
	mount_fs("devpts", "dev/pts", MS_NOSUID | MS_NOEXEC,
		 "newinstance,ptmxmode=0666,mode=0620,gid=5");
	mount_fs("tmpfs", "dev/shm", strict, "mode=1777,size=65536k");
	mount_fs("mqueue", "dev/mqueue", strict, NULL);
	mount_fs("sysfs", "sys", strict | MS_RDONLY, NULL);
	make_devices();
	hide_proc();
	must(syscall(SYS_pivot_root, ".", "."), "pivot_root");
	must(umount2(".", MNT_DETACH), "umount the old root");
	must(chdir("/"), "/");
	must(mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL), "/ read-only");
}

/* --- runs --- */

static void container(const char *rootfs)
{
	for (size_t i = 0; i < groups_count; i++)
		if (!groups[i].v2)
			write_file(groups[i].path, "tasks", "0", 1);
	enter(rootfs);
	must(sethostname("runc", 4), "sethostname");
	execl("/bin/true", "true", NULL);
	err(1, "/bin/true");
}

static void run_once(const char *rootfs)
{
	struct clone_args a = {.flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC |
					CLONE_NEWNET,
			       .exit_signal = SIGCHLD};
	int group = -1, status;

	make_groups();
	if (groups_count && groups[0].v2) {
		group = open(groups[0].path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		must(group, groups[0].path);
		a.flags |= CLONE_INTO_CGROUP;
		a.cgroup = (uint64_t)group;
	}
	pid_t pid = (pid_t)syscall(SYS_clone3, &a, sizeof(a));

	must(pid, "clone3");
	if (!pid)
		container(rootfs);
	must(waitpid(pid, &status, 0), "waitpid");
	if (group >= 0)
		close(group);
	remove_groups();
	if (status)
		errx(1, "the container ended with status 0x%x", (unsigned)status);
}

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	static double took_ms[RUNS_MAX];
	int runs = 50, gap_ms = 0, option;

	while ((option = getopt(argc, argv, "g:n:")) != -1) {
		if (option == 'g')
			gap_ms = atoi(optarg);
		else if (option == 'n')
			runs = atoi(optarg);
		else
			return 2;
	}
	if (optind != argc - 1 || runs < 1 || runs > RUNS_MAX)
		errx(2, "usage: floor [-g GAP_MS] [-n RUNS] ROOTFS");
	find_hierarchies(0);
	for (int i = 0; i < runs; i++) {
		usleep((useconds_t)gap_ms * 1000);
		double start_ms = now_ms();

		run_once(argv[optind]);
		took_ms[i] = now_ms() - start_ms;
	}
	qsort(took_ms, (size_t)runs, sizeof(*took_ms), compare);
	printf("%.2f\n", took_ms[runs / 2]);
	return 0;
}
