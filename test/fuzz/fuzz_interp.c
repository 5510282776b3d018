/* The interpreter as a hostile guest sees it: a mode, registers, and memory that is code, data and page tables at once. What
 * it reads or writes beyond its RAM is the sanitizer's to see. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "engine/interp/interp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RAM_SIZE  0x8000
#define STEPS     256
#define HEAD_SIZE (2 + 16)

static uint64_t mmio_read(void *machine, gpa_t at, unsigned size)
{
	assert(at.v >= RAM_SIZE && (size == 1 || size == 2 || size == 4 || size == 8));
	return at.v;
}

static void mmio_write(void *machine, gpa_t at, unsigned size, uint64_t value)
{
	assert(at.v >= RAM_SIZE && (size == 8 || value >> 8 * size == 0));
}

static uint32_t port_read(void *machine, uint16_t port, unsigned size)
{
	return port;
}

static void port_write(void *machine, uint16_t port, unsigned size, uint32_t value)
{
}

static bool msr_read(void *cpu, uint32_t index, uint64_t *ret)
{
	*ret = index;
	return index & 1;
}

static bool msr_write(void *cpu, uint32_t index, uint64_t value)
{
	return index & 1;
}

static void cpuid(void *cpu, uint32_t leaf, uint32_t subleaf, uint32_t ret_abcd[4])
{
	memset(ret_abcd, 0, 4 * sizeof(*ret_abcd));
}

static uint64_t tsc(void *cpu)
{
	return 1;
}

static const struct engine_host machine = {mmio_read, mmio_write, port_read, port_write, msr_read,
					   msr_write, cpuid,      tsc,       NULL};

/* head[0]: mode and paging; head[1]: CPL and rights; then a byte for each register, so that small numbers are likely. */
static void set_state(struct x86_state *s, const uint8_t *head)
{
	bool long_mode = head[0] % 3 == 2, paging = long_mode || head[0] & 0x10;
	uint16_t data = X86_SEG_P | X86_SEG_S | X86_SEG_WRITABLE;
	uint16_t size = head[0] % 3 ? X86_SEG_DB : 0;

	s->cr0 = (head[0] % 3 || paging ? X86_CR0_PE : 0) | (paging ? X86_CR0_PG : 0) |
		 (head[1] & 4 ? X86_CR0_WP : 0);
	s->cr4 = (long_mode || head[0] & 0x20 ? X86_CR4_PAE : 0) |
		 (head[0] & 0x40 ? X86_CR4_PSE : 0) |
		 (head[1] & 8 ? X86_CR4_SMEP | X86_CR4_SMAP : 0);
	s->efer = (long_mode ? X86_EFER_LME | X86_EFER_LMA : 0) | (head[1] & 16 ? X86_EFER_NXE : 0);
	s->cr3 = 0x1000;
	s->cpl = head[1] & 3;
	s->rflags = 2;
	s->rip = 0x100;
	for (enum x86_seg i = X86_ES; i <= X86_GS; i++)
		s->segment[i] = (struct x86_segment){
		    .limit = head[1] & 32 ? 0xffff : UINT32_MAX,
		    .attributes = data | size | (head[1] & 64 ? X86_SEG_DOWN : 0)};
	s->segment[X86_CS].attributes = data | X86_SEG_CODE | (long_mode ? X86_SEG_L : size);
	for (unsigned n = 0; n < 16; n++)
		s->gpr[n] = (uint64_t)(int8_t)head[2 + n] * 0x101;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < HEAD_SIZE)
		return 0;
	uint8_t *ram = calloc(1, RAM_SIZE); /* by itself, so that ASan guards its ends */
	struct interp *c = aligned_alloc(64, sizeof(*c));
	struct engine_slot slot = {.size = RAM_SIZE, .host = ram, .fd = -1};

	assert(ram && c);
	size_t rest = size - HEAD_SIZE < RAM_SIZE - 0x100 ? size - HEAD_SIZE : RAM_SIZE - 0x100;

	memcpy(ram + 0x100, data + HEAD_SIZE, rest);
	memset(c, 0, sizeof(*c));
	c->host = &machine;
	c->slots = &slot;
	c->slot_count = 1;
	set_state(&c->state, data);
	/* tables that map the first pages as they are, until the guest changes them */
	for (unsigned i = 0; i < 8; i++)
		put_le64(ram + 0x1000 + 8 * i, 0x1007 | (uint64_t)i << 12);
	for (unsigned i = 0; i < STEPS; i++) {
		enum interp_result result = interp_step(c);

		assert(c->state.rflags & 2);
		if (result == INTERP_FAULT && !c->fault.software)
			c->state.rip++;
		else if (result == INTERP_UNKNOWN)
			c->state.rip += c->insn.length;
	}
	free(ram);
	free(c);
	return 0;
}
