#include "os/probe.h"

#include "base/cleanup.h"
#include "os/path.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include <unistd.h>

enum { GUEST_PAGE = 4096, TIMEOUT_MS = 2000 };

/* What the child tells the parent. */
struct report {
	enum probe_kvm result;
	char what[96];
};

static void failed(struct report *r, const char *step)
{
	int error = errno;

	r->result = PROBE_KVM_PRETENDS;
	snprintf(r->what, sizeof(r->what), "%s: %s", step, strerror(error));
}

#ifdef __x86_64__
/* Real mode, code segment at 0. The count that comes out of the port shows that instructions were
 * executed, not just answered; the time it took, that a processor did it and not the kernel's
 * instruction emulator. */
enum { GUEST_PORT = 0x10, GUEST_ROUNDS = 200000, FAST_US = 50000 };
static const unsigned char guest[] = {
    0x66,
    0xb9,
    GUEST_ROUNDS & 0xff,
    GUEST_ROUNDS >> 8 & 0xff,
    GUEST_ROUNDS >> 16 & 0xff,
    0, /* mov ROUNDS, %ecx */
    0x31,
    0xc0, /* xor %ax, %ax */
    0x05,
    0x01,
    0x00, /* 1: add $1, %ax */
    0x66,
    0x49, /* dec %ecx */
    0x75,
    0xf9, /* jnz 1b */
    0xe7,
    GUEST_PORT, /* out %ax, PORT */
};

static bool saw_count(const struct kvm_run *run)
{
	uint16_t count;

	if (run->exit_reason != KVM_EXIT_IO || run->io.port != GUEST_PORT ||
	    run->io.size != sizeof(count))
		return false;
	memcpy(&count, (const char *)run + run->io.data_offset, sizeof(count));
	return count == (uint16_t)GUEST_ROUNDS;
}

/* CPU time of this thread, its guest's included: others on the host do not count. */
static long cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (long)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int set_registers(int vcpu)
{
	struct kvm_regs regs = {.rip = 0, .rflags = 2};
	struct kvm_sregs sregs;

	if (ioctl(vcpu, KVM_GET_SREGS, &sregs) < 0)
		return -1;
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	return ioctl(vcpu, KVM_SET_SREGS, &sregs) < 0 ? -1 : ioctl(vcpu, KVM_SET_REGS, &regs);
}

static void run_guest(int vm, int vcpu, size_t run_size, struct report *r)
{
	void *page =
	    mmap(NULL, GUEST_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct kvm_run *run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);

	if (page == MAP_FAILED || run == MAP_FAILED) {
		failed(r, "mmap of the virtual CPU");
		return;
	}
	memcpy(page, guest, sizeof(guest));
	struct kvm_userspace_memory_region region = {.memory_size = GUEST_PAGE,
						     .userspace_addr = (unsigned long)page};

	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0) {
		failed(r, "KVM_SET_USER_MEMORY_REGION");
		return;
	}
	if (set_registers(vcpu) < 0) {
		failed(r, "KVM_SET_SREGS");
		return;
	}
	long start = cpu_us();

	if (ioctl(vcpu, KVM_RUN, 0) < 0) {
		failed(r, "KVM_RUN");
		return;
	}
	long us = cpu_us() - start;

	r->result = saw_count(run) && us <= FAST_US ? PROBE_KVM_RUNS : PROBE_KVM_PRETENDS;
	if (!saw_count(run))
		snprintf(r->what, sizeof(r->what),
			 "KVM_RUN: exit reason %u instead of the guest's output", run->exit_reason);
	else if (us > FAST_US)
		snprintf(r->what, sizeof(r->what), "it emulates instructions, %ld ns each",
			 us * 1000 / (3l * GUEST_ROUNDS));
}
#else
static void run_guest(int vm, int vcpu, size_t run_size, struct report *r)
{
	r->result = PROBE_KVM_UNTESTED;
}
#endif

static void try_kvm(struct report *r)
{
	_close_ int kvm = path_open(AT_FDCWD, "/dev/kvm", O_RDWR, 0);

	if (kvm < 0) {
		r->result = kvm == -ENOENT ? PROBE_KVM_ABSENT : PROBE_KVM_DENIED;
		snprintf(r->what, sizeof(r->what), "open: %s", strerror(-kvm));
		return;
	}
	int version = ioctl(kvm, KVM_GET_API_VERSION, 0);

	if (version != KVM_API_VERSION) {
		r->result = PROBE_KVM_PRETENDS;
		snprintf(r->what, sizeof(r->what), "KVM_GET_API_VERSION: %d instead of %d", version,
			 KVM_API_VERSION);
		return;
	}
	int run_size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	_close_ int vm = ioctl(kvm, KVM_CREATE_VM, 0);

	if (vm < 0 || run_size < 0) {
		failed(r, "KVM_CREATE_VM");
		return;
	}
	_close_ int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);

	if (vcpu < 0)
		failed(r, "KVM_CREATE_VCPU");
	else
		run_guest(vm, vcpu, (size_t)run_size, r);
}

/* A child does it, because a device that only pretends may hang. */
enum probe_kvm probe_kvm(char *ret_what, size_t size)
{
	struct report r = {.result = PROBE_KVM_PRETENDS, .what = "KVM_RUN never came back"};
	int pipefd[2];

	snprintf(ret_what, size, "%s", "");
	if (pipe2(pipefd, O_CLOEXEC) < 0)
		return PROBE_KVM_PRETENDS;
	pid_t pid = fork();

	if (!pid) {
		struct report mine = {0};

		try_kvm(&mine);
		_exit(write(pipefd[1], &mine, sizeof(mine)) != sizeof(mine));
	}
	close(pipefd[1]);
	if (pid > 0) {
		struct report got;
		struct pollfd fd = {.fd = pipefd[0], .events = POLLIN};

		if (poll(&fd, 1, TIMEOUT_MS) == 1 &&
		    read(pipefd[0], &got, sizeof(got)) == sizeof(got))
			r = got;
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	close(pipefd[0]);
	snprintf(ret_what, size, "%s", r.what);
	return r.result;
}
