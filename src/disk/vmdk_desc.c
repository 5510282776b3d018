#include "disk/vmdk_desc.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"

bool vmdk_desc_probe(const char *text, size_t len)
{
	static const char first[] = "# Disk DescriptorFile";

	return len >= sizeof(first) - 1 && !strncasecmp(text, first, sizeof(first) - 1);
}

static int bad_line(struct err *e, const char *line)
{
	return err_set(e, ERR_DISK_FORMAT, -EINVAL, "Invalid extent line: %.*s",
		       (int)strcspn(line, "\r\n"), line);
}

/* What stands in quotes at s; owned, NULL where there are none on this line. */
static char *quoted(const char *s)
{
	size_t len;

	s += strcspn(s, "\"\r\n");
	if (*s++ != '"')
		return NULL;
	len = strcspn(s, "\"\r\n");
	return s[len] == '"' ? mem_strndup(s, len) : NULL;
}

/* ACCESS SECTORS TYPE ["NAME" [OFFSET]]. Returns 0 where the line is no extent, else 1. */
static int parse_extent(const char *line, struct vmdk_desc_extent *ret, struct err *e)
{
	struct vmdk_desc_extent x = {0};
	char access[16];
	const char *rest;
	int n = 0;

	if (sscanf(line, "%15s %" SCNu64 " %15s%n", access, &x.sectors, x.type, &n) != 3)
		return 0;
	if (!str_eq(access, "RW") && !str_eq(access, "RDONLY"))
		return 0;
	x.writable = str_eq(access, "RW");
	if (!x.sectors || x.sectors > VMDK_SECTORS_MAX)
		return bad_line(e, line);
	x.name = quoted(line + n);
	if (x.name) {
		rest = strchr(strchr(line + n, '"') + 1, '"') + 1;
		if (sscanf(rest, "%" SCNu64, &x.offset) != 1)
			x.offset = 0;
	}
	if ((!x.name || !*x.name) != str_eq(x.type, "ZERO") || x.offset > VMDK_SECTORS_MAX) {
		free(x.name);
		return bad_line(e, line);
	}
	*ret = x;
	return 1;
}

static int add_extent(struct vmdk_desc *d, const struct vmdk_desc_extent *x, struct err *e)
{
	if (d->extent_count == VMDK_EXTENTS_MAX) {
		free(x->name);
		return err_set(e, ERR_DISK_FORMAT, -EINVAL,
			       "the VMDK descriptor has more than %u extents", VMDK_EXTENTS_MAX);
	}
	d->extents = mem_grow(d->extents, d->extent_count + 1, sizeof(*d->extents));
	d->extents[d->extent_count++] = *x;
	return 0;
}

/* The value of `key=` on this line, or NULL. Spaces around the key do not count. */
static const char *value_of(const char *line, const char *key)
{
	line += strspn(line, " \t");
	line = str_after(line, key);
	if (!line)
		return NULL;
	line += strspn(line, " \t");
	return *line == '=' ? line + 1 + strspn(line + 1, " \t") : NULL;
}

static const char *next_line(const char *s)
{
	s += strcspn(s, "\n");
	return *s ? s + 1 : s;
}

int vmdk_desc_parse(const char *text, struct vmdk_desc *ret_desc, struct err *e)
{
	struct vmdk_desc *d = ret_desc;
	const char *value;
	int rc = 0;

	*d = (struct vmdk_desc){.parent_cid = VMDK_NO_PARENT};
	for (const char *line = text; *line && rc >= 0; line = next_line(line)) {
		struct vmdk_desc_extent x;

		rc = parse_extent(line, &x, e);
		if (rc > 0) {
			rc = add_extent(d, &x, e);
		} else if ((value = value_of(line, "CID"))) {
			d->cid = strtoul(value, NULL, 16);
		} else if ((value = value_of(line, "parentCID"))) {
			d->parent_cid = strtoul(value, NULL, 16);
		} else if ((value = value_of(line, "createType"))) {
			_free_ char *type = quoted(value);

			snprintf(d->create_type, sizeof(d->create_type), "%s", type ? type : "");
		} else if (!d->parent && (value = value_of(line, "parentFileNameHint"))) {
			d->parent = quoted(value);
		}
	}
	if (rc >= 0 && !*d->create_type)
		rc = err_set(e, ERR_DISK_FORMAT, -EINVAL, "invalid VMDK image descriptor");
	return rc < 0 ? rc : 0;
}

void vmdk_desc_done(struct vmdk_desc *d)
{
	for (unsigned i = 0; i < d->extent_count; i++)
		free(d->extents[i].name);
	free(d->extents);
	free(d->parent);
	*d = (struct vmdk_desc){0};
}

static void add_extents(const struct vmdk_desc *d, struct buf *b)
{
	for (unsigned i = 0; i < d->extent_count; i++) {
		const struct vmdk_desc_extent *x = &d->extents[i];

		buf_addf(b, "%s %" PRIu64 " %s", x->writable ? "RW" : "RDONLY", x->sectors,
			 x->type);
		if (x->name)
			buf_addf(b, " \"%s\"", x->name);
		if (str_eq(x->type, "FLAT"))
			buf_addf(b, " %" PRIu64, x->offset);
		buf_addc(b, '\n');
	}
}

static uint64_t cylinders(const struct vmdk_desc *d, unsigned heads)
{
	uint64_t sectors = 0;

	for (unsigned i = 0; i < d->extent_count; i++)
		sectors += d->extents[i].sectors;
	return sectors / (63 * heads);
}

/* VMware numbers heads by the adapter. */
static unsigned heads_of(const char *adapter)
{
	return str_eq(adapter, "ide") ? 16 : 255;
}

void vmdk_desc_build(const struct vmdk_desc *d, const struct vmdk_desc_hardware *hw, struct buf *b)
{
	unsigned heads = heads_of(hw->adapter);

	buf_addf(b,
		 "# Disk DescriptorFile\nversion=1\nCID=%08" PRIx32 "\nparentCID=%08" PRIx32
		 "\ncreateType=\"%s\"\n",
		 d->cid, d->parent_cid, d->create_type);
	if (d->parent)
		buf_addf(b, "parentFileNameHint=\"%s\"\n", d->parent);
	buf_adds(b, "\n# Extent description\n");
	add_extents(d, b);
	buf_addf(b,
		 "\n# The Disk Data Base\n#DDB\n\n"
		 "ddb.virtualHWVersion = \"%s\"\n"
		 "ddb.geometry.cylinders = \"%" PRIu64 "\"\n"
		 "ddb.geometry.heads = \"%u\"\n"
		 "ddb.geometry.sectors = \"63\"\n"
		 "ddb.adapterType = \"%s\"\n"
		 "ddb.toolsVersion = \"%s\"\n",
		 hw->version, cylinders(d, heads), heads, hw->adapter, hw->tools);
}

void vmdk_desc_edit(const char *old, const struct vmdk_desc *d, struct buf *b)
{
	bool extents_done = false;
	const char *next, *heads_line = strstr(old, "ddb.geometry.heads");
	const char *heads = heads_line ? value_of(heads_line, "ddb.geometry.heads") : NULL;
	unsigned head_count = heads ? strtoul(heads + strspn(heads, "\""), NULL, 10) : 0;

	for (const char *line = old; *line; line = next) {
		struct vmdk_desc_extent x;

		next = next_line(line);
		if (parse_extent(line, &x, NULL) > 0) {
			free(x.name);
			if (!extents_done)
				add_extents(d, b);
			extents_done = true;
		} else if (value_of(line, "CID")) {
			buf_addf(b, "CID=%08" PRIx32 "\n", d->cid);
		} else if (value_of(line, "parentCID")) {
			buf_addf(b, "parentCID=%08" PRIx32 "\n", d->parent_cid);
		} else if (value_of(line, "ddb.geometry.cylinders")) {
			buf_addf(b, "ddb.geometry.cylinders = \"%" PRIu64 "\"\n",
				 cylinders(d, head_count && head_count <= 255 ? head_count : 16));
		} else {
			buf_add(b, line, next - line);
		}
	}
}
