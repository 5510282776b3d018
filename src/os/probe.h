/* What this kernel lets this caller do, found out by doing it: version numbers and configuration
 * files say too little (backports, seccomp filters of an outer container, devices that only
 * pretend). Nothing stays behind; what could change the caller's own process happens in a forked
 * child. For `viv doctor`; too slow for a start path. */
#ifndef OS_PROBE_H
#define OS_PROBE_H

#include <stdbool.h>
#include <stddef.h>

/* Each returns 0 where it works, else the negative errno that the kernel gave (-ENOSYS: it does not
 * know the call). */
int probe_clone3(void);
int probe_openat2(void);
int probe_mount_setattr(void);
int probe_new_mount(void); /* fsopen(2) and its family */
int probe_pidfd(void);     /* pidfd_open, and P_PIDFD in waitid */
int probe_close_range(void);
/* Whether a program in a sealed memfd may be executed (sysctl vm.memfd_noexec, security modules).
 */
int probe_memfd_exec(void);
/* A new user namespace, with the caller's own id mapped. */
int probe_userns(void);
/* Needs CAP_SYS_ADMIN: an idmapped clone of the mount of path. */
int probe_idmapped_mount(const char *path);
/* A file system type: mounts nothing, but may load its module. -ENODEV: not known. Without
 * CAP_SYS_ADMIN only what /proc/filesystems lists counts. */
int probe_fs(const char *type);

/* Landlock's ABI version (landlock_create_ruleset(2)), 0: none. */
int probe_landlock(void);
/* The seccomp filter mode with user notification. */
int probe_seccomp(void);

enum probe_kvm {
	PROBE_KVM_RUNS,     /* a virtual CPU executed an instruction */
	PROBE_KVM_ABSENT,   /* no device */
	PROBE_KVM_DENIED,   /* the device cannot be opened */
	PROBE_KVM_PRETENDS, /* it opens, but no guest runs: what names the step */
	PROBE_KVM_UNTESTED, /* it makes virtual machines; this architecture's guest is not in this
			       probe */
};

/* Lets a guest of one page count. *ret_what: the step that failed and why, e.g.
 * "KVM_CREATE_VM: Invalid argument". */
enum probe_kvm probe_kvm(char *ret_what, size_t size);

#endif
