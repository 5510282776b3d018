/* viv disk map: where the bytes of an image lie. */
#include "base/str.h"
#include "cmd/disk.h"
#include "disk/driver.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ASK_MAX (1ull << 30) /* bytes asked about at once */

/* A row: neighbours that continue each other are one. */
struct row {
	uint64_t start, len;
	unsigned depth;
	bool present, zero, data, has_offset;
	uint64_t offset;
	struct disk *host;
};

static bool continues(const struct row *a, const struct row *b)
{
	return a->len && a->depth == b->depth && a->present == b->present && a->zero == b->zero &&
	       a->data == b->data && a->has_offset == b->has_offset && a->host == b->host &&
	       (!a->has_offset || a->offset + a->len == b->offset);
}

/* The topmost layer that says something about the bytes decides, as in qemu-img. */
static int look(struct disk *d, uint64_t start, uint64_t len, struct row *row)
{
	struct disk_extent x;
	unsigned depth = 0;
	int rc;

	for (;;) {
		x = (struct disk_extent){0};
		/* A backing image that is shorter reads as zeroes behind its end. */
		if (start >= disk_size(d)) {
			x = (struct disk_extent){.len = len, .flags = DISK_EXT_ZERO};
			break;
		}
		/* What a format says counts, not what holes its file happens to have. */
		rc = disk_block_status(d, start, len, !d->cluster_size, &x);
		if (rc)
			return rc;
		len = x.len;
		if (x.flags & (DISK_EXT_ZERO | DISK_EXT_DATA) || !disk_backing(d))
			break;
		d = disk_backing(d);
		depth++;
	}
	*row = (struct row){
	    .start = start,
	    .len = x.len,
	    .depth = depth,
	    .present = x.flags & DISK_EXT_ALLOCATED,
	    .zero = x.flags & DISK_EXT_ZERO,
	    .data = x.flags & DISK_EXT_DATA,
	    .has_offset = x.flags & DISK_EXT_OFFSET,
	    .offset = x.flags & DISK_EXT_OFFSET ? x.host_offset : 0,
	    .host = x.flags & DISK_EXT_OFFSET ? x.host : NULL,
	};
	return 0;
}

static const char *yes(bool v)
{
	return v ? "true" : "false";
}

static int print_human(struct tool *t, const struct row *r)
{
	if (!r->data || r->zero)
		return 0;
	if (!r->has_offset)
		return tool_error(t, "File contains external, encrypted or compressed clusters.");
	printf("%#-16" PRIx64 "%#-16" PRIx64 "%#-16" PRIx64 "%s\n", r->start, r->len, r->offset,
	       r->host ? disk_filename(r->host) : "");
	return 0;
}

static void print_json(const struct row *r, bool last)
{
	printf("{ \"start\": %" PRIu64 ", \"length\": %" PRIu64 ", \"depth\": %u, \"present\": %s, "
	       "\"zero\": %s, \"data\": %s",
	       r->start, r->len, r->depth, yes(r->present), yes(r->zero), yes(r->data));
	if (r->has_offset)
		printf(", \"offset\": %" PRIu64, r->offset);
	fputs(last ? "}" : "},\n", stdout);
}

static int print_row(struct tool *t, const struct row *r, bool json, bool last)
{
	if (!json)
		return print_human(t, r);
	print_json(r, last);
	return 0;
}

static int map(struct tool *t, struct disk *d, uint64_t start, uint64_t end, bool json)
{
	struct row now = {.start = start};
	int status = 0;

	if (json)
		putchar('[');
	else
		printf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File");
	while (start < end && !status) {
		struct row next;
		int rc = look(d, start, end - start < ASK_MAX ? end - start : ASK_MAX, &next);

		if (rc)
			return tool_error(t, "Failed to read image metadata: %s", strerror(-rc));
		if (continues(&now, &next)) {
			now.len += next.len;
		} else {
			status = now.len ? print_row(t, &now, json, false) : 0;
			now = next;
		}
		start += next.len;
	}
	if (!status && now.len)
		status = print_row(t, &now, json, true);
	if (json)
		puts("]");
	return status;
}

static int run(struct tool *t)
{
	struct cli *c = t->cli;
	const char *from = cli_string(c, "start-offset"), *most = cli_string(c, "max-length");
	uint64_t start = 0, len = INT64_MAX, end;
	bool json;
	int status = tool_output(t, &json);

	if (status)
		return status;
	if (from && !tool_size(t, "start offset", from, 0, INT64_MAX, &start))
		return 1;
	if (most && !tool_size(t, "max length", most, 0, INT64_MAX, &len))
		return 1;
	struct disk *d = tool_open_only(t, NULL, 0);

	if (!d)
		return 1;
	end = disk_size(d);
	if (start < end && len < end - start)
		end = start + len;
	status = map(t, d, start, end, json);
	disk_close(d);
	return status;
}

int disk_cmd_map(struct cli *c)
{
	return tool_run(c, run);
}
