/* From a profile to BPF, by libseccomp, and an own prologue.
 *
 * A profile that denies by default answers EPERM to system calls that are newer than the profile,
 * and C libraries then do not fall back as they do on ENOSYS. Therefore a prologue returns ENOSYS
 * for each number above the largest that the profile mentions for that architecture, whatever
 * libseccomp's program would say:
 *
 *         ld  [arch]
 *         jeq ARCH, 0, next       for each architecture of the filter
 *         ld  [nr]
 *         jset X32_BIT, …         x86-64 only: the number's bit 30 tells the two ABIs apart
 *         jgt LARGEST, 0, 1
 *         ret ENOSYS
 *         ja  filter
 *   next: …
 *
 * The filter behind it loads the architecture itself. */
#include "container/seccomp_int.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "base/vec.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define X32_BIT           0x40000000u
#define OPTIMIZE_FROM     32 /* rules; below, libseccomp's binary tree gains nothing */
#define SECCOMP_ARCHS_MAX 32

struct archs {
	uint32_t v[SECCOMP_ARCHS_MAX]; /* SCMP_ARCH_*; the native one is always among them */
	size_t n;
};

typedef VEC(struct sock_filter) insns;

static bool has_arch(const struct archs *a, uint32_t arch)
{
	for (size_t i = 0; i < a->n; i++)
		if (a->v[i] == arch)
			return true;
	return false;
}

static int collect_archs(const struct spec_seccomp *s, struct archs *a, struct err *e)
{
	a->v[0] = seccomp_arch_native();
	a->n = 1;
	for (size_t i = 0; i < s->architectures_count; i++) {
		if (has_arch(a, s->architectures[i]))
			continue;
		if (a->n == SECCOMP_ARCHS_MAX)
			return err_set(e, ERR_SECCOMP, -E2BIG, "too many architectures");
		a->v[a->n++] = s->architectures[i];
	}
	return 0;
}

/* The largest number that any rule names, or -1. */
static int64_t largest_syscall(const struct spec_seccomp *s, uint32_t arch)
{
	int64_t largest = -1;

	for (size_t i = 0; i < s->rules_count; i++) {
		for (char **name = s->rules[i].names; *name; name++) {
			int nr = seccomp_syscall_resolve_name_arch(arch, *name);

			if (nr > largest)
				largest = nr;
		}
	}
	return largest;
}

static void emit(insns *p, uint16_t code, uint32_t k, uint8_t jt, uint8_t jf)
{
	vec_push(p, (struct sock_filter){code, jt, jf, k});
}

static void emit_load(insns *p, size_t offset)
{
	emit(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

/* "return ENOSYS if the number in the accumulator is above largest" */
static void emit_limit(insns *p, int64_t largest)
{
	if (largest < 0)
		return;
	emit(p, BPF_JMP | BPF_JGT | BPF_K, (uint32_t)largest, 0, 1);
	emit(p, BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS, 0, 0);
}

static void emit_jump_to_filter(insns *p)
{
	emit(p, BPF_JMP | BPF_JA, 0, 0, 0); /* patched by emit_prologue */
}

static void emit_arch(insns *p, const struct spec_seccomp *s, const struct archs *archs,
		      uint32_t arch)
{
	bool x86_64 = arch == SCMP_ARCH_X86_64;
	size_t start = p->n;

	emit(p, BPF_JMP | BPF_JEQ | BPF_K, x86_64 ? AUDIT_ARCH_X86_64 : arch, 0, 0);
	emit_load(p, offsetof(struct seccomp_data, nr));
	if (x86_64) {
		int64_t x32 =
		    has_arch(archs, SCMP_ARCH_X32) ? largest_syscall(s, SCMP_ARCH_X32) : -1;

		emit(p, BPF_JMP | BPF_JSET | BPF_K, X32_BIT, 0, x32 < 0 ? 1 : 3);
		emit_limit(p, x32);
		emit_jump_to_filter(p);
	}
	/* setup(2) is what s390's kernel makes of numbers that it does not know. */
	if (arch == SCMP_ARCH_S390 || arch == SCMP_ARCH_S390X) {
		emit(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1);
		emit(p, BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS, 0, 0);
	}
	emit_limit(p, largest_syscall(s, arch));
	emit_jump_to_filter(p);
	p->v[start].jf = (uint8_t)(p->n - start - 1);
}

static bool wants_prologue(const struct spec_seccomp *s)
{
	switch (s->default_action & SECCOMP_RET_ACTION_FULL) {
	case SECCOMP_RET_ALLOW:
	case SECCOMP_RET_LOG:
	case SECCOMP_RET_TRACE: /* a tracer answers for itself */
		return false;
	}
	return s->default_action != SCMP_ACT_ERRNO(ENOSYS);
}

static void emit_prologue(insns *p, const struct spec_seccomp *s, const struct archs *archs)
{
	emit_load(p, offsetof(struct seccomp_data, arch));
	for (size_t i = 0; i < archs->n; i++)
		if (archs->v[i] != SCMP_ARCH_X32) /* within x86-64's */
			emit_arch(p, s, archs, archs->v[i]);
	for (size_t i = 0; i < p->n; i++)
		if (p->v[i].code == (BPF_JMP | BPF_JA))
			p->v[i].k = (uint32_t)(p->n - i - 1);
}

/* Conditions that share an argument become rules of their own, "or" instead of "and": as runc has
 * it, because profiles written for it rely on that. */
static bool shares_argument(const struct spec_seccomp_rule *r)
{
	unsigned seen = 0;

	for (size_t i = 0; i < r->args_count; i++) {
		if (seen & 1u << r->args[i].index)
			return true;
		seen |= 1u << r->args[i].index;
	}
	return false;
}

static int add_rule(scmp_filter_ctx ctx, const struct spec_seccomp_rule *r, int nr)
{
	struct scmp_arg_cmp cmp[6];
	bool single = shares_argument(r);
	unsigned n = 0;
	int rc = 0;

	for (size_t i = 0; i < r->args_count && !rc; i++) {
		const struct spec_seccomp_arg *a = &r->args[i];

		cmp[n++] = (struct scmp_arg_cmp){a->index, (enum scmp_compare)a->op, a->value,
						 a->value_two};
		if (single) {
			rc = seccomp_rule_add_array(ctx, r->action, nr, n, cmp);
			n = 0;
		}
	}
	if (!single)
		rc = seccomp_rule_add_array(ctx, r->action, nr, n, cmp);
	return rc == -EEXIST ? 0 : rc;
}

/* Returns how many were added, or a negative errno. */
static int add_rules(scmp_filter_ctx ctx, const struct spec_seccomp *s, struct err *e)
{
	int added = 0;

	for (size_t i = 0; i < s->rules_count; i++) {
		const struct spec_seccomp_rule *r = &s->rules[i];

		if (r->action == s->default_action)
			continue; /* libseccomp refuses rules that change nothing */
		for (char **name = r->names; *name; name++) {
			int nr = seccomp_syscall_resolve_name(*name);

			if (nr == __NR_SCMP_ERROR) {
				log_debug("Unknown system call '%s' ignored", *name);
				continue;
			}
			int rc = add_rule(ctx, r, nr);

			if (rc < 0)
				return err_set(e, ERR_SECCOMP, rc,
					       "linux.seccomp.syscalls[%zu]: '%s': %s", i, *name,
					       strerror(-rc));
			added++;
		}
	}
	return added;
}

/* The process under the filter has to tell its parent of the listener before anyone answers
 * notifications: a filter that stops that would stop the start for ever. */
static int check_notify(const struct spec_seccomp *s, struct err *e)
{
	if (s->default_action == SCMP_ACT_NOTIFY)
		return err_set(e, ERR_SECCOMP, -EINVAL,
			       "SCMP_ACT_NOTIFY cannot be the default action");
	for (size_t i = 0; i < s->rules_count; i++)
		for (char **name = s->rules[i].names; *name; name++)
			if (s->rules[i].action == SCMP_ACT_NOTIFY && str_eq(*name, "write"))
				return err_set(
				    e, ERR_SECCOMP, -EINVAL,
				    "SCMP_ACT_NOTIFY cannot be used for the write syscall");
	return 0;
}

static int export(scmp_filter_ctx ctx, insns *p, struct err *e)
{
	_close_ int fd = memfd_create("seccomp", MFD_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return err_sys(e, ERR_SECCOMP, "memfd");
	int rc = seccomp_export_bpf(ctx, fd);

	if (rc < 0)
		return err_set(e, ERR_SECCOMP, rc, "compiling the system call filter: %s",
			       strerror(-rc));
	if (fstat(fd, &st) < 0)
		return err_sys(e, ERR_SECCOMP, "memfd");
	size_t count = (size_t)st.st_size / sizeof(*p->v);

	if (p->n + count > BPF_MAXINSNS)
		return err_set(e, ERR_SECCOMP, -E2BIG,
			       "the system call filter has %zu instructions; the kernel takes %u",
			       p->n + count, BPF_MAXINSNS);
	p->cap = p->n + count;
	p->v = mem_grow(p->v, p->cap, sizeof(*p->v));
	if (pread(fd, p->v + p->n, count * sizeof(*p->v), 0) != st.st_size)
		return err_sys(e, ERR_SECCOMP, "reading the system call filter");
	p->n += count;
	return 0;
}

static int fill(scmp_filter_ctx ctx, const struct spec_seccomp *s, const struct archs *archs,
		struct err *e)
{
	for (size_t i = 1; i < archs->n; i++) {
		int rc = seccomp_arch_add(ctx, archs->v[i]);

		if (rc < 0 && rc != -EEXIST)
			return err_set(e, ERR_SECCOMP, rc, "architecture %#x: %s", archs->v[i],
				       strerror(-rc));
	}
	int added = add_rules(ctx, s, e);

	if (added > OPTIMIZE_FROM)
		seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	return added < 0 ? added : 0;
}

bool seccomp_has_notify(const struct spec_seccomp *s)
{
	for (size_t i = 0; i < s->rules_count; i++)
		if (s->rules[i].action == SCMP_ACT_NOTIFY)
			return true;
	return false;
}

int seccomp_build(const struct spec_seccomp *s, struct seccomp_prog *ret, struct err *e)
{
	struct archs archs = {0};
	int rc = check_notify(s, e);

	if (!rc)
		rc = collect_archs(s, &archs, e);
	if (rc < 0)
		return rc;
	scmp_filter_ctx ctx = seccomp_init(s->default_action);

	if (!ctx)
		return err_set(e, ERR_SECCOMP, -EINVAL, "libseccomp refuses the default action %#x",
			       s->default_action);
	insns p = {0};

	rc = fill(ctx, s, &archs, e);
	if (!rc && wants_prologue(s))
		emit_prologue(&p, s, &archs);
	if (!rc)
		rc = export(ctx, &p, e);
	seccomp_release(ctx);
	if (rc < 0)
		vec_done(&p);
	else
		*ret = (struct seccomp_prog){p.v, (unsigned short)p.n, seccomp_has_notify(s)};
	return rc;
}
