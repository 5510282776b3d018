#include "disk/luks_crypt.h"

#include <errno.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/endian.h"
#include "base/mem.h"
#include "base/str.h"

#define SECTOR 512
#define IV     16

const char *const luks_ciphers[] = {"aes-128", "aes-192", "aes-256", NULL};
const char *const luks_modes[] = {"xts", "cbc", NULL};
const char *const luks_ivgens[] = {"plain64", "plain", "essiv", NULL};
const char *const luks_hashes[] = {"sha256", "sha1",      "sha224", "sha384",
				   "sha512", "ripemd160", NULL};

static const unsigned key_bits[] = {128, 192, 256};

static const EVP_MD *digest(unsigned hash)
{
	switch (hash) {
	case 1:
		return EVP_sha1();
	case 2:
		return EVP_sha224();
	case 3:
		return EVP_sha384();
	case 4:
		return EVP_sha512();
	case 5:
		return EVP_ripemd160();
	default:
		return EVP_sha256();
	}
}

/* Index of a name; the list's length where it is not there. */
static unsigned index_of(const char *const *names, const char *name)
{
	unsigned i = 0;

	while (names[i] && !str_eq(names[i], name))
		i++;
	return i;
}

static int unknown(struct err *e, const char *what, const char *name)
{
	return err_set(e, ERR_UNSUPPORTED, -ENOTSUP, "LUKS: %s '%s' is not supported", what, name);
}

/* MODE-IVGEN[:HASH] */
static int parse_mode(const char *text, struct luks_spec *s, struct err *e)
{
	char copy[32], *ivgen, *hash;

	snprintf(copy, sizeof(copy), "%s", text);
	ivgen = strchr(copy, '-');
	if (!ivgen)
		return unknown(e, "cipher mode", text);
	*ivgen++ = '\0';
	hash = strchr(ivgen, ':');
	if (hash)
		*hash++ = '\0';
	s->mode = index_of(luks_modes, copy);
	s->ivgen = index_of(luks_ivgens, ivgen);
	s->ivgen_hash = hash ? index_of(luks_hashes, hash) : 0;
	if (!luks_modes[s->mode] || !luks_ivgens[s->ivgen] || !luks_hashes[s->ivgen_hash] ||
	    (s->ivgen == LUKS_ESSIV && !hash))
		return unknown(e, "cipher mode", text);
	return 0;
}

int luks_spec_parse(const struct luks_head *h, struct luks_spec *ret_spec, struct err *e)
{
	struct luks_spec s = {0};
	int rc;

	if (!str_eq(h->cipher, "aes"))
		return unknown(e, "cipher", h->cipher);
	rc = parse_mode(h->mode, &s, e);
	if (rc < 0)
		return rc;
	s.hash = index_of(luks_hashes, h->hash);
	if (!luks_hashes[s.hash])
		return unknown(e, "hash", h->hash);
	for (s.cipher = 0; s.cipher < ARRAY_SIZE(key_bits); s.cipher++)
		if (h->key_bytes == key_bits[s.cipher] / 8 * (s.mode == LUKS_XTS ? 2 : 1) &&
		    !(s.mode == LUKS_XTS && key_bits[s.cipher] == 192)) {
			*ret_spec = s;
			return 0;
		}
	return err_set(e, ERR_UNSUPPORTED, -ENOTSUP,
		       "LUKS: a key of %u bytes is not supported for mode '%s'", h->key_bytes,
		       h->mode);
}

void luks_spec_build(const struct luks_spec *s, struct luks_head *h)
{
	bool essiv = s->ivgen == LUKS_ESSIV;

	strcpy(h->cipher, "aes");
	snprintf(h->mode, sizeof(h->mode), "%s-%s%s%s", luks_modes[s->mode], luks_ivgens[s->ivgen],
		 essiv ? ":" : "", essiv ? luks_hashes[s->ivgen_hash] : "");
	snprintf(h->hash, sizeof(h->hash), "%s", luks_hashes[s->hash]);
	h->key_bytes = key_bits[s->cipher] / 8 * (s->mode == LUKS_XTS ? 2 : 1);
}

/* --- sectors --- */

static const EVP_CIPHER *cipher_of(const struct luks_spec *s)
{
	if (s->mode == LUKS_XTS)
		return s->cipher == 0 ? EVP_aes_128_xts() : EVP_aes_256_xts();
	return s->cipher == 0   ? EVP_aes_128_cbc()
	       : s->cipher == 1 ? EVP_aes_192_cbc()
				: EVP_aes_256_cbc();
}

/* ESSIV: the number is encrypted with the key's hash as a key. */
static int init_essiv(struct luks_cipher *c, const struct luks_spec *s, const uint8_t *key,
		      size_t key_len)
{
	uint8_t hashed[EVP_MAX_MD_SIZE];
	unsigned len;
	const EVP_CIPHER *ecb;
	int rc = 0;

	if (!EVP_Digest(key, key_len, hashed, &len, digest(s->ivgen_hash), NULL))
		return -EIO;
	ecb = len >= 32 ? EVP_aes_256_ecb() : len >= 24 ? EVP_aes_192_ecb() : EVP_aes_128_ecb();
	c->essiv = EVP_CIPHER_CTX_new();
	if (!c->essiv || !EVP_EncryptInit_ex(c->essiv, ecb, NULL, hashed, NULL) ||
	    !EVP_CIPHER_CTX_set_padding(c->essiv, 0))
		rc = -EIO;
	OPENSSL_cleanse(hashed, sizeof(hashed));
	return rc;
}

int luks_cipher_init(struct luks_cipher *c, const struct luks_spec *s, const uint8_t *key,
		     size_t key_len)
{
	*c = (struct luks_cipher){.ivgen = s->ivgen};
	c->encrypt = EVP_CIPHER_CTX_new();
	c->decrypt = EVP_CIPHER_CTX_new();
	if (!c->encrypt || !c->decrypt ||
	    !EVP_EncryptInit_ex(c->encrypt, cipher_of(s), NULL, key, NULL) ||
	    !EVP_DecryptInit_ex(c->decrypt, cipher_of(s), NULL, key, NULL) ||
	    !EVP_CIPHER_CTX_set_padding(c->encrypt, 0) ||
	    !EVP_CIPHER_CTX_set_padding(c->decrypt, 0))
		return -EIO;
	return s->ivgen == LUKS_ESSIV ? init_essiv(c, s, key, key_len) : 0;
}

void luks_cipher_done(struct luks_cipher *c)
{
	EVP_CIPHER_CTX_free(c->encrypt);
	EVP_CIPHER_CTX_free(c->decrypt);
	EVP_CIPHER_CTX_free(c->essiv);
	*c = (struct luks_cipher){0};
}

static int make_iv(const struct luks_cipher *c, EVP_CIPHER_CTX *essiv, uint64_t sector,
		   uint8_t iv[IV])
{
	int len;

	memset(iv, 0, IV);
	put_le64(iv, c->ivgen == LUKS_PLAIN ? (uint32_t)sector : sector);
	return !essiv || EVP_EncryptUpdate(essiv, iv, &len, iv, IV) ? 0 : -EIO;
}

static int run(const struct luks_cipher *c, EVP_CIPHER_CTX *x, EVP_CIPHER_CTX *essiv,
	       uint64_t sector, uint8_t *buf, size_t len)
{
	for (; len; sector++, buf += SECTOR, len -= SECTOR) {
		uint8_t iv[IV];
		int n;

		if (make_iv(c, essiv, sector, iv) < 0 ||
		    !EVP_CipherInit_ex(x, NULL, NULL, NULL, iv, -1) ||
		    !EVP_CipherUpdate(x, buf, &n, buf, SECTOR))
			return -EIO;
	}
	return 0;
}

int luks_cipher_run(const struct luks_cipher *c, bool encrypt, uint64_t sector, uint8_t *buf,
		    size_t len)
{
	/* Copies, because the templates are shared by threads. */
	EVP_CIPHER_CTX *x = EVP_CIPHER_CTX_new(), *essiv = c->essiv ? EVP_CIPHER_CTX_new() : NULL;
	int rc = -EIO;

	if (x && EVP_CIPHER_CTX_copy(x, encrypt ? c->encrypt : c->decrypt) &&
	    (!c->essiv || (essiv && EVP_CIPHER_CTX_copy(essiv, c->essiv))))
		rc = run(c, x, essiv, sector, buf, len);
	EVP_CIPHER_CTX_free(x);
	EVP_CIPHER_CTX_free(essiv);
	return rc;
}

/* --- anti-forensic splitter (section 2.4) --- */

/* Replaces each piece, as long as the hash, by the hash of its number and itself. */
static int diffuse(const EVP_MD *md, EVP_MD_CTX *x, uint8_t *block, size_t len)
{
	size_t size = EVP_MD_get_size(md);
	uint8_t hashed[EVP_MAX_MD_SIZE], number[4];

	for (size_t at = 0; at < len; at += size) {
		size_t n = MIN(size, len - at);

		put_be32(number, at / size);
		if (!EVP_DigestInit_ex(x, md, NULL) || !EVP_DigestUpdate(x, number, 4) ||
		    !EVP_DigestUpdate(x, block + at, n) || !EVP_DigestFinal_ex(x, hashed, NULL))
			return -EIO;
		memcpy(block + at, hashed, n);
	}
	return 0;
}

/* Folds all stripes but the last into block. */
static int fold(unsigned hash, const uint8_t *stripes, size_t len, uint8_t *block)
{
	EVP_MD_CTX *x = EVP_MD_CTX_new();
	int rc = x ? 0 : -ENOMEM;

	memset(block, 0, len);
	for (unsigned i = 0; i < LUKS_STRIPES - 1 && !rc; i++) {
		for (size_t j = 0; j < len; j++)
			block[j] ^= stripes[i * len + j];
		rc = diffuse(digest(hash), x, block, len);
	}
	EVP_MD_CTX_free(x);
	return rc;
}

int luks_af_split(unsigned hash, const uint8_t *key, size_t len, uint8_t *stripes)
{
	uint8_t *last = stripes + (LUKS_STRIPES - 1) * len, block[LUKS_KEY_MAX];
	int rc;

	if (RAND_bytes(stripes, (LUKS_STRIPES - 1) * len) != 1)
		return -EIO;
	rc = fold(hash, stripes, len, block);
	for (size_t j = 0; j < len; j++)
		last[j] = block[j] ^ key[j];
	OPENSSL_cleanse(block, sizeof(block));
	return rc;
}

int luks_af_merge(unsigned hash, const uint8_t *stripes, size_t len, uint8_t *ret_key)
{
	const uint8_t *last = stripes + (LUKS_STRIPES - 1) * len;
	uint8_t block[LUKS_KEY_MAX];
	int rc = fold(hash, stripes, len, block);

	for (size_t j = 0; j < len; j++)
		ret_key[j] = block[j] ^ last[j];
	OPENSSL_cleanse(block, sizeof(block));
	return rc;
}

/* --- PBKDF2 --- */

int luks_pbkdf2(unsigned hash, const uint8_t *pass, size_t pass_len, const uint8_t *salt,
		uint32_t iterations, uint8_t *ret_key, size_t len)
{
	return PKCS5_PBKDF2_HMAC((const char *)pass, pass_len, salt, LUKS_SALT, iterations,
				 digest(hash), len, ret_key)
		   ? 0
		   : -EIO;
}

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int luks_pbkdf2_rounds(unsigned hash, size_t len, uint64_t ms, uint32_t *ret_rounds)
{
	static const uint8_t salt[LUKS_SALT];
	uint8_t key[LUKS_KEY_MAX];
	uint64_t rounds = 1 << 13, ns = 0;

	/* Enough of them that the clock's grain does not matter. */
	for (; ns < 20000000 && rounds < LUKS_ITERATIONS_MAX; rounds *= 2) {
		uint64_t begin = cpu_ns();
		int rc = luks_pbkdf2(hash, salt, 8, salt, rounds, key, len);

		if (rc < 0)
			return rc;
		ns = MAX(cpu_ns() - begin, (uint64_t)1);
	}
	rounds = (double)rounds / 2 * 1e6 / ns * ms;
	*ret_rounds = MAX(MIN(rounds, (uint64_t)LUKS_ITERATIONS_MAX), (uint64_t)1000);
	return 0;
}
