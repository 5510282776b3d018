/* src/isa against Zydis: every row of the table, in every mode, and random bytes. What Zydis does otherwise is in
 * test/lib/x86_zydis_known.h. Longer runs: `make oracle`. */
#include "test.h"

#include "base/cleanup.h"

#include "x86_zydis.h"

#define RANDOM_COUNT 1000000
#define FORMS_MAX    40 /* per row and mode */

static void check(enum x86_mode mode, const uint8_t *bytes)
{
	char why[300], text[3 * X86_LENGTH_MAX + 1] = "";
	unsigned length;

	if (x86_zydis_agrees(mode, bytes, &length, why, sizeof(why)))
		return;
	for (unsigned i = 0; i < X86_LENGTH_MAX; i++)
		sprintf(text + 3 * i, "%02x ", bytes[i]);
	fail_msg("%u bits, %s: %s", 16u << mode, text, why);
}

static void random_bytes(void **state)
{
	uint64_t seed = 1;

	for (unsigned i = 0; i < RANDOM_COUNT; i++) {
		uint8_t bytes[X86_LENGTH_MAX];
		enum x86_mode mode = x86_zydis_random(&seed, bytes);

		check(mode, bytes);
	}
}

/* --- every row --- */

static unsigned *seen; /* [row * 3 + mode] */

/* Compares an encoding, unless its row was compared often enough in this mode. */
static void try_form(enum x86_mode mode, const uint8_t *bytes)
{
	struct x86_insn insn;

	if (x86_decode(mode, bytes, X86_LENGTH_MAX, &insn) != X86_OK)
		return;
	if (seen[(insn.row - x86_rows) * 3 + mode]++ < FORMS_MAX)
		check(mode, bytes);
}

/* Every ModRM byte, then a SIB byte and what may follow. */
static void try_modrms(enum x86_mode mode, uint8_t *bytes, unsigned at)
{
	for (unsigned modrm = 0; modrm < 256; modrm++) {
		bytes[at] = modrm;
		try_form(mode, bytes);
	}
}

static void legacy_forms(enum x86_mode mode)
{
	static const char *const maps[] = {"", "\x0f", "\x0f\x38", "\x0f\x3a"};
	static const char *const prefixes[] = {"",     "\x66",     "\xf3",     "\xf2",     "\x67",
					       "\x48", "\x66\x48", "\xf3\x48", "\xf2\x48", "\x41"};
	uint8_t bytes[X86_LENGTH_MAX];

	for (size_t p = 0; p < ARRAY_SIZE(prefixes); p++)
		for (size_t m = 0; m < ARRAY_SIZE(maps); m++)
			for (unsigned opcode = 0; opcode < 256; opcode++) {
				memset(bytes, 0x11, sizeof(bytes));
				unsigned at = strlen(prefixes[p]) + strlen(maps[m]);

				memcpy(bytes, prefixes[p], strlen(prefixes[p]));
				memcpy(bytes + strlen(prefixes[p]), maps[m], strlen(maps[m]));
				bytes[at] = opcode;
				try_modrms(mode, bytes, at + 1);
			}
}

/* low: p, L and a vvvv of 0 or 1; W is bit 7. */
static void vex_forms(enum x86_mode mode)
{
	for (unsigned map = 1; map <= 3; map++)
		for (unsigned last = 0; last < 256; last++) {
			if ((last >> 3 & 0xf) < 14)
				continue;
			for (unsigned opcode = 0; opcode < 256; opcode++) {
				uint8_t bytes[X86_LENGTH_MAX] = {0xc4, 0xe0 | map, last, opcode};

				memset(bytes + 4, 0x11, sizeof(bytes) - 4);
				try_modrms(mode, bytes, 4);
			}
		}
}

static void evex_forms(enum x86_mode mode)
{
	static const uint8_t thirds[] = {0x08, 0x28, 0x48, 0x68, 0x18,
					 0x58, 0x09, 0x49, 0x89, 0xc9};

	for (unsigned map = 1; map <= 6; map++)
		for (unsigned second = 0; second < 256; second++) {
			if (!(second & 4) || (second >> 3 & 0xf) < 14)
				continue;
			for (size_t third = 0; third < ARRAY_SIZE(thirds); third++)
				for (unsigned opcode = 0; opcode < 256; opcode++) {
					uint8_t bytes[X86_LENGTH_MAX] = {0x62, 0xf0 | map, second,
									 thirds[third], opcode};

					memset(bytes + 5, 0x11, sizeof(bytes) - 5);
					try_modrms(mode, bytes, 5);
				}
		}
}

static void every_row(void **state)
{
	seen = calloc(x86_row_count * 3, sizeof(*seen));
	assert_non_null(seen);
	for (enum x86_mode mode = X86_MODE_16; mode <= X86_MODE_64; mode++) {
		legacy_forms(mode);
		vex_forms(mode);
		evex_forms(mode);
	}
	for (size_t row = 1; row < x86_row_count; row++)
		if (!seen[row * 3] && !seen[row * 3 + 1] && !seen[row * 3 + 2])
			fail_msg("no bytes were found for %s %s", x86_row_encodings[row],
				 x86_mnemonic_name(x86_rows[row].mnemonic));
	free(seen);
}

int main(void)
{
	return TEST_RUN("isa_zydis", cmocka_unit_test(every_row), cmocka_unit_test(random_bytes));
}
