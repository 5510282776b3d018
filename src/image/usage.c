/* What the store takes on the disk. A file counts once, however many names it has: an uncompressed
 * layer's blob is the tar of the layer, and counts there. */
#include "image/verify.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "image/collect.h"
#include "image/layer.h"
#include "image/store_int.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define STAT_BLOCK 512u /* st_blocks' unit: stat(2) */

struct measure {
	struct image_store *store;
	struct digest_set needed;
	struct usage usage;
};

static void count(struct usage_part *p, uint64_t bytes, bool needed)
{
	p->count++;
	p->bytes += bytes;
	if (needed)
		p->needed++;
	else
		p->reclaimable_bytes += bytes;
}

static uint64_t blob_bytes(struct image_store *s, const struct digest *d)
{
	char name[STORE_NAME_MAX];
	struct stat st;

	if (path_lstat(s->fd, store_blob_name(d, name), &st) || st.st_nlink > 1)
		return 0;
	return (uint64_t)st.st_blocks * STAT_BLOCK;
}

static uint64_t layer_bytes(struct image_store *s, const struct digest *diff_id)
{
	struct layer_info info = {0};

	layer_stat(s, diff_id, &info, NULL);
	return info.disk_bytes;
}

static int measure_blob(const struct digest *d, uint64_t size, void *arg, struct err *e)
{
	struct measure *m = arg;

	count(&m->usage.blobs, blob_bytes(m->store, d), digest_set_has(&m->needed, d));
	return 0;
}

/* Calls fn for each name in a folder of the store. */
static int each_name(struct measure *m, const char *folder,
		     void (*fn)(struct measure *m, const char *name), struct err *e)
{
	int fd = path_open(m->store->fd, folder, O_RDONLY | O_DIRECTORY, 0);
	_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir)
		return store_fail(m->store, fd < 0 ? fd : -errno, e, "open", folder);
	for (struct dirent *entry; (entry = readdir(dir));)
		if (entry->d_name[0] != '.')
			fn(m, entry->d_name);
	return 0;
}

static void measure_layer(struct measure *m, const char *name)
{
	_free_ char *text = mem_printf("%s:%s", strlen(name) > 64 ? "sha512" : "sha256", name);
	struct digest d;

	if (!digest_parse(text, &d))
		count(&m->usage.layers, layer_bytes(m->store, &d), digest_set_has(&m->needed, &d));
}

static void measure_temporary(struct measure *m, const char *name)
{
	_free_ char *path = mem_printf("tmp/%s", name);
	struct stat st;

	if (!path_lstat(m->store->fd, path, &st))
		count(&m->usage.temporaries, (uint64_t)st.st_blocks * STAT_BLOCK, false);
}

int image_disk(struct image_store *s, const struct image_list *l, const struct image *i,
	       uint64_t *ret_bytes, uint64_t *ret_unique, struct err *e)
{
	_digest_set_ struct digest_set parts = {0};
	uint64_t bytes = 0, unique = 0;

	digest_set_add(&parts, &i->manifest);
	digest_set_add(&parts, &i->config);
	vec_each (layer, &i->layers) {
		digest_set_add(&parts, &layer->digest);
		if (digest_is_set(&layer->diff_id))
			digest_set_add(&parts, &layer->diff_id);
	}
	digest_set_sort(&parts);
	for (size_t k = 0; k < parts.v.n; k++) {
		const struct digest *d = &parts.v.v[k];
		uint64_t size = blob_bytes(s, d) + layer_bytes(s, d);
		bool shared = false;

		if (k && digest_eq(d, d - 1))
			continue;
		vec_each (other, &l->images)
			shared |=
			    !digest_eq(&(*other)->manifest, &i->manifest) && image_has(*other, d);
		bytes += size;
		unique += shared ? 0 : size;
	}
	*ret_bytes = bytes;
	*ret_unique = unique;
	return 0;
}

/* An image counts as needed while something uses it; what would be freed is what it shares with none
 * that is needed. */
static int measure_images(struct measure *m, struct err *e)
{
	_image_list_ struct image_list l = {0};
	int rc = image_list(m->store, &l, e);

	vec_each (i, &l.images) {
		_free_ char *users = NULL;
		uint64_t bytes, unique;

		rc = rc ? rc : image_users(m->store, &(*i)->manifest, &users, e);
		rc = rc ? rc : image_disk(m->store, &l, *i, &bytes, &unique, e);
		if (rc)
			return rc;
		m->usage.images.count++;
		m->usage.images.needed += *users != 0;
		if (!*users)
			m->usage.images.reclaimable_bytes += unique;
	}
	return rc;
}

int image_usage(struct image_store *s, struct usage *ret, struct err *e)
{
	struct measure m = {.store = s};
	int rc = image_reachable(s, &m.needed, e);

	rc = rc ? rc : blob_each(s, measure_blob, &m, e);
	rc = rc ? rc : each_name(&m, "layers", measure_layer, e);
	rc = rc ? rc : each_name(&m, "tmp", measure_temporary, e);
	rc = rc ? rc : measure_images(&m, e);
	digest_set_done(&m.needed);
	m.usage.images.bytes = m.usage.blobs.bytes - m.usage.blobs.reclaimable_bytes +
			       m.usage.layers.bytes - m.usage.layers.reclaimable_bytes;
	if (!rc)
		*ret = m.usage;
	return rc;
}
