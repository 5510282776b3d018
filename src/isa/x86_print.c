/* Intel syntax, as the manuals write it and GNU as reads it. */
#include "isa/x86.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The text so far; what does not fit is cut. */
struct out {
	char *text;
	size_t size, length;
};

static void add(struct out *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void add(struct out *out, const char *fmt, ...)
{
	va_list args;
	int n;

	if (out->length + 1 >= out->size)
		return;
	va_start(args, fmt);
	n = vsnprintf(out->text + out->length, out->size - out->length, fmt, args);
	va_end(args);
	if (n > 0)
		out->length += n;
	if (out->length >= out->size)
		out->length = out->size - 1;
}

static void add_reg(struct out *out, enum x86_reg_kind kind, unsigned n)
{
	char text[8];

	add(out, "%s", x86_reg_name(kind, n, text));
}

static void add_number(struct out *out, int64_t value)
{
	if (value < 0)
		add(out, "-0x%" PRIx64, -(uint64_t)value);
	else
		add(out, "0x%" PRIx64, value);
}

static enum x86_reg_kind address_kind(const struct x86_insn *insn)
{
	return insn->adsize == 64   ? X86_REG_GPR64
	       : insn->adsize == 32 ? X86_REG_GPR32
				    : X86_REG_GPR16;
}

/* The index of a gather is a vector: half as long where 32-bit indexes choose 64-bit elements. */
static enum x86_reg_kind vsib_kind(const struct x86_insn *insn)
{
	const struct x86_row *row = insn->row;
	bool half = false;

	for (unsigned i = 0; i < row->operand_count; i++)
		half |= row->operand[i].type == X86_TY_hq;
	return X86_REG_XMM + (half && insn->vl ? insn->vl - 1 : insn->vl);
}

static void add_size(struct out *out, const struct x86_insn *insn, const struct x86_operand *o)
{
	static const struct {
		uint32_t bits;
		const char *name;
	} sizes[] = {{8, "byte"},      {16, "word"},     {32, "dword"},
		     {48, "fword"},    {64, "qword"},    {80, "tbyte"},
		     {128, "xmmword"}, {256, "ymmword"}, {512, "zmmword"}};

	if (insn->row->attributes & X86_ROW_NOACCESS)
		return;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		if (sizes[i].bits == o->size)
			add(out, "%s ptr ", sizes[i].name);
}

static bool needs_segment(const struct x86_insn *insn, const struct x86_operand *o)
{
	return insn->segment != X86_REG_NONE && o->segment == insn->segment &&
	       !(insn->row->attributes & X86_ROW_NOACCESS);
}

static void add_memory(struct out *out, const struct x86_insn *insn, const struct x86_operand *o)
{
	bool something = false;

	add_size(out, insn, o);
	if (needs_segment(insn, o)) {
		add_reg(out, X86_REG_SEG, o->segment);
		add(out, ":");
	}
	add(out, "[");
	if (o->base == X86_REG_IP)
		add(out, insn->adsize == 64 ? "rip" : "eip");
	else if (o->base != X86_REG_NONE)
		add_reg(out, address_kind(insn), o->base);
	something = o->base != X86_REG_NONE;
	if (o->index != X86_REG_NONE) {
		add(out, something ? "+" : "");
		add_reg(out, o->vsib ? vsib_kind(insn) : address_kind(insn), o->index);
		if (insn->adsize != 16)
			add(out, "*%u", o->scale);
		something = true;
	}
	if (!something)
		add(out, "0x%" PRIx64,
		    insn->adsize == 64 ? (uint64_t)o->disp
				       : (uint64_t)o->disp & ((UINT64_C(1) << insn->adsize) - 1));
	else if (o->disp) {
		add(out, o->disp > 0 ? "+" : "");
		add_number(out, o->disp);
	}
	add(out, "]");
	if (o->broadcast)
		add(out, "{1to%u}", o->broadcast);
}

static void add_immediate(struct out *out, const struct x86_insn *insn, const struct x86_operand *o)
{
	/* a sign-extended immediate belongs to an operation of operand size */
	if (o->size >= 64 || insn->opsize == 64)
		add_number(out, (int64_t)o->imm);
	else
		add(out, "0x%" PRIx64,
		    o->imm &
			((UINT64_C(1) << (o->size > insn->opsize ? o->size : insn->opsize)) - 1));
}

static void add_target(struct out *out, const struct x86_insn *insn, const struct x86_operand *o,
		       uint64_t address)
{
	uint64_t target = address + insn->length + o->imm;

	if (insn->opsize != 64)
		target &= (UINT64_C(1) << insn->opsize) - 1;
	add(out, "0x%" PRIx64, target);
}

static void add_operand(struct out *out, const struct x86_insn *insn, const struct x86_operand *o,
			uint64_t address)
{
	switch (o->kind) {
	case X86_OPERAND_REG:
		add_reg(out, o->reg_kind, o->reg);
		break;
	case X86_OPERAND_MEM:
		add_memory(out, insn, o);
		break;
	case X86_OPERAND_IMM:
		add_immediate(out, insn, o);
		break;
	case X86_OPERAND_REL:
		add_target(out, insn, o, address);
		break;
	case X86_OPERAND_FAR:
		add(out, "0x%x:0x%" PRIx64, insn->imm2, o->imm);
		break;
	}
}

/* Memory that is not written out, where an override would be lost. */
static bool implies_data_segment(const struct x86_insn *insn)
{
	const struct x86_opspec *spec = x86_implicit + insn->row->implicit;

	for (unsigned i = 0; i < insn->row->implicit_count; i++)
		if (spec[i].method == X86_OP_X || spec[i].method == X86_OP_XLAT ||
		    spec[i].method == X86_OP_MASKMOV)
			return true;
	return false;
}

static void add_prefixes(struct out *out, const struct x86_insn *insn)
{
	if (insn->prefixes & X86_PREFIX_LOCK)
		add(out, "lock ");
	if (insn->segment != X86_REG_NONE && implies_data_segment(insn)) {
		add_reg(out, X86_REG_SEG, insn->segment);
		add(out, " ");
	}
	if (insn->repeat && insn->row->attributes & X86_ROW_REPZ)
		add(out, insn->repeat == 0xf3 ? "repe " : "repne ");
	else if (insn->repeat && insn->row->attributes & X86_ROW_REP)
		add(out, "rep ");
}

/* Rounding and suppression come after the last operand that is no immediate. */
static void add_rounding(struct out *out, const struct x86_insn *insn)
{
	static const char modes[4][3] = {"rn", "rd", "ru", "rz"};

	if (insn->row->evex & X86_EVEX_ER)
		add(out, ", {%s-sae}", modes[insn->rounding]);
	else if (insn->row->evex & X86_EVEX_SAE)
		add(out, ", {sae}");
}

static bool rounds_after(const struct x86_insn *insn, unsigned n)
{
	const struct x86_row *row = insn->row;

	if (!insn->evex_b || insn->memory)
		return false;
	return n + 1 == row->operand_count ? row->operand[n].method != X86_OP_I
					   : row->operand[n + 1].method == X86_OP_I;
}

size_t x86_print(const struct x86_insn *insn, uint64_t address, char *text, size_t size)
{
	struct out out = {text, size, 0};

	if (size)
		text[0] = '\0';
	add_prefixes(&out, insn);
	add(&out, "%s", x86_mnemonic_name(insn->row->mnemonic));
	for (unsigned n = 0; n < insn->row->operand_count; n++) {
		struct x86_operand o;

		x86_operand(insn, n, &o);
		add(&out, n ? ", " : " ");
		add_operand(&out, insn, &o, address);
		if (n == 0 && insn->mask)
			add(&out, "{k%u}%s", insn->mask, insn->zeroing ? "{z}" : "");
		if (rounds_after(insn, n))
			add_rounding(&out, insn);
	}
	return out.length;
}
