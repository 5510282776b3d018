/* The tar reader's states. Blocks of 512 bytes are collected in `block`, PAX headers and long names in
 * `meta`; file contents are handed on from the caller's bytes without a copy.
 *
 *	HEADER ──x, L, K──> META ──> HEADER         what is said about the next entry
 *	       ──g────────> META ──> HEADER         … and about all: read over
 *	       ──S, extended──> EXTENSION …         GNU's sparse map goes on in further blocks
 *	       ──PAX sparse 1.0──> MAP …            the map stands in front of the data
 *	       ──any entry──> DATA ──> HEADER
 *	       ──zero block──> ZERO ──zero block──> END    what follows is nobody's business
 */
#include "codec/tar_int.h"

#include "base/bits.h"
#include "base/buf.h"
#include "base/checked.h"
#include "base/str.h"

#include <assert.h>
#include <errno.h>

enum state { HEADER, META, EXTENSION, MAP, DATA, ZERO, END };

struct tar_reader {
	const struct tar_sink *sink;
	void *arg;
	enum state state;
	uint64_t pos; /* of the next byte in the archive */
	struct err failed;

	char block[TAR_BLOCK];
	size_t have; /* bytes in block */
	struct tar_header header;

	char meta_type;
	uint64_t meta_len;   /* without padding */
	struct buf meta;     /* what META collects */
	struct buf pax_text; /* what pax points into */
	struct buf long_name, long_link;
	struct tar_pax pax;
	bool has_pax, has_long_name, has_long_link;

	/* the entry under way */
	struct tar_entry entry;
	char name[256 + 1]; /* prefix, slash, name */
	char link[100 + 1];
	struct tar_segments segments;
	uint64_t data_left, skip_left;

	/* the sparse map in front of the data */
	uint64_t map_left;  /* numbers still to come; UINT64_MAX: their count comes first */
	uint64_t map_value; /* the number under way */
	bool map_digits;
	uint64_t map_offset; /* of the pair under way */
};

/* --- numbers and names of the header --- */

int tar_number(const char *field, size_t len, int64_t *ret)
{
	const unsigned char *f = (const unsigned char *)field;
	uint64_t v = 0;

	if (f[0] & 0x80) { /* GNU and star: two's complement, first bit replaced */
		bool negative = f[0] & 0x40;

		for (size_t i = 0; i < len; i++) {
			unsigned byte = i ? f[i] : f[0] & 0x7fu;

			if (negative)
				byte ^= i ? 0xffu : 0x7fu;
			if (v >> 55)
				return -EBADMSG;
			v = v << 8 | byte;
		}
		*ret = negative ? -(int64_t)v - 1 : (int64_t)v;
		return 0;
	}
	while (len && (*field == ' ' || !*field)) {
		field++;
		len--;
	}
	for (; len && *field >= '0' && *field <= '7'; field++, len--) {
		if (v >> 60)
			return -EBADMSG;
		v = v << 3 | (uint64_t)(*field - '0');
	}
	if (len && *field && *field != ' ')
		return -EBADMSG;
	*ret = (int64_t)v;
	return 0;
}

/* Writers of old summed signed characters. */
static bool checksum_holds(const char *block)
{
	const size_t at = offsetof(struct tar_header, checksum);
	int64_t wanted, plain = 0, with_signs = 0;

	if (tar_number(block + at, sizeof(((struct tar_header *)0)->checksum), &wanted))
		return false;
	for (size_t i = 0; i < TAR_BLOCK; i++) {
		char c = i >= at && i < at + 8 ? ' ' : block[i];

		plain += (unsigned char)c;
		with_signs += (signed char)c;
	}
	return wanted == plain || wanted == with_signs;
}

static int bad(struct tar_reader *r, struct err *e, const char *what)
{
	return err_set(e, ERR_TAR_FORMAT, -EBADMSG, "the archive has %s near byte %llu", what,
		       (unsigned long long)r->pos);
}

/* A field of up to len bytes as a string behind to; returns its end. */
static char *add_field(char *to, const char *field, size_t len)
{
	size_t n = strnlen(field, len);

	memcpy(to, field, n);
	to[n] = '\0';
	return to + n;
}

static void take_names(struct tar_reader *r)
{
	const struct tar_header *h = &r->header;
	char *to = r->name;

	/* GNU's magic is "ustar  "; it has times where ustar has the prefix. */
	if (!memcmp(h->magic, "ustar", 6) && h->prefix[0]) {
		bool star = !memcmp((const char *)h + 508, "tar", 4);

		to = add_field(to, h->prefix, star ? 131 : sizeof(h->prefix));
		*to++ = '/';
	}
	add_field(to, h->name, sizeof(h->name));
	add_field(r->link, h->link, sizeof(h->link));
	r->entry.path = r->has_long_name ? buf_str(&r->long_name)
			: r->pax.path    ? r->pax.path
					 : r->name;
	r->entry.link = r->has_long_link ? buf_str(&r->long_link)
			: r->pax.link    ? r->pax.link
					 : r->link;
}

static int take_type(struct tar_reader *r, struct err *e)
{
	static const char types[] = "0123456";
	static const enum tar_type meaning[] = {TAR_FILE,     TAR_HARDLINK, TAR_SYMLINK, TAR_CHAR,
						TAR_BLOCKDEV, TAR_DIR,      TAR_FIFO};
	struct tar_entry *t = &r->entry;
	char type = r->header.type;
	size_t len = strlen(t->path);

	if (type == '7' || type == 'S' || !type) /* contiguous; GNU sparse; V7 */
		t->type = !type && len && t->path[len - 1] == '/' ? TAR_DIR : TAR_FILE;
	else if (strchr(types, type))
		t->type = meaning[strchr(types, type) - types];
	else
		return bad(r, e, "an entry of unknown type");
	return 0;
}

static int take_id(struct tar_reader *r, bool in_pax, uint64_t pax, const char *field,
		   uint32_t *ret, struct err *e)
{
	int64_t v;

	if (in_pax ? pax > UINT32_MAX : tar_number(field, 8, &v) || v < 0 || v > UINT32_MAX)
		return bad(r, e, "an impossible owner");
	*ret = in_pax ? (uint32_t)pax : (uint32_t)v;
	return 0;
}

static int take_numbers(struct tar_reader *r, struct err *e)
{
	const struct tar_header *h = &r->header;
	struct tar_entry *t = &r->entry;
	int64_t mode, size, major = 0, minor = 0;
	int rc;

	if (tar_number(h->mode, sizeof(h->mode), &mode))
		return bad(r, e, "an impossible mode");
	t->mode = (uint32_t)mode & 07777;
	if ((rc = take_id(r, r->pax.has_uid, r->pax.uid, h->uid, &t->uid, e)) ||
	    (rc = take_id(r, r->pax.has_gid, r->pax.gid, h->gid, &t->gid, e)))
		return rc;
	if (r->pax.has_mtime) {
		t->mtime_s = r->pax.mtime_s;
		t->mtime_ns = r->pax.mtime_ns;
	} else if (tar_number(h->mtime, sizeof(h->mtime), &t->mtime_s)) {
		return bad(r, e, "an impossible time");
	}
	if (t->type == TAR_CHAR || t->type == TAR_BLOCKDEV) {
		if (tar_number(h->major, sizeof(h->major), &major) ||
		    tar_number(h->minor, sizeof(h->minor), &minor) || major < 0 || minor < 0 ||
		    major > UINT32_MAX || minor > UINT32_MAX)
			return bad(r, e, "an impossible device number");
		t->dev_major = (uint32_t)major;
		t->dev_minor = (uint32_t)minor;
	}
	if (tar_number(h->size, sizeof(h->size), &size) || size < 0)
		return bad(r, e, "an impossible size");
	t->data_len = r->pax.has_size ? r->pax.size : (uint64_t)size;
	if (t->data_len > INT64_MAX - TAR_BLOCK)
		return bad(r, e, "an impossible size");
	if (t->type != TAR_FILE && r->header.type) /* sizes of links and devices mean nothing */
		t->data_len = 0;
	return 0;
}

/* --- the end of an entry's header --- */

/* Everything about the entry is known: hands it over. Its data follow. */
static int emit(struct tar_reader *r, struct err *e)
{
	struct tar_entry *t = &r->entry;
	int rc;

	t->data_offset = r->pos;
	if (t->sparse) {
		rc = tar_segments_check(&r->segments, t->size, t->data_len, e);
		if (rc)
			return rc;
		t->segments = r->segments.list.v;
		t->segment_count = r->segments.list.n;
	}
	t->xattrs = r->pax.xattrs.v;
	t->xattr_count = r->pax.xattrs.n;
	rc = r->sink->entry(r->arg, t, e);
	r->data_left = t->data_len;
	r->skip_left = -t->data_len % TAR_BLOCK;
	r->state = DATA;
	r->has_long_name = r->has_long_link = r->has_pax = false;
	tar_pax_reset(&r->pax);
	return rc;
}

static int gnu_pairs(struct tar_reader *r, const char *pairs, unsigned count, struct err *e)
{
	for (unsigned i = 0; i < count; i++, pairs += 24) {
		int64_t offset, len;
		int rc;

		if (!pairs[0])
			break;
		if (tar_number(pairs, 12, &offset) || tar_number(pairs + 12, 12, &len) ||
		    offset < 0 || len < 0)
			return bad(r, e, "a malformed sparse map");
		rc = tar_segments_add(&r->segments, (uint64_t)offset, (uint64_t)len, e);
		if (rc)
			return rc;
	}
	return 0;
}

static int begin_gnu_sparse(struct tar_reader *r, struct err *e)
{
	const char *block = (const char *)&r->header;
	int64_t size;

	if (tar_number(block + TAR_GNU_REALSIZE, 12, &size) || size < 0)
		return bad(r, e, "an impossible size");
	r->entry.sparse = true;
	r->entry.size = (uint64_t)size;
	int rc = gnu_pairs(r, block + TAR_GNU_SPARSE, TAR_GNU_SPARSE_COUNT, e);

	if (rc)
		return rc;
	if (!block[TAR_GNU_EXTENDED])
		return emit(r, e);
	r->state = EXTENSION;
	return 0;
}

static int extension_block(struct tar_reader *r, struct err *e)
{
	int rc = gnu_pairs(r, r->block, TAR_GNU_EXT_COUNT, e);

	return rc || r->block[TAR_GNU_EXT_EXTENDED] ? rc : emit(r, e);
}

static int begin_pax_sparse(struct tar_reader *r, struct err *e)
{
	struct tar_entry *t = &r->entry;

	t->sparse = true;
	t->size = r->pax.sparse_size;
	if (r->pax.sparse_name)
		t->path = r->pax.sparse_name;
	if (r->pax.sparse_major == 1 && r->pax.sparse_minor == 0) {
		r->map_left = UINT64_MAX;
		r->map_value = 0;
		r->map_digits = false;
		r->state = MAP;
		return t->data_len >= TAR_BLOCK ? 0 : bad(r, e, "no sparse map");
	}
	vec_each (seg, &r->pax.segments.list) {
		int rc = tar_segments_add(&r->segments, seg->offset, seg->len, e);

		if (rc)
			return rc;
	}
	return emit(r, e);
}

/* A number of the map is complete: the count of pairs, an offset or a length. */
static int map_number(struct tar_reader *r, struct err *e)
{
	if (r->map_left == UINT64_MAX) {
		if (r->map_value > TAR_SEGMENTS_MAX)
			return err_set(e, ERR_TAR_LIMIT, -E2BIG,
				       "a sparse file has more than %u segments", TAR_SEGMENTS_MAX);
		r->map_left = r->map_value * 2;
		return 0;
	}
	if (r->map_left-- % 2 == 0) {
		r->map_offset = r->map_value;
		return 0;
	}
	return tar_segments_add(&r->segments, r->map_offset, r->map_value, e);
}

/* Form 1.0: decimal numbers, each with a newline; the last block is padded with zeros. */
static int map_block(struct tar_reader *r, struct err *e)
{
	r->entry.data_len -= TAR_BLOCK;
	for (const char *p = r->block; p < r->block + TAR_BLOCK && r->map_left; p++) {
		if (*p >= '0' && *p <= '9' && !(r->map_value >> 59)) {
			r->map_value = r->map_value * 10 + (uint64_t)(*p - '0');
			r->map_digits = true;
			continue;
		}
		if (*p != '\n' || !r->map_digits)
			return bad(r, e, "a malformed sparse map");
		int rc = map_number(r, e);

		if (rc)
			return rc;
		r->map_value = 0;
		r->map_digits = false;
	}
	if (!r->map_left)
		return emit(r, e);
	return r->entry.data_len >= TAR_BLOCK ? 0 : bad(r, e, "a sparse map without end");
}

/* --- blocks --- */

static int begin_meta(struct tar_reader *r, struct err *e)
{
	int64_t size;

	if (tar_number(r->header.size, sizeof(r->header.size), &size) || size < 0)
		return bad(r, e, "an impossible size");
	if (size > TAR_META_MAX)
		return err_set(e, ERR_TAR_LIMIT, -E2BIG,
			       "a PAX header or long name of the archive is larger than %u bytes",
			       TAR_META_MAX);
	r->meta_type = r->header.type;
	r->meta_len = (uint64_t)size;
	buf_reset(&r->meta);
	buf_reserve(&r->meta, bits_align_up(r->meta_len, TAR_BLOCK));
	r->state = size ? META : HEADER;
	return 0;
}

static void take_long(struct buf *to, const struct buf *from, uint64_t len)
{
	buf_reset(to);
	buf_add(to, from->s, strnlen(from->s, len));
}

static int finish_meta(struct tar_reader *r, struct err *e)
{
	r->state = HEADER;
	switch (r->meta_type) {
	case 'L':
		r->has_long_name = true;
		take_long(&r->long_name, &r->meta, r->meta_len);
		return 0;
	case 'K':
		r->has_long_link = true;
		take_long(&r->long_link, &r->meta, r->meta_len);
		return 0;
	case 'x':
	case 'X':
		tar_pax_reset(&r->pax);
		buf_reset(&r->pax_text);
		buf_add(&r->pax_text, r->meta.s, r->meta_len);
		r->has_pax = true;
		return tar_pax_parse(r->pax_text.s, r->meta_len, &r->pax, e);
	default: /* 'g' */
		return 0;
	}
}

static int header_block(struct tar_reader *r, struct err *e)
{
	static const char zero[TAR_BLOCK];
	int rc;

	if (!memcmp(r->block, zero, TAR_BLOCK)) {
		r->state = r->state == ZERO ? END : ZERO;
		return 0;
	}
	if (r->state == ZERO)
		return bad(r, e, "an entry behind its end mark");
	if (!checksum_holds(r->block))
		return bad(r, e, "no valid header");
	memcpy(&r->header, r->block, TAR_BLOCK);
	if (r->header.type && strchr("xXgLK", r->header.type))
		return begin_meta(r, e);

	r->entry = (struct tar_entry){0};
	r->segments.list.n = 0;
	take_names(r);
	if ((rc = take_type(r, e)) || (rc = take_numbers(r, e)))
		return rc;
	if (r->header.type == 'S')
		return begin_gnu_sparse(r, e);
	if (r->entry.type == TAR_FILE && r->pax.has_sparse_size &&
	    (r->pax.has_sparse_map || r->pax.sparse_major))
		return begin_pax_sparse(r, e);
	r->entry.size = r->entry.type == TAR_FILE ? r->entry.data_len : 0;
	return emit(r, e);
}

static int block(struct tar_reader *r, struct err *e)
{
	switch (r->state) {
	case EXTENSION:
		return extension_block(r, e);
	case MAP:
		return map_block(r, e);
	default:
		return header_block(r, e);
	}
}

/* --- feeding --- */

static size_t step_data(struct tar_reader *r, const char *p, size_t len, int *rc, struct err *e)
{
	size_t n;

	if (r->data_left) {
		n = (size_t)MIN(r->data_left, (uint64_t)len);
		if (r->sink->data)
			*rc = r->sink->data(r->arg, p, n, e);
		r->data_left -= n;
	} else {
		n = (size_t)MIN(r->skip_left, (uint64_t)len);
		r->skip_left -= n;
	}
	if (!r->data_left && !r->skip_left)
		r->state = HEADER;
	return n;
}

static size_t step_meta(struct tar_reader *r, const char *p, size_t len, int *rc, struct err *e)
{
	uint64_t whole = bits_align_up(r->meta_len, TAR_BLOCK);
	size_t n = (size_t)MIN(whole - r->meta.len, (uint64_t)len);

	buf_add(&r->meta, p, n);
	if (r->meta.len == whole)
		*rc = finish_meta(r, e);
	return n;
}

static size_t step_block(struct tar_reader *r, const char *p, size_t len, int *rc, struct err *e)
{
	size_t n = MIN(sizeof(r->block) - r->have, len);

	memcpy(r->block + r->have, p, n);
	r->have += n;
	if (r->have == sizeof(r->block)) {
		r->have = 0;
		r->pos += n; /* entries begin behind their header */
		*rc = block(r, e);
		r->pos -= n;
	}
	return n;
}

int tar_reader_feed(struct tar_reader *r, const void *p, size_t len, struct err *e)
{
	const char *at = p;
	struct err mine = {0};
	int rc = 0;

	if (r->failed.rc) {
		if (e)
			*e = r->failed;
		return r->failed.rc;
	}
	while (len && !rc && r->state != END) {
		size_t n;

		if (r->state == DATA && !r->data_left && !r->skip_left) {
			r->state = HEADER;
			continue;
		}
		if (r->state == DATA)
			n = step_data(r, at, len, &rc, &mine);
		else if (r->state == META)
			n = step_meta(r, at, len, &rc, &mine);
		else
			n = step_block(r, at, len, &rc, &mine);
		r->pos += n;
		at += n;
		len -= n;
	}
	if (rc) {
		r->failed = mine;
		r->failed.rc = rc;
		if (e)
			*e = r->failed;
	}
	return rc;
}

int tar_reader_finish(struct tar_reader *r, struct err *e)
{
	bool between = r->state == END || r->state == ZERO || r->state == HEADER ||
		       (r->state == DATA && !r->data_left);

	if (r->failed.rc)
		return tar_reader_feed(r, NULL, 0, e);
	if (!between || (r->have && r->state != END) || r->has_pax || r->has_long_name ||
	    r->has_long_link)
		return bad(r, e, "no end: it stops inside an entry");
	return 0;
}

struct tar_reader *tar_reader_new(const struct tar_sink *sink, void *arg)
{
	struct tar_reader *r = mem_alloc(sizeof(*r));

	static_assert(sizeof(struct tar_header) == TAR_BLOCK, "the header is one block");
	r->sink = sink;
	r->arg = arg;
	return r;
}

void tar_reader_free(struct tar_reader *r)
{
	if (!r)
		return;
	buf_done(&r->meta);
	buf_done(&r->pax_text);
	buf_done(&r->long_name);
	buf_done(&r->long_link);
	tar_pax_done(&r->pax);
	vec_done(&r->segments.list);
	free(r);
}
