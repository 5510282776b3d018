#include "disk/uuid.h"

#include <assert.h>
#include <errno.h>
#include <sys/random.h>

void uuid_random(void *ret, unsigned len)
{
	ssize_t n;

	/* Up to 256 bytes come whole once the pool is ready; only a signal before that interrupts. */
	assert(len <= 256);
	do
		n = getrandom(ret, len, 0);
	while (n < 0 && errno == EINTR);
	assert(n == (ssize_t)len);
}

void uuid_new(uint8_t ret_uuid[16])
{
	uuid_random(ret_uuid, 16);
	ret_uuid[6] = (ret_uuid[6] & 0x0f) | 0x40;
	ret_uuid[8] = (ret_uuid[8] & 0x3f) | 0x80;
}
