/* Near branches, software interrupts, HLT. SDM volume 2; volume 1, 6.4. */
#include "engine/interp/interp_int.h"

enum { CX = 1, SP = 4 };

/* The check of a near branch's target: SDM volume 2, JMP. rIP changes when the instruction is done. */
static bool go_to(struct interp *c, uint64_t target)
{
	uint64_t linear;

	target = interp_cut(target, c->insn.opsize);
	if (!interp_linear(c, X86_CS, target, 1, INTERP_FETCH, &linear))
		return interp_raise_error(c, X86_GP, 0);
	c->next_ip = target;
	return true;
}

static bool go_relative(struct interp *c)
{
	return go_to(c, c->next_ip + c->insn.imm);
}

static bool op_jcc(struct interp *c)
{
	return !interp_condition(c, c->insn.opcode & 0xf) || go_relative(c);
}

static bool op_jcxz(struct interp *c)
{
	return interp_reg(c, CX, c->insn.adsize) != 0 || go_relative(c);
}

static bool op_loop(struct interp *c)
{
	uint64_t count = interp_cut(interp_reg(c, CX, c->insn.adsize) - 1, c->insn.adsize);
	bool zf = interp_flag(c, X86_FLAG_ZF), taken = count != 0;

	if (c->insn.row->mnemonic == X86_loope)
		taken &= zf;
	else if (c->insn.row->mnemonic == X86_loopne)
		taken &= !zf;
	if (taken && !go_relative(c))
		return false;
	interp_set_reg(c, CX, c->insn.adsize, count);
	return true;
}

static bool op_jmp(struct interp *c)
{
	uint64_t target;

	if (c->insn.row->operand[0].method == X86_OP_J)
		return go_relative(c);
	return interp_get(c, 0, &target) && go_to(c, target);
}

static bool op_call(struct interp *c)
{
	uint64_t from = c->next_ip, target = from + c->insn.imm;

	if (c->insn.row->operand[0].method != X86_OP_J && !interp_get(c, 0, &target))
		return false;
	return go_to(c, target) && interp_push(c, c->insn.opsize, from);
}

static bool op_ret(struct interp *c)
{
	unsigned width = interp_stack_bits(c), bytes = c->insn.opsize / 8;
	uint64_t target;

	if (!interp_peek(c, c->insn.opsize, 0, &target) || !go_to(c, target))
		return false;
	if (c->insn.row->operand_count)
		bytes += (uint16_t)c->insn.imm;
	interp_set_reg(c, SP, width, interp_reg(c, SP, width) + bytes);
	return true;
}

/* The core's caller delivers them; interp_step() has moved rIP behind the instruction. */
static bool op_int(struct interp *c)
{
	switch (c->insn.row->mnemonic) {
	case X86_int3:
		interp_raise(c, X86_BP);
		break;
	case X86_int1:
		interp_raise(c, X86_DB);
		break;
	case X86_into:
		if (!interp_flag(c, X86_FLAG_OF))
			return true;
		interp_raise(c, X86_OF);
		break;
	default:
		interp_raise(c, c->insn.imm);
		break;
	}
	c->fault.software = true;
	return false;
}

static bool op_ud(struct interp *c)
{
	return interp_raise(c, X86_UD);
}

static bool op_bound(struct interp *c)
{
	unsigned bits = c->insn.opsize, bytes = bits / 8;
	struct x86_operand o;
	uint64_t linear, index, low, high;

	x86_operand(&c->insn, 1, &o);
	interp_get(c, 0, &index);
	if (!interp_linear(c, o.segment, interp_offset(c, &o), 2 * bytes, INTERP_READ, &linear) ||
	    !interp_load(c, linear, bytes, &low) || !interp_load(c, linear + bytes, bytes, &high))
		return false;
	int64_t at = interp_sign(index, bits);

	if (at < (int64_t)interp_sign(low, bits) || at > (int64_t)interp_sign(high, bits))
		return interp_raise(c, X86_BR);
	return true;
}

/* clang-format off */
interp_op *const interp_flow_ops[X86_MNEMONIC_COUNT] = {
	[X86_jo] = op_jcc, [X86_jno] = op_jcc, [X86_jb] = op_jcc, [X86_jnb] = op_jcc,
	[X86_jz] = op_jcc, [X86_jnz] = op_jcc, [X86_jbe] = op_jcc, [X86_jnbe] = op_jcc,
	[X86_js] = op_jcc, [X86_jns] = op_jcc, [X86_jp] = op_jcc, [X86_jnp] = op_jcc,
	[X86_jl] = op_jcc, [X86_jnl] = op_jcc, [X86_jle] = op_jcc, [X86_jnle] = op_jcc,
	[X86_jcxz] = op_jcxz, [X86_jecxz] = op_jcxz, [X86_jrcxz] = op_jcxz,
	[X86_loop] = op_loop, [X86_loope] = op_loop, [X86_loopne] = op_loop,
	[X86_jmp] = op_jmp, [X86_call] = op_call, [X86_ret] = op_ret,
	[X86_int] = op_int, [X86_int3] = op_int, [X86_int1] = op_int, [X86_into] = op_int, [X86_bound] = op_bound,
	[X86_ud0] = op_ud, [X86_ud1] = op_ud, [X86_ud2] = op_ud,
};
/* clang-format on */
