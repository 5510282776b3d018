/* Operands and effects of a decoded instruction, from its row. */
#include "isa/x86.h"

#include <string.h>

#include "isa/x86_int.h"

/* General register numbers. */
enum { AX, CX, DX, BX, SP, BP, SI, DI };

uint32_t x86_type_bits(const struct x86_insn *insn, enum x86_type type, bool memory)
{
	uint32_t vector = 128u << insn->vl;

	switch (type) {
	case X86_TY_NONE:
	case X86_TY_xs:
		return 0;
	case X86_TY_b:
	case X86_TY_bs:
		return 8;
	case X86_TY_w:
		return 16;
	case X86_TY_d:
		return 32;
	case X86_TY_q:
		return 64;
	case X86_TY_t:
		return 80;
	case X86_TY_dq:
		return 128;
	case X86_TY_qq:
		return 256;
	case X86_TY_v:
		return insn->opsize;
	case X86_TY_z:
		return insn->opsize == 16 ? 16 : 32;
	case X86_TY_y:
		return insn->opsize == 64 ? 64 : 32;
	case X86_TY_vw:
		return memory ? 16 : insn->opsize;
	case X86_TY_zw:
		return memory || insn->opsize == 16 ? 16 : 32;
	case X86_TY_db:
		return memory ? 8 : 32;
	case X86_TY_dw:
		return memory ? 16 : 32;
	case X86_TY_m:
		return insn->mode == X86_MODE_64 ? 64 : 32;
	case X86_TY_a:
		return insn->adsize;
	case X86_TY_x:
	case X86_TY_xd:
	case X86_TY_xq:
	case X86_TY_hq:
		return vector;
	case X86_TY_h:
		return vector / 2;
	case X86_TY_f:
		return vector / 4;
	case X86_TY_o:
		return vector / 8;
	case X86_TY_p:
		return 16 + insn->opsize;
	case X86_TY_s:
		return insn->mode == X86_MODE_64 ? 80 : 48;
	case X86_TY_v2:
		return 2 * insn->opsize;
	case X86_TY_n64:
		return 64 * 8;
	case X86_TY_n512:
		return 512 * 8;
	case X86_TY_env:
		return insn->opsize == 16 ? 14 * 8 : 28 * 8;
	case X86_TY_fs:
		return insn->opsize == 16 ? 94 * 8 : 108 * 8;
	case X86_TY_s1:
		return insn->opsize;
	case X86_TY_s2:
		return 2 * insn->opsize;
	case X86_TY_s3:
		return 3 * insn->opsize;
	case X86_TY_s8:
		return 8 * insn->opsize;
	}
	return 0;
}

enum x86_reg_kind x86_gpr_kind(const struct x86_insn *insn, unsigned n, uint32_t bits,
			       uint8_t *ret_n)
{
	*ret_n = n;
	switch (bits) {
	case 8:
		if (n < 4 || n > 7 || insn->prefixes & X86_PREFIX_REX)
			return X86_REG_GPR8;
		*ret_n = n - 4;
		return X86_REG_GPR8H;
	case 16:
		return X86_REG_GPR16;
	case 64:
		return X86_REG_GPR64;
	}
	return X86_REG_GPR32;
}

/* --- shapes of operands --- */

static void set_gpr(const struct x86_insn *insn, struct x86_operand *o, unsigned n)
{
	o->kind = X86_OPERAND_REG;
	o->reg_kind = x86_gpr_kind(insn, n, o->size, &o->reg);
}

static void set_reg(struct x86_operand *o, enum x86_reg_kind kind, unsigned n)
{
	o->kind = X86_OPERAND_REG;
	o->reg_kind = kind;
	o->reg = n;
}

/* Scalars and short vectors lie in an XMM register. */
static void set_vector(struct x86_operand *o, unsigned n)
{
	set_reg(o, o->size == 512 ? X86_REG_ZMM : o->size == 256 ? X86_REG_YMM : X86_REG_XMM, n);
}

static void set_memory(const struct x86_insn *insn, struct x86_operand *o, unsigned segment,
		       unsigned base)
{
	o->kind = X86_OPERAND_MEM;
	o->segment = segment;
	o->base = base;
}

/* DS, or what a prefix says. */
static unsigned data_segment(const struct x86_insn *insn)
{
	return insn->segment == X86_REG_NONE ? X86_DS : insn->segment;
}

static void set_modrm_memory(const struct x86_insn *insn, struct x86_operand *o)
{
	bool stack = insn->base == SP || insn->base == BP;

	if (insn->segment == X86_REG_NONE && stack)
		set_memory(insn, o, X86_SS, insn->base);
	else
		set_memory(insn, o, data_segment(insn), insn->base);
	o->index = insn->index;
	o->scale = insn->scale;
	o->disp = insn->disp;
	if (insn->evex_b && insn->row->broadcast) {
		o->element_bytes = insn->row->element_bytes;
		o->broadcast = o->size / (8 * o->element_bytes);
		o->size = 8 * o->element_bytes;
	}
}

/* A gather's index may be shorter or longer than its data: as many elements as the shorter of both has. */
static void set_vsib_memory(const struct x86_insn *insn, struct x86_operand *o)
{
	set_modrm_memory(insn, o);
	o->vsib = true;
	o->element_bytes = insn->row->element_bytes;
	o->size = 8 * o->element_bytes;
}

/* Register or memory, whichever the ModRM byte says. */
static void set_rm(const struct x86_insn *insn, struct x86_operand *o, enum x86_method method)
{
	if (insn->memory) {
		set_modrm_memory(insn, o);
		return;
	}
	switch (method) {
	case X86_OP_E:
		set_gpr(insn, o, insn->rm & 15);
		break;
	case X86_OP_Q:
		set_reg(o, X86_REG_MMX, insn->rm & 7);
		break;
	case X86_OP_KE:
		set_reg(o, X86_REG_MASK, insn->rm & 7);
		break;
	default:
		set_vector(o, insn->rm);
		break;
	}
}

/* --- registers and memory that the opcode implies --- */

static void set_implied(const struct x86_insn *insn, struct x86_operand *o, enum x86_method method)
{
	switch (method) {
	case X86_OP_AX:
	case X86_OP_CX:
	case X86_OP_DX:
	case X86_OP_BX:
	case X86_OP_SP:
	case X86_OP_BP:
	case X86_OP_SI:
	case X86_OP_DI:
		set_gpr(insn, o, method - X86_OP_AX);
		break;
	case X86_OP_R11:
		set_gpr(insn, o, 11);
		break;
	case X86_OP_AH:
		set_reg(o, X86_REG_GPR8H, 0);
		break;
	case X86_OP_SREG_ES:
	case X86_OP_SREG_CS:
	case X86_OP_SREG_SS:
	case X86_OP_SREG_DS:
	case X86_OP_SREG_FS:
	case X86_OP_SREG_GS:
		set_reg(o, X86_REG_SEG, method - X86_OP_SREG_ES);
		break;
	case X86_OP_ST0:
	case X86_OP_ST1:
		set_reg(o, X86_REG_X87, method - X86_OP_ST0);
		break;
	case X86_OP_XMM0:
		set_reg(o, X86_REG_XMM, 0);
		break;
	case X86_OP_IP:
		set_reg(o, X86_REG_RIP, 0);
		break;
	case X86_OP_CR0:
		set_reg(o, X86_REG_CR, 0);
		break;
	case X86_OP_XCR0:
		set_reg(o, X86_REG_XCR, 0);
		break;
	case X86_OP_MXCSR:
		set_reg(o, X86_REG_CTL_MXCSR, 0);
		break;
	case X86_OP_SSP:
		set_reg(o, X86_REG_CTL_SSP, 0);
		break;
	case X86_OP_X:
		set_memory(insn, o, data_segment(insn), SI);
		break;
	case X86_OP_MASKMOV:
		set_memory(insn, o, data_segment(insn), DI);
		break;
	case X86_OP_Y:
		set_memory(insn, o, X86_ES, DI);
		break;
	case X86_OP_ESREG:
		set_memory(insn, o, X86_ES, insn->reg);
		break;
	case X86_OP_XLAT:
		set_memory(insn, o, data_segment(insn), BX);
		o->index = AX;
		break;
	case X86_OP_PUSH:
		set_memory(insn, o, X86_SS, SP);
		o->disp = -(int64_t)(o->size / 8);
		break;
	case X86_OP_POP:
		set_memory(insn, o, X86_SS, SP);
		break;
	case X86_OP_LEAVE:
		set_memory(insn, o, X86_SS, BP);
		break;
	default:
		break;
	}
}

static void set_by_method(const struct x86_insn *insn, struct x86_operand *o,
			  enum x86_method method)
{
	switch (method) {
	case X86_OP_E:
	case X86_OP_Q:
	case X86_OP_W:
	case X86_OP_KE:
		set_rm(insn, o, method);
		break;
	case X86_OP_M:
		set_modrm_memory(insn, o);
		break;
	case X86_OP_MV:
		set_vsib_memory(insn, o);
		break;
	case X86_OP_R:
		set_gpr(insn, o, insn->rm & 15);
		break;
	case X86_OP_Z:
		set_gpr(insn, o, insn->rm);
		break;
	case X86_OP_G:
		set_gpr(insn, o, insn->reg);
		break;
	case X86_OP_B:
		set_gpr(insn, o, insn->vvvv);
		break;
	case X86_OP_S:
		set_reg(o, X86_REG_SEG, insn->reg & 7);
		break;
	case X86_OP_C:
		set_reg(o, X86_REG_CR, insn->reg);
		break;
	case X86_OP_D:
		set_reg(o, X86_REG_DR, insn->reg);
		break;
	case X86_OP_P:
		set_reg(o, X86_REG_MMX, insn->reg & 7);
		break;
	case X86_OP_N:
		set_reg(o, X86_REG_MMX, insn->rm & 7);
		break;
	case X86_OP_V:
		set_vector(o, insn->reg);
		break;
	case X86_OP_U:
		set_vector(o, insn->rm);
		break;
	case X86_OP_H:
		set_vector(o, insn->vvvv);
		break;
	case X86_OP_H4:
		set_vector(o, insn->vvvv & ~3);
		o->reg_count = 4;
		break;
	case X86_OP_L:
		set_vector(o, insn->imm >> 4 & (insn->mode == X86_MODE_64 ? 15 : 7));
		break;
	case X86_OP_KG:
		set_reg(o, X86_REG_MASK, insn->reg);
		break;
	case X86_OP_KP:
		set_reg(o, X86_REG_MASK, insn->reg & ~1);
		o->reg_count = 2;
		break;
	case X86_OP_KU:
		set_reg(o, X86_REG_MASK, insn->rm & 7);
		break;
	case X86_OP_KH:
		set_reg(o, X86_REG_MASK, insn->vvvv);
		break;
	case X86_OP_STI:
		set_reg(o, X86_REG_X87, insn->rm & 7);
		break;
	case X86_OP_I:
		o->kind = X86_OPERAND_IMM;
		o->imm = insn->imm;
		break;
	case X86_OP_I2:
		o->kind = X86_OPERAND_IMM;
		o->imm = insn->imm2;
		break;
	case X86_OP_ONE:
		o->kind = X86_OPERAND_IMM;
		o->imm = 1;
		break;
	case X86_OP_J:
		o->kind = X86_OPERAND_REL;
		o->imm = insn->imm;
		break;
	case X86_OP_A:
		o->kind = X86_OPERAND_FAR;
		o->imm = insn->imm;
		break;
	case X86_OP_O:
		set_memory(insn, o, data_segment(insn), X86_REG_NONE);
		o->disp = insn->imm;
		break;
	default:
		set_implied(insn, o, method);
		break;
	}
}

/* --- what masks and repeat prefixes make of an access --- */

static bool repeats(const struct x86_insn *insn)
{
	return insn->repeat && insn->row->attributes & (X86_ROW_REP | X86_ROW_REPZ);
}

/* With a count of 0 nothing happens; the accumulator that is only compared or stored is read in any case. */
static uint8_t repeated_access(const struct x86_insn *insn, const struct x86_opspec *spec)
{
	uint8_t access = spec->access;

	switch (spec->method) {
	case X86_OP_X:
	case X86_OP_Y:
	case X86_OP_SI:
	case X86_OP_DI:
		return access << 2;
	case X86_OP_AX:
		return access & X86_WRITE ? X86_COND_WRITE : access;
	}
	return access;
}

/* Merging keeps elements of the destination; zeroing writes them all, but to memory it cannot be. */
static uint8_t masked_access(const struct x86_insn *insn, const struct x86_operand *o)
{
	if (!(o->access & X86_WRITE) || (o->kind == X86_OPERAND_REG && o->reg_kind == X86_REG_MASK))
		return o->access;
	if (o->kind == X86_OPERAND_MEM)
		return X86_COND_WRITE;
	if (insn->zeroing || insn->row->evex & X86_EVEX_BLEND)
		return o->access;
	return X86_READ | X86_COND_WRITE;
}

/* --- the repeat counter: no row names it, because it is there only with the prefix --- */

static void set_counter(const struct x86_insn *insn, struct x86_operand *o)
{
	o->size = insn->adsize;
	o->access = X86_READ | X86_COND_WRITE;
	set_gpr(insn, o, CX);
}

static void set_stack_pointer(const struct x86_insn *insn, struct x86_operand *o)
{
	o->size = insn->mode == X86_MODE_64 ? 64 : insn->mode == X86_MODE_32 ? 32 : 16;
	o->access = X86_READ | X86_WRITE;
	set_gpr(insn, o, SP);
}

static bool uses_stack(const struct x86_insn *insn)
{
	const struct x86_opspec *spec = x86_implicit + insn->row->implicit;

	for (unsigned i = 0; i < insn->row->implicit_count; i++)
		if (spec[i].method == X86_OP_PUSH || spec[i].method == X86_OP_POP ||
		    spec[i].method == X86_OP_LEAVE)
			return true;
	return false;
}

bool x86_operand(const struct x86_insn *insn, unsigned n, struct x86_operand *ret)
{
	const struct x86_row *row = insn->row;
	const struct x86_opspec *spec;
	bool first = n == 0;

	*ret = (struct x86_operand){
	    .base = X86_REG_NONE, .index = X86_REG_NONE, .scale = 1, .reg_count = 1};
	if (n < row->operand_count) {
		spec = &row->operand[n];
	} else {
		n -= row->operand_count;
		if (n >= row->implicit_count) {
			n -= row->implicit_count;
			if (n == 0 && repeats(insn))
				set_counter(insn, ret);
			else if (n == 0 && uses_stack(insn))
				set_stack_pointer(insn, ret);
			else
				return false;
			return true;
		}
		spec = &x86_implicit[row->implicit + n];
		first = false;
	}
	ret->access = spec->access;
	ret->size = x86_type_bits(insn, spec->type, insn->memory);
	set_by_method(insn, ret, spec->method);
	if (repeats(insn))
		ret->access = repeated_access(insn, spec);
	else if (first && insn->mask)
		ret->access = masked_access(insn, ret);
	return true;
}

/* --- effects --- */

static void note_address(const struct x86_operand *o, struct x86_effects *e)
{
	if (o->base < 16)
		e->gpr_read |= 1u << o->base;
	if (o->vsib)
		e->vec_read |= 1u << o->index;
	else if (o->index < 16)
		e->gpr_read |= 1u << o->index;
}

/* A write of 8 or 16 bits keeps the rest of the register; one of 32 clears it. */
static void note_gpr(const struct x86_operand *o, struct x86_effects *e)
{
	uint32_t bit = 1u << o->reg;

	if (o->access & (X86_READ | X86_COND_READ))
		e->gpr_read |= bit;
	if (o->access & (X86_WRITE | X86_COND_WRITE))
		e->gpr_written |= bit;
	if (o->access & X86_WRITE && o->size >= 32)
		e->gpr_killed |= bit;
}

/* VEX and EVEX clear the register above what they write; the legacy encodings keep it. */
static void note_vector(const struct x86_insn *insn, const struct x86_operand *o,
			struct x86_effects *e)
{
	uint32_t bits = ((1u << o->reg_count) - 1) << o->reg;

	if (o->access & (X86_READ | X86_COND_READ))
		e->vec_read |= bits;
	if (o->access & (X86_WRITE | X86_COND_WRITE))
		e->vec_written |= bits;
	if (o->access & X86_WRITE && insn->row->map >= X86_MAP_VEX_0F)
		e->vec_killed |= bits;
}

static void note_register(const struct x86_insn *insn, const struct x86_operand *o,
			  struct x86_effects *e)
{
	uint8_t bits = ((1u << o->reg_count) - 1) << (o->reg & 7);

	switch (o->reg_kind) {
	case X86_REG_GPR8:
	case X86_REG_GPR8H:
	case X86_REG_GPR16:
	case X86_REG_GPR32:
	case X86_REG_GPR64:
		note_gpr(o, e);
		break;
	case X86_REG_XMM:
	case X86_REG_YMM:
	case X86_REG_ZMM:
		note_vector(insn, o, e);
		break;
	case X86_REG_MASK:
		if (o->access & (X86_READ | X86_COND_READ))
			e->mask_read |= bits;
		if (o->access & (X86_WRITE | X86_COND_WRITE))
			e->mask_written |= bits;
		break;
	}
}

static void note_memory(const struct x86_insn *insn, const struct x86_operand *o,
			struct x86_effects *e)
{
	note_address(o, e);
	if (insn->row->attributes & X86_ROW_NOACCESS)
		return;
	e->mem_read |= !!(o->access & (X86_READ | X86_COND_READ));
	e->mem_written |= !!(o->access & (X86_WRITE | X86_COND_WRITE));
}

/* A shift by an immediate that is not 0 writes its flags in any case. */
static bool count_is_known(const struct x86_insn *insn)
{
	unsigned last = insn->row->operand_count - 1;

	return insn->row->operand_count && insn->row->operand[last].method == X86_OP_I &&
	       insn->imm & (insn->opsize == 64 ? 63 : 31);
}

static void note_flags(const struct x86_insn *insn, struct x86_effects *e)
{
	const struct x86_flags *flags = &x86_flag_sets[insn->row->flags];

	e->flags_read = flags->read;
	e->flags_written = flags->written | flags->undefined;
	e->flags_killed = e->flags_written;
	if (repeats(insn)) {
		e->flags_killed = 0;
		if (insn->row->attributes & X86_ROW_REPZ)
			e->flags_read |= X86_FLAG_ZF;
	}
	if (flags->maybe && !count_is_known(insn))
		e->flags_killed = 0;
}

/* XOR or SUB of a register with itself, and VZEROALL, are left to whom it is worth the trouble. */
void x86_effects(const struct x86_insn *insn, struct x86_effects *ret)
{
	struct x86_operand o;

	*ret = (struct x86_effects){0};
	for (unsigned n = 0; x86_operand(insn, n, &o); n++) {
		if (o.kind == X86_OPERAND_REG)
			note_register(insn, &o, ret);
		else if (o.kind == X86_OPERAND_MEM)
			note_memory(insn, &o, ret);
	}
	if (insn->mask)
		ret->mask_read |= 1u << insn->mask;
	if (insn->mask && insn->row->operand_count > 1 &&
	    insn->row->attributes & (X86_ROW_GATHER | X86_ROW_SCATTER))
		ret->mask_written |= 1u
				     << insn->mask; /* each element that is done clears its bit */
	note_flags(insn, ret);
}
