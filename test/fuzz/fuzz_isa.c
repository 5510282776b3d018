/* The decoder: a byte that says the mode, then instructions. What was decoded must be the same without the bytes that
 * follow, must not be there without its last byte, and must survive operands, effects and printer. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "isa/x86.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode_exactly(enum x86_mode mode, const uint8_t *bytes,
			   const struct x86_insn *expected)
{
	_free_ uint8_t *copy = malloc(expected->length); /* a byte too far is ASan's to see */
	struct x86_insn insn;

	assert(copy);
	memcpy(copy, bytes, expected->length);
	assert(x86_decode(mode, copy, expected->length, &insn) == X86_OK);
	assert(insn.row == expected->row && insn.length == expected->length &&
	       insn.imm == expected->imm && insn.disp == expected->disp);
	assert(x86_decode(mode, copy, expected->length - 1, &insn) == X86_TRUNCATED);
}

static void look_at(const struct x86_insn *insn)
{
	struct x86_effects effects;
	struct x86_operand operand;
	char text[X86_TEXT_MAX], cut[8];
	unsigned n = 0;

	while (x86_operand(insn, n, &operand))
		n++;
	assert(n >= insn->row->operand_count);
	x86_effects(insn, &effects);
	assert(!(effects.gpr_killed & ~effects.gpr_written) && !(effects.gpr_written >> 16));
	assert(x86_print(insn, 0x1000, text, sizeof(text)) == strlen(text));
	assert(x86_print(insn, 0x1000, cut, sizeof(cut)) == strlen(cut));
	assert(strncmp(text, cut, strlen(cut)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	enum x86_mode mode = data[0] % 3;

	for (size_t at = 1; at < size;) {
		struct x86_insn insn;

		switch (x86_decode(mode, data + at, size - at, &insn)) {
		case X86_OK:
			assert(insn.length >= 1 && insn.length <= X86_LENGTH_MAX &&
			       insn.length <= size - at);
			decode_exactly(mode, data + at, &insn);
			look_at(&insn);
			at += insn.length;
			break;
		case X86_TRUNCATED:
			assert(size - at < X86_LENGTH_MAX);
			return 0;
		default:
			at++;
		}
	}
	return 0;
}
