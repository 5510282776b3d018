#include "interp_host.h"

#include <cpuid.h>
#include <errno.h>
#include <immintrin.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "engine/interp/interp.h"
#include "engine/interp/units.h"
#include "isa/x86_paging.h"

#define SEQUENCE    12  /* instructions */
#define STEPS_MAX   400 /* repeated string instructions take many */
#define CODE_BYTES  512
#define FRESH_WORDS 64 /* of the data, per sequence */

/* Guest memory: tables in the first pages, then what the host has at HOST_CPU_CODE and HOST_CPU_DATA. */
#define TABLES     0x10000
#define GUEST_SIZE (TABLES + 2 * HOST_CPU_SIZE)

enum { R15 = 15 };

/* splitmix64 */
static uint64_t next_random(struct interp_host *t)
{
	uint64_t z = t->random += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static unsigned below(struct interp_host *t, unsigned n)
{
	return next_random(t) % n;
}

/* --- the guest: 64-bit mode, CPL 3, the same addresses as on the host, nothing else mapped --- */

static void map_pages(uint8_t *tables, uint64_t linear, uint64_t gpa, uint64_t bits)
{
	/* PML4 at 0, PDPT at 0x1000, PD at 0x2000; both regions lie in the 2 MiB of the page table at 0x3000 */
	uint64_t pd_index = linear >> 21 & 511;
	uint64_t all = X86_PTE_P | X86_PTE_W | X86_PTE_U;

	put_le64(tables, 0x1000 | all);
	put_le64(tables + 0x1000, 0x2000 | all);
	put_le64(tables + 0x2000 + pd_index * 8, 0x3000 | all);
	for (uint64_t at = 0; at < HOST_CPU_SIZE; at += X86_PAGE_SIZE)
		put_le64(tables + 0x3000 + ((linear + at) >> 12 & 511) * 8, (gpa + at) | bits);
}

static void set_segment(struct x86_segment *s, uint16_t selector, uint16_t attributes)
{
	*s = (struct x86_segment){
	    .limit = UINT32_MAX, .selector = selector, .attributes = attributes};
}

static void set_up_guest(struct interp_host *t)
{
	struct x86_state *s = &t->interp->state;
	uint16_t user = 3 << X86_SEG_DPL_SHIFT | X86_SEG_S | X86_SEG_P | X86_SEG_ACCESSED |
			X86_SEG_WRITABLE | X86_SEG_G;

	map_pages(t->guest, HOST_CPU_CODE, TABLES, X86_PTE_P | X86_PTE_U);
	map_pages(t->guest, HOST_CPU_DATA, TABLES + HOST_CPU_SIZE,
		  X86_PTE_P | X86_PTE_U | X86_PTE_W | X86_PTE_NX);
	s->cr0 = X86_CR0_PE | X86_CR0_PG | X86_CR0_WP | X86_CR0_NE | X86_CR0_ET;
	s->cr4 = X86_CR4_PAE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_OSXSAVE;
	s->xcr0 = t->components;
	s->efer = X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE | X86_EFER_SCE;
	s->cpl = 3;
	set_segment(&s->segment[X86_CS], 0x33, user | X86_SEG_CODE | X86_SEG_L);
	set_segment(&s->segment[X86_SS], 0x2b, user | X86_SEG_DB);
	for (enum x86_seg i = X86_ES; i <= X86_GS; i++)
		if (i != X86_CS && i != X86_SS)
			set_segment(&s->segment[i], 0, user | X86_SEG_DB);
}

__attribute__((target("xsave"))) static uint64_t host_xcr0(void)
{
	return _xgetbv(0);
}

static uint64_t no_mmio_read(void *machine, gpa_t at, unsigned size)
{
	return 0;
}

static void no_mmio_write(void *machine, gpa_t at, unsigned size, uint64_t value)
{
}

static void no_cpuid(void *cpu, uint32_t leaf, uint32_t subleaf, uint32_t ret_abcd[4])
{
	memset(ret_abcd, 0, 4 * sizeof(*ret_abcd));
}

static uint64_t no_tsc(void *cpu)
{
	return 0;
}

int interp_host_open(struct interp_host *t, uint64_t seed)
{
	/* ports and MSRs are out of reach at CPL 3 */
	static const struct engine_host machine = {.mmio_read = no_mmio_read,
						   .mmio_write = no_mmio_write,
						   .cpuid = no_cpuid,
						   .tsc = no_tsc};
	struct engine_slot *slot = calloc(1, sizeof(*slot));

	*t = (struct interp_host){.random = seed};
	t->interp = aligned_alloc(64, (sizeof(*t->interp) + 63) / 64 * 64);
	t->guest = aligned_alloc(X86_PAGE_SIZE, GUEST_SIZE);
	t->data = calloc(1, HOST_CPU_SIZE);
	if (!t->interp || !t->guest || !t->data || !slot)
		abort();
	memset(t->interp, 0, sizeof(*t->interp));
	memset(t->guest, 0, GUEST_SIZE);
	*slot = (struct engine_slot){.size = GUEST_SIZE, .host = t->guest, .fd = -1};
	t->interp->host = &machine;
	t->interp->slots = slot;
	t->interp->slot_count = 1;
	if (units_new(&t->interp->units, NULL) < 0)
		abort();
	t->components = host_xcr0() & 0xe7;
	set_up_guest(t);
	return host_cpu_open(&t->host);
}

void interp_host_close(struct interp_host *t)
{
	host_cpu_close(&t->host);
	units_free(t->interp->units);
	free((void *)t->interp->slots);
	free(t->interp);
	free(t->guest);
	free(t->data);
}

/* --- instructions --- */

struct sequence {
	uint8_t bytes[CODE_BYTES];
	unsigned size;
};

static bool is_branch(const struct x86_row *row)
{
	return row->attributes &
	       (X86_ROW_JMP | X86_ROW_JCC | X86_ROW_CALL | X86_ROW_RET | X86_ROW_INT);
}

/* What cannot be compared: results that the manuals leave undefined, and prefixes that vendors read differently. */
static bool is_comparable(const struct x86_insn *insn)
{
	const struct x86_row *row = insn->row;

	if (row->class == X86_CLASS_SYS)
		return false;
	if (is_branch(row) && insn->prefixes & X86_PREFIX_OPSIZE)
		return false;
	if (insn->segment != X86_REG_NONE) /* FS has the C library's base on the host */
		return false;
	if (row->opcode == 0x0d && row->map == X86_MAP_0F && !insn->memory)
		return false; /* a no-operation for Intel, #UD for AMD */
	if (row->feature == X86_FEATURE_SHA && insn->memory)
		return false; /* must be aligned (SDM, APM), but not on Zen 5 */
	switch (row->mnemonic) {
	case X86_bswap: /* of 16 bits */
	case X86_shld:  /* counts above 16 */
	case X86_shrd:
		return insn->opsize > 16;
	case X86_popf: /* TF traps, and AC checks alignment */
	case X86_popfq:
	case X86_cpuid: /* the machine's, not the CPU's */
	case X86_rdtsc:
	case X86_rdtscp:
	case X86_int: /* what the host's kernel makes of it */
	case X86_int1:
		return false;
	}
	return true;
}

/* Bytes that begin with a likely prefix and opcode; the rest is random. */
static unsigned make_bytes(struct interp_host *t, uint8_t *bytes)
{
	static const uint8_t prefixes[] = {0x66, 0xf2, 0xf3, 0x67, 0xf0};
	unsigned at = 0;

	for (unsigned i = 0; i < X86_LENGTH_MAX; i++)
		bytes[i] = next_random(t);
	switch (below(t, 8)) {
	case 0: /* VEX; half of them where BMI is */
		bytes[0] = 0xc4;
		bytes[1] = (bytes[1] & 0xe0) | (1 + below(t, 3));
		if (below(t, 2))
			bytes[2] |= 0x78;
		if (below(t, 2))
			bytes[3] |= 0xf0;
		return 3;
	case 1: /* EVEX */
		bytes[0] = 0x62;
		bytes[1] = (bytes[1] & 0xf0) | (1 + below(t, 3));
		bytes[2] |= 4;
		if (below(t, 2)) {
			bytes[2] |= 0x78;
			bytes[3] |= 8;
		}
		if (below(t, 2))
			bytes[3] &= 0x68;
		return 4;
	case 2:
		bytes[0] = 0xd8 + below(t, 8);
		return 1;
	}
	if (below(t, 4) == 0)
		bytes[at++] = prefixes[below(t, sizeof(prefixes))];
	if (below(t, 2))
		bytes[at++] = 0x40 | below(t, 16);
	if (below(t, 2))
		bytes[at++] = 0x0f;
	if (at && bytes[at - 1] == 0x0f && below(t, 16) == 0)
		bytes[at++] = 0x38;
	return at;
}

/* Makes a memory operand lie in the data: as [r15+disp32] or an absolute address. */
static void aim(struct interp_host *t, uint8_t *bytes, const struct x86_insn *insn)
{
	bool r15 = insn->rex & X86_REX_B && !(insn->rex & X86_REX_X);
	uint32_t offset = below(t, HOST_CPU_SIZE - 64);
	uint8_t *p = bytes + insn->modrm_at;

	if (r15) {
		*p = (*p & 0x38) | 0x87;
		put_le32(p + 1, offset);
	} else if (!(insn->rex & X86_REX_X)) {
		*p = (*p & 0x38) | 0x04;
		p[1] = 0x25;
		put_le32(p + 2, HOST_CPU_DATA + offset);
	}
}

static bool make_instruction(struct interp_host *t, uint8_t *bytes, struct x86_insn *insn)
{
	struct x86_effects effects;

	make_bytes(t, bytes);
	if (x86_decode(X86_MODE_64, bytes, X86_LENGTH_MAX, insn) != X86_OK)
		return false;
	if (insn->memory && below(t, 16)) {
		aim(t, bytes, insn);
		if (x86_decode(X86_MODE_64, bytes, X86_LENGTH_MAX, insn) != X86_OK)
			return false;
	}
	if (!is_comparable(insn))
		return false;
	x86_effects(insn, &effects);
	return !(effects.gpr_written & 1u << R15); /* it points to the data */
}

static void append(struct sequence *s, const void *bytes, unsigned size)
{
	memcpy(s->bytes + s->size, bytes, size);
	s->size += size;
}

/* An instruction, made harmless: branches go to the next one, and undefined flags are defined again at once. */
static void append_instruction(struct interp_host *t, struct sequence *s)
{
	uint8_t bytes[X86_LENGTH_MAX];
	struct x86_insn insn;

	while (!make_instruction(t, bytes, &insn))
		;
	if (insn.row->operand_count && insn.row->operand[0].method == X86_OP_J)
		memset(bytes + insn.imm_at, 0, insn.imm_size);
	append(s, bytes, insn.length);
	if (x86_flag_sets[insn.row->flags].undefined || x86_flag_sets[insn.row->flags].maybe)
		append(s, "\x38\xc0", 2); /* CMP AL, AL */
}

static struct sequence make_sequence(struct interp_host *t)
{
	struct sequence s = {.size = 0};

	for (unsigned i = 0; i < SEQUENCE; i++)
		append_instruction(t, &s);
	append(&s, "\xcc", 1);
	return s;
}

/* --- both --- */

/* Small numbers, large ones, bit patterns, pointers to the data. */
static uint64_t interesting(struct interp_host *t)
{
	switch (below(t, 6)) {
	case 0:
		return below(t, 256);
	case 1:
		return -(uint64_t)below(t, 256);
	case 2:
		return UINT64_C(1) << below(t, 64);
	case 3:
		return HOST_CPU_DATA + below(t, HOST_CPU_SIZE);
	}
	return next_random(t);
}

static void make_registers(struct interp_host *t, struct host_registers *r)
{
	for (unsigned n = 0; n < 16; n++)
		r->gpr[n] = interesting(t);
	r->gpr[1] &= below(t, 4) ? 0x3f : UINT64_MAX; /* counts */
	r->gpr[4] = HOST_CPU_DATA + HOST_CPU_SIZE / 2 + 8 * below(t, 64);
	r->gpr[R15] = HOST_CPU_DATA;
	r->rip = HOST_CPU_CODE;
	r->rflags = 0x202 | (next_random(t) & (X86_FLAGS_STATUS | X86_FLAG_DF));
}

/* --- vector registers: the XSAVE area as XSAVE writes it, here and on the host the same --- */

#define BV_AT 512 /* XSTATE_BV; SDM volume 1, 13.4.2 */

static void component_place(unsigned n, uint32_t *ret_at, uint32_t *ret_size)
{
	uint32_t c, d;

	*ret_at = n == 0 ? 0 : 160;
	*ret_size = n == 0 ? 160 : 256;
	if (n >= 2)
		__cpuid_count(0xd, n, *ret_size, *ret_at, c, d);
}

/* Numbers, NaNs, denormals and noise in every register that the host has; rounding modes and sometimes an
 * unmasked exception. */
static void make_xsave(struct interp_host *t, uint8_t *xsave)
{
	memset(xsave, 0, HOST_CPU_XSAVE);
	put_le16(xsave, 0x037f | below(t, 4) << 10);
	put_le32(xsave + 24, 0x1f80 | below(t, 4) << 13);
	if (below(t, 16) == 0)
		put_le32(xsave + 24, get_le32(xsave + 24) & ~(1u << (7 + below(t, 6))));
	for (unsigned n = 1; n < 8; n++) {
		uint32_t at, size;

		if (n == 3 || n == 4 || !(t->components >> n & 1))
			continue;
		component_place(n, &at, &size);
		for (uint32_t i = 0; i < size; i += 8)
			put_le64(xsave + at + i, below(t, 4) ? next_random(t) : interesting(t));
	}
	put_le64(xsave + BV_AT, t->components);
}

/* A component that is not in use has its initial value, whatever lies there. */
static void normalize(const struct interp_host *t, uint8_t *xsave)
{
	uint64_t in_use = get_le64(xsave + BV_AT);

	for (unsigned n = 0; n < 8; n++) {
		uint32_t at, size, mxcsr = get_le32(xsave + 24);

		if (!(t->components >> n & 1) || in_use >> n & 1)
			continue;
		component_place(n, &at, &size);
		memset(xsave + at, 0, size);
		if (n == 0) {
			put_le16(xsave, 0x37f);
			put_le32(xsave + 24, mxcsr);
		}
	}
	memset(xsave + 6, 0, 18);        /* FOP, FIP, FDP */
	memset(xsave + 28, 0, 4);        /* MXCSR_MASK */
	for (unsigned i = 0; i < 8; i++) /* behind 80 bits */
		memset(xsave + 32 + 16 * i + 10, 0, 6);
}

/* CVTPS2PI and its relatives have made the x87 registers MMX ones before they raise #XM, on Zen 5 at least. */
static bool faulted_with_mmx(const struct interp *c)
{
	return c->fault.vector == X86_XM && c->insn.row->operand[0].method == X86_OP_P;
}

static void compare_xsave(struct interp_host *t, const uint8_t *host, char *why, size_t size)
{
	uint8_t a[HOST_CPU_XSAVE], b[HOST_CPU_XSAVE];

	memcpy(a, host, sizeof(a));
	memcpy(b, t->interp->state.xsave, sizeof(b));
	normalize(t, a);
	normalize(t, b);
	for (unsigned n = 0; n < 8; n++) {
		uint32_t at, bytes;

		if (!(t->components >> n & 1) || (n == 0 && faulted_with_mmx(t->interp)))
			continue;
		component_place(n, &at, &bytes);
		for (uint32_t i = at; i < at + bytes; i++)
			if (a[i] != b[i]) {
				snprintf(why, size,
					 "XSAVE component %u: byte %u is %02x, interpreter: %02x",
					 n, i - at, a[i], b[i]);
				return;
			}
	}
}

/* A RET may have found its way to the middle of the sequence, past what defines flags again. False when undefined
 * ones were used. */
static bool track_undefined(struct interp_host *t)
{
	const struct x86_insn *insn = &t->interp->insn;
	const struct x86_flags *flags = &x86_flag_sets[insn->row->flags];

	if (flags->read & t->undefined)
		return false;
	if (!flags->maybe)
		t->undefined &= ~flags->written;
	t->undefined |= flags->undefined;
	return true;
}

/* After a jump to the middle of an instruction anything may be found there: INT 0x80 would be a system call, and system
 * instructions are the host kernel's to allow or not. */
static bool may_ask_host(const struct interp *c)
{
	struct x86_insn insn;

	return x86_decode(X86_MODE_64, c->bytes, X86_LENGTH_MAX, &insn) != X86_OK ||
	       is_comparable(&insn);
}

/* Runs the interpreter until something happens; UNKNOWN instructions become INT3, and it starts again. False: the
 * sequence is not worth asking the host. */
static bool run_interp(struct interp_host *t, struct sequence *s, const struct host_registers *r,
		       const uint8_t *data)
{
	struct interp *c = t->interp;
	uint8_t *code = t->guest + TABLES;

again:
	memcpy(c->state.gpr, r->gpr, sizeof(r->gpr));
	c->state.rip = r->rip;
	t->undefined = 0;
	c->state.rflags = r->rflags;
	memcpy(c->state.xsave, t->xsave, sizeof(t->xsave));
	memset(code, 0xcc, HOST_CPU_SIZE);
	memcpy(code, s->bytes, s->size);
	memcpy(code + HOST_CPU_SIZE, data, HOST_CPU_SIZE);
	for (unsigned i = 0; i < STEPS_MAX; i++) {
		enum interp_result result = interp_step(c);

		if (result == INTERP_UNKNOWN) {
			if (c->state.rip - HOST_CPU_CODE >= s->size)
				return false;
			s->bytes[c->state.rip - HOST_CPU_CODE] = 0xcc;
			goto again;
		}
		if (result == INTERP_FAULT)
			return may_ask_host(c);
		if (!is_comparable(&c->insn) || !track_undefined(t))
			return false;
		t->instructions++;
		if (t->rows)
			t->rows[c->insn.row - x86_rows]++;
	}
	return false;
}

static int expected_signal(const struct interp *c)
{
	switch (c->fault.vector) {
	case X86_DE:
	case X86_XM:
	case X86_MF:
		return SIGFPE;
	case X86_UD:
		return SIGILL;
	case X86_BP:
	case X86_DB:
		return SIGTRAP;
	case X86_SS_FAULT:
		return SIGBUS;
	default:
		return SIGSEGV;
	}
}

/* Says what differs first; empty: nothing. */
static void compare(struct interp_host *t, const struct host_registers *r,
		    const struct host_stop *stop, char *why, size_t size)
{
	const struct interp *c = t->interp;
	const uint8_t *data = t->guest + TABLES + HOST_CPU_SIZE;
	uint64_t flags = (X86_FLAGS_STATUS | X86_FLAG_DF) & ~t->undefined;

	*why = '\0';
	/* a CALL to a bad address with a bad stack: Intel sees the address first, AMD the stack */
	if (stop->signal == SIGBUS && expected_signal(c) == SIGSEGV &&
	    c->insn.row->mnemonic == X86_call)
		return;
	if (stop->signal != expected_signal(c)) {
		snprintf(why, size, "signal %d at %llx, interpreter: vector %u at %llx",
			 stop->signal, (unsigned long long)r->rip, c->fault.vector,
			 (unsigned long long)c->state.rip);
		return;
	}
	if (c->fault.vector == X86_PF && stop->address != c->fault.address)
		snprintf(why, size, "page fault at %llx, interpreter: %llx",
			 (unsigned long long)stop->address, (unsigned long long)c->fault.address);
	for (unsigned n = 0; n < 16; n++)
		if (r->gpr[n] != c->state.gpr[n])
			snprintf(why, size, "register %u is %llx, interpreter: %llx", n,
				 (unsigned long long)r->gpr[n],
				 (unsigned long long)c->state.gpr[n]);
	if (r->rip != c->state.rip)
		snprintf(why, size, "rip is %llx, interpreter: %llx", (unsigned long long)r->rip,
			 (unsigned long long)c->state.rip);
	if ((r->rflags ^ c->state.rflags) & flags)
		snprintf(why, size, "flags are %llx, interpreter: %llx",
			 (unsigned long long)(r->rflags & flags),
			 (unsigned long long)(c->state.rflags & flags));
	compare_xsave(t, r->xsave, why, size);
	if (memcmp(t->host.data, data, HOST_CPU_SIZE) == 0)
		return;
	for (unsigned i = 0; i < HOST_CPU_SIZE; i++)
		if (t->host.data[i] != data[i]) {
			snprintf(why, size, "data at %x is %02x, interpreter: %02x",
				 HOST_CPU_DATA + i, t->host.data[i], data[i]);
			return;
		}
}

/* The sequence as text, behind what differs. */
static void explain(const struct sequence *s, const struct host_registers *start, char *why,
		    size_t size)
{
	size_t n = strlen(why);

	for (unsigned i = 0; i < 16 && n < size; i++)
		n += snprintf(why + n, size - n, "%s r%u=%llx", i ? "" : "\n ", i,
			      (unsigned long long)start->gpr[i]);
	if (n < size)
		n +=
		    snprintf(why + n, size - n, " flags=%llx\n", (unsigned long long)start->rflags);
	for (unsigned at = 0; at < s->size && n < size;) {
		struct x86_insn insn;
		char text[X86_TEXT_MAX] = "?";

		insn.length = 1;
		if (x86_decode(X86_MODE_64, s->bytes + at, s->size - at, &insn) == X86_OK)
			x86_print(&insn, HOST_CPU_CODE + at, text, sizeof(text));
		else
			insn.length = 1;
		n += snprintf(why + n, size - n, "  %x: %s\n", HOST_CPU_CODE + at, text);
		at += insn.length;
	}
}

static int run_host(struct interp_host *t, const struct sequence *s, struct host_registers *r,
		    struct host_stop *stop)
{
	memset(t->host.code, 0xcc, HOST_CPU_SIZE);
	memcpy(t->host.code, s->bytes, s->size);
	memcpy(t->host.data, t->data, HOST_CPU_SIZE);
	return host_cpu_run(&t->host, r, stop);
}

bool interp_host_try(struct interp_host *t, int *rc, char *why, size_t why_size)
{
	struct sequence s = make_sequence(t);
	struct host_registers start, r;
	struct host_stop stop;
	uint8_t xsave[HOST_CPU_XSAVE];

	for (unsigned i = 0; i < FRESH_WORDS; i++)
		put_le64(t->data + 8 * below(t, HOST_CPU_SIZE / 8), interesting(t));
	make_registers(t, &start);
	make_xsave(t, t->xsave);
	*rc = 0;
	if (!run_interp(t, &s, &start, t->data))
		return true;
	/* Once in some hundred thousand sequences the host stopped with SIGILL at an INT3 that was just written, and not again:
	 * what differs must differ twice. */
	for (unsigned i = 0; i < 2; i++) {
		r = start;
		r.xsave = xsave;
		memcpy(xsave, t->xsave, sizeof(xsave));
		*rc = run_host(t, &s, &r, &stop);
		if (*rc < 0)
			return true;
		compare(t, &r, &stop, why, why_size);
		if (!*why) {
			t->sequences++;
			memcpy(t->data, t->host.data, HOST_CPU_SIZE);
			return true;
		}
	}
	explain(&s, &start, why, why_size);
	return false;
}
