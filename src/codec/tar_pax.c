#include "codec/tar_int.h"

#include "base/checked.h"
#include "base/str.h"

#include <errno.h>

int tar_segments_add(struct tar_segments *s, uint64_t offset, uint64_t len, struct err *e)
{
	if (!len)
		return 0;
	if (s->list.n == TAR_SEGMENTS_MAX)
		return err_set(e, ERR_TAR_LIMIT, -E2BIG, "a sparse file has more than %u segments",
			       TAR_SEGMENTS_MAX);
	vec_push(&s->list, (struct tar_segment){offset, len});
	return 0;
}

int tar_segments_check(const struct tar_segments *s, uint64_t size, uint64_t stored, struct err *e)
{
	uint64_t end = 0, sum = 0;

	vec_each (seg, &s->list) {
		if (seg->offset < end || !checked_add(seg->offset, seg->len, &end) || end > size)
			return err_set(e, ERR_TAR_FORMAT, -EBADMSG,
				       "a sparse file's map is out of order or leaves the file");
		sum += seg->len;
	}
	if (sum != stored)
		return err_set(e, ERR_TAR_FORMAT, -EBADMSG,
			       "a sparse file's map does not suit its data");
	return 0;
}

static int malformed(struct err *e, const char *what)
{
	return err_set(e, ERR_TAR_FORMAT, -EBADMSG, "a PAX header has a malformed %s", what);
}

static int number(const char *value, uint64_t *ret, struct err *e, const char *what)
{
	return str_to_u64(value, ret) ? malformed(e, what) : 0;
}

/* Seconds with an optional fraction, of which nine digits count. */
static int time_value(char *value, struct tar_pax *p, struct err *e)
{
	bool negative = *value == '-';
	char *fraction = strchr(value, '.');
	int64_t s;
	uint32_t ns = 0;

	if (fraction) {
		*fraction++ = '\0';
		for (uint32_t unit = 100000000; *fraction; fraction++, unit /= 10) {
			if (*fraction < '0' || *fraction > '9')
				return malformed(e, "time");
			ns += unit * (uint32_t)(*fraction - '0');
		}
	}
	if (str_to_i64(value, &s) || s == INT64_MIN)
		return malformed(e, "time");
	if (negative && ns) {
		s--;
		ns = 1000000000 - ns;
	}
	p->has_mtime = true;
	p->mtime_s = s;
	p->mtime_ns = ns;
	return 0;
}

/* Form 0.1: "offset,length,offset,length…" */
static int sparse_map(char *value, struct tar_pax *p, struct err *e)
{
	uint64_t pair[2];
	unsigned i = 0;

	p->segments.list.n = 0;
	p->half_segment = false;
	for (char *save = NULL, *word = strtok_r(value, ",", &save); word;
	     word = strtok_r(NULL, ",", &save)) {
		int rc = number(word, &pair[i], e, "sparse map");

		if (!rc && i)
			rc = tar_segments_add(&p->segments, pair[0], pair[1], e);
		if (rc)
			return rc;
		i = !i;
	}
	p->has_sparse_map = true;
	return i ? malformed(e, "sparse map") : 0;
}

/* Form 0.0: the records GNU.sparse.offset and GNU.sparse.numbytes take turns. */
static int sparse_half(bool offset, const char *value, struct tar_pax *p, struct err *e)
{
	static const char what[] = "sparse map";
	uint64_t v;
	int rc = number(value, &v, e, what);

	if (rc)
		return rc;
	if (offset == p->half_segment)
		return malformed(e, what);
	p->half_segment = offset;
	p->has_sparse_map = true;
	if (offset) {
		if (p->segments.list.n == TAR_SEGMENTS_MAX)
			return tar_segments_add(&p->segments, v, 1, e);
		vec_push(&p->segments.list, (struct tar_segment){v, 0});
		return 0;
	}
	struct tar_segment *last = &p->segments.list.v[p->segments.list.n - 1];

	last->len = v;
	p->segments.list.n -= !v;
	return 0;
}

static int sparse_record(const char *key, char *value, struct tar_pax *p, struct err *e)
{
	if (str_eq(key, "major"))
		return number(value, &p->sparse_major, e, "sparse version");
	if (str_eq(key, "minor"))
		return number(value, &p->sparse_minor, e, "sparse version");
	if (str_eq(key, "name")) {
		p->sparse_name = value;
		return 0;
	}
	if (str_eq(key, "size") || str_eq(key, "realsize")) {
		p->has_sparse_size = true;
		return number(value, &p->sparse_size, e, "sparse size");
	}
	if (str_eq(key, "map"))
		return sparse_map(value, p, e);
	if (str_eq(key, "offset") || str_eq(key, "numbytes"))
		return sparse_half(str_eq(key, "offset"), value, p, e);
	return 0;
}

static int xattr_record(const char *name, const char *value, size_t len, struct tar_pax *p,
			struct err *e)
{
	if (!*name)
		return malformed(e, "attribute name");
	vec_each (x, &p->xattrs) {
		if (!str_eq(x->name, name))
			continue;
		x->value = value; /* a later record replaces an earlier one */
		x->len = len;
		return 0;
	}
	if (p->xattrs.n == TAR_XATTRS_MAX)
		return err_set(e, ERR_TAR_LIMIT, -E2BIG, "an entry has more than %u attributes",
			       TAR_XATTRS_MAX);
	vec_push(&p->xattrs, (struct tar_xattr){name, value, len});
	return 0;
}

static int record(const char *key, char *value, size_t len, struct tar_pax *p, struct err *e)
{
	const char *rest;
	bool plain = !memchr(value, '\0', len);

	if ((rest = str_after(key, "SCHILY.xattr.")))
		return xattr_record(rest, value, len, p, e);
	if ((rest = str_after(key, "GNU.sparse.")))
		return plain ? sparse_record(rest, value, p, e) : malformed(e, key);
	if (str_eq(key, "path") || str_eq(key, "linkpath")) {
		if (!plain)
			return malformed(e, key);
		*(*key == 'p' ? &p->path : &p->link) = len ? value : NULL;
		return 0;
	}
	if (!len) /* takes a value back that a global header gave */
		return 0;
	if (str_eq(key, "size")) {
		p->has_size = true;
		return number(value, &p->size, e, key);
	}
	if (str_eq(key, "uid")) {
		p->has_uid = true;
		return number(value, &p->uid, e, key);
	}
	if (str_eq(key, "gid")) {
		p->has_gid = true;
		return number(value, &p->gid, e, key);
	}
	return str_eq(key, "mtime") ? time_value(value, p, e) : 0;
}

/* pax, "pax Extended Header": "%d %s=%s\n", the length counting the whole record. */
int tar_pax_parse(char *s, size_t len, struct tar_pax *p, struct err *e)
{
	while (len) {
		size_t n = 0, digits = 0;

		for (; digits < len && s[digits] >= '0' && s[digits] <= '9'; digits++) {
			n = n * 10 + (size_t)(s[digits] - '0');
			if (n > len)
				return malformed(e, "length");
		}
		if (!digits || n < digits + 2 || s[digits] != ' ' || s[n - 1] != '\n')
			return malformed(e, "record");
		char *key = s + digits + 1, *end = s + n - 1;
		char *value = memchr(key, '=', (size_t)(end - key));

		if (!value || value == key || memchr(key, '\0', (size_t)(value - key)))
			return malformed(e, "key");
		*value++ = '\0';
		*end = '\0';
		int rc = record(key, value, (size_t)(end - value), p, e);

		if (rc)
			return rc;
		s += n;
		len -= n;
	}
	return p->half_segment ? malformed(e, "sparse map") : 0;
}

void tar_pax_reset(struct tar_pax *p)
{
	struct tar_pax fresh = {.xattrs = p->xattrs, .segments = p->segments};

	fresh.xattrs.n = 0;
	fresh.segments.list.n = 0;
	*p = fresh;
}

void tar_pax_done(struct tar_pax *p)
{
	vec_done(&p->xattrs);
	vec_done(&p->segments.list);
}
