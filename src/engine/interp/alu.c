/* Addition, subtraction, logic, multiplication, division, decimal adjustment. SDM volume 2; flags: volume 1, appendix A. */
#include "engine/interp/interp_int.h"

enum { AX, CX, DX };

/* Status flags of a sum a + b + carry. The carry out of each bit is where the result differs from a ^ b. */
static uint32_t add_flags(uint64_t a, uint64_t b, uint64_t result, unsigned bits)
{
	uint64_t carries = (a & b) | ((a | b) & ~result);
	uint64_t overflow = (a ^ result) & (b ^ result);
	uint32_t flags = interp_result_flags(result, bits);

	flags |= carries >> (bits - 1) & 1 ? X86_FLAG_CF : 0;
	flags |= overflow >> (bits - 1) & 1 ? X86_FLAG_OF : 0;
	flags |= (a ^ b ^ result) & 0x10 ? X86_FLAG_AF : 0;
	return flags;
}

static uint32_t sub_flags(uint64_t a, uint64_t b, uint64_t result, unsigned bits)
{
	uint64_t borrows = (~a & b) | ((~a | b) & result);
	uint64_t overflow = (a ^ b) & (a ^ result);
	uint32_t flags = interp_result_flags(result, bits);

	flags |= borrows >> (bits - 1) & 1 ? X86_FLAG_CF : 0;
	flags |= overflow >> (bits - 1) & 1 ? X86_FLAG_OF : 0;
	flags |= (a ^ b ^ result) & 0x10 ? X86_FLAG_AF : 0;
	return flags;
}

/* What the two-operand operations share: operands, one result, flags. */
struct alu {
	uint64_t a, b, result;
	unsigned bits;
};

static bool alu_begin(struct interp *c, struct alu *x)
{
	x->bits = interp_bits(c, 0);
	return interp_get(c, 0, &x->a) && interp_get(c, 1, &x->b);
}

static bool alu_end(struct interp *c, const struct alu *x, uint32_t mask, uint32_t flags)
{
	if (!interp_put(c, 0, x->result))
		return false;
	interp_set_flags(c, mask, flags);
	return true;
}

static bool add(struct interp *c, bool carry)
{
	struct alu x;

	if (!alu_begin(c, &x))
		return false;
	x.result = x.a + x.b + carry;
	return alu_end(c, &x, X86_FLAGS_STATUS, add_flags(x.a, x.b, x.result, x.bits));
}

static bool op_add(struct interp *c)
{
	return add(c, false);
}

static bool op_adc(struct interp *c)
{
	return add(c, interp_flag(c, X86_FLAG_CF));
}

static bool sub(struct interp *c, bool borrow)
{
	struct alu x;

	if (!alu_begin(c, &x))
		return false;
	x.result = x.a - x.b - borrow;
	return alu_end(c, &x, X86_FLAGS_STATUS, sub_flags(x.a, x.b, x.result, x.bits));
}

static bool op_sub(struct interp *c)
{
	return sub(c, false);
}

static bool op_sbb(struct interp *c)
{
	return sub(c, interp_flag(c, X86_FLAG_CF));
}

static bool op_cmp(struct interp *c)
{
	struct alu x;

	if (!alu_begin(c, &x))
		return false;
	interp_set_flags(c, X86_FLAGS_STATUS, sub_flags(x.a, x.b, x.a - x.b, x.bits));
	return true;
}

static bool logic(struct interp *c, char how)
{
	struct alu x;

	if (!alu_begin(c, &x))
		return false;
	x.result = how == '&' ? x.a & x.b : how == '|' ? x.a | x.b : x.a ^ x.b;
	return alu_end(c, &x, X86_FLAGS_STATUS, interp_result_flags(x.result, x.bits));
}

static bool op_and(struct interp *c)
{
	return logic(c, '&');
}

static bool op_or(struct interp *c)
{
	return logic(c, '|');
}

static bool op_xor(struct interp *c)
{
	return logic(c, '^');
}

static bool op_test(struct interp *c)
{
	struct alu x;

	if (!alu_begin(c, &x))
		return false;
	interp_set_flags(c, X86_FLAGS_STATUS, interp_result_flags(x.a & x.b, x.bits));
	return true;
}

/* --- one operand --- */

/* INC and DEC keep CF. */
static bool step_by(struct interp *c, uint64_t delta)
{
	struct alu x = {.b = 1, .bits = interp_bits(c, 0)};
	uint32_t mask = X86_FLAGS_STATUS & ~X86_FLAG_CF;

	if (!interp_get(c, 0, &x.a))
		return false;
	x.result = x.a + delta;
	return alu_end(c, &x, mask,
		       delta == 1 ? add_flags(x.a, 1, x.result, x.bits)
				  : sub_flags(x.a, 1, x.result, x.bits));
}

static bool op_inc(struct interp *c)
{
	return step_by(c, 1);
}

static bool op_dec(struct interp *c)
{
	return step_by(c, -UINT64_C(1));
}

static bool op_not(struct interp *c)
{
	uint64_t a;

	return interp_get(c, 0, &a) && interp_put(c, 0, ~a);
}

static bool op_neg(struct interp *c)
{
	struct alu x = {.bits = interp_bits(c, 0)};

	if (!interp_get(c, 0, &x.a))
		return false;
	x.result = -x.a;
	return alu_end(c, &x, X86_FLAGS_STATUS, sub_flags(0, x.a, x.result, x.bits));
}

/* --- with carry chains of their own --- */

static bool add_with(struct interp *c, uint32_t flag)
{
	struct alu x;

	if (!alu_begin(c, &x))
		return false;
	x.result = x.a + x.b + interp_flag(c, flag);
	uint64_t carries = (x.a & x.b) | ((x.a | x.b) & ~x.result);

	return alu_end(c, &x, flag, carries >> (x.bits - 1) & 1 ? flag : 0);
}

static bool op_adcx(struct interp *c)
{
	return add_with(c, X86_FLAG_CF);
}

static bool op_adox(struct interp *c)
{
	return add_with(c, X86_FLAG_OF);
}

static bool op_xadd(struct interp *c)
{
	struct alu x;

	if (!alu_begin(c, &x))
		return false;
	x.result = x.a + x.b;
	/* the sum is stored last into a register that is both operands */
	if (c->insn.memory && !interp_put(c, 0, x.result))
		return false;
	interp_put(c, 1, x.a);
	if (!c->insn.memory)
		interp_put(c, 0, x.result);
	interp_set_flags(c, X86_FLAGS_STATUS, add_flags(x.a, x.b, x.result, x.bits));
	return true;
}

/* The destination is written even when the comparison fails, with what it had. */
static bool op_cmpxchg(struct interp *c)
{
	struct alu x;

	if (!alu_begin(c, &x))
		return false;
	uint64_t accumulator = interp_cut(c->state.gpr[AX], x.bits);
	bool equal = accumulator == x.a;
	uint32_t flags = sub_flags(accumulator, x.a, accumulator - x.a, x.bits);

	if (equal ? !interp_put(c, 0, x.b) : c->insn.memory && !interp_put(c, 0, x.a))
		return false;
	if (!equal)
		interp_set_gpr(c,
			       x.bits == 8    ? X86_REG_GPR8
			       : x.bits == 16 ? X86_REG_GPR16
			       : x.bits == 32 ? X86_REG_GPR32
					      : X86_REG_GPR64,
			       AX, x.a);
	interp_set_flags(c, X86_FLAGS_STATUS, flags);
	return true;
}

/* --- multiplication and division --- */

/* Into AX, or rDX:rAX. */
static void put_double(struct interp *c, unsigned bits, unsigned __int128 value)
{
	if (bits == 8) {
		interp_set_reg(c, AX, 16, value);
		return;
	}
	interp_set_reg(c, AX, bits, value);
	interp_set_reg(c, DX, bits, value >> bits);
}

/* CF and OF say that the upper half means something. */
static void multiply_flags(struct interp *c, bool wide)
{
	interp_set_flags(c, X86_FLAG_CF | X86_FLAG_OF, wide ? X86_FLAG_CF | X86_FLAG_OF : 0);
}

static bool op_mul(struct interp *c)
{
	unsigned bits = interp_bits(c, 0);
	uint64_t a = interp_cut(c->state.gpr[AX], bits), b;

	if (!interp_get(c, 0, &b))
		return false;
	unsigned __int128 product = (unsigned __int128)a * b;

	put_double(c, bits, product);
	multiply_flags(c, product >> bits);
	return true;
}

/* One, two and three operands. */
static bool op_imul(struct interp *c)
{
	unsigned bits = interp_bits(c, 0), count = c->insn.row->operand_count;
	uint64_t a = c->state.gpr[AX], b;

	if (count == 1 ? !interp_get(c, 0, &b)
		       : !interp_get(c, count - 2, &a) || !interp_get(c, count - 1, &b))
		return false;
	__int128 product = (__int128)(int64_t)interp_sign(a, bits) * (int64_t)interp_sign(b, bits);

	if (count == 1)
		put_double(c, bits, product);
	else
		interp_put(c, 0, product);
	multiply_flags(c, product != (int64_t)interp_sign(product, bits));
	return true;
}

static unsigned __int128 dividend(const struct interp *c, unsigned bits)
{
	if (bits == 8)
		return interp_reg(c, AX, 16);
	return (unsigned __int128)interp_reg(c, DX, bits) << bits | interp_reg(c, AX, bits);
}

static void put_quotient(struct interp *c, unsigned bits, uint64_t quotient, uint64_t remainder)
{
	if (bits == 8) {
		interp_set_reg(c, AX, 16, (uint8_t)remainder << 8 | (uint8_t)quotient);
		return;
	}
	interp_set_reg(c, AX, bits, quotient);
	interp_set_reg(c, DX, bits, remainder);
}

static bool op_div(struct interp *c)
{
	unsigned bits = interp_bits(c, 0);
	unsigned __int128 a = dividend(c, bits);
	uint64_t b;

	if (!interp_get(c, 0, &b))
		return false;
	if (b == 0 || (a / b) >> bits)
		return interp_raise(c, X86_DE);
	put_quotient(c, bits, a / b, a % b);
	return true;
}

static bool op_idiv(struct interp *c)
{
	unsigned bits = interp_bits(c, 0);
	unsigned __int128 magnitude = dividend(c, bits);
	uint64_t raw;

	if (!interp_get(c, 0, &raw))
		return false;
	int64_t b = interp_sign(raw, bits);
	/* the dividend has twice the operand's bits, sign included */
	__int128 a = (__int128)(magnitude << (128 - 2 * bits)) >> (128 - 2 * bits);

	/* the most negative 128-bit number by -1 does not fit its own type */
	if (b == 0 || (b == -1 && (unsigned __int128)a == (unsigned __int128)1 << 127))
		return interp_raise(c, X86_DE);
	__int128 quotient = a / b;

	if (quotient != (int64_t)interp_sign(quotient, bits))
		return interp_raise(c, X86_DE);
	put_quotient(c, bits, quotient, a % b);
	return true;
}

static bool op_mulx(struct interp *c)
{
	unsigned bits = interp_bits(c, 0);
	uint64_t b;

	if (!interp_get(c, 2, &b))
		return false;
	unsigned __int128 product = (unsigned __int128)interp_reg(c, DX, bits) * b;

	interp_put(c, 1, product);
	interp_put(c, 0, product >> bits); /* the same register twice: the upper half stays */
	return true;
}

/* --- widening --- */

static bool op_widen_accumulator(struct interp *c)
{
	unsigned bits = c->insn.opsize;

	interp_set_reg(c, AX, bits, interp_sign(c->state.gpr[AX], bits / 2));
	return true;
}

static bool op_widen_double(struct interp *c)
{
	unsigned bits = c->insn.opsize;

	interp_set_reg(c, DX, bits, c->state.gpr[AX] >> (bits - 1) & 1 ? UINT64_MAX : 0);
	return true;
}

/* --- decimal: outside 64-bit mode --- */

static bool decimal(struct interp *c, int direction)
{
	uint8_t old = c->state.gpr[AX], al = old;
	bool af = interp_flag(c, X86_FLAG_AF), old_cf = interp_flag(c, X86_FLAG_CF), cf = false;

	if ((al & 0xf) > 9 || af) {
		cf = old_cf || (direction > 0 ? al > 0xff - 6 : al < 6);
		al += direction * 6;
		af = true;
	}
	if (old > 0x99 || old_cf) {
		al += direction * 0x60;
		cf = true;
	}
	interp_set_gpr(c, X86_REG_GPR8, AX, al);
	interp_set_flags(c, X86_FLAGS_STATUS & ~X86_FLAG_OF,
			 interp_result_flags(al, 8) | (cf ? X86_FLAG_CF : 0) |
			     (af ? X86_FLAG_AF : 0));
	return true;
}

static bool op_daa(struct interp *c)
{
	return decimal(c, 1);
}

static bool op_das(struct interp *c)
{
	return decimal(c, -1);
}

static bool ascii(struct interp *c, int direction)
{
	uint16_t ax = c->state.gpr[AX];
	bool adjust = (ax & 0xf) > 9 || interp_flag(c, X86_FLAG_AF);

	if (adjust)
		ax += direction * 0x106;
	interp_set_reg(c, AX, 16, ax & 0xff0f);
	interp_set_flags(c, X86_FLAG_CF | X86_FLAG_AF, adjust ? X86_FLAG_CF | X86_FLAG_AF : 0);
	return true;
}

static bool op_aaa(struct interp *c)
{
	return ascii(c, 1);
}

static bool op_aas(struct interp *c)
{
	return ascii(c, -1);
}

static bool op_aam(struct interp *c)
{
	uint8_t base = c->insn.imm, al = c->state.gpr[AX];

	if (base == 0)
		return interp_raise(c, X86_DE);
	interp_set_reg(c, AX, 16, (al / base) << 8 | al % base);
	interp_set_flags(c, X86_FLAG_SF | X86_FLAG_ZF | X86_FLAG_PF,
			 interp_result_flags(al % base, 8));
	return true;
}

static bool op_aad(struct interp *c)
{
	uint16_t ax = c->state.gpr[AX];
	uint8_t al = (ax & 0xff) + (ax >> 8) * (uint8_t)c->insn.imm;

	interp_set_reg(c, AX, 16, al);
	interp_set_flags(c, X86_FLAG_SF | X86_FLAG_ZF | X86_FLAG_PF, interp_result_flags(al, 8));
	return true;
}

/* clang-format off */
interp_op *const interp_alu_ops[X86_MNEMONIC_COUNT] = {
	[X86_add] = op_add, [X86_adc] = op_adc, [X86_sub] = op_sub, [X86_sbb] = op_sbb, [X86_cmp] = op_cmp,
	[X86_and] = op_and, [X86_or] = op_or, [X86_xor] = op_xor, [X86_test] = op_test,
	[X86_inc] = op_inc, [X86_dec] = op_dec, [X86_not] = op_not, [X86_neg] = op_neg,
	[X86_adcx] = op_adcx, [X86_adox] = op_adox, [X86_xadd] = op_xadd, [X86_cmpxchg] = op_cmpxchg,
	[X86_mul] = op_mul, [X86_imul] = op_imul, [X86_div] = op_div, [X86_idiv] = op_idiv, [X86_mulx] = op_mulx,
	[X86_cbw] = op_widen_accumulator, [X86_cwde] = op_widen_accumulator, [X86_cdqe] = op_widen_accumulator,
	[X86_cwd] = op_widen_double, [X86_cdq] = op_widen_double, [X86_cqo] = op_widen_double,
	[X86_daa] = op_daa, [X86_das] = op_das, [X86_aaa] = op_aaa, [X86_aas] = op_aas, [X86_aam] = op_aam, [X86_aad] = op_aad,
};
/* clang-format on */
