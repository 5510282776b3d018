/* Capabilities of the calling thread as 64-bit masks (capabilities(7)); the raw calls, because the
 * masks of the OCI configuration are all there is to say and libcap's strings would only be in the
 * way. */
#ifndef OS_CAPS_H
#define OS_CAPS_H

#include <stdbool.h>
#include <stdint.h>

/* Highest capability that this kernel knows. */
int caps_last(void);
/* What the caller holds. */
int caps_get(uint64_t *ret_effective, uint64_t *ret_permitted, uint64_t *ret_inheritable);
int caps_set(uint64_t effective, uint64_t permitted, uint64_t inheritable);
/* Drops every capability that is not in keep from the bounding set. Needs CAP_SETPCAP. */
int caps_bound(uint64_t keep);
int caps_clear_ambient(void);
/* One capability, which must be permitted and inheritable. */
int caps_raise_ambient(int cap);
bool caps_have(int cap);

#endif
