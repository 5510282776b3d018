/* The cryptography of LUKS1: sectors in AES-XTS or AES-CBC with an IV made of the sector's number, the
 * anti-forensic splitter, and PBKDF2; all over OpenSSL. No I/O. A struct luks_cipher is constant after
 * luks_cipher_init(): any number of threads may use it at once. */
#ifndef DISK_LUKS_CRYPT_H
#define DISK_LUKS_CRYPT_H

#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "disk/luks_head.h"

/* What the names of a header mean, as indexes of the lists below (QEMU's names). */
struct luks_spec {
	unsigned cipher, mode, ivgen, ivgen_hash, hash;
};

extern const char *const luks_ciphers[]; /* "aes-128", "aes-192", "aes-256", NULL */
extern const char *const luks_modes[];   /* "xts", "cbc", NULL */
extern const char *const luks_ivgens[];  /* "plain64", "plain", "essiv", NULL */
extern const char *const luks_hashes[];  /* "sha256", "sha1", …, NULL */

enum luks_mode { LUKS_XTS, LUKS_CBC };
enum luks_ivgen { LUKS_PLAIN64, LUKS_PLAIN, LUKS_ESSIV };

/* -ENOTSUP, by name, for what we do not have. */
int luks_spec_parse(const struct luks_head *h, struct luks_spec *ret_spec, struct err *e);
/* Fills in the names and the length of the key. */
void luks_spec_build(const struct luks_spec *s, struct luks_head *h);

struct luks_cipher {
	EVP_CIPHER_CTX *encrypt, *decrypt; /* templates: with the key, without IV */
	EVP_CIPHER_CTX *essiv;             /* NULL: the IV is the number itself */
	enum luks_ivgen ivgen;
};

/* -EIO where OpenSSL refuses. The caller ends with luks_cipher_done(), also after a failure. */
int luks_cipher_init(struct luks_cipher *c, const struct luks_spec *s, const uint8_t *key,
		     size_t key_len);
void luks_cipher_done(struct luks_cipher *c);

/* In place; len: a multiple of 512; sector: the number of the first. */
int luks_cipher_run(const struct luks_cipher *c, bool encrypt, uint64_t sector, uint8_t *buf,
		    size_t len);

/* "AFSplit" and "AFMerge": stripes has LUKS_STRIPES times len bytes. */
int luks_af_split(unsigned hash, const uint8_t *key, size_t len, uint8_t *stripes);
int luks_af_merge(unsigned hash, const uint8_t *stripes, size_t len, uint8_t *ret_key);

int luks_pbkdf2(unsigned hash, const uint8_t *pass, size_t pass_len, const uint8_t *salt,
		uint32_t iterations, uint8_t *ret_key, size_t len);
/* Rounds that a key of that length takes in ms of this thread's CPU time. */
int luks_pbkdf2_rounds(unsigned hash, size_t len, uint64_t ms, uint32_t *ret_rounds);

#endif
