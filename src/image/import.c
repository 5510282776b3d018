#include "image/import.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "codec/inflate.h"
#include "image/layer.h"

#include <errno.h>
#include <unistd.h>

#define PIECE (256u << 10)

struct importer {
	struct image_store *store;
	const struct import_options *o;
	struct layer_writer *layer;
	struct blob_writer *blob; /* where the layer is not kept as it came */
	struct inflate *inflate;
	unsigned char magic[COMPRESSION_MAGIC_SIZE];
	size_t magic_len;
	uint64_t tar_bytes;
};

static int take_tar(void *arg, const void *p, size_t len, struct err *e)
{
	struct importer *i = arg;
	int rc = layer_writer_append(i->layer, p, len, e);

	i->tar_bytes += len;
	return rc || !i->blob ? rc : blob_writer_append(i->blob, p, len, e);
}

int importer_new(struct image_store *s, const struct import_options *o, struct importer **ret,
		 struct err *e)
{
	_importer_ struct importer *i = mem_alloc(sizeof(*i));
	const struct blob_expect any = {.size = STORE_SIZE_UNKNOWN};

	i->store = s;
	i->o = o;
	int rc = layer_writer_new(s, NULL, LAYER_AUTO, &i->layer, e);

	if (!rc && layer_writer_backend(i->layer) != LAYER_EROFS)
		rc = blob_writer_new(s, &any, &i->blob, e);
	if (!rc)
		*ret = STEAL(i);
	return rc;
}

void importer_free(struct importer *i)
{
	if (!i)
		return;
	layer_writer_free(i->layer);
	blob_writer_abort(i->blob);
	inflate_free(i->inflate);
	free(i);
}

static int begin(struct importer *i, struct err *e)
{
	i->inflate = inflate_new(compression_detect(i->magic, i->magic_len), take_tar, i);
	return inflate_feed(i->inflate, i->magic, i->magic_len, e);
}

int importer_feed(struct importer *i, const void *p, size_t len, struct err *e)
{
	const unsigned char *at = p;

	for (; len && i->magic_len < sizeof(i->magic); len--)
		i->magic[i->magic_len++] = *at++;
	int rc = !i->inflate && i->magic_len == sizeof(i->magic) ? begin(i, e) : 0;

	return rc || !i->inflate ? rc : inflate_feed(i->inflate, at, len, e);
}

int importer_feed_fd(struct importer *i, int fd, struct err *e)
{
	_free_ char *piece = mem_alloc(PIECE);
	int rc = 0;

	while (!rc) {
		ssize_t n = read(fd, piece, PIECE);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, ERR_SYS, "cannot read the root file system");
		if (n == 0)
			break;
		rc = importer_feed(i, piece, (size_t)n, e);
	}
	return rc;
}

/* --- documents --- */

static json_t *config_document(const struct importer *i, const struct digest *diff_id)
{
	const struct import_options *o = i->o;
	_platform_ struct platform host = {0};
	char text[DIGEST_TEXT_MAX];

	platform_host(&host);
	const struct platform *p = o->platform ? o->platform : &host;
	json_t *history = json_pack("{s:s}", "created", o->created);

	if (o->created_by)
		json_object_set_new(history, "created_by", json_string(o->created_by));
	if (o->comment)
		json_object_set_new(history, "comment", json_string(o->comment));
	json_t *doc =
	    json_pack("{s:s, s:s, s:s, s:o, s:{s:s, s:[s]}, s:[o]}", "created", o->created,
		      "architecture", p->architecture, "os", p->os, "config",
		      o->config ? json_deep_copy(o->config) : json_object(), "rootfs", "type",
		      "layers", "diff_ids", digest_text(diff_id, text), "history", history);

	if (*p->variant)
		json_object_set_new(doc, "variant", json_string(p->variant));
	return doc;
}

static json_t *descriptor(const char *media_type, const struct digest *d, uint64_t size)
{
	char text[DIGEST_TEXT_MAX];

	return json_pack("{s:s, s:s, s:I}", "mediaType", media_type, "digest", digest_text(d, text),
			 "size", (json_int_t)size);
}

/* Stores the document, compact and with sorted keys, so that the same document is the same bytes. */
static int put_document(struct importer *i, json_t *doc, struct digest *ret, uint64_t *ret_size,
			struct err *e)
{
	_free_ char *text = json_dumps(doc, JSON_COMPACT | JSON_SORT_KEYS);

	json_decref(doc);
	if (!text)
		return err_set(e, ERR_NOMEM, -ENOMEM, "cannot write the image's configuration");
	*ret_size = strlen(text);
	return blob_put(i->store, DIGEST_SHA256, text, strlen(text), ret, e);
}

static int make_image(struct importer *i, const struct digest *diff_id, struct image **ret,
		      struct err *e)
{
	struct digest config, manifest;
	uint64_t size;
	int rc = put_document(i, config_document(i, diff_id), &config, &size, e);

	if (rc)
		return rc;
	json_t *doc =
	    json_pack("{s:i, s:s, s:o, s:[o]}", "schemaVersion", 2, "mediaType", MEDIA_OCI_MANIFEST,
		      "config", descriptor(MEDIA_OCI_CONFIG, &config, size), "layers",
		      descriptor(MEDIA_OCI_LAYER, diff_id, i->tar_bytes));

	rc = put_document(i, doc, &manifest, &size, e);
	return rc ? rc
		  : image_add(i->store, &manifest, NULL, i->o->names, i->o->name_count, ret, e);
}

/* The layer's tar under its second name. */
static int link_blob(struct importer *i, const struct digest *diff_id, struct err *e)
{
	char layer[DIGEST_HEX_MAX + 7];
	_free_ char *tar = mem_printf("%s/" LAYER_TAR_NAME, image_store_layer_name(diff_id, layer));

	return blob_exists(i->store, diff_id, NULL) ? image_store_hold(i->store, diff_id, 1, e)
						    : blob_link(i->store, tar, diff_id, e);
}

int importer_finish(struct importer *i, struct image **ret, struct err *e)
{
	struct digest diff_id;
	int rc = i->inflate ? 0 : begin(i, e); /* shorter than any magic */

	rc = rc ? rc : inflate_finish(i->inflate, e);
	rc = rc ? rc : layer_writer_commit(i->layer, &diff_id, e);
	if (rc)
		return rc;
	rc = i->blob ? blob_writer_commit(STEAL(i->blob), NULL, e) : link_blob(i, &diff_id, e);
	return rc ? rc : make_image(i, &diff_id, ret, e);
}
