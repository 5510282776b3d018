/* From bytes to struct x86_insn.
 *
 * Prefixes, then the opcode map (one byte, 0F…, VEX, EVEX), then a walk through the questions that gen_table.py derived
 * from the rows that share the opcode, until one row is left; then what that row says follows: ModRM, SIB,
 * displacement, immediates. The last step refuses what the row does not allow (LOCK, vvvv, masks, registers that do not exist).
 *
 * SDM volume 2, chapter 2. */
#include "isa/x86.h"

#include <string.h>

#include "base/endian.h"
#include "isa/x86_int.h"

/* The bytes, read in order. `over` becomes true at the first one that is not there. */
struct cursor {
	const uint8_t *bytes;
	uint8_t at, limit;
	bool over;
};

enum prefix_kind {
	NOT_PREFIX,
	PREFIX_SEG_NULL, /* ES, CS, SS, DS: nothing in 64-bit mode */
	PREFIX_SEG,
	PREFIX_OPSIZE,
	PREFIX_ADSIZE,
	PREFIX_LOCK,
	PREFIX_REPEAT,
	PREFIX_REX, /* in 64-bit mode */
	PREFIX_VEX, /* C4, C5, 62: perhaps */
};

/* clang-format off */
static const uint8_t prefix_kinds[256] = {
	[0x26] = PREFIX_SEG_NULL, [0x2e] = PREFIX_SEG_NULL, [0x36] = PREFIX_SEG_NULL, [0x3e] = PREFIX_SEG_NULL,
	[0x64] = PREFIX_SEG, [0x65] = PREFIX_SEG, [0x66] = PREFIX_OPSIZE, [0x67] = PREFIX_ADSIZE, [0xf0] = PREFIX_LOCK,
	[0xf2] = PREFIX_REPEAT, [0xf3] = PREFIX_REPEAT, [0x40 ... 0x4f] = PREFIX_REX,
	[0x62] = PREFIX_VEX, [0xc4] = PREFIX_VEX, [0xc5] = PREFIX_VEX,
};
/* clang-format on */

static const uint8_t size_bits[] = {16, 32, 64};

/* The next byte, or 0 beyond the end: the caller looks at `over` before it believes anything. */
static inline uint8_t next(struct cursor *c)
{
	if (c->at < c->limit)
		return c->bytes[c->at++];
	c->over = true;
	return 0;
}

static inline uint8_t peek(struct cursor *c)
{
	if (c->at < c->limit)
		return c->bytes[c->at];
	c->over = true;
	return 0;
}

/* So many bytes as a number, sign-extended. size: 0, 1, 2, 4, 8. */
static int64_t next_number(struct cursor *c, unsigned size)
{
	const uint8_t *p = c->bytes + c->at;

	if (c->limit - c->at < (int)size) {
		c->over = true;
		return 0;
	}
	c->at += size;
	switch (size) {
	case 1:
		return (int8_t)p[0];
	case 2:
		return (int16_t)get_le16(p);
	case 4:
		return (int32_t)get_le32(p);
	case 8:
		return (int64_t)get_le64(p);
	}
	return 0;
}

/* --- prefixes --- */

/* Eats them; returns the first byte that is none. REX counts only as the last one. */
static uint8_t legacy_prefixes(struct cursor *c, struct x86_insn *insn)
{
	bool long_mode = insn->mode == X86_MODE_64;

	for (;;) {
		uint8_t byte = next(c);

		switch (prefix_kinds[byte]) {
		case PREFIX_REX:
			if (!long_mode)
				return byte;
			insn->prefixes |= X86_PREFIX_REX;
			insn->rex = byte & 0xf;
			continue;
		case PREFIX_SEG_NULL:
			insn->prefixes |= X86_PREFIX_SEG;
			if (!long_mode)
				insn->segment = byte >> 3 & 3;
			break;
		case PREFIX_SEG:
			insn->prefixes |= X86_PREFIX_SEG;
			insn->segment = byte == 0x64 ? X86_FS : X86_GS;
			break;
		case PREFIX_OPSIZE:
			insn->prefixes |= X86_PREFIX_OPSIZE;
			break;
		case PREFIX_ADSIZE:
			insn->prefixes |= X86_PREFIX_ADSIZE;
			break;
		case PREFIX_LOCK:
			insn->prefixes |= X86_PREFIX_LOCK;
			break;
		case PREFIX_REPEAT:
			insn->prefixes |= byte == 0xf2 ? X86_PREFIX_REPNE : X86_PREFIX_REP;
			insn->repeat = byte;
			break;
		default:
			return byte;
		}
		insn->prefixes &= ~X86_PREFIX_REX;
		insn->rex = 0;
	}
}

/* The index of SEL_PREFIX: F2 and F3 hide 66. */
static unsigned mandatory_prefix(const struct x86_insn *insn)
{
	if (insn->repeat)
		return insn->repeat == 0xf3 ? 2 : 3;
	return insn->prefixes & X86_PREFIX_OPSIZE ? 1 : 0;
}

/* What the walk through the nodes needs beside the instruction. */
struct opcode {
	uint8_t map; /* enum x86_map */
	uint8_t prefix;
	uint8_t vvvv; /* with the bits that only 64-bit mode has */
	bool vex, evex;
	bool invalid;
};

static const uint8_t vex_maps[4] = {X86_MAP_COUNT, X86_MAP_VEX_0F, X86_MAP_VEX_0F38,
				    X86_MAP_VEX_0F3A};
static const uint8_t evex_maps[8] = {X86_MAP_COUNT,     X86_MAP_EVEX_0F, X86_MAP_EVEX_0F38,
				     X86_MAP_EVEX_0F3A, X86_MAP_COUNT,   X86_MAP_EVEX_5,
				     X86_MAP_EVEX_6,    X86_MAP_COUNT};

/* SDM volume 2, 2.3.5. In 32-bit modes the registers above 7 do not exist, and the bits that would name them are either
 * fixed by the test for LES and LDS or ignored. */
static void vex_prefix(struct cursor *c, struct x86_insn *insn, struct opcode *op, uint8_t first)
{
	uint8_t b = next(c), map = 1;

	if (!(b & 0x80))
		insn->rex |= X86_REX_R;
	if (first == 0xc4) {
		insn->rex |= (b & 0x40 ? 0 : X86_REX_X) | (b & 0x20 ? 0 : X86_REX_B);
		map = b & 0x1f;
		b = next(c);
		insn->rex |= b & 0x80 ? X86_REX_W : 0;
	}
	op->map = map < 4 ? vex_maps[map] : X86_MAP_COUNT;
	op->prefix = b & 3;
	insn->vl = b >> 2 & 1;
	insn->vvvv = ~b >> 3 & 0xf;
	op->vex = true;
}

/* SDM volume 2, 2.7.1 */
static void evex_prefix(struct cursor *c, struct x86_insn *insn, struct opcode *op)
{
	uint8_t p0 = next(c), p1 = next(c), p2 = next(c);

	insn->rex = (p0 & 0x80 ? 0 : X86_REX_R) | (p0 & 0x40 ? 0 : X86_REX_X) |
		    (p0 & 0x20 ? 0 : X86_REX_B) | (p1 & 0x80 ? X86_REX_W : 0);
	insn->reg = p0 & 0x10 ? 0 : 16;
	op->map = evex_maps[p0 & 7];
	op->prefix = p1 & 3;
	insn->vvvv = (~p1 >> 3 & 0xf) | (p2 & 8 ? 0 : 16);
	insn->zeroing = p2 & 0x80;
	insn->vl = insn->rounding = p2 >> 5 & 3;
	insn->evex_b = p2 & 0x10;
	insn->mask = p2 & 7;
	op->evex = true;
	op->invalid = (p0 & 8) || !(p1 & 4) || (insn->vl == 3 && !insn->evex_b);
}

/* True where C4, C5 or 62 begins a prefix: in 64-bit mode always, else where LES, LDS or BOUND would have a register. */
static bool is_vex(struct cursor *c, const struct x86_insn *insn)
{
	return insn->mode == X86_MODE_64 || peek(c) >= 0xc0;
}

/* The map and the opcode byte. */
static void find_opcode(struct cursor *c, struct x86_insn *insn, struct opcode *op, uint8_t byte)
{
	if (prefix_kinds[byte] == PREFIX_VEX && is_vex(c, insn)) {
		op->invalid =
		    (insn->prefixes & (X86_PREFIX_LOCK | X86_PREFIX_OPSIZE | X86_PREFIX_REX)) ||
		    insn->repeat;
		bool refused = op->invalid;

		if (byte == 0x62)
			evex_prefix(c, insn, op);
		else
			vex_prefix(c, insn, op, byte);
		op->vvvv = insn->vvvv;
		if (insn->mode != X86_MODE_64) {
			insn->rex &= ~X86_REX_B;
			insn->reg = 0;
			insn->vvvv &= 7;
			op->invalid |= op->vvvv & 16;
		}
		op->invalid |= refused || op->map == X86_MAP_COUNT;
		byte = next(c);
	} else {
		op->map = X86_MAP_1;
		op->prefix = mandatory_prefix(insn);
		if (byte == 0x0f) {
			op->map = X86_MAP_0F;
			byte = next(c);
			if (byte == 0x38 || byte == 0x3a) {
				op->map = byte == 0x38 ? X86_MAP_0F38 : X86_MAP_0F3A;
				byte = next(c);
			}
		}
	}
	insn->opcode = byte;
	insn->opcode_at = c->at - 1;
}

/* --- sizes --- */

/* Index into size_bits: 0, 1, 2. */
static unsigned operand_size(const struct x86_insn *insn, bool default_64, bool forced_64)
{
	if (insn->mode == X86_MODE_64) {
		if (forced_64 || insn->rex & X86_REX_W)
			return 2;
		if (insn->prefixes & X86_PREFIX_OPSIZE)
			return 0;
		return default_64 ? 2 : 1;
	}
	return (insn->mode == X86_MODE_32) ^ !!(insn->prefixes & X86_PREFIX_OPSIZE);
}

static unsigned address_size(const struct x86_insn *insn)
{
	bool other = insn->prefixes & X86_PREFIX_ADSIZE;

	if (insn->mode == X86_MODE_64)
		return other ? 1 : 2;
	return (insn->mode == X86_MODE_32) ^ other;
}

/* --- the walk --- */

static unsigned answer(struct cursor *c, const struct x86_insn *insn, const struct opcode *op,
		       enum x86_selector question)
{
	switch (question) {
	case X86_SEL_MODE:
		return insn->mode == X86_MODE_64;
	case X86_SEL_PREFIX:
		return op->prefix;
	case X86_SEL_MOD:
		return peek(c) >= 0xc0;
	case X86_SEL_REG:
		return peek(c) >> 3 & 7;
	case X86_SEL_RM:
		return peek(c) & 7;
	case X86_SEL_W:
		return !!(insn->rex & X86_REX_W);
	case X86_SEL_VL:
		/* with EVEX.b and registers the bits say how to round, and the length is 512 */
		return insn->evex_b && peek(c) >= 0xc0 ? 2 : insn->vl;
	case X86_SEL_OPSIZE:
		return operand_size(insn, false, false);
	case X86_SEL_OPSIZE64:
		return operand_size(insn, true, false);
	case X86_SEL_ADSIZE:
		return address_size(insn);
	case X86_SEL_REXB:
		return insn->rex & X86_REX_B;
	}
	return 0;
}

static const struct x86_row *find_row(struct cursor *c, const struct x86_insn *insn,
				      const struct opcode *op)
{
	uint16_t at = x86_roots[op->map][insn->opcode];

	while (at & X86_NODE) {
		const uint16_t *node = x86_nodes + (at & ~X86_NODE);

		at = node[1 + answer(c, insn, op, node[0])];
	}
	return x86_rows + at;
}

/* --- ModRM --- */

/* SDM volume 2, table 2-1: base and index of the eight forms, general register numbers. */
static void modrm_16(struct x86_insn *insn, unsigned mod)
{
	static const uint8_t bases[8] = {3, 3, 5, 5, 6, 7, 5, 3};
	static const uint8_t indexes[8] = {
	    6, 7, 6, 7, X86_REG_NONE, X86_REG_NONE, X86_REG_NONE, X86_REG_NONE};
	unsigned rm = insn->modrm & 7;

	insn->base = bases[rm];
	insn->index = indexes[rm];
	insn->disp_size = mod == 1 ? 1 : mod == 2 ? 2 : 0;
	if (mod == 0 && rm == 6) {
		insn->base = X86_REG_NONE;
		insn->disp_size = 2;
	}
}

static bool has_vsib(const struct x86_row *row)
{
	return row->operand[0].method == X86_OP_MV || row->operand[1].method == X86_OP_MV;
}

/* SDM volume 2, tables 2-2 and 2-3 */
static void modrm_32(struct cursor *c, struct x86_insn *insn, unsigned mod)
{
	unsigned rm = insn->modrm & 7;

	insn->disp_size = mod == 1 ? 1 : mod == 2 ? 4 : 0;
	if (rm == 4) {
		uint8_t sib = next(c);
		unsigned index = (sib >> 3 & 7) | (insn->rex & X86_REX_X ? 8 : 0);

		insn->scale = 1 << (sib >> 6);
		if (has_vsib(insn->row))
			insn->index = index | (insn->vvvv & 16);
		else if (index != 4)
			insn->index = index;
		rm = sib & 7;
	} else if (mod == 0 && rm == 5 && insn->mode == X86_MODE_64) {
		insn->base = X86_REG_IP;
		insn->disp_size = 4;
		return;
	}
	if (mod == 0 && rm == 5)
		insn->disp_size = 4;
	else
		insn->base = rm | (insn->rex & X86_REX_B ? 8 : 0);
}

/* Bytes that an EVEX disp8 counts: the memory operand, or its element. SDM volume 2, 2.7.5. */
static unsigned disp8_unit(const struct x86_insn *insn)
{
	const struct x86_row *row = insn->row;

	if (row->element_bytes && (!row->broadcast || insn->evex_b))
		return row->element_bytes;
	for (unsigned i = 0; i < row->operand_count; i++)
		switch (row->operand[i].method) {
		case X86_OP_E:
		case X86_OP_M:
		case X86_OP_W:
			return x86_type_bits(insn, row->operand[i].type, true) / 8;
		}
	return 1;
}

static void read_modrm(struct cursor *c, struct x86_insn *insn, bool evex)
{
	unsigned mod;

	insn->modrm_at = c->at;
	insn->modrm = next(c);
	mod = insn->row->attributes & X86_ROW_MODREG ? 3 : insn->modrm >> 6;
	insn->reg |= (insn->modrm >> 3 & 7) | (insn->rex & X86_REX_R ? 8 : 0);
	if (mod == 3) {
		insn->rm = (insn->modrm & 7) | (insn->rex & X86_REX_B ? 8 : 0);
		if (evex && insn->rex & X86_REX_X)
			insn->rm |= 16;
		return;
	}
	insn->memory = true;
	if (insn->adsize == 16)
		modrm_16(insn, mod);
	else
		modrm_32(c, insn, mod);
	if (insn->disp_size) {
		insn->disp_at = c->at;
		insn->disp = next_number(c, insn->disp_size);
		if (evex && insn->disp_size == 1)
			insn->disp *= disp8_unit(insn);
	}
}

/* --- immediates --- */

static void read_immediates(struct cursor *c, struct x86_insn *insn)
{
	insn->imm_at = c->at;
	for (unsigned i = 0; i < 2 && insn->row->imm[i]; i++) {
		unsigned size = 1;

		switch (insn->row->imm[i]) {
		case X86_TY_w:
			size = 2;
			break;
		case X86_TY_z:
			size = insn->opsize == 16 ? 2 : 4;
			break;
		case X86_TY_v:
			size = insn->opsize / 8;
			break;
		case X86_TY_a:
			size = insn->adsize / 8;
			break;
		case X86_TY_p:
			insn->imm = next_number(c, insn->opsize == 16 ? 2 : 4);
			insn->imm2 = (uint16_t)next_number(c, 2);
			continue;
		}
		int64_t value = next_number(c, size);

		if (i)
			insn->imm2 = (uint32_t)value & 0xff;
		else
			insn->imm = value;
	}
	insn->imm_size = c->at - insn->imm_at;
}

/* An immediate that is not signed has only the bits that were read. */
static void trim_immediate(struct x86_insn *insn)
{
	switch (insn->row->imm[0]) {
	case X86_TY_b:
		insn->imm &= 0xff;
		break;
	case X86_TY_w:
		insn->imm &= 0xffff;
		break;
	case X86_TY_a:
		if (insn->adsize < 64)
			insn->imm &= (UINT64_C(1) << insn->adsize) - 1;
		break;
	case X86_TY_p:
		insn->imm &= insn->opsize == 16 ? 0xffff : 0xffffffff;
		break;
	}
}

/* --- what the row does not allow --- */

static bool lock_is_valid(const struct x86_insn *insn)
{
	return insn->row->attributes & X86_ROW_LOCK && insn->memory;
}

/* Numbers that no register has. */
static bool registers_exist(const struct x86_insn *insn, bool evex)
{
	for (unsigned i = 0; i < insn->row->operand_count; i++)
		switch (insn->row->operand[i].method) {
		case X86_OP_S:
			if ((insn->reg & 7) > X86_GS ||
			    (insn->row->operand[i].access & X86_WRITE && (insn->reg & 7) == X86_CS))
				return false;
			break;
		case X86_OP_C: /* CR0, 2, 3, 4, 8 */
			if (insn->reg > 8 || !(0x11d >> insn->reg & 1))
				return false;
			break;
		case X86_OP_D:
			if (insn->reg > 7)
				return false;
			break;
		case X86_OP_KG:
		case X86_OP_KP:
			if (insn->reg > 7)
				return false;
			break;
		case X86_OP_KH:
			if (insn->vvvv > 7)
				return false;
			break;
		case X86_OP_G:
			if (evex && insn->reg > 15)
				return false;
			break;
		case X86_OP_B:
			if (insn->vvvv > 15)
				return false;
			break;
		}
	return true;
}

static bool uses_vvvv(const struct x86_row *row)
{
	for (unsigned i = 0; i < row->operand_count; i++)
		if (row->operand[i].method == X86_OP_H || row->operand[i].method == X86_OP_H4 ||
		    row->operand[i].method == X86_OP_B || row->operand[i].method == X86_OP_KH)
			return true;
	return false;
}

/* SDM volume 2, 2.7.11: what makes an EVEX instruction #UD. */
static bool evex_is_valid(const struct x86_insn *insn)
{
	unsigned may = insn->row->evex;

	if (insn->mask ? !(may & X86_EVEX_K) : may & X86_EVEX_KMUST)
		return false;
	if (insn->zeroing) {
		bool to_memory = insn->memory && insn->row->operand[0].method == X86_OP_W;

		if (!(may & X86_EVEX_Z) || !insn->mask || to_memory)
			return false;
	}
	if (insn->evex_b && insn->memory)
		return insn->row->broadcast;
	return !insn->evex_b || may & (X86_EVEX_ER | X86_EVEX_SAE | X86_EVEX_ERNOP);
}

/* SDM volume 2, 2.3.12 and the instructions' own pages: registers that must differ. */
static bool registers_differ(const struct x86_insn *insn, bool evex)
{
	unsigned dest = insn->reg;

	if (insn->row->attributes & X86_ROW_DISTINCT)
		return dest != insn->vvvv && (insn->memory || dest != insn->rm);
	if (!(insn->row->attributes & X86_ROW_GATHER))
		return true;
	if (evex)
		return dest != insn->index;
	return dest != insn->index && dest != insn->vvvv && insn->index != insn->vvvv;
}

static bool is_allowed(const struct x86_insn *insn, const struct opcode *op)
{
	if (insn->prefixes & X86_PREFIX_LOCK && !lock_is_valid(insn))
		return false;
	if (op->vex || op->evex) {
		bool vsib = has_vsib(insn->row);
		unsigned index_bit = vsib ? 16 : 0;

		if (vsib && (insn->index == X86_REG_NONE || insn->adsize == 16))
			return false;

		if (op->vvvv & ~index_bit && !uses_vvvv(insn->row))
			return false;
		if (op->evex && !evex_is_valid(insn))
			return false;
		if (!registers_differ(insn, op->evex))
			return false;
	}
	return registers_exist(insn, op->evex);
}

/* --- all of it --- */

static enum x86_status ended(const struct cursor *c)
{
	return c->limit == X86_LENGTH_MAX ? X86_TOO_LONG : X86_TRUNCATED;
}

enum x86_status x86_decode(enum x86_mode mode, const uint8_t *bytes, size_t count,
			   struct x86_insn *ret)
{
	struct cursor c = {bytes, 0, count < X86_LENGTH_MAX ? count : X86_LENGTH_MAX, false};
	struct opcode op = {0};

	*ret = (struct x86_insn){.mode = mode,
				 .segment = X86_REG_NONE,
				 .base = X86_REG_NONE,
				 .index = X86_REG_NONE,
				 .scale = 1};
	find_opcode(&c, ret, &op, legacy_prefixes(&c, ret));
	if (c.over)
		return ended(&c);
	if (op.invalid)
		return X86_INVALID;
	ret->row = find_row(&c, ret, &op);
	if (c.over)
		return ended(&c);
	if (ret->row == x86_rows)
		return X86_INVALID;
	ret->opsize = size_bits[operand_size(ret, ret->row->attributes & X86_ROW_D64,
					     ret->row->attributes & X86_ROW_F64)];
	ret->adsize = size_bits[address_size(ret)];
	if (op.evex && ret->evex_b && peek(&c) >= 0xc0)
		ret->vl = 2;
	if (ret->row->attributes & X86_ROW_MODRM)
		read_modrm(&c, ret, op.evex);
	else
		ret->rm = (ret->opcode & 7) | (ret->rex & X86_REX_B ? 8 : 0);
	if (ret->row->imm[0]) {
		read_immediates(&c, ret);
		trim_immediate(ret);
	}
	if (c.over)
		return ended(&c);
	ret->length = c.at;
	return is_allowed(ret, &op) ? X86_OK : X86_INVALID;
}
