/* viv history: the steps that made an image, the newest first. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/human.h"
#include "cmd/image.h"
#include "cmd/viv.h"
#include "codec/template.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#define CREATED_BY_MAX 45 /* characters, as in Docker */

static const struct output_column columns[] = {
    {"ID", "IMAGE", false},
    {"CreatedSince", "CREATED", false},
    {"CreatedBy", "CREATED BY", false},
    {"Size", "SIZE", false},
    {"Comment", "COMMENT", false},
    {"CreatedAt", "CREATED AT", true},
    {0},
};

/* On one line, and cut with an ellipsis where it is long. Returns owned. */
static char *shown_command(const char *text, bool whole)
{
	_buf_ struct buf b = {0};
	unsigned n = 0;

	for (const char *s = text; *s; s++) {
		bool starts = (*s & 0xc0) != 0x80;

		if (!whole && starts && ++n == CREATED_BY_MAX && s[1]) {
			buf_adds(&b, "…");
			break;
		}
		buf_addc(&b, *s == '\n' || *s == '\t' ? ' ' : *s);
	}
	return buf_take(&b);
}

/* size: of the layer that the step made. first: the newest step is the image itself. */
static json_t *row_of(struct cli *c, const struct image *i, const struct config_history *h,
		      uint64_t size, bool first)
{
	bool whole = cli_bool(c, "no-trunc"), human = cli_bool(c, "human");
	int64_t created;
	bool dated = !human_parse_time(h->created, &created);
	_free_ char *id = first ? image_shown_id(i, whole) : mem_strdup("<missing>"),
		    *by = shown_command(h->created_by, whole),
		    *since = !dated  ? mem_strdup("N/A")
			     : human ? human_ago(created, time(NULL))
				     : mem_strdup(h->created),
		    *bytes = human ? human_size(size) : mem_printf("%" PRIu64, size);

	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "ID", id, "CreatedSince", since,
			 "CreatedAt", *h->created ? h->created : "N/A", "CreatedBy", by, "Size",
			 bytes, "Comment", h->comment);
}

static json_t *rows_of(struct cli *c, const struct image *i, const struct image_config *config)
{
	json_t *rows = json_array();
	size_t layer = 0;

	for (size_t k = 0; k < config->history.n; k++) {
		const struct config_history *h = &config->history.v[k];
		const struct image_layer *l =
		    !h->empty_layer && layer < i->layers.n ? &i->layers.v[layer++] : NULL;
		uint64_t size = l ? (l->unpacked_size ? l->unpacked_size : l->size) : 0;

		json_array_insert_new(rows, 0, row_of(c, i, h, size, k + 1 == config->history.n));
	}
	return rows;
}

int cmd_image_history(struct cli *c)
{
	_image_session_ struct image_session s = {0};
	_image_config_ struct image_config *config = NULL;
	_image_ struct image *i = NULL;
	_platform_ struct platform want = {0};
	const char *platform = cli_string(c, "platform");
	struct err e = {0};
	int rc = image_session_open(c, &s, &e);

	if (!rc && platform)
		rc = platform_parse(platform, &want, &e);
	rc = rc ? rc : image_find(s.store, cli_argv(c)[0], platform ? &want : NULL, &i, &e);
	rc = rc ? rc : image_read_config(s.store, i, &config, &e);
	if (rc)
		return cli_fail(c, &e);
	_json_ json_t *rows = rows_of(c, i, config);

	if (!cli_bool(c, "quiet"))
		return viv_print_rows(c, columns, rows);
	for (size_t k = 0; k < json_array_size(rows); k++)
		puts(json_string_value(json_object_get(json_array_get(rows, k), "ID")));
	return 0;
}
