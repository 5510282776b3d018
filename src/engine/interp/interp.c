/* One instruction: fetch, decode, check, execute. */
#include "engine/interp/interp.h"

#include "engine/interp/interp_int.h"

/* The tables of the files, in the order in which they are asked; each mnemonic is in one of them at most. */
static interp_op *const *const tables[] = {interp_move_ops,  interp_alu_ops, interp_flow_ops,
					   interp_shift_ops, interp_bit_ops, interp_string_ops,
					   interp_system_ops};

/* The class first: MOVSD and CMPSD are string instructions and SSE's as well. */
static interp_op *find_op(const struct x86_row *row)
{
	switch (row->class) {
	case X86_CLASS_INT:
	case X86_CLASS_VEXGPR:
		break;
	case X86_CLASS_SYS:
		return interp_system_ops[row->mnemonic];
	default:
		return interp_simd;
	}
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		if (tables[i][row->mnemonic])
			return tables[i][row->mnemonic];
	return NULL;
}

static enum x86_mode code_mode(const struct x86_state *s)
{
	if (s->efer & X86_EFER_LMA && s->segment[X86_CS].attributes & X86_SEG_L)
		return X86_MODE_64;
	return s->segment[X86_CS].attributes & X86_SEG_DB ? X86_MODE_32 : X86_MODE_16;
}

/* Fetches and decodes. Of an instruction that is not all there, the exception is the fetch's. */
static bool decode(struct interp *c)
{
	enum x86_mode mode = code_mode(&c->state);

	c->insn.mode = mode;
	unsigned count = interp_fetch(c, c->bytes);

	switch (x86_decode(mode, c->bytes, count, &c->insn)) {
	case X86_OK:
		return true;
	case X86_INVALID:
		return interp_raise(c, X86_UD);
	case X86_TOO_LONG:
		return interp_raise_error(c, X86_GP, 0);
	case X86_TRUNCATED:
		break;
	}
	c->insn.mode = mode;
	return false;
}

static enum interp_result execute(struct interp *c)
{
	unsigned width = c->insn.mode == X86_MODE_64 ? 64 : c->insn.mode == X86_MODE_32 ? 32 : 16;
	interp_op *op = find_op(c->insn.row);

	if (!op)
		return INTERP_UNKNOWN;
	if (!interp_may_execute(c))
		return INTERP_FAULT;
	c->state.interrupt_shadow = false;
	do {
		c->unknown = false;
		c->locked.host = NULL;
		c->locked.lost = false;
		c->fault.software = false;
		c->next_ip = interp_cut(c->state.rip + c->insn.length, width);
		if (op(c)) {
			c->state.rip = c->next_ip;
			return INTERP_DONE;
		}
	} while (c->locked.lost);
	if (c->unknown)
		return INTERP_UNKNOWN;
	if (c->fault.software)
		c->state.rip = c->next_ip;
	return INTERP_FAULT;
}

enum interp_result interp_step(struct interp *c)
{
	return decode(c) ? execute(c) : INTERP_FAULT;
}
