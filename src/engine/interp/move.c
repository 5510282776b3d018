/* Moves, the stack, flags. SDM volume 2. */
#include "engine/interp/interp_int.h"

enum { AX, CX, DX, BX, SP, BP, SI, DI };

static bool op_mov(struct interp *c)
{
	const struct x86_row *row = c->insn.row;
	uint64_t value;

	/* control and debug registers, and loads of segments, are the system's */
	if (row->class == X86_CLASS_SYS || row->attributes & X86_ROW_SREGLOAD) {
		c->unknown = true;
		return false;
	}
	return interp_get(c, 1, &value) && interp_put(c, 0, value);
}

static bool op_movsx(struct interp *c)
{
	uint64_t value;

	return interp_get(c, 1, &value) && interp_put(c, 0, interp_sign(value, interp_bits(c, 1)));
}

static bool op_lea(struct interp *c)
{
	struct x86_operand o;

	x86_operand(&c->insn, 1, &o);
	return interp_put(c, 0, interp_offset(c, &o));
}

/* The memory operand is written first: only that can fault. */
static bool op_xchg(struct interp *c)
{
	uint64_t a, b;

	if (!interp_get(c, 0, &a) || !interp_get(c, 1, &b) || !interp_put(c, 0, b))
		return false;
	return interp_put(c, 1, a);
}

/* A register destination of 32 bits is cleared above even where the condition is false. */
static bool op_cmov(struct interp *c)
{
	uint64_t old, value;

	if (!interp_get(c, 0, &old) || !interp_get(c, 1, &value))
		return false;
	return interp_put(c, 0, interp_condition(c, c->insn.opcode & 0xf) ? value : old);
}

static bool op_set(struct interp *c)
{
	return interp_put(c, 0, interp_condition(c, c->insn.opcode & 0xf));
}

static bool op_movbe(struct interp *c)
{
	unsigned bits = interp_bits(c, 0);
	uint64_t value;

	return interp_get(c, 1, &value) &&
	       interp_put(c, 0, __builtin_bswap64(value) >> (64 - bits));
}

static bool op_xlat(struct interp *c)
{
	struct x86_operand o;
	uint64_t linear, value;

	x86_operand(&c->insn, 1, &o);
	uint64_t offset = interp_cut(c->state.gpr[BX] + (uint8_t)c->state.gpr[AX], c->insn.adsize);

	if (!interp_linear(c, o.segment, offset, 1, INTERP_READ, &linear) ||
	    !interp_load(c, linear, 1, &value))
		return false;
	interp_set_gpr(c, X86_REG_GPR8, AX, value);
	return true;
}

static bool op_nop(struct interp *c)
{
	return true;
}

/* CMPXCHG8B, CMPXCHG16B: two words; one of 16 bytes must be aligned. */
static bool op_cmpxchg_double(struct interp *c)
{
	unsigned bits = c->insn.row->mnemonic == X86_cmpxchg16b ? 64 : 32, bytes = bits / 8;
	struct x86_operand o;
	uint64_t linear, low, high;

	x86_operand(&c->insn, 0, &o);
	uint64_t offset = interp_offset(c, &o);

	/* even where the address is not canonical, which would be #SS for the stack (measured on Zen 5) */
	if (bits == 64 && (offset + c->state.segment[o.segment].base) & 15)
		return interp_raise_error(c, X86_GP, 0);
	if (!interp_linear(c, o.segment, offset, 2 * bytes, INTERP_WRITE, &linear))
		return false;
	if (!interp_probe_write(c, linear, 2 * bytes) || !interp_load(c, linear, bytes, &low) ||
	    !interp_load(c, linear + bytes, bytes, &high))
		return false;
	bool equal = low == interp_reg(c, AX, bits) && high == interp_reg(c, DX, bits);

	c->locked.host = NULL; /* both halves are stored plainly */
	if (equal && (!interp_store(c, linear, bytes, interp_reg(c, BX, bits)) ||
		      !interp_store(c, linear + bytes, bytes, interp_reg(c, CX, bits))))
		return false;
	if (!equal) {
		interp_set_reg(c, AX, bits, low);
		interp_set_reg(c, DX, bits, high);
	}
	interp_set_flags(c, X86_FLAG_ZF, equal ? X86_FLAG_ZF : 0);
	return true;
}

/* --- stack --- */

static bool op_push(struct interp *c)
{
	uint64_t value;

	if (!interp_get(c, 0, &value))
		return false;
	return interp_push(c, c->insn.opsize, interp_sign(value, interp_bits(c, 0)));
}

/* An address with rSP is taken after rSP moved; a pop of rSP itself loads it. */
static bool op_pop(struct interp *c)
{
	uint64_t value, sp = c->state.gpr[SP];

	if (c->insn.row->attributes & X86_ROW_SREGLOAD) {
		c->unknown = true;
		return false;
	}
	if (!interp_pop(c, c->insn.opsize, &value))
		return false;
	if (interp_put(c, 0, value))
		return true;
	c->state.gpr[SP] = sp;
	return false;
}

static bool op_pusha(struct interp *c)
{
	uint64_t sp = c->state.gpr[SP];

	for (unsigned n = AX; n <= DI; n++)
		if (!interp_push(c, c->insn.opsize, n == SP ? sp : c->state.gpr[n])) {
			c->state.gpr[SP] = sp;
			return false;
		}
	return true;
}

static bool op_popa(struct interp *c)
{
	uint64_t values[8];
	unsigned bytes = c->insn.opsize / 8, width = interp_stack_bits(c);

	for (unsigned n = AX; n <= DI; n++)
		if (!interp_peek(c, c->insn.opsize, (DI - n) * bytes, &values[n]))
			return false;
	for (unsigned n = AX; n <= DI; n++)
		if (n != SP)
			interp_set_reg(c, n, c->insn.opsize, values[n]);
	interp_set_reg(c, SP, width, interp_reg(c, SP, width) + 8 * bytes);
	return true;
}

static bool op_leave(struct interp *c)
{
	unsigned width = interp_stack_bits(c);
	uint64_t value, sp = c->state.gpr[SP];

	interp_set_reg(c, SP, width, c->state.gpr[BP]);
	if (!interp_pop(c, c->insn.opsize, &value)) {
		c->state.gpr[SP] = sp;
		return false;
	}
	interp_set_reg(c, BP, c->insn.opsize, value);
	return true;
}

/* Copies the frame pointers of `level` enclosing frames: SDM volume 2, ENTER. */
static bool enter_frames(struct interp *c, unsigned level, uint64_t frame)
{
	unsigned bits = c->insn.opsize, width = interp_stack_bits(c);
	uint64_t bp = interp_reg(c, BP, width), linear, value;

	for (unsigned i = 1; i < level; i++) {
		bp = interp_cut(bp - bits / 8, width);
		if (!interp_linear(c, X86_SS, bp, bits / 8, INTERP_READ, &linear) ||
		    !interp_load(c, linear, bits / 8, &value) || !interp_push(c, bits, value))
			return false;
	}
	return level == 0 || interp_push(c, bits, frame);
}

static bool op_enter(struct interp *c)
{
	unsigned bits = c->insn.opsize, width = interp_stack_bits(c), level = c->insn.imm2 & 31;
	uint64_t sp = c->state.gpr[SP], frame, linear;

	if (!interp_push(c, bits, c->state.gpr[BP]))
		return false;
	frame = c->state.gpr[SP];
	bool done = enter_frames(c, level, frame);

	if (done) {
		uint64_t bottom = interp_cut(c->state.gpr[SP] - (uint16_t)c->insn.imm, width);

		/* the new top must be writable: the manual's last check */
		done = interp_linear(c, X86_SS, bottom, bits / 8, INTERP_WRITE, &linear) &&
		       interp_probe_write(c, linear, bits / 8);
		if (done) {
			interp_set_reg(c, SP, width, bottom);
			interp_set_reg(c, BP, bits, frame);
		}
	}
	if (!done)
		c->state.gpr[SP] = sp;
	return done;
}

/* --- flags --- */

static bool in_vm86(const struct interp *c)
{
	return c->state.rflags & X86_FLAG_VM;
}

static unsigned iopl(const struct interp *c)
{
	return c->state.rflags >> 12 & 3;
}

/* Virtual-8086 mode below IOPL 3 needs CR4.VME, which is not here yet. */
static bool flags_are_virtual(struct interp *c)
{
	if (!in_vm86(c) || iopl(c) == 3)
		return false;
	c->unknown = c->state.cr4 & X86_CR4_VME;
	interp_raise_error(c, X86_GP, 0);
	return true;
}

static bool op_pushf(struct interp *c)
{
	uint64_t hidden = X86_FLAG_VM | X86_FLAG_RF;

	return !flags_are_virtual(c) && interp_push(c, c->insn.opsize, c->state.rflags & ~hidden);
}

/* SDM volume 2, POPF: what may change depends on CPL and IOPL. */
static bool op_popf(struct interp *c)
{
	uint64_t value, mask = X86_FLAGS_STATUS | X86_FLAG_TF | X86_FLAG_DF | X86_FLAG_NT;

	if (flags_are_virtual(c) || !interp_pop(c, c->insn.opsize, &value))
		return false;
	if (c->insn.opsize > 16)
		mask |= X86_FLAG_AC | X86_FLAG_ID;
	if (c->state.cpl == 0)
		mask |= X86_FLAG_IOPL;
	if (c->state.cpl <= iopl(c))
		mask |= X86_FLAG_IF;
	interp_set_flags(c, mask | X86_FLAG_RF, value & mask);
	return true;
}

static bool op_lahf(struct interp *c)
{
	interp_set_gpr(c, X86_REG_GPR8H, AX, (c->state.rflags & 0xd5) | 2);
	return true;
}

static bool op_sahf(struct interp *c)
{
	interp_set_flags(c, X86_FLAGS_STATUS & ~X86_FLAG_OF, interp_gpr(c, X86_REG_GPR8H, AX));
	return true;
}

static bool op_salc(struct interp *c)
{
	interp_set_gpr(c, X86_REG_GPR8, AX, interp_flag(c, X86_FLAG_CF) ? 0xff : 0);
	return true;
}

static bool op_flag(struct interp *c)
{
	const struct x86_flags *flags = &x86_flag_sets[c->insn.row->flags];

	interp_set_flags(c, flags->written, flags->set);
	return true;
}

static bool op_cmc(struct interp *c)
{
	c->state.rflags ^= X86_FLAG_CF;
	return true;
}

/* clang-format off */
interp_op *const interp_move_ops[X86_MNEMONIC_COUNT] = {
	[X86_mov] = op_mov, [X86_movzx] = op_mov, [X86_movsx] = op_movsx, [X86_movsxd] = op_movsx, [X86_movnti] = op_mov,
	[X86_movdiri] = op_mov, [X86_lea] = op_lea, [X86_xchg] = op_xchg, [X86_movbe] = op_movbe, [X86_xlat] = op_xlat,
	[X86_nop] = op_nop, [X86_pause] = op_nop, [X86_endbr32] = op_nop, [X86_endbr64] = op_nop,
	[X86_prefetchnta] = op_nop, [X86_prefetcht0] = op_nop, [X86_prefetcht1] = op_nop, [X86_prefetcht2] = op_nop,
	[X86_prefetch] = op_nop, [X86_prefetchw] = op_nop, [X86_prefetchwt1] = op_nop,
	[X86_cmovo] = op_cmov, [X86_cmovno] = op_cmov, [X86_cmovb] = op_cmov, [X86_cmovnb] = op_cmov,
	[X86_cmovz] = op_cmov, [X86_cmovnz] = op_cmov, [X86_cmovbe] = op_cmov, [X86_cmovnbe] = op_cmov,
	[X86_cmovs] = op_cmov, [X86_cmovns] = op_cmov, [X86_cmovp] = op_cmov, [X86_cmovnp] = op_cmov,
	[X86_cmovl] = op_cmov, [X86_cmovnl] = op_cmov, [X86_cmovle] = op_cmov, [X86_cmovnle] = op_cmov,
	[X86_seto] = op_set, [X86_setno] = op_set, [X86_setb] = op_set, [X86_setnb] = op_set,
	[X86_setz] = op_set, [X86_setnz] = op_set, [X86_setbe] = op_set, [X86_setnbe] = op_set,
	[X86_sets] = op_set, [X86_setns] = op_set, [X86_setp] = op_set, [X86_setnp] = op_set,
	[X86_setl] = op_set, [X86_setnl] = op_set, [X86_setle] = op_set, [X86_setnle] = op_set,
	[X86_cmpxchg8b] = op_cmpxchg_double, [X86_cmpxchg16b] = op_cmpxchg_double,
	[X86_push] = op_push, [X86_pop] = op_pop, [X86_pusha] = op_pusha, [X86_pushad] = op_pusha,
	[X86_popa] = op_popa, [X86_popad] = op_popa, [X86_enter] = op_enter, [X86_leave] = op_leave,
	[X86_pushf] = op_pushf, [X86_pushfd] = op_pushf, [X86_pushfq] = op_pushf,
	[X86_popf] = op_popf, [X86_popfd] = op_popf, [X86_popfq] = op_popf,
	[X86_lahf] = op_lahf, [X86_sahf] = op_sahf, [X86_salc] = op_salc, [X86_cmc] = op_cmc,
	[X86_clc] = op_flag, [X86_stc] = op_flag, [X86_cld] = op_flag, [X86_std] = op_flag,
};
/* clang-format on */
