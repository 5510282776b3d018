/* The CPU of this host as an oracle: runs a piece of code in a sacrificial process, from chosen registers, until it traps. The
 * code runs without privileges in 64-bit mode; what it does to memory other than its own ends as a fault or harms only the
 * process, which is made anew when it died. Never give it code that can make a system call. */
#ifndef TEST_HOST_CPU_H
#define TEST_HOST_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define HOST_CPU_CODE 0x10000000 /* readable and executable */
#define HOST_CPU_DATA 0x10100000 /* readable and writable */
#define HOST_CPU_SIZE 0x4000     /* bytes of each */

struct host_cpu {
	pid_t pid;
	int fd;
	size_t xsave_size;    /* what the kernel wants for NT_X86_XSTATE */
	uint8_t *code, *data; /* what the process sees at the addresses above */
};

struct host_registers {
	uint64_t gpr[16]; /* in the order of their numbers */
	uint64_t rip, rflags;
	uint8_t *xsave; /* HOST_CPU_XSAVE bytes in XSAVE's standard form; NULL: left alone */
};

#define HOST_CPU_XSAVE 4096

struct host_stop {
	int signal;       /* SIGTRAP, SIGSEGV, SIGILL, SIGFPE, SIGBUS */
	uint64_t address; /* of SIGSEGV from a page fault */
};

/* 0 or a negative errno: without ptrace there is no oracle. */
int host_cpu_open(struct host_cpu *h);
void host_cpu_close(struct host_cpu *h);

/* Runs from *r until the next signal, which is left out; *r is then what the code made of it. */
int host_cpu_run(struct host_cpu *h, struct host_registers *r, struct host_stop *ret);

#endif
