/* bench_interp: million guest instructions a second of the interpreter, on loops of integer instructions in 32-bit code without
 * paging and in 64-bit code with it. CPU time, the best of several rounds. */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/endian.h"
#include "engine/interp/interp.h"
#include "isa/x86_paging.h"

#define ROUNDS 3
#define STEPS  1000000

static _Alignas(4096) uint8_t ram[0x20000];
static struct interp cpu;

/* A loop of register operations, a load, a store and a branch: at 0x1000, data at 0x3000. */
static const uint8_t loop[] = {
    0x01, 0xd8,                         /* add eax, ebx */
    0x31, 0xc1,                         /* xor ecx, eax */
    0x89, 0x8e, 0x00, 0x30, 0x00, 0x00, /* mov [rsi+3000], ecx */
    0x03, 0x9e, 0x04, 0x30, 0x00, 0x00, /* add ebx, [rsi+3004] */
    0xc1, 0xc0, 0x05,                   /* rol eax, 5 */
    0x83, 0xea, 0x01,                   /* sub edx, 1 */
    0x75, 0xe8,                         /* jnz 1000 */
};

static double cpu_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void reset(bool long_mode)
{
	static const struct engine_slot slot = {.size = sizeof(ram), .host = ram, .fd = -1};
	uint16_t code = X86_SEG_P | X86_SEG_S | X86_SEG_CODE | X86_SEG_WRITABLE | X86_SEG_G;

	memset(&cpu, 0, sizeof(cpu));
	memset(ram, 0, sizeof(ram));
	memcpy(ram + 0x1000, loop, sizeof(loop));
	cpu.slots = &slot;
	cpu.slot_count = 1;
	cpu.state.rip = 0x1000;
	cpu.state.rflags = 2;
	cpu.state.gpr[2] = UINT32_MAX;
	cpu.state.cr0 = X86_CR0_PE;
	for (enum x86_seg s = X86_ES; s <= X86_GS; s++)
		cpu.state.segment[s] = (struct x86_segment){
		    .limit = UINT32_MAX,
		    .attributes = X86_SEG_P | X86_SEG_S | X86_SEG_WRITABLE | X86_SEG_DB};
	cpu.state.segment[X86_CS].attributes = code | (long_mode ? X86_SEG_L : X86_SEG_DB);
	if (!long_mode)
		return;
	cpu.state.cr0 |= X86_CR0_PG;
	cpu.state.cr4 = X86_CR4_PAE;
	cpu.state.efer = X86_EFER_LME | X86_EFER_LMA;
	cpu.state.cr3 = 0x10000;
	for (uint64_t table = 0x10000; table < 0x13000; table += 0x1000)
		put_le64(ram + table, (table + 0x1000) | X86_PTE_P | X86_PTE_W);
	for (unsigned page = 0; page < 16; page++)
		put_le64(ram + 0x13000 + 8 * page, page << X86_PAGE_SHIFT | X86_PTE_P | X86_PTE_W);
}

static void measure(const char *name, bool long_mode)
{
	double best = 0;

	for (int round = 0; round < ROUNDS; round++) {
		reset(long_mode);
		double start = cpu_s();

		for (unsigned i = 0; i < STEPS; i++) {
			enum interp_result result = interp_step(&cpu);

			assert(result == INTERP_DONE);
		}
		double rate = STEPS / (cpu_s() - start) / 1e6;

		best = rate > best ? rate : best;
	}
	printf("%-34s %6.1f million instructions a second\n", name, best);
}

int main(void)
{
	measure("interp: 32-bit, no paging", false);
	measure("interp: 64-bit, 4-level paging", true);
	return 0;
}
