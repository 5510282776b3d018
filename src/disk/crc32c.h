/* CRC-32C (Castagnoli, RFC 3720 appendix B.4), as VHDX uses it. */
#ifndef DISK_CRC32C_H
#define DISK_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Of len bytes, after those whose CRC is `crc`; 0 at first. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);

/* Of a structure whose own field of four bytes at `at` counts as zeros. */
uint32_t crc32c_without(const void *data, size_t len, size_t at);

#endif
