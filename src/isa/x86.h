/* The x86 instruction set: what the bytes of an instruction mean. One table (table/, one row per opcode form, in the
 * notation of the manuals) is compiled by gen_table.py; decoder, operands, effects and printer all read its rows, and so
 * do the interpreter and the translator.
 *
 * Nothing here executes anything, allocates, or keeps state: every function may be called from any thread, and all of
 * them take any bytes.
 *
 *     struct x86_insn insn;
 *     if (x86_decode(X86_MODE_64, bytes, count, &insn) == X86_OK)
 *             … insn.length, insn.row->mnemonic, x86_operand(&insn, 0, &operand), x86_effects(&insn, &effects) …
 *
 * Where vendors differ, Intel's reading is taken: a near branch in 64-bit mode ignores the prefix 66.
 *
 * Sources: Intel SDM volume 2 (chapter 2: formats; 3 to 6: instructions; appendix A: the operand letters), AMD APM volume 3. */
#ifndef ISA_X86_H
#define ISA_X86_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define X86_LENGTH_MAX   15 /* bytes; SDM volume 2, 2.3.11 */
#define X86_OPERANDS_MAX 4  /* that are written out; the mask of EVEX is not counted */

/* --- enumerations --- */

enum x86_mode {
	X86_MODE_16, /* real, virtual-8086 and 16-bit protected mode: the rows' PROT bit tells what the first two lack */
	X86_MODE_32,
	X86_MODE_64,
};

enum x86_status {
	X86_OK,
	X86_INVALID,   /* #UD, however the bytes go on */
	X86_TRUNCATED, /* valid so far: more bytes are needed */
	X86_TOO_LONG,  /* more than 15 bytes: #GP */
};

enum x86_mnemonic {
	X86_MNEMONIC_NONE,
#define X86_MNEMONIC(name) X86_##name,
#include "isa/x86_mnemonics.h"
#undef X86_MNEMONIC
	X86_MNEMONIC_COUNT
};

/* What a CPU must have for the row: isa/x86_features.h says which CPUID bit that is. */
enum x86_feature {
#define X86_FEATURE(name, text, leaf, subleaf, reg, bit) X86_FEATURE_##name,
#include "isa/x86_features.h"
#undef X86_FEATURE
	X86_FEATURE_COUNT
};

/* Which unit executes it, and with it which state must be enabled (CR0.EM, CR0.TS, CR4.OSFXSR, XCR0). */
enum x86_class {
	X86_CLASS_INT,
	X86_CLASS_VEXGPR, /* VEX, but general registers only */
	X86_CLASS_SYS,
	X86_CLASS_X87,
	X86_CLASS_MMX,
	X86_CLASS_SSE,
	X86_CLASS_AVX,
	X86_CLASS_AVX512,
	X86_CLASS_MASK, /* VEX encoded AVX-512 mask operations */
};

enum x86_seg {
	X86_ES,
	X86_CS,
	X86_SS,
	X86_DS,
	X86_FS,
	X86_GS,
};

/* The bits of EFLAGS, where the table names them. SDM volume 1, 3.4.3. */
enum {
	X86_FLAG_CF = 1u << 0,
	X86_FLAG_PF = 1u << 2,
	X86_FLAG_AF = 1u << 4,
	X86_FLAG_ZF = 1u << 6,
	X86_FLAG_SF = 1u << 7,
	X86_FLAG_TF = 1u << 8,
	X86_FLAG_IF = 1u << 9,
	X86_FLAG_DF = 1u << 10,
	X86_FLAG_OF = 1u << 11,
	X86_FLAG_IOPL = 3u << 12,
	X86_FLAG_NT = 1u << 14,
	X86_FLAG_RF = 1u << 16,
	X86_FLAG_VM = 1u << 17,
	X86_FLAG_AC = 1u << 18,
	X86_FLAG_VIF = 1u << 19,
	X86_FLAG_VIP = 1u << 20,
	X86_FLAG_ID = 1u << 21,
	X86_FLAGS_STATUS =
	    X86_FLAG_CF | X86_FLAG_PF | X86_FLAG_AF | X86_FLAG_ZF | X86_FLAG_SF | X86_FLAG_OF,
};

/* How an operand is found: the letters of SDM appendix A.2.1, and a few more. */
enum x86_method {
	X86_OP_NONE,
	/* from the ModRM byte and VEX.vvvv */
	X86_OP_E,   /* general register or memory, r/m */
	X86_OP_R,   /* general register, r/m */
	X86_OP_M,   /* memory */
	X86_OP_G,   /* general register, reg */
	X86_OP_B,   /* general register, vvvv */
	X86_OP_S,   /* segment register, reg */
	X86_OP_C,   /* control register, reg */
	X86_OP_D,   /* debug register, reg */
	X86_OP_P,   /* MMX register, reg */
	X86_OP_Q,   /* MMX register or memory, r/m */
	X86_OP_N,   /* MMX register, r/m */
	X86_OP_V,   /* vector register, reg */
	X86_OP_W,   /* vector register or memory, r/m */
	X86_OP_U,   /* vector register, r/m */
	X86_OP_H,   /* vector register, vvvv */
	X86_OP_H4,  /* four vector registers, from a multiple of 4, vvvv */
	X86_OP_L,   /* vector register, bits 7:4 of the immediate byte */
	X86_OP_KG,  /* mask register, reg */
	X86_OP_KP,  /* pair of mask registers, reg */
	X86_OP_KE,  /* mask register or memory, r/m */
	X86_OP_KU,  /* mask register, r/m */
	X86_OP_KH,  /* mask register, vvvv */
	X86_OP_MV,  /* memory, as many elements as the vector register that is the index has */
	X86_OP_STI, /* x87 register, r/m */
	/* from other parts */
	X86_OP_Z,       /* general register, bits 2:0 of the opcode */
	X86_OP_I,       /* immediate */
	X86_OP_I2,      /* second immediate, a byte */
	X86_OP_ONE,     /* the number 1 */
	X86_OP_J,       /* branch target relative to the next instruction */
	X86_OP_A,       /* far pointer in the instruction */
	X86_OP_O,       /* memory, the address in the instruction */
	X86_OP_X,       /* memory, DS:rSI */
	X86_OP_Y,       /* memory, ES:rDI */
	X86_OP_XLAT,    /* memory, DS:rBX+AL */
	X86_OP_MASKMOV, /* memory, DS:rDI */
	X86_OP_ESREG,   /* memory, ES and the register in reg */
	X86_OP_PUSH,    /* memory, so many operand sizes below rSP */
	X86_OP_POP,     /* memory, at rSP */
	X86_OP_LEAVE,   /* memory, at rBP */
	/* registers that the opcode implies */
	X86_OP_AX,
	X86_OP_CX,
	X86_OP_DX,
	X86_OP_BX,
	X86_OP_SP,
	X86_OP_BP,
	X86_OP_SI,
	X86_OP_DI,
	X86_OP_R11,
	X86_OP_AH,
	X86_OP_SREG_ES,
	X86_OP_SREG_CS,
	X86_OP_SREG_SS,
	X86_OP_SREG_DS,
	X86_OP_SREG_FS,
	X86_OP_SREG_GS,
	X86_OP_ST0,
	X86_OP_ST1,
	X86_OP_XMM0,
	X86_OP_IP,
	X86_OP_CR0,
	X86_OP_XCR0,
	X86_OP_MXCSR,
	X86_OP_SSP,
};

/* How wide an operand is. Where two letters differ, the first is for a register, the second for memory. */
enum x86_type {
	X86_TY_NONE,
	X86_TY_b,    /* 8 bits */
	X86_TY_bs,   /* 8 bits, an immediate that is sign-extended */
	X86_TY_w,    /* 16 */
	X86_TY_d,    /* 32 */
	X86_TY_q,    /* 64 */
	X86_TY_t,    /* 80 */
	X86_TY_dq,   /* 128 */
	X86_TY_qq,   /* 256 */
	X86_TY_v,    /* operand size */
	X86_TY_z,    /* operand size, at most 32 */
	X86_TY_y,    /* operand size, at least 32 */
	X86_TY_vw,   /* operand size; 16 */
	X86_TY_zw,   /* operand size, at most 32; 16 */
	X86_TY_db,   /* 32; 8 */
	X86_TY_dw,   /* 32; 16 */
	X86_TY_m,    /* 64 in 64-bit mode, else 32 */
	X86_TY_a,    /* address size */
	X86_TY_x,    /* vector length */
	X86_TY_h,    /* half of it */
	X86_TY_f,    /* a quarter */
	X86_TY_o,    /* an eighth */
	X86_TY_xd,   /* with MV: as long as the vector, 32-bit elements */
	X86_TY_xq,   /* 64-bit elements */
	X86_TY_hq,   /* 64-bit elements, the index is half a vector */
	X86_TY_p,    /* far pointer: 16 + operand size */
	X86_TY_s,    /* descriptor table register: 16 + 32 or 64 */
	X86_TY_v2,   /* two of the operand size */
	X86_TY_n64,  /* 64 bytes */
	X86_TY_n512, /* 512 bytes */
	X86_TY_env,  /* x87 environment: 14 or 28 bytes */
	X86_TY_fs,   /* x87 state: 94 or 108 bytes */
	X86_TY_xs,   /* XSAVE area: its size is the CPU's */
	X86_TY_s1,   /* stack: one, two, three, eight times the operand size */
	X86_TY_s2,
	X86_TY_s3,
	X86_TY_s8,
};

/* What happens to an operand. */
enum {
	X86_READ = 1,
	X86_WRITE = 2,
	X86_COND_READ = 4, /* perhaps: a repeat count of 0, a mask, a condition */
	X86_COND_WRITE = 8,
};

/* --- the table --- */

struct x86_opspec {
	uint8_t method; /* enum x86_method */
	uint8_t type;   /* enum x86_type */
	uint8_t access; /* X86_READ … */
};

/* What a row does to EFLAGS and to the x87 condition codes (bit n: Cn). A flag that is neither in `written` nor in
 * `undefined` keeps its value; one in `maybe` too may keep it, where a shift count or a repeat count is 0. */
struct x86_flags {
	uint32_t read;
	uint32_t written; /* cleared and set ones included */
	uint32_t cleared;
	uint32_t set;
	uint32_t undefined;
	uint32_t maybe;
	uint8_t fpu_written, fpu_cleared, fpu_undefined;
};

enum { /* x86_row.attributes */
       X86_ROW_MODRM = 1u << 0,
       X86_ROW_MODREG =
	   1u << 1,            /* mod is taken for 3: MOV to and from control and debug registers */
       X86_ROW_LOCK = 1u << 2, /* LOCK is allowed with a memory destination */
       X86_ROW_AUTOLOCK = 1u << 3, /* XCHG with memory locks without LOCK */
       X86_ROW_REP = 1u << 4,      /* F2 and F3 repeat */
       X86_ROW_REPZ = 1u << 5,     /* F3 repeats while ZF is set, F2 while it is clear */
       X86_ROW_D64 = 1u << 6,      /* operand size is 64 in 64-bit mode, unless 66 makes it 16 */
       X86_ROW_F64 = 1u << 7,      /* operand size is 64 in 64-bit mode */
       X86_ROW_PRIV = 1u << 8,     /* #GP unless CPL is 0 */
       X86_ROW_IOPL = 1u << 9,     /* depends on IOPL, the TSS's bit map, or CR4's VME and PVI */
       X86_ROW_PROT = 1u << 10,    /* #UD in real and virtual-8086 mode */
       X86_ROW_UMIP = 1u << 11,    /* CR4.UMIP wants CPL 0 */
       X86_ROW_TSD = 1u << 12,     /* CR4.TSD wants CPL 0 */
       X86_ROW_IO = 1u << 13,      /* reads or writes ports */
       X86_ROW_JMP = 1u << 14,
       X86_ROW_JCC = 1u << 15,
       X86_ROW_CALL = 1u << 16,
       X86_ROW_RET = 1u << 17,
       X86_ROW_INT = 1u << 18,      /* raises an exception or interrupt by intent */
       X86_ROW_FAR = 1u << 19,      /* changes CS */
       X86_ROW_SREGLOAD = 1u << 20, /* loads a segment register */
       X86_ROW_BITOFF =
	   1u << 21, /* the bit number in a register reaches beyond the memory operand */
       X86_ROW_NOACCESS = 1u << 22, /* names an address, or a line, and moves no data */
       X86_ROW_HINT = 1u << 23,     /* does nothing that software sees */
       X86_ROW_ALIGN = 1u << 24,    /* #GP unless the memory operand is aligned to its size */
       X86_ROW_GATHER = 1u << 25,
       X86_ROW_SCATTER = 1u << 26,
       X86_ROW_DISTINCT = 1u << 27, /* #UD if the destination is also a source */
       X86_ROW_PUSH = 1u << 28,     /* x87: TOP goes down */
       X86_ROW_POP = 1u << 29,
       X86_ROW_POP2 = 1u << 30,
       X86_ROW_AVX128 = 1u << 31, /* 128 bits want AVX only, not the AVX2 of the row */
};

enum {                          /* x86_row.evex */
       X86_EVEX_K = 1 << 0,     /* takes a mask */
       X86_EVEX_Z = 1 << 1,     /* zeroing too */
       X86_EVEX_ER = 1 << 2,    /* embedded rounding with registers */
       X86_EVEX_SAE = 1 << 3,   /* suppresses exceptions with registers */
       X86_EVEX_KMUST = 1 << 4, /* #UD without a mask */
       X86_EVEX_BLEND =
	   1 << 5, /* the mask chooses between the sources: the destination is not read */
       X86_EVEX_ERNOP =
	   1 << 6, /* rounding is accepted; of 32-bit integers to double it means nothing */
};

/* Where an opcode lies. */
enum x86_map {
	X86_MAP_1,    /* one byte */
	X86_MAP_0F,   /* after 0F */
	X86_MAP_0F38, /* after 0F 38 */
	X86_MAP_0F3A, /* after 0F 3A */
	X86_MAP_VEX_0F,
	X86_MAP_VEX_0F38,
	X86_MAP_VEX_0F3A,
	X86_MAP_EVEX_0F,
	X86_MAP_EVEX_0F38,
	X86_MAP_EVEX_0F3A,
	X86_MAP_EVEX_5,
	X86_MAP_EVEX_6,
	X86_MAP_COUNT
};

struct x86_row {
	uint16_t mnemonic; /* enum x86_mnemonic */
	uint8_t feature;   /* enum x86_feature */
	uint8_t class;     /* enum x86_class */
	uint8_t map;       /* enum x86_map */
	uint8_t opcode;
	uint8_t evex; /* X86_EVEX_… */
	uint8_t
	    element_bytes; /* of broadcast, gather, scatter, compress: the unit of an EVEX disp8; 0: the operand */
	uint32_t attributes;    /* X86_ROW_… */
	uint8_t imm[2];         /* enum x86_type: the immediates that follow */
	uint8_t flags;          /* index of x86_flag_sets */
	uint8_t operand_count;  /* of `operand` */
	uint16_t implicit;      /* first index of x86_implicit */
	uint8_t implicit_count; /* operands that are not written out */
	bool broadcast;         /* EVEX.b repeats one element from memory */
	struct x86_opspec operand[X86_OPERANDS_MAX];
};

extern const struct x86_row x86_rows[]; /* row 0 is none */
extern const size_t x86_row_count;
extern const struct x86_flags x86_flag_sets[];
extern const struct x86_opspec x86_implicit[];
extern const char
    *const x86_row_encodings[]; /* the first column of the table, for people and tests */

/* The name in lower case; "(none)" for X86_MNEMONIC_NONE. */
const char *x86_mnemonic_name(enum x86_mnemonic m);

/* As the table writes it: "sse4.1". */
const char *x86_feature_name(enum x86_feature f);

/* --- decoding --- */

enum { /* x86_insn.prefixes: what was there, whether or not it means anything */
       X86_PREFIX_LOCK = 1 << 0,
       X86_PREFIX_REPNE = 1 << 1, /* F2 */
       X86_PREFIX_REP = 1 << 2,   /* F3 */
       X86_PREFIX_OPSIZE = 1 << 3,
       X86_PREFIX_ADSIZE = 1 << 4,
       X86_PREFIX_SEG = 1 << 5,
       X86_PREFIX_REX = 1 << 6,
};

enum { /* x86_insn.rex: the four bits of REX, or the same ones of VEX and EVEX, not inverted */
       X86_REX_B = 1,
       X86_REX_X = 2,
       X86_REX_R = 4,
       X86_REX_W = 8,
};

#define X86_REG_NONE 0xff
#define X86_REG_IP   0xfe /* as a base */

struct x86_insn {
	const struct x86_row *row;
	uint8_t length; /* bytes */
	uint8_t mode;   /* enum x86_mode */
	uint8_t opsize; /* operand size: 16, 32, 64 */
	uint8_t adsize; /* address size: 16, 32, 64 */
	uint8_t prefixes;
	uint8_t repeat;  /* 0, 0xF2, 0xF3: the last of them */
	uint8_t segment; /* override in force, or X86_REG_NONE */
	uint8_t rex;
	uint8_t opcode;
	uint8_t modrm;
	bool memory;      /* r/m is memory */
	uint8_t reg, rm;  /* extended to 5 bits; what they name is the operand's method */
	uint8_t vvvv;     /* extended to 5 bits, not inverted */
	uint8_t base;     /* general register, X86_REG_IP or X86_REG_NONE */
	uint8_t index;    /* general or, with MV, vector register, or X86_REG_NONE */
	uint8_t scale;    /* 1, 2, 4, 8 */
	uint8_t vl;       /* vector length: 0, 1, 2 for 128, 256, 512 bits */
	uint8_t rounding; /* with EVEX.b and registers: bits L'L */
	uint8_t mask;     /* EVEX.aaa */
	bool zeroing;     /* EVEX.z */
	bool evex_b;      /* EVEX.b: broadcast, rounding or sae */
	uint8_t opcode_at, modrm_at, disp_at, imm_at; /* offsets in the instruction */
	uint8_t disp_size, imm_size;                  /* bytes; imm_size counts both immediates */
	int64_t disp;                                 /* sign-extended, an EVEX disp8 multiplied */
	uint64_t
	    imm; /* sign-extended where it is signed or relative; the offset of a far pointer */
	uint32_t imm2; /* second immediate; the selector of a far pointer */
};

/* Decodes the instruction at `bytes`, of which `count` can be read; it never looks past byte 15. *ret is defined only with
 * X86_OK. No more bytes than the instruction has are read. */
enum x86_status x86_decode(enum x86_mode mode, const uint8_t *bytes, size_t count,
			   struct x86_insn *ret);

/* --- operands --- */

enum x86_reg_kind {
	X86_REG_GPR8,
	X86_REG_GPR8H, /* AH, CH, DH, BH as 0 to 3 */
	X86_REG_GPR16,
	X86_REG_GPR32,
	X86_REG_GPR64,
	X86_REG_X87, /* relative to TOP */
	X86_REG_MMX,
	X86_REG_XMM,
	X86_REG_YMM,
	X86_REG_ZMM,
	X86_REG_MASK,
	X86_REG_SEG,
	X86_REG_CR,
	X86_REG_DR,
	X86_REG_RIP, /* EIP, IP */
	X86_REG_XCR,
	X86_REG_CTL_MXCSR,
	X86_REG_CTL_SSP,
};

enum x86_operand_kind {
	X86_OPERAND_REG,
	X86_OPERAND_MEM,
	X86_OPERAND_IMM,
	X86_OPERAND_REL, /* imm: distance from the next instruction */
	X86_OPERAND_FAR, /* imm2:imm of the instruction */
};

struct x86_operand {
	uint8_t kind;      /* enum x86_operand_kind */
	uint8_t access;    /* X86_READ …; masks and repeat prefixes are accounted for */
	uint32_t size;     /* bits; 0: not known from the instruction */
	uint8_t reg_kind;  /* enum x86_reg_kind */
	uint8_t reg;       /* number */
	uint8_t reg_count; /* consecutive registers: 1, 2, 4 */
	uint8_t segment;   /* enum x86_seg, the one in force */
	uint8_t base, index,
	    scale; /* as in x86_insn; `index` is a vector register where vsib says so */
	bool vsib;
	uint8_t element_bytes; /* of a broadcast or vsib operand, else 0 */
	uint8_t broadcast;     /* so many copies of the element; 0: none */
	int64_t disp;
	uint64_t imm;
};

/* Operand n of the instruction: first those that are written out (n < row->operand_count), then the implicit ones.
 * False when there are no so many. */
bool x86_operand(const struct x86_insn *insn, unsigned n, struct x86_operand *ret);

/* --- effects: what liveness and dependency analysis need --- */

struct x86_effects {
	uint32_t gpr_read;    /* bit n: general register n, address registers included */
	uint32_t gpr_written; /* wholly or in part, perhaps */
	uint32_t gpr_killed;  /* wholly and in any case: what it held before is dead */
	uint32_t vec_read, vec_written, vec_killed; /* bits 511:0 of vector registers */
	uint8_t mask_read, mask_written;
	uint32_t flags_read;
	uint32_t flags_written; /* undefined ones included */
	uint32_t flags_killed;
	bool mem_read, mem_written;
};

void x86_effects(const struct x86_insn *insn, struct x86_effects *ret);

/* --- printing --- */

#define X86_TEXT_MAX 160

/* Intel syntax; `address` is the instruction's, for branch targets and RIP-relative operands. Cut
 * to fit, always ended by a NUL. Returns the length. */
size_t x86_print(const struct x86_insn *insn, uint64_t address, char *text, size_t size);

/* "eax", "r8b", "xmm31" …; `n` must be a number that the kind has. */
const char *x86_reg_name(enum x86_reg_kind kind, unsigned n, char text[8]);

#endif
