/* An OCI image layout (image-spec 1.1, image-layout.md). Names are annotations of index.json's
 * entries: "io.containerd.image.name" is a whole one (containerd, Docker);
 * "org.opencontainers.image.ref.name" is a whole one (podman, buildah), or the tag alone (skopeo,
 * umoci), which then belongs to localhost/FILE, FILE being the name of the folder or archive. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/load_int.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ANNOTATION_CONTAINERD "io.containerd.image.name"
#define ANNOTATION_REF_NAME   "org.opencontainers.image.ref.name"
#define NESTING_MAX           4u /* of indexes */

/* --- reading --- */

static void blob_file(const struct digest *d, char *out, size_t size)
{
	char hex[DIGEST_HEX_MAX];

	snprintf(out, size, "blobs/%s/%s", digest_alg_name(d->alg), digest_hex(d, hex));
}

/* A document that a descriptor points to, verified. */
static int read_document(struct load *l, const struct descriptor *d, size_t max_bytes,
			 struct buf *b, struct err *e)
{
	char name[DIGEST_HEX_MAX + 16], text[DIGEST_TEXT_MAX];
	struct digest is;

	blob_file(&d->digest, name, sizeof(name));
	int rc = source_read(l->source, name, max_bytes, b, e);

	if (rc)
		return rc;
	digest_of(d->digest.alg, buf_str(b), b->len, &is);
	if (b->len != d->size || !digest_eq(&is, &d->digest))
		return err_set(e, ERR_IMG_DIGEST, -EBADMSG,
			       "the archive's blob %s has other content",
			       digest_text(&d->digest, text));
	return 0;
}

/* --- names --- */

/* "dir/base-image.tar" as "base-image", if a repository may be called so. Returns owned or NULL. */
static char *repository_of_path(const char *path)
{
	_reference_ struct reference r = {0};

	if (!path)
		return NULL;
	_free_ char *copy = mem_strdup(path);

	while (strlen(copy) > 1 && copy[strlen(copy) - 1] == '/')
		copy[strlen(copy) - 1] = '\0';
	char *slash = strrchr(copy, '/');
	_free_ char *base = mem_strdup(slash ? slash + 1 : copy);

	base[strcspn(base, ".")] = '\0';
	for (char *s = base; *s; s++)
		*s = (char)tolower((unsigned char)*s);
	_free_ char *name = mem_printf("localhost/%s", base);

	return reference_parse(name, &r, NULL) ? NULL : STEAL(name);
}

static const char *annotation(const struct descriptor *d, const char *key)
{
	return json_string_value(json_object_get(d->annotations, key));
}

/* 1: *ret is the entry's name; 0: it has none that can be used. */
static int entry_name(const struct load *l, const struct descriptor *d, struct reference *ret)
{
	const char *whole = annotation(d, ANNOTATION_CONTAINERD),
		   *ref = annotation(d, ANNOTATION_REF_NAME);

	if (whole && !reference_parse_tagged(whole, ret, NULL))
		return 1;
	if (!ref)
		return 0;
	if (strpbrk(ref, ":/"))
		return !reference_parse_tagged(ref, ret, NULL);
	_free_ char *repository = repository_of_path(l->options->path);
	_free_ char *name = repository ? mem_printf("%s:%s", repository, ref) : NULL;

	return name && !reference_parse_tagged(name, ret, NULL);
}

/* --- one image --- */

static int hold_all(struct load *l, const struct descriptor *d, const struct manifest *m,
		    const struct image_config *c, struct err *e)
{
	VEC(struct digest) held = {0};

	vec_push(&held, d->digest);
	vec_push(&held, m->config.digest);
	vec_each (layer, &m->layers)
		vec_push(&held, layer->digest);
	if (c)
		vec_each (diff_id, &c->diff_ids)
			vec_push(&held, *diff_id);
	int rc = image_store_hold(l->store, held.v, held.n, e);

	vec_done(&held);
	return rc;
}

static int load_layers(struct load *l, const struct manifest *m, const struct image_config *c,
		       struct err *e)
{
	static const enum compression compressions[] = {[LAYER_PLAIN] = COMPRESSION_NONE,
							[LAYER_GZIP] = COMPRESSION_GZIP,
							[LAYER_ZSTD] = COMPRESSION_ZSTD};

	if (c->diff_ids.n != m->layers.n)
		return err_set(e, ERR_IMG_MANIFEST, -EBADMSG,
			       "the manifest has %zu layers, the configuration %zu", m->layers.n,
			       c->diff_ids.n);
	for (size_t k = 0; k < m->layers.n; k++) {
		const struct descriptor *d = &m->layers.v[k];
		char name[DIGEST_HEX_MAX + 16], text[DIGEST_TEXT_MAX];
		struct ingest in = {.digest = d->digest, .diff_id = c->diff_ids.v[k]};
		enum layer_compression compression;
		struct digest is;
		int rc = layer_media_type(d->media_type, &compression, e);

		if (rc)
			return rc;
		in.compression = compressions[compression];
		blob_file(&d->digest, name, sizeof(name));
		rc = load_layer(l, name, &in, &is, e);
		if (!rc && !digest_eq(&is, &d->digest))
			rc = err_set(e, ERR_IMG_MANIFEST, -EBADMSG,
				     "layer %s is uncompressed, but its DiffID is another",
				     digest_text(&d->digest, text));
		if (rc)
			return rc;
	}
	return 0;
}

/* An artifact's parts are blobs and nothing else. */
static int load_parts(struct load *l, const struct manifest *m, struct err *e)
{
	vec_each (d, &m->layers) {
		struct blob_expect expect = {.digest = d->digest, .size = d->size};
		char name[DIGEST_HEX_MAX + 16];
		_buf_ struct buf b = {0};
		struct blob_writer *w;

		blob_file(&d->digest, name, sizeof(name));
		int rc = source_read(l->source, name, CONFIG_BYTES_MAX, &b, e);

		rc = rc ? rc : blob_writer_new(l->store, &expect, &w, e);
		if (rc)
			return rc;
		rc = blob_writer_append(w, buf_str(&b), b.len, e);
		if (rc)
			blob_writer_abort(w);
		rc = rc ? rc : blob_writer_commit(w, NULL, e);
		if (rc)
			return rc;
	}
	return 0;
}

static int load_image(struct load *l, const struct descriptor *d, const struct reference *names,
		      size_t count, struct err *e)
{
	_image_config_ struct image_config *c = NULL;
	_manifest_ struct manifest *m = NULL;
	_buf_ struct buf manifest = {0}, config = {0};
	struct digest digest;
	int rc = read_document(l, d, MANIFEST_BYTES_MAX, &manifest, e);

	rc = rc ? rc : manifest_parse(buf_str(&manifest), manifest.len, d->media_type, &m, e);
	if (rc)
		return rc;
	rc = read_document(l, &m->config, CONFIG_BYTES_MAX, &config, e);
	if (!rc && m->kind == MANIFEST_IMAGE)
		rc = image_config_parse(buf_str(&config), config.len, &c, e);
	rc = rc ? rc : hold_all(l, d, m, c, e);
	rc = rc ? rc : c ? load_layers(l, m, c, e) : load_parts(l, m, e);
	rc =
	    rc ? rc
	       : blob_put(l->store, m->config.digest.alg, buf_str(&config), config.len, &digest, e);
	rc = rc ? rc
		: blob_put(l->store, d->digest.alg, buf_str(&manifest), manifest.len, &digest, e);
	return rc ? rc : load_finish(l, &digest, names, count, e);
}

/* --- the index --- */

static bool is_index(const struct descriptor *d)
{
	return str_eq(d->media_type, MEDIA_OCI_INDEX) || str_eq(d->media_type, MEDIA_DOCKER_LIST);
}

/* Of an index the entry for the platform; without a wish also the only one there is. */
static int choose(struct load *l, const struct manifest *index, const struct descriptor **ret,
		  struct err *e)
{
	_platform_ struct platform host = {0};
	const struct platform *want = l->options->platform;

	if (!want) {
		platform_host(&host);
		want = &host;
	}
	int rc = manifest_select(index, want, ret, e);

	if (rc == -ENOENT && !l->options->platform && index->entries.n == 1) {
		*ret = &index->entries.v[0];
		return 0;
	}
	return rc;
}

static int load_entry(struct load *l, const struct descriptor *d, const struct reference *names,
		      size_t count, unsigned depth, struct err *e)
{
	_manifest_ struct manifest *index = NULL;
	_buf_ struct buf b = {0};
	const struct descriptor *chosen;

	if (!is_index(d))
		return load_image(l, d, names, count, e);
	if (depth == NESTING_MAX)
		return err_set(e, ERR_IMG_MANIFEST, -EBADMSG,
			       "indexes are nested more than %u deep", NESTING_MAX);
	int rc = read_document(l, d, MANIFEST_BYTES_MAX, &b, e);

	rc = rc ? rc : manifest_parse(buf_str(&b), b.len, d->media_type, &index, e);
	rc = rc ? rc : choose(l, index, &chosen, e);
	return rc ? rc : load_entry(l, chosen, names, count, depth + 1, e);
}

/* Entries of the same digest are one image with several names. */
static bool seen_before(const struct manifest *index, const struct descriptor *d)
{
	for (const struct descriptor *x = index->entries.v; x < d; x++)
		if (digest_eq(&x->digest, &d->digest))
			return true;
	return false;
}

static int load_named(struct load *l, const struct manifest *index, const struct descriptor *d,
		      struct err *e)
{
	VEC(struct reference) names = {0};

	vec_each (x, &index->entries) {
		struct reference r;

		if (digest_eq(&x->digest, &d->digest) && entry_name(l, x, &r))
			vec_push(&names, r);
	}
	int rc = load_entry(l, d, names.v, names.n, 0, e);

	vec_each (r, &names)
		reference_done(r);
	vec_done(&names);
	return rc;
}

int load_oci(struct load *l, struct err *e)
{
	_manifest_ struct manifest *index = NULL;
	_buf_ struct buf b = {0};
	int rc = source_read(l->source, "index.json", MANIFEST_BYTES_MAX, &b, e);

	rc = rc ? rc : manifest_parse(buf_str(&b), b.len, MEDIA_OCI_INDEX, &index, e);
	if (!rc && index->entries.n > EXCHANGE_IMAGES_MAX)
		rc = err_set(e, ERR_IMG_ARCHIVE, -E2BIG, "the layout has more than %u images",
			     EXCHANGE_IMAGES_MAX);
	if (rc)
		return rc;
	vec_each (d, &index->entries)
		if (!rc && !seen_before(index, d))
			rc = load_named(l, index, d, e);
	return rc;
}
