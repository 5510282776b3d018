/* A docker-archive: manifest.json is an array of {"Config": FILE, "RepoTags": [NAME…], "Layers":
 * [FILE…]} (moby, image/spec/v1.2.md, "Combined Image JSON + Filesystem Changeset Format"). There
 * are no digests but the DiffIDs in the configuration, and layers may be compressed. The manifest
 * that the image gets is made here, from these files alone. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "codec/template.h"
#include "image/document.h"
#include "image/load_int.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* Whose only use is to say what is wrong. */
static int entry_error(struct err *e, const char *what)
{
	return err_set(e, ERR_IMG_ARCHIVE, -EBADMSG, "manifest.json: %s", what);
}

static int detect(struct load *l, const char *name, enum compression *ret, uint64_t *ret_size,
		  struct err *e)
{
	_source_file_ struct source_file f = {.fd = -1};
	char head[COMPRESSION_MAGIC_SIZE];
	int rc = source_find(l->source, name, &f, e);

	if (rc)
		return rc;
	size_t want = f.size < sizeof(head) ? f.size : sizeof(head);
	ssize_t n = pread(f.fd, head, want, (off_t)f.offset);

	if (n < 0)
		return err_sys(e, ERR_IMG_ARCHIVE, "cannot read '%s'", name);
	*ret = compression_detect(head, (size_t)n);
	*ret_size = f.size;
	return 0;
}

static const char *media_type_of(enum compression c)
{
	return c == COMPRESSION_GZIP   ? MEDIA_OCI_LAYER_GZIP
	       : c == COMPRESSION_ZSTD ? MEDIA_OCI_LAYER_ZSTD
				       : MEDIA_OCI_LAYER;
}

/* Stores each layer and describes it in the manifest that is being made. */
static int load_layers(struct load *l, const json_t *files, const struct image_config *c,
		       struct buf *manifest, struct err *e)
{
	char text[DIGEST_TEXT_MAX];
	const json_t *file;
	size_t k;

	json_array_foreach (files, k, file) {
		const char *name = json_string_value(file);
		struct ingest in = {.diff_id = c->diff_ids.v[k]};
		struct digest digest;
		uint64_t size;

		if (!name)
			return entry_error(e, "'Layers' has something that is no string");
		int rc = detect(l, name, &in.compression, &size, e);

		rc = rc ? rc : load_layer(l, name, &in, &digest, e);
		if (rc)
			return rc;
		buf_addf(
		    manifest, "%s{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%" PRIu64 "}",
		    k ? "," : "", media_type_of(in.compression), digest_text(&digest, text), size);
	}
	return 0;
}

static int load_image(struct load *l, const json_t *files, const struct buf *config,
		      const struct reference *names, size_t count, struct err *e)
{
	_image_config_ struct image_config *c = NULL;
	_buf_ struct buf manifest = {0};
	struct digest digest;
	char text[DIGEST_TEXT_MAX];
	int rc = image_config_parse(buf_str(config), config->len, &c, e);

	if (!rc && json_array_size(files) != c->diff_ids.n)
		rc = entry_error(e, "it has another number of layers than the configuration");
	rc = rc ? rc : image_store_hold(l->store, c->diff_ids.v, c->diff_ids.n, e);
	if (rc)
		return rc;
	digest_of(DIGEST_SHA256, buf_str(config), config->len, &digest);
	buf_addf(&manifest,
		 "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_OCI_MANIFEST
		 "\",\"config\":{\"mediaType\":"
		 "\"" MEDIA_OCI_CONFIG "\",\"digest\":\"%s\",\"size\":%zu},\"layers\":[",
		 digest_text(&digest, text), config->len);
	rc = load_layers(l, files, c, &manifest, e);
	buf_adds(&manifest, "]}");
	rc = rc ? rc : blob_put(l->store, DIGEST_SHA256, buf_str(config), config->len, &digest, e);
	rc = rc ? rc
		: blob_put(l->store, DIGEST_SHA256, buf_str(&manifest), manifest.len, &digest, e);
	return rc ? rc : load_finish(l, &digest, names, count, e);
}

static int parse_names(const json_t *tags, struct reference *names, size_t *ret_count,
		       struct err *e)
{
	const json_t *tag;
	size_t k;

	json_array_foreach (tags, k, tag) {
		if (!json_is_string(tag))
			return entry_error(e, "'RepoTags' has something that is no string");
		int rc = reference_parse_tagged(json_string_value(tag), &names[k], e);

		if (rc)
			return rc;
		*ret_count = k + 1;
	}
	return 0;
}

static int load_entry(struct load *l, const json_t *entry, struct err *e)
{
	json_t *tags, *files = NULL;
	_free_ char *config_name = NULL;
	_buf_ struct buf config = {0};
	size_t count = 0;

	if (!json_is_object(entry))
		return entry_error(e, "an entry is no object");
	int rc = document_string(entry, "Config", &config_name, e);

	rc = rc ? rc : document_get(entry, "RepoTags", JSON_ARRAY, &tags, e);
	rc = rc ? rc : document_get(entry, "Layers", JSON_ARRAY, &files, e);
	rc = rc ? rc : source_read(l->source, config_name, CONFIG_BYTES_MAX, &config, e);
	if (rc)
		return rc;
	struct reference *names =
	    mem_try_array(json_array_size(tags) + 1, sizeof(*names), MANIFEST_BYTES_MAX);

	if (!names)
		return entry_error(e, "'RepoTags' is too long");
	rc = parse_names(tags, names, &count, e);
	rc = rc ? rc : load_image(l, files, &config, names, count, e);
	for (size_t k = 0; k < count; k++)
		reference_done(&names[k]);
	free(names);
	return rc;
}

int load_docker(struct load *l, struct err *e)
{
	_buf_ struct buf b = {0};
	_json_ json_t *list = NULL;
	json_error_t at;
	const json_t *entry;
	size_t k;
	int rc = source_read(l->source, "manifest.json", MANIFEST_BYTES_MAX, &b, e);

	if (rc)
		return rc;
	list = json_loadb(buf_str(&b), b.len, JSON_REJECT_DUPLICATES, &at);
	if (!json_is_array(list))
		return entry_error(e, list ? "it is no array" : at.text);
	if (json_array_size(list) > EXCHANGE_IMAGES_MAX)
		return entry_error(e, "it has more than 1024 images");
	json_array_foreach (list, k, entry)
		if (!rc)
			rc = load_entry(l, entry, e);
	return rc;
}
