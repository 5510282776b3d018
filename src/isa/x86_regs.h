/* Bits of the control registers and EFER, exception vectors and error codes, segment descriptors. SDM volume 3, chapters 2,
 * 3 and 6; the bits of EFLAGS are in isa/x86.h. */
#ifndef ISA_X86_REGS_H
#define ISA_X86_REGS_H

#include <stdbool.h>
#include <stdint.h>

/* --- control registers: SDM volume 3, 2.5 --- */

enum {
	X86_CR0_PE = 1u << 0,
	X86_CR0_MP = 1u << 1,
	X86_CR0_EM = 1u << 2,
	X86_CR0_TS = 1u << 3,
	X86_CR0_ET = 1u << 4,
	X86_CR0_NE = 1u << 5,
	X86_CR0_WP = 1u << 16,
	X86_CR0_AM = 1u << 18,
	X86_CR0_NW = 1u << 29,
	X86_CR0_CD = 1u << 30,
	X86_CR0_PG = 1u << 31,
};

enum {
	X86_CR4_VME = 1u << 0,
	X86_CR4_PVI = 1u << 1,
	X86_CR4_TSD = 1u << 2,
	X86_CR4_DE = 1u << 3,
	X86_CR4_PSE = 1u << 4,
	X86_CR4_PAE = 1u << 5,
	X86_CR4_MCE = 1u << 6,
	X86_CR4_PGE = 1u << 7,
	X86_CR4_PCE = 1u << 8,
	X86_CR4_OSFXSR = 1u << 9,
	X86_CR4_OSXMMEXCPT = 1u << 10,
	X86_CR4_UMIP = 1u << 11,
	X86_CR4_LA57 = 1u << 12,
	X86_CR4_VMXE = 1u << 13,
	X86_CR4_SMXE = 1u << 14,
	X86_CR4_FSGSBASE = 1u << 16,
	X86_CR4_PCIDE = 1u << 17,
	X86_CR4_OSXSAVE = 1u << 18,
	X86_CR4_SMEP = 1u << 20,
	X86_CR4_SMAP = 1u << 21,
	X86_CR4_PKE = 1u << 22,
	X86_CR4_CET = 1u << 23,
};

enum { /* MSR_EFER; SDM volume 3, 2.2.1; APM volume 2, 3.1.7 */
       X86_EFER_SCE = 1u << 0,
       X86_EFER_LME = 1u << 8,
       X86_EFER_LMA = 1u << 10,
       X86_EFER_NXE = 1u << 11,
       X86_EFER_SVME = 1u << 12,
       X86_EFER_LMSLE = 1u << 13,
       X86_EFER_FFXSR = 1u << 14,
};

enum { /* XCR0; SDM volume 1, 13.3 */
       X86_XCR0_X87 = 1u << 0,
       X86_XCR0_SSE = 1u << 1,
       X86_XCR0_AVX = 1u << 2,
       X86_XCR0_OPMASK = 1u << 5,
       X86_XCR0_ZMM_HI256 = 1u << 6,
       X86_XCR0_HI16_ZMM = 1u << 7,
       X86_XCR0_PKRU = 1u << 9,
};

/* --- exceptions: SDM volume 3, table 6-1 --- */

enum x86_vector {
	X86_DE = 0,
	X86_DB = 1,
	X86_NMI = 2,
	X86_BP = 3,
	X86_OF = 4,
	X86_BR = 5,
	X86_UD = 6,
	X86_NM = 7,
	X86_DF = 8,
	X86_TS = 10,
	X86_NP = 11,
	X86_SS_FAULT = 12,
	X86_GP = 13,
	X86_PF = 14,
	X86_MF = 16,
	X86_AC = 17,
	X86_MC = 18,
	X86_XM = 19,
	X86_VE = 20,
	X86_CP = 21,
};

/* Whether delivery pushes an error code. */
static inline bool x86_vector_has_error(enum x86_vector v)
{
	return v < 32 && (1u << X86_DF | 1u << X86_TS | 1u << X86_NP | 1u << X86_SS_FAULT |
			  1u << X86_GP | 1u << X86_PF | 1u << X86_AC | 1u << X86_CP) >>
				 v &
			     1;
}

enum {                           /* error code of #PF: SDM volume 3, 4.7 */
       X86_PF_PRESENT = 1u << 0, /* a protection violation, not an absent page */
       X86_PF_WRITE = 1u << 1,
       X86_PF_USER = 1u << 2,
       X86_PF_RESERVED = 1u << 3,
       X86_PF_FETCH = 1u << 4,
       X86_PF_KEY = 1u << 5,
};

enum { /* error code that names a selector: SDM volume 3, 6.13 */
       X86_ERROR_EXT = 1u << 0,
       X86_ERROR_IDT = 1u << 1,
};

/* --- segment descriptors: SDM volume 3, 3.4.5. Attributes as VMX and KVM pack them: bits 8 to 23 of the upper word --- */

enum {
	X86_SEG_TYPE = 0xf,
	X86_SEG_ACCESSED = 1u << 0,
	X86_SEG_WRITABLE = 1u << 1, /* of data; of code: readable */
	X86_SEG_DOWN = 1u << 2,     /* of data: expand-down; of code: conforming */
	X86_SEG_CODE = 1u << 3,
	X86_SEG_S = 1u << 4, /* code or data, not system */
	X86_SEG_DPL_SHIFT = 5,
	X86_SEG_P = 1u << 7,
	X86_SEG_AVL = 1u << 12,
	X86_SEG_L = 1u << 13,
	X86_SEG_DB = 1u << 14,
	X86_SEG_G = 1u << 15,
};

enum x86_system_type { /* SDM volume 3, table 3-2 */
		       X86_SYS_TSS16 = 1,
		       X86_SYS_LDT = 2,
		       X86_SYS_TSS16_BUSY = 3,
		       X86_SYS_CALL16 = 4,
		       X86_SYS_TASK_GATE = 5,
		       X86_SYS_INT16 = 6,
		       X86_SYS_TRAP16 = 7,
		       X86_SYS_TSS = 9,
		       X86_SYS_TSS_BUSY = 11,
		       X86_SYS_CALL = 12,
		       X86_SYS_INT = 14,
		       X86_SYS_TRAP = 15,
};

#endif
