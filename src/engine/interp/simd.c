/* x87, MMX, SSE, AVX and AVX-512: checks, memory, and the host's units (units.h). SDM volume 3, chapter 13 for the checks. */
#include <string.h>

#include "base/endian.h"
#include "engine/interp/interp_int.h"
#include "engine/interp/units.h"

#define FCW_MASKS 0x3f /* of the x87 control word: every exception is masked */

/* Whether the operating system has enabled the unit: #UD if it does not know it, #NM if it switches lazily. */
static bool unit_is_enabled(struct interp *c)
{
	const struct x86_state *s = &c->state;
	enum x86_class class = c->insn.row->class;
	bool x87 = class == X86_CLASS_X87, mmx = class == X86_CLASS_MMX;
	uint64_t needed = X86_XCR0_SSE | X86_XCR0_AVX;

	if (class == X86_CLASS_AVX512 || class == X86_CLASS_MASK)
		needed |= X86_XCR0_OPMASK | X86_XCR0_ZMM_HI256 | X86_XCR0_HI16_ZMM;
	if (c->insn.row->map >= X86_MAP_VEX_0F) {
		if (!(s->cr4 & X86_CR4_OSXSAVE) || (s->xcr0 & needed) != needed)
			return interp_raise(c, X86_UD);
	} else if (s->cr0 & X86_CR0_EM) {
		return interp_raise(c, x87 ? X86_NM : X86_UD);
	} else if (!x87 && !mmx && !(s->cr4 & X86_CR4_OSFXSR)) {
		return interp_raise(c, X86_UD);
	}
	return s->cr0 & X86_CR0_TS ? interp_raise(c, X86_NM) : true;
}

/* x87 exceptions that are not masked are reported by a later instruction: not here yet. */
static bool x87_is_masked(const struct interp *c)
{
	bool initial = !(get_le64(c->state.xsave + 512) & X86_XCR0_X87);

	return initial || (get_le16(c->state.xsave) & FCW_MASKS) == FCW_MASKS;
}

/* Overflow and underflow that are not masked are told by other rules than the flags of masked ones: of an exact result too,
 * and without the precision flag. Not here yet. */
static bool range_is_masked(const struct interp *c)
{
	return (get_le32(c->state.xsave + UNITS_MXCSR_AT) & UNITS_MXCSR_OM_UM) == UNITS_MXCSR_OM_UM;
}

/* The memory operand: where it is, how long, what happens to it. */
struct span {
	uint64_t linear;
	unsigned size;
	uint8_t access;
};

static bool find_span(struct interp *c, struct span *ret)
{
	struct x86_operand o;

	*ret = (struct span){0};
	for (unsigned n = 0; n < c->insn.row->operand_count; n++) {
		x86_operand(&c->insn, n, &o);
		if (o.kind != X86_OPERAND_MEM)
			continue;
		uint64_t offset = interp_offset(c, &o);
		uint64_t address = offset + c->state.segment[o.segment].base;

		ret->size = o.size / 8;
		ret->access = o.access;
		/* even where the address is not canonical, as CMPXCHG16B */
		if (c->insn.row->attributes & X86_ROW_ALIGN && address & (ret->size - 1))
			return interp_raise_error(c, X86_GP, 0);
		if (!interp_linear(c, o.segment, offset, ret->size,
				   o.access & (X86_WRITE | X86_COND_WRITE) ? INTERP_WRITE
									   : INTERP_READ,
				   &ret->linear))
			return false;
	}
	return true;
}

/* In pieces of at most 8 bytes, the odd ones of x87 included. */
static unsigned piece(unsigned left)
{
	return left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

static bool load_span(struct interp *c, const struct span *s, uint8_t *buffer)
{
	for (unsigned at = 0; at < s->size; at += piece(s->size - at)) {
		uint64_t value;

		if (!interp_load(c, s->linear + at, piece(s->size - at), &value))
			return false;
		for (unsigned i = 0; i < piece(s->size - at); i++)
			buffer[at + i] = value >> 8 * i;
	}
	return true;
}

/* Only what changed, so that elements that a mask excludes are not touched. */
static bool store_span(struct interp *c, const struct span *s, const uint8_t *buffer,
		       const uint8_t *old)
{
	for (unsigned at = 0; at < s->size; at += piece(s->size - at)) {
		unsigned size = piece(s->size - at);
		uint64_t value = 0;

		if (s->access & X86_COND_WRITE && memcmp(buffer + at, old + at, size) == 0)
			continue;
		for (unsigned i = 0; i < size; i++)
			value |= (uint64_t)buffer[at + i] << 8 * i;
		if (!interp_store(c, s->linear + at, size, value))
			return false;
	}
	return true;
}

/* A mask may leave parts of the operand out. */
static bool is_partial(const struct interp *c, const struct span *s)
{
	return c->insn.mask || s->access & (X86_COND_READ | X86_COND_WRITE);
}

/* What the instruction needs of the operand before it runs: a store that leaves parts out needs what is there. */
static bool reach_span(struct interp *c, const struct span *s, uint8_t *buffer)
{
	bool writes = s->access & (X86_WRITE | X86_COND_WRITE);

	if (s->size == 0)
		return true;
	if (writes && !interp_probe_write(c, s->linear, s->size))
		return false;
	return (writes && !is_partial(c, s)) || load_span(c, s, buffer);
}

bool interp_simd(struct interp *c)
{
	struct units_call call = {.bytes = c->bytes, .insn = &c->insn};
	uint8_t old[UNITS_BUFFER];
	struct span span;

	if (!c->units || !units_can_run(c->units, &c->insn) || !x87_is_masked(c) ||
	    !range_is_masked(c)) {
		c->unknown = true;
		return false;
	}
	if (!unit_is_enabled(c))
		return false;
	/* where a masked operand cannot be reached, the mask may exclude that part, and all be well: not here yet */
	if (!find_span(c, &span) || !reach_span(c, &span, call.buffer)) {
		c->unknown = is_partial(c, &span);
		return false;
	}
	memcpy(old, call.buffer, sizeof(old));
	units_run(c->units, &c->state, &call);
	if (call.raised)
		return interp_raise(c, c->state.cr4 & X86_CR4_OSXMMEXCPT ? X86_XM : X86_UD);
	return !(span.access & (X86_WRITE | X86_COND_WRITE)) ||
	       store_span(c, &span, call.buffer, old);
}
