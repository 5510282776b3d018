/* viv image df. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "cmd/human.h"
#include "cmd/image.h"
#include "cmd/viv.h"
#include "codec/template.h"
#include "image/verify.h"

#include <time.h>

static const struct output_column columns[] = {
    {"Type", "TYPE", false}, {"TotalCount", "TOTAL", false},        {"Active", "ACTIVE", false},
    {"Size", "SIZE", false}, {"Reclaimable", "RECLAIMABLE", false}, {0},
};
static const struct output_column columns_images[] = {
    {"Repository", "REPOSITORY", false},
    {"Tag", "TAG", false},
    {"ID", "IMAGE ID", false},
    {"CreatedSince", "CREATED", false},
    {"Size", "SIZE", false},
    {"SharedSize", "SHARED SIZE", false},
    {"UniqueSize", "UNIQUE SIZE", false},
    {0},
};

static void add_part(json_t *rows, const char *type, const struct usage_part *p)
{
	uint64_t percent = p->bytes ? p->reclaimable_bytes * 100 / p->bytes : 0;
	_free_ char *size = human_size(p->bytes), *part = human_size(p->reclaimable_bytes),
		    *reclaimable = mem_printf("%s (%u%%)", part, (unsigned)percent);

	json_array_append_new(rows,
			      json_pack("{s:s, s:I, s:I, s:s, s:s}", "Type", type, "TotalCount",
					(json_int_t)p->count, "Active", (json_int_t)p->needed,
					"Size", size, "Reclaimable", reclaimable));
}

static int summary(struct image_store *s, json_t *rows, struct err *e)
{
	struct usage u;
	int rc = image_usage(s, &u, e);

	if (rc)
		return rc;
	add_part(rows, "Images", &u.images);
	add_part(rows, "Blobs", &u.blobs);
	add_part(rows, "Layers", &u.layers);
	add_part(rows, "Temporaries", &u.temporaries);
	return 0;
}

static const struct reference *name_of(const struct image_list *l, const struct image *i)
{
	vec_each (n, &l->names)
		if (n->reference.tag && digest_eq(&n->manifest, &i->manifest))
			return &n->reference;
	return NULL;
}

static int each_image(struct image_store *s, json_t *rows, struct err *e)
{
	_image_list_ struct image_list l = {0};
	int rc = image_list(s, &l, e);

	vec_each (i, &l.images) {
		const struct reference *name = name_of(&l, *i);
		uint64_t bytes, unique;
		int64_t created;

		rc = rc ? rc : image_disk(s, &l, *i, &bytes, &unique, e);
		if (rc)
			return rc;
		_free_ char *repository =
				name ? reference_familiar_repository(name) : mem_strdup(IMAGE_NONE),
			    *id = image_shown_id(*i, false), *size = human_size(bytes),
			    *shared = human_size(bytes - unique), *own = human_size(unique),
			    *since = image_created_s(*i, &created) ? human_ago(created, time(NULL))
								   : mem_strdup("N/A");

		json_array_append_new(
		    rows, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "Repository", repository,
				    "Tag", name ? name->tag : IMAGE_NONE, "ID", id, "CreatedSince",
				    since, "Size", size, "SharedSize", shared, "UniqueSize", own));
	}
	return rc;
}

int cmd_image_df(struct cli *c)
{
	_image_session_ struct image_session s = {0};
	_json_ json_t *rows = json_array();
	bool verbose = cli_bool(c, "verbose");
	struct err e = {0};
	int rc = image_session_open(c, &s, &e);

	rc = rc ? rc : verbose ? each_image(s.store, rows, &e) : summary(s.store, rows, &e);
	return rc ? cli_fail(c, &e) : viv_print_rows(c, verbose ? columns_images : columns, rows);
}
