/* The holder of a lease, stored and judged. Its stored form is a record of HOLDER_BYTES bytes,
 * little-endian (doc/format/state.md, "Holder"); what is read back is as foreign as any file. No
 * global state. */
#ifndef STATE_HOLDER_H
#define STATE_HOLDER_H

#include "state/state.h"

#define HOLDER_FORMAT 1
#define HOLDER_BYTES  48u

void holder_encode(const struct state_holder *h, uint8_t out[HOLDER_BYTES]);
/* -EBADMSG where the bytes are no record. */
int holder_decode(const void *p, size_t len, struct state_holder *ret);

/* Where the judge stands: which boot, and whose pids and clock it sees. Read once per handle. */
struct holder_view {
	bool known;
	uint8_t boot_id[16];
	uint64_t pid_ns, time_ns;
};

/* Has the process ended? False in doubt: when it cannot be seen from here, a lease is kept rather
 * than taken from the living. A zombie has ended. */
bool holder_gone(struct holder_view *v, const struct state_holder *h);

#endif
