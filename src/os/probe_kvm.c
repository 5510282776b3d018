#include "os/probe.h"

#include "base/cleanup.h"
#include "os/path.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>

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
/* Real mode, code segment at 0: executes the HLT at address 0. */
static void run_guest(int vm, int vcpu, size_t run_size, struct report *r)
{
	unsigned char *page =
	    mmap(NULL, GUEST_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct kvm_run *run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	struct kvm_regs regs = {.rip = 0, .rflags = 2};
	struct kvm_sregs sregs;

	if (page == MAP_FAILED || run == MAP_FAILED) {
		failed(r, "mmap of the virtual CPU");
		return;
	}
	page[0] = 0xf4;
	struct kvm_userspace_memory_region region = {.memory_size = GUEST_PAGE,
						     .userspace_addr = (unsigned long)page};

	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0) {
		failed(r, "KVM_SET_USER_MEMORY_REGION");
		return;
	}
	if (ioctl(vcpu, KVM_GET_SREGS, &sregs) < 0) {
		failed(r, "KVM_GET_SREGS");
		return;
	}
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	if (ioctl(vcpu, KVM_SET_SREGS, &sregs) < 0 || ioctl(vcpu, KVM_SET_REGS, &regs) < 0) {
		failed(r, "KVM_SET_SREGS");
		return;
	}
	if (ioctl(vcpu, KVM_RUN, 0) < 0) {
		failed(r, "KVM_RUN");
		return;
	}
	r->result = run->exit_reason == KVM_EXIT_HLT ? PROBE_KVM_RUNS : PROBE_KVM_PRETENDS;
	if (r->result != PROBE_KVM_RUNS)
		snprintf(r->what, sizeof(r->what), "KVM_RUN: exit reason %u", run->exit_reason);
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
