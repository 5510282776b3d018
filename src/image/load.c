/* Loading: what the source holds is found out by its files, never by its name: index.json is an OCI
 * layout (load_oci.c), manifest.json a docker-archive (load_docker.c). Where both are there, the
 * layout is read, because its manifests keep their digests. */
#include "image/load_int.h"

#include "base/buf.h"
#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int load_layer(struct load *l, const char *name, struct ingest *in, struct digest *ret_digest,
	       struct err *e)
{
	_source_file_ struct source_file f = {.fd = -1};
	char hex[DIGEST_HEX_MAX], label[32];
	int rc = source_find(l->source, name, &f, e);

	if (rc)
		return rc;
	snprintf(label, sizeof(label), "layer %.12s", digest_hex(&in->diff_id, hex));
	in->backend = l->options->backend;
	if (l->options->progress)
		in->item = progress_add(l->options->progress, label, f.size);
	return ingest_layer(l->store, &f, in, ret_digest, e);
}

int load_finish(struct load *l, const struct digest *manifest, const struct reference *names,
		size_t count, struct err *e)
{
	struct reference *by_name = mem_array(count + 1, sizeof(*by_name));
	_image_ struct image *i = NULL;
	int rc;

	memcpy(by_name, names, count * sizeof(*by_name)); /* borrows their strings */
	rc = image_add(l->store, manifest, NULL, by_name, count, &i, e);
	free(by_name);
	if (!rc && l->options->discard_compressed)
		rc = image_discard_compressed(l->store, i, e);
	if (!rc) {
		l->count++;
		if (l->options->loaded)
			l->options->loaded(l->options->arg, i, names, count);
	}
	return rc;
}

int image_load(struct image_store *s, const struct load_options *o, struct err *e)
{
	_source_ struct source *source = NULL;
	struct load l = {.store = s, .options = o};
	int rc = source_open(s, o->path, o->fd, &source, e);

	if (rc)
		return rc;
	l.source = source;
	if (source_has(source, "index.json"))
		rc = load_oci(&l, e);
	else if (source_has(source, "manifest.json"))
		rc = load_docker(&l, e);
	else
		rc = err_set(e, ERR_IMG_ARCHIVE, -EBADMSG,
			     "'%s' is neither a docker-archive (manifest.json) nor an OCI layout "
			     "(index.json)",
			     o->path ? o->path : "standard input");
	if (!rc && !l.count)
		rc = err_set(e, ERR_IMG_ARCHIVE, -EBADMSG, "'%s' holds no image",
			     o->path ? o->path : "standard input");
	return rc;
}
