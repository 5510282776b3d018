/* The reference interpreter: executes x86 instructions one by one, as the manuals describe them. Slow, obvious, and the oracle
 * for everything faster.
 *
 * This is its core: one instruction on one CPU's state. An exception is not delivered here, but told to the caller, with
 * the state as it was before the instruction (faults) or after it (traps). An instruction that the core does not know yet
 * is INTERP_UNKNOWN, and never done by halves. HLT sets state.halted and goes on; STI sets state.interrupt_shadow.
 *
 * Guest memory is reached through slots (engine/engine.h); what lies outside them, and ports, is the machine's.
 *
 * A CPU belongs to one thread; several CPUs may share slots, and LOCK is atomic among them, but for CMPXCHG8B, CMPXCHG16B and
 * operands that cross a page. */
#ifndef ENGINE_INTERP_INTERP_H
#define ENGINE_INTERP_INTERP_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/engine.h"
#include "isa/x86.h"
#include "isa/x86_regs.h"
#include "isa/x86_state.h"

enum interp_result {
	INTERP_DONE,
	INTERP_FAULT,   /* interp.fault */
	INTERP_UNKNOWN, /* not implemented: interp.insn; nothing has changed */
};

struct interp_fault {
	enum x86_vector vector;
	bool has_error;
	bool software; /* INT n, INT3, INTO, INT1: an interrupt by intent */
	uint32_t error;
	uint64_t address; /* of #PF: for CR2 */
};

struct units;

struct interp {
	struct x86_state state;
	const struct engine_host *host;  /* borrowed */
	void *machine, *cpu;             /* handed to host's functions */
	const struct engine_slot *slots; /* borrowed; entries of size 0 are none */
	unsigned slot_count;
	struct units
	    *units; /* borrowed; NULL: x87, MMX, SSE, AVX and AVX-512 instructions are unknown */

	struct x86_insn insn; /* the one that is, or was, executed */
	struct interp_fault fault;
	/* of the instruction in progress */
	uint8_t bytes[X86_LENGTH_MAX];
	uint64_t next_ip;
	bool unknown;
	struct {
		uint8_t *host; /* where a LOCKed instruction read its operand; NULL: it did not */
		uint64_t value;
		bool lost; /* somebody else wrote it since: do the instruction again */
	} locked;
};

/* Executes the instruction at CS:rIP, or one iteration of a repeated string instruction. */
enum interp_result interp_step(struct interp *c);

#endif
