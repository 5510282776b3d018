/* How a virtual CPU is run: the interface of every engine (interp, bt, kvm). A machine, its devices and its saved state know
 * only this; a guest behaves the same on each of them.
 *
 * A VM is memory and CPUs. Memory is given in slots, each a piece of a memfd, so that an engine may read it through
 * the host mapping, hand it to KVM, or map it again at other addresses. What lies in no slot is the machine's: an access
 * calls `struct engine_host` on the vCPU's own thread and waits, and so do ports, unknown MSRs and the interrupt
 * controller's acknowledge. No host function may call back into the vCPU that called it, except engine_vcpu_kick().
 *
 * Threads: a vCPU is run, read and changed by one thread at a time; engine_vcpu_kick() may be called from any thread and
 * any signal handler. Slots are changed while no vCPU of the VM runs.
 *
 * Functions with `struct err *e` return 0 or a negative errno. */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "isa/x86_state.h"

/* Addresses that must not be mixed. */
typedef struct {
	uint64_t v;
} gpa_t; /* guest-physical */

#define ENGINE_SLOTS_MAX 64
#define ENGINE_VCPUS_MAX 256

struct engine_vm;
struct engine_vcpu;

/* --- what the machine gives --- */

struct engine_slot {
	gpa_t start;   /* page-aligned */
	uint64_t size; /* bytes, page-aligned, not 0 */
	uint8_t *host; /* borrowed: mapped readable and writable as long as the slot is there */
	int fd; /* borrowed: the same bytes; -1: none, then only engines without mirrors can use the slot */
	uint64_t offset; /* of the slot in fd */
	bool readonly;   /* writes are the machine's, as if there were no slot: flash, ROM */
	bool log_dirty;
};

/* Sizes are 1, 2, 4 or 8 bytes (ports: at most 4); values are zero-extended. `machine` and `cpu` are what was given at
 * creation. */
struct engine_host {
	uint64_t (*mmio_read)(void *machine, gpa_t at, unsigned size);
	void (*mmio_write)(void *machine, gpa_t at, unsigned size, uint64_t value);
	uint32_t (*port_read)(void *machine, uint16_t port, unsigned size);
	void (*port_write)(void *machine, uint16_t port, unsigned size, uint32_t value);
	/* MSRs that are not part of struct x86_state; false: #GP. */
	bool (*msr_read)(void *cpu, uint32_t index, uint64_t *ret);
	bool (*msr_write)(void *cpu, uint32_t index, uint64_t value);
	void (*cpuid)(void *cpu, uint32_t leaf, uint32_t subleaf, uint32_t ret_abcd[4]);
	uint64_t (*tsc)(void *cpu);
	/* The vector of the highest pending interrupt, which is now in service; -1: none. Asked when the CPU can take one
	 * after engine_vcpu_kick(), and at each entry of engine_vcpu_run(). */
	int (*acknowledge)(void *cpu);
};

/* --- why a vCPU stopped --- */

enum engine_exit_reason {
	ENGINE_EXIT_KICKED,   /* engine_vcpu_kick() */
	ENGINE_EXIT_BUDGET,   /* as many instructions as were asked for */
	ENGINE_EXIT_HALTED,   /* HLT, and no interrupt is pending: run again when one is */
	ENGINE_EXIT_SHUTDOWN, /* triple fault: the machine resets or stops */
	ENGINE_EXIT_FAILED,   /* the engine cannot go on: `detail` says why */
};

struct engine_exit {
	enum engine_exit_reason reason;
	char detail[128]; /* for people; empty unless FAILED */
};

/* Since the vCPU was made; what an engine does not count stays 0. */
struct engine_counters {
	uint64_t instructions;
	uint64_t exits;
	uint64_t exceptions, interrupts;
	uint64_t mmio, ports;
	uint64_t translated_blocks, page_walks;
};

/* --- an engine: one constant of this type each --- */

struct engine {
	const char *name; /* as in --engine */
	/* 0, or why this host cannot run it. */
	int (*probe)(struct err *e);

	/* host: borrowed until vm_free. *ret: owned. vm_free wants every vCPU freed before. */
	int (*vm_new)(const struct engine_host *host, void *machine, struct engine_vm **ret,
		      struct err *e);
	void (*vm_free)(struct engine_vm *vm);

	/* Puts a slot in place n (below ENGINE_SLOTS_MAX), or with NULL takes it away. Slots do not overlap: -EINVAL. */
	int (*vm_set_slot)(struct engine_vm *vm, unsigned n, const struct engine_slot *slot,
			   struct err *e);
	/* The pages of slot n that guests wrote since the last call, a bit per 4096 bytes; bitmap has
	 * size / 4096 bits, in whole words. The host's own writes are not in it. */
	int (*vm_take_dirty)(struct engine_vm *vm, unsigned n, uint64_t *bitmap, struct err *e);

	/* A CPU in the state after power-on (SDM volume 3, 9.1.1). *ret: owned. */
	int (*vcpu_new)(struct engine_vm *vm, void *cpu, struct engine_vcpu **ret, struct err *e);
	void (*vcpu_free)(struct engine_vcpu *vcpu);

	/* All of the state. A state that no CPU can have is refused: -EINVAL. */
	int (*vcpu_get)(struct engine_vcpu *vcpu, struct x86_state *ret, struct err *e);
	int (*vcpu_set)(struct engine_vcpu *vcpu, const struct x86_state *state, struct err *e);

	/* Runs until something in `enum engine_exit_reason` happens, at most `budget` instructions where the engine can
	 * count them (0: no limit). A guest cannot make this fail: what it does wrong are exceptions or SHUTDOWN. */
	int (*vcpu_run)(struct engine_vcpu *vcpu, uint64_t budget, struct engine_exit *ret,
			struct err *e);
	/* The running vCPU asks the machine for interrupts at the next instruction boundary and returns from vcpu_run;
	 * one that does not run returns from its next vcpu_run at once. Any thread; async-signal-safe. */
	void (*vcpu_kick)(struct engine_vcpu *vcpu);
	void (*vcpu_count)(const struct engine_vcpu *vcpu, struct engine_counters *ret);
};

#endif
