/* What the files of the interpreter share. A function that returns bool returns false when an exception was raised
 * (interp.fault), or when the instruction is to be left undone for another reason; its caller returns false as well, and
 * has changed nothing yet. */
#ifndef ENGINE_INTERP_INTERP_INT_H
#define ENGINE_INTERP_INTERP_INT_H

#include "engine/interp/interp.h"

/* --- exceptions --- */

bool interp_raise(struct interp *c, enum x86_vector vector);
bool interp_raise_error(struct interp *c, enum x86_vector vector, uint32_t error);

/* --- memory --- */

enum interp_access {
	INTERP_READ,
	INTERP_WRITE,
	INTERP_FETCH,
};

/* The segment's check and base: SDM volume 3, 5.3 to 5.5. size in bytes, at least 1. */
bool interp_linear(struct interp *c, enum x86_seg segment, uint64_t offset, unsigned size,
		   enum interp_access access, uint64_t *ret);
/* Little-endian numbers of 1, 2, 4 or 8 bytes at a linear address. */
bool interp_load(struct interp *c, uint64_t linear, unsigned size, uint64_t *ret);
bool interp_store(struct interp *c, uint64_t linear, unsigned size, uint64_t value);
/* Whether a write would succeed: for instructions with more than one effect. */
bool interp_probe_write(struct interp *c, uint64_t linear, unsigned size);
/* Bytes at CS:rIP, up to X86_LENGTH_MAX of them; fewer when the rest cannot be read, and then interp.fault says why. */
unsigned interp_fetch(struct interp *c, uint8_t bytes[X86_LENGTH_MAX]);

/* --- operands --- */

/* Masks a value to so many bits. */
static inline uint64_t interp_cut(uint64_t value, unsigned bits)
{
	return bits >= 64 ? value : value & ((UINT64_C(1) << bits) - 1);
}

static inline uint64_t interp_sign(uint64_t value, unsigned bits)
{
	return bits >= 64 ? value : (uint64_t)((int64_t)(value << (64 - bits)) >> (64 - bits));
}

/* A general register by its number; writing 32 bits clears the upper half, 8 and 16 keep the rest. */
uint64_t interp_gpr(const struct interp *c, enum x86_reg_kind kind, unsigned n);
void interp_set_gpr(struct interp *c, enum x86_reg_kind kind, unsigned n, uint64_t value);
/* The same by width: 16, 32, 64. */
uint64_t interp_reg(const struct interp *c, unsigned n, unsigned bits);
void interp_set_reg(struct interp *c, unsigned n, unsigned bits, uint64_t value);

/* Bits of operand n. */
unsigned interp_bits(const struct interp *c, unsigned n);
/* Operand n, zero-extended; immediates have the width of operand 0. */
bool interp_get(struct interp *c, unsigned n, uint64_t *ret);
bool interp_put(struct interp *c, unsigned n, uint64_t value);
/* The offset of operand n, which is memory, in its segment. */
uint64_t interp_offset(const struct interp *c, const struct x86_operand *o);

/* --- flags --- */

static inline bool interp_flag(const struct interp *c, uint32_t flag)
{
	return c->state.rflags & flag;
}

static inline void interp_set_flags(struct interp *c, uint32_t mask, uint32_t value)
{
	c->state.rflags = (c->state.rflags & ~(uint64_t)mask) | (value & mask);
}

/* SF, ZF and PF of a result. */
uint32_t interp_result_flags(uint64_t result, unsigned bits);
/* SDM volume 1, appendix B: condition 0 to 15. */
bool interp_condition(const struct interp *c, unsigned condition);

/* --- stack --- */

unsigned interp_stack_bits(const struct interp *c);
bool interp_push(struct interp *c, unsigned bits, uint64_t value);
bool interp_pop(struct interp *c, unsigned bits, uint64_t *ret);
/* What a pop would give; rSP stays. `skip`: bytes above rSP. */
bool interp_peek(struct interp *c, unsigned bits, unsigned skip, uint64_t *ret);

/* --- the instructions --- */

typedef bool interp_op(struct interp *c);

/* Every x87, MMX, SSE, AVX and AVX-512 instruction. */
interp_op interp_simd;

extern interp_op *const interp_alu_ops[X86_MNEMONIC_COUNT];
extern interp_op *const interp_shift_ops[X86_MNEMONIC_COUNT];
extern interp_op *const interp_bit_ops[X86_MNEMONIC_COUNT];
extern interp_op *const interp_move_ops[X86_MNEMONIC_COUNT];
extern interp_op *const interp_flow_ops[X86_MNEMONIC_COUNT];
extern interp_op *const interp_string_ops[X86_MNEMONIC_COUNT];
extern interp_op *const interp_system_ops[X86_MNEMONIC_COUNT];

/* Mode and privilege, as far as the row of the table tells: #UD, #GP. */
bool interp_may_execute(struct interp *c);

#endif
