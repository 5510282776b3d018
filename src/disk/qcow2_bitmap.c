/* Persistent dirty bitmaps: a directory of rows, a table per bitmap, and the bits, least significant
 * first. A bitmap is loaded when it is first needed. Before the first write that one records, the
 * directory on disk says "in use", so that whoever opens the image after a cut knows that the bits are
 * not those of the data; when the image is closed, changed bits go to new clusters, a new directory
 * refers to them, and the header's switch to it is the moment at which they count. */
#include "disk/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/endian.h"
#include "base/str.h"

#define ROW_BYTES         24
#define TYPE_DIRTY        1
#define GRANULARITY_MIN   9
#define GRANULARITY_MAX   31
#define GRANULARITY       16 /* where nobody says: 64k */
#define NAME_MAX_LEN      1023
#define BITS_BYTES_MAX    (32u << 20) /* of all bitmaps in memory */
#define TABLE_ENTRIES_MAX (BITS_BYTES_MAX / 512)
#define TABLE_OFFSET      0x00fffffffffffe00ull
#define TABLE_ALL_ONES    1ull

enum row_flags { ROW_IN_USE = 1, ROW_AUTO = 2, ROW_EXTRA_COMPATIBLE = 4, ROW_KNOWN = 7 };

struct qcow2_bitmap {
	char *name;
	uint8_t granularity; /* log2 */
	uint32_t flags;
	uint64_t table_offset;
	uint32_t table_size; /* entries */
	uint8_t *bits;       /* NULL: not loaded */
	uint64_t count;      /* bits */
	bool changed;        /* disk has others */
};

static int failed(struct err *e, int rc, const char *what)
{
	return err_set(e, rc == -ENOSPC ? ERR_DISK_FULL : ERR_DISK_IO, rc, "%s: %s", what,
		       strerror(-rc));
}

static uint64_t bit_count(const struct qcow2 *s, unsigned granularity)
{
	return (s->d->size + (1ull << granularity) - 1) >> granularity;
}

static size_t bits_bytes(uint64_t count)
{
	return (size_t)bits_align_up((count + 7) / 8, 8);
}

/* --- the directory --- */

static void bitmap_free(struct qcow2_bitmap *b)
{
	free(b->name);
	free(b->bits);
}

void qcow2_bitmaps_free(struct qcow2 *s)
{
	for (uint32_t i = 0; s->bitmaps && i < s->bitmap_count; i++)
		bitmap_free(&s->bitmaps[i]);
	free(s->bitmaps);
	s->bitmaps = NULL;
}

static int parse_row(struct qcow2 *s, const uint8_t *p, size_t left, struct qcow2_bitmap *b,
		     size_t *ret_len, struct err *e)
{
	uint32_t extra;
	uint16_t name_len;

	if (left < ROW_BYTES)
		return err_set(e, ERR_DISK_FORMAT, -EINVAL, "Broken bitmap directory");
	b->table_offset = get_be64(p);
	b->table_size = get_be32(p + 8);
	b->flags = get_be32(p + 12);
	b->granularity = p[17];
	name_len = get_be16(p + 18);
	extra = get_be32(p + 20);
	if (p[16] != TYPE_DIRTY || b->flags & ~(uint32_t)ROW_KNOWN || extra ||
	    b->granularity < GRANULARITY_MIN || b->granularity > GRANULARITY_MAX || !name_len ||
	    name_len > NAME_MAX_LEN || name_len > left - ROW_BYTES)
		return err_set(e, ERR_DISK_FORMAT, -EINVAL, "Broken bitmap directory");
	if (b->table_offset & (s->cluster_size - 1) || b->table_offset > INT64_MAX ||
	    b->table_size > TABLE_ENTRIES_MAX || !b->table_offset)
		return err_set(e, ERR_DISK_FORMAT, -EINVAL, "Bitmap table offset or size invalid");
	b->count = bit_count(s, b->granularity);
	b->name = mem_strndup((const char *)p + ROW_BYTES, name_len);
	*ret_len = MIN((size_t)bits_align_up(ROW_BYTES + name_len, 8), left);
	return 0;
}

int qcow2_bitmaps_load(struct qcow2 *s, struct err *e)
{
	uint32_t count = s->bitmap_count;
	_free_ uint8_t *dir =
	    count ? mem_try_array(s->bitmaps_bytes, 1, QCOW2_BITMAP_DIR_MAX) : NULL;
	size_t at = 0;
	int rc;

	s->bitmaps = mem_array(count + 1, sizeof(*s->bitmaps));
	s->bitmap_count = 0;
	if (!count)
		return 0;
	rc = dir ? disk_pread(s->d->file, s->bitmaps_offset, dir, s->bitmaps_bytes) : -ENOMEM;
	if (rc < 0)
		return failed(e, rc, "Could not read bitmap directory");
	for (uint32_t i = 0; i < count; i++) {
		size_t len;

		s->bitmap_count++;
		rc = parse_row(s, dir + at, s->bitmaps_bytes - at, &s->bitmaps[i], &len, e);
		if (rc < 0)
			return rc;
		at += len;
	}
	if (at != s->bitmaps_bytes)
		return err_set(e, ERR_DISK_FORMAT, -EINVAL, "Broken bitmap directory");
	return 0;
}

static size_t row_len(const struct qcow2_bitmap *b)
{
	return bits_align_up(ROW_BYTES + strlen(b->name), 8);
}

static size_t dir_len(const struct qcow2 *s)
{
	size_t len = 0;

	for (uint32_t i = 0; i < s->bitmap_count; i++)
		len += row_len(&s->bitmaps[i]);
	return len;
}

static void encode_dir(const struct qcow2 *s, uint8_t *p)
{
	for (uint32_t i = 0; i < s->bitmap_count; i++) {
		const struct qcow2_bitmap *b = &s->bitmaps[i];

		put_be64(p, b->table_offset);
		put_be32(p + 8, b->table_size);
		put_be32(p + 12, b->flags);
		p[16] = TYPE_DIRTY;
		p[17] = b->granularity;
		put_be16(p + 18, (uint16_t)strlen(b->name));
		put_be32(p + 20, 0);
		memcpy(p + ROW_BYTES, b->name, strlen(b->name));
		p += row_len(b);
	}
}

/* Rewrites flags where the directory is; stable when it returns. */
static int write_flags(struct qcow2 *s)
{
	_free_ uint8_t *dir = mem_array(dir_len(s) + 1, 1);

	encode_dir(s, dir);
	int rc = disk_pwrite(s->d->file, s->bitmaps_offset, dir, dir_len(s), 0);

	return rc < 0 ? rc : disk_flush(s->d->file);
}

/* --- bits --- */

static bool test(const struct qcow2_bitmap *b, uint64_t i)
{
	return b->bits[i / 8] >> (i % 8) & 1;
}

static void set_range(struct qcow2_bitmap *b, uint64_t first, uint64_t last)
{
	for (; first <= last && first % 8; first++)
		b->bits[first / 8] |= (uint8_t)(1u << first % 8);
	for (; first + 7 <= last; first += 8)
		b->bits[first / 8] = 0xff;
	for (; first <= last; first++)
		b->bits[first / 8] |= (uint8_t)(1u << first % 8);
}

static int read_table(struct qcow2 *s, const struct qcow2_bitmap *b, uint64_t **ret_table)
{
	uint64_t *table = mem_try_array(MAX(b->table_size, 1u), 8, TABLE_ENTRIES_MAX * 8ull);
	int rc =
	    table ? disk_pread(s->d->file, b->table_offset, table, b->table_size * 8ull) : -ENOMEM;

	for (uint32_t i = 0; i < b->table_size && rc == 0; i++) {
		table[i] = be64toh(table[i]);
		if ((table[i] & TABLE_OFFSET) & (s->cluster_size - 1))
			rc = -EINVAL;
	}
	if (rc < 0)
		free(table);
	else
		*ret_table = table;
	return rc;
}

static size_t loaded_bytes(const struct qcow2 *s)
{
	size_t n = 0;

	for (uint32_t i = 0; i < s->bitmap_count; i++)
		n += s->bitmaps[i].bits ? bits_bytes(s->bitmaps[i].count) : 0;
	return n;
}

/* Under the lock. */
static int load_bits(struct qcow2 *s, struct qcow2_bitmap *b)
{
	size_t bytes = bits_bytes(b->count);
	_free_ uint64_t *table = NULL;

	if (b->bits)
		return 0;
	if (loaded_bytes(s) + bytes > BITS_BYTES_MAX)
		return -EFBIG;
	uint8_t *bits = mem_try_array(bytes ? bytes : 8, 1, BITS_BYTES_MAX);
	int rc = bits ? read_table(s, b, &table) : -ENOMEM;

	for (uint32_t i = 0; i < b->table_size && rc == 0; i++) {
		uint64_t at = (uint64_t)i << s->cluster_bits, offset = table[i] & TABLE_OFFSET;

		if (at >= bytes)
			break;
		size_t n = MIN(bytes - at, (size_t)s->cluster_size);

		if (offset)
			rc = disk_pread(s->d->file, offset, bits + at, n);
		else if (table[i] & TABLE_ALL_ONES)
			memset(bits + at, 0xff, n);
	}
	if (rc < 0) {
		free(bits);
		return rc;
	}
	/* What lies behind the end of the disk is nobody's. */
	for (uint64_t i = b->count; i < bytes * 8ull; i++)
		bits[i / 8] &= (uint8_t) ~(1u << i % 8);
	b->bits = bits;
	return 0;
}

/* Its clusters will be free when nothing refers to them. */
static int free_bits(struct qcow2 *s, const struct qcow2_bitmap *b)
{
	_free_ uint64_t *table = NULL;
	int rc = b->table_offset ? read_table(s, b, &table) : 0;

	if (rc < 0 || !b->table_offset)
		return rc;
	for (uint32_t i = 0; i < b->table_size; i++)
		if (table[i] & TABLE_OFFSET)
			qcow2_free_later(s, table[i] & TABLE_OFFSET, 1, false);
	qcow2_free_later(s, b->table_offset, qcow2_clusters(s, b->table_size * 8ull), false);
	return 0;
}

/* To new clusters; b names the new table afterwards. */
static int write_bits(struct qcow2 *s, struct qcow2_bitmap *b)
{
	size_t bytes = (size_t)((b->count + 7) / 8);
	uint32_t entries = (uint32_t)qcow2_clusters(s, MAX(bytes, (size_t)1));
	_free_ uint64_t *table = mem_array(bits_align_up(entries, 64), 8);
	_free_ uint8_t *buf = mem_array(s->cluster_size, 1);
	uint64_t offset;
	bool fresh;
	int rc = 0;

	for (uint32_t i = 0; i < entries && rc == 0; i++) {
		size_t at = (size_t)i << s->cluster_bits,
		       n = at < bytes ? MIN(bytes - at, (size_t)s->cluster_size) : 0;

		if (disk_is_zero(b->bits + at, n))
			continue;
		memset(buf, 0, s->cluster_size);
		memcpy(buf, b->bits + at, n);
		rc = qcow2_alloc(s, 1, &offset, &fresh);
		if (rc == 0)
			rc = disk_pwrite(s->d->file, offset, buf, s->cluster_size, 0);
		if (rc == 0)
			table[i] = offset;
	}
	if (rc == 0)
		rc = qcow2_alloc(s, qcow2_clusters(s, entries * 8ull), &offset, &fresh);
	if (rc == 0)
		rc = qcow2_write_l1(s, offset, table, 0, entries);
	if (rc < 0)
		return rc;
	b->table_offset = offset;
	b->table_size = entries;
	return 0;
}

/* A new directory, and the header that refers to it. Old: what is to be freed then. */
static int write_dir(struct qcow2 *s)
{
	uint64_t old = s->bitmaps_offset, old_bytes = s->bitmaps_bytes, len = dir_len(s),
		 offset = 0;
	bool fresh;
	int rc = 0;

	if (len > QCOW2_BITMAP_DIR_MAX)
		return -EFBIG;
	if (len) {
		_free_ uint8_t *dir = mem_array(len, 1);

		encode_dir(s, dir);
		rc = qcow2_alloc(s, qcow2_clusters(s, len), &offset, &fresh);
		if (rc == 0)
			rc = disk_pwrite(s->d->file, offset, dir, len, 0);
	}
	if (rc == 0)
		rc = qcow2_sync_stable(s);
	if (rc < 0)
		return rc;
	s->bitmaps_offset = offset;
	s->bitmaps_bytes = len;
	s->autoclear = len ? s->autoclear | QCOW2_BITMAPS : s->autoclear & ~(uint64_t)QCOW2_BITMAPS;
	rc = qcow2_header_write(s);
	if (rc == 0)
		rc = disk_flush(s->d->file);
	if (rc == 0 && old_bytes)
		qcow2_free_later(s, old, qcow2_clusters(s, old_bytes), false);
	return rc;
}

int qcow2_bitmaps_store(struct qcow2 *s)
{
	_free_ struct qcow2_bitmap *old = mem_array(s->bitmap_count + 1, sizeof(*old));
	bool any = s->bitmaps_in_use;
	uint32_t n = 0;
	int rc = 0;

	for (uint32_t i = 0; i < s->bitmap_count && rc == 0; i++) {
		struct qcow2_bitmap *b = &s->bitmaps[i];

		if (!b->changed)
			continue;
		any = true;
		old[n++] = *b;
		rc = write_bits(s, b);
		if (rc == 0) {
			b->flags &= ~(uint32_t)ROW_IN_USE;
			b->changed = false;
		}
	}
	if (!any)
		return 0;
	if (rc == 0)
		rc = write_dir(s);
	if (rc == 0)
		s->bitmaps_in_use = false;
	while (n && rc == 0)
		rc = free_bits(s, &old[--n]);
	return rc;
}

/* --- recording --- */

static bool records(const struct qcow2_bitmap *b)
{
	return b->flags & ROW_AUTO && (!(b->flags & ROW_IN_USE) || b->changed);
}

bool qcow2_bitmaps_record(const struct qcow2 *s)
{
	for (uint32_t i = 0; i < s->bitmap_count; i++)
		if (records(&s->bitmaps[i]))
			return true;
	return false;
}

/* Loads what records, and says on disk that it is being used. Under the lock. */
static int start_recording(struct qcow2 *s)
{
	int rc = 0;

	if (s->bitmaps_in_use)
		return 0;
	for (uint32_t i = 0; i < s->bitmap_count && rc == 0; i++)
		if (records(&s->bitmaps[i]))
			rc = load_bits(s, &s->bitmaps[i]);
	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < s->bitmap_count; i++) {
		struct qcow2_bitmap *b = &s->bitmaps[i];

		if (records(b)) {
			b->flags |= ROW_IN_USE;
			b->changed = true;
		}
	}
	rc = write_flags(s);
	if (rc == 0)
		s->bitmaps_in_use = true;
	return rc;
}

int qcow2_bitmaps_mark(struct qcow2 *s, uint64_t offset, uint64_t len)
{
	int rc = 0;

	if (!s->bitmaps_in_use) {
		co_lock(&s->lock);
		rc = start_recording(s);
		co_unlock(&s->lock);
	}
	for (uint32_t i = 0; i < s->bitmap_count && rc == 0; i++) {
		struct qcow2_bitmap *b = &s->bitmaps[i];

		/* Machine state lies behind the disk, and is not recorded. */
		if (records(b) && b->bits && offset < s->d->size)
			set_range(b, offset >> b->granularity,
				  (MIN(offset + len, s->d->size) - 1) >> b->granularity);
	}
	return rc;
}

/* --- facts --- */

json_t *qcow2_bitmaps_info(const struct qcow2 *s)
{
	json_t *list = s->bitmap_count ? json_array() : NULL;

	for (uint32_t i = 0; i < s->bitmap_count; i++) {
		const struct qcow2_bitmap *b = &s->bitmaps[i];
		json_t *flags = json_array();

		if (b->flags & ROW_IN_USE)
			json_array_append_new(flags, json_string("in-use"));
		if (b->flags & ROW_AUTO)
			json_array_append_new(flags, json_string("auto"));
		json_array_append_new(list,
				      json_pack("{s:o,s:s,s:I}", "flags", flags, "name", b->name,
						"granularity", (json_int_t)1 << b->granularity));
	}
	return list;
}

static struct qcow2_bitmap *find(struct qcow2 *s, const char *name)
{
	for (uint32_t i = 0; i < s->bitmap_count; i++)
		if (str_eq(s->bitmaps[i].name, name))
			return &s->bitmaps[i];
	return NULL;
}

static bool inconsistent(const struct qcow2_bitmap *b)
{
	return b->flags & ROW_IN_USE && !b->changed;
}

static int find_usable(struct qcow2 *s, const char *name, struct qcow2_bitmap **ret_b,
		       struct err *e)
{
	struct qcow2_bitmap *b = find(s, name);

	if (!b)
		return err_set(e, ERR_NOT_FOUND, -ENOENT, "Dirty bitmap '%s' not found", name);
	if (inconsistent(b))
		return err_set(e, ERR_DISK_FORMAT, -EINVAL,
			       "Bitmap '%s' is inconsistent and cannot be used", name);
	*ret_b = b;
	return 0;
}

static uint64_t dirty_bytes(const struct qcow2_bitmap *b)
{
	uint64_t n = 0;

	for (size_t i = 0; b->bits && i < bits_bytes(b->count); i++)
		n += (unsigned)__builtin_popcount(b->bits[i]);
	return n << b->granularity;
}

int qcow2_bitmap_list(struct disk *d, struct disk_bitmap **ret_list)
{
	struct qcow2 *s = d->state;
	struct disk_bitmap *list = mem_array(s->bitmap_count + 1, sizeof(*list));

	for (uint32_t i = 0; i < s->bitmap_count; i++) {
		struct qcow2_bitmap *b = &s->bitmaps[i];

		co_lock(&s->lock);
		int rc = inconsistent(b) ? 0 : load_bits(s, b);

		co_unlock(&s->lock);
		if (rc < 0) {
			free(list);
			return rc;
		}
		snprintf(list[i].name, sizeof(list[i].name), "%s", b->name);
		list[i].granularity = 1u << b->granularity;
		list[i].enabled = b->flags & ROW_AUTO;
		list[i].inconsistent = inconsistent(b);
		list[i].dirty_bytes = dirty_bytes(b);
	}
	*ret_list = list;
	return (int)s->bitmap_count;
}

/* Bytes from offset on: first dirty bit, then the end of its run. */
int qcow2_bitmap_next(struct disk *d, const char *name, uint64_t offset, uint64_t end,
		      uint64_t *ret_offset, uint64_t *ret_len)
{
	struct qcow2 *s = d->state;
	struct qcow2_bitmap *b = find(s, name);

	if (!b || inconsistent(b))
		return b ? -EINVAL : -ENOENT;
	co_lock(&s->lock);
	int rc = load_bits(s, b);

	co_unlock(&s->lock);
	if (rc < 0)
		return rc;
	end = MIN(end, d->size);
	uint64_t i = offset >> b->granularity, last = bit_count(s, b->granularity);

	while (i < last && (i << b->granularity) < end && !test(b, i))
		i = i % 8 || b->bits[i / 8] ? i + 1 : i + 8;
	uint64_t from = MAX(i << b->granularity, offset);

	if (i >= last || from >= end)
		return 0;
	while (i < last && test(b, i))
		i++;
	*ret_offset = from;
	*ret_len = MIN(i << b->granularity, end) - from;
	return 1;
}

/* --- changes --- */

static int change_begin(struct qcow2 *s)
{
	qcow2_begin_alone(s);
	return qcow2_bitmaps_store(s);
}

static int change_end(struct qcow2 *s, int rc, struct err *e)
{
	if (rc == 0)
		rc = qcow2_bitmaps_store(s);
	if (rc == 0)
		rc = qcow2_sync_stable(s);
	qcow2_end_alone(s);
	return rc < 0 ? failed(e, rc, "Could not write bitmaps") : 0;
}

static int check_new(struct qcow2 *s, const char *name, uint32_t granularity, struct err *e)
{
	unsigned bits = granularity ? (unsigned)__builtin_ctz(granularity) : GRANULARITY;

	if (s->version < 3)
		return err_set(e, ERR_UNSUPPORTED, -ENOTSUP,
			       "Cannot store dirty bitmaps in qcow2 v2 files");
	if (!*name || strlen(name) > NAME_MAX_LEN)
		return err_set(e, ERR_DISK_OPTION, -EINVAL, "Bitmap name must have 1 to %d bytes",
			       NAME_MAX_LEN);
	if (find(s, name))
		return err_set(e, ERR_DISK_OPTION, -EEXIST, "Bitmap already exists: %s", name);
	if (granularity && (!bits_is_pow2(granularity) || granularity < 512))
		return err_set(e, ERR_DISK_OPTION, -EINVAL,
			       "Granularity must be power of 2 and at least 512");
	if (s->bitmap_count >= QCOW2_BITMAPS_MAX)
		return err_set(e, ERR_DISK_OPTION, -EFBIG,
			       "Maximum number of persistent bitmaps is "
			       "already reached");
	if (bits_bytes(bit_count(s, bits)) > BITS_BYTES_MAX)
		return err_set(
		    e, ERR_DISK_OPTION, -EFBIG,
		    "Too much space for the bitmap is required; choose a larger granularity");
	return 0;
}

int qcow2_bitmap_add(struct disk *d, const char *name, uint32_t granularity, bool enabled,
		     struct err *e)
{
	struct qcow2 *s = d->state;
	int rc = check_new(s, name, granularity, e);

	if (rc < 0)
		return rc;
	struct qcow2_bitmap b = {
	    .name = mem_strdup(name),
	    .granularity = granularity ? (uint8_t)__builtin_ctz(granularity) : GRANULARITY,
	    .flags = enabled ? ROW_AUTO : 0,
	    .changed = true,
	};

	b.count = bit_count(s, b.granularity);
	b.bits = mem_array(bits_bytes(b.count) + 8, 1);
	rc = change_begin(s);
	if (rc < 0) {
		bitmap_free(&b);
		return change_end(s, rc, e);
	}
	s->bitmaps = mem_grow(s->bitmaps, s->bitmap_count + 2, sizeof(*s->bitmaps));
	s->bitmaps[s->bitmap_count++] = b;
	return change_end(s, 0, e);
}

int qcow2_bitmap_remove(struct disk *d, const char *name, struct err *e)
{
	struct qcow2 *s = d->state;
	struct qcow2_bitmap *b = find(s, name);

	if (!b)
		return err_set(e, ERR_NOT_FOUND, -ENOENT, "Dirty bitmap '%s' not found", name);
	int rc = change_begin(s);
	size_t index = (size_t)(b - s->bitmaps);

	if (rc == 0) {
		struct qcow2_bitmap gone = *b;

		memmove(b, b + 1, (s->bitmap_count - index - 1) * sizeof(*b));
		s->bitmap_count--;
		rc = write_dir(s);
		if (rc == 0)
			rc = free_bits(s, &gone);
		bitmap_free(&gone);
	}
	return change_end(s, rc, e);
}

int qcow2_bitmap_clear(struct disk *d, const char *name, struct err *e)
{
	struct qcow2 *s = d->state;
	struct qcow2_bitmap *b;
	int rc = find_usable(s, name, &b, e);

	if (rc < 0)
		return rc;
	rc = change_begin(s);
	if (rc == 0)
		rc = load_bits(s, b);
	if (rc == 0) {
		memset(b->bits, 0, bits_bytes(b->count));
		b->changed = true;
	}
	return change_end(s, rc, e);
}

int qcow2_bitmap_enable(struct disk *d, const char *name, bool enabled, struct err *e)
{
	struct qcow2 *s = d->state;
	struct qcow2_bitmap *b;
	int rc = find_usable(s, name, &b, e);

	if (rc < 0)
		return rc;
	rc = change_begin(s);
	if (rc == 0) {
		b->flags = enabled ? b->flags | ROW_AUTO : b->flags & ~(uint32_t)ROW_AUTO;
		rc = write_dir(s);
	}
	return change_end(s, rc, e);
}

int qcow2_bitmap_merge(struct disk *d, const char *name, struct disk *from, const char *from_name,
		       struct err *e)
{
	struct qcow2 *s = d->state;
	struct qcow2_bitmap *b;
	uint64_t at = 0, len = 0;
	int rc = find_usable(s, name, &b, e);

	if (rc < 0)
		return rc;
	if (from->size != d->size)
		return err_set(e, ERR_DISK_OPTION, -EINVAL, "Bitmaps are of different sizes");
	rc = change_begin(s);
	if (rc == 0)
		rc = load_bits(s, b);
	co_unlock(&s->lock); /* the other bitmap may be of this image */
	while (rc >= 0) {
		rc = disk_bitmap_next(from, from_name, at + len, from->size, &at, &len);
		if (rc <= 0)
			break;
		set_range(b, at >> b->granularity, (at + len - 1) >> b->granularity);
		b->changed = true;
	}
	co_lock(&s->lock);
	if (rc == -ENOENT) {
		change_end(s, 0, NULL);
		return err_set(e, ERR_NOT_FOUND, rc, "Dirty bitmap '%s' not found", from_name);
	}
	return change_end(s, rc, e);
}

int qcow2_bitmaps_resize(struct qcow2 *s, uint64_t size)
{
	for (uint32_t i = 0; i < s->bitmap_count; i++) {
		struct qcow2_bitmap *b = &s->bitmaps[i];
		uint64_t count = (size + (1ull << b->granularity) - 1) >> b->granularity;
		int rc = inconsistent(b) ? 0 : load_bits(s, b);

		if (rc < 0)
			return rc;
		if (bits_bytes(count) > BITS_BYTES_MAX)
			return -EFBIG;
		if (!b->bits || count == b->count)
			continue;
		uint8_t *bits = mem_array(bits_bytes(count) + 8, 1);

		memcpy(bits, b->bits, MIN(bits_bytes(count), bits_bytes(b->count)));
		for (uint64_t j = count; j < bits_bytes(count) * 8ull; j++)
			bits[j / 8] &= (uint8_t) ~(1u << j % 8);
		free(b->bits);
		b->bits = bits;
		b->count = count;
		b->changed = true;
	}
	return 0;
}

int qcow2_bitmaps_ranges(struct qcow2 *s, int (*fn)(void *arg, uint64_t offset, uint64_t len),
			 void *arg)
{
	int rc = s->bitmaps_bytes ? fn(arg, s->bitmaps_offset, s->bitmaps_bytes) : 0;

	for (uint32_t i = 0; i < s->bitmap_count && rc == 0; i++) {
		const struct qcow2_bitmap *b = &s->bitmaps[i];
		_free_ uint64_t *table = NULL;

		if (!b->table_offset)
			continue;
		rc = read_table(s, b, &table);
		if (rc == 0)
			rc = fn(arg, b->table_offset, b->table_size * 8ull);
		for (uint32_t j = 0; j < b->table_size && rc == 0; j++)
			if (table[j] & TABLE_OFFSET)
				rc = fn(arg, table[j] & TABLE_OFFSET, s->cluster_size);
	}
	return rc;
}
