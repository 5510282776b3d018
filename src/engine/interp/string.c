/* String instructions without ports. One iteration at a time: between two of them interrupts are taken, and a fault leaves the
 * registers as they were before its iteration. SDM volume 1, 7.3.9. */
#include "engine/interp/interp_int.h"

enum { AX, CX, DX, BX, SP, BP, SI, DI };

/* One operand of a string instruction. */
static bool string_linear(struct interp *c, unsigned reg, enum interp_access access, uint64_t *ret)
{
	enum x86_seg segment = X86_ES;

	if (reg == SI)
		segment = c->insn.segment == X86_REG_NONE ? X86_DS : c->insn.segment;
	return interp_linear(c, segment, interp_reg(c, reg, c->insn.adsize), interp_bits(c, 0) / 8,
			     access, ret);
}

static bool string_load(struct interp *c, unsigned reg, uint64_t *ret)
{
	uint64_t linear;

	return string_linear(c, reg, INTERP_READ, &linear) &&
	       interp_load(c, linear, interp_bits(c, 0) / 8, ret);
}

static bool string_store(struct interp *c, uint64_t value)
{
	uint64_t linear;

	return string_linear(c, DI, INTERP_WRITE, &linear) &&
	       interp_store(c, linear, interp_bits(c, 0) / 8, value);
}

static void advance(struct interp *c, unsigned reg)
{
	int64_t step = interp_bits(c, 0) / 8;

	if (interp_flag(c, X86_FLAG_DF))
		step = -step;
	interp_set_reg(c, reg, c->insn.adsize, interp_reg(c, reg, c->insn.adsize) + step);
}

/* The flags of a comparison, as CMP has them. */
static void compare(struct interp *c, uint64_t a, uint64_t b)
{
	unsigned bits = interp_bits(c, 0);
	uint64_t result = a - b;
	uint64_t borrows = (~a & b) | ((~a | b) & result);
	uint32_t flags = interp_result_flags(result, bits);

	flags |= borrows >> (bits - 1) & 1 ? X86_FLAG_CF : 0;
	flags |= ((a ^ b) & (a ^ result)) >> (bits - 1) & 1 ? X86_FLAG_OF : 0;
	flags |= (a ^ b ^ result) & 0x10 ? X86_FLAG_AF : 0;
	interp_set_flags(c, X86_FLAGS_STATUS, flags);
}

static bool move_once(struct interp *c)
{
	uint64_t value;

	if (!string_load(c, SI, &value) || !string_store(c, value))
		return false;
	advance(c, SI);
	advance(c, DI);
	return true;
}

static bool compare_once(struct interp *c)
{
	uint64_t a, b;

	if (!string_load(c, SI, &a) || !string_load(c, DI, &b))
		return false;
	compare(c, a, b);
	advance(c, SI);
	advance(c, DI);
	return true;
}

static bool store_once(struct interp *c)
{
	if (!string_store(c, interp_cut(c->state.gpr[AX], interp_bits(c, 0))))
		return false;
	advance(c, DI);
	return true;
}

static bool load_once(struct interp *c)
{
	unsigned bits = interp_bits(c, 0);
	uint64_t value;

	if (!string_load(c, SI, &value))
		return false;
	if (bits == 8)
		interp_set_gpr(c, X86_REG_GPR8, AX, value);
	else
		interp_set_reg(c, AX, bits, value);
	advance(c, SI);
	return true;
}

static bool scan_once(struct interp *c)
{
	uint64_t value;

	if (!string_load(c, DI, &value))
		return false;
	compare(c, interp_cut(c->state.gpr[AX], interp_bits(c, 0)), value);
	advance(c, DI);
	return true;
}

/* Whether the prefix wants another iteration. */
static bool goes_on(const struct interp *c, uint64_t count)
{
	if (count == 0)
		return false;
	if (c->insn.row->attributes & X86_ROW_REPZ)
		return interp_flag(c, X86_FLAG_ZF) == (c->insn.repeat == 0xf3);
	return true;
}

static bool repeat(struct interp *c, interp_op *once)
{
	unsigned width = c->insn.adsize;
	uint64_t count = interp_reg(c, CX, width);

	if (!c->insn.repeat)
		return once(c);
	if (count == 0)
		return true;
	if (!once(c))
		return false;
	interp_set_reg(c, CX, width, count - 1);
	if (goes_on(c, interp_cut(count - 1, width)))
		c->next_ip = c->state.rip; /* the same instruction again */
	return true;
}

static bool op_movs(struct interp *c)
{
	return repeat(c, move_once);
}

static bool op_cmps(struct interp *c)
{
	return repeat(c, compare_once);
}

static bool op_stos(struct interp *c)
{
	return repeat(c, store_once);
}

static bool op_lods(struct interp *c)
{
	return repeat(c, load_once);
}

static bool op_scas(struct interp *c)
{
	return repeat(c, scan_once);
}

/* clang-format off */
interp_op *const interp_string_ops[X86_MNEMONIC_COUNT] = {
	[X86_movsb] = op_movs, [X86_movsw] = op_movs, [X86_movsd] = op_movs, [X86_movsq] = op_movs,
	[X86_cmpsb] = op_cmps, [X86_cmpsw] = op_cmps, [X86_cmpsd] = op_cmps, [X86_cmpsq] = op_cmps,
	[X86_stosb] = op_stos, [X86_stosw] = op_stos, [X86_stosd] = op_stos, [X86_stosq] = op_stos,
	[X86_lodsb] = op_lods, [X86_lodsw] = op_lods, [X86_lodsd] = op_lods, [X86_lodsq] = op_lods,
	[X86_scasb] = op_scas, [X86_scasw] = op_scas, [X86_scasd] = op_scas, [X86_scasq] = op_scas,
};
/* clang-format on */
