/* The interpreter where the host cannot be asked: segments, page tables, 16- and 32-bit code, exceptions' details. */
#include "test.h"

#include "base/cleanup.h"
#include "base/endian.h"
#include "engine/interp/interp.h"
#include "engine/interp/units.h"
#include "isa/x86_paging.h"

#define RAM_SIZE 0x40000

enum { AX, CX, DX, BX, SP, BP, SI, DI };

static _Alignas(4096) uint8_t ram[RAM_SIZE];
static struct engine_slot slot;
static struct interp cpu;

/* --- the machine: what is outside RAM --- */

static struct {
	uint64_t at, value;
	unsigned size, reads, writes;
} mmio;

static uint64_t mmio_read(void *machine, gpa_t at, unsigned size)
{
	mmio.at = at.v;
	mmio.size = size;
	mmio.reads++;
	return 0x8877665544332211;
}

static void mmio_write(void *machine, gpa_t at, unsigned size, uint64_t value)
{
	mmio.at = at.v;
	mmio.size = size;
	mmio.value = value;
	mmio.writes++;
}

static struct {
	uint16_t port;
	unsigned size;
	uint32_t value;
	uint64_t msr;
} io;

static uint32_t port_read(void *m, uint16_t port, unsigned size)
{
	io.port = port;
	io.size = size;
	return 0x44332211 & (uint32_t)((UINT64_C(1) << 8 * size) - 1);
}

static void port_write(void *m, uint16_t port, unsigned size, uint32_t value)
{
	io.port = port;
	io.size = size;
	io.value = value;
}

/* The machine has one MSR, 0x1b. */
static bool msr_read(void *c, uint32_t index, uint64_t *ret)
{
	*ret = io.msr;
	return index == 0x1b;
}

static bool msr_write(void *c, uint32_t index, uint64_t value)
{
	io.msr = value;
	return index == 0x1b;
}

static void cpuid(void *c, uint32_t leaf, uint32_t subleaf, uint32_t ret_abcd[4])
{
	for (unsigned i = 0; i < 4; i++)
		ret_abcd[i] = leaf * 16 + subleaf * 256 + i;
}

static uint64_t tsc(void *c)
{
	return 0x123456789;
}

static const struct engine_host machine = {.mmio_read = mmio_read,
					   .mmio_write = mmio_write,
					   .port_read = port_read,
					   .port_write = port_write,
					   .msr_read = msr_read,
					   .msr_write = msr_write,
					   .cpuid = cpuid,
					   .tsc = tsc};

/* --- CPUs --- */

#define CODE_SEGMENT (X86_SEG_P | X86_SEG_S | X86_SEG_CODE | X86_SEG_WRITABLE | X86_SEG_ACCESSED)
#define DATA_SEGMENT (X86_SEG_P | X86_SEG_S | X86_SEG_WRITABLE | X86_SEG_ACCESSED)

static void reset(uint16_t code, uint16_t data, uint32_t limit)
{
	memset(ram, 0, sizeof(ram));
	memset(&mmio, 0, sizeof(mmio));
	memset(&cpu, 0, sizeof(cpu));
	slot = (struct engine_slot){.size = RAM_SIZE, .host = ram, .fd = -1};
	cpu.host = &machine;
	cpu.slots = &slot;
	cpu.slot_count = 1;
	cpu.state.rflags = 2;
	put_le32(cpu.state.xsave + UNITS_MXCSR_AT, 0x1f80);
	cpu.state.rip = 0x1000;
	cpu.state.gpr[SP] = 0x8000;
	for (enum x86_seg s = X86_ES; s <= X86_GS; s++)
		cpu.state.segment[s] =
		    (struct x86_segment){.limit = limit, .attributes = s == X86_CS ? code : data};
}

static void real_mode(void)
{
	reset(CODE_SEGMENT, DATA_SEGMENT, 0xffff);
}

static void protected_mode(void)
{
	reset(CODE_SEGMENT | X86_SEG_DB | X86_SEG_G, DATA_SEGMENT | X86_SEG_DB | X86_SEG_G,
	      UINT32_MAX);
	cpu.state.cr0 = X86_CR0_PE;
}

/* Puts code at CS:rIP. */
static void code(const char *bytes, size_t size)
{
	memcpy(ram + cpu.state.segment[X86_CS].base + cpu.state.rip, bytes, size);
}

#define CODE(s) code(s, sizeof(s) - 1)

static void step(void)
{
	assert_int_equal(interp_step(&cpu), INTERP_DONE);
}

static void faults(enum x86_vector vector, uint32_t error)
{
	uint64_t rip = cpu.state.rip;

	assert_int_equal(interp_step(&cpu), INTERP_FAULT);
	assert_int_equal(cpu.fault.vector, vector);
	assert_int_equal(cpu.fault.has_error, x86_vector_has_error(vector));
	assert_int_equal(cpu.fault.error, error);
	if (!cpu.fault.software)
		assert_int_equal(cpu.state.rip, rip);
}

/* --- 16 bits --- */

static void wraps_at_64k(void **state)
{
	real_mode();
	cpu.state.gpr[BX] = 0xfffe;
	cpu.state.gpr[SI] = 4;
	put_le16(ram + 2, 0x1234);
	CODE("\x8b\x00"); /* MOV AX, [BX+SI] */
	step();
	assert_int_equal(cpu.state.gpr[AX], 0x1234);
	cpu.state.rip = 0x1000;
	cpu.state.gpr[SI] = 1;
	faults(X86_GP, 0); /* a word at FFFF is beyond the limit */
	cpu.state.gpr[BP] = 0xffff;
	CODE("\x8b\x46\x00"); /* MOV AX, [BP] */
	faults(X86_SS_FAULT, 0);
}

static void segment_bases(void **state)
{
	real_mode();
	cpu.state.segment[X86_CS].base = 0x10000;
	cpu.state.segment[X86_DS].base = 0x20000;
	cpu.state.segment[X86_ES].base = 0x30000;
	cpu.state.gpr[CX] = 3;
	cpu.state.gpr[SI] = 0x10;
	memcpy(ram + 0x20010, "abc", 3);
	CODE("\xf3\xa4"); /* REP MOVSB */
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(cpu.state.rip, 0x1000);
		step();
	}
	assert_int_equal(cpu.state.rip, 0x1002);
	assert_memory_equal(ram + 0x30000, "abc", 3);
	assert_int_equal(cpu.state.gpr[CX], 0);
	assert_int_equal(cpu.state.gpr[SI], 0x13);
}

static void stack_16(void **state)
{
	real_mode();
	cpu.state.gpr[AX] = 0xdead0001;
	cpu.state.gpr[SP] = 0xffff0002;
	CODE("\x50\x66\x50\x5b"); /* PUSH AX; PUSH EAX; POP BX */
	step();
	assert_int_equal(cpu.state.gpr[SP], 0xffff0000);
	step();
	assert_int_equal(cpu.state.gpr[SP], 0xfffffffc);
	assert_int_equal(get_le32(ram + 0xfffc), 0xdead0001);
	step();
	assert_int_equal(cpu.state.gpr[BX], 1);
}

static void branches_stay_in_the_segment(void **state)
{
	real_mode();
	CODE("\xe9\x00\xf0"); /* JMP to 0x1003 - 0x1000 */
	step();
	assert_int_equal(cpu.state.rip, 3);
	cpu.state.segment[X86_CS].limit = 0x1fff;
	cpu.state.rip = 0x1000;
	CODE("\xe9\x00\x10"); /* JMP to 0x2003 */
	faults(X86_GP, 0);
	cpu.state.rip = 0x1fff;
	CODE("\xb8\x01\x00"); /* MOV AX across the limit */
	faults(X86_GP, 0);
}

static void decimal(void **state)
{
	static const struct {
		const char *code;
		size_t size;
		uint32_t flags, ax, result, result_flags;
	} cases[] = {
	    {"\x27", 1, 0, 0xae, 0x14,
	     X86_FLAG_CF | X86_FLAG_AF | X86_FLAG_PF}, /* DAA; SDM's example */
	    {"\x2f", 1, X86_FLAG_AF, 0xee, 0x88,
	     X86_FLAG_CF | X86_FLAG_AF | X86_FLAG_SF | X86_FLAG_PF},   /* DAS */
	    {"\x37", 1, 0, 0x000a, 0x0100, X86_FLAG_CF | X86_FLAG_AF}, /* AAA */
	    {"\x3f", 1, 0, 0x020a, 0x0104, X86_FLAG_CF | X86_FLAG_AF}, /* AAS */
	    {"\xd4\x0a", 2, 0, 0x003f, 0x0603, X86_FLAG_PF},           /* AAM */
	    {"\xd5\x0a", 2, 0, 0x0603, 0x003f, X86_FLAG_PF},           /* AAD */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		real_mode();
		cpu.state.gpr[AX] = cases[i].ax;
		cpu.state.rflags |= cases[i].flags;
		code(cases[i].code, cases[i].size);
		step();
		assert_int_equal(cpu.state.gpr[AX], cases[i].result);
		assert_int_equal(cpu.state.rflags & X86_FLAGS_STATUS, cases[i].result_flags);
	}
	CODE("\xd4"); /* AAM 0 */
	cpu.state.rip = 0x1000;
	ram[0x1000] = 0xd4;
	ram[0x1001] = 0;
	faults(X86_DE, 0);
}

/* --- segments in protected mode --- */

static void segment_rights(void **state)
{
	protected_mode();
	CODE(
	    "\xa3\x00\x20\x00\x00\x2e\xa3\x00\x20\x00\x00"); /* MOV [2000], EAX; MOV CS:[2000], EAX */
	step();
	faults(X86_GP, 0); /* code is not written */
	cpu.state.rip = 0x1000;
	cpu.state.segment[X86_DS].attributes &= ~X86_SEG_WRITABLE;
	faults(X86_GP, 0);
	cpu.state.segment[X86_DS].attributes = 0; /* a null selector */
	faults(X86_GP, 0);
}

static void expand_down(void **state)
{
	protected_mode();
	cpu.state.segment[X86_DS].attributes |= X86_SEG_DOWN;
	cpu.state.segment[X86_DS].limit = 0x1fff;
	CODE("\xa0\x00\x20\x00\x00\xa0\xff\x1f\x00\x00"); /* MOV AL, [2000]; MOV AL, [1fff] */
	step();
	faults(X86_GP, 0);
}

static void pusha_and_enter(void **state)
{
	protected_mode();
	for (unsigned n = 0; n < 8; n++)
		cpu.state.gpr[n] = n == SP ? 0x8000 : 0x100 + n;
	CODE("\x60\x61\xc8\x10\x00\x02\xc9"); /* PUSHAD; POPAD; ENTER 16, 2; LEAVE */
	step();
	assert_int_equal(cpu.state.gpr[SP], 0x8000 - 32);
	assert_int_equal(get_le32(ram + 0x8000 - 20), 0x8000); /* ESP as it was */
	memset(ram + 0x8000 - 20, 0, 4);
	step();
	assert_int_equal(cpu.state.gpr[SP], 0x8000); /* and not loaded */
	put_le32(ram + 0x100 + BP - 4, 0x55);
	step();
	assert_int_equal(cpu.state.gpr[BP], 0x8000 - 4);
	assert_int_equal(cpu.state.gpr[SP], 0x8000 - 12 - 16);
	assert_int_equal(get_le32(ram + 0x8000 - 8), 0x55);
	step();
	assert_int_equal(cpu.state.gpr[SP], 0x8000);
	assert_int_equal(cpu.state.gpr[BP], 0x100 + BP);
}

/* --- page tables --- */

#define RIGHTS (X86_PTE_P | X86_PTE_W | X86_PTE_U)

/* 64-bit mode; 4-level tables from 0x10000; the first 16 pages are mapped as they are. */
static void long_mode(void)
{
	reset(CODE_SEGMENT | X86_SEG_L, DATA_SEGMENT | X86_SEG_DB, UINT32_MAX);
	cpu.state.cr0 = X86_CR0_PE | X86_CR0_PG | X86_CR0_WP;
	cpu.state.cr4 = X86_CR4_PAE;
	cpu.state.efer = X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE;
	cpu.state.cr3 = 0x10000;
	put_le64(ram + 0x10000, 0x11000 | RIGHTS);
	put_le64(ram + 0x11000, 0x12000 | RIGHTS);
	put_le64(ram + 0x12000, 0x13000 | RIGHTS);
	for (unsigned i = 0; i < 16; i++)
		put_le64(ram + 0x13000 + 8 * i, (i << 12) | RIGHTS);
}

static uint8_t *pte(unsigned page)
{
	return ram + 0x13000 + 8 * page;
}

static void page_faults(uint32_t error, uint64_t address)
{
	faults(X86_PF, error);
	assert_int_equal(cpu.fault.address, address);
}

static void accessed_and_dirty(void **state)
{
	long_mode();
	CODE(
	    "\x8b\x04\x25\x00\x30\x00\x00\x89\x04\x25\x00\x40\x00\x00"); /* MOV EAX, [3000]; MOV [4000], EAX */
	step();
	assert_int_equal(get_le64(pte(3)) & (X86_PTE_A | X86_PTE_D), X86_PTE_A);
	assert_int_equal(get_le64(pte(4)) & (X86_PTE_A | X86_PTE_D), 0);
	step();
	assert_int_equal(get_le64(pte(4)) & (X86_PTE_A | X86_PTE_D), X86_PTE_A | X86_PTE_D);
	assert_true(get_le64(ram + 0x12000) & X86_PTE_A);
	assert_false(get_le64(ram + 0x12000) & X86_PTE_D); /* only what maps a page gets dirty */
}

static void page_rights(void **state)
{
	long_mode();
	CODE("\x89\x04\x25\x00\x30\x00\x00"); /* MOV [3000], EAX */
	put_le64(pte(3), 0x3000 | X86_PTE_W | X86_PTE_U);
	page_faults(X86_PF_WRITE, 0x3000);
	put_le64(pte(3), 0x3000 | X86_PTE_P | X86_PTE_U);
	page_faults(X86_PF_PRESENT | X86_PF_WRITE, 0x3000);
	cpu.state.cr0 &= ~X86_CR0_WP; /* then the supervisor may */
	step();
	cpu.state.rip = 0x1000;
	cpu.state.cpl = 3;
	page_faults(X86_PF_PRESENT | X86_PF_WRITE | X86_PF_USER, 0x3000);
	put_le64(pte(3), 0x3000 | X86_PTE_P | X86_PTE_W);
	page_faults(X86_PF_PRESENT | X86_PF_WRITE | X86_PF_USER, 0x3000);
}

static void no_execute(void **state)
{
	long_mode();
	CODE("\x90");
	put_le64(pte(1), 0x1000 | RIGHTS | X86_PTE_NX);
	page_faults(X86_PF_PRESENT | X86_PF_FETCH, 0x1000);
	cpu.state.efer &=
	    ~X86_EFER_NXE; /* then the bit is reserved; an instruction fetch is not told */
	page_faults(X86_PF_PRESENT | X86_PF_RESERVED, 0x1000);
}

static void smep_and_smap(void **state)
{
	long_mode();
	CODE("\x8b\x04\x25\x00\x30\x00\x00"); /* MOV EAX, [3000] */
	cpu.state.cr4 |= X86_CR4_SMEP;
	page_faults(X86_PF_PRESENT | X86_PF_FETCH, 0x1000);
	put_le64(pte(1), 0x1000 | X86_PTE_P);
	step();
	cpu.state.rip = 0x1000;
	cpu.state.cr4 |= X86_CR4_SMAP;
	page_faults(X86_PF_PRESENT, 0x3000);
	cpu.state.rflags |= X86_FLAG_AC;
	step();
}

static void across_pages(void **state)
{
	long_mode();
	put_le64(pte(4), 0x7000 | RIGHTS);
	CODE(
	    "\x48\x89\x04\x25\xfc\x3f\x00\x00\x48\x8b\x1c\x25\xfc\x3f\x00\x00"); /* MOV [3ffc], RAX; MOV RBX, [3ffc] */
	cpu.state.gpr[AX] = 0x1122334455667788;
	step();
	assert_int_equal(get_le32(ram + 0x3ffc), 0x55667788);
	assert_int_equal(get_le32(ram + 0x7000), 0x11223344);
	step();
	assert_int_equal(cpu.state.gpr[BX], 0x1122334455667788);
	cpu.state.rip = 0x1000;
	put_le64(pte(4), 0);
	put_le32(ram + 0x3ffc, 0);
	page_faults(X86_PF_WRITE, 0x4000);
	assert_int_equal(get_le32(ram + 0x3ffc), 0); /* nothing was written */
}

static void fetch_across_pages(void **state)
{
	long_mode();
	cpu.state.rip = 0x1ffd;
	CODE("\xb8\x01\x00\x00\x00"); /* MOV EAX, 1 */
	put_le64(pte(2), 0);
	page_faults(X86_PF_FETCH, 0x2000);
	put_le64(pte(2), 0x2000 | RIGHTS);
	step();
	assert_int_equal(cpu.state.gpr[AX], 1);
	cpu.state.rip = 0x1fff; /* an instruction that ends with the page needs no other */
	ram[0x1fff] = 0x90;
	put_le64(pte(2), 0);
	step();
}

static void large_pages(void **state)
{
	long_mode();
	put_le64(ram + 0x12008, 0 | RIGHTS | X86_PTE_PS); /* 2 MiB at 2 MiB: physical 0 */
	CODE("\x8b\x04\x25\x00\x30\x20\x00");             /* MOV EAX, [203000] */
	put_le32(ram + 0x3000, 0xcafe);
	step();
	assert_int_equal(cpu.state.gpr[AX], 0xcafe);
	cpu.state.rip = 0x1000;
	put_le64(ram + 0x12008, 0x4000 | RIGHTS | X86_PTE_PS); /* not aligned */
	page_faults(X86_PF_PRESENT | X86_PF_RESERVED, 0x203000);
}

/* The same walk with 32-bit tables and with PAE. */
static void older_formats(void **state)
{
	protected_mode();
	cpu.state.cr0 |= X86_CR0_PG;
	cpu.state.cr3 = 0x10000;
	put_le32(ram + 0x10000, 0x11000 | RIGHTS);
	for (unsigned i = 0; i < 8; i++)
		put_le32(ram + 0x11000 + 4 * i, (i << 12) | RIGHTS);
	put_le32(ram + 0x11000 + 4 * 3, 0x5000 | RIGHTS);
	put_le32(ram + 0x5000, 0xbeef);
	CODE("\xa1\x00\x30\x00\x00"); /* MOV EAX, [3000] */
	step();
	assert_int_equal(cpu.state.gpr[AX], 0xbeef);

	protected_mode();
	cpu.state.cr0 |= X86_CR0_PG;
	cpu.state.cr4 = X86_CR4_PAE;
	cpu.state.cr3 = 0x10020; /* 32-byte aligned */
	put_le64(ram + 0x10020, 0x11000 | X86_PTE_P);
	put_le64(ram + 0x11000, 0x12000 | RIGHTS);
	for (unsigned i = 0; i < 8; i++)
		put_le64(ram + 0x12000 + 8 * i, (i << 12) | RIGHTS);
	put_le64(ram + 0x12000 + 8 * 3, 0x5000 | RIGHTS);
	put_le32(ram + 0x5000, 0xbeef);
	CODE("\xa1\x00\x30\x00\x00");
	step();
	assert_int_equal(cpu.state.gpr[AX], 0xbeef);
}

/* 4 MiB pages want CR4.PSE; without it the bit means nothing. */
static void large_pages_32(void **state)
{
	protected_mode();
	cpu.state.cr0 |= X86_CR0_PG;
	cpu.state.cr4 = X86_CR4_PSE;
	cpu.state.cr3 = 0x10000;
	put_le32(ram + 0x10000, 0 | RIGHTS | X86_PTE_PS);
	put_le32(ram + 0x10004, 0 | RIGHTS | X86_PTE_PS);
	put_le32(ram + 0x3000, 0xcafe);
	CODE("\xa1\x00\x30\x40\x00"); /* MOV EAX, [403000] */
	step();
	assert_int_equal(cpu.state.gpr[AX], 0xcafe);
	cpu.state.rip = 0x1000;
	cpu.state.cr4 = 0;
	page_faults(0, 0x1000); /* physical 0 is taken for a page table, and is empty */
}

static void canonical(void **state)
{
	long_mode();
	CODE("\x8b\x03"); /* MOV EAX, [RBX] */
	cpu.state.gpr[BX] = 0x0000800000000000;
	faults(X86_GP, 0);
	cpu.state.gpr[BX] = 0x00007ffffffffffe; /* its last byte is not */
	faults(X86_GP, 0);
	CODE("\xff\xe3"); /* JMP RBX */
	cpu.state.gpr[BX] = 0x0000800000000000;
	faults(X86_GP, 0);
}

/* --- outside RAM --- */

static void mmio_accesses(void **state)
{
	long_mode();
	put_le64(pte(3), 0xfee00000 | RIGHTS);
	CODE(
	    "\x66\x8b\x04\x25\x20\x30\x00\x00\x89\x04\x25\xf0\x30\x00\x00"); /* MOV AX, [3020]; MOV [30f0], EAX */
	step();
	assert_int_equal(cpu.state.gpr[AX], 0x2211);
	assert_int_equal(mmio.at, 0xfee00020);
	assert_int_equal(mmio.size, 2);
	step();
	assert_int_equal(mmio.at, 0xfee000f0);
	assert_int_equal(mmio.size, 4);
	assert_int_equal(mmio.value, 0x2211);
	assert_int_equal(mmio.reads + mmio.writes, 2);
}

static void readonly_slots(void **state)
{
	long_mode();
	slot.readonly = true;
	put_le64(pte(1), get_le64(pte(1)) | X86_PTE_A | X86_PTE_D);
	CODE("\x90");
	/* tables in a read-only slot cannot hold accessed bits: they read as absent */
	page_faults(X86_PF_FETCH, 0x1000);
}

/* --- the rest --- */

static void traps_and_faults(void **state)
{
	long_mode();
	CODE("\xcc");
	assert_int_equal(interp_step(&cpu), INTERP_FAULT);
	assert_int_equal(cpu.fault.vector, X86_BP);
	assert_true(cpu.fault.software);
	assert_int_equal(cpu.state.rip, 0x1001); /* behind it */
	cpu.state.rip = 0x1000;
	CODE("\x0f\x0b");
	faults(X86_UD, 0);
	CODE("\xf7\xf1"); /* DIV ECX */
	faults(X86_DE, 0);
	CODE("\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x90");
	faults(X86_GP, 0);
}

/* An instruction that is not there yet changes nothing. */
static void unknown_instructions(void **state)
{
	struct x86_state before;

	long_mode();
	CODE("\x0f\x23\xc0"); /* MOV DR0, RAX */
	before = cpu.state;
	assert_int_equal(interp_step(&cpu), INTERP_UNKNOWN);
	assert_int_equal(cpu.insn.opcode, 0x23);
	assert_memory_equal(&before, &cpu.state, sizeof(before));
	CODE("\x8e\xd8"); /* MOV DS, AX */
	assert_int_equal(interp_step(&cpu), INTERP_UNKNOWN);
	assert_memory_equal(&before, &cpu.state, sizeof(before));
}

static void locked_exchange(void **state)
{
	long_mode();
	CODE(
	    "\xf0\x48\x0f\xc1\x04\x25\x00\x30\x00\x00\x48\x0f\xc7\x0c\x25\x00\x30\x00\x00"); /* LOCK XADD [3000], RAX; CMPXCHG16B [3000] */
	put_le64(ram + 0x3000, 5);
	cpu.state.gpr[AX] = 7;
	step();
	assert_int_equal(get_le64(ram + 0x3000), 12);
	assert_int_equal(cpu.state.gpr[AX], 5);
	cpu.state.gpr[AX] = 12;
	cpu.state.gpr[BX] = 1;
	cpu.state.gpr[CX] = 2;
	step();
	assert_int_equal(get_le64(ram + 0x3000), 1);
	assert_int_equal(get_le64(ram + 0x3008), 2);
	assert_true(cpu.state.rflags & X86_FLAG_ZF);
}

/* --- SIMD: what the oracle does not ask --- */

static void simd_checks(void **state)
{
	struct units *units;
	struct err e;

	assert_ok(units_new(&units, &e));
	long_mode();
	CODE("\x0f\x58\xc1");                                /* ADDPS XMM0, XMM1 */
	assert_int_equal(interp_step(&cpu), INTERP_UNKNOWN); /* without a gate */
	cpu.units = units;
	faults(X86_UD, 0); /* without CR4.OSFXSR */
	cpu.state.cr4 |= X86_CR4_OSFXSR;
	cpu.state.cr0 |= X86_CR0_TS;
	faults(X86_NM, 0);
	cpu.state.cr0 = (cpu.state.cr0 & ~X86_CR0_TS) | X86_CR0_EM;
	faults(X86_UD, 0);
	cpu.state.cr0 &= ~X86_CR0_EM;
	put_le64(cpu.state.xsave + 512, X86_XCR0_SSE);
	put_le32(cpu.state.xsave + 160, 0x3f800000);      /* 1.0 */
	put_le32(cpu.state.xsave + 160 + 16, 0x40000000); /* 2.0 */
	step();
	assert_int_equal(get_le32(cpu.state.xsave + 160), 0x40400000);
	cpu.state.rip = 0x1000;
	CODE("\xc5\xf8\x58\xc1"); /* VADDPS */
	faults(X86_UD, 0);        /* without CR4.OSXSAVE */
	cpu.state.cr4 |= X86_CR4_OSXSAVE;
	cpu.state.xcr0 = X86_XCR0_X87 | X86_XCR0_SSE;
	faults(X86_UD, 0);
	CODE("\x0f\x28\x04\x25\x08\x30\x00\x00"); /* MOVAPS XMM0, [3008] */
	faults(X86_GP, 0);
	CODE("\x0f\x10\x04\x25\xf8\x3f\x00\x00"); /* MOVUPS XMM0, [3ff8] */
	put_le64(pte(4), 0);
	page_faults(0, 0x4000);
	units_free(units);
}

/* A REX that another prefix follows does not count, in the gate either. */
static void dead_rex(void **state)
{
	struct units *units;
	struct err e;

	assert_ok(units_new(&units, &e));
	long_mode();
	cpu.units = units;
	cpu.state.cr4 |= X86_CR4_OSFXSR;
	put_le64(cpu.state.xsave + 512, X86_XCR0_SSE);
	put_le32(cpu.state.xsave + 160, 3);
	put_le32(cpu.state.xsave + 160 + 16 * 8, 5);
	CODE(
	    "\x66\x49\x67\x0f\xfe\xe0\x66\x41\x0f\xfe\xe0"); /* PADDD XMM4, XMM0; PADDD XMM4, XMM8 */
	step();
	assert_int_equal(get_le32(cpu.state.xsave + 160 + 16 * 4), 3);
	step();
	assert_int_equal(get_le32(cpu.state.xsave + 160 + 16 * 4), 8);
	units_free(units);
}

/* SSE in 32-bit code, where INC and DEC are what REX is elsewhere. */
static void simd_32(void **state)
{
	struct units *units;
	struct err e;

	assert_ok(units_new(&units, &e));
	protected_mode();
	cpu.units = units;
	cpu.state.cr4 = X86_CR4_OSFXSR;
	cpu.state.gpr[BX] = 0x3000;
	cpu.state.gpr[CX] = 0x44332211;
	CODE(
	    "\x66\x0f\x6e\xc1\x3e\x66\x0f\xd6\x43\x08\x66\x0f\x7e\xc2"); /* MOVD XMM0, ECX; MOVQ DS:[EBX+8], XMM0; MOVD EDX, XMM0 */
	step();
	step();
	step();
	assert_int_equal(get_le64(ram + 0x3008), 0x44332211);
	assert_int_equal(cpu.state.gpr[DX], 0x44332211);
	units_free(units);
}

/* --- system instructions --- */

static void again(void)
{
	cpu.state.rip = 0x1000;
}

static void privilege(void **state)
{
	static const char *const privileged[] = {"\x0f\x22\xd8", "\x0f\x30", "\x0f\x32",
						 "\xf4",         "\x0f\x06", "\x0f\x01\xf8"};

	for (size_t i = 0; i < ARRAY_SIZE(privileged); i++) {
		long_mode();
		cpu.state.cpl = 3;
		code(privileged[i], strlen(privileged[i]));
		faults(X86_GP, 0);
	}
	CODE("\x0f\x01\x04\x25\x00\x30\x00\x00"); /* SGDT [3000] */
	step();
	again();
	cpu.state.cr4 |= X86_CR4_UMIP;
	faults(X86_GP, 0);
	CODE("\xfa"); /* CLI */
	faults(X86_GP, 0);
	cpu.state.rflags |= X86_FLAG_IOPL;
	step();
}

static void enters_long_mode(void **state)
{
	protected_mode();
	CODE("\x0f\x22\xc0"); /* MOV CR0, EAX */
	cpu.state.gpr[AX] = X86_CR0_PG;
	faults(X86_GP, 0); /* paging without protection */
	cpu.state.efer = X86_EFER_LME;
	cpu.state.gpr[AX] = X86_CR0_PG | X86_CR0_PE;
	faults(X86_GP, 0); /* without PAE */
	cpu.state.cr4 = X86_CR4_PAE;
	step();
	assert_true(cpu.state.efer & X86_EFER_LMA);
	assert_int_equal(cpu.state.cr0, X86_CR0_PG | X86_CR0_PE | X86_CR0_ET);
}

static void control_registers(void **state)
{
	long_mode();
	CODE("\x0f\x22\xe0"); /* MOV CR4, RAX */
	faults(X86_GP, 0);    /* PAE stays in long mode */
	cpu.state.gpr[AX] = X86_CR4_PAE | 1u << 31;
	faults(X86_GP, 0); /* reserved */
	cpu.state.gpr[AX] = X86_CR4_PAE | X86_CR4_PCIDE;
	step();
	again();
	CODE("\x44\x0f\x22\xc0"); /* MOV CR8, RAX */
	faults(X86_GP, 0);
	cpu.state.gpr[AX] = 5;
	step();
	CODE("\x44\x0f\x20\xc3"); /* MOV RBX, CR8 */
	step();
	assert_int_equal(cpu.state.gpr[BX], 5);
}

static void msrs(void **state)
{
	long_mode();
	CODE("\x0f\x30\x0f\x32"); /* WRMSR; RDMSR */
	cpu.state.gpr[CX] = 0xc0000100;
	cpu.state.gpr[AX] = 0x55667788;
	cpu.state.gpr[DX] = 0x11223344;
	faults(X86_GP, 0); /* not canonical */
	cpu.state.gpr[DX] = 0x3344;
	step();
	assert_int_equal(cpu.state.segment[X86_FS].base, 0x334455667788);
	cpu.state.gpr[CX] = 0x1b;
	io.msr = 0xfee00900;
	step();
	assert_int_equal(cpu.state.gpr[AX], 0xfee00900);
	assert_int_equal(cpu.state.gpr[DX], 0);
	again();
	cpu.state.gpr[CX] = 0x1234;
	faults(X86_GP, 0);
	cpu.state.gpr[CX] = 0xc0000080;
	cpu.state.gpr[AX] = 0;
	faults(X86_GP, 0); /* LME while paging */
}

static void table_registers(void **state)
{
	long_mode();
	put_le16(ram + 0x3000, 0x1234);
	put_le64(ram + 0x3002, 0xffff800000001000);
	CODE(
	    "\x0f\x01\x14\x25\x00\x30\x00\x00\x0f\x01\x04\x25\x10\x30\x00\x00"); /* LGDT [3000]; SGDT [3010] */
	step();
	assert_int_equal(cpu.state.gdtr.limit, 0x1234);
	assert_true(cpu.state.gdtr.base == 0xffff800000001000);
	step();
	assert_memory_equal(ram + 0x3000, ram + 0x3010, 10);
	real_mode();
	put_le16(ram + 0x3000, 0x3ff);
	put_le32(ram + 0x3002, 0xff001000);
	CODE("\x0f\x01\x1e\x00\x30"); /* LIDT [3000], of 16 bits */
	step();
	assert_int_equal(cpu.state.idtr.base, 0x1000); /* 24 bits */
}

static void ports(void **state)
{
	long_mode();
	cpu.state.gpr[AX] = 0xaabbccdd;
	CODE("\xe6\xf4\xed"); /* OUT F4, AL; IN EAX, DX */
	step();
	assert_int_equal(io.port, 0xf4);
	assert_int_equal(io.size, 1);
	assert_int_equal(io.value, 0xdd);
	cpu.state.gpr[DX] = 0x123cf8;
	step();
	assert_int_equal(io.port, 0x3cf8);
	assert_int_equal(cpu.state.gpr[AX], 0x44332211);
	cpu.state.cpl = 3; /* then the TSS decides: map at 0x68, port F4 is bit 4 of byte 1E */
	again();
	faults(X86_GP, 0);
	cpu.state.tr = (struct x86_segment){
	    .base = 0x6000, .limit = 0x68 + 0x20, .attributes = X86_SEG_P | X86_SYS_TSS_BUSY};
	put_le16(ram + 0x6066, 0x68);
	step();
	again();
	ram[0x6068 + 0x1e] = 0x10;
	faults(X86_GP, 0);
	cpu.state.gpr[DX] = 0x3cf8; /* beyond the map */
	cpu.state.rip = 0x1002;
	faults(X86_GP, 0);
}

static void identification(void **state)
{
	long_mode();
	CODE("\x0f\xa2\x0f\x01\xf9\xfb\xf4"); /* CPUID; RDTSCP; STI; HLT */
	cpu.state.gpr[AX] = 7;
	cpu.state.gpr[CX] = 1;
	cpu.state.tsc_aux = 9;
	step();
	assert_int_equal(cpu.state.gpr[BX], 7 * 16 + 256 + 1);
	step();
	assert_int_equal(cpu.state.gpr[AX], 0x23456789);
	assert_int_equal(cpu.state.gpr[DX], 1);
	assert_int_equal(cpu.state.gpr[CX], 9);
	step();
	assert_true(cpu.state.interrupt_shadow);
	step();
	assert_true(cpu.state.halted);
	assert_false(cpu.state.interrupt_shadow);
	again();
	cpu.state.cpl = 3;
	cpu.state.cr4 |= X86_CR4_TSD;
	cpu.state.rip = 0x1002;
	faults(X86_GP, 0);
}

int main(void)
{
	return TEST_RUN("interp", cmocka_unit_test(wraps_at_64k), cmocka_unit_test(segment_bases),
			cmocka_unit_test(stack_16), cmocka_unit_test(branches_stay_in_the_segment),
			cmocka_unit_test(decimal), cmocka_unit_test(segment_rights),
			cmocka_unit_test(expand_down), cmocka_unit_test(pusha_and_enter),
			cmocka_unit_test(accessed_and_dirty), cmocka_unit_test(page_rights),
			cmocka_unit_test(no_execute), cmocka_unit_test(smep_and_smap),
			cmocka_unit_test(across_pages), cmocka_unit_test(fetch_across_pages),
			cmocka_unit_test(large_pages), cmocka_unit_test(large_pages_32),
			cmocka_unit_test(older_formats), cmocka_unit_test(canonical),
			cmocka_unit_test(mmio_accesses), cmocka_unit_test(readonly_slots),
			cmocka_unit_test(traps_and_faults), cmocka_unit_test(unknown_instructions),
			cmocka_unit_test(locked_exchange), cmocka_unit_test(simd_checks),
			cmocka_unit_test(simd_32), cmocka_unit_test(dead_rex),
			cmocka_unit_test(privilege), cmocka_unit_test(enters_long_mode),
			cmocka_unit_test(control_registers), cmocka_unit_test(msrs),
			cmocka_unit_test(table_registers), cmocka_unit_test(ports),
			cmocka_unit_test(identification));
}
