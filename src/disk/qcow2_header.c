/* The header cluster: fixed fields, extensions, the name of the backing file. It is written as one
 * piece, whose first sector has all fields: a cut leaves the old or the new one. */
#include "disk/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/endian.h"
#include "base/str.h"

/* Offsets of the header's fields */
enum {
	H_MAGIC = 0,
	H_VERSION = 4,
	H_BACKING_OFFSET = 8,
	H_BACKING_LEN = 16,
	H_CLUSTER_BITS = 20,
	H_SIZE = 24,
	H_CRYPT = 32,
	H_L1_SIZE = 36,
	H_L1_OFFSET = 40,
	H_REFTABLE_OFFSET = 48,
	H_REFTABLE_CLUSTERS = 56,
	H_SNAPSHOT_COUNT = 60,
	H_SNAPSHOTS_OFFSET = 64,
	H_INCOMPAT = 72,
	H_COMPAT = 80,
	H_AUTOCLEAR = 88,
	H_REFCOUNT_ORDER = 96,
	H_LENGTH = 100,
	H_COMPRESSION = 104,
};

#define EXT_MAX 64 /* extensions of one header */

struct header {
	uint32_t version, backing_len, cluster_bits, crypt, l1_size, reftable_clusters,
	    snapshot_count;
	uint32_t refcount_order, length;
	uint64_t backing_offset, size, l1_offset, reftable_offset, snapshots_offset;
	uint64_t incompat, compat, autoclear;
	uint8_t compression;
};

static int malformed(struct err *e, const char *what)
{
	return err_set(e, ERR_DISK_FORMAT, -EINVAL, "%s", what);
}

static void decode(const uint8_t *b, struct header *h)
{
	*h = (struct header){
	    .version = get_be32(b + H_VERSION),
	    .backing_offset = get_be64(b + H_BACKING_OFFSET),
	    .backing_len = get_be32(b + H_BACKING_LEN),
	    .cluster_bits = get_be32(b + H_CLUSTER_BITS),
	    .size = get_be64(b + H_SIZE),
	    .crypt = get_be32(b + H_CRYPT),
	    .l1_size = get_be32(b + H_L1_SIZE),
	    .l1_offset = get_be64(b + H_L1_OFFSET),
	    .reftable_offset = get_be64(b + H_REFTABLE_OFFSET),
	    .reftable_clusters = get_be32(b + H_REFTABLE_CLUSTERS),
	    .snapshot_count = get_be32(b + H_SNAPSHOT_COUNT),
	    .snapshots_offset = get_be64(b + H_SNAPSHOTS_OFFSET),
	    .refcount_order = 4,
	    .length = QCOW2_HEADER_V2,
	};
	if (h->version < 3)
		return;
	h->incompat = get_be64(b + H_INCOMPAT);
	h->compat = get_be64(b + H_COMPAT);
	h->autoclear = get_be64(b + H_AUTOCLEAR);
	h->refcount_order = get_be32(b + H_REFCOUNT_ORDER);
	h->length = get_be32(b + H_LENGTH);
	if (h->length > H_COMPRESSION)
		h->compression = b[H_COMPRESSION];
}

/* --- reading --- */

static int check_geometry(const struct header *h, struct err *e)
{
	if (h->cluster_bits < QCOW2_CLUSTER_BITS_MIN || h->cluster_bits > QCOW2_CLUSTER_BITS_MAX)
		return err_set(e, ERR_DISK_FORMAT, -EINVAL, "Unsupported cluster size: 2^%u",
			       h->cluster_bits);
	if (h->version >= 3 && h->length < QCOW2_HEADER_V3)
		return malformed(e, "qcow2 header too short");
	if (h->length > 1u << h->cluster_bits)
		return malformed(e, "qcow2 header exceeds cluster size");
	if (h->backing_offset > 1u << h->cluster_bits)
		return malformed(e, "Invalid backing file offset");
	if (h->refcount_order > 6)
		return malformed(e,
				 "Reference count entry width too large; may not exceed 64 bits");
	if (h->size > INT64_MAX)
		return err_set(e, ERR_DISK_FORMAT, -EFBIG, "Image is too big");
	return 0;
}

/* Are `entries` of 8 bytes at offset a table that may be? */
static int check_table(const struct qcow2 *s, uint64_t offset, uint64_t entries, uint64_t max_bytes,
		       const char *name, struct err *e)
{
	if (entries > max_bytes / 8)
		return err_set(e, ERR_DISK_FORMAT, -EFBIG, "%s too large", name);
	if (offset & (s->cluster_size - 1) || offset > INT64_MAX - entries * 8)
		return err_set(e, ERR_DISK_FORMAT, -EINVAL, "%s offset invalid", name);
	return 0;
}

static int check_features(struct qcow2 *s, const struct header *h, struct err *e)
{
	uint64_t unknown = h->incompat & ~(uint64_t)QCOW2_INCOMPAT_KNOWN;

	if (unknown)
		return err_set(e, ERR_UNSUPPORTED, -ENOTSUP,
			       "Unsupported qcow2 feature(s): Unknown incompatible feature: %llx",
			       (unsigned long long)unknown);
	if (h->incompat & QCOW2_COMPRESSION ? h->compression > QCOW2_ZSTD
					    : h->compression != QCOW2_ZLIB)
		return h->incompat & QCOW2_COMPRESSION
			   ? err_set(e, ERR_UNSUPPORTED, -ENOTSUP,
				     "qcow2: unknown compression type: %u", h->compression)
			   : malformed(
				 e, "qcow2: Compression type incompatible feature bit must be set");
	if (h->incompat & QCOW2_COMPRESSION && h->compression == QCOW2_ZLIB)
		return malformed(
		    e, "qcow2: Compression type incompatible feature bit must not be set");
	if (h->incompat & QCOW2_EXTL2 && h->cluster_bits < 14)
		return malformed(e,
				 "Extended L2 entries are only supported with cluster sizes of at "
				 "least 16384 bytes");
	if (h->incompat & QCOW2_CORRUPT && s->d->flags & DISK_WRITE && !(s->d->flags & DISK_CHECK))
		return err_set(e, ERR_DISK_CORRUPT, -EACCES,
			       "qcow2: Image is corrupt; cannot be opened read/write");
	if (h->crypt > QCOW2_CRYPT_LUKS)
		return err_set(e, ERR_UNSUPPORTED, -EINVAL, "Unsupported encryption method %u",
			       h->crypt);
	if (h->crypt == QCOW2_CRYPT_AES && !(s->d->flags & DISK_NO_IO))
		return err_set(e, ERR_UNSUPPORTED, -ENOTSUP,
			       "The built-in AES encryption of qcow2 is broken by design and not "
			       "supported; convert the image to LUKS with QEMU");
	return 0;
}

void qcow2_geometry(struct qcow2 *s)
{
	unsigned slice = MIN(QCOW2_SLICE_BYTES, s->cluster_size);

	s->entry_bits = s->ext_l2 ? 4 : 3;
	s->sub_count = s->ext_l2 ? QCOW2_SUBS : 1;
	s->sub_bits = s->ext_l2 ? s->cluster_bits - 5 : s->cluster_bits;
	s->l2_bits = s->cluster_bits - s->entry_bits;
	s->slice_bits = (unsigned)__builtin_ctz(slice) - s->entry_bits;
	s->block_bits = s->cluster_bits + 3 - s->refcount_order;
}

static int read_extension(struct qcow2 *s, uint32_t type, const uint8_t *p, uint32_t len,
			  struct err *e)
{
	switch (type) {
	case QCOW2_EXT_BACKING_FORMAT:
		if (len > 15)
			return malformed(e, "ERROR: ext_backing_format: len too large");
		free(s->d->backing_format);
		s->d->backing_format = mem_strndup((const char *)p, len);
		return 0;
	case QCOW2_EXT_FEATURES:
		return 0; /* ours is written instead */
	case QCOW2_EXT_CRYPTO:
		if (len != 16)
			return malformed(e, "CRYPTO header extension size is not 16 bytes");
		s->crypto_offset = get_be64(p);
		s->crypto_len = get_be64(p + 8);
		if (s->crypto_offset & (s->cluster_size - 1) ||
		    !checked_within(s->crypto_offset, s->crypto_len, INT64_MAX))
			return malformed(
			    e, "Encryption header offset is not a multiple of cluster size");
		return 0;
	case QCOW2_EXT_DATA_FILE:
		free(s->data_file_name);
		s->data_file_name = mem_strndup((const char *)p, len);
		return 0;
	case QCOW2_EXT_BITMAPS:
		if (len != 24 || get_be32(p + 4))
			return malformed(e, "bitmaps_ext: Invalid extension length");
		if (!(s->autoclear & QCOW2_BITMAPS))
			return 0; /* a program that does not know them has written since */
		s->bitmap_count = get_be32(p);
		s->bitmaps_bytes = get_be64(p + 8);
		s->bitmaps_offset = get_be64(p + 16);
		if (!s->bitmap_count || s->bitmap_count > QCOW2_BITMAPS_MAX ||
		    s->bitmaps_bytes > QCOW2_BITMAP_DIR_MAX || !s->bitmaps_bytes ||
		    s->bitmaps_offset & (s->cluster_size - 1) ||
		    s->bitmaps_offset > INT64_MAX - s->bitmaps_bytes)
			return malformed(e, "bitmaps_ext: invalid bitmap directory");
		return 0;
	default:
		vec_push(&s->exts,
			 (struct qcow2_ext){.type = type, .len = len, .data = mem_dup(p, len)});
		return 0;
	}
}

static int read_extensions(struct qcow2 *s, const uint8_t *b, size_t at, size_t end, struct err *e)
{
	for (unsigned n = 0; at + 8 <= end; n++) {
		uint32_t type = get_be32(b + at), len = get_be32(b + at + 4);

		at += 8;
		if (type == QCOW2_EXT_END)
			return 0;
		if (len > end - at || n == EXT_MAX)
			return malformed(e, "Header extension too large");
		int rc = read_extension(s, type, b + at, len, e);

		if (rc < 0)
			return rc;
		at += bits_align_up(len, 8);
		if (at > end)
			return malformed(e, "Header extension too large");
	}
	return 0;
}

static int read_backing_name(struct qcow2 *s, const struct header *h, const uint8_t *b,
			     struct err *e)
{
	if (!h->backing_offset)
		return 0;
	if (h->backing_len > QCOW2_BACKING_NAME_MAX ||
	    !checked_within(h->backing_offset, h->backing_len, s->cluster_size))
		return malformed(e, "Backing file name too long");
	if (h->backing_len)
		s->d->backing_name =
		    mem_strndup((const char *)b + h->backing_offset, h->backing_len);
	return 0;
}

static int take_header(struct qcow2 *s, const struct header *h, struct err *e)
{
	s->version = h->version;
	s->cluster_bits = h->cluster_bits;
	s->cluster_size = 1u << h->cluster_bits;
	s->incompat = h->incompat;
	s->compat = h->compat;
	s->autoclear = h->autoclear;
	s->refcount_order = h->refcount_order;
	s->ext_l2 = h->incompat & QCOW2_EXTL2;
	s->compression = (enum qcow2_compression)h->compression;
	s->crypt = (enum qcow2_crypt)h->crypt;
	s->l1_offset = h->l1_offset;
	s->l1_size = h->l1_size;
	s->reftable_offset = h->reftable_offset;
	s->reftable_clusters = h->reftable_clusters;
	s->snapshots_offset = h->snapshots_offset;
	s->snapshot_count = h->snapshot_count;
	qcow2_geometry(s);
	s->d->size = h->size;
	s->d->cluster_size = s->cluster_size;
	if (!h->reftable_clusters && !(s->d->flags & DISK_CHECK))
		return malformed(e, "Image does not contain a reference count table");
	int rc = check_table(s, h->reftable_offset,
			     (uint64_t)h->reftable_clusters << (s->cluster_bits - 3),
			     QCOW2_REFTABLE_BYTES_MAX, "Reference count table", e);

	if (rc == 0)
		rc = check_table(s, h->l1_offset, h->l1_size, QCOW2_L1_BYTES_MAX, "Active L1 table",
				 e);
	if (rc < 0)
		return rc;
	if (h->snapshot_count > QCOW2_SNAPSHOTS_MAX)
		return err_set(e, ERR_DISK_FORMAT, -EFBIG, "Snapshot table too large");
	if (h->snapshot_count && h->snapshots_offset & (s->cluster_size - 1))
		return malformed(e, "Snapshot table offset invalid");
	uint64_t per_l1 = s->cluster_bits + s->l2_bits,
		 wanted = (h->size >> per_l1) + ((h->size & ((1ull << per_l1) - 1)) != 0);

	return wanted > h->l1_size ? malformed(e, "L1 table is too small") : 0;
}

int qcow2_header_read(struct qcow2 *s, struct err *e)
{
	uint8_t fixed[QCOW2_HEADER_OURS] = {0};
	struct header h;
	int rc = disk_pread(s->d->file, 0, fixed, sizeof(fixed));

	if (rc < 0)
		return err_set(e, ERR_DISK_IO, rc, "Could not read qcow2 header: %s",
			       strerror(-rc));
	if (get_be32(fixed + H_MAGIC) != QCOW2_MAGIC)
		return malformed(e, "Image is not in qcow2 format");
	decode(fixed, &h);
	if (h.version < 2 || h.version > 3)
		return err_set(e, ERR_UNSUPPORTED, -ENOTSUP, "Unsupported qcow2 version %u",
			       h.version);
	rc = check_geometry(&h, e);
	if (rc == 0)
		rc = check_features(s, &h, e);
	if (rc == 0)
		rc = take_header(s, &h, e);
	if (rc < 0)
		return rc;
	_free_ uint8_t *b = mem_array(s->cluster_size, 1);

	rc = disk_pread(s->d->file, 0, b, s->cluster_size);
	if (rc < 0)
		return err_set(e, ERR_DISK_IO, rc, "Could not read qcow2 header: %s",
			       strerror(-rc));
	rc = read_extensions(s, b, h.length, h.backing_offset ? h.backing_offset : s->cluster_size,
			     e);
	if (rc == 0)
		rc = read_backing_name(s, &h, b, e);
	return rc;
}

void qcow2_header_free(struct qcow2 *s)
{
	vec_each (x, &s->exts)
		free(x->data);
	vec_done(&s->exts);
	free(s->data_file_name);
	s->data_file_name = NULL;
}

/* --- writing --- */

/* Names for programs that do not know a bit: type, bit, name. */
static const struct {
	uint8_t type, bit;
	const char *name;
} features[] = {
    {0, 0, "dirty bit"},        {0, 1, "corrupt bit"},         {0, 2, "external data file"},
    {0, 3, "compression type"}, {0, 4, "extended L2 entries"}, {1, 0, "lazy refcounts"},
    {2, 0, "bitmaps"},          {2, 1, "raw external data"},
};

struct writer {
	uint8_t *b;
	size_t at, size;
	bool full;
};

static void add_ext(struct writer *w, uint32_t type, const void *data, size_t len)
{
	size_t padded = bits_align_up(len, 8);

	if (w->size - w->at < 8 + padded) {
		w->full = true;
		return;
	}
	put_be32(w->b + w->at, type);
	put_be32(w->b + w->at + 4, (uint32_t)len);
	memset(w->b + w->at + 8, 0, padded);
	if (len)
		memcpy(w->b + w->at + 8, data, len);
	w->at += 8 + padded;
}

static void add_features(struct writer *w)
{
	uint8_t rows[ARRAY_SIZE(features) * 48] = {0};

	for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
		uint8_t *row = rows + i * 48;

		row[0] = features[i].type;
		row[1] = features[i].bit;
		memcpy(row + 2, features[i].name, strlen(features[i].name));
	}
	/* Of use only where there is room: small clusters may need it for more. */
	if (w->size - w->at >= 8 + sizeof(rows) + 256)
		add_ext(w, QCOW2_EXT_FEATURES, rows, sizeof(rows));
}

static void add_exts(struct qcow2 *s, struct writer *w)
{
	uint8_t b[24] = {0};

	if (s->d->backing_format)
		add_ext(w, QCOW2_EXT_BACKING_FORMAT, s->d->backing_format,
			strlen(s->d->backing_format));
	if (qcow2_external(s) && s->data_file_name)
		add_ext(w, QCOW2_EXT_DATA_FILE, s->data_file_name, strlen(s->data_file_name));
	if (s->crypto_offset) {
		put_be64(b, s->crypto_offset);
		put_be64(b + 8, s->crypto_len);
		add_ext(w, QCOW2_EXT_CRYPTO, b, 16);
	}
	if (s->bitmap_count) {
		put_be32(b, s->bitmap_count);
		put_be32(b + 4, 0);
		put_be64(b + 8, s->bitmaps_bytes);
		put_be64(b + 16, s->bitmaps_offset);
		add_ext(w, QCOW2_EXT_BITMAPS, b, 24);
	}
	vec_each (x, &s->exts)
		add_ext(w, x->type, x->data, x->len);
	if (s->version >= 3)
		add_features(w);
	add_ext(w, QCOW2_EXT_END, NULL, 0);
}

static void encode(const struct qcow2 *s, uint8_t *b)
{
	put_be32(b + H_MAGIC, QCOW2_MAGIC);
	put_be32(b + H_VERSION, s->version);
	put_be32(b + H_CLUSTER_BITS, s->cluster_bits);
	put_be64(b + H_SIZE, s->d->size);
	put_be32(b + H_CRYPT, s->crypt);
	put_be32(b + H_L1_SIZE, s->l1_size);
	put_be64(b + H_L1_OFFSET, s->l1_offset);
	put_be64(b + H_REFTABLE_OFFSET, s->reftable_offset);
	put_be32(b + H_REFTABLE_CLUSTERS, s->reftable_clusters);
	put_be32(b + H_SNAPSHOT_COUNT, s->snapshot_count);
	put_be64(b + H_SNAPSHOTS_OFFSET, s->snapshots_offset);
	if (s->version < 3)
		return;
	put_be64(b + H_INCOMPAT, s->incompat);
	put_be64(b + H_COMPAT, s->compat);
	put_be64(b + H_AUTOCLEAR, s->autoclear);
	put_be32(b + H_REFCOUNT_ORDER, s->refcount_order);
	put_be32(b + H_LENGTH, QCOW2_HEADER_OURS);
	b[H_COMPRESSION] = (uint8_t)s->compression;
}

int qcow2_header_write(struct qcow2 *s)
{
	_free_ uint8_t *b = mem_array(s->cluster_size, 1);
	struct writer w = {.b = b,
			   .at = s->version < 3 ? QCOW2_HEADER_V2 : QCOW2_HEADER_OURS,
			   .size = s->cluster_size};
	const char *backing = s->d->backing_name;

	encode(s, b);
	add_exts(s, &w);
	if (backing && w.size - w.at < strlen(backing))
		w.full = true;
	if (w.full)
		return -ENOSPC;
	if (backing) {
		put_be64(b + H_BACKING_OFFSET, w.at);
		put_be32(b + H_BACKING_LEN, (uint32_t)strlen(backing));
		memcpy(b + w.at, backing, strlen(backing));
		w.at += strlen(backing);
	}
	return disk_pwrite(s->d->file, 0, b, s->cluster_size, 0);
}

int qcow2_header_poke(struct qcow2 *s, uint32_t at, const void *bytes, uint32_t len)
{
	int rc = disk_pwrite(s->d->file, at, bytes, len, 0);

	return rc < 0 ? rc : disk_flush(s->d->file);
}

int qcow2_header_features(struct qcow2 *s, uint64_t incompat, uint64_t compat, uint64_t autoclear)
{
	uint8_t b[24];

	if (s->version < 3)
		return -EINVAL;
	put_be64(b, incompat);
	put_be64(b + 8, compat);
	put_be64(b + 16, autoclear);
	int rc = qcow2_header_poke(s, H_INCOMPAT, b, sizeof(b));

	if (rc == 0) {
		s->incompat = incompat;
		s->compat = compat;
		s->autoclear = autoclear;
	}
	return rc;
}

int qcow2_header_set_l1(struct qcow2 *s, uint64_t offset, uint32_t entries)
{
	uint8_t b[12];

	put_be32(b, entries);
	put_be64(b + 4, offset);
	return qcow2_header_poke(s, H_L1_SIZE, b, sizeof(b));
}
