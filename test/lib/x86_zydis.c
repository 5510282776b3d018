#include "x86_zydis.h"

#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <Zydis/Zydis.h>

/* One comparison. */
struct match {
	enum x86_mode mode;
	const uint8_t *bytes;
	struct x86_insn ours;
	ZydisDecodedInstruction theirs;
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	char *why;
	size_t size;
};

/* What may differ. */
enum aspect {
	VALID,
	NAME,
	OPERANDS,
	ACCESS,  /* of a written operand */
	EFFECTS, /* registers and memory read and written */
	FLAGS,
};

/* Where Zydis 4.0 differs from the manuals, or chooses otherwise. rows: encodings of our table, a '*' for any rest. */
static const struct known {
	enum aspect aspect;
	const char *rows;
	const char *reason;
} known_differences[] = {
#include "x86_zydis_known.h"
};

/* Instruction sets that our table leaves out on purpose. */
static const ZydisISAExt left_out[] = {
    ZYDIS_ISA_EXT_AMD3DNOW, ZYDIS_ISA_EXT_XOP,       ZYDIS_ISA_EXT_FMA4,
    ZYDIS_ISA_EXT_TBM,      ZYDIS_ISA_EXT_KNC,       ZYDIS_ISA_EXT_KNCE,
    ZYDIS_ISA_EXT_KNCV,     ZYDIS_ISA_EXT_AMX_TILE,  ZYDIS_ISA_EXT_AMX_INT8,
    ZYDIS_ISA_EXT_AMX_BF16, ZYDIS_ISA_EXT_KEYLOCKER, ZYDIS_ISA_EXT_KEYLOCKER_WIDE,
    ZYDIS_ISA_EXT_PADLOCK,  ZYDIS_ISA_EXT_MPX,
};

static bool is_known(const struct match *m, enum aspect aspect)
{
	const char *encoding = x86_row_encodings[m->ours.row - x86_rows];

	for (size_t i = 0; i < sizeof(known_differences) / sizeof(known_differences[0]); i++)
		if (known_differences[i].aspect == aspect &&
		    fnmatch(known_differences[i].rows, encoding, 0) == 0)
			return true;
	return false;
}

static bool differ(struct match *m, enum aspect aspect, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Returns whether the difference is a known one; else tells about it. */
static bool differ(struct match *m, enum aspect aspect, const char *fmt, ...)
{
	va_list args;
	int n;

	if (m->ours.row && is_known(m, aspect))
		return true;
	n = snprintf(m->why, m->size,
		     "%s: ", m->ours.row ? x86_row_encodings[m->ours.row - x86_rows] : "-");
	va_start(args, fmt);
	vsnprintf(m->why + n, m->size - n, fmt, args);
	va_end(args);
	return false;
}

/* --- what Zydis calls things --- */

static enum x86_reg_kind reg_kind(ZydisRegister reg)
{
	switch (ZydisRegisterGetClass(reg)) {
	case ZYDIS_REGCLASS_GPR8:
		return reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH ? X86_REG_GPR8H
									    : X86_REG_GPR8;
	case ZYDIS_REGCLASS_GPR16:
		return X86_REG_GPR16;
	case ZYDIS_REGCLASS_GPR32:
		return X86_REG_GPR32;
	case ZYDIS_REGCLASS_GPR64:
		return X86_REG_GPR64;
	case ZYDIS_REGCLASS_X87:
		return X86_REG_X87;
	case ZYDIS_REGCLASS_MMX:
		return X86_REG_MMX;
	case ZYDIS_REGCLASS_XMM:
		return X86_REG_XMM;
	case ZYDIS_REGCLASS_YMM:
		return X86_REG_YMM;
	case ZYDIS_REGCLASS_ZMM:
		return X86_REG_ZMM;
	case ZYDIS_REGCLASS_MASK:
		return X86_REG_MASK;
	case ZYDIS_REGCLASS_SEGMENT:
		return X86_REG_SEG;
	case ZYDIS_REGCLASS_CONTROL:
		return X86_REG_CR;
	case ZYDIS_REGCLASS_DEBUG:
		return X86_REG_DR;
	case ZYDIS_REGCLASS_IP:
		return X86_REG_RIP;
	default:
		if (reg == ZYDIS_REGISTER_XCR0)
			return X86_REG_XCR;
		return reg == ZYDIS_REGISTER_MXCSR ? X86_REG_CTL_MXCSR : 99;
	}
}

static unsigned reg_number(ZydisRegister reg)
{
	if (reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH)
		return reg - ZYDIS_REGISTER_AH;
	if (reg >= ZYDIS_REGISTER_SPL && reg <= ZYDIS_REGISTER_DIL)
		return 4 + reg - ZYDIS_REGISTER_SPL;
	if (reg >= ZYDIS_REGISTER_R8B && reg <= ZYDIS_REGISTER_R15B)
		return 8 + reg - ZYDIS_REGISTER_R8B;
	return ZydisRegisterGetId(reg) < 0 ? 0 : ZydisRegisterGetId(reg);
}

static unsigned address_number(ZydisRegister reg)
{
	if (reg == ZYDIS_REGISTER_NONE)
		return X86_REG_NONE;
	if (ZydisRegisterGetClass(reg) == ZYDIS_REGCLASS_IP)
		return X86_REG_IP;
	return reg_number(reg);
}

/* --- written operands --- */

static bool same_register(struct match *m, unsigned n, const struct x86_operand *o,
			  const ZydisDecodedOperand *z)
{
	enum x86_reg_kind kind = reg_kind(z->reg.value);

	if (o->kind != X86_OPERAND_REG || o->reg_kind != kind || o->reg != reg_number(z->reg.value))
		return differ(m, OPERANDS, "operand %u: %u/%u/%u, zydis register %s", n, o->kind,
			      o->reg_kind, o->reg, ZydisRegisterGetString(z->reg.value));
	return true;
}

static bool same_memory(struct match *m, unsigned n, const struct x86_operand *o,
			const ZydisDecodedOperand *z)
{
	if (o->kind != X86_OPERAND_MEM)
		return differ(m, OPERANDS, "operand %u: kind %u, zydis memory", n, o->kind);
	uint64_t bits = m->ours.adsize == 64 ? UINT64_MAX : (UINT64_C(1) << m->ours.adsize) - 1;

	if (o->base != address_number(z->mem.base) || o->index != address_number(z->mem.index) ||
	    (o->index != X86_REG_NONE && o->scale != z->mem.scale && z->mem.scale) ||
	    ((uint64_t)o->disp & bits) != ((uint64_t)z->mem.disp.value & bits))
		return differ(m, OPERANDS, "operand %u: [%u+%u*%u%+lld], zydis [%s+%s*%u%+lld]", n,
			      o->base, o->index, o->scale, (long long)o->disp,
			      ZydisRegisterGetString(z->mem.base),
			      ZydisRegisterGetString(z->mem.index), z->mem.scale,
			      (long long)z->mem.disp.value);
	if (z->mem.segment != (ZydisRegister)(ZYDIS_REGISTER_ES + o->segment) &&
	    z->mem.type != ZYDIS_MEMOP_TYPE_AGEN)
		return differ(m, OPERANDS, "operand %u: segment %u, zydis %s", n, o->segment,
			      ZydisRegisterGetString(z->mem.segment));
	return true;
}

static bool same_immediate(struct match *m, unsigned n, const struct x86_operand *o,
			   const ZydisDecodedOperand *z)
{
	uint64_t bits = z->size >= 64 ? UINT64_MAX : (UINT64_C(1) << z->size) - 1;

	if (o->kind != (z->imm.is_relative ? X86_OPERAND_REL : X86_OPERAND_IMM) ||
	    (o->imm & bits) != (z->imm.value.u & bits))
		return differ(m, OPERANDS, "operand %u: kind %u %llx, zydis immediate %llx", n,
			      o->kind, (unsigned long long)o->imm,
			      (unsigned long long)z->imm.value.u);
	return true;
}

static bool same_operand(struct match *m, unsigned n, const struct x86_operand *o,
			 const ZydisDecodedOperand *z)
{
	switch (z->type) {
	case ZYDIS_OPERAND_TYPE_REGISTER:
		if (!same_register(m, n, o, z))
			return false;
		break;
	case ZYDIS_OPERAND_TYPE_MEMORY:
		if (!same_memory(m, n, o, z))
			return false;
		if (o->size != z->size && o->size && z->mem.type != ZYDIS_MEMOP_TYPE_AGEN)
			return differ(m, OPERANDS, "operand %u: %u bits, zydis %u", n, o->size,
				      z->size);
		break;
	case ZYDIS_OPERAND_TYPE_IMMEDIATE:
		if (!same_immediate(m, n, o, z))
			return false;
		break;
	case ZYDIS_OPERAND_TYPE_POINTER:
		if (o->kind != X86_OPERAND_FAR || o->imm != z->ptr.offset ||
		    m->ours.imm2 != z->ptr.segment)
			return differ(m, OPERANDS, "operand %u: kind %u, zydis far pointer", n,
				      o->kind);
		break;
	default:
		return differ(m, OPERANDS, "operand %u: zydis has type %d", n, z->type);
	}
	if (z->mem.type != ZYDIS_MEMOP_TYPE_AGEN && o->access != z->actions &&
	    (z->type == ZYDIS_OPERAND_TYPE_REGISTER || z->type == ZYDIS_OPERAND_TYPE_MEMORY))
		return differ(m, ACCESS, "operand %u: access %u, zydis %u", n, o->access,
			      z->actions);
	return true;
}

static bool is_mask_operand(const ZydisDecodedOperand *z)
{
	return z->encoding == ZYDIS_OPERAND_ENCODING_MASK;
}

static bool same_operands(struct match *m)
{
	unsigned n = 0;

	for (unsigned i = 0; i < m->theirs.operand_count; i++) {
		const ZydisDecodedOperand *z = &m->operands[i];
		struct x86_operand o;

		if (z->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN || is_mask_operand(z))
			continue;
		if (n >= m->ours.row->operand_count)
			return differ(m, OPERANDS, "%u operands, zydis has more", n);
		x86_operand(&m->ours, n, &o);
		if (!same_operand(m, n, &o, z))
			return false;
		n++;
	}
	if (n < m->ours.row->operand_count)
		return differ(m, OPERANDS, "%u operands, zydis %u", m->ours.row->operand_count, n);
	return true;
}

/* --- registers and memory, the implied ones included --- */

static void their_register(const ZydisDecodedOperand *z, unsigned count, struct x86_effects *e)
{
	unsigned number = reg_number(z->reg.value);
	bool read = z->actions & ZYDIS_OPERAND_ACTION_MASK_READ;
	bool write = z->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
	uint32_t bits = ((1u << count) - 1) << number;

	switch (reg_kind(z->reg.value)) {
	case X86_REG_GPR8:
	case X86_REG_GPR8H:
	case X86_REG_GPR16:
	case X86_REG_GPR32:
	case X86_REG_GPR64:
		e->gpr_read |= read ? bits : 0;
		e->gpr_written |= write ? bits : 0;
		break;
	case X86_REG_XMM:
	case X86_REG_YMM:
	case X86_REG_ZMM:
		e->vec_read |= read ? bits : 0;
		e->vec_written |= write ? bits : 0;
		break;
	case X86_REG_MASK:
		e->mask_read |= read ? bits : 0;
		e->mask_written |= write ? bits : 0;
		break;
	default:
		break;
	}
}

static void their_memory(const ZydisDecodedOperand *z, struct x86_effects *e)
{
	unsigned base = address_number(z->mem.base), index = address_number(z->mem.index);

	if (base < 16)
		e->gpr_read |= 1u << base;
	if (z->mem.type == ZYDIS_MEMOP_TYPE_VSIB)
		e->vec_read |= 1u << index;
	else if (index < 16)
		e->gpr_read |= 1u << index;
	if (z->mem.type == ZYDIS_MEMOP_TYPE_AGEN || z->mem.type == ZYDIS_MEMOP_TYPE_MIB)
		return;
	e->mem_read |= !!(z->actions & ZYDIS_OPERAND_ACTION_MASK_READ);
	e->mem_written |= !!(z->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE);
}

static void their_effects(const struct match *m, struct x86_effects *e)
{
	*e = (struct x86_effects){0};
	for (unsigned i = 0; i < m->theirs.operand_count; i++) {
		const ZydisDecodedOperand *z = &m->operands[i];

		if (z->type == ZYDIS_OPERAND_TYPE_MEMORY)
			their_memory(z, e);
		else if (z->type == ZYDIS_OPERAND_TYPE_REGISTER &&
			 !(is_mask_operand(z) && z->reg.value == ZYDIS_REGISTER_K0))
			their_register(z,
				       z->encoding == ZYDIS_OPERAND_ENCODING_NDSNDD &&
					       z->element_count > 99
					   ? 4
					   : 1,
				       e);
	}
}

static bool same_effects(struct match *m)
{
	struct x86_effects ours, theirs;

	x86_effects(&m->ours, &ours);
	their_effects(m, &theirs);
	if (ours.gpr_read != theirs.gpr_read || ours.gpr_written != theirs.gpr_written)
		return differ(m, EFFECTS, "general registers read %x written %x, zydis %x %x",
			      ours.gpr_read, ours.gpr_written, theirs.gpr_read, theirs.gpr_written);
	if (ours.vec_read != theirs.vec_read || ours.vec_written != theirs.vec_written)
		return differ(m, EFFECTS, "vector registers read %x written %x, zydis %x %x",
			      ours.vec_read, ours.vec_written, theirs.vec_read, theirs.vec_written);
	if (ours.mask_read != theirs.mask_read || ours.mask_written != theirs.mask_written)
		return differ(m, EFFECTS, "mask registers read %x written %x, zydis %x %x",
			      ours.mask_read, ours.mask_written, theirs.mask_read,
			      theirs.mask_written);
	if (ours.mem_read != theirs.mem_read || ours.mem_written != theirs.mem_written)
		return differ(m, EFFECTS, "memory read %d written %d, zydis %d %d", ours.mem_read,
			      ours.mem_written, theirs.mem_read, theirs.mem_written);
	return true;
}

static bool same_flags(struct match *m)
{
	static const ZydisAccessedFlags none;
	const struct x86_flags *f = &x86_flag_sets[m->ours.row->flags];
	const ZydisAccessedFlags *z = m->theirs.cpu_flags ? m->theirs.cpu_flags : &none;
	const ZydisAccessedFlags *fpu = m->theirs.fpu_flags ? m->theirs.fpu_flags : &none;
	uint32_t iopl_high = X86_FLAG_IOPL & X86_FLAG_IOPL << 1; /* for Zydis IOPL is one bit */
	struct x86_effects effects;

	x86_effects(&m->ours, &effects);
	uint32_t read = effects.flags_read & ~iopl_high;
	uint32_t modified = f->written & ~f->cleared & ~f->set & ~iopl_high;

	if (read != z->tested || modified != z->modified || f->cleared != z->set_0 ||
	    f->set != z->set_1 || f->undefined != z->undefined)
		return differ(m, FLAGS,
			      "flags read %x modified %x cleared %x set %x undefined %x, zydis %x "
			      "%x %x %x %x",
			      read, modified, f->cleared, f->set, f->undefined, z->tested,
			      z->modified, z->set_0, z->set_1, z->undefined);
	if (f->fpu_written != (fpu->modified | fpu->set_0) || f->fpu_undefined != fpu->undefined)
		return differ(m, FLAGS, "x87 flags written %x undefined %x, zydis %x %x",
			      f->fpu_written, f->fpu_undefined, fpu->modified | fpu->set_0,
			      fpu->undefined);
	return true;
}

/* Zydis says only in the operands what is far. */
static bool same_name(struct match *m)
{
	static const struct {
		enum x86_mnemonic ours;
		ZydisMnemonic theirs;
	} aliases[] = {
	    {X86_callf, ZYDIS_MNEMONIC_CALL},
	    {X86_jmpf, ZYDIS_MNEMONIC_JMP},
	    {X86_retf, ZYDIS_MNEMONIC_RET},
	    {X86_fneni, ZYDIS_MNEMONIC_FENI8087_NOP},
	    {X86_fndisi, ZYDIS_MNEMONIC_FDISI8087_NOP},
	    {X86_fnsetpm, ZYDIS_MNEMONIC_FSETPM287_NOP},
	};

	for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++)
		if (m->ours.row->mnemonic == aliases[i].ours &&
		    m->theirs.mnemonic == aliases[i].theirs)
			return true;
	if (strcmp(x86_mnemonic_name(m->ours.row->mnemonic),
		   ZydisMnemonicGetString(m->theirs.mnemonic)) == 0)
		return true;
	return differ(m, NAME, "%s, zydis %s", x86_mnemonic_name(m->ours.row->mnemonic),
		      ZydisMnemonicGetString(m->theirs.mnemonic));
}

/* --- all of it --- */

static ZyanStatus decode_theirs(struct match *m)
{
	static const struct {
		ZydisMachineMode mode;
		ZydisStackWidth stack;
	} modes[] = {
	    [X86_MODE_16] = {ZYDIS_MACHINE_MODE_LONG_COMPAT_16, ZYDIS_STACK_WIDTH_16},
	    [X86_MODE_32] = {ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32},
	    [X86_MODE_64] = {ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64},
	};
	ZydisDecoder decoder;

	ZydisDecoderInit(&decoder, modes[m->mode].mode, modes[m->mode].stack);
	ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
	return ZydisDecoderDecodeFull(&decoder, m->bytes, X86_LENGTH_MAX, &m->theirs, m->operands);
}

/* Bytes that only one of the two takes for an instruction. */
static bool explains_validity(struct match *m, bool ours)
{
	if (ours)
		return differ(m, VALID, "valid, zydis says no");
	for (size_t i = 0; i < sizeof(left_out) / sizeof(left_out[0]); i++)
		if (m->theirs.meta.isa_ext == left_out[i])
			return true;
	m->ours.row = x86_rows;
	return differ(m, VALID, "invalid, zydis has %s of %s",
		      ZydisMnemonicGetString(m->theirs.mnemonic),
		      ZydisISAExtGetString(m->theirs.meta.isa_ext));
}

bool x86_zydis_agrees(enum x86_mode mode, const uint8_t *bytes, unsigned *ret_length, char *why,
		      size_t why_size)
{
	struct match m = {.mode = mode, .bytes = bytes, .why = why, .size = why_size};
	bool ours = x86_decode(mode, bytes, X86_LENGTH_MAX, &m.ours) == X86_OK;
	bool theirs = ZYAN_SUCCESS(decode_theirs(&m));

	/* With 67 and REX.B Zydis 4.0 takes a SIB base of 101 and mod 0, which mean no base, for R13D. */
	bool no_base = ours && m.ours.memory && m.ours.base == X86_REG_NONE &&
		       m.ours.rex & X86_REX_B && m.ours.prefixes & X86_PREFIX_ADSIZE &&
		       mode == X86_MODE_64;

	*ret_length = ours ? m.ours.length : theirs ? m.theirs.length : 1;
	if (ours != theirs)
		return explains_validity(&m, ours);
	if (!ours)
		return true;
	if (m.ours.length != m.theirs.length)
		return differ(&m, VALID, "length %u, zydis %u", m.ours.length, m.theirs.length);
	return same_name(&m) && (no_base || (same_operands(&m) && same_effects(&m))) &&
	       same_flags(&m);
}

/* --- random bytes --- */

/* splitmix64 */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* Perhaps a prefix, then perhaps an escape. */
static void make_legacy(uint64_t r, uint8_t *bytes)
{
	static const uint8_t prefixes[8] = {0x66, 0xf3, 0xf2, 0x67, 0x48, 0xf0, 0x2e, 0x65};
	static const uint8_t escapes[4] = {0, 0, 0x38, 0x3a};

	if (r & 1)
		*bytes++ = prefixes[r >> 1 & 7];
	if (r & 16) {
		*bytes++ = 0x0f;
		if (escapes[r >> 5 & 3])
			*bytes = escapes[r >> 5 & 3];
	}
}

/* C4 with a map that exists; in half of them no vvvv. */
static void make_vex(uint64_t r, uint8_t *bytes)
{
	bytes[0] = 0xc4;
	bytes[1] = (bytes[1] & 0xe0) | (1 + (r & 0xff) % 3);
	if (r & 0x100)
		bytes[2] |= 0x78;
}

/* 62 with the fixed bits as they must be; in half of them no vvvv, in half neither mask nor b. */
static void make_evex(uint64_t r, enum x86_mode mode, uint8_t *bytes)
{
	bytes[0] = 0x62;
	bytes[1] = (bytes[1] & 0xf0) | (r & 0xff) % 7 | (mode == X86_MODE_64 ? 0 : 0xc0);
	bytes[2] |= 4;
	if (r & 0x100) {
		bytes[2] |= 0x78;
		bytes[3] |= 8;
	}
	if (r & 0x200)
		bytes[3] &= 0x68;
}

enum x86_mode x86_zydis_random(uint64_t *state, uint8_t bytes[X86_LENGTH_MAX])
{
	uint64_t words[2] = {next_random(state), next_random(state)}, r = next_random(state);
	enum x86_mode mode = (r >> 32) % 3;

	memcpy(bytes, words, X86_LENGTH_MAX);
	switch (r >> 40 & 3) {
	case 1:
		make_legacy(r, bytes);
		break;
	case 2:
		make_vex(r, bytes);
		break;
	case 3:
		make_evex(r, mode, bytes);
		break;
	}
	return mode;
}
