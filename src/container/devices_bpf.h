/* Device rules of cgroup v2: there is no controller with files, but a BPF program attached to the
 * group that the kernel asks for each open and mknod of a device node (BPF_PROG_TYPE_CGROUP_DEVICE;
 * kernel: cgroup-v2.rst "Device controller"). */
#ifndef CONTAINER_DEVICES_BPF_H
#define CONTAINER_DEVICES_BPF_H

#include "base/err.h"
#include "container/cgroup_devices.h"

#include <linux/bpf.h>

/* What one exception costs at most, and what every program has besides. */
#define DEVICES_BPF_PER_RULE 8
#define DEVICES_BPF_FIXED    8

/* The program of a policy. Returns owned instructions. */
struct bpf_insn *devices_bpf_compile(const struct device_policy *p, size_t *ret_count);

/* Compiles, loads and attaches to the group in place of the programs that are attached there. What
 * a rootless caller may not load is skipped, unless the rules take something away: those of the
 * outer container hold in any case. */
int devices_bpf_apply(const char *dir, bool rootless, const struct spec_resources *r,
		      struct err *e);

#endif
