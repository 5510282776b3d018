/* Device access rules, reduced. linux.resources.devices is a sequence of orders to the kernel's v1
 * devices controller (runtime-spec config-linux.md "Allowed Device List"): each changes a default
 * and a set of exceptions. What the sequence amounts to is computed here, once, for the three who
 * need it: the v1 files, the v2 BPF program, systemd's properties. */
#ifndef CONTAINER_CGROUP_DEVICES_H
#define CONTAINER_CGROUP_DEVICES_H

#include "base/err.h"
#include "container/spec.h"

#include <stdbool.h>
#include <stddef.h>

struct device_exception {
	char type;            /* 'b', 'c' */
	int64_t major, minor; /* -1: any */
	bool read, write, mknod;
};

struct device_policy {
	bool allow; /* what happens where no exception matches */
	struct device_exception *v;
	size_t count;
};

/* Starts from "deny all". Refuses what v1 would ignore in silence: taking a part out of a wildcard
 * exception (SPEC-VALUE, -EINVAL). */
int device_policy_build(const struct spec_device_rule *rules, size_t count,
			struct device_policy *ret, struct err *e);
void device_policy_done(struct device_policy *p);

#define _device_policy_ __attribute__((cleanup(device_policy_done)))

#endif
