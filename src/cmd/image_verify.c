/* viv image verify. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/image.h"
#include "cmd/viv.h"
#include "codec/template.h"
#include "image/verify.h"
#include "io/child.h"
#include "os/exe.h"

#include <errno.h>
#include <unistd.h>

extern char **environ;

static const struct output_column columns[] = {
    {"Kind", "KIND", false},
    {"Digest", "DIGEST", false},
    {"Images", "IMAGES", false},
    {"Problem", "PROBLEM", false},
    {0},
};

static const char *const kinds[] = {
    [FAULT_BLOB_DAMAGED] = "damaged blob",
    [FAULT_BLOB_MISSING] = "missing blob",
    [FAULT_LAYER_DAMAGED] = "damaged layer",
    [FAULT_LAYER_MISSING] = "missing layer",
};

/* Names of the images that have it, or their IDs. */
static json_t *images_of(const struct image_list *l, const struct digest *d)
{
	json_t *list = json_array();

	vec_each (i, &l->images) {
		bool named = false;

		if (!image_has(*i, d))
			continue;
		vec_each (n, &l->names) {
			_free_ char *name = reference_familiar(&n->reference);

			if (!n->reference.tag || !digest_eq(&n->manifest, &(*i)->manifest))
				continue;
			json_array_append_new(list, json_string(name));
			named = true;
		}
		_free_ char *id = image_shown_id(*i, false);

		if (!named)
			json_array_append_new(list, json_string(id));
	}
	return list;
}

static json_t *rows_of(const struct image_list *l, const struct fault_list *faults)
{
	json_t *rows = json_array();
	char text[DIGEST_TEXT_MAX];

	vec_each (f, &faults->v)
		json_array_append_new(rows,
				      json_pack("{s:s, s:s, s:o, s:s}", "Kind", kinds[f->kind],
						"Digest", digest_text(&f->digest, text), "Images",
						images_of(l, &f->digest), "Problem", f->what));
	return rows;
}

/* Fetches an image again by the digest that its name had, through the program that can. */
static void fetch(const struct image_name *n)
{
	struct reference r = n->reference;
	struct err e = {0};
	struct child child;
	int status;

	r.tag = NULL;
	r.digest = n->manifest;
	_free_ char *name = reference_canonical(&r),
		    *path = mem_printf("%s/viv-registry", exe_directory());
	const char *const argv[] = {"viv", "pull", "--quiet", name, NULL};
	const struct child_fd fds[] = {{STDERR_FILENO, STDERR_FILENO}};
	struct child_spec spec = {.path = path,
				  .argv = argv,
				  .envp = (const char *const *)environ,
				  .fds = fds,
				  .fd_count = 1};

	if (!child_start(&spec, &child, &e))
		child_wait(&child, -1, &status);
}

/* What could not be had shows when the store is verified again. */
static void fetch_missing(const struct image_list *l, const struct fault_list *faults)
{
	vec_each (i, &l->images) {
		bool faulty = false;

		vec_each (f, &faults->v)
			faulty |= image_has(*i, &f->digest);
		vec_each (n, &l->names)
			if (faulty && digest_eq(&n->manifest, &(*i)->manifest) &&
			    !str_eq(n->reference.domain, "localhost")) {
				fetch(n);
				break;
			}
	}
}

/* Removes what is damaged, makes anew what can be made here, fetches the rest, and looks again. */
static int repair(struct image_store *s, const struct image_list *l, struct progress *progress,
		  struct fault_list *faults, struct err *e)
{
	struct fault_list left = {0};
	int rc = image_repair(s, faults, e);

	rc = rc ? rc : image_verify(s, NULL, &left, e);
	if (rc || !left.v.n)
		goto out;
	progress_clear(progress);
	fetch_missing(l, &left);
	fault_list_done(&left);
	rc = image_verify(s, progress, &left, e);
out:
	fault_list_done(faults);
	*faults = left;
	return rc;
}

int cmd_image_verify(struct cli *c)
{
	_image_session_ struct image_session s = {0};
	_image_list_ struct image_list list = {0};
	struct fault_list faults = {0};
	struct err e = {0};
	int rc = image_session_open(c, &s, &e);

	if (rc)
		return cli_fail(c, &e);
	struct progress *progress = viv_progress(c, false);

	rc = image_list(s.store, &list, &e);
	rc = rc ? rc : image_verify(s.store, progress, &faults, &e);
	if (!rc && faults.v.n && cli_bool(c, "repair"))
		rc = repair(s.store, &list, progress, &faults, &e);
	progress_free(progress);
	if (rc)
		return fault_list_done(&faults), cli_fail(c, &e);
	_json_ json_t *rows = rows_of(&list, &faults);
	int status = faults.v.n || cli_given(c, "format") || cli_given(c, "output")
			 ? viv_print_rows(c, columns, rows)
			 : 0;

	status = faults.v.n ? 1 : status;
	fault_list_done(&faults);
	return status;
}
