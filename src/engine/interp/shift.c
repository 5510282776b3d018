/* Shifts and rotates. SDM volume 2, "RCL/RCR/ROL/ROR", "SAL/SAR/SHL/SHR", "SHLD", "SHRD". With a count of 0, after masking, no
 * flag changes. OF is defined for counts of 1 alone: what is computed here for others is one of the allowed values. */
#include "engine/interp/interp_int.h"

struct shift {
	uint64_t value;
	unsigned count; /* masked to 5 or 6 bits */
	unsigned bits;
};

static bool begin(struct interp *c, unsigned count_operand, struct shift *s)
{
	uint64_t count;

	s->bits = interp_bits(c, 0);
	if (!interp_get(c, 0, &s->value) || !interp_get(c, count_operand, &count))
		return false;
	s->count = count & (s->bits == 64 ? 63 : 31);
	return true;
}

static bool bit(uint64_t value, unsigned n)
{
	return n < 64 && value >> n & 1;
}

/* Stores, and sets CF, OF and with `all` the flags of the result. A count of 0 stores too: 32 bits clear the upper half. */
static bool end(struct interp *c, const struct shift *s, uint64_t result, bool cf, bool of,
		bool all)
{
	uint32_t flags = (cf ? X86_FLAG_CF : 0) | (of ? X86_FLAG_OF : 0);
	uint32_t mask = X86_FLAG_CF | X86_FLAG_OF;

	if (!interp_put(c, 0, result))
		return false;
	if (s->count == 0)
		return true;
	if (all) {
		flags |= interp_result_flags(result, s->bits);
		mask = X86_FLAGS_STATUS;
	}
	interp_set_flags(c, mask, flags);
	return true;
}

static bool op_shl(struct interp *c)
{
	struct shift s;

	if (!begin(c, 1, &s))
		return false;
	uint64_t result = interp_cut(s.value << s.count, s.bits);
	bool cf = s.count <= s.bits && bit(s.value, s.bits - s.count);

	return end(c, &s, result, cf, cf ^ bit(result, s.bits - 1), true);
}

static bool op_shr(struct interp *c)
{
	struct shift s;

	if (!begin(c, 1, &s))
		return false;
	return end(c, &s, s.value >> s.count, bit(s.value, s.count - 1), bit(s.value, s.bits - 1),
		   true);
}

static bool op_sar(struct interp *c)
{
	struct shift s;

	if (!begin(c, 1, &s))
		return false;
	int64_t value = interp_sign(s.value, s.bits);

	return end(c, &s, value >> s.count, s.count && value >> (s.count - 1) & 1, false, true);
}

static bool op_rol(struct interp *c)
{
	struct shift s;

	if (!begin(c, 1, &s))
		return false;
	unsigned n = s.count % s.bits;
	uint64_t result = n ? interp_cut(s.value << n | s.value >> (s.bits - n), s.bits) : s.value;

	return end(c, &s, result, result & 1, (result & 1) ^ bit(result, s.bits - 1), false);
}

static bool op_ror(struct interp *c)
{
	struct shift s;

	if (!begin(c, 1, &s))
		return false;
	unsigned n = s.count % s.bits;
	uint64_t result = n ? interp_cut(s.value >> n | s.value << (s.bits - n), s.bits) : s.value;
	bool top = bit(result, s.bits - 1);

	return end(c, &s, result, top, top ^ bit(result, s.bits - 2), false);
}

/* Through the carry, one bit after the other: of 8 and 16 bits the count goes beyond the width. */
static bool rotate_carry(struct interp *c, bool left)
{
	struct shift s;
	bool cf = interp_flag(c, X86_FLAG_CF);

	if (!begin(c, 1, &s))
		return false;
	uint64_t result = s.value;

	for (unsigned i = 0; i < s.count; i++) {
		bool out = left ? bit(result, s.bits - 1) : result & 1;

		result = left ? interp_cut(result << 1 | cf, s.bits)
			      : result >> 1 | (uint64_t)cf << (s.bits - 1);
		cf = out;
	}
	bool top = bit(result, s.bits - 1);

	return end(c, &s, result, cf, left ? cf ^ top : top ^ bit(result, s.bits - 2), false);
}

static bool op_rcl(struct interp *c)
{
	return rotate_carry(c, true);
}

static bool op_rcr(struct interp *c)
{
	return rotate_carry(c, false);
}

/* Of 16 bits a count above 16 is undefined; what is done here is what CPUs do: the operands repeat. */
static bool shift_double(struct interp *c, bool left)
{
	struct shift s;
	uint64_t fill;

	if (!begin(c, 2, &s) || !interp_get(c, 1, &fill))
		return false;
	uint64_t result = s.value;
	bool cf = false;

	for (unsigned i = 0; i < s.count; i++) {
		uint64_t source = i < s.bits ? fill : s.value;
		unsigned at = i % s.bits;

		cf = left ? bit(result, s.bits - 1) : result & 1;
		result = left ? interp_cut(result << 1 | bit(source, s.bits - 1 - at), s.bits)
			      : result >> 1 | (uint64_t)bit(source, at) << (s.bits - 1);
	}
	bool changed = bit(result ^ s.value, s.bits - 1);

	return end(c, &s, result, cf, changed, true);
}

static bool op_shld(struct interp *c)
{
	return shift_double(c, true);
}

static bool op_shrd(struct interp *c)
{
	return shift_double(c, false);
}

/* --- BMI2: no flags --- */

static bool shift_plain(struct interp *c, unsigned count_operand, char how)
{
	unsigned bits = interp_bits(c, 0);
	uint64_t value, count;

	if (!interp_get(c, 1, &value) || !interp_get(c, count_operand, &count))
		return false;
	count &= bits - 1;
	switch (how) {
	case '<':
		return interp_put(c, 0, value << count);
	case '>':
		return interp_put(c, 0, value >> count);
	case 's':
		return interp_put(c, 0, (int64_t)interp_sign(value, bits) >> count);
	}
	return interp_put(c, 0, count ? value >> count | value << (bits - count) : value);
}

static bool op_shlx(struct interp *c)
{
	return shift_plain(c, 2, '<');
}

static bool op_shrx(struct interp *c)
{
	return shift_plain(c, 2, '>');
}

static bool op_sarx(struct interp *c)
{
	return shift_plain(c, 2, 's');
}

static bool op_rorx(struct interp *c)
{
	return shift_plain(c, 2, 'r');
}

/* clang-format off */
interp_op *const interp_shift_ops[X86_MNEMONIC_COUNT] = {
	[X86_shl] = op_shl, [X86_shr] = op_shr, [X86_sar] = op_sar, [X86_rol] = op_rol, [X86_ror] = op_ror,
	[X86_rcl] = op_rcl, [X86_rcr] = op_rcr, [X86_shld] = op_shld, [X86_shrd] = op_shrd,
	[X86_shlx] = op_shlx, [X86_shrx] = op_shrx, [X86_sarx] = op_sarx, [X86_rorx] = op_rorx,
};
/* clang-format on */
