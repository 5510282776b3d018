/* What gen_table.py makes of table/, for the decoder alone. */
#ifndef ISA_X86_INT_H
#define ISA_X86_INT_H

#include "isa/x86.h"

/* What the decoder asks where rows share an opcode; the order is gen_table.py's SELECTORS. */
enum x86_selector {
	X86_SEL_MODE,   /* outside, in 64-bit mode */
	X86_SEL_PREFIX, /* none, 66, F3, F2 */
	X86_SEL_MOD,    /* memory, register */
	X86_SEL_REG,
	X86_SEL_RM,
	X86_SEL_W,
	X86_SEL_VL,       /* 128, 256, 512, reserved */
	X86_SEL_OPSIZE,   /* 16, 32, 64 */
	X86_SEL_OPSIZE64, /* the same where 64 is the default in 64-bit mode */
	X86_SEL_ADSIZE,   /* 16, 32, 64 */
	X86_SEL_REXB,
};

/* A node is {selector, answer 0, answer 1, …}. An answer with the bit NODE is the index of a node, else of a row; 0: none. */
#define X86_NODE 0x8000

extern const uint16_t x86_roots[X86_MAP_COUNT][256];
extern const uint16_t x86_nodes[];

/* Bits of an operand of that type; `memory` chooses between the two of a type that has two. */
uint32_t x86_type_bits(const struct x86_insn *insn, enum x86_type type, bool memory);

/* The general register, or high byte, that `n` names as an operand of `bits`. */
enum x86_reg_kind x86_gpr_kind(const struct x86_insn *insn, unsigned n, uint32_t bits,
			       uint8_t *ret_n);

#endif
