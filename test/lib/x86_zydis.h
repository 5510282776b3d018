/* Zydis as an oracle for src/isa: decodes the same bytes with both and says where they differ. */
#ifndef TEST_X86_ZYDIS_H
#define TEST_X86_ZYDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "isa/x86.h"

/* Compares validity, length, mnemonic, operands, registers, flags. bytes: X86_LENGTH_MAX of them at least.
 * True when both agree, or differ in a way that the table of known differences explains (x86_zydis.c). Else `why` says
 * what differs. *ret_length: the instruction's, 1 where it is invalid. */
bool x86_zydis_agrees(enum x86_mode mode, const uint8_t *bytes, unsigned *ret_length, char *why,
		      size_t why_size);

/* Fills in the next random byte string of a fixed sequence: a quarter each plain, with likely legacy prefixes and maps, with
 * a VEX and with an EVEX prefix, because plain bytes seldom get so far. */
enum x86_mode x86_zydis_random(uint64_t *state, uint8_t bytes[X86_LENGTH_MAX]);

#endif
