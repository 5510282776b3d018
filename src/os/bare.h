/* System calls without a C library. A static glibc program asks the CPU some eighty CPUID questions
 * before main(), and each is an exit to the hypervisor on a virtual machine: 0.3 ms of the 0.44 ms
 * that an empty program takes. The launcher adds its time to every command, so it is built without;
 * see cmd/launch.c. x86-64 only, as the project's hosts are. */
#ifndef OS_BARE_H
#define OS_BARE_H

#include <stddef.h>
#include <sys/syscall.h>

/* Returns the result or a negative errno. Unused arguments may be anything. */
static inline long bare_call(long number, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

/* bare(SYS_close, fd): any number of arguments up to six. */
#define bare(n, ...) BARE_PAD_(n, __VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define BARE_PAD_(n, a, b, c, d, e, f, ...) \
	bare_call(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

#endif
