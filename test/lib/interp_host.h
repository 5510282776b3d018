/* The interpreter against this host's CPU: random instructions run on both, and registers, flags, memory and faults
 * are compared. */
#ifndef TEST_INTERP_HOST_H
#define TEST_INTERP_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host_cpu.h"

struct interp_host {
	struct host_cpu host;
	struct interp *interp;
	uint8_t *guest;                /* page tables, then code, then data */
	uint8_t *data;                 /* with which the next sequence starts */
	uint8_t xsave[HOST_CPU_XSAVE]; /* the same of the vector registers */
	uint64_t components;           /* of XCR0 that are compared */
	uint32_t undefined;            /* flags, at the end of the sequence */
	uint64_t random;
	uint64_t instructions, sequences;
	uint64_t *rows; /* how often each row of the table was executed; borrowed; may be NULL */
};

int interp_host_open(struct interp_host *t, uint64_t seed);
void interp_host_close(struct interp_host *t);

/* Makes one sequence of instructions and runs it on both. False when they differ: `why` has the sequence and what
 * differs. *rc: a negative errno when the host could not be asked. */
bool interp_host_try(struct interp_host *t, int *rc, char *why, size_t why_size);

#endif
