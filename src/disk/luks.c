/* LUKS1 volumes: creating, unlocking, key slots. Each slot holds the master key, encrypted by a key that
 * PBKDF2 makes of a passphrase, in stripes that are useless unless all of them are there. */
#include "disk/luks.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "disk/luks_crypt.h"
#include "disk/luks_head.h"
#include "disk/uuid.h"

#define ITER_TIME_MS     2000
#define ITER_TIME_MS_MAX 3600000
/* The digest proves a key that is random already: an eighth will do, as with cryptsetup. */
#define DIGEST_SHARE      8
#define DIGEST_ROUNDS_MIN 1000

struct disk_luks {
	struct disk_ctx *ctx;
	struct luks_head head;
	struct luks_spec spec;
	uint8_t key[LUKS_KEY_MAX]; /* the master key, once unlocked */
	bool unlocked;
	struct luks_cipher cipher;
};

const struct disk_opt disk_luks_create_opts[] = {
    {"key-secret", DISK_OPT_STRING, "ID of the secret that provides the keyslot passphrase", NULL},
    {"cipher-alg", DISK_OPT_STRING, "Name of encryption cipher algorithm", NULL},
    {"cipher-mode", DISK_OPT_STRING, "Name of encryption cipher mode", NULL},
    {"ivgen-alg", DISK_OPT_STRING, "Name of IV generator algorithm", NULL},
    {"ivgen-hash-alg", DISK_OPT_STRING, "Name of IV generator hash algorithm", NULL},
    {"hash-alg", DISK_OPT_STRING, "Name of encryption hash algorithm", NULL},
    {"iter-time", DISK_OPT_NUMBER, "Time to spend in PBKDF in milliseconds", NULL},
    {0},
};

/* --- work for other threads --- */

struct kdf {
	const struct luks_spec *spec;
	const uint8_t *pass;
	size_t pass_len;
	const uint8_t *salt;
	uint32_t iterations;
	uint8_t *key;
	size_t len;
	uint64_t ms; /* of rounds to count; 0: derive */
	uint32_t *ret_rounds;
};

static int run_kdf(void *arg)
{
	struct kdf *k = arg;

	if (k->ms)
		return luks_pbkdf2_rounds(k->spec->hash, k->len, k->ms, k->ret_rounds);
	return luks_pbkdf2(k->spec->hash, k->pass, k->pass_len, k->salt, k->iterations, k->key,
			   k->len);
}

static int derive(struct disk_luks *l, const uint8_t *pass, size_t pass_len, const uint8_t *salt,
		  uint32_t iterations, uint8_t *ret_key, size_t len)
{
	struct kdf k = {.spec = &l->spec,
			.pass = pass,
			.pass_len = pass_len,
			.salt = salt,
			.iterations = iterations,
			.key = ret_key,
			.len = len};

	return co_call(l->ctx, run_kdf, &k);
}

static int count_rounds(struct disk_luks *l, uint64_t ms, size_t len, uint32_t *ret_rounds)
{
	struct kdf k = {.spec = &l->spec, .len = len, .ms = ms, .ret_rounds = ret_rounds};

	return co_call(l->ctx, run_kdf, &k);
}

/* --- key slots --- */

static size_t material_len(const struct disk_luks *l)
{
	return (size_t)l->head.key_bytes * LUKS_STRIPES;
}

/* The material is encrypted by whole sectors. */
static size_t material_room(const struct disk_luks *l)
{
	return (material_len(l) + DISK_LUKS_SECTOR - 1) / DISK_LUKS_SECTOR * DISK_LUKS_SECTOR;
}

static int crypt_material(struct disk_luks *l, bool encrypt, const uint8_t *key, uint8_t *material)
{
	struct luks_cipher c;
	int rc = luks_cipher_init(&c, &l->spec, key, l->head.key_bytes);

	if (!rc)
		rc = luks_cipher_run(&c, encrypt, 0, material, material_room(l));
	luks_cipher_done(&c);
	return rc;
}

static int proves(struct disk_luks *l, const uint8_t *key)
{
	uint8_t digest[LUKS_DIGEST];
	int rc = derive(l, key, l->head.key_bytes, l->head.digest_salt, l->head.digest_iterations,
			digest, sizeof(digest));

	return rc < 0 ? rc : !CRYPTO_memcmp(digest, l->head.digest, sizeof(digest));
}

/* Does the passphrase open this slot? 1 and the master key, 0, or a negative errno. */
static int try_slot(struct disk_luks *l, const struct disk_luks_area *area, unsigned i,
		    const uint8_t *pass, size_t pass_len, uint8_t *ret_key)
{
	const struct luks_slot *s = &l->head.slots[i];
	_free_ uint8_t *material = NULL;
	uint8_t key[LUKS_KEY_MAX];
	int rc;

	if (!s->active)
		return 0;
	material = mem_alloc(material_room(l));
	rc = area->read(area->arg, (uint64_t)s->material_offset * DISK_LUKS_SECTOR, material,
			material_room(l));
	if (!rc)
		rc = derive(l, pass, pass_len, s->salt, s->iterations, key, l->head.key_bytes);
	if (!rc)
		rc = crypt_material(l, false, key, material);
	if (!rc)
		rc = luks_af_merge(l->spec.hash, material, l->head.key_bytes, ret_key);
	if (!rc)
		rc = proves(l, ret_key);
	OPENSSL_cleanse(key, sizeof(key));
	OPENSSL_cleanse(material, material_room(l));
	return rc;
}

static int write_head(struct disk_luks *l, const struct disk_luks_area *area)
{
	uint8_t *raw = mem_alloc(LUKS_HEAD_BYTES);
	int rc;

	luks_head_build(&l->head, raw);
	rc = area->write(area->arg, 0, raw, LUKS_HEAD_BYTES);
	free(raw);
	return rc;
}

/* Puts the master key into a slot: material first, then the header that calls it active. */
static int fill_slot(struct disk_luks *l, const struct disk_luks_area *area, unsigned i,
		     const uint8_t *pass, size_t pass_len, uint64_t ms)
{
	struct luks_slot *s = &l->head.slots[i];
	_free_ uint8_t *material = mem_alloc(material_room(l));
	uint8_t key[LUKS_KEY_MAX];
	int rc = count_rounds(l, ms, l->head.key_bytes, &s->iterations);

	if (!rc && RAND_bytes(s->salt, LUKS_SALT) != 1)
		rc = -EIO;
	if (!rc)
		rc = derive(l, pass, pass_len, s->salt, s->iterations, key, l->head.key_bytes);
	if (!rc)
		rc = luks_af_split(l->spec.hash, l->key, l->head.key_bytes, material);
	if (!rc)
		rc = crypt_material(l, true, key, material);
	if (!rc)
		rc = area->write(area->arg, (uint64_t)s->material_offset * DISK_LUKS_SECTOR,
				 material, material_room(l));
	OPENSSL_cleanse(key, sizeof(key));
	OPENSSL_cleanse(material, material_room(l));
	if (rc < 0)
		return rc;
	s->active = true;
	return write_head(l, area);
}

/* Header first: what is half overwritten must not count as a key. */
static int erase_slot(struct disk_luks *l, const struct disk_luks_area *area, unsigned i)
{
	struct luks_slot *s = &l->head.slots[i];
	_free_ uint8_t *noise = mem_alloc(material_room(l));
	int rc;

	s->active = false;
	s->iterations = 0;
	memset(s->salt, 0, sizeof(s->salt));
	rc = write_head(l, area);
	if (!rc && RAND_bytes(noise, material_room(l)) != 1)
		rc = -EIO;
	return rc < 0 ? rc
		      : area->write(area->arg, (uint64_t)s->material_offset * DISK_LUKS_SECTOR,
				    noise, material_room(l));
}

/* --- options --- */

static int take_secret(struct disk_ctx *ctx, json_t *o, const char *key, const uint8_t **ret_pass,
		       size_t *ret_len, struct err *e)
{
	_free_ char *id = NULL;
	int rc = disk_opts_take_str(o, key, &id, e);

	if (rc <= 0)
		return rc;
	*ret_pass = disk_ctx_secret(ctx, id, ret_len);
	if (!*ret_pass)
		return err_set(e, ERR_DISK_OPTION, -EINVAL, "No secret with id '%s'", id);
	return 1;
}

static int take_name(json_t *o, const char *key, const char *const *names, unsigned *ret,
		     struct err *e)
{
	int rc = disk_opts_take_enum(o, key, names, ret, e);

	return rc < 0 ? rc : 0;
}

static int take_spec(json_t *o, struct luks_spec *s, struct err *e)
{
	int rc;

	*s = (struct luks_spec){.cipher = 2};
	rc = take_name(o, "cipher-alg", luks_ciphers, &s->cipher, e);
	if (!rc)
		rc = take_name(o, "cipher-mode", luks_modes, &s->mode, e);
	if (!rc)
		rc = take_name(o, "ivgen-alg", luks_ivgens, &s->ivgen, e);
	if (!rc)
		rc = take_name(o, "ivgen-hash-alg", luks_hashes, &s->ivgen_hash, e);
	if (!rc)
		rc = take_name(o, "hash-alg", luks_hashes, &s->hash, e);
	if (!rc && s->mode == LUKS_XTS && s->cipher == 1)
		rc = err_set(e, ERR_DISK_OPTION, -EINVAL, "XTS mode has no 'aes-192'");
	return rc;
}

static int take_iter_time(json_t *o, uint64_t *ret_ms, struct err *e)
{
	int rc = disk_opts_take_u64(o, "iter-time", ret_ms, e);

	if (rc >= 0 && (!*ret_ms || *ret_ms > ITER_TIME_MS_MAX))
		return err_set(e, ERR_DISK_OPTION, -EINVAL,
			       "'iter-time' must be from 1 to %u milliseconds", ITER_TIME_MS_MAX);
	return rc < 0 ? rc : 0;
}

/* --- create --- */

static int new_master_key(struct disk_luks *l, uint64_t ms)
{
	uint32_t rounds;
	uint8_t uuid[16];
	int rc;

	if (RAND_bytes(l->key, l->head.key_bytes) != 1 ||
	    RAND_bytes(l->head.digest_salt, LUKS_SALT) != 1)
		return -EIO;
	l->unlocked = true;
	uuid_new(uuid);
	snprintf(l->head.uuid, sizeof(l->head.uuid),
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", uuid[0],
		 uuid[1], uuid[2], uuid[3], uuid[4], uuid[5], uuid[6], uuid[7], uuid[8], uuid[9],
		 uuid[10], uuid[11], uuid[12], uuid[13], uuid[14], uuid[15]);
	rc = count_rounds(l, ms, LUKS_DIGEST, &rounds);
	if (rc < 0)
		return rc;
	rounds /= DIGEST_SHARE;
	l->head.digest_iterations = rounds < DIGEST_ROUNDS_MIN ? DIGEST_ROUNDS_MIN : rounds;
	return derive(l, l->key, l->head.key_bytes, l->head.digest_salt, l->head.digest_iterations,
		      l->head.digest, LUKS_DIGEST);
}

int disk_luks_create(struct disk_ctx *ctx, const struct disk_luks_area *area, json_t *o,
		     struct err *e)
{
	struct disk_luks *l = mem_alloc(sizeof(*l));
	const uint8_t *pass;
	size_t pass_len;
	uint64_t ms = ITER_TIME_MS;
	int rc;

	l->ctx = ctx;
	rc = take_secret(ctx, o, "key-secret", &pass, &pass_len, e);
	if (!rc)
		rc = err_set(e, ERR_DISK_OPTION, -EINVAL,
			     "Parameter 'key-secret' is required for cipher");
	if (rc > 0)
		rc = take_spec(o, &l->spec, e);
	if (!rc)
		rc = take_iter_time(o, &ms, e);
	if (rc < 0)
		goto out;
	luks_spec_build(&l->spec, &l->head);
	luks_head_lay_out(&l->head);
	if (area->reserve)
		rc = area->reserve(area->arg, disk_luks_payload_offset(l));
	if (!rc)
		rc = new_master_key(l, ms);
	if (!rc)
		rc = fill_slot(l, area, 0, pass, pass_len, ms);
	if (rc < 0)
		err_set(e, ERR_DISK_IO, rc, "writing the LUKS header failed: %s", strerror(-rc));
out:
	disk_luks_free(l);
	return rc;
}

int disk_luks_measure(struct disk_ctx *ctx, json_t *o, uint64_t *ret_header_len, struct err *e)
{
	struct luks_head h = {0};
	struct luks_spec s;
	int rc = take_spec(o, &s, e);

	if (rc < 0)
		return rc;
	luks_spec_build(&s, &h);
	luks_head_lay_out(&h);
	*ret_header_len = (uint64_t)h.payload_offset * DISK_LUKS_SECTOR;
	return 0;
}

/* --- open --- */

static int unlock(struct disk_luks *l, const struct disk_luks_area *area, json_t *o, struct err *e)
{
	const uint8_t *pass;
	size_t pass_len;
	int rc = take_secret(l->ctx, o, "key-secret", &pass, &pass_len, e);

	if (rc < 0)
		return rc;
	if (!rc)
		return err_set(e, ERR_DISK_OPTION, -EINVAL,
			       "Parameter 'key-secret' is required for cipher");
	rc = 0;
	for (unsigned i = 0; i < LUKS_SLOTS && !rc; i++)
		rc = try_slot(l, area, i, pass, pass_len, l->key);
	if (!rc)
		return err_set(e, ERR_DENIED, -EPERM,
			       "Invalid password, cannot unlock any keyslot");
	if (rc > 0) {
		l->unlocked = true;
		rc = luks_cipher_init(&l->cipher, &l->spec, l->key, l->head.key_bytes);
	}
	return rc < 0 ? err_set(e, ERR_DISK_IO, rc, "unlocking the LUKS volume failed: %s",
				strerror(-rc))
		      : 0;
}

int disk_luks_open(struct disk_ctx *ctx, const struct disk_luks_area *area, json_t *o, bool locked,
		   struct disk_luks **ret_luks, struct err *e)
{
	struct disk_luks *l = mem_alloc(sizeof(*l));
	uint8_t *raw = mem_alloc(LUKS_HEAD_BYTES);
	_free_ char *unused = NULL;
	int rc;

	l->ctx = ctx;
	rc = area->read(area->arg, 0, raw, LUKS_HEAD_BYTES);
	if (rc < 0)
		err_set(e, ERR_DISK_IO, rc, "Unable to read LUKS header: %s", strerror(-rc));
	else
		rc = luks_head_parse(raw, &l->head, e);
	free(raw);
	if (!rc)
		rc = luks_spec_parse(&l->head, &l->spec, e);
	if (!rc)
		rc = locked ? disk_opts_take_str(o, "key-secret", &unused, e)
			    : unlock(l, area, o, e);
	if (rc < 0) {
		disk_luks_free(l);
		return rc;
	}
	*ret_luks = l;
	return 0;
}

void disk_luks_free(struct disk_luks *l)
{
	if (!l)
		return;
	luks_cipher_done(&l->cipher);
	OPENSSL_cleanse(l, sizeof(*l));
	free(l);
}

static int run(struct disk_luks *l, bool encrypt, uint64_t offset, void *buf, size_t len)
{
	if (!l->unlocked)
		return -EPERM;
	return luks_cipher_run(&l->cipher, encrypt, offset / DISK_LUKS_SECTOR, buf, len);
}

int disk_luks_encrypt(struct disk_luks *l, uint64_t offset, void *buf, size_t len)
{
	return run(l, true, offset, buf, len);
}

int disk_luks_decrypt(struct disk_luks *l, uint64_t offset, void *buf, size_t len)
{
	return run(l, false, offset, buf, len);
}

uint64_t disk_luks_payload_offset(const struct disk_luks *l)
{
	return (uint64_t)l->head.payload_offset * DISK_LUKS_SECTOR;
}

/* --- info --- */

json_t *disk_luks_info(const struct disk_luks *l)
{
	json_t *info = json_object(), *slots = json_array();

	json_object_set_new(info, "ivgen-alg", json_string(luks_ivgens[l->spec.ivgen]));
	if (l->spec.ivgen == LUKS_ESSIV)
		json_object_set_new(info, "ivgen-hash-alg",
				    json_string(luks_hashes[l->spec.ivgen_hash]));
	json_object_set_new(info, "hash-alg", json_string(luks_hashes[l->spec.hash]));
	json_object_set_new(info, "cipher-alg", json_string(luks_ciphers[l->spec.cipher]));
	json_object_set_new(info, "uuid", json_string_nocheck(l->head.uuid));
	json_object_set_new(info, "cipher-mode", json_string(luks_modes[l->spec.mode]));
	for (unsigned i = 0; i < LUKS_SLOTS; i++) {
		const struct luks_slot *s = &l->head.slots[i];
		json_t *j = json_pack("{s:b}", "active", s->active);

		if (s->active)
			json_object_set_new(j, "iters", json_integer(s->iterations));
		json_object_set_new(
		    j, "key-offset",
		    json_integer((json_int_t)s->material_offset * DISK_LUKS_SECTOR));
		if (s->active)
			json_object_set_new(j, "stripes", json_integer(s->stripes));
		json_array_append_new(slots, j);
	}
	json_object_set_new(info, "slots", slots);
	json_object_set_new(info, "payload-offset",
			    json_integer((json_int_t)disk_luks_payload_offset(l)));
	json_object_set_new(info, "master-key-iters", json_integer(l->head.digest_iterations));
	return info;
}

/* --- amend --- */

struct change {
	unsigned activate; /* index of states[] */
	const uint8_t *new_pass, *old_pass;
	size_t new_len, old_len;
	bool has_new, has_old, has_slot;
	uint64_t slot, ms;
};

static int take_change(struct disk_luks *l, json_t *o, struct change *c, struct err *e)
{
	static const char *const states[] = {"active", "inactive", NULL};
	int rc = disk_opts_take_enum(o, "state", states, &c->activate, e);

	if (!rc)
		return err_set(e, ERR_DISK_OPTION, -EINVAL, "Parameter 'state' is missing");
	c->ms = ITER_TIME_MS;
	if (rc > 0)
		rc = take_secret(l->ctx, o, "new-secret", &c->new_pass, &c->new_len, e);
	c->has_new = rc > 0;
	if (rc >= 0)
		rc = take_secret(l->ctx, o, "old-secret", &c->old_pass, &c->old_len, e);
	c->has_old = rc > 0;
	if (rc >= 0)
		rc = disk_opts_take_u64(o, "keyslot", &c->slot, e);
	c->has_slot = rc > 0;
	if (rc >= 0)
		rc = take_iter_time(o, &c->ms, e);
	if (rc < 0)
		return rc;
	if (c->has_slot && c->slot >= LUKS_SLOTS)
		return err_set(e, ERR_DISK_OPTION, -EINVAL,
			       "Invalid keyslot %" PRIu64 ". Keyslot must be between 0 and %u",
			       c->slot, LUKS_SLOTS - 1);
	return 0;
}

static unsigned count_active(const struct disk_luks *l)
{
	unsigned n = 0;

	for (unsigned i = 0; i < LUKS_SLOTS; i++)
		n += l->head.slots[i].active;
	return n;
}

static int activate(struct disk_luks *l, const struct disk_luks_area *area, struct change *c,
		    bool force, struct err *e)
{
	if (!c->has_new)
		return err_set(e, ERR_DISK_OPTION, -EINVAL,
			       "'new-secret' is required to activate a keyslot");
	if (c->has_old)
		return err_set(e, ERR_DISK_OPTION, -EINVAL,
			       "'old-secret' must not be given when activating keyslots");
	if (c->has_slot && l->head.slots[c->slot].active && !force)
		return err_set(e, ERR_DISK_OPTION, -EINVAL,
			       "Refusing to overwrite active keyslot %" PRIu64
			       " - please erase it first",
			       c->slot);
	if (!c->has_slot) {
		c->slot = 0;
		while (c->slot < LUKS_SLOTS && l->head.slots[c->slot].active)
			c->slot++;
		if (c->slot == LUKS_SLOTS)
			return err_set(e, ERR_DISK_OPTION, -EINVAL,
				       "Can't add a keyslot - all keyslots are in use");
	}
	int rc = fill_slot(l, area, c->slot, c->new_pass, c->new_len, c->ms);

	return rc < 0 ? err_set(e, ERR_DISK_IO, rc, "Failed to write to keyslot %" PRIu64 ": %s",
				c->slot, strerror(-rc))
		      : 0;
}

/* Which slots the old passphrase opens: a bit each, or a negative errno. */
static int matching(struct disk_luks *l, const struct disk_luks_area *area, const struct change *c)
{
	uint8_t key[LUKS_KEY_MAX];
	int found = 0, rc = 0;

	for (unsigned i = 0; i < LUKS_SLOTS && rc >= 0; i++) {
		if (c->has_slot && i != c->slot)
			continue;
		rc = try_slot(l, area, i, c->old_pass, c->old_len, key);
		if (rc > 0)
			found |= 1 << i;
	}
	OPENSSL_cleanse(key, sizeof(key));
	return rc < 0 ? rc : found;
}

/* The slots to erase, as bits. */
static int choose(struct disk_luks *l, const struct disk_luks_area *area, const struct change *c,
		  struct err *e)
{
	int which;

	if (!c->has_old)
		return 1 << c->slot;
	which = matching(l, area, c);
	if (which < 0)
		return err_set(e, ERR_DISK_IO, which, "reading the keyslots failed: %s",
			       strerror(-which));
	if (!which && c->has_slot)
		return err_set(e, ERR_DISK_OPTION, -EINVAL,
			       "This keyslot %" PRIu64 " doesn't use the supplied old password",
			       c->slot);
	if (!which)
		return err_set(e, ERR_DISK_OPTION, -EINVAL,
			       "No keyslots match given (old) password for erase operation");
	return which;
}

static int deactivate(struct disk_luks *l, const struct disk_luks_area *area,
		      const struct change *c, bool force, struct err *e)
{
	unsigned erased = 0;
	int which, rc = 0;

	if (c->has_new)
		return err_set(e, ERR_DISK_OPTION, -EINVAL,
			       "'new-secret' must not be given when erasing keyslots");
	if (!c->has_slot && !c->has_old)
		return err_set(e, ERR_DISK_OPTION, -EINVAL,
			       "To erase keyslot(s), either their keyslot index or the password "
			       "currently used in them must be given");
	which = choose(l, area, c, e);
	if (which < 0)
		return which;
	for (unsigned i = 0; i < LUKS_SLOTS; i++)
		erased += l->head.slots[i].active && which & 1 << i;
	if (erased && erased == count_active(l) && !force)
		return err_set(
		    e, ERR_DISK_OPTION, -EINVAL,
		    "Attempt to erase the only active keyslot(s), which will erase all the data "
		    "in the image irreversibly - refusing operation");
	for (unsigned i = 0; i < LUKS_SLOTS && !rc; i++)
		if (which & 1 << i)
			rc = erase_slot(l, area, i);
	return rc < 0 ? err_set(e, ERR_DISK_IO, rc, "Failed to erase a keyslot: %s", strerror(-rc))
		      : 0;
}

int disk_luks_amend(struct disk_luks *l, const struct disk_luks_area *area, json_t *o, bool force,
		    struct err *e)
{
	struct change c = {0};
	int rc = take_change(l, o, &c, e);

	if (rc < 0)
		return rc;
	if (!l->unlocked && !c.activate)
		return err_set(e, ERR_DISK_OPTION, -EPERM, "the LUKS volume is not unlocked");
	return c.activate ? deactivate(l, area, &c, force, e) : activate(l, area, &c, force, e);
}
