/* The decoder, operands, effects and printer of src/isa on chosen instructions; test_isa_zydis has the rest. */
#include "test.h"

#include "base/cleanup.h"
#include "isa/x86.h"

/* "48 01 d8" as bytes; returns how many. */
static size_t bytes_of(const char *text, uint8_t *bytes)
{
	size_t n = 0;

	for (char *end; *text; text = end) {
		bytes[n++] = strtoul(text, &end, 16);
		while (*end == ' ')
			end++;
	}
	return n;
}

static struct x86_insn decoded(enum x86_mode mode, const char *text)
{
	uint8_t bytes[32];
	struct x86_insn insn;
	size_t n = bytes_of(text, bytes);

	if (x86_decode(mode, bytes, n, &insn) != X86_OK)
		fail_msg("%s is no instruction", text);
	assert_int_equal(insn.length, n);
	return insn;
}

/* --- text --- */

static void prints(void **state)
{
	static const struct {
		enum x86_mode mode;
		const char *bytes, *text;
	} cases[] = {
	    {X86_MODE_64, "48 01 d8", "add rax, rbx"},
	    {X86_MODE_64, "00 e0", "add al, ah"},
	    {X86_MODE_64, "40 00 e0", "add al, spl"},
	    {X86_MODE_64, "83 c0 ff", "add eax, 0xffffffff"},
	    {X86_MODE_64, "48 83 c0 ff", "add rax, -0x1"},
	    {X86_MODE_64, "f0 ff 00", "lock inc dword ptr [rax]"},
	    {X86_MODE_64, "64 3e 8b 00", "mov eax, dword ptr fs:[rax]"},
	    {X86_MODE_64, "48 8b 05 10 00 00 00", "mov rax, qword ptr [rip+0x10]"},
	    {X86_MODE_64, "8b 84 cd f0 ff ff ff", "mov eax, dword ptr [rbp+rcx*8-0x10]"},
	    {X86_MODE_64, "48 a1 11 22 33 44 55 66 77 88",
	     "mov rax, qword ptr [0x8877665544332211]"},
	    {X86_MODE_64, "e8 fb ff ff ff", "call 0x1000"},
	    {X86_MODE_64, "f3 48 ab", "rep stosq"},
	    {X86_MODE_64, "64 a4", "fs movsb"},
	    {X86_MODE_64, "f2 ae", "repne scasb"},
	    {X86_MODE_64, "41 90", "xchg r8d, eax"},
	    {X86_MODE_64, "d8 c1", "fadd st, st(1)"},
	    {X86_MODE_64, "0f 22 c0", "mov cr0, rax"},
	    {X86_MODE_64, "c5 f4 58 c1", "vaddps ymm0, ymm1, ymm1"},
	    {X86_MODE_64, "62 f1 7c c9 58 c1", "vaddps zmm0{k1}{z}, zmm0, zmm1"},
	    {X86_MODE_64, "62 f1 7c 38 58 c1", "vaddps zmm0, zmm0, zmm1, {rd-sae}"},
	    {X86_MODE_64, "62 f1 7c 58 58 40 01", "vaddps zmm0, zmm0, dword ptr [rax+0x4]{1to16}"},
	    {X86_MODE_64, "62 f1 7c 48 58 40 01", "vaddps zmm0, zmm0, zmmword ptr [rax+0x40]"},
	    {X86_MODE_64, "62 f3 7d 48 25 c1 55", "vpternlogd zmm0, zmm0, zmm1, 0x55"},
	    {X86_MODE_64, "c4 e2 e9 90 04 08", "vpgatherdq xmm0, qword ptr [rax+xmm1*1], xmm2"},
	    {X86_MODE_32, "9a 78 56 34 12 08 00", "callf 0x8:0x12345678"},
	    {X86_MODE_32, "40", "inc eax"},
	    {X86_MODE_32, "66 40", "inc ax"},
	    {X86_MODE_16, "8b 46 fe", "mov ax, word ptr [bp-0x2]"},
	    {X86_MODE_16, "67 8b 04 24", "mov ax, word ptr [esp]"},
	    {X86_MODE_16, "2e ff 2e 34 12", "jmpf dword ptr cs:[0x1234]"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct x86_insn insn = decoded(cases[i].mode, cases[i].bytes);
		char text[X86_TEXT_MAX];

		x86_print(&insn, 0x1000, text, sizeof(text));
		assert_string_equal(text, cases[i].text);
	}
}

/* --- what is no instruction --- */

static void refuses(void **state)
{
	static const struct {
		enum x86_mode mode;
		const char *bytes;
		enum x86_status status;
	} cases[] = {
	    {X86_MODE_64, "06", X86_INVALID},                   /* PUSH ES */
	    {X86_MODE_64, "f0 01 d8", X86_INVALID},             /* LOCK without memory */
	    {X86_MODE_64, "f0 8b 00", X86_INVALID},             /* LOCK MOV */
	    {X86_MODE_64, "66 c5 f4 58 c1", X86_INVALID},       /* 66 before VEX */
	    {X86_MODE_64, "c4 c1 39 28 c1", X86_INVALID},       /* vvvv that nothing uses */
	    {X86_MODE_64, "8e c8", X86_INVALID},                /* MOV CS */
	    {X86_MODE_64, "0f 20 c8", X86_INVALID},             /* CR1 */
	    {X86_MODE_64, "62 f1 7c 88 58 c1", X86_INVALID},    /* zeroing without a mask */
	    {X86_MODE_64, "62 f1 7c c9 11 00", X86_INVALID},    /* zeroing of memory */
	    {X86_MODE_64, "62 f2 7d 48 90 04 08", X86_INVALID}, /* a gather without a mask */
	    {X86_MODE_64, "c4 e2 79 90 04 08", X86_INVALID},    /* destination is the mask */
	    {X86_MODE_64, "", X86_TRUNCATED},
	    {X86_MODE_64, "66", X86_TRUNCATED},
	    {X86_MODE_64, "0f", X86_TRUNCATED},
	    {X86_MODE_64, "8b 84", X86_TRUNCATED},
	    {X86_MODE_64, "62 f1 7c", X86_TRUNCATED},
	    {X86_MODE_64, "66 66 66 66 66 66 66 66 66 66 66 66 66 66 66 90", X86_TOO_LONG},
	    {X86_MODE_64, "66 66 66 66 66 66 66 66 66 66 66 66 66 66 01 00", X86_TOO_LONG},
	    {X86_MODE_64, "66 66 66 66 66 66 66 66 66 66 66 66 66 66 90", X86_OK},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t bytes[32];
		struct x86_insn insn;
		size_t n = bytes_of(cases[i].bytes, bytes);

		if (x86_decode(cases[i].mode, bytes, n, &insn) != cases[i].status)
			fail_msg("%s: not %d", cases[i].bytes, cases[i].status);
	}
}

/* Where parts lie: a translator rewrites them in place. */
static void places(void **state)
{
	struct x86_insn insn = decoded(X86_MODE_64, "66 64 41 c7 84 8c 78 56 34 12 34 12");

	assert_int_equal(insn.opcode_at, 3);
	assert_int_equal(insn.modrm_at, 4);
	assert_int_equal(insn.disp_at, 6);
	assert_int_equal(insn.disp_size, 4);
	assert_int_equal(insn.imm_at, 10);
	assert_int_equal(insn.imm_size, 2);
	assert_int_equal(insn.disp, 0x12345678);
	assert_int_equal(insn.imm, 0x1234);
	assert_int_equal(insn.segment, X86_FS);
	assert_int_equal(insn.base, 12);
	assert_int_equal(insn.index, 1);
}

/* --- effects --- */

enum { AX, CX, DX, BX, SP, BP, SI, DI };

static void effects(void **state)
{
	static const struct {
		const char *bytes;
		uint32_t read, written, killed, flags_read, flags_killed;
	} cases[] = {
	    {"01 d8", 1 << AX | 1 << BX, 1 << AX, 1 << AX, 0, X86_FLAGS_STATUS},
	    {"89 d8", 1 << BX, 1 << AX, 1 << AX, 0, 0},
	    {"66 89 d8", 1 << BX, 1 << AX, 0, 0, 0}, /* the rest of RAX lives on */
	    {"88 e0", 1 << AX, 1 << AX, 0, 0, 0},    /* AL = AH */
	    {"8b 04 8b", 1 << BX | 1 << CX, 1 << AX, 1 << AX, 0, 0},
	    {"50", 1 << AX | 1 << SP, 1 << SP, 1 << SP, 0, 0},
	    {"0f 44 c3", 1 << BX, 1 << AX, 0, X86_FLAG_ZF, 0}, /* CMOVZ perhaps keeps it */
	    {"c1 e0 03", 1 << AX, 1 << AX, 1 << AX, 0, X86_FLAGS_STATUS},
	    {"c1 e0 20", 1 << AX, 1 << AX, 1 << AX, 0, 0}, /* a count of 0 */
	    {"d3 e0", 1 << AX | 1 << CX, 1 << AX, 1 << AX, 0, 0},
	    {"ff c0", 1 << AX, 1 << AX, 1 << AX, 0, X86_FLAGS_STATUS & ~X86_FLAG_CF},
	    {"f3 a4", 1 << CX | 1 << SI | 1 << DI, 1 << CX | 1 << SI | 1 << DI, 0, X86_FLAG_DF, 0},
	    {"f3 a6", 1 << CX | 1 << SI | 1 << DI, 1 << CX | 1 << SI | 1 << DI, 0,
	     X86_FLAG_DF | X86_FLAG_ZF, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct x86_insn insn = decoded(X86_MODE_64, cases[i].bytes);
		struct x86_effects e;

		x86_effects(&insn, &e);
		if (e.gpr_read != cases[i].read || e.gpr_written != cases[i].written ||
		    e.gpr_killed != cases[i].killed || e.flags_read != cases[i].flags_read ||
		    e.flags_killed != cases[i].flags_killed)
			fail_msg("%s: read %x written %x killed %x flags read %x killed %x",
				 cases[i].bytes, e.gpr_read, e.gpr_written, e.gpr_killed,
				 e.flags_read, e.flags_killed);
	}
}

/* --- the table --- */

/* Rows say what the interpreter and the translator rely on. */
static void rows_are_sound(void **state)
{
	for (size_t i = 1; i < x86_row_count; i++) {
		const struct x86_row *row = &x86_rows[i];
		const struct x86_flags *flags = &x86_flag_sets[row->flags];
		bool branch =
		    row->attributes & (X86_ROW_JMP | X86_ROW_JCC | X86_ROW_CALL | X86_ROW_RET);
		bool writes_ip = false;

		for (unsigned n = 0; n < row->implicit_count; n++)
			writes_ip |= x86_implicit[row->implicit + n].method == X86_OP_IP;
		if (branch && !writes_ip)
			fail_msg("%s branches and does not write rIP", x86_row_encodings[i]);
		if (flags->cleared & flags->set || (flags->cleared | flags->set) & ~flags->written)
			fail_msg("%s: flags contradict each other", x86_row_encodings[i]);
		if (flags->undefined & flags->written)
			fail_msg("%s: a flag is written and undefined", x86_row_encodings[i]);
		assert_true(row->operand_count <= X86_OPERANDS_MAX);
		assert_string_not_equal(x86_mnemonic_name(row->mnemonic), "(none)");
	}
}

int main(void)
{
	return TEST_RUN("isa_x86", cmocka_unit_test(prints), cmocka_unit_test(refuses),
			cmocka_unit_test(places), cmocka_unit_test(effects),
			cmocka_unit_test(rows_are_sound));
}
