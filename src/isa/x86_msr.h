/* Numbers of the model-specific registers that operating systems and firmware touch. SDM volume 4; APM volume 2, appendix A;
 * KVM's own from Linux Documentation/virt/kvm/x86/msr.rst. */
#ifndef ISA_X86_MSR_H
#define ISA_X86_MSR_H

/* clang-format off */
enum x86_msr {
	X86_MSR_TSC                = 0x10,
	X86_MSR_PLATFORM_ID        = 0x17,
	X86_MSR_APIC_BASE          = 0x1b,
	X86_MSR_FEATURE_CONTROL    = 0x3a,
	X86_MSR_TSC_ADJUST         = 0x3b,
	X86_MSR_SPEC_CTRL          = 0x48,
	X86_MSR_PRED_CMD           = 0x49,
	X86_MSR_UCODE_REV          = 0x8b,
	X86_MSR_MTRR_CAP           = 0xfe,
	X86_MSR_ARCH_CAPABILITIES  = 0x10a,
	X86_MSR_FLUSH_CMD          = 0x10b,
	X86_MSR_SYSENTER_CS        = 0x174,
	X86_MSR_SYSENTER_ESP       = 0x175,
	X86_MSR_SYSENTER_EIP       = 0x176,
	X86_MSR_MCG_CAP            = 0x179,
	X86_MSR_MCG_STATUS         = 0x17a,
	X86_MSR_MISC_ENABLE        = 0x1a0,
	X86_MSR_DEBUGCTL           = 0x1d9,
	X86_MSR_MTRR_PHYSBASE0     = 0x200, /* then mask 0, base 1, mask 1 … */
	X86_MSR_MTRR_FIX64K        = 0x250,
	X86_MSR_MTRR_FIX16K_80000  = 0x258,
	X86_MSR_MTRR_FIX16K_A0000  = 0x259,
	X86_MSR_MTRR_FIX4K_C0000   = 0x268, /* to 0x26f */
	X86_MSR_PAT                = 0x277,
	X86_MSR_MTRR_DEF_TYPE      = 0x2ff,
	X86_MSR_MC0_CTL            = 0x400, /* then status, address, misc; bank 1 … */
	X86_MSR_TSC_DEADLINE       = 0x6e0,
	X86_MSR_X2APIC             = 0x800, /* to 0x8ff: APIC register × 16 */
	X86_MSR_XSS                = 0xda0,
	X86_MSR_EFER               = 0xc0000080,
	X86_MSR_STAR               = 0xc0000081,
	X86_MSR_LSTAR              = 0xc0000082,
	X86_MSR_CSTAR              = 0xc0000083,
	X86_MSR_FMASK              = 0xc0000084,
	X86_MSR_FS_BASE            = 0xc0000100,
	X86_MSR_GS_BASE            = 0xc0000101,
	X86_MSR_KERNEL_GS_BASE     = 0xc0000102,
	X86_MSR_TSC_AUX            = 0xc0000103,
	X86_MSR_AMD_SYSCFG         = 0xc0010010,
	X86_MSR_AMD_HWCR           = 0xc0010015,
	X86_MSR_AMD_DE_CFG         = 0xc0011029,
	X86_MSR_KVM_WALL_CLOCK     = 0x4b564d00,
	X86_MSR_KVM_SYSTEM_TIME    = 0x4b564d01,
	X86_MSR_KVM_ASYNC_PF_EN    = 0x4b564d02,
	X86_MSR_KVM_STEAL_TIME     = 0x4b564d03,
	X86_MSR_KVM_PV_EOI_EN      = 0x4b564d04,
};
/* clang-format on */

#endif
