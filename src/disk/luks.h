/* LUKS as a payload filter: the header lies in an area that the caller provides (the start of a file
 * for the format `luks`, clusters of its own for qcow2), the payload anywhere; sectors of 512 bytes,
 * numbered by their offset in the caller's address space. Knows no node. Threads: en- and decryption
 * may run on several (co_call()); the rest is the context's. */
#ifndef DISK_LUKS_H
#define DISK_LUKS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "disk/co.h"
#include "disk/opts.h"

#define DISK_LUKS_SECTOR 512

struct disk_luks;

/* Where the header lies. [waits]; 0 or a negative errno. */
struct disk_luks_area {
	/* Create only: the header will take len bytes; may be NULL. */
	int (*reserve)(void *arg, uint64_t len);
	int (*read)(void *arg, uint64_t offset, void *buf, size_t len);
	int (*write)(void *arg, uint64_t offset, const void *buf, size_t len);
	void *arg;
};

/* Keys of creation without prefix: key-secret, cipher-alg, cipher-mode, ivgen-alg, ivgen-hash-alg,
 * hash-alg, iter-time. A format that has them under "encrypt." strips that. */
extern const struct disk_opt disk_luks_create_opts[];

/* [waits] Writes a new header; takes its keys out of o. */
int disk_luks_create(struct disk_ctx *ctx, const struct disk_luks_area *area, json_t *o,
		     struct err *e);
/* Bytes that the header of such options takes. */
int disk_luks_measure(struct disk_ctx *ctx, json_t *o, uint64_t *ret_header_len, struct err *e);

/* [waits] Reads the header and, with key-secret in o (taken out), unlocks it. locked: without a key;
 * then only disk_luks_info() works. */
int disk_luks_open(struct disk_ctx *ctx, const struct disk_luks_area *area, json_t *o, bool locked,
		   struct disk_luks **ret_luks, struct err *e);
void disk_luks_free(struct disk_luks *l); /* wipes the key; NULL is fine */

/* In place; offset and len are multiples of DISK_LUKS_SECTOR. */
int disk_luks_encrypt(struct disk_luks *l, uint64_t offset, void *buf, size_t len);
int disk_luks_decrypt(struct disk_luks *l, uint64_t offset, void *buf, size_t len);

/* Bytes before the payload, where header and payload lie in one file. */
uint64_t disk_luks_payload_offset(const struct disk_luks *l);
/* QEMU's QCryptoBlockInfoLUKS, owned. */
json_t *disk_luks_info(const struct disk_luks *l);
/* [waits] Key slots, QEMU's keys: state, new-secret, old-secret, keyslot, iter-time. */
int disk_luks_amend(struct disk_luks *l, const struct disk_luks_area *area, json_t *o, bool force,
		    struct err *e);

#endif
