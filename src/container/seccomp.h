/* System call filters: from linux.seccomp of config.json to a loaded BPF program. Compiling
 * Docker's profile with libseccomp takes 10 ms, loading ready BPF 1.2 ms, so compiled programs are
 * cached in a directory that only the owner can write. A cache file carries the whole profile it
 * was made from and is used only if that is equal byte for byte: the hash is a name, never a proof.
 */
#ifndef CONTAINER_SECCOMP_H
#define CONTAINER_SECCOMP_H

#include "base/err.h"
#include "container/spec.h"

#include <linux/filter.h>

struct seccomp_prog {
	struct sock_filter *insns; /* owned */
	unsigned short count;
	bool has_notify;
};

/* Compiles, or takes from the cache. cache_dirfd: a directory of ours, or -1 for no cache; a cache
 * that cannot be read or written is no error. */
int seccomp_compile(const struct spec_seccomp *s, int cache_dirfd, struct seccomp_prog *ret,
		    struct err *e);
void seccomp_prog_done(struct seccomp_prog *p);

/* Loads it into the calling thread (needs CAP_SYS_ADMIN or no_new_privs). With SCMP_ACT_NOTIFY
 * *ret_listener is the notification fd (O_CLOEXEC), else -1. No allocation, async-signal-safe:
 * called last thing before exec. */
int seccomp_prog_load(const struct spec_seccomp *s, const struct seccomp_prog *p, int *ret_listener,
		      struct err *e);

/* Sends the listener fd to the agent's UNIX socket s->listener_path with the container process
 * state (runtime-spec config-linux.md, "The Container Process State"). sock: connected stream
 * socket. */
int seccomp_send_listener(int sock, int listener, const char *state_json, struct err *e);

/* Names for `features`: actions, operators, architectures, flags known to this build;
 * NULL-terminated, static. */
const char *const *seccomp_known_actions(void);
const char *const *seccomp_known_operators(void);
const char *const *seccomp_known_archs(void);
const char *const *seccomp_known_flags(void);
const char *const *seccomp_supported_flags(void);
void seccomp_library_version(char *ret, size_t size); /* libseccomp's, "2.5.4" */

/* Used by spec_parse: SCMP_ACT_*, SCMP_CMP_*, SCMP_ARCH_*, SECCOMP_FILTER_FLAG_* by the
 * specification's names. Return false where the name is unknown. errno_or_trace is or-ed into
 * actions that carry data. */
bool seccomp_action_by_name(const char *name, uint32_t errno_or_trace, uint32_t *ret);
bool seccomp_op_by_name(const char *name, int *ret);
bool seccomp_arch_by_name(const char *name, uint32_t *ret);
bool seccomp_flag_by_name(const char *name, uint64_t *ret);

#endif
