#include "disk/luks_head.h"

#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"

enum {
	AT_MAGIC = 0,
	AT_VERSION = 6,
	AT_CIPHER = 8,
	AT_MODE = 40,
	AT_HASH = 72,
	AT_PAYLOAD = 104,
	AT_KEY_BYTES = 108,
	AT_DIGEST = 112,
	AT_DIGEST_SALT = 132,
	AT_DIGEST_ITERATIONS = 164,
	AT_UUID = 168,
	AT_SLOTS = 208, /* 8 of 48 bytes */
};

enum { SLOT_ACTIVE = 0, SLOT_ITERATIONS = 4, SLOT_SALT = 8, SLOT_OFFSET = 40, SLOT_STRIPES = 44 };

#define SLOT_BYTES   48
#define ENABLED      0x00ac71f3U
#define DISABLED     0x0000deadU
#define SECTOR       512
#define PAGE_SECTORS 8

static const uint8_t magic[6] = {'L', 'U', 'K', 'S', 0xba, 0xbe};

bool luks_head_probe(const uint8_t *raw, size_t len)
{
	return len >= sizeof(magic) && !memcmp(raw, magic, sizeof(magic));
}

static int malformed(struct err *e, const char *what)
{
	return err_set(e, ERR_DISK_FORMAT, -EINVAL, "LUKS header: %s", what);
}

uint32_t luks_material_sectors(uint32_t key_bytes)
{
	return bits_align_up((key_bytes * LUKS_STRIPES + SECTOR - 1) / SECTOR, PAGE_SECTORS);
}

/* Offsets of 32 bits: sums fit in 64. */
static int check_slot(const struct luks_head *h, unsigned i, struct err *e)
{
	const struct luks_slot *s = &h->slots[i];
	uint64_t len = (h->key_bytes * LUKS_STRIPES + SECTOR - 1) / SECTOR;
	uint64_t end = s->material_offset + len;

	if (s->stripes != LUKS_STRIPES)
		return malformed(e, "a key slot does not have 4000 stripes");
	if ((uint64_t)s->material_offset * SECTOR < LUKS_HEAD_BYTES)
		return malformed(e, "a key slot overlaps the header");
	if (h->payload_offset && end > h->payload_offset)
		return malformed(e, "a key slot overlaps the payload");
	if (s->active && (!s->iterations || s->iterations > LUKS_ITERATIONS_MAX))
		return malformed(e, "a key slot's iteration count is impossible");
	for (unsigned j = 0; j < i; j++) {
		uint64_t other = h->slots[j].material_offset;

		if (s->material_offset < other + len && other < end)
			return malformed(e, "key slots overlap");
	}
	return 0;
}

static int check(const struct luks_head *h, struct err *e)
{
	int rc = 0;

	if (h->cipher[31] || h->mode[31] || h->hash[31])
		return malformed(e, "a name is not terminated");
	if (!h->key_bytes || h->key_bytes > LUKS_KEY_MAX)
		return malformed(e, "the key's length is impossible");
	if ((uint64_t)h->payload_offset * SECTOR < LUKS_HEAD_BYTES)
		return malformed(e, "the payload overlaps the header");
	if (!h->digest_iterations || h->digest_iterations > LUKS_ITERATIONS_MAX)
		return malformed(e, "the iteration count is impossible");
	for (unsigned i = 0; i < LUKS_SLOTS && !rc; i++)
		rc = check_slot(h, i, e);
	return rc;
}

int luks_head_parse(const uint8_t raw[LUKS_HEAD_BYTES], struct luks_head *ret_head, struct err *e)
{
	struct luks_head h = {
	    .payload_offset = get_be32(raw + AT_PAYLOAD),
	    .key_bytes = get_be32(raw + AT_KEY_BYTES),
	    .digest_iterations = get_be32(raw + AT_DIGEST_ITERATIONS),
	};
	int rc;

	if (!luks_head_probe(raw, LUKS_HEAD_BYTES))
		return err_set(e, ERR_DISK_FORMAT, -EINVAL, "Volume is not in LUKS format");
	if (get_be16(raw + AT_VERSION) != 1)
		return err_set(e, ERR_UNSUPPORTED, -ENOTSUP, "LUKS version %u is not supported",
			       get_be16(raw + AT_VERSION));
	memcpy(h.cipher, raw + AT_CIPHER, 32);
	memcpy(h.mode, raw + AT_MODE, 32);
	memcpy(h.hash, raw + AT_HASH, 32);
	memcpy(h.digest, raw + AT_DIGEST, LUKS_DIGEST);
	memcpy(h.digest_salt, raw + AT_DIGEST_SALT, LUKS_SALT);
	memcpy(h.uuid, raw + AT_UUID, sizeof(h.uuid) - 1);
	for (unsigned i = 0; i < LUKS_SLOTS; i++) {
		const uint8_t *p = raw + AT_SLOTS + i * SLOT_BYTES;
		struct luks_slot *s = &h.slots[i];

		if (get_be32(p + SLOT_ACTIVE) != ENABLED && get_be32(p + SLOT_ACTIVE) != DISABLED)
			return malformed(e, "a key slot is neither active nor inactive");
		s->active = get_be32(p + SLOT_ACTIVE) == ENABLED;
		s->iterations = get_be32(p + SLOT_ITERATIONS);
		memcpy(s->salt, p + SLOT_SALT, LUKS_SALT);
		s->material_offset = get_be32(p + SLOT_OFFSET);
		s->stripes = get_be32(p + SLOT_STRIPES);
	}
	rc = check(&h, e);
	if (rc < 0)
		return rc;
	*ret_head = h;
	return 0;
}

void luks_head_build(const struct luks_head *h, uint8_t raw[LUKS_HEAD_BYTES])
{
	memset(raw, 0, LUKS_HEAD_BYTES);
	memcpy(raw + AT_MAGIC, magic, sizeof(magic));
	put_be16(raw + AT_VERSION, 1);
	memcpy(raw + AT_CIPHER, h->cipher, 32);
	memcpy(raw + AT_MODE, h->mode, 32);
	memcpy(raw + AT_HASH, h->hash, 32);
	put_be32(raw + AT_PAYLOAD, h->payload_offset);
	put_be32(raw + AT_KEY_BYTES, h->key_bytes);
	memcpy(raw + AT_DIGEST, h->digest, LUKS_DIGEST);
	memcpy(raw + AT_DIGEST_SALT, h->digest_salt, LUKS_SALT);
	put_be32(raw + AT_DIGEST_ITERATIONS, h->digest_iterations);
	memcpy(raw + AT_UUID, h->uuid, sizeof(h->uuid));
	for (unsigned i = 0; i < LUKS_SLOTS; i++) {
		uint8_t *p = raw + AT_SLOTS + i * SLOT_BYTES;
		const struct luks_slot *s = &h->slots[i];

		put_be32(p + SLOT_ACTIVE, s->active ? ENABLED : DISABLED);
		put_be32(p + SLOT_ITERATIONS, s->iterations);
		memcpy(p + SLOT_SALT, s->salt, LUKS_SALT);
		put_be32(p + SLOT_OFFSET, s->material_offset);
		put_be32(p + SLOT_STRIPES, s->stripes);
	}
}

void luks_head_lay_out(struct luks_head *h)
{
	uint32_t at = PAGE_SECTORS;

	for (unsigned i = 0; i < LUKS_SLOTS; i++) {
		h->slots[i] = (struct luks_slot){.material_offset = at, .stripes = LUKS_STRIPES};
		at += luks_material_sectors(h->key_bytes);
	}
	h->payload_offset = at;
}
