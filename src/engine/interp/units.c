/* The gate's code, and what may pass it. */
#include "engine/interp/units.h"

#include <cpuid.h>
#include <errno.h>
#include <immintrin.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/endian.h"
#include "base/mem.h"
#include "isa/x86_regs.h"

#define PAGE 4096

/* What the gate's code reads and writes, on the page behind it. */
struct frame {
	_Alignas(64) uint8_t xsave[X86_XSAVE_MAX];
	_Alignas(64) uint8_t buffer[UNITS_BUFFER];
	uint64_t gpr[16];
	uint64_t flags;
	uint64_t host_rsp;
};

struct units {
	uint8_t *code;       /* writable */
	void (*enter)(void); /* the same page, executable; the frame follows it */
	struct frame *frame;
	uint64_t components; /* of XCR0 that the gate loads and saves; never PKRU */
	uint32_t feature[X86_FEATURE_COUNT / 32 + 1]; /* the host's */
};

enum { AX, CX, DX, BX, SP, BP, SI, DI };

/* --- what the host has --- */

static bool has_bit(uint32_t leaf, uint32_t subleaf, char reg, unsigned bit)
{
	uint32_t a = 0, b = 0, c = 0, d = 0, last = __get_cpuid_max(leaf & 0x80000000, NULL);

	if (last < leaf)
		return false;
	__cpuid_count(leaf, subleaf, a, b, c, d);
	return (reg == 'A' ? a : reg == 'B' ? b : reg == 'C' ? c : d) >> bit & 1;
}

static void find_features(struct units *u)
{
	static const struct {
		uint32_t leaf, subleaf;
		const char *reg;
		unsigned bit;
	} bits[] = {
#define X86_FEATURE(name, text, leaf, subleaf, reg, bit) {leaf, subleaf, #reg, bit},
#include "isa/x86_features.h"
#undef X86_FEATURE
	};

	for (unsigned i = 0; i < X86_FEATURE_COUNT; i++)
		if (bits[i].leaf == UINT32_MAX ||
		    has_bit(bits[i].leaf, bits[i].subleaf, bits[i].reg[1], bits[i].bit))
			u->feature[i / 32] |= 1u << i % 32;
}

static bool has_feature(const struct units *u, enum x86_feature f)
{
	return u->feature[f / 32] >> f % 32 & 1;
}

__attribute__((target("xsave"))) static uint64_t host_xcr0(void)
{
	return _xgetbv(0);
}

/* --- writing code --- */

struct writer {
	uint8_t *p;
	const uint8_t *end_of_page; /* where the frame begins, in the executable view's terms */
};

static void put(struct writer *w, const void *bytes, size_t size)
{
	memcpy(w->p, bytes, size);
	w->p += size;
}

#define PUT(w, bytes) put(w, bytes, sizeof(bytes) - 1)

/* The displacement of a RIP-relative operand that ends the instruction but for `behind` bytes. */
static void put_rip(struct writer *w, size_t offset, unsigned behind)
{
	put_le32(w->p, (uint32_t)(w->end_of_page - (w->p + 4 + behind) + offset));
	w->p += 4;
}

/* MOV between general register n and its place in the frame. */
static void put_mov(struct writer *w, bool load, unsigned n, size_t offset)
{
	uint8_t bytes[3] = {0x48 | (n >= 8 ? 4 : 0), load ? 0x8b : 0x89, 0x05 | (n & 7) << 3};

	put(w, bytes, sizeof(bytes));
	put_rip(w, offset, 0);
}

static void put_all_gprs(struct writer *w, bool load)
{
	for (unsigned n = 0; n < 16; n++)
		if (n != SP)
			put_mov(w, load, n, offsetof(struct frame, gpr) + 8 * n);
}

static void put_components(struct writer *w, uint64_t components)
{
	PUT(w, "\xb8"); /* MOV EAX, imm32 */
	put_le32(w->p, components);
	w->p += 4;
	PUT(w, "\x31\xd2"); /* XOR EDX, EDX */
}

/* --- the guest's instruction, with its memory operand in the buffer --- */

static bool is_dropped_prefix(uint8_t byte)
{
	return byte == 0x26 || byte == 0x2e || byte == 0x36 || byte == 0x3e || byte == 0x64 ||
	       byte == 0x65 || byte == 0x67;
}

/* Legacy prefixes up to the opcode's first byte, then the REX that counts: one that another prefix followed must not be
 * revived by leaving that out. Without REX.X and B a RIP-relative operand is what it says. */
static const uint8_t *put_prefixes(struct writer *w, const struct x86_insn *insn,
				   const uint8_t *bytes)
{
	for (;; bytes++) {
		bool rex = insn->mode == X86_MODE_64 && (*bytes & 0xf0) == 0x40;

		if (*bytes == 0x66 || *bytes == 0xf2 || *bytes == 0xf3)
			*w->p++ = *bytes;
		else if (!rex && !is_dropped_prefix(*bytes))
			break;
	}
	if (insn->prefixes & X86_PREFIX_REX)
		*w->p++ = 0x40 | (insn->memory ? insn->rex & ~3 : insn->rex);
	return bytes;
}

/* Bits that name registers above 7, where memory or the mode has none. They are inverted. */
static void put_escape(struct writer *w, const struct x86_insn *insn, const uint8_t *bytes,
		       size_t size)
{
	uint8_t *first = w->p;
	bool narrow = insn->mode != X86_MODE_64;

	put(w, bytes, size);
	if (first[0] == 0xc5 && insn->row->map >= X86_MAP_VEX_0F) {
		first[1] |= narrow ? 0x40 : 0;
	} else if (insn->row->map >= X86_MAP_VEX_0F) {
		first[1] |= insn->memory ? 0x60 : narrow ? 0x20 : 0;
		first[2] |= narrow ? 0x40 : 0;
		if (first[0] == 0x62 && narrow)
			first[1] |= 0x10;
	}
}

static void put_guest(struct writer *w, const struct x86_insn *insn, const uint8_t *bytes)
{
	const uint8_t *escape = put_prefixes(w, insn, bytes);
	unsigned opcode_end = insn->opcode_at + 1, imm_size = insn->imm_size;

	put_escape(w, insn, escape, bytes + opcode_end - escape);
	if (insn->memory) {
		*w->p++ = (insn->modrm & 0x38) | 5;
		put_rip(w, offsetof(struct frame, buffer), imm_size);
	} else if (insn->row->attributes & X86_ROW_MODRM) {
		*w->p++ = insn->modrm;
	}
	if (imm_size)
		put(w, bytes + insn->imm_at, imm_size);
}

/* The whole gate. Callee-saved registers are the C compiler's, the rest is the guest's in between. */
static void write_gate(struct units *u, const struct x86_insn *insn, const uint8_t *bytes)
{
	struct writer w = {u->code, u->code + PAGE};

	PUT(&w, "\x53\x55\x41\x54\x41\x55\x41\x56\x41\x57"); /* PUSH RBX, RBP, R12 … R15 */
	put_mov(&w, false, SP, offsetof(struct frame, host_rsp));
	put_components(&w, u->components);
	PUT(&w, "\x48\x0f\xae\x2d"); /* XRSTOR64 */
	put_rip(&w, offsetof(struct frame, xsave), 0);
	PUT(&w, "\xff\x35"); /* PUSH flags; POPFQ */
	put_rip(&w, offsetof(struct frame, flags), 0);
	PUT(&w, "\x9d");
	put_all_gprs(&w, true);
	put_mov(&w, true, SP, offsetof(struct frame, gpr) + 8 * SP);
	put_guest(&w, insn, bytes);
	put_mov(&w, false, SP, offsetof(struct frame, gpr) + 8 * SP);
	put_mov(&w, true, SP, offsetof(struct frame, host_rsp));
	put_all_gprs(&w, false);
	PUT(&w, "\x9c\x8f\x05"); /* PUSHFQ; POP flags */
	put_rip(&w, offsetof(struct frame, flags), 0);
	put_components(&w, u->components);
	PUT(&w, "\x48\x0f\xae\x25"); /* XSAVE64 */
	put_rip(&w, offsetof(struct frame, xsave), 0);
	PUT(&w, "\xdb\xe3"); /* FNINIT */
	if (u->components & X86_XCR0_AVX)
		PUT(&w, "\xc5\xf8\x77"); /* VZEROUPPER */
	PUT(&w, "\x41\x5f\x41\x5e\x41\x5d\x41\x5c\x5d\x5b\xc3");
}

/* --- what may pass --- */

/* Environments and whole states hold pointers of the instruction that ran; gathers and MASKMOV have no one memory operand. */
static bool operands_fit(const struct x86_insn *insn)
{
	struct x86_operand o;

	for (unsigned n = 0; x86_operand(insn, n, &o); n++) {
		bool memory = o.kind == X86_OPERAND_MEM;

		if (memory && n < insn->row->operand_count &&
		    (insn->row->operand[n].type == X86_TY_env ||
		     insn->row->operand[n].type == X86_TY_fs))
			return false;
		if (memory && (n >= insn->row->operand_count || o.vsib || o.size == 0 ||
			       o.size > 8 * UNITS_BUFFER))
			return false;
	}
	return true;
}

static bool class_fits(const struct units *u, const struct x86_insn *insn)
{
	switch (insn->row->class) {
	case X86_CLASS_X87:
	case X86_CLASS_MMX:
	case X86_CLASS_SSE:
		return true;
	case X86_CLASS_AVX:
		return u->components & X86_XCR0_AVX;
	case X86_CLASS_AVX512:
	case X86_CLASS_MASK:
		return u->components & X86_XCR0_HI16_ZMM;
	}
	return false;
}

/* AVX2's rows of 128 bits are AVX; EVEX of less than 512 bits is AVX512VL. */
static bool host_has(const struct units *u, const struct x86_insn *insn)
{
	enum x86_feature f = insn->row->feature;

	if (insn->row->class == X86_CLASS_AVX512 && insn->vl < 2 &&
	    !has_feature(u, X86_FEATURE_AVX512VL))
		return false;
	if (insn->row->attributes & X86_ROW_AVX128 && insn->vl == 0)
		f = X86_FEATURE_AVX;
	return has_feature(u, f);
}

bool units_can_run(const struct units *u, const struct x86_insn *insn)
{
	/* outside 64-bit mode W means something else for general registers */
	if (insn->mode != X86_MODE_64 && insn->rex & X86_REX_W)
		return false;
	return class_fits(u, insn) && host_has(u, insn) && operands_fit(insn);
}

/* --- running --- */

#define MXCSR_FLAGS  0x3fu
#define MXCSR_BEFORE 0x07u /* invalid, denormal, division by zero */
#define MXCSR_MASKS  0x1f80u
#define POINTERS_AT  6 /* FOP, FIP, FDP: those of the host would tell where the gate lies */
#define POINTERS     18

static void restore_host(uint32_t mxcsr, uint16_t fcw)
{
	_mm_setcsr(mxcsr);
	__asm__ volatile("fldcw %0" : : "m"(fcw));
}

void units_run(struct units *u, struct x86_state *state, struct units_call *call)
{
	struct frame *f = u->frame;
	uint32_t mxcsr = get_le32(state->xsave + UNITS_MXCSR_AT), host_mxcsr = _mm_getcsr();
	uint16_t host_fcw;

	__asm__ volatile("fnstcw %0" : "=m"(host_fcw));
	write_gate(u, call->insn, call->bytes);
	memcpy(f->xsave, state->xsave, sizeof(f->xsave));
	memcpy(f->gpr, state->gpr, sizeof(f->gpr));
	memcpy(f->buffer, call->buffer, sizeof(f->buffer));
	put_le32(f->xsave + UNITS_MXCSR_AT, (mxcsr & ~MXCSR_FLAGS) | MXCSR_MASKS);
	f->flags = (state->rflags & X86_FLAGS_STATUS) | 2;
	u->enter();
	restore_host(host_mxcsr, host_fcw);

	uint32_t after = get_le32(f->xsave + UNITS_MXCSR_AT);

	/* the masks are 7 bits above their flags */
	call->raised = after & MXCSR_FLAGS & ~(mxcsr >> 7);
	/* an exception found before the computation, and not masked, stops it: SDM volume 1, 4.9.1 */
	if (call->raised & MXCSR_BEFORE)
		after &= ~(MXCSR_FLAGS & ~MXCSR_BEFORE);
	if (call->raised) {
		put_le32(state->xsave + UNITS_MXCSR_AT, mxcsr | (after & MXCSR_FLAGS));
		return;
	}
	put_le32(f->xsave + UNITS_MXCSR_AT, mxcsr | (after & MXCSR_FLAGS));
	memcpy(f->xsave + POINTERS_AT, state->xsave + POINTERS_AT, POINTERS);
	memcpy(state->xsave, f->xsave, sizeof(f->xsave));
	memcpy(state->gpr, f->gpr, sizeof(f->gpr));
	memcpy(call->buffer, f->buffer, sizeof(f->buffer));
	state->rflags =
	    (state->rflags & ~(uint64_t)X86_FLAGS_STATUS) | (f->flags & X86_FLAGS_STATUS);
}

/* --- life cycle --- */

/* One page of code, twice: here writable, and elsewhere executable with the frame behind it. */
static int map_gate(struct units *u, int fd)
{
	size_t frame_size = (sizeof(struct frame) + PAGE - 1) / PAGE * PAGE;
	uint8_t *place;

	if (ftruncate(fd, PAGE) < 0)
		return -errno;
	u->code = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (u->code == MAP_FAILED)
		return -errno;
	place = mmap(NULL, PAGE + frame_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		     -1, 0);
	if (place == MAP_FAILED ||
	    mmap(place, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
		return -errno;
	u->enter = (void (*)(void))place;
	u->frame = (struct frame *)(place + PAGE);
	return 0;
}

int units_new(struct units **ret, struct err *e)
{
	struct units *u = mem_alloc(sizeof(*u));
	int fd = memfd_create("gate", MFD_CLOEXEC), rc;

	u->code = MAP_FAILED;
	rc = fd < 0 ? -errno : map_gate(u, fd);
	if (fd >= 0)
		close(fd);
	find_features(u);
	if (rc == 0 && !has_feature(u, X86_FEATURE_XSAVE))
		rc = -EOPNOTSUPP;
	if (rc < 0) {
		units_free(u);
		return err_set(e, ERR_SYS, rc,
			       "the interpreter's gate to the CPU's units cannot be made: %s",
			       strerror(-rc));
	}
	u->components = host_xcr0() & (X86_XCR0_X87 | X86_XCR0_SSE | X86_XCR0_AVX |
				       X86_XCR0_OPMASK | X86_XCR0_ZMM_HI256 | X86_XCR0_HI16_ZMM);
	*ret = u;
	return 0;
}

void units_free(struct units *u)
{
	if (!u)
		return;
	if (u->frame)
		munmap((uint8_t *)u->frame - PAGE,
		       PAGE + (sizeof(struct frame) + PAGE - 1) / PAGE * PAGE);
	if (u->code != MAP_FAILED)
		munmap(u->code, PAGE);
	free(u);
}
