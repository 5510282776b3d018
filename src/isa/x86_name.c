/* Names of mnemonics and registers. */
#include "isa/x86.h"

#include <assert.h>
#include <stdio.h>

const char *x86_mnemonic_name(enum x86_mnemonic m)
{
	static const char *const names[] = {
	    [X86_MNEMONIC_NONE] = "(none)",
#define X86_MNEMONIC(name) [X86_##name] = #name,
#include "isa/x86_mnemonics.h"
#undef X86_MNEMONIC
	};

	assert(m < X86_MNEMONIC_COUNT);
	return names[m];
}

const char *x86_feature_name(enum x86_feature f)
{
	static const char *const names[] = {
#define X86_FEATURE(name, text, leaf, subleaf, reg, bit) [X86_FEATURE_##name] = text,
#include "isa/x86_features.h"
#undef X86_FEATURE
	};

	assert(f < X86_FEATURE_COUNT);
	return names[f];
}

/* The eight general registers with names of their own, by size; the others are r8 to r15 with a letter. */
static const char *gpr_name(enum x86_reg_kind kind, unsigned n, char text[8])
{
	static const char names[8][3] = {"ax", "cx", "dx", "bx", "sp", "bp", "si", "di"};
	static const char bytes[8][4] = {"al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil"};
	static const char *const suffixes[] = {[X86_REG_GPR8] = "b",
					       [X86_REG_GPR16] = "w",
					       [X86_REG_GPR32] = "d",
					       [X86_REG_GPR64] = ""};

	if (n >= 8)
		snprintf(text, 8, "r%u%s", n, suffixes[kind]);
	else if (kind == X86_REG_GPR8)
		snprintf(text, 8, "%s", bytes[n]);
	else
		snprintf(text, 8, "%s%s",
			 kind == X86_REG_GPR64   ? "r"
			 : kind == X86_REG_GPR32 ? "e"
						 : "",
			 names[n]);
	return text;
}

const char *x86_reg_name(enum x86_reg_kind kind, unsigned n, char text[8])
{
	static const char high[4][3] = {"ah", "ch", "dh", "bh"};
	static const char segments[6][3] = {"es", "cs", "ss", "ds", "fs", "gs"};
	static const char *const numbered[] = {
	    [X86_REG_MMX] = "mm",  [X86_REG_XMM] = "xmm", [X86_REG_YMM] = "ymm",
	    [X86_REG_ZMM] = "zmm", [X86_REG_MASK] = "k",  [X86_REG_CR] = "cr",
	    [X86_REG_DR] = "dr",   [X86_REG_XCR] = "xcr"};

	switch (kind) {
	case X86_REG_GPR8:
	case X86_REG_GPR16:
	case X86_REG_GPR32:
	case X86_REG_GPR64:
		return gpr_name(kind, n & 31, text);
	case X86_REG_GPR8H:
		return high[n & 3];
	case X86_REG_SEG:
		assert(n < 6);
		return segments[n];
	case X86_REG_X87:
		snprintf(text, 8, n ? "st(%u)" : "st", n & 7);
		return text;
	case X86_REG_RIP:
		return "rip";
	case X86_REG_CTL_MXCSR:
		return "mxcsr";
	case X86_REG_CTL_SSP:
		return "ssp";
	default:
		snprintf(text, 8, "%s%u", numbered[kind], n & 31);
		return text;
	}
}
