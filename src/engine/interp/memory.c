/* Guest memory: segments, page tables, slots. SDM volume 3, chapters 4 and 5. */
#include <string.h>

#include "base/endian.h"
#include "engine/interp/interp_int.h"
#include "isa/x86_paging.h"

bool interp_raise(struct interp *c, enum x86_vector vector)
{
	c->fault = (struct interp_fault){.vector = vector};
	return false;
}

bool interp_raise_error(struct interp *c, enum x86_vector vector, uint32_t error)
{
	c->fault = (struct interp_fault){.vector = vector, .has_error = true, .error = error};
	return false;
}

/* --- segments --- */

static bool is_canonical(const struct interp *c, uint64_t address)
{
	unsigned bits = c->state.cr4 & X86_CR4_LA57 ? 57 : 48;

	return interp_sign(address, bits) == address;
}

/* #SS for the stack, #GP for the others; error code 0. */
static bool segment_fault(struct interp *c, enum x86_seg segment)
{
	return interp_raise_error(c, segment == X86_SS ? X86_SS_FAULT : X86_GP, 0);
}

/* SDM volume 3, 5.3 and 3.4.5.1. */
static bool within_limit(const struct x86_segment *s, uint64_t offset, unsigned size)
{
	uint64_t last = offset + size - 1;
	bool data = !(s->attributes & X86_SEG_CODE);

	if (data && s->attributes & X86_SEG_DOWN) {
		uint64_t top = s->attributes & X86_SEG_DB ? UINT32_MAX : UINT16_MAX;

		return offset > s->limit && last <= top;
	}
	return last <= s->limit;
}

static bool segment_allows(const struct x86_segment *s, enum interp_access access)
{
	bool code = s->attributes & X86_SEG_CODE;

	if (!(s->attributes & X86_SEG_P))
		return false;
	if (access == INTERP_WRITE)
		return !code && s->attributes & X86_SEG_WRITABLE;
	return access == INTERP_FETCH || !code || s->attributes & X86_SEG_WRITABLE;
}

bool interp_linear(struct interp *c, enum x86_seg segment, uint64_t offset, unsigned size,
		   enum interp_access access, uint64_t *ret)
{
	const struct x86_segment *s = &c->state.segment[segment];

	if (c->insn.mode == X86_MODE_64) {
		uint64_t base = segment >= X86_FS ? s->base : 0;

		*ret = base + offset;
		if (!is_canonical(c, *ret) || !is_canonical(c, *ret + size - 1))
			return segment_fault(c, segment);
		return true;
	}
	/* real and virtual-8086 mode have the same limits, but any access */
	bool checked = c->state.cr0 & X86_CR0_PE && !(c->state.rflags & X86_FLAG_VM);

	if ((checked && !segment_allows(s, access)) || !within_limit(s, offset, size))
		return segment_fault(c, segment);
	*ret = (uint32_t)(s->base + offset);
	return true;
}

/* --- slots --- */

static uint8_t *slot_host(const struct interp *c, uint64_t gpa, bool write)
{
	for (unsigned i = 0; i < c->slot_count; i++) {
		const struct engine_slot *s = &c->slots[i];

		if (gpa - s->start.v < s->size)
			return write && s->readonly ? NULL : s->host + (gpa - s->start.v);
	}
	return NULL;
}

/* --- page tables --- */

/* What paging does to an access, gathered on the way down. */
struct walk {
	uint64_t linear, gpa;
	enum interp_access access;
	bool user;
	uint64_t rights; /* AND of P, W, U of all levels */
	bool no_execute;
};

static bool page_fault(struct interp *c, const struct walk *w, uint32_t why)
{
	uint32_t error = why;

	if (w->access == INTERP_WRITE)
		error |= X86_PF_WRITE;
	if (w->user)
		error |= X86_PF_USER;
	if (w->access == INTERP_FETCH &&
	    (c->state.efer & X86_EFER_NXE || c->state.cr4 & X86_CR4_SMEP))
		error |= X86_PF_FETCH;
	interp_raise_error(c, X86_PF, error);
	c->fault.address = w->linear;
	return false;
}

static const struct x86_paging_format *paging_format(const struct interp *c)
{
	if (c->state.efer & X86_EFER_LMA)
		return c->state.cr4 & X86_CR4_LA57 ? &x86_paging_5 : &x86_paging_4;
	return c->state.cr4 & X86_CR4_PAE ? &x86_paging_pae : &x86_paging_32;
}

/* Whether the rights on the way allow it: SDM volume 3, 4.6.1. */
static bool rights_allow(const struct interp *c, const struct walk *w)
{
	bool user_page = w->rights & X86_PTE_U, writable = w->rights & X86_PTE_W;

	if (w->user && !user_page)
		return false;
	switch (w->access) {
	case INTERP_FETCH:
		if (w->no_execute && c->state.efer & X86_EFER_NXE)
			return false;
		return w->user || !user_page || !(c->state.cr4 & X86_CR4_SMEP);
	case INTERP_WRITE:
		if (!writable && (w->user || c->state.cr0 & X86_CR0_WP))
			return false;
		break;
	case INTERP_READ:
		break;
	}
	return w->user || !user_page || !(c->state.cr4 & X86_CR4_SMAP) ||
	       c->state.rflags & X86_FLAG_AC;
}

/* One entry, with the accessed and dirty bits set as the access makes them; atomically, because other CPUs do the same. */
static bool set_entry_bits(uint8_t *host, unsigned bytes, uint64_t old, uint64_t bits)
{
	uint32_t old32 = old;

	if ((old & bits) == bits)
		return true;
	if (bytes == 4)
		return __atomic_compare_exchange_n((uint32_t *)host, &old32, old32 | (uint32_t)bits,
						   false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	return __atomic_compare_exchange_n((uint64_t *)host, &old, old | bits, false,
					   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static uint64_t root_table(const struct interp *c, const struct x86_paging_format *format)
{
	if (format == &x86_paging_pae)
		return c->state.cr3 & X86_CR3_PAE_TABLE;
	return c->state.cr3 & X86_PTE_ADDRESS;
}

/* Bits that must be 0: NX without EFER.NXE, and in a large page those below its size. */
static bool is_reserved(const struct interp *c, const struct x86_paging_format *format,
			uint64_t entry, bool large, unsigned shift)
{
	if (format->entry_bytes == 4)
		return false;
	if (entry & X86_PTE_NX && !(c->state.efer & X86_EFER_NXE))
		return true;
	return large && entry & ((UINT64_C(1) << shift) - 1) & X86_PTE_ADDRESS & ~X86_PTE_PAT_BIG;
}

static bool may_be_large(const struct interp *c, const struct x86_paging_format *format,
			 unsigned above)
{
	if (!(format->large_levels >> above & 1))
		return false;
	return format != &x86_paging_32 || c->state.cr4 & X86_CR4_PSE;
}

/* PAE's four root entries have neither rights nor an accessed bit. */
static bool is_pae_root(const struct x86_paging_format *format, unsigned level)
{
	return format == &x86_paging_pae && level == 0;
}

/* From the root to the page. An entry that another CPU changed meanwhile makes it start again. */
static bool walk_tables(struct interp *c, struct walk *w)
{
	const struct x86_paging_format *format = paging_format(c);
	uint64_t table;
	unsigned shift;

again:
	table = root_table(c, format);
	shift = X86_PAGE_SHIFT;
	w->rights = X86_PTE_W | X86_PTE_U;
	w->no_execute = false;
	for (unsigned i = 0; i < format->levels; i++)
		shift += format->index_bits[i];
	for (unsigned level = 0; level < format->levels; level++) {
		unsigned above = format->levels - 1 - level;

		shift -= format->index_bits[level];
		uint64_t index = w->linear >> shift & ((1u << format->index_bits[level]) - 1);
		uint8_t *host = slot_host(c, table + index * format->entry_bytes, true);

		if (!host)
			return page_fault(c, w, 0); /* a table outside memory reads as absent */
		uint64_t entry = format->entry_bytes == 4 ? get_le32(host) : get_le64(host);
		bool large = above && entry & X86_PTE_PS && may_be_large(c, format, above);

		if (!(entry & X86_PTE_P))
			return page_fault(c, w, 0);
		if (is_reserved(c, format, entry, large, shift))
			return page_fault(c, w, X86_PF_PRESENT | X86_PF_RESERVED);
		if (!is_pae_root(format, level)) {
			w->rights &= entry;
			w->no_execute |= format->entry_bytes == 8 && entry & X86_PTE_NX;
		}
		if (above == 0 || large) {
			uint64_t bits = X86_PTE_A | (w->access == INTERP_WRITE ? X86_PTE_D : 0);
			uint64_t offset = (UINT64_C(1) << shift) - 1;

			if (!rights_allow(c, w))
				return page_fault(c, w, X86_PF_PRESENT);
			if (!set_entry_bits(host, format->entry_bytes, entry, bits))
				goto again;
			w->gpa = (entry & X86_PTE_ADDRESS & ~offset) | (w->linear & offset);
			if (format->entry_bytes == 4 &&
			    large) /* PSE-36: bits 20:13 are address bits 39:32 */
				w->gpa = (entry & 0xffc00000) | (entry & 0x1fe000) << 19 |
					 (w->linear & offset);
			return true;
		}
		if (!is_pae_root(format, level) &&
		    !set_entry_bits(host, format->entry_bytes, entry, X86_PTE_A))
			goto again;
		table = entry & X86_PTE_ADDRESS;
	}
	return page_fault(c, w, 0); /* not reached: the last level always maps */
}

static bool translate(struct interp *c, uint64_t linear, enum interp_access access, uint64_t *ret)
{
	struct walk w = {.linear = linear, .access = access, .user = c->state.cpl == 3};

	if (!(c->state.cr0 & X86_CR0_PG)) {
		*ret = linear;
		return true;
	}
	if (!walk_tables(c, &w))
		return false;
	*ret = w.gpa;
	return true;
}

/* --- numbers --- */

static uint64_t host_load(const uint8_t *p, unsigned size)
{
	switch (size) {
	case 1:
		return __atomic_load_n(p, __ATOMIC_RELAXED);
	case 2:
		return get_le16(p);
	case 4:
		return get_le32(p);
	}
	return get_le64(p);
}

static void host_store(uint8_t *p, unsigned size, uint64_t value)
{
	switch (size) {
	case 1:
		__atomic_store_n(p, value, __ATOMIC_RELAXED);
		break;
	case 2:
		put_le16(p, value);
		break;
	case 4:
		put_le32(p, value);
		break;
	default:
		put_le64(p, value);
		break;
	}
}

static bool host_exchange(uint8_t *p, unsigned size, uint64_t old, uint64_t value)
{
	uint8_t old8 = old;
	uint16_t old16 = old;
	uint32_t old32 = old;

	switch (size) {
	case 1:
		return __atomic_compare_exchange_n(p, &old8, value, false, __ATOMIC_SEQ_CST,
						   __ATOMIC_SEQ_CST);
	case 2:
		return __atomic_compare_exchange_n((uint16_t *)p, &old16, value, false,
						   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	case 4:
		return __atomic_compare_exchange_n((uint32_t *)p, &old32, value, false,
						   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	}
	return __atomic_compare_exchange_n((uint64_t *)p, &old, value, false, __ATOMIC_SEQ_CST,
					   __ATOMIC_SEQ_CST);
}

/* How much of an access lies in the first page. */
static unsigned first_part(uint64_t linear, unsigned size)
{
	unsigned room = X86_PAGE_SIZE - (linear & ~X86_PAGE_MASK);

	return size < room ? size : room;
}

static bool crosses(uint64_t linear, unsigned size)
{
	return first_part(linear, size) < size;
}

/* Across a page both halves are translated before either is touched. */
static bool load_crossing(struct interp *c, uint64_t linear, unsigned size, uint64_t *ret)
{
	unsigned first = first_part(linear, size);
	uint64_t low, high, value = 0;

	if (!translate(c, linear, INTERP_READ, &low) ||
	    !translate(c, linear + first, INTERP_READ, &high))
		return false;
	for (unsigned i = 0; i < size; i++) {
		uint64_t gpa = i < first ? low + i : high + i - first;
		const uint8_t *host = slot_host(c, gpa, false);
		uint64_t byte = host ? *host : c->host->mmio_read(c->machine, (gpa_t){gpa}, 1);

		value |= (byte & 0xff) << 8 * i;
	}
	*ret = value;
	return true;
}

static bool store_crossing(struct interp *c, uint64_t linear, unsigned size, uint64_t value)
{
	unsigned first = first_part(linear, size);
	uint64_t low, high;

	if (!translate(c, linear, INTERP_WRITE, &low) ||
	    !translate(c, linear + first, INTERP_WRITE, &high))
		return false;
	for (unsigned i = 0; i < size; i++) {
		uint64_t gpa = i < first ? low + i : high + i - first;
		uint8_t *host = slot_host(c, gpa, true);

		if (host)
			*host = value >> 8 * i;
		else
			c->host->mmio_write(c->machine, (gpa_t){gpa}, 1, value >> 8 * i & 0xff);
	}
	return true;
}

/* LOCK, and XCHG without it. */
static bool is_locked(const struct interp *c)
{
	return c->insn.prefixes & X86_PREFIX_LOCK || c->insn.row->attributes & X86_ROW_AUTOLOCK;
}

bool interp_load(struct interp *c, uint64_t linear, unsigned size, uint64_t *ret)
{
	uint64_t gpa;

	if (crosses(linear, size))
		return load_crossing(c, linear, size, ret);
	if (!translate(c, linear, INTERP_READ, &gpa))
		return false;
	uint8_t *host = slot_host(c, gpa, false);

	if (!host) {
		*ret = interp_cut(c->host->mmio_read(c->machine, (gpa_t){gpa}, size), 8 * size);
		return true;
	}
	*ret = host_load(host, size);
	if (is_locked(c)) {
		c->locked.host = host;
		c->locked.value = *ret;
	}
	return true;
}

bool interp_store(struct interp *c, uint64_t linear, unsigned size, uint64_t value)
{
	uint64_t gpa;

	if (crosses(linear, size))
		return store_crossing(c, linear, size, value);
	if (!translate(c, linear, INTERP_WRITE, &gpa))
		return false;
	uint8_t *host = slot_host(c, gpa, true);

	if (!host) {
		c->host->mmio_write(c->machine, (gpa_t){gpa}, size, interp_cut(value, 8 * size));
	} else if (c->locked.host == host) {
		c->locked.lost = !host_exchange(host, size, c->locked.value, value);
		return !c->locked.lost;
	} else {
		host_store(host, size, value);
	}
	return true;
}

bool interp_probe_write(struct interp *c, uint64_t linear, unsigned size)
{
	uint64_t gpa;

	return translate(c, linear, INTERP_WRITE, &gpa) &&
	       (!crosses(linear, size) ||
		translate(c, linear + first_part(linear, size), INTERP_WRITE, &gpa));
}

/* --- instructions --- */

/* How many of `left` bytes at CS:offset can be fetched in one go: up to the end of the page; one where the segment's limit may
 * lie between them. */
static unsigned fetch_part(const struct interp *c, uint64_t offset, uint64_t linear, unsigned left)
{
	unsigned part = first_part(linear, left);

	if (c->insn.mode == X86_MODE_64 || within_limit(&c->state.segment[X86_CS], offset, part))
		return part;
	return 1;
}

/* The next page is looked at only when the first one's bytes are used up, because it may not be there. */
unsigned interp_fetch(struct interp *c, uint8_t bytes[X86_LENGTH_MAX])
{
	unsigned n = 0;
	uint64_t linear, gpa;

	while (n < X86_LENGTH_MAX) {
		uint64_t offset = c->state.rip + n;

		if (!interp_linear(c, X86_CS, offset, 1, INTERP_FETCH, &linear) ||
		    !translate(c, linear, INTERP_FETCH, &gpa))
			return n;
		unsigned part = fetch_part(c, offset, linear, X86_LENGTH_MAX - n);
		const uint8_t *host = slot_host(c, gpa, false);

		for (unsigned i = 0; i < part; i++)
			bytes[n + i] =
			    host ? host[i] : c->host->mmio_read(c->machine, (gpa_t){gpa + i}, 1);
		n += part;
	}
	return n;
}
