#include "image/collect.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "image/image_int.h"
#include "image/layer.h"
#include "image/store_int.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

/* --- sets --- */

static int compare(const void *a, const void *b)
{
	return digest_cmp(a, b);
}

void digest_set_add(struct digest_set *set, const struct digest *d)
{
	vec_push(&set->v, *d);
}

void digest_set_sort(struct digest_set *set)
{
	if (set->v.n)
		qsort(set->v.v, set->v.n, sizeof(*set->v.v), compare);
}

bool digest_set_has(const struct digest_set *set, const struct digest *d)
{
	return set->v.n && bsearch(d, set->v.v, set->v.n, sizeof(*set->v.v), compare);
}

void digest_set_done(struct digest_set *set)
{
	vec_done(&set->v);
}

/* --- marking --- */

static void mark_image(struct digest_set *set, const struct image *i)
{
	digest_set_add(set, &i->manifest);
	digest_set_add(set, &i->config);
	vec_each (l, &i->layers) {
		digest_set_add(set, &l->digest);
		if (digest_is_set(&l->diff_id))
			digest_set_add(set, &l->diff_id);
	}
}

/* "image/hold/LEASE/DIGEST". Reading them lets `state` drop those of ended processes first. */
static int mark_holds(struct image_store *s, struct digest_set *set, struct err *e)
{
	struct state_range range = {.from = state_str(KEY_HOLD), .prefix = true, .keys_only = true};
	_state_result_ struct state_result r = {0};
	int rc = state_range(image_store_state(s), &range, &r, e);

	for (size_t k = 0; !rc && k < r.n; k++) {
		_free_ char *key = mem_strndup(r.kvs[k].key.p, r.kvs[k].key.len);
		const char *text = strrchr(key, '/') + 1;
		struct digest d;

		if (!digest_parse(text, &d))
			digest_set_add(set, &d);
	}
	return rc;
}

int image_reachable(struct image_store *s, struct digest_set *ret, struct err *e)
{
	_image_list_ struct image_list l = {0};
	_digest_set_ struct digest_set set = {0};
	int rc = image_list(s, &l, e);

	rc = rc ? rc : mark_holds(s, &set, e);
	if (rc)
		return rc;
	vec_each (i, &l.images)
		mark_image(&set, *i);
	vec_each (n, &l.names)
		if (digest_is_set(&n->index))
			digest_set_add(&set, &n->index);
	digest_set_sort(&set);
	*ret = set;
	set = (struct digest_set){0};
	return 0;
}

/* --- sweeping --- */

struct sweep {
	struct image_store *store;
	const struct collect_options *options;
	struct digest_set needed;
	struct collected done;
	int rc; /* the first failure */
	struct err *e;
};

/* Notes the first failure and goes on. */
static bool succeeded(struct sweep *w, int rc, const struct err *why)
{
	if (rc && !w->rc) {
		w->rc = rc;
		if (w->e)
			*w->e = *why;
	}
	return !rc;
}

static int sweep_blob(const struct digest *d, uint64_t size, void *arg, struct err *e)
{
	struct sweep *w = arg;
	struct err why = {0};

	if (digest_set_has(&w->needed, d))
		return 0;
	if (!w->options->dry_run && !succeeded(w, blob_remove(w->store, d, &why), &why))
		return 0;
	w->done.blobs++;
	w->done.bytes += size;
	return 0;
}

static void sweep_layer(struct sweep *w, const struct digest *d)
{
	struct layer_info info = {0};
	struct err why = {0};

	layer_stat(w->store, d, &info, NULL); /* what cannot be measured is removed as well */
	if (!w->options->dry_run && !succeeded(w, layer_remove(w->store, d, &why), &why))
		return;
	w->done.layers++;
	w->done.bytes += info.disk_bytes;
}

static int sweep_layers(struct sweep *w, struct err *e)
{
	int fd = path_open(w->store->fd, "layers", O_RDONLY | O_DIRECTORY, 0);
	_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir)
		return store_fail(w->store, fd < 0 ? fd : -errno, e, "open", "layers");
	for (struct dirent *entry; (entry = readdir(dir));) {
		bool sha512 = strlen(entry->d_name) > 64;
		_free_ char *text =
		    mem_printf("%s:%s", sha512 ? "sha512" : "sha256", entry->d_name);
		struct digest d;

		if (!digest_parse(text, &d) && !digest_set_has(&w->needed, &d))
			sweep_layer(w, &d);
	}
	return 0;
}

/* Notes about blobs that were dropped on purpose, and that nobody needs now. */
static int sweep_discarded(struct sweep *w, struct err *e)
{
	struct state_range range = {
	    .from = state_str(KEY_DISCARDED), .prefix = true, .keys_only = true};
	_state_result_ struct state_result r = {0};
	int rc = state_range(image_store_state(w->store), &range, &r, e);

	for (size_t k = 0; !rc && k < r.n; k++) {
		_free_ char *key = mem_strndup(r.kvs[k].key.p, r.kvs[k].key.len);
		struct state_range one = {.from = state_str(key)};
		struct digest d;

		if (digest_parse(key + strlen(KEY_DISCARDED), &d) ||
		    !digest_set_has(&w->needed, &d))
			rc = state_delete(image_store_state(w->store), &one, NULL, NULL, e);
	}
	return rc;
}

int image_collect(struct image_store *s, const struct collect_options *o, struct collected *ret,
		  struct err *e)
{
	struct sweep w = {.store = s, .options = o, .e = e};
	_close_ int lock = store_lock(s, true, e);
	int rc = lock < 0 ? lock : image_reachable(s, &w.needed, e);

	if (rc)
		return rc;
	rc = blob_each(s, sweep_blob, &w, e);
	rc = rc ? rc : sweep_layers(&w, e);
	if (!rc && !o->dry_run) {
		rc = sweep_discarded(&w, e);
		rc =
		    rc ? rc : store_clear_temporaries(s, o->partials ? 0 : STORE_PARTIAL_KEEP_S, e);
	}
	digest_set_done(&w.needed);
	*ret = w.done;
	return rc ? rc : w.rc;
}
