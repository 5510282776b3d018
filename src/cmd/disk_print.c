#include "cmd/disk_print.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"

#include <inttypes.h>
#include <time.h>

/* QEMU prints the members of an object in the order of its hash table, which is the same for all
 * objects. Scripts and tests that compare text rely on it; this is what its programs print. */
static const char *const member_order[] = {
    "image-end-offset",
    "backing-filename-format",
    "snapshots",
    "compressed",
    "compressed-clusters",
    "total-clusters",
    "virtual-size",
    "corruptions",
    "corruptions-fixed",
    "icount",
    "vm-clock-nsec",
    "flags",
    "name",
    "granularity",
    "date-sec",
    "date-nsec",
    "vm-clock-sec",
    "id",
    "vm-state-size",
    "check-errors",
    "leaks",
    "leaks-fixed",
    "allocated-clusters",
    "ivgen-alg",
    "ivgen-hash-alg",
    "hash-alg",
    "cipher-alg",
    "uuid",
    "filename",
    "cluster-size",
    "format",
    "fragmented-clusters",
    "actual-size",
    "format-specific",
    "full-backing-filename",
    "encrypted",
    "backing-filename",
    "dirty-flag",
    "cipher-mode",
    "slots",
    "payload-offset",
    "master-key-iters",
    "active",
    "iters",
    "key-offset",
    "stripes",
    "cid",
    "parent-cid",
    "create-type",
    "extents",
    "type",
    "data",
    "compat",
    "compression-type",
    "lazy-refcounts",
    "bitmaps",
    "required",
    "fully-allocated",
    "refcount-bits",
    "data-file",
    "encrypt",
    "data-file-raw",
    "corrupt",
    "extended-l2",
};

static bool has_order(const char *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(member_order); i++)
		if (str_eq(key, member_order[i]))
			return true;
	return false;
}

typedef void member_fn(void *arg, const char *key, const json_t *value);

static void each_member(const json_t *object, member_fn *fn, void *arg)
{
	const char *key;
	json_t *value;

	for (size_t i = 0; i < ARRAY_SIZE(member_order); i++) {
		value = json_object_get(object, member_order[i]);
		if (value)
			fn(arg, member_order[i], value);
	}
	json_object_foreach ((json_t *)object, key, value)
		if (!has_order(key))
			fn(arg, key, value);
}

struct json_place {
	struct buf *b;
	unsigned indent;
	bool later; /* a member stands before it */
};

static void new_line(struct json_place *p)
{
	buf_addf(p->b, "%s\n%*s", p->later ? "," : "", (int)p->indent, "");
	p->later = true;
}

static void print_member(void *arg, const char *key, const json_t *value)
{
	struct json_place *p = arg;

	new_line(p);
	buf_add_json_string(p->b, key);
	buf_adds(p->b, ": ");
	disk_print_json(p->b, value, p->indent);
}

void disk_print_json(struct buf *b, const json_t *value, unsigned indent)
{
	struct json_place inner = {.b = b, .indent = indent + 4};
	json_t *item;
	size_t i;

	if (json_is_object(value)) {
		buf_addc(b, '{');
		each_member(value, print_member, &inner);
		buf_addf(b, "\n%*s}", (int)indent, "");
	} else if (json_is_array(value)) {
		buf_addc(b, '[');
		json_array_foreach (value, i, item) {
			new_line(&inner);
			disk_print_json(b, item, inner.indent);
		}
		buf_addf(b, "\n%*s]", (int)indent, "");
	} else {
		_free_ char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);

		buf_adds(b, text ? text : "null");
	}
}

static void print_node(struct buf *b, const json_t *value, unsigned indent);

static void print_list(struct buf *b, const json_t *list, unsigned indent)
{
	json_t *item;
	size_t i;

	json_array_foreach (list, i, item) {
		buf_addf(b, "%*s[%zu]:", (int)indent, "", i);
		print_node(b, item, indent);
	}
}

/* What follows the colon: a word on the same line, or lines below. */
static void print_node(struct buf *b, const json_t *value, unsigned indent)
{
	if (json_is_object(value)) {
		buf_addc(b, '\n');
		disk_print_tree(b, value, indent + 4);
	} else if (json_is_array(value)) {
		buf_addc(b, '\n');
		print_list(b, value, indent + 4);
	} else if (json_is_string(value)) {
		buf_addf(b, " %s\n", json_string_value(value));
	} else {
		_free_ char *text = json_dumps(value, JSON_ENCODE_ANY);

		buf_addf(b, " %s\n", text ? text : "null");
	}
}

struct tree_place {
	struct buf *b;
	unsigned indent;
};

static void print_branch(void *arg, const char *key, const json_t *value)
{
	struct tree_place *p = arg;

	buf_addf(p->b, "%*s", (int)p->indent, "");
	for (; *key; key++)
		buf_addc(p->b, *key == '-' ? ' ' : *key);
	buf_addc(p->b, ':');
	print_node(p->b, value, p->indent);
}

void disk_print_tree(struct buf *b, const json_t *object, unsigned indent)
{
	struct tree_place p = {.b = b, .indent = indent};

	each_member(object, print_branch, &p);
}

void disk_print_size(struct buf *b, uint64_t bytes)
{
	static const char *const units[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
	unsigned unit = 0;
	double value = (double)bytes;

	/* The next unit begins at 1000 of the last, so that three digits always suffice. */
	while (value >= 1000 && unit + 1 < ARRAY_SIZE(units)) {
		value /= 1024;
		unit++;
	}
	buf_addf(b, "%.3g %sB", value, units[unit]);
}

static void print_snapshot(struct buf *b, const struct disk_snapshot *s)
{
	_buf_ struct buf size = {0};
	char date[32] = "", clock[32], icount[24] = "";
	time_t when = s->date_sec;
	struct tm tm;
	uint64_t secs = s->vm_clock_nsec / 1000000000;

	if (localtime_r(&when, &tm))
		strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &tm);
	snprintf(clock, sizeof(clock), "%02" PRIu64 ":%02" PRIu64 ":%02" PRIu64 ".%03" PRIu64,
		 secs / 3600, secs / 60 % 60, secs % 60, s->vm_clock_nsec / 1000000 % 1000);
	if (s->icount != UINT64_MAX)
		snprintf(icount, sizeof(icount), "%" PRIu64, s->icount);
	disk_print_size(&size, s->vm_state_size);
	buf_addf(b, "%-9s %-16s %8s%20s%13s%11s\n", s->id, s->name, buf_str(&size), date, clock,
		 icount);
}

void disk_print_snapshots(struct buf *b, const struct disk_snapshot *list, int count)
{
	buf_addf(b, "%-10s%-17s%8s%20s%13s%11s\n", "ID", "TAG", "VM SIZE", "DATE", "VM CLOCK",
		 "ICOUNT");
	for (int i = 0; i < count; i++)
		print_snapshot(b, &list[i]);
}

json_t *disk_snapshot_json(const struct disk_snapshot *s)
{
	json_t *o = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "id", s->id, "name", s->name,
			      "vm-state-size", (json_int_t)s->vm_state_size, "date-sec",
			      (json_int_t)s->date_sec, "date-nsec", (json_int_t)s->date_nsec,
			      "vm-clock-sec", (json_int_t)(s->vm_clock_nsec / 1000000000),
			      "vm-clock-nsec", (json_int_t)(s->vm_clock_nsec % 1000000000));

	if (o && s->icount != UINT64_MAX)
		json_object_set_new(o, "icount", json_integer((json_int_t)s->icount));
	return o;
}
