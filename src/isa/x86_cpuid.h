/* Leaves of CPUID. SDM volume 2, CPUID; APM volume 3, appendix E; KVM's from Documentation/virt/kvm/x86/cpuid.rst. The feature
 * bits are in isa/x86_features.h. */
#ifndef ISA_X86_CPUID_H
#define ISA_X86_CPUID_H

/* clang-format off */
enum x86_cpuid_leaf {
	X86_CPUID_VENDOR        = 0x0,
	X86_CPUID_FEATURES      = 0x1,
	X86_CPUID_CACHES        = 0x2,
	X86_CPUID_CACHE_PARAMS  = 0x4,
	X86_CPUID_MWAIT         = 0x5,
	X86_CPUID_POWER         = 0x6,
	X86_CPUID_EXT_FEATURES  = 0x7,
	X86_CPUID_PMU           = 0xa,
	X86_CPUID_TOPOLOGY      = 0xb,
	X86_CPUID_XSAVE         = 0xd,
	X86_CPUID_PT            = 0x14,
	X86_CPUID_TSC           = 0x15,
	X86_CPUID_FREQUENCY     = 0x16,
	X86_CPUID_TOPOLOGY_V2   = 0x1f,
	X86_CPUID_HYPERVISOR    = 0x40000000,
	X86_CPUID_KVM_FEATURES  = 0x40000001,
	X86_CPUID_EXT_MAX       = 0x80000000,
	X86_CPUID_AMD_FEATURES  = 0x80000001,
	X86_CPUID_BRAND         = 0x80000002, /* to 0x80000004 */
	X86_CPUID_AMD_L1        = 0x80000005,
	X86_CPUID_AMD_L2        = 0x80000006,
	X86_CPUID_AMD_POWER     = 0x80000007,
	X86_CPUID_ADDRESS_SIZES = 0x80000008,
	X86_CPUID_SVM           = 0x8000000a,
	X86_CPUID_AMD_TOPOLOGY  = 0x8000001e,
};
/* clang-format on */

#endif
