/* Operands: general registers, memory, flags, the stack. */
#include "engine/interp/interp_int.h"

enum { SP = 4 };

/* --- registers --- */

uint64_t interp_gpr(const struct interp *c, enum x86_reg_kind kind, unsigned n)
{
	switch (kind) {
	case X86_REG_GPR8:
		return (uint8_t)c->state.gpr[n];
	case X86_REG_GPR8H:
		return (uint8_t)(c->state.gpr[n] >> 8);
	case X86_REG_GPR16:
		return (uint16_t)c->state.gpr[n];
	case X86_REG_GPR32:
		return (uint32_t)c->state.gpr[n];
	default:
		return c->state.gpr[n];
	}
}

void interp_set_gpr(struct interp *c, enum x86_reg_kind kind, unsigned n, uint64_t value)
{
	uint64_t *r = &c->state.gpr[n];

	switch (kind) {
	case X86_REG_GPR8:
		*r = (*r & ~UINT64_C(0xff)) | (uint8_t)value;
		break;
	case X86_REG_GPR8H:
		*r = (*r & ~UINT64_C(0xff00)) | (uint64_t)(uint8_t)value << 8;
		break;
	case X86_REG_GPR16:
		*r = (*r & ~UINT64_C(0xffff)) | (uint16_t)value;
		break;
	case X86_REG_GPR32:
		*r = (uint32_t)value;
		break;
	default:
		*r = value;
		break;
	}
}

static enum x86_reg_kind kind_of(unsigned bits)
{
	return bits == 16 ? X86_REG_GPR16 : bits == 32 ? X86_REG_GPR32 : X86_REG_GPR64;
}

uint64_t interp_reg(const struct interp *c, unsigned n, unsigned bits)
{
	return interp_gpr(c, kind_of(bits), n);
}

void interp_set_reg(struct interp *c, unsigned n, unsigned bits, uint64_t value)
{
	interp_set_gpr(c, kind_of(bits), n, value);
}

/* --- operands --- */

unsigned interp_bits(const struct interp *c, unsigned n)
{
	struct x86_operand o;

	return x86_operand(&c->insn, n, &o) ? o.size : 0;
}

uint64_t interp_offset(const struct interp *c, const struct x86_operand *o)
{
	uint64_t offset = o->disp;

	if (o->base == X86_REG_IP)
		offset += c->next_ip;
	else if (o->base != X86_REG_NONE)
		offset += c->state.gpr[o->base];
	if (o->index != X86_REG_NONE)
		offset += c->state.gpr[o->index] * o->scale;
	return interp_cut(offset, c->insn.adsize);
}

/* BT and its relatives with the bit number in a register reach beyond the operand: SDM volume 1, 3.1.1.9 of "Bit and
 * byte". The operand is the word that has the bit. */
static uint64_t bit_displacement(const struct interp *c, const struct x86_operand *o)
{
	struct x86_operand number;

	x86_operand(&c->insn, 1, &number);
	int64_t bit = interp_sign(interp_gpr(c, number.reg_kind, number.reg), number.size);

	return (bit >> (o->size == 64 ? 6 : o->size == 32 ? 5 : 4)) * (o->size / 8);
}

static bool linear_of(struct interp *c, const struct x86_operand *o, enum interp_access access,
		      uint64_t *ret)
{
	uint64_t offset = interp_offset(c, o);

	if (c->insn.row->attributes & X86_ROW_BITOFF)
		offset = interp_cut(offset + bit_displacement(c, o), c->insn.adsize);
	return interp_linear(c, o->segment, offset, o->size / 8, access, ret);
}

bool interp_get(struct interp *c, unsigned n, uint64_t *ret)
{
	struct x86_operand o;
	uint64_t linear;

	x86_operand(&c->insn, n, &o);
	switch (o.kind) {
	case X86_OPERAND_REG:
		if (o.reg_kind == X86_REG_SEG)
			*ret = c->state.segment[o.reg].selector;
		else
			*ret = interp_gpr(c, o.reg_kind, o.reg);
		return true;
	case X86_OPERAND_MEM:
		return linear_of(c, &o, INTERP_READ, &linear) &&
		       interp_load(c, linear, o.size / 8, ret);
	default:
		*ret = interp_cut(o.imm, interp_bits(c, 0));
		return true;
	}
}

bool interp_put(struct interp *c, unsigned n, uint64_t value)
{
	struct x86_operand o;
	uint64_t linear;

	x86_operand(&c->insn, n, &o);
	if (o.kind == X86_OPERAND_REG) {
		interp_set_gpr(c, o.reg_kind, o.reg, value);
		return true;
	}
	return linear_of(c, &o, INTERP_WRITE, &linear) &&
	       interp_store(c, linear, o.size / 8, value);
}

/* --- flags --- */

uint32_t interp_result_flags(uint64_t result, unsigned bits)
{
	uint32_t flags = 0;

	if (interp_cut(result, bits) == 0)
		flags |= X86_FLAG_ZF;
	if (result >> (bits - 1) & 1)
		flags |= X86_FLAG_SF;
	if (__builtin_parity((uint8_t)result) == 0)
		flags |= X86_FLAG_PF;
	return flags;
}

bool interp_condition(const struct interp *c, unsigned condition)
{
	bool sf = interp_flag(c, X86_FLAG_SF), of = interp_flag(c, X86_FLAG_OF);
	bool holds = false;

	switch (condition >> 1) {
	case 0:
		holds = of;
		break;
	case 1:
		holds = interp_flag(c, X86_FLAG_CF);
		break;
	case 2:
		holds = interp_flag(c, X86_FLAG_ZF);
		break;
	case 3:
		holds = interp_flag(c, X86_FLAG_CF | X86_FLAG_ZF);
		break;
	case 4:
		holds = sf;
		break;
	case 5:
		holds = interp_flag(c, X86_FLAG_PF);
		break;
	case 6:
		holds = sf != of;
		break;
	case 7:
		holds = interp_flag(c, X86_FLAG_ZF) || sf != of;
		break;
	}
	return holds != (condition & 1);
}

/* --- the stack: SDM volume 1, 6.2 --- */

unsigned interp_stack_bits(const struct interp *c)
{
	if (c->insn.mode == X86_MODE_64)
		return 64;
	return c->state.segment[X86_SS].attributes & X86_SEG_DB ? 32 : 16;
}

bool interp_push(struct interp *c, unsigned bits, uint64_t value)
{
	unsigned width = interp_stack_bits(c);
	uint64_t linear, sp = interp_cut(interp_reg(c, SP, width) - bits / 8, width);

	if (!interp_linear(c, X86_SS, sp, bits / 8, INTERP_WRITE, &linear) ||
	    !interp_store(c, linear, bits / 8, value))
		return false;
	interp_set_reg(c, SP, width, sp);
	return true;
}

bool interp_peek(struct interp *c, unsigned bits, unsigned skip, uint64_t *ret)
{
	unsigned width = interp_stack_bits(c);
	uint64_t linear, sp = interp_cut(interp_reg(c, SP, width) + skip, width);

	return interp_linear(c, X86_SS, sp, bits / 8, INTERP_READ, &linear) &&
	       interp_load(c, linear, bits / 8, ret);
}

bool interp_pop(struct interp *c, unsigned bits, uint64_t *ret)
{
	unsigned width = interp_stack_bits(c);

	if (!interp_peek(c, bits, 0, ret))
		return false;
	interp_set_reg(c, SP, width, interp_reg(c, SP, width) + bits / 8);
	return true;
}
