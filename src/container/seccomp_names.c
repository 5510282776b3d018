/* The specification's names of actions, operators, architectures and flags (config-linux.md
 * "Seccomp"), each table sorted as `features` prints it. */
#include "container/seccomp.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdio.h>
#include <sys/syscall.h>

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV /* Linux 5.19 */
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

/* One list each for the name and its value; NAME and VALUE pick. */
/* clang-format off */
#define ACTIONS(X) \
	X(SCMP_ACT_ALLOW, SCMP_ACT_ALLOW) X(SCMP_ACT_ERRNO, SCMP_ACT_ERRNO(0)) \
	X(SCMP_ACT_KILL, SCMP_ACT_KILL_THREAD) X(SCMP_ACT_KILL_PROCESS, SCMP_ACT_KILL_PROCESS) \
	X(SCMP_ACT_KILL_THREAD, SCMP_ACT_KILL_THREAD) X(SCMP_ACT_LOG, SCMP_ACT_LOG) \
	X(SCMP_ACT_NOTIFY, SCMP_ACT_NOTIFY) X(SCMP_ACT_TRACE, SCMP_ACT_TRACE(0)) \
	X(SCMP_ACT_TRAP, SCMP_ACT_TRAP)

#define OPS(X) \
	X(SCMP_CMP_EQ, SCMP_CMP_EQ) X(SCMP_CMP_GE, SCMP_CMP_GE) X(SCMP_CMP_GT, SCMP_CMP_GT) \
	X(SCMP_CMP_LE, SCMP_CMP_LE) X(SCMP_CMP_LT, SCMP_CMP_LT) \
	X(SCMP_CMP_MASKED_EQ, SCMP_CMP_MASKED_EQ) X(SCMP_CMP_NE, SCMP_CMP_NE)

#define ARCHS(X) \
	X(SCMP_ARCH_AARCH64, SCMP_ARCH_AARCH64) X(SCMP_ARCH_ARM, SCMP_ARCH_ARM) \
	X(SCMP_ARCH_MIPS, SCMP_ARCH_MIPS) X(SCMP_ARCH_MIPS64, SCMP_ARCH_MIPS64) \
	X(SCMP_ARCH_MIPS64N32, SCMP_ARCH_MIPS64N32) X(SCMP_ARCH_MIPSEL, SCMP_ARCH_MIPSEL) \
	X(SCMP_ARCH_MIPSEL64, SCMP_ARCH_MIPSEL64) X(SCMP_ARCH_MIPSEL64N32, SCMP_ARCH_MIPSEL64N32) \
	X(SCMP_ARCH_PARISC, SCMP_ARCH_PARISC) X(SCMP_ARCH_PARISC64, SCMP_ARCH_PARISC64) \
	X(SCMP_ARCH_PPC, SCMP_ARCH_PPC) X(SCMP_ARCH_PPC64, SCMP_ARCH_PPC64) \
	X(SCMP_ARCH_PPC64LE, SCMP_ARCH_PPC64LE) X(SCMP_ARCH_RISCV64, SCMP_ARCH_RISCV64) \
	X(SCMP_ARCH_S390, SCMP_ARCH_S390) X(SCMP_ARCH_S390X, SCMP_ARCH_S390X) \
	X(SCMP_ARCH_X32, SCMP_ARCH_X32) X(SCMP_ARCH_X86, SCMP_ARCH_X86) \
	X(SCMP_ARCH_X86_64, SCMP_ARCH_X86_64)

#define FLAGS(X) \
	X(SECCOMP_FILTER_FLAG_LOG, SECCOMP_FILTER_FLAG_LOG) \
	X(SECCOMP_FILTER_FLAG_SPEC_ALLOW, SECCOMP_FILTER_FLAG_SPEC_ALLOW) \
	X(SECCOMP_FILTER_FLAG_TSYNC, SECCOMP_FILTER_FLAG_TSYNC) \
	X(SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)

#define NAME(name, value)  #name,
#define VALUE(name, value) value,
/* clang-format on */

static const char *const action_names[] = {ACTIONS(NAME) NULL};
static const uint32_t actions[] = {ACTIONS(VALUE)};
static const char *const op_names[] = {OPS(NAME) NULL};
static const int ops[] = {OPS(VALUE)};
static const char *const arch_names[] = {ARCHS(NAME) NULL};
static const uint32_t archs[] = {ARCHS(VALUE)};
static const char *const flag_names[] = {FLAGS(NAME) NULL};
static const uint64_t flags[] = {FLAGS(VALUE)};

static int find(const char *const *names, const char *name)
{
	for (int i = 0; names[i]; i++)
		if (str_eq(names[i], name))
			return i;
	return -1;
}

bool seccomp_action_by_name(const char *name, uint32_t errno_or_trace, uint32_t *ret)
{
	int i = find(action_names, name);

	if (i < 0)
		return false;
	*ret = actions[i];
	if (actions[i] == SCMP_ACT_ERRNO(0) || actions[i] == SCMP_ACT_TRACE(0))
		*ret |= errno_or_trace & SECCOMP_RET_DATA;
	return true;
}

bool seccomp_op_by_name(const char *name, int *ret)
{
	int i = find(op_names, name);

	if (i >= 0)
		*ret = ops[i];
	return i >= 0;
}

bool seccomp_arch_by_name(const char *name, uint32_t *ret)
{
	int i = find(arch_names, name);

	if (i >= 0)
		*ret = archs[i];
	return i >= 0;
}

bool seccomp_flag_by_name(const char *name, uint64_t *ret)
{
	int i = find(flag_names, name);

	if (i >= 0)
		*ret = flags[i];
	return i >= 0;
}

const char *const *seccomp_known_actions(void)
{
	return action_names;
}

const char *const *seccomp_known_operators(void)
{
	return op_names;
}

const char *const *seccomp_known_archs(void)
{
	return arch_names;
}

const char *const *seccomp_known_flags(void)
{
	return flag_names;
}

/* All that we know we support: the kernel refuses what it lacks, and every kernel since 5.19 has
 * them all. */
const char *const *seccomp_supported_flags(void)
{
	return flag_names;
}

void seccomp_library_version(char *ret, size_t size)
{
	const struct scmp_version *v = seccomp_version();

	snprintf(ret, size, "%u.%u.%u", v->major, v->minor, v->micro);
}
