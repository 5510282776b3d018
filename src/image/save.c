/* Saving: blobs as they are, behind the documents that describe them, so that a reader may stream.
 * Everything that could differ between two runs is left out: times are 0, the order is that of the
 * images. The kernel copies the blobs (sendfile(2), copy_file_range(2)); whoever loads them checks
 * their digests. */
#include "base/bits.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/tar.h"
#include "image/exchange.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <linux/fs.h>

#define SEND_BYTES (16u << 20) /* at once, so that progress moves */
#define COPY_BYTES (256u << 10)

struct save {
	struct image_store *store;
	const struct save_item *items;
	size_t n;
	enum save_format format;
	int fd;
	struct progress *progress;
	VEC(struct digest) written;
};

static int write_error(int rc, struct err *e)
{
	return err_set(e, ERR_IMG_ARCHIVE, rc, "cannot write the archive: %s", strerror(-rc));
}

/* --- files of the archive or folder --- */

static int tar_header(struct save *w, const char *name, uint64_t size, bool folder, struct err *e)
{
	const struct tar_entry t = {
	    .type = folder ? TAR_DIR : TAR_FILE,
	    .path = name,
	    .link = "",
	    .mode = folder ? 0755 : 0644,
	    .size = size,
	    .data_len = size,
	};
	_buf_ struct buf b = {0};

	tar_write_header(&b, &t);
	int rc = fd_write_all(w->fd, buf_str(&b), b.len);

	return rc ? write_error(rc, e) : 0;
}

static int tar_padding(struct save *w, uint64_t size, struct err *e)
{
	_buf_ struct buf b = {0};

	tar_write_padding(&b, size);
	int rc = fd_write_all(w->fd, buf_str(&b), b.len);

	return rc ? write_error(rc, e) : 0;
}

static int put_folder(struct save *w, const char *name, struct err *e)
{
	if (w->format != SAVE_OCI_DIR)
		return tar_header(w, name, 0, true, e);
	int rc = path_mkdirs(w->fd, name, 0755);

	return rc ? write_error(rc, e) : 0;
}

static int put_text(struct save *w, const char *name, const struct buf *text, struct err *e)
{
	int rc;

	if (w->format == SAVE_OCI_DIR) {
		rc = path_replace(w->fd, name, buf_str(text), text->len, 0644, false);
		return rc ? write_error(rc, e) : 0;
	}
	rc = tar_header(w, name, text->len, false, e);
	if (!rc)
		rc = fd_write_all(w->fd, buf_str(text), text->len);
	if (rc && (!e || !*e->msg))
		return write_error(rc, e);
	return rc ? rc : tar_padding(w, text->len, e);
}

/* For targets that sendfile(2) refuses: files opened for appending. */
static int copy_slowly(int from, int to, uint64_t *done, uint64_t size)
{
	_free_ char *p = mem_alloc(COPY_BYTES);

	while (*done < size) {
		ssize_t n = pread(from, p, MIN((uint64_t)COPY_BYTES, size - *done), (off_t)*done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		int rc = fd_write_all(to, p, (size_t)n);

		if (rc)
			return rc;
		*done += (uint64_t)n;
	}
	return 0;
}

static int copy(int from, int to, uint64_t size, struct progress_item *item)
{
	uint64_t done = 0;

	while (done < size) {
		off_t at = (off_t)done;
		ssize_t n = sendfile(to, from, &at, MIN((uint64_t)SEND_BYTES, size - done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EINVAL)
			return copy_slowly(from, to, &done, size);
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (uint64_t)n;
		if (item)
			progress_set(item, done, size);
	}
	return 0;
}

static int copy_to_folder(struct save *w, const char *name, int from, uint64_t size,
			  struct progress_item *item)
{
	_close_ int to = path_open(w->fd, name, O_WRONLY | O_CREAT | O_EXCL, 0644);

	if (to < 0)
		return to;
	if (!ioctl(to, FICLONE, from))
		return 0;
	return copy(from, to, size, item);
}

static bool written_before(const struct save *w, const struct digest *d)
{
	vec_each (x, &w->written)
		if (digest_eq(x, d))
			return true;
	return false;
}

static void blob_name(const struct digest *d, char out[static DIGEST_HEX_MAX + 16])
{
	char hex[DIGEST_HEX_MAX];

	snprintf(out, DIGEST_HEX_MAX + 16, "blobs/%s/%s", digest_alg_name(d->alg),
		 digest_hex(d, hex));
}

static int put_blob(struct save *w, const struct digest *d, struct err *e)
{
	char name[DIGEST_HEX_MAX + 16], hex[DIGEST_HEX_MAX];
	struct progress_item *item = NULL;
	uint64_t size;

	if (written_before(w, d))
		return 0;
	_close_ int fd = blob_open(w->store, d, &size, e);

	if (fd < 0)
		return fd;
	vec_push(&w->written, *d);
	blob_name(d, name);
	if (w->progress) {
		_free_ char *label = mem_printf("blob %.12s", digest_hex(d, hex));

		item = progress_add(w->progress, label, size);
	}
	int rc = w->format == SAVE_OCI_DIR ? 0 : tar_header(w, name, size, false, e);

	if (rc)
		return rc;
	rc = w->format == SAVE_OCI_DIR ? copy_to_folder(w, name, fd, size, item)
				       : copy(fd, w->fd, size, item);
	if (item)
		progress_finish(item, !rc);
	if (rc)
		return write_error(rc, e);
	return w->format == SAVE_OCI_DIR ? 0 : tar_padding(w, size, e);
}

/* --- documents --- */

static bool same_image(const struct save_item *a, const struct save_item *b)
{
	return digest_eq(&a->image->manifest, &b->image->manifest);
}

static bool listed_before(const struct save *w, const struct save_item *item)
{
	for (const struct save_item *x = w->items; x < item; x++)
		if (same_image(x, item))
			return true;
	return false;
}

#define each_item(it, w) \
	for (const struct save_item *it = (w)->items; it < (w)->items + (w)->n; it++)

/* image-layout.md, "index.json File": an entry per name. */
static void format_index(const struct save *w, struct buf *b)
{
	char text[DIGEST_TEXT_MAX];
	bool first = true;

	buf_adds(b, "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_OCI_INDEX "\",\"manifests\":[");
	each_item(it, w)
	{
		const struct image *i = it->image;

		buf_addf(b, "%s{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%" PRIu64,
			 first ? "" : ",", i->media_type, digest_text(&i->manifest, text),
			 i->manifest_size);
		first = false;
		if (it->name.domain) {
			_free_ char *whole = reference_canonical(&it->name);

			buf_addf(b, ",\"annotations\":{\"io.containerd.image.name\":");
			buf_add_json_string(b, whole);
			buf_addf(b, ",\"org.opencontainers.image.ref.name\":");
			buf_add_json_string(b, it->name.tag ? it->name.tag : whole);
			buf_addc(b, '}');
		}
		if (*i->platform.os && *i->platform.architecture) {
			buf_addf(b, ",\"platform\":{\"architecture\":");
			buf_add_json_string(b, i->platform.architecture);
			buf_addf(b, ",\"os\":");
			buf_add_json_string(b, i->platform.os);
			if (*i->platform.variant) {
				buf_addf(b, ",\"variant\":");
				buf_add_json_string(b, i->platform.variant);
			}
			buf_addc(b, '}');
		}
		buf_addc(b, '}');
	}
	buf_adds(b, "]}\n");
}

static void format_tags(const struct save *w, const struct save_item *item, struct buf *b)
{
	bool first = true;

	each_item(it, w)
	{
		if (!same_image(it, item) || !it->name.domain || !it->name.tag)
			continue;
		_free_ char *familiar = reference_familiar(&it->name);

		buf_adds(b, first ? "[" : ",");
		buf_add_json_string(b, familiar);
		first = false;
	}
	buf_adds(b, first ? "null" : "]");
}

/* Docker's manifest.json: an entry per image. */
static void format_manifest(const struct save *w, struct buf *b)
{
	char name[DIGEST_HEX_MAX + 16];
	bool first = true;

	buf_addc(b, '[');
	each_item(it, w)
	{
		if (listed_before(w, it))
			continue;
		blob_name(&it->image->config, name);
		buf_addf(b, "%s{\"Config\":\"%s\",\"RepoTags\":", first ? "" : ",", name);
		format_tags(w, it, b);
		buf_adds(b, ",\"Layers\":[");
		vec_each (l, &it->image->layers) {
			blob_name(&l->digest, name);
			buf_addf(b, "%s\"%s\"", l == it->image->layers.v ? "" : ",", name);
		}
		buf_adds(b, "]}");
		first = false;
	}
	buf_adds(b, "]\n");
}

static int put_documents(struct save *w, struct err *e)
{
	_buf_ struct buf layout = {0}, index = {0}, manifest = {0};

	buf_adds(&layout, "{\"imageLayoutVersion\":\"1.0.0\"}");
	format_index(w, &index);
	format_manifest(w, &manifest);
	int rc = put_text(w, "oci-layout", &layout, e);

	rc = rc ? rc : put_text(w, "index.json", &index, e);
	if (!rc && w->format == SAVE_DOCKER_ARCHIVE)
		rc = put_text(w, "manifest.json", &manifest, e);
	rc = rc ? rc : put_folder(w, "blobs", e);
	rc = rc ? rc : put_folder(w, "blobs/sha256", e);
	each_item(it, w) if (!rc && it->image->manifest.alg == DIGEST_SHA512) rc =
	    put_folder(w, "blobs/sha512", e);
	return rc;
}

static int put_image(struct save *w, const struct image *i, struct err *e)
{
	int rc = put_blob(w, &i->manifest, e);

	rc = rc ? rc : put_blob(w, &i->config, e);
	vec_each (l, &i->layers)
		if (!rc)
			rc = put_blob(w, &l->digest, e);
	return rc;
}

/* Docker's archives are for images only. */
static int check(const struct save *w, struct err *e)
{
	each_item(it,
		  w) if (w->format == SAVE_DOCKER_ARCHIVE &&
			 image_is_artifact(
			     it->image)) return err_set(e, ERR_IMG_ARCHIVE, -EOPNOTSUPP,
							"an artifact cannot be in a "
							"docker-archive: use --format oci-archive");
	return 0;
}

int image_save(struct image_store *s, const struct save_item *items, size_t n,
	       enum save_format format, int fd, struct progress *progress, struct err *e)
{
	struct save w = {
	    .store = s, .items = items, .n = n, .format = format, .fd = fd, .progress = progress};
	_buf_ struct buf end = {0};
	int rc = check(&w, e);

	rc = rc ? rc : put_documents(&w, e);
	each_item(it, &w) if (!rc) rc = put_image(&w, it->image, e);
	vec_done(&w.written);
	if (rc || format == SAVE_OCI_DIR)
		return rc;
	tar_write_end(&end);
	rc = fd_write_all(fd, buf_str(&end), end.len);
	return rc ? write_error(rc, e) : 0;
}
