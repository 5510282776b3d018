/* The host CPU's own units: executes one x87, MMX, SSE, AVX or AVX-512 instruction of the guest on them, so that rounding, NaNs
 * and denormals are a CPU's and nobody's imitation.
 *
 * The guest's instruction is copied into a gate (units_gate.c) between code that loads and saves the guest's registers.
 * What it would do to memory is done to a buffer instead: its memory operand is rewritten to point there, and the caller moves
 * the bytes. Only instructions of those classes get there, checked against the table; none of them can jump, trap into the
 * kernel or write elsewhere. Floating point exceptions are masked while it runs and told afterwards.
 *
 * The state's XSAVE area must be one that XRSTOR takes: SDM volume 1, 13.8.
 *
 * One gate per CPU; it holds no guest state between calls. Its code page has two views, one writable, one executable. */
#ifndef ENGINE_INTERP_UNITS_H
#define ENGINE_INTERP_UNITS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "isa/x86.h"
#include "isa/x86_state.h"

#define UNITS_BUFFER 64 /* bytes; no operand is longer */

#define UNITS_MXCSR_AT    24 /* in the XSAVE area; SDM volume 1, 10.5.1 */
#define UNITS_MXCSR_OM_UM (3u << 10)

struct units;

/* What goes in and comes out beside the state's vector registers. */
struct units_call {
	const uint8_t *bytes; /* the instruction's */
	const struct x86_insn *insn;
	uint8_t buffer[UNITS_BUFFER]; /* its memory operand, before and after */
	uint32_t
	    raised; /* MXCSR's exception flags that were raised and that the guest has unmasked: #XM */
};

/* Makes a gate. *ret: owned. */
int units_new(struct units **ret, struct err *e);
void units_free(struct units *u);

/* Whether the instruction can be run here: its class, its operands, and the host's CPU. */
bool units_can_run(const struct units *u, const struct x86_insn *insn);
/* Runs it: general registers, status flags and XSAVE area of the state change, and call->buffer. With call->raised the state's
 * registers are as before. */
void units_run(struct units *u, struct x86_state *state, struct units_call *call);

#endif
