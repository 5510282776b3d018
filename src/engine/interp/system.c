/* Control registers, MSRs, descriptor table registers, ports, identification. SDM volume 2; volume 3, chapter 2. There is no TLB
 * and no cache here, so that what flushes them has nothing to do. */
#include "engine/interp/interp_int.h"
#include "isa/x86_msr.h"

enum { AX, CX, DX, BX, SP, BP, SI, DI };

static bool gp(struct interp *c)
{
	return interp_raise_error(c, X86_GP, 0);
}

static bool in_vm86(const struct interp *c)
{
	return c->state.rflags & X86_FLAG_VM;
}

/* --- control registers: SDM volume 3, 2.5; volume 2, "MOV—Move to/from Control Registers" --- */

#define CR0_BITS                                                                       \
	(X86_CR0_PE | X86_CR0_MP | X86_CR0_EM | X86_CR0_TS | X86_CR0_ET | X86_CR0_NE | \
	 X86_CR0_WP | X86_CR0_AM | X86_CR0_NW | X86_CR0_CD | X86_CR0_PG)
#define CR4_BITS                                                                            \
	(X86_CR4_VME | X86_CR4_PVI | X86_CR4_TSD | X86_CR4_DE | X86_CR4_PSE | X86_CR4_PAE | \
	 X86_CR4_MCE | X86_CR4_PGE | X86_CR4_PCE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT |    \
	 X86_CR4_UMIP | X86_CR4_FSGSBASE | X86_CR4_PCIDE | X86_CR4_OSXSAVE | X86_CR4_SMEP | \
	 X86_CR4_SMAP)

/* Paging on and off switches IA-32e mode on and off: SDM volume 3, 9.8.5. */
static bool set_cr0(struct interp *c, uint64_t value)
{
	struct x86_state *s = &c->state;
	bool paging = value & X86_CR0_PG, long_code = s->segment[X86_CS].attributes & X86_SEG_L;

	if (value >> 32 || (paging && !(value & X86_CR0_PE)) ||
	    (value & X86_CR0_NW && !(value & X86_CR0_CD)))
		return gp(c);
	if (paging && !(s->cr0 & X86_CR0_PG) && s->efer & X86_EFER_LME) {
		if (!(s->cr4 & X86_CR4_PAE) || long_code)
			return gp(c);
		s->efer |= X86_EFER_LMA;
	}
	if (!paging && s->cr0 & X86_CR0_PG) {
		if (c->insn.mode == X86_MODE_64 || s->cr4 & X86_CR4_PCIDE)
			return gp(c);
		s->efer &= ~(uint64_t)X86_EFER_LMA;
	}
	s->cr0 = (value & CR0_BITS) | X86_CR0_ET;
	return true;
}

static bool set_cr3(struct interp *c, uint64_t value)
{
	uint64_t reserved = UINT64_C(0x7ff0000000000000);

	if (c->state.cr4 & X86_CR4_PCIDE)
		value &= ~(UINT64_C(1) << 63); /* keep the TLB: there is none */
	else
		reserved |= UINT64_C(1) << 63;
	if (c->state.efer & X86_EFER_LMA && value & reserved)
		return gp(c);
	c->state.cr3 = value;
	return true;
}

static bool set_cr4(struct interp *c, uint64_t value)
{
	struct x86_state *s = &c->state;
	bool pcid = value & X86_CR4_PCIDE && !(s->cr4 & X86_CR4_PCIDE);

	if (value & ~(uint64_t)CR4_BITS || (s->efer & X86_EFER_LMA && !(value & X86_CR4_PAE)))
		return gp(c);
	if (pcid && (!(s->efer & X86_EFER_LMA) || s->cr3 & 0xfff))
		return gp(c);
	s->cr4 = value;
	return true;
}

static bool get_control(struct interp *c, unsigned n, uint64_t *ret)
{
	const uint64_t *const registers[9] = {[0] = &c->state.cr0,
					      [2] = &c->state.cr2,
					      [3] = &c->state.cr3,
					      [4] = &c->state.cr4,
					      [8] = &c->state.cr8};

	*ret = *registers[n]; /* the decoder knows no others */
	return true;
}

static bool set_control(struct interp *c, unsigned n, uint64_t value)
{
	switch (n) {
	case 0:
		return set_cr0(c, value);
	case 2:
		c->state.cr2 = value;
		return true;
	case 3:
		return set_cr3(c, value);
	case 4:
		return set_cr4(c, value);
	}
	if (value > 15)
		return gp(c);
	c->state.cr8 = value;
	return true;
}

/* Debug registers make breakpoints, which are not here yet. */
static bool op_mov_control(struct interp *c)
{
	unsigned opcode = c->insn.opcode, bits = c->insn.mode == X86_MODE_64 ? 64 : 32;
	uint64_t value;

	if (opcode == 0x20) {
		get_control(c, c->insn.reg, &value);
		interp_set_reg(c, c->insn.rm, bits, value);
		return true;
	}
	if (opcode == 0x22)
		return set_control(c, c->insn.reg, interp_reg(c, c->insn.rm, bits));
	c->unknown = true;
	return false;
}

static bool op_clts(struct interp *c)
{
	c->state.cr0 &= ~(uint64_t)X86_CR0_TS;
	return true;
}

static bool op_smsw(struct interp *c)
{
	return interp_put(c, 0, c->state.cr0);
}

/* LMSW sets PE and does not clear it. */
static bool op_lmsw(struct interp *c)
{
	uint64_t value, low = X86_CR0_PE | X86_CR0_MP | X86_CR0_EM | X86_CR0_TS;

	if (!interp_get(c, 0, &value))
		return false;
	c->state.cr0 = (c->state.cr0 & ~(low & ~(uint64_t)X86_CR0_PE)) | (value & low);
	return true;
}

/* --- MSRs --- */

/* The MSRs that are fields of the state; NULL: the machine's. */
static uint64_t *msr_field(struct x86_state *s, uint32_t index)
{
	switch (index) {
	case X86_MSR_STAR:
		return &s->star;
	case X86_MSR_LSTAR:
		return &s->lstar;
	case X86_MSR_CSTAR:
		return &s->cstar;
	case X86_MSR_FMASK:
		return &s->fmask;
	case X86_MSR_FS_BASE:
		return &s->segment[X86_FS].base;
	case X86_MSR_GS_BASE:
		return &s->segment[X86_GS].base;
	case X86_MSR_KERNEL_GS_BASE:
		return &s->kernel_gs_base;
	case X86_MSR_SYSENTER_CS:
		return &s->sysenter_cs;
	case X86_MSR_SYSENTER_ESP:
		return &s->sysenter_esp;
	case X86_MSR_SYSENTER_EIP:
		return &s->sysenter_eip;
	case X86_MSR_TSC_AUX:
		return &s->tsc_aux;
	}
	return NULL;
}

/* SDM volume 2, WRMSR: an address that is not canonical is refused. */
static bool holds_address(uint32_t index)
{
	switch (index) {
	case X86_MSR_LSTAR:
	case X86_MSR_CSTAR:
	case X86_MSR_FS_BASE:
	case X86_MSR_GS_BASE:
	case X86_MSR_KERNEL_GS_BASE:
	case X86_MSR_SYSENTER_ESP:
	case X86_MSR_SYSENTER_EIP:
		return true;
	}
	return false;
}

static bool set_efer(struct interp *c, uint64_t value)
{
	uint64_t known = X86_EFER_SCE | X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE;
	bool lme_changes = (value ^ c->state.efer) & X86_EFER_LME;

	if (value & ~known || (lme_changes && c->state.cr0 & X86_CR0_PG))
		return gp(c);
	c->state.efer = (value & ~(uint64_t)X86_EFER_LMA) | (c->state.efer & X86_EFER_LMA);
	return true;
}

static bool op_rdmsr(struct interp *c)
{
	uint32_t index = c->state.gpr[CX];
	const uint64_t *field = msr_field(&c->state, index);
	uint64_t value = 0;

	if (index == X86_MSR_EFER)
		value = c->state.efer;
	else if (field)
		value = *field;
	else if (!c->host->msr_read(c->cpu, index, &value))
		return gp(c);
	c->state.gpr[AX] = (uint32_t)value;
	c->state.gpr[DX] = value >> 32;
	return true;
}

static bool op_wrmsr(struct interp *c)
{
	uint32_t index = c->state.gpr[CX];
	uint64_t *field = msr_field(&c->state, index);
	uint64_t value = (uint32_t)c->state.gpr[AX] | c->state.gpr[DX] << 32;

	if (index == X86_MSR_EFER)
		return set_efer(c, value);
	if (holds_address(index) && interp_sign(value, 48) != value)
		return gp(c);
	if (field)
		*field = value;
	else if (!c->host->msr_write(c->cpu, index, value))
		return gp(c);
	return true;
}

/* --- descriptor table registers: SDM volume 2, LGDT/LIDT, SGDT/SIDT --- */

static struct x86_table_register *table_register(struct interp *c)
{
	enum x86_mnemonic m = c->insn.row->mnemonic;

	return m == X86_lgdt || m == X86_sgdt ? &c->state.gdtr : &c->state.idtr;
}

static bool table_linear(struct interp *c, enum interp_access access, unsigned base_bytes,
			 uint64_t *ret)
{
	struct x86_operand o;

	x86_operand(&c->insn, 0, &o);
	return interp_linear(c, o.segment, interp_offset(c, &o), 2 + base_bytes, access, ret);
}

static bool op_load_table(struct interp *c)
{
	unsigned base_bytes = c->insn.mode == X86_MODE_64 ? 8 : 4;
	uint64_t linear, limit, base;

	if (!table_linear(c, INTERP_READ, base_bytes, &linear) ||
	    !interp_load(c, linear, 2, &limit) || !interp_load(c, linear + 2, base_bytes, &base))
		return false;
	if (base_bytes == 8 && interp_sign(base, 48) != base)
		return gp(c);
	/* a 16-bit operand size has a base of 24 bits */
	*table_register(c) = (struct x86_table_register){
	    .base = c->insn.opsize == 16 && base_bytes == 4 ? base & 0xffffff : base,
	    .limit = limit};
	return true;
}

static bool op_store_table(struct interp *c)
{
	unsigned base_bytes = c->insn.mode == X86_MODE_64 ? 8 : 4;
	const struct x86_table_register *t = table_register(c);
	uint64_t linear;

	return table_linear(c, INTERP_WRITE, base_bytes, &linear) &&
	       interp_probe_write(c, linear, 2 + base_bytes) &&
	       interp_store(c, linear, 2, t->limit) &&
	       interp_store(c, linear + 2, base_bytes, t->base);
}

/* --- FS and GS bases --- */

static bool op_swapgs(struct interp *c)
{
	uint64_t base = c->state.segment[X86_GS].base;

	c->state.segment[X86_GS].base = c->state.kernel_gs_base;
	c->state.kernel_gs_base = base;
	return true;
}

static bool op_fsgsbase(struct interp *c)
{
	enum x86_mnemonic m = c->insn.row->mnemonic;
	bool fs = m == X86_rdfsbase || m == X86_wrfsbase,
	     read = m == X86_rdfsbase || m == X86_rdgsbase;
	uint64_t value, *base = &c->state.segment[fs ? X86_FS : X86_GS].base;

	if (!(c->state.cr4 & X86_CR4_FSGSBASE))
		return interp_raise(c, X86_UD);
	if (read)
		return interp_put(c, 0, *base);
	interp_get(c, 0, &value);
	if (interp_sign(value, 48) != value)
		return gp(c);
	*base = value;
	return true;
}

/* --- extended control register, protection keys --- */

static bool op_xgetbv(struct interp *c)
{
	if (!(c->state.cr4 & X86_CR4_OSXSAVE))
		return interp_raise(c, X86_UD);
	if ((uint32_t)c->state.gpr[CX] != 0)
		return gp(c);
	c->state.gpr[AX] = (uint32_t)c->state.xcr0;
	c->state.gpr[DX] = c->state.xcr0 >> 32;
	return true;
}

/* --- interrupts, halting --- */

static bool may_change_if(struct interp *c)
{
	unsigned iopl = c->state.rflags >> 12 & 3;
	bool virtual = c->state.cr4 & (X86_CR4_VME | X86_CR4_PVI);

	if (!(c->state.cr0 & X86_CR0_PE) || c->state.cpl <= iopl)
		return true;
	c->unknown = virtual && c->state.cpl == 3; /* VIF: not here yet */
	return gp(c);
}

static bool op_cli(struct interp *c)
{
	if (!may_change_if(c))
		return false;
	interp_set_flags(c, X86_FLAG_IF, 0);
	return true;
}

static bool op_sti(struct interp *c)
{
	if (!may_change_if(c))
		return false;
	c->state.interrupt_shadow = !interp_flag(c, X86_FLAG_IF);
	interp_set_flags(c, X86_FLAG_IF, X86_FLAG_IF);
	return true;
}

static bool op_hlt(struct interp *c)
{
	c->state.halted = true;
	return true;
}

/* --- ports: SDM volume 1, 19.5 --- */

/* Above IOPL, and always in virtual-8086 mode, the TSS's bit map decides: every bit of the ports must be clear. */
static bool port_is_allowed(struct interp *c, uint16_t port, unsigned size)
{
	const struct x86_segment *tr = &c->state.tr;
	unsigned iopl = c->state.rflags >> 12 & 3;
	uint8_t cpl = c->state.cpl;
	uint64_t map, bits;

	if (!(c->state.cr0 & X86_CR0_PE) || (cpl <= iopl && !in_vm86(c)))
		return true;
	if (!(tr->attributes & 8) || tr->limit < 0x67)
		return gp(c);
	c->state.cpl = 0; /* the CPU's own access */
	bool read =
	    interp_load(c, tr->base + 0x66, 2, &map) &&
	    (map + port / 8 + 1 > tr->limit ? gp(c)
					    : interp_load(c, tr->base + map + port / 8, 2, &bits));

	c->state.cpl = cpl;
	if (!read)
		return false;
	return bits >> (port & 7) & ((1u << size) - 1) ? gp(c) : true;
}

static bool op_in(struct interp *c)
{
	unsigned size = interp_bits(c, 0) / 8;
	uint64_t port;

	interp_get(c, 1, &port);
	if (!port_is_allowed(c, port, size))
		return false;
	return interp_put(c, 0, c->host->port_read(c->machine, port, size));
}

static bool op_out(struct interp *c)
{
	unsigned size = interp_bits(c, 1) / 8;
	uint64_t port, value;

	/* an immediate port is the first operand, and as wide as itself */
	interp_get(c, 0, &port);
	interp_get(c, 1, &value);
	if (!port_is_allowed(c, port, size))
		return false;
	c->host->port_write(c->machine, port, size, value);
	return true;
}

/* --- identification, time --- */

static bool op_cpuid(struct interp *c)
{
	uint32_t abcd[4];

	c->host->cpuid(c->cpu, c->state.gpr[AX], c->state.gpr[CX], abcd);
	c->state.gpr[AX] = abcd[0];
	c->state.gpr[BX] = abcd[1];
	c->state.gpr[CX] = abcd[2];
	c->state.gpr[DX] = abcd[3];
	return true;
}

static bool op_rdtsc(struct interp *c)
{
	uint64_t now;

	if (c->state.cr4 & X86_CR4_TSD && c->state.cpl != 0)
		return gp(c);
	now = c->host->tsc(c->cpu);
	c->state.gpr[AX] = (uint32_t)now;
	c->state.gpr[DX] = now >> 32;
	if (c->insn.row->mnemonic == X86_rdtscp)
		c->state.gpr[CX] = (uint32_t)c->state.tsc_aux;
	return true;
}

/* --- what has nothing to do here --- */

static bool op_nothing(struct interp *c)
{
	return true;
}

/* CLAC, STAC. */
static bool op_ac(struct interp *c)
{
	interp_set_flags(c, X86_FLAG_AC, c->insn.row->mnemonic == X86_stac ? X86_FLAG_AC : 0);
	return true;
}

bool interp_may_execute(struct interp *c)
{
	uint32_t attributes = c->insn.row->attributes;
	bool umip = attributes & X86_ROW_UMIP && c->state.cr4 & X86_CR4_UMIP;

	if (attributes & X86_ROW_PROT && (!(c->state.cr0 & X86_CR0_PE) || in_vm86(c)))
		return interp_raise(c, X86_UD);
	if (c->state.cpl != 0 && (attributes & X86_ROW_PRIV || umip))
		return gp(c);
	return true;
}

/* clang-format off */
interp_op *const interp_system_ops[X86_MNEMONIC_COUNT] = {
	[X86_mov] = op_mov_control, [X86_clts] = op_clts, [X86_smsw] = op_smsw, [X86_lmsw] = op_lmsw,
	[X86_rdmsr] = op_rdmsr, [X86_wrmsr] = op_wrmsr,
	[X86_lgdt] = op_load_table, [X86_lidt] = op_load_table, [X86_sgdt] = op_store_table, [X86_sidt] = op_store_table,
	[X86_swapgs] = op_swapgs, [X86_rdfsbase] = op_fsgsbase, [X86_rdgsbase] = op_fsgsbase,
	[X86_wrfsbase] = op_fsgsbase, [X86_wrgsbase] = op_fsgsbase, [X86_xgetbv] = op_xgetbv,
	[X86_cli] = op_cli, [X86_sti] = op_sti, [X86_hlt] = op_hlt, [X86_in] = op_in, [X86_out] = op_out,
	[X86_cpuid] = op_cpuid, [X86_rdtsc] = op_rdtsc, [X86_rdtscp] = op_rdtsc,
	[X86_lfence] = op_nothing, [X86_mfence] = op_nothing, [X86_sfence] = op_nothing,
	[X86_invd] = op_nothing, [X86_wbinvd] = op_nothing, [X86_wbnoinvd] = op_nothing, [X86_invlpg] = op_nothing,
	[X86_clac] = op_ac, [X86_stac] = op_ac,
};
/* clang-format on */
