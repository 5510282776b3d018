/* The header of a LUKS1 volume, bytes to struct and back. No I/O, no cryptography.
 *
 * "LUKS1 On-Disk Format Specification", version 1.2.3, section 2; names are its. Numbers are big-endian,
 * offsets are sectors of 512 bytes. */
#ifndef DISK_LUKS_HEAD_H
#define DISK_LUKS_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define LUKS_HEAD_BYTES 592u
#define LUKS_SLOTS      8u
#define LUKS_STRIPES    4000u
#define LUKS_DIGEST     20u /* mk-digest */
#define LUKS_SALT       32u
#define LUKS_KEY_MAX    64u /* bytes: AES-256 in XTS mode has two keys */

/* Rounds of PBKDF2 that a header may ask for: minutes. */
#define LUKS_ITERATIONS_MAX (1u << 30)

struct luks_slot {
	bool active;
	uint32_t iterations;
	uint8_t salt[LUKS_SALT];
	uint32_t material_offset;
	uint32_t stripes;
};

struct luks_head {
	char cipher[32], mode[32], hash[32]; /* "aes", "xts-plain64", "sha256" */
	uint32_t payload_offset;
	uint32_t key_bytes;
	uint8_t digest[LUKS_DIGEST], digest_salt[LUKS_SALT];
	uint32_t digest_iterations;
	char uuid[40];
	struct luks_slot slots[LUKS_SLOTS];
};

bool luks_head_probe(const uint8_t *raw, size_t len);

/* Checks every field, and that key material lies apart, before the payload; -EINVAL, -ENOTSUP. */
int luks_head_parse(const uint8_t raw[LUKS_HEAD_BYTES], struct luks_head *ret_head, struct err *e);
void luks_head_build(const struct luks_head *h, uint8_t raw[LUKS_HEAD_BYTES]);

/* Sectors of a slot's key material, to pages as every writer places it. */
uint32_t luks_material_sectors(uint32_t key_bytes);
/* Places slots and payload as cryptsetup does; all slots inactive. */
void luks_head_lay_out(struct luks_head *h);

#endif
