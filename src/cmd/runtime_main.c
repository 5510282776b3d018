/* Entry of viv-runtime. A process that enters a container must not run from a file that the
 * container could overwrite through /proc/PID/exe (CVE-2019-5736), so the program runs from a
 * sealed memfd: `viv runtime` starts it from one; where it was started by its path, it starts
 * itself again. */
#include "cmd/runtime.h"
#include "base/cleanup.h"
#include "os/exe.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

extern const struct cli_program runtime_program;

int main(int argc, char **argv)
{
	int rc = exe_seal(argv);

	if (rc) {
		fprintf(stderr, "viv-runtime: cannot copy itself into a sealed memfd: %s\n",
			strerror(-rc));
		return 1;
	}
	struct cli_program p = runtime_program;
	const char *slash = strrchr(argv[0], '/');

	p.link_style = !strcmp(slash ? slash + 1 : argv[0], "runc");
	if (p.link_style)
		p.name = "runc";
	return cli_main(&p, argc, argv);
}

/* Where the static program is entered. The C library's start-up relocates nearly every page of
 * written data, each a read fault followed by a copy with a TLB flush: one call brings them all as
 * written pages first (a kernel before 5.14 refuses it, and nothing is lost). Then the library's
 * own entry, with the registers as the kernel left them (System V ABI, AMD64, "Process
 * Initialization": %rdx is 0 where no dynamic linker ran). */
__asm__(".globl runtime_entry\n"
	".type runtime_entry, @function\n"
	"runtime_entry:\n"
	"	endbr64\n"
	"	lea __init_array_start(%rip), %rdi\n"
	"	and $-4096, %rdi\n"
	"	lea _edata(%rip), %rsi\n"
	"	sub %rdi, %rsi\n"
	"	mov $23, %edx\n" /* MADV_POPULATE_WRITE */
	"	mov $28, %eax\n" /* madvise */
	"	syscall\n"
	"	xor %edx, %edx\n"
	"	jmp _start\n"
	".size runtime_entry, .-runtime_entry\n");
