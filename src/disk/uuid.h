/* Random UUIDs (RFC 4122, version 4) for the headers of images. */
#ifndef DISK_UUID_H
#define DISK_UUID_H

#include <stdint.h>

void uuid_new(uint8_t ret_uuid[16]);

/* Random bytes that are no secret's source: identifiers and salts. */
void uuid_random(void *ret, unsigned len);

#endif
