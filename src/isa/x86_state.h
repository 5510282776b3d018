/* The architectural state of one x86 CPU that software can see, in one flat structure: what an engine loads and stores, what a
 * snapshot holds. Each engine may keep it elsewhere while it runs. PKRU is its own field, not in the XSAVE area. */
#ifndef ISA_X86_STATE_H
#define ISA_X86_STATE_H

#include <stdbool.h>
#include <stdint.h>

/* The part of a segment register that software loads, and the hidden part. */
struct x86_segment {
	uint64_t base;
	uint32_t limit; /* in bytes, the granularity is applied */
	uint16_t selector;
	uint16_t attributes; /* X86_SEG_…; without P it is not usable */
};

struct x86_table_register {
	uint64_t base;
	uint16_t limit;
};

/* Room for the standard form of an XSAVE area with every state that XCR0 can have today but AMX. SDM volume 1, 13.4. */
#define X86_XSAVE_MAX 4096

struct x86_state {
	uint64_t gpr[16]; /* AX CX DX BX SP BP SI DI R8 … */
	uint64_t rip;
	uint64_t rflags;
	struct x86_segment segment[6]; /* enum x86_seg */
	struct x86_segment ldtr, tr;
	struct x86_table_register gdtr, idtr;
	uint64_t cr0, cr2, cr3, cr4, cr8;
	uint64_t dr[8]; /* 4 and 5 are not used */
	uint64_t efer, xcr0;
	uint64_t star, lstar, cstar, fmask;
	uint64_t kernel_gs_base;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint64_t tsc_aux;
	uint32_t pkru;
	_Alignas(64) uint8_t xsave[X86_XSAVE_MAX]; /* x87, SSE, AVX …: as XSAVE writes it */
	uint8_t cpl;
	bool interrupt_shadow; /* after STI, MOV SS, POP SS: for one instruction */
	bool nmi_blocked;      /* until IRET */
	bool halted;
};

#endif
