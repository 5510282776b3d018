/* The program, by hand. Its context is struct bpf_cgroup_dev_ctx: access_type (low half:
 * BPF_DEVCG_DEV_*, high half: BPF_DEVCG_ACC_* bits), major, minor. It unpacks them into R2 type, R3
 * access, R4 major, R5 minor, and then has one block per exception, each of which jumps to the next
 * block as soon as something does not match:
 *
 *     if type != T          goto next
 *     if access & ~A        goto next   (an exception that allows must cover the whole access)
 *     if !(access & A)      goto next   (one that denies applies to any part of it, or O_RDWR would
 *                                        pass a ban of writing)
 *     if major != M         goto next   (left out where any)
 *     if minor != m         goto next   (left out where any)
 *     return the opposite of the default
 *
 * and returns the default at the end. The tests of the access are left out where A is everything.
 * Comparisons are of 32 bits (BPF_JMP32, Linux 5.1): those of 64 would extend the sign of a number
 * from 2^31 on. Jumps are relative and forward, so a block needs no relocation once its length is
 * known. */
#include "container/devices_bpf.h"
#include "container/cgroup_int.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/mem.h"
#include "os/path.h"
#include "os/proc.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define ATTACHED_MAX 64           /* programs on one group: the kernel's BPF_CGROUP_MAX_PROGS */
#define LICENSE      "Apache-2.0" /* the program calls no helper that asks for another */

#define ACC_ALL (BPF_DEVCG_ACC_READ | BPF_DEVCG_ACC_WRITE | BPF_DEVCG_ACC_MKNOD)

static struct bpf_insn insn(uint8_t code, uint8_t dst, uint8_t src, int16_t off, int32_t imm)
{
	return (struct bpf_insn){
	    .code = code, .dst_reg = dst, .src_reg = src, .off = off, .imm = imm};
}

static struct bpf_insn load(uint8_t dst, size_t offset)
{
	return insn(BPF_LDX | BPF_MEM | BPF_W, dst, BPF_REG_1, (int16_t)offset, 0);
}

static size_t block(struct bpf_insn *out, const struct device_exception *x, bool allow)
{
	int32_t access = (x->read ? BPF_DEVCG_ACC_READ : 0) | (x->write ? BPF_DEVCG_ACC_WRITE : 0) |
			 (x->mknod ? BPF_DEVCG_ACC_MKNOD : 0);
	size_t jumps[4], jump_count = 0, n = 0;

	jumps[jump_count++] = n;
	out[n++] = insn(BPF_JMP32 | BPF_JNE | BPF_K, BPF_REG_2, 0, 0,
			x->type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
	if (access != ACC_ALL) {
		out[n++] = insn(BPF_ALU | BPF_MOV | BPF_X, BPF_REG_1, BPF_REG_3, 0, 0);
		out[n++] = insn(BPF_ALU | BPF_AND | BPF_K, BPF_REG_1, 0, 0,
				allow ? ~access & ACC_ALL : access);
		jumps[jump_count++] = n;
		out[n++] =
		    insn(BPF_JMP32 | (allow ? BPF_JNE : BPF_JEQ) | BPF_K, BPF_REG_1, 0, 0, 0);
	}
	if (x->major >= 0) {
		jumps[jump_count++] = n;
		out[n++] = insn(BPF_JMP32 | BPF_JNE | BPF_K, BPF_REG_4, 0, 0, (int32_t)x->major);
	}
	if (x->minor >= 0) {
		jumps[jump_count++] = n;
		out[n++] = insn(BPF_JMP32 | BPF_JNE | BPF_K, BPF_REG_5, 0, 0, (int32_t)x->minor);
	}
	out[n++] = insn(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, allow);
	out[n++] = insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	for (size_t i = 0; i < jump_count; i++)
		out[jumps[i]].off = (int16_t)(n - jumps[i] - 1);
	return n;
}

struct bpf_insn *devices_bpf_compile(const struct device_policy *p, size_t *ret_count)
{
	struct bpf_insn *out =
	    mem_array(p->count * DEVICES_BPF_PER_RULE + DEVICES_BPF_FIXED, sizeof(*out));
	size_t n = 0;

	out[n++] = load(BPF_REG_2, offsetof(struct bpf_cgroup_dev_ctx, access_type));
	out[n++] = insn(BPF_ALU | BPF_MOV | BPF_X, BPF_REG_3, BPF_REG_2, 0, 0);
	out[n++] = insn(BPF_ALU | BPF_AND | BPF_K, BPF_REG_2, 0, 0, 0xffff);
	out[n++] = insn(BPF_ALU | BPF_RSH | BPF_K, BPF_REG_3, 0, 0, 16);
	out[n++] = load(BPF_REG_4, offsetof(struct bpf_cgroup_dev_ctx, major));
	out[n++] = load(BPF_REG_5, offsetof(struct bpf_cgroup_dev_ctx, minor));
	for (size_t i = 0; i < p->count; i++)
		n += block(out + n, &p->v[i], !p->allow);
	out[n++] = insn(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, p->allow);
	out[n++] = insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	*ret_count = n;
	return out;
}

static int bpf(enum bpf_cmd cmd, union bpf_attr *attr)
{
	int rc = (int)syscall(SYS_bpf, cmd, attr, sizeof(*attr));

	return rc < 0 ? -errno : rc;
}

static int load_program(const struct device_policy *p)
{
	size_t count;
	_free_ struct bpf_insn *insns = devices_bpf_compile(p, &count);
	union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
			       .insn_cnt = (uint32_t)count,
			       .insns = (uintptr_t)insns,
			       .license = (uintptr_t)LICENSE,
			       .prog_name = "viv_devices"};
	int fd = bpf(BPF_PROG_LOAD, &attr);

	if (fd == -EPERM) { /* before Linux 5.11 programs were charged to RLIMIT_MEMLOCK */
		struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};

		if (!setrlimit(RLIMIT_MEMLOCK, &none))
			fd = bpf(BPF_PROG_LOAD, &attr);
	}
	return fd;
}

/* What is attached to the group itself, as program fds. Those we may not open (a label of an LSM)
 * are left alone: they can only restrict further. */
static int attached(int group, int fds[ATTACHED_MAX], size_t *ret_count)
{
	uint32_t ids[ATTACHED_MAX];
	union bpf_attr attr = {.query = {.target_fd = (uint32_t)group,
					 .attach_type = BPF_CGROUP_DEVICE,
					 .prog_ids = (uintptr_t)ids,
					 .prog_cnt = ATTACHED_MAX}};
	int rc = bpf(BPF_PROG_QUERY, &attr);

	*ret_count = 0;
	for (uint32_t i = 0; !rc && i < attr.query.prog_cnt && i < ATTACHED_MAX; i++) {
		union bpf_attr by_id = {.prog_id = ids[i]};
		int fd = bpf(BPF_PROG_GET_FD_BY_ID, &by_id);

		if (fd >= 0)
			fds[(*ret_count)++] = fd;
	}
	return rc;
}

/* The old program is replaced in one step where there is one, else the new one is there before the
 * old ones go: at no moment may the container do more than either allows. */
static int attach(int group, int prog)
{
	int old[ATTACHED_MAX];
	size_t count;
	union bpf_attr attr = {.target_fd = (uint32_t)group,
			       .attach_bpf_fd = (uint32_t)prog,
			       .attach_type = BPF_CGROUP_DEVICE,
			       .attach_flags = BPF_F_ALLOW_MULTI};
	int rc = attached(group, old, &count);

	if (rc)
		return rc;
	if (count == 1) { /* Linux 5.6 */
		union bpf_attr swap = attr;

		swap.attach_flags |= BPF_F_REPLACE;
		swap.replace_bpf_fd = (uint32_t)old[0];
		rc = bpf(BPF_PROG_ATTACH, &swap);
	}
	if (count != 1 || rc == -EINVAL) {
		rc = bpf(BPF_PROG_ATTACH, &attr);
		for (size_t i = 0; !rc && i < count; i++) {
			union bpf_attr detach = {.target_fd = (uint32_t)group,
						 .attach_bpf_fd = (uint32_t)old[i],
						 .attach_type = BPF_CGROUP_DEVICE};

			rc = bpf(BPF_PROG_DETACH, &detach);
		}
	}
	for (size_t i = 0; i < count; i++)
		close(old[i]);
	return rc;
}

/* Nothing is lost without the program where every rule grants everything on its device: the group
 * above decides. */
static bool only_grants(const struct spec_resources *r)
{
	for (size_t i = 0; i < r->devices_count; i++)
		if (!r->devices[i].allow || !r->devices[i].read || !r->devices[i].write ||
		    !r->devices[i].mknod)
			return false;
	return true;
}

int devices_bpf_apply(const char *dir, bool rootless, const struct spec_resources *r, struct err *e)
{
	_device_policy_ struct device_policy p = {0};
	int rc = device_policy_build(r->devices, r->devices_count, &p, e);

	if (rc)
		return rc;
	_close_ int group = path_open(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY, 0);
	_close_ int prog = group < 0 ? group : load_program(&p);

	rc = prog < 0 ? prog : attach(group, prog);
	if (!rc)
		return 0;
	if ((rc == -EPERM || rc == -EACCES) && (rootless || only_grants(r) || proc_in_userns())) {
		log_debug("No device rules in '%s': %s", dir, strerror(-rc));
		return 0;
	}
	return err_set(e, ERR_CG_UNAVAILABLE, rc, "cannot restrict devices in '%s' by BPF: %s", dir,
		       strerror(-rc));
}
