/* Formats of page tables: SDM volume 3, chapter 4. Constants only; who walks is the caller. */
#ifndef ISA_X86_PAGING_H
#define ISA_X86_PAGING_H

#include <stdint.h>

#define X86_PAGE_SHIFT 12
#define X86_PAGE_SIZE  (1u << X86_PAGE_SHIFT)
#define X86_PAGE_MASK  (~(uint64_t)(X86_PAGE_SIZE - 1))

/* Bits of an entry; the same in every format. SDM tables 4-5, 4-6, 4-8 to 4-11, 4-15 to 4-20. */
#define X86_PTE_P         (UINT64_C(1) << 0)
#define X86_PTE_W         (UINT64_C(1) << 1)
#define X86_PTE_U         (UINT64_C(1) << 2)
#define X86_PTE_PWT       (UINT64_C(1) << 3)
#define X86_PTE_PCD       (UINT64_C(1) << 4)
#define X86_PTE_A         (UINT64_C(1) << 5)
#define X86_PTE_D         (UINT64_C(1) << 6) /* of an entry that maps a page */
#define X86_PTE_PS        (UINT64_C(1) << 7) /* maps a large page; in the last level: PAT */
#define X86_PTE_G         (UINT64_C(1) << 8)
#define X86_PTE_PAT_BIG   (UINT64_C(1) << 12) /* PAT of a large page */
#define X86_PTE_KEY_SHIFT 59
#define X86_PTE_KEY       (UINT64_C(0xf) << X86_PTE_KEY_SHIFT)
#define X86_PTE_NX        (UINT64_C(1) << 63)

/* Physical address of a table or a page, of 8-byte entries; above MAXPHYADDR reserved. */
#define X86_PTE_ADDRESS UINT64_C(0x000ffffffffff000)

/* CR3: SDM table 4-12, 4.5 */
#define X86_CR3_PCID      UINT64_C(0xfff)
#define X86_CR3_NOFLUSH   (UINT64_C(1) << 63)
#define X86_CR3_PAE_TABLE UINT64_C(0xffffffe0) /* PAE: 32-byte aligned table of four entries */

/* A kind of page table: how a linear address is cut, from the root down. */
struct x86_paging_format {
	const char *name;
	uint8_t levels;
	uint8_t entry_bytes;
	uint8_t index_bits[5]; /* root first */
	uint8_t linear_bits;
	uint8_t large_levels; /* bit n: an entry n levels above the last may map a page */
};

/* SDM figures 4-2 to 4-4 (32-bit; large pages with CR4.PSE), 4-5 to 4-7 (PAE), 4-8 to 4-11 (4-level), 4.5 (5-level). */
static const struct x86_paging_format x86_paging_32 = {"32-bit", 2, 4, {10, 10}, 32, 1 << 1};
static const struct x86_paging_format x86_paging_pae = {"PAE", 3, 8, {2, 9, 9}, 32, 1 << 1};
static const struct x86_paging_format x86_paging_4 = {"4-level",    4,  8,
						      {9, 9, 9, 9}, 48, 1 << 1 | 1 << 2};
static const struct x86_paging_format x86_paging_5 = {"5-level",       5,  8,
						      {9, 9, 9, 9, 9}, 57, 1 << 1 | 1 << 2};

#endif
