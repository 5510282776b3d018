/* A new image is laid out at once and written in order:
 *
 *	header | refcount table | refcount blocks | L1 table | encryption header | [L2 tables | data]
 *
 * so that preallocation of a terabyte is a few large sequential writes, and what a guest reads together
 * lies together. The header goes last: until then the file is no image. */
#include "disk/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/endian.h"
#include "base/str.h"

#define DEFAULT_CLUSTER (64u << 10)
#define WRITE_BYTES     (2u << 20) /* of tables at once */

static void drop(json_t **v)
{
	json_decref(*v);
}
#define _json_ _cleanup_(drop)

/* clang-format off */
#define COMMON_OPTS \
	{"backing_file", DISK_OPT_STRING, "File name of a base image", NULL, true}, \
	{"backing_fmt", DISK_OPT_STRING, "Image format of the base image", NULL, true}

const struct disk_opt qcow2_create_opts[] = {
	COMMON_OPTS,
	{"cluster_size", DISK_OPT_SIZE, "qcow2 cluster size", "65536", false},
	{"compat", DISK_OPT_STRING, "Compatibility level (v2 [0.10] or v3 [1.1])", NULL, true},
	{"compression_type", DISK_OPT_STRING, "Compression method used for image cluster compression", "zlib", false},
	{"data_file", DISK_OPT_STRING, "File name of an external data file", NULL, true},
	{"data_file_raw", DISK_OPT_BOOL, "The external data file must stay valid as a raw image", NULL, true},
	{"encrypt.cipher-alg", DISK_OPT_STRING, "Name of encryption cipher algorithm", NULL, false},
	{"encrypt.cipher-mode", DISK_OPT_STRING, "Name of encryption cipher mode", NULL, false},
	{"encrypt.format", DISK_OPT_STRING, "Encrypt the image, format choices: 'aes', 'luks'", NULL, false},
	{"encrypt.hash-alg", DISK_OPT_STRING, "Name of encryption hash algorithm", NULL, false},
	{"encrypt.iter-time", DISK_OPT_NUMBER, "Time to spend in PBKDF in milliseconds", NULL, false},
	{"encrypt.ivgen-alg", DISK_OPT_STRING, "Name of IV generator algorithm", NULL, false},
	{"encrypt.ivgen-hash-alg", DISK_OPT_STRING, "Name of IV generator hash algorithm", NULL, false},
	{"encrypt.key-secret", DISK_OPT_STRING, "ID of secret providing qcow AES key or LUKS passphrase", NULL, false},
	{"encryption", DISK_OPT_BOOL, "Encrypt the image with format 'aes'. (Deprecated in favor of encrypt.format=aes)", NULL, false},
	{"extended_l2", DISK_OPT_BOOL, "Extended L2 tables", "off", false},
	{"lazy_refcounts", DISK_OPT_BOOL, "Postpone refcount updates", "off", true},
	{"preallocation", DISK_OPT_STRING, "Preallocation mode (allowed values: off, metadata, falloc, full)", NULL, false},
	{"refcount_bits", DISK_OPT_NUMBER, "Width of a reference count entry in bits", "16", true},
	{"size", DISK_OPT_SIZE, "Virtual disk size", NULL, true},
	{0},
};

const struct disk_opt qcow2_amend_opts[] = {
	COMMON_OPTS,
	{"compat", DISK_OPT_STRING, "Compatibility level (v2 [0.10] or v3 [1.1])", NULL, true},
	{"data_file", DISK_OPT_STRING, "File name of an external data file", NULL, true},
	{"data_file_raw", DISK_OPT_BOOL, "The external data file must stay valid as a raw image", NULL, true},
	{"encrypt.iter-time", DISK_OPT_NUMBER, "Time to spend in PBKDF in milliseconds", NULL, true},
	{"encrypt.keyslot", DISK_OPT_NUMBER, "Select a single keyslot to modify explicitly", NULL, true},
	{"encrypt.new-secret", DISK_OPT_STRING, "New secret to set in the matching keyslots. Empty string to erase", NULL, true},
	{"encrypt.old-secret", DISK_OPT_STRING, "Select all keyslots that match this password", NULL, true},
	{"encrypt.state", DISK_OPT_STRING, "Select new state of affected keyslots (active/inactive)", NULL, true},
	{"lazy_refcounts", DISK_OPT_BOOL, "Postpone refcount updates", NULL, true},
	{"refcount_bits", DISK_OPT_NUMBER, "Width of a reference count entry in bits", NULL, true},
	{"size", DISK_OPT_SIZE, "Virtual disk size", NULL, true},
	{0},
};
/* clang-format on */

/* --- options --- */

struct plan {
	struct qcow2 s; /* geometry, features, and where things will be */
	struct disk d;  /* what the header writer looks at */
	enum disk_prealloc prealloc;
	json_t *encrypt; /* options of the encryption, or NULL */
	char *data_file;

	uint64_t block_count, l2_tables, l2_offset, data_offset,
	    end; /* clusters: count, bytes: offsets */
	uint64_t blocks_offset;
};

static int take_compat(struct plan *p, json_t *o, struct err *e)
{
	_free_ char *compat = NULL;
	int rc = disk_opts_take_str(o, "compat", &compat, e);

	p->s.version = 3;
	if (rc <= 0)
		return rc;
	if (str_eq(compat, "0.10") || str_eq(compat, "v2"))
		p->s.version = 2;
	else if (!str_eq(compat, "1.1") && !str_eq(compat, "v3"))
		return err_set(e, ERR_DISK_OPTION, -EINVAL, "Invalid parameter '%s' for 'compat'",
			       compat);
	return 0;
}

static int take_features(struct plan *p, json_t *o, struct err *e)
{
	static const char *const types[] = {"zlib", "zstd", NULL};
	unsigned type = 0, prealloc = 0;
	bool ext_l2 = false, lazy = false, raw = false;

	if (disk_opts_take_enum(o, "compression_type", types, &type, e) < 0 ||
	    disk_opts_take_enum(o, "preallocation", disk_prealloc_names, &prealloc, e) < 0 ||
	    disk_opts_take_bool(o, "extended_l2", &ext_l2, e) < 0 ||
	    disk_opts_take_bool(o, "lazy_refcounts", &lazy, e) < 0 ||
	    disk_opts_take_bool(o, "data_file_raw", &raw, e) < 0 ||
	    disk_opts_take_str(o, "data_file", &p->data_file, e) < 0)
		return e ? e->rc : -EINVAL;
	p->prealloc = (enum disk_prealloc)prealloc;
	p->s.compression = (enum qcow2_compression)type;
	p->s.ext_l2 = ext_l2;
	p->s.incompat = (type ? QCOW2_COMPRESSION : 0) | (ext_l2 ? QCOW2_EXTL2 : 0) |
			(p->data_file ? QCOW2_DATA_FILE : 0);
	p->s.compat = lazy ? QCOW2_LAZY_REFCOUNTS : 0;
	p->s.autoclear = raw ? QCOW2_DATA_FILE_RAW : 0;
	return 0;
}

static int take_widths(struct plan *p, json_t *o, struct err *e)
{
	uint64_t cluster = DEFAULT_CLUSTER, bits = 16;

	if (disk_opts_take_size(o, "cluster_size", &cluster, e) < 0 ||
	    disk_opts_take_u64(o, "refcount_bits", &bits, e) < 0)
		return e ? e->rc : -EINVAL;
	if (!bits_is_pow2(cluster) || cluster < 1u << QCOW2_CLUSTER_BITS_MIN ||
	    cluster > 1u << QCOW2_CLUSTER_BITS_MAX)
		return err_set(e, ERR_DISK_OPTION, -EINVAL,
			       "Cluster size must be a power of two between 512 and 2048k");
	if (!bits_is_pow2(bits) || bits > 64)
		return err_set(e, ERR_DISK_OPTION, -EINVAL,
			       "Refcount width must be a power of two and may not exceed 64 bits");
	p->s.cluster_bits = (unsigned)__builtin_ctzll(cluster);
	p->s.cluster_size = (uint32_t)cluster;
	p->s.refcount_order = (unsigned)__builtin_ctzll(bits);
	return 0;
}

static int check_combination(const struct plan *p, const struct disk_create *c, struct err *e)
{
	const struct qcow2 *s = &p->s;
	const char *why = NULL;

	if (s->version < 3 && s->refcount_order != 4)
		why = "Different refcount widths than 16 bits require compatibility level 1.1 or "
		      "above "
		      "(use version=v3 or greater)";
	else if (s->version < 3 && s->compat)
		why = "Lazy refcounts only supported with compatibility level 1.1 and above (use "
		      "version=v3 or greater)";
	else if (s->version < 3 && s->incompat & QCOW2_DATA_FILE)
		why = "External data files are only supported in compatibility level 1.1 and above "
		      "(use "
		      "version=v3 or greater)";
	else if (s->version < 3 && s->incompat & QCOW2_COMPRESSION)
		why = "Non-zlib compression type is only supported with compatibility level 1.1 "
		      "and above "
		      "(use version=v3 or greater)";
	else if (s->version < 3 && s->ext_l2)
		why = "Extended L2 entries are only supported with compatibility level 1.1 and "
		      "above (use "
		      "version=v3 or greater)";
	else if (s->ext_l2 && s->cluster_bits < 14)
		why = "Extended L2 entries are only supported with cluster sizes of at least 16384 "
		      "bytes";
	else if (s->autoclear & QCOW2_DATA_FILE_RAW && !p->data_file)
		why = "data-file-raw requires data-file";
	else if (s->autoclear & QCOW2_DATA_FILE_RAW && c->backing_file)
		why = "Backing file and data-file-raw cannot be used at the same time";
	else if (p->prealloc != DISK_PREALLOC_OFF && c->backing_file && !s->ext_l2)
		why = "Backing file and preallocation can only be used at the same time if "
		      "extended_l2 is "
		      "enabled";
	else if (c->backing_format && !c->backing_file)
		why = "Backing format cannot be used without backing file";
	else if (c->backing_file && strlen(c->backing_file) > QCOW2_BACKING_NAME_MAX)
		why = "Backing file name too long";
	return why ? err_set(e, ERR_DISK_OPTION, -EINVAL, "%s", why) : 0;
}

/* "encrypt.X" of the options becomes X of p->encrypt. */
static int take_encryption(struct plan *p, json_t *o, struct err *e)
{
	_free_ char *format = NULL;
	_json_ json_t *own = json_object();
	bool old = false;
	const char *key;
	json_t *v;
	void *next;
	int rc = disk_opts_take_bool(o, "encryption", &old, e);

	if (rc < 0)
		return rc;
	json_object_foreach_safe(o, next, key, v)
	{
		const char *rest = str_after(key, "encrypt.");

		if (!rest)
			continue;
		json_object_set(own, rest, v);
		json_object_del(o, key);
	}
	rc = disk_opts_take_str(own, "format", &format, e);
	if (rc < 0)
		return rc;
	if (old || (format && str_eq(format, "aes")))
		return err_set(e, ERR_UNSUPPORTED, -ENOTSUP,
			       "The built-in AES encryption of qcow2 is broken by design and not "
			       "supported; use encrypt.format=luks");
	if (format && !str_eq(format, "luks"))
		return err_set(e, ERR_DISK_OPTION, -EINVAL, "Unknown encryption format %s", format);
	if (!format && json_object_size(own))
		return err_set(e, ERR_DISK_OPTION, -EINVAL,
			       "Parameter 'encrypt.format' is missing");
	if (!format)
		return 0;
	p->encrypt = STEAL(own);
	p->s.crypt = QCOW2_CRYPT_LUKS;
	return disk_luks_measure(p->d.ctx, p->encrypt, &p->s.crypto_len, e);
}

static int take_plan(struct plan *p, const struct disk_create *c, struct err *e)
{
	p->s.d = &p->d;
	p->d.ctx = c->ctx;
	p->d.size = bits_align_up(c->size, 512);
	p->d.flags = DISK_WRITE;
	p->d.backing_name = (char *)c->backing_file;
	p->d.backing_format = (char *)c->backing_format;
	int rc = take_compat(p, c->opts, e);

	if (rc == 0)
		rc = take_features(p, c->opts, e);
	if (rc == 0)
		rc = take_widths(p, c->opts, e);
	if (rc == 0)
		rc = take_encryption(p, c->opts, e);
	if (rc == 0)
		rc = check_combination(p, c, e);
	if (rc == 0)
		qcow2_geometry(&p->s);
	return rc;
}

static void plan_done(struct plan *p)
{
	json_decref(p->encrypt);
	free(p->data_file);
}

/* --- layout --- */

/* Where everything goes; preallocated: with tables and room for all data. */
static int lay_out(struct plan *p, bool preallocated, struct err *e)
{
	struct qcow2 *s = &p->s;
	uint64_t cs = s->cluster_size, guest = qcow2_clusters(s, p->d.size);
	/* An empty disk has a table of one entry: without it, its cluster would be nobody's. */
	uint64_t l1_entries = MAX((guest + (1ull << s->l2_bits) - 1) >> s->l2_bits, 1ull);
	uint64_t l1_clusters = qcow2_clusters(s, l1_entries * 8);
	uint64_t crypto = qcow2_clusters(s, s->crypto_len), tables = preallocated ? l1_entries : 0;
	uint64_t data = preallocated && !p->data_file ? guest : 0, blocks = 1, table_clusters = 1,
		 total;

	if (l1_entries > QCOW2_L1_BYTES_MAX / 8)
		return err_set(
		    e, ERR_DISK_OPTION, -EFBIG,
		    "The image size is too large for file format 'qcow2' (try using a larger "
		    "cluster size)");
	/* Blocks count themselves and the table: until nothing changes any more. */
	for (;;) {
		total = 1 + table_clusters + blocks + l1_clusters + crypto + tables + data;
		uint64_t need = (total + (1ull << s->block_bits) - 1) >> s->block_bits;
		uint64_t need_table = qcow2_clusters(s, need * 8);

		if (need <= blocks && need_table <= table_clusters)
			break;
		blocks = MAX(blocks, need);
		table_clusters = MAX(table_clusters, need_table);
	}
	if (table_clusters * cs > QCOW2_REFTABLE_BYTES_MAX)
		return err_set(e, ERR_DISK_OPTION, -EFBIG,
			       "The image is too large to be preallocated with this cluster size");
	s->reftable_offset = cs;
	s->reftable_clusters = (uint32_t)table_clusters;
	p->block_count = blocks;
	p->blocks_offset = s->reftable_offset + table_clusters * cs;
	s->l1_offset = p->blocks_offset + blocks * cs;
	s->l1_size = (uint32_t)l1_entries;
	s->crypto_offset = crypto ? s->l1_offset + l1_clusters * cs : 0;
	p->l2_tables = tables;
	p->l2_offset = s->l1_offset + (l1_clusters + crypto) * cs;
	p->data_offset = p->l2_offset + tables * cs;
	p->end = p->data_offset + data * cs;
	return 0;
}

/* --- writing --- */

/* Counts of 1 for everything up to p->end. */
static int write_blocks(struct plan *p, struct disk *file, uint8_t *buf)
{
	struct qcow2 *s = &p->s;
	uint64_t used = p->end >> s->cluster_bits, per_block = 1ull << s->block_bits;
	uint64_t step = MAX(WRITE_BYTES / s->cluster_size, 1u);
	int rc = 0;

	for (uint64_t b = 0; b < p->block_count && rc == 0; b += step) {
		uint64_t n = MIN(step, p->block_count - b), counts = n * per_block;
		uint64_t base = b * per_block;
		uint64_t ones = used > base ? MIN(used - base, counts) : 0;

		memset(buf, 0, n * s->cluster_size);
		for (uint64_t i = 0; i < ones; i++)
			qcow2_ref_set(buf, i, s->refcount_order, 1);
		rc = disk_pwrite(file, p->blocks_offset + b * s->cluster_size, buf,
				 n * s->cluster_size, 0);
	}
	return rc;
}

/* A table of consecutive clusters. */
static int write_pointers(struct plan *p, struct disk *file, uint64_t at, uint64_t count,
			  uint64_t first, uint64_t flags, uint8_t *buf)
{
	uint64_t step = WRITE_BYTES / 8;
	int rc = 0;

	for (uint64_t i = 0; i < count && rc == 0; i += step) {
		uint64_t n = MIN(step, count - i);

		for (uint64_t j = 0; j < n; j++)
			put_be64(buf + j * 8, (first + ((i + j) << p->s.cluster_bits)) | flags);
		rc = disk_pwrite(file, at + i * 8, buf, n * 8, 0);
	}
	return rc;
}

static int write_l2(struct plan *p, struct disk *file, uint8_t *buf)
{
	struct qcow2 *s = &p->s;
	uint64_t entries = qcow2_clusters(s, p->d.size), step = WRITE_BYTES >> s->entry_bits;
	uint64_t host = p->data_file ? 0 : p->data_offset;
	int rc = 0;

	for (uint64_t i = 0; i < entries && rc == 0; i += step) {
		uint64_t n = MIN(step, entries - i);

		for (uint64_t j = 0; j < n; j++)
			qcow2_entry_put(s, buf, (unsigned)j,
					(struct qcow2_entry){
					    (host + ((i + j) << s->cluster_bits)) | QCOW2_COPIED,
					    /* With a backing image its bytes still show. */
					    p->d.backing_name ? 0 : 0xffffffffull});
		rc = disk_pwrite(file, p->l2_offset + (i << s->entry_bits), buf, n << s->entry_bits,
				 0);
	}
	return rc;
}

static int write_tables(struct plan *p, struct disk *file)
{
	struct qcow2 *s = &p->s;
	_free_ uint8_t *buf = malloc(MAX(WRITE_BYTES, s->cluster_size));
	int rc = buf ? write_blocks(p, file, buf) : -ENOMEM;

	if (rc == 0)
		rc = write_pointers(p, file, s->reftable_offset, p->block_count, p->blocks_offset,
				    0, buf);
	if (rc == 0 && p->l2_tables)
		rc = write_pointers(p, file, s->l1_offset, s->l1_size, p->l2_offset, QCOW2_COPIED,
				    buf);
	return rc == 0 && p->l2_tables ? write_l2(p, file, buf) : rc;
}

static int area_write(void *arg, uint64_t offset, const void *buf, size_t len)
{
	struct plan *p = arg;

	return offset > p->s.crypto_len || len > p->s.crypto_len - offset
		   ? -EINVAL
		   : disk_pwrite(p->d.file, p->s.crypto_offset + offset, buf, len, 0);
}

static int area_read(void *arg, uint64_t offset, void *buf, size_t len)
{
	struct plan *p = arg;

	return offset > p->s.crypto_len || len > p->s.crypto_len - offset
		   ? -EINVAL
		   : disk_pread(p->d.file, p->s.crypto_offset + offset, buf, len);
}

static int write_encryption(struct plan *p, struct err *e)
{
	struct disk_luks_area area = {.read = area_read, .write = area_write, .arg = p};

	return p->encrypt ? disk_luks_create(p->d.ctx, &area, p->encrypt, e) : 0;
}

static int write_image(struct plan *p, struct disk *file, struct err *e)
{
	int rc = write_tables(p, file);

	if (rc < 0)
		return err_set(e, rc == -ENOSPC ? ERR_DISK_FULL : ERR_DISK_IO, rc,
			       "Could not write qcow2 metadata: %s", strerror(-rc));
	p->d.file = file;
	rc = write_encryption(p, e);
	if (rc < 0)
		return rc;
	/* Whole clusters, as readers of counts expect; preallocated data follows. */
	rc = disk_truncate(file, p->end, false,
			   p->data_file || p->prealloc < DISK_PREALLOC_FALLOC ? DISK_PREALLOC_OFF
									      : p->prealloc,
			   0, e);
	if (rc < 0)
		return rc;
	rc = qcow2_header_write(&p->s);
	return rc < 0
		   ? err_set(e, ERR_DISK_IO, rc, "Could not write qcow2 header: %s", strerror(-rc))
		   : 0;
}

static int make_data_file(struct plan *p, const struct disk_create *c, struct err *e)
{
	_free_ char *path = p->data_file ? disk_path_beside(c->filename, p->data_file) : NULL;
	struct disk *data;

	if (!path)
		return 0;
	int rc = disk_create_file(c->ctx, path, 0, NULL, &data, e);

	if (rc < 0)
		return rc;
	p->s.data_file_name = p->data_file;
	if (p->prealloc != DISK_PREALLOC_OFF || p->s.autoclear & QCOW2_DATA_FILE_RAW)
		rc = disk_truncate(
		    data, p->d.size, false,
		    p->prealloc < DISK_PREALLOC_FALLOC ? DISK_PREALLOC_OFF : p->prealloc, 0, e);
	int close_rc = disk_close(data);

	return rc < 0         ? rc
	       : close_rc < 0 ? err_set(e, ERR_DISK_IO, close_rc, "Could not write the data file")
			      : 0;
}

int qcow2_create(const struct disk_create *c, struct err *e)
{
	struct plan p = {0};
	struct disk *file = NULL;
	int rc = take_plan(&p, c, e);

	/* A raw data file has a mapping for every cluster from the start. */
	if (rc == 0 && p.s.autoclear & QCOW2_DATA_FILE_RAW && p.prealloc == DISK_PREALLOC_OFF)
		p.prealloc = DISK_PREALLOC_METADATA;
	if (rc == 0)
		rc = lay_out(&p, p.prealloc != DISK_PREALLOC_OFF, e);
	if (rc == 0)
		rc = make_data_file(&p, c, e);
	if (rc == 0)
		rc = disk_create_file(c->ctx, c->filename, 0, c->opts, &file, e);
	if (rc == 0)
		rc = write_image(&p, file, e);
	int close_rc = file ? disk_close(file) : 0;

	plan_done(&p);
	return rc == 0 && close_rc < 0
		   ? err_set(e, ERR_DISK_IO, close_rc, "Could not write '%s': %s", c->filename,
			     strerror(-close_rc))
		   : rc;
}

/* --- measure --- */

/* Clusters of `in` that a copy would have to write. */
static int count_data(const struct qcow2 *s, struct disk *in, uint64_t *ret_clusters)
{
	uint64_t next = 0, count = 0;
	struct disk_extent x;

	for (uint64_t at = 0; at < in->size; at += x.len) {
		int rc = disk_block_status_above(in, NULL, at, in->size - at, true, &x);

		if (rc < 0)
			return rc;
		if (x.flags & DISK_EXT_ZERO || !(x.flags & DISK_EXT_ALLOCATED))
			continue;
		uint64_t first = MAX(at >> s->cluster_bits, next),
			 end = qcow2_clusters(s, at + x.len);

		if (end > first)
			count += end - first;
		next = MAX(next, end);
	}
	*ret_clusters = count;
	return 0;
}

int qcow2_measure(const struct disk_create *c, struct disk *in, struct disk_measure *ret,
		  struct err *e)
{
	struct plan p = {0};
	uint64_t used = 0;
	int rc = take_plan(&p, c, e);

	if (rc == 0)
		rc = lay_out(&p, true, e);
	if (rc == 0 && in) {
		rc = count_data(&p.s, in, &used);
		if (rc < 0)
			err_set(e, ERR_DISK_IO, rc, "Could not read '%s': %s", disk_filename(in),
				strerror(-rc));
	}
	if (rc == 0) {
		uint64_t all = qcow2_clusters(&p.s, p.d.size);

		ret->fully_allocated = p.end;
		ret->required = p.prealloc >= DISK_PREALLOC_FALLOC
				    ? p.end
				    : p.end - (all - MIN(used, all)) * p.s.cluster_size;
		if (p.data_file)
			ret->required = ret->fully_allocated;
	}
	plan_done(&p);
	return rc;
}
