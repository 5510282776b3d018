#include "host_cpu.h"

#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define USER_END 0x7ffffffff000 /* of 47-bit addresses */

/* Maps code and data where the code expects them, and waits for its tracer. */
static void be_the_process(int fd)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* the kernel would write to it when the thread is scheduled */
	syscall(SYS_rseq, (char *)__builtin_thread_pointer() + __rseq_offset, 32,
		RSEQ_FLAG_UNREGISTER, RSEQ_SIG);
	if (mmap((void *)HOST_CPU_CODE, HOST_CPU_SIZE, PROT_READ | PROT_EXEC,
		 MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0) == MAP_FAILED ||
	    mmap((void *)HOST_CPU_DATA, HOST_CPU_SIZE, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_FIXED_NOREPLACE, fd, HOST_CPU_SIZE) == MAP_FAILED ||
	    ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
		_exit(1);
	raise(SIGSTOP);
	_exit(1);
}

/* struct user_regs_struct by register number. */
static unsigned long long *gpr(struct user_regs_struct *u, unsigned n)
{
	unsigned long long *const all[16] = {&u->rax, &u->rcx, &u->rdx, &u->rbx, &u->rsp, &u->rbp,
					     &u->rsi, &u->rdi, &u->r8,  &u->r9,  &u->r10, &u->r11,
					     &u->r12, &u->r13, &u->r14, &u->r15};

	return all[n];
}

static int set_registers(struct host_cpu *h, const struct host_registers *r)
{
	struct user_regs_struct u;

	if (ptrace(PTRACE_GETREGS, h->pid, NULL, &u) < 0)
		return -errno;
	for (unsigned n = 0; n < 16; n++)
		*gpr(&u, n) = r->gpr[n];
	u.rip = r->rip;
	u.eflags = r->rflags;
	u.orig_rax = -1; /* no system call to be restarted */
	if (ptrace(PTRACE_SETREGS, h->pid, NULL, &u) < 0)
		return -errno;
	if (!r->xsave)
		return 0;
	struct iovec area = {.iov_base = r->xsave, .iov_len = h->xsave_size};

	return ptrace(PTRACE_SETREGSET, h->pid, NT_X86_XSTATE, &area) < 0 ? -errno : 0;
}

static int get_registers(struct host_cpu *h, struct host_registers *r)
{
	struct user_regs_struct u;

	if (ptrace(PTRACE_GETREGS, h->pid, NULL, &u) < 0)
		return -errno;
	for (unsigned n = 0; n < 16; n++)
		r->gpr[n] = *gpr(&u, n);
	r->rip = u.rip;
	r->rflags = u.eflags;
	if (!r->xsave)
		return 0;
	struct iovec area = {.iov_base = r->xsave, .iov_len = h->xsave_size};

	return ptrace(PTRACE_GETREGSET, h->pid, NT_X86_XSTATE, &area) < 0 ? -errno : 0;
}

static int run_on(struct host_cpu *h, struct host_registers *r, struct host_stop *ret)
{
	siginfo_t info;
	int status, rc = set_registers(h, r);

	if (rc < 0)
		return rc;
	if (ptrace(PTRACE_CONT, h->pid, NULL, NULL) < 0 || waitpid(h->pid, &status, 0) < 0)
		return -errno;
	if (!WIFSTOPPED(status)) {
		h->pid = 0;
		return -ECHILD;
	}
	if (ptrace(PTRACE_GETSIGINFO, h->pid, NULL, &info) < 0)
		return -errno;
	ret->signal = WSTOPSIG(status);
	ret->address = (uintptr_t)info.si_addr;
	return get_registers(h, r);
}

/* Has the process make a system call, from its code page. */
static int inject_munmap(struct host_cpu *h, uint64_t start, uint64_t end)
{
	struct host_registers r = {.rip = HOST_CPU_CODE, .rflags = 0x202};
	struct host_stop stop;
	int rc;

	memcpy(h->code, "\x0f\x05\xcc", 3); /* SYSCALL; INT3 */
	r.gpr[0] = SYS_munmap;
	r.gpr[7] = start;
	r.gpr[6] = end - start;
	rc = run_on(h, &r, &stop);
	if (rc < 0)
		return rc;
	return stop.signal == SIGTRAP && r.gpr[0] == 0 ? 0 : -EFAULT;
}

/* Leaves nothing mapped but code and data, so that every other address faults, whatever this program is linked with. */
static int clear_address_space(struct host_cpu *h)
{
	int rc = inject_munmap(h, 0, HOST_CPU_CODE);

	if (rc == 0)
		rc = inject_munmap(h, HOST_CPU_CODE + HOST_CPU_SIZE, HOST_CPU_DATA);
	if (rc == 0)
		rc = inject_munmap(h, HOST_CPU_DATA + HOST_CPU_SIZE, USER_END);
	return rc;
}

static int start(struct host_cpu *h)
{
	int status;

	h->pid = fork();
	if (h->pid < 0)
		return -errno;
	if (h->pid == 0)
		be_the_process(h->fd);
	if (waitpid(h->pid, &status, 0) < 0)
		return -errno;
	if (!WIFSTOPPED(status)) {
		h->pid = 0;
		return -EPERM;
	}
	uint8_t xsave[HOST_CPU_XSAVE];
	struct iovec area = {.iov_base = xsave, .iov_len = sizeof(xsave)};

	if (ptrace(PTRACE_GETREGSET, h->pid, NT_X86_XSTATE, &area) < 0)
		return -errno;
	h->xsave_size = area.iov_len;
	return clear_address_space(h);
}

int host_cpu_open(struct host_cpu *h)
{
	*h = (struct host_cpu){.fd = memfd_create("host-cpu", MFD_CLOEXEC)};
	if (h->fd < 0 || ftruncate(h->fd, 2 * HOST_CPU_SIZE) < 0)
		return -errno;
	h->code = mmap(NULL, 2 * HOST_CPU_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, h->fd, 0);
	if (h->code == MAP_FAILED)
		return -errno;
	h->data = h->code + HOST_CPU_SIZE;
	return start(h);
}

static void stop(struct host_cpu *h)
{
	if (h->pid <= 0)
		return;
	kill(h->pid, SIGKILL);
	waitpid(h->pid, NULL, 0);
	h->pid = 0;
}

void host_cpu_close(struct host_cpu *h)
{
	stop(h);
	munmap(h->code, 2 * HOST_CPU_SIZE);
	close(h->fd);
}

int host_cpu_run(struct host_cpu *h, struct host_registers *r, struct host_stop *ret)
{
	int rc;

	if (h->pid <= 0) {
		uint8_t begin[3];

		/* clear_address_space() borrows the code page */
		memcpy(begin, h->code, sizeof(begin));
		rc = start(h);
		memcpy(h->code, begin, sizeof(begin));
		if (rc < 0)
			return rc;
	}
	return run_on(h, r, ret);
}
