/* Single bits, counting and scanning, BMI. SDM volume 2. */
#include "engine/interp/interp_int.h"

/* --- BT, BTS, BTR, BTC: interp_get() has found the word with the bit (X86_ROW_BITOFF) --- */

static bool test_bit(struct interp *c, char how)
{
	unsigned bits = interp_bits(c, 0);
	uint64_t value, n;

	if (!interp_get(c, 0, &value) || !interp_get(c, 1, &n))
		return false;
	uint64_t mask = UINT64_C(1) << (n & (bits - 1));
	bool old = value & mask;

	switch (how) {
	case 's':
		value |= mask;
		break;
	case 'r':
		value &= ~mask;
		break;
	case 'c':
		value ^= mask;
		break;
	}
	if (how != ' ' && !interp_put(c, 0, value))
		return false;
	interp_set_flags(c, X86_FLAG_CF, old ? X86_FLAG_CF : 0);
	return true;
}

static bool op_bt(struct interp *c)
{
	return test_bit(c, ' ');
}

static bool op_bts(struct interp *c)
{
	return test_bit(c, 's');
}

static bool op_btr(struct interp *c)
{
	return test_bit(c, 'r');
}

static bool op_btc(struct interp *c)
{
	return test_bit(c, 'c');
}

/* --- counting --- */

/* With a source of 0 the destination stays, as every CPU does and AMD promises. */
static bool scan(struct interp *c, bool forward)
{
	uint64_t value;

	if (!interp_get(c, 1, &value))
		return false;
	if (value)
		interp_put(c, 0, forward ? __builtin_ctzll(value) : 63 - __builtin_clzll(value));
	interp_set_flags(c, X86_FLAG_ZF, value ? 0 : X86_FLAG_ZF);
	return true;
}

static bool op_bsf(struct interp *c)
{
	return scan(c, true);
}

static bool op_bsr(struct interp *c)
{
	return scan(c, false);
}

static bool count_zeros(struct interp *c, bool trailing)
{
	unsigned bits = interp_bits(c, 0), n = bits;
	uint64_t value;

	if (!interp_get(c, 1, &value))
		return false;
	if (value)
		n = trailing ? (unsigned)__builtin_ctzll(value)
			     : __builtin_clzll(value) - (64 - bits);
	interp_put(c, 0, n);
	interp_set_flags(c, X86_FLAG_ZF | X86_FLAG_CF,
			 (n == 0 ? X86_FLAG_ZF : 0) | (value ? 0 : X86_FLAG_CF));
	return true;
}

static bool op_tzcnt(struct interp *c)
{
	return count_zeros(c, true);
}

static bool op_lzcnt(struct interp *c)
{
	return count_zeros(c, false);
}

static bool op_popcnt(struct interp *c)
{
	uint64_t value;

	if (!interp_get(c, 1, &value))
		return false;
	interp_put(c, 0, __builtin_popcountll(value));
	interp_set_flags(c, X86_FLAGS_STATUS, value ? 0 : X86_FLAG_ZF);
	return true;
}

static bool op_bswap(struct interp *c)
{
	unsigned bits = interp_bits(c, 0);
	uint64_t value;

	interp_get(c, 0, &value);
	/* of 16 bits the result is undefined; CPUs clear it */
	value = __builtin_bswap64(value) >> (64 - bits);
	return interp_put(c, 0, bits == 16 ? 0 : value);
}

/* --- CRC32: the polynomial 11EDC6F41, reflected --- */

static bool op_crc32(struct interp *c)
{
	unsigned bits = interp_bits(c, 1);
	uint64_t crc, value;

	if (!interp_get(c, 0, &crc) || !interp_get(c, 1, &value))
		return false;
	crc = (uint32_t)crc;
	for (unsigned i = 0; i < bits; i++) {
		bool low = (crc ^ value >> i) & 1;

		crc = crc >> 1 ^ (low ? 0x82f63b78u : 0u);
	}
	return interp_put(c, 0, crc);
}

/* --- BMI1, BMI2 --- */

static bool op_andn(struct interp *c)
{
	unsigned bits = interp_bits(c, 0);
	uint64_t a, b;

	if (!interp_get(c, 1, &a) || !interp_get(c, 2, &b))
		return false;
	uint64_t result = interp_cut(~a & b, bits);

	interp_put(c, 0, result);
	interp_set_flags(c, X86_FLAGS_STATUS, interp_result_flags(result, bits) & ~X86_FLAG_PF);
	return true;
}

static bool op_bextr(struct interp *c)
{
	unsigned bits = interp_bits(c, 0);
	uint64_t value, control;

	if (!interp_get(c, 1, &value) || !interp_get(c, 2, &control))
		return false;
	unsigned start = control & 0xff, length = control >> 8 & 0xff;
	uint64_t result = start < bits ? interp_cut(value >> start, length) : 0;

	interp_put(c, 0, result);
	interp_set_flags(c, X86_FLAGS_STATUS, result ? 0 : X86_FLAG_ZF);
	return true;
}

/* BLSR, BLSMSK, BLSI: the lowest set bit cleared, with all below it, alone. */
static bool lowest(struct interp *c, char how)
{
	unsigned bits = interp_bits(c, 0);
	uint64_t value;

	if (!interp_get(c, 1, &value))
		return false;
	uint64_t result = how == 'r'   ? value & (value - 1)
			  : how == 'm' ? value ^ (value - 1)
				       : value & -value;
	bool cf = how == 'i' ? value != 0 : value == 0;

	result = interp_cut(result, bits);
	interp_put(c, 0, result);
	interp_set_flags(c, X86_FLAGS_STATUS,
			 (interp_result_flags(result, bits) & ~X86_FLAG_PF) |
			     (cf ? X86_FLAG_CF : 0));
	return true;
}

static bool op_blsr(struct interp *c)
{
	return lowest(c, 'r');
}

static bool op_blsmsk(struct interp *c)
{
	return lowest(c, 'm');
}

static bool op_blsi(struct interp *c)
{
	return lowest(c, 'i');
}

static bool op_bzhi(struct interp *c)
{
	unsigned bits = interp_bits(c, 0);
	uint64_t value, index;

	if (!interp_get(c, 1, &value) || !interp_get(c, 2, &index))
		return false;
	unsigned n = index & 0xff;
	uint64_t result = n < bits ? interp_cut(value, n) : value;

	interp_put(c, 0, result);
	interp_set_flags(c, X86_FLAGS_STATUS,
			 (interp_result_flags(result, bits) & ~X86_FLAG_PF) |
			     (n >= bits ? X86_FLAG_CF : 0));
	return true;
}

static bool op_pdep(struct interp *c)
{
	uint64_t value, mask, result = 0;

	if (!interp_get(c, 1, &value) || !interp_get(c, 2, &mask))
		return false;
	for (; mask; mask &= mask - 1, value >>= 1)
		if (value & 1)
			result |= mask & -mask;
	return interp_put(c, 0, result);
}

static bool op_pext(struct interp *c)
{
	uint64_t value, mask, result = 0;
	unsigned n = 0;

	if (!interp_get(c, 1, &value) || !interp_get(c, 2, &mask))
		return false;
	for (; mask; mask &= mask - 1, n++)
		if (value & mask & -mask)
			result |= UINT64_C(1) << n;
	return interp_put(c, 0, result);
}

/* clang-format off */
interp_op *const interp_bit_ops[X86_MNEMONIC_COUNT] = {
	[X86_bt] = op_bt, [X86_bts] = op_bts, [X86_btr] = op_btr, [X86_btc] = op_btc,
	[X86_bsf] = op_bsf, [X86_bsr] = op_bsr, [X86_tzcnt] = op_tzcnt, [X86_lzcnt] = op_lzcnt, [X86_popcnt] = op_popcnt,
	[X86_bswap] = op_bswap, [X86_crc32] = op_crc32,
	[X86_andn] = op_andn, [X86_bextr] = op_bextr, [X86_blsr] = op_blsr, [X86_blsmsk] = op_blsmsk, [X86_blsi] = op_blsi,
	[X86_bzhi] = op_bzhi, [X86_pdep] = op_pdep, [X86_pext] = op_pext,
};
/* clang-format on */
